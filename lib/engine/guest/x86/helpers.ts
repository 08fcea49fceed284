/** Registration of the x86 helpers that helper-names.ts lists. */
import type { HelperRegistry } from '../../helpers.js';
import type { X86Cpu } from './cpu.js';
import { HELPER_SPECS } from './helper-names.js';
import { registerFlow } from './helpers-flow.js';
import { registerMisc } from './helpers-misc.js';
import { registerSystem } from './helpers-system.js';

/** Defines every helper of HELPER_SPECS. @throws if one is missing (a mistake in this program). */
export function registerSystemHelpers(registry: HelperRegistry<X86Cpu>): void {
  registerFlow(registry);
  registerSystem(registry);
  registerMisc(registry);
  for (const s of HELPER_SPECS) registry.id(s.name);
}
