import { describe, expect, it } from 'vitest';
import { UsageError } from '#lib/errors.js';
import { NONE, Pending, STATE_BYTES, Slot } from '#lib/engine/state.js';
import { CPU_MODELS, CpuModel, Cpuid } from '#lib/engine/guest/x86/cpuid.js';
import { Cr0, Cr4, Ef } from '#lib/engine/guest/x86/defs.js';
import { divide } from '#lib/engine/guest/x86/divide.js';
import { Mode, Seg, X } from '#lib/engine/guest/x86/mode.js';
import { PvClock } from '#lib/engine/guest/x86/pvclock.js';
import { FakeMap, Machine } from './sys-util.js';

describe('reset', () => {
  it('is the architectural state', () => {
    const m = new Machine();
    const { cpu } = m;
    expect(cpu.cr0 >>> 0).toBe(0x6000_0010);
    expect([m.pc, cpu.seg.sel[Seg.CS], cpu.flags.get(), cpu.cpl]).toEqual([0xffff_fff0, 0xf000, 2, 0]);
    expect(m.lo(X.RDX)).toBe(0x0083_0f10);
    expect(m.lo(Slot.MXCSR)).toBe(0x1f80);
    expect([m.lo(Slot.FPU), m.hi(Slot.FPU)]).toEqual([0x40, 0xff]);
    expect(cpu.mode).toBe(Mode.REAL | Mode.CPL0 | Mode.FP_UNMASKED);
    expect([cpu.debug.dr6 >>> 0, cpu.debug.dr7]).toEqual([0xffff_0ff0, 0x400]);
    expect(cpu.fetchAddress()).toBe(0xffff_fff0);
    expect([cpu.halted, cpu.seg.idtLimit, cpu.seg.gdtLimit]).toEqual([false, 0xffff, 0xffff]);
  });

  it('starts application processors by INIT and SIPI', () => {
    const m = new Machine('max', 1);
    const { cpu } = m;
    expect([cpu.halted, cpu.waitSipi]).toEqual([true, true]);
    cpu.signalInit();
    cpu.servicePending();
    cpu.signalSipi(0x9a);
    expect(m.V[Slot.PENDING * 2]! & Pending.EVENT).toBe(Pending.EVENT);
    cpu.servicePending();
    expect([cpu.halted, m.pc, cpu.seg.sel[Seg.CS]]).toEqual([false, 0x9_a000, 0x9a00]);
    cpu.signalSipi(0x10);
    cpu.servicePending();
    expect(m.pc).toBe(0x9_a000);
    cpu.xcr0 = 7;
    cpu.signalInit();
    cpu.servicePending();
    expect([cpu.waitSipi, cpu.xcr0]).toEqual([true, 7]);
  });
});

describe('control registers', () => {
  const cr = (m: Machine, n: number, lo: number, hi = 0): unknown => {
    m.reg(Slot.TEMP, lo, hi);
    return m.fault(() => m.call('mov_to_cr', n, Slot.TEMP));
  };
  it('refuses inconsistent values', () => {
    const m = new Machine();
    expect(cr(m, 0, Cr0.PG)).toEqual([13, 0]);
    expect(cr(m, 0, Cr0.NW)).toEqual([13, 0]);
    expect(cr(m, 4, 1 << 14)).toEqual([13, 0]);
    expect(cr(m, 1, 0)).toEqual([6, -1]);
    m.long();
    expect(cr(m, 4, m.cpu.cr4 & ~Cr4.PAE)).toEqual([13, 0]);
    expect(cr(m, 4, m.cpu.cr4 | Cr4.LA57)).toEqual([13, 0]);
    expect(cr(m, 0, Cr0.PE)).toEqual([13, 0]);
    expect(cr(m, 0, m.cpu.cr0, 1)).toEqual([13, 0]);
    expect(cr(m, 3, 0x10_0000, 0x100)).toEqual([13, 0]);
    expect(cr(m, 8, 16)).toEqual([13, 0]);
    expect(cr(m, 8, 5)).toBeNull();
    expect(m.intc.cr8).toBe(5);
    expect(m.fault(() => m.cpu.control.setEfer(0x501 & ~0x100, 0))).toEqual([13, 0]);
    expect(m.fault(() => m.cpu.control.setEfer(0x8000, 0))).toEqual([13, 0]);
    m.user64();
    expect(cr(m, 0, 0)).toEqual([13, 0]);
    const old = new Machine('x86-64-v1');
    expect(cr(old, 4, Cr4.SMEP)).toEqual([13, 0]);
  });
  it('keeps translations of the same root with PCID bit 63', () => {
    const m = new Machine();
    m.long();
    cr(m, 4, m.cpu.cr4 | Cr4.PCIDE);
    let flushes = 0;
    m.cpu.onFlush = (): void => void flushes++;
    expect(cr(m, 3, 0x10_0000, 0x8000_0000)).toBeNull();
    expect([flushes, m.cpu.cr3Hi]).toEqual([0, 0]);
    cr(m, 3, 0x10_0001, 0x8000_0000);
    expect([flushes, m.cpu.cr3Lo]).toEqual([1, 0x10_0001]);
  });
  it('tracks FPU, SSE and AVX in the mode', () => {
    const m = new Machine();
    m.protected();
    const { cpu } = m;
    cr(m, 4, Cr4.OSFXSR | Cr4.OSXSAVE);
    expect(cpu.mode & (Mode.SSE | Mode.AVX)).toBe(Mode.SSE);
    cpu.control.xsetbv(0, 7, 0);
    expect(cpu.mode & (Mode.SSE | Mode.AVX)).toBe(Mode.SSE | Mode.AVX);
    expect(m.fault(() => cpu.control.xsetbv(0, 5, 0))).toEqual([13, 0]);
    cr(m, 0, cpu.cr0 | Cr0.TS);
    expect(cpu.mode & Mode.FPU_TRAP).toBe(Mode.FPU_TRAP);
    expect(m.fault(() => m.call('fpu_trap', 2))).toEqual([7, -1]);
    m.call('clts');
    expect(cpu.mode & Mode.FPU_TRAP).toBe(0);
    cr(m, 0, cpu.cr0 | Cr0.EM);
    expect(m.fault(() => m.call('fpu_trap', 2))).toEqual([6, -1]);
    expect(cpu.mode & Mode.SSE).toBe(0);
  });
  it('obeys UMIP, TSD and FSGSBASE', () => {
    const m = new Machine();
    m.long();
    m.user64();
    const T = Slot.TEMP;
    expect(m.fault(() => m.call('smsw', 0, NONE, NONE, T))).toBeNull();
    m.cpu.cr4 |= Cr4.UMIP | Cr4.TSD;
    expect(m.fault(() => m.call('smsw', 0, NONE, NONE, T))).toEqual([13, 0]);
    expect(m.fault(() => m.call('rdtsc'))).toEqual([13, 0]);
    expect(m.fault(() => m.call('rdfsbase', 3, NONE, NONE, X.RAX))).toEqual([6, -1]);
    m.cpu.cr4 |= Cr4.FSGSBASE;
    m.reg(T, 0x1234, 0x7fff);
    m.call('wrgsbase', 3, T);
    m.call('rdgsbase', 3, NONE, NONE, X.RAX);
    expect([m.lo(X.RAX), m.hi(X.RAX)]).toEqual([0x1234, 0x7fff]);
    m.reg(T, 0, 0x8000);
    expect(m.fault(() => m.call('wrgsbase', 3, T))).toEqual([13, 0]);
  });
  it('loads descriptor tables', () => {
    const m = new Machine();
    m.w16(0x700, 0x17f);
    m.w32(0x702, 0xff12_3456 | 0);
    m.reg(Slot.TEMP, 0x700);
    m.call('lgdt', 1, Slot.TEMP);
    expect([m.cpu.seg.gdtLimit, m.cpu.seg.gdtLo]).toEqual([0x17f, 0x12_3456]);
    m.reg(Slot.TEMP, 0x710);
    m.call('sgdt', 2, Slot.TEMP);
    expect([m.r16(0x710), m.r32(0x712)]).toEqual([0x17f, 0x12_3456]);
  });
});

describe('MSRs', () => {
  const rd = (m: Machine, msr: number): [number, number] => {
    m.reg(X.RCX, msr);
    m.call('rdmsr', 0x100);
    return [m.lo(X.RAX), m.lo(X.RDX)];
  };
  const wr = (m: Machine, msr: number, lo: number, hi = 0): unknown => {
    m.reg(X.RCX, msr);
    m.reg(X.RAX, lo);
    m.reg(X.RDX, hi);
    return m.fault(() => m.call('wrmsr'));
  };
  it('reads and writes', () => {
    const m = new Machine();
    for (const msr of [0xc000_0082, 0xc000_0100, 0xc000_0102, 0x176]) {
      expect(wr(m, msr, 0x8765_4321, 0xffff_8000)).toBeNull();
      expect(rd(m, msr)).toEqual([0x8765_4321, 0xffff_8000]);
      expect(wr(m, msr, 0, 0x7f00_0000)).toEqual([13, 0]);
    }
    expect(wr(m, 0x277, 0x0007_0402)).toEqual([13, 0]);
    expect(wr(m, 0x250, 0x0606_0606, 1)).toBeNull();
    expect(rd(m, 0x250)).toEqual([0x0606_0606, 1]);
    expect(rd(m, 0x1b)).toEqual([0x1b, 0]);
    expect(wr(m, 0x802, 1)).toEqual([13, 0]);
    expect(m.fault(() => rd(m, 0x8ff))).toEqual([13, 0]);
    expect(m.fault(() => rd(m, 0x4000_0000))).toEqual([13, 0]);
    expect(wr(m, 0x48, 1)).toEqual([13, 0]);
  });
  it('counts time, with adjustment', () => {
    const m = new Machine();
    m.now = 2 ** 33 + 5;
    expect(rd(m, 0x10)).toEqual([5, 2]);
    wr(m, 0x10, 0, 0);
    expect(rd(m, 0x3b)).toEqual([0xffff_fffb, 0xffff_fffd]);
    m.now += 7;
    expect(rd(m, 0x10)).toEqual([7, 0]);
    wr(m, 0x3b, 0, 0);
    m.call('rdtsc', 0, NONE, NONE, X.RAX);
    expect([m.lo(X.RAX), m.hi(X.RAX)]).toEqual([12, 2]);
  });
  it('swaps GS', () => {
    const m = new Machine();
    m.long();
    wr(m, 0xc000_0101, 1);
    wr(m, 0xc000_0102, 2);
    m.call('swapgs');
    expect([rd(m, 0xc000_0101)[0], rd(m, 0xc000_0102)[0]]).toEqual([2, 1]);
    m.user64();
    expect(m.fault(() => m.call('swapgs'))).toEqual([13, 0]);
  });
});

describe('CPUID', () => {
  const bit = (model: string, leaf: number, reg: 'a' | 'b' | 'c' | 'd', sub = 0): number => {
    const c = new Cpuid(CpuModel.parse(model), { apicId: 3, cpus: 4, tscKHz: 1_000_000, apicKHz: 1_000_000 });
    c.eval(leaf, sub, true, 7);
    return c[reg] >>> 0;
  };
  it('places the features', () => {
    const has = (f: string, leaf: number, reg: 'a' | 'b' | 'c' | 'd', n: number, sub = 0): void => {
      expect((bit('max', leaf, reg, sub) >>> n) & 1, f).toBe(1);
      expect((bit(`max,-${f}`, leaf, reg, sub) >>> n) & 1, `-${f}`).toBe(0);
    };
    has('sse2', 1, 'd', 26);
    has('apic', 1, 'd', 9);
    has('fma', 1, 'c', 12);
    has('pcid', 1, 'c', 17);
    has('x2apic', 1, 'c', 21);
    has('aes', 1, 'c', 25);
    has('xsave', 1, 'c', 26);
    has('rdrand', 1, 'c', 30);
    has('hypervisor', 1, 'c', 31);
    has('rdseed', 7, 'b', 18);
    has('adx', 7, 'b', 19);
    has('smap', 7, 'b', 20);
    has('clflushopt', 7, 'b', 23);
    has('sha_ni', 7, 'b', 29);
    has('umip', 7, 'c', 2);
    has('la57', 7, 'c', 16);
    has('rdpid', 7, 'c', 22);
    has('fsrm', 7, 'd', 4);
    has('syscall', 0x8000_0001, 'd', 11);
    has('nx', 0x8000_0001, 'd', 20);
    has('pdpe1gb', 0x8000_0001, 'd', 26);
    has('lm', 0x8000_0001, 'd', 29);
    has('abm', 0x8000_0001, 'c', 5);
    has('3dnowprefetch', 0x8000_0001, 'c', 8);
    has('invtsc', 0x8000_0007, 'd', 8);
    has('wbnoinvd', 0x8000_0008, 'b', 9);
    has('xsaveerptr', 0x8000_0008, 'b', 2);
    has('amd_ssb_no', 0x8000_0008, 'b', 26);
    has('btc_no', 0x8000_0008, 'b', 29);
    has('null_base', 0x8000_0021, 'a', 6);
    has('autoibrs', 0x8000_0021, 'a', 8);
    has('srso_no', 0x8000_0021, 'a', 29);
    has('xsaves', 0xd, 'a', 3, 1);
    has('arat', 6, 'a', 2);
    expect(bit('max', 1, 'c') & (1 << 27)).not.toBe(0);
    expect(bit('qemu64,+spec_ctrl', 7, 'd') >>> 26 & 1).toBe(1);
    expect(bit('qemu64,+ibpb', 0x8000_0008, 'b') >>> 12 & 1).toBe(1);
  });
  it('describes topology, addresses and state sizes', () => {
    expect(bit('max', 0x8000_0008, 'a')).toBe(40 | (57 << 8));
    expect(bit('qemu64', 0x8000_0008, 'a')).toBe(40 | (48 << 8));
    expect([bit('max', 0xb, 'a', 1), bit('max', 0xb, 'b', 1), bit('max', 0xb, 'd', 1)]).toEqual([2, 4, 3]);
    expect([bit('max', 0xd, 'a'), bit('max', 0xd, 'b'), bit('max', 0xd, 'c')]).toEqual([7, 0x340, 0x340]);
    expect([bit('max', 0xd, 'a', 2), bit('max', 0xd, 'b', 2)]).toEqual([0x100, 0x240]);
    expect(bit('qemu64', 0xd, 'a')).toBe(0);
    expect([bit('max', 0x15, 'a'), bit('max', 0x15, 'b'), bit('max', 0x15, 'c')]).toEqual([1000, 1000, 1_000_000_000]);
    expect([bit('max', 0x4000_0010, 'a'), bit('max', 0x4000_0001, 'a')]).toEqual([1_000_000, 0x0100_080b]);
    expect(bit('max,-kvmclock', 0x4000_0001, 'a')).toBe(0x802);
    expect(bit('max', 0x1000, 'a')).toBe(0);
  });
  it('parses models', () => {
    expect(CPU_MODELS.every((m) => CpuModel.parse(m.name).features.size > 20)).toBe(true);
    expect(() => CpuModel.parse('i386')).toThrow(UsageError);
    expect(() => CpuModel.parse('max,+warp')).toThrow(UsageError);
    expect(() => CpuModel.parse('max,avx')).toThrow(UsageError);
    const m = CpuModel.parse('max,-sse4_2');
    expect([m.features.has('avx2'), m.features.has('sse4_1'), m.xcr0Mask]).toEqual([false, true, 3]);
    expect(CpuModel.parse('qemu64,+pni,+lzcnt').features.has('abm')).toBe(true);
  });
});

describe('flags and rare instructions', () => {
  it('POPF and IRET keep what the privilege does not allow', () => {
    const m = new Machine();
    m.protected();
    m.user32(0x202);
    m.reg(X.RAX, 0x3400);
    m.call('popf', 2, X.RAX);
    expect(m.cpu.flags.get()).toBe(0x602);
    expect(m.fault(() => m.call('cli'))).toEqual([13, 0]);
    m.cpu.V[X.EFLAGS * 2]! |= Ef.IOPL;
    expect(m.fault(() => m.call('cli'))).toBeNull();
    expect(m.cpu.eflagsSystem & Ef.IF).toBe(0);
  });
  it('adjusts BCD', () => {
    const m = new Machine();
    const run = (h: string, ax: number, fl: number, imm = 10): [number, number] => {
      m.reg(X.RAX, ax);
      m.V[0] = fl;
      m.call(h, imm);
      return [m.lo(X.RAX), m.V[0]! & 0x1100];
    };
    expect(run('daa', 0x9a, 0)).toEqual([0x00, 0x1100]);
    expect(run('daa', 0x45, 0x1000)).toEqual([0x4b, 0x1000]);
    expect(run('das', 0x05, 0x1000)).toEqual([0xff, 0x1100]);
    expect(run('das', 0xee, 0x1100)).toEqual([0x88, 0x1100]);
    expect(run('aaa', 0x00ff, 0)).toEqual([0x0205, 0x1100]);
    expect(run('aas', 0x0205, 0x1000)).toEqual([0x000f, 0x1100]);
    expect(run('aam', 0x3f, 0)[0]).toBe(0x0603);
    expect(run('aad', 0x0603, 0)[0]).toBe(0x3f);
    expect(m.fault(() => m.call('aam', 0))).toEqual([0, -1]);
  });
  it('ENTER copies frames', () => {
    const m = new Machine();
    m.protected();
    m.reg(X.RBP, 0x7100);
    m.w32(0x70fc, 0xaa);
    m.w32(0x70f8, 0xbb);
    m.call('enter', 0x10 | (3 << 16) | (2 << 24));
    expect([m.lo(X.RBP), m.lo(X.RSP)]).toEqual([0x7ffc, 0x8000 - 16 - 0x10]);
    expect([m.r32(0x7ffc), m.r32(0x7ff8), m.r32(0x7ff4), m.r32(0x7ff0)]).toEqual([0x7100, 0xaa, 0xbb, 0x7ffc]);
  });
  it('divides', () => {
    const V = new Int32Array(STATE_BYTES / 4);
    const T = Slot.TEMP;
    const run = (signed: boolean, w: number, hi: bigint, lo: bigint, d: bigint): [bigint, bigint] | null => {
      const put = (s: number, v: bigint): void => {
        V[s * 2] = Number(BigInt.asIntN(32, v));
        V[s * 2 + 1] = Number(BigInt.asIntN(32, v >> 32n));
      };
      put(T, lo);
      put(T + 1, hi);
      put(T + 2, d);
      if (!divide(V, signed, w, T + 3, T + 4, T, T + 1, T + 2)) return null;
      const get = (s: number): bigint => BigInt.asIntN(64, (BigInt(V[s * 2 + 1]!) << 32n) | BigInt(V[s * 2]! >>> 0));
      return [get(T + 3), get(T + 4)];
    };
    expect(run(false, 0, 1n, 0x23n, 0x10n)).toEqual([0x12n, 3n]);
    expect(run(false, 0, 1n, 0x23n, 1n)).toBeNull();
    expect(run(true, 0, 0xffn, 0x80n, 0xffn)).toBeNull();
    expect(run(true, 1, 0xffffn, 0xfff9n, 2n)).toEqual([0xfffdn, 0xffffn]);
    expect(run(false, 2, 1n, 0n, 0x10n)).toEqual([0x1000_0000n, 0n]);
    expect(run(true, 2, -1n, -7n, 2n)).toEqual([0xffff_fffdn, 0xffff_ffffn]);
    expect(run(true, 2, -1n, -0x8000_0000n, -1n)).toBeNull();
    expect(run(false, 3, 1n, 0n, 2n)).toEqual([-0x8000_0000_0000_0000n, 0n]);
    expect(run(false, 3, 2n, 0n, 2n)).toBeNull();
    expect(run(true, 3, -1n, -7n, -2n)).toEqual([3n, -1n]);
    expect(run(true, 3, -1n, -(1n << 63n), -1n)).toBeNull();
    expect(run(true, 3, 0n, 1n, 0n)).toBeNull();
  });
});

describe('kvm-clock', () => {
  it('writes the structures', () => {
    const map = new FakeMap();
    const pv = new PvClock({
      map, clock: { now: () => 5e9 }, tscKHz: 2_000_000, wallMs: () => 1_700_000_000_000,
      tsc: (o) => {
        o.lo = 7;
        o.hi = 1;
      },
    });
    expect(pv.writeMsr(0x4b56_4d01, 0x3041, 0)).toBe(true);
    const v = map.ramView;
    expect(v.getUint32(0x3040, true) & 1).toBe(0);
    expect([v.getUint32(0x3048, true), v.getUint32(0x304c, true)]).toEqual([7, 1]);
    expect(v.getBigUint64(0x3050, true)).toBe(5_000_000_000n);
    const shift = v.getInt8(0x305c);
    expect((v.getUint32(0x3058, true) / 2 ** 32) * 2 ** shift).toBeCloseTo(0.5, 6);
    pv.writeMsr(0x4b56_4d00, 0x3100, 0);
    expect([v.getUint32(0x3100, true), v.getUint32(0x3104, true)]).toEqual([2, 1_699_999_995]);
    expect(pv.writeMsr(0x4b56_4d02, 0, 0)).toBe(false);
    expect(pv.writeMsr(0x4b56_4d01, 0x3ff1, 0)).toBe(true);
  });
});
