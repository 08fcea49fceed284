/**
 * REP string instructions (SDM vol. 2, REP; MOVS CMPS STOS LODS SCAS INS OUTS), page by page in bulk where both sides are
 * plain RAM. Registers always show the exact progress, so a fault leaves a restartable instruction.
 */
import { Slot } from '../../state.js';
import { Ef } from './defs.js';
import { Mode, Seg, X } from './mode.js';
import type { X86Cpu } from './cpu.js';

export const enum Str { MOVS = 0, CMPS, STOS, LODS, SCAS, INS, OUTS }

/** Bytes moved before interrupts get a chance. */
const CHUNK = 65536;

/** Flags of a - b at width w, in slot FLAGS. */
export function subFlags(V: Int32Array, w: number, aLo: number, aHi: number, bLo: number, bHi: number): void {
  const lo = (aLo - bLo) | 0;
  let cf: boolean;
  let zf: boolean;
  let sf: boolean;
  let of: boolean;
  if (w === 3) {
    const borrow = (aLo >>> 0) < (bLo >>> 0) ? 1 : 0;
    const hi = (aHi - bHi - borrow) | 0;
    cf = aHi === bHi ? borrow === 1 : (aHi >>> 0) < (bHi >>> 0);
    zf = lo === 0 && hi === 0;
    sf = hi < 0;
    of = ((aHi ^ bHi) & (aHi ^ hi)) < 0;
  } else {
    const s = 32 - (8 << w);
    const a = aLo << s;
    const b = bLo << s;
    const r = (a - b) | 0;
    cf = (a >>> 0) < (b >>> 0);
    zf = r === 0;
    sf = r < 0;
    of = ((a ^ b) & (a ^ r)) < 0;
  }
  let p = lo & 0xff;
  p ^= p >> 4;
  const pf = ((0x6996 >> (p & 15)) & 1) === 0;
  V[Slot.FLAGS * 2] = (sf ? 0x8000 : 0) | (zf ? 0x4000 : 0) | (((aLo ^ bLo ^ lo) & 0x10) << 8) | (pf ? 0x400 : 0) | 0x200 | (cf ? 0x100 : 0) | (of ? 1 : 0);
}

export class Strings {
  private readonly V: Int32Array;
  /** Decoded imm. */
  private w = 0;
  private size = 1;
  private aw = 0;
  private code64 = false;
  private srcSeg = 0;
  private checkSrc = false;
  private checkDst = false;
  private down = false;
  /** Linear addresses of the next elements. */
  private sLo = 0;
  private sHi = 0;
  private dLo = 0;
  private dHi = 0;

  constructor(private readonly cpu: X86Cpu) {
    this.V = cpu.V;
  }

  private decode(imm: number): void {
    const { cpu } = this;
    this.w = imm & 15;
    this.size = 1 << this.w;
    this.aw = (imm >> 8) & 15;
    this.srcSeg = (imm >> 12) & 15;
    this.code64 = (cpu.mode & Mode.CODE_MASK) === Mode.CODE64;
    const flat = (cpu.mode & Mode.FLAT) !== 0;
    const s = this.srcSeg;
    this.checkSrc = !this.code64 && !(flat && (s === Seg.DS || s === Seg.ES || s === Seg.SS));
    this.checkDst = !this.code64 && !flat;
    this.down = (cpu.eflagsSystem & Ef.DF) !== 0;
  }

  /** Offset register: as wide as the address size. Low word; the high word counts only for 64 bits. */
  private off(reg: number): number {
    const v = this.V[reg * 2]!;
    return this.aw === 1 ? v & 0xffff : v;
  }

  private source(): void {
    const V = this.V;
    const off = this.off(X.RSI);
    const hi = this.aw === 3 ? V[X.RSI * 2 + 1]! : 0;
    const b = (X.SEGBASE + this.srcSeg) * 2;
    if (this.code64) {
      if (this.srcSeg < Seg.FS) {
        this.sLo = off;
        this.sHi = hi;
      } else {
        this.sLo = (off + V[b]!) | 0;
        this.sHi = (hi + V[b + 1]! + ((this.sLo >>> 0) < (off >>> 0) ? 1 : 0)) | 0;
      }
    } else {
      this.sLo = (off + V[b]!) | 0;
      this.sHi = 0;
    }
  }

  private dest(): void {
    const V = this.V;
    const off = this.off(X.RDI);
    if (this.code64) {
      this.dLo = off;
      this.dHi = this.aw === 3 ? V[X.RDI * 2 + 1]! : 0;
    } else {
      this.dLo = (off + V[(X.SEGBASE + Seg.ES) * 2]!) | 0;
      this.dHi = 0;
    }
  }

  /** Adds a signed amount to an index or count register of the address size. */
  private advance(reg: number, n: number): void {
    const V = this.V;
    const r = reg * 2;
    const old = V[r]!;
    if (this.aw === 1) V[r] = (old & ~0xffff) | ((old + n) & 0xffff);
    else {
      const lo = (old + n) | 0;
      V[r] = lo;
      if (this.aw === 3) {
        if (n < 0) V[r + 1]! -= (lo >>> 0) > (old >>> 0) ? 1 : 0;
        else V[r + 1]! += (lo >>> 0) < (old >>> 0) ? 1 : 0;
      } else V[r + 1] = 0;
    }
  }

  /** Elements left, at most CHUNK. */
  private count(): number {
    const V = this.V;
    const lo = V[X.RCX * 2]!;
    if (this.aw === 1) return lo & 0xffff;
    if (this.aw === 3 && V[X.RCX * 2 + 1] !== 0) return CHUNK;
    return Math.min(lo >>> 0, CHUNK);
  }

  /** Elements from linear address lo (offset off) on, in the direction of DF, that stay within its page and the offset's width. */
  private run(lo: number, off: number): number {
    const p = lo & 0xfff;
    if (p + this.size > 4096) return 0;
    if (this.down) {
      const n = (p >> this.w) + 1;
      return this.code64 ? n : Math.min(n, Math.floor((off >>> 0) / this.size) + 1);
    }
    const n = (4096 - p) >> this.w;
    if (this.aw === 3) return n;
    return Math.min(n, Math.floor(((this.aw === 1 ? 0x1_0000 : 0x1_0000_0000) - (off >>> 0)) / this.size));
  }

  /** Segment check for m elements; the lowest address decides when going down. */
  private limits(seg: number, off: number, write: boolean, m: number): void {
    this.cpu.seg.check(seg, this.down ? off - (m - 1) * this.size : off, write, m * this.size);
  }

  /**
   * The instruction. @returns true when it is finished; false to come back for more.
   */
  rep(imm: number): boolean {
    this.decode(imm);
    const kind: Str = (imm >> 4) & 15;
    const repne = ((imm >> 16) & 1) !== 0;
    const step = (this.cpu.mode & Mode.STEP) !== 0;
    if (kind === Str.INS || kind === Str.OUTS) this.cpu.checkIo(this.V[X.RDX * 2]! & 0xffff, this.size);
    let budget = CHUNK >> this.w;
    for (;;) {
      const c = this.count();
      if (c === 0) return true;
      if (budget <= 0) return false;
      let m = step ? 1 : Math.min(c, budget);
      switch (kind) {
        case Str.MOVS:
          m = this.movs(m);
          break;
        case Str.STOS:
          m = this.stos(m);
          break;
        case Str.CMPS:
        case Str.SCAS:
          m = this.compare(kind, m, repne);
          if (m < 0) return true;
          break;
        default:
          this.one(kind);
          m = 1;
      }
      if (kind !== Str.CMPS && kind !== Str.SCAS) this.advance(X.RCX, -m);
      budget -= m;
      if (step) return this.count() === 0;
    }
  }

  /** INS, OUTS without REP. */
  single(imm: number): void {
    this.decode(imm);
    this.cpu.checkIo(this.V[X.RDX * 2]! & 0xffff, this.size);
    this.one((imm >> 4) & 15);
  }

  private movs(m: number): number {
    const { cpu, size } = this;
    const { mmu } = cpu;
    const so = this.off(X.RSI);
    const dof = this.off(X.RDI);
    this.source();
    this.dest();
    m = Math.min(m, this.run(this.sLo, so), this.run(this.dLo, dof));
    if (m > 1) {
      const idx = cpu.mmuIdx;
      if (this.checkSrc && !this.fits(this.srcSeg, so, m)) m = 0;
      if (this.checkDst && !this.fits(Seg.ES, dof, m)) m = 0;
      if (m > 1) {
        if (this.checkSrc) this.limits(this.srcSeg, so, false, m);
        if (this.checkDst) this.limits(Seg.ES, dof, true, m);
        let sp = mmu.bulkRead(this.sLo, this.sHi, idx);
        let dp = mmu.bulkWrite(this.dLo, this.dHi, idx);
        const len = m * size;
        if (dp < 0 && sp >= 0) dp = mmu.bulkPatch(this.dLo, this.dHi, idx, this.down ? len - size : 0, len);
        if (sp >= 0 && dp >= 0) {
          const ram = cpu.map.ram8;
          if (this.down) {
            sp -= len - size;
            dp -= len - size;
            if (dp >= sp || sp - dp >= len) {
              ram.copyWithin(dp, sp, sp + len);
              this.advance(X.RSI, -len);
              this.advance(X.RDI, -len);
              return m;
            }
          } else if (dp <= sp || dp - sp >= size) {
            // A destination a little above the source repeats a pattern: bytes in ascending order do what elements would.
            if (dp <= sp || dp - sp >= len) ram.copyWithin(dp, sp, sp + len);
            else for (let i = 0; i < len; i++) ram[dp + i] = ram[sp + i]!;
            this.advance(X.RSI, len);
            this.advance(X.RDI, len);
            return m;
          }
        }
      }
    }
    this.one(Str.MOVS);
    return 1;
  }

  /** True if m elements lie within the limit, so that a check cannot fail half way. */
  private fits(seg: number, off: number, m: number): boolean {
    const { seg: s } = this.cpu;
    const low = this.down ? off - (m - 1) * this.size : off;
    return s.inLimit(s.limit[seg]!, s.attr[seg]!, low, m * this.size);
  }

  private stos(m: number): number {
    const { cpu, size, V } = this;
    const dof = this.off(X.RDI);
    this.dest();
    m = Math.min(m, this.run(this.dLo, dof));
    if (m > 1 && !(this.checkDst && !this.fits(Seg.ES, dof, m))) {
      if (this.checkDst) this.limits(Seg.ES, dof, true, m);
      const len = m * size;
      let dp = cpu.mmu.bulkWrite(this.dLo, this.dHi, cpu.mmuIdx);
      if (dp < 0) dp = cpu.mmu.bulkPatch(this.dLo, this.dHi, cpu.mmuIdx, this.down ? len - size : 0, len);
      if (dp >= 0) {
        if (this.down) dp -= len - size;
        const ram = cpu.map.ram8;
        const lo = V[X.RAX * 2]!;
        const hi = V[X.RAX * 2 + 1]!;
        const rep = (lo & 0xff) * 0x0101_0101;
        if (size === 1 || (size === 2 && (lo & 0xffff) === (rep & 0xffff)) || (lo === (rep | 0) && (size < 8 || hi === lo))) ram.fill(lo & 0xff, dp, dp + len);
        else {
          for (let i = 0; i < size; i++) ram[dp + i] = (i < 4 ? lo : hi) >>> ((i & 3) * 8);
          for (let done = size; done < len; done *= 2) ram.copyWithin(dp + done, dp, dp + Math.min(done, len - done));
        }
        this.advance(X.RDI, this.down ? -len : len);
        return m;
      }
    }
    this.one(Str.STOS);
    return 1;
  }

  /** CMPS and SCAS: up to m elements. Counts RCX itself. @returns elements done, or -1 if the condition ended the instruction. */
  private compare(kind: Str, m: number, repne: boolean): number {
    const { cpu, size, V, w } = this;
    const { mmu } = cpu;
    const idx = cpu.mmuIdx;
    const cmps = kind === Str.CMPS;
    this.dest();
    const dof = this.off(X.RDI);
    let n = Math.min(m, this.run(this.dLo, dof));
    let so = 0;
    if (cmps) {
      this.source();
      so = this.off(X.RSI);
      n = Math.min(n, this.run(this.sLo, so));
    }
    if (n > 1 && ((this.checkDst && !this.fits(Seg.ES, dof, n)) || (cmps && this.checkSrc && !this.fits(this.srcSeg, so, n)))) n = 1;
    if (n < 1) n = 1;
    if (cmps && this.checkSrc) this.limits(this.srcSeg, so, false, n);
    if (this.checkDst) this.limits(Seg.ES, dof, false, n);
    let sp = -1;
    let dp = -1;
    if (n > 1) {
      if (cmps) sp = mmu.bulkRead(this.sLo, this.sHi, idx);
      dp = mmu.bulkRead(this.dLo, this.dHi, idx);
      if (dp < 0 || (cmps && sp < 0)) n = 1;
    }
    let aLo = V[X.RAX * 2]!;
    let aHi = V[X.RAX * 2 + 1]!;
    let bLo = 0;
    let bHi = 0;
    let done = 0;
    let ended = false;
    if (n === 1) {
      if (cmps) {
        this.get(this.sLo, this.sHi, idx);
        aLo = this.gLo;
        aHi = this.gHi;
      }
      this.get(this.dLo, this.dHi, idx);
      bLo = this.gLo;
      bHi = this.gHi;
      done = 1;
      ended = this.equal(aLo, aHi, bLo, bHi) === repne;
    } else {
      const view = cpu.map.ramView;
      const ram = cpu.map.ram8;
      const d = this.down ? -size : size;
      for (let i = 0; i < n && !ended; i++, done++) {
        const q = dp + i * d;
        const p = sp + i * d;
        if (w === 0) {
          bLo = ram[q]!;
          if (cmps) aLo = ram[p]!;
        } else if (w === 1) {
          bLo = view.getUint16(q, true);
          if (cmps) aLo = view.getUint16(p, true);
        } else {
          bLo = view.getInt32(q, true);
          if (cmps) aLo = view.getInt32(p, true);
          if (w === 3) {
            bHi = view.getInt32(q + 4, true);
            if (cmps) aHi = view.getInt32(p + 4, true);
          }
        }
        ended = this.equal(aLo, aHi, bLo, bHi) === repne;
      }
    }
    subFlags(V, w, aLo, aHi, bLo, bHi);
    const len = (this.down ? -done : done) * size;
    if (cmps) this.advance(X.RSI, len);
    this.advance(X.RDI, len);
    this.advance(X.RCX, -done);
    return ended ? -1 : done;
  }

  private equal(aLo: number, aHi: number, bLo: number, bHi: number): boolean {
    if (this.w === 3) return aLo === bLo && aHi === bHi;
    return ((aLo ^ bLo) << (32 - (8 << this.w))) === 0;
  }

  private gLo = 0;
  private gHi = 0;
  private get(lo: number, hi: number, idx: number): void {
    const { mmu } = this.cpu;
    this.gHi = 0;
    if (this.w === 0) this.gLo = mmu.read8(lo, hi, idx);
    else if (this.w === 1) this.gLo = mmu.read16(lo, hi, idx);
    else if (this.w === 2) this.gLo = mmu.read32(lo, hi, idx);
    else {
      mmu.read64(lo, hi, idx);
      this.gLo = mmu.lo;
      this.gHi = mmu.hi;
    }
  }

  private put(lo: number, hi: number, idx: number, vLo: number, vHi: number): void {
    const { mmu } = this.cpu;
    if (this.w === 0) mmu.write8(lo, hi, idx, vLo & 0xff);
    else if (this.w === 1) mmu.write16(lo, hi, idx, vLo & 0xffff);
    else if (this.w === 2) mmu.write32(lo, hi, idx, vLo);
    else mmu.write64(lo, hi, idx, vLo, vHi);
  }

  /** One element of MOVS, STOS, LODS, INS or OUTS, index registers included, RCX not. */
  private one(kind: Str): void {
    const { cpu, V, size } = this;
    const idx = cpu.mmuIdx;
    const d = this.down ? -size : size;
    const port = V[X.RDX * 2]! & 0xffff;
    if (kind === Str.MOVS || kind === Str.LODS || kind === Str.OUTS) {
      this.source();
      if (this.checkSrc) cpu.seg.check(this.srcSeg, this.off(X.RSI), false, size);
      this.get(this.sLo, this.sHi, idx);
    } else {
      this.gLo = V[X.RAX * 2]!;
      this.gHi = V[X.RAX * 2 + 1]!;
    }
    if (kind === Str.LODS) {
      cpu.setReg(this.w, X.RAX, this.gLo, this.gHi);
      this.advance(X.RSI, d);
      return;
    }
    if (kind === Str.OUTS) {
      cpu.debug.onIo(port, size);
      cpu.ports.portOut(port, size, this.gLo >>> 0);
      this.advance(X.RSI, d);
      return;
    }
    this.dest();
    if (this.checkDst) cpu.seg.check(Seg.ES, this.off(X.RDI), true, size);
    if (kind === Str.INS) {
      // The port must not be read if the store is going to fault.
      cpu.mmu.probeWrite(this.dLo, this.dHi, size, idx);
      cpu.debug.onIo(port, size);
      this.gLo = cpu.ports.portIn(port, size) | 0;
    }
    this.put(this.dLo, this.dHi, idx, this.gLo, this.gHi);
    if (kind === Str.MOVS) this.advance(X.RSI, d);
    this.advance(X.RDI, d);
  }
}

