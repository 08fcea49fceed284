/**
 * Pointer authentication: FEAT_PAuth and FEAT_PAuth2 (Arm ARM, D8.10; C4.1). The algorithm is this program's
 * (ID_AA64ISAR1_EL1.API and GPI; docs/adr/0068). With FEAT_PAuth2 a code is XORed into the address, so that authenticating is the same
 * computation as signing, and one that fails leaves an address that is none.
 */
import { Op } from '../../ir/ops.js';
import { NONE } from '../../state.js';
import { H } from './helper-names.js';
import type { LiftContext } from './lift-context.js';
import { Key } from './pauth.js';
import { A, Mode } from './regs.js';
import { row, type Row } from './table.js';

/** 128 bits of a x b folded to 64. */
function mix(c: LiftContext, key: number, a: number, b: number): number {
  const ir = c.b;
  const [x, y, lo, hi, folded] = [ir.temp(), ir.temp(), ir.temp(), ir.temp(), ir.temp()];
  ir.alu(Op.XOR, 3, x, a, key);
  ir.alu(Op.XOR, 3, y, b, key + 1);
  ir.alu3(Op.MUL, 3, lo, x, y, hi);
  ir.alu(Op.XOR, 3, folded, lo, hi);
  return folded;
}

/** dst = the address a with a code for the modifier added (`sign`), or authenticated. Slots hold what the key's state makes of it. */
export function code(c: LiftContext, key: Key, dst: number, a: number, modifier: number, sign: boolean): void {
  const ir = c.b;
  if (sign && (c.mode & Mode.PAC_TOP) !== 0) {
    // Bit 55 takes over from bit 63.
    const [moved, differs, fix, chosen] = [ir.temp(), ir.temp(), ir.temp(), ir.temp()];
    ir.alu(Op.SHR, 3, moved, a, c.k(8));
    ir.alu(Op.XOR, 3, differs, moved, a);
    ir.alu(Op.AND, 3, fix, differs, A.PAC_FIX + key);
    ir.alu(Op.XOR, 3, chosen, a, fix);
    a = chosen;
  }
  const [upper, mask, plain, bits] = [ir.temp(), ir.temp(), ir.temp(), ir.temp()];
  ir.alu(Op.AND, 3, upper, a, ir.k64(0, 0x80_0000));
  ir.alu3(Op.SELNZ, 3, mask, upper, A.PAC_MASK + key * 2 + 1, A.PAC_MASK + key * 2);
  // What the code is made of does not depend on the bits that it takes.
  ir.alu(Op.OR, 3, plain, a, mask);
  ir.alu(Op.AND, 3, bits, mix(c, A.APIA + key * 2, plain, modifier), mask);
  ir.alu(Op.XOR, 3, dst, a, bits);
}

/** PACIA .. AUTDZB: arg = key | 4 for AUT*, 8 for a modifier of zero. */
function dataPac(c: LiftContext): void {
  if (!c.model.pauth) return c.undefined();
  code(c, c.arg & 3, c.dst(c.rd), c.x(c.rd), c.arg & 8 ? c.k(0) : c.xsp(c.rn), (c.arg & 4) === 0);
}

/** XPACI, XPACD. */
function xpac(c: LiftContext): void {
  if (!c.model.pauth) return c.undefined();
  strip(c, c.rd, c.arg);
}

function strip(c: LiftContext, r: number, data: number): void {
  const t = c.temp();
  c.call(H.XPAC, t, c.x(r), NONE, NONE, data);
  c.b.mov(3, c.dst(r), t);
}

/** PACGA: a code of 32 bits in the upper half. */
function pacga(c: LiftContext): void {
  if (!c.model.pauth) return c.undefined();
  c.b.alu(Op.AND, 3, c.dst(c.rd), mix(c, A.APGA, c.x(c.rn), c.xsp(c.rm)), c.b.k64(0, -1));
}

/** LDRAA, LDRAB: authenticates the base with a modifier of zero. */
function ldra(c: LiftContext): void {
  if (!c.model.pauth) return c.undefined();
  const ir = c.b;
  const base = ir.temp();
  code(c, Key.DA + c.arg, base, c.xsp(c.rn), c.k(0), false);
  const at = c.add(base, ((c.sbits(22, 1) << 9) | c.bits(12, 9)) * 8);
  if (c.bits(11, 1) === 0) {
    ir.ld(3, c.dst(c.rd), at);
    return;
  }
  const t = ir.temp();
  ir.ld(3, t, at);
  ir.mov(3, c.xsp(c.rn), at);
  // The same register twice is constrained unpredictable: what has been loaded stays.
  ir.mov(3, c.dst(c.rd), t);
}

/** The hints among them, by number (CRm:op2). */
export function pauthHint(c: LiftContext, n: number): void {
  if (!c.model.pauth) return;
  const x17 = A.X0 + 17;
  const key = (n >>> 1) & 1;
  const sign = (n & 4) === 0;
  if (n === 7) strip(c, 30, 0);
  else if (n < 16) code(c, key, x17, x17, A.X0 + 16, sign);
  else code(c, key, A.X30, A.X30, n & 1 ? A.SP : c.k(0), sign);
}

const NAMES = ['pacia', 'pacib', 'pacda', 'pacdb', 'autia', 'autib', 'autda', 'autdb'];
const bits = (n: number): string => n.toString(2).padStart(3, '0');

export const PAUTH_ROWS: readonly Row[] = [
  ...NAMES.map((name, k) => row(`1 1 0 11010110 00001 000 ${bits(k)} nnnnn ddddd`, name, dataPac, k)),
  ...NAMES.map((name, k) => row(`1 1 0 11010110 00001 001 ${bits(k)} 11111 ddddd`, `${name.slice(0, 4)}z${name.slice(4)}`, dataPac, k | 8)),
  row('1 1 0 11010110 00001 010000 11111 ddddd', 'xpaci', xpac, 0),
  row('1 1 0 11010110 00001 010001 11111 ddddd', 'xpacd', xpac, 1),
  row('1 0 0 11010110 mmmmm 001100 nnnnn ddddd', 'pacga', pacga),
  row('11 111 0 00 0 s 1 iiiiiiiii w 1 nnnnn ttttt', 'ldraa', ldra, 0),
  row('11 111 0 00 1 s 1 iiiiiiiii w 1 nnnnn ttttt', 'ldrab', ldra, 1),
];
