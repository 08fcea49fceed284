/** Zfh, half precision (vol. I, chapter 25): arithmetic goes through the helper `fp`, which is exact and not fast. */
import type { LiftContext } from './lift-context.js';
import { boxed, fp, fp1, fp1Rm, fpRm, load, signInject, slow, store } from './lift-float.js';
import { M, row, type Row } from './table.js';

/** The fmt field of half precision. */
const H = 2;

const round = slow({ round: true });
const compare = slow({ toInt: true });
const toInt = slow({ toInt: true, round: true });
const fromInt = slow({ fromInt: true, round: true });

const fused = (name: string, op: number): Row => row(name, M.FP4, op | (H << 25), 'zfh', round);

export const HALF_ROWS: readonly Row[] = [
  row('flh', M.I, 0x07 | (1 << 12), 'zfh', load(1)),
  row('fsh', M.I, 0x27 | (1 << 12), 'zfh', store(1)),
  fused('fmadd.h', 0x43),
  fused('fmsub.h', 0x47),
  fused('fnmsub.h', 0x4b),
  fused('fnmadd.h', 0x4f),
  fp('fadd.h', 0x00 | H, 'zfh', round),
  fp('fsub.h', 0x04 | H, 'zfh', round),
  fp('fmul.h', 0x08 | H, 'zfh', round),
  fp('fdiv.h', 0x0c | H, 'zfh', round),
  fp1('fsqrt.h', 0x2c | H, 0, 'zfh', round),
  fp('fsgnj.h', 0x10 | H, 'zfh', signInject(1)),
  fpRm('fmin.h', 0x14 | H, 0, 'zfh', slow({})),
  fpRm('fmax.h', 0x14 | H, 1, 'zfh', slow({})),
  fpRm('fle.h', 0x50 | H, 0, 'zfh', compare),
  fpRm('flt.h', 0x50 | H, 1, 'zfh', compare),
  fpRm('feq.h', 0x50 | H, 2, 'zfh', compare),
  fp1Rm('fclass.h', 0x70 | H, 0, 1, 'zfh', compare),
  ...['w', 'wu', 'l', 'lu'].flatMap((t, n) => [fp1(`fcvt.${t}.h`, 0x60 | H, n, 'zfh', toInt), fp1(`fcvt.h.${t}`, 0x68 | H, n, 'zfh', fromInt)]),
  // The second register field says what is converted.
  fp1('fcvt.s.h', 0x20, 2, 'zfh', round),
  fp1('fcvt.d.h', 0x21, 2, 'zfh', round),
  fp1('fcvt.h.s', 0x22, 0, 'zfh', round),
  fp1('fcvt.h.d', 0x22, 1, 'zfh', round),
  fp1Rm('fmv.x.h', 0x70 | H, 0, 0, 'zfh', (c: LiftContext) => {
    if (c.fpReady(false)) c.b.sx(1, 64, c.rd, c.frs1);
  }),
  fp1Rm('fmv.h.x', 0x78 | H, 0, 0, 'zfh', (c: LiftContext) => {
    if (!c.fpReady(true)) return;
    const t = c.b.temp();
    c.b.zx(1, t, c.rs1);
    boxed(c, 1, c.frd, t);
  }),
];
