// bench/exits: what leaves generated code for a device or for TypeScript, in a bare-metal guest program (bench/exits/exits.S, built with as and
// ld), against QEMU's TCG, interleaved in one run: port I/O, memory-mapped registers, instructions that only a helper can do, interrupts.
//   node bench/exits.mjs [--rounds 3] [--clock wall] [--json FILE]      (--clock cpu: CPU time, on a machine with other work)
import { metalBench } from './metal-bench.mjs';

const SLOW = 2_000_000;
const PORT = 10_000_000;
const FAST = 4_000_000;
const parts = { 'port-nobody': PORT, 'port-cmos': PORT, 'port-serial': SLOW, 'mmio-nobody': SLOW, 'mmio-lapic': SLOW, 'mmio-ioapic': SLOW, cpuid: FAST, rdmsr: FAST, 'int-iret': SLOW, 'self-ipi': SLOW };
await metalBench(import.meta.url, 'exits/exits.S', parts, 'self-ipi');
