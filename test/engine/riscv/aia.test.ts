/** CSRs of a hart with an IMSIC and debug triggers under random use, and rules that hold whatever was written. */
import { describe, expect, it } from 'vitest';
import { Imsic } from '#lib/devices/riscv/imsic.js';
import { RiscvCpu } from '#lib/engine/guest/riscv/cpu.js';
import { Csr, Irq, Mode, Priv } from '#lib/engine/guest/riscv/defs.js';
import { isaExtensions, isaString, riscvHelpers, riscvLifter } from '#lib/engine/guest/riscv/guest.js';
import { Pending, Slot, STATE_BYTES } from '#lib/engine/state.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { randomFrom } from '../../devices/fuzz.js';

const BYTES = 0x1_0000;
const AIA = [Csr.MISELECT, Csr.MIREG, Csr.MTOPEI, Csr.MTOPI, Csr.MVIEN, Csr.MVIP, Csr.SISELECT, Csr.SIREG, Csr.STOPEI, Csr.STOPI];

function hart(imsic: boolean): { cpu: RiscvCpu; machine: Imsic; supervisor: Imsic } {
  const memory = new PhysicalMemory(new ArrayBuffer(BYTES), 0);
  memory.mapRam(0x8000_0000, BYTES, 0);
  const helpers = riscvHelpers();
  const line = (bit: Irq) => ({ set: (on: boolean): void => cpu.setLines(bit, on) });
  const machine = new Imsic({ name: 'm', identities: 63, lines: [line(Irq.MEI)] });
  const supervisor = new Imsic({ name: 's', identities: 63, lines: [line(Irq.SEI)] });
  const cpu: RiscvCpu = new RiscvCpu({
    index: 0, state: { buffer: new ArrayBuffer(STATE_BYTES), address: 0 }, map: memory, isDevice: () => false, clock: { now: () => 0 },
    timer: () => ({ arm: () => undefined, disarm: () => undefined }), time: () => 0, helpers, lifter: riscvLifter(helpers),
    imsic: imsic ? { machine: machine.files[0]!, supervisor: supervisor.files[0]! } : null,
  });
  return { cpu, machine, supervisor };
}

describe('a hart without IMSIC', () => {
  it('has none of the CSRs of AIA, and does not say so', () => {
    const { cpu } = hart(false);
    for (const n of AIA) expect(cpu.csr.read(n, false)).toBe(false);
    expect(isaString(false, [])).not.toMatch(/s[ms]aia/);
    expect(isaString(true, ['v'])).toMatch(/_sdtrig_smaia_ssaia_sstc_/);
    expect(isaExtensions(true, [])).toContain('ssaia');
  });
});

describe('a hart with an IMSIC', () => {
  it('keeps the rules whatever is written to its CSRs', () => {
    const { cpu, machine, supervisor } = hart(true);
    const { csr, V } = cpu;
    const random = randomFrom(5);
    const hot = [...AIA, ...AIA, Csr.MIE, Csr.MIP, Csr.MIDELEG, Csr.SIE, Csr.SIP, Csr.MSTATUS, Csr.SSTATUS, Csr.MEDELEG, Csr.TSELECT, Csr.TDATA1, Csr.TDATA2, Csr.MENVCFG];
    const value = (n: number): number => {
      if (random() % 8 === 0) return -1;
      if (n === (Csr.MISELECT as number) || n === (Csr.SISELECT as number)) return [0x30, 0x31, 0x32, 0x3e, 0x70, 0x72, 0x80, 0xc0, 0xc1, 0x82][random() % 10]!;
      return random() & random();
    };
    const read = (n: Csr): number => {
      expect(csr.read(n, false)).toBe(true);
      return csr.lo;
    };
    for (let i = 0; i < 30_000; i++) {
      const n = random() % 16 === 0 ? random() % 4096 : hot[random() % hot.length]!;
      cpu.priv = [Priv.U, Priv.S, Priv.M, Priv.M][random() % 4]!;
      cpu.updateMode();
      if (csr.read(n, true)) csr.write(n, value(n), random() | 0);
      if (random() % 4 === 0) (random() & 1 ? machine : supervisor).mmio.write(0, 4, random() % 70);
      cpu.updateIntr();
      const [m, s] = [csr.machinePending(), csr.supervisorPending()];
      cpu.priv = Priv.M;
      cpu.updateMode();
      cpu.updateIntr();
      // mtopi and stopi say of what is pending what is taken first; nothing else is taken.
      for (const [topi, pending] of [[read(Csr.MTOPI), m], [read(Csr.STOPI), s]] as const) {
        expect(topi !== 0).toBe(pending !== 0);
        if (topi !== 0) expect((pending >>> (topi >>> 16)) & 1).toBe(1);
        expect(topi & 0xff00).toBe(0);
      }
      expect((V[Slot.PENDING * 2]! & Pending.INTR) !== 0).toBe(m !== 0 && (csr.mstatus & 8) !== 0);
      expect(m & s & ~csr.mvien).toBe(0);
      expect(read(Csr.MTOPEI) >>> 16).toBeLessThan(64);
      // A pending interrupt is external if and only if its file has one for it.
      expect((read(Csr.MIP) & Irq.MEI) !== 0).toBe(machine.files[0]!.read(0x70) && machine.files[0]!.lo === 1 && machine.files[0]!.top() !== 0);
    }
  }, 30_000);

  it('steps only where a trigger on execution or a count may strike', () => {
    const { cpu } = hart(true);
    const steps = (priv: Priv): boolean => {
      cpu.priv = priv;
      cpu.updateMode();
      return (cpu.mode & Mode.STEP) !== 0;
    };
    const set = (tdata1Lo: number, type: number): boolean[] => {
      cpu.csr.write(Csr.TDATA1, tdata1Lo, type << 28);
      return [steps(Priv.U), steps(Priv.S), steps(Priv.M)];
    };
    expect(set(0, 6)).toEqual([false, false, false]);
    expect(set(0x5b, 6)).toEqual([false, false, false]);
    expect(set(0x0c, 6)).toEqual([true, false, false]);
    expect(set((1 << 10) | 0x280, 3)).toEqual([false, true, true]);
    expect(set(0x280, 3)).toEqual([false, false, false]);
  });
});
