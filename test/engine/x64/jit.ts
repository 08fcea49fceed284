/** Runs IR blocks as machine code over a fake CPU: the smallest run loop that obeys the yield protocol. */
import { X64Backend, type CompiledBlock } from '#lib/engine/host/x64/backend.js';
import { resetReturns } from '#lib/engine/host/x64/stubs.js';
import { HelperResult, type HelperFn } from '#lib/engine/helpers.js';
import { IrBuilder } from '#lib/engine/ir/builder.js';
import type { PassOptions } from '#lib/engine/ir/passes.js';
import type { Region } from '#lib/engine/ir/region.js';
import { verifyIr } from '#lib/engine/ir/verify.js';
import { ExitCode, Slot, STATE_BYTES, Yield, JC_BASE, JC_ENTRIES, JC_FOLD, JC_TABLE_BYTES } from '#lib/engine/state.js';
import { loadNative, type NativeAddon, type NativeContext } from '#lib/native.js';
import { fakeCpu, RAM_BYTES, type FakeCpu } from '../fake-cpu.js';

let addon: NativeAddon | null = null;
let why = '';
try {
  addon = loadNative();
  const missing = process.arch === 'x64' ? X64Backend.missingFeatures(addon.cpuFeatures()) : ['an x64 host'];
  if (missing.length > 0) {
    why = `the host lacks ${missing.join(', ')}`;
    addon = null;
  }
} catch (e) {
  why = (e as Error).message;
}
if (addon === null) console.warn(`generated code is not run: ${why}`);

/** False if generated code cannot be run here. */
export const canRun = addon !== null;

export interface BlockOptions {
  /** The block counts as one that reaches into the next page. */
  spans?: boolean;
  mask32?: boolean;
  nativeFp?: boolean;
  mode?: number;
}

export class Jit {
  readonly cpu: FakeCpu;
  readonly backend: X64Backend;
  readonly context: NativeContext;
  /** Yields seen, by kind. */
  readonly yields: number[] = new Array<number>(10).fill(0);
  /** Site of the last CHAIN exit. */
  lastSite = 0;
  private cursor: number;
  private readonly limit: number;

  constructor(features?: readonly string[], bytes = 0x40_0000, passes?: PassOptions) {
    const n = addon!;
    const state = n.allocState(STATE_BYTES);
    const ram = n.allocRam(RAM_BYTES);
    const exec = n.allocExec(bytes);
    this.cpu = fakeCpu({ state, ram });
    this.backend = new X64Backend(exec, { features: features ?? n.cpuFeatures(), passes });
    this.context = n.createContext(state, exec);
    this.cursor = this.backend.firstFree;
    this.limit = bytes;
    this.backend.writeAddress(this.cpu.V, Slot.X_ABORT, this.backend.stubs.abort);
    resetReturns(this.cpu.V);
    this.cpu.V[Slot.MXCSR * 2] = 0x1f80;
    this.clearJumpCache();
    this.cpu.flushTlb();
  }

  /**
   * No address is an invalid tag by itself, but a tag is never looked up in an entry it does not belong to: 0 belongs to
   * entry 0, and 1 belongs to entry 1.
   */
  clearJumpCache(): void {
    const V = this.cpu.V;
    V.fill(0, JC_BASE >> 2, (JC_BASE + 8 * JC_TABLE_BYTES) >> 2);
    for (let i = 0; i < 8; i++) {
      V[(JC_BASE + i * JC_TABLE_BYTES) >> 2] = 1;
      V[Slot.JC_TABLE * 2 + i] = i * JC_TABLE_BYTES;
    }
  }

  /** Compiles the block that `make` writes. */
  block(make: (b: IrBuilder) => void, o: BlockOptions = {}): CompiledBlock {
    const b = new IrBuilder(this.cpu.pool);
    b.begin();
    b.insn(0x10, 0x14);
    make(b);
    if (!b.ended) b.jmp(0x14);
    verifyIr(b, { precise: false });
    return this.compile(b, o);
  }

  compile(b: IrBuilder, o: BlockOptions = {}): CompiledBlock {
    const info = { mmuIdx: this.cpu.mmuIdx, mask32: o.mask32 ?? false, startOffset: 0x10, helpers: this.cpu.helpers, nativeFp: o.nativeFp ?? true, spans: o.spans ?? false, mode: o.mode ?? 0 };
    let c = this.backend.compile(b, info, this.cursor, this.limit);
    if (c === null) {
      this.cursor = this.backend.firstFree;
      c = this.backend.compile(b, info, this.cursor, this.limit)!;
    }
    this.cursor = c.end;
    if (c.end - c.start > this.backend.room(b)) throw new Error('room() is not a bound');
    return c;
  }

  /** Compiles a region. */
  region(r: Region, hintsOff = 0, addendsOff = 0): CompiledBlock {
    const info = { mmuIdx: this.cpu.mmuIdx, mask32: false, startOffset: 0x10, helpers: this.cpu.helpers, nativeFp: true, mode: 0 };
    let c = this.backend.compileRegion(r, info, this.cursor, this.limit, hintsOff, addendsOff);
    if (c === null) {
      this.cursor = this.backend.firstFree;
      c = this.backend.compileRegion(r, info, this.cursor, this.limit, hintsOff, addendsOff)!;
    }
    this.cursor = c.end;
    return c;
  }

  /** Enters a block with PC = PCBASE as it is in the slot, and serves its yields until it ends. */
  run(c: CompiledBlock): ExitCode {
    const { cpu, backend } = this;
    const V = cpu.V;
    V[Slot.PC * 2] = V[Slot.PCBASE * 2]! | 0x10;
    V[Slot.PC * 2 + 1] = V[Slot.PCBASE * 2 + 1]!;
    backend.writeAddress(V, Slot.X_ENTRY, c.entryA);
    let kind = this.context.run(backend.address(backend.stubs.enter));
    for (;;) {
      this.yields[kind]!++;
      if (kind === Yield.EXIT) {
        if (V[Slot.X_AUX * 2] === ExitCode.CHAIN) this.lastSite = V[Slot.X_ADDR * 2]!;
        return V[Slot.X_AUX * 2]! as ExitCode;
      }
      if (!this.serve(kind)) return ExitCode.NEXT;
      kind = this.context.run(backend.address(backend.stubs.resume));
    }
  }

  /** @returns false if the block is abandoned. */
  private serve(kind: Yield): boolean {
    const { cpu } = this;
    const V = cpu.V;
    const lo = (slot: number): number => V[slot * 2]!;
    const hi = (slot: number): number => V[slot * 2 + 1]!;
    const aux = lo(Slot.X_AUX);
    const w = aux & 0xff;
    const acc = (aux >> 8) & 0xff;
    switch (kind) {
      case Yield.LOAD:
        cpu.load(w, Slot.X_ADDR, Slot.X_VAL, acc);
        break;
      case Yield.STORE:
        cpu.store(w, Slot.X_ADDR, Slot.X_VAL, acc);
        break;
      case Yield.LOAD_VEC:
        cpu.loadVec(w, Slot.X_ADDR, hi(Slot.X_AUX));
        break;
      case Yield.STORE_VEC:
        cpu.storeVec(w, Slot.X_ADDR, hi(Slot.X_AUX));
        break;
      case Yield.CALL: {
        const fn: HelperFn<never> = cpu.helpers.list[lo(Slot.X_CALL)]!.fn;
        const r = fn(cpu as never, hi(Slot.X_CALL), lo(Slot.X_AB), hi(Slot.X_AB), lo(Slot.X_CI), hi(Slot.X_CI));
        return r === HelperResult.CONTINUE;
      }
      case Yield.DIVIDE:
        cpu.divide((aux & 0x100) !== 0, w, hi(Slot.X_CALL), hi(Slot.X_CI), lo(Slot.X_AB), hi(Slot.X_AB), lo(Slot.X_CI));
        break;
      case Yield.SEGCHK:
        cpu.segmentCheck(w, Slot.X_ADDR, acc !== 0, aux >>> 16);
        break;
      case Yield.ALIGN:
        cpu.alignmentFault();
        break;
      default:
        throw new Error(`host fault, signal ${aux} at ${cpu.get(Slot.X_ADDR).toString(16)}, data ${cpu.get(Slot.X_VAL).toString(16)}`);
    }
    return true;
  }

  /** Enters `target` in the jump cache for a linear pc. */
  cache(pc: bigint, target: CompiledBlock): void {
    const lo = Number(pc & 0xffffffffn);
    const i = (lo ^ (lo >>> JC_FOLD)) & (JC_ENTRIES - 1);
    const slot = (JC_BASE + this.cpu.mmuIdx * JC_TABLE_BYTES) / 8 + i * 2;
    this.cpu.set(slot, pc);
    this.backend.writeAddress(this.cpu.V, slot + 1, target.entryA);
  }
}

/** A guest register slot that is not pinned. */
export const UNPINNED = 22;

