/** All vector operations of ARM64 guests and their registration. */
import type { HelperRegistry } from '../../../helpers.js';
import type { Arm64Cpu } from '../cpu.js';
import { CRYPTO_OPS } from './crypto.js';
import type { SimdOp } from './def.js';
import { FP_OPS } from './fp-ops.js';
import { FP_HOST_OPS } from './fp-host.js';
import { INT_OPS } from './int.js';
import { PERMUTE_OPS } from './permute.js';
import { WIDE_OPS } from './wide.js';

export const SIMD_OPS: readonly SimdOp[] = [...INT_OPS, ...WIDE_OPS, ...PERMUTE_OPS, ...CRYPTO_OPS, ...FP_OPS, ...FP_HOST_OPS];

export function defineSimdOps(r: HelperRegistry<Arm64Cpu>): void {
  for (const op of SIMD_OPS) r.define(`v.${op.name}`, op.fn, { ...(op.fp ? { fp: true } : {}), ...(op.writesFlags === undefined ? {} : { writesFlags: op.writesFlags }), ...(op.native ? { native: op.native } : {}) });
}
