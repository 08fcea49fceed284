/** The A64 tables: every instruction word has at most one owner, and every row lifts to valid IR. */
import { describe, expect, it } from 'vitest';
import { arm64Helpers, arm64Lifter } from '#lib/engine/guest/arm64/guest.js';
import { parseArm64Cpu } from '#lib/engine/guest/arm64/model.js';
import { Mode } from '#lib/engine/guest/arm64/regs.js';
import { overlaps, type Row } from '#lib/engine/guest/arm64/table.js';
import { ROWS, decodeTable } from '#lib/engine/guest/arm64/tables.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { runPasses } from '#lib/engine/ir/passes.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { LiftResult, type CodeWindow } from '#lib/engine/cpu.js';

/** A small repeatable generator. */
function random(seed: number): () => number {
  let s = seed;
  return () => {
    s = Math.imul(s ^ (s >>> 15), 0x2c1b_3c6d);
    s = Math.imul(s ^ (s >>> 12), 0x297a_2d39);
    s ^= s >>> 15;
    s = (s + 0x9e37_79b9) | 0;
    return s;
  };
}

const word = (r: Row, bits: number): number => (bits & ~r.mask) | r.value;

describe('A64 decode tables', () => {
  it('have no two rows that own the same word', () => {
    expect(overlaps(ROWS).map(([a, b]) => `${a.name} ${a.pattern} | ${b.name} ${b.pattern}`)).toEqual([]);
  });

  it('find the row of any word of a row', () => {
    const t = decodeTable();
    const next = random(1);
    for (const r of ROWS) for (let i = 0; i < 20; i++) expect(t.find(word(r, next()))).toBe(r);
  });

  it('find nothing for unallocated words', () => {
    const t = decodeTable();
    for (const w of [0x0001_0000, 0x2000_0000, 0x6000_0000, 0xffff_ffff | 0]) expect(t.find(w)).toBeNull();
  });
});

describe('the A64 lifter', () => {
  const helpers = arm64Helpers();
  const lifter = arm64Lifter(helpers, parseArm64Cpu('max'));
  const pool = new ConstPool();
  const ir = new IrBuilder(pool);
  const buf = new Uint8Array(4);
  const lift = (w: number, mode: number): void => {
    new DataView(buf.buffer).setInt32(0, w, true);
    const win: CodeWindow = { buf, pos: 0, end: 4, offset: 0x800 };
    expect(lifter.lift(win, mode, ir, 1)).toBe(LiftResult.OK);
    expect(win.pos).toBe(4);
  };

  it('makes valid IR of every row, at both exception levels', () => {
    const next = random(2);
    for (const r of ROWS) {
      for (let i = 0; i < 15; i++) {
        if (pool.nearlyFull) pool.reset();
        const w = word(r, next());
        for (const mode of [0, Mode.EL1 | Mode.SPSEL, Mode.EL1 | Mode.FP_TRAP | Mode.UAO, Mode.BTI | Mode.PAC_TOP, Mode.EL1 | Mode.SPSEL | Mode.BTI | Mode.STEP, Mode.BTI | Mode.LANDING_J]) {
          lift(w, mode);
          try {
            verifyIr(ir, { helpers: helpers as never });
            runPasses(ir, helpers as never);
            verifyIr(ir, { helpers: helpers as never });
          } catch (e) {
            throw new Error(`${r.name} ${(w >>> 0).toString(16)}: ${(e as Error).message}`, { cause: e });
          }
        }
      }
    }
  });
});
