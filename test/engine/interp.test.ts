import { describe, expect, it } from 'vitest';
import { GuestFault } from '#lib/engine/cpu.js';
import { HelperResult } from '#lib/engine/helpers.js';
import { compileForInterp } from '#lib/engine/interp/compile.js';
import { Interpreter } from '#lib/engine/interp/interp.js';
import { IrBuilder } from '#lib/engine/ir/builder.js';
import { OPS, Op } from '#lib/engine/ir/ops.js';
import { FLAGS_WRITTEN } from '#lib/engine/ir/undefined.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { Access, Cc, ExitCode, Fl, flagsToEflags, flMaskToEflags, NONE, Slot } from '#lib/engine/state.js';
import { fakeCpu, Random, type FakeCpu } from './fake-cpu.js';
import { model } from './ir-model.js';

const [R0, R1, R2, R3, R4] = [8, 9, 10, 11, 12] as const;

function run(cpu: FakeCpu, make: (b: IrBuilder) => void, mask32 = false): ExitCode {
  const b = new IrBuilder(cpu.pool);
  b.begin();
  b.insn(0x10, 0x14);
  make(b);
  if (!b.ended) b.jmp(0x14);
  verifyIr(b, { precise: false });
  return new Interpreter().runBlock(cpu, compileForInterp(b, { mask32 }));
}
const eflags = (cpu: FakeCpu): number => flagsToEflags(cpu.V[0]!);
/** `expect` is too slow for a hundred thousand comparisons. */
function same(got: bigint | number, want: bigint | number, what: string): void {
  if (got !== want) expect(got, what).toBe(want);
}
const mask = (w: number): bigint => (1n << BigInt(8 << w)) - 1n;
/** What a result of width w makes of a guest register. */
const merged = (w: number, old: bigint, r: bigint): bigint => (w < 2 ? (old & ~mask(w)) | r : r);

const W0123 = [0, 1, 2, 3];
const W123 = [1, 2, 3];
const W23 = [2, 3];
const FAMILIES: readonly (readonly [Op, readonly number[]])[] = [
  [Op.ADD, W0123], [Op.SUB, W0123], [Op.ADC, W0123], [Op.SBB, W0123], [Op.AND, W0123], [Op.OR, W0123], [Op.XOR, W0123],
  [Op.NEG, W0123], [Op.NOT, W0123], [Op.INC, W0123], [Op.DEC, W0123], [Op.SHL, W0123], [Op.SHR, W0123], [Op.SAR, W0123],
  [Op.ROL, W0123], [Op.ROR, W0123], [Op.RCL, W0123], [Op.RCR, W0123], [Op.SHLD, W123], [Op.SHRD, W123],
  [Op.BT, W123], [Op.BTS, W123], [Op.BTR, W123], [Op.BTC, W123], [Op.BSF, W123], [Op.BSR, W123], [Op.TZCNT, W123], [Op.LZCNT, W123],
  [Op.POPCNT, W123], [Op.BSWAP, W123], [Op.MUL, W0123], [Op.IMUL, W0123], [Op.ANDN, W23], [Op.BLSI, W23], [Op.BLSR, W23],
  [Op.BLSMSK, W23], [Op.BEXTR, W23], [Op.BZHI, W23], [Op.PDEP, W23], [Op.PEXT, W23], [Op.ADOX, W23], [Op.CRC32, W0123],
];
/** fw bits that the verifier allows for an op. */
function flagsOf(op: Op): number {
  return FLAGS_WRITTEN[op]!;
}

describe('interpreter against the reference model', () => {
  for (const [op, widths] of FAMILIES) {
    it(OPS[op]!.name, () => {
      const cpu = fakeCpu();
      const rnd = new Random(0x1234567 + op);
      const interp = new Interpreter();
      for (const w of widths) {
        for (let variant = 0; variant < 6; variant++) {
          // All flags, none, some; result to a register, onto operand A, to a temporary.
          const fw = variant % 3 === 0 ? flagsOf(op) : variant % 3 === 1 ? 0 : flagsOf(op) & rnd.below(64);
          const b = new IrBuilder(cpu.pool);
          b.begin();
          b.insn(0, 4);
          const form = OPS[op]!.form;
          const t = b.temp();
          const dst = form[0] === '-' ? NONE : variant === 5 ? t : variant === 4 ? R1 : R0;
          const second = form[3] === 'D' ? (variant === 3 ? NONE : R4) : form[3] === 's' ? R3 : NONE;
          b.alu3(op, w, dst, R1, form[2] === 's' ? R2 : NONE, second, fw);
          if (dst === t) b.mov(3, R0, t);
          b.jmp(4);
          verifyIr(b);
          const block = compileForInterp(b);
          for (let i = 0; i < 150; i++) {
            const old = rnd.u64();
            const x = rnd.u64();
            const y = rnd.below(2) ? rnd.u64() : BigInt(rnd.below(70));
            const z = rnd.below(2) ? rnd.u64() : BigInt(rnd.below(70));
            const f = rnd.below(64);
            cpu.set(R0, old);
            cpu.set(R1, x);
            cpu.set(R2, y);
            cpu.set(R3, z);
            cpu.set(R4, old);
            cpu.setFlags(flMaskToEflags(f));
            interp.runBlock(cpu, block);
            const m = model(op, w, x, y, z, f);
            const what = `${OPS[op]!.name} w=${w} fw=${fw} a=${x} b=${y} c=${z} f=${f}`;
            const rw = op === Op.CRC32 ? 2 : w;
            if (dst === t) same(cpu.get(R0), m.r, what);
            else if (dst !== NONE) same(cpu.get(dst), merged(rw, dst === R1 ? x : old, m.r), what);
            if (m.r2 !== undefined && second === R4) same(cpu.get(R4), merged(w, old, m.r2), what);
            same(eflags(cpu), flMaskToEflags((m.f & fw) | (f & ~fw)), what);
            same(cpu.V[0]! & ~0xff01, 0, what);
            same(cpu.V[0]! & 0x200, 0x200, what);
          }
        }
      }
    });
  }

  it('compares and tests without a destination', () => {
    const cpu = fakeCpu();
    const rnd = new Random(99);
    for (const op of [Op.ADD, Op.SUB, Op.AND]) {
      for (const w of W0123) {
        for (let i = 0; i < 20; i++) {
          const x = rnd.u64();
          const y = rnd.u64();
          cpu.set(R0, x);
          cpu.set(R1, y);
          run(cpu, (b) => b.alu(op, w, NONE, R0, R1, Fl.ALL));
          expect(cpu.get(R0)).toBe(x);
          expect(eflags(cpu)).toBe(flMaskToEflags(model(op, w, x, y, 0n, 0).f));
        }
      }
    }
  });

  it('divides', () => {
    const cpu = fakeCpu();
    const rnd = new Random(4711);
    let inline = 0;
    let faults = 0;
    for (const op of [Op.DIV, Op.IDIV]) {
      for (const w of W0123) {
        for (let i = 0; i < 600; i++) {
          const bits = BigInt(8 << w);
          const cut = (v: bigint, n: bigint): bigint => (op === Op.IDIV ? BigInt.asIntN(Number(n), v) : BigInt.asUintN(Number(n), v));
          const k = rnd.u64() >> BigInt(rnd.below(64));
          const lo = rnd.u64();
          const hi = rnd.below(3) ? (op === Op.IDIV && (lo >> (bits - 1n)) & 1n ? -1n : 0n) : rnd.u64() >> BigInt(rnd.below(64));
          cpu.set(R0, lo);
          cpu.set(R2, hi);
          cpu.set(R3, k);
          cpu.setFlags(0x8d5);
          cpu.log.length = 0;
          const n = cut(((hi & mask(w)) << bits) | (lo & mask(w)), bits * 2n);
          const d = cut(k, bits);
          const go = (): ExitCode => run(cpu, (b) => b.emit(op, w, 0, 0, R0, R0, R2, R3, R2, 0));
          if (d === 0n || n / d !== cut(n / d, bits)) {
            expect(go).toThrow(GuestFault);
            expect(cpu.get(R0)).toBe(lo);
            expect(cpu.V[Slot.X_INSN * 2]).toBe(0x10 | (0x14 << 16));
            faults++;
          } else {
            go();
            const what = `${OPS[op]!.name} w=${w} ${n} / ${d}`;
            expect(cpu.get(R0), what).toBe(merged(w, lo, (n / d) & mask(w)));
            expect(cpu.get(R2), what).toBe(merged(w, BigInt.asUintN(64, hi), (n % d) & mask(w)));
            if (cpu.log.length === 0) inline++;
          }
          expect(eflags(cpu)).toBe(0x8d5);
        }
      }
    }
    expect(inline).toBeGreaterThan(1000);
    expect(faults).toBeGreaterThan(100);
  });
});

describe('moves', () => {
  const cpu = fakeCpu();
  const X = 0x8899aabbccddeeffn;
  const OLD = 0x1122334455667788n;
  const move = (make: (b: IrBuilder) => void): bigint => {
    cpu.set(R0, OLD);
    cpu.set(R1, X);
    run(cpu, make);
    return cpu.get(R0);
  };
  const viaTemp = (make: (b: IrBuilder, t: number) => void): bigint =>
    move((b) => {
      const t = b.temp();
      make(b, t);
      b.mov(3, R0, t);
    });

  it('MOV merges into registers and extends into temporaries', () => {
    expect(W0123.map((w) => move((b) => b.mov(w, R0, R1)))).toEqual([0x11223344556677ffn, 0x112233445566eeffn, 0xccddeeffn, X]);
    expect(W0123.map((w) => viaTemp((b, t) => b.mov(w, t, R1)))).toEqual([0xffn, 0xeeffn, 0xccddeeffn, X]);
  });
  it('ZX and SX', () => {
    expect(W0123.map((w) => move((b) => b.zx(w, R0, R1)))).toEqual([0xffn, 0xeeffn, 0xccddeeffn, X]);
    expect(move((b) => b.sx(0, 16, R0, R1))).toBe(0x112233445566ffffn);
    expect(viaTemp((b, t) => b.sx(0, 16, t, R1))).toBe(0xffffn);
    expect(move((b) => b.sx(0, 32, R0, R1))).toBe(0xffffffffn);
    expect(move((b) => b.sx(1, 32, R0, R1))).toBe(0xffffeeffn);
    expect(move((b) => b.sx(0, 64, R0, R1))).toBe(0xffffffffffffffffn);
    expect(move((b) => b.sx(1, 64, R0, R1))).toBe(0xffffffffffffeeffn);
    expect(move((b) => b.sx(2, 64, R0, R1))).toBe(0xffffffffccddeeffn);
  });
  it('EXTH and INSH', () => {
    expect(move((b) => b.emit(Op.EXTH, 0, 0, 0, R0, R1, NONE, NONE, 0, 0))).toBe(0xeen);
    expect(move((b) => b.emit(Op.INSH, 0, 0, 0, R0, R1, NONE, NONE, 0, 0))).toBe(0x112233445566ff88n);
  });
  it('LEA', () => {
    const rnd = new Random(7);
    for (let i = 0; i < 400; i++) {
      const w = 1 + rnd.below(3);
      const [x, y] = [rnd.u64(), rnd.u64()];
      const scale = rnd.below(4);
      const disp = rnd.u32() | 0;
      const [ha, hb] = [rnd.below(4) > 0, rnd.below(2) > 0];
      cpu.set(R1, x);
      cpu.set(R2, y);
      run(cpu, (b) => {
        const t = b.temp();
        b.lea(w, t, ha ? R1 : NONE, hb ? R2 : NONE, scale, disp);
        b.mov(3, R0, t);
      });
      expect(cpu.get(R0)).toBe(((ha ? x : 0n) + (hb ? y << BigInt(scale) : 0n) + BigInt(disp)) & mask(w));
    }
  });
  it('conditions in SETCC, CMOV, JCC', () => {
    for (let f = 0; f < 64; f++) {
      const c = (bit: number): boolean => (f & bit) !== 0;
      const base = [c(Fl.OF), c(Fl.CF), c(Fl.ZF), c(Fl.CF) || c(Fl.ZF), c(Fl.SF), c(Fl.PF), c(Fl.SF) !== c(Fl.OF), c(Fl.ZF) || c(Fl.SF) !== c(Fl.OF)];
      for (let cc = 0; cc < 16; cc++) {
        const holds = base[cc >> 1]! !== ((cc & 1) === 1);
        cpu.set(Slot.PCBASE, 0x7fff_ffff_f000n);
        cpu.setFlags(flMaskToEflags(f));
        cpu.set(R2, OLD);
        cpu.set(R3, OLD);
        expect(move((b) => b.setcc(cc, R0))).toBe(holds ? 0x1122334455667701n : 0x1122334455667700n);
        expect(viaTemp((b, t) => b.setcc(cc, t))).toBe(holds ? 1n : 0n);
        for (const w of W0123) expect(move((b) => b.cmov(cc, w, R0, R1, R2))).toBe(merged(w, OLD, (holds ? X : OLD) & mask(w)));
        run(cpu, (b) => b.jcc(cc, 0x1234, -8));
        expect(cpu.get(Slot.PC)).toBe(holds ? 0x8000_0000_0234n : 0x7fff_ffff_eff8n);
      }
    }
  });
  it('SELNZ and JNZ look at w bits', () => {
    cpu.set(Slot.PCBASE, 0x5000n);
    for (const w of W0123) {
      for (const v of [0n, 1n, 0x80n, 0x100n, 0x10000n, 1n << 32n]) {
        cpu.set(R1, v);
        cpu.set(R2, X);
        cpu.set(R3, OLD);
        const nz = (v & mask(w)) !== 0n;
        run(cpu, (b) => {
          b.alu3(Op.SELNZ, w, R0, R1, R2, R3);
          b.jnz(w, R1, 0x100, 0x200);
        });
        expect(cpu.get(R0)).toBe(nz ? X : OLD);
        expect(cpu.get(Slot.PC)).toBe(nz ? 0x5100n : 0x5200n);
      }
    }
  });
  it('GETF, PUTF, SETCF', () => {
    cpu.setFlags(0x8d5);
    expect(move((b) => b.emit(Op.GETF, 2, 0, 0, R0, NONE, NONE, NONE, 0, 0))).toBe(0x8d5n);
    cpu.set(R1, 0x41n);
    run(cpu, (b) => b.emit(Op.PUTF, 2, 0, Fl.CF | Fl.SF | Fl.OF, NONE, R1, NONE, NONE, 0, 0));
    expect(eflags(cpu)).toBe(0x55);
    for (const [imm, want] of [[0, 0x54], [1, 0x55], [2, 0x54], [2, 0x55]] as const) {
      run(cpu, (b) => b.emit(Op.SETCF, 0, 0, Fl.CF, NONE, NONE, NONE, NONE, imm, 0));
      expect(eflags(cpu)).toBe(want);
    }
  });
  it('vector moves', () => {
    const a = Slot.VEC;
    const d = Slot.VEC + 8;
    for (const [w, bytes] of [[3, 8], [4, 16], [5, 32]] as const) {
      cpu.U8.fill(0xaa, a * 8, a * 8 + 32);
      cpu.U8.fill(0xbb, d * 8, d * 8 + 32);
      run(cpu, (b) => b.emit(Op.MOVV, w, 0, 0, d, a, NONE, NONE, 0, 0));
      expect([...cpu.U8.subarray(d * 8, d * 8 + 32)]).toEqual([...Array(bytes).fill(0xaa), ...Array(32 - bytes).fill(0xbb)]);
    }
    run(cpu, (b) => b.emit(Op.ZEROU, 5, 0, 0, d, NONE, NONE, NONE, 0, 0));
    expect([...cpu.U8.subarray(d * 8, d * 8 + 32)]).toEqual([...Array(16).fill(0xaa), ...Array(16).fill(0)]);
  });
});

describe('memory', () => {
  const ramBytes = (cpu: FakeCpu, at: number, n: number): number[] => [...cpu.map.ram8.subarray(at, at + n)];

  it('loads and stores inline at any alignment, misses across pages', () => {
    const cpu = fakeCpu();
    cpu.mmuIdx = 3;
    for (let i = 0; i < 0x4000; i++) cpu.map.ram8[i] = i * 7 + 3;
    cpu.flushTlb();
    // A linear page far up, backed by the RAM page at 0x2000.
    const base = 0xffff_8000_1234_5000n;
    cpu.mapPage(base, 0x2000, true, 3);
    for (const w of W0123) {
      const n = 1 << w;
      for (let off = 0; off <= 4096 - n; off += off < 16 || off > 4070 ? 1 : 127) {
        cpu.set(R1, base + BigInt(off));
        cpu.set(R0, 0x1122334455667788n);
        run(cpu, (b) => {
          b.ld(w, R0, R1);
          const t = b.temp();
          b.ld(w, t, R1, Access.RMW);
          b.mov(3, R2, t);
        });
        let v = 0n;
        for (let i = n - 1; i >= 0; i--) v = (v << 8n) | BigInt(cpu.map.ram8[0x2000 + off + i]!);
        expect(cpu.get(R0)).toBe(merged(w, 0x1122334455667788n, v));
        expect(cpu.get(R2)).toBe(v);
        cpu.set(R3, 0xf1e2d3c4b5a69788n);
        const around = ramBytes(cpu, 0x2000 + off - 1, n + 2);
        run(cpu, (b) => b.st(w, R1, R3));
        for (let i = 0; i < n; i++) around[1 + i] = Number((cpu.get(R3) >> BigInt(8 * i)) & 0xffn);
        expect(ramBytes(cpu, 0x2000 + off - 1, n + 2)).toEqual(around);
      }
    }
    expect(cpu.log).toEqual([]);
    for (const w of W123) {
      cpu.set(R1, base + 4097n - BigInt(1 << w));
      expect(() => run(cpu, (b) => b.ld(w, R0, R1))).toThrow(GuestFault);
      expect(() => run(cpu, (b) => b.st(w, R1, R0))).toThrow(GuestFault);
    }
    // Same page number in the low word, other high word; other MMU index.
    cpu.set(R1, base & 0xffffffffn);
    expect(() => run(cpu, (b) => b.ld(2, R0, R1))).toThrow(GuestFault);
    cpu.set(R1, base);
    cpu.mmuIdx = 0;
    expect(() => run(cpu, (b) => b.ld(2, R0, R1))).toThrow(GuestFault);
  });

  it('takes the slow path for clean pages, RMW and access overrides', () => {
    const cpu = fakeCpu();
    cpu.flushTlb();
    cpu.mapPage(0x1000n, 0x1000, false);
    cpu.set(R1, 0x1008n);
    cpu.set(R0, 0n);
    cpu.map.ram32[0x1008 >> 2] = 0x1234;
    run(cpu, (b) => {
      b.ld(2, R0, R1);
      b.ld(2, R2, R1, Access.RMW);
      b.ld(1, R3, R1, Access.SYSTEM);
      b.st(0, R1, R0);
      b.st(3, R1, R0, Access.USER);
    });
    expect(cpu.log).toEqual([`load 2 ${Access.RMW}`, `load 1 ${Access.SYSTEM}`, 'store 0 0', `store 3 ${Access.USER}`]);
    expect([cpu.get(R0), cpu.get(R2)]).toEqual([0x1234n, 0x1234n]);
  });

  it('vectors', () => {
    const cpu = fakeCpu();
    cpu.flushTlb();
    cpu.mapPage(0x3000n, 0x3000, true);
    for (let i = 0; i < 64; i++) cpu.map.ram8[0x3000 + i] = i + 1;
    for (const slow of [false, true]) {
      if (slow) cpu.flushTlb();
      for (const w of [1, 2, 3, 4, 5]) {
        const n = 1 << w;
        const v = Slot.VEC + 16;
        cpu.U8.fill(0xee, v * 8, v * 8 + 32);
        cpu.set(R1, 0x3003n);
        cpu.set(R2, 0x3101n);
        cpu.map.ram8.fill(0, 0x3100, 0x3140);
        run(cpu, (b) => {
          b.ldv(w, v, R1);
          b.stv(w, R2, v);
        });
        const want = Array.from({ length: 32 }, (_, i) => (i < n ? i + 4 : i < 16 || w === 5 ? 0 : 0xee));
        expect([...cpu.U8.subarray(v * 8, v * 8 + 32)]).toEqual(want);
        expect(ramBytes(cpu, 0x3100, n + 2)).toEqual([0, ...want.slice(0, n), 0]);
      }
      expect(cpu.log.length).toBe(slow ? 10 : 0);
    }
  });

  it('segment limits and alignment', () => {
    const cpu = fakeCpu();
    cpu.V[(32 + 3) * 2] = 0xffff;
    cpu.V[(38 + 3) * 2 + 1] = 1;
    cpu.V[(32 + 2) * 2] = -1;
    const check = (seg: number, off: bigint, write: boolean, bytes: number): ExitCode => {
      cpu.set(R0, off);
      return run(cpu, (b) => b.segchk(seg, R0, write, bytes));
    };
    check(3, 0xfffcn, false, 4);
    expect(() => check(3, 0xfffdn, false, 4)).toThrow(GuestFault);
    expect(() => check(3, 0n, true, 1)).toThrow(GuestFault);
    check(2, 0xfffffffen, false, 2);
    expect(() => check(2, 0xffffffffn, false, 2)).toThrow(GuestFault);
    expect(cpu.log).toEqual(['segmentCheck 3 65533 false 4', 'segmentCheck 3 0 true 1', 'segmentCheck 2 4294967295 false 2']);
    cpu.set(R0, 0x120n);
    run(cpu, (b) => b.emit(Op.CHKALIGN, 0, 0, 0, NONE, R0, NONE, NONE, 31, 0));
    cpu.set(R0, 0x128n);
    expect(() => run(cpu, (b) => b.emit(Op.CHKALIGN, 0, 0, 0, NONE, R0, NONE, NONE, 15, 0))).toThrow(GuestFault);
  });
});

describe('leaving a block', () => {
  it('wraps PC at 32 bits only with mask32', () => {
    const cpu = fakeCpu();
    cpu.set(Slot.PCBASE, 0xffff_f000n);
    run(cpu, (b) => b.jmp(0x1010));
    expect(cpu.get(Slot.PC)).toBe(0x1_0000_0010n);
    run(cpu, (b) => b.jmp(0x1010), true);
    expect(cpu.get(Slot.PC)).toBe(0x10n);
    cpu.set(R0, 0x1_2345_6789n);
    run(cpu, (b) => b.jmpi(R0), true);
    expect(cpu.get(Slot.PC)).toBe(0x2345_6789n);
    run(cpu, (b) => b.jmpi(R0));
    expect(cpu.get(Slot.PC)).toBe(0x1_2345_6789n);
  });
  it('EXIT gives its code', () => {
    const cpu = fakeCpu();
    cpu.set(Slot.PCBASE, 0x1000n);
    cpu.set(Slot.PC, 0x77n);
    expect(run(cpu, (b) => b.exit(ExitCode.SHADOW))).toBe(ExitCode.SHADOW);
    expect(cpu.get(Slot.PC)).toBe(0x77n);
    expect(run(cpu, (b) => b.exit(ExitCode.HALT, 0x20))).toBe(ExitCode.HALT);
    expect(cpu.get(Slot.PC)).toBe(0x1020n);
  });
  it('calls helpers with slots and honours DISPATCH', () => {
    const cpu = fakeCpu();
    const seen: number[][] = [];
    const go = cpu.helpers.define('go', (_c, dst, a, b, c, imm) => {
      seen.push([dst, a, b, c, imm, cpu.V[Slot.X_INSN * 2]!]);
      return HelperResult.CONTINUE;
    });
    const stop = cpu.helpers.define('stop', () => HelperResult.DISPATCH);
    cpu.set(R0, 0n);
    const code = run(cpu, (b) => {
      b.call(go, R1, R2, NONE, b.k(5), 42);
      b.vop(go, 4, 256, 264);
      b.call(stop);
      b.mov(3, R0, b.k(1));
      b.exit(ExitCode.HALT);
    });
    expect(code).toBe(ExitCode.NEXT);
    expect(cpu.get(R0)).toBe(0n);
    expect(seen[0]!.slice(0, 3)).toEqual([R1, R2, NONE]);
    expect(cpu.get(seen[0]![3]!)).toBe(5n);
    expect(seen[0]!.slice(4)).toEqual([42, 0x140010]);
    expect(seen[1]).toEqual([256, 264, NONE, NONE, 0, 0x140010]);
  });
  it('propagates faults with registers as they were', () => {
    const cpu = fakeCpu();
    cpu.flushTlb();
    cpu.set(R1, 0xdead_0000n);
    cpu.set(R0, 5n);
    expect(() =>
      run(cpu, (b) => {
        b.alu(Op.ADD, 3, R0, R0, b.k(1));
        b.insn(0x14, 0x18);
        b.ld(3, R0, R1);
        b.mov(3, R0, b.k(0));
      }),
    ).toThrow(GuestFault);
    expect(cpu.get(R0)).toBe(6n);
    expect(cpu.V[Slot.X_INSN * 2]).toBe(0x180014);
  });
  it('runs for several CPUs in turn', () => {
    const a = fakeCpu();
    const c = fakeCpu();
    const interp = new Interpreter();
    const b = new IrBuilder(a.pool);
    b.begin();
    b.insn(0, 1);
    b.mov(3, R0, R1);
    b.jcc(Cc.E, 0, 1);
    a.pool.attach(c.V);
    const block = compileForInterp(b);
    a.set(R1, 1n);
    c.set(R1, 2n);
    interp.runBlock(a, block);
    interp.runBlock(c, block);
    expect([a.get(R0), c.get(R0)]).toEqual([1n, 2n]);
  });
});
