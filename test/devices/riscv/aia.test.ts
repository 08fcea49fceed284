/** IMSIC and APLIC, each without a machine around it. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Aplic } from '#lib/devices/riscv/aplic.js';
import { Imsic } from '#lib/devices/riscv/imsic.js';
import { fuzzDevice, TestLine } from '../fuzz.js';

describe('IMSIC', () => {
  let d: Imsic;
  let lines: TestLine[];
  const DELIVERY = 0x70, THRESHOLD = 0x72, EIP0 = 0x80, EIE0 = 0xc0;
  const file = (hart = 0) => d.files[hart]!;
  const read = (select: number, hart = 0): [number, number] | null => (file(hart).read(select) ? [file(hart).lo, file(hart).hi] : null);
  const send = (hart: number, id: number): void => d.mmio.write(hart * 0x1000, 4, id);

  beforeEach(() => {
    lines = [new TestLine(), new TestLine()];
    d = new Imsic({ name: 'imsic', identities: 127, lines });
    for (const f of d.files) {
      f.write(DELIVERY, 1, 0);
      for (let w = 0; w < 4; w += 2) f.write(EIE0 + w, -1, -1);
    }
  });

  it('takes the lowest identity first and forgets it when it is claimed', () => {
    for (const id of [100, 7, 33]) send(1, id);
    expect(lines.map((l) => l.level)).toEqual([false, true]);
    const got: number[] = [];
    for (let i = 0; i < 4; i++) {
      got.push(file(1).top());
      file(1).claim();
    }
    expect(got).toEqual([7, 33, 100, 0]);
    expect(lines[1]!.level).toBe(false);
  });

  it('takes numbers in both byte orders, and only those that it has', () => {
    d.mmio.write(4, 4, 0x0500_0000);
    expect(file().top()).toBe(5);
    file().claim();
    for (const id of [0, 128, 0x8000_0005, 0xffff_ffff]) send(0, id);
    d.mmio.write(0, 2, 5);
    d.mmio.write(8, 4, 5);
    d.mmio.write(0x2000, 4, 5);
    expect([file().top(), file(1).top(), d.mmio.read(0, 4)]).toEqual([0, 0, 0]);
  });

  it('holds back what the threshold, the enable bits and eidelivery say', () => {
    send(0, 9);
    send(0, 20);
    file().write(THRESHOLD, 9, 0);
    expect([file().top(), lines[0]!.level]).toEqual([0, false]);
    file().write(THRESHOLD, 10, 0);
    expect([file().top(), lines[0]!.level]).toEqual([9, true]);
    file().write(EIE0, ~(1 << 9), -1);
    expect(file().top()).toBe(0);
    file().write(THRESHOLD, 0, 0);
    expect(file().top()).toBe(20);
    // *topei tells what eidelivery only keeps from the hart.
    file().write(DELIVERY, 0x4000_0000, 0);
    expect([file().top(), lines[0]!.level, read(DELIVERY)]).toEqual([20, false, [0, 0]]);
  });

  it('has the registers of RV64 and no identity 0', () => {
    file().write(EIP0, -1, 0x10);
    expect(read(EIP0)).toEqual([-2, 0x10]);
    expect(read(EIE0 + 2)).toEqual([-1, -1]);
    expect([read(EIP0 + 1), read(EIE0 + 63)]).toEqual([null, null]);
    // Beyond the last identity, and reserved.
    file().write(EIP0 + 4, -1, -1);
    file().write(0x7f, -1, -1);
    expect([read(EIP0 + 4), read(0x71), read(0x7f)]).toEqual([[0, 0], [0, 0], [0, 0]]);
    file().write(THRESHOLD, 0x7fff, 0);
    expect(read(THRESHOLD)).toEqual([127, 0]);
  });

  it('keeps its state', () => {
    send(0, 9);
    const saved: unknown = JSON.parse(JSON.stringify(d.save()));
    d.reset();
    expect([lines[0]!.level, read(DELIVERY)]).toEqual([false, [0, 0]]);
    d.restore(saved as ReturnType<Imsic['save']>);
    expect([lines[0]!.level, file().top()]).toEqual([true, 9]);
  });

  it('survives anything', () => {
    fuzzDevice(({ line }) => {
      const device = new Imsic({ name: 'imsic', identities: 255, lines: [line(), line()] });
      const csr = (hart: number) => ({
        io: { read: (o: number) => (device.files[hart]!.read(0x70 + o) ? device.files[hart]!.lo >>> 0 : 0), write: (o: number, _s: number, v: number) => device.files[hart]!.write(0x70 + (o & ~1), v | 0, v | 0) },
        length: 0x90,
        sizes: [4],
      });
      return { device, regions: [{ io: device.mmio, length: 0x10 }, { io: { read: (o, s) => device.mmio.read(0x1000 + o, s), write: (o, s, v) => device.mmio.write(0x1000 + o, s, v) }, length: 8 }, csr(0), csr(1)], pokes: [(r) => device.files[r & 1]!.claim()] };
    });
  });
});

const [DOMAINCFG, SETIP, SETIPNUM, IN_CLRIP, CLRIPNUM, SETIE, SETIENUM, CLRIE, CLRIENUM, LE, BE, GENMSI, IDC] = [0, 0x1c00, 0x1cdc, 0x1d00, 0x1ddc, 0x1e00, 0x1edc, 0x1f00, 0x1fdc, 0x2000, 0x2004, 0x3000, 0x4000];
const [IDELIVERY, IFORCE, ITHRESHOLD, TOPI, CLAIMI] = [0, 4, 8, 0x18, 0x1c];
const IE = 0x100;
const DELEGATE = 0x400;
const [DETACHED, EDGE1, EDGE0, LEVEL1, LEVEL0] = [1, 4, 5, 6, 7];
const sourcecfg = (i: number): number => i * 4;
const target = (i: number): number => 0x3000 + i * 4;
const hart = (h: number, rest: number): number => h * 0x4_0000 + rest;

interface Rig {
  d: Aplic;
  m: TestLine[];
  s: TestLine[];
  sent: [number, number][];
  /** Reads and writes of the supervisor's domain, and of the root. */
  rd(o: number): number;
  wr(o: number, v: number): void;
  root: { rd(o: number): number; wr(o: number, v: number): void };
}

function rig(messages: boolean): Rig {
  const [m, s] = [[new TestLine(), new TestLine()], [new TestLine(), new TestLine()]];
  const sent: [number, number][] = [];
  const d = new Aplic({ sources: 96, machine: m, supervisor: s, msi: messages ? (a, v) => sent.push([a, v]) : null });
  const access = (io: Aplic['machine']) => ({ rd: (o: number) => io.read(o, 4), wr: (o: number, v: number) => io.write(o, 4, v >>> 0) });
  return { d, m, s, sent, ...access(d.supervisor), root: access(d.machine) };
}

describe('APLIC that delivers directly', () => {
  let r: Rig;
  beforeEach(() => {
    r = rig(false);
    for (let i = 1; i <= 96; i++) r.root.wr(sourcecfg(i), DELEGATE);
    r.wr(DOMAINCFG, IE);
    for (const h of [0, 1]) r.wr(IDC + h * 32 + IDELIVERY, 1);
  });

  function add(i: number, sm: number, h: number, priority: number): void {
    r.wr(sourcecfg(i), sm);
    r.wr(target(i), hart(h, priority));
    r.wr(SETIENUM, i);
  }

  it('claims by priority number, then source number, on the hart that is the target', () => {
    add(3, EDGE1, 0, 5);
    add(40, EDGE1, 0, 2);
    add(41, EDGE1, 0, 2);
    add(50, EDGE1, 1, 1);
    for (const i of [3, 40, 41, 50]) r.d.irqs[i]!.set(true);
    expect(r.s.map((l) => l.level)).toEqual([true, true]);
    expect(r.rd(IDC + TOPI)).toBe((40 << 16) | 2);
    expect([0, 1, 2, 3].map(() => r.rd(IDC + CLAIMI))).toEqual([(40 << 16) | 2, (41 << 16) | 2, (3 << 16) | 5, 0]);
    expect(r.s.map((l) => l.level)).toEqual([false, true]);
    expect(r.rd(IDC + 32 + CLAIMI) >>> 16).toBe(50);
    expect(r.m.map((l) => l.rises)).toEqual([0, 0]);
  });

  it('keeps a level pending as long as it lasts, whatever is written', () => {
    add(3, LEVEL1, 0, 1);
    add(4, LEVEL0, 0, 1);
    expect([r.rd(SETIP), r.rd(IN_CLRIP)]).toEqual([1 << 4, 1 << 4]);
    r.d.irqs[4]!.set(true);
    r.wr(SETIPNUM, 3);
    expect(r.rd(SETIP)).toBe(0);
    r.d.irqs[3]!.set(true);
    expect(r.rd(IDC + CLAIMI) >>> 16).toBe(3);
    r.wr(CLRIPNUM, 3);
    r.wr(IN_CLRIP, 8);
    expect([r.rd(SETIP), r.s[0]!.level]).toEqual([8, true]);
    r.d.irqs[3]!.set(false);
    expect([r.rd(SETIP), r.s[0]!.level]).toEqual([0, false]);
  });

  it('sees edges, rising and falling, and none of a detached source', () => {
    add(3, EDGE1, 0, 1);
    add(4, EDGE0, 0, 1);
    add(5, DETACHED, 0, 1);
    for (const i of [3, 4, 5]) r.d.irqs[i]!.set(true);
    expect([r.rd(SETIP), r.rd(IN_CLRIP)]).toEqual([1 << 3, 1 << 3]);
    for (const i of [3, 4, 5]) r.d.irqs[i]!.set(false);
    expect(r.rd(SETIP)).toBe((1 << 3) | (1 << 4));
    r.wr(IN_CLRIP, -1);
    r.wr(LE, 5);
    r.wr(BE, 0x0400_0000);
    expect(r.rd(SETIP)).toBe((1 << 4) | (1 << 5));
  });

  it('holds back what the threshold, enable bits, idelivery and domaincfg say', () => {
    add(3, EDGE1, 0, 5);
    r.d.irqs[3]!.set(true);
    const levels: boolean[] = [];
    const look = (o: number, v: number): void => {
      r.wr(o, v);
      levels.push(r.s[0]!.level);
    };
    look(IDC + ITHRESHOLD, 5);
    look(IDC + ITHRESHOLD, 6);
    look(CLRIE, 8);
    look(SETIE, 8);
    look(CLRIENUM, 3);
    look(SETIENUM, 3);
    look(IDC + IDELIVERY, 0);
    look(IDC + IDELIVERY, 1);
    look(DOMAINCFG, 0);
    expect(levels).toEqual([false, true, false, true, false, true, false, true, false]);
    expect(r.rd(DOMAINCFG)).toBe(0x8000_0000);
  });

  it('makes a spurious interrupt by iforce, until a claim says that there is none', () => {
    r.wr(IDC + IFORCE, 1);
    expect(r.s[0]!.level).toBe(true);
    expect([r.rd(IDC + CLAIMI), r.rd(IDC + IFORCE), r.s[0]!.level]).toEqual([0, 0, false]);
  });

  it('shows a source in one domain only', () => {
    add(3, EDGE1, 0, 5);
    r.d.irqs[3]!.set(true);
    expect([r.root.rd(SETIP), r.root.rd(target(3)), r.root.rd(sourcecfg(3))]).toEqual([0, 0, DELEGATE]);
    r.root.wr(sourcecfg(3), EDGE1);
    expect([r.rd(SETIP), r.rd(SETIE), r.rd(target(3)), r.rd(sourcecfg(3)), r.s[0]!.level]).toEqual([0, 0, 0, 0, false]);
    r.wr(sourcecfg(3), EDGE1);
    expect(r.rd(sourcecfg(3))).toBe(0);
    // The root delivers to M-mode. A source that is active has a priority that is not 0.
    expect(r.root.rd(target(3))).toBe(1);
    r.root.wr(DOMAINCFG, IE);
    r.root.wr(IDC + 32 + IDELIVERY, 1);
    r.root.wr(target(3), hart(1, 0x700));
    r.root.wr(SETIENUM, 3);
    r.root.wr(SETIPNUM, 3);
    expect([r.root.rd(target(3)), r.m.map((l) => l.level)]).toEqual([hart(1, 1), [false, true]]);
  });

  it('takes no reserved mode, no delegation without a child, no other width, no message registers', () => {
    for (const v of [2, 3, DELEGATE, DELEGATE | 6]) {
      r.wr(sourcecfg(3), EDGE1);
      r.wr(sourcecfg(3), v);
      expect(r.rd(sourcecfg(3))).toBe(0);
    }
    r.wr(sourcecfg(97), EDGE1);
    r.wr(target(97), -1);
    r.d.supervisor.write(sourcecfg(3), 2, EDGE1);
    r.wr(GENMSI, 1);
    r.root.wr(0x1bc0, 1);
    expect([r.rd(sourcecfg(97)), r.rd(target(97)), r.rd(sourcecfg(3)), r.d.supervisor.read(0, 2), r.rd(GENMSI), r.root.rd(0x1bc0)]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('keeps its state', () => {
    add(3, LEVEL1, 1, 7);
    r.d.irqs[3]!.set(true);
    const saved: unknown = JSON.parse(JSON.stringify(r.d.save()));
    r.d.reset();
    expect(r.s[1]!.level).toBe(false);
    r.d.restore(saved as ReturnType<Aplic['save']>);
    expect([r.s[1]!.level, r.rd(IDC + 32 + TOPI)]).toEqual([true, (3 << 16) | 7]);
  });
});

describe('APLIC that sends messages', () => {
  let r: Rig;
  beforeEach(() => {
    r = rig(true);
    r.root.wr(0x1bc0, 0x2_4000);
    r.root.wr(0x1bc4, 0x1000);
    r.root.wr(0x1bc8, 0x2_8000);
    r.root.wr(0x1bcc, 0x10_0000);
    for (let i = 1; i <= 96; i++) r.root.wr(sourcecfg(i), DELEGATE);
    r.wr(DOMAINCFG, IE);
  });

  it('sends one for each edge, as target says', () => {
    r.wr(sourcecfg(3), EDGE1);
    r.wr(target(3), hart(1, 0x3f843));
    expect([r.rd(target(3)), r.rd(DOMAINCFG)]).toEqual([hart(1, 0x43), 0x8000_0104]);
    r.d.irqs[3]!.set(true);
    expect([r.sent, r.rd(SETIP)]).toEqual([[], 8]);
    r.wr(SETIENUM, 3);
    r.d.irqs[3]!.set(false);
    r.d.irqs[3]!.set(true);
    // LHXS of the supervisor is 1: a page is left out behind every hart's.
    expect([r.sent, r.rd(SETIP)]).toEqual([[[0x2800_2000, 0x43], [0x2800_2000, 0x43]], 0]);
  });

  it('sends one for a level, and again when asked while it lasts', () => {
    r.wr(sourcecfg(3), LEVEL1);
    r.wr(target(3), 9);
    r.wr(SETIENUM, 3);
    r.d.irqs[3]!.set(true);
    expect(r.sent.length).toBe(1);
    r.wr(LE, 3);
    expect(r.sent.length).toBe(2);
    r.d.irqs[3]!.set(false);
    r.wr(LE, 3);
    expect(r.sent.length).toBe(2);
    // Pending and held back, then gone with the level.
    r.wr(DOMAINCFG, 0);
    r.d.irqs[3]!.set(true);
    expect(r.rd(SETIP)).toBe(8);
    r.d.irqs[3]!.set(false);
    r.wr(DOMAINCFG, IE);
    expect(r.sent.length).toBe(2);
  });

  it('sends at once by genmsi, from the root to M-mode, whatever IE says', () => {
    r.root.wr(GENMSI, hart(1, 0x1805));
    r.wr(GENMSI, hart(0, 6));
    expect([r.sent, r.root.rd(GENMSI)]).toEqual([[[0x2400_1000, 5], [0x2800_0000, 6]], hart(1, 5)]);
  });

  it('computes addresses with groups, and keeps them once they are locked', () => {
    // Hart 5 is number 1 of group 2: LHXW 2, HHXW 3, LHXS 3, HHXS 13 (bit 37), base page 0x10_0000_0000.
    r.root.wr(0x1bc0, 0);
    r.root.wr(0x1bc4, (0x8d33_2010 & ~0xf000) | 0x1000);
    r.root.wr(0x1bc0, 0x77);
    r.root.wr(0x1bc8, 0x77);
    expect([r.root.rd(0x1bc0), r.root.rd(0x1bc4), r.root.rd(0x1bc8)]).toEqual([0, 0x8d33_1010, 0x2_8000]);
    r.root.wr(GENMSI, hart(5, 1));
    expect(r.sent).toEqual([[0x10_0000_0000 * 4096 + 2 * 2 ** 37 + 8 * 4096, 1]]);
  });

  it('has no delivery control', () => {
    r.wr(IDC + IDELIVERY, 1);
    expect([r.rd(IDC + IDELIVERY), r.rd(IDC + CLAIMI)]).toEqual([0, 0]);
  });
});

describe('APLIC', () => {
  it.each([true, false])('survives anything (messages: %s)', (messages) => {
    fuzzDevice(({ line }) => {
      const device = new Aplic({ sources: 40, machine: [line(), line()], supervisor: [line(), line()], msi: messages ? () => {} : null });
      const part = (io: Aplic['machine'], base: number, length: number) => ({ io: { read: (o: number, n: number) => io.read(base + o, n), write: (o: number, n: number, v: number) => io.write(base + o, n, v) }, length });
      const regions = [device.machine, device.supervisor].flatMap((io) => [part(io, 0, 0xc0), part(io, 0x1bc0, 16), part(io, 0x1c00, 0x400), part(io, 0x2000, 8), part(io, 0x3000, 0xc0), part(io, 0x4000, 0x60)]);
      return { device, regions, pokes: [(x) => device.irqs[x % 41]!.set((x & 64) !== 0)] };
    });
  });
});
