/** Names for people: state slots and code sizes of an x86 guest. */
import { Slot, VEC_STRIDE, X87_STRIDE } from '../../state.js';
import { Mode, X } from './mode.js';

const GPRS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const SEGS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];
const OTHER: Readonly<Record<number, string>> = {
  [Slot.FLAGS]: 'flags', [Slot.PCBASE]: 'pcbase', [Slot.PC]: 'pc', [X.EFLAGS]: 'eflags', [Slot.MXCSR]: 'mxcsr', [Slot.FPU]: 'fpu',
  [Slot.FPU_IP]: 'fpu_ip', [Slot.FPU_DP]: 'fpu_dp',
};

/** Name of a state slot; undefined for one that has none. */
export function x86SlotName(s: number): string | undefined {
  if (s >= X.RAX && s <= X.R15) return GPRS[s - X.RAX];
  if (s >= X.SEGBASE && s < X.SEGBASE + 6) return `${SEGS[s - X.SEGBASE]!}base`;
  if (s >= X.LIMIT_R && s < X.LIMIT_R + 6) return `${SEGS[s - X.LIMIT_R]!}lim.r`;
  if (s >= X.LIMIT_W && s < X.LIMIT_W + 6) return `${SEGS[s - X.LIMIT_W]!}lim.w`;
  if (s >= Slot.VEC && s < Slot.X87) {
    const part = (s - Slot.VEC) % VEC_STRIDE;
    return `ymm${Math.floor((s - Slot.VEC) / VEC_STRIDE)}${part === 0 ? '' : `+${part * 8}`}`;
  }
  if (s >= Slot.X87 && s < Slot.X87 + 8 * X87_STRIDE) return `R${(s - Slot.X87) >> 1}${(s - Slot.X87) & 1 ? '.exp' : ''}`;
  return OTHER[s];
}

/** Code size of a mode word in bits. */
export function codeBits(mode: number): 16 | 32 | 64 {
  const m = mode & Mode.CODE_MASK;
  return m === Mode.CODE64 ? 64 : m === Mode.CODE32 ? 32 : 16;
}

const MODE_NAMES: readonly (readonly [number, string])[] = [
  [Mode.REAL, 'real'], [Mode.V86, 'v86'], [Mode.LONG, 'long'], [Mode.USER, 'user'], [Mode.CPL0, 'cpl0'], [Mode.SS32, 'ss32'], [Mode.CSFLAT, 'csflat'],
  [Mode.FLAT, 'flat'], [Mode.AC, 'ac'], [Mode.STEP, 'step'], [Mode.FPU_TRAP, 'fpu-trap'], [Mode.FP_UNMASKED, 'fp-unmasked'], [Mode.SSE, 'sse'], [Mode.AVX, 'avx'],
];

/** A mode word in words: 64,long,cpl0,csflat,flat,sse. */
export function describeMode(mode: number): string {
  return [String(codeBits(mode)), ...MODE_NAMES.filter(([bit]) => (mode & bit) !== 0).map(([, name]) => name)].join(',');
}
