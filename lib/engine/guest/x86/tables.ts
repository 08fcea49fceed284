/** All opcode tables together, and the dense lookup the decoder uses. */
import { ALU_ROWS } from './lift-alu.js';
import { BITS_ROWS } from './lift-bits.js';
import { FLOW_ROWS } from './lift-flow.js';
import { MOVE_ROWS } from './lift-move.js';
import { STRING_ROWS } from './lift-string.js';
import { SYSTEM_ROWS } from './lift-system.js';
import { OpcodeTable, type Row } from './opcodes.js';
import { VECTOR_ROWS } from './vector/table.js';
import { X87_ROWS } from './x87/table.js';

/** Integer, control-flow, string and system instructions. */
export const INTEGER_ROWS: readonly Row[] = [
  ...ALU_ROWS, ...BITS_ROWS, ...MOVE_ROWS, ...FLOW_ROWS, ...STRING_ROWS, ...SYSTEM_ROWS,
];

export const ALL_ROWS: readonly Row[] = [...INTEGER_ROWS, ...X87_ROWS, ...VECTOR_ROWS];

let table: OpcodeTable | undefined;

/** @returns the lookup over all rows, built on first use. @throws if two rows claim one encoding. */
export function opcodeTable(): OpcodeTable {
  table ??= new OpcodeTable(ALL_ROWS);
  return table;
}
