/** Random A64 test cases: unprivileged instructions with operands that reach interesting values and stay inside the data area. */
import { ROWS } from '#lib/engine/guest/arm64/tables.js';
import type { Row } from '#lib/engine/guest/arm64/table.js';
import { At, DATA, DATA_BYTES, RECORD } from './state.js';

/** xorshift128. */
export class Random {
  private s: Int32Array;
  constructor(seed: number) {
    this.s = Int32Array.of(seed ^ 0x1234_5678, 0x9e37_79b9 ^ (seed << 7), 0x2545_f491, seed | 1);
    for (let i = 0; i < 20; i++) this.next();
  }
  /** 32 bits, unsigned. */
  next(): number {
    const s = this.s;
    let t = s[3]!;
    const x = s[0]!;
    s[3] = s[2]!;
    s[2] = s[1]!;
    s[1] = x;
    t ^= t << 11;
    t ^= t >>> 8;
    s[0] = t ^ x ^ (x >>> 19);
    return s[0] >>> 0;
  }
  below(n: number): number {
    return this.next() % n;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

export type Family = 'int' | 'mem' | 'simd' | 'fp' | 'flow';

const familyOf = (r: Row): Family | null => {
  const top = (r.value >>> 24) & 0x0e;
  const op0 = (r.value >>> 25) & 15;
  void top;
  // Pointer authentication: the algorithm is each implementation's own (test/metal/arm64 has its properties).
  if (/^(pac|aut|xpac|ldra|b[lr]*a+z?$|retaa|eretaa)/.test(r.name)) return null;
  if (/^(svc|hvc|smc|brk|hlt|eret|msr|mrs|msr imm|sys|sysl|hint|udf|wfi|br|blr|ret|isb|dsb|dmb|clrex|bl?)$/.test(r.name)) return null;
  if (r.name.startsWith('b.') || /^[ct]bn?z$/.test(r.name)) return 'flow';
  if ((op0 & 5) === 4) return 'mem';
  if ((op0 & 7) === 7) return (r.value & 0x5f00_0000) === 0x1e00_0000 || (r.value & 0x5f00_0000) === 0x1f00_0000 ? 'fp' : 'simd';
  return 'int';
};

const FAMILIES = new Map<Family, Row[]>();
for (const r of ROWS) {
  const f = familyOf(r);
  if (f === null) continue;
  if (!FAMILIES.has(f)) FAMILIES.set(f, []);
  FAMILIES.get(f)!.push(r);
}
export const familyNames = [...FAMILIES.keys()];

const SPECIAL64 = [0n, 1n, 2n, 0x7fffffffffffffffn, 0x8000000000000000n, 0xffffffffffffffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0xff80n, 0x7f80n, 0x0101010101010101n];
/** Values that matter to floating point: zeros, denormals, extremes, infinities, NaNs of both kinds, integers. */
const SPECIAL_F64 = [
  0n, 0x8000000000000000n, 1n, 0x000fffffffffffffn, 0x0010000000000000n, 0x3ff0000000000000n, 0xbff0000000000000n, 0x4000000000000000n, 0x7fefffffffffffffn,
  0x7ff0000000000000n, 0xfff0000000000000n, 0x7ff8000000000000n, 0x7ff0000000000001n, 0xfff8000000000123n, 0x7ff4000000000456n, 0x43e0000000000000n, 0xc3e0000000000000n,
  0x41dfffffffc00000n, 0x41e0000000000000n, 0x3fe0000000000000n, 0x3ff8000000000000n, 0x4004000000000000n, 0x3ca0000000000000n, 0x36a0000000000000n, 0x47efffffe0000000n,
  // Products of the first two, the last one as a single: just below the smallest normal number.
  0x1ffffffffffffffen, 0x2000000000000001n, 0x380fffffffffff80n,
];
const SPECIAL_F32 = [0, 0x8000_0000, 1, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0xbf80_0000, 0x4000_0000, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 0xffc0_0123, 0x7fa0_0456, 0x4f00_0000, 0x5f00_0000, 0x3f00_0000, 0x3fc0_0000, 0x3380_0000, 0x1fff_fffe, 0x2000_0001];
const SPECIAL_F16 = [0, 0x8000, 1, 0x03ff, 0x0400, 0x3c00, 0xbc00, 0x4000, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xfe12, 0x7d45, 0x3800, 0x3e00, 0x7800];

export class Generator {
  readonly random: Random;
  constructor(seed: number, private readonly families: readonly Family[] = ['int', 'mem', 'simd', 'fp', 'flow']) {
    this.random = new Random(seed);
  }

  private value64(): bigint {
    const r = this.random;
    switch (r.below(4)) {
      case 0: return r.pick(SPECIAL64);
      case 1: return BigInt(r.below(256));
      case 2: return BigInt.asUintN(64, -BigInt(r.below(256)));
      default: return (BigInt(r.next()) << 32n) | BigInt(r.next());
    }
  }

  private vector(v: DataView, at: number): void {
    const r = this.random;
    switch (r.below(6)) {
      case 0:
        for (let i = 0; i < 2; i++) v.setBigUint64(at + 8 * i, r.pick(SPECIAL_F64), true);
        break;
      case 1:
        for (let i = 0; i < 4; i++) v.setUint32(at + 4 * i, r.pick(SPECIAL_F32), true);
        break;
      case 2:
        for (let i = 0; i < 8; i++) v.setUint16(at + 2 * i, r.pick(SPECIAL_F16), true);
        break;
      case 3:
        // Ordinary floating-point numbers.
        if (r.below(2)) for (let i = 0; i < 2; i++) v.setFloat64(at + 8 * i, (r.next() - 2 ** 31) * 2 ** (r.below(60) - 40), true);
        else for (let i = 0; i < 4; i++) v.setFloat32(at + 4 * i, (r.below(2 ** 24) - 2 ** 23) * 2 ** (r.below(60) - 40), true);
        break;
      case 4:
        for (let i = 0; i < 16; i++) v.setUint8(at + i, r.below(3) === 0 ? r.pick([0, 1, 0x7f, 0x80, 0xff]) : r.below(256));
        break;
      default:
        for (let i = 0; i < 4; i++) v.setUint32(at + 4 * i, r.next(), true);
    }
  }

  /** A word of the row whose register fields avoid X28, which the runner needs. */
  private word(row: Row): number {
    const r = this.random;
    for (;;) {
      const w = (r.next() & ~row.mask) | row.value | 0;
      if ([0, 5, 10, 16].some((at) => ((w >>> at) & 31) === 28 && ((row.mask >>> at) & 31) !== 31)) continue;
      const loads = (row.value & 0x3a00_0000) === 0x2800_0000;
      // Constrained unpredictable: the same register twice in a load pair, the base among what is loaded or stored with write-back.
      const rn = (w >>> 5) & 31;
      if (loads && ((w & 31) === ((w >>> 10) & 31) || (w & 31) === rn || ((w >>> 10) & 31) === rn)) continue;
      if ((row.value & 0x3b20_0400) === 0x3800_0400 && (w & 31) === rn) continue;
      const exclusive = (row.value & 0x3f00_0000) === 0x0800_0000 && ((row.mask >>> 16) & 31) !== 31;
      const rs = (w >>> 16) & 31;
      if (exclusive && (rs === rn || rs === (w & 31) || rs === ((w >>> 10) & 31) || (w & 31) === ((w >>> 10) & 31))) continue;
      // A register offset from itself leaves the data area.
      if ((row.value & 0x3b20_0c00) === 0x3820_0800 && rs === rn) continue;
      if ((row.value & 0x3e80_0000) === 0x0c80_0000 && rs === rn) continue;
      // BFCVTN: QEMU's CPU has FEAT_BF16.
      if ((w & 0xbfff_fc00) === 0x0ea1_6800) continue;
      return w;
    }
  }

  /** Writes one case at byte `at` of v. @returns the row that it tests. */
  make(v: DataView, at: number, index: number): Row {
    const r = this.random;
    const family = r.pick(this.families);
    const row = r.pick(FAMILIES.get(family)!);
    for (let i = 0; i < RECORD; i += 4) v.setUint32(at + i, 0, true);
    for (let i = 0; i < 31; i++) v.setBigUint64(at + At.X + 8 * i, this.value64(), true);
    for (let i = 0; i < 32; i++) this.vector(v, at + At.V + 16 * i);
    v.setBigUint64(at + At.SP, BigInt(DATA + 8192), true);
    v.setUint32(at + At.NZCV, r.below(16) << 28, true);
    // Rounding modes often, flushing and default NaNs sometimes.
    let fpcr = r.below(2) === 0 ? 0 : r.below(4) << 22;
    if (r.below(8) === 0) fpcr |= (r.below(16) & 7) << 24;
    if (r.below(16) === 0) fpcr |= 1 << 19;
    v.setUint32(at + At.FPCR, fpcr, true);
    v.setUint32(at + At.OFFSET, 8 + (index % 200) * 256, true);
    let w = this.word(row);
    if (family === 'mem') {
      w = this.confine(row, w, v, at);
      v.setBigUint64(at + At.MEMORY, (BigInt(r.next()) << 32n) | BigInt(r.next() | 1), true);
    } else if (family === 'flow') {
      // Over the next instruction.
      w = row.name.startsWith('t') ? (w & ~0x7_ffe0) | (2 << 5) : (w & ~0xff_ffe0) | (2 << 5);
    }
    const code = [w];
    // Something after a branch that shows whether it was taken.
    if (family === 'flow') code.push(0x91000421 | 0);
    v.setUint32(at + At.COUNT, code.length, true);
    code.forEach((c, i) => v.setInt32(at + At.CODE + 4 * i, c, true));
    return row;
  }

  /** Gives the address registers of a load or store values inside the data area and limits its immediate offset. */
  private confine(row: Row, w: number, v: DataView, at: number): number {
    const r = this.random;
    const base = (w >>> 5) & 31;
    // Exclusives, ordered accesses and atomics are aligned: QEMU has FEAT_LSE2, which lets some others pass.
    const aligned = r.below(4) !== 0 || (w & 0x3f00_0000) === 0x0800_0000 || ((w & 0x3f20_0c00) === 0x3820_0000);
    const spot = DATA + DATA_BYTES / 2 + (aligned ? r.below(64) * 16 : r.below(1024));
    if ((w & 0x3b00_0000) === 0x1800_0000) {
      // Literal: the data area is 64 KiB after the code.
      const pc = 0x1000_0000 + v.getUint32(at + At.OFFSET, true);
      const words = ((spot & ~3) - pc) >> 2;
      return (w & ~0x00ff_ffe0) | (words << 5);
    }
    if ((w & 0x3b00_0000) === 0x3900_0000) w &= ~(0xfc0 << 10);
    if (base === 31) v.setBigUint64(at + At.SP, BigInt(spot & ~15), true);
    else v.setBigUint64(at + At.X + 8 * base, BigInt(spot), true);
    const rm = (w >>> 16) & 31;
    if (rm !== 31 && rm !== base) v.setBigUint64(at + At.X + 8 * rm, BigInt.asUintN(64, BigInt(r.below(512) - 256)), true);
    return w;
  }
}
