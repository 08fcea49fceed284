// bench/mmu: misses of the TLB, page faults and changes of address space (with and without process-context identifiers) of a bare-metal guest
// program (bench/mmu/mmu.S, built with as and ld), against QEMU's TCG, interleaved in one run.
//   node bench/mmu.mjs [--rounds 3] [--clock wall] [--json FILE]      (--clock cpu: CPU time, on a machine with other work)
import { metalBench } from './metal-bench.mjs';

await metalBench(import.meta.url, 'mmu/mmu.S', { 'tlb-miss': 60 * 16384, 'page-fault': 60 * 16384, switch: 300_000, 'switch-pcid': 300_000 }, 'switch');
