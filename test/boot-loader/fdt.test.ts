/** Device trees: builder and reader against each other, and against the layout of the specification. */
import { describe, expect, it } from 'vitest';
import { buildFdt, FdtNode, parseFdt } from '#lib/boot/fdt.js';
import { UsageError } from '#lib/errors.js';
import { randomFrom } from '../devices/fuzz.js';

function tree(): FdtNode {
  const root = new FdtNode('');
  root.cells('#address-cells', 2).cells('#size-cells', 2).text('compatible', 'a,b', 'c');
  root.node('memory@80000000').text('device_type', 'memory').cells64('reg', 0x8000_0000, 0x1_0000_0000);
  root.node('soc').flag('ranges').node('x@1').cells('reg', 1, 0xffff_ffff);
  return root;
}

describe('device trees', () => {
  it('have the header and the blocks of the specification', () => {
    const b = buildFdt(tree(), { bootCpu: 3, reserve: [{ base: 0x1000, bytes: 0x2000 }] });
    expect(b.readUInt32BE(0)).toBe(0xd00dfeed);
    expect(b.readUInt32BE(4)).toBe(b.length);
    expect(b.readUInt32BE(20)).toBe(17);
    expect(b.readUInt32BE(28)).toBe(3);
    const map = b.readUInt32BE(16);
    expect([0, 8, 16, 24].map((o) => Number(b.readBigUInt64BE(map + o)))).toEqual([0x1000, 0x2000, 0, 0]);
    // FDT_BEGIN_NODE, the empty name of the root, FDT_PROP of 4 bytes.
    const s = b.readUInt32BE(8);
    expect([0, 4, 8, 12].map((o) => b.readUInt32BE(s + o))).toEqual([1, 0, 3, 4]);
    expect(b.readUInt32BE(s + b.readUInt32BE(36) - 4)).toBe(9);
    // A property name is stored once.
    const strings = b.toString('latin1', b.readUInt32BE(12), b.readUInt32BE(12) + b.readUInt32BE(32));
    expect(strings.split('\0').filter((n) => n === 'reg')).toHaveLength(1);
  });

  it('come back as they went', () => {
    const back = parseFdt(buildFdt(tree()), 'test');
    expect(buildFdt(back).equals(buildFdt(tree()))).toBe(true);
    expect(Buffer.from(back.at('memory@80000000').props.get('reg')!).toString('hex')).toBe('00000000800000000000000100000000');
    expect(back.children.map((c) => c.name)).toEqual(['memory@80000000', 'soc']);
  });

  it('are refused in one line when damaged, and never hang', () => {
    const good = buildFdt(tree());
    const random = randomFrom(7);
    for (let i = 0; i < 2000; i++) {
      const b = Buffer.from(good);
      for (let n = 0; n < 1 + (i & 3); n++) b[random() % b.length] = random();
      try {
        parseFdt(b.subarray(0, i % 5 === 0 ? random() % b.length : b.length), '--dtb: x');
      } catch (e) {
        expect(e).toBeInstanceOf(UsageError);
        expect((e as Error).message).toMatch(/^--dtb: x is not a device tree: /);
      }
    }
    expect(() => parseFdt(Buffer.from('hello'), 'x')).toThrow(/no magic/);
  });
});
