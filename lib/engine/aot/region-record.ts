/**
 * Regions (docs/adr/0025) as the code cache keeps them: records (record.ts) with RecFlag.REGION, of which the guest bytes are
 *
 *   REGION_HEAD words   `Reg`
 *   nodes               page offset | guest bytes << 16 each, in the order of the region
 *   hint fields         position | hint << HINT_SHIFT | index in the host's units << UNIT_SHIFT each: they hold what they would if hint 0 of
 *                       the MMU index were the region's first
 *   guest bytes         of each node, padded to words
 *
 * Only regions without symbols are kept. What a region is made of is its nodes alone: `findLoop` finds the same loop among them.
 */
import type { RecordWriter } from './record.js';
import { guestAt, guestEnd, POSITION_MASK, Rec, REC_HEAD, RecFlag, wordsOf } from './record.js';

export const enum Reg {
  NODES = 0,
  /** Hint fields. */
  FIELDS = 1,
  /** Hints, and bits by their number: for writing, no page hint, no hint at all. */
  HINTS = 2,
  WRITES = 3,
  HINTS_OFF = 4,
  ADDENDS_OFF = 5,
}
export const REGION_HEAD = 6;
export const HINT_SHIFT = 18;
export const UNIT_SHIFT = 23;
const MAX_NODES = 64;
const MAX_HINTS = 32;
const PAGE = 4096;

/** A node's block: page offset, and guest bytes. */
export interface NodeBytes {
  readonly offset: number;
  readonly bytes: number;
}

/** What the back end has to say of a region's hints. */
export interface RegionHints {
  readonly count: number;
  readonly writes: number;
  readonly off: number;
  readonly addendsOff: number;
  /** Words as in the record. */
  readonly fields: readonly number[];
}

/** The guest bytes of a region's record. @returns null if they are too many */
export function regionGuest(nodes: readonly NodeBytes[], h: RegionHints, ram: Uint8Array, pageOff: number): Uint8Array | null {
  const words = nodes.reduce((n, x) => n + wordsOf(x.bytes), REGION_HEAD + nodes.length + h.fields.length);
  if (words * 4 > 0xffff) return null;
  const W = new Int32Array(words);
  W.set([nodes.length, h.fields.length, h.count, h.writes, h.off, h.addendsOff]);
  let p = REGION_HEAD;
  for (const x of nodes) W[p++] = x.offset | (x.bytes << 16);
  for (const f of h.fields) W[p++] = f;
  const U8 = new Uint8Array(W.buffer);
  for (const x of nodes) {
    U8.set(ram.subarray(pageOff + x.offset, pageOff + x.offset + x.bytes), p * 4);
    p += wordsOf(x.bytes);
  }
  return U8;
}

/** Nodes of the region's record at word `at`. */
export function nodesOf(W: Int32Array, at: number): NodeBytes[] {
  const p = guestAt(W, at);
  return Array.from({ length: W[p + Reg.NODES]! }, (_, k) => ({ offset: W[p + REGION_HEAD + k]! & 0xffff, bytes: W[p + REGION_HEAD + k]! >>> 16 }));
}

/** Page offsets of the first byte that the region is made of, and past the last one. */
export function regionExtent(W: Int32Array, at: number): { from: number; to: number } {
  const nodes = nodesOf(W, at);
  return { from: Math.min(...nodes.map((n) => n.offset)), to: Math.max(...nodes.map((n) => n.offset + n.bytes)) };
}

/** Word offset of the hint fields. */
export const hintFieldsAt = (W: Int32Array, at: number): number => guestAt(W, at) + REGION_HEAD + W[guestAt(W, at) + Reg.NODES]!;

/** Byte offset of the first node's guest bytes. */
export const nodeBytesAt = (W: Int32Array, at: number): number => (hintFieldsAt(W, at) + W[guestAt(W, at) + Reg.FIELDS]!) * 4;

/** True if the bytes of all nodes are those in the page at `pageOff` of RAM. */
export function regionFits(W: Int32Array, at: number, ram: Uint8Array, pageOff: number): boolean {
  const U8 = new Uint8Array(W.buffer, W.byteOffset, W.byteLength);
  let p = nodeBytesAt(W, at);
  for (const { offset, bytes } of nodesOf(W, at)) {
    for (let i = 0; i < bytes; i++) if (ram[pageOff + offset + i] !== U8[p + i]) return false;
    p += wordsOf(bytes) * 4;
  }
  return true;
}

/** A page with nothing but the nodes' bytes in it, or null if they contradict each other. */
export function regionPage(W: Int32Array, at: number): Uint8Array | null {
  const page = new Uint8Array(PAGE);
  const U8 = new Uint8Array(W.buffer, W.byteOffset, W.byteLength);
  let p = nodeBytesAt(W, at);
  for (const { offset, bytes } of nodesOf(W, at)) {
    page.set(U8.subarray(p, p + bytes), offset);
    p += wordsOf(bytes) * 4;
  }
  return regionFits(W, at, page, 0) ? page : null;
}

/** True if the words at `at` have the shape of a region's record whose parts lie within it (`W` may come from anywhere). */
export function wellFormedRegion(W: Int32Array, at: number): boolean {
  if (at < 0 || at + REC_HEAD > W.length) return false;
  const length = W[at + Rec.LENGTH]!;
  const code = W[at + Rec.CODE]!;
  const guest = W[at + Rec.GUEST]! & 0xffff;
  if (length < REC_HEAD || at + length > W.length || code <= 0 || (W[at + Rec.PLACE]! & RecFlag.REGION) === 0 || W[at + Rec.GROUP] !== 0) return false;
  const end = at + W[at + Rec.CODE_AT]!;
  if (guestEnd(W, at) !== end || end + wordsOf(code) !== at + length) return false;
  const p = guestAt(W, at);
  if (p < at + REC_HEAD || p + REGION_HEAD > end) return false;
  const nodes = W[p + Reg.NODES]!;
  const fields = W[p + Reg.FIELDS]!;
  if (nodes < 1 || nodes > MAX_NODES || fields < 0 || fields > guest || W[p + Reg.HINTS]! < 0 || W[p + Reg.HINTS]! > MAX_HINTS || p + REGION_HEAD + nodes + fields > end) return false;
  let words = REGION_HEAD + nodes + fields;
  for (const n of nodesOf(W, at)) {
    if (n.offset + n.bytes > PAGE || n.bytes === 0) return false;
    words += wordsOf(n.bytes);
  }
  if (words * 4 !== guest || nodesOf(W, at)[0]!.offset !== (W[at + Rec.PLACE]! & (PAGE - 1))) return false;
  for (let k = hintFieldsAt(W, at), n = fields; n > 0; n--, k++) if ((W[k]! & POSITION_MASK) + 4 > code) return false;
  return true;
}

/** True if the region's record at word `at` is, word for word, the one that `other` begins with. */
export function sameRegionRecord(W: Int32Array, at: number, other: RecordWriter): boolean {
  const n = W[at + Rec.LENGTH]!;
  if (other.n !== n) return false;
  for (let i = 0; i < n; i++) if (other.W[i] !== W[at + i]) return false;
  return true;
}
