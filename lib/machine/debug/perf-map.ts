/**
 * /tmp/perf-PID.map: tells `perf report` which guest code a piece of generated code is (Linux
 * tools/perf/Documentation/jit-interface.txt): lines START SIZE NAME, numbers in hexadecimal.
 */
import type { GuestCpu } from '../../engine/cpu.js';
import type { Block } from '../../engine/jit/block.js';
import type { HostCode } from '../../engine/jit/host-code.js';
import { Slot } from '../../engine/state.js';
import { LineFile } from './line-file.js';
import type { GuestDebug } from '../guests/guest.js';
import { hex64 } from './hex.js';

export class PerfMap {
  private readonly out: LineFile;
  /** V8 writes to the same file. */
  private readonly shared = process.execArgv.some((a) => a.startsWith('--perf-basic-prof')) || /--perf-basic-prof/.test(process.env['NODE_OPTIONS'] ?? '');

  constructor(private readonly host: HostCode, private readonly guest: GuestDebug, path = `/tmp/perf-${process.pid}.map`) {
    this.out = new LineFile(path, '--perf-map', this.shared);
    this.stubs();
  }

  private entry(address: number, size: number, name: string): void {
    this.out.line(`${address.toString(16)} ${size.toString(16)} ${name}`);
    // perf may be asked, or the process killed, at any time.
    this.out.flush();
  }

  private stubs(): void {
    for (const s of this.host.stubs()) this.entry(this.host.address + s.start, s.end - s.start, `vmx-stub:${s.name}`);
  }

  block(cpu: GuestCpu, b: Block): void {
    if (b.entryA < 0) return;
    const V = cpu.V;
    const page = hex64(V[Slot.PC * 2 + 1]!, V[Slot.PC * 2]! & ~0xfff);
    this.entry(this.host.address + b.entryA, b.hostBytes, `guest:${page}+${b.offset.toString(16)}:${this.guest.codeKind(b.mode)}`);
  }

  /** The addresses are used again from here on: names of dropped code would only mislead. */
  flushed(): void {
    if (this.shared) return;
    this.out.truncate();
    this.stubs();
  }

  close(): void {
    this.out.close();
  }
}
