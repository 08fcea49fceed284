/** Fuzz target of any virtio device: its registers on PCI, its rings, and requests with contents that `request` makes up. */
import type { VirtioDevice } from '#lib/devices/virtio/transport.js';
import { fuzzDevice, randomFrom } from '../fuzz.js';
import { VirtioDriver } from '../virtio-driver.js';

export interface VirtioFuzz {
  /** A request for queue q: what the device reads, and sizes of what it writes. Default: a random byte and room for up to 64. */
  request?: (random: () => number, q: number) => { out: Uint8Array[]; into: number[] };
  /** Input from outside. */
  pokes?: readonly ((random: number) => void)[];
  steps?: number;
}

export function fuzzVirtio(make: () => { dev: VirtioDevice } & VirtioFuzz, seed: number): void {
  fuzzDevice(() => {
    const { dev, request, pokes = [] } = make();
    const d = new VirtioDriver(dev);
    d.start(16);
    const random = randomFrom(seed + 77);
    const bar = (n: number): { read: (o: number, s: number) => number; write: (o: number, s: number, v: number) => void } => ({
      read: (o, s) => d.mem.read(2 ** 32 + (d.config(0x10 + n * 4) & ~15) + o, s),
      write: (o, s, v) => d.mem.write(2 ** 32 + (d.config(0x10 + n * 4) & ~15) + o, s, v),
    });
    return {
      device: d.pci,
      regions: [
        { io: { read: (o, s) => d.pci.configRead(o & ~(s - 1), s), write: (o, s, v) => d.pci.configWrite(o & ~(s - 1), s, v) }, length: 256 },
        { io: bar(4), length: 0x40 },
        { io: bar(4), length: 0x4000 },
        { io: bar(1), length: 0x1000 },
      ],
      pokes: [
        (r) => d.mem.write32(0x1_0000 + (r % 0x2_0000 & ~3), r),
        (r) => {
          if ((r & 3) === 0) restart(d);
        },
        () => ask(d, random, request),
        () => ask(d, random, request),
        ...pokes,
      ],
    };
  }, 3000, seed);
}

/** The driver starts again after whatever the fuzzer has done to the device. */
function restart(d: VirtioDriver): void {
  d.pci.reset();
  d.rewind();
  d.start(16);
}

function ask(d: VirtioDriver, random: () => number, request: VirtioFuzz['request']): void {
  const q = random() % Math.max(1, d.rings.length);
  if (d.rings[q] === undefined) return;
  const { out, into } = request?.(random, q) ?? { out: [Uint8Array.of(random())], into: [random() % 64] };
  d.add(q, out, into);
  d.kick(q);
  d.rewind();
}
