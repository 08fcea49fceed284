/** The user-visible CPU state of a test case, as one flat block of bytes that every executor loads and stores. */

/** Byte offsets. */
export const enum S {
  /** 16 general registers in encoding order. */
  GPR = 0,
  /** RFLAGS: the arithmetic flags and DF. */
  FLAGS = 128,
  MXCSR = 132,
  FCW = 136,
  FSW = 138,
  /** Abridged tag word by physical register: 1 = in use. */
  FTW = 140,
  /** Physical x87 registers R0..R7, 16 bytes each: significand, sign and exponent. */
  X87 = 144,
  /** 16 YMM registers. */
  YMM = 288,
  BYTES = 800,
}

/** Arithmetic flags and DF: what is loaded and compared. */
export const FLAG_BITS = 0x8d5 | 0x400;

/** Size of the memory a case may touch, a multiple of the page size. */
export const DATA_BYTES = 0x4000;
/** Size of the code region; its first page holds the native stubs and is not present in the guest. */
export const CODE_BYTES = 0x2_0000;
export const PAGE = 4096;

/** Where the native data and code regions lie; the guest has its own memory at the same linear addresses. */
export interface Layout {
  readonly data: number;
  readonly code: number;
}

/** How a sequence ended. */
export const enum End {
  /** It reached the jump to the exit stub. */
  EXIT = 0,
  FAULT = 1,
  /** Only emulators: something is wrong inside (host fault, endless loop, exception in TypeScript). */
  BROKEN = 2,
}

export interface Outcome {
  end: End;
  /** Signal class of the fault, as Linux reports the exception to a user program. */
  signal: number;
  /** Linear address of the faulting instruction. */
  pc: number;
  /** Linear address of the access for a page fault, else 0. */
  address: number;
  /** What broke. */
  message: string;
  readonly state: Uint8Array;
  readonly view: DataView;
  readonly data: Uint8Array;
}

export function newOutcome(): Outcome {
  const state = new Uint8Array(S.BYTES);
  return { end: End.EXIT, signal: 0, pc: 0, address: 0, message: '', state, view: new DataView(state.buffer), data: new Uint8Array(DATA_BYTES) };
}

/** A machine that runs code from a state and memory. */
export interface Executor {
  readonly name: string;
  /** Writes code to the code region. */
  load(offset: number, code: Uint8Array): void;
  /** Runs from code region offset `entry` with the state and data given; fills `out`. */
  run(entry: number, state: Uint8Array, data: Uint8Array, out: Outcome): void;
}

export const enum Signal { ILL = 4, TRAP = 5, BUS = 7, FPE = 8, SEGV = 11 }

/** Exception vector to the signal that Linux turns it into. */
export function signalOf(vector: number): number {
  switch (vector) {
    case 0: case 16: case 19: return Signal.FPE;
    case 1: case 3: return Signal.TRAP;
    case 6: return Signal.ILL;
    case 11: case 12: case 17: return Signal.BUS;
    default: return Signal.SEGV;
  }
}

/** Mulberry32. */
export class Rng {
  constructor(private s: number) {}
  /** 32 random bits. */
  next(): number {
    this.s = (this.s + 0x6d2b79f5) | 0;
    let t = Math.imul(this.s ^ (this.s >>> 15), this.s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n: number): number {
    return this.next() % n;
  }
  /** True with probability `percent` / 100. */
  chance(percent: number): boolean {
    return this.next() % 100 < percent;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.next() % list.length]!;
  }
  bits64(): bigint {
    return (BigInt(this.next()) << 32n) | BigInt(this.next());
  }
}

/** Seed of case `index` of a run: cases can be repeated one by one. */
export function caseSeed(seed: number, index: number): number {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  return h ^ (h >>> 13);
}
