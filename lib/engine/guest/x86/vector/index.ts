/** All vector operations and helpers, and how they are registered and looked up. */
import type { HelperRegistry } from '../../../helpers.js';
import { type VW, type VectorOp, bits } from './def.js';
import { type VectorSystemCpu, defineVectorHelpers } from './helpers.js';
import { CONVERT_OPS } from './ops-convert.js';
import { CRYPTO_OPS } from './ops-crypto.js';
import { FLOAT_OPS } from './ops-float.js';
import { INT_OPS } from './ops-int.js';
import { SHUFFLE_OPS } from './ops-shuffle.js';

export type { VectorOp } from './def.js';
export { views } from './views.js';
export type { VectorCpu } from './views.js';
export type { VectorSystemCpu } from './helpers.js';

/** Every operation at every width. Rows of the opcode table name them by index. */
export const VECTOR_OPS: readonly VectorOp[] = [...INT_OPS, ...SHUFFLE_OPS, ...FLOAT_OPS, ...CONVERT_OPS, ...CRYPTO_OPS];

/** Name of the helper of an operation: v.paddb.128. */
export const helperName = (op: Pick<VectorOp, 'name' | 'w'>): string => `v.${op.name}.${bits(op.w)}`;

const index = new Map<string, number>(VECTOR_OPS.map((op, i) => [helperName(op), i]));

/** Index in VECTOR_OPS. @throws if there is no such operation. */
export function opIndex(name: string, w: VW): number {
  const i = index.get(`v.${name}.${bits(w)}`);
  if (i === undefined) throw new Error(`no vector operation ${name} of ${bits(w)} bits`);
  return i;
}
export const hasOp = (name: string, w: VW): boolean => index.has(`v.${name}.${bits(w)}`);

/** Registers everything. @returns helper ids, indexed like VECTOR_OPS. */
export function defineVectorOps(registry: HelperRegistry<VectorSystemCpu>): Int32Array {
  const ids = new Int32Array(VECTOR_OPS.length);
  VECTOR_OPS.forEach((op, i) => {
    ids[i] = registry.define(helperName(op), op.fn, {
      ...(op.fp ? { fp: true } : {}),
      ...(op.writesFlags === undefined ? {} : { writesFlags: op.writesFlags }),
      ...(op.native === undefined ? {} : { native: op.native }),
    });
  });
  defineVectorHelpers(registry);
  return ids;
}
