/**
 * Generated code that executes cold code of RISC-V guests from its bytes (docs/adr/0070): an interpreter whose steps are host instructions from the beginning, while V8 would take most of
 * a boot to make a good one of TypeScript. It has what is frequent and cannot fail; for anything else it stops before the instruction.
 *
 * RBP state region + STATE_BIAS; RBX host address of the code page, RDI its linear address, R14 its counts; RSI host address of the instruction, R8 the instruction, R9 the
 * next one's address; RAX operand rs1 and result, R11 number of rd; R10 instructions executed; R13 TLB of the MMU index; R15 handlers. RCX and RDX are scratch.
 */
import { COLD_COUNT_LIMIT, ColdAt, ColdEnd, ColdFetch, ColdPage } from '../../cold-state.js';
import { Cc, ExitCode, JC_BASE, JC_ENTRIES, JC_ENTRY_SHIFT, JC_FOLD, Slot, STATE_BIAS, TLB_BASE, TLB_OFFSETS, TLB_SHIFT, TLB_TABLE_BYTES, TlbField, Yield } from '../../state.js';
import { Alu, type Asm, mem, NO_INDEX, R, Sh } from './asm.js';

const PAGE = 4096;
const GPR = Slot.GPR * 8 - STATE_BIAS;
/** Handlers: by bits 6..2 and funct3 of the instruction. */
const HANDLERS = 256;
const enum Opc { LOAD = 0x03, FENCE = 0x0f, OP_IMM = 0x13, AUIPC = 0x17, OP_IMM_32 = 0x1b, STORE = 0x23, OP = 0x33, LUI = 0x37, OP_32 = 0x3b, BRANCH = 0x63, JALR = 0x67, JAL = 0x6f }
const PAUSE = 0x0100_000f;
const ALL: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7];

class Label {
  at = -1;
  readonly from: number[] = [];
}

/** Offsets of what has been emitted. */
export interface ColdCode {
  /** Runs cold code: returns `ColdEnd`. */
  run: number;
  /** In place of the stubs of these names: with ColdAt.LINKED they go on to cold code where translated code ends, and back. */
  enter: number;
  resume: number;
  end: number;
}

/**
 * Emits it at the cursor.
 * @param saved registers that the native caller wants back @param argument register that has the state region's address
 * @param base executable address of code offset 0 @param enter @param resume stubs
 * @param watched mode bits with which cold code must not run
 */
export function emitRiscvCold(asm: Asm, saved: readonly number[], argument: number, base: number, enter: number, resume: number, watched: number): ColdCode {
  const jmp = (l: Label): void => void (l.at >= 0 ? asm.jmp(l.at) : l.from.push(asm.jmpLater()));
  const jcc = (cc: Cc, l: Label): void => void (l.at >= 0 ? asm.jcc(cc, l.at) : l.from.push(asm.jccLater(cc)));
  const bind = (l: Label): void => {
    l.at = asm.p;
    for (const pos of l.from) asm.patch32(pos, l.at);
  };
  const [write, writeWord, advance, loop, compressed, decode, step, out, exitPc, far, other, count, boundary, taken, nearEnd] = Array.from({ length: 15 }, () => new Label()) as [
    Label, Label, Label, Label, Label, Label, Label, Label, Label, Label, Label, Label, Label, Label, Label,
  ];
  /** reg = bits of the instruction. */
  const field = (reg: number, shift: number, mask: number): void => {
    asm.movrr(2, reg, R.R8);
    if (shift !== 0) asm.shi(2, Sh.SHR, reg, shift);
    asm.alui(2, Alu.AND, reg, mask);
  };
  const gpr = (reg: number, number: number): void => asm.opm(3, 0x8b, reg, R.RBP, number, 3, GPR);
  const rs2 = (): void => {
    field(R.RCX, 20, 31);
    gpr(R.RCX, R.RCX);
  };
  /** RCX = immediate of I-type. */
  const immI = (): void => {
    asm.movsx(2, 3, R.RCX, R.R8);
    asm.shi(3, Sh.SAR, R.RCX, 20);
  };
  /** RAX |= bits of the instruction, shifted by n to the left (to the right: n < 0). */
  const also = (n: number, mask: number): void => {
    asm.movrr(2, R.RCX, R.R8);
    if (n !== 0) asm.shi(2, n > 0 ? Sh.SHL : Sh.SHR, R.RCX, Math.abs(n));
    asm.alui(2, Alu.AND, R.RCX, mask);
    asm.alu(3, Alu.OR, R.RAX, R.RCX);
  };
  /** rd = reg; x0 stays 0. */
  const setRd = (reg: number): void => {
    asm.opm(3, 0x89, reg, R.RBP, R.R11, 3, GPR);
    asm.movi(3, mem(Slot.GPR), 0);
  };
  const link = (reg: number): void => {
    asm.movrr(3, reg, R.R9);
    asm.alu(3, Alu.SUB, reg, R.RBX);
    asm.alu(3, Alu.ADD, reg, R.RDI);
    setRd(reg);
  };
  const retire = (): void => {
    asm.alui(2, Alu.ADD, R.R10, 1);
    asm.alui(3, Alu.CMP, mem(Slot.PENDING), 0);
  };
  /** RAX, an address, becomes the host's. */
  const probe = (w: number, tag: TlbField): void => {
    asm.movrr(2, R.RCX, R.RAX);
    asm.shi(2, Sh.SHR, R.RCX, TLB_SHIFT);
    asm.alui(2, Alu.AND, R.RCX, TLB_OFFSETS);
    // Of its last byte: one that lies in two pages misses.
    asm.lea(3, R.RDX, R.RAX, NO_INDEX, 0, (1 << w) - 1);
    asm.alui(3, Alu.AND, R.RDX, -PAGE);
    asm.opm(3, 0x3b, R.RDX, R.R13, R.RCX, 0, tag);
    jcc(Cc.NE, step);
    asm.opm(3, 0x03, R.RAX, R.R13, R.RCX, 0, TlbField.ADDEND);
  };

  while ((asm.p & 15) !== 0) asm.b(0xcc);
  const table = asm.p;
  const handlers = new Int32Array(HANDLERS).fill(-1);
  asm.p += HANDLERS * 8;
  const on = (op: Opc, funct3: readonly number[], emit: () => void): void => {
    for (const f of funct3) handlers[(op >> 2) | (f << 5)] = asm.p;
    emit();
  };
  const entry = asm.p;
  for (const r of saved) asm.push(r);
  asm.lea(3, R.RBP, argument, NO_INDEX, 0, STATE_BIAS);
  asm.load(2, R.RCX, mem(Slot.MODE) + 4);
  asm.imuli(2, R.RCX, R.RCX, TLB_TABLE_BYTES);
  asm.lea(3, R.R13, R.RBP, R.RCX, 0, TLB_BASE - STATE_BIAS);
  asm.leaCode(R.R15, table);
  asm.movi(2, R.R10, 0);
  // Equal to no page: it is looked up.
  asm.movi(3, R.RDI, -1);
  asm.load(3, R.RAX, mem(Slot.PC));
  jmp(far);

  // ---- results, and the next instruction
  bind(writeWord);
  asm.movsx(2, 3, R.RAX, R.RAX);
  bind(write);
  setRd(R.RAX);
  bind(advance);
  asm.alui(2, Alu.ADD, R.R10, 1);
  asm.movrr(3, R.RSI, R.R9);
  bind(loop);
  asm.movrr(2, R.RAX, R.RSI);
  asm.alu(2, Alu.SUB, R.RAX, R.RBX);
  asm.alui(2, Alu.CMP, R.RAX, PAGE - 4);
  jcc(Cc.A, nearEnd);
  asm.movzxMem(1, R.R8, R.RSI, NO_INDEX);
  asm.lea(3, R.R9, R.RSI, NO_INDEX, 0, 2);
  field(R.RAX, 0, 3);
  asm.alui(2, Alu.CMP, R.RAX, 3);
  jcc(Cc.NE, compressed);
  asm.opm(2, 0x8b, R.R8, R.RSI, NO_INDEX, 0, 0);
  asm.lea(3, R.R9, R.RSI, NO_INDEX, 0, 4);
  jmp(decode);
  bind(compressed);
  asm.opm(2, 0x8b, R.R8, R.RBP, R.R8, 2, ColdAt.EXPAND - STATE_BIAS);
  asm.test(2, R.R8, R.R8);
  jcc(Cc.E, step);
  bind(decode);
  field(R.RCX, 15, 31);
  gpr(R.RAX, R.RCX);
  field(R.R11, 7, 31);
  field(R.RDX, 2, 31);
  field(R.RCX, 7, 0xe0);
  asm.alu(2, Alu.OR, R.RDX, R.RCX);
  asm.opm(2, 0xff, 4, R.R15, R.RDX, 3, 0);

  // ---- computing
  const immediate = (f: number, emit: () => void, to = write): void => on(Opc.OP_IMM, [f], () => {
    immI();
    emit();
    jmp(to);
  });
  const flag = (cc: Cc): void => {
    asm.alu(3, Alu.CMP, R.RAX, R.RCX);
    asm.setcc(cc, R.RAX);
    asm.movzx(0, R.RAX, R.RAX);
  };
  immediate(0, () => asm.alu(3, Alu.ADD, R.RAX, R.RCX));
  immediate(2, () => flag(Cc.L));
  immediate(3, () => flag(Cc.B));
  immediate(4, () => asm.alu(3, Alu.XOR, R.RAX, R.RCX));
  immediate(6, () => asm.alu(3, Alu.OR, R.RAX, R.RCX));
  immediate(7, () => asm.alu(3, Alu.AND, R.RAX, R.RCX));
  /** Which of the operations it is by the bits from `shift` on; others are not for here. */
  const choose = (shift: number, of: readonly (readonly [number, () => void])[], to: Label): void => {
    asm.movrr(2, R.RDX, R.R8);
    asm.shi(2, Sh.SHR, R.RDX, shift);
    of.forEach(([value, emit], i) => {
      const next = i + 1 < of.length ? new Label() : step;
      asm.alui(2, Alu.CMP, R.RDX, value);
      jcc(Cc.NE, next);
      emit();
      jmp(to);
      if (next !== step) bind(next);
    });
  };
  const shift = (w: number, sh: Sh): (() => void) => () => asm.shcl(w, sh, R.RAX);
  const shifts = (op: Opc, w: number, f: number, of: readonly (readonly [number, () => void])[]): void => on(op, [f], () => {
    immI();
    choose(w === 3 ? 26 : 25, of, w === 3 ? write : writeWord);
  });
  shifts(Opc.OP_IMM, 3, 1, [[0, shift(3, Sh.SHL)]]);
  shifts(Opc.OP_IMM, 3, 5, [[0, shift(3, Sh.SHR)], [0x10, shift(3, Sh.SAR)]]);
  shifts(Opc.OP_IMM_32, 2, 1, [[0, shift(2, Sh.SHL)]]);
  shifts(Opc.OP_IMM_32, 2, 5, [[0, shift(2, Sh.SHR)], [0x20, shift(2, Sh.SAR)]]);
  on(Opc.OP_IMM_32, [0], () => {
    immI();
    asm.alu(2, Alu.ADD, R.RAX, R.RCX);
    jmp(writeWord);
  });
  const alu = (w: number, digit: Alu): (() => void) => () => asm.alu(w, digit, R.RAX, R.RCX);
  const multiply = (w: number): (() => void) => () => asm.op0f(w, 0xaf, R.RAX, R.RCX);
  /** @param digit of MUL or IMUL with a result of 128 bits */
  const multiplyHigh = (digit: number): (() => void) => () => {
    asm.opd(3, 0xf7, digit, R.RCX);
    asm.movrr(3, R.RAX, R.RDX);
  };
  const OPS: readonly (readonly [number, readonly (readonly [number, () => void])[]])[] = [
    [0, [[0, alu(3, Alu.ADD)], [0x20, alu(3, Alu.SUB)], [1, multiply(3)]]],
    [1, [[0, shift(3, Sh.SHL)], [1, multiplyHigh(5)]]],
    [2, [[0, (): void => flag(Cc.L)]]],
    [3, [[0, (): void => flag(Cc.B)], [1, multiplyHigh(4)]]],
    [4, [[0, alu(3, Alu.XOR)]]],
    [5, [[0, shift(3, Sh.SHR)], [0x20, shift(3, Sh.SAR)]]],
    [6, [[0, alu(3, Alu.OR)]]],
    [7, [[0, alu(3, Alu.AND)]]],
  ];
  for (const [f, of] of OPS) on(Opc.OP, [f], () => {
    rs2();
    choose(25, of, write);
  });
  const OPS_32: readonly (readonly [number, readonly (readonly [number, () => void])[]])[] = [
    [0, [[0, alu(2, Alu.ADD)], [0x20, alu(2, Alu.SUB)], [1, multiply(2)]]],
    [1, [[0, shift(2, Sh.SHL)]]],
    [5, [[0, shift(2, Sh.SHR)], [0x20, shift(2, Sh.SAR)]]],
  ];
  for (const [f, of] of OPS_32) on(Opc.OP_32, [f], () => {
    rs2();
    choose(25, of, writeWord);
  });
  const upper = (): void => {
    field(R.RAX, 0, -PAGE);
    asm.movsx(2, 3, R.RAX, R.RAX);
  };
  on(Opc.LUI, ALL, () => {
    upper();
    jmp(write);
  });
  on(Opc.AUIPC, ALL, () => {
    upper();
    asm.alu(3, Alu.ADD, R.RAX, R.RSI);
    asm.alu(3, Alu.SUB, R.RAX, R.RBX);
    asm.alu(3, Alu.ADD, R.RAX, R.RDI);
    jmp(write);
  });
  // All that one thread does is in order. FENCE.I: code is read when it is executed.
  on(Opc.FENCE, [0, 1], () => {
    asm.alui(2, Alu.CMP, R.R8, PAUSE);
    jcc(Cc.NE, advance);
    jmp(step);
  });

  // ---- memory
  const load = (f: number, to: Label, emit: () => void): void => on(Opc.LOAD, [f], () => {
    immI();
    asm.alu(3, Alu.ADD, R.RAX, R.RCX);
    probe(f & 3, TlbField.TAG_READ);
    emit();
    jmp(to);
  });
  for (const w of [0, 1]) {
    load(w, write, () => {
      asm.movzxMem(w, R.RAX, R.RAX, NO_INDEX);
      asm.movsx(w, 3, R.RAX, R.RAX);
    });
    load(4 | w, write, () => asm.movzxMem(w, R.RAX, R.RAX, NO_INDEX));
  }
  load(2, writeWord, () => asm.opm(2, 0x8b, R.RAX, R.RAX, NO_INDEX, 0, 0));
  load(6, write, () => asm.opm(2, 0x8b, R.RAX, R.RAX, NO_INDEX, 0, 0));
  load(3, write, () => asm.opm(3, 0x8b, R.RAX, R.RAX, NO_INDEX, 0, 0));
  for (const w of [0, 1, 2, 3]) on(Opc.STORE, [w], () => {
    asm.movsx(2, 3, R.RCX, R.R8);
    asm.shi(3, Sh.SAR, R.RCX, 25);
    asm.shi(3, Sh.SHL, R.RCX, 5);
    asm.alu(3, Alu.OR, R.RCX, R.R11);
    asm.alu(3, Alu.ADD, R.RAX, R.RCX);
    probe(w, TlbField.TAG_WRITE);
    rs2();
    asm.opm(w, 0x89, R.RCX, R.RAX, NO_INDEX, 0, 0);
    jmp(advance);
  });

  // ---- jumps
  for (const [f, cc] of [[0, Cc.E], [1, Cc.NE], [4, Cc.L], [5, Cc.GE], [6, Cc.B], [7, Cc.AE]] as const) on(Opc.BRANCH, [f], () => {
    rs2();
    asm.alu(3, Alu.CMP, R.RAX, R.RCX);
    jcc(cc, taken);
    asm.movrr(3, R.RSI, R.R9);
    jmp(boundary);
  });
  on(Opc.JALR, [0], () => {
    immI();
    asm.alu(3, Alu.ADD, R.RAX, R.RCX);
    asm.alui(3, Alu.AND, R.RAX, -2);
    link(R.RDX);
    asm.movi(2, R.RDX, ColdEnd.OUT);
    retire();
    jcc(Cc.NE, exitPc);
    jmp(far);
  });
  on(Opc.JAL, ALL, () => {
    link(R.RAX);
    asm.movsx(2, 3, R.RAX, R.R8);
    asm.shi(3, Sh.SAR, R.RAX, 11);
    asm.alui(3, Alu.AND, R.RAX, -0x10_0000);
    also(0, 0xf_f000);
    also(-9, 0x800);
    also(-20, 0x7fe);
    asm.alu(3, Alu.ADD, R.RSI, R.RAX);
    jmp(boundary);
  });
  bind(taken);
  asm.movsx(2, 3, R.RAX, R.R8);
  asm.shi(3, Sh.SAR, R.RAX, 19);
  asm.alui(3, Alu.AND, R.RAX, -PAGE);
  also(4, 0x800);
  also(-20, 0x7e0);
  also(-7, 0x1e);
  asm.alu(3, Alu.ADD, R.RSI, R.RAX);
  // RSI is where a block begins, perhaps in another page.
  bind(boundary);
  asm.movrr(3, R.RAX, R.RSI);
  asm.alu(3, Alu.SUB, R.RAX, R.RBX);
  retire();
  jcc(Cc.NE, out);
  asm.alui(3, Alu.CMP, R.RAX, PAGE);
  jcc(Cc.B, count);
  asm.alu(3, Alu.ADD, R.RAX, R.RDI);
  // RAX is a linear address.
  bind(far);
  asm.movrr(3, R.RCX, R.RAX);
  asm.alui(3, Alu.AND, R.RCX, -PAGE);
  asm.alu(3, Alu.CMP, R.RCX, R.RDI);
  jcc(Cc.NE, other);
  asm.alui(2, Alu.AND, R.RAX, PAGE - 1);
  asm.lea(3, R.RSI, R.RBX, R.RAX, 0, 0);
  // EAX is an offset in the page, RSI where that is.
  bind(count);
  asm.shi(2, Sh.SHR, R.RAX, 1);
  asm.movzxMem(0, R.RCX, R.R14, R.RAX);
  asm.alui(2, Alu.CMP, R.RCX, COLD_COUNT_LIMIT);
  jcc(Cc.AE, out);
  asm.opm(0, 0xff, 0, R.R14, R.RAX, 0, 0);
  jmp(loop);
  bind(other);
  asm.movrr(3, R.R8, R.RCX);
  asm.opm(3, 0x0b, R.R8, R.RBP, NO_INDEX, 0, ColdAt.FETCH - STATE_BIAS);
  asm.movrr(2, R.RDX, R.RCX);
  asm.shi(2, Sh.SHR, R.RDX, 12);
  asm.alui(2, Alu.AND, R.RDX, ColdPage.ENTRIES - 1);
  asm.shi(2, Sh.SHL, R.RDX, ColdPage.SHIFT);
  asm.opm(3, 0x3b, R.R8, R.RBP, R.RDX, 0, ColdAt.PAGES - STATE_BIAS + ColdPage.TAG);
  const known = new Label();
  jcc(Cc.E, known);
  asm.movi(2, R.RDX, ColdEnd.OUT);
  jmp(exitPc);
  bind(known);
  asm.opm(3, 0x8b, R.RBX, R.RBP, R.RDX, 0, ColdAt.PAGES - STATE_BIAS + ColdPage.HOST);
  asm.opm(3, 0x8b, R.R14, R.RBP, R.RDX, 0, ColdAt.PAGES - STATE_BIAS + ColdPage.COUNTS);
  asm.movrr(3, R.RDI, R.RCX);
  asm.alui(2, Alu.AND, R.RAX, PAGE - 1);
  asm.lea(3, R.RSI, R.RBX, R.RAX, 0, 0);
  jmp(count);
  // Within the last four bytes of the page (EAX: offset), or behind it.
  bind(nearEnd);
  asm.alui(2, Alu.CMP, R.RAX, PAGE - 2);
  jcc(Cc.NE, out);
  asm.movzxMem(1, R.R8, R.RSI, NO_INDEX);
  asm.lea(3, R.R9, R.RSI, NO_INDEX, 0, 2);
  field(R.RAX, 0, 3);
  asm.alui(2, Alu.CMP, R.RAX, 3);
  jcc(Cc.NE, compressed);

  // ---- the end: RDX says why
  bind(step);
  asm.movi(2, R.RDX, ColdEnd.STEP);
  const at = new Label();
  jmp(at);
  bind(out);
  asm.movi(2, R.RDX, ColdEnd.OUT);
  bind(at);
  asm.movrr(3, R.RAX, R.RSI);
  asm.alu(3, Alu.SUB, R.RAX, R.RBX);
  asm.alu(3, Alu.ADD, R.RAX, R.RDI);
  bind(exitPc);
  asm.store(3, mem(Slot.PC), R.RAX);
  asm.opm(2, 0x89, R.R10, R.RBP, NO_INDEX, 0, ColdAt.EXECUTED - STATE_BIAS);
  asm.movrr(2, R.RAX, R.RDX);
  for (const r of [...saved].reverse()) asm.pop(r);
  asm.ret();
  handlers.forEach((h, i) => {
    const a = base + (h < 0 ? step.at : h);
    asm.v.setUint32(table + i * 8, a % 0x1_0000_0000, true);
    asm.v.setUint32(table + i * 8 + 4, Math.floor(a / 0x1_0000_0000), true);
  });
  const linked = (stub: number): number => emitLinked(asm, argument, stub, enter, entry, watched);
  return { run: entry, enter: linked(enter), resume: linked(resume), end: asm.p };
}

/** Calls `stub`; where the code it runs ends at cold code that is executed (by `cold`), and then known code follows, that is entered, and so on. @returns its offset */
function emitLinked(asm: Asm, argument: number, stub: number, enter: number, cold: number, watched: number): number {
  const done: number[] = [];
  const leaveIf = (cc: Cc): void => void done.push(asm.jccLater(cc));
  /** cmp [state + at], imm8 */
  const compare = (w: number, at: number, imm: number): void => {
    asm.opm(w, 0x83, Alu.CMP, R.RBX, NO_INDEX, 0, at);
    asm.b(imm);
  };
  while ((asm.p & 15) !== 0) asm.b(0xcc);
  const start = asm.p;
  asm.push(R.RBX);
  asm.movrr(3, R.RBX, argument);
  asm.call(stub);
  const again = asm.p;
  compare(2, Slot.X_INSN * 8 + 4, Yield.EXIT);
  leaveIf(Cc.NE);
  compare(2, ColdAt.LINKED, 0);
  leaveIf(Cc.E);
  compare(3, Slot.PENDING * 8, 0);
  leaveIf(Cc.NE);
  asm.opm(2, 0x8b, R.RAX, R.RBX, NO_INDEX, 0, Slot.X_AUX * 8);
  asm.alui(2, Alu.CMP, R.RAX, ExitCode.NEXT);
  const next = asm.jccLater(Cc.E);
  asm.alui(2, Alu.CMP, R.RAX, ExitCode.CHAIN);
  leaveIf(Cc.NE);
  asm.patch32(next, asm.p);
  asm.opm(2, 0x8b, R.RAX, R.RBX, NO_INDEX, 0, Slot.MODE * 8);
  asm.testi(2, R.RAX, watched);
  leaveIf(Cc.NE);
  // The privilege may have changed since TypeScript set it.
  asm.alui(2, Alu.AND, R.RAX, ColdFetch.PRIV);
  asm.alui(2, Alu.OR, R.RAX, ColdFetch.ANY);
  asm.opm(2, 0x89, R.RAX, R.RBX, NO_INDEX, 0, ColdAt.FETCH);
  asm.movrr(3, argument, R.RBX);
  asm.call(cold);
  asm.opm(2, 0x8b, R.RCX, R.RBX, NO_INDEX, 0, ColdAt.EXECUTED);
  asm.test(2, R.RCX, R.RCX);
  leaveIf(Cc.E);
  asm.opm(2, 0x01, R.RCX, R.RBX, NO_INDEX, 0, ColdAt.LINKED_EXECUTED);
  // From here on PC is somewhere else than where a chain site leads to.
  asm.opm(2, 0xc7, 0, R.RBX, NO_INDEX, 0, Slot.X_AUX * 8);
  asm.d(ExitCode.NEXT);
  asm.alui(2, Alu.CMP, R.RAX, ColdEnd.OUT);
  leaveIf(Cc.NE);
  compare(3, Slot.PENDING * 8, 0);
  leaveIf(Cc.NE);
  // The jump cache of the MMU index, if it is this mode's.
  asm.opm(2, 0x8b, R.RCX, R.RBX, NO_INDEX, 0, Slot.MODE * 8 + 4);
  asm.opm(2, 0x8b, R.RDX, R.RBX, NO_INDEX, 0, Slot.MODE * 8);
  asm.opm(2, 0x3b, R.RDX, R.RBX, R.RCX, 2, Slot.JC_MODE * 8);
  leaveIf(Cc.NE);
  asm.opm(2, 0x8b, R.RCX, R.RBX, R.RCX, 2, Slot.JC_TABLE * 8);
  asm.opm(3, 0x8b, R.RDX, R.RBX, NO_INDEX, 0, Slot.PC * 8);
  asm.movrr(2, R.RAX, R.RDX);
  asm.shi(2, Sh.SHR, R.RAX, JC_FOLD);
  asm.alu(2, Alu.XOR, R.RAX, R.RDX);
  asm.alui(2, Alu.AND, R.RAX, JC_ENTRIES - 1);
  asm.shi(2, Sh.SHL, R.RAX, JC_ENTRY_SHIFT);
  asm.alu(2, Alu.ADD, R.RCX, R.RAX);
  asm.opm(3, 0x3b, R.RDX, R.RBX, R.RCX, 0, JC_BASE);
  leaveIf(Cc.NE);
  asm.opm(3, 0x8b, R.RDX, R.RBX, R.RCX, 0, JC_BASE + 8);
  asm.opm(3, 0x89, R.RDX, R.RBX, NO_INDEX, 0, Slot.X_ENTRY * 8);
  asm.movrr(3, argument, R.RBX);
  asm.call(enter);
  asm.jmp(again);
  for (const pos of done) asm.patch32(pos, asm.p);
  asm.pop(R.RBX);
  asm.ret();
  return start;
}
