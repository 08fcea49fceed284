/** RISC-V CPU models: what --cpu may say. */
import { UsageError } from '../../../errors.js';
import { suggestion } from '../../../suggest.js';
import type { Ext } from './table.js';

/** Extensions that CPU models may lack. */
export type OptionalExt = Extract<Ext, 'v' | 'zfh'>;
export const OPTIONAL: readonly OptionalExt[] = ['v', 'zfh'];

/** What differs between the CPUs of RISC-V guests. */
export interface RiscvModel {
  readonly optional: readonly OptionalExt[];
  /** VLEN in bits; undefined: no vectors. */
  readonly vlen: number | undefined;
}

interface Named {
  readonly name: string;
  readonly summary: string;
  readonly optional: readonly OptionalExt[];
}

export const RISCV_DEFAULT_CPU = 'rv64';
export const RISCV_MODELS: readonly Named[] = [
  { name: RISCV_DEFAULT_CPU, summary: 'RV64GC, bit manipulation, scalar cryptography (default)', optional: [] },
  { name: 'max', summary: 'the same with V, vectors of 128 bits, and Zfh', optional: OPTIONAL },
];
/** Features with what they mean. */
export const RISCV_FEATURES: readonly (readonly [string, string])[] = [
  ['v=on|off', 'vector extension V 1.0 (also +v, -v)'], ['vlen=128|256', 'bits of a vector register'], ['zfh=on|off', 'half-precision floating point (also +zfh, -zfh)'],
];

/** @throws UsageError naming the option, for a model or feature that there is not. */
export function parseRiscvCpu(text: string): RiscvModel {
  const [name = '', ...features] = text.split(',');
  const model = RISCV_MODELS.find((m) => m.name === name);
  const help = "'--arch riscv64 --cpu help' lists them";
  if (model === undefined) throw new UsageError(`--cpu: riscv64 has no model '${name}'${suggestion(name, RISCV_MODELS.map((m) => m.name))}; ${help}`);
  const on = new Set(model.optional);
  let vlen: number | undefined;
  for (const f of features) {
    const [key = '', value] = f.split('=', 2);
    const signed = /^[+-]/.test(f);
    const ext = OPTIONAL.find((e) => e === (signed ? f.slice(1) : key));
    if (ext !== undefined && (signed || value !== undefined)) {
      if (!signed && value !== 'on' && value !== 'off') throw new UsageError(`--cpu: ${f} must be on or off`);
      if (signed ? f.startsWith('+') : value === 'on') on.add(ext);
      else on.delete(ext);
    } else if (key === 'vlen' && value !== undefined) {
      if (value !== '128' && value !== '256') throw new UsageError(`--cpu: vlen=${value} must be 128 or 256`);
      vlen = Number(value);
    } else throw new UsageError(`--cpu: riscv64 has no feature '${f}' to switch; ${help}`);
  }
  if (vlen !== undefined && !on.has('v')) throw new UsageError('--cpu: vlen needs the vector extension (v=on)');
  return { optional: OPTIONAL.filter((e) => on.has(e)), vlen: on.has('v') ? vlen ?? 128 : undefined };
}
