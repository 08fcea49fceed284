/**
 * NVM Express controller (NVM Express 1.4c) with one namespace: an admin queue and up to 16 pairs of I/O queues, PRP lists, MSI-X
 * or INTx. Commands are executed when their doorbell rings, in order; a full completion queue holds up the submission queues that
 * feed it until its own doorbell rings.
 */
import type { BlockBackend } from '../../block/backend.js';
import { VmxError } from '../../errors.js';
import type { DeviceClock, GuestMemory, SavedState } from '../device.js';
import { type MsixTable, PciFunction, type PciHost } from '../pci/pci.js';
import { array, bool, int, list, loadState, saveState, struct, type Schema, u16, u32 } from '../saved.js';
import { FEATURE_IDS, FEATURES, IDENTIFY_BYTES, identifyController, identifyDescriptors, identifyNamespace, logPage } from './nvme-admin.js';
import {
  Admin, ASYNC_LIMIT, AsyncError, CAP_HI, CAP_LO, CAP_MQES, Cc, Cns, CQE_BYTES, Csts, Feature, IO_QUEUES, LBA_BYTES, LogPage, MAX_TRANSFER, MPSMAX, Nvm,
  NvmeCommand, Reg, Sc, SQE_BYTES, VERSION_1_4,
} from './nvme.spec.js';
import { Segments } from './segments.js';

const STATE_VERSION = 1;
/** Red Hat's range for devices of experiments: drivers go by the class code. */
const VENDOR = 0x1af4;
const DEVICE = 0x10f0;
const SUBSYSTEM = 0x1100;
const REGISTERS = 0x4000;
const ALL_NAMESPACES = 0xffff_ffff;
const HOUR_NS = 3600e9;
/** Status field: do not retry. */
const DNR = 1 << 14;
const DSM_RANGE = 16;
const FUA = 0x4000_0000;
const DEALLOCATE_ZEROES = 0x0200_0000;

interface Sq {
  /** Physical address; the queue exists if `size` is not 0. */
  base: number;
  /** Entries. */
  size: number;
  head: number;
  tail: number;
  cqid: number;
}

interface Cq {
  base: number;
  size: number;
  /** What the driver has taken, by its doorbell. */
  head: number;
  tail: number;
  phase: number;
  interrupts: boolean;
  vector: number;
}

interface State {
  intms: number;
  cc: number;
  csts: number;
  aqa: number;
  asqLo: number;
  asqHi: number;
  acqLo: number;
  acqHi: number;
  sq: Sq[];
  cq: Cq[];
  /** Values of FEATURE_IDS in that order. */
  features: number[];
  /** Command identifiers of outstanding asynchronous event requests. */
  asyncRequests: number[];
  /** Events not told yet (dword 0 of the completion). */
  asyncEvents: number[];
  /** An error event has been told and the log page not read since. */
  errorMasked: boolean;
  dataRead: number;
  dataWritten: number;
  reads: number;
  writes: number;
}

const count = int(0, Number.MAX_SAFE_INTEGER);
const entries = int(0, CAP_MQES + 1);
const SQ_SCHEMA: Schema<Sq> = { base: int(0, 2 ** 52), size: entries, head: entries, tail: entries, cqid: int(0, IO_QUEUES) };
const CQ_SCHEMA: Schema<Cq> = { base: int(0, 2 ** 52), size: entries, head: entries, tail: entries, phase: int(0, 1), interrupts: bool, vector: int(0, IO_QUEUES) };
const SCHEMA: Schema<State> = {
  intms: u32, cc: u32, csts: u32, aqa: u32, asqLo: u32, asqHi: u32, acqLo: u32, acqHi: u32, sq: array(IO_QUEUES + 1, struct(SQ_SCHEMA)), cq: array(IO_QUEUES + 1, struct(CQ_SCHEMA)),
  features: array(FEATURE_IDS.length, u32), asyncRequests: list(ASYNC_LIMIT, u16), asyncEvents: list(ASYNC_LIMIT, u32), errorMasked: bool,
  dataRead: count, dataWritten: count, reads: count, writes: count,
};

const noSq = (): Sq => ({ base: 0, size: 0, head: 0, tail: 0, cqid: 0 });
const noCq = (): Cq => ({ base: 0, size: 0, head: 0, tail: 0, phase: 1, interrupts: false, vector: 0 });

function initial(): State {
  const queues = Array.from({ length: IO_QUEUES + 1 });
  return {
    intms: 0, cc: 0, csts: 0, aqa: 0, asqLo: 0, asqHi: 0, acqLo: 0, acqHi: 0, sq: queues.map(noSq), cq: queues.map(noCq),
    features: FEATURE_IDS.map((id) => FEATURES.get(id)!.default), asyncRequests: [], asyncEvents: [], errorMasked: false,
    dataRead: 0, dataWritten: 0, reads: 0, writes: 0,
  };
}

export interface NvmeOptions {
  memory: GuestMemory;
  clock: DeviceClock;
  disk: BlockBackend;
  /** Up to 20 characters. */
  serial: string;
  log: (message: string) => void;
}

export class Nvme extends PciFunction {
  private readonly mem: GuestMemory;
  private readonly disk: BlockBackend;
  private readonly vectors: MsixTable;
  private readonly cmd = new NvmeCommand();
  private readonly data: Segments;
  private readonly cqe = new Uint8Array(CQE_BYTES);
  private readonly cqeView = new DataView(this.cqe.buffer);
  private readonly ranges = new Uint8Array(256 * DSM_RANGE);
  private readonly rangeView = new DataView(this.ranges.buffer);
  /** Completion queues that have got entries since interrupts were last raised. */
  private readonly fresh = new Uint8Array(IO_QUEUES + 1);
  // Volatile state.
  private s = initial();

  constructor(name: string, host: PciHost, slot: number, private readonly o: NvmeOptions) {
    super(name, host, slot << 3, { vendor: VENDOR, device: DEVICE, class: 0x0108, progIf: 2, revision: 1, subsysVendor: VENDOR, subsys: SUBSYSTEM, pin: 1 });
    this.mem = o.memory;
    this.disk = o.disk;
    this.data = new Segments(o.memory);
    this.addBar(0, 'mem64', REGISTERS, { read: (at, size) => this.regRead(at, size), write: (at, size, v) => this.regWrite(at, size, v) });
    this.vectors = this.addMsix(4, IO_QUEUES + 1);
    this.sealConfig();
  }

  // ---- registers ----

  private regRead(at: number, size: number): number {
    const word = this.word(at & ~3);
    return size === 4 ? word >>> 0 : (word >>> ((at & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private word(at: number): number {
    const s = this.s;
    switch (at) {
      case Reg.CAP:
        return CAP_LO;
      case Reg.CAP + 4:
        return CAP_HI;
      case Reg.VS:
        return VERSION_1_4;
      case Reg.INTMS:
      case Reg.INTMC:
        return s.intms;
      case Reg.CC:
        return s.cc;
      case Reg.CSTS:
        return s.csts;
      case Reg.AQA:
        return s.aqa;
      case Reg.ASQ:
        return s.asqLo;
      case Reg.ASQ + 4:
        return s.asqHi;
      case Reg.ACQ:
        return s.acqLo;
      case Reg.ACQ + 4:
        return s.acqHi;
      default:
        return 0;
    }
  }

  private regWrite(at: number, size: number, v: number): void {
    // Registers are written in words; anything else has no defined effect (3.1).
    if (size !== 4 || at & 3) return;
    const s = this.s;
    const enabled = (s.cc & Cc.EN) !== 0;
    if (at >= Reg.DOORBELLS) return this.doorbell((at - Reg.DOORBELLS) >> 2, v & 0xffff);
    switch (at) {
      case Reg.INTMS:
        s.intms = (s.intms | v) >>> 0;
        this.syncLine();
        break;
      case Reg.INTMC:
        s.intms = (s.intms & ~v) >>> 0;
        this.syncLine();
        break;
      case Reg.CC:
        this.configure(v & Cc.WRITABLE);
        break;
      case Reg.AQA:
        if (!enabled) s.aqa = v & 0x0fff_0fff;
        break;
      case Reg.ASQ:
        if (!enabled) s.asqLo = (v & ~0xfff) >>> 0;
        break;
      case Reg.ASQ + 4:
        if (!enabled) s.asqHi = v;
        break;
      case Reg.ACQ:
        if (!enabled) s.acqLo = (v & ~0xfff) >>> 0;
        break;
      case Reg.ACQ + 4:
        if (!enabled) s.acqHi = v;
        break;
      default:
        break;
    }
  }

  private get pageSize(): number {
    return 4096 << ((this.s.cc >>> Cc.MPS_SHIFT) & 15);
  }

  private configure(v: number): void {
    const s = this.s;
    const before = s.cc;
    s.cc = v;
    if (!(v & Cc.EN) && before & Cc.EN) this.controllerReset();
    if (v & Cc.EN && !(before & Cc.EN)) this.enable();
    if (((v >>> Cc.SHN_SHIFT) & 3) !== 0 && ((before >>> Cc.SHN_SHIFT) & 3) === 0) {
      this.flushDisk();
      s.csts = (s.csts & ~(3 << Csts.SHST_SHIFT)) | Csts.SHST_DONE;
    }
  }

  private enable(): void {
    const s = this.s;
    const cc = s.cc;
    const asq = address(s.asqLo, s.asqHi);
    const acq = address(s.acqLo, s.acqHi);
    const sizes = [(s.aqa & 0xfff) + 1, (s.aqa >>> 16) + 1] as const;
    const page = this.pageSize;
    const ok =
      ((cc >>> Cc.CSS_SHIFT) & 7) === 0 && ((cc >>> Cc.MPS_SHIFT) & 15) <= MPSMAX && ((cc >>> Cc.AMS_SHIFT) & 7) === 0 && sizes[0] >= 2 && sizes[1] >= 2 && sizes[0] <= CAP_MQES + 1 && sizes[1] <= CAP_MQES + 1 &&
      asq % page === 0 && acq % page === 0 && this.mem.valid(asq, sizes[0] * SQE_BYTES) && this.mem.valid(acq, sizes[1] * CQE_BYTES);
    if (!ok) {
      this.o.log(`${this.name}: the driver's admin queues or configuration are not valid`);
      s.csts |= Csts.CFS;
      return;
    }
    s.sq[0] = { ...noSq(), base: asq, size: sizes[0] };
    s.cq[0] = { ...noCq(), base: acq, size: sizes[1], interrupts: true };
    s.csts = Csts.RDY;
  }

  /** 7.3.1: queues are gone; the admin queue's registers stay, and so do the counters. */
  private controllerReset(): void {
    const { cc, intms, aqa, asqLo, asqHi, acqLo, acqHi, dataRead, dataWritten, reads, writes } = this.s;
    this.s = { ...initial(), cc, intms, aqa, asqLo, asqHi, acqLo, acqHi, dataRead, dataWritten, reads, writes };
    this.fresh.fill(0);
    this.syncLine();
  }

  private flushDisk(): boolean {
    try {
      this.disk.flush();
      return true;
    } catch (e) {
      this.o.log(`${this.name}: ${(e as Error).message}`);
      return false;
    }
  }

  // ---- queues ----

  /** Doorbell n: submission queue tails have even numbers, completion queue heads odd ones. */
  private doorbell(n: number, v: number): void {
    const s = this.s;
    if (!(s.csts & Csts.RDY) || s.csts & Csts.CFS) return;
    const q = n >> 1;
    if (n & 1) {
      const cq = s.cq[q];
      if (cq === undefined || cq.size === 0) return this.asyncError(AsyncError.INVALID_DOORBELL_REGISTER);
      // The new head must lie between the old one and the tail.
      if (v >= cq.size || (v - cq.head + cq.size) % cq.size > (cq.tail - cq.head + cq.size) % cq.size) return this.asyncError(AsyncError.INVALID_DOORBELL_VALUE);
      cq.head = v;
      for (let i = 0; i <= IO_QUEUES; i++) if (s.sq[i]!.size !== 0 && s.sq[i]!.cqid === q) this.process(i);
      this.syncLine();
    } else {
      const sq = s.sq[q];
      if (sq === undefined || sq.size === 0) return this.asyncError(AsyncError.INVALID_DOORBELL_REGISTER);
      if (v >= sq.size) return this.asyncError(AsyncError.INVALID_DOORBELL_VALUE);
      sq.tail = v;
      this.process(q);
    }
  }

  private static full(cq: Cq): boolean {
    return (cq.tail + 1) % cq.size === cq.head;
  }

  /** Executes what submission queue q holds, as far as there is room for completions. */
  private process(q: number): void {
    if (!this.busMaster) return;
    const s = this.s;
    const sq = s.sq[q]!;
    const { cmd } = this;
    // Bounded by the queue: nothing in here moves the tail. A command may delete the queue, or reset must not be missed: look again.
    for (let n = sq.size; n > 0 && s.sq[q] === sq && sq.head !== sq.tail; n--) {
      const cq = s.cq[sq.cqid]!;
      if (cq.size === 0 || Nvme.full(cq)) break;
      if (!this.mem.readInto(sq.base + sq.head * SQE_BYTES, cmd.bytes)) {
        this.fatal('a submission queue is not in RAM');
        return;
      }
      sq.head = (sq.head + 1) % sq.size;
      cmd.result = 0;
      const status = q === 0 ? this.admin() : this.io();
      if (status !== Sc.PENDING) this.post(sq.cqid, q, sq.head, cmd.cid, status, cmd.result);
    }
    this.tellEvents();
    this.interrupt();
  }

  private fatal(why: string): void {
    this.o.log(`${this.name}: ${why}`);
    this.s.csts |= Csts.CFS;
  }

  private post(cqid: number, sqid: number, sqHead: number, cid: number, status: number, result: number): void {
    const cq = this.s.cq[cqid]!;
    const v = this.cqeView;
    v.setUint32(0, result, true);
    v.setUint32(4, 0, true);
    v.setUint16(8, sqHead, true);
    v.setUint16(10, sqid, true);
    v.setUint16(12, cid, true);
    v.setUint16(14, ((status === Sc.SUCCESS ? 0 : status | DNR) << 1) | cq.phase, true);
    if (!this.mem.writeFrom(cq.base + cq.tail * CQE_BYTES, this.cqe)) return this.fatal('a completion queue is not in RAM');
    cq.tail++;
    if (cq.tail === cq.size) {
      cq.tail = 0;
      cq.phase ^= 1;
    }
    this.fresh[cqid] = 1;
  }

  /** Raises the vectors of queues with new entries. */
  private interrupt(): void {
    for (let i = 0; i <= IO_QUEUES; i++) {
      if (this.fresh[i] === 0) continue;
      this.fresh[i] = 0;
      const cq = this.s.cq[i]!;
      if (cq.interrupts && this.msixEnabled()) this.vectors.raise(cq.vector);
    }
    this.syncLine();
  }

  /** INTx: asserted while a queue has entries the driver has not taken and its vector is not masked (7.5.1). */
  private syncLine(): void {
    let level = false;
    if (!this.msixEnabled()) for (const cq of this.s.cq) if (cq.size !== 0 && cq.interrupts && cq.head !== cq.tail && (cq.vector > 31 || !((this.s.intms >>> cq.vector) & 1))) level = true;
    this.setIntx(level);
  }

  protected override configWritten(): void {
    this.syncLine();
  }

  // ---- asynchronous events ----

  private asyncError(info: AsyncError): void {
    const s = this.s;
    if (s.errorMasked) return;
    s.errorMasked = true;
    s.asyncEvents.push((info << 8) | (LogPage.ERRORS << 16));
    this.tellEvents();
    this.interrupt();
  }

  private tellEvents(): void {
    const s = this.s;
    while (s.asyncEvents.length > 0 && s.asyncRequests.length > 0 && s.cq[0]!.size !== 0 && !Nvme.full(s.cq[0]!)) {
      this.post(0, 0, s.sq[0]!.head, s.asyncRequests.shift()!, Sc.SUCCESS, s.asyncEvents.shift()!);
    }
  }

  // ---- data ----

  /** Collects the `length` bytes that PRP1 and PRP2 describe (4.3) in `data`. */
  private prps(length: number): Sc {
    const { cmd, data } = this;
    const page = this.pageSize;
    data.clear();
    const first = cmd.prp1;
    const second = cmd.prp2;
    if (!(first >= 0)) return Sc.DATA_TRANSFER_ERROR;
    if (first % 4 !== 0) return Sc.INVALID_PRP_OFFSET;
    data.add(first, Math.min(page - (first % page), length));
    if (data.total === length) return Sc.SUCCESS;
    if (!(second >= 0)) return Sc.DATA_TRANSFER_ERROR;
    if (length - data.total <= page) {
      if (second % page !== 0) return Sc.INVALID_PRP_OFFSET;
      data.add(second, length - data.total);
      return Sc.SUCCESS;
    }
    if (second % 8 !== 0) return Sc.INVALID_PRP_OFFSET;
    // Each turn adds a page or follows a chain, and lists are at least 511 entries long: this ends.
    for (let at = second; data.total < length; at += 8) {
      const entry = this.mem.read64(at);
      if (!(entry >= 0 && entry <= 2 ** 52)) return Sc.DATA_TRANSFER_ERROR;
      if (entry % page !== 0) return Sc.INVALID_PRP_OFFSET;
      if ((at + 8) % page === 0 && length - data.total > page) {
        at = entry - 8;
        if (!this.mem.valid(entry, page)) return Sc.DATA_TRANSFER_ERROR;
        continue;
      }
      data.add(entry, Math.min(page, length - data.total));
    }
    return Sc.SUCCESS;
  }

  /** Sends a structure to the driver. */
  private reply(b: Uint8Array, length: number): Sc {
    const status = this.prps(length);
    if (status !== Sc.SUCCESS) return status;
    return this.data.scatter(b.subarray(0, length)) ? Sc.SUCCESS : Sc.DATA_TRANSFER_ERROR;
  }

  // ---- admin commands ----

  private admin(): Sc {
    const { cmd, s } = this;
    if (cmd.flags !== 0) return Sc.INVALID_FIELD;
    switch (cmd.opcode) {
      case Admin.CREATE_CQ:
        return this.createCq();
      case Admin.CREATE_SQ:
        return this.createSq();
      case Admin.DELETE_CQ: {
        const q = cmd.dw(10) & 0xffff;
        if (q === 0 || q > IO_QUEUES || s.cq[q]!.size === 0) return Sc.INVALID_QUEUE_ID;
        if (s.sq.some((x) => x.size !== 0 && x.cqid === q)) return Sc.INVALID_QUEUE_DELETION;
        s.cq[q] = noCq();
        this.fresh[q] = 0;
        return Sc.SUCCESS;
      }
      case Admin.DELETE_SQ: {
        const q = cmd.dw(10) & 0xffff;
        if (q === 0 || q > IO_QUEUES || s.sq[q]!.size === 0) return Sc.INVALID_QUEUE_ID;
        s.sq[q] = noSq();
        return Sc.SUCCESS;
      }
      case Admin.IDENTIFY:
        return this.identify();
      case Admin.GET_LOG_PAGE:
        return this.getLogPage();
      case Admin.ABORT:
        // Commands are done before anybody could abort them.
        cmd.result = 1;
        return Sc.SUCCESS;
      case Admin.SET_FEATURES:
        return this.setFeatures();
      case Admin.GET_FEATURES:
        return this.getFeatures();
      case Admin.ASYNC_EVENT:
        if (s.asyncRequests.length >= ASYNC_LIMIT) return Sc.ASYNC_EVENT_LIMIT;
        s.asyncRequests.push(cmd.cid);
        return Sc.PENDING;
      default:
        return Sc.INVALID_OPCODE;
    }
  }

  /** Size and place of a new queue. @returns its base, or -1 if that is not valid. */
  private place(bytes: number): number {
    const { cmd } = this;
    const size = (cmd.dw(10) >>> 16) + 1;
    const base = cmd.prp1;
    // Physically contiguous, at a page boundary (5.3, 5.4).
    return cmd.dw(11) & 1 && base % this.pageSize === 0 && this.mem.valid(base, size * bytes) ? base : -1;
  }

  private createCq(): Sc {
    const { cmd, s } = this;
    const q = cmd.dw(10) & 0xffff;
    const size = (cmd.dw(10) >>> 16) + 1;
    const vector = cmd.dw(11) >>> 16;
    if (q === 0 || q > IO_QUEUES || s.cq[q]!.size !== 0) return Sc.INVALID_QUEUE_ID;
    if (size < 2 || size > CAP_MQES + 1 || ((s.cc >>> Cc.IOCQES_SHIFT) & 15) !== 4) return Sc.INVALID_QUEUE_SIZE;
    if (vector > IO_QUEUES) return Sc.INVALID_VECTOR;
    const base = this.place(CQE_BYTES);
    if (base < 0) return Sc.INVALID_FIELD;
    s.cq[q] = { base, size, head: 0, tail: 0, phase: 1, interrupts: (cmd.dw(11) & 2) !== 0, vector };
    return Sc.SUCCESS;
  }

  private createSq(): Sc {
    const { cmd, s } = this;
    const q = cmd.dw(10) & 0xffff;
    const size = (cmd.dw(10) >>> 16) + 1;
    const cqid = cmd.dw(11) >>> 16;
    if (q === 0 || q > IO_QUEUES || s.sq[q]!.size !== 0) return Sc.INVALID_QUEUE_ID;
    if (cqid === 0 || cqid > IO_QUEUES || s.cq[cqid]!.size === 0) return Sc.INVALID_CQ;
    if (size < 2 || size > CAP_MQES + 1 || ((s.cc >>> Cc.IOSQES_SHIFT) & 15) !== 6) return Sc.INVALID_QUEUE_SIZE;
    const base = this.place(SQE_BYTES);
    if (base < 0) return Sc.INVALID_FIELD;
    s.sq[q] = { base, size, head: 0, tail: 0, cqid };
    return Sc.SUCCESS;
  }

  private identify(): Sc {
    const { cmd } = this;
    const { nsid } = cmd;
    switch (cmd.dw(10) & 0xff) {
      case Cns.NAMESPACE:
        if (nsid !== 1 && nsid !== ALL_NAMESPACES) return Sc.INVALID_NAMESPACE;
        return this.reply(identifyNamespace(this.disk, this.o.serial), IDENTIFY_BYTES);
      case Cns.CONTROLLER:
        return this.reply(identifyController(VENDOR, VENDOR, this.o.serial), IDENTIFY_BYTES);
      case Cns.ACTIVE_NAMESPACES: {
        if (nsid >= ALL_NAMESPACES - 1) return Sc.INVALID_NAMESPACE;
        const b = new Uint8Array(IDENTIFY_BYTES);
        if (nsid < 1) b[0] = 1;
        return this.reply(b, IDENTIFY_BYTES);
      }
      case Cns.DESCRIPTORS:
        if (nsid !== 1) return Sc.INVALID_NAMESPACE;
        return this.reply(identifyDescriptors(this.o.serial), IDENTIFY_BYTES);
      default:
        return Sc.INVALID_FIELD;
    }
  }

  private getLogPage(): Sc {
    const { cmd, s } = this;
    const page = cmd.dw(10) & 0xff;
    const log = logPage(page, s, Math.floor(this.o.clock.now() / HOUR_NS));
    if (log === null) return Sc.INVALID_LOG_PAGE;
    const bytes = ((cmd.dw(10) >>> 16) + (cmd.dw(11) & 0xffff) * 0x1_0000 + 1) * 4;
    const offset = cmd.u64(48);
    if (!(offset >= 0) || offset % 4 !== 0 || offset > log.length || bytes > MAX_TRANSFER) return Sc.INVALID_FIELD;
    // Bit 15: the event that sent the driver here stays masked.
    if (page === (LogPage.ERRORS as number) && !(cmd.dw(10) & 0x8000)) s.errorMasked = false;
    const b = new Uint8Array(bytes);
    b.set(log.subarray(offset, offset + bytes));
    return this.reply(b, bytes);
  }

  private setFeatures(): Sc {
    const { cmd, s } = this;
    const id = cmd.dw(10) & 0xff;
    const rule = FEATURES.get(id);
    if (rule === undefined) return Sc.INVALID_FIELD;
    if (cmd.dw(10) & 0x8000_0000) return Sc.FEATURE_NOT_SAVEABLE;
    const i = FEATURE_IDS.indexOf(id);
    const v = cmd.dw(11);
    if (id === (Feature.QUEUES as number)) {
      if ((v & 0xffff) === 0xffff || v >>> 16 === 0xffff) return Sc.INVALID_FIELD;
      if (s.sq.some((q, n) => n > 0 && q.size !== 0) || s.cq.some((q, n) => n > 0 && q.size !== 0)) return Sc.COMMAND_SEQUENCE_ERROR;
      cmd.result = rule.default;
      return Sc.SUCCESS;
    }
    if (id === (Feature.POWER_MANAGEMENT as number) && (v & 31) !== 0) return Sc.INVALID_FIELD;
    if (id === (Feature.VOLATILE_WRITE_CACHE as number) && !(v & 1) && s.features[i]! & 1 && !this.flushDisk()) return Sc.INTERNAL_ERROR;
    if (id === (Feature.INTERRUPT_VECTOR as number)) {
      if ((v & 0xffff) > IO_QUEUES) return Sc.INVALID_FIELD;
      return Sc.SUCCESS;
    }
    // The threshold is that of the one sensor there is.
    if (id === (Feature.TEMPERATURE_THRESHOLD as number) && (v & 0x3f_0000) !== 0) return Sc.SUCCESS;
    s.features[i] = (v & rule.mask) >>> 0;
    return Sc.SUCCESS;
  }

  private getFeatures(): Sc {
    const { cmd, s } = this;
    const id = cmd.dw(10) & 0xff;
    const rule = FEATURES.get(id);
    if (rule === undefined) return Sc.INVALID_FIELD;
    switch ((cmd.dw(10) >>> 8) & 7) {
      case 0:
        cmd.result = id === (Feature.INTERRUPT_VECTOR as number) ? cmd.dw(11) & 0xffff : s.features[FEATURE_IDS.indexOf(id)]!;
        return Sc.SUCCESS;
      case 1:
      case 2:
        cmd.result = rule.default;
        return Sc.SUCCESS;
      case 3:
        // Changeable, for all namespaces, not saveable.
        cmd.result = rule.mask === 0 ? 0 : 4;
        return Sc.SUCCESS;
      default:
        return Sc.INVALID_FIELD;
    }
  }

  // ---- I/O commands ----

  private io(): Sc {
    const { cmd } = this;
    if (cmd.flags !== 0) return Sc.INVALID_FIELD;
    const { opcode } = cmd;
    if (cmd.nsid !== 1 && !(opcode === (Nvm.FLUSH as number) && cmd.nsid === ALL_NAMESPACES)) return Sc.INVALID_NAMESPACE;
    const read = opcode === (Nvm.READ as number);
    try {
      switch (opcode) {
        case Nvm.FLUSH:
          this.disk.flush();
          return Sc.SUCCESS;
        case Nvm.READ:
        case Nvm.WRITE:
          return this.transfer(read);
        case Nvm.WRITE_ZEROES:
          return this.writeZeroes();
        case Nvm.DSM:
          return this.dataset();
        default:
          return Sc.INVALID_OPCODE;
      }
    } catch (e) {
      this.o.log(`${this.name}: ${(e as Error).message}`);
      return read ? Sc.UNRECOVERED_READ_ERROR : Sc.WRITE_FAULT;
    }
  }

  /** Offset of the command's first block if its blocks lie on the disk, else -1. */
  private blocks(bytes: number): number {
    const offset = this.cmd.u64(40) * LBA_BYTES;
    return offset + bytes <= this.disk.size ? offset : -1;
  }

  private transfer(read: boolean): Sc {
    const { cmd, s } = this;
    const bytes = ((cmd.dw(12) & 0xffff) + 1) * LBA_BYTES;
    if (bytes > MAX_TRANSFER) return Sc.INVALID_FIELD;
    const offset = this.blocks(bytes);
    if (offset < 0) return Sc.LBA_OUT_OF_RANGE;
    if (!read && this.disk.readonly) return Sc.NAMESPACE_WRITE_PROTECTED;
    const status = this.prps(bytes);
    if (status !== Sc.SUCCESS) return status;
    if (read) {
      s.reads++;
      s.dataRead += bytes;
      return this.data.readFrom(this.disk, offset) ? Sc.SUCCESS : Sc.DATA_TRANSFER_ERROR;
    }
    s.writes++;
    s.dataWritten += bytes;
    if (!this.data.writeTo(this.disk, offset)) return Sc.DATA_TRANSFER_ERROR;
    this.writeThrough((cmd.dw(12) & FUA) !== 0);
    return Sc.SUCCESS;
  }

  /** Without a write cache, and for forced unit access, what was written lasts before the command completes. */
  private writeThrough(forced: boolean): void {
    if (forced || !(this.s.features[FEATURE_IDS.indexOf(Feature.VOLATILE_WRITE_CACHE)]! & 1)) this.disk.flush();
  }

  private writeZeroes(): Sc {
    const { cmd } = this;
    const bytes = ((cmd.dw(12) & 0xffff) + 1) * LBA_BYTES;
    const offset = this.blocks(bytes);
    if (offset < 0) return Sc.LBA_OUT_OF_RANGE;
    if (this.disk.readonly) return Sc.NAMESPACE_WRITE_PROTECTED;
    this.disk.writeZeroes(offset, bytes, (cmd.dw(12) & DEALLOCATE_ZEROES) !== 0);
    this.writeThrough((cmd.dw(12) & FUA) !== 0);
    return Sc.SUCCESS;
  }

  /** All ranges are checked before any is deallocated. */
  private dataset(): Sc {
    const { cmd } = this;
    const n = ((cmd.dw(10) & 0xff) + 1) * DSM_RANGE;
    const status = this.prps(n);
    if (status !== Sc.SUCCESS) return status;
    if (!this.data.gather(this.ranges.subarray(0, n))) return Sc.DATA_TRANSFER_ERROR;
    // Only deallocation does anything; the other attributes are hints.
    if (!(cmd.dw(11) & 4)) return Sc.SUCCESS;
    if (this.disk.readonly) return Sc.NAMESPACE_WRITE_PROTECTED;
    const v = this.rangeView;
    for (let pass = 0; pass < 2; pass++) {
      for (let at = 0; at < n; at += DSM_RANGE) {
        const length = v.getUint32(at + 4, true) * LBA_BYTES;
        const offset = (v.getUint32(at + 8, true) + v.getUint32(at + 12, true) * 0x1_0000_0000) * LBA_BYTES;
        if (pass === 0 && offset + length > this.disk.size) return Sc.LBA_OUT_OF_RANGE;
        if (pass === 1 && length > 0) this.disk.discard(offset, length);
      }
    }
    return Sc.SUCCESS;
  }

  // ---- Device ----

  override reset(): void {
    super.reset();
    this.s = initial();
    this.fresh.fill(0);
  }

  override save(): SavedState {
    return { ...super.save(), nvme: saveState(SCHEMA, STATE_VERSION, this.s) };
  }

  protected override load(saved: SavedState): void {
    super.load(saved);
    const s = loadState(this.name, SCHEMA, STATE_VERSION, saved.nvme as SavedState);
    const bad = (why: string): never => {
      throw new VmxError('ERR_BAD_STATE', `saved state: ${this.name}: ${why}`);
    };
    for (const q of s.sq) if (q.size !== 0 && (q.head >= q.size || q.tail >= q.size || s.cq[q.cqid]!.size === 0)) bad('a submission queue is not valid');
    for (const q of s.cq) if (q.size !== 0 && (q.size < 2 || q.head >= q.size || q.tail >= q.size)) bad('a completion queue is not valid');
    this.s = s;
    this.syncLine();
  }
}

/** NaN if it is no address of memory. */
function address(lo: number, hi: number): number {
  return hi < 0x10_0000 ? hi * 0x1_0000_0000 + lo : NaN;
}
