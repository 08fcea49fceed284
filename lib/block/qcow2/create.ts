/** Makes empty qcow2 images. */
import { UsageError } from '../../errors.js';
import { createFile } from '../file.js';
import { Compression, Extension, Header, Incompatible, QCOW_MAGIC, write64 } from './layout.js';
import { writeCount } from './refcounts.js';

export interface Qcow2CreateOptions {
  /** Bytes of the disk, multiple of 512. */
  size: number;
  /** Bytes, a power of two from 512 to 2 MiB. Default 64 KiB. */
  clusterSize?: number;
  version?: 2 | 3;
  /** 1, 2, 4 .. 64. Default 16. */
  refcountBits?: number;
  compression?: Compression;
  /** Name as it is to stand in the header. */
  backingFile?: string;
  /** Format name as it is to stand in the header: raw, qcow2, vpc ... */
  backingFormat?: string;
  /** Names the option in messages. */
  option: string;
  /** Overwrite a file that is there. */
  replace?: boolean;
}

const MAX_SIZE = 2 ** 50;

/** @throws UsageError */
export function createQcow2(path: string, o: Qcow2CreateOptions): void {
  const cs = o.clusterSize ?? 65536;
  const bits = Math.log2(cs);
  const version = o.version ?? 3;
  const order = Math.log2(o.refcountBits ?? 16);
  if (!Number.isInteger(bits) || bits < 9 || bits > 21) throw new UsageError(`${o.option}: cluster size ${cs} is not a power of two from 512 to 2M`);
  if (!Number.isInteger(order) || order < 0 || order > 6) throw new UsageError(`${o.option}: refcounts of ${o.refcountBits} bits: 1, 2, 4, 8, 16, 32 and 64 are possible`);
  if (version === 2 && (order !== 4 || o.compression === Compression.ZSTD)) throw new UsageError(`${o.option}: qcow2 version 2 has refcounts of 16 bits and zlib only`);
  if (!(o.size > 0 && o.size <= MAX_SIZE)) throw new UsageError(`${o.option}: ${o.size} bytes is no size of a disk`);
  const name = Buffer.from(o.backingFile ?? '');
  if (name.length > 1023) throw new UsageError(`${o.option}: the name of the backing file is longer than 1023 bytes`);

  const l1Entries = Math.max(1, Math.ceil(o.size / (cs * (cs / 8))));
  if (l1Entries * 8 > 32 * 1024 * 1024) throw new UsageError(`${o.option}: ${o.size} bytes is too large for clusters of ${cs} bytes`);
  const l1Clusters = Math.ceil((l1Entries * 8) / cs);
  const perBlock = (cs * 8) / (1 << order);
  let blocks = 1;
  let tableClusters = 1;
  const total = (): number => 1 + tableClusters + blocks + l1Clusters;
  while (blocks * perBlock < total() || tableClusters * (cs / 8) < blocks) {
    blocks = Math.ceil(total() / perBlock);
    tableClusters = Math.ceil(blocks / (cs / 8));
  }
  const at = { table: cs, blocks: cs * (1 + tableClusters), l1: cs * (1 + tableClusters + blocks) };

  const headerBytes = version === 2 ? Header.V2_BYTES : Header.V3_BYTES + 8;
  const h = Buffer.alloc(cs);
  h.writeUInt32BE(QCOW_MAGIC, Header.MAGIC);
  h.writeUInt32BE(version, Header.VERSION);
  h.writeUInt32BE(bits, Header.CLUSTER_BITS);
  write64(h, Header.SIZE, o.size);
  h.writeUInt32BE(l1Entries, Header.L1_SIZE);
  write64(h, Header.L1_OFFSET, at.l1);
  write64(h, Header.REFCOUNT_OFFSET, at.table);
  h.writeUInt32BE(tableClusters, Header.REFCOUNT_CLUSTERS);
  if (version === 3) {
    h.writeUInt32BE(order, Header.REFCOUNT_ORDER);
    h.writeUInt32BE(headerBytes, Header.LENGTH);
    if (o.compression === Compression.ZSTD) {
      h.writeUInt32BE(Incompatible.COMPRESSION_TYPE, Header.INCOMPATIBLE + 4);
      h[Header.COMPRESSION] = Compression.ZSTD;
    }
  }
  let end: number = headerBytes;
  if (o.backingFile !== undefined && o.backingFormat !== undefined) {
    const format = Buffer.from(o.backingFormat);
    h.writeUInt32BE(Extension.BACKING_FORMAT, end);
    h.writeUInt32BE(format.length, end + 4);
    format.copy(h, end + 8);
    end += 8 + Math.ceil(format.length / 8) * 8;
  }
  // An end mark of zeros: type and length.
  end += 8;
  if (end + name.length > cs) throw new UsageError(`${o.option}: the name of the backing file does not fit into a cluster of ${cs} bytes`);
  if (name.length > 0) {
    name.copy(h, end);
    write64(h, Header.BACKING_OFFSET, end);
    h.writeUInt32BE(name.length, Header.BACKING_SIZE);
  }

  const table = Buffer.alloc(tableClusters * cs);
  const counts = Buffer.alloc(blocks * cs);
  for (let i = 0; i < blocks; i++) write64(table, i * 8, at.blocks + i * cs);
  for (let i = 0; i < total(); i++) writeCount(counts.subarray(Math.floor(i / perBlock) * cs), i % perBlock, order, 1);

  const file = createFile(path, o.option, o.replace ?? false);
  try {
    file.truncate(total() * cs);
    file.write(at.table, table);
    file.write(at.blocks, counts);
    // Last, so that half an image is none.
    file.write(0, h);
    file.sync();
  } finally {
    file.close();
  }
}
