/**
 * A debugger's hold on a machine: breakpoints, watchpoints, single steps, registers and memory. The GDB stub in lib/control is its
 * user. All CPUs stand still whenever one stops, and then the engine has their state; it executes single steps.
 */
import type { Engine, Stops } from '../../engine/jit/engine.js';
import { Slot } from '../../engine/state.js';
import type { PhysicalMemory } from '../../memory/physical.js';
import type { GdbArch, MachineCpu, WatchRange } from '../guests/guest.js';
import type { DebugReply, DebugRequest, DebugStop } from '../protocol.js';

const PAGE = 4096;
const MAX_READ = 64 * 1024;
const MAX_POINTS = 4096;

const split = (a: bigint): [number, number] => [Number(BigInt.asIntN(32, a)), Number(BigInt.asIntN(32, a >> 32n))];
const key = (lo: number, hi: number): string => `${hi >>> 0}:${lo >>> 0}`;

export interface DebuggerHost {
  readonly engine: Engine;
  readonly cpus: readonly MachineCpu[];
  readonly arch: GdbArch;
  readonly memory: PhysicalMemory;
  /** Makes the running CPU leave its slice. */
  interrupt(): void;
  /** Lets the machine go on. */
  resume(): void;
  /** The machine stands still because of the debugger. */
  stopped(stop: DebugStop): void;
  /** Breakpoints (linear addresses, low and high word) and whether there are watchpoints have changed. */
  changed(points: readonly (readonly [number, number])[], watching: boolean): void;
}

export class Debugger implements Stops {
  private readonly points = new Set<string>();
  private watches: WatchRange[] = [];
  private attached = false;
  /** Why the machine is to stand still, before it does. */
  private reason: DebugStop | null = null;
  private standing = false;
  /** CPU to step once the machine goes on, or -1. */
  private step = -1;

  constructor(private readonly h: DebuggerHost) {}

  // ---- what the machine's loop asks ----

  get wantsStop(): boolean {
    return this.reason !== null;
  }

  /** The machine stands still now. */
  stands(): void {
    if (this.reason === null) return;
    this.standing = true;
    this.h.stopped(this.reason);
    this.reason = null;
  }

  /**
   * Called before the CPUs run. When the machine has stood still, instructions at breakpoints are executed first, or the step
   * that was asked for. @returns true if it is to stand still again.
   */
  goesOn(): boolean {
    if (!this.standing) return false;
    this.standing = false;
    const { engine, cpus } = this.h;
    if (this.step >= 0) {
      const cpu = this.step;
      this.step = -1;
      engine.runSlice(cpus[cpu]!, false, 1);
      this.stop({ cpu, signal: 5, watch: null });
      return true;
    }
    cpus.forEach((cpu, i) => {
      if (cpu.halted || !this.isPoint(cpu)) return;
      engine.runSlice(cpu, false, 1);
      // The next instruction may be one, too.
      if (this.isPoint(cpu)) this.stop({ cpu: i, signal: 5, watch: null });
    });
    return this.wantsStop;
  }

  /** The engine has met a breakpoint. Blocks are kept by physical address: it may have been meant for another one. */
  met(i: number): void {
    const cpu = this.h.cpus[i]!;
    if (this.isPoint(cpu)) this.stop({ cpu: i, signal: 5, watch: null });
    else this.h.engine.runSlice(cpu, false, 1);
  }

  private isPoint(cpu: MachineCpu): boolean {
    return this.points.has(key(cpu.V[Slot.PC * 2]!, cpu.V[Slot.PC * 2 + 1]!));
  }

  private stop(s: DebugStop): void {
    this.reason ??= s;
    this.h.interrupt();
  }

  /** Stops.next. */
  next(lo: number, hi: number): number {
    let best = PAGE;
    for (const p of this.points) {
      const [pHi, pLo] = p.split(':').map(Number) as [number, number];
      if (pHi !== hi >>> 0 || pLo - (pLo % PAGE) !== (lo & ~(PAGE - 1)) >>> 0) continue;
      const off = pLo % PAGE;
      if (off >= (lo & (PAGE - 1)) && off < best) best = off;
    }
    return best;
  }

  // ---- what the client asks ----

  handle(r: DebugRequest): DebugReply {
    switch (r.op) {
      case 'attach':
        this.attached = true;
        this.stop({ cpu: 0, signal: 5, watch: null });
        return { ok: true, data: Buffer.from(this.h.arch.targetXml) };
      case 'detach':
        this.detach();
        return { ok: true, data: null };
      case 'halt':
        if (!this.standing) this.stop({ cpu: 0, signal: 2, watch: null });
        return { ok: true, data: null };
      case 'resume':
        if (r.step >= this.h.cpus.length) return { ok: false, data: null };
        this.step = r.step;
        this.h.resume();
        return { ok: true, data: null };
      case 'registers':
        return this.registers(r.cpu);
      case 'set-register':
        return this.setRegister(r.cpu, r.register, r.value);
      case 'read':
        return this.read(r.cpu, r.address, r.length);
      case 'write':
        return this.write(r.cpu, r.address, r.bytes);
      case 'point':
        return { ok: this.point(r.insert, r.kind, r.address, r.length), data: null };
    }
  }

  private detach(): void {
    if (!this.attached) return;
    this.attached = false;
    this.points.clear();
    this.watches = [];
    this.applyWatches();
    this.h.engine.setStops(null);
    this.tell();
    this.reason = null;
    if (this.standing) this.h.resume();
  }

  private registers(i: number): DebugReply {
    const cpu = this.h.cpus[i];
    if (cpu === undefined) return { ok: false, data: null };
    const { sizes } = this.h.arch;
    const out = new Uint8Array(sizes.reduce((a, b) => a + b, 0));
    let at = 0;
    sizes.forEach((n, r) => {
      this.h.arch.read(cpu, r, out, at);
      at += n;
    });
    return { ok: true, data: out, sizes };
  }

  private setRegister(i: number, register: number, value: Uint8Array): DebugReply {
    const cpu = this.h.cpus[i];
    const size = this.h.arch.sizes[register];
    const ok = cpu !== undefined && size === value.length && this.h.arch.write(cpu, register, value);
    return { ok, data: null };
  }

  /** Calls `fn` with RAM offsets of the pieces of a range, page by page. @returns false at the first one that is not RAM. */
  private pieces(i: number, address: bigint, length: number, fn: (pa: number, done: number, n: number) => boolean): boolean {
    const cpu = this.h.cpus[i];
    if (cpu === undefined || length > MAX_READ) return false;
    for (let done = 0; done < length; ) {
      const [lo, hi] = split(address + BigInt(done));
      const n = Math.min(length - done, PAGE - (lo & (PAGE - 1)));
      const pa = this.h.arch.translate(cpu, lo, hi);
      if (pa < 0 || !fn(pa, done, n)) return false;
      done += n;
    }
    return true;
  }

  private read(i: number, address: bigint, length: number): DebugReply {
    const data = new Uint8Array(Math.min(length, MAX_READ));
    const ok = this.pieces(i, address, length, (pa, done, n) => this.h.memory.readInto(pa, data.subarray(done, done + n)));
    return { ok, data: ok ? data : null };
  }

  private write(i: number, address: bigint, bytes: Uint8Array): DebugReply {
    return { ok: this.pieces(i, address, bytes.length, (pa, done, n) => this.h.memory.writeFrom(pa, bytes.subarray(done, done + n))), data: null };
  }

  private point(insert: boolean, kind: 'break' | 'write' | 'read' | 'access', address: bigint, length: number): boolean {
    const [lo, hi] = split(address);
    if (kind === 'break') {
      if (insert && this.points.size >= MAX_POINTS) return false;
      if (insert) this.points.add(key(lo, hi));
      else this.points.delete(key(lo, hi));
      this.h.engine.setStops(this.points.size > 0 ? this : null);
      this.tell();
      return true;
    }
    if (this.h.arch.watch === undefined || length < 1 || (lo & (PAGE - 1)) + length > PAGE) return false;
    const range: WatchRange = { lo, hi, bytes: length, read: kind !== 'write', write: kind !== 'read' };
    const same = (w: WatchRange): boolean => w.lo === lo && w.hi === hi && w.bytes === length && w.read === range.read && w.write === range.write;
    this.watches = this.watches.filter((w) => !same(w));
    if (insert) {
      if (this.watches.length >= MAX_POINTS) return false;
      this.watches.push(range);
    }
    this.applyWatches();
    this.tell();
    return true;
  }

  private tell(): void {
    const points = [...this.points].map((p): readonly [number, number] => {
      const [hi, lo] = p.split(':').map(Number) as [number, number];
      return [lo, hi];
    });
    this.h.changed(points, this.watches.length > 0);
  }

  private applyWatches(): void {
    this.h.cpus.forEach((cpu, i) => {
      this.h.arch.watch?.(cpu, this.watches, (w) => {
        const at = (BigInt(w.hi >>> 0) << 32n) | BigInt(w.lo >>> 0);
        this.stop({ cpu: i, signal: 5, watch: { kind: w.read ? (w.write ? 'access' : 'read') : 'write', address: at } });
      });
    });
  }
}
