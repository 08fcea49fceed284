/** Virtio SCSI host (Virtual I/O Device 1.2, 5.6): logical units by target and LUN, several request queues, task management. */
import type { IoHandler } from '../device.js';
import { Segments } from '../storage/segments.js';
import { CDB_BYTES, ScsiDirection, ScsiStatus, type ScsiUnit, SENSE_BYTES } from '../storage/scsi/target.js';
import { VmxError } from '../../errors.js';
import { Chain } from './queue.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';

const CONTROL = 0;
const EVENT = 1;
const FIRST_REQUEST = 2;
/** Configuration space (5.6.4). */
const enum Cfg { NUM_QUEUES = 0, SEG_MAX = 4, MAX_SECTORS = 8, CMD_PER_LUN = 12, EVENT_INFO_SIZE = 16, SENSE_SIZE = 20, CDB_SIZE = 24, MAX_CHANNEL = 28, MAX_TARGET = 30, MAX_LUN = 32, BYTES = 36 }
/** Request header: LUN, id, task attribute, priority, CRN; then the CDB. */
const HEADER = 19;
/** Response: sense length, residual, qualifier, status, response; then sense data. */
const RESPONSE = 12;
const enum Resp { OK = 0, BAD_TARGET = 3, FAILURE = 9, FUNCTION_COMPLETE = 0, FUNCTION_SUCCEEDED = 10, FUNCTION_REJECTED = 11, INCORRECT_LUN = 12 }
const enum Ctl { TMF = 0, AN_QUERY = 1, AN_SUBSCRIBE = 2 }
const enum Tmf { ABORT_TASK = 0, ABORT_TASK_SET = 1, CLEAR_ACA = 2, CLEAR_TASK_SET = 3, NEXUS_RESET = 4, LUN_RESET = 5, QUERY_TASK = 6, QUERY_TASK_SET = 7 }
const SEG_MAX = 126;
const MAX_SECTORS = 65535;
const CMD_PER_LUN = 128;
const EVENT_INFO = 16;
const SENSE_DEFAULT = 96;
const CDB_DEFAULT = 32;
/** What a driver may set the sizes to. */
const SIZE_MAX = 255;
const MAX_TARGET = 255;
const MAX_LUN = 255;
const REPORT_LUNS = 0xa0;

/** A unit and its address: target and LUN 0..255. */
export interface AddressedUnit {
  target: number;
  lun: number;
  unit: ScsiUnit;
}

export class VirtioScsi implements VirtioDevice {
  readonly type = 8;
  readonly pciClass = 0x0100;
  readonly features = 0;
  readonly queues: number;
  readonly config: IoHandler;
  private readonly units = new Map<number, ScsiUnit>();
  private t: VirtioTransport | null = null;
  private data: Segments | null = null;
  private readonly chain = new Chain();
  private readonly header = new Uint8Array(HEADER + SIZE_MAX);
  private readonly headerView = new DataView(this.header.buffer);
  private readonly cdb = new Uint8Array(CDB_BYTES);
  private readonly response = new Uint8Array(RESPONSE + SIZE_MAX);
  private readonly responseView = new DataView(this.response.buffer);
  private readonly cfg = new Uint8Array(Cfg.BYTES);
  private readonly cfgView = new DataView(this.cfg.buffer);
  private readonly luns = new Uint8Array(8 + 8 * (MAX_LUN + 1));
  private current: ScsiUnit | null = null;
  private readonly dataIn = (dst: Uint8Array): number => this.current!.dataIn(dst);
  private readonly dataOut = (src: Uint8Array): number => this.current!.dataOut(src);
  // Volatile state.
  private senseSize = SENSE_DEFAULT;
  private cdbSize = CDB_DEFAULT;

  /** @param requestQueues 1 and up. */
  constructor(list: readonly AddressedUnit[], requestQueues = 1) {
    this.queues = FIRST_REQUEST + requestQueues;
    for (const { target, lun, unit } of list) this.units.set((target << 8) | lun, unit);
    const v = this.cfgView;
    v.setUint32(Cfg.NUM_QUEUES, requestQueues, true);
    v.setUint32(Cfg.SEG_MAX, SEG_MAX, true);
    v.setUint32(Cfg.MAX_SECTORS, MAX_SECTORS, true);
    v.setUint32(Cfg.CMD_PER_LUN, CMD_PER_LUN, true);
    v.setUint32(Cfg.EVENT_INFO_SIZE, EVENT_INFO, true);
    v.setUint16(Cfg.MAX_TARGET, MAX_TARGET, true);
    v.setUint32(Cfg.MAX_LUN, MAX_LUN, true);
    this.config = {
      read: (o, s) => {
        v.setUint32(Cfg.SENSE_SIZE, this.senseSize, true);
        v.setUint32(Cfg.CDB_SIZE, this.cdbSize, true);
        let x = 0;
        for (let i = s - 1; i >= 0; i--) x = x * 256 + (this.cfg[o + i] ?? 0);
        return x;
      },
      write: (o, s, value) => {
        if (s !== 4) return;
        if (o === Cfg.SENSE_SIZE) this.senseSize = Math.min(value, SIZE_MAX);
        if (o === Cfg.CDB_SIZE) this.cdbSize = Math.min(value, SIZE_MAX);
      },
    };
  }

  attach(t: VirtioTransport): void {
    this.t = t;
    this.data = new Segments(t.mem);
  }

  ready(): void {}

  notify(q: number): void {
    if (q === EVENT) return;
    const t = this.t!;
    const vq = t.queue[q]!;
    // Bounded: a driver cannot have more chains outstanding than the queue has entries.
    for (let n = 0; n < vq.size && vq.pop(this.chain); n++) vq.push(this.chain.head, q === CONTROL ? this.control(t) : this.request(t));
    t.signal(q);
  }

  /** The unit that the 8 bytes at `at` of the header address, by target and LUN (5.6.6.1). */
  private find(at: number): ScsiUnit | undefined {
    const h = this.header;
    const lun = ((h[at + 2]! & 0x3f) << 8) | h[at + 3]!;
    return h[at] === 1 && lun <= MAX_LUN ? this.units.get((h[at + 1]! << 8) | lun) : undefined;
  }

  // ---- requests ----

  /** Executes the request in `chain`. @returns bytes written to the driver's buffers. */
  private request(t: VirtioTransport): number {
    const c = this.chain;
    const head = HEADER + this.cdbSize;
    const tail = RESPONSE + this.senseSize;
    if (c.writeBytes < tail || c.readInto(t.mem, this.header.subarray(0, head)) < head) return 0;
    const r = this.response;
    r.fill(0, 0, tail);
    const unit = this.find(0);
    let moved = 0;
    let read = false;
    if (unit === undefined) {
      r[11] = Resp.BAD_TARGET;
    } else {
      for (let i = 0; i < CDB_BYTES; i++) this.cdb[i] = i < this.cdbSize ? this.header[HEADER + i]! : 0;
      if (this.cdb[0] === REPORT_LUNS) {
        moved = this.reportLuns(this.header[1]!);
        read = true;
      } else {
        moved = this.run(unit, head, tail);
        read = unit.direction === ScsiDirection.IN;
        this.status(unit);
      }
      if (moved < 0) {
        r.fill(0, 0, tail);
        r[11] = Resp.FAILURE;
        moved = 0;
      }
    }
    const given = c.readBytes - head + (c.writeBytes - tail);
    this.responseView.setUint32(4, Math.min(0xffff_ffff, Math.max(0, given - moved)), true);
    c.writeFrom(t.mem, r.subarray(0, tail));
    return tail + (read ? moved : 0);
  }

  /** Command and data phases. @returns bytes moved, or -1 if the driver's memory is none. */
  private run(unit: ScsiUnit, head: number, tail: number): number {
    unit.command(this.cdb);
    if (unit.direction === ScsiDirection.NONE) return 0;
    this.current = unit;
    if (unit.direction === ScsiDirection.IN) {
      this.collect(true, tail);
      return this.data!.fill(this.dataIn, unit.length);
    }
    this.collect(false, head);
    return this.data!.drain(this.dataOut, unit.length);
  }

  /** Status phase, with sense data. */
  private status(unit: ScsiUnit): void {
    const status = unit.complete();
    this.response[10] = status;
    this.response[11] = Resp.OK;
    if (status !== ScsiStatus.CHECK_CONDITION) return;
    const n = Math.min(SENSE_BYTES, this.senseSize);
    this.response.set(unit.sense.subarray(0, n), RESPONSE);
    this.responseView.setUint32(0, n, true);
  }

  /** The data part of the chain's readable or writable pieces, behind `skip` bytes. */
  private collect(writable: boolean, skip: number): void {
    const c = this.chain;
    const s = this.data!;
    s.clear();
    let left = skip;
    for (let i = writable ? c.readable : 0; i < (writable ? c.addr.length : c.readable); i++) {
      const cut = Math.min(left, c.len[i]!);
      left -= cut;
      s.add(c.addr[i]! + cut, c.len[i]! - cut);
    }
  }

  /** The LUNs of a target (SPC-4, 6.33). */
  private reportLuns(target: number): number {
    const b = this.luns;
    let n = 8;
    for (const key of this.units.keys()) {
      if (key >> 8 !== target) continue;
      b.fill(0, n, n + 8);
      b[n + 1] = key & 0xff;
      n += 8;
    }
    b.fill(0, 0, 8);
    b[2] = (n - 8) >> 8;
    b[3] = (n - 8) & 0xff;
    const c = this.cdb;
    const allocated = ((c[6]! << 24) | (c[7]! << 16) | (c[8]! << 8) | c[9]!) >>> 0;
    this.collect(true, RESPONSE + this.senseSize);
    const length = Math.min(n, allocated, this.data!.total);
    return this.data!.scatter(b.subarray(0, length)) ? length : -1;
  }

  // ---- control queue ----

  /** Commands are done before anybody could abort them: task management has resets to do, nothing else. */
  private control(t: VirtioTransport): number {
    const c = this.chain;
    const n = c.readInto(t.mem, this.header.subarray(0, 24));
    if (n < 4) return 0;
    const type: Ctl = this.headerView.getUint32(0, true);
    const r = this.response;
    r.fill(0, 0, 8);
    if (type === Ctl.TMF) {
      if (n < 24 || c.writeBytes < 1) return 0;
      r[0] = this.manage(this.headerView.getUint32(4, true));
      c.writeFrom(t.mem, r.subarray(0, 1));
      return 1;
    }
    if ((type !== Ctl.AN_QUERY && type !== Ctl.AN_SUBSCRIBE) || c.writeBytes < 5) return 0;
    // No asynchronous notifications: an empty mask.
    c.writeFrom(t.mem, r.subarray(0, 5));
    return 5;
  }

  private manage(what: Tmf): Resp {
    if (what === Tmf.NEXUS_RESET) {
      for (const [key, unit] of this.units) if (key >> 8 === this.header[9]) unit.reset();
      return Resp.FUNCTION_COMPLETE;
    }
    const unit = this.find(8);
    if (unit === undefined) return Resp.INCORRECT_LUN;
    switch (what) {
      case Tmf.LUN_RESET:
        unit.reset();
        return Resp.FUNCTION_COMPLETE;
      case Tmf.ABORT_TASK:
      case Tmf.ABORT_TASK_SET:
      case Tmf.CLEAR_TASK_SET:
      case Tmf.QUERY_TASK:
      case Tmf.QUERY_TASK_SET:
        // Nothing of the kind is there.
        return Resp.FUNCTION_COMPLETE;
      default:
        return Resp.FUNCTION_REJECTED;
    }
  }

  reset(): void {
    this.senseSize = SENSE_DEFAULT;
    this.cdbSize = CDB_DEFAULT;
    for (const unit of this.units.values()) unit.reset();
  }

  save(): Record<string, unknown> {
    return { senseSize: this.senseSize, cdbSize: this.cdbSize, units: [...this.units.values()].map((u) => u.save()) };
  }

  restore(s: Record<string, unknown>): void {
    const size = (v: unknown): number => {
      if (typeof v !== 'number' || !Number.isInteger(v) || v < 0 || v > SIZE_MAX) throw new VmxError('ERR_BAD_STATE', 'virtio-scsi: bad size');
      return v;
    };
    const { units } = s;
    if (!Array.isArray(units) || units.length !== this.units.size) throw new VmxError('ERR_BAD_STATE', 'virtio-scsi: other units');
    this.senseSize = size(s.senseSize);
    this.cdbSize = size(s.cdbSize);
    [...this.units.values()].forEach((u, i) => u.restore((units[i] ?? {}) as Record<string, unknown>));
  }
}
