/** Image formats by name and by content. */

export const IMAGE_FORMATS = ['raw', 'qcow2', 'vhd', 'vhdx', 'vmdk', 'vdi'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];
/** The ones that can be written. */
export const WRITABLE_FORMATS: readonly ImageFormat[] = ['raw', 'qcow2'];

/** First bytes of the formats that have such. A fixed VHD is told by its last sector: see `open.ts`. */
const MAGIC: readonly (readonly [string, number, ImageFormat])[] = [
  ['QFI\xfb', 0, 'qcow2'],
  ['vhdxfile', 0, 'vhdx'],
  ['conectix', 0, 'vhd'],
  ['KDMV', 0, 'vmdk'],
  ['COWD', 0, 'vmdk'],
  ['# Disk DescriptorFile', 0, 'vmdk'],
  ['\x7f\x10\xda\xbe', 64, 'vdi'],
];
/** Bytes that `containerFormat` looks at. */
export const MAGIC_BYTES = 68;

/** Which of the formats that are more than the bytes of the disk a file begins as, or null. */
export function containerFormat(head: Uint8Array): Exclude<ImageFormat, 'raw'> | null {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, MAGIC_BYTES)).toString('latin1');
  const found = MAGIC.find(([magic, at]) => text.startsWith(magic, at));
  return found === undefined ? null : (found[2] as Exclude<ImageFormat, 'raw'>);
}
