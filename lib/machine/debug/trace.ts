/**
 * Execution traces: one line per block (B), per instruction with the registers it changed (I), per event delivered (X) and per
 * change of mode (M). docs/DEBUGGING.md has the format.
 */
import type { CpuTrace, X86Cpu } from '../../engine/guest/x86/cpu.js';
import { Vec } from '../../engine/guest/x86/defs.js';
import { Src } from '../../engine/guest/x86/interrupts.js';
import { X } from '../../engine/guest/x86/mode.js';
import { describeMode, x86SlotName } from '../../engine/guest/x86/names.js';
import type { Block } from '../../engine/jit/block.js';
import { Slot, flagsToEflags } from '../../engine/state.js';
import type { LineFile } from './line-file.js';

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

export function hex64(hi: number, lo: number): string {
  return (hi >>> 0).toString(16).padStart(8, '0') + (lo >>> 0).toString(16).padStart(8, '0');
}

/** Slots whose changes an instruction trace shows; FLAGS and EFLAGS are shown as one. */
const WATCHED: readonly number[] = (() => {
  const s: number[] = [];
  for (let i: number = X.RAX; i < X.SEGBASE + 6; i++) s.push(i);
  s.push(Slot.MXCSR, Slot.FPU);
  for (let i = 0; i < 16; i++) for (let k = 0; k < 4; k++) s.push(Slot.VEC + i * 8 + k);
  for (let i = 0; i < 16; i++) s.push(Slot.X87 + i);
  return s;
})();

/** The pending line of one CPU: an instruction is printed when it is known what it did. */
class CpuLines {
  line = '';
  mode = -1;
  readonly old = new Int32Array(Slot.TEMP * 2);
}

export class Tracer {
  private readonly cpus: CpuLines[] = [];

  constructor(private readonly out: LineFile, private readonly ram: Uint8Array, private readonly insns: boolean) {}

  private of(cpu: X86Cpu): CpuLines {
    return (this.cpus[cpu.index] ??= new CpuLines());
  }

  /** A block is about to run. */
  block(cpu: X86Cpu, b: Block): void {
    const V = cpu.V;
    const c = this.of(cpu);
    if (this.insns) this.finish(cpu, c);
    this.mode(cpu, c);
    let bytes = '';
    const first = Math.min(b.bytes, 4096 - b.offset);
    for (let i = 0; i < b.bytes; i++) bytes += ` ${HEX[this.ram[i < first ? b.ram + i : b.page2 + i - first]!]!}`;
    const pc = hex64(V[Slot.PC * 2 + 1]!, V[Slot.PC * 2]!);
    if (this.insns) {
      c.line = `I ${cpu.index} ${pc}:${bytes}`;
      for (const s of WATCHED) {
        c.old[s * 2] = V[s * 2]!;
        c.old[s * 2 + 1] = V[s * 2 + 1]!;
      }
      c.old[0] = this.flags(V);
    } else {
      this.out.line(`B ${cpu.index} ${pc} ${b.insns}:${bytes}`);
    }
  }

  private flags(V: Int32Array): number {
    return flagsToEflags(V[Slot.FLAGS * 2]!) | V[X.EFLAGS * 2]!;
  }

  /** Prints the instruction that ran last with what it changed. */
  private finish(cpu: X86Cpu, c: CpuLines): void {
    if (c.line === '') return;
    const V = cpu.V;
    let text = c.line;
    for (const s of WATCHED) {
      if (V[s * 2] !== c.old[s * 2] || V[s * 2 + 1] !== c.old[s * 2 + 1]) text += ` ${x86SlotName(s)!}=${hex64(V[s * 2 + 1]!, V[s * 2]!)}`;
    }
    const f = this.flags(V);
    if (f !== c.old[0]) text += ` rflags=${f.toString(16)}`;
    this.out.line(text);
    c.line = '';
  }

  private mode(cpu: X86Cpu, c: CpuLines): void {
    if (cpu.mode === c.mode) return;
    c.mode = cpu.mode;
    this.out.line(`M ${cpu.index} ${describeMode(cpu.mode)}`);
  }

  /** For `X86Cpu.trace`: exceptions and interrupts. */
  readonly events: CpuTrace = {
    delivered: (cpu, vector, src, err, hasErr, retLo, retHi) => {
      const c = this.of(cpu);
      if (this.insns) this.finish(cpu, c);
      const kind = src === Src.EXTERNAL ? 'irq' : src === Src.FAULT ? 'fault' : src === Src.TRAP ? 'trap' : 'int';
      let text = `X ${cpu.index} ${kind} ${vector}`;
      if (hasErr) text += ` error ${err.toString(16)}`;
      if (vector === (Vec.PF as number) && kind === 'fault') text += ` cr2 ${hex64(cpu.cr2Hi, cpu.cr2Lo)}`;
      const V = cpu.V;
      this.out.line(`${text} at ${hex64(retHi, retLo)} -> ${hex64(V[Slot.PC * 2 + 1]!, V[Slot.PC * 2]!)}`);
      this.mode(cpu, c);
    },
    modeChanged: (cpu) => {
      const c = this.of(cpu);
      if (this.insns) this.finish(cpu, c);
      this.mode(cpu, c);
    },
  };

  /** The machine ends. */
  flush(cpus: readonly X86Cpu[]): void {
    for (const cpu of cpus) if (this.insns) this.finish(cpu, this.of(cpu));
  }
}
