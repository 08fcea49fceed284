/**
 * x86-64 assembler: writes instruction bytes into a Uint8Array at a cursor, with integer operations only.
 *
 * Operand codes: 0..15 is a register; `mem(slot)` (16 + byte offset) is memory in the state region, addressed through
 * RBP, which holds the region's base + STATE_BIAS. Adding to a memory code moves within the region (`mem(s) + 4` is
 * the high word of slot s). Vector registers use the same numbers 0..15.
 *
 * Widths are those of the IR: 0 = 8, 1 = 16, 2 = 32, 3 = 64 bits.
 */
import { Slot, STATE_BIAS } from '../../state.js';
import { Reloc, RelocList } from './relocs.js';

export const enum R {
  RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7,
  R8 = 8, R9 = 9, R10 = 10, R11 = 11, R12 = 12, R13 = 13, R14 = 14, R15 = 15,
}

/** Numbers that the encoders use: members of an enumeration are literals in the compiled program, constants of a module are variables there. */
const enum K {
  MEM = 16,
  /** What a memory operand code less the displacement is: MEM + STATE_BIAS. */
  DISP = 144,
  /** First operand code whose slot number is handed out at run time (symbols and constants): code that names one is relocatable. */
  POOL_MEM = MEM + Slot.SYMBOL * 8,
}
if (K.DISP !== (K.MEM as number) + STATE_BIAS) throw new Error('STATE_BIAS is not what the assembler thinks');

/** First operand code that is memory in the state region. */
export const MEM = 16;

/** Operand code of a state slot. */
export function mem(slot: number): number {
  return K.MEM + slot * 8;
}

/** Operation digits of the classic two-operand group (ADD r/m, ...), as in opcodes 80/81/83. */
export const enum Alu { ADD = 0, OR = 1, ADC = 2, SBB = 3, AND = 4, SUB = 5, XOR = 6, CMP = 7 }

/** Digits of the shift group (C0/C1/D0/D1/D2/D3). */
export const enum Sh { ROL = 0, ROR = 1, RCL = 2, RCR = 3, SHL = 4, SHR = 5, SAR = 7 }

/** No index register in a memory operand. */
export const NO_INDEX = -1;

export class Asm {
  /** Cursor. */
  p = 0;
  /** Places in the code emitted since the list was last cleared that depend on where it lies or on pool slots. */
  readonly relocs = new RelocList();
  /** Code below this offset (the stubs) never moves. */
  fixedEnd = 0;

  /** The code as little-endian words: an instruction is written as one or two of them, and what they write past its end the next one overwrites. */
  readonly v: DataView;

  /** @param u8 where code goes; 8 bytes past the last instruction have to be there */
  constructor(readonly u8: Uint8Array) {
    this.v = new DataView(u8.buffer, u8.byteOffset, u8.byteLength);
  }

  b(x: number): void {
    this.u8[this.p++] = x;
  }

  d(x: number): void {
    this.v.setInt32(this.p, x, true);
    this.p += 4;
  }

  /** ModRM (and displacement) for register field `reg` and operand code `rm`. */
  modrm(reg: number, rm: number): void {
    const r = (reg & 7) << 3;
    if (rm < K.MEM) {
      this.u8[this.p++] = 0xc0 | r | (rm & 7);
      return;
    }
    this.slot(0x45 | r, 1, rm);
  }

  /** `head`: n bytes, the last of them the ModRM byte for an 8-bit displacement from RBP; then the displacement of memory operand code `rm`. */
  private slot(head: number, n: number, rm: number): void {
    const v = this.v;
    const p = this.p;
    const disp = rm - K.DISP;
    if (disp < 128) {
      v.setInt32(p, head | ((disp & 0xff) << (n * 8)), true);
      this.p = p + n + 1;
      return;
    }
    // The form with 32 bits: 0x40 becomes 0x80.
    v.setInt32(p, head + (0x40 << (n * 8 - 8)), true);
    if (rm >= K.POOL_MEM) this.relocs.add(p + n, Reloc.POOL_DISP | (((rm - K.MEM) >> 3) << Reloc.SLOT_SHIFT));
    v.setInt32(p + n, disp, true);
    this.p = p + n + 4;
  }

  /** ModRM and SIB for [base + index << scale + disp]. index may be NO_INDEX. */
  modrmMem(reg: number, base: number, index: number, scale: number, disp: number): void {
    this.address(0, 0, reg, base, index, scale, disp);
  }

  /** `head`: n <= 2 bytes; then ModRM, SIB and displacement. */
  private address(head: number, n: number, reg: number, base: number, index: number, scale: number, disp: number): void {
    const v = this.v;
    let p = this.p;
    const small = disp >= -128 && disp < 128;
    // RBP and R13 as a base have no form without a displacement.
    const mod = disp === 0 && (base & 7) !== R.RBP ? 0 : small ? 0x40 : 0x80;
    const r = mod | ((reg & 7) << 3);
    if (index >= 0) {
      v.setInt32(p, head | ((r | 4 | (((scale << 6) | ((index & 7) << 3) | (base & 7)) << 8)) << (n * 8)), true);
      p += n + 2;
    } else if ((base & 7) === R.RSP) {
      v.setInt32(p, head | ((r | 0x2404) << (n * 8)), true);
      p += n + 2;
    } else {
      v.setInt32(p, head | ((r | (base & 7)) << (n * 8)), true);
      p += n + 1;
    }
    if (mod !== 0) {
      v.setInt32(p, disp, true);
      p += mod === 0x40 ? 1 : 4;
    }
    this.p = p;
  }

  /** Prefixes, for a form whose byte variant has the opcode one below. Byte registers 4..7 need an empty REX. */
  private prefix(w: number, reg: number, rm: number, byteReg: boolean, byteRm: boolean): void {
    if (w === 1) this.b(0x66);
    const rex = (w === 3 ? 8 : 0) | ((reg & 8) >> 1) | (rm < K.MEM ? rm >> 3 : 0);
    if (rex !== 0 || (byteReg && reg >= 4 && reg < 8) || (byteRm && rm >= 4 && rm < 8)) this.b(0x40 | rex);
  }

  /** op reg, r/m (or r/m, reg): `opc` is the opcode of the 16/32/64-bit variant, the byte variant is opc - 1. */
  op(w: number, opc: number, reg: number, rm: number): void {
    const o = opc - (w === 0 ? 1 : 0);
    if (w === 1) this.b(0x66);
    const r = (reg & 7) << 3;
    const rex = (w === 3 ? 8 : 0) | ((reg & 8) >> 1);
    if (rm < K.MEM) {
      const p = this.p;
      const x = rex | (rm >> 3);
      const modrm = 0xc0 | r | (rm & 7);
      if (x !== 0 || (w === 0 && (reg >= 4 || rm >= 4))) {
        this.v.setInt32(p, 0x40 | x | (o << 8) | (modrm << 16), true);
        this.p = p + 3;
      } else {
        this.v.setInt16(p, o | (modrm << 8), true);
        this.p = p + 2;
      }
    } else if (rex !== 0 || (w === 0 && reg >= 4)) this.slot(0x40 | rex | (o << 8) | ((0x45 | r) << 16), 3, rm);
    else this.slot(o | ((0x45 | r) << 8), 2, rm);
  }

  /** The same with an opcode extension digit. */
  opd(w: number, opc: number, digit: number, rm: number): void {
    const o = opc - (w === 0 ? 1 : 0);
    if (w === 1) this.b(0x66);
    const r = digit << 3;
    if (rm < K.MEM) {
      const p = this.p;
      const x = (w === 3 ? 8 : 0) | (rm >> 3);
      const modrm = 0xc0 | r | (rm & 7);
      if (x !== 0 || (w === 0 && rm >= 4)) {
        this.v.setInt32(p, 0x40 | x | (o << 8) | (modrm << 16), true);
        this.p = p + 3;
      } else {
        this.v.setInt16(p, o | (modrm << 8), true);
        this.p = p + 2;
      }
    } else if (w === 3) this.slot(0x48 | (o << 8) | ((0x45 | r) << 16), 3, rm);
    else this.slot(o | ((0x45 | r) << 8), 2, rm);
  }

  /** Two-byte opcode 0F opc, no byte variant (CMOV, BSF, IMUL, BT, SHLD ...). */
  op0f(w: number, opc: number, reg: number, rm: number): void {
    this.prefix(w, reg, rm, false, false);
    this.b(0x0f);
    this.b(opc);
    this.modrm(reg, rm);
  }

  /** F3/F2-prefixed 0F opc (POPCNT, TZCNT, LZCNT). */
  opF3(w: number, opc: number, reg: number, rm: number): void {
    if (w === 1) this.b(0x66);
    this.b(0xf3);
    this.prefix(w === 1 ? 2 : w, reg, rm, false, false);
    this.b(0x0f);
    this.b(opc);
    this.modrm(reg, rm);
  }

  /** op with memory operand [base + index << scale + disp]. */
  opm(w: number, opc: number, reg: number, base: number, index: number, scale: number, disp: number): void {
    const o = opc - (w === 0 ? 1 : 0);
    if (w === 1) this.b(0x66);
    const rex = (w === 3 ? 8 : 0) | ((reg & 8) >> 1) | (index >= 0 ? (index & 8) >> 2 : 0) | (base >> 3);
    if (rex !== 0 || (w === 0 && reg >= 4)) this.address(0x40 | rex | (o << 8), 2, reg, base, index, scale, disp);
    else this.address(o, 1, reg, base, index, scale, disp);
  }

  private rexMem(w8: number, reg: number, base: number, index: number, force: boolean): void {
    const rex = w8 | ((reg & 8) >> 1) | (index >= 0 ? (index & 8) >> 2 : 0) | (base >> 3);
    if (rex !== 0 || force) this.b(0x40 | rex);
  }

  // ---- moves

  /** mov reg, r/m at width w (0 and 1 leave the upper bits alone). */
  load(w: number, reg: number, rm: number): void {
    this.op(w, 0x8b, reg, rm);
  }

  /** mov r/m, reg. */
  store(w: number, rm: number, reg: number): void {
    this.op(w, 0x89, reg, rm);
  }

  /** mov reg, reg of 32 or 64 bits; nothing if both are the same 64-bit register. */
  movrr(w: number, dst: number, src: number): void {
    if (w === 3 && dst === src) return;
    this.op(w === 3 ? 3 : 2, 0x8b, dst, src);
  }

  /** mov r/m, imm. For w = 3 the immediate is sign-extended. */
  movi(w: number, rm: number, imm: number): void {
    if (w >= 2 && rm < K.MEM && (w === 2 || imm >= 0)) {
      let p = this.p;
      if (rm >= 8) {
        this.v.setInt16(p, 0xb841 | ((rm & 7) << 8), true);
        p += 2;
      } else this.v.setUint8(p++, 0xb8 | rm);
      this.v.setInt32(p, imm, true);
      this.p = p + 4;
      return;
    }
    this.opd(w, 0xc7, 0, rm);
    this.immediate(w, imm);
  }

  /** mov reg, imm64 in the shortest form. */
  movi64(reg: number, lo: number, hi: number): void {
    if (hi === 0) {
      this.movi(2, reg, lo);
    } else if (hi === -1 && lo < 0) {
      this.movi(3, reg, lo);
    } else {
      this.b(0x48 | (reg >> 3));
      this.b(0xb8 | (reg & 7));
      this.d(lo);
      this.d(hi);
    }
  }

  /** The 32-bit immediate just emitted is the number of slot s. */
  noteSlot(s: number): void {
    if (s >= Slot.SYMBOL) this.relocs.add(this.p - 4, Reloc.POOL_IMM | (s << Reloc.SLOT_SHIFT));
  }

  /** The 32-bit immediate just emitted is a position in the code. */
  notePosition(): void {
    this.relocs.add(this.p - 4, Reloc.POSITION);
  }

  /** The rel32 at `pos` leads to `target`: noted if only one of them moves. */
  private noteTarget(pos: number, target: number): void {
    if (target < this.fixedEnd && pos >= this.fixedEnd) this.relocs.add(pos, Reloc.STUB);
  }

  imm16(x: number): void {
    this.v.setInt16(this.p, x, true);
    this.p += 2;
  }

  /** An immediate of an instruction of width w: 8, 16 or 32 bits. */
  private immediate(w: number, x: number): void {
    this.v.setInt32(this.p, x, true);
    this.p += w === 0 ? 1 : w === 1 ? 2 : 4;
  }

  /** movzx reg32, r/m of width w (2: plain 32-bit move, 3: 64-bit move). */
  movzx(w: number, reg: number, rm: number): void {
    if (w >= 2) {
      this.op(w, 0x8b, reg, rm);
      return;
    }
    this.prefix(2, reg, rm, false, w === 0);
    this.b(0x0f);
    this.b(w === 0 ? 0xb6 : 0xb7);
    this.modrm(reg, rm);
  }

  /** movsx reg of width wd, r/m of width w < wd. */
  movsx(w: number, wd: number, reg: number, rm: number): void {
    this.prefix(wd, reg, rm, false, w === 0);
    if (w === 2) {
      this.b(0x63);
    } else {
      this.b(0x0f);
      this.b(w === 0 ? 0xbe : 0xbf);
    }
    this.modrm(reg, rm);
  }

  /** Zero-extending load of width w from [base + index]. */
  movzxMem(w: number, reg: number, base: number, index: number): void {
    if (w >= 2) {
      this.opm(w, 0x8b, reg, base, index, 0, 0);
      return;
    }
    this.rexMem(0, reg, base, index, false);
    this.address(w === 0 ? 0xb60f : 0xb70f, 2, reg, base, index, 0, 0);
  }

  /** mov [base + index], imm. */
  moviMem(w: number, base: number, index: number, imm: number): void {
    if (w === 1) this.b(0x66);
    this.rexMem(w === 3 ? 8 : 0, 0, base, index, false);
    this.address(w === 0 ? 0xc6 : 0xc7, 1, 0, base, index, 0, 0);
    this.immediate(w, imm);
  }

  /** lea reg, [base + index << scale + disp], w = 2 or 3. base NO_INDEX: [index << scale + disp32]. */
  lea(w: number, reg: number, base: number, index: number, scale: number, disp: number): void {
    if (base >= 0) {
      this.opm(w, 0x8d, reg, base, index, scale, disp);
      return;
    }
    this.rexMem(w === 3 ? 8 : 0, reg, 0, index, false);
    this.b(0x8d);
    this.b(((reg & 7) << 3) | 4);
    this.b((scale << 6) | ((index & 7) << 3) | 5);
    this.d(disp);
  }

  // ---- arithmetic

  /** alu r/m, imm (sign-extended from 32 bits for w = 3). */
  alui(w: number, digit: number, rm: number, imm: number): void {
    if (w === 0) {
      this.opd(0, 0x81, digit, rm);
      this.b(imm);
      return;
    }
    if (w === 1) imm = (imm << 16) >> 16;
    if (imm >= -128 && imm < 128) {
      this.opd(w, 0x83, digit, rm);
      this.b(imm);
    } else {
      this.opd(w, 0x81, digit, rm);
      this.immediate(w, imm);
    }
  }

  /** alu reg, r/m. */
  alu(w: number, digit: number, reg: number, rm: number): void {
    this.op(w, (digit << 3) | 3, reg, rm);
  }

  /** alu r/m, reg. */
  aluStore(w: number, digit: number, rm: number, reg: number): void {
    this.op(w, (digit << 3) | 1, reg, rm);
  }

  /** test r/m, reg. */
  test(w: number, rm: number, reg: number): void {
    this.op(w, 0x85, reg, rm);
  }

  /** test r/m, imm. */
  testi(w: number, rm: number, imm: number): void {
    this.opd(w, 0xf7, 0, rm);
    this.immediate(w, imm);
  }

  /** Shift or rotate by a constant 1..63. */
  shi(w: number, digit: number, rm: number, n: number): void {
    if (n === 1) {
      this.opd(w, 0xd1, digit, rm);
    } else {
      this.opd(w, 0xc1, digit, rm);
      this.b(n);
    }
  }

  /** Shift or rotate by CL. */
  shcl(w: number, digit: number, rm: number): void {
    this.opd(w, 0xd3, digit, rm);
  }

  /** setcc r/m8. */
  setcc(cc: number, rm: number): void {
    this.prefix(2, 0, rm, false, true);
    this.b(0x0f);
    this.b(0x90 | cc);
    this.modrm(0, rm);
  }

  /** cmovcc reg, r/m. w = 2 or 3 (or 1). */
  cmov(cc: number, w: number, reg: number, rm: number): void {
    this.op0f(w, 0x40 | cc, reg, rm);
  }

  /** bt/bts/btr/btc (digit 4..7) r/m, imm8. */
  bti(w: number, digit: number, rm: number, imm: number): void {
    this.prefix(w, 0, rm, false, false);
    this.b(0x0f);
    this.b(0xba);
    this.modrm(digit, rm);
    this.b(imm);
  }

  /** bswap reg. */
  bswap(w: number, reg: number): void {
    const rex = (w === 3 ? 8 : 0) | (reg >> 3);
    if (rex !== 0) this.b(0x40 | rex);
    this.b(0x0f);
    this.b(0xc8 | (reg & 7));
  }

  /** crc32 reg, r/m of width w. */
  crc32(w: number, reg: number, rm: number): void {
    if (w === 1) this.b(0x66);
    this.b(0xf2);
    this.prefix(w === 3 ? 3 : 2, reg, rm, false, w === 0);
    this.b(0x0f);
    this.b(0x38);
    this.b(w === 0 ? 0xf0 : 0xf1);
    this.modrm(reg, rm);
  }

  /** imul reg, r/m, imm. */
  imuli(w: number, reg: number, rm: number, imm: number): void {
    if (w === 1) imm = (imm << 16) >> 16;
    const small = imm >= -128 && imm < 128;
    this.op(w, small ? 0x6b : 0x69, reg, rm);
    if (small) this.b(imm);
    else if (w === 1) this.imm16(imm);
    else this.d(imm);
  }

  // ---- flags

  lahf(): void {
    this.b(0x9f);
  }

  sahf(): void {
    this.b(0x9e);
  }

  // ---- control

  /** jmp rel32 to `target` (an offset in the code buffer). */
  jmp(target: number): void {
    this.rel32(0xe9, target);
  }

  /** A one-byte opcode and a rel32. */
  private rel32(opc: number, target: number): void {
    const p = this.p;
    this.v.setUint8(p, opc);
    this.v.setInt32(p + 1, target - (p + 5), true);
    this.noteTarget(p + 1, target);
    this.p = p + 5;
  }

  /** jcc rel32. */
  jcc(cc: number, target: number): void {
    const p = this.p;
    this.v.setInt16(p, 0x800f | (cc << 8), true);
    this.v.setInt32(p + 2, target - (p + 6), true);
    this.noteTarget(p + 2, target);
    this.p = p + 6;
  }

  /** jmp rel32 whose target is patched later. @returns the position of the rel32. */
  jmpLater(): number {
    this.b(0xe9);
    this.p += 4;
    return this.p - 4;
  }

  /** jcc rel32 whose target is patched later. @returns the position of the rel32. */
  jccLater(cc: number): number {
    const p = this.p;
    this.v.setInt16(p, 0x800f | (cc << 8), true);
    this.p = p + 6;
    return p + 2;
  }

  /** Makes the rel32 at `pos` point to `target`. */
  patch32(pos: number, target: number): void {
    this.noteTarget(pos, target);
    this.v.setInt32(pos, target - (pos + 4), true);
  }

  call(target: number): void {
    this.rel32(0xe8, target);
  }

  /** Pushes the position after the jump to `target` that follows. */
  pushAfterJump(target: number): void {
    this.b(0x68);
    this.d(this.p + 9);
    this.notePosition();
    this.jmp(target);
  }

  /** call rel32 whose target is patched later. @returns the position of the rel32. */
  callLater(): number {
    this.b(0xe8);
    this.p += 4;
    return this.p - 4;
  }

  /** lea reg, [rip + ...]: the address of the code at `target`, which moves along with this. */
  leaCode(reg: number, target: number): void {
    this.b(0x48 | ((reg & 8) >> 1));
    this.b(0x8d);
    this.b(((reg & 7) << 3) | 5);
    this.d(target - (this.p + 4));
  }

  push(reg: number): void {
    if (reg >= 8) this.b(0x41);
    this.b(0x50 | (reg & 7));
  }

  pop(reg: number): void {
    if (reg >= 8) this.b(0x41);
    this.b(0x58 | (reg & 7));
  }

  ret(): void {
    this.b(0xc3);
  }

  // ---- vectors

  /** Legacy SSE instruction: mandatory prefix pp, opcode map 1..3, REX.W. */
  sse(pp: number, map: number, w1: number, opc: number, reg: number, rm: number): void {
    this.ssePrefix(pp);
    const rex = (w1 << 3) | ((reg & 8) >> 1) | (rm < K.MEM ? rm >> 3 : 0);
    if (rex !== 0) this.b(0x40 | rex);
    this.sseOpcode(map, opc);
    this.modrm(reg, rm);
  }

  /** The same with memory operand [base + index]. */
  sseMem(pp: number, map: number, w1: number, opc: number, reg: number, base: number, index: number, disp: number): void {
    this.ssePrefix(pp);
    this.rexMem(w1 << 3, reg, base, index, false);
    this.sseOpcode(map, opc);
    this.modrmMem(reg, base, index, 0, disp);
  }

  private ssePrefix(pp: number): void {
    if (pp === 1) this.b(0x66);
    else if (pp === 2) this.b(0xf3);
    else if (pp === 3) this.b(0xf2);
  }

  private sseOpcode(map: number, opc: number): void {
    this.b(0x0f);
    if (map === 2) this.b(0x38);
    else if (map === 3) this.b(0x3a);
    this.b(opc);
  }

  /** VEX-encoded instruction. l = 0: 128 bits (or a general instruction), 1: 256. vvvv 0..15; 0 encodes as "unused" too. */
  vex(pp: number, map: number, w1: number, l: number, opc: number, reg: number, vvvv: number, rm: number): void {
    const rBit = reg & 8 ? 0 : 0x80;
    const bBit = rm < K.MEM && rm & 8 ? 0 : 0x20;
    const tail = ((~vvvv & 15) << 3) | (l << 2) | pp;
    if (map === 1 && w1 === 0 && bBit !== 0) {
      this.b(0xc5);
      this.b(rBit | tail);
    } else {
      this.b(0xc4);
      this.b(rBit | 0x40 | bBit | map);
      this.b((w1 << 7) | tail);
    }
    this.b(opc);
    this.modrm(reg, rm);
  }

  /** movups xmm, xmm/m128. */
  movups(xmm: number, rm: number): void {
    this.sse(0, 1, 0, 0x10, xmm, rm);
  }

  /** movups m128, xmm. */
  movupsStore(rm: number, xmm: number): void {
    this.sse(0, 1, 0, 0x11, xmm, rm);
  }

  /** movq xmm, xmm/m64 (upper half cleared). */
  movq(xmm: number, rm: number): void {
    this.sse(2, 1, 0, 0x7e, xmm, rm);
  }

  /** movq m64, xmm. */
  movqStore(rm: number, xmm: number): void {
    this.sse(1, 1, 0, 0xd6, xmm, rm);
  }

  vzeroupper(): void {
    this.b(0xc5);
    this.b(0xf8);
    this.b(0x77);
  }
}
