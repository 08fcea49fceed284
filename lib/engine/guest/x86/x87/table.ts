/**
 * The x87 opcodes D8..DF as data: which encoding is which mnemonic, and what form its operands have. The lifter and any
 * native emission work from this table. Intel SDM vol. 2, appendix A.5 (escape opcodes).
 */
import { NONE } from '../../../state.js';
import { H } from '../helper-names.js';
import { Mode } from '../mode.js';
import { FpuKind } from '../lift-context.js';
import type { LiftContext } from '../lift-context.js';
import { Mod, P, row } from '../opcodes.js';
import type { Row } from '../opcodes.js';
import { liftX87 } from './lift-x87.js';

/** Where an instruction's operands are. */
export const enum Operand {
  /** Only the register stack; imm = variant | ST index if `rm` is free. */
  STACK = 0,
  /** Memory source of 16, 32, 64 or 80 bits: the helper loads. FLDCW: loaded before the helper runs. */
  LOAD,
  /** Memory destination: the helper stores. */
  STORE,
  /** The helper returns 16 bits for memory, or for AX. */
  STORE16,
  TO_AX,
  /** Environment or state image: the helper does all accesses. `bytes` is the 16-bit, 32-bit size. */
  IMAGE_LOAD,
  IMAGE_STORE,
}

export interface X87Form {
  readonly opcode: number;
  readonly digit: number;
  /** ModRM.rm, or -1: any register ST(i), or memory. */
  readonly rm: number;
  readonly helper: string;
  readonly operand: Operand;
  /** Memory operand bytes. */
  readonly bytes: number;
  /** Variant in the low byte of imm. */
  readonly imm: number;
  /** CPUID feature. */
  readonly feature: string;
  /** Does not record FOP/FIP/FDP (control instructions). */
  readonly control: boolean;
}

/** Index = `arg` of the row. */
export const X87_FORMS: readonly X87Form[] = (() => {
  const t: X87Form[] = [];
  const def = (opcode: number, digit: number, rm: number, helper: string, operand: Operand, bytes = 0, imm = 0, o: { feature?: string; control?: boolean } = {}): void => {
    t.push({ opcode, digit, rm, helper: helper.startsWith('x8') ? helper : `x87.${helper}`, operand, bytes, imm, feature: o.feature ?? 'fpu', control: o.control ?? false });
  };
  /** Register form with ST(i). */
  const reg = (opcode: number, digit: number, helper: string, imm = 0, feature = 'fpu'): void => def(opcode, digit, -1, helper, Operand.STACK, 0, imm, { feature });
  /** Register form without an index. */
  const one = (opcode: number, digit: number, rm: number, helper: string, imm = 0): void => def(opcode, digit, rm, helper, Operand.STACK, 0, imm);
  const load = (opcode: number, digit: number, helper: string, bytes: number, imm = 0): void => def(opcode, digit, -1, helper, Operand.LOAD, bytes, imm);
  const store = (opcode: number, digit: number, helper: string, bytes: number, feature = 'fpu'): void => def(opcode, digit, -1, helper, Operand.STORE, bytes, 0, { feature });

  // Arithmetic: Form.TO_STI = 8, POP = 16, POP2 = 32.
  const digits: readonly (readonly [number, string])[] = [[0, 'fadd'], [1, 'fmul'], [4, 'fsub'], [5, 'fsubr'], [6, 'fdiv'], [7, 'fdivr']];
  const sources: readonly (readonly [number, string, number])[] = [[0xd8, 'f32', 4], [0xda, 'i32', 4], [0xdc, 'f64', 8], [0xde, 'i16', 2]];
  for (const [d, name] of digits) {
    for (const [opcode, f, bytes] of sources) load(opcode, d, `${name}.${f}`, bytes);
    reg(0xd8, d, `${name}.st`);
    reg(0xdc, d, `${name}.st`, 8);
    reg(0xde, d, `${name}.st`, 8 | 16);
  }
  for (const [opcode, f, bytes] of sources) {
    load(opcode, 2, `fcom.${f}`, bytes);
    load(opcode, 3, `fcom.${f}`, bytes, 16);
  }
  for (const opcode of [0xd8, 0xdc]) {
    reg(opcode, 2, 'fcom.st');
    reg(opcode, 3, 'fcom.st', 16);
  }
  reg(0xde, 2, 'fcom.st', 16);
  one(0xde, 3, 1, 'fcom.st', 1 | 32);
  reg(0xdd, 4, 'fucom.st');
  reg(0xdd, 5, 'fucom.st', 16);
  one(0xda, 5, 1, 'fucom.st', 1 | 32);
  reg(0xdb, 6, 'fcomi', 0, 'cmov');
  reg(0xdb, 5, 'fucomi', 0, 'cmov');
  reg(0xdf, 6, 'fcomi', 16, 'cmov');
  reg(0xdf, 5, 'fucomi', 16, 'cmov');

  // Loads and stores
  load(0xd9, 0, 'fld.f32', 4);
  load(0xdd, 0, 'fld.f64', 8);
  load(0xdb, 5, 'fld.f80', 10);
  load(0xdf, 0, 'fild.i16', 2);
  load(0xdb, 0, 'fild.i32', 4);
  load(0xdf, 5, 'fild.i64', 8);
  load(0xdf, 4, 'fbld', 10);
  store(0xd9, 2, 'fst.f32', 4);
  store(0xd9, 3, 'fstp.f32', 4);
  store(0xdd, 2, 'fst.f64', 8);
  store(0xdd, 3, 'fstp.f64', 8);
  store(0xdb, 7, 'fstp.f80', 10);
  store(0xdf, 2, 'fist.i16', 2);
  store(0xdf, 3, 'fistp.i16', 2);
  store(0xdb, 2, 'fist.i32', 4);
  store(0xdb, 3, 'fistp.i32', 4);
  store(0xdf, 7, 'fistp.i64', 8);
  store(0xdf, 1, 'fisttp.i16', 2, 'sse3');
  store(0xdb, 1, 'fisttp.i32', 4, 'sse3');
  store(0xdd, 1, 'fisttp.i64', 8, 'sse3');
  store(0xdf, 6, 'fbstp', 10);
  reg(0xd9, 0, 'fld.st');
  reg(0xd9, 1, 'fxch');
  reg(0xdd, 1, 'fxch');
  reg(0xdf, 1, 'fxch');
  reg(0xdd, 2, 'fst.st');
  reg(0xdd, 3, 'fstp.st');
  reg(0xd9, 3, 'fstpnce');
  reg(0xdf, 2, 'fstp.st');
  reg(0xdf, 3, 'fstp.st');
  reg(0xdd, 0, 'ffree');
  reg(0xdf, 0, 'ffree', 8);
  for (let cc = 0; cc < 4; cc++) {
    reg(0xda, cc, 'fcmov', cc << 4, 'cmov');
    reg(0xdb, cc, 'fcmov', (cc << 4) | 0x40, 'cmov');
  }

  // D9 register forms
  one(0xd9, 2, 0, 'fnop');
  one(0xd9, 4, 0, 'fsign', 0);
  one(0xd9, 4, 1, 'fsign', 1);
  one(0xd9, 4, 4, 'ftst');
  one(0xd9, 4, 5, 'fxam');
  for (let k = 0; k < 7; k++) one(0xd9, 5, k, 'fldconst', k);
  const d9: readonly string[] = [
    'f2xm1', 'fyl2x', 'fptan', 'fpatan', 'fxtract', 'fprem1', 'fstep', 'fstep',
    'fprem', 'fyl2xp1', 'fsqrt', 'fsincos', 'frndint', 'fscale', 'fsin', 'fcos',
  ];
  d9.forEach((name, k) => one(0xd9, 6 + (k >> 3), k & 7, name, name === 'fstep' ? (k === 6 ? 7 : 1) : 0));

  // Control. DB E0, E1 and E4 (FNENI, FNDISI, FNSETPM of older coprocessors) do nothing, pending exceptions or not.
  const c = { control: true };
  def(0xdb, 4, 2, 'fnclex', Operand.STACK, 0, 0, c);
  def(0xdb, 4, 3, 'fninit', Operand.STACK, 0, 0, c);
  for (const rm of [0, 1, 4]) def(0xdb, 4, rm, 'fnone', Operand.STACK, 0, 0, c);
  def(0xd9, 5, -1, 'fldcw', Operand.LOAD, 2, 0, c);
  def(0xd9, 7, -1, 'fnstcw', Operand.STORE16, 2, 0, c);
  def(0xdd, 7, -1, 'fnstsw', Operand.STORE16, 2, 0, c);
  def(0xdf, 4, 0, 'fnstsw', Operand.TO_AX, 0, 0, c);
  def(0xd9, 4, -1, 'fldenv', Operand.IMAGE_LOAD, 28, 0, c);
  def(0xd9, 6, -1, 'fnstenv', Operand.IMAGE_STORE, 28, 0, c);
  def(0xdd, 4, -1, 'frstor', Operand.IMAGE_LOAD, 108, 0, c);
  def(0xdd, 6, -1, 'fnsave', Operand.IMAGE_STORE, 108, 0, c);
  return t;
})();

const handler = (c: LiftContext): void => {
  if (c.fpuReady(FpuKind.X87)) liftX87(c, X87_FORMS[c.arg]!);
};

const isMemory = (o: Operand): boolean => o !== Operand.STACK && o !== Operand.TO_AX;

const X87_ESCAPES: readonly Row[] = X87_FORMS.map((f, arg) =>
  row(0, f.opcode, f.helper.slice(4), handler, {
    digit: f.digit,
    mod: isMemory(f.operand) ? Mod.MEM : Mod.REG,
    rm: f.rm,
    feature: f.feature === 'fpu' ? '' : f.feature,
    arg,
  }),
);

/** Extended state: helper, bytes of the area that a segment check covers, whether it is written. */
const STATE_FORMS: readonly { readonly name: string; readonly bytes: number; readonly write: boolean }[] = [
  { name: 'fxsave', bytes: 512, write: true },
  { name: 'fxrstor', bytes: 512, write: false },
  { name: 'xsave', bytes: 576, write: true },
  { name: 'xrstor', bytes: 576, write: false },
  { name: 'xsaveopt', bytes: 576, write: true },
  { name: 'xrstors', bytes: 576, write: false },
  { name: 'xsavec', bytes: 576, write: true },
  { name: 'xsaves', bytes: 576, write: true },
];

const stateHandler = (c: LiftContext): void => {
  const f = STATE_FORMS[c.arg]!;
  const wide = c.insn.w !== 0 && c.code64 ? 1 : 0;
  c.b.call(c.helper(`x86.${f.name}`), NONE, c.ea(f.bytes, f.write), NONE, NONE, wide);
};

/** opcode, digit, index in STATE_FORMS, feature */
const STATE_OPCODES: readonly (readonly [number, number, number, string])[] = [
  [0xae, 0, 0, 'fxsr'], [0xae, 1, 1, 'fxsr'], [0xae, 4, 2, 'xsave'], [0xae, 5, 3, 'xsave'], [0xae, 6, 4, 'xsaveopt'],
  [0xc7, 3, 5, 'xsaves'], [0xc7, 4, 6, 'xsavec'], [0xc7, 5, 7, 'xsaves'],
];

/** Rows for the opcode tables: D8..DF, WAIT, and 0F AE / 0F C7 of the extended state. */
export const X87_ROWS: readonly Row[] = [
  ...X87_ESCAPES,
  // With every exception masked none is pending.
  row(0, 0x9b, 'fwait', (c) => {
    if ((c.mode & (Mode.FPU_TRAP | Mode.FP_UNMASKED)) !== 0) c.call(H.FWAIT);
  }),
  ...STATE_OPCODES.map(([opcode, digit, arg, feature]) =>
    row(1, opcode, STATE_FORMS[arg]!.name, stateHandler, { p: P.NP, digit, mod: Mod.MEM, feature, arg })),
];
