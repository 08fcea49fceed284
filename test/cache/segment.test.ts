/** Frames: what was not written with the key is not read. */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeFrame, Frame, type FrameInfo, readPayload, scanFrames, type ScanEnd } from '#lib/cache/segment.js';
import { chunk, numbers, tempDir } from './temp.js';

const KEY = new Uint8Array(32).fill(5);
const DOMAIN = new Uint8Array(16).fill(9);
const bytes = (a: Int32Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
const CHUNKS = [1, 2, 3].map((s) => chunk(s, 20));

function file(): Buffer {
  const text = Buffer.from('{"an":"identity"} ');
  return Buffer.concat([
    encodeFrame(KEY, DOMAIN, Frame.IDENTITY, 0, Buffer.concat([text, Buffer.alloc(-text.length & 3, ' ')]), new Uint8Array(0)),
    ...CHUNKS.map((c, i) => encodeFrame(KEY, DOMAIN, Frame.CHUNK, i + 1, bytes(c.index), bytes(c.payload))),
  ]);
}

/** What a reader gets of a file: numbers of the chunks whose index and payload are right. Throws if one is wrong. */
function read(content: Uint8Array, key = KEY, domain = DOMAIN): { end: ScanEnd; good: number[]; damaged: number } {
  const path = join(tempDir(), 'f');
  writeFileSync(path, content);
  const fd = openSync(path, 'r');
  const frames: FrameInfo[] = [];
  try {
    const end = scanFrames(fd, key, domain, (f) => frames.push(f));
    const good: number[] = [];
    let damaged = 0;
    for (const f of frames) {
      if (f.kind !== Frame.CHUNK) continue;
      const c = CHUNKS[f.number - 1]!;
      expect(Buffer.compare(f.index, bytes(c.index))).toBe(0);
      const p = readPayload(fd, key, f);
      if (p === null) damaged++;
      else {
        expect(Buffer.compare(p, bytes(c.payload))).toBe(0);
        good.push(f.number);
      }
    }
    return { end, good, damaged };
  } finally {
    closeSync(fd);
  }
}

describe('segment frames', () => {
  it('come back as they were', () => {
    expect(read(file())).toEqual({ end: 'complete', good: [1, 2, 3], damaged: 0 });
  });

  it('of another key or domain are refused', () => {
    expect(read(file(), new Uint8Array(randomBytes(32)))).toEqual({ end: 'refused', good: [], damaged: 0 });
    expect(read(file(), KEY, new Uint8Array(16))).toEqual({ end: 'refused', good: [], damaged: 0 });
  });

  it('count up to the last whole one after a kill', () => {
    const all = file();
    for (let n = 0; n < all.length; n += 97) {
      const r = read(all.subarray(0, n));
      expect(r.end === 'refused' || r.damaged > 0).toBe(false);
      expect(r.good).toEqual([1, 2, 3].slice(0, r.good.length));
    }
  });

  it('cannot change places', () => {
    const frames = CHUNKS.map((c, i) => encodeFrame(KEY, DOMAIN, Frame.CHUNK, i, bytes(c.index), bytes(c.payload)));
    expect(read(Buffer.concat([frames[1]!, frames[0]!])).end).toBe('refused');
  });

  it('never give anything else than what was written, whichever byte is flipped', () => {
    const all = file();
    const rnd = numbers(4711);
    let detected = 0;
    for (let i = 0; i < 1000; i++) {
      const x = Buffer.from(all);
      x[rnd(x.length)]! ^= 1 << rnd(8);
      const r = read(x);
      if (r.end !== 'complete' || r.damaged > 0) detected++;
    }
    expect(detected).toBe(1000);
  });

  it('with sizes beyond all bounds are refused before memory is taken', () => {
    const h = Buffer.from(file().subarray(0, 80));
    for (const at of [8, 12]) {
      const x = Buffer.from(h);
      x.writeUInt32LE(0xffff_fffc, at);
      expect(read(Buffer.concat([x, Buffer.alloc(1000)])).end).toBe('refused');
    }
  });
});
