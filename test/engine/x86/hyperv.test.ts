import { describe, expect, it } from 'vitest';
import { UsageError } from '#lib/errors.js';
import { CpuModel, Cpuid } from '#lib/engine/guest/x86/cpuid.js';
import { HyperV } from '#lib/engine/guest/x86/hyperv.js';
import { FakeMap, ROM_PAGE } from './sys-util.js';

const HZ = 2_445_406_000;

function setUp(): { map: FakeMap; t: { ns: number; off: number }; resets: number[]; irqs: [number, number][]; auto: Int32Array[]; pass(ns: number): void; read(msr: number, cpu?: number): bigint | null; write(msr: number, v: bigint, cpu?: number): boolean; reset(cpu: number): void } {
  const map = new FakeMap();
  const t = { ns: 5_000_000_000, off: 0 };
  const resets: number[] = [];
  const armed: { at: number; fire: () => void }[] = [];
  const irqs: [number, number][] = [];
  const auto: Int32Array[] = [];
  /** Lets time pass; timers go off on the way. */
  const pass = (ns: number): void => {
    for (const end = t.ns + ns; ; ) {
      const next = armed.reduce((a, b) => (b.at < a.at ? b : a));
      if (next.at > end) {
        t.ns = end;
        return;
      }
      t.ns = Math.max(t.ns, next.at);
      next.at = Infinity;
      next.fire();
    }
  };
  const ticks = (): number => (t.ns * HZ) / 1e9;
  const h = new HyperV({ map, tscKHz: HZ / 1000, apicKHz: 1_000_000, ticks, tsc: () => ticks() + t.off, reset: () => resets.push(1),
    synic: (i) => ({
      timer: (fire) => {
        const n = armed.push({ at: Infinity, fire }) - 1;
        return (delay) => (armed[n]!.at = t.ns + delay);
      },
      interrupt: (vector) => irqs.push([i, vector]),
      autoEoi: (v) => (auto[i] = v),
    }),
  });
  const cpus = [h.cpu(0), h.cpu(1)];
  return {
    map, t, resets, irqs, auto, pass,
    read: (msr, cpu = 0) => {
      const out = { lo: 0, hi: 0 };
      return cpus[cpu]!.readMsr(msr, out) ? (BigInt(out.hi >>> 0) << 32n) | BigInt(out.lo >>> 0) : null;
    },
    write: (msr, v, cpu = 0) => cpus[cpu]!.writeMsr(msr, Number(BigInt.asIntN(32, v)), Number(BigInt.asIntN(32, v >> 32n))),
    reset: (cpu) => cpus[cpu]!.reset!(),
  };
}

describe('Hyper-V', () => {
  it('is asked for by name and takes the place of the leaves of KVM', () => {
    const leaf = (cpu: string, n: number): number[] => {
      const c = new Cpuid(CpuModel.parse(cpu), { apicId: 0, cpus: 1, tscKHz: 1e6, apicKHz: 1e6 });
      c.eval(n, 0, false, 1);
      return [c.a, c.b, c.c, c.d].map((w) => w >>> 0);
    };
    expect(Buffer.from(Uint32Array.from(leaf('max,hv=on', 0x4000_0000).slice(1)).buffer).toString()).toBe('Microsoft Hv');
    expect(leaf('max,hv=on', 0x4000_0000)[0]).toBe(0x4000_0006);
    expect(Buffer.from(Uint32Array.of(leaf('max,+hv', 0x4000_0001)[0]!).buffer).toString()).toBe('Hv#1');
    // What guests insist on: hypercall page and VP index; and the reference TSC.
    expect(leaf('max,hv=on', 0x4000_0003)[0]! & 0x260).toBe(0x260);
    expect(leaf('max,hv=on', 0x4000_0010)).toEqual([0, 0, 0, 0]);
    expect(leaf('max,hv=off', 0x4000_0000)).toEqual(leaf('max', 0x4000_0000));
    expect(leaf('max,hv=on,-hypervisor', 0x4000_0000)).toEqual([0, 0, 0, 0]);
    expect(CpuModel.parse('max,hv=on').features.has('kvmclock')).toBe(false);
    expect(() => CpuModel.parse('max,hv=maybe')).toThrow(UsageError);
  });

  it('has a hypercall page once the guest has said who it is', () => {
    const { map, read, write } = setUp();
    expect(write(0x4000_0001, 0x5001n)).toBe(true);
    expect(read(0x4000_0001)).toBe(0x5000n);
    expect(map.ram8[0x5000]).toBe(0);
    write(0x4000_0000, 0x8100_0001_0000_0000n);
    expect(read(0x4000_0000, 1)).toBe(0x8100_0001_0000_0000n);
    map.codePages[5] = 1;
    write(0x4000_0001, 0x5001n, 1);
    expect(read(0x4000_0001)).toBe(0x5001n);
    // mov eax, 2; xor edx, edx; ret
    expect([...map.ram8.subarray(0x5000, 0x5008)]).toEqual([0xb8, 2, 0, 0, 0, 0x31, 0xd2, 0xc3]);
    expect(map.codeWrites).toEqual([[0x5000, 4096]]);
    write(0x4000_0000, 0n);
    expect(read(0x4000_0001)).toBe(0x5000n);
  });

  it('writes no page where there is no RAM', () => {
    const { map, write } = setUp();
    write(0x4000_0000, 1n);
    const before = Buffer.from(map.ram8);
    for (const at of [0xffff_ffff_ffff_f001n, 0x7fff_0000_0001n, BigInt(ROM_PAGE) | 1n]) {
      write(0x4000_0001, at);
      write(0x4000_0021, at);
    }
    expect(before.equals(Buffer.from(map.ram8))).toBe(true);
  });

  it('tells one time by the counter and by the page, whatever the guest adds to its own counter', () => {
    const { map, t, read, write } = setUp();
    expect(Number(read(0x4000_0020))).toBeCloseTo(50_000_000, -1);
    for (const off of [0, -12_000_000_000, 7_000_000_000_000]) {
      t.off = off;
      expect(write(0x4000_0021, 0x6001n)).toBe(true);
      expect(read(0x4000_0021)).toBe(0x6001n);
      const v = map.ramView;
      expect(v.getUint32(0x6000, true)).toBeGreaterThan(0);
      for (const ns of [t.ns, t.ns + 3_600e9]) {
        t.ns = ns;
        const tsc = BigInt.asUintN(64, BigInt(Math.floor((ns * HZ) / 1e9 + off)));
        // A counter below zero has wrapped; the guest multiplies without a sign.
        if ((ns * HZ) / 1e9 + off < 0) continue;
        const page = ((tsc * v.getBigUint64(0x6008, true)) >> 64n) + v.getBigInt64(0x6010, true);
        expect(Math.abs(Number(page - read(0x4000_0020)!))).toBeLessThanOrEqual(2);
      }
    }
    const sequence = map.ramView.getUint32(0x6000, true);
    write(0x4000_0021, 0x6001n);
    expect(map.ramView.getUint32(0x6000, true)).not.toBe(sequence);
  });

  it('tells frequencies, who the CPU is, and keeps what is per CPU', () => {
    const { read, write, reset, resets } = setUp();
    expect([read(0x4000_0022), read(0x4000_0023)]).toEqual([BigInt(HZ), 1_000_000_000n]);
    expect([read(0x4000_0002), read(0x4000_0002, 1)]).toEqual([0n, 1n]);
    write(0x4000_0073, 0x1_2345_6001n, 1);
    expect([read(0x4000_0073), read(0x4000_0073, 1)]).toEqual([0n, 0x1_2345_6001n]);
    for (const readOnly of [0x4000_0002, 0x4000_0020, 0x4000_0022, 0x4000_0023]) expect(write(readOnly, 1n)).toBe(false);
    for (const none of [0x4000_0010, 0x4000_0070, 0x4000_00a0]) expect([read(none), write(none, 1n)]).toEqual([null, false]);
    expect([write(0x4000_0003, 0n), resets.length, write(0x4000_0003, 1n), resets.length]).toEqual([true, 0, true, 1]);
    write(0x4000_0000, 5n);
    reset(1);
    expect([read(0x4000_0073, 1), read(0x4000_0000)]).toEqual([0n, 5n]);
    reset(0);
    expect(read(0x4000_0000)).toBe(0n);
  });

  describe('synthetic interrupt controller and timers', () => {
    const [SCONTROL, SVERSION, SIMP, EOM, SINT2, CONFIG0, COUNT0, CONFIG1, COUNT1] = [0x4000_0080, 0x4000_0081, 0x4000_0083, 0x4000_0084, 0x4000_0092, 0x4000_00b0, 0x4000_00b1, 0x4000_00b2, 0x4000_00b3];
    const MESSAGE = 0x6000 + 2 * 256;

    it('has registers that start as the specification says', () => {
      const { read, write } = setUp();
      expect(read(SVERSION)).toBe(1n);
      expect(read(SCONTROL)).toBe(0n);
      for (let n = 0; n < 16; n++) expect(read(0x4000_0090 + n)).toBe(0x1_0000n);
      expect(write(SVERSION, 2n)).toBe(false);
      expect(write(SINT2, 0x0fn)).toBe(false);
      expect(write(SINT2, 0x1_000fn)).toBe(true);
      expect(read(0x4000_00a0)).toBe(null);
      expect(read(0x4000_00b8)).toBe(null);
      // Each CPU has its own.
      expect(write(SCONTROL, 1n, 1)).toBe(true);
      expect(read(SCONTROL, 1)).toBe(1n);
      expect(read(SCONTROL, 0)).toBe(0n);
    });

    it('interrupts directly, once, at a time', () => {
      const { t, irqs, pass, read, write } = setUp();
      const now = BigInt(t.ns / 100);
      write(CONFIG0, 0x1000n | (0xe0n << 4n) | 1n, 1);
      write(COUNT0, now + 500n, 1);
      pass(49_000);
      expect(irqs).toEqual([]);
      pass(2_000);
      expect(irqs).toEqual([[1, 0xe0]]);
      expect(read(CONFIG0, 1)! & 1n).toBe(0n);
      pass(1e9);
      expect(irqs.length).toBe(1);
      // A time that has passed: at once. AutoEnable starts it by its count.
      write(CONFIG0, 0x1000n | (0xe1n << 4n) | 8n, 1);
      write(COUNT0, 1n, 1);
      pass(0);
      expect(irqs[1]).toEqual([1, 0xe1]);
      expect(write(CONFIG0, 0x1000n | (3n << 4n) | 1n, 1)).toBe(false);
    });

    it('interrupts periodically until it is stopped', () => {
      const { irqs, pass, read, write } = setUp();
      write(CONFIG1, 0x1000n | (0x80n << 4n) | 2n);
      write(COUNT1, 10_000n);
      pass(5e6);
      expect(irqs).toEqual([]);
      write(CONFIG1, 0x1000n | (0x80n << 4n) | 3n);
      pass(10_500_000);
      expect(irqs.length).toBe(10);
      write(COUNT1, 0n);
      expect(read(CONFIG1)! & 1n).toBe(0n);
      pass(1e8);
      expect(irqs.length).toBe(10);
      // A period of 100 ns does not stop the machine.
      write(COUNT1, 1n);
      write(CONFIG1, 0x1000n | (0x80n << 4n) | 3n);
      pass(1e6);
      expect(irqs.length).toBeLessThan(25);
    });

    it('sends messages, one at a time', () => {
      const { map, t, irqs, pass, write } = setUp();
      write(SCONTROL, 1n);
      write(SIMP, 0x6001n);
      write(SINT2, 0x71n);
      const at = BigInt(t.ns / 100) + 100n;
      write(CONFIG0, (2n << 16n) | 1n);
      write(CONFIG1, (2n << 16n) | 1n);
      write(COUNT0, at);
      write(COUNT1, at + 10n);
      pass(20_000);
      const v = map.ramView;
      expect(irqs).toEqual([[0, 0x71]]);
      expect([v.getUint32(MESSAGE, true), v.getUint8(MESSAGE + 4), v.getUint8(MESSAGE + 5)]).toEqual([0x8000_0010, 24, 1]);
      expect([v.getUint32(MESSAGE + 16, true), v.getBigUint64(MESSAGE + 24, true)]).toEqual([0, at]);
      // The slot is free again, and the guest says so.
      v.setUint32(MESSAGE, 0, true);
      write(EOM, 0n);
      expect(irqs.length).toBe(2);
      expect([v.getUint32(MESSAGE, true), v.getUint8(MESSAGE + 5), v.getUint32(MESSAGE + 16, true)]).toEqual([0x8000_0010, 0, 1]);
      v.setUint32(MESSAGE, 0, true);
      write(EOM, 0n);
      expect(irqs.length).toBe(2);
    });

    it('drops code where a message goes as a device does', () => {
      const { map, t, pass, write } = setUp();
      map.codePages[6] = 1;
      write(SCONTROL, 1n);
      write(SIMP, 0x6001n);
      write(SINT2, 0x71n);
      write(CONFIG0, (2n << 16n) | 1n);
      write(COUNT0, BigInt(t.ns / 100) + 100n);
      pass(20_000);
      expect(map.dmaCodeWrites).toEqual([[MESSAGE, 256]]);
      expect(map.codeWrites).toEqual([]);
    });

    it('writes no message where there is no RAM, and none while it is off', () => {
      const { map, irqs, pass, t, write } = setUp();
      write(SINT2, 0x71n);
      for (const page of [0x6000n, BigInt(ROM_PAGE) | 1n, 0x7fff_ffff_f001n, 0xffff_ffff_ffff_f001n]) {
        write(SCONTROL, 1n);
        write(SIMP, page);
        write(CONFIG0, (2n << 16n) | 1n);
        write(COUNT0, BigInt(Math.floor(t.ns / 100)));
        pass(1000);
      }
      write(SIMP, 0x6001n);
      write(SCONTROL, 0n);
      write(CONFIG0, (2n << 16n) | 1n);
      pass(1000);
      expect(irqs).toEqual([]);
      expect(map.ramView.getUint32(MESSAGE, true)).toBe(0);
    });

    it('tells the local APIC which interrupts end by themselves, and forgets all at a reset', () => {
      const { auto, irqs, pass, read, reset, write } = setUp();
      write(SINT2, 0x2_0071n);
      expect((auto[0]![3]! >>> 0x11) & 1).toBe(1);
      write(COUNT0, 10_000n);
      write(CONFIG0, 0x1000n | (0x80n << 4n) | 3n);
      reset(0);
      expect([...auto[0]!]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
      expect(read(SINT2)).toBe(0x1_0000n);
      expect(read(CONFIG0)).toBe(0n);
      pass(1e9);
      expect(irqs).toEqual([]);
    });
  });
});
