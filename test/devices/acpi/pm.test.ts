import { describe, expect, it } from 'vitest';
import { AcpiPm, PM_TIMER_HZ } from '#lib/devices/acpi/pm.js';
import { ManualClock } from '#lib/devices/clock.js';
import { TestLine, fuzzDevice } from '../fuzz.js';

function make(more: { timerBits?: 24 | 32; s5Type?: number } = {}, clock = new ManualClock()) {
  const sci = new TestLine();
  const log: string[] = [];
  const pm = new AcpiPm({ clock, sci, onPowerOff: () => log.push('off'), onReset: () => log.push('reset'), onSmi: (v) => log.push(`smi ${v}`), ...more });
  return { pm, sci, log, clock };
}

describe('ACPI fixed hardware', () => {
  it('counts 3.579545 MHz', () => {
    const { pm, clock } = make();
    clock.advance(1e9);
    expect(pm.pm.read(8, 4)).toBe(PM_TIMER_HZ);
    clock.jump(10_000e9);
    expect(pm.pm.read(8, 4)).toBe((PM_TIMER_HZ * 10_001) % 2 ** 32);
    const small = make({ timerBits: 24 });
    small.clock.jump(100e9);
    expect(small.pm.pm.read(8, 4)).toBe((PM_TIMER_HZ * 100) % 2 ** 24);
  });

  it('goes to ACPI mode by the SMI command port', () => {
    const { pm, log } = make();
    expect(pm.pm.read(4, 2)).toBe(0);
    pm.pm.write(4, 2, 1);
    expect(pm.pm.read(4, 2)).toBe(0);
    pm.smi.write(0, 1, 0xf1);
    expect(pm.pm.read(4, 2)).toBe(1);
    pm.smi.write(0, 1, 0xf0);
    expect(pm.acpiMode).toBe(false);
    pm.smi.write(0, 1, 5);
    expect(log).toEqual(['smi 5']);
  });

  it('sleeps in S3 until an enabled event or the power button', () => {
    const log: string[] = [];
    const pm = new AcpiPm({
      clock: new ManualClock(), sci: new TestLine(), s3Type: 1, onPowerOff: () => log.push('off'), onReset: () => log.push('reset'),
      onSuspend: () => log.push('suspend'), onWake: () => log.push('wake'),
    });
    pm.pm.write(4, 2, 0x2400);
    pm.setRtcAlarm(true);
    expect(log).toEqual(['suspend']);
    pm.pm.write(2, 2, 0x400);
    pm.setRtcAlarm(false);
    pm.setRtcAlarm(true);
    pm.setRtcAlarm(false);
    pm.setRtcAlarm(true);
    expect(log).toEqual(['suspend', 'wake']);
    pm.pm.write(4, 2, 0x2400);
    pm.powerButton();
    expect(log).toEqual(['suspend', 'wake', 'suspend', 'wake']);
  });

  it('powers off and resets', () => {
    const { pm, log } = make({ s5Type: 7 });
    pm.pm.write(4, 2, 0x2001);
    pm.pm.write(4, 2, 0x3c01);
    pm.resetPort.write(0, 1, 2);
    pm.resetPort.write(0, 1, 6);
    expect(log).toEqual(['off', 'reset']);
  });

  it('signals the power button and GPEs by SCI', () => {
    const { pm, sci } = make();
    pm.enableAcpi();
    pm.powerButton();
    expect(sci.level).toBe(false);
    pm.pm.write(2, 2, 0x0100);
    expect(sci.level).toBe(true);
    pm.pm.write(0, 2, 0x0100);
    expect(sci.level).toBe(false);
    pm.gpe0.write(2, 1, 2);
    pm.raiseGpe(1);
    expect(sci.level).toBe(true);
    expect(pm.gpe0.read(0, 2)).toBe(2);
    pm.gpe0.write(0, 1, 2);
    expect(sci.level).toBe(false);
  });

  it('sets TMR_STS when the top bit changes', () => {
    const { pm, sci, clock } = make({ timerBits: 24 });
    pm.enableAcpi();
    pm.pm.write(2, 2, 1);
    clock.advance(2.3e9);
    expect(sci.level).toBe(false);
    clock.advance(0.1e9);
    expect(sci.level).toBe(true);
    pm.pm.write(0, 2, 1);
    expect(sci.level).toBe(false);
    clock.advance(2.4e9);
    expect(sci.level).toBe(true);
  });

  it('survives fuzzing', () => {
    fuzzDevice(({ clock }) => {
      const { pm } = make({ timerBits: 24 }, clock);
      const regions = [
        { io: pm.pm, length: 12 },
        { io: pm.gpe0, length: 4 },
        { io: pm.smi, length: 2 },
        { io: pm.resetPort, length: 1 },
      ];
      return { device: pm, regions, pokes: [() => pm.powerButton(), (r) => pm.raiseGpe(r & 31), (r) => pm.setRtcAlarm((r & 1) !== 0)] };
    });
  });
});
