import { describe, expect, it } from 'vitest';
import { Pending, Slot } from '#lib/engine/state.js';
import { CpuModel, Cpuid } from '#lib/engine/guest/x86/cpuid.js';
import { Ef, Vec } from '#lib/engine/guest/x86/defs.js';
import { Mmu, Seg, X } from '#lib/engine/guest/x86/mode.js';
import { Machine } from './sys-util.js';

const BAD_HI = 0xaaaa_aaaa | 0;

function code(m: Machine, pc: number, bytes: readonly number[]): void {
  bytes.forEach((b, i) => (m.map.ram8[pc + i] = b));
  m.at(pc, bytes.length);
}

describe('non-canonical addresses', () => {
  it.each<[string, readonly number[], boolean, number]>([
    ['or qword [rsp+rax], 0', [0x48, 0x83, 0x0c, 0x04, 0x00], false, Vec.SS],
    ['mov rax, [rbp]', [0x48, 0x8b, 0x45, 0x00], false, Vec.SS],
    ['mov rax, [r13]', [0x49, 0x8b, 0x45, 0x00], false, Vec.GP],
    ['mov rax, gs:[rbp]', [0x65, 0x48, 0x8b, 0x45, 0x00], false, Vec.GP],
    ['mov rax, [rbx]', [0x48, 0x8b, 0x03], false, Vec.GP],
    ['push rax', [0x50], true, Vec.SS],
    ['push qword [rbx], read', [0xff, 0x33], false, Vec.GP],
    ['push qword [rbx], write', [0xff, 0x33], true, Vec.SS],
    ['pop qword [rbx], write', [0x8f, 0x03], true, Vec.GP],
    ['ret', [0xc3], false, Vec.SS],
  ])('%s', (_name, bytes, write, vector) => {
    const m = new Machine();
    m.long();
    code(m, 0x5ffe, bytes);
    expect(m.fault(() => (write ? m.cpu.mmu.write8(0, BAD_HI, Mmu.KERNEL, 0) : m.cpu.mmu.read8(0, BAD_HI, Mmu.KERNEL)))).toEqual([vector, 0]);
  });

  it.each<[string, readonly number[], number]>([
    ['ret', [0xc3], 8],
    ['ret 16', [0xc2, 0x10, 0x00], 24],
    ['call rax', [0xff, 0xd0], -8],
    ['jmp rax', [0xff, 0xe0], 0],
  ])('are refused as targets by the branch itself: %s', (_name, bytes, pop) => {
    const m = new Machine();
    m.long();
    code(m, 0x5000, bytes);
    m.reg(X.RSP, 0x8000 + pop);
    m.reg(Slot.PC, 0, BAD_HI);
    expect(m.fault(() => m.cpu.fetchAddress())).toEqual([Vec.GP, 0]);
    m.cpu.insnPc();
    expect([m.cpu.ipLo, m.lo(X.RSP)]).toEqual([0x5000, 0x8000]);
  });

  it('are refused in INVPCID and in the base of an LDT', () => {
    const m = new Machine();
    m.long();
    expect(m.fault(() => m.cpu.control.invpcid(0, 0, 0, 0, 0, BAD_HI))).toEqual([Vec.GP, 0]);
    expect(m.fault(() => m.cpu.control.invpcid(2, 0, 0, 0, 0, BAD_HI))).toBeNull();
    m.desc(0x1040, 0x4000, 0xff, 0x82);
    m.w64(0x1048, BAD_HI);
    expect(m.fault(() => m.cpu.seg.lldt(0x40))).toEqual([Vec.GP, 0x40]);
  });
});

describe('debug traps', () => {
  it('wait until after the instruction that follows MOV SS', () => {
    const m = new Machine();
    m.long();
    m.gate64(1, 0x08, 0xc000, 0, 0x8e);
    m.at(0x5000);
    m.cpu.flags.set(Ef.TF | 2);
    m.cpu.afterStep();
    m.reg(X.RSP, 0x8000);
    m.reg(X.RAX, 0x10);
    m.at(0x5002);
    m.cpu.flags.set(Ef.TF | 2);
    m.call('load_sreg', Seg.SS, X.RAX);
    m.reg(Slot.PC, 0x5004);
    m.cpu.afterStep();
    expect(m.pc).toBe(0x5004);
    m.at(0x5004);
    m.reg(Slot.PC, 0x5006);
    m.cpu.afterStep();
    expect([m.pc, m.cpu.debug.dr6 & 0x4000]).toEqual([0xc000, 0x4000]);
  });

  it('report only their own breakpoints in B0..B3', () => {
    const m = new Machine();
    m.long();
    m.cpu.debug.write(2, 0x5000, 0);
    m.cpu.debug.write(6, 0x4002, 0);
    m.cpu.debug.write(7, 0x420, 0);
    expect(m.fault(() => m.cpu.debug.onFetch(0x5000, 0))).toEqual([Vec.DB, -1]);
    expect(m.cpu.debug.dr6 & 0xffff).toBe(0x4ff4);
  });

  it('come at once when SYSRET sets TF', () => {
    const m = new Machine();
    m.long();
    m.gate64(1, 0x08, 0xc000, 0, 0x8e);
    m.cpu.control.setEfer(m.cpu.efer | 1, 0);
    m.cpu.msr.write(0xc000_0081 | 0, 0, 0x0010_0008);
    m.reg(X.RCX, 0x6000);
    m.reg(X.R11, Ef.TF | 2);
    m.at(0x5000);
    m.call('sysret', 3);
    expect([m.pc, m.cpu.cpl]).toEqual([0xc000, 0]);
    expect(m.r32(m.lo(X.RSP))).toBe(0x6000);
  });
});

describe('NMI', () => {
  it('does not keep the CPU from running while another is handled', () => {
    const m = new Machine();
    m.long();
    m.gate64(2, 0x08, 0xc000, 0, 0x8e);
    m.at(0x5000);
    m.cpu.signalNmi();
    m.cpu.servicePending();
    m.cpu.signalNmi();
    expect(m.V[Slot.PENDING * 2]! & Pending.NMI).toBe(0);
    m.call('iret', 3);
    expect(m.V[Slot.PENDING * 2]! & Pending.NMI).toBe(Pending.NMI);
  });
});

describe('hypercalls', () => {
  it('answer as the announced interface says', () => {
    const m = new Machine();
    m.long();
    const call = (nr: number, ...args: number[]): [number, number] => {
      m.reg(X.RAX, nr);
      [X.RBX, X.RCX, X.RDX, X.RSI].forEach((r, i) => m.reg(r, args[i] ?? 0));
      m.call('hypercall');
      return [m.V[X.RAX * 2]!, m.V[X.RAX * 2 + 1]!];
    };
    expect(call(1)).toEqual([0, 0]);
    expect(call(99)).toEqual([-1000, -1]);
    expect(call(10, 7, 0, 0, 0x30)).toEqual([2, 0]);
    expect(m.intc.sent).toEqual([[0, 0x30], [1, 0x30]]);
    m.user64();
    expect(call(1)).toEqual([-1, -1]);
  });
});

describe('CPU model', () => {
  it('has a vendor and a width of addresses', () => {
    const model = CpuModel.parse('max,vendor=GenuineIntel,phys-bits=36');
    const id = new Cpuid(model, { apicId: 0, cpus: 1, tscKHz: 1000, apicKHz: 1000 });
    id.eval(0, 0, false, 0);
    expect([id.b, id.d, id.c]).toEqual([0x756e_6547, 0x4965_6e69, 0x6c65_746e]);
    id.eval(0x8000_0008, 0, false, 0);
    expect(id.a & 0xff).toBe(36);
    id.eval(1, 0, false, 0, false);
    expect(id.d & (1 << 9)).toBe(0);
    expect(() => CpuModel.parse('max,vendor=x')).toThrow('vendor');
    expect(() => CpuModel.parse('max,phys-bits=99')).toThrow('phys-bits');
  });

  it('has the legacy counters of an AMD processor, which do not count', () => {
    const m = new Machine();
    m.cpu.msr.write(0xc001_0004 | 0, 5, 0);
    m.cpu.msr.read(0xc001_0004 | 0);
    expect(m.cpu.outLo).toBe(0);
    expect(m.fault(() => m.cpu.msr.read(0xc001_0008 | 0))).toEqual([Vec.GP, 0]);
  });
});

