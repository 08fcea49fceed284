// bench/riscv-differential: random RV64GC instructions against qemu-user; status 1 on a difference.
//   node bench/riscv-differential.mjs --cases 100000 [--seed 1] [--family int,mem,fp,flow,rvc] [--interp | --first]
// --first: generated code, but simple instructions are executed where they are met for the first time (docs/adr/0065)
//   node bench/riscv-differential.mjs --vlen 128 --cases 100000: vector instructions (128 or 256 bits)
import { longDifferential } from './long-differential.mjs';

longDifferential(import.meta.url, 'test/riscv-diff/long.test.ts', 'RV64', ['int', 'mem', 'fp', 'flow', 'rvc'], ['interp', 'first'], ['vlen']);
