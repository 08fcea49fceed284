import { describe, expect, it } from 'vitest';
import { ManualClock } from '#lib/devices/clock.js';
import { DebugCon } from '#lib/devices/misc/debugcon.js';
import { IsaDebugExit } from '#lib/devices/misc/isa-debug-exit.js';
import { PcTestDev } from '#lib/devices/misc/pc-testdev.js';
import { Port61 } from '#lib/devices/misc/port61.js';
import { Port92 } from '#lib/devices/misc/port92.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

const pit = { setGate2: (): void => {}, out2: true, tone: 440 };

describe('small ISA ports', () => {
  it('port 61h gates the speaker and toggles refresh', () => {
    const clock = new ManualClock();
    const tones: number[] = [];
    const p = new Port61({ clock, pit, onSpeaker: (hz) => tones.push(hz) });
    p.ports.write(0, 1, 0xff);
    expect(p.ports.read(0, 1)).toBe(0x2f);
    clock.advance(15_085);
    expect(p.ports.read(0, 1)).toBe(0x3f);
    p.ports.write(0, 1, 0);
    expect(tones).toEqual([440, 0]);
    fuzzDevice(({ clock }) => {
      const device = new Port61({ clock, pit });
      return { device, regions: [{ io: device.ports, length: 1 }] };
    }, 300);
  });

  it('port 92h switches A20 and resets on a rising edge', () => {
    const a20: boolean[] = [];
    let resets = 0;
    const p = new Port92({ onA20: (on) => a20.push(on), onReset: () => resets++ });
    expect(p.ports.read(0, 1)).toBe(2);
    p.ports.write(0, 1, 0);
    p.ports.write(0, 1, 3);
    p.ports.write(0, 1, 3);
    expect(a20).toEqual([false, true, true]);
    expect(resets).toBe(1);
    fuzzDevice(() => ({ device: p, regions: [{ io: p.ports, length: 1 }] }), 300);
  });

  it('the debug console prints and is there', () => {
    let out = '';
    const d = new DebugCon({ write: (b) => (out += String.fromCharCode(...b)) });
    expect(d.ports.read(0, 1)).toBe(0xe9);
    d.ports.write(0, 1, 65);
    expect(out).toBe('A');
    fuzzDevice(() => ({ device: d, regions: [{ io: d.ports, length: 1 }] }), 300);
  });

  it('isa-debug-exit gives (v << 1) | 1', () => {
    const seen: number[] = [];
    const d = new IsaDebugExit({ onExit: (s) => seen.push(s) });
    d.ports.write(0, 4, 0x10);
    d.ports.write(0, 1, 0);
    expect(seen).toEqual([33, 1]);
    fuzzDevice(() => ({ device: d, regions: [{ io: d.ports, length: 4 }] }), 300);
  });

  it('the test device echoes, drives interrupts and has register memory', () => {
    const irqs = Array.from({ length: 24 }, () => new TestLine());
    const flushed: number[] = [];
    const d = new PcTestDev({ irqs, onFlush: (pa) => flushed.push(pa) });
    d.echo.write(0, 4, 0x12345678);
    expect([d.echo.read(0, 4), d.echo.read(0, 2), d.echo.read(0, 1)]).toEqual([0x12345678, 0x5678, 0x78]);
    d.echo.write(0, 1, 0xff);
    expect(d.echo.read(0, 4)).toBe(0x123456ff);
    d.flush.write(0, 4, 0xfffff000);
    expect(flushed).toEqual([0xfffff000]);
    d.irqPorts.write(9, 1, 1);
    expect(irqs[9].level).toBe(true);
    d.mmio.write(0xfffe, 2, 0xbeef);
    expect(d.mmio.read(0xfffe, 2)).toBe(0xbeef);
    const regions = [
      { io: d.echo, length: 4 },
      { io: d.flush, length: 4 },
      { io: d.irqPorts, length: 24 },
      { io: d.mmio, length: 0x10000 },
    ];
    fuzzDevice(() => ({ device: d, regions }), 300);
  });
});
