/** Compressed clusters of qcow2: raw deflate streams (zlib) or zstd frames. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { decompressZstd } from '../zstd.js';
import { Compression } from './layout.js';

/** Clusters kept decompressed: sequential readers come back for the rest of a cluster. */
const KEPT = 4;
/** Deflate window of 4 KiB, as QEMU compresses. */
const WINDOW_BITS = 12;

export class Decompressor {
  private readonly hosts: number[] = [];
  private readonly clusters: Uint8Array[] = [];
  private next = 0;

  constructor(private readonly type: Compression, private readonly clusterSize: number) {}

  cached(host: number): Uint8Array | null {
    const i = this.hosts.indexOf(host);
    return i < 0 ? null : this.clusters[i]!;
  }

  /** Decompresses a cluster and keeps it. @param input may go on behind the compressed data. @returns null if it is damaged. */
  decompress(host: number, input: Uint8Array): Uint8Array | null {
    let out: Uint8Array;
    try {
      out = this.type === Compression.ZSTD ? decompressZstd(input, this.clusterSize) : inflateRawSync(input, { maxOutputLength: this.clusterSize });
    } catch {
      // Damaged data are reported by the caller, who knows where they lie.
      return null;
    }
    if (out.length !== this.clusterSize) return null;
    this.hosts[this.next] = host;
    this.clusters[this.next] = out;
    this.next = (this.next + 1) % KEPT;
    return out;
  }
}

/** @returns null if the cluster does not become smaller. */
export function compressCluster(cluster: Uint8Array): Uint8Array | null {
  const out = deflateRawSync(cluster, { windowBits: WINDOW_BITS });
  return out.length < cluster.length ? out : null;
}
