import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { ApicBus } from '#lib/devices/irq/apic-bus.js';
import { IoApic } from '#lib/devices/irq/ioapic.js';
import { LocalApic } from '#lib/devices/irq/lapic.js';
import { LapicReg as R } from '#lib/devices/irq/lapic.spec.js';
import { fuzzDevice } from '../fuzz.js';

const KHZ = 2_000_000;

class Cpu {
  events: string[] = [];
  onIntrChange = (): void => {};
  onNmi = (): void => void this.events.push('nmi');
  onInit = (): void => void this.events.push('init');
  onSipi = (v: number): void => void this.events.push(`sipi ${v}`);
  onSmi = (): void => void this.events.push('smi');
}

function machine(n = 2, clock = new ManualClock(1000)): { bus: ApicBus; cpus: Cpu[]; l: LocalApic[]; clock: ManualClock } {
  const bus = new ApicBus();
  const cpus = Array.from({ length: n }, () => new Cpu());
  const tsc = {
    khz: KHZ,
    read: (out: { lo: number; hi: number }): void => {
      const t = clock.now() * (KHZ / 1e6);
      out.lo = t % 2 ** 32;
      out.hi = Math.floor(t / 2 ** 32);
    },
  };
  const l = cpus.map((cpu, id) => new LocalApic({ id, bsp: id === 0, clock, bus, cpu, tsc, extInt: { acknowledge: () => 0x30 } }));
  return { bus, cpus, l, clock };
}

const wr = (l: LocalApic, r: number, v: number): void => l.mmio.write(r, 4, v);
const rd = (l: LocalApic, r: number): number => l.mmio.read(r, 4);
const on = (l: LocalApic): void => wr(l, R.SVR, 0x1ff);

describe('local APIC', () => {
  it('orders interrupts by priority, TPR and CR8', () => {
    const { bus, l } = machine(1);
    on(l[0]);
    bus.msi(0xfee00000, 0x41);
    bus.msi(0xfee00000, 0x62);
    expect(l[0].pending()).toBe(true);
    expect(l[0].acknowledge()).toBe(0x62);
    expect(l[0].pending()).toBe(false);
    expect(rd(l[0], R.PPR)).toBe(0x60);
    wr(l[0], R.EOI, 0);
    l[0].setCr8(4);
    expect(l[0].pending()).toBe(false);
    expect(l[0].acknowledge()).toBe(-1);
    wr(l[0], R.TPR, 0x3f);
    expect(l[0].getCr8()).toBe(3);
    expect(l[0].acknowledge()).toBe(0x41);
  });

  it('drops fixed interrupts while software-disabled, and masks the LVTs', () => {
    const { bus, l } = machine(1);
    expect(bus.msi(0xfee00000, 0x41)).toBe(false);
    wr(l[0], R.LVT_ERROR, 0x50);
    expect(rd(l[0], R.LVT_ERROR)).toBe(0x10050);
  });

  it('sends INIT and SIPI, NMI, and by logical destination', () => {
    const { cpus, l } = machine(3);
    l.forEach(on);
    wr(l[0], R.ICR_HI, 1 << 24);
    wr(l[0], R.ICR_LO, 0x4500);
    on(l[1]);
    wr(l[0], R.ICR_LO, 0x8500); // de-assert: nothing
    wr(l[0], R.ICR_LO, 0x4608);
    expect(cpus.map((c) => c.events)).toEqual([[], ['init', 'sipi 8'], []]);
    wr(l[0], R.ICR_LO, 0xc0400); // all but self
    expect(cpus.map((c) => c.events.length)).toEqual([0, 3, 1]);
    l.forEach((x, i) => wr(x, R.LDR, 1 << (24 + i)));
    wr(l[0], R.ICR_HI, 6 << 24);
    wr(l[0], R.ICR_LO, 0x0850);
    expect(l.map((x) => x.pending())).toEqual([false, true, true]);
    wr(l[0], R.ICR_LO, 0x40051); // self
    expect(l[0].acknowledge()).toBe(0x51);
    l.forEach((x, i) => (wr(x, R.DFR, 0), wr(x, R.LDR, (0x10 | (1 << i)) << 24)));
    wr(l[0], R.ICR_HI, 0x14 << 24);
    wr(l[0], R.ICR_LO, 0x0860);
    expect(l[2].acknowledge()).toBe(0x60);
  });

  it('gives lowest-priority interrupts to the idlest CPU, equals in turn', () => {
    const { bus, l } = machine(2);
    l.forEach((x, i) => (on(x), wr(x, R.LDR, 1 << (24 + i))));
    wr(l[0], R.TPR, 0x20);
    bus.send(3, true, false, 1, 0x70, false);
    expect(l.map((x) => x.pending())).toEqual([false, true]);
    bus.send(3, true, false, 1, 0x70, false);
    expect(l.map((x) => x.pending())).toEqual([true, true]);
  });

  it('reports errors', () => {
    const { l } = machine(1);
    on(l[0]);
    wr(l[0], R.LVT_ERROR, 0xe0);
    wr(l[0], R.ICR_LO, 0x40005);
    expect(rd(l[0], R.ESR)).toBe(0);
    wr(l[0], R.ESR, 0);
    expect(rd(l[0], R.ESR)).toBe(0x20);
    expect(l[0].acknowledge()).toBe(0xe0);
    rd(l[0], 0x40);
    wr(l[0], R.ESR, 0);
    expect(rd(l[0], R.ESR)).toBe(0x80);
    wr(l[0], R.LVT_ERROR, 3); // its own vector illegal: no recursion
    wr(l[0], R.ICR_LO, 0x40005);
  });

  it('counts one-shot and periodic', () => {
    const { l, clock } = machine(1);
    on(l[0]);
    wr(l[0], R.TIMER_DIVIDE, 3); // by 16
    wr(l[0], R.LVT_TIMER, 0x40);
    wr(l[0], R.TIMER_INITIAL, 10_000);
    clock.advance(16 * 4000);
    expect(rd(l[0], R.TIMER_CURRENT)).toBe(6000);
    expect(l[0].pending()).toBe(false);
    clock.advance(16 * 6000);
    expect(rd(l[0], R.TIMER_CURRENT)).toBe(0);
    expect(l[0].acknowledge()).toBe(0x40);
    wr(l[0], R.EOI, 0);
    clock.advance(1e9);
    expect(l[0].pending()).toBe(false);
    wr(l[0], R.LVT_TIMER, 0x20041);
    wr(l[0], R.TIMER_DIVIDE, 0xb); // by 1
    wr(l[0], R.TIMER_INITIAL, 100_000);
    let n = 0;
    for (let i = 0; i < 100; i++) {
      clock.advance(10_000);
      if (l[0].pending()) n += l[0].acknowledge() === 0x41 ? 1 : 100;
      wr(l[0], R.EOI, 0);
    }
    expect(n).toBe(10);
    wr(l[0], R.TIMER_INITIAL, 1);
    clock.advance(1e6); // an absurd period must not hang
    expect(l[0].pending()).toBe(true);
    wr(l[0], R.TIMER_INITIAL, 0);
    expect(clock.nextDeadline()).toBe(Infinity);
  });

  it('does not bring back a count that ran out while masked', () => {
    const { l, clock } = machine(1);
    on(l[0]);
    wr(l[0], R.TIMER_DIVIDE, 0xb);
    wr(l[0], R.TIMER_INITIAL, 1000);
    clock.advance(2000);
    wr(l[0], R.LVT_TIMER, 0x40);
    clock.advance(1e6);
    expect(l[0].pending()).toBe(false);
  });

  it('goes on with the present count when periodic becomes one-shot', () => {
    const { l, clock } = machine(1);
    on(l[0]);
    wr(l[0], R.TIMER_DIVIDE, 0xb);
    wr(l[0], R.LVT_TIMER, 0x20040);
    wr(l[0], R.TIMER_INITIAL, 100_000);
    clock.advance(250_000);
    expect(l[0].acknowledge()).toBe(0x40);
    wr(l[0], R.EOI, 0);
    wr(l[0], R.LVT_TIMER, 0x41);
    expect(l[0].pending()).toBe(false);
    expect(rd(l[0], R.TIMER_CURRENT)).toBe(50_000);
    clock.advance(50_000);
    expect(l[0].acknowledge()).toBe(0x41);
    wr(l[0], R.EOI, 0);
    clock.advance(1e9);
    expect(l[0].pending()).toBe(false);
  });

  it('fires at the TSC deadline', () => {
    const { l, clock } = machine(1);
    const m = { lo: 0, hi: 0 };
    on(l[0]);
    expect(l[0].writeMsr(0x6e0, 5, 0)).toBe(true); // ignored in another mode
    wr(l[0], R.LVT_TIMER, 0x40042);
    expect(clock.nextDeadline()).toBe(Infinity);
    const ticks = clock.now() * 2 + 2000;
    l[0].writeMsr(0x6e0, ticks, 0);
    l[0].readMsr(0x6e0, m);
    expect(m.lo).toBe(ticks);
    clock.advance(999);
    expect(l[0].pending()).toBe(false);
    clock.advance(1);
    expect(l[0].acknowledge()).toBe(0x42);
    l[0].readMsr(0x6e0, m);
    expect(m).toEqual({ lo: 0, hi: 0 });
    wr(l[0], R.EOI, 0);
    l[0].writeMsr(0x6e0, 1, 0); // long past
    expect(l[0].acknowledge()).toBe(0x42);
  });

  it('follows the x2APIC transition rules', () => {
    const { l, bus } = machine(2);
    const m = { lo: 0, hi: 0 };
    expect(l[1].readMsr(0x1b, m)).toBe(true);
    expect(m.lo >>> 0).toBe(0xfee00800);
    expect(l[1].readMsr(0x802, m)).toBe(false);
    expect(l[1].writeMsr(0x1b, 0xfee00400, 0)).toBe(false);
    expect(l[1].writeMsr(0x1b, 0xfee00c00, 0)).toBe(true);
    expect(l[1].writeMsr(0x1b, 0xfee00800, 0)).toBe(false);
    expect(l[1].readMsr(0x802, m)).toBe(true);
    expect(m.lo).toBe(1);
    l[1].readMsr(0x80d, m);
    expect(m.lo).toBe(2);
    expect(l[1].readMsr(0x80e, m)).toBe(false);
    expect(l[1].writeMsr(0x80f, 0x1ff, 0)).toBe(true);
    expect(l[1].writeMsr(0x80f, 0x80000000, 0)).toBe(false);
    expect(l[1].writeMsr(0x80b, 1, 0)).toBe(false);
    expect(l[1].writeMsr(0x83f, 0x55, 0)).toBe(true);
    expect(l[1].acknowledge()).toBe(0x55);
    expect(l[1].writeMsr(0x80b, 0, 0)).toBe(true);
    expect(l[1].writeMsr(0x830, 0x56, 1)).toBe(true);
    expect(l[1].acknowledge()).toBe(0x56);
    expect(bus.msi(0xfee01000, 0x77)).toBe(true);
    expect(l[1].acknowledge()).toBe(0x77);
    expect(l[1].mmio.read(0x30, 4)).toBe(0xffff_ffff);
    expect(l[1].writeMsr(0x1b, 0xfee00000, 0)).toBe(true);
    expect(l[1].writeMsr(0x1b, 0xfee00c00, 0)).toBe(false);
    expect(l[1].writeMsr(0x1b, 0xfee00801, 0)).toBe(false);
  });

  it('passes the 8259A through LINT0 and NMI through LINT1', () => {
    const { l, cpus } = machine(2);
    l[0].lint0.set(true);
    l[1].lint0.set(true);
    expect(l.map((x) => x.pending())).toEqual([true, false]);
    expect(l[0].acknowledge()).toBe(0x30);
    l[0].lint0.set(false);
    expect(l[0].pending()).toBe(false);
    on(l[0]);
    wr(l[0], R.LVT_LINT1, 0x400);
    l[0].lint1.set(true);
    l[0].lint1.set(true);
    expect(cpus[0].events).toEqual(['nmi']);
    wr(l[0], R.LVT_LINT0, 0x8090); // level, fixed
    l[0].lint0.set(true);
    expect(l[0].acknowledge()).toBe(0x90);
    expect(rd(l[0], R.LVT_LINT0)).toBe(0xc090);
    wr(l[0], R.EOI, 0);
    expect(l[0].pending()).toBe(true);
  });

  it('survives fuzzing, with an I/O APIC beside it', () => {
    fuzzDevice(({ clock }) => {
      const { l, bus } = machine(2, clock);
      const io = new IoApic({ bus });
      l.forEach(on);
      const msr: { io: { read: () => number; write: (o: number, s: number, v: number) => void }; length: number } = {
        io: { read: () => 0, write: (o, _s, v) => void l[0].writeMsr(o === 0x40 ? 0x1b : o === 0x41 ? 0x6e0 : 0x800 + o, v, v & 3) },
        length: 0x42,
      };
      const pokes = [
        (r: number): void => void l[0].accept(r & 7, (r >> 3) & 255, (r & 0x1000) !== 0),
        (r: number): void => io.setPin(r % 24, (r & 32) !== 0),
        (): void => void l[0].acknowledge(),
        (r: number): void => l[0].lint0.set((r & 1) !== 0),
      ];
      return { device: l[0], regions: [{ io: l[0].mmio, length: 0x400 }, { io: io.mmio, length: 0x44 }, msr], pokes };
    });
  });
});

describe('82093AA', () => {
  const reg = (io: IoApic, r: number, v?: number): number => {
    io.mmio.write(0, 4, r);
    if (v !== undefined) io.mmio.write(0x10, 4, v);
    return io.mmio.read(0x10, 4);
  };

  it('identifies itself', () => {
    const io = new IoApic({ bus: new ApicBus() });
    expect(reg(io, 1)).toBe(0x00170020);
    expect(reg(io, 0, 0x02000000)).toBe(0x02000000);
    expect(reg(io, 0x10)).toBe(0x10000);
    expect(reg(io, 0xff)).toBe(0xffffffff);
  });

  it('sends edges, and holds level interrupts until EOI', () => {
    const { l, bus } = machine(1);
    const io = new IoApic({ bus });
    on(l[0]);
    reg(io, 0x12, 0x31);
    io.setPin(1, true);
    expect(l[0].acknowledge()).toBe(0x31);
    wr(l[0], R.EOI, 0);
    expect(l[0].pending()).toBe(false);
    io.setPin(9, true);
    reg(io, 0x22, 0x8039);
    expect(reg(io, 0x22)).toBe(0xc039);
    expect(l[0].acknowledge()).toBe(0x39);
    expect(rd(l[0], R.TMR + 0x10)).toBe(1 << (0x39 - 32));
    wr(l[0], R.EOI, 0);
    expect(l[0].pending()).toBe(true);
    io.setPin(9, false);
    l[0].acknowledge();
    wr(l[0], R.EOI, 0);
    expect(l[0].pending()).toBe(false);
    expect(reg(io, 0x22)).toBe(0x8039);
    io.setPin(9, true);
    io.setPin(9, false);
    io.mmio.write(0x40, 4, 0x39);
    expect(reg(io, 0x22)).toBe(0x8039);
  });

  it('loses edges while masked and keeps levels', () => {
    const { l, bus } = machine(1);
    const io = new IoApic({ bus });
    on(l[0]);
    reg(io, 0x12, 0x10031);
    io.setPin(1, true);
    reg(io, 0x12, 0x31);
    expect(l[0].pending()).toBe(false);
    reg(io, 0x14, 0x18032);
    io.setPin(2, true);
    reg(io, 0x14, 0x8032);
    expect(l[0].pending()).toBe(true);
  });

  it('survives fuzzing', () => {
    fuzzDevice(({ clock }) => {
      const { bus, l } = machine(2, clock);
      l.forEach(on);
      const io = new IoApic({ bus });
      return {
        device: io,
        regions: [{ io: io.mmio, length: 0x50 }],
        pokes: [(r) => io.setPin(r % 24, (r & 32) !== 0), (r) => bus.eoi(r & 255)],
      };
    });
  });
});
