/**
 * Runs guest code on the engine: real lifter, passes, X86Cpu and Engine in 64-bit mode at CPL 3, with page tables that
 * map the guest's own memory at the linear addresses which the native regions have in this process.
 */
import type { NativeAddon, NativeContext } from '#lib/native.js';
import type { PassOptions } from '#lib/engine/ir/passes.js';
import { CpuModel } from '#lib/engine/guest/x86/cpuid.js';
import { X86Cpu } from '#lib/engine/guest/x86/cpu.js';
import { Cr0, Cr4, Efer, TR } from '#lib/engine/guest/x86/defs.js';
import { x86Helpers, x86Lifter } from '#lib/engine/guest/x86/guest.js';
import { Mode, Seg, X } from '#lib/engine/guest/x86/mode.js';
import { X64Host } from '#lib/engine/host/x64/host.js';
import { Engine, SliceEnd } from '#lib/engine/jit/engine.js';
import { Slot, STATE_BYTES, eflagsToFlags, flagsToEflags } from '#lib/engine/state.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { CODE_BYTES, DATA_BYTES, End, type Executor, FLAG_BITS, type Layout, type Outcome, PAGE, S, signalOf } from './state.js';

/** `aot`: the JIT, but what runs is code that went through the code cache. */
export type EmulatorKind = 'interp' | 'jit' | 'aot';

const RAM_BYTES = 0x20_0000;
const TABLES = 0x1000;
const DATA = 0x10_0000;
const CODE = 0x11_0000;
/** Selectors as 64-bit Linux has them in user mode. */
const USER_CS = 0x33;
const USER_SS = 0x2b;
const CODE64_USER = 0xa0fb;
const DATA_USER = 0xc0f3;
const NULL_SEGMENT = 0x1_00f3;
const enum Pte { P = 1, W = 2, U = 4, NX = 0x8000_0000 }
/** Longest a case may take. */
const DEADLINE_NS = 3e9;

export class Emulator implements Executor {
  readonly name: string;
  readonly cpu: X86Cpu;
  readonly engine: Engine;
  private readonly memory: PhysicalMemory;
  private readonly context: NativeContext;
  private nextTable = TABLES + PAGE;
  private runs = 0;
  private fault = -1;
  private faultLo = 0;
  private faultHi = 0;
  private readonly exitPc: number;

  constructor(private readonly native: NativeAddon, private readonly kind: EmulatorKind, private readonly layout: Layout, exit: number, passes: PassOptions = {}) {
    this.name = kind;
    this.exitPc = layout.code + exit;
    const ram = native.allocRam(RAM_BYTES);
    const memory = (this.memory = new PhysicalMemory(ram.buffer, ram.address));
    memory.mapRam(0, RAM_BYTES, 0);
    const exec = kind !== 'interp' ? native.allocExec(32 << 20) : null;
    const state = native.allocState(STATE_BYTES);
    this.context = native.createContext(state, exec);
    const model = CpuModel.parse('max');
    const helpers = x86Helpers();
    const cpu = (this.cpu = new X86Cpu({
      index: 0, state, map: memory, ports: memory, model, helpers, lifter: x86Lifter(helpers, model),
      intc: { pending: () => false, acknowledge: () => -1, enabled: () => true, getCr8: () => 0, setCr8: () => undefined, readMsr: () => false, writeMsr: () => false },
      clock: { now: () => 0 },
    }));
    this.engine = new Engine(memory, [cpu], {
      host: exec === null ? null : new X64Host(exec, [this.context], native.cpuFeatures(), undefined, passes),
      passes, maxInsns: 64, stepBit: Mode.STEP, fpHelperBit: Mode.FP_UNMASKED, mask32: () => false,
    });
    if (kind === 'aot') this.engine.useCache({ open: () => undefined, write: () => undefined, writeHot: () => undefined, writeRegions: () => undefined, startAnew: () => undefined });
    for (let o = 0; o < DATA_BYTES; o += PAGE) this.map(layout.data + o, DATA + o, Pte.P | Pte.W | Pte.U, Pte.NX);
    for (let o = PAGE; o < CODE_BYTES; o += PAGE) this.map(layout.code + o, CODE + o, Pte.P | Pte.U, 0);
    cpu.cr0 = (Cr0.PE | Cr0.MP | Cr0.ET | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.PG) | 0;
    cpu.cr4 = Cr4.PAE | Cr4.PGE | Cr4.OSFXSR | Cr4.OSXMMEXCPT | Cr4.FSGSBASE | Cr4.OSXSAVE;
    cpu.efer = Efer.SCE | Efer.LME | Efer.LMA | Efer.NXE;
    cpu.xcr0 = 7;
    cpu.cr3Lo = TABLES;
    cpu.cpl = 3;
    cpu.seg.set(Seg.CS, USER_CS, 0, -1, CODE64_USER);
    cpu.seg.set(Seg.SS, USER_SS, 0, -1, DATA_USER);
    for (const seg of [Seg.DS, Seg.ES, Seg.FS, Seg.GS]) cpu.seg.set(seg, 0, 0, 0, NULL_SEGMENT);
    // No I/O permission bitmap.
    cpu.seg.set(TR, 0x40, 0, 0x20, 0x8b);
    cpu.V[X.EFLAGS * 2] = 0x202;
    cpu.mmu.configure();
    cpu.updateMode();
    // Every exception ends the case; nothing is delivered.
    cpu.ints.deliver = (vector, _src, _err, _has, lo, hi): void => {
      this.fault = vector;
      this.faultLo = lo;
      this.faultHi = hi;
      cpu.shutdown = true;
    };
  }

  private map(linear: number, pa: number, flags: number, high: number): void {
    const v = this.memory.ramView;
    let table = TABLES;
    for (let level = 3; level >= 0; level--) {
      const e = table + (Math.floor(linear / 2 ** (12 + 9 * level)) % 512) * 8;
      if (level === 0) {
        v.setUint32(e, pa | flags, true);
        v.setUint32(e + 4, high, true);
      } else {
        if (v.getUint32(e, true) === 0) {
          v.setUint32(e, this.nextTable | Pte.P | Pte.W | Pte.U, true);
          this.nextTable += PAGE;
        }
        table = v.getUint32(e, true) & ~0xfff;
      }
    }
  }

  load(offset: number, code: Uint8Array): void {
    this.memory.writeFrom(CODE + offset, code);
  }

  run(entry: number, state: Uint8Array, data: Uint8Array, out: Outcome): void {
    this.execute(entry, state, data, out);
    if (this.kind !== 'aot') return;
    // Once more with nothing but the records of what was translated; constants get other slots and the code another place.
    this.engine.flushTranslations();
    for (let i = 0; i < this.runs % 7; i++) this.engine.consts.slot(i * 0x0101_0101, this.runs);
    this.execute(entry, state, data, out);
  }

  private execute(entry: number, state: Uint8Array, data: Uint8Array, out: Outcome): void {
    const { cpu, memory } = this;
    const { V, U8 } = cpu;
    const s = new DataView(state.buffer, state.byteOffset, S.BYTES);
    memory.ram8.set(data, DATA);
    // Cold TLBs and clean pages now and then.
    if (++this.runs % 16 === 0) {
      if (this.runs % 64 === 0) {
        for (let o = 0; o < DATA_BYTES; o += PAGE) this.map(this.layout.data + o, DATA + o, Pte.P | Pte.W | Pte.U, Pte.NX);
      }
      cpu.mmu.flushAll();
    }
    U8.set(state.subarray(S.GPR, S.GPR + 128), Slot.GPR * 8);
    const flags = s.getUint32(S.FLAGS, true);
    V[Slot.FLAGS * 2] = eflagsToFlags(flags);
    V[X.EFLAGS * 2] = 0x202 | (flags & 0x400);
    V[Slot.MXCSR * 2] = s.getUint32(S.MXCSR, true);
    V[Slot.FPU * 2] = s.getUint16(S.FCW, true) | (s.getUint16(S.FSW, true) << 16);
    V[Slot.FPU * 2 + 1] = s.getUint8(S.FTW);
    for (let i = 0; i < 8; i++) U8.set(state.subarray(S.X87 + i * 16, S.X87 + i * 16 + 16), (Slot.X87 + i * 2) * 8);
    for (let i = 0; i < 16; i++) U8.set(state.subarray(S.YMM + i * 32, S.YMM + i * 32 + 32), (Slot.VEC + i * 8) * 8);
    const pc = this.layout.code + entry;
    V[Slot.PC * 2] = pc | 0;
    V[Slot.PC * 2 + 1] = Math.floor(pc / 2 ** 32);
    V[Slot.PENDING * 2] = V[Slot.PENDING * 2 + 1] = 0;
    cpu.updateMode();
    cpu.shutdown = cpu.halted = false;
    this.fault = -1;
    if ((this.runs & 63) === 1) this.context.setDeadline(this.native.now() + DEADLINE_NS * 20);
    out.message = '';
    out.signal = out.pc = out.address = 0;
    let end: End = End.BROKEN;
    try {
      let r = this.engine.runSlice(cpu);
      if (r === SliceEnd.ATTENTION) {
        // The process was stopped for long, or the case runs for ever: once more.
        this.context.setDeadline(this.native.now() + DEADLINE_NS);
        r = this.engine.runSlice(cpu);
      }
      if (r === SliceEnd.SHUTDOWN && this.fault >= 0) end = End.FAULT;
      else out.message = `stopped with ${r}: ${cpu.describe()}`;
    } catch (e) {
      out.message = e instanceof Error ? (e.stack ?? e.message) : String(e);
    }
    if (end === End.FAULT) {
      out.pc = (this.faultHi >>> 0) * 2 ** 32 + (this.faultLo >>> 0);
      if (out.pc === this.exitPc && this.fault === 14) end = End.EXIT;
      else {
        out.signal = signalOf(this.fault);
        // A trap: the native guard reports the address of the INT3 itself.
        if (this.fault === 3) out.pc--;

        if (this.fault === 14) out.address = (cpu.cr2Hi >>> 0) * 2 ** 32 + (cpu.cr2Lo >>> 0);
        out.message = `vector ${this.fault}`;
      }
    }
    if (end !== End.FAULT) out.signal = out.pc = out.address = 0;
    out.end = end;
    const o = out.view;
    out.state.set(U8.subarray(Slot.GPR * 8, Slot.GPR * 8 + 128), S.GPR);
    o.setUint32(S.FLAGS, (flagsToEflags(V[Slot.FLAGS * 2]!) | V[X.EFLAGS * 2]!) & FLAG_BITS, true);
    o.setUint32(S.MXCSR, V[Slot.MXCSR * 2]!, true);
    o.setUint32(S.FCW, V[Slot.FPU * 2]!, true);
    o.setUint8(S.FTW, V[Slot.FPU * 2 + 1]!);
    for (let i = 0; i < 8; i++) out.state.set(U8.subarray((Slot.X87 + i * 2) * 8, (Slot.X87 + i * 2) * 8 + 10), S.X87 + i * 16);
    for (let i = 0; i < 16; i++) out.state.set(U8.subarray((Slot.VEC + i * 8) * 8, (Slot.VEC + i * 8) * 8 + 32), S.YMM + i * 32);
    out.data.set(memory.ram8.subarray(DATA, DATA + DATA_BYTES));
  }
}
