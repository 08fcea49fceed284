/** VirtualBox disk images, version 1.1, dynamic and fixed (VDICore.h of VirtualBox describes them). Little-endian. */
import type { ImageFile } from './file.js';
import { ABSENT, isPowerOfTwo, le64, MappedImage } from './mapped.js';

const HEADER = 512;
const enum H { SIGNATURE = 64, VERSION = 68, TYPE = 76, MAP_OFFSET = 340, DATA_OFFSET = 344, SECTOR_SIZE = 360, DISK_SIZE = 368, BLOCK_SIZE = 376, BLOCKS = 384 }
const SIGNATURE = 0xbeda_107f;
const MAJOR = 1;
const enum Type { DYNAMIC = 1, FIXED = 2 }
/** Map entries from here on: not allocated, or zero. */
const DISCARDED = 0xffff_fffe;
const MAX_BLOCKS = 0x400_0000;

export class VdiImage extends MappedImage {
  private readonly map: Buffer;
  private readonly data: number;

  /** @throws UsageError */
  constructor(file: ImageFile) {
    const h = file.bytes(0, HEADER, 'the VDI header');
    if (h.readUInt32LE(H.SIGNATURE) !== SIGNATURE) throw file.malformed('is not a VDI image');
    if (h.readUInt32LE(H.VERSION) >>> 16 !== MAJOR) throw file.malformed(`VDI version ${h.readUInt32LE(H.VERSION) >>> 16} is not supported`);
    const type = h.readUInt32LE(H.TYPE);
    if (type !== Type.DYNAMIC && type !== Type.FIXED) throw file.malformed(`VDI image type ${type} (differencing or undo) is not supported`);
    const size = le64(h, H.DISK_SIZE);
    const blockSize = h.readUInt32LE(H.BLOCK_SIZE);
    const blocks = h.readUInt32LE(H.BLOCKS);
    if (h.readUInt32LE(H.SECTOR_SIZE) !== 512 || !isPowerOfTwo(blockSize) || blockSize < 512) throw file.malformed(`blocks of ${blockSize} bytes are not valid`);
    if (!(size > 0)) throw file.malformed('its disk size is absurd');
    if (blocks > MAX_BLOCKS || blocks * blockSize < size) throw file.malformed(`a map of ${blocks} blocks does not fit a disk of ${size} bytes`);
    super(file, Math.floor(size / 512) * 512, blockSize);
    this.map = file.bytes(h.readUInt32LE(H.MAP_OFFSET), blocks * 4, 'the block map');
    this.data = h.readUInt32LE(H.DATA_OFFSET);
  }

  protected locate(n: number): number {
    const entry = this.map.readUInt32LE(n * 4);
    return entry >= DISCARDED ? ABSENT : this.data + entry * this.blockSize;
  }
}
