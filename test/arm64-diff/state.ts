/** Layout of a case and of a result as runner.c has them: one block of bytes each. */
export const RECORD = 904;
export const CODE = 0x1000_0000;
export const DATA = 0x1001_0000;
export const DATA_BYTES = 16384;
export const enum At { X = 0, SP = 248, NZCV = 256, FPCR = 264, FPSR = 272, SIGNAL = 280, MEMORY = 288, OFFSET = 296, COUNT = 304, CODE = 312, HOST_SP = 376, HOST_RET = 384, V = 392 }

/** Content of the data area from its seed. */
export function fillData(out: BigUint64Array, seed: bigint): void {
  let v = seed;
  for (let i = 0; i < out.length; i++) out[i] = v = BigInt.asUintN(64, v * 6364136223846793005n + 1442695040888963407n);
}

export function checksum(data: BigUint64Array): bigint {
  let sum = 0n;
  for (const d of data) sum = BigInt.asUintN(64, (sum ^ d) * 1099511628211n + (sum >> 29n));
  return sum;
}
