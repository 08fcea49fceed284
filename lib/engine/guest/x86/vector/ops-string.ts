/**
 * PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: string comparison. Intel SDM vol. 1, chapter 12.10 and vol. 2, section 4.1
 * (the imm8 control byte). They read and write general registers implicitly, so they are called as helpers.
 */
import { HelperResult } from '../../../helpers.js';
import { Slot, eflagsToFlags } from '../../../state.js';
import { X, xmm } from '../mode.js';
import { type VectorCpu, type VectorFn, views } from './views.js';

/** Bits of the helper's literal above imm8: explicit lengths in EAX/EDX, 64-bit lengths, result to XMM0. */
export const STR_EXPLICIT = 0x100;
export const STR_WIDE = 0x200;
export const STR_MASK = 0x400;

const A = new Int32Array(16);
const B = new Int32Array(16);

function loadElements(cpu: VectorCpu, slot: number, imm: number, out: Int32Array): void {
  const v = views(cpu);
  const kind = imm & 3;
  for (let i = 0; i < (kind & 1 ? 8 : 16); i++) {
    out[i] = kind === 0 ? v.u8[(slot << 3) + i]! : kind === 1 ? v.u16[(slot << 2) + i]! : kind === 2 ? v.i8[(slot << 3) + i]! : v.i16[(slot << 2) + i]!;
  }
}

/** Explicit length: absolute value of a register, saturated to the number of elements. */
function explicitLength(cpu: VectorCpu, reg: number, wide: boolean, n: number): number {
  const v = views(cpu);
  const x = wide ? Number(BigInt.asIntN(64, v.u64[reg]!)) : v.i32[reg << 1]!;
  return Math.min(Math.abs(x), n);
}
function implicitLength(e: Int32Array, n: number): number {
  for (let i = 0; i < n; i++) if (e[i] === 0) return i;
  return n;
}

/** The intermediate result IntRes1: which elements of b (or positions in b) match. */
function aggregate(imm: number, n: number, la: number, lb: number): number {
  let r = 0;
  switch ((imm >> 2) & 3) {
    case 0: // equal any: b[j] occurs in a
      for (let j = 0; j < lb; j++) for (let i = 0; i < la; i++) if (A[i] === B[j]) r |= 1 << j;
      break;
    case 1: // ranges: a holds pairs of bounds
      for (let j = 0; j < lb; j++) for (let i = 0; i + 1 < la; i += 2) if (A[i]! <= B[j]! && B[j]! <= A[i + 1]!) r |= 1 << j;
      break;
    case 2: // equal each; past both ends counts as equal
      for (let j = 0; j < n; j++) if (j < la ? j < lb && A[j] === B[j] : j >= lb) r |= 1 << j;
      break;
    default: // equal ordered: a occurs in b at j (as far as b reaches)
      for (let j = 0; j < n; j++) {
        let ok = true;
        for (let i = 0; ok && i < la && i + j < n; i++) ok = i + j < lb && A[i] === B[i + j];
        if (ok) r |= 1 << j;
      }
  }
  return r;
}

/** CALL helper: a = first string (register), b = second (register or temporary), imm = imm8 | STR_ flags. */
export const pcmpstr: VectorFn = (cpu, _d, a, b, _c, imm) => {
  const v = views(cpu);
  const n = imm & 1 ? 8 : 16;
  const all = n === 16 ? 0xffff : 0xff;
  loadElements(cpu, a, imm, A);
  loadElements(cpu, b, imm, B);
  const explicit = (imm & STR_EXPLICIT) !== 0;
  const la = explicit ? explicitLength(cpu, X.RAX, (imm & STR_WIDE) !== 0, n) : implicitLength(A, n);
  const lb = explicit ? explicitLength(cpu, X.RDX, (imm & STR_WIDE) !== 0, n) : implicitLength(B, n);
  let r = aggregate(imm, n, la, lb);
  // Polarity: bit 4 negates, with bit 5 only the valid elements of b.
  if (imm & 0x10) r ^= imm & 0x20 ? (1 << lb) - 1 : all;
  if (imm & STR_MASK) {
    const x0 = xmm(0) << 1;
    v.u64[xmm(0)] = 0n;
    v.u64[xmm(0) + 1] = 0n;
    if ((imm & 0x40) === 0) v.u32[x0] = r;
    else if (n === 16) for (let i = 0; i < n; i++) v.u8[(x0 << 2) + i] = (r >> i) & 1 ? 0xff : 0;
    else for (let i = 0; i < n; i++) v.u16[(x0 << 1) + i] = (r >> i) & 1 ? 0xffff : 0;
  } else {
    const i = r === 0 ? n : imm & 0x40 ? 31 - Math.clz32(r) : 31 - Math.clz32(r & -r);
    cpu.V[X.RCX << 1] = i;
    cpu.V[(X.RCX << 1) + 1] = 0;
  }
  cpu.V[Slot.FLAGS << 1] = eflagsToFlags((r !== 0 ? 1 : 0) | (lb < n ? 0x40 : 0) | (la < n ? 0x80 : 0) | (r & 1 ? 0x800 : 0));
  return HelperResult.CONTINUE;
};
