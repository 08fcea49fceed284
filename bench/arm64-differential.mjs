// bench/arm64-differential: random A64 instructions against qemu-user; status 1 on a difference.
//   node bench/arm64-differential.mjs --cases 100000 [--seed 1] [--family int,mem,simd,fp,flow] [--interp]
import { longDifferential } from './long-differential.mjs';

longDifferential(import.meta.url, 'test/arm64-diff/long.test.ts', 'A64', ['int', 'mem', 'simd', 'fp', 'flow'], ['interp']);
