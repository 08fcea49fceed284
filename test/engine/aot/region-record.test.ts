/** Regions in the code cache: found only where all of their code is, and nothing that is not one is taken for one. */
import { describe, expect, it } from 'vitest';
import { CodeCache, type CacheStore, type ChunkIndex } from '#lib/engine/aot/code-cache.js';
import { blockHash, blockPrefix, guestAt, Rec, RecFlag, RecordWriter } from '#lib/engine/aot/record.js';
import { HINT_SHIFT, nodesOf, Reg, regionFits, regionGuest, regionPage, UNIT_SHIFT, wellFormedRegion } from '#lib/engine/aot/region-record.js';
import { ConstPool } from '#lib/engine/ir/builder.js';
import { numbers } from '../../cache/temp.js';
import { writeFake } from './records.js';

const PAGE = 4096;
const MODE = 3;
const NODES = [{ offset: 0x100, bytes: 7 }, { offset: 0xffc, bytes: 4 }, { offset: 0x180, bytes: 13 }];

function ramOf(): Uint8Array {
  const rnd = numbers(9);
  return new Uint8Array(3 * PAGE).map(() => rnd(256));
}

/** Appends the record of a region with these nodes in page 1. */
function write(ram: Uint8Array, out: RecordWriter, off = 0): number {
  const guest = regionGuest(NODES, { count: 3, writes: 0b100, off, addendsOff: 0, fields: [8 | (2 << HINT_SHIFT), 16 | (1 << UNIT_SHIFT)] }, ram, PAGE)!;
  const at = writeFake({ offset: 0x100, mode: MODE, bytes: [...guest], targets: [0x500], code: 64 }, out);
  out.W[at + Rec.PLACE]! |= RecFlag.REGION;
  return at;
}

describe('regions in the code cache', () => {
  it('fit where the bytes of all nodes are, and need nothing else of the page', () => {
    const ram = ramOf();
    const out = new RecordWriter();
    const at = write(ram, out);
    expect(nodesOf(out.W, at)).toEqual(NODES);
    expect(wellFormedRegion(out.W.slice(0, out.n), at)).toBe(true);
    expect(regionFits(out.W, at, ram, PAGE)).toBe(true);
    expect(regionFits(out.W, at, ram, 0)).toBe(false);
    expect(regionFits(out.W, at, regionPage(out.W, at)!, 0)).toBe(true);
    for (const n of NODES) {
      for (const i of [0, n.bytes - 1]) {
        ram[PAGE + n.offset + i]! ^= 0x80;
        expect(regionFits(out.W, at, ram, PAGE)).toBe(false);
        ram[PAGE + n.offset + i]! ^= 0x80;
      }
      ram[PAGE + n.offset + n.bytes]! ^= 1;
      expect(regionFits(out.W, at, ram, PAGE)).toBe(true);
    }
  });

  it('are refused if their parts do not lie within them', () => {
    const out = new RecordWriter();
    const at = write(ramOf(), out);
    const good = out.W.slice(0, out.n);
    const guest = guestAt(good, at);
    for (const word of [at + Rec.LENGTH, at + Rec.CODE_AT, at + Rec.GROUP, guest + Reg.NODES, guest + Reg.FIELDS]) {
      for (let i = 0; i < 32; i++) {
        const W = good.slice();
        W[word]! ^= 1 << i;
        expect(wellFormedRegion(W, at), `word ${word}, bit ${i}`).toBe(false);
      }
    }
    const rnd = numbers(4);
    for (let i = 0; i < 5000; i++) {
      const W = good.slice();
      for (let k = rnd(3); k >= 0; k--) W[rnd(W.length)] = rnd(2) === 0 ? rnd(1 << 30) - (1 << 29) : rnd(64);
      if (wellFormedRegion(W, at)) regionPage(W, at);
    }
  });

  it('are found by the block that they begin with: the one with the fewest hints', () => {
    const ram = ramOf();
    const out = new RecordWriter();
    const at = [write(ram, out, 0), write(ram, out, 0b11), write(ram, out, 0b1)];
    const hash = blockHash(0x100, MODE, blockPrefix(ram, PAGE + 0x100, 3));
    const index = Int32Array.from(at.flatMap((a) => [hash, a]));
    const written: { index: ChunkIndex; payload: Int32Array }[] = [];
    const store: CacheStore = {
      open: (_add, _hot, regions) => regions(index, () => out.W.slice(0, out.n)),
      write: () => undefined,
      writeHot: () => undefined,
      writeRegions: (i, payload) => written.push({ index: i, payload }),
      startAnew: () => undefined,
    };
    const cache = new CodeCache(store, new ConstPool());
    const head = { ram: PAGE + 0x100, offset: 0x100, mode: MODE };
    expect(cache.findRegion(ram, head)).toBe(true);
    expect(cache.at).toBe(at[1]);
    expect(cache.findRegion(ram, { ...head, mode: 4 })).toBe(false);
    // One that is there is not written again.
    for (const off of [0b1, 0b111]) {
      const to = cache.regionWriter.n;
      write(ram, cache.regionWriter, off);
      cache.addedRegion(ram, head, to);
    }
    cache.flush();
    expect(written).toHaveLength(1);
    expect([...written[0]!.index]).toEqual([hash, 0]);
    expect(written[0]!.payload[guestAt(written[0]!.payload, 0) + Reg.HINTS_OFF]).toBe(0b111);
    ram[PAGE + 0x181]! ^= 1;
    expect(cache.findRegion(ram, head)).toBe(false);
  });
});
