/**
 * National Semiconductor PC16550D universal asynchronous receiver/transmitter (data sheet, section 8 "Registers").
 * Transmission is instantaneous for the reader of LSR, but the "transmitter empty" interrupt after a write comes after a
 * short while: drivers that loop until no interrupt is left (Linux does, with a limit) see an end.
 */
import { ByteIo } from '../byte-io.js';
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import { bool, int, list, loadState, saveState, time, u16, u8, type Schema } from '../saved.js';

const VERSION = 1;
const FIFO_SIZE = 16;
const CLOCK_HZ = 1843200;
/** Input accepted from the back end but not yet in the FIFO. */
const QUEUE_SIZE = 4096;
/** From a write of THR to its interrupt. */
const TX_INTERRUPT_NS = 20_000;

const enum Reg {
  /** RBR on reading, THR on writing; DLL with DLAB. */
  DATA = 0,
  /** DLM with DLAB. */
  IER = 1,
  /** IIR on reading, FCR on writing. */
  IIR = 2,
  LCR = 3,
  MCR = 4,
  LSR = 5,
  MSR = 6,
  SCR = 7,
}

const enum Ier {
  RDA = 0x01,
  THRE = 0x02,
  RLS = 0x04,
  MS = 0x08,
}

const enum Iir {
  NONE = 0x01,
  MS = 0x00,
  THRE = 0x02,
  RDA = 0x04,
  RLS = 0x06,
  TIMEOUT = 0x0c,
  FIFO = 0xc0,
}

const enum Fcr {
  ENABLE = 0x01,
  CLEAR_RX = 0x02,
  CLEAR_TX = 0x04,
  DMA = 0x08,
}

const enum Lcr {
  PARITY = 0x08,
  STOP2 = 0x04,
  BREAK = 0x40,
  DLAB = 0x80,
}

const enum Mcr {
  DTR = 0x01,
  RTS = 0x02,
  OUT1 = 0x04,
  OUT2 = 0x08,
  LOOP = 0x10,
}

const enum Lsr {
  DR = 0x01,
  OE = 0x02,
  BI = 0x10,
  THRE = 0x20,
  TEMT = 0x40,
  /** An error is in the FIFO. */
  ERR = 0x80,
}

const enum Msr {
  DCTS = 0x01,
  DDSR = 0x02,
  TERI = 0x04,
  DDCD = 0x08,
  CTS = 0x10,
  DSR = 0x20,
  RI = 0x40,
  DCD = 0x80,
}

const TRIGGER = [1, 4, 8, 14] as const;
/** FIFO entry: a byte, with this flag for a break. */
const BREAK_FLAG = 0x100;

/** Where characters go. */
export interface SerialBackend {
  /** The buffer is the model's own and is reused. */
  write(data: Uint8Array): void;
  /** Break condition on the line. */
  setBreak?(on: boolean): void;
  /** Modem outputs. */
  setModem?(dtr: boolean, rts: boolean): void;
  /** Called when input that `receive` turned away would now find room. */
  onRoom?(): void;
}

interface State {
  ier: number;
  fcr: number;
  lcr: number;
  mcr: number;
  /** OE and the break of the character at the top; DR, THRE and TEMT are computed. */
  lsr: number;
  msr: number;
  scr: number;
  divisor: number;
  /** The transmitter interrupt is pending. */
  thri: boolean;
  /** When it will be; -1: no. */
  thriAt: number;
  /** No character read or arrived for four character times while some wait. */
  timeout: boolean;
  timeoutAt: number;
  fifo: number[];
  queue: number[];
}

const SCHEMA: Schema<State> = {
  ier: int(0, 15),
  fcr: u8,
  lcr: u8,
  mcr: int(0, 31),
  lsr: u8,
  msr: u8,
  scr: u8,
  divisor: u16,
  thri: bool,
  thriAt: time,
  timeout: bool,
  timeoutAt: time,
  fifo: list(FIFO_SIZE, int(0, 0x1ff)),
  queue: list(QUEUE_SIZE, int(0, 0x1ff)),
};

function initial(): State {
  return {
    ier: 0,
    fcr: 0,
    lcr: 0,
    mcr: 0,
    lsr: 0,
    msr: Msr.CTS | Msr.DSR | Msr.DCD,
    scr: 0,
    divisor: 12,
    thri: true,
    thriAt: -1,
    timeout: false,
    timeoutAt: -1,
    fifo: [],
    queue: [],
  };
}

export interface Uart16550Options {
  /** For the name: 'uart@3f8'. */
  name: string;
  clock: DeviceClock;
  irq: IrqLine;
  backend: SerialBackend;
  /** The interrupt output is gated by OUT2, as on PC cards. Default true. */
  gateByOut2?: boolean;
}

export class Uart16550 extends ByteIo implements Device, IoHandler {
  readonly name: string;
  /** Eight registers, e.g. 3F8h-3FFh. */
  readonly ports: IoHandler = this;

  private readonly clock: DeviceClock;
  private readonly irq: IrqLine;
  private readonly backend: SerialBackend;
  private readonly gateByOut2: boolean;
  private readonly timer: DeviceTimer;
  private readonly txByte = new Uint8Array(1);

  /** Interrupt output as the controllers know it; null: not told yet. */
  private level: boolean | null = null;
  private s = initial();
  /** Modem inputs as the back end holds them. */
  private modemIn: number = Msr.CTS | Msr.DSR | Msr.DCD;

  constructor(o: Uart16550Options) {
    super(8);
    this.name = o.name;
    this.clock = o.clock;
    this.irq = o.irq;
    this.backend = o.backend;
    this.gateByOut2 = o.gateByOut2 !== false;
    this.timer = o.clock.timer(() => this.syncIrq());
  }

  reset(): void {
    const { queue } = this.s;
    this.s = initial();
    // Input is the user's, not the device's.
    this.s.queue = queue;
    this.s.msr = this.modemIn;
    this.level = null;
    this.syncIrq();
  }

  save(): SavedState {
    this.tick();
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
    this.level = null;
    this.syncIrq();
  }

  // ---- back end side ----

  /** Takes input; returns how many bytes found room. */
  receive(data: Uint8Array): number {
    const n = Math.min(data.length, QUEUE_SIZE - this.s.queue.length);
    for (let i = 0; i < n; i++) this.s.queue.push(data[i]);
    this.refill();
    this.syncIrq();
    return n;
  }

  /** The other side sends a break. */
  receiveBreak(): void {
    if (this.s.queue.length < QUEUE_SIZE) this.s.queue.push(BREAK_FLAG);
    this.refill();
    this.syncIrq();
  }

  setModemInputs(cts: boolean, dsr: boolean, dcd: boolean, ri: boolean): void {
    this.modemIn = (cts ? Msr.CTS : 0) | (dsr ? Msr.DSR : 0) | (dcd ? Msr.DCD : 0) | (ri ? Msr.RI : 0);
    this.updateMsr();
    this.syncIrq();
  }

  // ---- registers ----

  read8(offset: number): number {
    const s = this.s;
    switch (offset) {
      case Reg.DATA:
        return s.lcr & Lcr.DLAB ? s.divisor & 0xff : this.readData();
      case Reg.IER:
        return s.lcr & Lcr.DLAB ? s.divisor >> 8 : s.ier;
      case Reg.IIR: {
        this.tick();
        const id = this.interruptId();
        if (id === Iir.THRE) s.thri = false;
        this.syncIrq();
        return id | (s.fcr & Fcr.ENABLE ? Iir.FIFO : 0);
      }
      case Reg.LCR:
        return s.lcr;
      case Reg.MCR:
        return s.mcr;
      case Reg.LSR: {
        const v = this.lsr();
        if (s.lsr) {
          s.lsr = 0;
          if (s.fifo.length > 0) s.fifo[0] &= 0xff;
          this.syncIrq();
        }
        return v;
      }
      case Reg.MSR: {
        const v = s.msr;
        s.msr &= 0xf0;
        if (v & 0x0f) this.syncIrq();
        return v;
      }
      default:
        return s.scr;
    }
  }

  write8(offset: number, v: number): void {
    const s = this.s;
    switch (offset) {
      case Reg.DATA:
        if (s.lcr & Lcr.DLAB) s.divisor = (s.divisor & 0xff00) | v;
        else this.transmit(v);
        break;
      case Reg.IER:
        if (s.lcr & Lcr.DLAB) {
          s.divisor = (s.divisor & 0xff) | (v << 8);
          break;
        }
        // Enabling the transmitter interrupt with an empty transmitter interrupts at once; drivers probe for that.
        if (v & ~s.ier & Ier.THRE) {
          s.thri = true;
          s.thriAt = -1;
        }
        s.ier = v & 15;
        break;
      case Reg.IIR:
        this.writeFcr(v);
        break;
      case Reg.LCR:
        if ((s.lcr ^ v) & Lcr.BREAK && !(s.mcr & Mcr.LOOP)) this.backend.setBreak?.((v & Lcr.BREAK) !== 0);
        s.lcr = v;
        break;
      case Reg.MCR:
        s.mcr = v & 31;
        if (!(s.mcr & Mcr.LOOP)) this.backend.setModem?.((v & Mcr.DTR) !== 0, (v & Mcr.RTS) !== 0);
        this.updateMsr();
        this.refill();
        break;
      case Reg.SCR:
        s.scr = v;
        return;
    }
    this.syncIrq();
  }

  private readData(): number {
    const s = this.s;
    if (s.fifo.length === 0) return 0;
    const v = s.fifo.shift()! & 0xff;
    s.lsr &= ~Lsr.BI;
    s.timeout = false;
    s.timeoutAt = -1;
    this.topChanged();
    this.refill();
    this.syncIrq();
    return v;
  }

  private transmit(v: number): void {
    const s = this.s;
    if (s.ier & Ier.THRE) {
      s.thri = false;
      s.thriAt = this.clock.now() + TX_INTERRUPT_NS;
    } else {
      // Nobody can tell when: enabling the interrupt makes it pending anyway.
      s.thri = true;
      s.thriAt = -1;
    }
    if (s.mcr & Mcr.LOOP) {
      this.push(v);
      return;
    }
    this.txByte[0] = v;
    this.backend.write(this.txByte);
  }

  private writeFcr(v: number): void {
    const s = this.s;
    // Turning the FIFOs on or off clears them.
    const toggled = ((v ^ s.fcr) & Fcr.ENABLE) !== 0;
    if (toggled || v & Fcr.CLEAR_RX) {
      s.fifo.length = 0;
      s.lsr &= ~Lsr.BI;
      s.timeout = false;
      s.timeoutAt = -1;
    }
    if (toggled || v & Fcr.CLEAR_TX) {
      s.thri = true;
      s.thriAt = -1;
    }
    s.fcr = v & Fcr.ENABLE ? v & (Fcr.ENABLE | Fcr.DMA | 0xc0) : 0;
    this.refill();
  }

  /** Puts a character into the receiver; the FIFO keeps its content on overrun, the single register does not. */
  private push(v: number): void {
    const s = this.s;
    if (s.fifo.length >= this.depth()) {
      s.lsr |= Lsr.OE;
      if (!(s.fcr & Fcr.ENABLE)) s.fifo[0] = v;
    } else {
      s.fifo.push(v);
    }
    this.topChanged();
    s.timeout = false;
    s.timeoutAt = s.fcr & Fcr.ENABLE ? this.clock.now() + this.timeoutNs() : -1;
  }

  private refill(): void {
    const s = this.s;
    if (s.queue.length === 0 || s.mcr & Mcr.LOOP) return;
    const wasFull = s.queue.length >= QUEUE_SIZE;
    while (s.queue.length > 0 && s.fifo.length < this.depth()) this.push(s.queue.shift()!);
    if (wasFull && s.queue.length < QUEUE_SIZE) this.backend.onRoom?.();
  }

  /** LSR shows the errors of the character that is next to be read. */
  private topChanged(): void {
    const s = this.s;
    if (s.fifo.length > 0 && s.fifo[0] & BREAK_FLAG) s.lsr |= Lsr.BI;
  }

  private depth(): number {
    return this.s.fcr & Fcr.ENABLE ? FIFO_SIZE : 1;
  }

  private lsr(): number {
    const s = this.s;
    let v = s.lsr | Lsr.THRE | Lsr.TEMT | (s.fifo.length > 0 ? Lsr.DR : 0);
    if (s.fcr & Fcr.ENABLE) {
      for (let i = 0; i < s.fifo.length; i++) if (s.fifo[i] & BREAK_FLAG) v |= Lsr.ERR;
    }
    return v;
  }

  /** Four character times. */
  private timeoutNs(): number {
    const { lcr, divisor } = this.s;
    const bits = 1 + 5 + (lcr & 3) + (lcr & Lcr.PARITY ? 1 : 0) + (lcr & Lcr.STOP2 ? 2 : 1);
    return Math.ceil((4 * bits * (divisor || 65536) * 16 * 1e9) / CLOCK_HZ);
  }

  private updateMsr(): void {
    const s = this.s;
    let inputs = this.modemIn;
    if (s.mcr & Mcr.LOOP) {
      inputs =
        (s.mcr & Mcr.RTS ? Msr.CTS : 0) |
        (s.mcr & Mcr.DTR ? Msr.DSR : 0) |
        (s.mcr & Mcr.OUT1 ? Msr.RI : 0) |
        (s.mcr & Mcr.OUT2 ? Msr.DCD : 0);
    }
    const old = s.msr & 0xf0;
    let delta = ((old ^ inputs) >> 4) & (Msr.DCTS | Msr.DDSR | Msr.DDCD);
    if (old & Msr.RI && !(inputs & Msr.RI)) delta |= Msr.TERI;
    s.msr = inputs | (s.msr & 0x0f) | delta;
  }

  /** Lets the two delays of the model run out. */
  private tick(): void {
    const s = this.s;
    const now = this.clock.now();
    if (s.thriAt >= 0 && s.thriAt <= now) {
      s.thriAt = -1;
      s.thri = true;
    }
    if (s.timeoutAt >= 0 && s.timeoutAt <= now) {
      s.timeoutAt = -1;
      s.timeout = s.fifo.length > 0;
    }
  }

  private interruptId(): number {
    const s = this.s;
    if (s.ier & Ier.RLS && s.lsr & (Lsr.OE | Lsr.BI)) return Iir.RLS;
    if (s.ier & Ier.RDA) {
      const trigger = s.fcr & Fcr.ENABLE ? TRIGGER[s.fcr >> 6] : 1;
      if (s.fifo.length >= trigger) return Iir.RDA;
      if (s.timeout) return Iir.TIMEOUT;
    }
    if (s.ier & Ier.THRE && s.thri) return Iir.THRE;
    if (s.ier & Ier.MS && s.msr & 0x0f) return Iir.MS;
    return Iir.NONE;
  }

  private syncIrq(): void {
    // No interrupt is enabled and none shown, as while a kernel polls for each character of its console.
    if (this.s.ier === 0 && this.level === false && this.timer.deadline === Infinity) return;
    this.tick();
    const s = this.s;
    const gated = this.gateByOut2 && (!(s.mcr & Mcr.OUT2) || (s.mcr & Mcr.LOOP) !== 0);
    const level = !gated && this.interruptId() !== Iir.NONE;
    // Most calls change nothing: the interrupt controllers are told what is new.
    if (level !== this.level) this.irq.set((this.level = level));
    // A delay matters only to an interrupt that is enabled; others run out when somebody looks.
    const tx = s.ier & Ier.THRE && s.thriAt >= 0 ? s.thriAt : Infinity;
    const rx = s.ier & Ier.RDA && s.timeoutAt >= 0 ? s.timeoutAt : Infinity;
    const at = Math.min(tx, rx);
    if (at !== this.timer.deadline) this.timer.arm(at);
  }
}
