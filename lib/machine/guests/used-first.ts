/** Which guest memory a kernel that is loaded directly is sure to use: offsets in guest RAM, from and to (docs/adr/0034). */
import { statSync } from 'node:fs';
import type { MachineConfig } from '../config.js';

/** What kernels allocate first, below the initramfs at the top of low memory. */
const EARLY_BYTES = 12 << 20;

/**
 * @param kernelAt where the kernel is put
 * @param top end of the memory whose top the initramfs is put to
 */
export function usedByKernel(config: MachineConfig, kernelAt: number, top: number): [number, number][] {
  if (config.kernel === null) return [];
  // What cannot be read the loader reports.
  const bytes = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  return [
    [kernelAt, kernelAt + bytes(config.kernel)],
    [top - EARLY_BYTES - (config.initrd === null ? 0 : bytes(config.initrd)), top],
  ];
}
