/**
 * What the manual leaves undefined, by instruction name (`Row.name`): the flags an instruction defines, leaves undefined,
 * and reads. Intel SDM vol. 1, appendix A, and the instruction pages of vol. 2.
 */
export const enum E { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800, ALL = 0x8d5 }

export interface FlagRule {
  readonly defines: number;
  readonly undef: number;
  readonly reads: number;
}

const rule = (defines: number, undef = 0, reads = 0): FlagRule => ({ defines, undef, reads });
const NONE = rule(0);

/** Shifts and rotates have rules of their own (`shiftRule`), conditions `conditionReads`. */
const RULES: ReadonlyMap<string, FlagRule> = (() => {
  const t = new Map<string, FlagRule>();
  const def = (names: string, r: FlagRule): void => {
    for (const n of names.split(' ')) t.set(n, r);
  };
  def('add sub cmp neg xadd cmpxchg cmps scas popcnt ptest vtestps vtestpd comiss comisd ucomiss ucomisd pcmpestrm pcmpestri pcmpistrm pcmpistri popf fcomi fucomi', rule(E.ALL));
  def('adc sbb', rule(E.ALL, 0, E.CF));
  def('and or xor test', rule(E.ALL & ~E.AF, E.AF));
  def('inc dec', rule(E.ALL & ~E.CF));
  def('mul imul', rule(E.CF | E.OF, E.ALL & ~(E.CF | E.OF)));
  def('div idiv', rule(0, E.ALL));
  def('bt bts btr btc', rule(E.CF, E.OF | E.SF | E.AF | E.PF));
  // With F3 this is TZCNT or LZCNT, which define CF as well; see `rulesOf`.
  def('bsf', rule(E.ZF, E.ALL & ~E.ZF));
  def('andn blsi blsr blsmsk bzhi', rule(E.CF | E.ZF | E.SF | E.OF, E.AF | E.PF));
  def('bextr', rule(E.CF | E.ZF | E.OF, E.AF | E.PF | E.SF));
  def('adcx', rule(E.CF, 0, E.CF));
  def('adox', rule(E.OF, 0, E.OF));
  def('sahf', rule(E.ALL & ~E.OF));
  def('lahf', rule(0, 0, E.ALL & ~E.OF));
  def('pushf', rule(0, 0, E.ALL));
  def('clc stc', rule(E.CF));
  def('cmc', rule(E.CF, 0, E.CF));
  def('loope loopne', rule(0, 0, E.ZF));
  def('cmpxchg8b', rule(E.ZF));
  def('fcmov', rule(0, 0, E.CF | E.ZF | E.PF));
  return t;
})();

export const TZCNT_RULE = rule(E.CF | E.ZF, E.OF | E.SF | E.AF | E.PF);

export function flagRule(name: string): FlagRule {
  return RULES.get(name) ?? NONE;
}

/** Flags that condition code cc (0..15) tests. */
export function conditionReads(cc: number): number {
  return [E.OF, E.CF, E.ZF, E.CF | E.ZF, E.SF, E.PF, E.SF | E.OF, E.ZF | E.SF | E.OF][cc >> 1]!;
}

export const SHIFTS: ReadonlySet<string> = new Set(['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sal', 'sar', 'shld', 'shrd']);

/**
 * Shift or rotate by `count` (as masked by the processor; -1 = unknown at generation time) on operands of `bits`.
 * Instruction pages SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD.
 */
export function shiftRule(name: string, bits: number, count: number): FlagRule {
  const rotate = name[0] === 'r';
  const reads = name === 'rcl' || name === 'rcr' ? E.CF : 0;
  if (count === 0) return rule(0, 0, reads);
  let undef = rotate ? 0 : E.AF;
  if (count !== 1) undef |= E.OF;
  if ((name === 'shl' || name === 'shr' || name === 'sal') && (count < 0 ? bits < 32 : count >= bits)) undef |= E.CF;
  const writes = rotate ? E.CF | E.OF : E.ALL;
  return rule(count < 0 ? 0 : writes & ~undef, undef, reads);
}

/**
 * x87 condition codes that an instruction leaves undefined (FSW positions), where processors make use of it: FFREE all, FCMOV
 * and the comparisons C1 unless the stack underflows, FPREM what is not told by a completed reduction.
 */
const C1 = 0x200;
const X87_UNDEFINED: ReadonlyMap<string, number> = new Map([
  ['ffree', 0x4700], ['fcmov', C1], ['fcomi', C1], ['fucomi', C1], ['fprem', 0x4700], ['fprem1', 0x4700],
]);
export function x87Undefined(name: string): number {
  return X87_UNDEFINED.get(name) ?? 0;
}

/**
 * x87 instructions whose values are not compared: the processors' argument reduction and last bits differ, and operands out of
 * range (F2XM1, FYL2XP1) give undefined results. Their accuracy is tested elsewhere.
 */
export const INEXACT: ReadonlySet<string> = new Set(['f2xm1', 'fyl2x', 'fyl2xp1', 'fptan', 'fpatan', 'fsin', 'fcos', 'fsincos']);
