/** Random RV64GC test cases: unprivileged instructions with operands that reach interesting values and stay inside the data area. */
import { ALL_ROWS } from '#lib/engine/guest/riscv/lifter.js';
import { COMPRESSED } from '#lib/engine/guest/riscv/rvc.js';
import type { Row } from '#lib/engine/guest/riscv/table.js';
import { Random } from '../arm64-diff/generate.js';
import { DATA, DATA_BYTES } from '../arm64-diff/state.js';
import { At, STATE_ADDRESS, STATE_REG } from './state.js';

export type Family = 'int' | 'mem' | 'fp' | 'flow' | 'rvc';

/** By opcode; null: not for user programs, or not the same on every implementation. */
function familyOf(r: Row): Family | null {
  switch (r.match & 0x7f) {
    case 0x13: case 0x17: case 0x1b: case 0x33: case 0x37: case 0x3b: return 'int';
    case 0x03: case 0x23: case 0x07: case 0x27: case 0x2f: return 'mem';
    case 0x43: case 0x47: case 0x4b: case 0x4f: case 0x53: return 'fp';
    case 0x63: return 'flow';
    default: return null;
  }
}

const FAMILIES = new Map<Family, Row[]>();
for (const r of ALL_ROWS) {
  const f = r.ext.includes('v') ? null : familyOf(r);
  if (f !== null) FAMILIES.set(f, [...(FAMILIES.get(f) ?? []), r]);
}

export const SPECIAL64 = [0n, 1n, 2n, 0x7fffffffffffffffn, 0x8000000000000000n, 0xffffffffffffffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0xffffffff80000000n, 0xff80n, 0x7f80n, 0x0101010101010101n];
export const SPECIAL_F64 = [
  0n, 0x8000000000000000n, 1n, 0x000fffffffffffffn, 0x0010000000000000n, 0x3ff0000000000000n, 0xbff0000000000000n, 0x7fefffffffffffffn, 0x7ff0000000000000n, 0xfff0000000000000n,
  0x7ff8000000000000n, 0x7ff0000000000001n, 0xfff8000000000123n, 0x43e0000000000000n, 0xc3e0000000000000n, 0x43f0000000000000n, 0x41e0000000000000n, 0x41f0000000000000n, 0xc1e0000000200000n,
  0x3fe0000000000000n, 0x380fffffffffffffn, 0x47efffffffffffffn, 0x36a0000000000000n,
];
export const SPECIAL_F32 = [
  0, 0x8000_0000, 1, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0xbf80_0000, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 0x5f00_0000, 0xdf00_0000, 0x5f80_0000, 0x4f00_0000,
  0x4f80_0000, 0xcf00_0000, 0x3f00_0000, 0x0100_0000,
];
/** Half precision: zeros, denormals, ones, limits, infinities, NaNs of both kinds, and where integers end. */
export const SPECIAL_F16 = [0, 0x8000, 1, 0x03ff, 0x0400, 0x3c00, 0xbc00, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xfd55, 0x7800, 0x5bff, 0xb800, 0x1400];
const BOX_H = 0xffffffffffff0000n;
/** c.addi4spn, loads and stores by sp and by x8..x15: their base must be in the data area. */
const MIDDLE = DATA + DATA_BYTES / 2;

export class Generator {
  private readonly r: Random;
  private readonly families: readonly Family[];

  constructor(seed: number, families?: readonly Family[]) {
    this.r = new Random(seed);
    this.families = families ?? ['int', 'mem', 'fp', 'flow', 'rvc'];
  }

  private value64(): bigint {
    const { r } = this;
    switch (r.below(4)) {
      case 0: return r.pick(SPECIAL64);
      case 1: return BigInt(r.below(128));
      default: return (BigInt(r.next()) << 32n) | BigInt(r.next());
    }
  }

  private valueF(): bigint {
    const { r } = this;
    switch (r.below(9)) {
      case 6: return BOX_H | BigInt((r.pick(SPECIAL_F16) + r.below(3)) & 0xffff);
      // Half precision about one, so that sums cancel and products round.
      case 7: return BOX_H | BigInt((0x3000 + r.below(0x2000)) | (r.below(2) << 15));
      case 8: return BOX_H | BigInt(r.next() & 0xffff);
      case 0: return r.pick(SPECIAL_F64) + BigInt(r.below(3));
      case 1: return 0xffffffff00000000n | BigInt((r.pick(SPECIAL_F32) + r.below(3)) >>> 0);
      case 2: return 0xffffffff00000000n | BigInt(r.next());
      // Close exponents, so that sums cancel and products round.
      case 3: return (BigInt(0x3f0 + r.below(0x20)) << 52n) | (BigInt(r.below(2)) << 63n) | (BigInt(r.next()) << 20n);
      case 4: return 0xffffffff00000000n | BigInt(((0x3c00_0000 + r.below(0x800_0000)) | (r.below(2) << 31)) >>> 0);
      default: return (BigInt(r.next()) << 32n) | BigInt(r.next());
    }
  }

  /** Writes a case at byte `at`. @returns what it is called */
  make(view: DataView, at: number, n: number): { name: string } {
    const { r } = this;
    const family = this.families[n % this.families.length]!;
    for (let i = 1; i < 32; i++) view.setBigUint64(at + At.X + 8 * i, BigInt.asUintN(64, this.value64()), true);
    for (let i = 0; i < 32; i++) view.setBigUint64(at + At.F + 8 * i, BigInt.asUintN(64, this.valueF()), true);
    view.setBigUint64(at + At.X + 8 * STATE_REG, BigInt(STATE_ADDRESS), true);
    // Mostly rounding modes that exist.
    view.setBigUint64(at + At.FCSR, BigInt(((r.below(8) === 0 ? r.below(8) : r.below(5)) << 5) | r.below(32)), true);
    view.setBigUint64(at + At.OFFSET, BigInt(64 + 4 * r.below(64)), true);
    view.setUint32(at + At.COUNT, 1, true);
    if (family === 'rvc') return this.compressed(view, at);
    const row = r.pick(FAMILIES.get(family)!);
    let insn = ((r.next() & ~row.mask) | row.match) >>> 0;
    const stores = (insn & 0x7f) === 0x23 || (insn & 0x7f) === 0x27;
    const writesX = !stores && family !== 'flow' && !((insn & 0x7f) === 0x07);
    if (writesX && ((insn >>> 7) & 31) === STATE_REG && (row.mask & 0xf80) === 0) insn = (insn & ~0xf80) | (5 << 7);
    if (family === 'mem') insn = this.memory(view, at, insn);
    if (family === 'flow') {
      // Over one instruction or not: beq rs1, rs2, +8; addi x5, x5, 1.
      insn = (insn & 0x01ff_f07f) | (8 << 7);
      view.setUint32(at + At.CODE + 4, 0x0012_8293, true);
      view.setUint32(at + At.COUNT, 2, true);
      if (r.below(3) === 0) view.setBigUint64(at + At.X + 8 * ((insn >>> 15) & 31 || 1), view.getBigUint64(at + At.X + 8 * ((insn >>> 20) & 31), true), true);
      view.setBigUint64(at + At.X + 8 * STATE_REG, BigInt(STATE_ADDRESS), true);
    }
    view.setUint32(at + At.CODE, insn >>> 0, true);
    return { name: row.name };
  }

  /** Points rs1 into the data area; atomics are aligned. */
  private memory(view: DataView, at: number, word: number): number {
    const { r } = this;
    let insn = word;
    let base = (insn >>> 15) & 31;
    if (base === 0 || base === STATE_REG) {
      base = 8;
      insn = (insn & ~(31 << 15)) | (base << 15);
    }
    const atomic = (insn & 0x7f) === 0x2f;
    let address = MIDDLE + r.below(1024);
    // QEMU's CPU has Zama16b: it does atomics that are not aligned.
    if (atomic) address &= ~7;
    view.setBigUint64(at + At.X + 8 * base, BigInt(address), true);
    view.setBigUint64(at + At.MEMORY, (BigInt(r.next()) << 32n) | BigInt(r.next() | 1), true);
    return insn >>> 0;
  }

  private compressed(view: DataView, at: number): { name: string } {
    const { r } = this;
    for (;;) {
      const row = r.pick(COMPRESSED);
      const half = (r.next() & 0xffff & ~row.mask) | row.match;
      // Jumps and branches, ecall's relatives.
      if (/^c\.(j|jr|jalr|beqz|bnez|ebreak)$/.test(row.name)) continue;
      // C.LUI of zero is reserved; QEMU's CPU has Zcmop, whose C.MOP.n are among them.
      if ((half & 0xf07f) === 0x6001) continue;
      // Those that have rd in bits 11..7.
      const wide = (half & 3) !== 0 && !((half & 3) === 1 && half >>> 13 >= 4);
      if (wide && ((half >>> 7) & 31) === STATE_REG) continue;
      if (/sp$/.test(row.name) && /^c\.f?[ls][wd]/.test(row.name)) view.setBigUint64(at + At.X + 16, BigInt(MIDDLE), true);
      if (/^c\.f?[ls][wd]/.test(row.name)) {
        for (let i = 8; i < 16; i++) if (((half >>> 7) & 7) === i - 8) view.setBigUint64(at + At.X + 8 * i, BigInt(MIDDLE + 8 * r.below(64)), true);
        view.setBigUint64(at + At.MEMORY, (BigInt(r.next()) << 32n) | BigInt(r.next() | 1), true);
      }
      // And C.NOP.
      view.setUint32(at + At.CODE, (half | (1 << 16)) >>> 0, true);
      return { name: row.name };
    }
  }
}
