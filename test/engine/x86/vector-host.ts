/**
 * Runs a vector operation's native form on the host CPU and its TypeScript function on the same operands. Operands lie in
 * the state region: a = XMM1, b = XMM2, c = XMM0, dst = XMM3, general source RCX, general destination RAX.
 */
import { STATE_BYTES, Slot, eflagsToFlags } from '#lib/engine/state.js';
import { X, xmm } from '#lib/engine/guest/x86/mode.js';
import type { NativeForm } from '#lib/engine/helpers.js';
import type { VectorCpu, VectorOp } from '#lib/engine/guest/x86/vector/index.js';
import { type NativeAddon, type NativeContext, type NativeExec } from '#lib/native.js';

export const A = 1, B = 2, C = 0, D = 3;
const SAVED_MXCSR = 200;
const HOST_FLAGS = 201;

export class SimdTrap extends Error {}

/** Mulberry32: small, seedable. */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

const GENERAL_DST = new Set(['rg', 'rgi', 'mg', 'mgi']);
export const hasImm = (f: NativeForm): boolean => ['rvmi', 'rmi', 'mri', 'vmi', 'rgi', 'mgi', 'gri'].includes(f.form);
export const writesGeneral = (f: NativeForm): boolean => GENERAL_DST.has(f.form);

/** Machine code of the operation on the registers above. */
export function encode(f: NativeForm, w: number, vex: boolean, imm: number): number[] {
  let reg = D;
  let v = 0;
  let rm = B;
  switch (f.form) {
    case 'rm': case 'rmi': rm = A; break;
    case 'rvm': case 'rvmi': case 'fma': case 'rvmr': v = A; break;
    case 'mri': reg = A; rm = D; break;
    case 'vmi': reg = f.digit!; v = D; rm = vex ? A : D; break;
    case 'cmp': reg = A; break;
    case 'gr': rm = X.RCX - X.RAX; break;
    case 'rg': case 'rgi': reg = 0; rm = A; break;
    case 'mg': case 'mgi': reg = A; rm = 0; break;
    case 'rvg': case 'gri': v = A; rm = X.RCX - X.RAX; break;
  }
  const tail = [f.opcode, 0xc0 | (reg << 3) | rm];
  if (hasImm(f)) tail.push(imm & 0xff);
  else if (f.form === 'rvmr' && vex) tail.push(C << 4);
  if (vex) return [0xc4, 0xe0 | f.map, (f.w << 7) | ((~v & 15) << 3) | ((w === 5 ? 1 : 0) << 2) | f.pp, ...tail];
  const map = f.map === 1 ? [] : [f.map === 2 ? 0x38 : 0x3a];
  return [...[[], [0x66], [0xf3], [0xf2]][f.pp]!, ...(f.w ? [0x48] : []), 0x0f, ...map, ...tail];
}

/** The legacy form of these needs dst = a first; 'fma' needs dst = c. */
function setup(f: NativeForm, vex: boolean, mmx: boolean): number[] {
  const from = f.form === 'fma' ? C : !vex && ['rvm', 'rvmi', 'vmi', 'rvmr', 'rvg', 'gri'].includes(f.form) ? A : -1;
  if (from < 0) return [];
  if (f.form === 'fma') return [0xc5, 0xfd, 0x6f, 0xc0 | (D << 3) | from];
  return mmx ? [0x0f, 0x6f, 0xc0 | (D << 3) | from] : [0x66, 0x0f, 0x6f, 0xc0 | (D << 3) | from];
}

const disp = (slot: number): number[] => [(slot * 8) & 0xff, ((slot * 8) >> 8) & 0xff, 0, 0];
/** ModRM [rdi + disp32] */
const mem = (reg: number, slot: number): number[] => [0x87 | (reg << 3), ...disp(slot)];

export class Host {
  readonly V: Int32Array;
  readonly U8: Uint8Array;
  readonly cpu: VectorCpu;
  private readonly exec: NativeExec;
  private readonly context: NativeContext;
  private readonly code: Uint8Array;
  private used = 0;
  readonly features: Set<string>;

  constructor(native: NativeAddon) {
    const state = native.allocState(STATE_BYTES);
    this.V = new Int32Array(state.buffer);
    this.U8 = new Uint8Array(state.buffer);
    this.exec = native.allocExec(1 << 20);
    this.code = new Uint8Array(this.exec.buffer);
    this.context = native.createContext(state, this.exec);
    this.features = new Set(native.cpuFeatures());
    const trap = (): never => {
      throw new SimdTrap();
    };
    this.cpu = { V: this.V, U8: this.U8, raise: trap, raiseError: trap, raiseSimd: trap };
    this.V[SAVED_MXCSR * 2] = 0x1f80;
  }

  reset(): void {
    this.used = 0;
  }

  /** @returns the entry address of code that loads the operands, runs the operation and stores the results. */
  assemble(op: VectorOp, vex: boolean, imm: number): number {
    const f = op.native!;
    const out: number[] = [];
    const mmx = op.w === 3;
    for (const r of [A, B, C, D]) {
      if (mmx) out.push(0x0f, 0x6f, ...mem(r, xmm(r)));
      else if (this.features.has('avx')) out.push(0xc5, 0xfe, 0x6f, ...mem(r, xmm(r)));
      else out.push(0xf3, 0x0f, 0x6f, ...mem(r, xmm(r)));
    }
    out.push(0x48, 0x8b, ...mem(1, X.RCX), ...setup(f, vex, mmx));
    out.push(0x0f, 0xae, ...mem(2, Slot.MXCSR));
    const cmp = f.form === 'cmp';
    if (cmp) out.push(0x48, 0x39, 0xff); // defined flags
    out.push(...encode(f, op.w, vex, imm));
    const abort = out.length;
    out.push(0x0f, 0xae, ...mem(3, Slot.MXCSR));
    if (cmp) out.push(0x9c, 0x5a, 0x48, 0x89, ...mem(2, HOST_FLAGS));
    out.push(0x0f, 0xae, ...mem(2, SAVED_MXCSR));
    if (writesGeneral(f)) out.push(0x48, 0x89, ...mem(0, X.RAX));
    else if (mmx) out.push(0x0f, 0x7f, ...mem(D, xmm(D)));
    else if (this.features.has('avx')) out.push(0xc5, 0xfe, 0x7f, ...mem(D, xmm(D)));
    else out.push(0xf3, 0x0f, 0x7f, ...mem(D, xmm(D)));
    if (mmx) out.push(0x0f, 0x77);
    if (this.features.has('avx')) out.push(0xc5, 0xf8, 0x77);
    out.push(0x31, 0xc0, 0xc3);
    const at = this.used;
    this.code.set(out, at);
    this.used = (at + out.length + 15) & ~15;
    this.abort.set(this.exec.address + at, this.exec.address + at + abort);
    return this.exec.address + at;
  }
  private readonly abort = new Map<number, number>();

  /** @returns true if the host raised a floating-point exception. */
  run(entry: number): boolean {
    const a = this.abort.get(entry)!;
    this.V[Slot.X_ABORT * 2] = a | 0;
    this.V[Slot.X_ABORT * 2 + 1] = Math.floor(a / 2 ** 32);
    this.V[Slot.X_AUX * 2] = 0;
    this.context.run(entry);
    const signal = this.V[Slot.X_AUX * 2]!;
    if (signal !== 0 && signal !== 8) throw new Error(`signal ${signal}`);
    return signal === 8;
  }

  /** Flags of the last 'cmp' operation in the format of slot FLAGS. */
  hostFlags(): number {
    return eflagsToFlags(this.V[HOST_FLAGS * 2]!);
  }
}
