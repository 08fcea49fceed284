/** PrimeCell UART PL011 (ARM DDI 0183G). Modem lines are fixed; there is no line timing: what is written is sent at once. */
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { int, list, loadState, saveState, u16, u32, u8, type Schema } from '../saved.js';

const FIFO = 16;

/** Registers. */
const enum R {
  DR = 0x00, RSR = 0x04, FR = 0x18, ILPR = 0x20, IBRD = 0x24, FBRD = 0x28, LCR_H = 0x2c, CR = 0x30, IFLS = 0x34, IMSC = 0x38, RIS = 0x3c, MIS = 0x40, ICR = 0x44, DMACR = 0x48,
}
const enum Fr { CTS = 1, DSR = 2, DCD = 4, RXFE = 0x10, RXFF = 0x40, TXFE = 0x80 }
const enum Cr { UARTEN = 1, LBE = 0x80, TXE = 0x100, RXE = 0x200 }
/** Interrupts. */
const enum I { RX = 0x10, TX = 0x20, RT = 0x40, OE = 0x400 }
const LCR_FEN = 0x10;

/** UARTPeriphID0..3, UARTPCellID0..3. */
const IDS = [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

interface State {
  fifo: number[];
  rsr: number;
  ilpr: number;
  ibrd: number;
  fbrd: number;
  lcr: number;
  cr: number;
  ifls: number;
  imsc: number;
  ris: number;
  dmacr: number;
}
const SCHEMA: Schema<State> = {
  fifo: list(FIFO, u16), rsr: u8, ilpr: u8, ibrd: u16, fbrd: int(0, 63), lcr: u8, cr: u16, ifls: int(0, 63), imsc: u16, ris: u16, dmacr: u32,
};
const initial = (): State => ({ fifo: [], rsr: 0, ilpr: 0, ibrd: 0, fbrd: 0, lcr: 0, cr: Cr.TXE | Cr.RXE, ifls: 0x12, imsc: 0, ris: 0, dmacr: 0 });

export interface Pl011Options {
  name?: string;
  irq: IrqLine;
  /** A byte leaves the port. */
  output: (byte: number) => void;
  /** There is room for input again. */
  onRoom?: () => void;
}

export class Pl011 implements Device, IoHandler {
  readonly name: string;
  private s = initial();

  constructor(private readonly o: Pl011Options) {
    this.name = o.name ?? 'pl011';
  }

  reset(): void {
    this.s = initial();
    this.syncIrq();
  }

  save(): SavedState {
    return saveState(SCHEMA, 1, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, 1, saved);
    this.syncIrq();
  }

  private get depth(): number {
    return this.s.lcr & LCR_FEN ? FIFO : 1;
  }

  /** Offers bytes from outside. @returns how many were taken. */
  receive(bytes: Uint8Array): number {
    const s = this.s;
    // Receiver off: what arrives now is lost on real hardware; keeping it until the guest is ready is kinder to type-ahead.
    if ((s.cr & (Cr.UARTEN | Cr.RXE)) !== (Cr.UARTEN | Cr.RXE)) return 0;
    const n = Math.min(bytes.length, this.depth - s.fifo.length);
    for (let i = 0; i < n; i++) s.fifo.push(bytes[i]!);
    if (n > 0) this.received();
    return n;
  }

  /** Interrupts after the FIFO has grown: level reached, or else the receive timeout, which is not waited for. */
  private received(): void {
    const s = this.s;
    s.ris |= I.RT;
    if (s.fifo.length >= this.trigger()) s.ris |= I.RX;
    this.syncIrq();
  }

  private trigger(): number {
    if ((this.s.lcr & LCR_FEN) === 0) return 1;
    return [2, 4, 8, 12, 14][(this.s.ifls >> 3) & 7] ?? 8;
  }

  private syncIrq(): void {
    this.o.irq.set((this.s.ris & this.s.imsc) !== 0);
  }

  read(offset: number, size: number): number {
    const v = this.read32(offset & ~3) >>> ((offset & 3) * 8);
    return size === 4 ? v : size === 2 ? v & 0xffff : v & 0xff;
  }

  private read32(offset: number): number {
    const s = this.s;
    switch (offset as R) {
      case R.DR: {
        const v = s.fifo.shift() ?? 0;
        s.rsr = (v >> 8) & 15;
        if (s.fifo.length < this.trigger()) s.ris &= ~I.RX;
        if (s.fifo.length === 0) s.ris &= ~I.RT;
        this.syncIrq();
        this.o.onRoom?.();
        return v;
      }
      case R.RSR: return s.rsr;
      case R.FR: return Fr.TXFE | Fr.CTS | Fr.DSR | Fr.DCD | (s.fifo.length === 0 ? Fr.RXFE : 0) | (s.fifo.length >= this.depth ? Fr.RXFF : 0);
      case R.ILPR: return s.ilpr;
      case R.IBRD: return s.ibrd;
      case R.FBRD: return s.fbrd;
      case R.LCR_H: return s.lcr;
      case R.CR: return s.cr;
      case R.IFLS: return s.ifls;
      case R.IMSC: return s.imsc;
      case R.RIS: return s.ris;
      case R.MIS: return s.ris & s.imsc;
      case R.DMACR: return s.dmacr;
      default: return offset >= 0xfe0 && offset < 0x1000 ? IDS[(offset - 0xfe0) >> 2]! : 0;
    }
  }

  write(offset: number, _size: number, v: number): void {
    const s = this.s;
    switch ((offset & ~3) as R) {
      case R.DR:
        this.transmit(v & 0xff);
        break;
      case R.RSR: s.rsr = 0; break;
      case R.ILPR: s.ilpr = v & 0xff; break;
      case R.IBRD: s.ibrd = v & 0xffff; break;
      case R.FBRD: s.fbrd = v & 63; break;
      case R.LCR_H:
        // Turning the FIFO on or off empties it.
        if ((s.lcr ^ v) & LCR_FEN) s.fifo = [];
        s.lcr = v & 0xff;
        break;
      case R.CR: {
        const on = (v & ~s.cr & (Cr.UARTEN | Cr.RXE)) !== 0;
        s.cr = v & 0xffff;
        if (on) this.o.onRoom?.();
        break;
      }
      case R.IFLS: s.ifls = v & 63; break;
      case R.IMSC: s.imsc = v & 0x7ff; break;
      case R.ICR: s.ris &= ~(v & 0x7ff); break;
      case R.DMACR: s.dmacr = v & 7; break;
      default: return;
    }
    this.syncIrq();
  }

  private transmit(byte: number): void {
    const s = this.s;
    // Like other models this one sends whether UARTEN and TXE are set or not: early consoles count on firmware for that.
    if (s.cr & Cr.LBE) {
      if (s.fifo.length < this.depth) {
        s.fifo.push(byte);
        this.received();
      } else s.ris |= I.OE;
    } else this.o.output(byte);
    s.ris |= I.TX;
  }
}
