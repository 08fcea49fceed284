/** Records of blocks that nobody has compiled: the right shape, other contents. */
import { Rec, REC_HEAD, type RecordWriter, SITE_SHIFT, wordsOf } from '#lib/engine/aot/record.js';

export interface FakeBlock {
  offset: number;
  mode: number;
  bytes: readonly number[];
  /** Page offsets that it jumps to. */
  targets: readonly number[];
  /** Bytes of code: at least 8 for each target, and 4. */
  code: number;
  /** Offsets of 32-bit fields in `bytes` that are symbols. */
  symbols?: readonly number[];
}

/** Appends a record to `out`. @returns where it begins */
export function writeFake(b: FakeBlock, out: RecordWriter): number {
  const at = out.n;
  const symbols = b.symbols ?? [];
  const n = REC_HEAD + symbols.length + b.targets.length * 2 + wordsOf(b.bytes.length);
  const length = n + wordsOf(b.code);
  out.reserve(length);
  const { W } = out;
  W.fill(0, at, at + length);
  W[at + Rec.LENGTH] = length;
  W[at + Rec.PLACE] = b.offset | (symbols.length << 16) | (b.targets.length << 24);
  W[at + Rec.MODE] = b.mode;
  W[at + Rec.GUEST] = b.bytes.length | (1 << 16);
  W[at + Rec.CODE] = b.code;
  W[at + Rec.ENTRY_B] = 2;
  W[at + Rec.CODE_AT] = n;
  symbols.forEach((x, k) => (W[at + REC_HEAD + k] = x | (k << 16)));
  let s = at + REC_HEAD + symbols.length;
  for (let i = 0; i < b.code; i++) out.U8[(at + n) * 4 + i] = (b.offset + i) & 0xff;
  b.targets.forEach((t, k) => {
    const position = 4 + k * 8;
    W[s++] = position | (t << SITE_SHIFT);
    W[s++] = b.code - 4;
    out.view.setInt32((at + n) * 4 + position, b.code - 4 - (position + 4), true);
  });
  b.bytes.forEach((x, i) => (out.U8[s * 4 + i] = x));
  out.n = at + length;
  return at;
}
