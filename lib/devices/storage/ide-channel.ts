/**
 * One channel of a parallel ATA host adapter: command and control block registers of up to two devices (ACS-3 with the
 * registers of ATA-7, volume 2), programmed I/O, and the bus master that moves DMA data ("Programming Interface for Bus Master
 * IDE Controller", revision 1.0).
 */
import { bytePorts } from '../byte-io.js';
import type { GuestMemory, IoHandler, IrqLine, SavedState } from '../device.js';
import { array, bool, bytes, int, loadState, saveState, type Schema, u32, u8 } from '../saved.js';
import { AtaCmd, Control, DeviceReg, Status } from './ata/ata.spec.js';
import { type AtaDevice, Protocol } from './ata/device.js';
import { deviceToMemory, memoryToDevice } from './ata/dma.js';

const VERSION = 1;
/** The largest block between two interrupts: a byte count limit of ATAPI. */
const BUFFER = 65536;
/** What an empty channel reads as: its data line 7 is pulled down. */
const FLOATING = 0x7f;

/** Command block registers. */
const enum Reg { DATA = 0, ERROR_FEATURE = 1, COUNT = 2, LBA_LOW = 3, LBA_MID = 4, LBA_HIGH = 5, DEVICE = 6, STATUS_COMMAND = 7 }

/** Bus master registers. */
const enum Bm { COMMAND = 0, STATUS = 2, TABLE = 4 }
export const BM_BYTES = 8;
const enum BmCommand { START = 0x01, TO_MEMORY = 0x08, WRITABLE = 0x09 }
const enum BmStatus { ACTIVE = 0x01, ERROR = 0x02, INTERRUPT = 0x04, DRIVES = 0x60 }
const PRD_END = 0x8000_0000;
const PRD_BYTES = 8;
/** A table is at most 64 KiB. */
const MAX_PRDS = 65536 / PRD_BYTES;

interface State {
  /** Device register as written. */
  device: number;
  control: number;
  /** Each device's interrupt. */
  pending: boolean[];
  buffer: Uint8Array;
  at: number;
  /** The present block; 0: none. */
  end: number;
  bmCommand: number;
  bmStatus: number;
  bmTable: number;
}

const SCHEMA: Schema<State> = {
  device: u8, control: u8, pending: array(2, bool), buffer: bytes(BUFFER), at: int(0, BUFFER), end: int(0, BUFFER), bmCommand: u8, bmStatus: u8, bmTable: u32,
};

const initial = (): State => ({ device: 0, control: 0, pending: [false, false], buffer: new Uint8Array(BUFFER), at: 0, end: 0, bmCommand: 0, bmStatus: 0, bmTable: 0 });

export interface IdeChannelOptions {
  memory: GuestMemory;
  irq: IrqLine;
  /** Device 0 and device 1. */
  devices: readonly (AtaDevice | null)[];
}

export class IdeChannel {
  /** Eight registers: 1F0h or 170h. */
  readonly command: IoHandler;
  /** One: 3F6h or 376h. */
  readonly control: IoHandler;
  /** Eight registers of the bus master. */
  readonly busMaster: IoHandler;
  /** Whether the function may master the bus: set by it. */
  masterEnabled = (): boolean => true;

  private s = initial();
  private readonly devices: readonly [AtaDevice | null, AtaDevice | null];

  constructor(private readonly o: IdeChannelOptions) {
    this.devices = [o.devices[0] ?? null, o.devices[1] ?? null];
    this.command = { read: (a, size) => this.readCommand(a, size), write: (a, size, v) => this.writeCommand(a, size, v) };
    this.control = bytePorts(1, () => this.status(), (_a, v) => this.writeControl(v));
    this.busMaster = { read: (a, size) => this.readMaster(a, size), write: (a, size, v) => this.writeMaster(a, size, v) };
  }

  reset(): void {
    this.s = initial();
    for (const d of this.devices) d?.reset(true);
    this.syncIrq();
  }

  save(): SavedState {
    return { ...saveState(SCHEMA, VERSION, this.s), devices: this.devices.map((d) => d?.save() ?? null) };
  }

  /** @returns a function that takes the state over. @throws VmxError; nothing has changed then. */
  check(saved: unknown): () => void {
    const state = saved as SavedState;
    const s = loadState('IDE channel', SCHEMA, VERSION, state);
    const list: unknown[] = Array.isArray(state.devices) ? state.devices : [];
    const take = this.devices.map((d, i) => d?.check(list[i]));
    return () => {
      this.s = s;
      for (const t of take) t?.();
      this.syncIrq();
    };
  }

  private get selected(): AtaDevice | null {
    return this.devices[(this.s.device & DeviceReg.DEV) === 0 ? 0 : 1];
  }

  private get index(): 0 | 1 {
    return (this.s.device & DeviceReg.DEV) === 0 ? 0 : 1;
  }

  /** The one whose registers are read: device 0 answers for an absent device 1. */
  private get answering(): AtaDevice | null {
    return this.selected ?? this.devices[0] ?? this.devices[1];
  }

  private syncIrq(): void {
    this.o.irq.set(this.s.pending[this.index]! && !(this.s.control & Control.NIEN));
  }

  private interrupt(): void {
    const s = this.s;
    s.pending[this.index] = true;
    s.bmStatus |= BmStatus.INTERRUPT;
    this.syncIrq();
  }

  // ---- command block ----

  private readCommand(a: number, size: number): number {
    if (a === Reg.DATA && size > 1) return this.readData(size);
    let v = 0;
    for (let i = 0; i < size; i++) v |= (a + i > Reg.DATA && a + i <= Reg.STATUS_COMMAND ? this.read8(a + i) : 0xff) << (8 * i);
    return v >>> 0;
  }

  private writeCommand(a: number, size: number, v: number): void {
    if (a === Reg.DATA && size > 1) return this.writeData(size, v);
    for (let i = 0; i < size; i++) if (a + i > Reg.DATA && a + i <= Reg.STATUS_COMMAND) this.write8(a + i, (v >>> (8 * i)) & 0xff);
  }

  private status(): number {
    const d = this.selected;
    if (d !== null) return this.s.control & Control.SRST ? Status.BSY : d.r.status;
    return this.answering === null ? FLOATING : 0;
  }

  private read8(a: Reg): number {
    const d = this.answering;
    if (d === null) return FLOATING;
    const r = d.r;
    const shift = this.s.control & Control.HOB ? 8 : 0;
    switch (a) {
      case Reg.ERROR_FEATURE:
        return r.error;
      case Reg.COUNT:
        return (r.count >>> shift) & 0xff;
      case Reg.LBA_LOW:
        return (r.lbaLow >>> shift) & 0xff;
      case Reg.LBA_MID:
        return (r.lbaMid >>> shift) & 0xff;
      case Reg.LBA_HIGH:
        return (r.lbaHigh >>> shift) & 0xff;
      case Reg.DEVICE:
        return (r.device & ~DeviceReg.DEV) | (this.s.device & DeviceReg.DEV) | DeviceReg.OBSOLETE;
      default:
        this.s.pending[this.index] = false;
        this.syncIrq();
        return this.status();
    }
  }

  /** Both devices take what is written; only commands go to one. */
  private write8(a: Reg, v: number): void {
    const s = this.s;
    s.control &= ~Control.HOB;
    if (a === Reg.STATUS_COMMAND) return this.start(v);
    if (a === Reg.DEVICE) s.device = v;
    for (const d of this.devices) {
      if (d === null) continue;
      const r = d.r;
      switch (a) {
        case Reg.ERROR_FEATURE:
          r.feature = ((r.feature & 0xff) << 8) | v;
          break;
        case Reg.COUNT:
          r.count = ((r.count & 0xff) << 8) | v;
          break;
        case Reg.LBA_LOW:
          r.lbaLow = ((r.lbaLow & 0xff) << 8) | v;
          break;
        case Reg.LBA_MID:
          r.lbaMid = ((r.lbaMid & 0xff) << 8) | v;
          break;
        case Reg.LBA_HIGH:
          r.lbaHigh = ((r.lbaHigh & 0xff) << 8) | v;
          break;
        case Reg.DEVICE:
          r.device = v;
      }
    }
    this.syncIrq();
  }

  private writeControl(v: number): void {
    const s = this.s;
    const before = s.control;
    s.control = v & (Control.NIEN | Control.SRST | Control.HOB);
    if (before & Control.SRST && !(v & Control.SRST)) {
      for (const d of this.devices) d?.reset(false);
      s.device = 0;
      s.end = s.at = 0;
    }
    if (v & Control.SRST) s.pending.fill(false);
    this.syncIrq();
  }

  private start(command: number): void {
    const s = this.s;
    if (s.control & Control.SRST) return;
    s.pending[this.index] = false;
    s.at = s.end = 0;
    if (command === AtaCmd.EXECUTE_DIAGNOSTIC) {
      s.device &= ~DeviceReg.DEV;
      for (const d of this.devices) {
        if (d === null) continue;
        d.r.command = command;
        d.execute();
      }
      if (this.selected !== null) this.interrupt();
      return;
    }
    const d = this.selected;
    if (d === null) return this.syncIrq();
    d.r.command = command;
    d.execute();
    if (d.protocol === Protocol.PIO_OUT || d.protocol === Protocol.PACKET) {
      // The host may send the first block at once.
      this.nextBlock(d);
      this.syncIrq();
    } else this.afterStep(d);
  }

  /** The device has taken a step: what the host sees next. */
  private afterStep(d: AtaDevice): void {
    switch (d.protocol) {
      case Protocol.DMA_IN:
      case Protocol.DMA_OUT:
        this.syncIrq();
        return this.transfer();
      case Protocol.PIO_IN:
        return this.fillBlock(d);
      case Protocol.PIO_OUT:
        this.nextBlock(d);
        return this.interrupt();
      default:
        this.interrupt();
    }
  }

  // ---- programmed I/O ----

  private nextBlock(d: AtaDevice): number {
    const s = this.s;
    s.at = 0;
    s.end = Math.min(d.remaining, d.blockBytes || d.remaining, BUFFER);
    d.announce();
    return s.end;
  }

  private fillBlock(d: AtaDevice): void {
    const s = this.s;
    const n = this.nextBlock(d);
    if (d.dataIn(s.buffer.subarray(0, n)) < n) {
      s.end = 0;
      d.end();
    }
    this.interrupt();
  }

  private readData(size: number): number {
    const s = this.s;
    const d = this.selected;
    if (d === null || d.protocol !== Protocol.PIO_IN || s.at >= s.end) return size === 2 ? 0xffff : 0xffff_ffff;
    let v = 0;
    for (let i = 0; i < size; i++) v |= (s.at + i < s.end ? s.buffer[s.at + i]! : 0) << (8 * i);
    s.at += size;
    if (s.at >= s.end) this.blockRead(d);
    return v >>> 0;
  }

  private blockRead(d: AtaDevice): void {
    const s = this.s;
    s.at = s.end = 0;
    if (d.remaining > 0) return this.fillBlock(d);
    const packet = d.r.command === AtaCmd.PACKET;
    d.end();
    // A packet command ends with its status; others have said all with the last block.
    if (packet) this.interrupt();
  }

  private writeData(size: number, v: number): void {
    const s = this.s;
    const d = this.selected;
    if (d === null || (d.protocol !== Protocol.PIO_OUT && d.protocol !== Protocol.PACKET) || s.at >= s.end) return;
    for (let i = 0; i < size && s.at < s.end; i++) s.buffer[s.at++] = (v >>> (8 * i)) & 0xff;
    if (s.at < s.end) return;
    const block = s.buffer.subarray(0, s.end);
    s.at = s.end = 0;
    const taken = d.dataOut(block);
    if (taken === block.length && d.remaining > 0) {
      this.nextBlock(d);
      return this.interrupt();
    }
    d.end();
    this.afterStep(d);
  }

  // ---- bus master ----

  private readMaster(a: number, size: number): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.readMaster8(a + i);
    return v;
  }

  private readMaster8(a: number): number {
    const s = this.s;
    if (a === Bm.COMMAND) return s.bmCommand;
    if (a === Bm.STATUS) return s.bmStatus;
    return a >= Bm.TABLE && a < BM_BYTES ? (s.bmTable >>> (8 * (a - Bm.TABLE))) & 0xff : 0;
  }

  private writeMaster(a: number, size: number, v: number): void {
    for (let i = 0; i < size; i++) this.writeMaster8(a + i, (v >>> (8 * i)) & 0xff);
  }

  private writeMaster8(a: number, v: number): void {
    const s = this.s;
    if (a === Bm.COMMAND) {
      const before = s.bmCommand;
      s.bmCommand = v & BmCommand.WRITABLE;
      if (!(v & BmCommand.START)) s.bmStatus &= ~BmStatus.ACTIVE;
      else if (!(before & BmCommand.START)) {
        s.bmStatus |= BmStatus.ACTIVE;
        this.transfer();
      }
    } else if (a === Bm.STATUS) {
      s.bmStatus = (s.bmStatus & ~(v & (BmStatus.ERROR | BmStatus.INTERRUPT)) & ~BmStatus.DRIVES) | (v & BmStatus.DRIVES);
    } else if (a >= Bm.TABLE && a < BM_BYTES) {
      const shift = 8 * (a - Bm.TABLE);
      s.bmTable = ((s.bmTable & ~(0xff << shift)) | (v << shift)) & ~3;
      s.bmTable >>>= 0;
    }
  }

  /** Moves data if device and bus master are both ready for the same direction. */
  private transfer(): void {
    const s = this.s;
    const d = this.selected;
    if (d === null || !(s.bmStatus & BmStatus.ACTIVE) || !this.masterEnabled()) return;
    const input = d.protocol === Protocol.DMA_IN;
    if ((!input && d.protocol !== Protocol.DMA_OUT) || input !== ((s.bmCommand & BmCommand.TO_MEMORY) !== 0)) return;
    const mem = this.o.memory;
    let last = false;
    let stopped = false;
    for (let n = 0, prd = s.bmTable; n < MAX_PRDS && d.remaining > 0 && !last && !stopped; n++, prd += PRD_BYTES) {
      const at = mem.read32(prd);
      const word = mem.read32(prd + 4);
      const size = (word & 0xfffe) || 65536;
      const len = Math.min(size, d.remaining);
      const pa = at - (at % 2);
      const moved = input ? deviceToMemory(d, mem, pa, len) : memoryToDevice(d, mem, pa, len);
      last = word >= PRD_END && len === size;
      stopped = moved < len;
    }
    // More memory than data leaves the bus master active. The table ends before the data: the device waits, nobody is told (table 3-1 of the specification).
    if (d.remaining > 0 && !stopped) {
      s.bmStatus &= ~BmStatus.ACTIVE;
      return;
    }
    if (stopped && d.remaining > 0) s.bmStatus |= BmStatus.ERROR;
    if (last || stopped) s.bmStatus &= ~BmStatus.ACTIVE;
    d.end();
    this.interrupt();
  }
}
