import { describe, expect, it } from 'vitest';
import { Fx, OPS, Op } from '#lib/engine/ir/ops.js';

describe('IR op table', () => {
  it('describes every op once', () => {
    expect(OPS.length).toBe(Op.COUNT);
    for (let i = 0; i < Op.COUNT; i++) expect(OPS[i]?.form, `op ${i}`).toHaveLength(5);
    expect(new Set(OPS.map((o) => o.name)).size).toBe(Op.COUNT);
  });
  it('has its terminators last', () => {
    for (let i = 0; i < Op.COUNT; i++) expect(!!(OPS[i]!.fx & Fx.TERM)).toBe(i >= Op.JMP);
  });
});
