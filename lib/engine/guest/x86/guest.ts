/** The parts of an x86 guest put together: helper registry and lifter for a CPU model. */
import { HelperRegistry } from '../../helpers.js';
import type { X86Cpu } from './cpu.js';
import type { CpuModel } from './cpuid.js';
import { registerSystemHelpers } from './helpers.js';
import { X86Lifter } from './lifter.js';
import { defineVectorOps } from './vector/index.js';
import { defineX87Helpers } from './x87/helpers.js';

/** Every helper of an x86 guest, in a fixed order (ids are part of generated code). */
export function x86Helpers(): HelperRegistry<X86Cpu> {
  const r = new HelperRegistry<X86Cpu>();
  registerSystemHelpers(r);
  defineX87Helpers(r);
  defineVectorOps(r as unknown as Parameters<typeof defineVectorOps>[0]);
  return r;
}

/** With several CPUs on one thread, PAUSE gives up the turn. */
export function x86Lifter(helpers: HelperRegistry<X86Cpu>, model: Pick<CpuModel, 'features'>, cpus = 1): X86Lifter {
  return new X86Lifter(helpers, cpus > 1 ? new Set([...model.features, 'smp']) : model.features);
}
