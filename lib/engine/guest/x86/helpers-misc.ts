/** Helpers: rare integer instructions (SDM vol. 2 under each name). Operands as in helper-names.ts. */
import { HelperResult, type HelperRegistry } from '../../helpers.js';
import { Slot } from '../../state.js';
import type { X86Cpu } from './cpu.js';
import { At, Vec } from './defs.js';
import { Mode, Seg, X } from './mode.js';
import { Stack } from './stack.js';

const CONTINUE = HelperResult.CONTINUE;
const ALL = { readsFlags: 63, writesFlags: 63 };
/** Flags in LAHF/SETO order. */
const CF = 0x100;
const AF = 0x1000;
const ZF = 0x4000;
const SF = 0x8000;

/** SF, ZF, PF of an 8-bit result, in slot FLAGS order, with the given CF and AF bits. */
function result8(c: X86Cpu, v: number, extra: number): void {
  v &= 0xff;
  const p = v ^ (v >> 4);
  const pf = ((0x6996 >> (p & 15)) & 1) === 0;
  c.V[Slot.FLAGS * 2] = (v & 0x80 ? SF : 0) | (v === 0 ? ZF : 0) | (pf ? 0x400 : 0) | 0x200 | extra;
}

function setAx(c: X86Cpu, v: number): void {
  c.V[X.RAX * 2] = (c.V[X.RAX * 2]! & ~0xffff) | (v & 0xffff);
}

export function registerMisc(r: HelperRegistry<X86Cpu>): void {
  const ascii = (sign: number) => (c: X86Cpu): HelperResult => {
    let ax = c.V[X.RAX * 2]! & 0xffff;
    const adjust = (ax & 15) > 9 || (c.V[Slot.FLAGS * 2]! & AF) !== 0;
    if (adjust) ax = (ax + sign * 0x106) & 0xffff;
    ax &= 0xff0f;
    setAx(c, ax);
    result8(c, ax, adjust ? CF | AF : 0);
    return CONTINUE;
  };
  r.define('x86.aaa', ascii(1), ALL);
  r.define('x86.aas', ascii(-1), ALL);
  const decimal = (sign: number) => (c: X86Cpu): HelperResult => {
    const f = c.V[Slot.FLAGS * 2]!;
    const old = c.V[X.RAX * 2]! & 0xff;
    let al = old;
    let flags = 0;
    if ((al & 15) > 9 || f & AF) {
      // DAS: a borrow out of this step counts as carry.
      if (sign < 0 && al < 6) flags |= CF;
      al += sign * 6;
      flags |= AF;
    }
    if (old > 0x99 || f & CF) {
      al += sign * 0x60;
      flags |= CF;
    } else if (sign > 0) flags &= ~CF;
    c.V[X.RAX * 2] = (c.V[X.RAX * 2]! & ~0xff) | (al & 0xff);
    result8(c, al, flags);
    return CONTINUE;
  };
  r.define('x86.daa', decimal(1), ALL);
  r.define('x86.das', decimal(-1), ALL);
  r.define('x86.aam', (c, _d, _a, _b, _c, imm) => {
    const n = imm & 0xff;
    if (n === 0) throw c.fault(Vec.DE);
    const al = c.V[X.RAX * 2]! & 0xff;
    setAx(c, (Math.floor(al / n) << 8) | al % n);
    result8(c, al % n, 0);
    return CONTINUE;
  }, ALL);
  r.define('x86.aad', (c, _d, _a, _b, _c, imm) => {
    const ax = c.V[X.RAX * 2]! & 0xffff;
    const al = ((ax & 0xff) + (ax >> 8) * (imm & 0xff)) & 0xff;
    setAx(c, al);
    result8(c, al, 0);
    return CONTINUE;
  }, ALL);
  r.define('x86.bound', (c, _d, a, b, k, w) => {
    const s = w === 1 ? 16 : 0;
    const v = (c.V[a * 2]! << s) >> s;
    if (v < (c.V[b * 2]! << s) >> s || v > (c.V[k * 2]! << s) >> s) throw c.fault(Vec.BR);
    return CONTINUE;
  });
  r.define('x86.enter', (c, _d, _a, _b, _c, imm) => {
    enter(c, imm & 0xffff, (imm >>> 16) & 31, imm >>> 24);
    return CONTINUE;
  });

  const random = (c: X86Cpu, dst: number): HelperResult => {
    c.setReg(3, dst, c.random32(), c.random32());
    c.V[Slot.FLAGS * 2] = CF | 0x200;
    return CONTINUE;
  };
  r.define('x86.rdrand', random, { writesFlags: 63 });
  r.define('x86.rdseed', random, { writesFlags: 63 });
}

/** ENTER with nesting (SDM vol. 2): copies frame pointers of the enclosing levels. */
function enter(c: X86Cpu, bytes: number, level: number, w: number): void {
  const { V } = c;
  const st = new Stack(c);
  st.current();
  const size = 1 << w;
  const rbpLo = V[X.RBP * 2]!;
  const rbpHi = V[X.RBP * 2 + 1]!;
  st.push(w, rbpLo, rbpHi);
  const fLo = st.spLo;
  const fHi = st.spHi;
  const code64 = (c.mode & Mode.CODE_MASK) === Mode.CODE64;
  const big = code64 || (c.seg.attr[Seg.SS]! & At.DB) !== 0;
  const base = code64 ? 0 : V[(X.SEGBASE + Seg.SS) * 2]!;
  const { mmu } = c;
  for (let i = 1; i < level; i++) {
    const off = big ? (rbpLo - i * size) | 0 : (rbpLo - i * size) & 0xffff;
    if (!code64) c.seg.check(Seg.SS, off, false, size);
    const hi = code64 ? (rbpHi - (rbpLo >>> 0 < i * size ? 1 : 0)) | 0 : 0;
    const lo = (base + off) | 0;
    if (w === 3) {
      mmu.read64(lo, hi, c.mmuIdx);
      st.push(3, mmu.lo, mmu.hi);
    } else st.push(w, w === 2 ? mmu.read32(lo, hi, c.mmuIdx) : mmu.read16(lo, hi, c.mmuIdx));
  }
  st.push(w, fLo, fHi);
  st.release(-bytes);
  // The new top of stack must be writable (the instruction probes it).
  const topLo = code64 ? st.spLo : (base + (big ? st.spLo : st.spLo & 0xffff)) | 0;
  mmu.probeWrite(topLo, code64 ? st.spHi : 0, 1, c.mmuIdx);
  st.commit();
  if (w === 1) V[X.RBP * 2] = (rbpLo & ~0xffff) | (fLo & 0xffff);
  else {
    V[X.RBP * 2] = fLo;
    V[X.RBP * 2 + 1] = w === 3 ? fHi : 0;
  }
}
