/** Every integer op, width and kind of operand against the reference model, as machine code. */
import { describe, expect, it } from 'vitest';
import { GuestFault } from '#lib/engine/cpu.js';
import { OPS, Op } from '#lib/engine/ir/ops.js';
import { UNDEFINED_FLAGS, undefinedFlags, FLAGS_WRITTEN } from '#lib/engine/ir/undefined.js';
import { Cc, Fl, flagsToEflags, flMaskToEflags, NONE, Slot } from '#lib/engine/state.js';
import { Random } from '../fake-cpu.js';
import { model } from '../ir-model.js';
import { canRun, Jit, UNPINNED } from './jit.js';

const mask = (w: number): bigint => (1n << BigInt(8 << w)) - 1n;
const merged = (w: number, old: bigint, r: bigint): bigint => (w < 2 ? (old & ~mask(w)) | r : r);
const u64 = (v: bigint): bigint => BigInt.asUintN(64, v);

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

/** Where an operand or result is. */
const enum Where { PINNED, MEMORY, TEMP, CONST, SAME_AS_DST }

describe.skipIf(!canRun)('x64 code against the reference model', () => {
  for (const [op, widths] of FAMILIES) {
    it(OPS[op]!.name, () => {
      const jit = new Jit();
      const cpu = jit.cpu;
      const rnd = new Random(0x7654321 + op);
      const form = OPS[op]!.form;
      const isShift = op >= Op.SHL && op <= Op.SHRD;
      for (const w of widths) {
        for (let variant = 0; variant < 120; variant++) {
          const all = FLAGS_WRITTEN[op]!;
          const fw = variant % 3 === 0 ? all : variant % 3 === 1 ? 0 : all & rnd.below(64);
          const dstAt = form[0] === '-' ? NONE : rnd.pick([Where.PINNED, Where.MEMORY, Where.TEMP]);
          const at = [0, 1, 2].map(() => rnd.pick([Where.PINNED, Where.MEMORY, Where.TEMP, Where.CONST, Where.SAME_AS_DST]));
          if (at[0] === Where.CONST && at[1] === Where.CONST && rnd.below(4)) at[0] = Where.TEMP;
          const values = [rnd.u64(), rnd.below(2) ? rnd.u64() : BigInt(rnd.below(70)), rnd.below(2) ? rnd.u64() : BigInt(rnd.below(70))];
          const old = rnd.u64();
          const old2 = rnd.u64();
          const f = rnd.below(64);
          /** Flags come from the slot, or are in host flags when the op starts. */
          const flagsInHost = rnd.below(2) === 1;
          /** A flag reader follows in host flags, or flags are saved. */
          const dstSlot = dstAt === Where.PINNED ? 8 : dstAt === Where.MEMORY ? UNPINNED : NONE;
          if (dstSlot === NONE) for (let k = 0; k < 3; k++) if (at[k] === Where.SAME_AS_DST) at[k] = Where.PINNED;
          cpu.set(dstSlot === NONE ? 8 : dstSlot, old);
          cpu.set(Slot.FLAGS, 0n);
          cpu.setFlags(flMaskToEflags(f));
          let t = NONE;
          const used = [1, 2, 3].map((k) => form[k] === 's');
          const second = form[3] === 'D' ? (rnd.below(2) ? NONE : rnd.pick([12, UNPINNED + 1])) : NONE;
          if (second !== NONE) cpu.set(second, old2);
          const c = jit.block((b) => {
            const slots = at.map((where, k) => {
              if (!used[k]) return NONE;
              const v = values[k]!;
              switch (where) {
                case Where.PINNED: cpu.set(9 + k, v); return 9 + k;
                case Where.MEMORY: cpu.set(UNPINNED + 2 + k, v); return UNPINNED + 2 + k;
                case Where.TEMP: {
                  cpu.set(9 + k, v);
                  const s = b.temp();
                  b.mov(3, s, 9 + k);
                  return s;
                }
                case Where.CONST: return b.k64(Number(BigInt.asIntN(32, v)), Number(BigInt.asIntN(32, v >> 32n)));
                default: values[k] = old; return dstSlot;
              }
            });
            if (flagsInHost) {
              // INC of a scratch register with a value that reproduces nothing would do; PUTF + RCL by 0 loads them.
              const z = b.temp();
              cpu.set(13, 0n);
              b.mov(3, z, 13);
              b.alu(Op.SHL, 2, b.temp(), z, 13, Fl.ALL);
            }
            t = dstAt === Where.TEMP ? b.temp() : NONE;
            b.alu3(op, w, dstSlot !== NONE ? dstSlot : t, slots[0]!, slots[1]!, form[3] === 'D' ? second : slots[2]!, fw);
            if (t !== NONE) b.mov(3, 14, t);
          });
          jit.run(c);
          const m = model(op, w, values[0]!, values[1]!, values[2]!, f);
          const what = `${OPS[op]!.name} w=${w} fw=${fw} variant=${variant} dst=${dstAt} at=${at} values=${values.map((v) => v.toString(16))} f=${f} host=${flagsInHost}`;
          const rw = op === Op.CRC32 ? 2 : w;
          const count = Number((op === Op.SHLD || op === Op.SHRD ? values[2]! : values[1]!) & (w === 3 ? 63n : 31n));
          const undef = isShift ? undefinedFlags(op, w, count) : UNDEFINED_FLAGS[op]!;
          const wild = (op === Op.SHLD || op === Op.SHRD) && count > 8 << w;
          if (!wild) {
            if (t !== NONE) expect(cpu.get(14), what).toBe(m.r);
            else if (dstSlot !== NONE) expect(cpu.get(dstSlot), what).toBe(merged(rw, old, m.r));
            if (second !== NONE) expect(cpu.get(second), what).toBe(merged(w, old2, m.r2!));
          }
          const got = flagsToEflags(cpu.V[0]!);
          const ignore = flMaskToEflags(undef & fw);
          expect(got & ~ignore, what).toBe(flMaskToEflags((m.f & fw) | (f & ~fw)) & ~ignore);
          expect(cpu.V[0]! & ~0xff01, what).toBe(0);
          expect(cpu.V[1]!, what).toBe(0);
        }
      }
    });
  }

  it('divides', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const rnd = new Random(4711);
    let inline = 0;
    let faults = 0;
    for (const op of [Op.DIV, Op.IDIV]) {
      for (const w of W0123) {
        for (let place = 0; place < 6; place++) {
          const [q, r, divisor] = [[8, 10, 11], [UNPINNED, UNPINNED + 1, UNPINNED + 2], [8, UNPINNED, 13]][place % 3]! as [number, number, number];
          let lo = q;
          let hi = r;
          const viaTemps = place >= 3;
          const c = jit.block((b) => {
            if (viaTemps) {
              lo = b.temp();
              hi = b.temp();
              const d = b.temp();
              const [tq, tr] = [b.temp(), b.temp()];
              b.mov(3, lo, q);
              b.mov(3, hi, r);
              b.mov(3, d, divisor);
              b.emit(op, w, 0, 0, tq, lo, hi, d, tr, 0);
              b.mov(w, q, tq);
              b.mov(w, r, tr);
            } else {
              b.emit(op, w, 0, 0, q, q, r, divisor, r, 0);
            }
          });
          for (let i = 0; i < 150; i++) {
            const bits = BigInt(8 << w);
            const cut = (v: bigint, n: bigint): bigint => (op === Op.IDIV ? BigInt.asIntN(Number(n), v) : BigInt.asUintN(Number(n), v));
            const k = rnd.u64() >> BigInt(rnd.below(64));
            const vlo = rnd.u64();
            const vhi = u64(rnd.below(3) ? (op === Op.IDIV && (vlo >> (bits - 1n)) & 1n ? -1n : 0n) : rnd.u64() >> BigInt(rnd.below(64)));
            cpu.set(q, vlo);
            cpu.set(r, vhi);
            cpu.set(divisor, k);
            cpu.setFlags(0x8d5);
            cpu.log.length = 0;
            const n = cut(((vhi & mask(w)) << bits) | (vlo & mask(w)), bits * 2n);
            const d = cut(k, bits);
            const what = `${OPS[op]!.name} w=${w} ${n} / ${d} place ${place}`;
            if (d === 0n || n / d !== cut(n / d, bits)) {
              expect(() => jit.run(c), what).toThrow(GuestFault);
              expect(cpu.get(q)).toBe(vlo);
              expect(cpu.V[Slot.X_INSN * 2]).toBe(0x10 | (0x14 << 16));
              faults++;
            } else {
              jit.run(c);
              expect(cpu.get(q), what).toBe(merged(w, vlo, (n / d) & mask(w)));
              expect(cpu.get(r), what).toBe(merged(w, vhi, (n % d) & mask(w)));
              if (cpu.log.length === 0) inline++;
            }
            expect(flagsToEflags(cpu.V[0]!)).toBe(0x8d5);
          }
        }
      }
    }
    expect(inline).toBeGreaterThan(1000);
    expect(faults).toBeGreaterThan(100);
  });

  it('compares and tests without a destination', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const rnd = new Random(99);
    for (const op of [Op.ADD, Op.SUB, Op.AND]) {
      for (const w of W0123) {
        for (let i = 0; i < 60; i++) {
          const x = rnd.u64();
          const y = rnd.u64();
          const a = rnd.pick([8, UNPINNED]);
          const k = rnd.below(3);
          cpu.set(a, x);
          cpu.set(9, y);
          cpu.set(UNPINNED + 1, y);
          jit.run(jit.block((b) => b.alu(op, w, NONE, a, k === 0 ? 9 : k === 1 ? UNPINNED + 1 : b.k64(Number(BigInt.asIntN(32, y)), Number(BigInt.asIntN(32, y >> 32n))), Fl.ALL)));
          expect(cpu.get(a)).toBe(x);
          const ignore = op === Op.AND ? 0x10 : 0;
          expect(flagsToEflags(cpu.V[0]!) & ~ignore).toBe(flMaskToEflags(model(op, w, x, y, 0n, 0).f) & ~ignore);
        }
      }
    }
  });

  it('conditions in SETCC, CMOV and JCC, from host flags and from the slot', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const OLD = 0x1122334455667788n;
    const X = 0x8899aabbccddeeffn;
    for (let cc: number = Cc.O; cc <= Cc.G; cc++) {
      for (const inHost of [false, true]) {
        const c = jit.block((b) => {
          cpu.set(13, 0n);
          if (inHost) b.alu(Op.SHL, 2, b.temp(), 13, 13, Fl.ALL);
          b.setcc(cc, 8);
          b.setcc(cc, UNPINNED);
          const t = b.temp();
          b.setcc(cc, t);
          b.mov(3, 9, t);
          [0, 1, 2, 3].forEach((w) => b.cmov(cc, w, UNPINNED + 1 + w, 10, UNPINNED + 1 + w));
          b.cmov(cc, 3, 11, 11, 10);
          b.cmov(cc, 1, 12, 10, 12);
          b.jcc(cc, 0x1234, -8);
        });
        for (let f = 0; f < 64; f++) {
          const has = (bit: number): boolean => (f & bit) !== 0;
          const base = [has(Fl.OF), has(Fl.CF), has(Fl.ZF), has(Fl.CF) || has(Fl.ZF), has(Fl.SF), has(Fl.PF), has(Fl.SF) !== has(Fl.OF), has(Fl.ZF) || has(Fl.SF) !== has(Fl.OF)];
          const holds = base[cc >> 1]! !== ((cc & 1) === 1);
          cpu.set(Slot.PCBASE, 0x7fff_ffff_f000n);
          cpu.setFlags(flMaskToEflags(f));
          for (const s of [8, 11, 12, UNPINNED, UNPINNED + 1, UNPINNED + 2, UNPINNED + 3, UNPINNED + 4]) cpu.set(s, OLD);
          cpu.set(10, X);
          jit.run(c);
          const bit = holds ? 1n : 0n;
          expect(cpu.get(8)).toBe((OLD & ~0xffn) | bit);
          expect(cpu.get(UNPINNED)).toBe((OLD & ~0xffn) | bit);
          expect(cpu.get(9)).toBe(bit);
          for (const w of W0123) expect(cpu.get(UNPINNED + 1 + w), `cmov ${w}`).toBe(merged(w, OLD, (holds ? X : OLD) & mask(w)));
          expect(cpu.get(11)).toBe(holds ? OLD : X);
          expect(cpu.get(12)).toBe(holds ? merged(1, OLD, X & 0xffffn) : OLD);
          expect(cpu.get(Slot.PC)).toBe(holds ? 0x8000_0000_0234n : 0x7fff_ffff_eff8n);
          expect(flagsToEflags(cpu.V[0]!)).toBe(flMaskToEflags(f));
        }
      }
    }
  });
});
