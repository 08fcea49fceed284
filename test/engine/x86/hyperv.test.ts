import { describe, expect, it } from 'vitest';
import { UsageError } from '#lib/errors.js';
import { CpuModel, Cpuid } from '#lib/engine/guest/x86/cpuid.js';
import { HyperV } from '#lib/engine/guest/x86/hyperv.js';
import { FakeMap, ROM_PAGE } from './sys-util.js';

const HZ = 2_445_406_000;

function setUp(): { map: FakeMap; t: { ns: number; off: number }; resets: number[]; read(msr: number, cpu?: number): bigint | null; write(msr: number, v: bigint, cpu?: number): boolean; reset(cpu: number): void } {
  const map = new FakeMap();
  const t = { ns: 5_000_000_000, off: 0 };
  const resets: number[] = [];
  const ticks = (): number => (t.ns * HZ) / 1e9;
  const h = new HyperV({ map, tscKHz: HZ / 1000, apicKHz: 1_000_000, ticks, tsc: () => ticks() + t.off, reset: () => resets.push(1) });
  const cpus = [h.cpu(0), h.cpu(1)];
  return {
    map, t, resets,
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
    for (const none of [0x4000_0010, 0x4000_0070, 0x4000_0080]) expect([read(none), write(none, 1n)]).toEqual([null, false]);
    expect([write(0x4000_0003, 0n), resets.length, write(0x4000_0003, 1n), resets.length]).toEqual([true, 0, true, 1]);
    write(0x4000_0000, 5n);
    reset(1);
    expect([read(0x4000_0073, 1), read(0x4000_0000)]).toEqual([0n, 5n]);
    reset(0);
    expect(read(0x4000_0000)).toBe(0n);
  });
});
