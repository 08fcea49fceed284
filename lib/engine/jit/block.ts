/** One translated block, as translators and tools see it. What the engine needs of all blocks is in `BlockTable`. */
import type { InterpBlock } from '../interp/compile.js';

/** One for all blocks: nearly none has any. */
const NO_HINTS: readonly number[] = [];

export class Block {
  /** Row in the engine's table, 0 before it is entered there. */
  row = 0;
  /** Host code offsets of the two entries, or -1 while there is only IR for the interpreter. */
  entryA = -1;
  entryB = -1;
  /** Length of the host code from entryA on, cold paths included. */
  hostBytes = 0;
  interp: InterpBlock | null = null;
  /** Second page's ram offset if the block spans two pages, else -1. */
  page2 = -1;

  /** Guest RAM offsets of the first byte it was made of, and past the last one (of those in its first page). */
  from: number;
  to: number;
  /** How often it has been found running, and when that was last halved. */
  heat = 0;
  heatEpoch = 0;
  /** Made of several blocks. */
  region = false;
  /** Of a region: its hints, those of them that are no page hints, and of those the ones that are no hints at all, as bits by their order. */
  hints: readonly number[] = NO_HINTS;
  hintsOff = 0;
  addendsOff = 0;

  /** What a block runner (engine.ts) wants to know of the block. */
  tool: unknown = null;

  constructor(
    /** Ram offset of the first byte. */
    readonly ram: number,
    readonly mode: number,
    readonly mmuIdx: number,
    /** Guest bytes covered. */
    readonly bytes: number,
    readonly insns: number,
  ) {
    this.from = ram;
    // Offsets from 2 GiB on do not fit the operators of 32-bit integers.
    this.to = Math.min(ram + bytes, ram - this.offset + 0x1000);
  }

  get offset(): number {
    return this.ram & 0xfff;
  }
}

/** Mode has at most 19 bits, the page offset 12. */
export const blockKey = (offset: number, mode: number): number => offset | (mode << 12);
