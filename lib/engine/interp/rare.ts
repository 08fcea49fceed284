/**
 * The less frequent IR ops, at every width, one function. Operands are read as (lo, hi) pairs; bits above the width
 * are cleared on the way in where they matter, so most cases serve all widths.
 *
 * Flags that the SDM leaves undefined: see ../ir/undefined.ts for what is chosen here.
 */
import { Op } from '../ir/ops.js';
import { flagsToEflags, eflagsToFlags } from '../state.js';
import { R, Wide } from './codes.js';
import { condBits, Ff, putFlags, resultFlags } from './flags.js';
import {
  bit64, bswap, clz64, crc32c, ctz64, mulHigh, mulMid, popcount, product, sarLo, shlHi, shlLo, shrHi, shrLo, smulHi, umulHi,
} from './wide.js';

/** Stores a result of width w (0..3); `merge` keeps the bits above 8- and 16-bit results. */
function put(V: Int32Array, d: number, w: number, merge: number, lo: number, hi: number): void {
  switch (w) {
    case 0:
      V[d] = merge ? (V[d]! & ~0xff) | (lo & 0xff) : lo & 0xff;
      break;
    case 1:
      V[d] = merge ? (V[d]! & ~0xffff) | (lo & 0xffff) : lo & 0xffff;
      break;
    case 2:
      V[d] = lo;
      break;
    default:
      V[d] = lo;
      V[d + 1] = hi;
      return;
  }
  if (!merge) V[d + 1] = 0;
}

/** Most significant bit of a value of width w. */
function msb(w: number, lo: number, hi: number): number {
  return w === 3 ? hi >>> 31 : (lo >>> ((8 << w) - 1)) & 1;
}
/** The bit below it. */
function msb1(w: number, lo: number, hi: number): number {
  return w === 3 ? (hi >>> 30) & 1 : (lo >>> ((8 << w) - 2)) & 1;
}
/** Sign-extends the low word of a value of width 0..2 to 32 bits. */
function sext(w: number, lo: number): number {
  return w === 0 ? (lo << 24) >> 24 : w === 1 ? (lo << 16) >> 16 : lo;
}

function rotate(V: Int32Array, op: Op, w: number, merge: number, d: number, alo: number, ahi: number, count: number, m: number): void {
  const bits = 8 << w;
  const n = count & (w === 3 ? 63 : 31);
  if (n === 0) {
    put(V, d, w, merge, alo, ahi);
    return;
  }
  const cfIn = (V[0]! >>> 8) & 1;
  let lo: number;
  let hi: number;
  let cf: number;
  if (op === Op.ROL || op === Op.ROR) {
    // A right rotation by k is a left rotation by bits - k.
    const k = (op === Op.ROL ? n : bits - n) & (bits - 1);
    if (k === 0) {
      lo = alo;
      hi = ahi;
    } else if (w === 3) {
      lo = shlLo(alo, k) | shrLo(alo, ahi, 64 - k);
      hi = shlHi(alo, ahi, k) | shrHi(ahi, 64 - k);
    } else {
      lo = (alo << k) | (alo >>> (bits - k));
      hi = 0;
    }
    cf = op === Op.ROL ? lo & 1 : msb(w, lo, hi);
  } else {
    // Rotation of bits + 1 bits. The 64-bit pair holds operands of up to 32 bits and their carry comfortably.
    const k = n % (bits + 1);
    if (k === 0) {
      lo = alo;
      hi = ahi;
      cf = cfIn;
    } else if (op === Op.RCL) {
      const back = bits + 1 - k;
      cf = bit64(alo, ahi, bits - k);
      lo = shlLo(alo, k) | shlLo(cfIn, k - 1) | shrLo(alo, ahi, back);
      hi = shlHi(alo, ahi, k) | shlHi(cfIn, 0, k - 1) | shrHi(ahi, back);
    } else {
      const back = bits + 1 - k;
      cf = bit64(alo, ahi, k - 1);
      lo = shrLo(alo, ahi, k) | shlLo(cfIn, bits - k) | shlLo(alo, back);
      hi = shrHi(ahi, k) | shlHi(cfIn, 0, bits - k) | shlHi(alo, ahi, back);
    }
  }
  put(V, d, w, merge, lo, hi);
  if (m !== 0) {
    const of = op === Op.ROL || op === Op.RCL ? cf ^ msb(w, lo, hi) : msb(w, lo, hi) ^ msb1(w, lo, hi);
    // Rotates define no other flag, whatever the mask says.
    putFlags(V, (cf << 8) | of, m & (Ff.CF | Ff.OF));
  }
}

function shift(V: Int32Array, op: Op, w: number, merge: number, d: number, alo: number, ahi: number, count: number, m: number): void {
  const n = count & (w === 3 ? 63 : 31);
  if (n === 0) {
    put(V, d, w, merge, alo, ahi);
    return;
  }
  const bits = 8 << w;
  let lo: number;
  let hi: number;
  let cf: number;
  let of: number;
  if (op === Op.SHL) {
    lo = shlLo(alo, n);
    hi = shlHi(alo, ahi, n);
    cf = n <= bits ? bit64(alo, ahi, bits - n) : 0;
    of = cf ^ msb(w, lo, hi);
  } else if (op === Op.SHR) {
    lo = shrLo(alo, ahi, n);
    hi = shrHi(ahi, n);
    cf = bit64(alo, ahi, n - 1);
    // The value before the last 1-bit step has a clear top bit unless there was only one step.
    of = n === 1 ? msb(w, alo, ahi) : 0;
  } else {
    if (w !== 3) {
      alo = sext(w, alo);
      ahi = alo >> 31;
    }
    lo = sarLo(alo, ahi, n);
    hi = n < 32 ? ahi >> n : ahi >> 31;
    cf = bit64(alo, ahi, n - 1);
    of = 0;
  }
  put(V, d, w, merge, lo, hi);
  if (m !== 0) putFlags(V, resultFlags(w, lo, hi) | (cf << 8) | of, m);
}

/** SHLD, SHRD. 16-bit counts above 16 go on with the bits of b, as AMD processors do. */
function doubleShift(
  V: Int32Array, left: boolean, w: number, merge: number, d: number, alo: number, ahi: number, blo: number, bhi: number, count: number, m: number,
): void {
  let n = count & (w === 3 ? 63 : 31);
  if (n === 0) {
    put(V, d, w, merge, alo, ahi);
    return;
  }
  const bits = 8 << w;
  if (n > bits) {
    alo = blo;
    n -= bits;
  }
  const back = bits - n;
  let lo: number;
  let hi: number;
  let cf: number;
  let of: number;
  if (left) {
    lo = shlLo(alo, n) | shrLo(blo, bhi, back);
    hi = shlHi(alo, ahi, n) | shrHi(bhi, back);
    cf = bit64(alo, ahi, back);
    of = cf ^ msb(w, lo, hi);
  } else {
    lo = shrLo(alo, ahi, n) | shlLo(blo, back);
    hi = shrHi(ahi, n) | shlHi(blo, bhi, back);
    cf = bit64(alo, ahi, n - 1);
    of = msb(w, lo, hi) ^ msb1(w, lo, hi);
  }
  put(V, d, w, merge, lo, hi);
  if (m !== 0) putFlags(V, resultFlags(w, lo, hi) | (cf << 8) | of, m);
}

function multiply(
  V: Int32Array, signed: boolean, w: number, merge: number, merge2: number, d: number, d2: number,
  alo: number, ahi: number, blo: number, bhi: number, m: number,
): void {
  let lo: number;
  let hi = 0;
  /** Upper half of the product. */
  let ulo: number;
  let uhi = 0;
  let over: boolean;
  if (w < 2) {
    const bits = 8 << w;
    const p = signed ? Math.imul(sext(w, alo), sext(w, blo)) : Math.imul(alo, blo);
    lo = p & ((1 << bits) - 1);
    ulo = p >>> bits;
    over = signed ? sext(w, lo) !== p : ulo !== 0;
  } else if (w === 2) {
    lo = Math.imul(alo, blo);
    ulo = signed ? smulHi(alo, blo) : umulHi(alo, blo);
    over = signed ? ulo !== lo >> 31 : ulo !== 0;
  } else {
    lo = Math.imul(alo, blo);
    hi = mulMid(alo, ahi, blo, bhi);
    mulHigh(alo, ahi, blo, bhi, signed);
    ulo = product[0]!;
    uhi = product[1]!;
    const fill = signed ? hi >> 31 : 0;
    over = ulo !== fill || uhi !== fill;
  }
  // Low half first: where both go to one register (MULX) the high half stays.
  put(V, d, w, merge, lo, hi);
  put(V, d2, w, merge2, ulo, uhi);
  putFlags(V, over ? Ff.CF | Ff.OF : 0, m & (Ff.CF | Ff.OF));
}

/** Positions of mask bits are few on average, so one step per set bit. */
function deposit(V: Int32Array, d: number, w: number, merge: number, alo: number, ahi: number, klo: number, khi: number): void {
  let lo = 0;
  let hi = 0;
  let i = 0;
  while (klo !== 0) {
    const bit = klo & -klo;
    if (bit64(alo, ahi, i++)) lo |= bit;
    klo ^= bit;
  }
  while (khi !== 0) {
    const bit = khi & -khi;
    if (bit64(alo, ahi, i++)) hi |= bit;
    khi ^= bit;
  }
  put(V, d, w, merge, lo, hi);
}
function extract(V: Int32Array, d: number, w: number, merge: number, alo: number, ahi: number, klo: number, khi: number): void {
  let lo = 0;
  let hi = 0;
  let i = 0;
  for (let word = 0; word < 2; word++) {
    const a = word ? ahi : alo;
    let k = word ? khi : klo;
    while (k !== 0) {
      const bit = k & -k;
      if (a & bit) {
        if (i < 32) lo |= 1 << i;
        else hi |= 1 << (i - 32);
      }
      i++;
      k ^= bit;
    }
  }
  put(V, d, w, merge, lo, hi);
}

/** Executes the RARE record at index p of `code`. */
export function rare(V: Int32Array, code: Int32Array, p: number): void {
  const how = code[p + R.INSN]!;
  const op: Op = how & Wide.OP;
  const w = (how >>> Wide.W_SHIFT) & 7;
  const merge = how & Wide.MERGE;
  const d = code[p + R.D]!;
  const a = code[p + R.A]!;
  const b = code[p + R.B]!;
  const m = code[p + R.M]!;
  let alo = V[a]!;
  let ahi = V[a + 1]!;
  let blo = V[b]!;
  let bhi = V[b + 1]!;
  if (w < 3) {
    const mask = w === 2 ? -1 : (1 << (8 << w)) - 1;
    alo &= mask;
    blo &= mask;
    ahi = 0;
    bhi = 0;
  }
  const bits = 8 << w;
  switch (op) {
    case Op.CMOV: {
      const t = ((condBits(V[0]!) & m) !== 0) !== (code[p + R.IMM] !== 0);
      put(V, d, w, merge, t ? alo : blo, t ? ahi : bhi);
      return;
    }
    case Op.SHL:
    case Op.SHR:
    case Op.SAR:
      shift(V, op, w, merge, d, alo, ahi, blo, m);
      return;
    case Op.ROL:
    case Op.ROR:
    case Op.RCL:
    case Op.RCR:
      rotate(V, op, w, merge, d, alo, ahi, blo, m);
      return;
    case Op.SHLD:
    case Op.SHRD:
      doubleShift(V, op === Op.SHLD, w, merge, d, alo, ahi, blo, bhi, V[code[p + R.C]!]!, m);
      return;
    case Op.BT:
    case Op.BTS:
    case Op.BTR:
    case Op.BTC: {
      const n = blo & (bits - 1);
      const cf = bit64(alo, ahi, n);
      if (op !== Op.BT) {
        const xlo = n < 32 ? 1 << n : 0;
        const xhi = n < 32 ? 0 : 1 << (n - 32);
        if (op === Op.BTS) put(V, d, w, merge, alo | xlo, ahi | xhi);
        else if (op === Op.BTR) put(V, d, w, merge, alo & ~xlo, ahi & ~xhi);
        else put(V, d, w, merge, alo ^ xlo, ahi ^ xhi);
      }
      putFlags(V, cf << 8, m & Ff.CF);
      return;
    }
    case Op.BSF:
    case Op.BSR:
      if ((alo | ahi) === 0) {
        put(V, d, w, merge, blo, bhi);
        putFlags(V, Ff.ZF, m & Ff.ZF);
      } else {
        put(V, d, w, merge, op === Op.BSF ? ctz64(alo, ahi) : 63 - clz64(alo, ahi), 0);
        putFlags(V, 0, m & Ff.ZF);
      }
      return;
    case Op.TZCNT:
    case Op.LZCNT: {
      const zero = (alo | ahi) === 0;
      const r = zero ? bits : op === Op.TZCNT ? ctz64(alo, ahi) : clz64(alo, ahi) - 64 + bits;
      put(V, d, w, merge, r, 0);
      putFlags(V, (zero ? Ff.CF : 0) | (r === 0 ? Ff.ZF : 0), m & (Ff.ALL & ~Ff.OF));
      return;
    }
    case Op.POPCNT: {
      put(V, d, w, merge, popcount(alo) + popcount(ahi), 0);
      putFlags(V, Ff.ONE | ((alo | ahi) === 0 ? Ff.ZF : 0), m);
      return;
    }
    case Op.BSWAP:
      if (w === 3) put(V, d, w, 0, bswap(ahi), bswap(alo));
      else if (w === 2) put(V, d, w, 0, bswap(alo), 0);
      else put(V, d, w, merge, bswap(alo) >>> 16, 0);
      return;
    case Op.MUL:
    case Op.IMUL:
      multiply(V, op === Op.IMUL, w, merge, code[p + R.IMM]!, d, code[p + R.C]!, alo, ahi, blo, bhi, m);
      return;
    case Op.ANDN: {
      const lo = ~alo & blo;
      const hi = ~ahi & bhi;
      put(V, d, w, merge, lo, hi);
      putFlags(V, resultFlags(w, lo, hi), m);
      return;
    }
    case Op.BLSI:
    case Op.BLSR:
    case Op.BLSMSK: {
      // x - 1 and -x as pairs; only the bits below the width count.
      const lo1 = (alo - 1) | 0;
      const hi1 = alo === 0 ? (ahi - 1) | 0 : ahi;
      const zero = (alo | ahi) === 0;
      let lo: number;
      let hi: number;
      let cf = zero;
      if (op === Op.BLSI) {
        lo = alo & -alo;
        hi = alo === 0 ? ahi & -ahi : 0;
        cf = !zero;
      } else if (op === Op.BLSR) {
        lo = alo & lo1;
        hi = ahi & hi1;
      } else {
        lo = alo ^ lo1;
        hi = ahi ^ hi1;
      }
      put(V, d, w, merge, lo, hi);
      let f = resultFlags(w, lo, hi) | (cf ? Ff.CF : 0);
      if (op === Op.BLSMSK) f &= ~Ff.ZF;
      putFlags(V, f, m);
      return;
    }
    case Op.BEXTR: {
      const start = blo & 0xff;
      const len = (blo >>> 8) & 0xff;
      let lo = start < 64 ? shrLo(alo, ahi, start) : 0;
      let hi = start < 64 ? shrHi(ahi, start) : 0;
      if (len < 64) {
        lo &= len < 32 ? (1 << len) - 1 : -1;
        hi &= len < 32 ? 0 : (1 << (len - 32)) - 1;
      }
      put(V, d, w, merge, lo, hi);
      putFlags(V, (resultFlags(w, lo, hi) & ~Ff.SF) | Ff.AF, m);
      return;
    }
    case Op.BZHI: {
      const n = blo & 0xff;
      let lo = alo;
      let hi = ahi;
      if (n < bits) {
        lo &= n < 32 ? (1 << n) - 1 : -1;
        hi &= n < 32 ? 0 : (1 << (n - 32)) - 1;
      }
      put(V, d, w, merge, lo, hi);
      putFlags(V, resultFlags(w, lo, hi) | (n >= bits ? Ff.CF : 0), m);
      return;
    }
    case Op.PDEP:
      deposit(V, d, w, merge, alo, ahi, blo, bhi);
      return;
    case Op.PEXT:
      extract(V, d, w, merge, alo, ahi, blo, bhi);
      return;
    case Op.ADOX: {
      const s = (alo >>> 0) + (blo >>> 0) + (V[0]! & 1);
      let of = s > 0xffffffff ? 1 : 0;
      let hi = 0;
      if (w === 3) {
        const t = (ahi >>> 0) + (bhi >>> 0) + of;
        of = t > 0xffffffff ? 1 : 0;
        hi = t | 0;
      }
      put(V, d, w, merge, s | 0, hi);
      putFlags(V, of, m & Ff.OF);
      return;
    }
    case Op.CRC32: {
      // The accumulator is 32 bits whatever the width of the data.
      let c = crc32c(V[a]!, blo, w === 3 ? 4 : 1 << w);
      if (w === 3) c = crc32c(c, bhi, 4);
      V[d] = c;
      V[d + 1] = 0;
      return;
    }
    case Op.GETF:
      V[d] = flagsToEflags(V[0]!);
      V[d + 1] = 0;
      return;
    case Op.PUTF:
      putFlags(V, eflagsToFlags(V[a]!), m);
      return;
    case Op.SETCF: {
      const imm = code[p + R.IMM]!;
      putFlags(V, imm === 2 ? ~V[0]! & Ff.CF : imm << 8, m & Ff.CF);
      return;
    }
    case Op.MOVV: {
      const words = w === 3 ? 2 : w === 4 ? 4 : 8;
      for (let i = 0; i < words; i++) V[d + i] = V[a + i]!;
      return;
    }
    case Op.ZEROU:
      V[d + 4] = 0;
      V[d + 5] = 0;
      V[d + 6] = 0;
      V[d + 7] = 0;
      return;
    default:
      throw new Error(`interpreter: unexpected op ${op}`);
  }
}
