import { beforeEach, describe, expect, it } from 'vitest';
import { Surface } from '#lib/display/surface.js';
import { RamFb } from '#lib/devices/display/ramfb.js';
import { VirtioGpu } from '#lib/devices/virtio/gpu.js';
import { SwitchedSource } from '#lib/display/screen-source.js';
import { fuzzDevice } from '../fuzz.js';
import { TestMemory } from '../memory.js';
import { VirtioDriver } from '../virtio-driver.js';
import { fuzzVirtio } from './fuzz-virtio.js';

const OK = 0x1100;
const [BAD_SCANOUT, BAD_RESOURCE, BAD_PARAMETER, NO_MEMORY] = [0x1202, 0x1203, 0x1205, 0x1201];

function request(type: number, ...words: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from([type, 0, 0, 0, 0, 0, ...words]).buffer);
}

describe('virtio-gpu', () => {
  let gpu: VirtioGpu;
  let d: VirtioDriver;
  beforeEach(() => {
    gpu = new VirtioGpu();
    d = new VirtioDriver(gpu);
    d.start(16);
  });
  function ask(bytes: Uint8Array, room = 24, q = 0): { type: number; at: number; len: number } {
    const [at] = d.add(q, [bytes], [room]);
    d.kick(q);
    const [{ len }] = d.returned(q) as [{ len: number }];
    return { type: d.mem.read32(at!), at: at!, len };
  }
  const command = (type: number, ...words: number[]): number => ask(request(type, ...words)).type;
  /** An 8 by 4 picture in two pieces of guest memory, its dots numbered in blue, shown whole. */
  function picture(): number[] {
    const pieces = [d.buffer(60), d.buffer(68)];
    for (let i = 0; i < 32; i++) d.mem.write32(i < 15 ? pieces[0]! + i * 4 : pieces[1]! + (i - 15) * 4, 0x11_0000 + i);
    expect(command(0x101, 1, 2, 8, 4)).toBe(OK);
    expect(command(0x106, 1, 2, pieces[0]!, 0, 60, 0, pieces[1]!, 0, 68, 0)).toBe(OK);
    expect(command(0x105, 0, 0, 8, 4, 0, 0, 1, 0)).toBe(OK);
    expect(command(0x103, 0, 0, 8, 4, 0, 1)).toBe(OK);
    expect(command(0x104, 0, 0, 8, 4, 1, 0)).toBe(OK);
    return pieces;
  }
  const dot = (blue: number): number => (0xff00_0011 | (blue << 16)) >>> 0;

  it('tells its display and its EDID', () => {
    const info = ask(request(0x100), 24 + 16 * 24);
    expect([info.type, info.len]).toEqual([0x1101, 24 + 16 * 24]);
    expect([8, 12, 16, 40].map((o) => d.mem.read32(info.at + 24 + o))).toEqual([1024, 768, 1, 0]);
    const edid = ask(request(0x10a, 0, 0), 24 + 8 + 1024);
    expect([edid.type, d.mem.read32(edid.at + 24)]).toEqual([0x1104, 128]);
    expect(d.bytes(edid.at + 32, 128).reduce((a, b) => a + b, 0) & 0xff).toBe(0);
    expect([command(0x10a, 1, 0), d.read(4, 8, 4)]).toEqual([BAD_SCANOUT, 1]);
  });

  it('shows what is transferred and flushed, and only that', () => {
    expect(gpu.active).toBe(false);
    const pieces = picture();
    const s = new Surface();
    gpu.render(s);
    expect([gpu.active, s.width, s.height, s.pixels[0], s.pixels[17], s.pixels[31]]).toEqual([true, 8, 4, dot(0), dot(17), dot(31)]);
    s.takeChanges();
    // Dot 9 changes in guest memory; then on the host; then on the screen.
    d.mem.write32(pieces[0]! + 9 * 4, 0x11_0080);
    gpu.render(s);
    expect(command(0x105, 1, 1, 1, 1, 36, 0, 1, 0)).toBe(OK);
    gpu.render(s);
    expect(s.takeChanges()).toEqual([]);
    expect(command(0x104, 0, 1, 8, 1, 1, 0)).toBe(OK);
    gpu.render(s);
    expect(s.takeChanges()).toEqual([{ x: 1, y: 1, width: 1, height: 1 }]);
    expect(s.pixels[9]).toBe(dot(0x80));
    // A part of the resource as the picture.
    expect(command(0x103, 2, 1, 4, 2, 0, 1)).toBe(OK);
    gpu.render(s);
    expect([s.width, s.height, s.pixels[0], s.pixels[4]]).toEqual([4, 2, dot(10), dot(18)]);
    // No picture.
    expect(command(0x103, 0, 0, 0, 0, 0, 0)).toBe(OK);
    gpu.render(s);
    expect([...new Set(s.pixels)]).toEqual([0xff00_0000]);
  });

  it('draws the cursor over the picture, and takes it away', () => {
    expect(command(0x101, 1, 2, 128, 128)).toBe(OK);
    command(0x103, 0, 0, 128, 128, 0, 1);
    const image = d.buffer(64 * 64 * 4);
    // Opaque red, and one half-transparent dot (colours are multiplied by alpha).
    for (let i = 0; i < 64 * 64; i++) d.mem.write32(image + i * 4, 0xffff_0000);
    d.mem.write32(image, 0x8000_4000);
    command(0x101, 2, 1, 64, 64);
    command(0x106, 2, 1, image, 0, 64 * 64 * 4, 0);
    command(0x105, 0, 0, 64, 64, 0, 0, 2, 0);
    expect(ask(request(0x300, 0, 10, 20, 0, 2, 2, 3, 0), 24, 1).type).toBe(OK);
    const s = new Surface();
    gpu.render(s);
    expect([s.pixels[17 * 128 + 8], s.pixels[17 * 128 + 9], s.pixels[17 * 128 + 7]]).toEqual([0xff00_4000, 0xff00_00ff, 0xff00_0000]);
    s.takeChanges();
    ask(request(0x301, 0, 12, 20, 0, 0, 0, 0, 0), 24, 1);
    gpu.render(s);
    expect(s.takeChanges()).toEqual([{ x: 8, y: 17, width: 66, height: 64 }]);
    // Half of it beyond the upper left corner; a cursor that is none.
    ask(request(0x301, 0, -30 >>> 0, -30 >>> 0, 0, 0, 0, 0, 0), 24, 1);
    gpu.render(s);
    expect([s.pixels[0], s.pixels[31 * 128 + 31]]).toEqual([0xff00_00ff, 0xff00_0000]);
    expect(ask(request(0x300, 0, 0, 0, 0, 1, 0, 0, 0), 24, 1).type).toBe(BAD_RESOURCE);
    ask(request(0x300, 0, 0, 0, 0, 0, 0, 0, 0), 24, 1);
    gpu.render(s);
    expect([...new Set(s.pixels)]).toEqual([0xff00_0000]);
  });

  it('answers fences', () => {
    const r = request(0x100);
    r.set([1, 0, 0, 0, 0xaa, 0xbb, 0, 0, 0, 0, 0, 0xcc, 7, 0, 0, 0], 4);
    const { at } = ask(r, 24);
    expect([d.mem.read32(at + 4), d.mem.read32(at + 8), d.mem.read32(at + 12), d.mem.read32(at + 16)]).toEqual([1, 0xbbaa, 0xcc00_0000, 7]);
  });

  it('refuses what is wrong', () => {
    expect(command(0x101, 0, 2, 8, 8)).toBe(BAD_PARAMETER);
    expect(command(0x101, 1, 99, 8, 8)).toBe(BAD_PARAMETER);
    expect(command(0x101, 1, 2, 0, 8)).toBe(BAD_PARAMETER);
    expect(command(0x101, 1, 2, 9000, 8)).toBe(BAD_PARAMETER);
    expect(command(0x101, 1, 2, 8192, 8192)).toBe(OK);
    expect(command(0x101, 1, 2, 8, 8)).toBe(BAD_PARAMETER);
    expect(command(0x101, 2, 2, 8, 8)).toBe(NO_MEMORY);
    expect(command(0x102, 1, 0)).toBe(OK);
    expect(command(0x102, 1, 0)).toBe(BAD_RESOURCE);
    picture();
    for (const box of [[0, 0, 9, 4], [7, 0, 2, 1], [0, 4, 1, 1], [0xffff_ffff, 0, 2, 1], [0, 0, 0, 1]]) {
      expect(command(0x103, ...box, 0, 1)).toBe(BAD_PARAMETER);
      expect(command(0x104, ...box, 1, 0)).toBe(BAD_PARAMETER);
      expect(command(0x105, ...box, 0, 0, 1, 0)).toBe(BAD_PARAMETER);
    }
    expect(command(0x103, 0, 0, 8, 4, 1, 1)).toBe(BAD_SCANOUT);
    expect(command(0x105, 0, 0, 8, 4, 4, 0, 1, 0)).toBe(BAD_PARAMETER);
    expect(command(0x106, 1, 3, 0, 0, 4, 0)).toBe(BAD_PARAMETER);
    expect(command(0x107, 1, 0)).toBe(OK);
    expect(command(0x105, 0, 0, 8, 4, 0, 0, 1, 0)).toBe(BAD_PARAMETER);
    expect(command(0x108, 0, 0)).toBe(0x1200);
    expect(ask(new Uint8Array(20)).len).toBe(0);
  });

  it('keeps its picture over save and restore', () => {
    picture();
    const saved = JSON.stringify(d.pci.save());
    d.status = 0;
    expect(gpu.active).toBe(false);
    d.pci.restore(JSON.parse(saved) as ReturnType<typeof d.pci.save>);
    const s = new Surface();
    gpu.render(s);
    expect([s.width, s.pixels[31]]).toEqual([8, dot(31)]);
  });

  it('is shown in place of the VGA while it is used', () => {
    const vga = { render: (s: Surface): void => s.resize(3, 3), textRows: (): Uint8Array[] => [Uint8Array.of(65)], textScreen: () => null };
    const both = new SwitchedSource([gpu], vga);
    const s = new Surface();
    both.render(s);
    expect([s.width, both.textRows().length]).toEqual([3, 1]);
    picture();
    both.render(s);
    expect([s.width, both.textRows().length]).toEqual([8, 0]);
    d.status = 0;
    both.render(s);
    expect(s.width).toBe(3);
  });

  it.each([1, 2, 3, 4])('fuzz, seed %i', (seed) => {
    fuzzVirtio(() => {
      const g = new VirtioGpu();
      const s = new Surface();
      return {
        dev: g,
        pokes: [(): void => g.render(s)],
        request: (random, q) => {
          const types = q === 1 ? [0x300, 0x301] : [0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x10a];
          const words = Array.from({ length: 8 + (random() % 8) }, () => (random() % 12 === 0 ? random() : random() % 3 === 0 ? 64 : random() % 4));
          return { out: [request(types[random() % types.length]!, ...words).subarray(0, random() % 20 === 0 ? random() % 60 : 200)], into: [random() % 20 === 0 ? random() % 24 : 24 + (random() % 500)] };
        },
      };
    }, seed);
  });
});

describe('ramfb', () => {
  const config = (address: number, width: number, height: number, stride: number, format = 0x3432_5258): Uint8Array => {
    const b = Buffer.alloc(28);
    b.writeUInt32BE(address, 4);
    [format, 0, width, height, stride].forEach((v, i) => b.writeUInt32BE(v, 8 + 4 * i));
    return b;
  };

  it('shows guest memory as the file says', () => {
    const memory = new TestMemory(0x1_0000);
    const fb = new RamFb(memory);
    const s = new Surface();
    fb.render(s);
    expect([fb.active, s.width]).toEqual([false, 0]);
    fb.configure(config(0x100, 4, 2, 32));
    memory.write32(0x100 + 32 + 4, 0x0012_3456);
    fb.render(s);
    expect([fb.active, s.width, s.height, s.pixels[5]]).toEqual([true, 4, 2, 0xff56_3412]);
    const saved = JSON.parse(JSON.stringify(fb.save())) as ReturnType<typeof fb.save>;
    fb.reset();
    expect(fb.active).toBe(false);
    fb.restore(saved);
    expect(fb.active).toBe(true);
    for (const bad of [config(0x100, 0, 2, 32), config(0x100, 4, 2, 8), config(0xfff0, 4, 2, 32), config(0x100, 9000, 1, 0), config(0x100, 4, 2, 32, 1)]) {
      fb.configure(bad);
      expect(fb.active).toBe(false);
    }
  });

  it('fuzz', () => {
    fuzzDevice((env) => {
      const device = new RamFb(env.memory);
      const s = new Surface();
      return {
        device,
        regions: [{ io: { read: () => 0, write: () => {} }, length: 4 }],
        pokes: [(r): void => device.configure(config(r & 0xffff, (r >>> 3) & 63, (r >>> 9) & 63, (r & 1) * 256)), (): void => device.render(s)],
      };
    }, 3000);
  });
});
