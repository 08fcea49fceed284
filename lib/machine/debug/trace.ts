/**
 * Execution traces: one line per block (B), per instruction with the registers it changed (I), per event delivered (X) and per
 * change of mode (M). docs/DEBUGGING.md has the format.
 */
import type { GuestCpu } from '../../engine/cpu.js';
import type { Block } from '../../engine/jit/block.js';
import { Slot } from '../../engine/state.js';
import type { GuestDebug, TraceSink } from '../guests/guest.js';
import { hex64 } from './hex.js';
import type { LineFile } from './line-file.js';

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

/** The pending line of one CPU: an instruction is printed when it is known what it did. */
class CpuLines {
  line = '';
  mode = -1;
  readonly old = new Int32Array(Slot.TEMP * 2);
}

export class Tracer implements TraceSink {
  private readonly cpus: CpuLines[] = [];

  constructor(private readonly out: LineFile, private readonly ram: Uint8Array, private readonly insns: boolean, private readonly guest: GuestDebug) {}

  private of(cpu: GuestCpu): CpuLines {
    return (this.cpus[cpu.index] ??= new CpuLines());
  }

  /** A block is about to run. */
  block(cpu: GuestCpu, b: Block): void {
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
      for (const s of this.guest.watched) {
        c.old[s * 2] = V[s * 2]!;
        c.old[s * 2 + 1] = V[s * 2 + 1]!;
      }
      c.old[0] = this.flags(V);
    } else {
      this.out.line(`B ${cpu.index} ${pc} ${b.insns}:${bytes}`);
    }
  }

  private flags(V: Int32Array): number {
    return this.guest.flags === null ? 0 : this.guest.flags(V);
  }

  /** Prints the instruction that ran last with what it changed. */
  private finish(cpu: GuestCpu, c: CpuLines): void {
    if (c.line === '') return;
    const V = cpu.V;
    let text = c.line;
    for (const s of this.guest.watched) {
      if (V[s * 2] !== c.old[s * 2] || V[s * 2 + 1] !== c.old[s * 2 + 1]) text += ` ${this.guest.slotName(s)!}=${hex64(V[s * 2 + 1]!, V[s * 2]!)}`;
    }
    const f = this.flags(V);
    if (f !== c.old[0]) text += ` rflags=${f.toString(16)}`;
    this.out.line(text);
    c.line = '';
  }

  private mode(cpu: GuestCpu, c: CpuLines): void {
    if (cpu.mode === c.mode) return;
    c.mode = cpu.mode;
    this.out.line(`M ${cpu.index} ${this.guest.describeMode(cpu.mode)}`);
  }

  event(cpu: GuestCpu, text: string): void {
    const c = this.of(cpu);
    if (this.insns) this.finish(cpu, c);
    this.out.line(`X ${cpu.index} ${text}`);
    this.mode(cpu, c);
  }

  modeChanged(cpu: GuestCpu): void {
    const c = this.of(cpu);
    if (this.insns) this.finish(cpu, c);
    this.mode(cpu, c);
  }

  /** The machine ends. */
  flush(cpus: readonly GuestCpu[]): void {
    for (const cpu of cpus) if (this.insns) this.finish(cpu, this.of(cpu));
  }
}
