import { beforeEach, describe, expect, it } from 'vitest';
import { STREAM_WINDOW, type StreamClient, type StreamPeer } from '#lib/devices/stream.js';
import { VirtioVsock } from '#lib/devices/virtio/vsock.js';
import { VirtioDriver } from '../virtio-driver.js';
import { fuzzVirtio } from './fuzz-virtio.js';

const [REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST] = [1, 2, 3, 4, 5, 6, 7];
const CID = 42;

class Peer implements StreamPeer {
  room = STREAM_WINDOW;
  got = '';
  ended = false;
  gone = false;
  taken = 0;
  constructor(readonly client: StreamClient) {}
  send(b: Uint8Array): void {
    expect(b.length).toBeLessThanOrEqual(this.room);
    this.room -= b.length;
    this.got += Buffer.from(b).toString('latin1');
  }
  consumed(n: number): void {
    this.taken += n;
  }
  end(): void {
    this.ended = true;
  }
  close(): void {
    this.gone = true;
  }
}

function packet(op: number, from: number, to: number, o: { data?: string; flags?: number; alloc?: number; forwarded?: number; src?: number; length?: number; type?: number } = {}): Buffer {
  const b = Buffer.alloc(44);
  b.writeUInt32LE(o.src ?? CID, 0);
  b.writeUInt32LE(2, 8);
  b.writeUInt32LE(from, 16);
  b.writeUInt32LE(to, 20);
  b.writeUInt32LE(o.length ?? o.data?.length ?? 0, 24);
  b.writeUInt16LE(o.type ?? 1, 28);
  b.writeUInt16LE(op, 30);
  b.writeUInt32LE(o.flags ?? 0, 32);
  b.writeUInt32LE(o.alloc ?? 100, 36);
  b.writeUInt32LE(o.forwarded ?? 0, 40);
  return Buffer.concat([b, Buffer.from(o.data ?? '')]);
}

describe('virtio-vsock', () => {
  let dev: VirtioVsock;
  let d: VirtioDriver;
  let peers: Peer[];
  const buffers: number[] = [];
  beforeEach(() => {
    peers = [];
    dev = new VirtioVsock(CID);
    dev.onConnection = (port, _from, client) => {
      if (port !== 1000) return null;
      peers.push(new Peer(client));
      return peers.at(-1)!;
    };
    d = new VirtioDriver(dev);
    d.start(16);
    buffers.length = 0;
    refill();
  });
  function refill(): void {
    while (buffers.length < 10) buffers.push(d.add(0, [], [1000])[0]!);
    d.kick(0);
  }
  /** Operations that the guest has received: op, ports, length, data. */
  function received(): [number, number, number, string][] {
    const out = d.returned(0).map(({ len }): [number, number, number, string] => {
      const b = Buffer.from(d.bytes(buffers.shift()!, len));
      expect([b.readUInt32LE(0), b.readUInt32LE(8), b.readUInt16LE(28), b.readUInt32LE(24)]).toEqual([2, CID, 1, len - 44]);
      return [b.readUInt16LE(30), b.readUInt32LE(16), b.readUInt32LE(20), b.subarray(44).toString('latin1')];
    });
    refill();
    return out;
  }
  function send(b: Buffer): [number, number, number, string][] {
    d.add(1, [b], []);
    d.kick(1);
    expect(d.returned(1)).toHaveLength(1);
    return received();
  }
  function connected(): Peer {
    expect(send(packet(REQUEST, 5, 1000))).toEqual([[RESPONSE, 1000, 5, '']]);
    return peers.at(-1)!;
  }

  it('has the context it is given', () => {
    expect([d.read(4, 0, 4), d.read(4, 4, 4)]).toEqual([CID, 0]);
  });

  it('accepts where somebody listens, and resets what belongs to nobody', () => {
    const p = connected();
    expect(send(packet(REQUEST, 5, 1001))).toEqual([[RST, 1001, 5, '']]);
    expect(send(packet(RW, 6, 1000, { data: 'x' }))).toEqual([[RST, 1000, 6, '']]);
    expect(send(packet(RST, 6, 1000))).toEqual([]);
    // Another context, another type.
    expect(send(packet(RW, 5, 1000, { data: 'x', src: 9 }))).toEqual([[RST, 1000, 5, '']]);
    expect(send(packet(RW, 5, 1000, { data: 'x', type: 2 }))).toEqual([[RST, 1000, 5, '']]);
    expect([p.got, p.gone]).toEqual(['', false]);
  });

  it('carries data both ways, within the credit of both sides', () => {
    const p = connected();
    send(packet(RW, 5, 1000, { data: 'hello' }));
    expect(p.got).toBe('hello');
    p.client.received(Buffer.from('a'.repeat(150)));
    expect(received()).toEqual([[RW, 1000, 5, 'a'.repeat(100)]]);
    expect(send(packet(CREDIT_UPDATE, 5, 1000, { forwarded: 60 }))).toEqual([[RW, 1000, 5, 'a'.repeat(50)]]);
    expect(p.taken).toBe(150);
    expect(send(packet(CREDIT_REQUEST, 5, 1000))).toEqual([[CREDIT_UPDATE, 1000, 5, '']]);
    // The guest hears of room that has come back.
    for (let i = 0; i < 33; i++) send(packet(RW, 5, 1000, { data: 'b'.repeat(900) }));
    p.room = STREAM_WINDOW;
    p.client.roomChanged();
    expect(received().map((r) => r[0])).toEqual([CREDIT_UPDATE]);
    // More than there is room for.
    p.room = 10;
    expect(send(packet(RW, 5, 1000, { data: 'c'.repeat(11) }))).toEqual([[RST, 1000, 5, '']]);
    expect(p.gone).toBe(true);
  });

  it('ends in both directions, one after the other', () => {
    const p = connected();
    p.client.received(Buffer.from('last'));
    p.client.ended();
    expect(received()).toEqual([[RW, 1000, 5, 'last'], [SHUTDOWN, 1000, 5, '']]);
    send(packet(RW, 5, 1000, { data: 'still' }));
    expect(send(packet(SHUTDOWN, 5, 1000, { flags: 2 }))).toEqual([[RST, 1000, 5, '']]);
    expect([p.got, p.ended, p.gone]).toEqual(['still', true, true]);
    const q = connected();
    expect(send(packet(SHUTDOWN, 5, 1000, { flags: 3 }))).toEqual([[RST, 1000, 5, '']]);
    expect([q.ended, q.gone]).toEqual([true, true]);
    const r = connected();
    r.client.closed();
    expect([received(), r.gone]).toEqual([[[RST, 1000, 5, '']], false]);
  });

  it('delivers what a program has sent before it went', () => {
    const p = connected();
    p.client.received(Buffer.from('x'.repeat(150)));
    expect(received()).toEqual([[RW, 1000, 5, 'x'.repeat(100)]]);
    p.client.ended();
    p.client.closed();
    expect(received()).toEqual([]);
    // Room again: the rest, then the end of both directions.
    expect(send(packet(CREDIT_UPDATE, 5, 1000, { forwarded: 100 }))).toEqual([[RW, 1000, 5, 'x'.repeat(50)], [SHUTDOWN, 1000, 5, '']]);
    expect(send(packet(SHUTDOWN, 5, 1000, { flags: 3 }))).toEqual([[RST, 1000, 5, '']]);
    expect(send(packet(CREDIT_UPDATE, 5, 1000))).toEqual([[RST, 1000, 5, '']]);
  });

  it('resets the connection of a program that went without an end', () => {
    const p = connected();
    p.client.received(Buffer.from('x'.repeat(150)));
    received();
    p.client.closed();
    expect(received()).toEqual([[RST, 1000, 5, '']]);
  });

  it('connects to the guest', () => {
    const answers: boolean[] = [];
    let p: Peer | null = null;
    const attach = (c: StreamClient): Peer => (p = new Peer(c));
    dev.connect(77, attach, (ok) => answers.push(ok));
    const [[op, from, to]] = received() as [[number, number, number, string]];
    expect([op, to]).toEqual([REQUEST, 77]);
    expect(send(packet(RESPONSE, 77, from))).toEqual([]);
    expect(send(packet(RW, 77, from, { data: 'hi' }))).toEqual([]);
    expect([answers, p!.got]).toEqual([[true], 'hi']);
    dev.connect(78, attach, (ok) => answers.push(ok));
    const port = received()[0]![1];
    send(packet(RST, 78, port));
    expect([answers, port === from]).toEqual([[true, false], false]);
    const giveUp = dev.connect(79, attach, (ok) => answers.push(ok));
    received();
    giveUp();
    expect([received().map((r) => r[0]), answers.length]).toEqual([[RST], 2]);
    // Unasked for.
    expect(send(packet(RESPONSE, 5, 1000))).toEqual([[RST, 1000, 5, '']]);
  });

  it('tells of connections that a restore has cut', () => {
    const p = connected();
    const saved = JSON.stringify(d.pci.save());
    d.pci.restore(JSON.parse(saved) as ReturnType<typeof d.pci.save>);
    expect(p.gone).toBe(true);
    const [at] = d.add(2, [], [4]);
    d.mem.write32(at!, 9);
    d.kick(2);
    expect([d.returned(2), d.mem.read32(at!)]).toEqual([[{ id: 0, len: 4 }], 0]);
    d.add(2, [], [4]);
    d.kick(2);
    expect(d.returned(2)).toEqual([]);
  });

  it('waits with the packets of a driver that gives no buffers', () => {
    const quiet = new VirtioDriver(new VirtioVsock(CID));
    quiet.start(16);
    let returned = 0;
    for (let i = 0; i < 400; i++) {
      if (i - returned < 16) quiet.add(1, [packet(REQUEST, i, 9)], []);
      quiet.rewind();
      quiet.kick(1);
      returned += quiet.returned(1).length;
    }
    expect(returned).toBe(256);
  });

  it.each([1, 2, 3])('fuzz, seed %i', (seed) => {
    fuzzVirtio(() => {
      const v = new VirtioVsock(CID);
      let last: Peer | null = null;
      v.onConnection = (port, _f, c) => (port === 0 ? null : (last = new Peer(c)));
      return {
        dev: v,
        pokes: [
          (r): void => {
            const client = last?.client as unknown as { toGuest: { room: number } } | undefined;
            if (last !== null && !last.gone) last.client.received(new Uint8Array(Math.min(r % 3000, client!.toGuest.room)));
          },
          (r): void => {
            if (last === null || last.gone) return;
            last.room = Math.min(STREAM_WINDOW, last.room + (r % 5000));
            if (r & 1) last.client.roomChanged();
            else if (r & 2) last.client.ended();
          },
          (r): void => void v.connect(r % 3, (c) => (last = new Peer(c)), () => {}),
        ],
        request: (random, q) => ({
          out: q === 1 ? [packet(1 + (random() % 8), random() % 3, random() % 3, { data: 'x'.repeat(random() % 200), flags: random() % 4, alloc: random() % 5000, forwarded: random() % 50, length: random() % 8 === 0 ? random() : undefined }).subarray(0, random() % 16 === 0 ? random() % 50 : 300)] : [],
          into: q === 1 ? [] : [random() % 300],
        }),
      };
    }, seed);
  });
});
