/** ARM64 CPU models: what --cpu may say. */
import { UsageError } from '../../../errors.js';
import { suggestion } from '../../../suggest.js';

/** What differs between the CPUs of ARM64 guests. */
export interface Arm64Model {
  /** FEAT_PAuth and FEAT_PAuth2, with an algorithm of this program's. */
  readonly pauth: boolean;
  /** FEAT_BTI. */
  readonly bti: boolean;
}

interface Named extends Arm64Model {
  readonly name: string;
  readonly summary: string;
}

export const ARM64_DEFAULT_CPU = 'armv8.2';
export const ARM64_MODELS: readonly Named[] = [
  { name: ARM64_DEFAULT_CPU, summary: 'Armv8.2-A with what stock kernels and compilers use beyond it (default)', pauth: false, bti: false },
  { name: 'max', summary: 'the same with pointer authentication and branch target identification', pauth: true, bti: true },
];
export const ARM64_SWITCHES: readonly (keyof Arm64Model)[] = ['pauth', 'bti'];
/** Features with what they mean. */
export const ARM64_FEATURES: readonly (readonly [string, string])[] = [
  ['pauth=on|off', 'pointer authentication: FEAT_PAuth, FEAT_PAuth2 (also +pauth, -pauth)'],
  ['bti=on|off', 'branch target identification: FEAT_BTI (also +bti, -bti)'],
];

/** @throws UsageError naming the option, for a model or feature that there is not. */
export function parseArm64Cpu(text: string): Arm64Model {
  const [name = '', ...features] = text.split(',');
  const model = ARM64_MODELS.find((m) => m.name === name);
  const help = "'--arch aarch64 --cpu help' lists them";
  if (model === undefined) throw new UsageError(`--cpu: aarch64 has no model '${name}'${suggestion(name, ARM64_MODELS.map((m) => m.name))}; ${help}`);
  const has = { pauth: model.pauth, bti: model.bti };
  for (const f of features) {
    const [key, value] = /^[+-]/.test(f) ? [f.slice(1), f.startsWith('+') ? 'on' : 'off'] : (f.split('=', 2) as [string, string | undefined]);
    if ((key !== 'pauth' && key !== 'bti') || value === undefined) throw new UsageError(`--cpu: aarch64 has no feature '${f}' to switch; ${help}`);
    if (value !== 'on' && value !== 'off') throw new UsageError(`--cpu: ${key}=${value} must be on or off`);
    has[key] = value === 'on';
  }
  return has;
}
