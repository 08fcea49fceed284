/** The instructions of the vector extension: calls of the helper `vector`, told where the scalars are. */
import type { LiftContext } from './lift-context.js';
import { freg } from './defs.js';
import { NONE } from '../../state.js';
import { M, row, type Row } from './table.js';

type H = (c: LiftContext) => void;

/** Operands: rd (of results that are scalars), rs1, rs2. */
const call = (rd: 'none' | 'x' | 'f', rs1: 'none' | 'x' | 'f', rs2: boolean): H => (c) => {
  const a = rs1 === 'x' ? c.rs1 : rs1 === 'f' ? freg(c.rs1Num) : NONE;
  const dst = rd === 'x' ? c.rd : rd === 'f' ? c.frd : NONE;
  c.call('vector', dst, a, rs2 ? c.rs2 : NONE, NONE, c.insn);
};

const OP_V = 0x57;
/** funct6 of VMV.X.S and VFMV.F.S and their relatives. */
const UNARY0 = 0x10 << 26;
/** By width: 8, 16, 32 and 64 bits. */
const WIDTHS: readonly number[] = [0, 5, 6, 7];

const memory = (name: string, op: number): Row[] => WIDTHS.map((w, i) => row(`${name}${8 << i}`, M.I, op | (w << 12), 'v', call('none', 'x', true)));
const arithmetic = (name: string, funct3: number, rs1: 'none' | 'x' | 'f'): Row => row(name, M.I, OP_V | (funct3 << 12), 'v', call('none', rs1, false));

export const VECTOR_ROWS: readonly Row[] = [
  ...memory('vl', 0x07),
  ...memory('vs', 0x27),
  row('opfvv.f', 0xfc00_707f, OP_V | (1 << 12) | UNARY0, 'v', call('f', 'none', false)),
  row('opmvv.x', 0xfc00_707f, OP_V | (2 << 12) | UNARY0, 'v', call('x', 'none', false)),
  arithmetic('opivv', 0, 'none'),
  arithmetic('opfvv', 1, 'none'),
  arithmetic('opmvv', 2, 'none'),
  arithmetic('opivi', 3, 'none'),
  arithmetic('opivx', 4, 'x'),
  arithmetic('opfvf', 5, 'f'),
  arithmetic('opmvx', 6, 'x'),
  row('vsetvl', M.I, OP_V | (7 << 12), 'v', call('x', 'x', true)),
];
