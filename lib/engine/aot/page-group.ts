/**
 * Page groups: the blocks of one page and mode that a run has used, put together so that all of them can be brought in at once
 * (docs/adr/0058). In a chunk's payload:
 *
 *   GROUP_HEAD words    `Grp`
 *   records             as record.ts has them, without their code
 *   code                of all of them, each at a multiple of 16 bytes; jumps from one to another (SITE_LINKED) are patched
 *
 * Code begins and ends at multiples of 16 bytes from the head, so that it is copied in large words as long as groups follow one another.
 *
 * The chunk's index leads to the records, in the order of the group. A group is made of nothing but its records: `extract` gives each back
 * as it would be on its own, and `soundGroup` tells whether it is what `writeGroup` makes of them.
 */
import { SITE_CHANGES_MODE } from '../jit/host-code.js';
import {
  GROUP_SHIFT, MAX_CODE, POSITION_MASK, Rec, REC_HEAD, RecFlag, type RecordWriter, SITE_LINKED, SITE_MASK, SITE_SHIFT,
  codeAt, guestAt, guestEnd, siteCount, sitesAt, wordsOf,
} from './record.js';

export const enum Grp {
  /** Length of the group in words. */
  LENGTH = 0,
  BLOCKS = 1,
  /** Bytes of code. */
  CODE = 2,
  /** Words from the head to the code. */
  CODE_AT = 3,
}
export const GROUP_HEAD = 4;
/** Limits of one group: what a group takes of code memory and pool is there when the engine asks for room. */
export const MAX_GROUP_BLOCKS = 2048;
export const MAX_GROUP_CODE = MAX_CODE;
const MAX_GROUP_WORDS = 1 << GROUP_SHIFT;
const MAX_GROUP_CONSTS = 256;
const PAGE = 4096;

/** A record, in a chunk's payload. */
export interface RecordAt {
  readonly W: Int32Array;
  readonly at: number;
}

/** Word offset of the head of the group that the record at word `at` is in, or -1. */
export function groupOf(W: Int32Array, at: number): number {
  const group = W[at + Rec.GROUP]!;
  return group === 0 ? -1 : at - (group & (MAX_GROUP_WORDS - 1));
}

/** Word offsets of the records of the group at word `g`. */
export function recordsOfGroup(W: Int32Array, g: number): number[] {
  const list: number[] = [];
  for (let k = W[g + Grp.BLOCKS]!, at = g + GROUP_HEAD; k > 0; k--, at += W[at + Rec.LENGTH]!) list.push(at);
  return list;
}

const align16 = (n: number): number => (n + 15) & ~15;
/** Words up to the next multiple of 16 bytes. */
const align4 = (words: number): number => (words + 3) & ~3;
const offsetOf = (W: Int32Array, at: number): number => W[at + Rec.PLACE]! & (PAGE - 1);
const bytesIn = (W: Int32Array, at: number): number => W[at + Rec.GUEST]! & 0xffff;

/** Chooses of records, all of the same page's blocks, those that can be one group: of one mode, made of the same bytes where they overlap. */
export class GroupChooser {
  private readonly bytes = new Uint8Array(PAGE);
  /** By page offset: the turn in which `bytes` was set, and in which a block began there. */
  private readonly known = new Int32Array(PAGE);
  private readonly begun = new Int32Array(PAGE);
  private turn = 0;

  /** Divides `list`, which is not empty, into what can be one group with its first record, and the rest. */
  choose<T extends RecordAt>(list: readonly T[]): { chosen: T[]; rest: T[] } {
    this.turn++;
    const chosen: T[] = [];
    const rest: T[] = [];
    const mode = list[0]!.W[list[0]!.at + Rec.MODE]!;
    let code = 0;
    let words = GROUP_HEAD;
    let consts = 0;
    for (const r of list) {
      const { W, at } = r;
      const moreConsts = W[at + Rec.COUNTS]! & 0xffff;
      const fits = code + W[at + Rec.CODE]! + 16 <= MAX_GROUP_CODE && words + W[at + Rec.LENGTH]! + 4 < MAX_GROUP_WORDS && consts + moreConsts <= MAX_GROUP_CONSTS;
      if (!fits || chosen.length >= MAX_GROUP_BLOCKS || W[at + Rec.MODE] !== mode || (W[at + Rec.PLACE]! & RecFlag.SPANS) !== 0 || !this.agrees(W, at)) {
        rest.push(r);
        continue;
      }
      code = align16(code) + W[at + Rec.CODE]!;
      words += W[at + Rec.LENGTH]! + 4;
      consts += moreConsts;
      chosen.push(r);
    }
    return { chosen, rest };
  }

  /** True, and its bytes are known from now on, if no block chosen begins where this one does or is made of other bytes. */
  private agrees(W: Int32Array, at: number): boolean {
    const { bytes, known, turn } = this;
    const offset = offsetOf(W, at);
    if (this.begun[offset] === turn) return false;
    const n = bytesIn(W, at);
    const guest = guestAt(W, at);
    for (let i = 0; i < n; i++) if (known[offset + i] === turn && bytes[offset + i] !== ((W[guest + (i >> 2)]! >> (8 * (i & 3))) & 0xff)) return false;
    for (let i = 0; i < n; i++) {
      known[offset + i] = turn;
      bytes[offset + i] = (W[guest + (i >> 2)]! >> (8 * (i & 3))) & 0xff;
    }
    this.begun[offset] = turn;
    return true;
  }
}

/**
 * Appends a group of these records, which are in no group and which a `GroupChooser` has chosen.
 * @param index gets the word offset of each in `out`
 */
export function writeGroup(list: readonly RecordAt[], out: RecordWriter, index: number[]): void {
  let words = GROUP_HEAD;
  let code = 0;
  for (const { W, at } of list) {
    words += guestEnd(W, at) - at;
    code = align16(code) + W[at + Rec.CODE]!;
  }
  words = align4(words);
  const length = words + align4(wordsOf(code));
  out.reserve(length);
  const O = out.W;
  const g = out.n;
  O.fill(0, g, g + length);
  O[g + Grp.LENGTH] = length;
  O[g + Grp.BLOCKS] = list.length;
  O[g + Grp.CODE] = code;
  O[g + Grp.CODE_AT] = words;
  let to = g + GROUP_HEAD;
  code = 0;
  list.forEach(({ W, at }, k) => {
    const n = guestEnd(W, at) - at;
    const from = codeAt(W, at);
    const bytes = W[at + Rec.CODE]!;
    code = align16(code);
    const place = g + words + (code >> 2);
    for (let i = 0; i < n; i++) O[to + i] = W[at + i]!;
    for (let i = 0, m = wordsOf(bytes); i < m; i++) O[place + i] = W[from + i]!;
    O[to + Rec.LENGTH] = n;
    O[to + Rec.CODE_AT] = place - to;
    O[to + Rec.GROUP] = (to - g) | (k << GROUP_SHIFT);
    index.push(to);
    to += n;
    code += bytes;
  });
  out.n = g + length;
  linkGroup(O, g, out.view);
}

/** Patches the jumps from one block of the group to another. */
function linkGroup(W: Int32Array, g: number, view: DataView): void {
  const at = byOffset(W, g);
  for (const from of at.values()) {
    for (let s = sitesAt(W, from), k = siteCount(W, from); k > 0; k--, s += 2) {
      const target = (W[s]! >>> SITE_SHIFT) & SITE_MASK;
      const to = (target & SITE_CHANGES_MODE) !== 0 ? undefined : at.get(target);
      if (to === undefined) continue;
      view.setInt32(codeAt(W, from) * 4 + (W[s]! & POSITION_MASK), linkValue(W, from, s, to), true);
      W[s]! |= SITE_LINKED;
    }
  }
}

function byOffset(W: Int32Array, g: number): Map<number, number> {
  const at = new Map<number, number>();
  for (const r of recordsOfGroup(W, g)) at.set(offsetOf(W, r), r);
  return at;
}

/** What the 32-bit field of the chain site at word s, in the record at `from`, holds when it jumps to the record at `to`. */
function linkValue(W: Int32Array, from: number, s: number, to: number): number {
  return codeAt(W, to) * 4 + W[to + Rec.ENTRY_B]! - (codeAt(W, from) * 4 + (W[s]! & POSITION_MASK) + 4);
}

/** The same when it jumps nowhere yet. */
export const unlinkedValue = (W: Int32Array, s: number): number => W[s + 1]! - ((W[s]! & POSITION_MASK) + 4);

/** Appends the record at word `at`, which is in a group, as it would be on its own. */
export function extract(W: Int32Array, at: number, out: RecordWriter): void {
  const n = guestEnd(W, at) - at;
  const code = wordsOf(W[at + Rec.CODE]!);
  out.reserve(n + code);
  const to = out.n;
  const O = out.W;
  const from = codeAt(W, at);
  for (let i = 0; i < n; i++) O[to + i] = W[at + i]!;
  for (let i = 0; i < code; i++) O[to + n + i] = W[from + i]!;
  O[to + Rec.LENGTH] = n + code;
  O[to + Rec.CODE_AT] = n;
  O[to + Rec.GROUP] = 0;
  for (let s = sitesAt(O, to), k = siteCount(O, to); k > 0; k--, s += 2) {
    if ((O[s]! & SITE_LINKED) === 0) continue;
    O[s]! &= ~SITE_LINKED;
    out.view.setInt32((to + n) * 4 + (O[s]! & POSITION_MASK), unlinkedValue(O, s), true);
  }
  out.n = to + n + code;
}

/**
 * True if the words at `g` have the shape of a group whose parts lie within it and whose jumps between blocks are those of `writeGroup`
 * (`W` may come from anywhere). The records' own contents are not looked at.
 */
export function soundGroup(W: Int32Array, g: number): boolean {
  if (g < 0 || g + GROUP_HEAD > W.length) return false;
  const length = W[g + Grp.LENGTH]!;
  const n = W[g + Grp.BLOCKS]!;
  const words = W[g + Grp.CODE_AT]!;
  const bytes = W[g + Grp.CODE]!;
  if (length <= 0 || length > MAX_GROUP_WORDS || g + length > W.length || n < 1 || n > MAX_GROUP_BLOCKS) return false;
  if (bytes <= 0 || bytes > MAX_GROUP_CODE || words < GROUP_HEAD || words + align4(wordsOf(bytes)) !== length) return false;
  const end = g + words;
  const mode = W[g + GROUP_HEAD + Rec.MODE]!;
  let at = g + GROUP_HEAD;
  let code = 0;
  let consts = 0;
  for (let k = 0; k < n; k++) {
    if (at + REC_HEAD > end) return false;
    const next = at + W[at + Rec.LENGTH]!;
    if (next < at + REC_HEAD || next > end || guestEnd(W, at) !== next || W[at + Rec.GROUP] !== ((at - g) | (k << GROUP_SHIFT))) return false;
    code = align16(code);
    if (codeAt(W, at) !== end + (code >> 2) || W[at + Rec.CODE]! <= 0 || W[at + Rec.CODE]! > bytes - code || W[at + Rec.MODE] !== mode) return false;
    if ((W[at + Rec.PLACE]! & RecFlag.SPANS) !== 0 || offsetOf(W, at) + bytesIn(W, at) > PAGE || bytesIn(W, at) === 0) return false;
    if (W[at + Rec.ENTRY_B]! < 0 || W[at + Rec.ENTRY_B]! >= W[at + Rec.CODE]!) return false;
    code += W[at + Rec.CODE]!;
    consts += W[at + Rec.COUNTS]! & 0xffff;
    at = next;
  }
  return align4(at - g) === words && code === bytes && consts <= MAX_GROUP_CONSTS && soundLinks(W, g);
}

function soundLinks(W: Int32Array, g: number): boolean {
  const at = byOffset(W, g);
  if (at.size !== W[g + Grp.BLOCKS]) return false;
  const view = new DataView(W.buffer, W.byteOffset, W.byteLength);
  for (const from of at.values()) {
    for (let s = sitesAt(W, from), k = siteCount(W, from); k > 0; k--, s += 2) {
      const target = (W[s]! >>> SITE_SHIFT) & SITE_MASK;
      const to = (target & SITE_CHANGES_MODE) !== 0 ? undefined : at.get(target);
      if ((to === undefined) !== ((W[s]! & SITE_LINKED) === 0)) return false;
      if ((W[s]! & POSITION_MASK) + 4 > W[from + Rec.CODE]!) return false;
      if (to !== undefined && view.getInt32(codeAt(W, from) * 4 + (W[s]! & POSITION_MASK), true) !== linkValue(W, from, s, to)) return false;
    }
  }
  return true;
}

/**
 * Heads of the groups in a chunk that are not sound, or some of whose records the chunk's index does not lead to.
 * @param index pairs of hash and word offset
 */
export function unsoundGroups(index: Int32Array, W: Int32Array): Set<number> {
  const heads = new Set<number>();
  const listed = new Set<number>();
  for (let i = 1; i < index.length; i += 2) {
    const at = index[i]!;
    listed.add(at);
    if (at >= 0 && at + REC_HEAD <= W.length && W[at + Rec.GROUP] !== 0) heads.add(groupOf(W, at));
  }
  for (const g of heads) if (soundGroup(W, g) && recordsOfGroup(W, g).every((at) => listed.has(at))) heads.delete(g);
  return heads;
}
