/** Loads and stores of general registers, exclusives and atomics (Arm ARM, C4.1.88). */
import { Op } from '../../ir/ops.js';
import { Access, NONE } from '../../state.js';
import type { LiftContext } from './lift-context.js';
import { A, Mode } from './regs.js';
import { row, type Row } from './table.js';

/** Kinds of single accesses by size (bits 31..30) and opc (bits 23..22): what happens to the value. */
const enum Kind { STORE, LOAD, LOAD_S64, LOAD_S32, PREFETCH, BAD }

function kindOf(size: number, opc: number): Kind {
  if (opc === 0) return Kind.STORE;
  if (opc === 1) return Kind.LOAD;
  if (size === 3) return opc === 2 ? Kind.PREFETCH : Kind.BAD;
  if (opc === 2) return Kind.LOAD_S64;
  return size === 2 ? Kind.BAD : Kind.LOAD_S32;
}

/** Loads `1 << size` bytes at `addr` to Xt as `kind` says. */
export function load(c: LiftContext, size: number, kind: Kind, rt: number, addr: number, acc: Access = Access.NORMAL): void {
  const ir = c.b;
  if (kind === Kind.LOAD) {
    if (size >= 2) {
      ir.ld(size, c.dst(rt), addr, acc);
      return;
    }
    const t = ir.temp();
    ir.ld(size, t, addr, acc);
    ir.mov(3, c.dst(rt), t);
    return;
  }
  const t = ir.temp();
  ir.ld(size, t, addr, acc);
  ir.sx(size, kind === Kind.LOAD_S64 ? 64 : 32, c.dst(rt), t);
}

/** Access flags of LDTR and STTR. */
function unprivileged(c: LiftContext): Access {
  if (!c.el1 || (c.mode & Mode.UAO) !== 0) return Access.NORMAL;
  // Linux copies to and from user space with these. The index that checks alignment has no table.
  return c.mode & Mode.ALIGN ? Access.USER : ((Access.USER | Access.TABLE0) as Access);
}

function single(c: LiftContext, addr: number, acc: Access = Access.NORMAL): boolean {
  const size = c.i >>> 30;
  const kind = kindOf(size, c.bits(22, 2));
  if (kind === Kind.BAD) {
    c.undefined();
    return false;
  }
  if (kind === Kind.PREFETCH) return true;
  if (kind === Kind.STORE) c.b.st(size, addr, c.x(c.rd), acc);
  else load(c, size, kind, c.rd, addr, acc);
  return true;
}

/** LDR, STR, unsigned offset. */
function ldrUnsigned(c: LiftContext): void {
  const size = c.i >>> 30;
  if (kindOf(size, c.bits(22, 2)) === Kind.BAD) return c.undefined();
  single(c, c.add(c.xsp(c.rn), c.bits(10, 12) << size));
}

/** LDUR, STUR, and (arg 1) LDTR, STTR. */
function ldur(c: LiftContext): void {
  const kind = kindOf(c.i >>> 30, c.bits(22, 2));
  if (kind === Kind.BAD || (c.arg === 1 && kind === Kind.PREFETCH)) return c.undefined();
  single(c, c.add(c.xsp(c.rn), c.sbits(12, 9)), c.arg === 1 ? unprivileged(c) : Access.NORMAL);
}

/** Pre- and post-indexed (arg 1 and 0). The base changes only after the access. */
function ldrIndexed(c: LiftContext): void {
  const kind = kindOf(c.i >>> 30, c.bits(22, 2));
  if (kind === Kind.BAD || kind === Kind.PREFETCH) return c.undefined();
  const n = c.xsp(c.rn);
  const imm = c.sbits(12, 9);
  const addr = c.arg === 1 ? c.add(n, imm) : n;
  // The base as it was: a load may overwrite it (constrained unpredictable: the loaded value is lost).
  single(c, addr);
  if (c.rn === c.rd && c.rn !== 31 && kind !== Kind.STORE) return;
  c.lea(3, n, n, imm);
}

/** Register offset. */
function ldrRegister(c: LiftContext): void {
  const size = c.i >>> 30;
  const option = c.bits(13, 3);
  if ((option & 2) === 0 || kindOf(size, c.bits(22, 2)) === Kind.BAD) return c.undefined();
  single(c, registerOffset(c, size));
}

/** Address [Xn|SP, Rm{, extend {#amount}}]. */
export function registerOffset(c: LiftContext, size: number): number {
  const ir = c.b;
  const option = c.bits(13, 3);
  const n = c.bits(12, 1) * size;
  const t = ir.temp();
  if (c.rm === 31) return c.xsp(c.rn);
  let m = c.x(c.rm);
  if ((option & 3) === 2) {
    m = ir.temp();
    if (option & 4) ir.sx(2, 64, m, c.x(c.rm));
    else ir.zx(2, m, c.x(c.rm));
  }
  if (n <= 3) ir.lea(3, t, c.xsp(c.rn), m, n, 0);
  else ir.lea(3, t, c.xsp(c.rn), c.shift(3, m, 0, n), 0, 0);
  return t;
}

/** LDR (literal), LDRSW, PRFM: arg = opc. */
function ldrLiteral(c: LiftContext): void {
  const opc = c.i >>> 30;
  if (opc === 3) return;
  const addr = c.temp();
  c.pcRel(addr, c.sbits(5, 19) << 2);
  load(c, opc === 1 ? 3 : 2, opc === 2 ? Kind.LOAD_S64 : Kind.LOAD, c.rd, addr);
}

/** LDP, STP, LDPSW, LDNP, STNP. arg: 0 no-allocate, 1 post-indexed, 2 offset, 3 pre-indexed. */
function pair(c: LiftContext): void {
  const opc = c.i >>> 30;
  const isLoad = c.bits(22, 1) !== 0;
  if (opc === 3 || (opc === 1 && (!isLoad || c.arg === 0))) return c.undefined();
  const ir = c.b;
  const size = opc === 2 ? 3 : 2;
  const imm = c.sbits(15, 7) << size;
  const n = c.xsp(c.rn);
  const t1 = c.rd;
  const t2 = c.ra;
  if (isLoad && t1 === t2) return c.undefined();
  const addr = c.arg === 1 ? n : c.add(n, imm);
  const addr2 = c.add(addr, 1 << size);
  if (isLoad) {
    const v1 = ir.temp();
    const v2 = ir.temp();
    ir.ld(size, v1, addr);
    ir.ld(size, v2, addr2);
    if (opc === 1) {
      ir.sx(2, 64, c.dst(t1), v1);
      ir.sx(2, 64, c.dst(t2), v2);
    } else {
      ir.mov(3, c.dst(t1), v1);
      ir.mov(3, c.dst(t2), v2);
    }
    if ((c.arg & 1) !== 0 && ((c.rn !== t1 && c.rn !== t2) || c.rn === 31)) c.lea(3, n, n, imm);
  } else {
    ir.st(size, addr, c.x(t1));
    ir.st(size, addr2, c.x(t2));
    if (c.arg & 1) c.lea(3, n, n, imm);
  }
}

// ---- exclusives and ordered accesses ----

/** LDAR, STLR, LDAPR: everything is in order anyway; they must be aligned. */
function ordered(c: LiftContext): void {
  const size = c.i >>> 30;
  const n = c.xsp(c.rn);
  align(c, n, (1 << size) - 1);
  if (c.arg === 1) load(c, size, Kind.LOAD, c.rd, n);
  else c.b.st(size, n, c.x(c.rd));
}

/** Alignment fault if n & mask. */
function align(c: LiftContext, n: number, mask: number): void {
  if (mask !== 0) c.b.emit(Op.CHKALIGN, 0, 0, 0, NONE, n, NONE, NONE, mask, 0);
}

/** LDXR, LDAXR: the address and the value are remembered, as a machine whose CPUs take turns needs no more. */
function loadExclusive(c: LiftContext): void {
  const ir = c.b;
  const size = c.i >>> 30;
  const n = c.xsp(c.rn);
  align(c, n, (1 << size) - 1);
  const t = ir.temp();
  ir.ld(size, t, n);
  ir.mov(3, A.EXCL_ADDR, n);
  ir.mov(3, A.EXCL_VAL, t);
  ir.mov(3, c.dst(c.rd), t);
}

/** STXR, STLXR: stores if address and value are those remembered; otherwise stores back what is there. */
function storeExclusive(c: LiftContext): void {
  const ir = c.b;
  const size = c.i >>> 30;
  const n = c.xsp(c.rn);
  align(c, n, (1 << size) - 1);
  const old = ir.temp();
  const x = ir.temp();
  const y = ir.temp();
  const bad = ir.temp();
  const value = ir.temp();
  ir.ld(size, old, n, Access.RMW);
  ir.alu(Op.XOR, 3, x, old, A.EXCL_VAL);
  ir.alu(Op.XOR, 3, y, n, A.EXCL_ADDR);
  ir.alu(Op.OR, 3, bad, x, y);
  ir.alu3(Op.SELNZ, 3, value, bad, old, c.x(c.rd));
  ir.st(size, n, value);
  ir.alu3(Op.SELNZ, 3, c.dst(c.rm), bad, c.k(1), c.k(0));
  ir.mov(3, A.EXCL_ADDR, c.k(-1));
}

/** LDXP, LDAXP. */
function loadExclusivePair(c: LiftContext): void {
  const ir = c.b;
  const size = 2 + c.bits(30, 1);
  const n = c.xsp(c.rn);
  align(c, n, (2 << size) - 1);
  const t = ir.temp();
  const u = ir.temp();
  ir.ld(size, t, n);
  ir.ld(size, u, c.add(n, 1 << size));
  ir.mov(3, A.EXCL_ADDR, n);
  ir.mov(3, A.EXCL_VAL, t);
  ir.mov(3, A.EXCL_VAL2, u);
  ir.mov(3, c.dst(c.rd), t);
  ir.mov(3, c.dst(c.ra), u);
}

/** STXP, STLXP. */
function storeExclusivePair(c: LiftContext): void {
  const ir = c.b;
  const size = 2 + c.bits(30, 1);
  const n = c.xsp(c.rn);
  align(c, n, (2 << size) - 1);
  const n2 = c.add(n, 1 << size);
  const old1 = ir.temp();
  const old2 = ir.temp();
  const bad = differs(c, n, n2, size, old1, old2, A.EXCL_VAL, A.EXCL_VAL2, A.EXCL_ADDR);
  storeChosen(c, n, n2, size, bad, old1, old2, c.x(c.rd), c.x(c.ra));
  ir.alu3(Op.SELNZ, 3, c.dst(c.rm), bad, c.k(1), c.k(0));
  ir.mov(3, A.EXCL_ADDR, c.k(-1));
}

/** Loads a pair for update; @returns a slot that is not zero if it differs from v1, v2 (or the address from `at`). */
function differs(c: LiftContext, n: number, n2: number, size: number, old1: number, old2: number, v1: number, v2: number, at: number): number {
  const ir = c.b;
  const x = ir.temp();
  const y = ir.temp();
  let bad = ir.temp();
  ir.ld(size, old1, n, Access.RMW);
  ir.ld(size, old2, n2, Access.RMW);
  ir.alu(Op.XOR, size, x, old1, v1);
  ir.alu(Op.XOR, size, y, old2, v2);
  ir.alu(Op.OR, 3, bad, x, y);
  if (at !== NONE) {
    const z = ir.temp();
    const both = ir.temp();
    ir.alu(Op.XOR, 3, z, n, at);
    ir.alu(Op.OR, 3, both, bad, z);
    bad = both;
  }
  return bad;
}

function storeChosen(c: LiftContext, n: number, n2: number, size: number, bad: number, old1: number, old2: number, new1: number, new2: number): void {
  const ir = c.b;
  const s1 = ir.temp();
  const s2 = ir.temp();
  ir.alu3(Op.SELNZ, 3, s1, bad, old1, new1);
  ir.alu3(Op.SELNZ, 3, s2, bad, old2, new2);
  ir.st(size, n, s1);
  ir.st(size, n2, s2);
}

/** CAS, CASA, CASL, CASAL and B, H forms. */
function cas(c: LiftContext): void {
  const ir = c.b;
  const size = c.i >>> 30;
  const n = c.xsp(c.rn);
  align(c, n, (1 << size) - 1);
  const old = ir.temp();
  const x = ir.temp();
  const value = ir.temp();
  ir.ld(size, old, n, Access.RMW);
  ir.alu(Op.XOR, size, x, old, c.x(c.rm));
  ir.alu3(Op.SELNZ, size, value, x, old, c.x(c.rd));
  ir.st(size, n, value);
  ir.mov(3, c.dst(c.rm), old);
}

/** CASP and its ordered forms. */
function casp(c: LiftContext): void {
  if ((c.rd | c.rm) & 1) return c.undefined();
  const ir = c.b;
  const size = 2 + c.bits(30, 1);
  const n = c.xsp(c.rn);
  align(c, n, (2 << size) - 1);
  const n2 = c.add(n, 1 << size);
  const old1 = ir.temp();
  const old2 = ir.temp();
  const bad = differs(c, n, n2, size, old1, old2, c.x(c.rm), c.x(c.rm + 1), NONE);
  storeChosen(c, n, n2, size, bad, old1, old2, c.x(c.rd), c.x(c.rd + 1));
  ir.mov(3, c.dst(c.rm), old1);
  ir.mov(3, c.dst(c.rm + 1), old2);
}

const enum Rmw { ADD, CLR, EOR, SET, SMAX, SMIN, UMAX, UMIN, SWP }

/** LDADD .. LDUMIN, SWP. */
function atomic(c: LiftContext): void {
  const ir = c.b;
  const size = c.i >>> 30;
  const n = c.xsp(c.rn);
  const s = c.x(c.rm);
  align(c, n, (1 << size) - 1);
  const old = ir.temp();
  let value = ir.temp();
  ir.ld(size, old, n, Access.RMW);
  switch (c.arg as Rmw) {
    case Rmw.ADD:
      ir.lea(3, value, old, s, 0, 0);
      break;
    case Rmw.CLR: {
      const t = ir.temp();
      ir.alu(Op.NOT, 3, t, s, NONE);
      ir.alu(Op.AND, 3, value, old, t);
      break;
    }
    case Rmw.EOR:
      ir.alu(Op.XOR, 3, value, old, s);
      break;
    case Rmw.SET:
      ir.alu(Op.OR, 3, value, old, s);
      break;
    case Rmw.SWP:
      value = s;
      break;
    default:
      minMax(c, size, value, old, s, c.arg);
  }
  ir.st(size, n, value);
  ir.mov(3, c.dst(c.rd), old);
}

/** value = the greater or smaller of old and s. No flags: the top bit of a difference tells, one bit wider than the operands. */
function minMax(c: LiftContext, size: number, value: number, old: number, s: number, how: Rmw): void {
  const ir = c.b;
  const signed = how === Rmw.SMAX || how === Rmw.SMIN;
  const less = ir.temp();
  if (size < 3) {
    const a = ir.temp();
    const b = ir.temp();
    const d = ir.temp();
    if (signed) {
      ir.sx(size, 64, a, old);
      ir.sx(size, 64, b, s);
    } else {
      ir.zx(size, a, old);
      ir.zx(size, b, s);
    }
    ir.alu(Op.SUB, 3, d, a, b);
    ir.alu(Op.SHR, 3, less, d, c.k(63));
  } else {
    // Hacker's Delight, 2-12: x < y without a wider type.
    const notX = ir.temp();
    const d = ir.temp();
    const p = ir.temp();
    const q = ir.temp();
    const r = ir.temp();
    const u = ir.temp();
    const [x, y] = [old, s];
    ir.alu(Op.SUB, 3, d, x, y);
    ir.alu(Op.NOT, 3, notX, x, NONE);
    if (signed) {
      // (x & ~y) | (~(x ^ y) & (x - y))
      const notY = ir.temp();
      ir.alu(Op.NOT, 3, notY, y, NONE);
      ir.alu(Op.AND, 3, p, x, notY);
      ir.alu(Op.XOR, 3, q, notX, y);
    } else {
      // (~x & y) | (~(x ^ y) & (x - y))
      ir.alu(Op.AND, 3, p, notX, y);
      ir.alu(Op.XOR, 3, q, notX, y);
    }
    ir.alu(Op.AND, 3, r, q, d);
    ir.alu(Op.OR, 3, u, p, r);
    ir.alu(Op.SHR, 3, less, u, c.k(63));
  }
  const max = how === Rmw.SMAX || how === Rmw.UMAX;
  ir.alu3(Op.SELNZ, 3, value, less, max ? s : old, max ? old : s);
}

/** Rows of the eight LSE operations. */
const RMW_ROWS: readonly Row[] = (['ldadd', 'ldclr', 'ldeor', 'ldset', 'ldsmax', 'ldsmin', 'ldumax', 'ldumin'] as const).map((name, k) =>
  row(`zz 111 0 00 ar 1 sssss 0 ${k.toString(2).padStart(3, '0')} 00 nnnnn ttttt`, name, atomic, k),
);

export const MEM_ROWS: readonly Row[] = [
  row('zz 111 0 01 oo iiiiiiiiiiii nnnnn ttttt', 'ldr/str', ldrUnsigned),
  row('zz 111 0 00 oo 0 iiiiiiiii 00 nnnnn ttttt', 'ldur/stur', ldur, 0),
  row('zz 111 0 00 oo 0 iiiiiiiii 01 nnnnn ttttt', 'ldr/str post', ldrIndexed, 0),
  row('zz 111 0 00 oo 0 iiiiiiiii 10 nnnnn ttttt', 'ldtr/sttr', ldur, 1),
  row('zz 111 0 00 oo 0 iiiiiiiii 11 nnnnn ttttt', 'ldr/str pre', ldrIndexed, 1),
  row('zz 111 0 00 oo 1 mmmmm ooo s 10 nnnnn ttttt', 'ldr/str reg', ldrRegister),
  row('oo 011 0 00 iiiiiiiiiiiiiiiiiii ttttt', 'ldr literal', ldrLiteral),
  row('oo 101 0 000 l iiiiiii ttttt nnnnn ttttt', 'ldnp/stnp', pair, 0),
  row('oo 101 0 001 l iiiiiii ttttt nnnnn ttttt', 'ldp/stp post', pair, 1),
  row('oo 101 0 010 l iiiiiii ttttt nnnnn ttttt', 'ldp/stp', pair, 2),
  row('oo 101 0 011 l iiiiiii ttttt nnnnn ttttt', 'ldp/stp pre', pair, 3),

  row('zz 001000 0 0 0 sssss o 11111 nnnnn ttttt', 'stxr', storeExclusive),
  row('zz 001000 0 1 0 sssss o 11111 nnnnn ttttt', 'ldxr', loadExclusive),
  row('1z 001000 0 0 1 sssss o uuuuu nnnnn ttttt', 'stxp', storeExclusivePair),
  row('1z 001000 0 1 1 sssss o uuuuu nnnnn ttttt', 'ldxp', loadExclusivePair),
  row('zz 001000 1 0 0 11111 1 11111 nnnnn ttttt', 'stlr', ordered, 0),
  row('zz 001000 1 1 0 11111 1 11111 nnnnn ttttt', 'ldar', ordered, 1),
  row('zz 001000 1 a 1 sssss r 11111 nnnnn ttttt', 'cas', cas),
  row('0z 001000 0 a 1 sssss r 11111 nnnnn ttttt', 'casp', casp),
  row('zz 111 0 00 10 1 11111 1 100 00 nnnnn ttttt', 'ldapr', ordered, 1),
  ...RMW_ROWS,
  row('zz 111 0 00 ar 1 sssss 1 000 00 nnnnn ttttt', 'swp', atomic, Rmw.SWP),
];

