/**
 * Typed views of a vCPU's state region, for the vector operations. A vector operand is a slot; the same bytes are
 * seen as lanes of any type. Index of the first lane: slot << 3 (bytes), << 2 (16 bits), << 1 (32 bits), slot (64 bits).
 */
import type { HelperResult } from '../../../helpers.js';

/** What vector operations need of the CPU they run on. */
export interface VectorCpu {
  /** The state region as 32-bit words and as bytes. */
  readonly V: Int32Array;
  readonly U8: Uint8Array;
  /** Raises a guest exception without an error code (6 #UD, 7 #NM, 16 #MF, 19 #XM). */
  raise(vector: number): never;
  /** Raises a guest exception with an error code (13 #GP). */
  raiseError(vector: number, errorCode: number): never;
  /** Raises #XM (19), or #UD if CR4.OSXMMEXCPT = 0. */
  raiseSimd(): never;
}

export class Views {
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly u16: Uint16Array;
  readonly i16: Int16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly u64: BigUint64Array;

  constructor(buffer: ArrayBufferLike, offset: number, bytes: number) {
    this.u8 = new Uint8Array(buffer, offset, bytes);
    this.i8 = new Int8Array(buffer, offset, bytes);
    this.u16 = new Uint16Array(buffer, offset, bytes >> 1);
    this.i16 = new Int16Array(buffer, offset, bytes >> 1);
    this.u32 = new Uint32Array(buffer, offset, bytes >> 2);
    this.i32 = new Int32Array(buffer, offset, bytes >> 2);
    this.f32 = new Float32Array(buffer, offset, bytes >> 2);
    this.f64 = new Float64Array(buffer, offset, bytes >> 3);
    this.u64 = new BigUint64Array(buffer, offset, bytes >> 3);
  }
}

/** A CPU that has views(). Kept loosely typed to the two arrays so that tests need no whole CPU. */
type HasState = Pick<VectorCpu, 'V'>;

const cache = new WeakMap<HasState, Views>();
let lastCpu: HasState | null = null;
let lastViews: Views | null = null;

/** The views of this CPU's state region. A thread nearly always runs one CPU, so the last one is remembered. */
export function views(cpu: HasState): Views {
  return cpu === lastCpu ? lastViews! : switchViews(cpu);
}

function switchViews(cpu: HasState): Views {
  let v = cache.get(cpu);
  if (v === undefined) cache.set(cpu, (v = new Views(cpu.V.buffer, cpu.V.byteOffset, cpu.V.byteLength)));
  lastCpu = cpu;
  lastViews = v;
  return v;
}

/** Scratch for results whose operands may alias the destination: 64 bytes. */
export const T = new Views(new ArrayBuffer(64), 0, 64);

/** Copies n bytes (a multiple of 4) of scratch to slot d. */
export function fromScratch(v: Views, d: number, n: number): void {
  const o = d << 1;
  for (let i = 0; i < n >> 2; i++) v.i32[o + i] = T.i32[i]!;
}

export type VectorFn = (cpu: VectorCpu, dst: number, a: number, b: number, c: number, imm: number) => HelperResult;
