/**
 * Zstandard decompression (RFC 8878), for one frame whose output fits a buffer of known size. Node has zstd from version 22.15 on
 * only.
 */

const MAGIC = 0xfd2f_b528;
const SKIPPABLE = 0x184d_2a50;
const MAX_BLOCK = 128 * 1024;
const enum BlockType { RAW = 0, RLE = 1, COMPRESSED = 2 }
const enum Literals { RAW = 0, RLE = 1, COMPRESSED = 2, TREELESS = 3 }
const enum Mode { PREDEFINED = 0, RLE = 1, FSE = 2, REPEAT = 3 }
const MAX_HUFFMAN_BITS = 11;

class DamagedData extends Error {}

function damaged(): never {
  throw new DamagedData('damaged zstd data');
}

/** Codes of literals lengths and match lengths: baseline and extra bits (3.1.1.3.2.1.1). */
const LL_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const ML_BITS = [...new Array<number>(32).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

function baselines(bits: readonly number[], first: number): number[] {
  let base = first;
  return bits.map((n) => {
    const b = base;
    base += 2 ** n;
    return b;
  });
}
const LL_BASE = baselines(LL_BITS, 0);
const ML_BASE = baselines(ML_BITS, 3);

/** Predefined distributions (3.1.1.3.2.2). */
const LL_DEFAULT = [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1];
const ML_DEFAULT = [1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1];
const OF_DEFAULT = [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1];

/** A decoding table of finite state entropy codes (4.1). */
interface Fse {
  log: number;
  symbol: Uint8Array;
  bits: Uint8Array;
  base: Uint16Array;
}

function buildFse(counts: readonly number[], log: number): Fse {
  const size = 1 << log;
  const t: Fse = { log, symbol: new Uint8Array(size), bits: new Uint8Array(size), base: new Uint16Array(size) };
  let high = size;
  const next = counts.map((n, s) => {
    if (n !== -1) return n;
    t.symbol[--high] = s;
    return 1;
  });
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  counts.forEach((n, s) => {
    for (let i = 0; i < n; i++) {
      t.symbol[at] = s;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  });
  for (let i = 0; i < size; i++) {
    const x = next[t.symbol[i]!]!++;
    const bits = log - (31 - Math.clz32(x));
    t.bits[i] = bits;
    t.base[i] = (x << bits) - size;
  }
  return t;
}

const rleTable = (s: number): Fse => ({ log: 0, symbol: Uint8Array.of(s), bits: new Uint8Array(1), base: new Uint16Array(1) });

/** Reads a distribution. @returns the table and the offset behind it. */
function readFse(b: Uint8Array, at: number, end: number, maxLog: number, maxSymbol: number): [Fse, number] {
  let bit = at * 8;
  const read = (n: number): number => {
    let v = 0;
    for (let i = 0; i < n; i++, bit++) v |= (((bit >> 3 < end ? b[bit >> 3]! : 0) >> (bit & 7)) & 1) << i;
    return v;
  };
  const log = read(4) + 5;
  if (log > maxLog) damaged();
  const counts: number[] = [];
  let left = (1 << log) + 1;
  while (left > 1 && counts.length <= maxSymbol) {
    // Values 0..left; the small ones take a bit less.
    const width = 32 - Math.clz32(left);
    const small = (1 << width) - 1 - left;
    let v = read(width - 1);
    if (v >= small) {
      v += read(1) << (width - 1);
      if (v >= 1 << (width - 1)) v -= small;
    }
    const count = v - 1;
    counts.push(count);
    left -= Math.abs(count);
    if (count === 0) {
      for (let more = 3; more === 3; ) {
        more = read(2);
        for (let i = 0; i < more; i++) counts.push(0);
        if (counts.length > maxSymbol + 1) damaged();
      }
    }
  }
  const behind = (bit + 7) >> 3;
  if (left !== 1 || counts.length > maxSymbol + 1 || behind > end) damaged();
  return [buildFse(counts, log), behind];
}

/** Bits from the end of [start, end) backwards; the highest set bit of the last byte is a mark. */
class BackBits {
  pos = 0;
  private base = 0;

  constructor(private readonly b: Uint8Array) {}

  open(start: number, end: number): void {
    if (end <= start || end > this.b.length || this.b[end - 1] === 0) damaged();
    this.base = start * 8;
    this.pos = end * 8 - 8 + (31 - Math.clz32(this.b[end - 1]!)) - this.base;
  }

  /** The next n bits (0..25 at once); below the start there are zeros. */
  read(n: number): number {
    this.pos -= n;
    return this.at(this.pos, n);
  }

  /** n bits, 0..32. */
  readLong(n: number): number {
    return n <= 24 ? this.read(n) : this.read(n - 16) * 65536 + this.read(16);
  }

  at(pos: number, n: number): number {
    if (n === 0) return 0;
    if (pos < 0) return pos + n <= 0 ? 0 : this.at(0, pos + n) << -pos;
    const p = this.base + pos;
    const i = p >> 3;
    const b = this.b;
    const word = (b[i]! | ((b[i + 1] ?? 0) << 8) | ((b[i + 2] ?? 0) << 16) | ((b[i + 3] ?? 0) << 24)) >>> (p & 7);
    return word & ((1 << n) - 1);
  }
}

interface Huffman {
  bits: number;
  symbol: Uint8Array;
  length: Uint8Array;
}

class Decoder {
  private readonly bits: BackBits;
  private huffman: Huffman | null = null;
  private ll: Fse | null = null;
  private ml: Fse | null = null;
  private of: Fse | null = null;
  private readonly repeat = [1, 4, 8];
  private literals: Uint8Array = new Uint8Array(0);
  private outAt = 0;

  constructor(
    private readonly b: Uint8Array,
    private readonly out: Uint8Array,
  ) {
    this.bits = new BackBits(b);
  }

  private u(at: number, n: number): number {
    let v = 0;
    for (let i = n - 1; i >= 0; i--) v = v * 256 + (this.b[at + i] ?? damaged());
    return v;
  }

  /** @returns bytes of output. */
  frame(): number {
    let at = 0;
    while (this.u(at, 4) - (this.u(at, 4) % 16) === SKIPPABLE) at += 8 + this.u(at + 4, 4);
    if (this.u(at, 4) !== MAGIC) damaged();
    const d = this.u(at + 4, 1);
    at += 5;
    const single = (d & 0x20) !== 0;
    if (d & 8) damaged();
    if (!single) at++;
    at += [0, 1, 2, 4][d & 3]!;
    at += [single ? 1 : 0, 2, 4, 8][d >> 6]!;
    for (let last = false; !last; ) {
      const head = this.u(at, 3);
      at += 3;
      last = (head & 1) !== 0;
      const type = (head >> 1) & 3;
      const size = head >> 3;
      if (size > MAX_BLOCK) damaged();
      if (type === BlockType.RAW) {
        this.emit(at, size);
        at += size;
      } else if (type === BlockType.RLE) {
        if (this.outAt + size > this.out.length) damaged();
        this.out.fill(this.u(at, 1), this.outAt, this.outAt + size);
        this.outAt += size;
        at++;
      } else if (type === BlockType.COMPRESSED) {
        if (at + size > this.b.length) damaged();
        this.block(at, at + size);
        at += size;
      } else {
        damaged();
      }
    }
    return this.outAt;
  }

  private emit(at: number, size: number): void {
    if (at + size > this.b.length || this.outAt + size > this.out.length) damaged();
    this.out.set(this.b.subarray(at, at + size), this.outAt);
    this.outAt += size;
  }

  private block(start: number, end: number): void {
    this.sequences(this.literalsSection(start, end), end);
  }

  /** 3.1.1.3.1. @returns where the sequences begin. */
  private literalsSection(start: number, end: number): number {
    const h = this.u(start, 1);
    const type = h & 3;
    const format = (h >> 2) & 3;
    if (type === Literals.RAW || type === Literals.RLE) {
      const n = format === 1 ? 2 : format === 3 ? 3 : 1;
      const size = this.u(start, n) >> (n === 1 ? 3 : 4);
      const at = start + n;
      const bytes = type === Literals.RAW ? size : 1;
      if (size > MAX_BLOCK || at + bytes > end) damaged();
      this.literals = type === Literals.RAW ? this.b.subarray(at, at + size) : new Uint8Array(size).fill(this.b[at]!);
      return at + bytes;
    }
    const width = format <= 1 ? 10 : format === 2 ? 14 : 18;
    const n = format <= 1 ? 3 : format === 2 ? 4 : 5;
    const v = Math.floor(this.u(start, n) / 16);
    const size = v % 2 ** width;
    const packed = Math.floor(v / 2 ** width);
    let at = start + n;
    const stop = at + packed;
    if (size > MAX_BLOCK || stop > end) damaged();
    if (type === Literals.COMPRESSED) at = this.readHuffman(at, stop);
    if (this.huffman === null) damaged();
    const out = new Uint8Array(size);
    if (format === 0) {
      this.decodeLiterals(this.huffman, at, stop, out);
    } else {
      const each = (size + 3) >> 2;
      let from = at + 6;
      for (let i = 0; i < 4; i++) {
        const to = i === 3 ? stop : from + this.u(at + i * 2, 2);
        if (to > stop || each * 3 > size) damaged();
        this.decodeLiterals(this.huffman, from, to, out.subarray(i * each, i === 3 ? size : (i + 1) * each));
        from = to;
      }
    }
    this.literals = out;
    return stop;
  }

  /** 4.2.1. @returns where the streams begin. */
  private readHuffman(start: number, end: number): number {
    const h = this.u(start, 1);
    let at = start + 1;
    const weights: number[] = [];
    if (h >= 128) {
      const n = h - 127;
      for (let i = 0; i < n; i++) weights.push((this.u(at + (i >> 1), 1) >> (i & 1 ? 0 : 4)) & 15);
      at += (n + 1) >> 1;
    } else {
      const stop = at + h;
      if (stop > end) damaged();
      const [fse, streams] = readFse(this.b, at, stop, 6, 255);
      const r = this.bits;
      r.open(streams, stop);
      let a = r.read(fse.log);
      let c = r.read(fse.log);
      // Two states by turns, until one needs bits that are not there.
      for (;;) {
        weights.push(fse.symbol[a]!);
        if (weights.length > 254) damaged();
        if (r.pos < fse.bits[a]!) {
          weights.push(fse.symbol[c]!);
          break;
        }
        a = fse.base[a]! + r.read(fse.bits[a]!);
        weights.push(fse.symbol[c]!);
        if (weights.length > 254) damaged();
        if (r.pos < fse.bits[c]!) {
          weights.push(fse.symbol[a]!);
          break;
        }
        c = fse.base[c]! + r.read(fse.bits[c]!);
      }
      at = stop;
    }
    this.huffman = buildHuffman(weights);
    return at;
  }

  private decodeLiterals(h: Huffman, from: number, to: number, out: Uint8Array): void {
    const r = this.bits;
    r.open(from, to);
    for (let i = 0; i < out.length; i++) {
      const code = r.at(r.pos - h.bits, h.bits);
      out[i] = h.symbol[code]!;
      r.pos -= h.length[code]!;
    }
    if (r.pos !== 0) damaged();
  }

  private table(mode: number, old: Fse | null, defaults: readonly number[], defaultLog: number, maxLog: number, at: number, end: number): [Fse, number] {
    switch (mode) {
      case Mode.PREDEFINED:
        return [buildFse(defaults, defaultLog), at];
      case Mode.RLE:
        return [rleTable(this.u(at, 1)), at + 1];
      case Mode.FSE:
        return readFse(this.b, at, end, maxLog, defaults.length === OF_DEFAULT.length ? 31 : defaults.length - 1);
      default:
        return [old ?? damaged(), at];
    }
  }

  /** 3.1.1.3.2 and 3.1.1.4. */
  private sequences(start: number, end: number): void {
    let at = start;
    let count = this.u(at++, 1);
    if (count >= 255) {
      count = this.u(at, 2) + 0x7f00;
      at += 2;
    } else if (count >= 128) {
      count = ((count - 128) << 8) + this.u(at++, 1);
    }
    let literal = 0;
    if (count > 0) {
      const modes = this.u(at++, 1);
      [this.ll, at] = this.table((modes >> 6) & 3, this.ll, LL_DEFAULT, 6, 9, at, end);
      [this.of, at] = this.table((modes >> 4) & 3, this.of, OF_DEFAULT, 5, 8, at, end);
      [this.ml, at] = this.table((modes >> 2) & 3, this.ml, ML_DEFAULT, 6, 9, at, end);
      const { ll, of, ml } = this;
      const r = this.bits;
      r.open(at, end);
      let l = r.read(ll.log);
      let o = r.read(of.log);
      let m = r.read(ml.log);
      for (let i = 0; i < count; i++) {
        const oc = of.symbol[o]!;
        const mc = ml.symbol[m]!;
        const lc = ll.symbol[l]!;
        if (oc > 31 || mc >= ML_BASE.length || lc >= LL_BASE.length) damaged();
        const value = 2 ** oc + r.readLong(oc);
        const match = ML_BASE[mc]! + r.readLong(ML_BITS[mc]!);
        const length = LL_BASE[lc]! + r.readLong(LL_BITS[lc]!);
        const distance = this.distance(value, length);
        literal = this.copyLiterals(literal, length);
        this.copyMatch(distance, match);
        if (i + 1 === count) break;
        l = ll.base[l]! + r.read(ll.bits[l]!);
        m = ml.base[m]! + r.read(ml.bits[m]!);
        o = of.base[o]! + r.read(of.bits[o]!);
      }
      if (r.pos !== 0) damaged();
    }
    this.copyLiterals(literal, this.literals.length - literal);
  }

  /** Repeat offsets (3.1.1.5). */
  private distance(value: number, literals: number): number {
    const r = this.repeat;
    if (value > 3) {
      r[2] = r[1]!;
      r[1] = r[0]!;
      return (r[0] = value - 3);
    }
    const which = literals === 0 ? value : value - 1;
    const d = which === 3 ? r[0]! - 1 : r[which]!;
    if (d <= 0) damaged();
    if (which >= 2) r[2] = r[1]!;
    if (which >= 1) r[1] = r[0]!;
    return (r[0] = d);
  }

  private copyLiterals(from: number, n: number): number {
    if (from + n > this.literals.length || this.outAt + n > this.out.length) damaged();
    this.out.set(this.literals.subarray(from, from + n), this.outAt);
    this.outAt += n;
    return from + n;
  }

  private copyMatch(distance: number, n: number): void {
    const { out } = this;
    let at = this.outAt;
    if (distance > at || at + n > out.length) damaged();
    if (distance >= n) out.copyWithin(at, at - distance, at - distance + n);
    else for (const end = at + n; at < end; at++) out[at] = out[at - distance]!;
    this.outAt += n;
  }
}

/** 4.2.1.3: codes from weights; the last weight is implied. */
function buildHuffman(weights: number[]): Huffman {
  let sum = 0;
  for (const w of weights) if (w > 0) sum += 1 << (w - 1);
  if (sum === 0) damaged();
  const bits = 32 - Math.clz32(sum);
  const rest = (1 << bits) - sum;
  if (bits > MAX_HUFFMAN_BITS || (rest & (rest - 1)) !== 0) damaged();
  weights.push(32 - Math.clz32(rest));
  const h: Huffman = { bits, symbol: new Uint8Array(1 << bits), length: new Uint8Array(1 << bits) };
  let at = 0;
  for (let w = 1; w <= bits; w++) {
    weights.forEach((x, s) => {
      if (x !== w) return;
      const n = 1 << (w - 1);
      if (at + n > h.symbol.length) damaged();
      h.symbol.fill(s, at, at + n);
      h.length.fill(bits + 1 - w, at, at + n);
      at += n;
    });
  }
  return h;
}

/**
 * Decompresses the first frame of `input`. @param size of the output at most.
 * @throws Error for damaged data.
 */
export function decompressZstd(input: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size);
  return out.subarray(0, new Decoder(input, out).frame());
}
