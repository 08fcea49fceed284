/**
 * FXSAVE, FXRSTOR and the XSAVE family with the components x87, SSE and AVX.
 * Intel SDM vol. 1 chapter 13 (XSAVE), 10.5 (FXSAVE); vol. 2 the instruction pages.
 *
 * Operands: a = slot with the linear address of the area, imm bit 0 = 64-bit form (REX.W), bit 1 = code is 64-bit (16
 * XMM registers). The component mask of the XSAVE family is EDX:EAX.
 *
 * The image is built in a staging buffer and moved in as few pieces as the pages allow. Areas are aligned to 16 or 64
 * bytes, so no 8-byte piece crosses a page.
 */
import { HelperResult } from '../../../helpers.js';
import type { HelperFn, HelperRegistry } from '../../../helpers.js';
import { Access, Slot, TLB_BASE, TLB_ENTRIES, TLB_ENTRY_SHIFT, TLB_TABLE_BYTES, TlbField, VEC_STRIDE } from '../../../state.js';
import { Mode, X } from '../mode.js';
import { Cr0, FCW_INIT, Vector, W, afterControlLoad, init, phys, updateSummary } from './state.js';
import type { X87Cpu } from './state.js';

/** Scratch slots that no temporary uses. */
const ADDR = Slot.TEMP_END - 8;
const DATA = Slot.TEMP_END - 7;

const AREA_BYTES = 832;
const HEADER = 512;
const AVX_OFFSET = 576;
/** All MXCSR bits that exist. */
const MXCSR_MASK = 0xffff;
const MXCSR_INIT = 0x1f80;
const CR4_OSXSAVE = 0x40000;

/** XSAVE components. */
const enum Xc { X87 = 1, SSE = 2, AVX = 4 }
const SUPPORTED = Xc.X87 | Xc.SSE | Xc.AVX;

const I = new Int32Array(AREA_BYTES / 4);

/** Byte ranges [from, to) that the current save writes. */
const ranges: number[] = [];

/** Puts address + off into slot ADDR. */
function setAddr(cpu: X87Cpu, a: number, off: number): void {
  const V = cpu.V;
  const lo = (V[a * 2]! >>> 0) + off;
  V[ADDR * 2] = lo;
  V[ADDR * 2 + 1] = V[a * 2 + 1]! + (lo > 0xffff_ffff ? 1 : 0);
}

/** RAM offset of the byte at ADDR if the software TLB lets accesses of this kind go straight to RAM, otherwise -1. */
function ramOffset(cpu: X87Cpu, write: boolean): number {
  const V = cpu.V;
  const lo = V[ADDR * 2]!;
  const e = (TLB_BASE + cpu.mmuIdx * TLB_TABLE_BYTES + (((lo >>> 12) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)) >> 2;
  const tag = e + ((write ? TlbField.TAG_WRITE : TlbField.TAG_READ) >> 2);
  if (V[tag] !== (lo & ~0xfff) || V[tag + 1] !== V[ADDR * 2 + 1]) return -1;
  return ((V[e + (TlbField.RAM_PAGE >> 2)]! & ~0xfff) >>> 0) + (lo & 0xfff);
}

/** Reads bytes [from, to) of the area at slot a into the staging buffer. */
function readArea(cpu: X87Cpu, a: number, from: number, to: number): void {
  const start = cpu.V[a * 2]! & 0xfff;
  while (from < to) {
    const n = Math.min(to - from, 4096 - ((start + from) & 0xfff));
    setAddr(cpu, a, from);
    let ram = ramOffset(cpu, false);
    if (ram < 0) {
      cpu.load(3, ADDR, DATA, Access.NORMAL);
      ram = ramOffset(cpu, false);
    }
    if (ram >= 0) {
      // In words: for so little a view and a call of the library would take longer.
      const ram32 = cpu.map.ram32;
      for (let w = from >> 2, at = ram >>> 2; w < (from + n) >> 2; w++, at++) I[w] = ram32[at]!;
    } else {
      for (let o = from; o < from + n; o += 8) {
        setAddr(cpu, a, o);
        cpu.load(3, ADDR, DATA, Access.NORMAL);
        I[o >> 2] = cpu.V[DATA * 2]!;
        I[(o >> 2) + 1] = cpu.V[DATA * 2 + 1]!;
      }
    }
    from += n;
  }
}

/** Raises the fault that a write to the pages of [0, bytes) would raise, before anything is changed. */
function probeWrite(cpu: X87Cpu, a: number, bytes: number): void {
  const start = cpu.V[a * 2]! & 0xfff;
  for (let o = 0; o < bytes; o += 4096 - ((start + o) & 0xfff)) {
    setAddr(cpu, a, o);
    if (ramOffset(cpu, true) < 0) cpu.load(3, ADDR, DATA, Access.RMW);
  }
}

/** Writes the ranges of the staging buffer to the area at slot a. */
function writeArea(cpu: X87Cpu, a: number): void {
  const start = cpu.V[a * 2]! & 0xfff;
  for (let r = 0; r < ranges.length; r += 2) {
    let from = ranges[r]!;
    const to = ranges[r + 1]!;
    while (from < to) {
      const n = Math.min(to - from, 4096 - ((start + from) & 0xfff));
      setAddr(cpu, a, from);
      const ram = ramOffset(cpu, true);
      if (ram >= 0) {
        const ram32 = cpu.map.ram32;
        for (let w = from >> 2, at = ram >>> 2; w < (from + n) >> 2; w++, at++) ram32[at] = I[w]!;
      } else {
        for (let o = from; o < from + n; o += 8) {
          setAddr(cpu, a, o);
          cpu.V[DATA * 2] = I[o >> 2]!;
          cpu.V[DATA * 2 + 1] = I[(o >> 2) + 1]!;
          cpu.store(3, ADDR, DATA, Access.NORMAL);
        }
      }
      from += n;
    }
  }
}

/** Adds a range, joining it with the last one if they touch. */
function range(from: number, to: number): void {
  if (ranges.length > 0 && ranges[ranges.length - 1] === from) ranges[ranges.length - 1] = to;
  else ranges.push(from, to);
}

/** x87 state into bytes 0..23 and 32..159. */
function putX87(cpu: X87Cpu, wide: boolean): void {
  const V = cpu.V;
  const tag = V[W.TAG]!;
  I[0] = V[W.CS]!;
  I[1] = (tag & 0xff) | (tag & 0xffff0000);
  I[2] = V[W.IP]!;
  // The selectors are always saved as 0 (CPUID.7.0:EBX[13]).
  I[3] = wide ? V[W.IP + 1]! : 0;
  I[4] = V[W.DP]!;
  I[5] = wide ? V[W.DP + 1]! : 0;
  for (let i = 0; i < 8; i++) {
    const s = (Slot.X87 + 2 * phys(cpu, i)) * 2;
    const o = 8 + 4 * i;
    I[o] = V[s]!;
    I[o + 1] = V[s + 1]!;
    I[o + 2] = V[s + 2]! & 0xffff;
    I[o + 3] = 0;
  }
}

function getX87(cpu: X87Cpu, wide: boolean): void {
  const V = cpu.V;
  V[W.CS] = (I[0]! & 0xffff1f3f) | 0x40;
  V[W.TAG] = (I[1]! & 0xff) | (I[1]! & 0x07ff0000);
  V[W.IP] = I[2]!;
  V[W.IP + 1] = wide ? I[3]! : 0;
  V[W.DP] = I[4]!;
  V[W.DP + 1] = wide ? I[5]! : 0;
  for (let i = 0; i < 8; i++) {
    const s = (Slot.X87 + 2 * phys(cpu, i)) * 2;
    const o = 8 + 4 * i;
    V[s] = I[o]!;
    V[s + 1] = I[o + 1]!;
    V[s + 2] = I[o + 2]! & 0xffff;
    V[s + 3] = 0;
  }
  updateSummary(cpu);
}

function initX87(cpu: X87Cpu): void {
  init(cpu);
  const V = cpu.V;
  for (let i = Slot.X87 * 2; i < (Slot.X87 + 16) * 2; i++) V[i] = 0;
}

/** Copies `regs` 16-byte halves between registers (word offset `half` within each) and byte offset `at` of the image. */
function putHalves(cpu: X87Cpu, regs: number, half: number, at: number): void {
  const V = cpu.V;
  for (let r = 0, o = at >> 2; r < regs; r++, o += 4) {
    const s = (Slot.VEC + r * VEC_STRIDE) * 2 + half;
    I[o] = V[s]!;
    I[o + 1] = V[s + 1]!;
    I[o + 2] = V[s + 2]!;
    I[o + 3] = V[s + 3]!;
  }
}
function getHalves(cpu: X87Cpu, regs: number, half: number, at: number): void {
  const V = cpu.V;
  for (let r = 0, o = at >> 2; r < regs; r++, o += 4) {
    const s = (Slot.VEC + r * VEC_STRIDE) * 2 + half;
    V[s] = I[o]!;
    V[s + 1] = I[o + 1]!;
    V[s + 2] = I[o + 2]!;
    V[s + 3] = I[o + 3]!;
  }
}
function clearHalves(cpu: X87Cpu, regs: number, half: number): void {
  const V = cpu.V;
  for (let r = 0; r < regs; r++) {
    const s = (Slot.VEC + r * VEC_STRIDE) * 2 + half;
    V[s] = 0;
    V[s + 1] = 0;
    V[s + 2] = 0;
    V[s + 3] = 0;
  }
}
function anyHalf(cpu: X87Cpu, regs: number, half: number): boolean {
  const V = cpu.V;
  for (let r = 0; r < regs; r++) {
    const s = (Slot.VEC + r * VEC_STRIDE) * 2 + half;
    if ((V[s]! | V[s + 1]! | V[s + 2]! | V[s + 3]!) !== 0) return true;
  }
  return false;
}

const registers = (imm: number): number => ((imm & 2) !== 0 ? 16 : 8);
const is64 = (cpu: X87Cpu): number => ((cpu.mode & Mode.CODE_MASK) === Mode.CODE64 ? 2 : 0);

/** Bytes of a whole image in standard format. */
export const XSAVE_BYTES = AREA_BYTES;

/** The whole state as an XSAVE image in standard format, for another executor; `out` in 32-bit words. */
export function exportState(cpu: X87Cpu, out: Int32Array): void {
  putX87(cpu, true);
  I[6] = cpu.V[W.MXCSR]!;
  I[7] = MXCSR_MASK;
  putHalves(cpu, 16, 0, 160);
  putHalves(cpu, 16, 4, AVX_OFFSET);
  out.set(I.subarray(0, 416 / 4));
  out.set(I.subarray(AVX_OFFSET / 4, AREA_BYTES / 4), AVX_OFFSET / 4);
}

/** Takes over an XSAVE image in standard format: components whose bit in XSTATE_BV is clear are in their initial configuration. */
export function importState(cpu: X87Cpu, image: Int32Array): void {
  I.set(image.subarray(0, AREA_BYTES / 4));
  const present = I[HEADER / 4]!;
  if (present & Xc.X87) getX87(cpu, true);
  else initX87(cpu);
  cpu.V[W.MXCSR] = I[6]! & MXCSR_MASK;
  if (present & Xc.SSE) getHalves(cpu, 16, 0, 160);
  else clearHalves(cpu, 16, 0);
  if (present & Xc.AVX) getHalves(cpu, 16, 4, AVX_OFFSET);
  else clearHalves(cpu, 16, 4);
}

/** Components that are not in their initial configuration (SDM vol. 1, 13.6). */
function inUse(cpu: X87Cpu, wide: number): number {
  const V = cpu.V;
  let m = 0;
  if (V[W.CS] !== FCW_INIT || V[W.TAG] !== 0 || (V[W.IP]! | V[W.IP + 1]! | V[W.DP]! | V[W.DP + 1]!) !== 0) {
    m |= Xc.X87;
  } else {
    for (let i = Slot.X87 * 2; i < (Slot.X87 + 16) * 2; i++) {
      if (V[i] !== 0) {
        m |= Xc.X87;
        break;
      }
    }
  }
  const n = registers(wide);
  if (anyHalf(cpu, n, 0)) m |= Xc.SSE;
  if (anyHalf(cpu, n, 4)) m |= Xc.AVX;
  return m;
}

/** #NM or #GP conditions of FXSAVE and FXRSTOR. */
function checkFx(cpu: X87Cpu, a: number): void {
  if ((cpu.cr0 & (Cr0.EM | Cr0.TS)) !== 0) cpu.raise(Vector.NM);
  if ((cpu.V[a * 2]! & 15) !== 0) cpu.raiseError(Vector.GP, 0);
}

const fxsave: HelperFn<X87Cpu> = (cpu, _dst, a, _b, _c, imm) => {
  checkFx(cpu, a);
  imm |= is64(cpu);
  putX87(cpu, (imm & 1) !== 0);
  I[6] = cpu.V[W.MXCSR]!;
  I[7] = MXCSR_MASK;
  const n = registers(imm);
  putHalves(cpu, n, 0, 160);
  probeWrite(cpu, a, 512);
  ranges.length = 0;
  range(0, 160 + 16 * n);
  writeArea(cpu, a);
  return HelperResult.CONTINUE;
};

const fxrstor: HelperFn<X87Cpu> = (cpu, _dst, a, _b, _c, imm) => {
  checkFx(cpu, a);
  imm |= is64(cpu);
  readArea(cpu, a, 0, 512);
  if ((I[6]! & ~MXCSR_MASK) !== 0) cpu.raiseError(Vector.GP, 0);
  getX87(cpu, (imm & 1) !== 0);
  cpu.V[W.MXCSR] = I[6]!;
  getHalves(cpu, registers(imm), 0, 160);
  return afterControlLoad(cpu);
};

/** #UD, #NM, #GP conditions of the XSAVE family. @returns the requested-feature bitmap. */
function checkX(cpu: X87Cpu, a: number, supervisor: boolean): number {
  if ((cpu.cr4 & CR4_OSXSAVE) === 0) cpu.raise(Vector.UD);
  if ((cpu.cr0 & Cr0.TS) !== 0) cpu.raise(Vector.NM);
  if (supervisor && (cpu.mode & Mode.CPL0) === 0) cpu.raiseError(Vector.GP, 0);
  if ((cpu.V[a * 2]! & 63) !== 0) cpu.raiseError(Vector.GP, 0);
  return cpu.V[X.RAX * 2]! & cpu.xcr0 & SUPPORTED;
}

/** Stages components `m` and adds their ranges. */
function putComponents(cpu: X87Cpu, m: number, mxcsr: boolean, imm: number): void {
  const n = registers(imm);
  ranges.length = 0;
  if ((m & Xc.X87) !== 0) {
    putX87(cpu, (imm & 1) !== 0);
    range(0, 24);
  }
  if (mxcsr) {
    I[6] = cpu.V[W.MXCSR]!;
    I[7] = MXCSR_MASK;
    range(24, 32);
  }
  if ((m & Xc.X87) !== 0) range(32, 160);
  if ((m & Xc.SSE) !== 0) {
    putHalves(cpu, n, 0, 160);
    range(160, 160 + 16 * n);
  }
  if ((m & Xc.AVX) !== 0) {
    putHalves(cpu, n, 4, AVX_OFFSET);
    range(AVX_OFFSET, AVX_OFFSET + 16 * n);
  }
}

/** Bytes from the start of the area to its end, for components m. */
const extent = (m: number): number => ((m & Xc.AVX) !== 0 ? AREA_BYTES : AVX_OFFSET);

/** XSAVE and XSAVEOPT: standard format. The modified optimisation of XSAVEOPT is permitted, not required; only init is done. */
function xsave(optimised: boolean): HelperFn<X87Cpu> {
  return (cpu, _dst, a, _b, _c, imm) => {
    const rfbm = checkX(cpu, a, false);
    imm |= is64(cpu);
    probeWrite(cpu, a, extent(rfbm));
    readArea(cpu, a, HEADER, HEADER + 8);
    const used = inUse(cpu, imm);
    const bv = (I[HEADER >> 2]! & ~rfbm) | (used & rfbm);
    const bvHi = I[(HEADER >> 2) + 1]!;
    putComponents(cpu, optimised ? rfbm & used : rfbm, (rfbm & (Xc.SSE | Xc.AVX)) !== 0, imm);
    I[HEADER >> 2] = bv;
    I[(HEADER >> 2) + 1] = bvHi;
    range(HEADER, HEADER + 8);
    writeArea(cpu, a);
    return HelperResult.CONTINUE;
  };
}

/** XSAVEC and XSAVES: compacted format. AVX is the only extended component, so it lies where it does in the standard format. */
function xsavec(supervisor: boolean): HelperFn<X87Cpu> {
  return (cpu, _dst, a, _b, _c, imm) => {
    const rfbm = checkX(cpu, a, supervisor);
    imm |= is64(cpu);
    probeWrite(cpu, a, extent(rfbm));
    let used = inUse(cpu, imm);
    if (cpu.V[W.MXCSR] !== MXCSR_INIT) used |= Xc.SSE;
    const m = rfbm & used;
    putComponents(cpu, m, (m & Xc.SSE) !== 0, imm);
    const h = HEADER >> 2;
    I[h] = m;
    I[h + 1] = 0;
    I[h + 2] = rfbm;
    I[h + 3] = 0x8000_0000 | 0;
    range(HEADER, HEADER + 16);
    writeArea(cpu, a);
    return HelperResult.CONTINUE;
  };
}

function xrstor(supervisor: boolean): HelperFn<X87Cpu> {
  return (cpu, _dst, a, _b, _c, imm) => {
    const rfbm = checkX(cpu, a, supervisor);
    imm |= is64(cpu);
    const n = registers(imm);
    readArea(cpu, a, HEADER, AVX_OFFSET);
    const h = HEADER >> 2;
    const bv = I[h]!;
    const comp = I[h + 2]!;
    const compacted = I[h + 3]! < 0;
    // Header checks: SDM vol. 1, 13.8.1 and 13.8.2.
    let bad = I[h + 1]! | (bv & ~cpu.xcr0) | I[h + 4]! | I[h + 5]!;
    if (compacted) {
      bad |= (I[h + 3]! & 0x7fff_ffff) | (comp & ~cpu.xcr0) | (bv & ~comp);
      for (let i = h + 6; i < h + 16; i++) bad |= I[i]!;
    } else {
      bad |= comp | I[h + 3]!;
      if (supervisor) bad |= 1;
    }
    if (bad !== 0) cpu.raiseError(Vector.GP, 0);
    const load = rfbm & bv;
    const clear = rfbm & ~bv;
    // Standard: MXCSR comes from memory whenever SSE or AVX is asked for. Compacted: it belongs to SSE.
    const loadMxcsr = compacted ? (load & Xc.SSE) !== 0 : (rfbm & (Xc.SSE | Xc.AVX)) !== 0;
    if ((load & (Xc.X87 | Xc.SSE)) !== 0) readArea(cpu, a, 0, 160 + ((load & Xc.SSE) !== 0 ? 16 * n : 0));
    else if (loadMxcsr) readArea(cpu, a, 24, 32);
    if ((load & Xc.AVX) !== 0) readArea(cpu, a, AVX_OFFSET, AVX_OFFSET + 16 * n);
    if (loadMxcsr && (I[6]! & ~MXCSR_MASK) !== 0) cpu.raiseError(Vector.GP, 0);

    if ((load & Xc.X87) !== 0) getX87(cpu, (imm & 1) !== 0);
    else if ((clear & Xc.X87) !== 0) initX87(cpu);
    if (loadMxcsr) cpu.V[W.MXCSR] = I[6]!;
    else if (compacted && (clear & Xc.SSE) !== 0) cpu.V[W.MXCSR] = MXCSR_INIT;
    if ((load & Xc.SSE) !== 0) getHalves(cpu, n, 0, 160);
    else if ((clear & Xc.SSE) !== 0) clearHalves(cpu, n, 0);
    if ((load & Xc.AVX) !== 0) getHalves(cpu, n, 4, AVX_OFFSET);
    else if ((clear & Xc.AVX) !== 0) clearHalves(cpu, n, 4);
    return afterControlLoad(cpu);
  };
}

export function defineXsave<C extends X87Cpu>(r: HelperRegistry<C>): void {
  // All of them read or write MXCSR.
  const fp = { fp: true };
  r.define('x86.fxsave', fxsave, fp);
  r.define('x86.fxrstor', fxrstor, fp);
  r.define('x86.xsave', xsave(false), fp);
  r.define('x86.xsaveopt', xsave(true), fp);
  r.define('x86.xsavec', xsavec(false), fp);
  r.define('x86.xsaves', xsavec(true), fp);
  r.define('x86.xrstor', xrstor(false), fp);
  r.define('x86.xrstors', xrstor(true), fp);
}
