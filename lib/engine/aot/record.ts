/**
 * One translated block as the code cache keeps it: 32-bit words in a chunk's payload. The code is in relocatable form: as if it
 * lay at offset 0 of the exec region and every pool slot had the number 0. docs/AOT.md, "Records".
 *
 *   REC_HEAD words      `Rec`
 *   constants           low word, high word each
 *   symbols             offset of a 32-bit field in the guest bytes | number of the first symbol of the same value << 16 each
 *   chain sites         position | target page offset << SITE_SHIFT | SITE_LINKED, then what undoes a patch, each
 *   relocations         position | kind << KIND_SHIFT | operand << OPERAND_SHIFT each
 *   guest bytes, code   padded to words
 *
 * A record in a page group (page-group.ts) ends with the guest bytes; its code lies in the group's code, with the jumps between the
 * group's blocks patched.
 */
export const enum Rec {
  /** Length of the record in words. */
  LENGTH = 0,
  /** Page offset of the block (12 bits), `RecFlag`s, symbols << 16, chain sites << 24. */
  PLACE = 1,
  MODE = 2,
  /** Guest bytes | guest instructions << 16. */
  GUEST = 3,
  /** Bytes of code. */
  CODE = 4,
  /** Offset of entry B. */
  ENTRY_B = 5,
  /** Constants | relocations << 16. */
  COUNTS = 6,
  /** Words from the record to its code. */
  CODE_AT = 7,
  /** In a page group: words from the group's head to the record | number of the record << GROUP_SHIFT; else 0. */
  GROUP = 8,
}
export const REC_HEAD = 9;
export const GROUP_SHIFT = 18;

export const enum RecFlag {
  /** The block's only instruction reaches into the next page. */
  SPANS = 1 << 12,
  /** It is a region: region-record.ts. */
  REGION = 1 << 13,
}

/** Kinds of relocation. */
export const enum RecReloc {
  /** The field shrinks by the offset at which the code is placed. */
  MINUS_PLACE = 0,
  /** It grows by it. */
  PLUS_PLACE = 1,
  /** 8 times the number of the operand's slot is added: a displacement. */
  SLOT_8 = 2,
  /** The number of the operand's slot is added. */
  SLOT = 3,
}
export const SITE_SHIFT = 18;
/** Bits of a chain site's page offset, with SITE_CHANGES_MODE. */
export const SITE_MASK = 0x1fff;
/** The code in the group jumps to another block of the group here. */
export const SITE_LINKED = 1 << 31;
export const KIND_SHIFT = 18;
export const OPERAND_SHIFT = 20;
export const POSITION_MASK = (1 << 18) - 1;
/** An operand with this bit is a symbol, others are constants. */
export const OPERAND_SYMBOL = 0x800;
/** Larger blocks are not kept. */
export const MAX_CODE = 1 << 18;
export const MAX_CONSTS = 0x7ff;
/** Longest possible record. */
export const MAX_RECORD_WORDS = 1 << 18;

/** Number of words that n bytes take. */
export const wordsOf = (n: number): number => (n + 3) >> 2;

/** Word offset of the parts of the record at word `at`. */
export function symbolsAt(W: Int32Array, at: number): number {
  return at + REC_HEAD + (W[at + Rec.COUNTS]! & 0xffff) * 2;
}
export function symbolCount(W: Int32Array, at: number): number {
  return (W[at + Rec.PLACE]! >>> 16) & 0xff;
}
export function siteCount(W: Int32Array, at: number): number {
  return W[at + Rec.PLACE]! >>> 24;
}
export function sitesAt(W: Int32Array, at: number): number {
  return symbolsAt(W, at) + symbolCount(W, at);
}
export function relocsAt(W: Int32Array, at: number): number {
  return sitesAt(W, at) + siteCount(W, at) * 2;
}
export function guestAt(W: Int32Array, at: number): number {
  return relocsAt(W, at) + (W[at + Rec.COUNTS]! >>> 16);
}
export function codeAt(W: Int32Array, at: number): number {
  return at + W[at + Rec.CODE_AT]!;
}
/** Word offset past the guest bytes: the record's end if its code lies elsewhere. */
export function guestEnd(W: Int32Array, at: number): number {
  return guestAt(W, at) + wordsOf(W[at + Rec.GUEST]! & 0xffff);
}

/** Hash of what a block is looked up by: page offset, mode and the first bytes (of which relocation changes nothing). */
export function blockHash(offset: number, mode: number, prefix: number): number {
  let h = Math.imul(offset | (mode << 12), 0x9e37_79b1) ^ Math.imul(prefix, 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b_3c6d);
  return h ^ (h >>> 13);
}

/** At most three bytes at `pos`, within the page. No 32-bit field that a symbol stands for has its upper half among them. */
export function blockPrefix(bytes: Uint8Array, pos: number, available: number): number {
  let x = bytes[pos]!;
  if (available > 1) x |= bytes[pos + 1]! << 8;
  if (available > 2) x |= bytes[pos + 2]! << 16;
  return x;
}

/** Growing buffer in which records are put together. */
export class RecordWriter {
  W = new Int32Array(1 << 16);
  U8 = new Uint8Array(this.W.buffer);
  view = new DataView(this.W.buffer);
  /** Words in use. */
  n = 0;

  /** Makes room for `words` more. */
  reserve(words: number): void {
    if (this.n + words <= this.W.length) return;
    const bigger = new Int32Array(Math.max(this.W.length * 2, this.n + words));
    bigger.set(this.W.subarray(0, this.n));
    this.W = bigger;
    this.U8 = new Uint8Array(bigger.buffer);
    this.view = new DataView(bigger.buffer);
  }
}
