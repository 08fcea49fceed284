/** The parts of an ARM64 guest put together. */
import { HelperRegistry } from '../../helpers.js';
import type { Arm64Cpu } from './cpu.js';
import { registerHelpers } from './helpers.js';
import { Arm64Lifter } from './lifter.js';
import type { Arm64Model } from './model.js';
import { defineSimdOps } from './simd/index.js';

/** Every helper of an ARM64 guest, in a fixed order (ids are part of generated code). */
export function arm64Helpers(): HelperRegistry<Arm64Cpu> {
  const r = new HelperRegistry<Arm64Cpu>();
  registerHelpers(r);
  defineSimdOps(r);
  return r;
}

export function arm64Lifter(helpers: HelperRegistry<Arm64Cpu>, model: Arm64Model): Arm64Lifter {
  return new Arm64Lifter(helpers, model);
}
