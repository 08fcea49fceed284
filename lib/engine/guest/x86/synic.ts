/**
 * Synthetic interrupt controller and synthetic timers of one virtual processor: Hypervisor Top Level Functional Specification (TLFS) 6.0,
 * chapters 11 (SynIC) and 12.3 (synthetic timers). Messages come from the timers alone; event flags from nobody.
 */
import type { PhysicalMap } from '../../cpu.js';

const enum SynMsr {
  SCONTROL = 0x4000_0080,
  SVERSION = 0x4000_0081,
  SIEFP = 0x4000_0082,
  SIMP = 0x4000_0083,
  EOM = 0x4000_0084,
  SINT0 = 0x4000_0090,
  SINT15 = 0x4000_009f,
  STIMER0_CONFIG = 0x4000_00b0,
  STIMER3_COUNT = 0x4000_00b7,
}

/** Partition privileges, leaf 0x40000003: EAX SynIC and synthetic timer MSRs; EDX: timers may interrupt without messages. */
export const SYNIC_PRIVILEGES = (1 << 2) | (1 << 3);
export const SYNIC_MISC = 1 << 19;
/** Leaf 0x40000004 EAX: use no AutoEOI. */
export const SYNIC_HINTS = 1 << 9;

const SINTS = 16;
const TIMERS = 4;
const ENABLE = 1;
const VERSION = 1;
const PAGE = 4096;

/** HV_SYNIC_SINT, low half. */
const enum Sint { VECTOR = 0xff, MASKED = 1 << 16, AUTO_EOI = 1 << 17, POLLING = 1 << 18 }
/** HV_X64_MSR_STIMER_CONFIG, low half. */
const enum Config { ENABLE = 1, PERIODIC = 2, AUTO_ENABLE = 8, VECTOR_SHIFT = 4, DIRECT = 1 << 12, SINT_SHIFT = 16, DEFINED = 0xf_1fff }
/** HV_MESSAGE: type, payload size, flags (bit 0: another one waits for EOM), port, payload. */
const enum Message { BYTES = 256, SIZE = 4, FLAGS = 5, PORT = 8, PAYLOAD = 16, TIMER_EXPIRED = 0x8000_0010, TIMER_BYTES = 24 }

export interface SynicOptions {
  map: PhysicalMap;
  /** Reference time in units of 100 ns. */
  time(): bigint;
  /** A one-shot timer, armed for a time from now on in ns; Infinity: not at all. */
  timer(fire: () => void): (delayNs: number) => void;
  /** Raises the vector at the processor's local APIC. */
  interrupt(vector: number): void;
  /** Vectors (256 bits) whose interrupts end when they are delivered. */
  autoEoi(vectors: Int32Array): void;
}

interface Timer {
  config: number;
  count: bigint;
  /** Reference time of the next expiration; 0: none. */
  due: bigint;
  /** An expiration whose message found its slot taken. */
  waiting: boolean;
  arm: (delayNs: number) => void;
}

export class Synic {
  private control = 0;
  private readonly pages = { siefp: [0, 0] as [number, number], simp: [0, 0] as [number, number] };
  private readonly sint = new Int32Array(SINTS);
  private readonly timers: Timer[] = [];
  private readonly auto = new Int32Array(8);

  constructor(private readonly o: SynicOptions) {
    for (let n = 0; n < TIMERS; n++) {
      const t: Timer = { config: 0, count: 0n, due: 0n, waiting: false, arm: () => {} };
      t.arm = o.timer(() => this.expired(n));
      this.timers.push(t);
    }
    this.sint.fill(Sint.MASKED);
  }

  reset(): void {
    this.control = 0;
    this.pages.siefp = [0, 0];
    this.pages.simp = [0, 0];
    this.sint.fill(Sint.MASKED);
    for (const t of this.timers) {
      t.config = 0;
      t.count = t.due = 0n;
      t.waiting = false;
      t.arm(Infinity);
    }
    this.updateAuto();
  }

  /** False if the MSR is not one of these (or may not be read). */
  read(msr: number, out: { lo: number; hi: number }): boolean {
    out.hi = 0;
    if (msr >= SynMsr.SINT0 && msr <= SynMsr.SINT15) {
      out.lo = this.sint[msr - SynMsr.SINT0]!;
      return true;
    }
    if (msr >= SynMsr.STIMER0_CONFIG && msr <= SynMsr.STIMER3_COUNT) {
      const t = this.timers[(msr - SynMsr.STIMER0_CONFIG) >> 1]!;
      if (msr & 1) {
        out.lo = Number(BigInt.asIntN(32, t.count));
        out.hi = Number(BigInt.asIntN(32, t.count >> 32n));
      } else {
        out.lo = t.config;
      }
      return true;
    }
    switch (msr as SynMsr) {
      case SynMsr.SCONTROL:
        out.lo = this.control;
        return true;
      case SynMsr.SVERSION:
        out.lo = VERSION;
        return true;
      case SynMsr.SIEFP:
        [out.lo, out.hi] = this.pages.siefp;
        return true;
      case SynMsr.SIMP:
        [out.lo, out.hi] = this.pages.simp;
        return true;
      case SynMsr.EOM:
        out.lo = 0;
        return true;
      default:
        return false;
    }
  }

  /** False if the MSR is not one of these, or the value is illegal: #GP. */
  write(msr: number, lo: number, hi: number): boolean {
    if (msr >= SynMsr.SINT0 && msr <= SynMsr.SINT15) return this.writeSint(msr - SynMsr.SINT0, lo, hi);
    if (msr >= SynMsr.STIMER0_CONFIG && msr <= SynMsr.STIMER3_COUNT) {
      const n = (msr - SynMsr.STIMER0_CONFIG) >> 1;
      return msr & 1 ? this.writeCount(n, lo, hi) : this.writeConfig(n, lo, hi);
    }
    switch (msr as SynMsr) {
      case SynMsr.SCONTROL:
        this.control = lo & ENABLE;
        return true;
      case SynMsr.SIEFP:
        this.pages.siefp = [lo, hi];
        return true;
      case SynMsr.SIMP:
        this.pages.simp = [lo, hi];
        return true;
      case SynMsr.EOM:
        this.timers.forEach((t, n) => {
          if (t.waiting) this.send(n);
        });
        return true;
      default:
        return false;
    }
  }

  private writeSint(n: number, lo: number, hi: number): boolean {
    if (!(lo & (Sint.MASKED | Sint.POLLING)) && (lo & Sint.VECTOR) < 16) return false;
    if (hi !== 0) return false;
    this.sint[n] = lo & (Sint.VECTOR | Sint.MASKED | Sint.AUTO_EOI | Sint.POLLING);
    this.updateAuto();
    return true;
  }

  private updateAuto(): void {
    this.auto.fill(0);
    for (const s of this.sint) if (s & Sint.AUTO_EOI && !(s & (Sint.MASKED | Sint.POLLING))) this.auto[(s & Sint.VECTOR) >> 5]! |= 1 << (s & 31);
    this.o.autoEoi(this.auto);
  }

  // ---- timers -----------------------------------------------------------------------------------------------------

  private writeConfig(n: number, lo: number, hi: number): boolean {
    if (hi !== 0 || lo & ~Config.DEFINED) return false;
    const t = this.timers[n]!;
    const direct = (lo & Config.DIRECT) !== 0;
    if (direct && ((lo >> Config.VECTOR_SHIFT) & 0xff) < 16) return false;
    // SINT0 has other uses: TLFS 12.3.
    t.config = !direct && (lo >> Config.SINT_SHIFT) % SINTS === 0 ? lo & ~Config.ENABLE : lo;
    t.waiting = false;
    this.start(t);
    return true;
  }

  private writeCount(n: number, lo: number, hi: number): boolean {
    const t = this.timers[n]!;
    t.count = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
    if (t.count === 0n) t.config &= ~Config.ENABLE;
    else if (t.config & Config.AUTO_ENABLE) t.config |= Config.ENABLE;
    t.waiting = false;
    this.start(t);
    return true;
  }

  private start(t: Timer): void {
    t.due = 0n;
    if (!(t.config & Config.ENABLE) || t.count === 0n) {
      t.arm(Infinity);
      return;
    }
    // A period counts from now; otherwise it is a time.
    t.due = t.config & Config.PERIODIC ? this.o.time() + t.count : t.count;
    this.arm(t);
  }

  private arm(t: Timer): void {
    const left = t.due - this.o.time();
    // The farthest is looked at again in between.
    t.arm(left <= 0n ? 0 : Math.min(Number(left) * 100, 1e12));
  }

  private expired(n: number): void {
    const t = this.timers[n]!;
    if (t.due === 0n) return;
    const now = this.o.time();
    if (now < t.due) {
      this.arm(t);
      return;
    }
    const due = t.due;
    if (t.config & Config.PERIODIC) {
      // What has been missed is missed; no more than one interrupt in 100 us.
      const period = t.count < 1000n ? 1000n : t.count;
      t.due += ((now - due) / period + 1n) * period;
      this.arm(t);
    } else {
      t.due = 0n;
      t.config &= ~Config.ENABLE;
    }
    if (t.config & Config.DIRECT) this.o.interrupt((t.config >> Config.VECTOR_SHIFT) & 0xff);
    else this.send(n, due);
  }

  /** Writes a timer's message into its slot, if that is free; else its flags say that one waits. */
  private send(n: number, due = 0n): void {
    const t = this.timers[n]!;
    t.waiting = false;
    if (!(this.control & ENABLE)) return;
    const s = (t.config >> Config.SINT_SHIFT) & (SINTS - 1);
    const at = this.slot(s);
    if (at < 0) return;
    const v = this.o.map.ramView;
    if (v.getInt32(at, true) !== 0) {
      v.setUint8(at + Message.FLAGS, v.getUint8(at + Message.FLAGS) | 1);
      t.waiting = true;
      return;
    }
    const now = this.o.time();
    v.setUint8(at + Message.SIZE, Message.TIMER_BYTES);
    v.setUint8(at + Message.FLAGS, 0);
    v.setUint16(at + Message.FLAGS + 1, 0, true);
    v.setBigUint64(at + Message.PORT, 0n, true);
    v.setUint32(at + Message.PAYLOAD, n, true);
    v.setUint32(at + Message.PAYLOAD + 4, 0, true);
    v.setBigUint64(at + Message.PAYLOAD + 8, due === 0n ? now : due, true);
    v.setBigUint64(at + Message.PAYLOAD + 16, now, true);
    // The type last: the guest may be looking.
    Atomics.store(this.o.map.ram32, at >>> 2, Message.TIMER_EXPIRED | 0);
    const sint = this.sint[s]!;
    if (!(sint & (Sint.MASKED | Sint.POLLING))) this.o.interrupt(sint & Sint.VECTOR);
  }

  /** RAM offset of a message slot, or -1 while the page is not in RAM. */
  private slot(s: number): number {
    const [lo, hi] = this.pages.simp;
    const { map } = this.o;
    const pa = (hi >>> 0) * 0x1_0000_0000 + ((lo & ~(PAGE - 1)) >>> 0);
    if (!(lo & ENABLE) || pa >= 2 ** 52) return -1;
    const page = map.pageOffset(pa);
    if (page < 0 || map.isRom(pa)) return -1;
    const at = page + s * Message.BYTES;
    // Timers run between slices as well: what the last block was does not matter.
    if (map.codePages[page >>> 12]) map.onDmaCodeWrite(at, Message.BYTES);
    return at;
  }
}
