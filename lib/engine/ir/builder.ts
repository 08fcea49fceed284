/**
 * Writes IR records into one reused Int32Array. No allocation per op. A lifter calls `begin`, then `insn` before the
 * ops of each guest instruction, then the op methods, the last op being a terminator.
 */
import { Access, NONE, Slot } from '../state.js';
import { F, Op, REC } from './ops.js';

/** Most symbols of one block; further ones become constants. */
export const MAX_SYMBOLS = 64;

/**
 * True for the int32 values that symbols are made of: what a kernel that moves itself in memory adds its offset to lies in the
 * upper or lower parts of the 32-bit range, sizes and offsets near its middle.
 */
export function looksLikeAddress(value: number): boolean {
  return value >= 0x2000_0000 || value < -0x2000_0000;
}

/** Places of the table of symbols: a power of two, more than twice their number. */
const SYMBOL_PLACES = 1 << 15;

/** Spreads constants, most of which are small or addresses, over a power of two of places. */
function hash(lo: number, hi: number): number {
  const h = Math.imul(lo ^ Math.imul(hi, 0x85eb_ca6b), 0x9e37_79b1);
  return h ^ (h >>> 15);
}

/** Interned 64-bit constants: slots >= Slot.CONST whose values lie in the state region of every vCPU. */
export class ConstPool {
  /** Open addressing: slot - Slot.CONST + 1, 0 = free; twice as many places as there are slots. */
  private readonly table = new Int32Array((Slot.CONST_END - Slot.CONST) * 2);
  private next: number = Slot.CONST;
  /** Low and high words, indexed by slot - Slot.CONST. Copied into V of each vCPU by `attach`. */
  readonly lo = new Int32Array(Slot.CONST_END - Slot.CONST);
  readonly hi = new Int32Array(Slot.CONST_END - Slot.CONST);
  private readonly states: Int32Array[] = [];
  /** The same of symbols. */
  private readonly symbolTable = new Int32Array(SYMBOL_PLACES);
  private nextSymbol: number = Slot.SYMBOL;
  private readonly symbolValues = new Int32Array(Slot.SYMBOL_END - Slot.SYMBOL);

  /** Makes V receive all present and future constants. */
  attach(V: Int32Array): void {
    this.states.push(V);
    for (let s: number = Slot.CONST; s < this.next; s++) {
      V[s * 2] = this.lo[s - Slot.CONST]!;
      V[s * 2 + 1] = this.hi[s - Slot.CONST]!;
    }
    for (let s: number = Slot.SYMBOL; s < this.nextSymbol; s++) {
      const value = this.symbolValues[s - Slot.SYMBOL]!;
      V[s * 2] = value;
      V[s * 2 + 1] = value >> 31;
    }
  }

  /** True when fewer than 1,024 slots are left: the engine then drops every translation and calls `reset`. */
  get nearlyFull(): boolean {
    return this.next > Slot.CONST_END - 1024;
  }

  reset(): void {
    this.table.fill(0);
    this.next = Slot.CONST;
    this.symbolTable.fill(0);
    this.nextSymbol = Slot.SYMBOL;
  }

  /** @returns the slot of the opaque int32 `value`, sign-extended to 64 bits, or -1 if the pool is full (use a constant). */
  symbol(value: number): number {
    const table = this.symbolTable;
    let i = hash(value, 0) & (SYMBOL_PLACES - 1);
    for (; table[i] !== 0; i = (i + 1) & (SYMBOL_PLACES - 1)) if (this.symbolValues[table[i]! - 1] === value) return Slot.SYMBOL - 1 + table[i]!;
    if (this.nextSymbol >= Slot.SYMBOL_END) return -1;
    const s = this.nextSymbol++;
    table[i] = s - Slot.SYMBOL + 1;
    this.symbolValues[s - Slot.SYMBOL] = value;
    for (const V of this.states) {
      V[s * 2] = value;
      V[s * 2 + 1] = value >> 31;
    }
    return s;
  }

  /** Value of a slot that `symbol` has given. */
  symbolValue(s: number): number {
    return this.symbolValues[s - Slot.SYMBOL]!;
  }

  /** Symbols in use. */
  get symbolCount(): number {
    return this.nextSymbol - Slot.SYMBOL;
  }

  /** @returns the slot of the 64-bit value hi:lo. */
  slot(lo: number, hi: number): number {
    lo |= 0;
    hi |= 0;
    const { table } = this;
    const mask = table.length - 1;
    let i = hash(lo, hi) & mask;
    for (; table[i] !== 0; i = (i + 1) & mask) {
      const k = table[i]! - 1;
      if (this.lo[k] === lo && this.hi[k] === hi) return Slot.CONST + k;
    }
    if (this.next >= Slot.CONST_END) throw new Error('constant pool exhausted');
    const s = this.next++;
    table[i] = s - Slot.CONST + 1;
    this.lo[s - Slot.CONST] = lo;
    this.hi[s - Slot.CONST] = hi;
    for (const V of this.states) {
      V[s * 2] = lo;
      V[s * 2 + 1] = hi;
    }
    return s;
  }
}

/** `registers` of a guest whose lifter does not say. */
const GENERAL = 24;

export class IrBuilder {
  /** Records, REC words each. */
  buf: Int32Array<ArrayBuffer>;
  /** Number of records. */
  n = 0;
  /** Guest instructions begun. */
  insns = 0;
  /** The guest has no flags: none are live where the block may be left. Set by the lifter after `begin`. */
  flagless = false;
  /** Slots from Slot.GPR on that are general registers: nothing but an op's operands reads or writes them. Set by the lifter after `begin`. */
  registers = GENERAL;
  /** Highest temporary slot in use + 1. */
  tempEnd: number = Slot.TEMP;
  /** Lifters look for idioms (PassOptions.idioms). */
  idioms = true;
  /** Lifters make symbols of what looks like an address (`symbol`). */
  symbolic = false;
  /** Symbols of the block: offset of the 32-bit field from the block's first byte, and the slot. */
  symbolN = 0;
  readonly symbolAt = new Int32Array(MAX_SYMBOLS);
  readonly symbolSlot = new Int32Array(MAX_SYMBOLS);
  private insnWord = 0;

  /** @param records room for so many */
  constructor(readonly consts: ConstPool, records = 4096) {
    this.buf = new Int32Array(records * REC);
  }

  /** What has been written, in a builder with no room for more. */
  copy(): IrBuilder {
    const b = new IrBuilder(this.consts, this.n);
    b.buf.set(this.buf.subarray(0, this.n * REC));
    b.n = this.n;
    b.insns = this.insns;
    b.flagless = this.flagless;
    b.registers = this.registers;
    b.tempEnd = this.tempEnd;
    return b;
  }

  begin(): void {
    this.flagless = false;
    this.registers = GENERAL;
    this.n = 0;
    this.insns = 0;
    this.tempEnd = Slot.TEMP;
    this.symbolN = 0;
  }

  /** Starts a guest instruction at page offset `start`; `next` is the page offset of the one after it (may be >= 4096). */
  insn(start: number, next: number): void {
    this.insnWord = start | (next << 16);
    this.insns++;
  }

  /** Word index of the last record if it is `op`, 64 bits wide and without flags, with destination `dst`; otherwise -1. */
  last(op: Op, dst: number): number {
    const p = (this.n - 1) * REC;
    return p >= 0 && this.buf[p] === (op | (3 << 8)) && this.buf[p + F.DST] === dst ? p : -1;
  }

  /** Forgets the last record: what comes next makes up for it. */
  takeBack(): void {
    this.n--;
  }

  /** True when there may be no room for another instruction. */
  get full(): boolean {
    return this.n > 1600 || this.tempEnd > Slot.TEMP_END - 200;
  }

  /** A fresh 64-bit temporary. */
  temp(): number {
    return this.tempEnd++;
  }

  /** A fresh vector temporary (32 bytes). */
  vtemp(): number {
    const t = (this.tempEnd + 3) & ~3;
    this.tempEnd = t + 4;
    return t;
  }

  /** Constant from an int32, sign-extended to 64 bits. */
  k(v: number): number {
    return this.consts.slot(v | 0, (v | 0) >> 31);
  }

  /**
   * Slot of a 32-bit immediate or displacement of the guest's code, sign-extended, as a symbol: code that uses it serves guests
   * whose code differs in the upper half of that field (an address that was relocated).
   * @param at offset of the field from the block's first byte
   * @returns -1 if the value does not look like an address, or there is no room: then use a constant
   */
  symbol(at: number, value: number): number {
    if (!this.symbolic || !looksLikeAddress(value) || this.symbolN >= MAX_SYMBOLS) return -1;
    const s = this.consts.symbol(value);
    if (s < 0) return -1;
    const n = this.symbolN++;
    this.symbolAt[n] = at;
    this.symbolSlot[n] = s;
    return s;
  }

  /** Constant from low and high word. */
  k64(lo: number, hi: number): number {
    return this.consts.slot(lo, hi);
  }

  /** Appends one record. */
  emit(op: Op, w: number, cc: number, fw: number, dst: number, a: number, b: number, c: number, imm: number, aux: number): void {
    let p = this.n * REC;
    if (p + REC > this.buf.length) {
      const bigger = new Int32Array(this.buf.length * 2);
      bigger.set(this.buf);
      this.buf = bigger;
    }
    const B = this.buf;
    B[p++] = op | (w << 8) | (cc << 12) | (fw << 16);
    B[p++] = dst;
    B[p++] = a;
    B[p++] = b;
    B[p++] = c;
    B[p++] = imm;
    B[p++] = this.insnWord;
    B[p] = aux;
    this.n++;
  }

  /** dst = op(a, b), flags fw. */
  alu(op: Op, w: number, dst: number, a: number, b: number, fw = 0): void {
    this.emit(op, w, 0, fw, dst, a, b, NONE, 0, 0);
  }

  /** Three-operand or two-result form: field C in use. */
  alu3(op: Op, w: number, dst: number, a: number, b: number, c: number, fw = 0, imm = 0): void {
    this.emit(op, w, 0, fw, dst, a, b, c, imm, 0);
  }

  mov(w: number, dst: number, a: number): void {
    this.emit(Op.MOV, w, 0, 0, dst, a, NONE, NONE, 0, 0);
  }

  /** dst = a sign-extended from width w to `bits` (16, 32, 64). */
  sx(w: number, bits: number, dst: number, a: number): void {
    this.emit(Op.SX, w, 0, 0, dst, a, NONE, NONE, bits, 0);
  }

  zx(w: number, dst: number, a: number): void {
    this.emit(Op.ZX, w, 0, 0, dst, a, NONE, NONE, 0, 0);
  }

  /** dst = (a + (b << scale) + disp) truncated to w. */
  lea(w: number, dst: number, a: number, b: number, scale: number, disp: number): void {
    this.emit(Op.LEA, w, 0, 0, dst, a, b, scale, disp, 0);
  }

  setcc(cc: number, dst: number): void {
    this.emit(Op.SETCC, 0, cc, 0, dst, NONE, NONE, NONE, 0, 0);
  }

  cmov(cc: number, w: number, dst: number, a: number, b: number): void {
    this.emit(Op.CMOV, w, cc, 0, dst, a, b, NONE, 0, 0);
  }

  ld(w: number, dst: number, addr: number, acc: Access = Access.NORMAL): void {
    this.emit(Op.LD, w, 0, 0, dst, addr, NONE, acc, 0, 0);
  }

  st(w: number, addr: number, val: number, acc: Access = Access.NORMAL): void {
    this.emit(Op.ST, w, 0, 0, NONE, addr, val, acc, 0, 0);
  }

  ldv(w: number, dst: number, addr: number): void {
    this.emit(Op.LDV, w, 0, 0, dst, addr, NONE, 0, 0, 0);
  }

  stv(w: number, addr: number, val: number): void {
    this.emit(Op.STV, w, 0, 0, NONE, addr, val, 0, 0, 0);
  }

  segchk(seg: number, off: number, write: boolean, bytes: number): void {
    this.emit(Op.SEGCHK, 0, 0, 0, NONE, off, seg, write ? 1 : 0, bytes, 0);
  }

  call(helper: number, dst = NONE, a = NONE, b = NONE, c = NONE, imm = 0): void {
    this.emit(Op.CALL, 0, 0, 0, dst, a, b, c, imm, helper);
  }

  /** Calls the helper (operand a = b) if the low w bits of cond are not 0. */
  callIf(helper: number, w: number, cond: number, b: number, imm = 0): void {
    this.emit(Op.CALLIF, w, 0, 0, NONE, cond, b, NONE, imm, helper);
  }

  /** dst = the guest's counter; the helper makes it where generated code cannot. */
  time(helper: number, dst: number, imm = 0): void {
    this.emit(Op.TIME, 3, 0, 0, dst, NONE, NONE, NONE, imm, helper);
  }

  /** op = COPY or FILL: dst = elements done. */
  bulk(op: Op, w: number, dst: number, to: number, from: number, count: number): void {
    this.emit(op, w, 0, 0, dst, to, from, count, 0, 0);
  }

  setMode(mode: number, mmuIdx: number): void {
    this.emit(Op.SETMODE, 0, 0, 0, NONE, NONE, NONE, mmuIdx, mode, 0);
  }

  /** The mode is known at run time only: the low word of slot a. JMPI must follow. */
  setModeFrom(a: number, mmuIdx: number): void {
    this.emit(Op.SETMODE, 0, 0, 0, NONE, a, NONE, mmuIdx, 0, 0);
  }

  /** Makes the terminator just written look at PENDING. Indirect jumps and exits do so anyway. */
  checkPending(): void {
    const p = (this.n - 1) * REC;
    const op = this.buf[p + F.W0]! & 0xff;
    if (op === Op.JMP || op === Op.JCC || op === Op.JNZ) this.buf[p + F.AUX] = 1;
  }

  /** w = 3 (MMX/64), 4 or 5; fw = flags written, as the helper's table entry says. */
  vop(helper: number, w: number, dst: number, a = NONE, b = NONE, c = NONE, imm = 0, fw = 0): void {
    this.emit(Op.VOP, w, 0, fw, dst, a, b, c, imm, helper);
  }

  /** cc: `FloatOp`; helper does the same in TypeScript, with imm. */
  fop(kind: number, w: number, helper: number, dst: number, a: number, b: number, c: number, imm: number): void {
    this.emit(Op.FOP, w, kind, 0, dst, a, b, c, imm, helper);
  }

  /** hint: 0 jump, 1 call. */
  jmp(off: number, hint = 0): void {
    this.emit(Op.JMP, 0, 0, 0, NONE, NONE, NONE, hint, off, 0);
  }

  jcc(cc: number, taken: number, next: number): void {
    this.emit(Op.JCC, 0, cc, 0, NONE, NONE, NONE, next, taken, 0);
  }

  jnz(w: number, a: number, taken: number, next: number): void {
    this.emit(Op.JNZ, w, 0, 0, NONE, a, NONE, next, taken, 0);
  }

  /** hint: 0 jump, 1 call, 2 return. */
  jmpi(a: number, hint = 0): void {
    this.emit(Op.JMPI, 3, 0, 0, NONE, a, NONE, hint, 0, 0);
  }

  /** next = page offset to store to PC, or NONE if PC is already set. */
  exit(code: number, next = NONE): void {
    this.emit(Op.EXIT, 0, 0, 0, NONE, NONE, NONE, next, code, 0);
  }

  /** True if the last record ends the block. */
  get ended(): boolean {
    if (this.n === 0) return false;
    return (this.buf[(this.n - 1) * REC + F.W0]! & 0xff) >= Op.JMP;
  }
}
