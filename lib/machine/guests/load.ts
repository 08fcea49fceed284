/** Guest architectures by name, each loaded when a machine needs it: a machine has one. */
import type { ArchName } from '../config.js';
import type { GuestArch } from './guest.js';

/** Undefined if there is no such architecture. */
export async function loadArch(name: ArchName): Promise<GuestArch | undefined> {
  switch (name) {
    case 'x86_64':
      return (await import('./x86.js')).x86;
    case 'aarch64':
      return (await import('./arm64.js')).arm64;
    case 'riscv64':
      return (await import('./riscv.js')).riscv;
    default:
      return undefined;
  }
}
