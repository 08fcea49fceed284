import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { I8042 } from '#lib/devices/input/i8042.js';
import { KEY_PAUSE, KEY_PRINT, Ps2Keyboard } from '#lib/devices/input/ps2-keyboard.js';
import { Ps2Mouse } from '#lib/devices/input/ps2-mouse.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

function make(clock = new ManualClock()) {
  const irq1 = new TestLine();
  const irq12 = new TestLine();
  const a20: boolean[] = [];
  const resets: number[] = [];
  const leds: number[] = [];
  const keyboard = new Ps2Keyboard({ clock, onLeds: (l) => leds.push(l) });
  const mouse = new Ps2Mouse();
  const kbc = new I8042({ irq1, irq12, keyboard, mouse, onA20: (on) => a20.push(on), onReset: () => resets.push(1) });
  const cmd = (c: number, ...data: number[]): void => {
    kbc.commandPort.write(0, 1, c);
    data.forEach((v) => kbc.dataPort.write(0, 1, v));
  };
  const status = (): number => kbc.commandPort.read(0, 1);
  const drain = (): number[] => {
    const out: number[] = [];
    while (status() & 1 && out.length < 100) out.push(kbc.dataPort.read(0, 1));
    return out;
  };
  const kbd = (...v: number[]): number[] => (v.forEach((b) => kbc.dataPort.write(0, 1, b)), drain());
  const aux = (...v: number[]): number[] => (v.forEach((b) => cmd(0xd4, b)), drain());
  return { kbc, keyboard, mouse, irq1, irq12, a20, resets, leds, clock, cmd, status, drain, kbd, aux };
}

describe('8042', () => {
  it('passes the tests of the Linux i8042 driver', () => {
    const m = make();
    m.cmd(0xaa);
    expect(m.drain()).toEqual([0x55]);
    m.cmd(0x20);
    const [ctr] = m.drain();
    m.cmd(0x60, (ctr | 0x30) & ~3);
    // AUX loop
    m.cmd(0xd3, 0x5a);
    expect(m.status() & 0x21).toBe(0x21);
    expect(m.drain()).toEqual([0x5a]);
    m.cmd(0xa9);
    expect(m.drain()).toEqual([0]);
    m.cmd(0xa8);
    m.cmd(0x20);
    expect(m.drain()[0] & 0x20).toBe(0);
    m.cmd(0xa7);
    m.cmd(0x20);
    expect(m.drain()[0] & 0x20).toBe(0x20);
    // AUX interrupt delivery
    m.cmd(0x60, ctr | 2);
    m.cmd(0xd3, 0xa5);
    expect(m.irq12.level).toBe(true);
    m.drain();
    expect(m.irq12.level).toBe(false);
    expect(m.irq1.level).toBe(false);
  });

  it('drives A20 and reset', () => {
    const m = make();
    m.cmd(0xd1, 0xdd);
    m.cmd(0xdf);
    expect(m.a20).toEqual([false, true]);
    m.cmd(0xd0);
    expect(m.drain()[0] & 3).toBe(3);
    m.cmd(0xff);
    expect(m.resets.length).toBe(0);
    m.cmd(0xfe);
    m.cmd(0xd1, 0x02);
    expect(m.resets.length).toBe(2);
  });

  it('translates, with one interrupt for each byte', () => {
    const m = make();
    m.keyboard.key(0x1e, true);
    m.keyboard.key(0x1e, false);
    m.keyboard.key(0xe04b, true);
    m.keyboard.key(0xe04b, false);
    expect(m.drain()).toEqual([0x1e, 0x9e, 0xe0, 0x4b, 0xe0, 0xcb]);
    expect(m.irq1.rises).toBe(6);
    m.keyboard.key(KEY_PAUSE, true);
    expect(m.drain()).toEqual([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    m.keyboard.key(KEY_PRINT, true);
    m.keyboard.key(KEY_PRINT, false);
    expect(m.drain()).toEqual([0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa]);
    for (let k = 1; k <= 0x58; k++) {
      if (k === 0x54 || k === 0x55) continue;
      m.keyboard.key(k, true);
      m.keyboard.key(k, false);
      expect(m.drain()).toEqual([k, k | 0x80]);
    }
  });

  it('holds the keyboard back while disabled', () => {
    const m = make();
    m.cmd(0xad);
    m.keyboard.key(0x1e, true);
    expect(m.status() & 1).toBe(0);
    m.cmd(0xae);
    expect(m.drain()).toEqual([0x1e]);
  });

  it('survives fuzzing', () => {
    for (const which of [0, 1, 2] as const) {
      fuzzDevice(({ clock }) => {
        const m = make(clock);
        const device = [m.kbc, m.keyboard, m.mouse][which];
        return {
          device,
          regions: [{ io: m.kbc.dataPort, length: 1 }, { io: m.kbc.commandPort, length: 1 }],
          pokes: [
            (r) => m.keyboard.key(r & 0xe17f, (r & 0x10000) !== 0),
            (r) => m.mouse.move((r & 1023) - 512, ((r >> 10) & 1023) - 512, (r >> 20) & 7),
            (r) => m.mouse.setButtons(r),
          ],
        };
      });
    }
  });
});

describe('PS/2 keyboard', () => {
  it('answers as atkbd expects', () => {
    const m = make();
    m.cmd(0x60, 0x01);
    expect(m.kbd(0xff)).toEqual([0xfa, 0xaa]);
    expect(m.kbd(0xf2)).toEqual([0xfa, 0xab, 0x83]);
    expect(m.kbd(0xed, 0x07)).toEqual([0xfa, 0xfa]);
    expect(m.leds.at(-1)).toBe(7);
    expect(m.kbd(0xee)).toEqual([0xee]);
    expect(m.kbd(0xfe)).toEqual([0xee]);
    expect(m.kbd(0x12)).toEqual([0xfe]);
    expect(m.kbd(0xf5)).toEqual([0xfa]);
    m.keyboard.key(0x1e, true);
    expect(m.drain()).toEqual([]);
    expect(m.kbd(0xf4)).toEqual([0xfa]);
    m.keyboard.key(0x1e, false);
    expect(m.drain()).toEqual([0xf0, 0x1c]);
  });

  it('has sets 1 and 3', () => {
    const m = make();
    m.cmd(0x60, 0x01);
    expect(m.kbd(0xf0, 0)).toEqual([0xfa, 0xfa, 2]);
    expect(m.kbd(0xf0, 1)).toEqual([0xfa, 0xfa]);
    m.keyboard.key(0xe01d, true);
    m.keyboard.key(0xe01d, false);
    expect(m.drain()).toEqual([0xe0, 0x1d, 0xe0, 0x9d]);
    m.kbd(0xf0, 3);
    m.kbd(0xf8);
    m.keyboard.key(0xe01d, true);
    m.keyboard.key(0xe01d, false);
    expect(m.drain()).toEqual([0x58, 0xf0, 0x58]);
    expect(m.kbd(0xfd, 0x1c, 0xf4)).toEqual([0xfa, 0xfa, 0xfa]);
    m.keyboard.key(0x1e, true);
    m.keyboard.key(0x1e, false);
    expect(m.drain()).toEqual([0x1c]);
  });

  it('repeats a held key', () => {
    const m = make();
    m.keyboard.key(0x1e, true);
    m.keyboard.key(0x1e, true);
    expect(m.drain()).toEqual([0x1e]);
    m.clock.advance(499e6);
    expect(m.drain()).toEqual([]);
    m.clock.advance(2e6);
    expect(m.drain()).toEqual([0x1e]);
    let n = 0;
    for (let i = 0; i < 100; i++) {
      m.clock.advance(10e6);
      n += m.drain().length;
    }
    expect(n).toBe(10);
    m.keyboard.key(0x1e, false);
    expect(m.drain()).toEqual([0x9e]);
    m.clock.advance(2e9);
    expect(m.drain()).toEqual([]);
  });
});

describe('PS/2 mouse', () => {
  it('is found by psmouse and becomes a wheel mouse', () => {
    const m = make();
    expect(m.aux(0xff)).toEqual([0xfa, 0xaa, 0x00]);
    expect(m.aux(0xf2)).toEqual([0xfa, 0]);
    for (const r of [200, 100, 80]) expect(m.aux(0xf3, r)).toEqual([0xfa, 0xfa]);
    expect(m.aux(0xf2)).toEqual([0xfa, 3]);
    for (const r of [200, 200, 80]) m.aux(0xf3, r);
    expect(m.aux(0xf2)).toEqual([0xfa, 4]);
    expect(m.aux(0xe9)).toEqual([0xfa, 0, 2, 80]);
  });

  it('reports movement, buttons and wheel', () => {
    const m = make();
    m.cmd(0x60, 0x43);
    for (const r of [200, 100, 80]) m.aux(0xf3, r);
    expect(m.aux(0xf4)).toEqual([0xfa]);
    m.mouse.move(5, -3, 1);
    expect(m.status() & 0x20).toBe(0x20);
    expect(m.irq12.level).toBe(true);
    expect(m.drain()).toEqual([0x08, 5, 3, 1]);
    m.mouse.move(-300, 0);
    expect(m.drain()).toEqual([0x18, 1, 0, 0, 0x18, 0xd3, 0, 0]);
    m.mouse.setButtons(5);
    expect(m.drain()).toEqual([0x0d, 0, 0, 0]);
    expect(m.aux(0xeb)).toEqual([0xfa, 0x0d, 0, 0, 0]);
    m.aux(0xf5);
    m.mouse.move(1, 1);
    expect(m.drain()).toEqual([]);
  });
});
