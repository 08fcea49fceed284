import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { E1000 } from '#lib/devices/net/e1000.js';
import { Ctrl, Int, Mdic, Rctl, Reg, Rxd, Stat, Txd } from '#lib/devices/net/e1000.spec.js';
import { ETH_HEADER, foldSum, IpProto, pseudoSum, put16, put32, sumBytes, TcpFlag, writeIpv4 } from '#lib/net/packet.js';
import { fuzzDevice } from '../fuzz.js';
import { frame, MAC, NicBoard, PLAIN, SLOT, TestCable } from './nic-driver.js';

class Driver {
  readonly cable: TestCable;
  readonly clock = new ManualClock();
  readonly board: NicBoard<E1000>;
  readonly tx: number;
  readonly rx: number;
  tail = 0;
  constructor(
    offload = true,
    readonly count = 8,
  ) {
    this.cable = new TestCable(offload);
    this.board = new NicBoard((host, memory) => new E1000('e1000', host, SLOT, { memory, clock: this.clock, mac: MAC, backend: this.cable }), [1]);
    this.tx = this.board.alloc(count * 16);
    this.rx = this.board.alloc(count * 16);
  }
  read(at: number): number {
    return this.board.mem.read(this.board.base + at, 4);
  }
  write(at: number, v: number): void {
    this.board.mem.write(this.board.base + at, 4, v >>> 0);
  }
  start(rctl = 0): void {
    this.write(Reg.TDBAL, this.tx);
    this.write(Reg.TDLEN, this.count * 16);
    this.write(Reg.RDBAL, this.rx);
    this.write(Reg.RDLEN, this.count * 16);
    this.write(Reg.TCTL, 2);
    this.write(Reg.RCTL, Rctl.EN | Rctl.BAM | rctl);
    this.write(Reg.IMS, Int.TXDW | Int.RXT0 | Int.LSC | Int.RXO);
  }
  /** Writes a descriptor at the tail; `go` hands it over. */
  put(lo: number, hi: number, command: number, upper: number): number {
    const at = this.tx + this.tail * 16;
    const m = this.board.mem;
    m.write32(at, lo);
    m.write32(at + 4, hi);
    m.write32(at + 8, command >>> 0);
    m.write32(at + 12, upper >>> 0);
    this.tail = (this.tail + 1) % this.count;
    return at;
  }
  go(): void {
    this.write(Reg.TDT, this.tail);
  }
  send(f: Uint8Array, command: number = Txd.EOP | Txd.RS, upper = 0): number {
    const at = this.put(this.board.alloc(f), 0, command | f.length, upper);
    this.go();
    return at;
  }
  /** Gives the card n receive buffers. */
  buffers(n: number, bytes = 2048): number[] {
    const out = Array.from({ length: n }, () => this.board.alloc(bytes));
    out.forEach((b, i) => {
      this.board.mem.write32(this.rx + i * 16, b);
      this.board.mem.write32(this.rx + i * 16 + 4, 0);
    });
    this.write(Reg.RDT, n);
    return out;
  }
  rxStatus(i: number): { length: number; status: number; errors: number; special: number } {
    const at = this.rx + i * 16;
    const m = this.board.mem;
    return { length: m.read16(at + 8), status: m.read8(at + 12), errors: m.read8(at + 13), special: m.read16(at + 14) };
  }
}

/** A TCP frame with n bytes of payload and the pseudo header's sum where a driver puts it. */
function tcp(n: number): Uint8Array {
  const f = frame(54 + n, [2, 2, 2, 2, 2, 2]);
  put16(f, 12, 0x0800);
  writeIpv4(f, ETH_HEADER, { total: 40 + n, id: 9, proto: IpProto.TCP, src: 0x0a00020f, dst: 0x0a000202 });
  put16(f, 34, 1000);
  put16(f, 36, 80);
  put32(f, 38, 5000);
  put32(f, 42, 1);
  f[46] = 0x50;
  f[47] = TcpFlag.ACK | TcpFlag.PSH;
  put16(f, 48, 100);
  put16(f, 50, ~foldSum(pseudoSum(f, ETH_HEADER, IpProto.TCP, 0)) & 0xffff);
  put16(f, 52, 0);
  return f;
}

const goodSums = (f: Uint8Array): boolean =>
  foldSum(sumBytes(f, 14, 34)) === 0 && foldSum(sumBytes(f, 34, f.length, pseudoSum(f, 14, IpProto.TCP, f.length - 34))) === 0;

describe('82540EM', () => {
  let d: Driver;
  beforeEach(() => {
    d = new Driver();
  });

  it('is what drivers look for', () => {
    expect(d.board.config(0)).toBe(0x100e_8086);
    expect(d.read(Reg.STATUS) & 3).toBe(3);
    expect(d.read(Reg.RAL)).toBe(0x1200_5452);
    expect(d.read(Reg.RAH)).toBe(0x8000_5634);
  });

  it('has its address in an EEPROM with the right sum, by register and bit by bit', () => {
    const byRegister = (a: number): number => {
      d.write(Reg.EERD, (a << 8) | 1);
      expect(d.read(Reg.EERD) & 0x10).toBe(0x10);
      return d.read(Reg.EERD) >>> 16;
    };
    const words = Array.from({ length: 64 }, (_, i) => byRegister(i));
    expect(words.slice(0, 3)).toEqual([0x5452, 0x1200, 0x5634]);
    expect(words.reduce((a, b) => a + b, 0) & 0xffff).toBe(0xbaba);
    const clock = (bit: number): number => {
      d.write(Reg.EECD, 2 | (bit << 2));
      d.write(Reg.EECD, 3 | (bit << 2));
      d.write(Reg.EECD, 2 | (bit << 2));
      return (d.read(Reg.EECD) >>> 3) & 1;
    };
    const byBits = (a: number): number => {
      d.write(Reg.EECD, 2);
      for (let i = 8; i >= 0; i--) clock((((6 << 6) | a) >>> i) & 1);
      let v = 0;
      for (let i = 0; i < 16; i++) v = (v << 1) | clock(0);
      d.write(Reg.EECD, 0);
      return v;
    };
    expect(Array.from({ length: 64 }, (_, i) => byBits(i))).toEqual(words);
    d.write(Reg.EECD, 0x40);
    expect(d.read(Reg.EECD) & 0x80).toBe(0x80);
  });

  it('has a PHY with a link', () => {
    const phy = (reg: number, address = 1): number => {
      d.write(Reg.MDIC, (Mdic.OP_READ | (address << 21) | (reg << 16)) >>> 0);
      return d.read(Reg.MDIC);
    };
    expect([phy(2) & 0xffff, phy(3) & 0xffff]).toEqual([0x0141, 0x0c20]);
    expect(phy(1) & 0x24).toBe(0x24);
    expect(phy(1, 2) & Mdic.ERROR).toBeTruthy();
    expect(phy(31) & Mdic.ERROR).toBeTruthy();
    d.start();
    d.write(Reg.MDIC, (Mdic.OP_WRITE | (1 << 21) | (0 << 16) | 0x1200) >>> 0);
    expect(d.read(Reg.ICR) & Int.LSC).toBeTruthy();
    expect(phy(0) & 0x0200).toBe(0);
  });

  it('sends legacy descriptors, marks them done and interrupts', () => {
    d.start();
    const at = d.send(frame(60));
    expect(d.cable.sent.map((s) => s.frame)).toEqual([frame(60)]);
    expect(d.board.mem.read8(at + 12) & Txd.DD).toBe(1);
    expect(d.board.intx).toBe(true);
    expect(d.read(Reg.ICR) & Int.TXDW).toBeTruthy();
    expect(d.board.intx).toBe(false);
    expect(d.read(Reg.TDH)).toBe(1);
    expect(d.cable.flushes).toBe(1);
    // Statistics are cleared by reading.
    expect([d.read(Stat.GPTC), d.read(Stat.GPTC)]).toEqual([1, 0]);
  });

  it('joins a frame from several buffers and goes round the ring', () => {
    d.start();
    for (let k = 0; k < 6; k++) {
      const f = frame(300 + k);
      d.put(d.board.alloc(f.subarray(0, 100)), 0, 100, 0);
      d.put(d.board.alloc(f.subarray(100)), 0, Txd.EOP | (f.length - 100), 0);
      d.go();
      expect(d.cable.sent.at(-1)!.frame).toEqual(f);
    }
    expect(d.read(Reg.TDH)).toBe(4);
  });

  it('completes the checksums a context describes', () => {
    d.start();
    const f = tcp(100);
    put16(f, 24, 0);
    const pseudo = ~foldSum(pseudoSum(f, ETH_HEADER, IpProto.TCP, 120)) & 0xffff;
    put16(f, 50, pseudo);
    d.put(14 | (24 << 8) | (33 << 16), 34 | (50 << 8), Txd.DEXT | (1 << 24), 0);
    d.put(d.board.alloc(f), 0, Txd.DEXT | Txd.DTYP_DATA | Txd.EOP | f.length, 3 << 8);
    d.go();
    expect(goodSums(d.cable.sent[0]!.frame)).toBe(true);
  });

  const segments = (offload: boolean): Driver => {
    const t = new Driver(offload);
    t.start();
    const f = tcp(5000);
    put16(f, 16, 0);
    t.put(14 | (24 << 8) | (33 << 16), 34 | (50 << 8), Txd.DEXT | (1 << 24) | (1 << 25) | (1 << 26) | 5000, (54 << 8) | (1460 << 16));
    t.put(t.board.alloc(f), 0, Txd.DEXT | Txd.DTYP_DATA | Txd.TSE | Txd.EOP | f.length, 3 << 8);
    t.go();
    return t;
  };

  it('leaves segmentation to a back end that wants it', () => {
    const t = segments(true);
    expect(t.cable.sent).toHaveLength(1);
    expect(t.cable.sent[0]).toMatchObject({ info: { gsoSize: 1460, noChecksum: true } });
  });

  it('cuts TCP segments itself', () => {
    const t = segments(false);
    expect(t.cable.sent.map((s) => s.frame.length)).toEqual([1514, 1514, 1514, 54 + 620]);
    t.cable.sent.forEach(({ frame: f }, i) => {
      expect(goodSums(f)).toBe(true);
      expect(new DataView(f.buffer).getUint32(38)).toBe(5000 + i * 1460);
      expect(new DataView(f.buffer).getUint16(18)).toBe(9 + i);
      expect(f[47]).toBe(i === 3 ? TcpFlag.ACK | TcpFlag.PSH : TcpFlag.ACK);
    });
    expect(Buffer.concat(t.cable.sent.map((s) => s.frame.subarray(54))).equals(Buffer.from(tcp(5000).subarray(54)))).toBe(true);
  });

  it('takes breaks from a ring that is full of large buffers, and goes on by itself', () => {
    const d = new Driver(true, 4096);
    d.start();
    const buffer = d.board.alloc(0);
    for (let i = 0; i < 4000; i++) d.put(buffer, 0, (Txd.DEXT | Txd.DTYP_DATA | 0xf_ffff) >>> 0, 0);
    d.go();
    // A descriptor of a megabyte each: four, and then a break.
    expect(d.read(Reg.TDH)).toBe(4);
    for (let passes = 0; passes < 999; passes++) d.clock.advance(1e6);
    expect(d.read(Reg.TDH)).toBe(4000);
    d.send(frame(60));
    expect(d.read(Reg.TDH)).toBe(4001);
  });

  it('does not cut frames into crumbs', () => {
    const d = new Driver(false);
    d.start();
    const context = (mss: number): void => void d.put(0x0000_0e, 0, (Txd.DEXT | (7 << 24)) >>> 0, (mss << 16) | (54 << 8));
    for (const mss of [1, 47]) {
      context(mss);
      d.put(d.board.alloc(tcp(4000)), 0, (Txd.DEXT | Txd.DTYP_DATA | Txd.TSE | Txd.EOP | 4054) >>> 0, 0);
      d.go();
    }
    expect(d.cable.sent).toEqual([]);
    context(1000);
    d.put(d.board.alloc(tcp(4000)), 0, (Txd.DEXT | Txd.DTYP_DATA | Txd.TSE | Txd.EOP | 4054) >>> 0, 0);
    d.go();
    expect(d.cable.sent).toHaveLength(4);
  });

  it('inserts a VLAN tag, and takes one out', () => {
    d.start();
    d.write(Reg.CTRL, Ctrl.SLU | Ctrl.VME);
    d.write(Reg.VET, 0x8100);
    d.send(frame(60), Txd.EOP | Txd.VLE, 0x0123 << 16);
    const [{ frame: f }] = d.cable.sent as [{ frame: Uint8Array }];
    expect([...f.subarray(12, 16)]).toEqual([0x81, 0, 0x01, 0x23]);
    d.buffers(2);
    f.set(MAC);
    d.cable.nic.receive(f, PLAIN);
    expect(d.rxStatus(0)).toMatchObject({ length: 64, special: 0x0123, status: Rxd.DD | Rxd.EOP | Rxd.VP | Rxd.IXSM });
  });

  it('receives, pads, counts the frame check sequence and interrupts', () => {
    d.start();
    const [b] = d.buffers(4);
    expect(d.cable.nic.receive(frame(42), PLAIN)).toBe(true);
    expect(d.rxStatus(0)).toEqual({ length: 64, status: Rxd.DD | Rxd.EOP | Rxd.IXSM, errors: 0, special: 0 });
    expect([...d.board.bytes(b!, 60)]).toEqual([...frame(42), ...new Array<number>(18).fill(0)]);
    expect(d.board.intx).toBe(true);
    expect(d.read(Reg.RDH)).toBe(1);
    d.write(Reg.RCTL, Rctl.EN | Rctl.BAM | Rctl.SECRC);
    d.cable.nic.receive(frame(100), PLAIN);
    expect(d.rxStatus(1).length).toBe(100);
  });

  it('spreads a frame over small buffers', () => {
    d.start((3 << Rctl.BSIZE_SHIFT) | Rctl.SECRC);
    const b = d.buffers(5, 256);
    d.cable.nic.receive(frame(700), PLAIN);
    expect([0, 1, 2].map((i) => [d.rxStatus(i).length, d.rxStatus(i).status & Rxd.EOP])).toEqual([[256, 0], [256, 0], [188, Rxd.EOP]]);
    expect([...d.board.bytes(b[2]!, 188)]).toEqual([...frame(700).subarray(512)]);
  });

  it('refuses a frame it has no room for, and asks for it when there is', () => {
    d.start();
    expect(d.cable.nic.receive(frame(60), PLAIN)).toBe(false);
    expect(d.read(Reg.ICR) & Int.RXO).toBeTruthy();
    const before = d.cable.rooms;
    d.buffers(2);
    expect(d.cable.rooms).toBe(before + 1);
    expect(d.cable.nic.receive(frame(60), PLAIN)).toBe(true);
    // The descriptor at the tail belongs to the driver.
    expect(d.cable.nic.receive(frame(60), PLAIN)).toBe(true);
    expect(d.cable.nic.receive(frame(60), PLAIN)).toBe(false);
  });

  it('loses frames while it is off, and those that are too long', () => {
    d.buffers(2);
    expect(d.cable.nic.receive(frame(60), PLAIN)).toBe(true);
    expect(d.rxStatus(0).status).toBe(0);
    d.start();
    expect(d.cable.nic.receive(frame(1600), PLAIN)).toBe(true);
    expect(d.rxStatus(0).status).toBe(0);
    expect(d.read(Stat.ROC)).toBe(1);
  });

  it('checks checksums', () => {
    d.start();
    d.write(0x5000, 0x300);
    d.buffers(4);
    const f = tcp(100);
    f.set(MAC);
    put16(f, 50, 0);
    put16(f, 50, foldSum(sumBytes(f, 34, f.length, pseudoSum(f, 14, IpProto.TCP, 120))));
    d.cable.nic.receive(f, PLAIN);
    f[70] = f[70]! ^ 1;
    d.cable.nic.receive(f, PLAIN);
    expect(d.rxStatus(0)).toMatchObject({ status: Rxd.DD | Rxd.EOP | Rxd.IPCS | Rxd.TCPCS, errors: 0 });
    expect(d.rxStatus(1)).toMatchObject({ errors: Rxd.TCPE });
  });

  it('filters by address', () => {
    d.start();
    d.buffers(7);
    const got = (dst: readonly number[]): boolean => {
      const before = d.read(Reg.RDH);
      d.cable.nic.receive(frame(60, dst), PLAIN);
      return d.read(Reg.RDH) !== before;
    };
    const group = [1, 0, 0x5e, 0, 0, 0xfb];
    expect([got([2, 2, 2, 2, 2, 2]), got([...MAC]), got(group), got(new Array<number>(6).fill(0xff))]).toEqual([false, true, false, true]);
    const hash = (0xfb00 >>> 4) & 0xfff;
    d.write(Reg.MTA + (hash >>> 5) * 4, 1 << (hash & 31));
    expect(got(group)).toBe(true);
    d.write(Reg.RCTL, Rctl.EN | Rctl.UPE);
    expect([got([2, 2, 2, 2, 2, 2]), got(new Array<number>(6).fill(0xff))]).toEqual([true, false]);
  });

  it('masks interrupts, and is reset by a bit', () => {
    d.start();
    d.write(Reg.ICS, Int.LSC);
    expect(d.board.intx).toBe(true);
    d.write(Reg.IMC, Int.LSC);
    expect(d.board.intx).toBe(false);
    d.write(Reg.CTRL, Ctrl.RST);
    expect([d.read(Reg.ICR), d.read(Reg.IMS), d.read(Reg.RCTL), d.read(Reg.RAL)]).toEqual([0, 0, 0, 0x1200_5452]);
  });

  it('interrupts no faster than ITR says', () => {
    d.start();
    d.write(Reg.ITR, 100);
    const f = frame(60, [2, 2, 2, 2, 2, 2]);
    d.send(f);
    expect(d.board.intx).toBe(true);
    d.read(Reg.ICR);
    expect(d.board.intx).toBe(false);
    d.send(f);
    // 100 units of 256 ns after the first one.
    d.clock.advance(25_599);
    expect(d.board.intx).toBe(false);
    d.clock.advance(1);
    expect(d.board.intx).toBe(true);
    d.read(Reg.ICR);
    d.clock.advance(25_600);
    d.send(f);
    expect(d.board.intx).toBe(true);
  });

  it('answers through its ports', () => {
    const { mem, ports } = d.board;
    mem.portOut(ports + 0x100, 4, Reg.STATUS);
    expect(mem.portIn(ports + 0x104, 4) & 3).toBe(3);
    mem.portOut(ports + 0x100, 4, Reg.VET);
    mem.portOut(ports + 0x104, 4, 0x8100);
    expect(d.read(Reg.VET)).toBe(0x8100);
  });

  it('goes on after a restore in the middle of a frame', () => {
    d.start();
    const f = frame(200);
    d.put(d.board.alloc(f.subarray(0, 80)), 0, 80, 0);
    d.go();
    const state = JSON.parse(JSON.stringify(d.board.card.save())) as ReturnType<E1000['save']>;
    d.board.card.reset();
    d.board.card.restore(state);
    d.put(d.board.alloc(f.subarray(80)), 0, Txd.EOP | 120, 0);
    d.go();
    expect(d.cable.sent.map((s) => s.frame)).toEqual([f]);
  });

  it.each([
    ['a ring outside RAM', (t: Driver) => t.write(Reg.TDBAH, 0xffff_ffff)],
    ['no ring', (t: Driver) => t.write(Reg.TDLEN, 0)],
    ['a tail outside the ring', (t: Driver) => t.write(Reg.TDT, 0xffff)],
    ['buffers outside RAM', (t: Driver) => void (t.put(0xffff_f000, 0xffff_ffff, Txd.EOP | 100, 0), t.go())],
    ['segments of nothing', (t: Driver) => void (t.put(0, 0, Txd.DEXT | (1 << 26), 0), t.send(frame(60), Txd.DEXT | Txd.DTYP_DATA | Txd.TSE | Txd.EOP))],
    ['a checksum outside the frame', (t: Driver) => void t.send(frame(60), Txd.EOP | Txd.IC | (255 << 16), 255 << 8)],
  ])('survives %s', (_what, break_) => {
    d.start();
    break_(d);
    d.buffers(4);
    d.cable.nic.receive(frame(60), PLAIN);
  });

  it('survives anything', () => {
    fuzzDevice(() => {
      const t = new Driver(false);
      t.start();
      const bar = { read: (o: number, s: number): number => t.board.mem.read(t.board.base + o, s), write: (o: number, s: number, v: number): void => t.board.mem.write(t.board.base + o, s, v) };
      return {
        device: t.board.card,
        regions: [{ io: bar, length: 0x6000 }, { io: { read: (o, s) => bar.read(0x2800 + o, s), write: (o, s, v) => bar.write(0x2800 + o, s, v) }, length: 0x20 }, { io: { read: (o, s) => bar.read(0x3800 + o, s), write: (o, s, v) => bar.write(0x3800 + o, s, v) }, length: 0x20 }],
        pokes: [
          () => t.board.enable(),
          () => t.start(),
          (r) => void t.cable.nic.receive(frame(14 + (r % 2000)), PLAIN),
          (r) => void (t.put(r, r & 7 ? 0 : r, r ^ (Txd.EOP | Txd.DEXT), r), t.go()),
          () => (t.cable.sent.length = 0),
        ],
      };
    }, 3000);
  });
});
