/**
 * The intermediate representation: one straight line of ops per block, ended by one terminator.
 *
 * A record is REC Int32 words:
 *   [W0]   op | w << 8 | cc << 12 | fw << 16
 *            w   width: 0 = 8, 1 = 16, 2 = 32, 3 = 64, 4 = 128, 5 = 256 bits
 *            cc  condition code (`Cc`) of ops that test flags; other literal of 4 bits otherwise
 *            fw  flags this op must produce (`Fl` mask). The lifter sets all flags that the instruction
 *                changes (undefined ones included); the dead-flag pass clears those nobody reads.
 *   [DST] [A] [B] [C]   slots (see state.ts), NONE, or literals where the table says so
 *   [IMM]  literal (int32)
 *   [INSN] page offset of the guest instruction | page offset of the next instruction << 16
 *   [AUX]  helper id of CALL, CALLIF, TIME and VOP; see JMP; free for passes otherwise
 *
 * Rules
 * - A guest register slot (< Slot.TEMP) may be read and written any number of times. A temporary is written
 *   exactly once, before it is read. Constants are slots >= Slot.CONST; symbols
 *   (Slot.SYMBOL) are constants whose value must not be looked at.
 * - 32-bit results are zero-extended to 64 bits. An 8- or 16-bit result *merges* into a guest register (the bits
 *   above are kept) and is zero-extended in a temporary. Only the low w bits of operands are looked at.
 * - Precise exceptions: an op marked `faults` may leave the block with the guest registers as they are at that
 *   point. So a lifter writes guest registers and memory only after the last op of the instruction that can fault
 *   (a store may come last before register writes).
 * - Flags are one implicit register. An op with fw = 0 leaves all of them alone. Flags not in fw keep their value.
 * - 128/256-bit operands name the first slot of a vector register or vector temporary.
 */
export const REC = 8;
export const enum F { W0 = 0, DST = 1, A = 2, B = 3, C = 4, IMM = 5, INSN = 6, AUX = 7 }

export const enum Op {
  NOP = 0,
  // moves and extensions
  MOV, SX, ZX, EXTH, INSH, LEA, SETCC, CMOV, SELNZ,
  // arithmetic and logic with flags
  ADD, SUB, ADC, SBB, AND, OR, XOR, NEG, NOT, INC, DEC,
  SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD,
  BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT, BSWAP,
  MUL, IMUL, DIV, IDIV,
  ANDN, BLSI, BLSR, BLSMSK, BEXTR, BZHI, PDEP, PEXT, ADOX, CRC32,
  // flags
  GETF, PUTF, SETCF,
  // memory
  LD, ST, LDV, STV, SEGCHK, CHKALIGN,
  // vectors that are not table driven
  MOVV, ZEROU,
  // memory in bulk
  COPY, FILL,
  // TypeScript
  CALL, CALLIF, TIME, VOP, FOP,
  // execution mode
  SETMODE,
  // terminators
  JMP, JCC, JNZ, JMPI, EXIT,
  COUNT,
}

/** What an FOP computes (its cc field). */
export const enum FloatOp {
  ADD = 0, SUB, MUL, DIV, SQRT,
  /** a * b + c, a * b - c, -(a * b) + c, -(a * b) - c, rounded once. */
  MADD, MSUB, NMSUB, NMADD,
  /** From the other precision. */
  CONVERT,
  FROM_I64,
  /** Towards zero to a signed integer, saturating. */
  TRUNC_I64, TRUNC_I32,
  EQ, LT, LE,
}

/** Effects of an op, as bits. */
export const enum Fx {
  NONE = 0,
  /** May raise a guest exception or leave to TypeScript: all flags and guest registers must be exact here. */
  FAULTS = 1,
  /** Has an effect other than its results: never removed. */
  EFFECT = 2,
  /** Ends the block. */
  TERM = 4,
  /** Reads the flags of condition cc. */
  READS_CC = 8,
  /** Reads CF. */
  READS_CF = 16,
  /** Reads all flags. */
  READS_ALL = 32,
  /** If the masked count (operand b or c) is 0, no flag changes: reads every flag it writes. */
  COUNT_FLAGS = 64,
  /** DST is a vector operand. */
  VDST = 128,
  /** A second result goes to the slot in field C (MUL, IMUL) or IMM (DIV, IDIV); it may be NONE. */
  DST2 = 256,
}

export interface OpInfo {
  readonly name: string;
  /** Operand kinds: d = destination slot, s = source slot, v = vector source, D = second destination, l = literal, - = unused. Order: DST A B C IMM. */
  readonly form: string;
  readonly fx: number;
  readonly doc: string;
}

const info = (name: string, form: string, fx: number, doc: string): OpInfo => ({ name, form, fx, doc });

/** The one description of every op, indexed by `Op`. */
export const OPS: readonly OpInfo[] = (() => {
  const t: OpInfo[] = [];
  t[Op.NOP] = info('nop', '-----', Fx.NONE, 'nothing');
  t[Op.MOV] = info('mov', 'ds---', Fx.NONE, 'dst = a');
  t[Op.SX] = info('sx', 'ds--l', Fx.NONE, 'dst = a sign-extended from w to imm bits (16, 32, 64); then as any result of imm bits');
  t[Op.ZX] = info('zx', 'ds---', Fx.NONE, 'dst = a zero-extended from w to 64 bits (also into a guest register)');
  t[Op.EXTH] = info('exth', 'ds---', Fx.NONE, 'dst = bits 8..15 of a, zero-extended to 64 bits');
  t[Op.INSH] = info('insh', 'ds---', Fx.NONE, 'bits 8..15 of dst = low byte of a; other bits kept');
  t[Op.LEA] = info('lea', 'dssll', Fx.NONE, 'dst = (a + (b << c) + imm) truncated to w (1: 16 bits, 2, 3) and zero-extended to 64; a, b may be NONE; dst is a temporary or w >= 2');
  t[Op.SETCC] = info('setcc', 'd----', Fx.READS_CC, 'dst = cc ? 1 : 0, an 8-bit result');
  t[Op.CMOV] = info('cmov', 'dss--', Fx.READS_CC, 'dst = cc ? a : b, a result of width w');
  t[Op.SELNZ] = info('selnz', 'dsss-', Fx.NONE, 'dst = (low w bits of a) != 0 ? b : c, all 64 bits of b or c');
  t[Op.ADD] = info('add', 'dss--', Fx.NONE, 'dst = a + b; dst may be NONE');
  t[Op.SUB] = info('sub', 'dss--', Fx.NONE, 'dst = a - b; dst may be NONE (compare)');
  t[Op.ADC] = info('adc', 'dss--', Fx.READS_CF, 'dst = a + b + CF');
  t[Op.SBB] = info('sbb', 'dss--', Fx.READS_CF, 'dst = a - b - CF');
  t[Op.AND] = info('and', 'dss--', Fx.NONE, 'dst = a & b; dst may be NONE (test); CF = OF = AF = 0');
  t[Op.OR] = info('or', 'dss--', Fx.NONE, 'dst = a | b; CF = OF = AF = 0');
  t[Op.XOR] = info('xor', 'dss--', Fx.NONE, 'dst = a ^ b; CF = OF = AF = 0');
  t[Op.NEG] = info('neg', 'ds---', Fx.NONE, 'dst = -a; CF = a != 0');
  t[Op.NOT] = info('not', 'ds---', Fx.NONE, 'dst = ~a; no flags');
  t[Op.INC] = info('inc', 'ds---', Fx.NONE, 'dst = a + 1; CF never in fw');
  t[Op.DEC] = info('dec', 'ds---', Fx.NONE, 'dst = a - 1; CF never in fw');
  t[Op.SHL] = info('shl', 'dss--', Fx.COUNT_FLAGS, 'dst = a << n, n = b masked to 5 bits (6 for w=3)');
  t[Op.SHR] = info('shr', 'dss--', Fx.COUNT_FLAGS, 'dst = a >>> n');
  t[Op.SAR] = info('sar', 'dss--', Fx.COUNT_FLAGS, 'dst = a >> n');
  t[Op.ROL] = info('rol', 'dss--', Fx.COUNT_FLAGS, 'rotate left; fw within CF|OF');
  t[Op.ROR] = info('ror', 'dss--', Fx.COUNT_FLAGS, 'rotate right; fw within CF|OF');
  t[Op.RCL] = info('rcl', 'dss--', Fx.COUNT_FLAGS | Fx.READS_CF, 'rotate left through CF; fw within CF|OF');
  t[Op.RCR] = info('rcr', 'dss--', Fx.COUNT_FLAGS | Fx.READS_CF, 'rotate right through CF; fw within CF|OF');
  t[Op.SHLD] = info('shld', 'dsss-', Fx.COUNT_FLAGS, 'dst = a << n filled from the top of b, n = c masked to 5 bits (6 for w=3)');
  t[Op.SHRD] = info('shrd', 'dsss-', Fx.COUNT_FLAGS, 'dst = a >>> n filled from the bottom of b');
  t[Op.BT] = info('bt', '-ss--', Fx.NONE, 'CF = bit (b mod width) of a; fw = CF');
  t[Op.BTS] = info('bts', 'dss--', Fx.NONE, 'CF as BT; dst = a with that bit set');
  t[Op.BTR] = info('btr', 'dss--', Fx.NONE, 'CF as BT; dst = a with that bit cleared');
  t[Op.BTC] = info('btc', 'dss--', Fx.NONE, 'CF as BT; dst = a with that bit inverted');
  t[Op.BSF] = info('bsf', 'dss--', Fx.NONE, 'dst = index of lowest set bit of a, or b if a = 0; ZF = (a = 0)');
  t[Op.BSR] = info('bsr', 'dss--', Fx.NONE, 'dst = index of highest set bit of a, or b if a = 0; ZF = (a = 0)');
  t[Op.TZCNT] = info('tzcnt', 'ds---', Fx.NONE, 'trailing zeros, width if a = 0; CF = (a = 0), ZF = (result = 0)');
  t[Op.LZCNT] = info('lzcnt', 'ds---', Fx.NONE, 'leading zeros, width if a = 0; CF = (a = 0), ZF = (result = 0)');
  t[Op.POPCNT] = info('popcnt', 'ds---', Fx.NONE, 'number of set bits; ZF = (a = 0), other flags 0');
  t[Op.BSWAP] = info('bswap', 'ds---', Fx.NONE, 'bytes reversed, w = 1 (16-bit swap), 2 or 3');
  t[Op.MUL] = info('mul', 'dssD-', Fx.DST2, 'unsigned a * b: low half to dst, high half to c (either may be NONE); CF = OF = high half != 0');
  t[Op.IMUL] = info('imul', 'dssD-', Fx.DST2, 'signed a * b: low half to dst, high half to c (may be NONE); CF = OF = product does not fit in w bits signed');
  t[Op.DIV] = info('div', 'dsssD', Fx.FAULTS | Fx.DST2, 'unsigned (b:a) / c: quotient to dst, remainder to slot imm; divide error if c = 0 or the quotient does not fit');
  t[Op.IDIV] = info('idiv', 'dsssD', Fx.FAULTS | Fx.DST2, 'signed (b:a) / c, as DIV');
  t[Op.ANDN] = info('andn', 'dss--', Fx.NONE, 'dst = ~a & b; SF ZF from result, CF = OF = 0');
  t[Op.BLSI] = info('blsi', 'ds---', Fx.NONE, 'dst = a & -a; CF = a != 0');
  t[Op.BLSR] = info('blsr', 'ds---', Fx.NONE, 'dst = a & (a - 1); CF = a == 0');
  t[Op.BLSMSK] = info('blsmsk', 'ds---', Fx.NONE, 'dst = a ^ (a - 1); CF = a == 0');
  t[Op.BEXTR] = info('bextr', 'dss--', Fx.NONE, 'bit field of a: start = b[7:0], length = b[15:8]');
  t[Op.BZHI] = info('bzhi', 'dss--', Fx.NONE, 'dst = a with bits from index b[7:0] upwards cleared; CF = index >= width');
  t[Op.PDEP] = info('pdep', 'dss--', Fx.NONE, 'deposit low bits of a at the positions set in b; no flags');
  t[Op.PEXT] = info('pext', 'dss--', Fx.NONE, 'gather the bits of a at the positions set in b; no flags');
  t[Op.ADOX] = info('adox', 'dss--', Fx.READS_ALL, 'dst = a + b + OF; fw = OF (ADCX is ADC with fw = CF)');
  t[Op.CRC32] = info('crc32', 'dss--', Fx.NONE, 'dst = CRC-32C of a (32-bit accumulator) and the low w bits of b; a 32-bit result');
  t[Op.GETF] = info('getf', 'd----', Fx.READS_ALL, 'dst = the six flags at their EFLAGS positions, other bits 0 (32-bit result)');
  t[Op.PUTF] = info('putf', '-s---', Fx.EFFECT, 'flags in fw = a, at EFLAGS positions');
  t[Op.SETCF] = info('setcf', '----l', Fx.EFFECT | Fx.READS_CF, 'CF = imm 0, 1, or inverted (2); fw = CF');
  t[Op.LD] = info('ld', 'ds-l-', Fx.FAULTS, 'dst = w bits at linear address a; c = Access flags; w = 0..3');
  t[Op.ST] = info('st', '-ssl-', Fx.FAULTS | Fx.EFFECT, 'w bits at linear address a = b; c = Access flags; w = 0..3');
  t[Op.LDV] = info('ldv', 'ds-l-', Fx.FAULTS | Fx.VDST, 'vector dst = w bits at a (w = 1..5), zero-extended to 128 bits (256 for w = 5; bits 128..255 kept for w < 5)');
  t[Op.STV] = info('stv', '-svl-', Fx.FAULTS | Fx.EFFECT, 'w bits at linear address a = low w bits of vector b (w = 1..5)');
  t[Op.SEGCHK] = info('segchk', '-slll', Fx.FAULTS | Fx.EFFECT, 'check that an access of imm bytes at offset a (segment b literal, c = 1 for a write) passes limit and rights; #GP(0) or #SS(0) if not');
  t[Op.CHKALIGN] = info('chkalign', '-s--l', Fx.FAULTS | Fx.EFFECT, '#GP(0) if a & imm');
  t[Op.MOVV] = info('movv', 'dv---', Fx.VDST, 'vector dst = low w bits of a (w = 3: 64, 4: 128, 5: 256); bits above kept');
  t[Op.ZEROU] = info('zerou', 'd----', Fx.VDST, 'clear bits 128..255 of vector dst');
  t[Op.CALL] = info('call', 'dsssl', Fx.FAULTS | Fx.EFFECT | Fx.READS_ALL, 'call TypeScript helper aux with the operand slots; it may read and write any state and may raise');
  t[Op.CALLIF] = info('callif', '-ss-l', Fx.FAULTS | Fx.EFFECT | Fx.READS_ALL, 'if the low w bits of a are not 0, call helper aux with operand a = b and imm, as CALL does');
  t[Op.TIME] = info('time', 'd---l', Fx.FAULTS | Fx.EFFECT | Fx.READS_ALL, 'dst = the guest counter of the TIME slots (64 bits), or what helper aux (dst, imm) makes of it when TIME_SCALE is 0');
  t[Op.COPY] = info('copy', 'dsss-', Fx.EFFECT, 'copies up to c elements of w bits, ascending, from linear address b to a; dst = how many it did: 0 or more, as far as plain memory in the TLB goes; never faults');
  t[Op.FILL] = info('fill', 'dsss-', Fx.EFFECT, 'stores the low w bits of b to up to c elements from linear address a on; dst as for COPY');
  t[Op.SETMODE] = info('setmode', '-s-ll', Fx.EFFECT, 'the mode is imm, or the low word of slot a if there is one, the MMU index c from here on; a terminator other than EXIT must follow, JMPI if a slot gives the mode');
  t[Op.VOP] = info('vop', 'dsssl', Fx.VDST, 'table-driven vector op aux; pure but for its results and what its table entry says');
  t[Op.FOP] = info('fop', 'dsssl', Fx.EFFECT, 'scalar floating point: dst = FloatOp cc of a, b, c at width w, as helper aux does it with operand imm; rounding and sticky flags by MXCSR, NaN results canonical, single precision boxed');
  t[Op.JMP] = info('jmp', '---ll', Fx.TERM | Fx.EFFECT, 'go on at page offset imm (signed; outside 0..4095 is another page); c = 0 jump, 1 call. JMP, JCC, JNZ: aux = 1 asks for a look at PENDING whatever the direction');
  t[Op.JCC] = info('jcc', '---ll', Fx.TERM | Fx.EFFECT | Fx.READS_CC, 'cc ? page offset imm : page offset c');
  t[Op.JNZ] = info('jnz', '-s-ll', Fx.TERM | Fx.EFFECT, '(low w bits of a) != 0 ? page offset imm : page offset c');
  t[Op.JMPI] = info('jmpi', '-s-l-', Fx.TERM | Fx.EFFECT, 'go on at linear address a (64 bits); c = 0 jump, 1 call, 2 return');
  t[Op.EXIT] = info('exit', '---ll', Fx.TERM | Fx.EFFECT, 'leave to the run loop with ExitCode imm; PC = PCBASE + c, or PC as already set if c = NONE');
  return t;
})();

/** Flags read by each condition code, as a `Fl` mask, indexed by `Cc`. */
export const CC_READS: readonly number[] = [32, 32, 1, 1, 8, 8, 9, 9, 16, 16, 2, 2, 48, 48, 56, 56];
