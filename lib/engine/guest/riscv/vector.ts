/**
 * The vector extension "V", version 1.0 (vol. I, chapter 30), with ELEN = 64 and VLEN = 128 or 256. Every instruction is a call of one helper, which
 * looks at mstatus.VS and vtype when it runs: neither is part of the mode word. Elements that are masked or past vl are undisturbed, whatever vta and
 * vma say, which both policies allow (docs/adr/0057).
 */
import { HelperResult } from '../../helpers.js';
import type { RiscvCpu } from './cpu.js';
import { Csr, Ms, X } from './defs.js';
import { VectorFloat } from './vector-float.js';
import { VectorInteger } from './vector-int.js';
import { VectorMemory } from './vector-memory.js';
import { VectorPermute } from './vector-permute.js';
import { VectorState } from './vector-state.js';
import { findVector, Kind } from './vector-table.js';

const OP_V = 0x57;
const VILL_HI = 0x8000_0000 | 0;
/** What vtype may hold: vma, vta, vsew, vlmul. */
const VTYPE = 0xff;

export class VectorUnit {
  readonly state: VectorState;
  private readonly integer: VectorInteger;
  private readonly permute: VectorPermute;
  private readonly float: VectorFloat;
  private readonly memory: VectorMemory;

  /** @param vlenb VLEN in bytes */
  constructor(private readonly cpu: RiscvCpu, readonly vlenb: number) {
    this.state = new VectorState(cpu, vlenb);
    this.integer = new VectorInteger(this.state);
    this.permute = new VectorPermute(this.state);
    this.float = new VectorFloat(this.state, this.permute);
    this.memory = new VectorMemory(this.state);
  }

  reset(): void {
    const { V } = this.cpu;
    V.fill(0, X.V * 2, X.V * 2 + 32 * (this.vlenb >> 2));
    V.fill(0, X.VSTART * 2, (X.VXRM + 1) * 2);
    V[X.VTYPE * 2 + 1] = VILL_HI;
  }

  // ---- CSRs

  /** Result of `read`. */
  lo = 0;
  hi = 0;

  /** Reads a CSR to lo and hi. @returns false: not one of these */
  read(n: number): boolean {
    const { V } = this.cpu;
    this.hi = 0;
    switch (n as Csr) {
      case Csr.VSTART: this.lo = V[X.VSTART * 2]!; break;
      case Csr.VXSAT: this.lo = V[X.VXSAT * 2]!; break;
      case Csr.VXRM: this.lo = V[X.VXRM * 2]!; break;
      case Csr.VCSR: this.lo = (V[X.VXRM * 2]! << 1) | V[X.VXSAT * 2]!; break;
      case Csr.VL: this.lo = V[X.VL * 2]!; break;
      case Csr.VTYPE:
        this.lo = V[X.VTYPE * 2]!;
        this.hi = V[X.VTYPE * 2 + 1]!;
        break;
      case Csr.VLENB: this.lo = this.vlenb; break;
      default: return false;
    }
    return true;
  }

  write(n: number, lo: number): void {
    const { V } = this.cpu;
    // vstart holds what indexes of elements need: with SEW = 8 and LMUL = 8 there are VLEN of them.
    if (n === (Csr.VSTART as number)) V[X.VSTART * 2] = lo & (this.vlenb * 8 - 1);
    else {
      const all = n === (Csr.VCSR as number);
      if (all || n === (Csr.VXSAT as number)) V[X.VXSAT * 2] = lo & 1;
      if (all || n === (Csr.VXRM as number)) V[X.VXRM * 2] = (all ? lo >> 1 : lo) & 3;
    }
    V[X.MSTATUS * 2]! |= Ms.VS;
  }

  // ---- instructions

  /** @param dst slot of rd @param a slot of rs1 @param b slot of rs2 */
  execute(insn: number, dst: number, a: number, b: number): HelperResult {
    const { cpu, state } = this;
    const { V } = cpu;
    if ((V[X.MSTATUS * 2]! & Ms.VS) === 0) throw cpu.illegal(insn);
    const valid = state.begin(insn);
    if ((insn & 0x7f) !== OP_V) {
      // Part of it may happen before a fault.
      V[X.MSTATUS * 2]! |= Ms.VS;
      this.memory.execute(valid, a, b);
    } else if ((insn & 0x7000) === 0x7000) {
      this.configure(insn, dst, a, b);
    } else {
      state.require(valid);
      if (this.arithmetic(insn, dst, a)) return this.floatDone();
    }
    this.done();
    return HelperResult.CONTINUE;
  }

  private done(): void {
    const { V } = this.cpu;
    V[X.VSTART * 2] = 0;
    V[X.MSTATUS * 2]! |= Ms.VS;
  }

  /** Floating-point state may have changed, which the mode word knows. */
  private floatDone(): HelperResult {
    const { cpu } = this;
    this.done();
    if ((cpu.csr.mstatus & Ms.FS) === Ms.FS) return HelperResult.CONTINUE;
    const { mode } = cpu;
    cpu.csr.mstatus |= Ms.FS;
    cpu.updateMode();
    if (cpu.mode === mode) return HelperResult.CONTINUE;
    cpu.retired();
    cpu.setPcToNext();
    return HelperResult.DISPATCH;
  }

  /** @returns true for floating point */
  private arithmetic(insn: number, dst: number, a: number): boolean {
    const { cpu, state } = this;
    const { V } = cpu;
    const row = findVector(insn);
    if (row === null) throw cpu.illegal(insn);
    const { kind } = row;
    if (kind >= Kind.FLOAT || ((kind === Kind.SLIDE1_UP || kind === Kind.SLIDE1_DOWN) && row.op === 1)) {
      this.float.execute(row, dst, a);
      return true;
    }
    if (kind <= Kind.INT_REDUCE_WIDE || kind === Kind.EXTEND) {
      const { alu } = this.integer;
      alu.rounding = V[X.VXRM * 2]!;
      alu.saturated = false;
      this.integer.execute(row, a);
      if (alu.saturated) V[X.VXSAT * 2] = 1;
    } else if (kind === Kind.SLIDE1_UP || kind === Kind.SLIDE1_DOWN) {
      this.permute.slideOne(kind === Kind.SLIDE1_UP, state.i32[a * 2]!, state.i32[a * 2 + 1]!);
    } else this.permute.execute(row, dst, a);
    return false;
  }

  /** VSETVLI, VSETIVLI, VSETVL (30.6). */
  private configure(insn: number, dst: number, a: number, b: number): void {
    const { cpu, state } = this;
    const { V } = cpu;
    let type: number;
    let typeHi = 0;
    if (insn >= 0) type = (insn >>> 20) & 0x7ff;
    else if ((insn & 0x4000_0000) !== 0) type = (insn >>> 20) & 0x3ff;
    else {
      state.require((insn & 0x3e00_0000) === 0);
      type = V[b * 2]!;
      typeHi = V[b * 2 + 1]!;
    }
    const sew = (type >>> 3) & 7;
    const lmul = ((type & 7) << 29) >> 29;
    // SEW up to ELEN, and one element at least in a fractional group.
    const legal = (type & ~VTYPE) === 0 && typeHi === 0 && sew <= 3 && lmul !== -4 && this.vlenb >> Math.max(0, -lmul) >= 1 << sew;
    if (!legal) {
      V[X.VTYPE * 2] = 0;
      V[X.VTYPE * 2 + 1] = VILL_HI;
      V[X.VL * 2] = 0;
    } else {
      const max = state.max(sew, lmul);
      V[X.VTYPE * 2] = type;
      V[X.VTYPE * 2 + 1] = 0;
      V[X.VL * 2] = this.length(insn, a, max);
    }
    cpu.setReg(dst, V[X.VL * 2]!, 0);
  }

  /** vl from AVL (30.6.2). */
  private length(insn: number, a: number, max: number): number {
    const { V } = this.cpu;
    const rs1 = (insn >>> 15) & 31;
    if ((insn & 0xc000_0000) === (0xc000_0000 | 0)) return Math.min(rs1, max);
    if (rs1 === 0) return (insn & 0xf80) === 0 ? Math.min(V[X.VL * 2]!, max) : max;
    return V[a * 2 + 1] !== 0 ? max : Math.min(V[a * 2]! >>> 0, max);
  }
}
