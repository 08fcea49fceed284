/**
 * Segment files of the code cache: frames, each authenticated with the user's key, appended by one process. docs/AOT.md, "Files".
 *
 *   frame: header (HEADER bytes), then `index` bytes, then `payload` bytes. Numbers are little-endian.
 *     0  u32  MAGIC
 *     4  u32  `Frame` kind
 *     8  u32  bytes of index (of text for Frame.IDENTITY)
 *    12  u32  bytes of payload
 *    16  u32  number of the frame in its file
 *    20  u8[12] nonce, u8[16] tag of the payload
 *    48  u8[12] nonce, u8[16] tag of the domain, the header up to here and the index
 *    76  u32  0
 *
 * The tags are AES-256-GMAC (NIST SP 800-38D) under a random key that only the user can read; nonces are random. A frame is
 * used only if its tags are right, so what another user, another key or a damaged disk wrote is not.
 */
import { createCipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { fstatSync, readSync } from 'node:fs';

export const enum Frame {
  IDENTITY = 0,
  CHUNK = 1,
  /** The index has the hashes of blocks at which hot loops begin; there is no payload. */
  HOT = 2,
  /** As CHUNK, of regions. */
  REGIONS = 3,
}

export const MAGIC = 0x3154_4f41;
export const HEADER = 80;
export const KEY_BYTES = 32;
/** Limits of what is believed about sizes before the tag has been checked. */
const MAX_INDEX = 1 << 24;
const MAX_PAYLOAD = 1 << 26;
const NONCE = 12;
const TAG = 16;
/** First byte that the header's own tag does not cover. */
const COVERED = 48;

/** Tag of the parts under key and nonce. */
function gmac(key: Uint8Array, nonce: Uint8Array, parts: readonly Uint8Array[]): Buffer {
  const c = createCipheriv('aes-256-gcm', key, nonce);
  for (const p of parts) c.setAAD(p);
  c.final();
  return c.getAuthTag();
}

/** One frame ready to be appended with a single write. */
export function encodeFrame(key: Uint8Array, domain: Uint8Array, kind: Frame, number: number, index: Uint8Array, payload: Uint8Array): Buffer {
  return Buffer.concat([encodeHead(key, domain, kind, number, index, payload), payload]);
}

/** The frame up to its payload, which follows in the same write. */
export function encodeHead(key: Uint8Array, domain: Uint8Array, kind: Frame, number: number, index: Uint8Array, payload: Uint8Array): Buffer {
  const out = Buffer.alloc(HEADER + index.length);
  out.writeUInt32LE(MAGIC, 0);
  out.writeUInt32LE(kind, 4);
  out.writeUInt32LE(index.length, 8);
  out.writeUInt32LE(payload.length, 12);
  out.writeUInt32LE(number, 16);
  randomBytes(NONCE).copy(out, 20);
  gmac(key, out.subarray(20, 32), [payload]).copy(out, 32);
  randomBytes(NONCE).copy(out, COVERED);
  gmac(key, out.subarray(COVERED, COVERED + NONCE), [concat(domain, out.subarray(0, COVERED), index)]).copy(out, COVERED + NONCE);
  out.set(index, HEADER);
  return out;
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** A frame whose header and index have been checked; the payload is still on disk. */
export interface FrameInfo {
  kind: Frame;
  number: number;
  index: Uint8Array;
  /** Position and length of the payload in the file. */
  payloadAt: number;
  payloadBytes: number;
  nonce: Uint8Array;
  tag: Uint8Array;
}

export type ScanEnd =
  /** The file ends with a whole frame. */
  | 'complete'
  /** It ends in the middle of one: its writer was killed, or is at work. */
  | 'torn'
  /** Something in it is not what its writer wrote, or was written with another key or for another domain. */
  | 'refused';

/**
 * Memory for a payload. V8 does not count shared memory as an isolate's: tens of MiB of buffers that come within a second and stay would
 * make it collect garbage several times and find none.
 */
export const payloadMemory = (n: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(n));

/** Reads as many bytes at `at` as b has room for, or fewer at the end of the file. */
function readAt(fd: number, at: number, b: Uint8Array): Uint8Array {
  const n = b.length;
  let have = 0;
  while (have < n) {
    const k = readSync(fd, b, have, n - have, at + have);
    if (k === 0) return b.subarray(0, have);
    have += k;
  }
  return b;
}

/**
 * Walks the frames of an open file from the start; `visit` gets each that is authentic, in order, until the first that is not.
 */
export function scanFrames(fd: number, key: Uint8Array, domain: Uint8Array, visit: (f: FrameInfo) => void): ScanEnd {
  const size = fstatSync(fd).size;
  let at = 0;
  for (let number = 0; at < size; number++) {
    if (at + HEADER > size) return 'torn';
    const h = Buffer.from(readAt(fd, at, new Uint8Array(HEADER)).buffer);
    if (h.length < HEADER) return 'torn';
    const indexBytes = h.readUInt32LE(8);
    const payloadBytes = h.readUInt32LE(12);
    if (h.readUInt32LE(0) !== MAGIC || h.readUInt32LE(16) !== number || h.readUInt32LE(76) !== 0) return 'refused';
    if (indexBytes > MAX_INDEX || payloadBytes > MAX_PAYLOAD || indexBytes % 4 !== 0 || payloadBytes % 4 !== 0) return 'refused';
    const end = at + HEADER + indexBytes + payloadBytes;
    if (end > size) return 'torn';
    const index = readAt(fd, at + HEADER, new Uint8Array(indexBytes));
    if (index.length < indexBytes) return 'torn';
    const want = gmac(key, h.subarray(COVERED, COVERED + NONCE), [concat(domain, h.subarray(0, COVERED), index)]);
    if (!timingSafeEqual(want, h.subarray(COVERED + NONCE, COVERED + NONCE + TAG))) return 'refused';
    visit({
      kind: h.readUInt32LE(4), number, index, payloadAt: at + HEADER + indexBytes, payloadBytes,
      nonce: Uint8Array.from(h.subarray(20, 32)), tag: Uint8Array.from(h.subarray(32, 48)),
    });
    at = end;
  }
  return 'complete';
}

/** The payload, or null if it is not what was written. `ahead`: its bytes, if they have been read already. */
export function readPayload(fd: number, key: Uint8Array, f: FrameInfo, ahead: Uint8Array | null = null): Uint8Array | null {
  const b = ahead ?? readAt(fd, f.payloadAt, payloadMemory(f.payloadBytes));
  if (b.length < f.payloadBytes || !timingSafeEqual(gmac(key, f.nonce, [b]), f.tag)) return null;
  return b;
}
