/** Page groups: what is put in comes out, and nothing that is not a group is taken for one. */
import { describe, expect, it } from 'vitest';
import { extract, GROUP_HEAD, GroupChooser, groupOf, Grp, type RecordAt, recordsOfGroup, soundGroup, unsoundGroups, writeGroup } from '#lib/engine/aot/page-group.js';
import { codeAt, guestAt, POSITION_MASK, Rec, RecFlag, RecordWriter, SITE_LINKED, sitesAt } from '#lib/engine/aot/record.js';
import { numbers } from '../../cache/temp.js';
import { type FakeBlock, writeFake } from './records.js';

const MODE = 0x32;
const block = (offset: number, targets: readonly number[], more: Partial<FakeBlock> = {}): FakeBlock => ({ offset, mode: MODE, bytes: [offset & 0xff, 1, 2, 3, 4], targets, code: 37, ...more });
const BLOCKS = [block(0x100, [0x120, 0x200]), block(0x120, [0x100]), block(0x200, [0x1100, 0x200]), block(0x300, [])];

function records(blocks: readonly FakeBlock[]): RecordAt[] {
  const out = new RecordWriter();
  const at = blocks.map((b) => writeFake(b, out));
  return at.map((a) => ({ W: out.W, at: a }));
}

function group(blocks: readonly FakeBlock[] = BLOCKS, before = 0): { out: RecordWriter; index: number[] } {
  const out = new RecordWriter();
  out.n = before;
  const index: number[] = [];
  writeGroup(records(blocks), out, index);
  return { out, index };
}

describe('page groups', () => {
  it('give back every record as it was', () => {
    const list = records(BLOCKS);
    const { out, index } = group(BLOCKS, 8);
    expect(recordsOfGroup(out.W, 8)).toEqual(index);
    index.forEach((at, k) => {
      expect(groupOf(out.W, at)).toBe(8);
      const alone = new RecordWriter();
      extract(out.W, at, alone);
      const { W, at: from } = list[k]!;
      expect([...alone.W.subarray(0, alone.n)]).toEqual([...W.subarray(from, from + W[from + Rec.LENGTH]!)]);
    });
  });

  it('have jumps between their blocks patched, but not those to others or to another mode', () => {
    const { out, index } = group();
    const target = (record: number, site: number): number => {
      const at = index[record]!;
      const position = codeAt(out.W, at) * 4 + (out.W[sitesAt(out.W, at) + site * 2]! & POSITION_MASK);
      return position + 4 + out.view.getInt32(position, true);
    };
    const entryB = (record: number): number => codeAt(out.W, index[record]!) * 4 + out.W[index[record]! + Rec.ENTRY_B]!;
    expect(target(0, 0)).toBe(entryB(1));
    expect(target(0, 1)).toBe(entryB(2));
    expect(target(1, 0)).toBe(entryB(0));
    expect(target(2, 1)).toBe(entryB(2));
    expect(out.W[sitesAt(out.W, index[2]!)]! & SITE_LINKED).toBe(0);
    expect(target(2, 0)).toBe(codeAt(out.W, index[2]!) * 4 + 37 - 4);
    for (const at of index) expect((codeAt(out.W, at) * 4) % 16).toBe(0);
  });

  it('are made of blocks that can be in the page together', () => {
    const agrees = block(0x101, [], { bytes: [1, 2, 3] });
    const differs = block(0x103, [], { bytes: [3, 9] });
    const again = block(0x120, [], { bytes: BLOCKS[1]!.bytes });
    const user = block(0x400, [], { mode: 7 });
    const list = records([...BLOCKS, agrees, differs, again, user]);
    const spans = list[3]!;
    spans.W[spans.at + Rec.PLACE]! |= RecFlag.SPANS;
    const { chosen, rest } = new GroupChooser().choose(list);
    expect(chosen.map((r) => list.indexOf(r))).toEqual([0, 1, 2, 4]);
    expect(rest.map((r) => list.indexOf(r))).toEqual([3, 5, 6, 7]);
  });

  it('are refused if anything that brings them in would read is not right', () => {
    const rnd = numbers(3);
    const good = group();
    const length = good.out.n;
    expect(soundGroup(good.out.W.slice(0, length), 0)).toBe(true);
    expect(soundGroup(good.out.W.slice(0, length - 1), 0)).toBe(false);
    // Contents of records are compared with what is made anew: what is flipped there may be taken for sound here.
    const structure = new Set<number>([Grp.LENGTH, Grp.BLOCKS, Grp.CODE, Grp.CODE_AT]);
    for (const at of good.index) {
      for (const f of [Rec.LENGTH, Rec.MODE, Rec.CODE_AT, Rec.GROUP]) structure.add(at + f);
      for (let s = sitesAt(good.out.W, at); s < guestAt(good.out.W, at); s += 2) structure.add(s);
    }
    for (const word of structure) {
      for (let i = 0; i < 32; i++) {
        const W = good.out.W.slice(0, length);
        W[word]! ^= 1 << i;
        const sites = good.index.some((at) => word >= sitesAt(W, at) && word < guestAt(W, at));
        // Another free target, or another place within the code, of a site that leads out of the group is for the comparison to find.
        if (sites && (good.out.W[word]! & SITE_LINKED) === 0) continue;
        expect(soundGroup(W, 0), `word ${word}, bit ${i}`).toBe(false);
      }
    }
    for (let i = 0; i < 3000; i++) {
      const W = good.out.W.slice(0, length);
      for (let k = rnd(3); k >= 0; k--) W[rnd(length)] = rnd(2) === 0 ? rnd(1 << 30) - (1 << 29) : rnd(64);
      soundGroup(W, rnd(4) === 0 ? rnd(length) : 0);
    }
  });

  it('are refused if the index does not lead to all of their records', () => {
    const { out, index } = group();
    const pairs = (list: readonly number[]): Int32Array => Int32Array.from(list.flatMap((at) => [7, at]));
    expect(unsoundGroups(pairs(index), out.W)).toEqual(new Set());
    expect(unsoundGroups(pairs(index.slice(1)), out.W)).toEqual(new Set([0]));
    expect(unsoundGroups(pairs([...index, -5, 1 << 28]), out.W)).toEqual(new Set());
    expect(index[0]).toBe(GROUP_HEAD);
  });
});
