/** Random cases of the vector extension: vtype, vl, vstart, masks and registers, then one to three instructions, mostly legal ones. */
import { FORMS, VECTOR_INSNS, type VecInsn, Kind } from '#lib/engine/guest/riscv/vector-table.js';
import { Random } from '../arm64-diff/generate.js';
import { DATA, DATA_BYTES } from '../arm64-diff/state.js';
import { SPECIAL_F32, SPECIAL_F64, SPECIAL64 } from './generate.js';
import { At, STATE_ADDRESS, STATE_REG } from './state.js';

const MIDDLE = DATA + DATA_BYTES / 2;
/** Registers: base address, stride, small number. */
const BASE = 8, STRIDE = 9, SMALL = 10;
const WIDTHS: readonly number[] = [0, 5, 6, 7];
/** vs1 that the groups know. */
const VS1 = new Map<Kind, readonly number[]>([
  [Kind.TO_SCALAR, [0, 16, 17]], [Kind.EXTEND, [2, 3, 4, 5, 6, 7]], [Kind.MASK_SET, [1, 2, 3, 16, 17]], [Kind.FLOAT_UNARY, [0, 4, 5, 16]],
  [Kind.FLOAT_CONVERT, [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]], [Kind.FLOAT_TO_SCALAR, [0]],
]);
const WIDE_D: ReadonlySet<Kind> = new Set([Kind.INT_WIDE, Kind.INT_WIDE_W, Kind.FLOAT_WIDE, Kind.FLOAT_WIDE_W]);
const WIDE_2: ReadonlySet<Kind> = new Set([Kind.INT_WIDE_W, Kind.INT_NARROW, Kind.FLOAT_WIDE_W]);

const LENIENT: ReadonlySet<Kind> = new Set([Kind.INT_COMPARE, Kind.FLOAT_COMPARE, Kind.INT_REDUCE, Kind.INT_REDUCE_WIDE, Kind.FLOAT_REDUCE, Kind.FLOAT_REDUCE_WIDE, Kind.CARRY, Kind.CARRY_OUT]);

export class VectorGenerator {
  private readonly r: Random;
  private sew = 0;
  private lmul = 0;

  constructor(seed: number, private readonly vlen: number) {
    this.r = new Random(seed);
  }

  private bits64(): bigint {
    return (BigInt(this.r.next()) << 32n) | BigInt(this.r.next());
  }

  private f32(): number {
    const { r } = this;
    return r.below(2) === 0 ? (r.pick(SPECIAL_F32) + r.below(3)) >>> 0 : ((0x3c00_0000 + r.below(0x800_0000)) | (r.below(2) << 31)) >>> 0;
  }

  private f64(): bigint {
    const { r } = this;
    return r.below(2) === 0 ? r.pick(SPECIAL_F64) + BigInt(r.below(3)) : (BigInt(0x3f0 + r.below(0x20)) << 52n) | (BigInt(r.below(2)) << 63n) | (BigInt(r.next()) << 20n);
  }

  /** Eight bytes of a register; a register has one kind of contents. */
  private word(kind: number): bigint {
    const { r } = this;
    switch (kind) {
      case 0: return this.bits64();
      case 1: return r.pick(SPECIAL64);
      case 2: return (BigInt(this.f32()) << 32n) | BigInt(this.f32());
      case 3: return this.f64();
      case 4: {
        let v = 0n;
        for (let i = 0; i < 8; i++) v = (v << 8n) | BigInt(r.pick([0, 1, 0x7f, 0x80, 0xff, r.below(256)]));
        return v;
      }
      default: return BigInt(r.below(64)) | (BigInt(r.below(64)) << 32n);
    }
  }

  private vtype(): number {
    const { r } = this;
    this.sew = r.below(4);
    this.lmul = r.below(7) - 3;
    return (this.lmul & 7) | (this.sew << 3) | (r.below(4) << 6);
  }

  /** Writes a case at byte `at`. @returns what it is called */
  make(view: DataView, at: number): { name: string } {
    const { r } = this;
    for (let i = 1; i < 32; i++) view.setBigUint64(at + At.X + 8 * i, BigInt.asUintN(64, r.below(2) === 0 ? r.pick(SPECIAL64) : this.bits64()), true);
    for (let i = 0; i < 32; i++) view.setBigUint64(at + At.F + 8 * i, BigInt.asUintN(64, r.below(2) === 0 ? this.f64() : r.below(8) === 0 ? this.bits64() : 0xffff_ffff_0000_0000n | BigInt(this.f32())), true);
    view.setBigUint64(at + At.X + 8 * STATE_REG, BigInt(STATE_ADDRESS), true);
    view.setBigUint64(at + At.X + 8 * BASE, BigInt(MIDDLE + r.below(512)), true);
    view.setBigUint64(at + At.X + 8 * STRIDE, BigInt.asUintN(64, BigInt(r.below(57) - 28)), true);
    view.setBigUint64(at + At.X + 8 * SMALL, BigInt(r.below(r.pick([4, 20, 140]))), true);
    view.setBigUint64(at + At.FCSR, BigInt(((r.below(16) === 0 ? r.below(8) : r.below(5)) << 5) | r.below(32)), true);
    view.setBigUint64(at + At.OFFSET, BigInt(64 + 4 * r.below(64)), true);
    view.setBigUint64(at + At.VCSR, BigInt(r.below(8)), true);
    view.setBigUint64(at + At.VTYPE, BigInt(r.below(60) === 0 ? r.below(1024) : this.vtype()), true);
    const max = Math.floor((this.vlen / 8) * 2 ** (this.lmul - this.sew));
    view.setBigUint64(at + At.VL, BigInt(r.below(3) === 0 ? max : r.below(max + 2)), true);
    view.setBigUint64(at + At.VSTART, BigInt(r.below(8) === 0 ? r.below(Math.max(2, max)) : 0), true);
    for (let i = 0; i < 32; i++) {
      const kind = r.below(6);
      for (let k = 0; k < this.vlen / 64; k++) view.setBigUint64(at + At.V + i * (this.vlen / 8) + 8 * k, BigInt.asUintN(64, this.word(kind)), true);
    }
    const count = r.below(4) === 0 ? 2 + r.below(2) : 1;
    view.setUint32(at + At.COUNT, count, true);
    const names: string[] = [];
    for (let i = 0; i < count; i++) {
      const [name, insn] = r.below(4) === 0 ? this.memory(view, at, i === 0) : i > 0 && r.below(3) === 0 ? this.configure() : r.below(60) === 0 ? this.configure() : r.below(80) === 0 ? this.csr(i === count - 1) : this.arithmetic(view, at);
      names.push(name);
      view.setUint32(at + At.CODE + 4 * i, insn >>> 0, true);
    }
    return { name: names.join(' ') };
  }

  /** A register: mostly the first of a group. */
  private group(lmul: number): number {
    const { r } = this;
    const reg = r.below(32);
    return lmul > 0 && r.below(20) !== 0 ? reg & ~((1 << lmul) - 1) : reg;
  }

  private configure(): [string, number] {
    const { r } = this;
    const x = r.pick([5, 6, 7, SMALL]);
    const rd = r.pick([0, 5, 6]);
    switch (r.below(4)) {
      case 0: return ['vsetvli', (this.vtype() << 20) | (r.pick([0, x, x]) << 15) | 0x7057 | ((rd === 0 ? 5 : rd) << 7)];
      case 1: return ['vsetivli', 0xc000_0000 | (this.vtype() << 20) | (r.below(32) << 15) | 0x7057 | (rd << 7)];
      case 2: return ['vsetvli', (this.vtype() << 20) | (x << 15) | 0x7057 | (rd << 7)];
      default: return ['vsetvl', 0x8000_0000 | (r.pick([SMALL, 5]) << 20) | (x << 15) | 0x7057 | (rd << 7)];
    }
  }

  private csr(last: boolean): [string, number] {
    const { r } = this;
    // QEMU 10 keeps more than the two bits of vxrm.
    const n = r.pick([last ? 8 : 9, 9, 15, 0xc20, 0xc21, 0xc22]);
    return ['csr', (n << 20) | (r.below(32) << 15) | (r.pick([1, 2, 3, 5, 6, 7]) << 12) | (r.pick([0, 5, 6]) << 7) | 0x73];
  }

  private arithmetic(view: DataView, at: number): [string, number] {
    const { r } = this;
    const row: VecInsn = r.pick(VECTOR_INSNS);
    const form = r.pick([...row.forms]);
    const funct3 = FORMS.indexOf(form);
    const { kind } = row;
    const wide = kind === Kind.FLOAT_CONVERT ? r.below(3) : 0;
    let vs1 = form === 'i' ? r.below(32) : form === 'x' || form === 'X' ? r.pick([0, SMALL, SMALL, 5, 6, 7]) : form === 'S' ? r.below(32) : this.group(this.lmul);
    const known = VS1.get(kind);
    if (known !== undefined && (form === 'F' || form === 'V') && r.below(30) !== 0) {
      vs1 = r.pick(known.filter((k) => kind !== Kind.FLOAT_CONVERT || k >> 3 === wide));
    }
    if (kind === Kind.MOVE_WHOLE && r.below(8) !== 0) vs1 = r.pick([0, 1, 3, 7]);
    const whole = kind === Kind.MOVE_WHOLE ? 3 : this.lmul;
    let vs2 = this.group(WIDE_2.has(kind) || wide === 2 ? this.lmul + 1 : whole);
    let vd = this.group(WIDE_D.has(kind) || wide === 1 ? this.lmul + 1 : kind === Kind.INT_COMPARE || kind === Kind.FLOAT_COMPARE || kind === Kind.CARRY_OUT ? 0 : whole);
    if (((kind === Kind.FROM_SCALAR || kind === Kind.FLOAT_FROM_SCALAR) && r.below(8) !== 0)) vs2 = 0;
    let vm = r.below(2);
    if (r.below(8) !== 0) {
      if (kind === Kind.CARRY) vm = 0;
      if (kind === Kind.MERGE || kind === Kind.FLOAT_MERGE) vs2 = vm === 1 ? 0 : vs2;
      if (kind === Kind.MASK_LOGIC || kind === Kind.COMPRESS || kind === Kind.FROM_SCALAR || kind === Kind.FLOAT_FROM_SCALAR || kind === Kind.FLOAT_TO_SCALAR || kind === Kind.MOVE_WHOLE) vm = 1;
      if (kind === Kind.MASK_SET && vs1 === 17) vs2 = 0;
      if (vm === 0 && vd === 0) vd = this.group(this.lmul);
    }
    if (kind === Kind.TO_SCALAR) vd = r.pick([0, 5, 6]);
    // QEMU 10 lets some of the masked ones read v0 as more than a mask, which is reserved, and goes below the smallest LMUL in extensions.
    if (LENIENT.has(kind) && vm === 0) {
      if (vs2 === 0) vs2 = 8;
      if (vs1 === 0 && (form === 'v' || form === 'V' || form === 'F')) vs1 = 8;
    }
    if (kind === Kind.EXTEND && this.lmul - ((9 - vs1) >> 1) < -3) vs1 = 1;
    // Indexes that are inside.
    if ((kind === Kind.GATHER || kind === Kind.GATHER16) && form === 'v' && r.below(2) === 0) this.indexes(view, at, vs1, kind === Kind.GATHER16 ? 1 : this.sew, 40);
    return [`${row.name}.${form}`, (row.f6 << 26) | (vm << 25) | (vs2 << 20) | (vs1 << 15) | (funct3 << 12) | (vd << 7) | 0x57];
  }

  /** Small numbers as elements of eight registers from `reg` on. */
  private indexes(view: DataView, at: number, reg: number, w: number, limit: number): void {
    const vlenb = this.vlen / 8;
    for (let b = reg * vlenb; b < Math.min(32, reg + 8) * vlenb; b += 1 << w) {
      const v = this.r.below(Math.min(limit, w === 0 ? 256 : limit));
      if (w === 0) view.setUint8(at + At.V + b, v);
      else if (w === 1) view.setUint16(at + At.V + b, v, true);
      else if (w === 2) view.setUint32(at + At.V + b, v, true);
      else view.setBigUint64(at + At.V + b, BigInt(v), true);
    }
  }

  /** @param first indexes are what the case begins with */
  private memory(view: DataView, at: number, first: boolean): [string, number] {
    const { r } = this;
    view.setBigUint64(at + At.MEMORY, (BigInt(r.next()) << 32n) | BigInt(r.next() | 1), true);
    const mop = first ? r.below(4) : 2 * r.below(2);
    const w = r.below(5) === 0 || mop === 1 || mop === 3 ? r.below(4) : Math.min(3, Math.max(0, this.sew + r.below(3) - 1));
    const store = r.below(2);
    let nf = r.below(3) === 0 ? r.below(8) : 0;
    let vm = r.below(2);
    const indexed = (mop & 1) === 1;
    let vs2 = STRIDE;
    const emul = indexed ? this.lmul : w - this.sew + this.lmul;
    let vd = this.group(emul);
    if (indexed) {
      vs2 = this.group(w - this.sew + this.lmul);
      this.indexes(view, at, vs2, w, 2048);
    } else if (mop === 0) {
      vs2 = r.pick([0, 0, 0, 8, 11, 16, r.below(40) === 0 ? r.below(32) & 15 : 0]);
      if (vs2 === 8 && r.below(8) !== 0) {
        nf = r.pick([0, 1, 3, 7]);
        vd &= ~nf;
        vm = 1;
      }
      // QEMU 10 comes to an end when vstart is past what these two have elements.
      if (vs2 === 8 || vs2 === 11) view.setBigUint64(at + At.VSTART, vs2 === 8 ? BigInt(r.below(2)) : 0n, true);
      if (vs2 === 11) {
        if (r.below(8) !== 0) {
          nf = 0;
          vm = 1;
        }
      }
    }
    // As above: v0 stored under itself as a mask, and indexes among the segments that are stored.
    if (store && vm === 0 && vd === 0) vd = 8;
    if (store && indexed) nf = 0;
    if (r.below(8) !== 0 && emul > 0 && vs2 !== 8) nf = Math.min(nf, (8 >> emul) - 1);
    const width = (vs2 === 8 && mop === 0 && store) || (vs2 === 11 && mop === 0) ? (r.below(8) === 0 ? WIDTHS[w]! : 0) : WIDTHS[w]!;
    return [`${store ? 'vs' : 'vl'} mop ${mop} nf ${nf}`, (nf << 29) | (r.below(100) === 0 ? 1 << 28 : 0) | (mop << 26) | (vm << 25) | (vs2 << 20) | (BASE << 15) | (width << 12) | (vd << 7) | (store ? 0x27 : 0x07)];
  }
}
