/**
 * Shared code at the start of the exec region: entering and resuming generated code, yielding to TypeScript, leaving.
 *
 * Generated code runs on a private stack in the state region, just below the TLB tables. A yield pushes the scratch
 * registers there, stores the pinned registers to their slots and returns to the native caller; resuming does the reverse.
 */
import { Cc, ExitCode, MMU_INDEXES, Slot, STATE_BIAS, TLB_BASE, TLB_CODE, TLB_OFFSETS, TLB_SHIFT, TLB_TABLE_BYTES, TlbField, Yield } from '../../state.js';
import { Alu, Asm, NO_INDEX, R, Sh, mem } from './asm.js';
import { emitVecLoad, emitVecSave } from './emit-vec.js';
import { emitFpuLoad, emitFpuSave } from './emit-x87.js';
import { emitCrossing } from './crossing.js';
import { emitSlow, GRANULE_SHIFT, Slow } from './slow-access.js';
import { CHAIN_DELTA, JUMP_TARGETS, jumpCacheProbe, pendingCheck, returnOrElse } from './templates.js';

/**
 * Byte offset in the state region of the top of the private stack (it grows down): the return stack, then what a yield has pushed. Above
 * it lies a tag that nothing matches.
 */
export const STACK_TOP = TLB_BASE - 16;

/** Bytes of the return stack: 16 for each return, the linear address above the host's. */
const RETURNS_BYTES = 64 * 16;
/** A call with the stack pointer below this offset starts the return stack anew. */
export const RETURNS_END = STACK_TOP - RETURNS_BYTES + 16;

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
  /** Called by the cold path of a chain site (`unchained` in templates.ts). */
  chain: number;
  /** EAX = page offset within the page: PENDING is set. */
  pendingOff: number;
  /** RAX = linear pc: PENDING is set. */
  pendingPc: number;
  /** RAX = linear pc: not in the jump cache. */
  missPc: number;
  /** The same; EDX = X_INSN of the branch, for the target may turn out to be no address at all: then the branch is what faults. */
  missInsn: number;
  /** Where jump cache entries lead that lead to no block. */
  missEntry: number;
  /** By MMU index: emit-flow.ts goes to other pages, and calls and returns, through these (emitTransfers). */
  transfers: Transfers[];
  /** Ops COPY and FILL, by width: see emitBulk. RAX = elements done; RCX, RDX, RDI are lost. */
  copy: number[];
  fill: number[];
  /** By MMU index: in place of the yields LOAD and STORE. They do accesses that cross the end of a page, if the TLB knows both, and yield otherwise (crossing.ts). */
  crossLoad: number[];
  crossStore: number[];
  /**
   * By MMU index: in place of the yields LOAD (of a read-modify-write) and STORE. They do the access if only code on the page has
   * kept it from the TLB, and yield otherwise.
   */
  codeLoad: number[];
  codeStore: number[];
  /** By MMU index: a load, the load of a read-modify-write, the store of a register and of a constant: called with data behind the call (slow-access.ts). */
  slowLoad: number[];
  slowRmw: number[];
  slowStore: number[];
  slowStoreImm: number[];
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

/**
 * Jumped to, the call ones called, with RAX = linear pc (of those named off EAX = page offset, of those named off32 the same in a mode whose addresses wrap
 * at 32 bits) and EDX = X_INSN of the branch. Calls put the linear pc after them on the return stack (call32: wrapped). A return has its mode in ECX.
 */
export interface Transfers {
  jump: number;
  jumpOff: number;
  jumpOff32: number;
  call: number;
  call32: number;
  callOff: number;
  callOff32: number;
  ret: number;
}

/** Bytes that a yield has on the stack: a return address and four registers. */
const YIELD_FRAME = 40;
/** MXCSR: flush to zero, rounding control, denormals are zeros. All 0 in the modes that native code runs in. */
const MODES = 0xe040;
/** MXCSR exception masks. */
const MASKS = 0x1f80;

function align16(asm: Asm): void {
  while (asm.p & 15) asm.b(0xcc);
}

/** Registers that the native caller wants back. */
export function savedRegisters(abi: Abi): readonly number[] {
  return abi === 'win64' ? [R.RBP, R.RBX, R.RDI, R.RSI, R.R12, R.R13, R.R14, R.R15] : [R.RBP, R.RBX, R.R12, R.R13, R.R14, R.R15];
}

/** Emits all stubs at the cursor. */
export function emitStubs(asm: Asm, pinned: readonly number[], pinnedRegs: readonly number[], abi: Abi): Stubs {
  const saved = savedRegisters(abi);
  const stubs: Stubs = { enter: 0, resume: 0, abort: 0, yields: [], exit: 0, exitOff: 0, exitOff32: 0, chain: 0, pendingOff: 0, pendingPc: 0, missPc: 0, missInsn: 0, missEntry: 0, transfers: [], fpuLoad: 0, fpuSave: 0, vecLoad: 0, vecSave: 0, copy: [], fill: [], crossLoad: [], crossStore: [], codeLoad: [], codeStore: [], slowLoad: [], slowRmw: [], slowStore: [], slowStoreImm: [], readTime: 0, end: 0 };

  const align = (): void => align16(asm);
  /** Saves the native context and sets up RBP, MXCSR and the pinned registers. */
  const prologue = (): void => {
    for (const r of saved) asm.push(r);
    asm.lea(3, R.RBP, abi === 'win64' ? R.RCX : R.RDI, NO_INDEX, 0, STATE_BIAS);
    asm.store(3, mem(Slot.X_NATIVE_SP), R.RSP);
    // The guest's MXCSR with all exceptions masked.
    asm.load(2, R.RAX, mem(Slot.MXCSR));
    asm.alui(2, Alu.OR, R.RAX, MASKS);
    asm.store(2, mem(Slot.X_SCRATCH), R.RAX);
    asm.sse(0, 1, 0, 0xae, 2, mem(Slot.X_SCRATCH));
    pinned.forEach((slot, k) => asm.load(3, pinnedRegs[k]!, mem(slot)));
  };
  /** RAX = stack pointer without a yield's frame. */
  const saveReturns = (): void => {
    asm.alu(3, Alu.SUB, R.RAX, R.RBP);
    asm.store(2, mem(Slot.X_RETURNS), R.RAX);
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
  asm.load(2, R.RCX, mem(Slot.MXCSR));
  asm.alui(2, Alu.CMP, mem(Slot.X_MXCSR_USED), 0);
  const unused = asm.jccLater(Cc.E);
  asm.sse(0, 1, 0, 0xae, 3, mem(Slot.X_SCRATCH));
  asm.load(2, R.RAX, mem(Slot.X_SCRATCH));
  // Guest MXCSR = its own mask bits, everything else from the register: c ^ ((a ^ c) & ~masks).
  asm.alu(2, Alu.XOR, R.RAX, R.RCX);
  asm.alui(2, Alu.AND, R.RAX, ~MASKS);
  asm.alu(2, Alu.XOR, R.RCX, R.RAX);
  asm.store(2, mem(Slot.MXCSR), R.RCX);
  asm.patch32(unused, asm.p);
  // The native caller has the modes of the ABI, and its flags mean nothing.
  asm.testi(2, R.RCX, MODES);
  const same = asm.jccLater(Cc.E);
  asm.movi(2, mem(Slot.X_SCRATCH), MASKS);
  asm.sse(0, 1, 0, 0xae, 2, mem(Slot.X_SCRATCH));
  asm.patch32(same, asm.p);
  asm.load(2, R.RAX, mem(Slot.X_INSN) + 4);
  asm.load(3, R.RSP, mem(Slot.X_NATIVE_SP));
  for (const r of [...saved].reverse()) asm.pop(r);
  asm.b(0xfc); // cld
  asm.ret();

  align();
  stubs.enter = asm.p;
  prologue();
  asm.movi(2, mem(Slot.X_MXCSR_USED), 0);
  asm.load(3, R.RAX, mem(Slot.PC));
  setPage(asm);
  asm.movsx(2, 3, R.RSP, mem(Slot.X_RETURNS));
  asm.alu(3, Alu.ADD, R.RSP, R.RBP);
  asm.opd(2, 0xff, 4, mem(Slot.X_ENTRY));

  align();
  stubs.resume = asm.p;
  prologue();
  asm.load(3, R.RSP, mem(Slot.X_JIT_SP));
  // Where to go on is an address if the yield was called, a position in the code if it was jumped to.
  asm.opm(3, 0x8b, R.RDI, R.RSP, NO_INDEX, 0, YIELD_FRAME - 8);
  asm.leaCode(R.RDX, 0);
  asm.alu(3, Alu.CMP, R.RDI, R.RDX);
  const called = asm.jccLater(Cc.AE);
  asm.alu(3, Alu.ADD, R.RDX, R.RDI);
  asm.store(3, mem(Slot.X_SCRATCH), R.RDX);
  asm.pop(R.RDI);
  asm.pop(R.RDX);
  asm.pop(R.RCX);
  asm.pop(R.RAX);
  asm.lea(3, R.RSP, R.RSP, NO_INDEX, 0, 8);
  asm.opd(2, 0xff, 4, mem(Slot.X_SCRATCH));
  asm.patch32(called, asm.p);
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
  asm.movi(2, mem(Slot.X_RETURNS), STACK_TOP - STATE_BIAS);
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
  asm.lea(3, R.RAX, R.RSP, NO_INDEX, 0, YIELD_FRAME);
  saveReturns();
  asm.jmp(leave);
  for (let kind: number = Yield.LOAD; kind <= Yield.ALIGN; kind++) {
    stubs.yields[kind] = asm.p;
    asm.movi(2, mem(Slot.X_INSN) + 4, kind);
    asm.jmp(suspend);
  }

  align();
  stubs.exit = asm.p;
  savePinned();
  asm.movrr(3, R.RAX, R.RSP);
  saveReturns();
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
  // RCX = address after the call, in the code: that less the distance to the site is what the site is known by.
  asm.pop(R.RCX);
  asm.opm(2, 0x8b, R.RAX, R.RCX, NO_INDEX, 0, 1);
  asm.leaCode(R.RDX, 0);
  asm.alu(3, Alu.SUB, R.RCX, R.RDX);
  asm.movrr(2, R.RDX, R.RAX);
  asm.shi(2, Sh.SHR, R.RDX, CHAIN_DELTA);
  asm.alu(2, Alu.SUB, R.RCX, R.RDX);
  asm.alui(2, Alu.AND, R.RAX, (1 << CHAIN_DELTA) - 1);
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
  stubs.missEntry = asm.p;
  asm.store(3, mem(Slot.PCBASE), R.RDI);
  asm.jmp(stubs.missPc);
  stubs.missInsn = asm.p;
  asm.store(2, mem(Slot.X_INSN), R.RDX);
  asm.jmp(stubs.missPc);
  for (let idx = 0; idx < MMU_INDEXES; idx++) {
    align();
    stubs.transfers.push(emitTransfers(asm, idx, stubs));
  }
  for (let w = 0; w < 4; w++) {
    align();
    stubs.copy[w] = asm.p;
    emitBulkStub(asm, w, true);
    align();
    stubs.fill[w] = asm.p;
    emitBulkStub(asm, w, false);
  }
  for (let idx = 0; idx < MMU_INDEXES; idx++) {
    align();
    stubs.crossLoad[idx] = emitCrossing(asm, idx, stubs.yields[Yield.LOAD]!, false);
    align();
    stubs.crossStore[idx] = emitCrossing(asm, idx, stubs.yields[Yield.STORE]!, true);
    align();
    stubs.codeLoad[idx] = asm.p;
    emitCodeAccess(asm, idx, stubs.yields[Yield.LOAD]!, false);
    align();
    stubs.codeStore[idx] = asm.p;
    emitCodeAccess(asm, idx, stubs.crossStore[idx]!, true);
  }
  for (let idx = 0; idx < MMU_INDEXES; idx++) {
    align();
    stubs.slowLoad[idx] = emitSlow(asm, Slow.LOAD, false, idx, stubs.crossLoad[idx]!);
    align();
    stubs.slowRmw[idx] = emitSlow(asm, Slow.LOAD, true, idx, stubs.yields[Yield.LOAD]!);
    align();
    stubs.slowStore[idx] = emitSlow(asm, Slow.STORE, false, idx, stubs.crossStore[idx]!);
    align();
    stubs.slowStoreImm[idx] = emitSlow(asm, Slow.STORE_IMM, false, idx, stubs.crossStore[idx]!);
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

/** PCBASE = page of the linear pc in RAX. RDX is lost. */
function setPage(asm: Asm): void {
  asm.movrr(3, R.RDX, R.RAX);
  asm.alui(3, Alu.AND, R.RDX, -4096);
  asm.store(3, mem(Slot.PCBASE), R.RDX);
}

/**
 * Jumps through the jump cache of an MMU index, calls and returns. One copy of each is enough for the host's prediction, which goes by the path that led here;
 * a copy in every block would be a third of all code (docs/adr/0063).
 */
function emitTransfers(asm: Asm, mmuIdx: number, stubs: Stubs): Transfers {
  const t: Transfers = { jump: 0, jumpOff: 0, jumpOff32: 0, call: 0, call32: 0, callOff: 0, callOff32: 0, ret: 0 };
  const pending = (): void => asm.patch32(pendingCheck(asm), stubs.pendingPc);
  const fromOff = (mask32: boolean): void => {
    if (mask32) {
      asm.alu(2, Alu.ADD, R.RAX, mem(Slot.PCBASE));
    } else {
      asm.movsx(2, 3, R.RAX, R.RAX);
      asm.alu(3, Alu.ADD, R.RAX, mem(Slot.PCBASE));
    }
  };
  /** Goes where the jump cache says. */
  const through = (): void => {
    asm.patch32(jumpCacheProbe(asm, mmuIdx), stubs.missInsn);
    // missEntry wants what the branch has left behind.
    asm.store(2, mem(Slot.X_INSN), R.RDX);
    asm.load(3, R.RDI, mem(Slot.PCBASE));
    setPage(asm);
    asm.opm(2, 0xff, 4, R.RBP, R.RCX, 0, JUMP_TARGETS);
  };
  t.jumpOff32 = asm.p;
  fromOff(true);
  const on32 = asm.jmpLater();
  align16(asm);
  t.jumpOff = asm.p;
  fromOff(false);
  t.jump = asm.p;
  asm.patch32(on32, asm.p);
  pending();
  const probe = asm.p;
  through();
  align16(asm);
  t.ret = asm.p;
  pending();
  asm.opm(3, 0x3b, R.RAX, R.RSP, NO_INDEX, 0, 8);
  const other = asm.jccLater(Cc.NE);
  setPage(asm);
  asm.ret();
  // What is on the stack belongs to other code: another thread, a longjmp.
  asm.patch32(other, asm.p);
  asm.lea(3, R.RSP, R.RBP, NO_INDEX, 0, STACK_TOP - STATE_BIAS);
  asm.jmp(probe);
  for (const mask32 of [false, true]) {
    align16(asm);
    const off = asm.p;
    fromOff(mask32);
    const direct = asm.p;
    // The return address goes above the host's. If PENDING is set there has been no call.
    asm.pop(R.RDI);
    pending();
    asm.lea(3, R.RCX, R.RBP, NO_INDEX, 0, RETURNS_END - STATE_BIAS);
    asm.alu(3, Alu.CMP, R.RSP, R.RCX);
    const full = asm.jccLater(Cc.B);
    const room = asm.p;
    asm.movrr(2, R.RCX, R.RDX);
    asm.shi(2, Sh.SHR, R.RCX, 16);
    asm.alu(mask32 ? 2 : 3, Alu.ADD, R.RCX, mem(Slot.PCBASE));
    asm.push(R.RCX);
    asm.push(R.RDI);
    through();
    asm.patch32(full, asm.p);
    asm.lea(3, R.RSP, R.RBP, NO_INDEX, 0, STACK_TOP - STATE_BIAS);
    asm.jmp(room);
    if (mask32) {
      t.callOff32 = off;
      t.call32 = direct;
    } else {
      t.callOff = off;
      t.call = direct;
    }
  }
  return t;
}

/** Body of codeLoad and codeStore. The access is described in X_ADDR, X_VAL and X_AUX, as for a yield. */
function emitCodeAccess(asm: Asm, mmuIdx: number, otherwise: number, store: boolean): void {
  const saved = [R.RAX, R.RCX, R.RDX, R.RDI, R.RSI];
  for (const r of saved) asm.push(r);
  const out: number[] = [];
  asm.load(3, R.RAX, mem(Slot.X_ADDR));
  asm.movrr(2, R.RCX, R.RAX);
  asm.shi(2, Sh.SHR, R.RCX, TLB_SHIFT);
  asm.alui(2, Alu.AND, R.RCX, TLB_OFFSETS);
  asm.lea(3, R.RCX, R.RBP, R.RCX, 0, TLB_BASE + mmuIdx * TLB_TABLE_BYTES - STATE_BIAS);
  asm.movrr(3, R.RDX, R.RAX);
  asm.alui(3, Alu.AND, R.RDX, -4096);
  asm.opm(3, 0x3b, R.RDX, R.RCX, NO_INDEX, 0, TlbField.TAG_READ);
  out.push(asm.jccLater(Cc.NE));
  asm.opm(2, 0x8b, R.RDX, R.RCX, NO_INDEX, 0, TlbField.RAM_PAGE);
  asm.testi(2, R.RDX, TLB_CODE);
  out.push(asm.jccLater(Cc.E));
  asm.opm(3, 0x8b, R.RDI, R.RCX, NO_INDEX, 0, TlbField.ADDEND);
  // RAX, RSI = first and last byte within the page, RCX = width.
  asm.movzx(0, R.RCX, mem(Slot.X_AUX));
  asm.movi(2, R.RSI, 1);
  asm.shcl(2, Sh.SHL, R.RSI);
  asm.alui(2, Alu.AND, R.RAX, 4095);
  asm.lea(3, R.RSI, R.RSI, R.RAX, 0, -1);
  asm.alui(2, Alu.CMP, R.RSI, 4096);
  out.push(asm.jccLater(Cc.AE));
  if (store) {
    asm.alui(3, Alu.CMP, mem(Slot.CODE_MAP), 0);
    out.push(asm.jccLater(Cc.E));
    // A page's bits are one 64-bit word of the map.
    asm.shi(2, Sh.SHR, R.RDX, 12);
    asm.shi(3, Sh.SHL, R.RDX, 3);
    asm.alu(3, Alu.ADD, R.RDX, mem(Slot.CODE_MAP));
    asm.opm(3, 0x8b, R.RDX, R.RDX, NO_INDEX, 0, 0);
    for (const r of [R.RAX, R.RSI]) {
      asm.shi(2, Sh.SHR, r, GRANULE_SHIFT);
      asm.op0f(3, 0xa3, r, R.RDX);
      out.push(asm.jccLater(Cc.B));
    }
  }
  asm.alu(3, Alu.ADD, R.RDI, mem(Slot.X_ADDR));
  if (store) asm.load(3, R.RAX, mem(Slot.X_VAL));
  const done: number[] = [];
  for (let w = 0; w < 4; w++) {
    let next = 0;
    if (w < 3) {
      asm.alui(2, Alu.CMP, R.RCX, w);
      next = asm.jccLater(Cc.NE);
    }
    if (store) asm.opm(w, 0x89, R.RAX, R.RDI, NO_INDEX, 0, 0);
    else asm.movzxMem(w, R.RAX, R.RDI, NO_INDEX);
    if (w < 3) {
      done.push(asm.jmpLater());
      asm.patch32(next, asm.p);
    }
  }
  for (const pos of done) asm.patch32(pos, asm.p);
  if (!store) asm.store(3, mem(Slot.X_VAL), R.RAX);
  returnOrElse(asm, saved, out, otherwise);
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

/** Linear address that no code runs at: canonical in no paging mode. */
const NOWHERE = 0x4000_0000;

/** Empties the return stack. Not while code is suspended. */
export function resetReturns(V: Int32Array): void {
  V[Slot.X_RETURNS * 2] = STACK_TOP - STATE_BIAS;
  V[(STACK_TOP + 8) >> 2] = 0;
  V[(STACK_TOP + 12) >> 2] = NOWHERE;
}

/** Makes everything on the return stack something that matches no return. */
export function dropReturns(V: Int32Array): void {
  for (let at = (V[Slot.X_RETURNS * 2]! + STATE_BIAS + 12) >> 2; at < STACK_TOP >> 2; at += 4) V[at] = NOWHERE;
}
