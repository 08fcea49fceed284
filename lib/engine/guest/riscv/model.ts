/** RISC-V CPU models: what --cpu may say. */
import { UsageError } from '../../../errors.js';
import { suggestion } from '../../../suggest.js';

/** What differs between the CPUs of RISC-V guests. */
export interface RiscvModel {
  /** VLEN in bits; undefined: no vectors. */
  readonly vlen: number | undefined;
}

interface Named {
  readonly name: string;
  readonly summary: string;
  readonly v: boolean;
}

export const RISCV_DEFAULT_CPU = 'rv64';
export const RISCV_MODELS: readonly Named[] = [
  { name: RISCV_DEFAULT_CPU, summary: 'RV64GC, bit manipulation, scalar cryptography (default)', v: false },
  { name: 'max', summary: 'the same with V, vectors of 128 bits', v: true },
];
/** Features with what they mean. */
export const RISCV_FEATURES: readonly (readonly [string, string])[] = [['v=on|off', 'vector extension V 1.0 (also +v, -v)'], ['vlen=128|256', 'bits of a vector register']];

/** @throws UsageError naming the option, for a model or feature that there is not. */
export function parseRiscvCpu(text: string): RiscvModel {
  const [name = '', ...features] = text.split(',');
  const model = RISCV_MODELS.find((m) => m.name === name);
  const help = "'--arch riscv64 --cpu help' lists them";
  if (model === undefined) throw new UsageError(`--cpu: riscv64 has no model '${name}'${suggestion(name, RISCV_MODELS.map((m) => m.name))}; ${help}`);
  let { v } = model;
  let vlen: number | undefined;
  for (const f of features) {
    const [key, value] = f.split('=', 2) as [string, string | undefined];
    if (f === '+v' || f === '-v') v = f === '+v';
    else if (key === 'v' && value !== undefined) {
      if (value !== 'on' && value !== 'off') throw new UsageError(`--cpu: v=${value} must be on or off`);
      v = value === 'on';
    } else if (key === 'vlen' && value !== undefined) {
      if (value !== '128' && value !== '256') throw new UsageError(`--cpu: vlen=${value} must be 128 or 256`);
      vlen = Number(value);
    } else throw new UsageError(`--cpu: riscv64 has no feature '${f}' to switch; ${help}`);
  }
  if (vlen !== undefined && !v) throw new UsageError('--cpu: vlen needs the vector extension (v=on)');
  return { vlen: v ? vlen ?? 128 : undefined };
}
