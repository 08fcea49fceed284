/** The part of a vCPU's state region that belongs to the execution of cold code from its bytes (docs/adr/0070): byte offsets, shared by generated code and TypeScript. */

/** Code that has been met so often is translated. */
export const COLD_COUNT_LIMIT = 48;

export const enum ColdAt {
  /** By 16-bit pattern, a word each: the instruction that a compressed one stands for; 0: not known, or illegal. */
  EXPAND = 0x210_0000,
  /** By a hash of the place in RAM (`coldCount`), a byte each: how often a block has begun there. */
  COUNTS = 0x214_0000,
  /** Code pages, see `ColdPage`. */
  PAGES = 0x224_0000,
  /** Word: instructions that the last run has executed. */
  EXECUTED = 0x224_2000,
  /** 64 bits: what tags of pages have in their low bits now (the privilege of instruction fetches). */
  FETCH = 0x224_2008,
  /** Word: not 0 if generated code may go on to cold code and back without TypeScript, and how many instructions have been executed so. */
  LINKED = 0x224_2010,
  LINKED_EXECUTED = 0x224_2014,
  END = 0x225_0000,
}

/** Places to count at: a power of two. */
export const COLD_COUNTS = 1 << 20;

/** Index of the count of a block: @param page of RAM @param offset in it, even */
export function coldCount(page: number, offset: number): number {
  return ((page << 11) | (offset >> 1)) & (COLD_COUNTS - 1);
}

/** The cache of code pages, direct-mapped by page number: entries of 1 << SHIFT bytes, all fields of 64 bits. */
export const enum ColdPage {
  ENTRIES = 256,
  SHIFT = 5,
  /** Linear address | ColdAt.FETCH; 0: empty. */
  TAG = 0,
  /** Host addresses of its bytes and of its counts. */
  HOST = 8,
  COUNTS = 16,
}

/** What ColdAt.FETCH is made of. */
export const enum ColdFetch {
  /** Mode bits: the privilege. */
  PRIV = 3,
  /** Always set: no tag is 0. */
  ANY = 4,
}

/** Why a run of cold code has ended. */
export const enum ColdEnd {
  /** PC is where a block begins that is not cold, in a page that is not known, or PENDING is set. */
  OUT = 0,
  /** The instruction at PC is not for generated code. */
  STEP = 1,
}
