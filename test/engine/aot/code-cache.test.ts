/** The index of the code cache with page groups: what is found, what fits a page, and how groups are made at the end of a run. */
import { describe, expect, it } from 'vitest';
import { type CacheStore, type ChunkIndex, CodeCache, Fits } from '#lib/engine/aot/code-cache.js';
import { GROUP_HEAD, groupOf, recordsOfGroup, unsoundGroups, writeGroup } from '#lib/engine/aot/page-group.js';
import { blockHash, blockPrefix, OPERAND_SYMBOL, Rec, RecordWriter } from '#lib/engine/aot/record.js';
import { ConstPool } from '#lib/engine/ir/builder.js';
import { type FakeBlock, writeFake } from './records.js';

const MODE = 5;
const PAGE = 4096;
const none = (): number => -1;
const hashOf = (b: FakeBlock): number => blockHash(b.offset, b.mode, blockPrefix(Uint8Array.from(b.bytes), 0, 3));
const block = (offset: number, targets: readonly number[] = [], more: Partial<FakeBlock> = {}): FakeBlock => ({ offset, mode: MODE, bytes: [offset & 0xff, offset >> 8, 7, 8, 9, 10, 11], targets, code: 40, ...more });

interface Chunk {
  index: ChunkIndex;
  payload: Int32Array;
}

class Store implements CacheStore {
  written: Chunk[] = [];
  anew = 0;
  constructor(private readonly chunks: readonly Chunk[] = []) {}
  open(add: (index: ChunkIndex, load: () => Int32Array | null) => void): void {
    for (const c of this.chunks) add(c.index, () => c.payload);
  }
  write(index: ChunkIndex, payload: Int32Array): void {
    this.written.push({ index, payload });
  }
  writeHot(): void {
    // None is.
  }
  writeRegions(): void {
    // Nor is one compiled.
  }
  startAnew(): void {
    this.anew++;
    this.written = [];
  }
}

function chunkOf(grouped: readonly FakeBlock[], single: readonly FakeBlock[] = []): Chunk {
  const source = new RecordWriter();
  const out = new RecordWriter();
  const at: number[] = [];
  if (grouped.length > 0) writeGroup(grouped.map((b) => ({ at: writeFake(b, source), W: source.W })), out, at);
  for (const b of single) at.push(writeFake(b, out));
  const all = [...grouped, ...single];
  return { index: Int32Array.from(at.flatMap((a, k) => [hashOf(all[k]!), a])), payload: out.W.slice(0, out.n) };
}

function ramOf(blocks: readonly FakeBlock[], pageOff: number): Uint8Array {
  const ram = new Uint8Array(4 * PAGE);
  for (const b of blocks) ram.set(b.bytes, pageOff + b.offset);
  return ram;
}

describe('page groups in the code cache', () => {
  it('fit a page block by block', () => {
    const blocks = [block(0x10, [0x40]), block(0x40), block(0x80), block(0xff9, [], { bytes: [1, 2, 3, 4, 5, 6, 7] })];
    const cache = new CodeCache(new Store([chunkOf(blocks)]), new ConstPool());
    const ram = ramOf(blocks, PAGE * 3);
    ram[PAGE * 3 + 0x86]! ^= 1;
    expect(cache.find(ram, PAGE * 3, 0x40, MODE, none)).toBe(true);
    expect(cache.groupFits(PAGE * 3, cache.group)).toBe(3);
    expect([...cache.fits.subarray(0, 4)]).toEqual([Fits.YES, Fits.YES, Fits.NO, Fits.YES]);
    expect(cache.W[cache.at + Rec.PLACE]! & 0xfff).toBe(0x40);
  });

  it('leave the block that was found its symbols', () => {
    const field = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff];
    const symbolic = (offset: number, value: number): FakeBlock => block(offset, [], { bytes: [offset & 0xff, 1, 2, ...field(value)], symbols: [3] });
    const blocks = [symbolic(0x10, 0x7123_4567), symbolic(0x40, 0x7222_2222), symbolic(0x80, 0x7333_3333)];
    const pool = new ConstPool();
    const cache = new CodeCache(new Store([chunkOf(blocks)]), pool);
    // Elsewhere in memory, and the last is no address there.
    const ram = ramOf([symbolic(0x10, 0x6abc_4567), symbolic(0x40, 0x6abd_2222), symbolic(0x80, 0x3333)], 0);
    expect(cache.find(ram, 0, 0x10, MODE, none)).toBe(true);
    const g = cache.group;
    expect(cache.groupFits(0, g)).toBe(2);
    expect([...cache.fits.subarray(0, 3)]).toEqual([Fits.WITH_SLOTS, Fits.WITH_SLOTS, Fits.NO]);
    expect(pool.symbolValue(cache.slots[OPERAND_SYMBOL]!)).toBe(0x6abc_4567);
    expect(pool.symbolValue(cache.slotsOf(0, recordsOfGroup(cache.W, g)[1]!)[OPERAND_SYMBOL]!)).toBe(0x6abd_2222);
  });

  it('are found before single records of the same blocks', () => {
    const blocks = [block(0x10), block(0x40)];
    const cache = new CodeCache(new Store([chunkOf([], blocks), chunkOf(blocks)]), new ConstPool());
    expect(cache.find(ramOf(blocks, 0), 0, 0x40, MODE, none)).toBe(true);
    expect(cache.group).toBe(0);
  });

  it('are made at the end of a run of what it has used on its own', () => {
    const pages = [1, 2, 3].map((id) => Array.from({ length: 30 }, (_, k) => block(k * 0x40 + id * 8, [((k + 1) % 30) * 0x40 + id * 8])));
    const alone = block(0x20);
    // Of an earlier run that has not made groups: one page.
    const store = new Store([chunkOf([], pages[0])]);
    const cache = new CodeCache(store, new ConstPool());
    const ram = ramOf([...pages[0]!, ...pages[1]!, ...pages[2]!, alone], 0);
    for (const b of pages[0]!) {
      expect(cache.find(ram, 0, b.offset, MODE, none)).toBe(true);
      cache.used(1);
    }
    const add = (b: FakeBlock, page: number): void => {
      expect(cache.find(ram, 0, b.offset, MODE, none)).toBe(false);
      cache.added(writeFake(b, cache.writer), page);
    };
    for (const [k, b] of pages[1]!.entries()) {
      add(b, 2);
      add(pages[2]![k]!, 3);
    }
    add(alone, 4);
    cache.regroup();
    expect(store.anew).toBe(1);
    const offsets: number[][] = [];
    for (const { index, payload } of store.written) {
      expect(unsoundGroups(index, payload)).toEqual(new Set());
      expect(index[1]).toBe(GROUP_HEAD);
      for (let i = 1; i < index.length; i += 2) {
        const g = groupOf(payload, index[i]!);
        if (g < 0) offsets.push([payload[index[i]! + Rec.PLACE]! & 0xfff]);
        else if (index[i] === g + GROUP_HEAD) offsets.push(recordsOfGroup(payload, g).map((at) => payload[at + Rec.PLACE]! & 0xfff));
      }
    }
    expect(offsets).toEqual([...pages.map((p) => p.map((b) => b.offset)), [0x20]]);
    // The next run has nothing to do.
    const next = new Store(store.written);
    const again = new CodeCache(next, new ConstPool());
    expect(again.stats.known).toBe(91);
    expect(again.find(ram, 0, pages[2]![3]!.offset, MODE, none)).toBe(true);
    again.regroup();
    expect(next.anew).toBe(0);
    expect(next.written).toEqual([]);
  });
});
