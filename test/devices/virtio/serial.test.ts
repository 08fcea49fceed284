/** virtio-serial: the ports of the console device, their control messages and flow control. */
import { beforeEach, describe, expect, it } from 'vitest';
import { ByteQueue } from '#lib/devices/byte-queue.js';
import { STREAM_WINDOW, type StreamClient, type StreamPeer } from '#lib/devices/stream.js';
import { VirtioSerial } from '#lib/devices/virtio/console.js';
import { VirtioDriver } from '../virtio-driver.js';
import { fuzzVirtio } from './fuzz-virtio.js';

class TestPeer implements StreamPeer {
  room = STREAM_WINDOW;
  out = '';
  taken = 0;
  client!: StreamClient;
  send(bytes: Uint8Array): void {
    expect(bytes.length).toBeLessThanOrEqual(this.room);
    this.room -= bytes.length;
    this.out += Buffer.from(bytes).toString('latin1');
  }
  consumed(n: number): void {
    this.taken += n;
  }
  end(): void {}
  close(): void {}
  spec(name: string): { name: string; connect: (c: StreamClient) => StreamPeer } {
    return { name, connect: (c) => ((this.client = c), this) };
  }
}

describe('virtio-serial', () => {
  let a: TestPeer;
  let b: TestPeer;
  let dev: VirtioSerial;
  let d: VirtioDriver;
  const control: number[] = [];
  beforeEach(() => {
    [a, b] = [new TestPeer(), new TestPeer()];
    dev = new VirtioSerial([a.spec('one'), b.spec('two')]);
    d = new VirtioDriver(dev);
    d.start(16);
    control.splice(0, 99, ...Array.from({ length: 7 }, () => d.add(2, [], [32])[0]!));
    d.kick(2);
  });
  const tell = (id: number, event: number, value: number): void => {
    const m = Buffer.alloc(8);
    m.writeUInt32LE(id);
    m.writeUInt16LE(event, 4);
    m.writeUInt16LE(value, 6);
    d.add(3, [m], []);
    d.kick(3);
  };
  const told = (): [number, number, number, string][] =>
    d.returned(2).map(({ len }) => {
      const at = control.shift()!;
      return [d.mem.read32(at), d.mem.read16(at + 4), d.mem.read16(at + 6), Buffer.from(d.bytes(at + 8, len - 8)).toString()];
    });

  it('introduces its ports with their names', () => {
    expect([d.queueCount(), d.read(4, 4, 4)]).toEqual([6, 2]);
    tell(0xffff_ffff, 0, 1);
    expect(told()).toEqual([[0, 1, 1, ''], [1, 1, 1, '']]);
    expect(d.returned(3)).toEqual([{ id: 0, len: 0 }]);
    tell(1, 3, 1);
    expect(d.returned(3)).toEqual([{ id: 1, len: 0 }]);
    expect(told()).toEqual([[1, 7, 1, 'two']]);
    b.client.opened();
    b.client.closed();
    expect(told()).toEqual([[1, 6, 1, ''], [1, 6, 0, '']]);
    tell(7, 3, 1);
    expect(told()).toEqual([]);
  });

  it('carries bytes both ways, and waits for who reads slowly', () => {
    b.client.opened();
    b.room = 5;
    d.add(5, [Buffer.from('hello, '), Buffer.from('world')], []);
    d.add(5, [Buffer.from('!')], []);
    d.kick(5);
    expect([b.out, d.returned(5)]).toEqual(['hello', []]);
    b.room = 3;
    b.client.roomChanged();
    expect([b.out, d.returned(5)]).toEqual(['hello, w', []]);
    const saved = JSON.stringify(d.pci.save());
    d.pci.restore(JSON.parse(saved) as ReturnType<typeof d.pci.save>);
    b.room = 100;
    b.client.roomChanged();
    expect([b.out, d.returned(5)]).toEqual(['hello, world!', [{ id: 0, len: 0 }, { id: 2, len: 0 }]]);
    a.client.received(Buffer.from('abc'));
    const [buffer] = d.add(0, [], [2]);
    d.kick(0);
    // Not before the guest has the port open: its driver would throw it away.
    expect(d.returned(0)).toEqual([]);
    tell(0, 6, 1);
    expect([d.returned(0), Buffer.from(d.bytes(buffer!, 2)).toString(), a.taken]).toEqual([[{ id: 0, len: 2 }], 'ab', 2]);
  });

  it('drops what goes to a port that nobody has open', () => {
    d.add(1, [Buffer.from('lost')], []);
    d.kick(1);
    expect([a.out, d.returned(1)]).toEqual(['', [{ id: 0, len: 0 }]]);
  });

  it.each([1, 2, 3])('fuzz, seed %i', (seed) => {
    fuzzVirtio(() => {
      const p = new TestPeer();
      return {
        dev: new VirtioSerial([p.spec('x'), new TestPeer().spec('y')]),
        pokes: [
          (r): void => p.client.received(new Uint8Array(Math.min(r % 5000, (p.client as unknown as { input: ByteQueue }).input.room))),
          (r): void => (r & 1 ? p.client.opened() : p.client.closed()),
          (r): void => {
            p.room = r % 10000;
            p.client.roomChanged();
          },
        ],
        request: (random, q) => ({ out: q & 1 ? [new Uint8Array(Uint32Array.of(random() % 3, random() % 9).buffer), new Uint8Array(random() % 9000)] : [], into: q & 1 ? [] : [random() % 100] }),
      };
    }, seed);
  });
});

describe('ByteQueue', () => {
  it('keeps order around its end, up to its size', () => {
    const q = new ByteQueue(8);
    expect(q.push(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(6);
    q.drop(4);
    expect(q.push(Uint8Array.of(7, 8, 9, 10, 11, 12, 13))).toBe(6);
    const text = q.save();
    const other = new ByteQueue(8);
    other.restore(text);
    const all: number[] = [];
    for (let p = q.peek(8); p.length > 0; p = q.peek(8)) {
      all.push(...p);
      q.drop(p.length);
    }
    expect(all).toEqual([5, 6, 7, 8, 9, 10, 11, 12]);
    expect([...other.peek(8)]).toEqual(all);
    expect(() => other.restore('AAAAAAAAAAAAAAAA')).toThrow('damaged');
    expect(() => other.restore('?')).toThrow('damaged');
  });
});
