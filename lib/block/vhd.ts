/** VHD images, fixed and dynamic ("Virtual Hard Disk Image Format Specification" 1.0, Microsoft). Big-endian. */
import type { ImageFile } from './file.js';
import { ABSENT, be64, isPowerOfTwo, MappedImage } from './mapped.js';

export const VHD_FOOTER = 512;
const SECTOR = 512;
const HEADER = 1024;
const enum Footer { COOKIE = 0, DATA_OFFSET = 16, CREATOR = 28, CURRENT_SIZE = 48, CYLINDERS = 56, HEADS = 58, SECTORS = 59, TYPE = 60, CHECKSUM = 64 }
const enum Dynamic { COOKIE = 0, TABLE_OFFSET = 16, ENTRIES = 28, BLOCK_SIZE = 32 }
const enum Type { FIXED = 2, DYNAMIC = 3, DIFFERENCING = 4 }
const UNUSED = 0xffff_ffff;
const MAX_ENTRIES = 0x100_0000;
/** Programs that round the size to the geometry and show that to the guest. */
const BY_GEOMETRY = ['vpc ', 'qemu'];
/** Geometry of disks too large for one. */
const MAX_GEOMETRY = 65535 * 16 * 255;

/** The footer at the end of the file, or null. A fixed image has nothing else that tells it. */
export function vhdFooter(file: ImageFile): Buffer | null {
  const size = file.size;
  if (size < VHD_FOOTER) return null;
  const b = Buffer.alloc(VHD_FOOTER);
  file.read(size - VHD_FOOTER, b);
  return b.toString('latin1', 0, 8) === 'conectix' && b.readUInt32BE(Footer.CHECKSUM) === checksum(b) ? b : null;
}

/** One's complement of the sum of all bytes but the checksum's. */
function checksum(b: Buffer): number {
  let sum = 0;
  b.forEach((x, i) => (sum += i >= Footer.CHECKSUM && i < Footer.CHECKSUM + 4 ? 0 : x));
  return ~sum >>> 0;
}

export class VhdImage extends MappedImage {
  private readonly table: Buffer | null;
  private readonly bitmap: number;

  /** @throws UsageError */
  constructor(file: ImageFile) {
    // The copy at the front is there for when the end is lost.
    const footer = vhdFooter(file) ?? file.bytes(0, VHD_FOOTER, 'the VHD footer');
    if (footer.toString('latin1', 0, 8) !== 'conectix' || footer.readUInt32BE(Footer.CHECKSUM) !== checksum(footer)) throw file.malformed('its VHD footer is damaged');
    const type = footer.readUInt32BE(Footer.TYPE);
    if (type === Type.DIFFERENCING) throw file.malformed('differencing VHD images are not supported');
    if (type !== Type.FIXED && type !== Type.DYNAMIC) throw file.malformed(`VHD disk type ${type} is not valid`);
    const geometry = footer.readUInt16BE(Footer.CYLINDERS) * footer[Footer.HEADS]! * footer[Footer.SECTORS]!;
    const size = BY_GEOMETRY.includes(footer.toString('latin1', Footer.CREATOR, Footer.CREATOR + 4)) && geometry < MAX_GEOMETRY ? geometry * SECTOR : be64(footer, Footer.CURRENT_SIZE);
    if (!(size > 0)) throw file.malformed('its disk size is absurd');
    if (type === Type.FIXED) {
      if (size > file.size - VHD_FOOTER) throw file.malformed('is truncated');
      super(file, size, size);
      this.table = null;
      this.bitmap = 0;
      return;
    }
    const h = file.bytes(be64(footer, Footer.DATA_OFFSET) || 0, HEADER, 'the VHD header');
    if (h.toString('latin1', Dynamic.COOKIE, 8) !== 'cxsparse') throw file.malformed('its VHD header is damaged');
    const blockSize = h.readUInt32BE(Dynamic.BLOCK_SIZE);
    const entries = h.readUInt32BE(Dynamic.ENTRIES);
    if (!isPowerOfTwo(blockSize) || blockSize < SECTOR) throw file.malformed(`blocks of ${blockSize} bytes are not valid`);
    if (entries > MAX_ENTRIES || entries * blockSize < size) throw file.malformed(`a table of ${entries} blocks does not fit a disk of ${size} bytes`);
    super(file, size, blockSize);
    this.table = file.bytes(be64(h, Dynamic.TABLE_OFFSET) || 0, entries * 4, 'the block table');
    this.bitmap = Math.ceil(blockSize / SECTOR / 8 / SECTOR) * SECTOR;
  }

  protected locate(n: number): number {
    if (this.table === null) return 0;
    const entry = this.table.readUInt32BE(n * 4);
    return entry === UNUSED ? ABSENT : entry * SECTOR + this.bitmap;
  }
}
