/** Attaches the debugging tools that the options ask for to a machine's engine. */
import { BlockText } from '../../engine/debug/block-text.js';
import { Lockstep } from '../../engine/debug/lockstep.js';
import type { GuestCpu } from '../../engine/cpu.js';
import { Mode } from '../../engine/guest/x86/mode.js';
import { codeBits, describeMode, x86SlotName } from '../../engine/guest/x86/names.js';
import type { Engine } from '../../engine/jit/engine.js';
import type { HostCode } from '../../engine/jit/host-code.js';
import type { PassOptions } from '../../engine/ir/passes.js';
import { Slot } from '../../engine/state.js';
import { UsageError } from '../../errors.js';
import type { DebugOptions } from '../config.js';

/** IR passes by the names users switch them off with. */
const PASSES: Readonly<Record<string, keyof PassOptions>> = { 'dead-flags': 'deadFlags', fold: 'fold', 'dead-temps': 'deadTemps' };

export function passOptions(disabled: readonly string[]): PassOptions {
  const o: PassOptions = {};
  for (const name of disabled) {
    const key = PASSES[name];
    if (key === undefined) throw new UsageError(`--disable-pass: no pass '${name}' (${Object.keys(PASSES).join(', ')})`);
    o[key] = false;
  }
  return o;
}

/** True if linear addresses wrap at 32 bits in this mode. */
export const mask32 = (mode: number): boolean => (mode & Mode.CODE_MASK) !== Mode.CODE64;

/** Slot PC as a number that cannot lose bits. */
export function pcOf(cpu: GuestCpu): bigint {
  return (BigInt(cpu.V[Slot.PC * 2 + 1]! >>> 0) << 32n) | BigInt(cpu.V[Slot.PC * 2]! >>> 0);
}

/** What a machine has to do for its tools. */
export interface Tools {
  readonly lockstep: Lockstep | null;
  /** Flushes and closes files. */
  close(): void;
}

export function attachTools(o: DebugOptions, engine: Engine, host: HostCode | null, cpus: readonly GuestCpu[], log: (message: string) => void): Tools {
  const text = new BlockText(host, {
    passes: passOptions(o.disablePasses ?? []),
    slotName: x86SlotName,
    machine: (mode) => (codeBits(mode) === 64 ? 'i386:x86-64' : codeBits(mode) === 32 ? 'i386' : 'i8086'),
    mode: describeMode,
  });
  let lockstep: Lockstep | null = null;
  if (o.lockstep) {
    if (host === null) throw new UsageError('--lockstep: needs the JIT');
    lockstep = new Lockstep(host, cpus, {
      describe: (cpu, block, bytes) => text.describe(cpu, block, pcOf(cpu), bytes),
      slotName: (s) => x86SlotName(s) ?? `s${s}`,
      mask32,
      every: o.lockstepEvery ?? 64,
    });
    engine.tool = lockstep;
  }
  return {
    lockstep,
    close: () => {
      if (lockstep !== null) log(`lockstep: ${lockstep.stats.blocks} blocks and ${lockstep.stats.events} events compared, ${lockstep.stats.skipped} blocks depend on undefined flags`);
    },
  };
}
