/** The instruction table: every encoding has one owner, and what rows say is consistent; expansion of compressed instructions. */
import { describe, expect, it } from 'vitest';
import { ALL_ROWS } from '#lib/engine/guest/riscv/lifter.js';
import { COMPRESSED, expand } from '#lib/engine/guest/riscv/rvc.js';
import { InsnTable } from '#lib/engine/guest/riscv/table.js';
import { randomFrom } from '../../devices/fuzz.js';

/** Rows that are special cases of a later one, which is meant to lose. */
const SPECIAL = new Set(['zext.h/packw', 'pause/fence', 'opfvv.f/opfvv', 'opmvv.x/opmvv']);

describe('the instruction table', () => {
  it('has names once, and match bits only within the mask', () => {
    const names = ALL_ROWS.map((r) => r.name);
    expect(new Set(names).size).toBe(names.length);
    for (const r of ALL_ROWS) {
      expect(r.match & ~r.mask, r.name).toBe(0);
      expect(r.match & 3, `${r.name} is a 32-bit encoding`).toBe(3);
    }
  });

  it('gives every encoding to one row', () => {
    for (let i = 0; i < ALL_ROWS.length; i++) {
      for (let k = i + 1; k < ALL_ROWS.length; k++) {
        const [a, b] = [ALL_ROWS[i], ALL_ROWS[k]];
        if (((a.match ^ b.match) & a.mask & b.mask) === 0 && !SPECIAL.has(`${a.name}/${b.name}`)) expect.fail(`${a.name} and ${b.name} overlap`);
      }
    }
  });

  it('is found by lookup as by search', () => {
    const table = new InsnTable(ALL_ROWS);
    const random = randomFrom(3);
    for (let n = 0; n < 50_000; n++) {
      const r = ALL_ROWS[random() % ALL_ROWS.length];
      const insn = n & 1 ? random() | 3 : (r.match | (random() & ~r.mask)) | 0;
      const found = table.find(insn);
      if (found !== (ALL_ROWS.find((x) => (insn & x.mask) === x.match) ?? null)) expect.fail(`${insn.toString(16)}: ${found?.name ?? 'nothing'}`);
    }
  });
});

describe('compressed instructions', () => {
  const table = new InsnTable(ALL_ROWS);
  const nameOf = (c: number): string | null => (expand(c) === 0 ? null : table.find(expand(c))!.name);

  it('stand for instructions that exist', () => {
    for (let c = 0; c < 0x1_0000; c++) if ((c & 3) !== 3 && expand(c) !== 0 && table.find(expand(c)) === null) expect.fail(c.toString(16));
    for (const r of COMPRESSED) expect(r.match & ~r.mask, r.name).toBe(0);
  });

  it('are those of the specification', () => {
    // From GNU as: addi a0,sp,16; lw a2,4(a0); ld a5,8(s0); li a0,-1; lui a1,0xfffe0; addi sp,sp,-64; j .-2; beqz a0,.+8; jr ra; mv a0,a1; add a0,a0,a1; sdsp ra,56.
    const known: readonly (readonly [number, string, number])[] = [
      [0x0808, 'addi', 0x0101_0513], [0x4150, 'lw', 0x0045_2603], [0x641c, 'ld', 0x0084_3783], [0x557d, 'addi', 0xfff0_0513 | 0], [0x7139, 'addi', 0xfc01_0113 | 0],
      [0x8082, 'jalr', 0x0000_8067], [0x852e, 'add', 0x00b0_0533], [0x952e, 'add', 0x00b5_0533], [0xfc06, 'sd', 0x0211_3c23], [0xc501, 'beq', 0x0005_0463],
    ];
    for (const [c, name, insn] of known) expect([nameOf(c), expand(c)], c.toString(16)).toEqual([name, insn]);
    // Defined illegal, and reserved ones.
    for (const c of [0x0000, 0x2001, 0x6101, 0x6001, 0x8002, 0x4002, 0x6002]) expect(nameOf(c), c.toString(16)).toBeNull();
  });
});
