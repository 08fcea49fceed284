/** IR as text, one op per line. The format is stable: tests compare it. */
import { NONE, Slot } from '../state.js';
import type { IrBuilder } from './builder.js';
import { F, Fx, OPS, Op, REC } from './ops.js';

export interface PrintOptions {
  /** Name of a guest register slot; undefined = `s` and the number. */
  name?: (slot: number) => string | undefined;
  /** Name of a helper; undefined = its number. */
  helper?: (id: number) => string | undefined;
}

const BITS = [8, 16, 32, 64, 128, 256];
const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];
const FLAG_LETTERS = 'cpazso';

/** Order in which the fields DST A B C IMM are printed: branch targets show the taken one first, exits their code. */
const IN_ORDER = [0, 1, 2, 3, 4];
const IMM_FIRST = [0, 1, 2, 4, 3];
const IMM_ONLY = [4];

/** Ops whose width means something. */
function hasWidth(op: Op): boolean {
  switch (op) {
    case Op.NOP:
    case Op.EXTH:
    case Op.INSH:
    case Op.SETCC:
    case Op.GETF:
    case Op.PUTF:
    case Op.SETCF:
    case Op.SEGCHK:
    case Op.CHKALIGN:
    case Op.ZEROU:
    case Op.CALL:
    case Op.TIME:
    case Op.SETMODE:
    case Op.JMP:
    case Op.JCC:
    case Op.JMPI:
    case Op.EXIT:
      return false;
    default:
      return true;
  }
}

function constant(b: IrBuilder, slot: number): string {
  const k = slot - Slot.CONST;
  const v = (BigInt(b.consts.hi[k]!) << 32n) | BigInt(b.consts.lo[k]! >>> 0);
  return v >= -4096n && v <= 4096n ? `#${v}` : `#0x${BigInt.asUintN(64, v).toString(16)}`;
}

function slotName(b: IrBuilder, slot: number, o: PrintOptions): string {
  if (slot === NONE) return '_';
  if (slot >= Slot.CONST && slot < Slot.CONST_END) return constant(b, slot);
  if (slot >= Slot.SYMBOL && slot < Slot.SYMBOL_END) return `@0x${(b.consts.symbolValue(slot) >>> 0).toString(16)}`;
  if (slot >= Slot.TEMP && slot < Slot.TEMP_END) return `t${slot - Slot.TEMP}`;
  return o.name?.(slot) ?? `s${slot}`;
}

/** The record at index i (0 .. b.n - 1). */
export function printOp(b: IrBuilder, i: number, o: PrintOptions = {}): string {
  const B = b.buf;
  const p = i * REC;
  const w0 = B[p + F.W0]!;
  const op: Op = w0 & 0xff;
  const info = OPS[op];
  if (info === undefined) return `?? op ${op}`;
  const w = (w0 >>> 8) & 15;
  const fw = (w0 >>> 16) & 63;
  let text = info.name;
  if (info.fx & Fx.READS_CC) text += `.${CONDITIONS[(w0 >>> 12) & 15]}`;
  if (hasWidth(op)) text += `.${BITS[w] ?? `w${w}`}`;
  if (op === Op.CALL || op === Op.CALLIF || op === Op.TIME || op === Op.VOP || op === Op.FOP) text += ` ${o.helper?.(B[p + F.AUX]!) ?? `@${B[p + F.AUX]}`}`;

  const results: string[] = [];
  const operands: string[] = [];
  for (const k of op === Op.JMP ? IMM_ONLY : op === Op.JCC || op === Op.JNZ || op === Op.EXIT ? IMM_FIRST : IN_ORDER) {
    const v = B[p + F.DST + k]!;
    switch (info.form[k]) {
      case 'd':
      case 'D':
        results.push(slotName(b, v, o));
        break;
      case 's':
      case 'v':
        operands.push(slotName(b, v, o));
        break;
      case 'l':
        operands.push(String(v));
        break;
      default:
        break;
    }
  }
  while (results.length > 0 && results[results.length - 1] === '_') results.pop();
  if (operands.length > 0) text += ` ${operands.join(', ')}`;
  if (results.length > 0) text = `${results.join(', ')} = ${text}`;
  if (op === Op.JMP && B[p + F.C] === 1) text += ' call';
  if (B[p + F.AUX] === 1 && (op === Op.JMP || op === Op.JCC || op === Op.JNZ)) text += ' pending';
  if (fw !== 0) {
    let flags = '';
    for (let k = 0; k < 6; k++) if (fw & (1 << k)) flags += FLAG_LETTERS[k];
    text += ` !${flags}`;
  }
  return text;
}

/** The whole block. A line `@start:` (page offset, hexadecimal) begins each guest instruction. */
export function printIr(b: IrBuilder, o: PrintOptions = {}): string {
  const lines: string[] = [];
  let insn = -1;
  for (let i = 0; i < b.n; i++) {
    const word = b.buf[i * REC + F.INSN]!;
    if (word !== insn) {
      insn = word;
      lines.push(`@${(word & 0xffff).toString(16).padStart(3, '0')}:`);
    }
    lines.push(`  ${printOp(b, i, o)}`);
  }
  return lines.join('\n') + '\n';
}
