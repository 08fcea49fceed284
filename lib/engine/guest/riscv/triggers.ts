/**
 * Debug triggers for software (The RISC-V Debug Specification 1.0, chapter 5, Sdtrig): address match (mcontrol6, and mcontrol as older software knows it) and
 * instruction count, with a breakpoint exception as action. M-mode's handlers are kept from being interrupted by the first of the two ways of 5.4: none strikes in
 * M-mode with mstatus.MIE clear. So there is no tcontrol. The same way would have none strike in S-mode with SIE clear, but what debugs kernels by SBI (DBTR) counts on
 * triggers there, as QEMU has them; handlers that touch what they watch are the debugger's business.
 *
 * Triggers on data strike on the slow path of accesses: pages that one may match in have no TLB entry. While one on execution or a count may strike the CPU steps.
 */
import type { RiscvCpu } from './cpu.js';
import { Cause, Csr, Ms, Priv } from './defs.js';

export const TRIGGERS = 4;
const enum Type { MCONTROL = 2, ICOUNT = 3, MCONTROL6 = 6, DISABLED = 15 }
const TYPE_SHIFT = 28;
/** tinfo: version 1.0, and the types that there are. */
const TINFO = (1 << 24) | (1 << Type.MCONTROL) | (1 << Type.ICOUNT) | (1 << Type.MCONTROL6) | (1 << Type.DISABLED);

/** Fields that mcontrol and mcontrol6 have at the same place: modes from bit 3 on by privilege, action, chain and select are 0. */
const enum Mc { LOAD = 1, STORE = 2, EXECUTE = 4, MODES = 0x58, PRIV_SHIFT = 3, MATCH_SHIFT = 7, SIZE_SHIFT = 16, HIT = 1 << 20, HIT0 = 1 << 22, SIZEHI_SHIFT = 21 }
const enum Match { EQUAL = 0, NAPOT = 1, GE = 2, LT = 3 }
/** Sizes by their codes: any, 8, 16, 32, 48 (there is none), 64 bits. */
const SIZE_BYTES: readonly number[] = [0, 1, 2, 4, 0, 8];
const enum Ic { MODES = 0x2c0, PRIV_SHIFT = 6, PENDING = 1 << 8, COUNT_SHIFT = 10, COUNT = 0x3fff << 10, HIT = 1 << 24 }

/** What an access is. */
export const enum Kind { LOAD = Mc.LOAD, STORE = Mc.STORE }

interface Trigger {
  type: Type;
  /** tdata1 without its type. */
  data: number;
  /** tdata2. */
  lo: number;
  hi: number;
  /** Addresses that match, first and last. */
  first: [number, number];
  last: [number, number];
}

/** a <= b for 64-bit values of low and high words. */
const notAbove = (aLo: number, aHi: number, bLo: number, bHi: number): boolean => aHi >>> 0 < bHi >>> 0 || (aHi === bHi && aLo >>> 0 <= bLo >>> 0);

export class Triggers {
  /** Result of `read`. */
  lo = 0;
  hi = 0;
  /** Some trigger may strike, in whatever mode. */
  armed = false;
  /** One of them on data. */
  watching = false;
  /** Bit for each privilege: the CPU has to step there. */
  private stepping = 0;
  private counting = false;
  /** Counts that the running instruction takes one from: bit for each trigger. */
  private counted = 0;
  private select = 0;
  private readonly list: Trigger[] = Array.from({ length: TRIGGERS }, () => ({ type: Type.DISABLED, data: 0, lo: 0, hi: 0, first: [0, 0], last: [0, 0] }));

  constructor(private readonly cpu: RiscvCpu) {}

  reset(): void {
    this.select = this.counted = 0;
    for (const t of this.list) {
      t.type = Type.DISABLED;
      t.data = t.lo = t.hi = 0;
    }
    this.changed();
  }

  // ---- registers -----------------------------------------------------------------------------------------------------------------

  /** @returns false if this is no register of the trigger module */
  read(n: number): boolean {
    const t = this.list[this.select]!;
    this.lo = this.hi = 0;
    switch (n as Csr) {
      case Csr.TSELECT:
        this.lo = this.select;
        return true;
      case Csr.TDATA1:
        this.lo = t.data;
        this.hi = t.type << TYPE_SHIFT;
        return true;
      case Csr.TDATA2:
        this.lo = t.lo;
        this.hi = t.hi;
        return true;
      // textra64: no contexts to compare.
      case Csr.TDATA3:
        return true;
      case Csr.TINFO:
        this.lo = TINFO;
        return true;
      default:
        return false;
    }
  }

  write(n: number, lo: number, hi: number): boolean {
    const t = this.list[this.select]!;
    switch (n as Csr) {
      case Csr.TSELECT:
        this.select = lo & (TRIGGERS - 1);
        return true;
      case Csr.TDATA1:
        this.configure(t, hi >>> TYPE_SHIFT, lo);
        // The count is what was written, whatever this instruction would take from it.
        this.counted &= ~(1 << this.select);
        break;
      case Csr.TDATA2:
        t.lo = lo;
        t.hi = hi;
        break;
      case Csr.TDATA3:
      case Csr.TINFO:
        return true;
      default:
        return false;
    }
    this.changed();
    return true;
  }

  private configure(t: Trigger, type: Type, data: number): void {
    t.type = type;
    if (type === Type.ICOUNT) t.data = data & (Ic.HIT | Ic.COUNT | Ic.PENDING | Ic.MODES);
    else if (type === Type.MCONTROL) t.data = (data & (Mc.HIT | Mc.MODES | 7)) | this.match(data, false) | this.size(type, data);
    else if (type === Type.MCONTROL6) t.data = (data & (Mc.HIT0 | Mc.MODES | 7)) | this.match(data, true) | this.size(type, data);
    else {
      t.type = Type.DISABLED;
      t.data = 0;
    }
  }

  /** Field match, as far as it is supported. maskmax of mcontrol is 0: no powers of two. */
  private match(data: number, napot: boolean): number {
    const m: Match = (data >>> Mc.MATCH_SHIFT) & 15;
    return m === Match.GE || m === Match.LT || (m === Match.NAPOT && napot) ? m << Mc.MATCH_SHIFT : 0;
  }

  /** Code of the access size; mcontrol has it in two fields. */
  private sizeCode(type: Type, data: number): number {
    return type === Type.MCONTROL ? ((data >>> (Mc.SIZEHI_SHIFT - 2)) & 12) | ((data >>> Mc.SIZE_SHIFT) & 3) : (data >>> Mc.SIZE_SHIFT) & 7;
  }

  /** The size fields, as far as they are supported: with execution any size. */
  private size(type: Type, data: number): number {
    const code = this.sizeCode(type, data);
    if (data & Mc.EXECUTE || !SIZE_BYTES[code]) return 0;
    return type === Type.MCONTROL ? ((code & 3) << Mc.SIZE_SHIFT) | ((code >>> 2) << Mc.SIZEHI_SHIFT) : code << Mc.SIZE_SHIFT;
  }

  /** Access size in bytes that a trigger wants; 0: any. */
  private bytes(t: Trigger): number {
    return SIZE_BYTES[this.sizeCode(t.type, t.data)]!;
  }

  private static isMatch(t: Trigger): boolean {
    return t.type === Type.MCONTROL || t.type === Type.MCONTROL6;
  }

  /** A register was written, or a count has struck. */
  private changed(): void {
    const watched = this.watching;
    this.stepping = 0;
    this.armed = this.watching = this.counting = false;
    for (const t of this.list) {
      if (Triggers.isMatch(t)) {
        if ((t.data & Mc.MODES) === 0 || (t.data & 7) === 0) continue;
        this.range(t);
        this.armed = true;
        if (t.data & Mc.EXECUTE) this.stepping |= (t.data & Mc.MODES) >>> Mc.PRIV_SHIFT;
        if (t.data & (Mc.LOAD | Mc.STORE)) this.watching = true;
      } else if (t.type === Type.ICOUNT && (t.data & (Ic.COUNT | Ic.PENDING)) !== 0 && (t.data & Ic.MODES) !== 0) {
        this.armed = this.counting = true;
        this.stepping |= (t.data & Ic.MODES) >>> Ic.PRIV_SHIFT;
      }
    }
    this.cpu.mmu.guarded = this.watching;
    // Pages may hold an address that held none.
    if (watched || this.watching) this.cpu.mmu.flushAll();
    this.cpu.csr.updateSlow();
    this.cpu.updateMode();
  }

  private range(t: Trigger): void {
    const m: Match = (t.data >>> Mc.MATCH_SHIFT) & 15;
    t.first = [t.lo, t.hi];
    t.last = [t.lo, t.hi];
    if (m === Match.GE) t.last = [-1, -1];
    else if (m === Match.LT) {
      t.first = [0, 0];
      // Nothing is below 0: then no address is both at least 1 and at most 0.
      if (t.lo === 0 && t.hi === 0) [t.first, t.last] = [[1, 0], [0, 0]];
      else t.last = [(t.lo - 1) | 0, t.lo === 0 ? (t.hi - 1) | 0 : t.hi];
    } else if (m === Match.NAPOT) {
      // Ones up to the lowest 0 are not compared, and neither is that.
      const maskLo = t.lo ^ ((t.lo + 1) | 0);
      const maskHi = t.lo === -1 ? t.hi ^ ((t.hi + 1) | 0) : 0;
      t.first = [t.lo & ~maskLo, t.hi & ~maskHi];
      t.last = [t.lo | maskLo, t.hi | maskHi];
    }
  }

  // ---- strikes -------------------------------------------------------------------------------------------------------------------

  /** The CPU has to step at this privilege. */
  steps(priv: Priv): boolean {
    return ((this.stepping >>> priv) & 1) !== 0;
  }

  /** Triggers may match at all now (5.4). */
  private get allowed(): boolean {
    const { priv, csr } = this.cpu;
    return priv !== Priv.M || (csr.mstatus & Ms.MIE) !== 0;
  }

  private enabled(t: Trigger): boolean {
    return ((t.data >>> ((t.type === Type.ICOUNT ? Ic.PRIV_SHIFT : Mc.PRIV_SHIFT) + this.cpu.priv)) & 1) !== 0;
  }

  private strike(t: Trigger): void {
    t.data |= t.type === Type.MCONTROL ? Mc.HIT : t.type === Type.MCONTROL6 ? Mc.HIT0 : Ic.HIT;
  }

  /** Before the instruction at hi:lo is fetched. @throws GuestFault */
  fetch(lo: number, hi: number): void {
    this.counted = 0;
    if (!this.allowed) return;
    if (this.counting) this.count();
    let hit = false;
    for (const t of this.list) {
      if (!Triggers.isMatch(t) || !(t.data & Mc.EXECUTE) || !this.enabled(t) || !overlaps(t, lo, hi, lo, hi)) continue;
      this.strike(t);
      hit = true;
    }
    if (hit) throw this.cpu.fault(Cause.BREAKPOINT, lo, hi);
  }

  /** Counts that have ended strike; the others take part in this instruction. */
  private count(): void {
    let hit = false;
    this.list.forEach((t, i) => {
      if (t.type !== Type.ICOUNT || !this.enabled(t)) return;
      if (t.data & Ic.PENDING) {
        t.data &= ~Ic.PENDING;
        this.strike(t);
        hit = true;
      } else if (t.data & Ic.COUNT) this.counted |= 1 << i;
    });
    if (!hit) return;
    this.changed();
    throw this.cpu.fault(Cause.BREAKPOINT, 0, 0);
  }

  /** The instruction has been executed. */
  retired(): void {
    if (this.counted === 0) return;
    const { counted } = this;
    this.counted = 0;
    this.list.forEach((t, i) => {
      if (!((counted >>> i) & 1)) return;
      t.data -= 1 << Ic.COUNT_SHIFT;
      if ((t.data & Ic.COUNT) === 0) t.data |= Ic.PENDING;
    });
  }

  /** A trap is taken from this privilege: it counts as the instruction would have. */
  trapped(): void {
    if (!this.counting || !this.allowed) return;
    this.counted = 0;
    this.list.forEach((t, i) => {
      if (t.type === Type.ICOUNT && (t.data & Ic.COUNT) !== 0 && this.enabled(t)) this.counted |= 1 << i;
    });
    this.retired();
  }

  /** The page holds an address that a trigger on data wants. */
  covers(pageLo: number, hi: number): boolean {
    return this.list.some((t) => Triggers.isMatch(t) && (t.data & (Mc.LOAD | Mc.STORE)) !== 0 && (t.data & Mc.MODES) !== 0 && overlaps(t, pageLo, hi, pageLo | 0xfff, hi));
  }

  /** Before an access of `bytes` at hi:lo (less than a page), what `kinds` says. @throws GuestFault */
  access(lo: number, hi: number, bytes: number, kinds: number): void {
    if (!this.allowed) return;
    const lastLo = (lo + bytes - 1) | 0;
    const lastHi = lastLo >>> 0 < lo >>> 0 ? (hi + 1) | 0 : hi;
    let hit = false;
    for (const t of this.list) {
      if (!Triggers.isMatch(t) || !(t.data & kinds) || !this.enabled(t)) continue;
      const want = this.bytes(t);
      if ((want !== 0 && want !== bytes) || !overlaps(t, lo, hi, lastLo, lastHi)) continue;
      this.strike(t);
      hit = true;
    }
    if (hit) throw this.cpu.fault(Cause.BREAKPOINT, lo, hi);
  }
}

/** The trigger's addresses and those from first to last have some in common. */
function overlaps(t: Trigger, firstLo: number, firstHi: number, lastLo: number, lastHi: number): boolean {
  return notAbove(t.first[0], t.first[1], lastLo, lastHi) && notAbove(firstLo, firstHi, t.last[0], t.last[1]);
}
