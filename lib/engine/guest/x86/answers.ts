/**
 * Answers of CPUID and RDMSR that generated code gives by itself. A place in the code nearly always asks for the same leaf or register, so each instruction
 * compares what it is asked with what it was asked last, in one of ANSWERS places by its page offset, and calls the helper if that differs.
 */
import { ANSWERS, X } from './mode.js';
import type { X86Cpu } from './cpu.js';
import { Cr4 } from './defs.js';

export class Answers {
  constructor(private readonly cpu: X86Cpu) {}

  /** Anything may have changed. */
  forget(): void {
    this.cpu.V[X.CPUID_STALE * 2] = 1;
    this.forgetMsrs();
  }

  /** Some register may have changed that RDMSR reads. */
  forgetMsrs(): void {
    const { V } = this.cpu;
    for (let i = 0; i < ANSWERS; i++) V[(X.RDMSR + i * 2) * 2 + 1] = 1;
  }

  /** Has place i answer the leaf in EAX, ECX. */
  cpuid(i: number): void {
    const { V } = this.cpu;
    const at = (X.CPUID + i * 3) * 2;
    V[at] = V[X.RAX * 2]!;
    V[at + 1] = V[X.RCX * 2]!;
    if (V[X.CPUID_STALE * 2] === 0) this.ask(at);
    else for (let k = 0; k < ANSWERS; k++) this.ask((X.CPUID + k * 3) * 2);
    V[X.CPUID_STALE * 2] = 0;
  }

  private ask(at: number): void {
    const { V, cpuid, cr4, xcr0, intc } = this.cpu;
    cpuid.eval(V[at]!, V[at + 1]!, (cr4 & Cr4.OSXSAVE) !== 0, xcr0, intc.enabled());
    V[at + 2] = cpuid.a;
    V[at + 3] = cpuid.b;
    V[at + 4] = cpuid.c;
    V[at + 5] = cpuid.d;
  }

  /** Reads the register in ECX to cpu.outLo, cpu.outHi; place i answers for it from now on if it can. @throws GuestFault */
  rdmsr(i: number): void {
    const { cpu } = this;
    const { V } = cpu;
    const at = (X.RDMSR + i * 2) * 2;
    const steady = cpu.msr.read(V[X.RCX * 2]!);
    V[at] = V[X.RCX * 2]!;
    V[at + 1] = steady ? 0 : 1;
    V[at + 2] = cpu.outLo;
    V[at + 3] = cpu.outHi;
  }
}
