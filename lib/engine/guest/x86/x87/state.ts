/**
 * x87 state in the vCPU's slots: control, status and tag words, the register stack, pending exceptions.
 * Intel SDM vol. 1, 8.1 (execution environment), 8.5 and 8.6 (exceptions), vol. 3, 23.18 (MS-DOS compatible errors).
 */
import { HelperResult, X87Kind } from '../../../helpers.js';
import type { HelperFn, HelperOptions } from '../../../helpers.js';
import type { PhysicalMap } from '../../../cpu.js';
import { Access, NONE, Slot } from '../../../state.js';
import { F80, FpFlag } from '../../../softfloat/softfloat.js';
import type { FpStatus } from '../../../softfloat/softfloat.js';
import { Mode, X } from '../mode.js';

/** What the x87, MMX and XSAVE helpers need of the CPU. */
export interface X87Cpu {
  readonly V: Int32Array;
  readonly U8: Uint8Array;
  readonly map: PhysicalMap;
  mode: number;
  mmuIdx: number;
  /** Control registers, low words, and XCR0. */
  readonly cr0: number;
  readonly cr4: number;
  readonly xcr0: number;
  /** Throw a GuestFault, without and with an error code. */
  raise(vector: number): never;
  raiseError(vector: number, errorCode: number): never;
  load(w: number, addr: number, dst: number, acc: number): void;
  store(w: number, addr: number, val: number, acc: number): void;
  /**
   * CR0.NE = 0 and an x87 error is pending at a waiting instruction: raises FERR# (IRQ 13). True if IGNNE# is active,
   * i.e. the instruction is to be executed nevertheless.
   */
  ferr(): boolean;
  /** MXCSR or FCW changed: recomputes `mode` (Mode.FP_UNMASKED). */
  updateMode(): void;
}

export const enum Vector { UD = 6, NM = 7, GP = 13, MF = 16 }
export const enum Cr0 { MP = 2, EM = 4, TS = 8, NE = 32 }

/** Int32 indexes into V. */
export const enum W {
  FLAGS = Slot.FLAGS * 2,
  /** FCW | FSW << 16. */
  CS = Slot.FPU * 2,
  /** Tag byte | FOP << 16. */
  TAG = Slot.FPU * 2 + 1,
  IP = Slot.FPU_IP * 2,
  DP = Slot.FPU_DP * 2,
  MXCSR = Slot.MXCSR * 2,
}

/** Status word bits. */
export const enum Sw {
  SF = 0x40,
  ES = 0x80,
  C0 = 0x100,
  C1 = 0x200,
  C2 = 0x400,
  C3 = 0x4000,
  CC = 0x4700,
  TOP_SHIFT = 11,
  B = 0x8000,
}

export const FCW_INIT = 0x37f;
export const SIGN_EXP_INDEFINITE = 0xffff;

export const fcw = (cpu: X87Cpu): number => cpu.V[W.CS]! & 0xffff;
export const fsw = (cpu: X87Cpu): number => cpu.V[W.CS]! >>> 16;
export const top = (cpu: X87Cpu): number => (cpu.V[W.CS]! >>> (16 + Sw.TOP_SHIFT)) & 7;
export const tags = (cpu: X87Cpu): number => cpu.V[W.TAG]! & 0xff;

export function setFcw(cpu: X87Cpu, v: number): void {
  cpu.V[W.CS] = (cpu.V[W.CS]! & ~0xffff) | (v & 0x1f3f) | 0x40;
}
export function setFsw(cpu: X87Cpu, v: number): void {
  cpu.V[W.CS] = (cpu.V[W.CS]! & 0xffff) | (v << 16);
}
export function setTags(cpu: X87Cpu, v: number): void {
  cpu.V[W.TAG] = (cpu.V[W.TAG]! & ~0xff) | (v & 0xff);
}
export function setTop(cpu: X87Cpu, t: number): void {
  cpu.V[W.CS] = (cpu.V[W.CS]! & ~(7 << (16 + Sw.TOP_SHIFT))) | ((t & 7) << (16 + Sw.TOP_SHIFT));
}

/** Replaces the condition codes in `mask` by those in `cc`. */
export function setCc(cpu: X87Cpu, mask: number, cc: number): void {
  cpu.V[W.CS] = (cpu.V[W.CS]! & ~(mask << 16)) | (cc << 16);
}
export function setC1(cpu: X87Cpu, on: boolean): void {
  setCc(cpu, Sw.C1, on ? Sw.C1 : 0);
}

/** ES and B follow from the flags and the masks. */
export function updateSummary(cpu: X87Cpu): void {
  const cs = cpu.V[W.CS]!;
  const unmasked = (cs >>> 16) & ~cs & 0x3f;
  cpu.V[W.CS] = unmasked !== 0 ? cs | ((Sw.ES | Sw.B) << 16) : cs & ~((Sw.ES | Sw.B) << 16);
}

/** Scratch slots for memory operands: a value, the sign and exponent of an 80-bit one, an address. */
export const DATA = Slot.TEMP_END - 6;
export const ADDR = Slot.TEMP_END - 5;
export const HIGH = Slot.TEMP_END - 4;

/** Slot ADDR = linear address in slot a, plus 8. */
export function addrPlus8(cpu: X87Cpu, a: number): void {
  const V = cpu.V;
  const lo = (V[a * 2]! >>> 0) + 8;
  V[ADDR * 2] = lo;
  V[ADDR * 2 + 1] = (cpu.mode & Mode.CODE_MASK) === Mode.CODE64 ? V[a * 2 + 1]! + (lo > 0xffff_ffff ? 1 : 0) : 0;
}

/**
 * Helper of a memory source: loads `bytes` bytes at the linear address in slot a, then runs `fn` with the value's slot as a (and that of
 * the sign and exponent of an 80-bit value as b).
 */
export function loading(bytes: number, fn: HelperFn<X87Cpu>): HelperFn<X87Cpu> {
  if (bytes === 10) {
    return (cpu, d, a, _b, c, imm) => {
      addrPlus8(cpu, a);
      cpu.load(3, a, DATA, Access.NORMAL);
      cpu.load(1, ADDR, HIGH, Access.NORMAL);
      return fn(cpu, d, DATA, HIGH, c, imm);
    };
  }
  const w = bytes === 2 ? 1 : bytes === 4 ? 2 : 3;
  return (cpu, d, a, _b, c, imm) => {
    cpu.load(w, a, DATA, Access.NORMAL);
    return fn(cpu, d, DATA, NONE, c, imm);
  };
}

/** Options of helpers that the host's FPU can carry out. */
export const native = (kind: X87Kind, bytes = 0, undef = 0): HelperOptions => ({ x87: { kind, bytes, undef } });
export const REG = native(X87Kind.REG);

/** Physical register number of ST(i). */
export const phys = (cpu: X87Cpu, i: number): number => (top(cpu) + i) & 7;
export const isEmpty = (cpu: X87Cpu, i: number): boolean => ((cpu.V[W.TAG]! >>> phys(cpu, i)) & 1) === 0;

/** 64-bit view of the state region last used; vCPUs rarely alternate within one isolate. */
let viewOf: Int32Array | undefined;
let view: BigUint64Array = new BigUint64Array(0);
export function slots64(V: Int32Array): BigUint64Array {
  if (V !== viewOf) {
    view = new BigUint64Array(V.buffer, V.byteOffset, V.byteLength >>> 3);
    viewOf = V;
  }
  return view;
}

/** Reads physical register r as an F80 bit pattern. */
export function readPhys(cpu: X87Cpu, r: number): bigint {
  const s = Slot.X87 + 2 * r;
  return (BigInt(cpu.V[(s + 1) * 2]! & 0xffff) << 64n) | slots64(cpu.V)[s]!;
}
/** Writes physical register r and marks it not empty. */
export function writePhys(cpu: X87Cpu, r: number, v: bigint): void {
  const s = Slot.X87 + 2 * r;
  slots64(cpu.V)[s] = BigInt.asUintN(64, v);
  cpu.V[(s + 1) * 2] = Number(v >> 64n);
  cpu.V[W.TAG] = cpu.V[W.TAG]! | (1 << r);
}
export const st = (cpu: X87Cpu, i: number): bigint => readPhys(cpu, phys(cpu, i));
export const setSt = (cpu: X87Cpu, i: number, v: bigint): void => writePhys(cpu, phys(cpu, i), v);

export function pop(cpu: X87Cpu): void {
  const t = top(cpu);
  cpu.V[W.TAG] = cpu.V[W.TAG]! & ~(1 << t);
  setTop(cpu, t + 1);
}
export function push(cpu: X87Cpu, v: bigint): void {
  const t = (top(cpu) - 1) & 7;
  setTop(cpu, t);
  writePhys(cpu, t, v);
}

/**
 * Start of every waiting, non-control instruction: reports a pending unmasked exception, then records the instruction
 * pointer, opcode (imm bits 16..26) and, for memory forms, the operand pointer.
 * @returns true if the helper must return DISPATCH at once (PC is set to retry the instruction).
 */
export function begin(cpu: X87Cpu, imm: number, ea: number): boolean {
  const V = cpu.V;
  if ((V[W.CS]! & (Sw.ES << 16)) !== 0 && pendingError(cpu)) return true;
  V[W.TAG] = (V[W.TAG]! & 0xffff) | (imm & 0x07ff_0000);
  const lo = V[Slot.PCBASE * 2]! + (V[Slot.X_INSN * 2]! & 0xffff);
  if ((cpu.mode & Mode.CSFLAT) !== 0) {
    V[W.IP] = lo;
    V[W.IP + 1] = V[Slot.PCBASE * 2 + 1]!;
  } else {
    V[W.IP] = lo - V[(X.SEGBASE + 1) * 2]!;
    V[W.IP + 1] = 0;
  }
  if (ea >= 0) {
    V[W.DP] = V[ea * 2]!;
    V[W.DP + 1] = (cpu.mode & Mode.CODE_MASK) === Mode.CODE64 ? V[ea * 2 + 1]! : 0;
  }
  return false;
}

/** An unmasked exception is pending and a waiting instruction comes. @returns true to retry (see `begin`). */
export function pendingError(cpu: X87Cpu): boolean {
  if ((cpu.cr0 & Cr0.NE) !== 0) cpu.raise(Vector.MF);
  if (cpu.ferr()) return false;
  // The processor freezes in front of this instruction until the interrupt comes.
  const V = cpu.V;
  V[Slot.PC * 2] = V[Slot.PCBASE * 2]! + (V[Slot.X_INSN * 2]! & 0xffff);
  V[Slot.PC * 2 + 1] = V[Slot.PCBASE * 2 + 1]!;
  return true;
}

/** Ends the block after the current instruction: the mode word changed. */
export function dispatchNext(cpu: X87Cpu): HelperResult {
  const V = cpu.V;
  const lo = (V[Slot.PCBASE * 2]! >>> 0) + (V[Slot.X_INSN * 2]! >>> 16);
  V[Slot.PC * 2] = lo;
  V[Slot.PC * 2 + 1] = V[Slot.PCBASE * 2 + 1]! + (lo > 0xffff_ffff ? 1 : 0);
  if ((cpu.mode & Mode.CODE_MASK) !== Mode.CODE64) V[Slot.PC * 2 + 1] = 0;
  return HelperResult.DISPATCH;
}

/** MXCSR or FCW were loaded: recomputes the mode and leaves the block if it changed. */
export function afterControlLoad(cpu: X87Cpu): HelperResult {
  const before = cpu.mode;
  cpu.updateMode();
  return cpu.mode === before ? HelperResult.CONTINUE : dispatchNext(cpu);
}

/** The one status record of the x87 helpers. */
export const status: FpStatus = { rm: 0, flags: 0, daz: false, ftz: false, precision: 64, unmasked: 0, roundedUp: false };

const PRECISION = [24, 64, 53, 64] as const;

/** Resets `status` from FCW. */
export function startOp(cpu: X87Cpu): FpStatus {
  const c = cpu.V[W.CS]!;
  status.rm = (c >>> 10) & 3;
  status.flags = 0;
  status.precision = PRECISION[(c >>> 8) & 3]!;
  status.unmasked = ~c & 0x3f;
  status.roundedUp = false;
  return status;
}

/** Exceptions that, when unmasked, keep the operation from being performed. */
export const PRE = FpFlag.IE | FpFlag.DE | FpFlag.ZE;

/** Ors exception flags into FSW. @returns those that are unmasked (ES is set then). */
export function signal(cpu: X87Cpu, flags: number): number {
  const cs = cpu.V[W.CS]!;
  const unmasked = flags & ~cs & 0x3f;
  cpu.V[W.CS] = cs | (flags << 16) | (unmasked !== 0 ? (Sw.ES | Sw.B) << 16 : 0);
  return unmasked;
}

/**
 * Reports the exceptions of an operation and sets C1 to "rounded up".
 * @returns true if the result is to be delivered (no unmasked pre-computation exception).
 */
export function finish(cpu: X87Cpu, s: FpStatus): boolean {
  const blocked = s.flags & PRE & (s.unmasked ?? 0);
  if (blocked !== 0) {
    setC1(cpu, false);
    signal(cpu, s.flags & PRE);
    return false;
  }
  setC1(cpu, (s.flags & FpFlag.PE) !== 0 && s.roundedUp === true);
  signal(cpu, s.flags);
  return true;
}

/** Stack overflow or underflow: IE, SF and C1. @returns true if masked: deliver the indefinite NaN. */
export function stackFault(cpu: X87Cpu, overflow: boolean): boolean {
  setC1(cpu, overflow);
  return signal(cpu, FpFlag.IE | Sw.SF) === 0;
}

export const INDEFINITE = F80.defaultNaN;

/** FNINIT (SDM vol. 2, FINIT): registers keep their contents, all are empty. */
export function init(cpu: X87Cpu): void {
  const V = cpu.V;
  V[W.CS] = FCW_INIT;
  V[W.TAG] = 0;
  V[W.IP] = 0;
  V[W.IP + 1] = 0;
  V[W.DP] = 0;
  V[W.DP + 1] = 0;
}
