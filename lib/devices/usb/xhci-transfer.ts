/** Transfer rings of xHCI (1.2, 4.10, 4.11): control, bulk and interrupt transfers, carried out when their device has or takes the data. */
import { Segments } from '../storage/segments.js';
import { CONTROL_BYTES, copy, NAK, STALL, type UsbDevice } from './usb-device.js';
import { ReqType, type Setup } from './usb.spec.js';
import { address, high, low } from './xhci-memory.js';
import { type Endpoint, SetupPhase, type SlotData } from './xhci-state.js';
import { RingWalk, slotOf, writeEndpoint, type XhciCore } from './xhci-core.js';
import { Cc, EpState, Tf, Trb, trbType } from './xhci.spec.js';

/** TRBs of one transfer descriptor. */
const MAX_TRBS = 1024;
const LENGTH = 0x1_ffff;
const EDTLA = 0xff_ffff;
/** Bytes that one transfer descriptor moves at most: longer ones are no driver's. */
const MAX_TRANSFER = 64 * 1024 * 1024;
/** Direction of a Data Stage TRB: IN. */
const DIR = 0x1_0000;
const NO_BYTES = new Uint8Array(0);

export class XhciTransfers {
  private readonly walk: RingWalk;
  private readonly data: Segments;
  // The transfer descriptor at hand, TRB by TRB.
  private count = 0;
  private readonly at = new Float64Array(MAX_TRBS);
  private readonly ccs = new Uint8Array(MAX_TRBS);
  private readonly lo = new Uint32Array(MAX_TRBS);
  private readonly hi = new Uint32Array(MAX_TRBS);
  private readonly status = new Uint32Array(MAX_TRBS);
  private readonly control = new Uint32Array(MAX_TRBS);
  // Whom it concerns.
  private slot = 0;
  private dci = 0;
  private ep!: Endpoint;
  private device!: UsbDevice;
  private readonly buffer = new Uint8Array(CONTROL_BYTES);
  private readonly immediate = new Uint8Array(8);
  private readonly immediateView = new DataView(this.immediate.buffer);
  private readonly setup: Setup = { bmRequestType: 0, bRequest: 0, wValue: 0, wIndex: 0, wLength: 0 };
  /** What a control transfer has to give, and how far that is. */
  private filled = 0;
  private given = 0;
  /** What the device said last, where it is no number of bytes. */
  private refusal = 0;

  constructor(private readonly c: XhciCore) {
    this.walk = new RingWalk(c.x);
    this.data = new Segments(c.x.mem);
  }

  /** Carries one transfer descriptor of an endpoint out. @returns false if there is none, or it has to wait for the device */
  run(slot: number, dci: number, device: UsbDevice): boolean {
    const sl = slotOf(this.c, slot);
    const ep = sl.eps[dci]!;
    [this.slot, this.dci, this.ep, this.device] = [slot, dci, ep, device];
    if (!this.collect()) return false;
    return dci === 1 ? this.controlStage(sl) : this.stream();
  }

  /** Reads a whole descriptor. @returns false if the driver has not put it there */
  private collect(): boolean {
    const { walk, ep, c } = this;
    walk.start(ep.deq, ep.ccs);
    this.count = 0;
    for (let bytes = 0; ; ) {
      const there = walk.next();
      if (there === null) {
        this.fail(Cc.TRB, walk.at, walk.ccs, 0);
        return false;
      }
      if (!there) {
        // Past links there may be something later.
        if (this.count === 0) [ep.deq, ep.ccs] = [walk.at, walk.ccs];
        return false;
      }
      const n = this.count;
      bytes += c.x.status & LENGTH;
      if (n === MAX_TRBS || bytes > MAX_TRANSFER) {
        this.fail(Cc.TRB, walk.at, walk.ccs, 0);
        return false;
      }
      this.at[n] = walk.at;
      this.ccs[n] = walk.ccs;
      this.lo[n] = c.x.paramLo;
      this.hi[n] = c.x.paramHi;
      this.status[n] = c.x.status;
      this.control[n] = c.x.control;
      this.count = n + 1;
      walk.step();
      if (!(c.x.control & Tf.CH)) return true;
    }
  }

  /** Past the descriptor. */
  private done(): true {
    this.ep.deq = this.walk.at;
    this.ep.ccs = this.walk.ccs;
    return true;
  }

  private post(code: Cc, lo: number, hi: number, length: number, flags = 0): void {
    this.c.event(lo, hi, (code << 24) | length, (this.slot << 24) | (this.dci << 16) | (Trb.TRANSFER_EVENT << 10) | flags);
  }

  /** The endpoint stops at a TRB, in error or, after STALL, halted. */
  private fail(code: Cc, at: number, ccs: number, length: number): true {
    this.ep.state = code === Cc.STALL ? EpState.HALTED : EpState.ERROR;
    this.ep.kicked = false;
    this.ep.deq = at;
    this.ep.ccs = ccs;
    this.post(code, low(at), high(at), length);
    writeEndpoint(this.c, this.slot, this.dci);
    return true;
  }

  private failAt(i: number, code: Cc, length: number): true {
    return this.fail(code, this.at[i]!, this.ccs[i]!, length);
  }

  // ---- bulk and interrupt ----

  private readonly fromDevice = (dst: Uint8Array): number => this.said(this.device.in(this.dci >> 1, dst));
  private readonly toDevice = (src: Uint8Array): number => this.said(this.device.out(this.dci >> 1, src));

  /** Segments count bytes only: what else a device says is kept aside. */
  private said(n: number): number {
    this.refusal = n < 0 ? n : 0;
    return Math.max(0, n);
  }

  private stream(): boolean {
    return this.move((this.dci & 1) !== 0, this.fromDevice, this.toDevice);
  }

  /** Moves the descriptor's data and posts its events. @returns false if the device has nothing yet */
  private move(isIn: boolean, source: (dst: Uint8Array) => number, sink: (src: Uint8Array) => number): boolean {
    let moved = 0;
    let short = false;
    let reported = false;
    for (let i = 0; i < this.count; i++) {
      const control = this.control[i]!;
      const type = trbType(control);
      const length = this.status[i]! & LENGTH;
      if (type === Trb.EVENT_DATA) {
        if (control & Tf.IOC && !reported) {
          this.post(short ? Cc.SHORT_PACKET : Cc.SUCCESS, this.lo[i]!, this.hi[i]!, moved & EDTLA, Tf.ED);
          reported = short;
        }
        moved = 0;
        continue;
      }
      let n = 0;
      if (type === Trb.NORMAL || type === Trb.DATA) {
        if (!short) {
          this.refusal = 0;
          n = this.piece(i, control, length, isIn, source, sink);
          if (n < 0) return this.failAt(i, Cc.TRB, length);
          if (this.refusal === STALL) return this.failAt(i, Cc.STALL, length - n);
          // Nothing yet; in the middle of a descriptor that is where the device's data ends.
          if (this.refusal === NAK && i === 0 && n === 0) return false;
          moved += n;
          short = n < length;
        }
      } else if (type !== Trb.NO_OP) return this.failAt(i, Cc.TRB, length);
      if (reported || !(control & Tf.IOC || (short && control & Tf.ISP))) continue;
      this.post(short ? Cc.SHORT_PACKET : Cc.SUCCESS, low(this.at[i]!), high(this.at[i]!), length - n);
      // One event tells of a short packet.
      reported = short;
    }
    return this.done();
  }

  /** @returns bytes moved, -1 if memory is none */
  private piece(i: number, control: number, length: number, isIn: boolean, source: (dst: Uint8Array) => number, sink: (src: Uint8Array) => number): number {
    if (length === 0) {
      // A packet without data is the device's business, too.
      return isIn ? source(NO_BYTES) : sink(NO_BYTES);
    }
    if (control & Tf.IDT && !isIn) {
      this.immediateView.setUint32(0, this.lo[i]!, true);
      this.immediateView.setUint32(4, this.hi[i]!, true);
      return sink(this.immediate.subarray(0, Math.min(8, length)));
    }
    const pa = address(this.lo[i]!, this.hi[i]!);
    if (!this.c.x.mem.valid(pa, length)) return -1;
    this.data.clear();
    this.data.add(pa, length);
    return isIn ? this.data.fill(source, length) : this.data.drain(sink, length);
  }

  // ---- control ----

  private controlStage(sl: SlotData): boolean {
    const control = this.control[0]!;
    switch (trbType(control)) {
      case Trb.SETUP:
        return this.setupStage(sl, control);
      case Trb.DATA:
        return this.dataStage(sl, (control & DIR) !== 0);
      case Trb.STATUS: {
        if (sl.setupPhase === SetupPhase.SET_UP && this.request(sl, NO_BYTES) < 0) return this.failAt(0, Cc.STALL, 0);
        sl.setupPhase = SetupPhase.NONE;
        if (control & Tf.IOC) this.post(Cc.SUCCESS, low(this.at[0]!), high(this.at[0]!), 0);
        for (let i = 1; i < this.count; i++) {
          if (trbType(this.control[i]!) !== Trb.EVENT_DATA) return this.failAt(i, Cc.TRB, 0);
          if (this.control[i]! & Tf.IOC) this.post(Cc.SUCCESS, this.lo[i]!, this.hi[i]!, 0, Tf.ED);
        }
        return this.done();
      }
      case Trb.NO_OP:
        return this.move(true, this.fromDevice, this.toDevice);
      default:
        return this.failAt(0, Cc.TRB, 0);
    }
  }

  private setupStage(sl: SlotData, control: number): true {
    if (!(control & Tf.IDT) || (this.status[0]! & LENGTH) !== 8) return this.failAt(0, Cc.TRB, 0);
    const v = new DataView(sl.setup.buffer, sl.setup.byteOffset);
    v.setUint32(0, this.lo[0]!, true);
    v.setUint32(4, this.hi[0]!, true);
    sl.setupPhase = SetupPhase.SET_UP;
    if (control & Tf.IOC) this.post(Cc.SUCCESS, low(this.at[0]!), high(this.at[0]!), 0);
    return this.done();
  }

  /** The request itself. @returns what the device says */
  private request(sl: SlotData, data: Uint8Array): number {
    const v = new DataView(sl.setup.buffer, sl.setup.byteOffset);
    const r = this.setup;
    [r.bmRequestType, r.bRequest] = [sl.setup[0]!, sl.setup[1]!];
    [r.wValue, r.wIndex, r.wLength] = [v.getUint16(2, true), v.getUint16(4, true), v.getUint16(6, true)];
    sl.setupPhase = SetupPhase.DONE;
    return this.device.control(r, data);
  }

  private readonly fromBuffer = (dst: Uint8Array): number => {
    const n = copy(this.buffer.subarray(this.given, this.filled), dst);
    this.given += n;
    return n;
  };
  /** They have been gathered before. */
  private readonly taken = (src: Uint8Array): number => src.length;

  private dataStage(sl: SlotData, isIn: boolean): boolean {
    if (sl.setupPhase !== SetupPhase.SET_UP || ((sl.setup[0]! & ReqType.IN) !== 0) !== isIn) return this.failAt(0, Cc.TRB, this.status[0]! & LENGTH);
    const wLength = sl.setup[6]! | (sl.setup[7]! << 8);
    if (isIn) {
      const n = this.request(sl, this.buffer.subarray(0, Math.min(wLength, CONTROL_BYTES)));
      if (n < 0) return this.failAt(0, Cc.STALL, this.status[0]! & LENGTH);
      this.filled = n;
      this.given = 0;
      return this.move(true, this.fromBuffer, this.taken);
    }
    const gathered = this.gather();
    if (gathered < 0) return this.failAt(0, Cc.TRB, 0);
    if (gathered < wLength || this.request(sl, this.buffer.subarray(0, wLength)) < 0) return this.failAt(this.count - 1, Cc.STALL, 0);
    return this.move(false, this.fromBuffer, this.taken);
  }

  /** Data of an OUT request into the buffer. @returns bytes, -1 if memory is none; what does not fit is no request of these devices */
  private gather(): number {
    let n = 0;
    for (let i = 0; i < this.count; i++) {
      const type = trbType(this.control[i]!);
      const length = this.status[i]! & LENGTH;
      if ((type !== Trb.NORMAL && type !== Trb.DATA) || length === 0) continue;
      if (n + length > CONTROL_BYTES) return 0;
      const dst = this.buffer.subarray(n, n + length);
      if (this.control[i]! & Tf.IDT) {
        this.immediateView.setUint32(0, this.lo[i]!, true);
        this.immediateView.setUint32(4, this.hi[i]!, true);
        dst.set(this.immediate.subarray(0, Math.min(8, length)));
      } else if (!this.c.x.mem.readInto(address(this.lo[i]!, this.hi[i]!), dst)) return -1;
      n += length;
    }
    return n;
  }
}
