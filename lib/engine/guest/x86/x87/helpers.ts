/** All helpers of the x87 and the extended state, for a CPU's registry. */
import type { HelperRegistry } from '../../../helpers.js';
import { defineArith } from './arith.js';
import { defineControl } from './control.js';
import { defineMoves } from './moves.js';
import type { X87Cpu } from './state.js';
import { defineTranscendental } from './transcendental.js';
import { defineXsave } from './xsave.js';

export { defineFpuTraps, defineMmx } from './control.js';
export type { X87Cpu } from './state.js';

export function defineX87Helpers<C extends X87Cpu>(r: HelperRegistry<C>): void {
  defineControl(r);
  defineMoves(r);
  defineArith(r);
  defineTranscendental(r);
  defineXsave(r);
}
