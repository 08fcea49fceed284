/** The guest architectures there are. */
import type { ArchName } from '../config.js';
import type { GuestArch } from './guest.js';
import { arm64 } from './arm64.js';
import { riscv } from './riscv.js';
import { x86 } from './x86.js';

export const ARCHES: Readonly<Partial<Record<ArchName, GuestArch>>> = { x86_64: x86, aarch64: arm64, riscv64: riscv };
