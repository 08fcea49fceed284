/** The x86-64 back end as the run loop sees it: bump allocation in the exec region, entries through the addon's contexts. */
import { VmxError } from '../../../errors.js';
import type { NativeContext, NativeExec } from '../../../native.js';
import type { GuestCpu } from '../../cpu.js';
import type { IrBuilder } from '../../ir/builder.js';
import type { Block } from '../../jit/block.js';
import type { GuestBytes, HostCode } from '../../jit/host-code.js';
import type { Region } from '../../ir/region.js';
import type { PassOptions } from '../../ir/passes.js';
import { Slot } from '../../state.js';
import { printIr } from '../../ir/print.js';
import { createHash } from 'node:crypto';
import { Grp } from '../../aot/page-group.js';
import { guestAt, Rec, type RecordWriter } from '../../aot/record.js';
import { type NodeBytes, Reg } from '../../aot/region-record.js';
import { type BlockInfo, type CompiledBlock, X64Backend } from './backend.js';
import { hintId } from './emit-hint.js';
import { CodeImages } from './image.js';
import { dropReturns, resetReturns } from './stubs.js';

/** Room kept free so that any single block fits. */
const RESERVE = 1024 * 1024;
/** Code memory is backed in pieces of so many bytes (a huge page), each when no more than MARGIN is left of the one before. */
const PIECE = 2 << 20;
const MARGIN = 512 << 10;

export class X64Host implements HostCode {
  readonly address: number;
  readonly missAddress: number;
  readonly identity: string;
  private readonly backend: X64Backend;
  /** By CPU: `NativeContext.enter` and `resume`. */
  private readonly enters: (() => void)[] = [];
  private readonly resumes: (() => void)[] = [];
  private readonly timeAddress: number;
  private readonly limit: number;
  private readonly u8: Uint8Array;
  private next: number;
  /** Code memory is backed so far, or about to be. */
  private backed = 0;
  private readonly images: CodeImages;
  private last: CompiledBlock | null = null;
  /** Address of what `runCold` runs; 0: it has not been made. */
  private cold = 0;
  private readonly info: BlockInfo = { mmuIdx: 0, mask32: false, startOffset: 0, helpers: null as never, nativeFp: true, mode: 0 };

  /** @throws VmxError ERR_HOST_CPU if the host lacks features the back end relies on. */
  constructor(
    private readonly exec: NativeExec,
    private readonly contexts: readonly NativeContext[],
    features: readonly string[],
    pinned?: readonly number[],
    passes: PassOptions = {},
    /** Backs memory ahead of use (`NativeAddon.backAhead`). */
    private readonly prepare?: (exec: NativeExec, offset: number, bytes: number) => void,
  ) {
    const missing = X64Backend.missingFeatures(features);
    if (missing.length > 0) throw new VmxError('ERR_HOST_CPU', `the JIT needs host CPU features that are missing: ${missing.join(', ')} (use --accel interp)`);
    this.backend = new X64Backend(exec, { features, pinned, passes });
    this.address = exec.address;
    this.missAddress = this.backend.address(this.backend.stubs.missEntry);
    const { stubs } = this.backend;
    this.setEntries(stubs.enter, stubs.resume);
    for (const c of contexts) {
      // Methods of a context belong to it, not to what they are called on.
      this.enters.push(c.enter);
      this.resumes.push(c.resume);
    }
    this.timeAddress = this.backend.address(this.backend.stubs.readTime);
    this.limit = exec.buffer.byteLength;
    this.u8 = new Uint8Array(exec.buffer);
    this.next = this.backend.firstFree;
    this.images = new CodeImages(this.u8);
    this.identity = this.describe(features);
    this.backAhead();
  }

  private setEntries(enter: number, resume: number): void {
    for (const c of this.contexts) c.setEntries(this.backend.address(enter), this.backend.address(resume));
  }

  /** The stubs stand for the calling convention, the pinned registers and the layout of the state region. */
  private describe(features: readonly string[]): string {
    const stubs = createHash('sha256').update(this.u8.subarray(0, this.backend.firstFree)).digest('hex');
    return `x64 ${stubs} ${[...features].sort().join(' ')}`;
  }

  get nearlyFull(): boolean {
    return this.next + RESERVE > this.limit;
  }

  get used(): number {
    return this.next;
  }

  /** Has code memory made ready before `next` gets there. */
  private backAhead(): void {
    while (this.backed < this.next + MARGIN && this.backed + PIECE <= this.limit) {
      this.prepare?.(this.exec, this.backed, PIECE);
      this.backed += PIECE;
    }
  }

  attach(cpu: GuestCpu): void {
    this.backend.writeAddress(cpu.V, Slot.X_ABORT, this.backend.stubs.abort);
    resetReturns(cpu.V);
  }

  forgetReturns(cpu: GuestCpu, all: boolean): void {
    if (all) resetReturns(cpu.V);
    else dropReturns(cpu.V);
  }

  enter(cpu: GuestCpu, entry: number): number {
    const a = this.address + entry;
    const V = cpu.V;
    V[Slot.X_ENTRY * 2] = a | 0;
    V[Slot.X_ENTRY * 2 + 1] = Math.floor(a / 0x1_0000_0000);
    this.enters[cpu.index]!();
    return V[Slot.X_INSN * 2 + 1]!;
  }

  runCold(cpu: GuestCpu, watched: number): number {
    if (this.cold === 0) {
      const code = this.backend.emitCold(this.next, watched);
      this.cold = this.address + code.run;
      this.next = code.end;
      this.setEntries(code.enter, code.resume);
    }
    return this.contexts[cpu.index]!.run(this.cold);
  }

  readCounter(cpu: GuestCpu): bigint {
    const V = cpu.V;
    this.contexts[cpu.index]!.run(this.timeAddress);
    return (BigInt(V[Slot.X_VAL * 2 + 1]! >>> 0) << 32n) | BigInt(V[Slot.X_VAL * 2]! >>> 0);
  }

  resume(cpu: GuestCpu): number {
    this.resumes[cpu.index]!();
    return cpu.V[Slot.X_INSN * 2 + 1]!;
  }

  compile(ir: IrBuilder, cpu: Pick<GuestCpu, 'helpers'>, block: Block, mask32: boolean, nativeFp: boolean): readonly number[] {
    const info = this.info;
    info.mmuIdx = block.mmuIdx;
    info.mask32 = mask32;
    info.mode = block.mode;
    info.startOffset = block.offset;
    info.spans = block.page2 >= 0;
    info.helpers = cpu.helpers;
    info.nativeFp = nativeFp;
    let c;
    try {
      c = this.backend.compile(ir, info, this.next, this.limit);
    } catch (e) {
      throw new VmxError('ERR_INTERNAL', `back end: ${(e as Error).message}\n${printIr(ir)}`, { cause: e });
    }
    if (c === null) throw new VmxError('ERR_INTERNAL', 'a block does not fit into the code cache');
    this.next = c.end;
    if (c.end + MARGIN > this.backed) this.backAhead();
    this.last = c;
    block.entryA = c.entryA;
    block.entryB = c.entryB;
    block.hostBytes = c.end - c.start;
    return c.sites;
  }

  compileRegion(r: Region, cpu: Pick<GuestCpu, 'helpers'>, block: Block, mask32: boolean, nativeFp: boolean): readonly number[] | null {
    const info = this.info;
    info.mmuIdx = block.mmuIdx;
    info.mask32 = mask32;
    info.mode = block.mode;
    info.startOffset = block.offset;
    info.spans = false;
    info.helpers = cpu.helpers;
    info.nativeFp = nativeFp;
    const c = this.backend.compileRegion(r, info, this.next, this.limit, block.hintsOff, block.addendsOff);
    if (c === null) return null;
    block.hints = c.hints ?? [];
    this.next = c.end;
    this.last = c;
    block.entryA = c.entryA;
    block.entryB = c.entryB;
    block.hostBytes = c.end - c.start;
    return c.sites;
  }

  capture(ir: IrBuilder, block: Block, guest: GuestBytes, out: RecordWriter): boolean {
    if (this.last === null || block.region) return false;
    return this.images.capture(ir, this.last, this.backend.relocs, guest, block.offset, block.mode, block.page2 >= 0, out);
  }

  captureRegion(ir: IrBuilder, block: Block, nodes: readonly NodeBytes[], ram: Uint8Array, out: RecordWriter): boolean {
    if (this.last === null) return false;
    return this.images.captureRegion(ir, this.last, this.backend.relocs, block, nodes, ram, block.ram - block.offset, out);
  }

  installRegion(W: Int32Array, at: number, slots: Int32Array, block: Block): number {
    const start = (this.next + 15) & ~15;
    const guest = guestAt(W, at);
    const n = W[guest + Reg.HINTS]!;
    const first = this.backend.takeHints(n);
    this.images.placeRegion(W, at, start, slots, first);
    block.hints = Array.from({ length: n }, (_, k) => hintId(block.mmuIdx, first, k, ((W[guest + Reg.WRITES]! >>> k) & 1) !== 0));
    block.hintsOff = W[guest + Reg.HINTS_OFF]!;
    block.addendsOff = W[guest + Reg.ADDENDS_OFF]!;
    block.entryA = start;
    block.entryB = start + W[at + Rec.ENTRY_B]!;
    block.hostBytes = W[at + Rec.CODE]!;
    this.next = start + block.hostBytes;
    if (this.next + MARGIN > this.backed) this.backAhead();
    return start;
  }

  install(W: Int32Array, at: number, slots: Int32Array): number {
    const start = (this.next + 15) & ~15;
    this.images.place(W, at, start, slots);
    this.next = start + W[at + Rec.CODE]!;
    if (this.next + MARGIN > this.backed) this.backAhead();
    return start;
  }

  installGroup(W: Int32Array, g: number): number {
    const start = (this.next + 15) & ~15;
    this.images.placeGroup(W, g, start);
    this.next = start + W[g + Grp.CODE]!;
    if (this.next + MARGIN > this.backed) this.backAhead();
    return start;
  }

  installSlots(W: Int32Array, at: number, start: number, slots: Int32Array): void {
    this.images.placeSlots(W, at, start, slots);
  }

  stubs(): readonly { name: string; start: number; end: number }[] {
    const at: { name: string; start: number }[] = [];
    for (const [name, start] of Object.entries(this.backend.stubs)) if (typeof start === 'number' && name !== 'end') at.push({ name, start });
    this.backend.stubs.yields.forEach((start, kind) => at.push({ name: `yield${kind}`, start }));
    this.backend.stubs.transfers.forEach((t, idx) => at.push(...Object.entries(t).map(([name, start]: [string, number]) => ({ name: `${name}:${idx}`, start }))));
    at.sort((a, b) => a.start - b.start);
    return at.map((s, i) => ({ ...s, end: at[i + 1]?.start ?? this.backend.stubs.end }));
  }

  codeOf(block: Block): Uint8Array {
    return this.u8.subarray(block.entryA, block.entryA + block.hostBytes);
  }

  patch(site: number, target: number): void {
    this.backend.patch(site, target);
  }

  unpatch(site: number, cold: number): void {
    this.backend.unpatch(site, cold);
  }

  retire(entryA: number): void {
    this.backend.retire(entryA);
  }

  retired(entryA: number): boolean {
    return this.backend.retired(entryA);
  }

  reset(): void {
    this.next = this.backend.firstFree;
    if (this.cold !== 0) this.setEntries(this.backend.stubs.enter, this.backend.stubs.resume);
    this.cold = 0;
  }
}
