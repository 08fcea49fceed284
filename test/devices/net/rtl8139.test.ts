import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { Rtl8139 } from '#lib/devices/net/rtl8139.js';
import { Cpcr, Cr, Ee, Int, Poll, Rcr, Reg, RxStatus, Rxd, Tsd, Txd } from '#lib/devices/net/rtl8139.spec.js';
import { ETH_HEADER, foldSum, IpProto, pseudoSum, put16, put32, sumBytes, TcpFlag, writeIpv4 } from '#lib/net/packet.js';
import { fuzzDevice } from '../fuzz.js';
import { frame, MAC, NicBoard, PLAIN, SLOT, TestCable } from './nic-driver.js';

const BROADCAST = new Array<number>(6).fill(0xff);

class Driver {
  readonly cable: TestCable;
  readonly board: NicBoard<Rtl8139>;
  readonly tx: number;
  readonly rx: number;
  readonly ring: number;
  private txNext = 0;
  constructor(
    offload = true,
    readonly clock = new ManualClock(1_000_000_000),
  ) {
    this.cable = new TestCable(offload);
    this.board = new NicBoard((host, memory) => new Rtl8139('rtl8139', host, SLOT, { memory, clock, mac: MAC, backend: this.cable }), [0]);
    this.tx = this.board.alloc(8 * 16);
    this.rx = this.board.alloc(8 * 16);
    this.ring = this.board.alloc(70_000);
  }
  read(at: number, size: number): number {
    return this.board.mem.read(this.board.base + 0x10_0000 + at, size);
  }
  write(at: number, size: number, v: number): void {
    this.board.mem.write(this.board.base + 0x10_0000 + at, size, v >>> 0);
  }
  isr(): number {
    const v = this.read(Reg.ISR, 2);
    this.write(Reg.ISR, 2, v);
    return v;
  }
  /** As the driver of the old 8139. */
  startOld(rcr = 0): void {
    this.write(Reg.RBSTART, 4, this.ring);
    this.write(Reg.CR, 1, Cr.TE | Cr.RE);
    this.write(Reg.RCR, 4, Rcr.APM | Rcr.AB | rcr);
    this.write(Reg.IMR, 2, 0xffff);
  }
  startPlus(cpcr = 0): void {
    this.write(Reg.CPCR, 2, Cpcr.TX_ENABLE | Cpcr.RX_ENABLE | cpcr);
    this.write(Reg.CR, 1, Cr.TE | Cr.RE);
    this.write(Reg.RCR, 4, Rcr.APM | Rcr.AB);
    this.write(Reg.TSAD0, 4, this.tx);
    this.write(Reg.TSAD0 + 4, 4, 0);
    this.write(Reg.RDSAR, 4, this.rx);
    this.write(Reg.RDSAR + 4, 4, 0);
    this.write(Reg.IMR, 2, 0xffff);
  }
  desc(table: number, i: number, command: number, tag: number, address: number): void {
    const { mem } = this.board;
    mem.write32(table + i * 16 + 4, tag);
    mem.write32(table + i * 16 + 8, address);
    mem.write32(table + i * 16 + 12, 0);
    mem.write32(table + i * 16, (command | (i === 7 ? Txd.EOR : 0)) >>> 0);
  }
  send(f: Uint8Array, command: number = Txd.FS | Txd.LS, tag = 0): number {
    const i = this.txNext++ % 8;
    this.desc(this.tx, i, (command | Txd.OWN | f.length) >>> 0, tag, this.board.alloc(f));
    return i;
  }
  poll(): void {
    this.write(Reg.TPPOLL, 1, Poll.NPQ);
  }
  buffers(n: number, bytes = 2048): number[] {
    return Array.from({ length: n }, (_, i) => {
      const at = this.board.alloc(bytes);
      this.desc(this.rx, i, (Rxd.OWN | bytes) >>> 0, 0, at);
      return at;
    });
  }
  rxd(i: number): number {
    return this.board.mem.read32(this.rx + i * 16);
  }
}

function tcp(n: number): Uint8Array {
  const f = frame(54 + n, [2, 2, 2, 2, 2, 2]);
  put16(f, 12, 0x0800);
  writeIpv4(f, ETH_HEADER, { total: 40 + n, id: 9, proto: IpProto.TCP, src: 0x0a00020f, dst: 0x0a000202 });
  put32(f, 38, 5000);
  f[46] = 0x50;
  f[47] = TcpFlag.ACK | TcpFlag.PSH;
  return f;
}
const goodSums = (f: Uint8Array): boolean => foldSum(sumBytes(f, 14, 34)) === 0 && foldSum(sumBytes(f, 34, f.length, pseudoSum(f, 14, IpProto.TCP, f.length - 34))) === 0;

describe('RTL8139C+', () => {
  let d: Driver;
  beforeEach(() => {
    d = new Driver();
  });

  it('is what drivers look for', () => {
    expect(d.board.config(0)).toBe(0x8139_10ec);
    expect(d.board.config(8, 1)).toBe(0x20);
    // Linux does without a card that does not let itself be given a cache line size.
    d.board.setConfig(0x0c, 16, 1);
    expect(d.board.config(0x0c, 1)).toBe(16);
    expect(Array.from({ length: 6 }, (_, i) => d.read(i, 1))).toEqual([...MAC]);
    expect(d.read(Reg.TCR, 4) >>> 0).toBe(0x7480_0000);
    expect(d.read(Reg.MSR, 1) & 4).toBe(0);
    expect(d.read(Reg.BMSR, 2) & 0x24).toBe(0x24);
    // The same through its ports.
    expect(d.board.mem.portIn(d.board.ports, 4)).toBe(d.read(0, 4));
  });

  it('has an EEPROM', () => {
    const clock = (bit: number): number => {
      const base = 0x80 | Ee.CS | (bit ? Ee.DI : 0);
      d.write(Reg.CR9346, 1, base);
      d.write(Reg.CR9346, 1, base | Ee.SK);
      d.write(Reg.CR9346, 1, base);
      return d.read(Reg.CR9346, 1) & Ee.DO;
    };
    const word = (a: number): number => {
      d.write(Reg.CR9346, 1, 0x80);
      for (let i = 8; i >= 0; i--) clock((((6 << 6) | a) >>> i) & 1);
      let v = 0;
      for (let i = 0; i < 16; i++) v = (v << 1) | clock(0);
      d.write(Reg.CR9346, 1, 0);
      return v;
    };
    expect([0, 1, 2, 7, 8, 9].map(word)).toEqual([0x8129, 0x10ec, 0x8139, 0x5452, 0x1200, 0x5634]);
  });

  it('keeps its address and configuration locked', () => {
    d.write(0, 4, 0);
    d.write(Reg.CONFIG1, 1, 0xff);
    expect([d.read(0, 1), d.read(Reg.CONFIG1, 1)]).toEqual([0x52, 0x0c]);
    d.write(Reg.CR9346, 1, 0xc0);
    d.write(0, 4, 0x1234_5678);
    d.write(Reg.CONFIG1, 1, 0x1c);
    expect([d.read(0, 1), d.read(Reg.CONFIG1, 1)]).toEqual([0x78, 0x1c]);
  });

  describe('as an 8139', () => {
    it('sends from four buffers', () => {
      d.startOld();
      for (let n = 0; n < 4; n++) {
        d.write(Reg.TSAD0 + n * 4, 4, d.board.alloc(frame(60 + n)));
        d.write(Reg.TSD0 + n * 4, 4, 60 + n);
        expect(d.read(Reg.TSD0 + n * 4, 4) & (Tsd.OWN | Tsd.TOK)).toBe(Tsd.OWN | Tsd.TOK);
      }
      expect(d.cable.sent.map((s) => s.frame)).toEqual([0, 1, 2, 3].map((n) => frame(60 + n)));
      expect(d.read(Reg.TSAD, 2)).toBe(0xf00f);
      expect(d.board.intx).toBe(true);
      expect(d.isr() & Int.TOK).toBeTruthy();
      expect(d.board.intx).toBe(false);
    });

    it('receives into its ring and goes round it', () => {
      d.startOld();
      expect(d.read(Reg.CR, 1) & Cr.BUFE).toBe(Cr.BUFE);
      let at = 0;
      for (let n = 0; n < 40; n++) {
        const f = frame(400 + n);
        expect(d.cable.nic.receive(f, PLAIN)).toBe(true);
        expect(d.read(Reg.CR, 1) & Cr.BUFE).toBe(0);
        const { mem } = d.board;
        expect(mem.read16(d.ring + at)).toBe(RxStatus.ROK | RxStatus.PAM);
        const length = mem.read16(d.ring + at + 2);
        expect(length).toBe(f.length + 4);
        const got = Array.from({ length: f.length }, (_, i) => mem.read8(d.ring + ((at + 4 + i) % 8192)));
        expect(got).toEqual([...f]);
        at = (at + 4 + length + 3) & ~3 & 8191;
        d.write(Reg.CAPR, 2, (at - 16) & 0xffff);
        expect(d.read(Reg.CR, 1) & Cr.BUFE).toBe(Cr.BUFE);
      }
      expect(d.isr() & Int.ROK).toBeTruthy();
    });

    it('refuses a frame when the ring is full', () => {
      d.startOld();
      let n = 0;
      while (d.cable.nic.receive(frame(1500), PLAIN)) n++;
      expect(n).toBe(5);
      expect(d.isr() & Int.RXOVW).toBeTruthy();
      const before = d.cable.rooms;
      d.write(Reg.CAPR, 2, 1508 - 16);
      expect(d.cable.rooms).toBeGreaterThan(before);
      expect(d.cable.nic.receive(frame(1500), PLAIN)).toBe(true);
    });

    it('filters by address', () => {
      d.startOld();
      const got = (dst: readonly number[]): number => {
        const at = d.read(Reg.CBR, 2);
        d.cable.nic.receive(frame(60, dst), PLAIN);
        const now = d.read(Reg.CBR, 2);
        const kind = now === at ? 0 : d.board.mem.read16(d.ring + at);
        d.write(Reg.CAPR, 2, (now - 16) & 0xffff);
        return kind;
      };
      expect([got([2, 2, 2, 2, 2, 2]), got(BROADCAST), got([1, 0, 0x5e, 0, 0, 1])]).toEqual([0, RxStatus.ROK | RxStatus.BAR, 0]);
      d.write(Reg.MAR0, 4, 0xffff_ffff);
      d.write(Reg.MAR0 + 4, 4, 0xffff_ffff);
      d.write(Reg.RCR, 4, Rcr.AM);
      expect([got([1, 0, 0x5e, 0, 0, 1]), got(BROADCAST), got([...MAC])]).toEqual([RxStatus.ROK | RxStatus.MAR, 0, 0]);
      d.write(Reg.RCR, 4, Rcr.AAP);
      expect(got([2, 2, 2, 2, 2, 2])).toBe(RxStatus.ROK);
    });
  });

  describe('in C+ mode', () => {
    it('sends from its ring', () => {
      d.startPlus();
      for (let k = 0; k < 3; k++) {
        const ids = [d.send(frame(60)), d.send(frame(100).subarray(0, 40), Txd.FS), d.send(frame(100).subarray(40), Txd.LS), d.send(frame(61))];
        d.poll();
        expect(d.cable.sent.splice(0).map((s) => s.frame)).toEqual([frame(60), frame(100), frame(61)]);
        for (const i of ids) expect(d.board.mem.read32(d.tx + i * 16) >>> 31).toBe(0);
      }
      expect(d.isr() & (Int.TOK | Int.TDU)).toBe(Int.TOK | Int.TDU);
    });

    it('computes checksums', () => {
      d.startPlus();
      d.send(tcp(100), Txd.FS | Txd.LS | Txd.IPCS | Txd.TCPCS);
      d.poll();
      expect(goodSums(d.cable.sent[0]!.frame)).toBe(true);
    });

    it('cuts segments, or leaves that to the back end', () => {
      const large = (t: Driver): void => {
        t.startPlus();
        t.send(tcp(4000), (Txd.FS | Txd.LS | Txd.LGSEN | (1000 << Txd.MSS_SHIFT)) >>> 0);
        t.poll();
      };
      large(d);
      expect(d.cable.sent).toMatchObject([{ info: { gsoSize: 1000, noChecksum: true } }]);
      const t = new Driver(false);
      large(t);
      expect(t.cable.sent.map((s) => s.frame.length)).toEqual([1054, 1054, 1054, 1054]);
      expect(t.cable.sent.every((s) => goodSums(s.frame))).toBe(true);
    });

    it('receives into its ring', () => {
      d.startPlus(Cpcr.RX_CHECKSUM);
      const b = d.buffers(3);
      const f = tcp(100);
      f.set(MAC);
      put16(f, 50, 0);
      put16(f, 50, foldSum(sumBytes(f, 34, f.length, pseudoSum(f, 14, IpProto.TCP, 120))));
      d.cable.nic.receive(f, PLAIN);
      d.cable.nic.receive(frame(42, BROADCAST), PLAIN);
      expect(d.rxd(0) >>> 0).toBe((Rxd.FS | Rxd.LS | Rxd.PAM | Rxd.PID_TCP | (154 + 4)) >>> 0);
      expect([...d.board.bytes(b[0]!, 154)]).toEqual([...f]);
      expect(d.rxd(1) >>> 0).toBe((Rxd.FS | Rxd.LS | Rxd.BAR | 64) >>> 0);
      expect(d.cable.nic.receive(frame(60), PLAIN)).toBe(true);
      expect(d.cable.nic.receive(frame(60), PLAIN)).toBe(false);
      expect(d.isr() & (Int.ROK | Int.RXOVW)).toBe(Int.ROK | Int.RXOVW);
    });

    it('looks again for a descriptor: giving one back tells it nothing', () => {
      d.startPlus();
      expect(d.cable.nic.receive(frame(60), PLAIN)).toBe(false);
      const before = d.cable.rooms;
      d.clock.advance(2_000_000);
      expect(d.cable.rooms).toBe(before + 1);
      d.clock.advance(2_000_000);
      expect(d.cable.rooms).toBe(before + 1);
      d.cable.nic.receive(frame(60), PLAIN);
      d.write(Reg.IMR, 2, 0xffff);
      expect(d.cable.rooms).toBe(before + 2);
    });

    it('puts VLAN tags in and takes them out', () => {
      d.startPlus(Cpcr.RX_VLAN);
      d.buffers(1);
      d.send(frame(60), Txd.FS | Txd.LS, Txd.TAGC | 0x2301);
      d.poll();
      const f = d.cable.sent[0]!.frame;
      expect([...f.subarray(12, 16)]).toEqual([0x81, 0, 0x01, 0x23]);
      f.set(MAC);
      d.cable.nic.receive(f, PLAIN);
      expect(d.board.mem.read32(d.rx + 4)).toBe(Rxd.TAVA | 0x2301);
      expect(d.rxd(0) & 0x3fff).toBe(64);
    });
  });

  it('interrupts when its timer gets there', () => {
    d.write(Reg.IMR, 2, Int.TIMEOUT);
    d.write(Reg.TIMER_INT, 4, 33_000);
    d.write(Reg.TCTR, 4, 0);
    d.clock.advance(900_000);
    expect(d.board.intx).toBe(false);
    d.clock.advance(200_000);
    expect(d.board.intx).toBe(true);
    expect(d.read(Reg.TCTR, 4)).toBe(36_300);
  });

  it('is reset by a bit and keeps its address', () => {
    d.startOld();
    d.write(Reg.CR, 1, Cr.RST);
    expect([d.read(Reg.CR, 1), d.read(Reg.IMR, 2), d.read(0, 1)]).toEqual([Cr.BUFE, 0, 0x52]);
  });

  it('goes on after a restore', () => {
    d.startPlus();
    d.buffers(2);
    d.cable.nic.receive(frame(60), PLAIN);
    const state = JSON.parse(JSON.stringify(d.board.card.save())) as ReturnType<Rtl8139['save']>;
    d.board.card.reset();
    d.board.card.restore(state);
    d.cable.nic.receive(frame(60), PLAIN);
    expect(d.rxd(1) & 0x3fff).toBe(64);
    expect(d.board.intx).toBe(true);
  });

  it('survives anything', () => {
    fuzzDevice(({ clock }) => {
      const t = new Driver(false, clock);
      t.startPlus();
      const bar = { read: (o: number, s: number): number => t.read(o, s), write: (o: number, s: number, v: number): void => t.write(o, s, v) };
      return {
        device: t.board.card,
        regions: [{ io: bar, length: 0x100 }],
        pokes: [() => t.board.enable(), () => t.startOld(), () => t.startPlus(), (r) => void t.cable.nic.receive(frame(14 + (r % 2000), r & 1 ? BROADCAST : [...MAC]), PLAIN), (r) => void (t.desc(t.tx, r & 7, r | Txd.OWN, r, r), t.poll()), () => (t.cable.sent.length = 0)],
      };
    }, 3000);
  });
});
