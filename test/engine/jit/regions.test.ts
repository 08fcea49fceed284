/** Which blocks become a region. */
import { describe, expect, it } from 'vitest';
import { Block } from '#lib/engine/jit/block.js';
import { findLoop, Heat, type RegionSource } from '#lib/engine/jit/regions.js';
import { ConstPool, IrBuilder } from '#lib/engine/ir/builder.js';
import { Op } from '#lib/engine/ir/ops.js';
import { Cc, ExitCode, Fl } from '#lib/engine/state.js';

const RAM = 0x5000;
const RCX = 9;

/** Blocks of 16 bytes by page offset, each what `make` writes. */
function page(blocks: Readonly<Record<number, (b: IrBuilder) => void>>): { source: RegionSource; head: (offset: number) => Block; pool: ConstPool } {
  const pool = new ConstPool();
  const made = new Map(Object.keys(blocks).map((k) => [Number(k), new Block(RAM + Number(k), 0, 0, 16, 4)]));
  return {
    pool,
    head: (offset) => made.get(offset)!,
    source: {
      at: (offset) => made.get(offset),
      lift: (block) => {
        const b = new IrBuilder(pool);
        b.begin();
        b.insn(block.offset, block.offset + 16);
        b.alu(Op.SUB, 3, RCX, RCX, b.k(1), Fl.ALL);
        blocks[block.offset]!(b);
        return b;
      },
    },
  };
}

describe('regions', () => {
  it('take the blocks on ways back to the head, and no others', () => {
    const p = page({
      0x100: (b) => b.jcc(Cc.E, 0x200, 0x110),
      0x110: (b) => b.jcc(Cc.NE, 0x100, 0x300),
      0x200: (b) => b.jmp(0x110),
      0x300: (b) => b.exit(ExitCode.NEXT, 0x310),
    });
    const r = findLoop(p.head(0x100), p.source, new IrBuilder(p.pool))!;
    expect(r.nodes.map((n) => [n.offset, n.taken, n.next, n.leaves, n.opaque, n.loop])).toEqual([
      [0x100, 2, 1, false, false, true],
      [0x110, 0, -1, true, false, true],
      [0x200, 1, -1, false, false, false],
    ]);
    expect([r.from, r.to]).toEqual([RAM + 0x100, RAM + 0x210]);
    expect(r.nodes.map((n) => n.end - n.first)).toEqual([2, 2, 2]);
  });

  it('are not made where nothing leads back', () => {
    const p = page({ 0x100: (b) => b.jcc(Cc.E, 0x200, 0x110), 0x110: (b) => b.jmpi(RCX, 2), 0x200: (b) => b.jmp(0x300) });
    expect(findLoop(p.head(0x100), p.source, new IrBuilder(p.pool))).toBeNull();
  });

  it('do not go through calls, changes of mode and blocks that let interrupts in', () => {
    const ways: ((b: IrBuilder) => void)[] = [
      (b) => b.jmp(0x100, 1),
      (b) => {
        b.emit(Op.SETMODE, 0, 0, 0, -1, -1, -1, 0, 1, 0);
        b.jmp(0x100);
      },
      (b) => {
        b.jmp(0x100);
        b.checkPending();
      },
    ];
    for (const way of ways) {
      const p = page({ 0x100: (b) => b.jmp(0x200), 0x200: way });
      expect(findLoop(p.head(0x100), p.source, new IrBuilder(p.pool))).toBeNull();
    }
  });

  it('are made of blocks met three times, unless a long time lies between', () => {
    const heat = new Heat();
    const [hot, cold, other] = [0, 16, 32].map((offset) => new Block(RAM + offset, 0, 0, 16, 4)) as [Block, Block, Block];
    expect([heat.sample(hot), heat.sample(hot), heat.sample(hot), heat.sample(hot)]).toEqual([false, false, true, false]);
    for (let i = 0; i < 4; i++) {
      expect(heat.sample(cold)).toBe(false);
      for (let k = 0; k < 1500; k++) heat.sample(other);
    }
  });
});
