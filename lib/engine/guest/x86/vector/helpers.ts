/**
 * Helpers of vector instructions that touch more than vector registers: the x87/MMX state, MXCSR, masked memory accesses
 * and gathers. Called from IR with CALL.
 */
import { HelperResult, type HelperOptions, type HelperRegistry, X87Kind } from '../../../helpers.js';
import { Access, Slot } from '../../../state.js';
import { X, mmx } from '../mode.js';
import { pcmpstr } from './ops-string.js';
import { T, type VectorCpu, type VectorFn, fromScratch, views } from './views.js';

/** What these helpers need of the CPU beyond `VectorCpu`. */
export interface VectorSystemCpu extends VectorCpu {
  load(w: number, addr: number, dst: number, acc: number): void;
  store(w: number, addr: number, val: number, acc: number): void;
  segmentCheck(seg: number, off: number, write: boolean, bytes: number): void;
  /** MXCSR has a new value: recompute Mode.FP_UNMASKED. */
  mxcsrChanged(): void;
}
type SystemFn = (cpu: VectorSystemCpu, dst: number, a: number, b: number, c: number, imm: number) => HelperResult;

/** Bits of MXCSR that may be set (MXCSR_MASK). */
export const MXCSR_MASK = 0xffff;

const FSW_ES = 0x80 << 16;
const FSW_TOP = 0x3800 << 16;

/**
 * Start of an MMX instruction (SDM vol. 1, 9.5): #MF if an x87 exception is pending; TOP = 0, all tags valid. imm = number of
 * the MMX register that will be written, whose exponent field becomes all ones, or -1.
 */
const mmxEnter: VectorFn = (cpu, _d, _a, _b, _c, imm) => {
  const V = cpu.V;
  const s = Slot.FPU << 1;
  if ((V[s]! & FSW_ES) !== 0) cpu.raise(16);
  V[s]! &= ~FSW_TOP;
  V[s + 1]! |= 0xff;
  if (imm >= 0) {
    const e = (mmx(imm) + 1) << 1;
    V[e] = V[e]! | 0xffff;
  }
  return HelperResult.CONTINUE;
};

/** EMMS: all x87 registers empty, TOP = 0 (SDM vol. 3, 13.2.1). */
const emms: VectorFn = (cpu) => {
  const s = Slot.FPU << 1;
  if ((cpu.V[s]! & FSW_ES) !== 0) cpu.raise(16);
  cpu.V[s]! &= ~FSW_TOP;
  cpu.V[s + 1]! &= ~0xff;
  return HelperResult.CONTINUE;
};

/** LDMXCSR: a = new value (32 bits). */
const ldmxcsr: SystemFn = (cpu, _d, a) => {
  const m = cpu.V[a << 1]!;
  if ((m & ~MXCSR_MASK) !== 0) cpu.raiseError(13, 0);
  cpu.V[Slot.MXCSR << 1] = m;
  cpu.mxcsrChanged();
  return HelperResult.CONTINUE;
};
/** STMXCSR: dst = temporary. */
const stmxcsr: VectorFn = (cpu, d) => {
  cpu.V[d << 1] = cpu.V[Slot.MXCSR << 1]!;
  cpu.V[(d << 1) + 1] = 0;
  return HelperResult.CONTINUE;
};

const ADDRESS = Slot.HELPER_SCRATCH;
const VALUE = Slot.HELPER_SCRATCH + 1;
const OFFSET = Slot.HELPER_SCRATCH + 2;

/** Literal of the masked moves: log2 of the element's bytes | log2 of the operand's bytes << 4. */
export const maskMoveImm = (element: number, w: number): number => element | (w << 4);

/** Masked store: elements of vector b whose sign bit is set in c go to linear address a. Elements not chosen do not fault. */
const maskStore: SystemFn = (cpu, _d, a, b, c, imm) => {
  const v = views(cpu);
  const e = imm & 15;
  const size = 1 << e;
  for (let o = 0; o < 1 << (imm >> 4); o += size) {
    if ((v.u8[(c << 3) + o + size - 1]! & 0x80) === 0) continue;
    v.u64[VALUE] = 0n;
    for (let i = 0; i < size; i++) v.u8[(VALUE << 3) + i] = v.u8[(b << 3) + o + i]!;
    v.u64[ADDRESS] = v.u64[a]! + BigInt(o);
    cpu.store(e, ADDRESS, VALUE, Access.NORMAL);
  }
  return HelperResult.CONTINUE;
};
/** Masked load: dst = elements at linear address a whose sign bit is set in c, zero elsewhere. */
const maskLoad: SystemFn = (cpu, d, a, _b, c, imm) => {
  const v = views(cpu);
  const e = imm & 15;
  const size = 1 << e;
  const bytes = 1 << (imm >> 4);
  for (let o = 0; o < bytes; o += size) {
    const chosen = (v.u8[(c << 3) + o + size - 1]! & 0x80) !== 0;
    if (chosen) {
      v.u64[ADDRESS] = v.u64[a]! + BigInt(o);
      cpu.load(e, ADDRESS, VALUE, Access.NORMAL);
    }
    for (let i = 0; i < size; i++) T.u8[o + i] = chosen ? v.u8[(VALUE << 3) + i]! : 0;
  }
  fromScratch(v, d, bytes);
  return HelperResult.CONTINUE;
};

/** Literal of `gather`. */
export const enum Gather {
  SCALE = 3,
  INDEX64 = 4,
  DATA64 = 8,
  W256 = 16,
  /** The offset is truncated to 32 bits before the segment base is added. */
  ADDR32 = 32,
  /** Legacy mode: linear addresses have 32 bits. */
  LINEAR32 = 64,
  /** Run the segment check. */
  CHECK = 128,
  SEG_SHIFT = 8,
  /** Segment number for "no base". */
  NO_SEG = 7,
}

/**
 * VGATHERxxx, VPGATHERxx: a = base offset (slot), b = index vector, c = mask vector (sign bits), dst. Element by element;
 * a fault leaves the elements done in dst and cleared in the mask, so the instruction restarts where it stopped.
 */
const gather: SystemFn = (cpu, d, a, b, c, imm) => {
  const v = views(cpu);
  const ds = imm & Gather.DATA64 ? 3 : 2;
  const is = imm & Gather.INDEX64 ? 3 : 2;
  const bytes = imm & Gather.W256 ? 32 : 16;
  const n = bytes >> Math.max(ds, is);
  const seg = (imm >> Gather.SEG_SHIFT) & 7;
  const scale = BigInt(imm & Gather.SCALE);
  const words = ds === 3 ? 2 : 1;
  for (let i = 0; i < n; i++) {
    const m = (c << 1) + i * words;
    const sign = v.i32[m + words - 1]! >> 31;
    for (let k = 0; k < words; k++) v.i32[m + k] = sign;
  }
  for (let i = 0; i < n; i++) {
    const m = (c << 1) + i * words;
    if (v.i32[m] === 0) continue;
    const index = is === 3 ? v.u64[b + i]! : BigInt(v.i32[(b << 1) + i]!);
    let off = v.u64[a]! + (index << scale);
    if (imm & Gather.ADDR32) off &= 0xffff_ffffn;
    v.u64[OFFSET] = off;
    if (imm & Gather.CHECK) cpu.segmentCheck(seg, OFFSET, false, 1 << ds);
    if (seg !== Gather.NO_SEG) off = BigInt.asUintN(64, off) + v.u64[X.SEGBASE + seg]!;
    v.u64[ADDRESS] = imm & Gather.LINEAR32 ? off & 0xffff_ffffn : off;
    cpu.load(ds, ADDRESS, VALUE, Access.NORMAL);
    for (let k = 0; k < words; k++) {
      v.i32[(d << 1) + i * words + k] = v.i32[(VALUE << 1) + k]!;
      v.i32[m + k] = 0;
    }
  }
  for (let k = n * words; k < 8; k++) v.i32[(d << 1) + k] = 0;
  for (let k = 0; k < 8; k++) v.i32[(c << 1) + k] = 0;
  return HelperResult.CONTINUE;
};

/** Names of the helpers that the lifter calls. */
export const enum VH {
  MMX_ENTER = 0,
  EMMS,
  LDMXCSR,
  STMXCSR,
  MASK_STORE,
  MASK_LOAD,
  GATHER,
  PCMPSTR,
}
export const VECTOR_HELPER_NAMES: readonly string[] = [
  'x86.mmx.enter', 'x86.emms', 'x86.ldmxcsr', 'x86.stmxcsr', 'x86.mask.store', 'x86.mask.load', 'x86.gather', 'x86.pcmpstr',
];
const FUNCTIONS: readonly SystemFn[] = [mmxEnter, emms, ldmxcsr, stmxcsr, maskStore, maskLoad, gather, pcmpstr];

const OPTIONS: readonly HelperOptions[] = [
  { x87: { kind: X87Kind.MMX, bytes: 0, undef: 0 } },
  { x87: { kind: X87Kind.EMMS, bytes: 0, undef: 0 } },
];

export function defineVectorHelpers(registry: HelperRegistry<VectorSystemCpu>): void {
  VECTOR_HELPER_NAMES.forEach((name, i) => registry.define(name, FUNCTIONS[i]!, OPTIONS[i]));
}
