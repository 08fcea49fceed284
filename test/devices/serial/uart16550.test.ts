import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { Uart16550 } from '#lib/devices/serial/uart16550.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

const enum R { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR }

function make(): { u: Uart16550; irq: TestLine; clock: ManualClock; sent: () => string; rd: (r: R) => number; wr: (r: R, v: number) => void } {
  const clock = new ManualClock();
  const irq = new TestLine();
  let out = '';
  const u = new Uart16550({ name: 'uart@3f8', clock, irq, backend: { write: (d) => void (out += String.fromCharCode(...d)) } });
  return { u, irq, clock, sent: () => out, rd: (r) => u.ports.read(r, 1), wr: (r, v) => u.ports.write(r, 1, v) };
}
const text = (s: string): Uint8Array => Uint8Array.from(s, (c) => c.charCodeAt(0));

describe('16550A', () => {
  it('is recognised by the 8250 driver: IER, loopback, FIFO bits, FIFO size', () => {
    const { rd, wr } = make();
    wr(R.IER, 0);
    expect(rd(R.IER)).toBe(0);
    wr(R.IER, 0x0f);
    expect(rd(R.IER)).toBe(0x0f);
    wr(R.IER, 0x40);
    expect(rd(R.IER)).toBe(0);
    wr(R.MCR, 0x1a);
    expect(rd(R.MSR) & 0xf0).toBe(0x90);
    wr(R.IIR, 1);
    expect(rd(R.IIR) >> 6).toBe(3);
    wr(R.IIR, 0x21);
    expect(rd(R.IIR) & 0x20).toBe(0);
    wr(R.IIR, 7);
    wr(R.MCR, 0x10);
    for (let i = 0; i < 256; i++) wr(R.DATA, i);
    let n = 0;
    while (rd(R.LSR) & 1 && n < 256) expect(rd(R.DATA)).toBe(n++);
    expect(n).toBe(16);
    wr(R.SCR, 0x5a);
    expect(rd(R.SCR)).toBe(0x5a);
    wr(R.LCR, 0x83);
    wr(R.DATA, 1);
    wr(R.IER, 2);
    expect(rd(R.DATA) | (rd(R.IER) << 8)).toBe(0x201);
  });

  it('sends, and interrupts for more after a while', () => {
    const { rd, wr, irq, clock, sent } = make();
    wr(R.IIR, 1);
    wr(R.MCR, 8);
    wr(R.IER, 2);
    expect(irq.level).toBe(true);
    expect(rd(R.IIR) & 0x0f).toBe(2);
    expect(irq.level).toBe(false);
    for (const c of 'hello') wr(R.DATA, c.charCodeAt(0));
    expect(sent()).toBe('hello');
    expect(rd(R.LSR)).toBe(0x60);
    expect(rd(R.IIR) & 1).toBe(1);
    clock.advance(30_000);
    expect(irq.level).toBe(true);
    wr(R.IER, 0);
    wr(R.IER, 2);
    expect(rd(R.IIR) & 0x0f).toBe(2);
  });

  it('receives with trigger level, timeout and a bounded queue', () => {
    const { u, rd, wr, irq, clock } = make();
    wr(R.IIR, 0x81); // trigger 8
    wr(R.MCR, 8);
    wr(R.IER, 1);
    wr(R.LCR, 3);
    u.receive(text('abc'));
    expect(irq.level).toBe(false);
    clock.advance(10_000_000);
    expect(rd(R.IIR)).toBe(0xcc);
    expect(rd(R.DATA)).toBe(97);
    expect(irq.level).toBe(false);
    u.receive(text('0123456789'));
    expect(rd(R.IIR)).toBe(0xc4);
    expect(u.receive(new Uint8Array(10_000))).toBeLessThan(5000);
    let n = 0;
    while (rd(R.LSR) & 1) {
      rd(R.DATA);
      n++;
    }
    expect(n).toBeGreaterThan(4096);
  });

  it('reports break, overrun and modem changes by priority', () => {
    const { u, rd, wr, irq } = make();
    wr(R.MCR, 8);
    wr(R.IER, 0x0d);
    u.setModemInputs(false, true, true, false);
    expect(rd(R.IIR)).toBe(0);
    expect(rd(R.MSR)).toBe(0xa1);
    expect(irq.level).toBe(false);
    u.receiveBreak();
    expect(rd(R.IIR)).toBe(6);
    expect(rd(R.LSR)).toBe(0x71);
    expect(rd(R.LSR)).toBe(0x61);
    expect(rd(R.IIR)).toBe(4);
    expect(rd(R.DATA)).toBe(0);
    wr(R.MCR, 0x18);
    wr(R.DATA, 1);
    wr(R.DATA, 2);
    expect(irq.level).toBe(false);
    expect(rd(R.LSR) & 3).toBe(3);
    expect(rd(R.DATA)).toBe(2);
  });

  it('survives fuzzing', () => {
    fuzzDevice(({ clock, line }) => {
      const u = new Uart16550({ name: 'u', clock, irq: line(), backend: { write: () => {} } });
      const pokes = [(r: number): void => void u.receive(new Uint8Array(r % 40)), (): void => u.receiveBreak()];
      return { device: u, regions: [{ io: u.ports, length: 8 }], pokes };
    });
  });
});
