/**
 * Intel 82077AA floppy disk controller (data sheet 290166) as on a PC/AT, with up to two drives: all its commands, by DMA
 * channel 2 of the 8237A or byte by byte, implied seeks, polling after a reset, error terminations of table 5 ("Status
 * Register Encoding", 5.1 "Data Transfer Commands", 5.2 "Control Commands"). Mechanics take no time but for a fixed delay
 * after which a command goes on, and the FIFO neither overruns nor underruns: software waits for interrupts, not for angles.
 */
import { bytePorts } from '../byte-io.js';
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import type { I8237 } from '../dma/i8237.js';
import { array, bool, bytes, int, loadState, saveState, struct, time, u8, type Schema } from '../saved.js';
import { FLOPPY_SECTOR, FloppyDrive } from './floppy-drive.js';
import { Cmd, CmdBit, COMMAND_BYTES, Conf, Dir, Dor, Dsr, FdcPort, MODIFIERS, Msr, PARAMETERS, RESULT_BYTES, St0, St1, St2, St3 } from './i82077.spec.js';

const VERSION = 1;
const DMA_CHANNEL = 2;
const DRIVES = 4;
/** What a command waits for: the head settles, the sector comes round. */
const LATENCY_NS = 50_000;
/** How long a transfer waits for a DMA channel that is not set up yet: a revolution. */
const DMA_PATIENCE_NS = 200_000_000;
const DMA_RETRY_NS = 1_000_000;
const REVOLUTION_NS = 200_000_000;
/** A recalibration gives up after so many steps. */
const RECALIBRATE_STEPS = 79;
/** N of 512-byte sectors. */
const SIZE_CODE = 2;
const CHIP_VERSION = 0x90;
const FORMAT_ID_BYTES = 4;

const enum Phase { COMMAND = 0, PARAMETERS = 1, EXECUTION = 2, RESULT = 3 }

/** A data transfer: where it is. Names as in the data sheet. */
interface Transfer {
  c: number;
  h: number;
  r: number;
  n: number;
  /** Head that is switched on: HDS of the command, later the other side. */
  head: number;
  /** READ TRACK: the sector under the head; VERIFY with EC and FORMAT: sectors to go. */
  count: number;
  st1: number;
  st2: number;
  /** The buffer belongs to the present sector, and so many of its bytes have been moved. */
  started: boolean;
  at: number;
  /** The transfer ends after this sector. */
  last: boolean;
}

interface State {
  dor: number;
  tdr: number;
  dsr: number;
  phase: Phase;
  command: Uint8Array;
  have: number;
  result: Uint8Array;
  resultLength: number;
  resultAt: number;
  /** Present cylinder numbers. */
  pcn: number[];
  specify: number[];
  config: number;
  pretrk: number;
  lock: boolean;
  perpendicular: number;
  lastEot: number;
  int: boolean;
  /** Drives whose state after a reset SENSE INTERRUPT STATUS has yet to report. */
  polls: number;
  /** Drives whose heads move, and ST0 of seeks that nobody has asked for yet (0: none). */
  seeking: number;
  seekDone: number[];
  /** When heads arrive and when the command in execution goes on: ns, -1 never. */
  seekAt: number;
  goAt: number;
  giveUpAt: number;
  x: Transfer;
  buffer: Uint8Array;
}

const noTransfer = (): Transfer => ({ c: 0, h: 0, r: 0, n: 0, head: 0, count: 0, st1: 0, st2: 0, started: false, at: 0, last: false });
const TRANSFER: Schema<Transfer> = { c: u8, h: u8, r: u8, n: u8, head: int(0, 1), count: int(-1, 256), st1: u8, st2: u8, started: bool, at: int(0, FLOPPY_SECTOR - 1), last: bool };
const SCHEMA: Schema<State> = {
  dor: u8, tdr: u8, dsr: u8, phase: int(0, 3) as never, command: bytes(COMMAND_BYTES), have: int(0, COMMAND_BYTES), result: bytes(RESULT_BYTES), resultLength: int(0, RESULT_BYTES),
  resultAt: int(0, RESULT_BYTES), pcn: array(DRIVES, u8), specify: array(2, u8), config: u8, pretrk: u8, lock: bool, perpendicular: u8, lastEot: u8, int: bool, polls: int(0, 15),
  seeking: int(0, 15), seekDone: array(DRIVES, u8), seekAt: time, goAt: time, giveUpAt: time, x: struct(TRANSFER), buffer: bytes(FLOPPY_SECTOR),
};

function initial(): State {
  return {
    dor: 0, tdr: 0, dsr: 2, phase: Phase.COMMAND, command: new Uint8Array(COMMAND_BYTES), have: 0, result: new Uint8Array(RESULT_BYTES), resultLength: 0,
    resultAt: 0, pcn: [0, 0, 0, 0], specify: [0, 0], config: Conf.EFIFO, pretrk: 0, lock: false, perpendicular: 0, lastEot: 0, int: false, polls: 0,
    seeking: 0, seekDone: [0, 0, 0, 0], seekAt: -1, goAt: -1, giveUpAt: -1, x: noTransfer(), buffer: new Uint8Array(FLOPPY_SECTOR),
  };
}

export interface I82077Options {
  clock: DeviceClock;
  irq: IrqLine;
  dma: I8237;
  /** Drives A and B. */
  drives: readonly FloppyDrive[];
  log: (message: string) => void;
}

export class I82077 implements Device {
  readonly name = 'i82077';
  /** Ports 3F0h to 3F5h, and 3F7h. */
  readonly ports: IoHandler;
  readonly controlPort: IoHandler;
  readonly drives: readonly FloppyDrive[];

  private s = initial();
  private readonly seekTimer: DeviceTimer;
  private readonly goTimer: DeviceTimer;

  constructor(private readonly o: I82077Options) {
    this.drives = o.drives;
    this.seekTimer = o.clock.timer(() => this.headsArrive());
    this.goTimer = o.clock.timer(() => this.go());
    this.ports = bytePorts(6, (a) => this.read(a), (a, v) => this.write(a, v));
    this.controlPort = bytePorts(1, () => this.read(FdcPort.DIR), (_a, v) => this.write(FdcPort.DIR, v));
  }

  reset(): void {
    this.s = initial();
    this.seekTimer.disarm();
    this.goTimer.disarm();
    this.syncIrq();
  }

  save(): SavedState {
    return { ...saveState(SCHEMA, VERSION, this.s), drives: this.drives.map((d) => d.save()) };
  }

  restore(saved: SavedState): void {
    const s = loadState(this.name, SCHEMA, VERSION, saved);
    const list: unknown[] = Array.isArray(saved.drives) ? saved.drives : [];
    const drives = this.drives.map((_d, i) => FloppyDrive.check(list[i]));
    this.s = s;
    this.drives.forEach((d, i) => d.restore(drives[i]!));
    this.seekTimer.arm(s.seekAt < 0 ? Infinity : s.seekAt);
    this.goTimer.arm(s.goAt < 0 ? Infinity : s.goAt);
    this.syncIrq();
  }

  private syncIrq(): void {
    this.o.irq.set(this.s.int && (this.s.dor & Dor.DMA_GATE) !== 0);
  }

  // ---- registers (2.1) ----

  private read(a: number): number {
    const s = this.s;
    switch (a) {
      case FdcPort.DOR:
        return s.dor;
      case FdcPort.TDR:
        // Bits 2 to 7 are not driven.
        return s.tdr | 0xfc;
      case FdcPort.MSR:
        return this.mainStatus();
      case FdcPort.FIFO:
        return this.readFifo();
      case FdcPort.DIR: {
        const d = this.drives[s.dor & Dor.SELECT];
        return (d?.changed ? Dir.CHANGED : 0) | 0x7f;
      }
      default:
        return 0xff;
    }
  }

  private write(a: number, v: number): void {
    const s = this.s;
    switch (a) {
      case FdcPort.DOR: {
        const before = s.dor;
        s.dor = v;
        if (!(v & Dor.RESET)) this.stop();
        else if (!(before & Dor.RESET)) this.leaveReset();
        break;
      }
      case FdcPort.TDR:
        s.tdr = v & 3;
        break;
      case FdcPort.MSR:
        s.dsr = v & Dsr.WRITABLE;
        if (v & Dsr.RESET) {
          this.stop();
          if (s.dor & Dor.RESET) this.leaveReset();
        }
        break;
      case FdcPort.FIFO:
        this.writeFifo(v);
        break;
      case FdcPort.DIR:
        s.dsr = (s.dsr & ~Dsr.RATE) | (v & Dsr.RATE);
        break;
    }
    this.syncIrq();
  }

  private mainStatus(): number {
    const s = this.s;
    if (!(s.dor & Dor.RESET)) return 0;
    switch (s.phase) {
      case Phase.COMMAND:
        return Msr.RQM | s.seeking;
      case Phase.PARAMETERS:
        return Msr.RQM | Msr.BUSY | s.seeking;
      case Phase.RESULT:
        return Msr.RQM | Msr.DIO | Msr.BUSY | s.seeking;
      default:
        // RQM would ask for bytes by programmed I/O, which starts once the sector has come round.
        if (!this.nonDma || s.goAt >= 0) return Msr.BUSY | s.seeking | (this.nonDma ? Msr.NON_DMA : 0);
        return Msr.RQM | Msr.BUSY | Msr.NON_DMA | s.seeking | (this.towardsHost ? Msr.DIO : 0);
    }
  }

  private get nonDma(): boolean {
    return (this.s.specify[1]! & 1) !== 0;
  }

  /** A software reset (4.2): what is under way ends. FIFO parameters stay if they are locked. */
  private stop(): void {
    const s = this.s;
    this.seekTimer.disarm();
    this.goTimer.disarm();
    s.seekAt = s.goAt = s.giveUpAt = -1;
    s.phase = Phase.COMMAND;
    s.have = s.seeking = s.polls = 0;
    s.seekDone.fill(0);
    s.pcn.fill(0);
    s.int = false;
    s.perpendicular &= 0x3c;
    s.config = s.lock ? s.config & (Conf.EFIFO | Conf.FIFO_THRESHOLD) : Conf.EFIFO;
    if (!s.lock) s.pretrk = 0;
  }

  /** Polling finds all drives ready. */
  private leaveReset(): void {
    if (this.s.config & Conf.POLL) return;
    this.s.polls = 15;
    this.s.int = true;
  }

  private writeFifo(v: number): void {
    const s = this.s;
    if (!(s.dor & Dor.RESET)) return;
    if (s.phase === Phase.COMMAND) {
      s.command[0] = v;
      s.have = 1;
      const count = this.parameters(v);
      if (count < 0) {
        this.results([St0.INVALID]);
        return;
      }
      if (count === 0) this.run();
      else s.phase = Phase.PARAMETERS;
    } else if (s.phase === Phase.PARAMETERS) {
      s.command[s.have++] = v;
      if (s.have > this.parameters(s.command[0]!)) this.run();
    } else if (s.phase === Phase.EXECUTION && this.nonDma && s.goAt < 0 && !this.towardsHost) {
      s.buffer[s.x.at++] = v;
      if (s.x.at < this.unit) return;
      if (this.endSector(false)) this.startSector();
    }
  }

  /** @returns parameter bytes that follow this command byte, or -1 if it is none. */
  private parameters(command: number): number {
    const op: Cmd = command & CmdBit.OPCODE;
    const count = PARAMETERS[op];
    if (count === undefined || command & ~CmdBit.OPCODE & ~(MODIFIERS[op] ?? 0)) return -1;
    // DIR (the place of MFM) alone is no SEEK.
    return op === Cmd.SEEK && (command & (CmdBit.RELATIVE | CmdBit.MFM)) === CmdBit.MFM ? -1 : count;
  }

  private readFifo(): number {
    const s = this.s;
    if (!(s.dor & Dor.RESET)) return 0xff;
    if (s.phase === Phase.RESULT) {
      const v = s.result[s.resultAt++]!;
      s.int = this.arrived() >= 0;
      if (s.resultAt === s.resultLength) {
        s.phase = Phase.COMMAND;
        s.have = 0;
      }
      this.syncIrq();
      return v;
    }
    if (s.phase === Phase.EXECUTION && this.nonDma && s.goAt < 0 && this.towardsHost) {
      const v = s.buffer[s.x.at++]!;
      if (s.x.at === FLOPPY_SECTOR && this.endSector(false)) this.startSector();
      this.syncIrq();
      return v;
    }
    return 0xff;
  }

  private results(r: readonly number[]): void {
    const s = this.s;
    s.result.set(r);
    s.resultLength = r.length;
    s.resultAt = 0;
    s.phase = Phase.RESULT;
  }

  private done(): void {
    this.s.phase = Phase.COMMAND;
    this.s.have = 0;
  }

  // ---- commands ----

  private get op(): Cmd {
    return this.s.command[0]! & CmdBit.OPCODE;
  }

  private get select(): number {
    return this.s.command[1]! & 3;
  }

  private get hds(): number {
    return (this.s.command[1]! >> 2) & 1;
  }

  private run(): void {
    const s = this.s;
    const p = s.command;
    switch (this.op) {
      case Cmd.SPECIFY:
        s.specify = [p[1]!, p[2]!];
        this.done();
        break;
      case Cmd.SENSE_DRIVE:
        this.results([this.driveStatus()]);
        break;
      case Cmd.RECALIBRATE:
        this.recalibrate();
        break;
      case Cmd.SENSE_INTERRUPT:
        this.senseInterrupt();
        break;
      case Cmd.SEEK: {
        const rcn = p[0]! & CmdBit.MFM ? p[2]! : -p[2]!;
        this.seek(this.select, p[0]! & CmdBit.RELATIVE ? s.pcn[this.select]! + rcn : p[2]!);
        this.headsMove(St0.SEEK_END);
        break;
      }
      case Cmd.DUMPREG:
        this.results([...s.pcn, s.specify[0]!, s.specify[1]!, s.lastEot, (s.lock ? CmdBit.LOCK : 0) | s.perpendicular, s.config, s.pretrk]);
        break;
      case Cmd.VERSION:
        this.results([CHIP_VERSION]);
        break;
      case Cmd.PERPENDICULAR:
        // The drives' bits change only with OW.
        s.perpendicular = (p[1]! & 0x80 ? p[1]! & 0x3c : s.perpendicular & 0x3c) | (p[1]! & 3);
        this.done();
        break;
      case Cmd.CONFIGURE:
        s.config = p[2]! & (Conf.IMPLIED_SEEK | Conf.EFIFO | Conf.POLL | Conf.FIFO_THRESHOLD);
        s.pretrk = p[3]!;
        this.done();
        break;
      case Cmd.LOCK:
        s.lock = (p[0]! & CmdBit.LOCK) !== 0;
        this.results([s.lock ? 0x10 : 0]);
        break;
      default:
        this.begin();
    }
  }

  private driveStatus(): number {
    const d = this.drives[this.select];
    let v = St3.READY | St3.TWO_SIDED | (this.hds ? St3.HEAD : 0) | this.select;
    if (d?.track === 0) v |= St3.TRACK0;
    if (d?.writeProtected) v |= St3.WRITE_PROTECTED;
    return v;
  }

  private senseInterrupt(): void {
    const s = this.s;
    const drive = s.polls !== 0 ? 31 - Math.clz32(s.polls & -s.polls) : this.arrived();
    if (drive < 0) {
      this.results([St0.INVALID]);
      return;
    }
    if (s.polls !== 0) {
      s.polls &= s.polls - 1;
      this.results([St0.READY_CHANGED | drive, s.pcn[drive]!]);
    } else {
      this.results([s.seekDone[drive]!, s.pcn[drive]!]);
      s.seekDone[drive] = 0;
    }
    s.int = this.arrived() >= 0;
  }

  /** A drive whose seek is over and not asked for yet, or -1. */
  private arrived(): number {
    return this.s.seekDone.findIndex((st0, i) => st0 !== 0 && !((this.s.seeking >> i) & 1));
  }

  private seek(drive: number, to: number): void {
    const pcn = this.s.pcn;
    this.drives[drive]?.step(to - pcn[drive]!);
    pcn[drive] = to & 0xff;
  }

  private recalibrate(): void {
    const d = this.drives[this.select];
    const ok = d !== undefined && d.track <= RECALIBRATE_STEPS;
    d?.step(-RECALIBRATE_STEPS);
    this.s.pcn[this.select] = 0;
    this.headsMove(ok ? St0.SEEK_END : St0.SEEK_END | St0.ABNORMAL | St0.EC);
  }

  /** The command is over; its interrupt comes when the head is there. */
  private headsMove(st0: number): void {
    const s = this.s;
    s.seeking |= 1 << this.select;
    s.seekDone[this.select] = st0 | this.select;
    s.seekAt = this.o.clock.now() + LATENCY_NS;
    this.seekTimer.arm(s.seekAt);
    this.done();
  }

  private headsArrive(): void {
    const s = this.s;
    s.seeking = 0;
    s.seekAt = -1;
    s.int = true;
    this.syncIrq();
  }

  // ---- data transfers (5.1) ----

  /** The host reads what the disk has. */
  private get towardsHost(): boolean {
    const op = this.op;
    return op === Cmd.READ || op === Cmd.READ_DELETED || op === Cmd.READ_TRACK;
  }

  private get scanning(): boolean {
    const op = this.op;
    return op === Cmd.SCAN_EQUAL || op === Cmd.SCAN_LOW || op === Cmd.SCAN_HIGH;
  }

  private get writing(): boolean {
    const op = this.op;
    return op === Cmd.WRITE || op === Cmd.WRITE_DELETED || op === Cmd.FORMAT;
  }

  /** Bytes moved between two looks at the disk. */
  private get unit(): number {
    return this.op === Cmd.FORMAT ? FORMAT_ID_BYTES : FLOPPY_SECTOR;
  }

  /** A command with an execution phase. */
  private begin(): void {
    const s = this.s;
    const p = s.command;
    const op = this.op;
    const x = (s.x = noTransfer());
    x.head = this.hds;
    if (op === Cmd.FORMAT) {
      x.n = p[2]!;
      x.count = p[3]!;
      s.lastEot = x.count;
    } else if (op !== Cmd.READ_ID) {
      [x.c, x.h, x.r, x.n] = [p[2]!, p[3]!, p[4]!, p[5]!];
      s.lastEot = p[6]!;
      if (op === Cmd.READ_TRACK) x.count = 1;
      // EC of VERIFY: the byte behind GPL counts sectors, 0 for 256.
      else if (op === Cmd.VERIFY) x.count = p[1]! & 0x80 ? p[8]! || 256 : -1;
      if (s.config & Conf.IMPLIED_SEEK && s.pcn[this.select] !== x.c) this.seek(this.select, x.c);
    }
    s.phase = Phase.EXECUTION;
    s.giveUpAt = this.o.clock.now() + LATENCY_NS + DMA_PATIENCE_NS;
    this.later(LATENCY_NS);
  }

  private later(ns: number): void {
    this.s.goAt = this.o.clock.now() + ns;
    this.goTimer.arm(this.s.goAt);
  }

  /** The sector has come round. */
  private go(): void {
    const s = this.s;
    s.goAt = -1;
    if (s.phase === Phase.EXECUTION) {
      if (this.op === Cmd.READ_ID) this.readId();
      else if (this.op === Cmd.VERIFY) while (this.startSector() && this.endSector(false));
      else if (!this.nonDma) this.moveByDma();
      else if (this.startSector()) s.int = true;
    }
    this.syncIrq();
  }

  /** Every round ends the command, moves on by a sector, or gives up for now. */
  private moveByDma(): void {
    const s = this.s;
    const dma = this.o.dma;
    const out = this.towardsHost;
    while (this.startSector()) {
      const x = s.x;
      const ready = dma.available(DMA_CHANNEL, out);
      if (ready === 0) {
        if (this.o.clock.now() < s.giveUpAt) this.later(DMA_RETRY_NS);
        else this.finish(St0.ABNORMAL, St1.OVERRUN, 0);
        return;
      }
      const part = s.buffer.subarray(x.at, Math.min(this.unit, x.at + ready));
      if (out) dma.toMemory(DMA_CHANNEL, part);
      else dma.fromMemory(DMA_CHANNEL, part);
      x.at += part.length;
      if (!this.endSector(part.length === ready)) return;
    }
  }

  /** What a drive's head can read: nothing without a disk, at another rate than it was written at, or in FM. */
  private readable(d: FloppyDrive | undefined): d is FloppyDrive {
    const f = d?.format;
    if (f === undefined || f === null || d === undefined) return false;
    return (this.s.command[0]! & CmdBit.MFM) !== 0 && f.rates.includes(this.s.dsr & Dsr.RATE) && this.s.x.head < f.heads && d.track < f.tracks;
  }

  /** Makes the buffer ready for the sector under the head. @returns false if the command is over. */
  private startSector(): boolean {
    const s = this.s;
    const x = s.x;
    if (x.started) return true;
    const d = this.drives[this.select];
    const op = this.op;
    if (this.writing && d?.writeProtected) return this.finish(St0.ABNORMAL, St1.NOT_WRITABLE, 0);
    // FORMAT needs no marks, but the image needs a place for the track.
    if (!this.readable(d)) return this.finish(St0.ABNORMAL, op === Cmd.FORMAT ? St1.NOT_WRITABLE : St1.MA, 0);
    if (op === Cmd.FORMAT && x.count === 0) return this.finish(0, 0, 0);
    while (op !== Cmd.FORMAT) {
      const r = op === Cmd.READ_TRACK ? x.count : x.r;
      const found = d.has(x.head, r);
      const match = found && x.c === d.track && x.h === x.head && x.n === SIZE_CODE && x.r === r;
      // READ TRACK reads whatever is there and only reports that it was not what was asked for.
      if (!match && !(op === Cmd.READ_TRACK && found)) return this.finish(St0.ABNORMAL, St1.ND, x.c === d.track ? 0 : St2.WRONG_CYLINDER);
      if (!match) x.st1 |= St1.ND;
      if (!this.writing && d.isDeleted(x.head, r) !== (op === Cmd.READ_DELETED)) {
        x.st2 |= St2.CM;
        if (s.command[0]! & CmdBit.SK && op !== Cmd.READ_TRACK) {
          if (!this.advance()) return this.finish(St0.ABNORMAL, St1.END_OF_CYLINDER, 0);
          continue;
        }
        if (op !== Cmd.READ_TRACK) x.last = true;
      }
      if (!this.load(d, r)) return false;
      break;
    }
    x.started = true;
    x.at = 0;
    return true;
  }

  private load(d: FloppyDrive, r: number): boolean {
    if (!this.towardsHost && this.op !== Cmd.VERIFY) return true;
    try {
      d.read(this.s.x.head, r, this.s.buffer);
      return true;
    } catch (e) {
      return this.failed(e);
    }
  }

  private failed(e: unknown): false {
    this.o.log(`${this.name}: ${(e as Error).message}`);
    return this.finish(St0.ABNORMAL, St1.DE, St2.DD);
  }

  /**
   * The sector is through, or with `tc` the host wants no more of it. @returns false if the command is over; else the sector is
   * through, or more of it is to come.
   */
  private endSector(tc: boolean): boolean {
    const s = this.s;
    const x = s.x;
    const d = this.drives[this.select];
    if (this.op === Cmd.VERIFY) x.at = FLOPPY_SECTOR;
    if (x.at < this.unit && !tc) return true;
    const moved = x.at;
    x.started = false;
    x.at = 0;
    if (d === undefined) return this.finish(St0.ABNORMAL, St1.MA, 0);
    try {
      if (this.op === Cmd.FORMAT) {
        if (moved === FORMAT_ID_BYTES) this.formatSector(d);
        return tc || x.count === 0 ? this.finish(0, 0, 0) : true;
      }
      if (this.writing) {
        s.buffer.fill(0, moved);
        d.write(x.head, x.r, s.buffer, this.op === Cmd.WRITE_DELETED);
      } else if (this.scanning && moved === FLOPPY_SECTOR && this.scan(d)) {
        return this.finish(0, 0, 0);
      }
    } catch (e) {
      return this.failed(e);
    }
    const more = this.advance();
    if (this.op === Cmd.VERIFY && x.count > 0 && --x.count === 0) return this.finish(0, 0, 0);
    if (tc || x.last || (this.op === Cmd.VERIFY && !more && x.count < 0)) return this.finish(0, 0, 0);
    return more || this.finish(St0.ABNORMAL, St1.END_OF_CYLINDER, 0);
  }

  /** To the next sector (table 5-5). @returns false at the end of what the command covers. */
  private advance(): boolean {
    const x = this.s.x;
    const p = this.s.command;
    const eot = p[6]!;
    if (this.op === Cmd.READ_TRACK) x.count = Math.min(255, x.count + 1);
    const next = x.r + (this.scanning ? Math.min(2, Math.max(1, p[8]!)) : 1);
    if (this.op === Cmd.READ_TRACK ? x.count <= eot : next <= eot) {
      x.r = next & 0xff;
      return this.op !== Cmd.READ_TRACK || x.count < 255;
    }
    x.r = 1;
    const mt = (p[0]! & CmdBit.MT) !== 0;
    if (mt) x.h ^= 1;
    if (mt && x.head === 0) {
      x.head = 1;
      return true;
    }
    if (mt) x.head = 0;
    x.c = (x.c + 1) & 0xff;
    return false;
  }

  /** FORMAT TRACK has an address field; the image has a place only for those of its own format. */
  private formatSector(d: FloppyDrive): void {
    const s = this.s;
    const [c, h, r, n] = s.buffer;
    s.x.count--;
    if (c === d.track && h === s.x.head && n === SIZE_CODE && d.has(h, r!)) d.write(h, r!, s.buffer.fill(s.command[5]!), false);
  }

  /** Compares the host's sector with the disk's; a byte of FFh on either side fits everything. @returns true if they agree. */
  private scan(d: FloppyDrive): boolean {
    const s = this.s;
    const disk = new Uint8Array(FLOPPY_SECTOR);
    d.read(s.x.head, s.x.r, disk);
    let equal = true;
    let met = true;
    for (let i = 0; i < FLOPPY_SECTOR; i++) {
      const host = s.buffer[i]!;
      if (host === disk[i] || host === 0xff || disk[i] === 0xff) continue;
      equal = false;
      met &&= this.op === Cmd.SCAN_LOW ? disk[i]! < host : this.op === Cmd.SCAN_HIGH && disk[i]! > host;
    }
    s.x.st2 = (s.x.st2 & ~(St2.SCAN_EQUAL | St2.SCAN_NOT_SATISFIED)) | (equal ? St2.SCAN_EQUAL : met ? 0 : St2.SCAN_NOT_SATISFIED);
    return met;
  }

  private readId(): void {
    const s = this.s;
    const d = this.drives[this.select];
    if (!this.readable(d)) {
      this.finish(St0.ABNORMAL, St1.MA, 0);
      return;
    }
    const angle = (this.o.clock.now() % REVOLUTION_NS) / REVOLUTION_NS;
    Object.assign(s.x, { c: d.track, h: s.x.head, r: 1 + Math.floor(angle * d.format!.sectors), n: SIZE_CODE });
    this.finish(0, 0, 0);
  }

  /** Result phase of a data transfer. @returns false: the command is over. */
  private finish(st0: number, st1: number, st2: number): false {
    const s = this.s;
    const x = s.x;
    if (this.writing) {
      try {
        this.drives[this.select]?.flush();
      } catch (e) {
        this.o.log(`${this.name}: ${(e as Error).message}`);
        st0 |= St0.ABNORMAL;
        st1 |= St1.DE;
      }
    }
    x.started = false;
    x.at = 0;
    s.giveUpAt = -1;
    s.int = true;
    this.results([st0 | (x.head ? St0.HEAD : 0) | this.select, x.st1 | st1, x.st2 | st2, x.c, x.h, x.r, x.n]);
    return false;
  }
}
