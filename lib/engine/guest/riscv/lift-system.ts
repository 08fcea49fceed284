/** Atomics, CSR access, system instructions, cache blocks. */
import { Op } from '../../ir/ops.js';
import { Access, Cc, Fl, NONE } from '../../state.js';
import { WATCHED, X } from './defs.js';
import type { LiftContext } from './lift-context.js';
import { ecall, inlineCsr, sret } from './lift-trap.js';
import { M, row, type Row } from './table.js';

type H = (c: LiftContext) => void;

/** opcode, funct3 (width), funct5 */
const amoRow = (name: string, w: number, f5: number, h: H): Row => row(`${name}.${w === 2 ? 'w' : 'd'}`, M.AMO, 0x2f | (w << 12) | (f5 << 27), 'a', h);

/** Atomics must be aligned (vol. I, 13.4: Zama16b is not there). */
const aligned = (c: LiftContext, w: number): void => c.b.emit(Op.CHKALIGN, 0, 0, 0, NONE, c.rs1, NONE, NONE, (1 << w) - 1, 0);

/** Loads w bits at rs1 for a read-modify-write, sign-extended. @returns the temporary. */
function loadForWrite(c: LiftContext, w: number): number {
  const old = c.b.temp();
  aligned(c, w);
  c.load(w, old, c.rs1, Access.RMW);
  if (w === 3) return old;
  const wide = c.b.temp();
  c.b.sx(2, 64, wide, old);
  return wide;
}

/** CPUs take turns on one thread and blocks are not interrupted in between: load, operation and store are atomic as they are. */
const amo = (w: number, compute: (c: LiftContext, old: number) => number): H => (c) => {
  const old = loadForWrite(c, w);
  c.b.st(w, c.rs1, compute(c, old));
  c.b.mov(3, c.rd, old);
};

const binary = (op: Op, w: number): H =>
  amo(w, (c, old) => {
    const t = c.b.temp();
    c.b.alu(op, 3, t, old, c.rs2);
    return t;
  });

/** cc: the condition under which the old value stays. */
const minmax = (cc: Cc, w: number): H =>
  amo(w, (c, old) => {
    const t = c.b.temp();
    c.b.alu(Op.SUB, w, NONE, old, c.rs2, cc === Cc.LE || cc === Cc.GE ? Fl.SF | Fl.OF | Fl.ZF : Fl.CF | Fl.ZF);
    c.b.cmov(cc, 3, t, old, c.rs2);
    return t;
  });

const lr = (w: number): H => (c) => {
  const t = c.b.temp();
  aligned(c, w);
  c.load(w, t, c.rs1);
  let wide = t;
  if (w === 2) {
    wide = c.b.temp();
    c.b.sx(2, 64, wide, t);
  }
  c.b.mov(3, X.RES_ADDR, c.rs1);
  c.b.mov(3, X.RES_VALUE, wide);
  c.b.mov(3, c.rd, wide);
};

/**
 * SC succeeds if the reservation is for this address and memory still has the value that LR saw. Where it fails the old value is
 * stored again, which nobody can tell from no store.
 */
const sc = (w: number): H => (c) => {
  const { b } = c;
  const old = loadForWrite(c, w);
  const [d1, d2, fail, val] = [b.temp(), b.temp(), b.temp(), b.temp()];
  b.alu(Op.XOR, 3, d1, X.RES_ADDR, c.rs1);
  b.alu(Op.XOR, 3, d2, X.RES_VALUE, old);
  b.alu(Op.OR, 3, fail, d1, d2);
  b.alu3(Op.SELNZ, 3, val, fail, old, c.rs2);
  b.st(w, c.rs1, val);
  b.mov(3, X.RES_ADDR, b.k(-1));
  b.alu3(Op.SELNZ, 3, c.rd, fail, b.k(1), b.k(0));
};

const atomics = (w: number): Row[] => [
  row(`lr.${w === 2 ? 'w' : 'd'}`, M.LR, 0x2f | (w << 12) | (2 << 27), 'a', lr(w)),
  amoRow('sc', w, 3, sc(w)),
  amoRow('amoswap', w, 1, amo(w, (c) => c.rs2)),
  amoRow('amoadd', w, 0, binary(Op.ADD, w)),
  amoRow('amoxor', w, 4, binary(Op.XOR, w)),
  amoRow('amoand', w, 12, binary(Op.AND, w)),
  amoRow('amoor', w, 8, binary(Op.OR, w)),
  amoRow('amomin', w, 16, minmax(Cc.LE, w)),
  amoRow('amomax', w, 20, minmax(Cc.GE, w)),
  amoRow('amominu', w, 24, minmax(Cc.BE, w)),
  amoRow('amomaxu', w, 28, minmax(Cc.AE, w)),
];

/** The helper reads and writes the CSR; it leaves the block if the mode changes. */
const csr: H = (c) => {
  // RDTIME.
  if ((c.insn & 0xffff_f07f) >>> 0 === 0xc010_2073 && c.rdNum !== 0) c.time('csr', c.rd, c.insn);
  else if (!inlineCsr(c)) csrCall(c);
};
const csrCall: H = (c) => c.call('csr', c.rdNum === 0 ? NONE : c.rd, c.funct3 & 4 ? c.b.k(c.rs1Num) : c.rs1, NONE, NONE, c.insn);
const system = (name: string, insn: number, h: H): Row => row(name, M.ALL, insn, 'i', h);
/** The fence of a page other than the one that the code is in goes on in the block. */
const fence: H = (c) => (c.rs1Num === 0 || (c.mode & WATCHED) !== 0 ? c.leave('sfence_vma', c.rs1, c.rs2, c.insn) : c.call('sfence_vma', NONE, c.rs1, c.rs2, NONE, c.insn));
const cbo = (name: string, op: number, ext: 'zicbom' | 'zicboz'): Row => row(name, 0xfff0_7fff, 0x200f | (op << 20), ext, (c) => c.call('cbo', NONE, c.rs1, NONE, NONE, c.insn));

export const SYSTEM_ROWS: readonly Row[] = [
  ...atomics(2),
  ...atomics(3),
  row('csrrw', M.I, 0x1073, 'i', csr),
  row('csrrs', M.I, 0x2073, 'i', csr),
  row('csrrc', M.I, 0x3073, 'i', csr),
  row('csrrwi', M.I, 0x5073, 'i', csr),
  row('csrrsi', M.I, 0x6073, 'i', csr),
  row('csrrci', M.I, 0x7073, 'i', csr),
  system('ecall', 0x0000_0073, ecall),
  system('ebreak', 0x0010_0073, (c) => c.leave('ebreak')),
  system('sret', 0x1020_0073, sret),
  system('mret', 0x3020_0073, (c) => c.leave('mret', NONE, NONE, c.insn)),
  system('wfi', 0x1050_0073, (c) => c.leave('wfi', NONE, NONE, c.insn)),
  // A FENCE by its encoding: before that row of the table.
  system('pause', 0x0100_000f, (c) => c.leave('pause')),
  row('sfence.vma', 0xfe00_7fff, 0x1200_0073, 'i', fence),
  row('sinval.vma', 0xfe00_7fff, 0x1600_0073, 'svinval', fence),
  system('sfence.w.inval', 0x1800_0073, (c) => c.leave('sfence_vma', NONE, NONE, c.insn)),
  system('sfence.inval.ir', 0x1810_0073, (c) => c.leave('sfence_vma', NONE, NONE, c.insn)),
  cbo('cbo.inval', 0, 'zicbom'),
  cbo('cbo.clean', 1, 'zicbom'),
  cbo('cbo.flush', 2, 'zicbom'),
  cbo('cbo.zero', 4, 'zicboz'),
];
