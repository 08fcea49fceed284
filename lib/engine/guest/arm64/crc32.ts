/** CRC-32 with the polynomial 04C11DB7h, reflected (CRC32B .. CRC32X). */
const TABLE = ((): Int32Array => {
  const t = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let v = i;
    for (let k = 0; k < 8; k++) v = v & 1 ? (v >>> 1) ^ 0xedb8_8320 : v >>> 1;
    t[i] = v;
  }
  return t;
})();

/** CRC of the accumulator and the low `bytes` (1, 2, 4, 8) bytes of hi:lo. Signed 32-bit result. */
export function crc32(acc: number, lo: number, hi: number, bytes: number): number {
  for (let i = 0; i < bytes; i++) {
    const byte = ((i < 4 ? lo : hi) >>> ((i & 3) * 8)) & 255;
    acc = (acc >>> 8) ^ TABLE[(acc ^ byte) & 255]!;
  }
  return acc | 0;
}
