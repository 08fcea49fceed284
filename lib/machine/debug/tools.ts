/** Attaches the debugging tools that the options ask for to a machine's engine. docs/DEBUGGING.md is their manual. */
import { writeSync } from 'node:fs';
import { BlockText } from '../../engine/debug/block-text.js';
import { Lockstep } from '../../engine/debug/lockstep.js';
import type { GuestCpu } from '../../engine/cpu.js';
import type { Block } from '../../engine/jit/block.js';
import type { BlockHook, BlockTool, Engine } from '../../engine/jit/engine.js';
import type { HostCode } from '../../engine/jit/host-code.js';
import type { PassOptions } from '../../engine/ir/passes.js';
import { Attention, Slot } from '../../engine/state.js';
import { UsageError } from '../../errors.js';
import type { DebugOptions } from '../config.js';
import type { GuestArch, MachineCpu } from '../guests/guest.js';
import { LineFile } from './line-file.js';
import { PerfMap } from './perf-map.js';
import { Tracer } from './trace.js';
import type { VirtualClock } from './virtual-clock.js';

/** IR passes by the names users switch them off with. */
export const PASSES: Readonly<Record<string, keyof PassOptions>> = { 'dead-flags': 'deadFlags', fold: 'fold', 'dead-temps': 'deadTemps', returns: 'returns', 'lazy-flags': 'lazyFlags', regions: 'regions', 'page-hints': 'pageHints', 'shared-checks': 'sharedChecks', idioms: 'idioms', 'first-run': 'firstRun' };

export function passOptions(disabled: readonly string[]): PassOptions {
  const o: PassOptions = {};
  for (const name of disabled) {
    const key = PASSES[name];
    if (key === undefined) throw new UsageError(`--disable-pass: no pass '${name}' (${Object.keys(PASSES).join(', ')})`);
    o[key] = false;
  }
  return o;
}

/** Slot PC as a number that cannot lose bits. */
export function pcOf(cpu: GuestCpu): bigint {
  return (BigInt(cpu.V[Slot.PC * 2 + 1]! >>> 0) << 32n) | BigInt(cpu.V[Slot.PC * 2]! >>> 0);
}

export interface ToolHost {
  options: DebugOptions;
  engine: Engine;
  host: HostCode | null;
  arch: GuestArch;
  cpus: readonly MachineCpu[];
  ram: Uint8Array;
  /** Set if guest time counts instructions. */
  clock: VirtualClock | null;
  log: (message: string) => void;
}

export interface Tools {
  /** Flushes and closes files. */
  close(): void;
}

/** Tools that want to see the same translations. At most one runs the blocks. */
function combine(tools: readonly BlockTool[]): BlockTool | null {
  if (tools.length <= 1) return tools[0] ?? null;
  const runner = tools.find((t) => t.run !== null);
  return {
    mmuIdx: runner?.mmuIdx ?? -1,
    lifted: (cpu, ir, mode, offset, bytes, single) => tools.forEach((t) => t.lifted(cpu, ir, mode, offset, bytes, single)),
    translated: (cpu, block, ir) => tools.forEach((t) => t.translated(cpu, block, ir)),
    flushed: () => tools.forEach((t) => t.flushed()),
    run: runner?.run ?? null,
  };
}

/** --dump: prints every block that covers one of the addresses when it is translated. */
function dumper(wanted: readonly bigint[], text: BlockText): BlockTool {
  let bytes: Uint8Array | null = null;
  return {
    mmuIdx: -1,
    lifted: (_cpu, _ir, _mode, _offset, code, single) => {
      bytes = single ? null : code;
    },
    translated: (cpu, block) => {
      const pc = pcOf(cpu);
      // Straight to the descriptor: a worker's process.stderr goes through the other thread and may be lost at the end.
      if (bytes !== null && wanted.some((a) => a >= pc && a < pc + BigInt(block.bytes))) writeSync(2, text.describe(cpu, block, pc, bytes));
    },
    flushed: () => undefined,
    run: null,
  };
}

function mapper(map: PerfMap): BlockTool {
  return { mmuIdx: -1, lifted: () => undefined, translated: (cpu, block: Block) => map.block(cpu, block), flushed: () => map.flushed(), run: null };
}

export function attachTools(t: ToolHost): Tools {
  const { options: o, engine, host, cpus, clock, arch } = t;
  const { debug } = arch;
  const text = new BlockText(host, {
    passes: passOptions(o.disablePasses ?? []),
    fpHelperBit: arch.fpHelperBit,
    slotName: (s) => debug.slotName(s),
    machine: (mode) => debug.objdump(mode),
    mode: (mode) => debug.describeMode(mode),
  });
  const tools: BlockTool[] = [];
  const hooks: BlockHook[] = [];
  const closers: (() => void)[] = [];
  if (o.lockstep) {
    if (host === null) throw new UsageError('--lockstep: needs the JIT');
    const lockstep = new Lockstep(host, cpus, {
      describe: (cpu, block, bytes) => text.describe(cpu, block, pcOf(cpu), bytes),
      slotName: (s) => debug.slotName(s) ?? `s${s}`,
      outside: debug.outside ?? [],
      mask32: (mode) => arch.mask32(mode),
      every: o.lockstepEvery ?? 64,
    });
    tools.push(lockstep);
    closers.push(() => t.log(`lockstep: ${lockstep.stats.blocks} blocks and ${lockstep.stats.events} events compared, ${lockstep.stats.skipped} blocks depend on undefined flags`));
  }
  if (o.dump !== undefined && o.dump.length > 0) tools.push(dumper(o.dump.map((a) => BigInt.asUintN(64, BigInt(a))), text));
  if (o.perfMap) {
    if (host === null) throw new UsageError('--perf-map: there is no generated code without the JIT');
    const map = new PerfMap(host, debug);
    tools.push(mapper(map));
    closers.push(() => map.close());
  }
  const kinds = o.trace ?? [];
  if (kinds.length > 0) {
    if (o.traceFile === undefined) throw new UsageError('--trace: goes together with --trace-file');
    const out = new LineFile(o.traceFile, '--trace-file');
    const tracer = new Tracer(out, t.ram, kinds.includes('insn'), debug);
    if (kinds.includes('block') || kinds.includes('insn')) hooks.push((cpu, b) => tracer.block(cpu, b));
    if (kinds.includes('fault')) for (const c of cpus) debug.attachTrace(c, tracer);
    closers.push(() => {
      tracer.flush(cpus);
      out.close();
    });
  }
  if (clock !== null) {
    hooks.push((cpu, b) => {
      // As the deadline thread does it.
      if (clock.advance(b.insns)) cpu.V[Slot.PENDING * 2 + 1]! |= Attention.DEADLINE;
    });
  }
  engine.tool = combine(tools);
  engine.onBlock = hooks.length === 0 ? null : hooks.length === 1 ? hooks[0]! : (cpu, b) => hooks.forEach((h) => h(cpu, b));
  return {
    close: () => {
      for (const c of closers) c();
    },
  };
}
