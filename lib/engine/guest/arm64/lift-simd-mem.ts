/** Loads and stores of SIMD and FP registers (Arm ARM, C4.1.88). */
import { Op } from '../../ir/ops.js';
import { NONE } from '../../state.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { registerOffset } from './lift-mem.js';
import { broadcast, clearUpper, getElement, setElement } from './lift-simd.js';
import { row, type Row } from './table.js';

/** Log2 of the access size: size | opc[1] << 2; -1 if reserved. */
function accessSize(c: LiftContext): number {
  const size = c.i >>> 30;
  if (c.bits(23, 1) === 0) return size;
  return size === 0 ? 4 : -1;
}

function access(c: LiftContext, s: number, addr: number): void {
  const ir = c.b;
  const v = c.v(c.rd);
  if (c.bits(22, 1) === 0) {
    if (s === 0) ir.st(0, addr, v);
    else ir.stv(s, addr, v);
  } else loadV(c, s, v, addr);
}

function loadV(c: LiftContext, s: number, v: number, addr: number): void {
  const ir = c.b;
  if (s === 0) {
    const t = ir.temp();
    ir.ld(0, t, addr);
    ir.mov(3, v, t);
    clearUpper(c, v);
  } else ir.ldv(s, v, addr);
}

function unsignedOffset(c: LiftContext): void {
  const s = accessSize(c);
  if (s < 0) return c.undefined();
  if (!c.fp()) return;
  access(c, s, c.add(c.xsp(c.rn), c.bits(10, 12) << s));
}

function unscaled(c: LiftContext): void {
  const s = accessSize(c);
  if (s < 0) return c.undefined();
  if (!c.fp()) return;
  access(c, s, c.add(c.xsp(c.rn), c.sbits(12, 9)));
}

/** arg 1: pre-indexed. */
function indexed(c: LiftContext): void {
  const s = accessSize(c);
  if (s < 0) return c.undefined();
  if (!c.fp()) return;
  const n = c.xsp(c.rn);
  const imm = c.sbits(12, 9);
  access(c, s, c.arg === 1 ? c.add(n, imm) : n);
  c.lea(3, n, n, imm);
}

function register(c: LiftContext): void {
  const s = accessSize(c);
  if (s < 0 || (c.bits(13, 3) & 2) === 0) return c.undefined();
  if (!c.fp()) return;
  access(c, s, registerOffset(c, s));
}

function literal(c: LiftContext): void {
  const opc = c.i >>> 30;
  if (opc === 3) return c.undefined();
  if (!c.fp()) return;
  const addr = c.temp();
  c.pcRel(addr, c.sbits(5, 19) << 2);
  loadV(c, 2 + opc, c.v(c.rd), addr);
}

/** arg as in lift-mem.ts: 0 no-allocate, 1 post-indexed, 2 offset, 3 pre-indexed. */
function pair(c: LiftContext): void {
  const opc = c.i >>> 30;
  const isLoad = c.bits(22, 1) !== 0;
  if (opc === 3 || (isLoad && c.rd === c.ra)) return c.undefined();
  if (!c.fp()) return;
  const ir = c.b;
  const s = 2 + opc;
  const imm = c.sbits(15, 7) << s;
  const n = c.xsp(c.rn);
  const addr = c.arg === 1 ? n : c.add(n, imm);
  const addr2 = c.add(addr, 1 << s);
  const [v1, v2] = [c.v(c.rd), c.v(c.ra)];
  if (isLoad) {
    const t = ir.vtemp();
    ir.ldv(s, t, addr);
    ir.ldv(s, v2, addr2);
    ir.emit(Op.MOVV, 4, 0, 0, v1, t, NONE, NONE, 0, 0);
  } else {
    ir.stv(s, addr, v1);
    ir.stv(s, addr2, v2);
  }
  if (c.arg & 1) c.lea(3, n, n, imm);
}

// ---- structures ----

/** Registers and interleave of multiple structures by opcode. */
const MULTIPLE: Readonly<Record<number, readonly [number, number]>> = {
  0b0000: [4, 4], 0b0010: [4, 1], 0b0100: [3, 3], 0b0110: [3, 1], 0b0111: [1, 1], 0b1000: [2, 2], 0b1010: [2, 1],
};

/** LD1..LD4, ST1..ST4 (multiple structures). arg 1: post-indexed. */
function multiple(c: LiftContext): void {
  const m = MULTIPLE[c.bits(12, 4)];
  const q = c.bits(30, 1);
  const es = c.bits(10, 2);
  const isLoad = c.bits(22, 1) !== 0;
  if (m === undefined || (m[1] > 1 && es === 3 && q === 0) || (c.arg === 0 && c.rm !== 0)) return c.undefined();
  if (!c.fp()) return;
  const [regs, interleave] = m;
  const ir = c.b;
  const n = c.xsp(c.rn);
  const w = 3 + q;
  if (interleave > 1) {
    c.call(isLoad ? H.LD_MULTIPLE : H.ST_MULTIPLE, NONE, n, NONE, NONE, c.rd | (es << 5) | (q << 7) | (regs << 8));
  } else if (isLoad) {
    const t: number[] = [];
    for (let k = 0; k < regs; k++) {
      const v = k === regs - 1 ? c.v((c.rd + k) & 31) : ir.vtemp();
      ir.ldv(w, v, c.add(n, k << w));
      t.push(v);
    }
    for (let k = 0; k < regs - 1; k++) ir.emit(Op.MOVV, 4, 0, 0, c.v((c.rd + k) & 31), t[k]!, NONE, NONE, 0, 0);
  } else for (let k = 0; k < regs; k++) ir.stv(w, c.add(n, k << w), c.v((c.rd + k) & 31));
  if (c.arg === 1) advance(c, n, regs << w);
}

function advance(c: LiftContext, n: number, bytes: number): void {
  if (c.rm === 31) c.lea(3, n, n, bytes);
  else c.b.lea(3, n, n, c.x(c.rm), 0, 0);
}

/** LD1..LD4, ST1..ST4 (single structure) and LD1R..LD4R. arg 1: post-indexed. */
function single(c: LiftContext): void {
  const q = c.bits(30, 1);
  const isLoad = c.bits(22, 1) !== 0;
  const opcode = c.bits(13, 3);
  const s = c.bits(12, 1);
  const size = c.bits(10, 2);
  const regs = (((opcode & 1) << 1) | c.bits(21, 1)) + 1;
  if (c.arg === 0 && c.rm !== 0) return c.undefined();
  let es = opcode >> 1;
  let index = (q << 3) | (s << 2) | size;
  let replicate = false;
  switch (es) {
    case 0:
      break;
    case 1:
      if (size & 1) return c.undefined();
      index >>= 1;
      break;
    case 2:
      if (size & 2 || (size === 1 && s !== 0)) return c.undefined();
      if (size & 1) {
        es = 3;
        index >>= 3;
      } else index >>= 2;
      break;
    default:
      if (!isLoad || s !== 0) return c.undefined();
      replicate = true;
      es = size;
  }
  if (!c.fp()) return;
  const ir = c.b;
  const n = c.xsp(c.rn);
  const loaded: number[] = [];
  for (let k = 0; k < regs; k++) {
    const addr = c.add(n, k << es);
    if (isLoad) {
      const t = ir.temp();
      ir.ld(es, t, addr);
      loaded.push(t);
    } else ir.st(es, addr, getElement(c, c.v((c.rd + k) & 31), es, index));
  }
  for (let k = 0; k < loaded.length; k++) {
    const v = c.v((c.rd + k) & 31);
    if (replicate) broadcast(c, v, es, loaded[k]!, q);
    else setElement(c, v, es, index, loaded[k]!);
  }
  if (c.arg === 1) advance(c, n, regs << es);
}

export const SIMD_MEM_ROWS: readonly Row[] = [
  row('zz 111 1 01 oo iiiiiiiiiiii nnnnn ttttt', 'ldr/str v', unsignedOffset),
  row('zz 111 1 00 oo 0 iiiiiiiii 00 nnnnn ttttt', 'ldur/stur v', unscaled),
  row('zz 111 1 00 oo 0 iiiiiiiii 01 nnnnn ttttt', 'ldr/str v post', indexed, 0),
  row('zz 111 1 00 oo 0 iiiiiiiii 11 nnnnn ttttt', 'ldr/str v pre', indexed, 1),
  row('zz 111 1 00 oo 1 mmmmm ooo s 10 nnnnn ttttt', 'ldr/str v reg', register),
  row('oo 011 1 00 iiiiiiiiiiiiiiiiiii ttttt', 'ldr v literal', literal),
  row('oo 101 1 000 l iiiiiii ttttt nnnnn ttttt', 'ldnp/stnp v', pair, 0),
  row('oo 101 1 001 l iiiiiii ttttt nnnnn ttttt', 'ldp/stp v post', pair, 1),
  row('oo 101 1 010 l iiiiiii ttttt nnnnn ttttt', 'ldp/stp v', pair, 2),
  row('oo 101 1 011 l iiiiiii ttttt nnnnn ttttt', 'ldp/stp v pre', pair, 3),
  row('0 q 0011000 l 0 mmmmm oooo zz nnnnn ttttt', 'ld/st multiple', multiple, 0),
  row('0 q 0011001 l 0 mmmmm oooo zz nnnnn ttttt', 'ld/st multiple post', multiple, 1),
  row('0 q 0011010 l r mmmmm ooo s zz nnnnn ttttt', 'ld/st single', single, 0),
  row('0 q 0011011 l r mmmmm ooo s zz nnnnn ttttt', 'ld/st single post', single, 1),
];
