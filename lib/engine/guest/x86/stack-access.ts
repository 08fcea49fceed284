/**
 * Which segment a memory access of 64-bit code belongs to. Segments hardly matter there, so accesses do not carry them; but
 * a non-canonical address raises #SS instead of #GP if the segment is SS (SDM vol. 3, 6.15, interrupt 12).
 */

/** Instructions that only use the stack. */
function implicit(op: number): boolean {
  return (op >= 0x50 && op <= 0x5f) || op === 0x68 || op === 0x6a || op === 0x9c || op === 0x9d || op === 0xc2 || op === 0xc3 ||
    op === 0xc8 || op === 0xc9 || op === 0xca || op === 0xcb || op === 0xcf || op === 0xe8;
}

/** One-byte opcodes with a memory operand and no ModRM: string instructions, XLAT, MOV with an offset. */
function noModrm(op: number): boolean {
  return (op >= 0xa0 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf) || (op >= 0x6c && op <= 0x6f) || op === 0xd7;
}

/**
 * @param code bytes of an instruction of 64-bit code that accessed memory
 * @param atStack the address lies next to RSP: decides for instructions with both an operand and the stack
 */
export function usesStackSegment(code: Uint8Array, atStack: boolean): boolean {
  let p = 0;
  let rex = 0;
  for (; p < 14; p++) {
    const b = code[p]!;
    if (b === 0x64 || b === 0x65) return false;
    if (b === 0x66 || b === 0x67 || b === 0xf0 || b === 0xf2 || b === 0xf3 || (b & 0xe7) === 0x26) rex = 0;
    else if ((b & 0xf0) === 0x40) rex = b;
    else break;
  }
  const op = code[p++]!;
  let baseHigh = (rex & 1) !== 0;
  if (op === 0x0f) {
    const op2 = code[p++]!;
    if (op2 === 0xa0 || op2 === 0xa1 || op2 === 0xa8 || op2 === 0xa9) return true;
    if (op2 === 0x38 || op2 === 0x3a) p++;
  } else if (op === 0xc4) {
    baseHigh = !(code[p]! & 0x20);
    p += 3;
  } else if (op === 0xc5) p += 2;
  else if (implicit(op)) return true;
  else if (noModrm(op)) return false;
  const modrm = code[p]!;
  const both = op === 0x8f || (op === 0xff && ((modrm & 0x38) === 0x10 || (modrm & 0x38) === 0x30));
  if (both && atStack) return true;
  const mod = modrm >> 6;
  if (mod === 3) return both;
  let base = modrm & 7;
  if (base === 4) base = code[p + 1]! & 7;
  else if (base === 5 && mod === 0) return false;
  return !baseHigh && (base === 4 || (base === 5 && mod !== 0));
}
