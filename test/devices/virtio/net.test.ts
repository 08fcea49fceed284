/** virtio-net from the driver's side. */
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtioNet } from '#lib/devices/virtio/net.js';
import type { FrameInfo, NetBackend, NicEnd } from '#lib/net/port.js';
import { fuzzDevice } from '../fuzz.js';
import { VirtioDriver } from '../virtio-driver.js';

const MAC = Uint8Array.from([0x52, 0x54, 0, 1, 2, 3]);
const HDR = 12;
const F = { CSUM: 1, GUEST_CSUM: 2, GUEST_TSO4: 1 << 7, HOST_TSO4: 1 << 11, MRG_RXBUF: 1 << 15, MQ: 1 << 22 } as const;

class Cable implements NetBackend {
  offload = true;
  nic!: NicEnd;
  readonly sent: { frame: Uint8Array; info: FrameInfo }[] = [];
  flushes = 0;
  rooms = 0;
  /** What to answer from within transmit, as the user network does. */
  answer: Uint8Array | null = null;
  attach(nic: NicEnd): void {
    this.nic = nic;
  }
  transmit(frame: Uint8Array, info: Readonly<FrameInfo>): void {
    this.sent.push({ frame: frame.slice(), info: { ...info } });
    if (this.answer !== null) this.nic.receive(this.answer, { gsoSize: 0, noChecksum: false });
  }
  flush(): void {
    this.flushes++;
  }
  room(): void {
    this.rooms++;
  }
  close(): void {}
}

const PLAIN: FrameInfo = { gsoSize: 0, noChecksum: false };
function frame(n: number, dst: readonly number[] = [...MAC]): Uint8Array {
  const f = new Uint8Array(n).map((_, i) => i * 7);
  f.set(dst);
  return f;
}

describe('virtio-net', () => {
  let cable: Cable;
  let d: VirtioDriver;
  const make = (pairs = 1, without = 0, offload = true): void => {
    cable = new Cable();
    cable.offload = offload;
    d = new VirtioDriver(new VirtioNet({ mac: MAC, backend: cable, pairs }));
    d.start(16, without);
  };
  beforeEach(() => make());

  it('shows its address, link and MTU', () => {
    expect(d.config(0)).toBe(0x1041_1af4);
    expect([0, 1, 2, 3, 4, 5].map((i) => d.read(4, i, 1))).toEqual([...MAC]);
    expect(d.read(4, 6, 2)).toBe(1);
    expect(d.read(4, 8, 2)).toBe(1);
    expect(d.read(4, 10, 2)).toBe(1500);
  });

  it('offers offloads only where the back end has them', () => {
    expect(d.features().lo & (F.CSUM | F.HOST_TSO4 | F.MQ)).toBe(F.CSUM | F.HOST_TSO4);
    make(4, 0, false);
    expect(d.features().lo & (F.CSUM | F.HOST_TSO4 | F.MQ)).toBe(F.MQ);
  });

  it('sends what the driver queues, and tells the back end when that is all', () => {
    d.add(1, [new Uint8Array(HDR), frame(60)], []);
    d.add(1, [Buffer.concat([new Uint8Array(HDR), frame(1514)])], []);
    d.kick(1);
    expect(cable.sent.map((s) => s.frame.length)).toEqual([60, 1514]);
    expect([...cable.sent[0]!.frame]).toEqual([...frame(60)]);
    expect(cable.flushes).toBe(1);
    expect(d.returned(1)).toHaveLength(2);
  });

  it('passes offload requests on', () => {
    const h = Uint8Array.from([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0]);
    d.add(1, [h, frame(30_000)], []);
    d.kick(1);
    expect(cable.sent).toMatchObject([{ info: { gsoSize: 1460, noChecksum: true } }]);
    expect(cable.sent[0]!.frame).toHaveLength(30_000);
  });

  it('drops frames that are too short or too long', () => {
    d.add(1, [new Uint8Array(HDR), new Uint8Array(13)], []);
    d.add(1, [new Uint8Array(4)], []);
    d.add(1, [new Uint8Array(HDR), frame(1600)], []);
    d.add(1, [new Uint8Array(HDR), new Uint8Array(70_000)], []);
    d.kick(1);
    expect(cable.sent).toEqual([]);
    expect(d.returned(1)).toHaveLength(4);
  });

  it('receives into a buffer', () => {
    const [at] = d.add(0, [], [1600]);
    expect(cable.nic.receive(frame(100), PLAIN)).toBe(true);
    expect(d.returned(0)).toEqual([{ id: 0, len: HDR + 100 }]);
    const b = d.bytes(at!, HDR + 100);
    expect([...b.subarray(0, HDR)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    expect([...b.subarray(HDR)]).toEqual([...frame(100)]);
  });

  it('spreads a frame over mergeable buffers', () => {
    const at = [d.add(0, [], [HDR, 100])[0]!, d.add(0, [], [128])[0]!, d.add(0, [], [128])[0]!];
    expect(cable.nic.receive(frame(300), PLAIN)).toBe(true);
    expect(d.returned(0).map((r) => r.len)).toEqual([112, 128, 72]);
    expect([...d.bytes(at[0]!, HDR).subarray(10)]).toEqual([3, 0]);
    expect([...d.bytes(at[2]!, 72)]).toEqual([...frame(300).subarray(228)]);
  });

  it('refuses a frame it has no room for, and asks for it when there is', () => {
    d.add(0, [], [100]);
    expect(cable.nic.receive(frame(300), PLAIN)).toBe(false);
    expect(d.returned(0)).toEqual([]);
    d.add(0, [], [400]);
    const before = cable.rooms;
    d.kick(0);
    expect(cable.rooms).toBe(before + 1);
    expect(cable.nic.receive(frame(300), PLAIN)).toBe(true);
    expect(d.returned(0).map((r) => r.len)).toEqual([100, 212]);
  });

  it('loses a frame that a driver without mergeable buffers has no buffer for', () => {
    make(1, F.MRG_RXBUF);
    d.add(0, [], [100]);
    expect(cable.nic.receive(frame(300), PLAIN)).toBe(true);
    expect(d.returned(0)).toEqual([{ id: 0, len: 0 }]);
  });

  it('says which checksum is to be completed, and how a segment is cut', () => {
    const [at] = d.add(0, [], [2000]);
    const f = frame(1000);
    f.set([8, 0, 0x45], 12);
    f[23] = 6;
    f[46] = 0x80;
    cable.nic.receive(f, { gsoSize: 400, noChecksum: true });
    expect([...d.bytes(at!, HDR)]).toEqual([1, 1, 66, 0, 0x90, 1, 34, 0, 16, 0, 1, 0]);
  });

  it('is told what its driver can take', () => {
    expect(cable.nic.abilities).toEqual({ maxFrame: 14 + 65535, checksumFree: true });
    make(1, F.GUEST_CSUM | F.GUEST_TSO4);
    expect(cable.nic.abilities).toEqual({ maxFrame: 1514, checksumFree: false });
    d.status = 0;
    expect(cable.nic.receive(frame(60), PLAIN)).toBe(true);
  });

  it('may be answered while it sends', () => {
    cable.answer = frame(77);
    for (let i = 0; i < 4; i++) d.add(0, [], [200]);
    for (let i = 0; i < 4; i++) d.add(1, [new Uint8Array(HDR), frame(60 + i)], []);
    d.kick(1);
    expect(cable.sent.map((s) => s.frame.length)).toEqual([60, 61, 62, 63]);
    expect(d.returned(0).map((r) => r.len)).toEqual([89, 89, 89, 89]);
    expect(d.returned(1).map((r) => r.id)).toEqual([0, 2, 4, 6]);
  });

  const control = (...command: number[]): number => {
    const q = d.queueCount() - 1;
    const [at] = d.add(q, [Uint8Array.from(command)], [1]);
    d.kick(q);
    return d.bytes(at!, 1)[0]!;
  };

  it('filters by address when told to', () => {
    for (let i = 0; i < 8; i++) d.add(0, [], [200]);
    const other = [0x52, 0x54, 0, 9, 9, 9];
    const group = [1, 0, 0x5e, 0, 0, 1];
    const got = (dst: readonly number[]): boolean => {
      d.returned(0);
      cable.nic.receive(frame(60, dst), PLAIN);
      return d.returned(0).length > 0;
    };
    expect(got(other)).toBe(true);
    expect(control(0, 0, 0)).toBe(0);
    expect([got(other), got([...MAC]), got(group), got(new Array<number>(6).fill(0xff))]).toEqual([false, true, false, true]);
    expect(control(1, 0, 1, 0, 0, 0, ...other, 1, 0, 0, 0, ...group)).toBe(0);
    expect([got(other), got(group), got([1, 0, 0x5e, 0, 0, 2])]).toEqual([true, true, false]);
    expect(control(0, 1, 1)).toBe(0);
    expect(got([1, 0, 0x5e, 0, 0, 2])).toBe(true);
    expect(control(1, 1, 2, 2, 2, 2, 2, 2)).toBe(0);
    expect(d.read(4, 0, 1)).toBe(2);
  });

  it('refuses commands it does not know', () => {
    expect(control(0, 9, 1)).toBe(1);
    expect(control(1, 0, 255, 255, 255, 255)).toBe(1);
    expect(control(7, 7)).toBe(1);
    expect(control(4, 0, 1, 0)).toBe(1);
    expect(control(1)).toBe(1);
  });

  it('answers a flow on the queue pair it came from', () => {
    make(4);
    expect(d.queueCount()).toBe(9);
    expect(control(4, 0, 4, 0)).toBe(0);
    expect(control(4, 0, 5, 0)).toBe(1);
    for (let q = 0; q < 8; q += 2) d.add(q, [], [200]);
    const out = frame(60);
    out.set([8, 0, 0x45], 12);
    out[23] = 6;
    out.set([0x12, 0x34, 0, 80], 34);
    d.add(5, [new Uint8Array(HDR), out], []);
    d.kick(5);
    const back = out.slice();
    back.set([0, 80, 0x12, 0x34], 34);
    cable.nic.receive(back, PLAIN);
    expect([0, 2, 4, 6].map((q) => d.returned(q).length)).toEqual([0, 0, 1, 0]);
  });

  it('keeps its state', () => {
    control(0, 0, 0);
    control(1, 1, 2, 2, 2, 2, 2, 2);
    const state = JSON.parse(JSON.stringify(d.pci.save())) as ReturnType<typeof d.pci.save>;
    d.status = 0;
    expect(d.read(4, 0, 1)).toBe(0x52);
    d.pci.restore(state);
    expect(d.read(4, 0, 1)).toBe(2);
    d.add(0, [], [200]);
    expect(cable.nic.receive(frame(60, [...MAC]), PLAIN)).toBe(true);
    cable.nic.receive(frame(60, [2, 2, 2, 2, 2, 2]), PLAIN);
    expect(d.returned(0)).toHaveLength(1);
  });

  it('survives anything', () => {
    fuzzDevice(() => {
      const c = new Cable();
      const driver = new VirtioDriver(new VirtioNet({ mac: MAC, backend: c, pairs: 2 }));
      driver.start();
      const bar = { read: (o: number, s: number): number => driver.read(1, o, s), write: (o: number, s: number, v: number): void => driver.write(1, o, s, v) };
      return {
        device: driver.pci,
        regions: [{ io: bar, length: 0x4000 }],
        pokes: [
          (r) => void c.nic.receive(new Uint8Array(14 + (r % 2000)), { gsoSize: r & 1 ? 1000 : 0, noChecksum: (r & 2) !== 0 }),
          (r) => driver.add(r % 5, [new Uint8Array(r % 3000)], r & 4 ? [r % 2000] : []),
          (r) => driver.kick(r % 5),
        ],
      };
    }, 3000);
  });
});
