/** All rows of the A64 tables. */
import { FLOW_ROWS } from './lift-flow.js';
import { FP_ROWS } from './lift-fp.js';
import { INT_ROWS } from './lift-int.js';
import { MEM_ROWS } from './lift-mem.js';
import { PAUTH_ROWS } from './lift-pauth.js';
import { SIMD_MEM_ROWS } from './lift-simd-mem.js';
import { SIMD_ROWS } from './lift-simd.js';
import { DecodeTable, type Row } from './table.js';

export const ROWS: readonly Row[] = [...INT_ROWS, ...MEM_ROWS, ...FLOW_ROWS, ...SIMD_MEM_ROWS, ...SIMD_ROWS, ...FP_ROWS, ...PAUTH_ROWS];

let table: DecodeTable | null = null;

export function decodeTable(): DecodeTable {
  return (table ??= new DecodeTable(ROWS));
}
