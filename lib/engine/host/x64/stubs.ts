/**
 * Shared code at the start of the exec region: entering and resuming generated code, yielding to TypeScript, leaving.
 *
 * Generated code runs on a private stack in the state region, just below the TLB tables. A yield pushes the scratch
 * registers there, stores the pinned registers to their slots and returns to the native caller; resuming does the reverse.
 */
import { Cc, ExitCode, Slot, STATE_BIAS, TLB_BASE, TLB_OFFSETS, TLB_SHIFT, TlbField, Yield } from '../../state.js';
import { Alu, Asm, MEM, NO_INDEX, R, Sh, mem } from './asm.js';
import { emitVecLoad, emitVecSave } from './emit-vec.js';
import { emitFpuLoad, emitFpuSave } from './emit-x87.js';

/** Byte offset in the state region of the top of the private stack (it grows down, a few words are used). */
export const STACK_TOP = TLB_BASE;

/** Calling convention of the native caller. */
export type Abi = 'sysv' | 'win64';

/** Offsets in the exec region. */
export interface Stubs {
  /** Starts at host address X_ENTRY with linear pc = slot PC. */
  enter: number;
  /** Goes on after a yield. */
  resume: number;
  /** Where the fault guard continues (X_ABORT). */
  abort: number;
  /** Called from a cold path, by `Yield` kind. */
  yields: number[];
  /** Exits, jumped to: X_AUX and PC are set already. */
  exit: number;
  /** EAX = page offset, X_AUX is set; PC = PCBASE + offset (the second one masked to 32 bits). */
  exitOff: number;
  exitOff32: number;
  /** EAX = page offset within the page, ECX = chain site. */
  chain: number;
  /** EAX = page offset within the page: PENDING is set. */
  pendingOff: number;
  /** RAX = linear pc: PENDING is set. */
  pendingPc: number;
  /** RAX = linear pc: not in the jump cache. */
  missPc: number;
  /** Ops COPY and FILL, by width: see emitBulk. RAX = elements done; RCX, RDX, RDI are lost. */
  copy: number[];
  fill: number[];
  /** Host time-stamp counter to slot X_VAL. */
  readTime: number;
  /** Called: the guest's x87 state moves from its slots into the FPU, and back. All registers are kept, host flags are not. */
  fpuLoad: number;
  fpuSave: number;
  /** The same of the pinned vector registers. */
  vecLoad: number;
  vecSave: number;
  /** End of the stubs. */
  end: number;
}

/** MXCSR exception masks. */
const MASKS = 0x1f80;

/** Emits all stubs at the cursor. */
export function emitStubs(asm: Asm, pinned: readonly number[], pinnedRegs: readonly number[], abi: Abi): Stubs {
  const saved = abi === 'win64' ? [R.RBP, R.RBX, R.RDI, R.RSI, R.R12, R.R13, R.R14, R.R15] : [R.RBP, R.RBX, R.R12, R.R13, R.R14, R.R15];
  const stubs: Stubs = { enter: 0, resume: 0, abort: 0, yields: [], exit: 0, exitOff: 0, exitOff32: 0, chain: 0, pendingOff: 0, pendingPc: 0, missPc: 0, fpuLoad: 0, fpuSave: 0, vecLoad: 0, vecSave: 0, copy: [], fill: [], readTime: 0, end: 0 };

  const align = (): void => {
    while (asm.p & 15) asm.b(0xcc);
  };
  /** Saves the native context and sets up RBP, MXCSR and the pinned registers. */
  const prologue = (): void => {
    for (const r of saved) asm.push(r);
    asm.lea(3, R.RBP, abi === 'win64' ? R.RCX : R.RDI, NO_INDEX, 0, STATE_BIAS);
    asm.store(3, mem(Slot.X_NATIVE_SP), R.RSP);
    // stmxcsr, then the guest's MXCSR with all exceptions masked.
    asm.sse(0, 1, 0, 0xae, 3, mem(Slot.X_NATIVE_MXCSR));
    asm.load(2, R.RAX, mem(Slot.MXCSR));
    asm.alui(2, Alu.OR, R.RAX, MASKS);
    asm.store(2, mem(Slot.X_SCRATCH), R.RAX);
    asm.sse(0, 1, 0, 0xae, 2, mem(Slot.X_SCRATCH));
    pinned.forEach((slot, k) => asm.load(3, pinnedRegs[k]!, mem(slot)));
  };
  const savePinned = (): void => pinned.forEach((slot, k) => asm.store(3, mem(slot), pinnedRegs[k]!));

  align();
  stubs.fpuLoad = asm.p;
  emitFpuLoad(asm);
  align();
  stubs.fpuSave = asm.p;
  emitFpuSave(asm);
  align();
  stubs.vecLoad = asm.p;
  emitVecLoad(asm, abi === 'win64');
  align();
  stubs.vecSave = asm.p;
  emitVecSave(asm, abi === 'win64');

  // leave: back to the native caller with EAX = slot X_INSN's high word.
  align();
  const leave = asm.p;
  asm.alui(1, Alu.CMP, mem(Slot.X_FPU), 0);
  const clean = asm.jccLater(Cc.E);
  asm.alui(0, Alu.CMP, mem(Slot.X_FPU), 0);
  const noFpu = asm.jccLater(Cc.E);
  asm.call(stubs.fpuSave);
  asm.patch32(noFpu, asm.p);
  asm.alui(0, Alu.CMP, mem(Slot.X_FPU) + 1, 0);
  const noVec = asm.jccLater(Cc.E);
  asm.call(stubs.vecSave);
  asm.patch32(clean, asm.p);
  asm.patch32(noVec, asm.p);
  asm.sse(0, 1, 0, 0xae, 3, mem(Slot.X_SCRATCH));
  asm.load(2, R.RAX, mem(Slot.X_SCRATCH));
  asm.load(2, R.RCX, mem(Slot.MXCSR));
  // Guest MXCSR = its own mask bits, everything else from the register: c ^ ((a ^ c) & ~masks).
  asm.alu(2, Alu.XOR, R.RAX, R.RCX);
  asm.alui(2, Alu.AND, R.RAX, ~MASKS);
  asm.alu(2, Alu.XOR, R.RCX, R.RAX);
  asm.store(2, mem(Slot.MXCSR), R.RCX);
  asm.sse(0, 1, 0, 0xae, 2, mem(Slot.X_NATIVE_MXCSR));
  asm.load(2, R.RAX, mem(Slot.X_INSN) + 4);
  asm.load(3, R.RSP, mem(Slot.X_NATIVE_SP));
  for (const r of [...saved].reverse()) asm.pop(r);
  asm.b(0xfc); // cld
  asm.ret();

  align();
  stubs.enter = asm.p;
  prologue();
  asm.load(3, R.RAX, mem(Slot.PC));
  asm.lea(3, R.RSP, R.RBP, NO_INDEX, 0, STACK_TOP - STATE_BIAS);
  asm.opd(2, 0xff, 4, mem(Slot.X_ENTRY));

  align();
  stubs.resume = asm.p;
  prologue();
  asm.load(3, R.RSP, mem(Slot.X_JIT_SP));
  asm.pop(R.RDI);
  asm.pop(R.RDX);
  asm.pop(R.RCX);
  asm.pop(R.RAX);
  asm.ret();

  align();
  stubs.abort = asm.p;
  // The guard passes the state address in RDI.
  asm.lea(3, R.RBP, R.RDI, NO_INDEX, 0, STATE_BIAS);
  savePinned();
  asm.movi(2, mem(Slot.X_INSN) + 4, Yield.HOST_FAULT);
  asm.movi(3, mem(Slot.X_JIT_SP), 0);
  asm.jmp(leave);

  align();
  const suspend = asm.p;
  asm.push(R.RAX);
  asm.push(R.RCX);
  asm.push(R.RDX);
  asm.push(R.RDI);
  savePinned();
  asm.store(3, mem(Slot.X_JIT_SP), R.RSP);
  asm.jmp(leave);
  for (let kind: number = Yield.LOAD; kind <= Yield.ALIGN; kind++) {
    stubs.yields[kind] = asm.p;
    asm.movi(2, mem(Slot.X_INSN) + 4, kind);
    asm.jmp(suspend);
  }

  align();
  stubs.exit = asm.p;
  savePinned();
  asm.movi(2, mem(Slot.X_INSN) + 4, Yield.EXIT);
  asm.movi(3, mem(Slot.X_JIT_SP), 0);
  asm.jmp(leave);

  /** PC = PCBASE + offset in EAX (signed). */
  const pcFromOff = (mask32: boolean): void => {
    asm.movsx(2, 3, R.RAX, R.RAX);
    asm.alu(3, Alu.ADD, R.RAX, mem(Slot.PCBASE));
    if (mask32) asm.movrr(2, R.RAX, R.RAX);
    asm.store(3, mem(Slot.PC), R.RAX);
  };
  stubs.exitOff = asm.p;
  pcFromOff(false);
  asm.jmp(stubs.exit);
  stubs.exitOff32 = asm.p;
  pcFromOff(true);
  asm.jmp(stubs.exit);
  stubs.chain = asm.p;
  asm.store(2, mem(Slot.X_ADDR), R.RCX);
  asm.movi(2, mem(Slot.X_AUX), ExitCode.CHAIN);
  asm.jmp(stubs.exitOff);
  stubs.pendingOff = asm.p;
  asm.movi(2, mem(Slot.X_AUX), ExitCode.PENDING);
  asm.jmp(stubs.exitOff);
  stubs.pendingPc = asm.p;
  asm.store(3, mem(Slot.PC), R.RAX);
  asm.movi(2, mem(Slot.X_AUX), ExitCode.PENDING);
  asm.jmp(stubs.exit);
  stubs.missPc = asm.p;
  asm.store(3, mem(Slot.PC), R.RAX);
  asm.movi(2, mem(Slot.X_AUX), ExitCode.NEXT);
  asm.jmp(stubs.exit);
  for (let w = 0; w < 4; w++) {
    align();
    stubs.copy[w] = asm.p;
    emitBulkStub(asm, w, true);
    align();
    stubs.fill[w] = asm.p;
    emitBulkStub(asm, w, false);
  }
  align();
  stubs.readTime = asm.p;
  prologue();
  asm.b(0x0f);
  asm.b(0x31);
  asm.shi(3, Sh.SHL, R.RDX, 32);
  asm.alu(3, Alu.OR, R.RAX, R.RDX);
  asm.store(3, mem(Slot.X_VAL), R.RAX);
  asm.jmp(leave);
  align();
  stubs.end = asm.p;
  return stubs;
}

/** Most pages that one COPY or FILL goes on for: an interrupt may wait. */
const BULK_PAGES = 16;

/**
 * Page by page, as long as both sides have TLB entries that allow the access. Elements are moved as the guest's own
 * instruction would, one after the other, so it does not matter how the two ranges overlap.
 */
function emitBulkStub(asm: Asm, w: number, copy: boolean): void {
  const saved = [R.RSI, R.RBX, R.R8, R.R9, R.R10];
  for (const r of saved) asm.push(r);
  asm.push(R.RCX);
  // RSI = source or value, RBX = TLB table, R10 = pages left.
  asm.movrr(3, R.RSI, R.RDX);
  asm.lea(3, R.RBX, R.RBP, R.RAX, 0, 0);
  asm.movi(2, R.R10, BULK_PAGES);
  const out: number[] = [];
  const loop = asm.p;
  asm.test(3, R.RCX, R.RCX);
  out.push(asm.jccLater(Cc.E));
  /** Addend of the page at `addr` to `to`. */
  const look = (addr: number, tag: number, to: number): void => {
    asm.movrr(2, R.RAX, addr);
    asm.shi(2, Sh.SHR, R.RAX, TLB_SHIFT);
    asm.alui(2, Alu.AND, R.RAX, TLB_OFFSETS);
    asm.alu(3, Alu.ADD, R.RAX, R.RBX);
    asm.movrr(3, R.RDX, addr);
    asm.alui(3, Alu.AND, R.RDX, -4096);
    asm.opm(3, 0x3b, R.RDX, R.RAX, NO_INDEX, 0, tag);
    out.push(asm.jccLater(Cc.NE));
    asm.opm(3, 0x8b, to, R.RAX, NO_INDEX, 0, TlbField.ADDEND);
  };
  look(R.RDI, TlbField.TAG_WRITE, R.R8);
  if (copy) look(R.RSI, TlbField.TAG_READ, R.R9);
  // RAX = elements up to the nearer page end.
  asm.movrr(2, R.RAX, R.RDI);
  asm.alui(2, Alu.AND, R.RAX, 4095);
  if (copy) {
    asm.movrr(2, R.RDX, R.RSI);
    asm.alui(2, Alu.AND, R.RDX, 4095);
    asm.alu(2, Alu.CMP, R.RAX, R.RDX);
    asm.cmov(Cc.B, 2, R.RAX, R.RDX);
  }
  asm.opd(2, 0xf7, 3, R.RAX);
  asm.alui(2, Alu.ADD, R.RAX, 4096);
  if (w > 0) asm.shi(2, Sh.SHR, R.RAX, w);
  // An element that crosses the page end is not for here.
  asm.test(2, R.RAX, R.RAX);
  out.push(asm.jccLater(Cc.E));
  asm.alu(3, Alu.CMP, R.RAX, R.RCX);
  asm.cmov(Cc.A, 3, R.RAX, R.RCX);
  asm.movrr(3, R.RDX, R.RCX);
  asm.movrr(3, R.RCX, R.RAX);
  asm.alu(3, Alu.SUB, R.RDX, R.RAX);
  asm.alu(3, Alu.ADD, R.RDI, R.R8);
  if (copy) asm.alu(3, Alu.ADD, R.RSI, R.R9);
  else asm.movrr(3, R.RAX, R.RSI);
  if (w === 1) asm.b(0x66);
  asm.b(0xf3);
  if (w === 3) asm.b(0x48);
  asm.b((copy ? 0xa4 : 0xaa) | (w > 0 ? 1 : 0));
  asm.alu(3, Alu.SUB, R.RDI, R.R8);
  if (copy) asm.alu(3, Alu.SUB, R.RSI, R.R9);
  asm.movrr(3, R.RCX, R.RDX);
  asm.opd(2, 0xff, 1, R.R10);
  asm.jcc(Cc.NE, loop);
  for (const pos of out) asm.patch32(pos, asm.p);
  asm.pop(R.RAX);
  asm.alu(3, Alu.SUB, R.RAX, R.RCX);
  for (const r of saved.reverse()) asm.pop(r);
  asm.ret();
}

/** Jump to an exit stub if PENDING is set. */
export function emitPendingCheck(asm: Asm): number {
  asm.alui(3, Alu.CMP, MEM + Slot.PENDING * 8, 0);
  return asm.jccLater(Cc.NE);
}
