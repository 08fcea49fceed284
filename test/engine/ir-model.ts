/** Reference semantics of the ops with flags, on BigInt, written for obviousness: shifts go bit by bit. */
import { Op } from '#lib/engine/ir/ops.js';
import { Fl } from '#lib/engine/state.js';

export interface Result {
  /** Result truncated to the width, or undefined if the op has none. */
  r: bigint;
  /** Second result. */
  r2?: bigint;
  /** All six flags after the op. */
  f: number;
}

/** f: flags before the op, as a `Fl` mask. */
export function model(op: Op, w: number, a: bigint, b: bigint, c: bigint, f: number): Result {
  const bits = 8 << w;
  const B = BigInt(bits);
  const u = (v: bigint): bigint => BigInt.asUintN(bits, v);
  const s = (v: bigint): bigint => BigInt.asIntN(bits, v);
  const full = { a };
  a = u(a);
  const b64 = b;
  b = u(b);
  const top = (v: bigint): number => Number((v >> (B - 1n)) & 1n);
  const parity = (v: bigint): boolean => {
    let n = 0;
    for (let i = 0n; i < 8n; i++) n += Number((v >> i) & 1n);
    return n % 2 === 0;
  };
  const zsp = (r: bigint): number => (r === 0n ? Fl.ZF : 0) | (top(r) ? Fl.SF : 0) | (parity(r) ? Fl.PF : 0);
  const on = (cond: boolean | number | bigint, bit: number): number => (cond ? bit : 0);
  const cf = BigInt(f & Fl.CF);
  const sum = (x: bigint, y: bigint, ci: bigint): Result => {
    const r = u(x + y + ci);
    return {
      r,
      f: zsp(r) | on(x + y + ci > u(-1n), Fl.CF) | on((x & 15n) + (y & 15n) + ci > 15n, Fl.AF) | on(s(x) + s(y) + ci !== s(r), Fl.OF),
    };
  };
  const difference = (x: bigint, y: bigint, bi: bigint): Result => {
    const r = u(x - y - bi);
    return {
      r,
      f: zsp(r) | on(x - y - bi < 0n, Fl.CF) | on((x & 15n) - (y & 15n) - bi < 0n, Fl.AF) | on(s(x) - s(y) - bi !== s(r), Fl.OF),
    };
  };
  const logic = (r: bigint): Result => ({ r: u(r), f: zsp(u(r)) });
  const keep = (mask: number, r: Result): Result => ({ ...r, f: (r.f & mask) | (f & ~mask) });
  const count = Number((op === Op.SHLD || op === Op.SHRD ? c : b64) & (w === 3 ? 63n : 31n));
  const trailing = (v: bigint): number => {
    let n = 0;
    while (n < bits && !((v >> BigInt(n)) & 1n)) n++;
    return n;
  };
  const leading = (v: bigint): number => {
    let n = 0;
    while (n < bits && !((v >> BigInt(bits - 1 - n)) & 1n)) n++;
    return n;
  };
  switch (op) {
    case Op.ADD:
      return sum(a, b, 0n);
    case Op.ADC:
      return sum(a, b, cf);
    case Op.INC:
      return keep(Fl.NOT_CF, sum(a, 1n, 0n));
    case Op.SUB:
      return difference(a, b, 0n);
    case Op.SBB:
      return difference(a, b, cf);
    case Op.DEC:
      return keep(Fl.NOT_CF, difference(a, 1n, 0n));
    case Op.NEG:
      return difference(0n, a, 0n);
    case Op.NOT:
      return { r: u(~a), f };
    case Op.AND:
      return logic(a & b);
    case Op.OR:
      return logic(a | b);
    case Op.XOR:
      return logic(a ^ b);
    case Op.ANDN:
      return logic(~a & b);
    case Op.SHL:
    case Op.SHR:
    case Op.SAR:
    case Op.ROL:
    case Op.ROR:
    case Op.RCL:
    case Op.RCR: {
      if (count === 0) return { r: a, f };
      let r = a;
      let carry = cf;
      let of = 0;
      for (let i = 0; i < count; i++) {
        const hi = (r >> (B - 1n)) & 1n;
        const lo = r & 1n;
        const left = op === Op.SHL || op === Op.ROL || op === Op.RCL;
        const into = op === Op.ROL ? hi : op === Op.ROR ? lo : op === Op.RCL || op === Op.RCR ? carry : op === Op.SAR ? hi : 0n;
        const before = r;
        r = left ? u((r << 1n) | into) : (r >> 1n) | (into << (B - 1n));
        carry = left ? hi : lo;
        of = left ? Number(carry) ^ top(r) : top(before) ^ top(r);
        // Right rotations compare the two top bits of the result, which is the same.
      }
      const rot = op >= Op.ROL;
      return keep(rot ? Fl.CF | Fl.OF : Fl.ALL, { r, f: zsp(r) | on(carry, Fl.CF) | on(of, Fl.OF) });
    }
    case Op.SHLD:
    case Op.SHRD: {
      if (count === 0) return { r: a, f };
      let r = a;
      let fill = b;
      let carry = 0n;
      let of = 0;
      for (let i = 0; i < count; i++) {
        const before = r;
        if (op === Op.SHLD) {
          const into = (fill >> (B - 1n)) & 1n;
          carry = (r >> (B - 1n)) & 1n;
          r = u((r << 1n) | into);
          fill = u((fill << 1n) | into);
          of = Number(carry) ^ top(r);
        } else {
          const into = fill & 1n;
          carry = r & 1n;
          r = (r >> 1n) | (into << (B - 1n));
          fill = (fill >> 1n) | (into << (B - 1n));
          of = top(before) ^ top(r);
        }
      }
      return { r, f: zsp(r) | on(carry, Fl.CF) | on(of, Fl.OF) };
    }
    case Op.BT:
    case Op.BTS:
    case Op.BTR:
    case Op.BTC: {
      const bit = 1n << (b64 & (B - 1n));
      const r = op === Op.BTS ? a | bit : op === Op.BTR ? a & ~bit : op === Op.BTC ? a ^ bit : a;
      return keep(Fl.CF, { r, f: on(a & bit, Fl.CF) });
    }
    case Op.BSF:
      return keep(Fl.ZF, a === 0n ? { r: b, f: Fl.ZF } : { r: BigInt(trailing(a)), f: 0 });
    case Op.BSR:
      return keep(Fl.ZF, a === 0n ? { r: b, f: Fl.ZF } : { r: BigInt(bits - 1 - leading(a)), f: 0 });
    case Op.TZCNT:
    case Op.LZCNT: {
      const n = op === Op.TZCNT ? trailing(a) : leading(a);
      return keep(Fl.ALL & ~Fl.OF, { r: BigInt(n), f: on(n === 0, Fl.ZF) | on(a === 0n, Fl.CF) });
    }
    case Op.POPCNT: {
      let n = 0n;
      for (let v = a; v; v >>= 1n) n += v & 1n;
      return { r: n, f: on(a === 0n, Fl.ZF) };
    }
    case Op.BSWAP: {
      let r = 0n;
      for (let i = 0; i < bits; i += 8) r = (r << 8n) | ((a >> BigInt(i)) & 0xffn);
      return { r, f };
    }
    case Op.MUL: {
      const p = a * b;
      return keep(Fl.CF | Fl.OF, { r: u(p), r2: p >> B, f: on(p >> B, Fl.CF | Fl.OF) });
    }
    case Op.IMUL: {
      const p = s(a) * s(b);
      return keep(Fl.CF | Fl.OF, { r: u(p), r2: u(p >> B), f: on(p !== s(p), Fl.CF | Fl.OF) });
    }
    case Op.BLSI: {
      const r = logic(a & -a);
      return { ...r, f: r.f | on(a, Fl.CF) };
    }
    case Op.BLSR: {
      const r = logic(a & (a - 1n));
      return { ...r, f: r.f | on(!a, Fl.CF) };
    }
    case Op.BLSMSK: {
      const r = logic(a ^ (a - 1n));
      return { ...r, f: (r.f & ~Fl.ZF) | on(!a, Fl.CF) };
    }
    case Op.BEXTR: {
      const len = (b64 >> 8n) & 0xffn;
      const r = (a >> (b64 & 0xffn)) & ((1n << len) - 1n);
      return { r, f: (zsp(r) & ~Fl.SF) | Fl.AF };
    }
    case Op.BZHI: {
      const n = b64 & 0xffn;
      const r = n >= B ? a : a & ((1n << n) - 1n);
      return { r, f: zsp(r) | on(n >= B, Fl.CF) };
    }
    case Op.PDEP:
    case Op.PEXT: {
      let r = 0n;
      let k = 0n;
      for (let i = 0n; i < B; i++) {
        if (!((b >> i) & 1n)) continue;
        if (op === Op.PDEP) r |= ((a >> k) & 1n) << i;
        else r |= ((a >> i) & 1n) << k;
        k++;
      }
      return { r, f };
    }
    case Op.ADOX: {
      const r = a + b + BigInt(f & Fl.OF ? 1 : 0);
      return keep(Fl.OF, { r: u(r), f: on(r >> B, Fl.OF) });
    }
    case Op.CRC32: {
      let crc = full.a & 0xffffffffn;
      for (let i = 0n; i < B; i++) {
        const bit = (crc ^ (b >> i)) & 1n;
        crc = (crc >> 1n) ^ (bit ? 0x82f63b78n : 0n);
      }
      return { r: crc, f };
    }
    default:
      throw new Error(`no model of op ${op}`);
  }
}
