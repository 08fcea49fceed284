import { describe, expect, it } from 'vitest';
import { HelperResult } from '#lib/engine/helpers.js';
import { Pending, Slot } from '#lib/engine/state.js';
import { Cr4, Ef, LDTR, TR } from '#lib/engine/guest/x86/defs.js';
import { Src } from '#lib/engine/guest/x86/interrupts.js';
import { Mode, Seg, X } from '#lib/engine/guest/x86/mode.js';
import { Machine } from './sys-util.js';

const stack64 = (m: Machine, n: number): number[] => Array.from({ length: n }, (_, i) => m.r32(m.lo(X.RSP) + i * 8));
const stack32 = (m: Machine, n: number): number[] => Array.from({ length: n }, (_, i) => m.r32(m.lo(X.RSP) + i * 4));

describe('long mode', () => {
  it('delivers a fault from user code to the inner stack and returns', () => {
    const m = new Machine();
    m.long();
    m.gate64(13, 0x08, 0xc000, 0, 0x8e);
    m.user64();
    expect(m.cpu.cpl).toBe(3);
    expect(m.pc).toBe(0x6000);
    m.at(0x6010);
    m.cpu.deliverFault(m.cpu.fault(13, 0x18));
    expect(m.pc).toBe(0xc000);
    expect(m.cpu.cpl).toBe(0);
    expect(m.lo(X.RSP)).toBe(0x9000 - 48);
    expect(stack64(m, 6)).toEqual([0x18, 0x6010, 0x1b, 0x1_0202, 0x7000, 0x23]);
    expect(m.cpu.eflagsSystem & Ef.IF).toBe(0);
    expect(m.cpu.seg.sel[Seg.SS]).toBe(0);
    expect(m.cpu.mode & (Mode.USER | Mode.CPL0 | Mode.CODE64)).toBe(Mode.CPL0 | Mode.CODE64);
    m.reg(X.RSP, m.lo(X.RSP) + 8);
    m.call('iret', 3);
    expect([m.pc, m.cpu.cpl, m.lo(X.RSP)]).toEqual([0x6010, 3, 0x7000]);
  });

  it('aligns the stack, uses IST and keeps CPL 0 rights', () => {
    const m = new Machine();
    m.long();
    m.gate64(2, 0x08, 0xc000, 0xffff_8000 | 0, 0x8f, 1);
    m.reg(X.RSP, 0x8123);
    m.at(0x5000);
    m.reg(Slot.PC, 0x5555);
    m.cpu.signalNmi();
    m.cpu.halted = true;
    m.cpu.servicePending();
    expect([m.lo(Slot.PC), m.hi(Slot.PC), m.lo(X.RSP), m.cpu.halted]).toEqual([0xc000, 0xffff_8000, 0xa000 - 40, false]);
    expect(stack64(m, 5)).toEqual([0x5555, 0x08, 2, 0x8123, 0x10]);
    m.cpu.signalNmi();
    m.cpu.servicePending();
    expect(m.lo(X.RSP)).toBe(0xa000 - 40);
    m.call('iret', 3);
    expect([m.pc, m.lo(X.RSP), m.cpu.nmiBlocked]).toEqual([0x5555, 0x8123, false]);
  });

  it('takes external interrupts only with IF', () => {
    const m = new Machine();
    m.long();
    m.gate64(0x30, 0x08, 0xc000, 0, 0x8e);
    m.intc.queue.push(0x30);
    m.cpu.updateIntr();
    expect(m.V[Slot.PENDING * 2]).toBe(0);
    m.call('sti');
    expect(m.V[Slot.PENDING * 2]).toBe(Pending.INTR);
    m.V[X.EFLAGS * 2]! &= ~Ef.IF;
    m.cpu.servicePending();
    expect(m.intc.queue).toHaveLength(1);
    m.call('sti');
    m.cpu.servicePending();
    expect(m.pc).toBe(0xc000);
    expect(m.V[Slot.PENDING * 2]).toBe(0);
  });

  it('checks gates of INT n and gives #NP, #DF and shutdown', () => {
    const m = new Machine();
    m.long();
    m.gate64(0x80, 0x08, 0xc000, 0, 0x8e);
    m.gate64(13, 0x08, 0xd000, 0, 0x8e);
    m.gate64(8, 0x08, 0xe000, 0, 0x8e);
    m.user64();
    m.at(0x6000);
    expect(m.fault(() => m.call('int', 0x80))).toEqual([13, 0x402]);
    m.gate64(0x80, 0x08, 0xc000, 0, 0xee);
    m.at(0x6000);
    expect(m.call('int', 0x80)).toBe(HelperResult.DISPATCH);
    expect(stack64(m, 2)).toEqual([0x6002, 0x1b]);
    // #GP whose gate is not present: #NP inside a contributory exception is a double fault.
    m.gate64(13, 0x08, 0xd000, 0, 0x0e);
    m.at(0xc000);
    m.cpu.deliverFault(m.cpu.fault(13, 0));
    expect(m.pc).toBe(0xe000);
    m.gate64(8, 0x08, 0xe000, 0, 0x0e);
    m.cpu.deliverFault(m.cpu.fault(13, 0));
    expect(m.cpu.shutdown).toBe(true);
  });

  it('reports a fault during an external interrupt with EXT', () => {
    const m = new Machine();
    m.long();
    m.gate64(13, 0x08, 0xd000, 0, 0x8e);
    m.gate64(11, 0x08, 0xd100, 0, 0x8e);
    m.gate64(0x30, 0x08, 0xc000, 0, 0x0e);
    m.reg(Slot.PC, 0x5000);
    m.cpu.trap(0x30, Src.EXTERNAL);
    expect(m.pc).toBe(0xd100);
    expect(stack64(m, 1)).toEqual([0x30 * 8 + 3]);
    m.cpu.trap(0x31, Src.EXTERNAL);
    expect(stack64(m, 1)).toEqual([0x31 * 8 + 3]);
    expect(m.pc).toBe(0xd000);
  });

  it('does SYSCALL and SYSRET', () => {
    const m = new Machine();
    m.long();
    m.cpu.msr.write(0xc000_0081, 0, 0x0013_0008);
    m.cpu.msr.write(0xc000_0082, 0x8000_1234, 0xffff_ffff | 0);
    m.cpu.msr.write(0xc000_0084, 0x4_7700, 0);
    m.user64();
    m.V[Slot.FLAGS * 2] = 0x4301;
    m.at(0x6000, 2);
    m.call('syscall');
    expect([m.lo(Slot.PC), m.hi(Slot.PC), m.lo(X.RCX), m.lo(X.R11)]).toEqual([0x8000_1234, 0xffff_ffff, 0x6002, 0xa43 | 0]);
    expect([m.cpu.cpl, m.cpu.seg.sel[Seg.CS], m.cpu.seg.sel[Seg.SS], m.cpu.eflagsSystem]).toEqual([0, 8, 0x10, 2]);
    m.call('sysret', 3);
    expect([m.pc, m.cpu.cpl, m.cpu.seg.sel[Seg.CS], m.cpu.seg.sel[Seg.SS]]).toEqual([0x6002, 3, 0x23, 0x1b]);
    expect(m.cpu.flags.get()).toBe(0xa43);
    m.at(0x6000, 2);
    m.call('syscall');
    m.call('sysret', 2);
    expect(m.cpu.mode & Mode.CODE_MASK).toBe(Mode.CODE32);
  });

  it('goes through a 64-bit call gate', () => {
    const m = new Machine();
    m.long();
    m.w32(0x1040, (0x08 << 16) | 0x4444);
    m.w32(0x1044, 0xec00);
    m.w64(0x1048, 0xffff_9000 | 0);
    m.user64();
    m.at(0x6000, 3);
    m.reg(X.RAX, 0);
    m.reg(X.RBX, 0x43);
    m.call('callf', 2, X.RAX, X.RBX);
    expect([m.lo(Slot.PC), m.hi(Slot.PC), m.cpu.cpl]).toEqual([0x4444, 0xffff_9000, 0]);
    expect(stack64(m, 4)).toEqual([0x6003, 0x1b, 0x7000, 0x23]);
    m.call('retf', 3);
    expect([m.pc, m.cpu.cpl, m.lo(X.RSP)]).toEqual([0x6003, 3, 0x7000]);
  });

  it('steps one instruction at a time with TF', () => {
    const m = new Machine();
    m.long();
    m.gate64(1, 0x08, 0xc000, 0, 0x8e);
    m.reg(X.RAX, 0x102);
    m.call('popf', 2, X.RAX);
    expect(m.cpu.mode & Mode.STEP).toBe(Mode.STEP);
    m.reg(Slot.PC, 0x5003);
    m.cpu.afterStep();
    expect(m.pc).toBe(0xc000);
    expect(m.cpu.debug.dr6 & 0x4000).toBe(0x4000);
    expect(stack64(m, 3)).toEqual([0x5003, 8, 0x102]);
    expect(m.cpu.mode & Mode.STEP).toBe(0);
  });

  it('breaks on instructions once, thanks to RF', () => {
    const m = new Machine();
    m.long();
    m.gate64(1, 0x08, 0xc000, 0, 0x8e);
    m.cpu.debug.write(0, 0x5008, 0);
    m.cpu.debug.write(7, 0x402, 0);
    m.reg(Slot.PC, 0x5008);
    expect(m.fault(() => m.cpu.fetchAddress())).toEqual([1, -1]);
    m.cpu.deliverFault(m.cpu.fault(1));
    m.w32(m.lo(X.RSP) + 16, 0x1_0002);
    m.call('iret', 3);
    m.cpu.afterStep();
    expect(m.pc).toBe(0x5008);
    expect(m.cpu.fetchAddress()).toBe(0x5008);
    m.cpu.afterStep();
    expect(m.fault(() => m.cpu.fetchAddress())).toEqual([1, -1]);
  });
});

describe('real and virtual-8086 mode', () => {
  it('uses the IVT', () => {
    const m = new Machine();
    m.w32(0x10 * 4, 0xf000_1234 | 0);
    m.cpu.seg.loadReal(Seg.SS, 0x100);
    m.reg(X.RSP, 0x1234_0010);
    m.cpu.transfer.jump(0x200, 0x30, 0, 1);
    m.cpu.flags.set(0x203);
    m.at(0x2030);
    m.call('int', 0x10);
    expect([m.pc, m.cpu.seg.sel[Seg.CS], m.lo(X.RSP), m.cpu.flags.get()]).toEqual([0xf_1234, 0xf000, 0x1234_000a, 3]);
    expect([m.r16(0x100a), m.r16(0x100c), m.r16(0x100e)]).toEqual([0x32, 0x200, 0x203]);
    m.call('iret', 1);
    expect([m.pc, m.lo(X.RSP), m.cpu.flags.get()]).toEqual([0x2032, 0x1234_0010, 0x203]);
    m.cpu.seg.idtLimit = 3;
    m.at(0x2030);
    m.cpu.deliverFault(m.cpu.fault(16));
    expect(m.cpu.shutdown).toBe(true);
  });

  it('enters and leaves virtual-8086 mode', () => {
    const m = new Machine();
    m.protected();
    m.gate32(13, 0x08, 0xc000, 0x8e);
    const frame = [0x100, 0x2000, 0x2_3202, 0x80, 0x300, 0x400, 0x500, 0x600, 0x700];
    frame.forEach((v, i) => m.w32(0x7000 + i * 4, v));
    m.reg(X.RSP, 0x7000);
    m.call('iret', 2);
    expect(m.pc).toBe(0x2_0100);
    expect(m.cpu.mode & (Mode.V86 | Mode.REAL | Mode.USER)).toBe(Mode.V86 | Mode.REAL | Mode.USER);
    expect([...m.cpu.seg.sel.subarray(0, 6)]).toEqual([0x400, 0x2000, 0x300, 0x500, 0x600, 0x700]);
    m.at(0x2_0105);
    m.cpu.deliverFault(m.cpu.fault(13, 0));
    expect([m.pc, m.cpu.cpl]).toEqual([0xc000, 0]);
    expect(stack32(m, 10)).toEqual([0, 0x105, 0x2000, 0x3_3202, 0x80, 0x300, 0x400, 0x500, 0x600, 0x700]);
    expect(m.cpu.seg.sel[Seg.DS]).toBe(0);
  });

  it('redirects INT n with VME and virtualises IF', () => {
    const m = new Machine();
    m.protected();
    m.w16(0x3066, 0x88);
    m.cpu.control.setCr4(Cr4.VME);
    m.w32(0x21 * 4, 0x0500_0010);
    const frame = [0x100, 0x2000, 0x2_0202, 0x80, 0x300, 0, 0, 0, 0];
    frame.forEach((v, i) => m.w32(0x7000 + i * 4, v));
    m.reg(X.RSP, 0x7000);
    m.call('iret', 2);
    m.call('sti');
    expect(m.cpu.eflagsSystem & Ef.VIF).toBe(Ef.VIF);
    m.at(0x2_0100);
    m.call('int', 0x21);
    expect([m.pc, m.cpu.cpl, m.r16(0x307e)]).toEqual([0x5010, 3, 0x3202]);
    expect(m.cpu.eflagsSystem & Ef.VIF).toBe(0);
    m.call('iret', 1);
    expect([m.pc, m.cpu.eflagsSystem & Ef.VIF]).toEqual([0x2_0102, Ef.VIF]);
  });
});

describe('protected mode', () => {
  it('delivers through 32-bit gates with stack switch', () => {
    const m = new Machine();
    m.protected();
    m.gate32(14, 0x08, 0xc000, 0x8f);
    m.user32();
    m.at(0x6000);
    m.cpu.deliverFault(m.cpu.pageFault(0x1234, 0, 6));
    expect([m.pc, m.cpu.cpl, m.lo(X.RSP)]).toEqual([0xc000, 0, 0x9000 - 24]);
    expect(stack32(m, 6)).toEqual([6, 0x6000, 0x1b, 0x1_0202, 0x7000, 0x23]);
    expect(m.cpu.eflagsSystem & Ef.IF).toBe(Ef.IF);
    m.reg(X.RSP, m.lo(X.RSP) + 4);
    m.call('iret', 2);
    expect([m.pc, m.cpu.cpl, m.lo(X.RSP), m.cpu.seg.sel[Seg.SS]]).toEqual([0x6000, 3, 0x7000, 0x23]);
  });

  it('refuses bad stacks with #TS and bad selectors with #GP', () => {
    const m = new Machine();
    m.protected();
    m.gate32(0x40, 0x08, 0xc000, 0xee);
    m.gate32(0x41, 0x10, 0xc000, 0xee);
    m.gate32(0x42, 0x00, 0xc000, 0xee);
    m.user32();
    m.w16(0x3008, 0x20);
    m.at(0x6000);
    expect(m.fault(() => m.call('int', 0x40))).toEqual([10, 0x20]);
    expect(m.fault(() => m.call('int', 0x41))).toEqual([13, 0x10]);
    expect(m.fault(() => m.call('int', 0x42))).toEqual([13, 0]);
    m.cpu.seg.idtLimit = 0x77f;
    expect(m.fault(() => m.call('int', 0xf0))).toEqual([13, 0x782]);
    expect([m.cpu.cpl, m.lo(X.RSP)]).toEqual([3, 0x7000]);
  });

  it('copies parameters through a 32-bit call gate', () => {
    const m = new Machine();
    m.protected();
    m.w32(0x1040, (0x08 << 16) | 0x4444);
    m.w32(0x1044, 0xec02);
    m.user32();
    m.w32(0x7000, 0x11);
    m.w32(0x7004, 0x22);
    m.at(0x6000, 7);
    m.reg(X.RBX, 0x43);
    m.call('callf', 2, X.RAX, X.RBX);
    expect([m.pc, m.cpu.cpl]).toEqual([0x4444, 0]);
    expect(stack32(m, 6)).toEqual([0x6007, 0x1b, 0x11, 0x22, 0x7000, 0x23]);
    m.call('retf', 2 | (8 << 8));
    expect([m.pc, m.cpu.cpl, m.lo(X.RSP)]).toEqual([0x6007, 3, 0x7008]);
    // Data segments above the new privilege were dropped when user mode began.
    expect(m.cpu.seg.sel[Seg.DS]).toBe(0);
  });

  it('checks segment loads', () => {
    const m = new Machine();
    m.protected();
    const load = (s: number, sel: number): unknown => m.fault(() => m.cpu.seg.loadData(s, sel));
    expect(load(Seg.SS, 0)).toEqual([13, 0]);
    expect(load(Seg.SS, 0x23)).toEqual([13, 0x20]);
    expect(load(Seg.DS, 0x200)).toEqual([13, 0x200]);
    expect(load(Seg.DS, 0x28)).toEqual([13, 0x28]);
    expect(load(Seg.DS, 0x14)).toEqual([13, 0x14]);
    m.desc(0x1048, 0, 0xff, 0x13);
    expect(load(Seg.DS, 0x48)).toEqual([11, 0x48]);
    expect(load(Seg.SS, 0x48)).toEqual([12, 0x48]);
    m.desc(0x1048, 0x5000, 0xff, 0x96);
    expect(load(Seg.ES, 0x48)).toBeNull();
    expect(m.map.ram8[0x104d]).toBe(0x97);
    expect(m.cpu.mode & Mode.FLAT).toBe(0);
    m.reg(Slot.TEMP, 0x80);
    expect(m.fault(() => m.cpu.segmentCheck(Seg.ES, Slot.TEMP, true, 4))).toEqual([13, 0]);
    m.reg(Slot.TEMP, 0x100);
    expect(m.fault(() => m.cpu.segmentCheck(Seg.ES, Slot.TEMP, true, 4))).toBeNull();
    m.reg(Slot.TEMP, 0xfffd);
    expect(m.fault(() => m.cpu.segmentCheck(Seg.ES, Slot.TEMP, true, 4))).toEqual([13, 0]);
    expect(load(Seg.ES, 0)).toBeNull();
    expect(m.fault(() => m.cpu.segmentCheck(Seg.ES, Slot.TEMP, true, 4))).toEqual([13, 0]);
    expect(load(Seg.ES, 0x10)).toBeNull();
    expect(m.cpu.mode & Mode.FLAT).toBe(Mode.FLAT);
    expect(m.hi(X.LIMIT_W + Seg.CS)).toBe(1);
    expect(m.hi(X.LIMIT_R + Seg.CS)).toBe(0);
  });

  it('answers LAR, LSL, VERR, VERW and ARPL', () => {
    const m = new Machine();
    m.protected();
    const T = Slot.TEMP;
    m.reg(X.RCX, 0x18);
    m.call('lar', 2, X.RCX, X.RBX, T);
    expect(m.lo(T)).toBe(0xcf_fa00 & 0xf0_ff00 | (m.r32(0x101c) & 0x100));
    expect(m.V[0]! & 0x4000).toBe(0x4000);
    m.call('lsl', 2, X.RCX, X.RBX, T);
    expect(m.lo(T)).toBe(0xffff_ffff);
    m.call('verw', 0, X.RCX);
    expect(m.V[0]! & 0x4000).toBe(0);
    m.reg(X.RCX, 0x20);
    m.call('verw', 0, X.RCX);
    expect(m.V[0]! & 0x4000).toBe(0x4000);
    m.reg(X.RDX, 3);
    m.call('arpl', 0, X.RCX, X.RDX, T);
    expect(m.lo(T)).toBe(0x23);
    m.reg(X.RCX, 0x40);
    m.reg(X.RBX, 0x77);
    m.call('lsl', 2, X.RCX, X.RBX, T);
    expect(m.lo(T)).toBe(0x77);
  });

  it('uses the I/O permission bitmap', () => {
    const m = new Machine();
    m.protected();
    m.map.ram8.fill(0xff, 0x3068, 0x3068 + 0x2000);
    m.map.ram8[0x3068 + (0x60 >> 3)] = 0xfe;
    m.user32();
    const T = Slot.TEMP;
    m.reg(T, 0x60);
    m.call('in', 0, T, -1, T + 1);
    expect(m.lo(T + 1)).toBe(0x55);
    expect(m.fault(() => m.call('in', 1, T, -1, T + 1))).toEqual([13, 0]);
    expect(m.portLog).toEqual(['in1 60']);
  });

  it('switches tasks by CALL and returns by IRET', () => {
    const m = new Machine();
    m.protected();
    m.desc(0x1050, 0x4000, 0x67, 0x89);
    m.w32(0x4020, 0xb000);
    m.w32(0x4024, 0x202);
    [1, 2, 3, 4, 0x7800, 6, 7, 8].forEach((v, i) => m.w32(0x4028 + i * 4, v));
    [0x10, 0x08, 0x10, 0x10, 0, 0].forEach((v, i) => m.w32(0x4048 + i * 4, v));
    m.reg(X.RAX, 0xaaaa);
    m.reg(X.RBX, 0x50);
    m.at(0x5000, 5);
    m.call('callf', 2, X.RAX, X.RBX);
    expect([m.pc, m.lo(X.RAX), m.lo(X.RSP), m.cpu.seg.sel[TR], m.r16(0x4000)]).toEqual([0xb000, 1, 0x7800, 0x50, 0x28]);
    expect(m.cpu.eflagsSystem & Ef.NT).toBe(Ef.NT);
    expect([m.map.ram8[0x102d]! & 0xf, m.map.ram8[0x1055]! & 0xf]).toEqual([11, 11]);
    expect([m.r32(0x3020), m.r32(0x3028)]).toEqual([0x5005, 0xaaaa]);
    expect(m.cpu.cr0 & 8).toBe(8);
    m.at(0xb000, 1);
    m.call('iret', 2);
    expect([m.pc, m.lo(X.RAX), m.lo(X.RSP), m.cpu.seg.sel[TR]]).toEqual([0x5005, 0xaaaa, 0x8000, 0x28]);
    expect([m.map.ram8[0x102d]! & 0xf, m.map.ram8[0x1055]! & 0xf]).toEqual([11, 9]);
    expect(m.cpu.eflagsSystem & Ef.NT).toBe(0);
    expect(m.cpu.mode & Mode.FLAT).toBe(Mode.FLAT);
  });

  it('reports a bad segment of the new task there', () => {
    const m = new Machine();
    m.protected();
    m.desc(0x1050, 0x4000, 0x67, 0x89);
    m.w32(0x4020, 0xb000);
    [0x10, 0x08, 0x1f0, 0x10, 0, 0].forEach((v, i) => m.w32(0x4048 + i * 4, v));
    m.at(0x5000, 5);
    m.reg(X.RBX, 0x50);
    expect(m.fault(() => m.call('jmpf', 2, X.RAX, X.RBX))).toEqual([10, 0x1f0]);
    m.cpu.insnPc();
    expect([m.cpu.ipLo, m.cpu.seg.sel[TR]]).toEqual([0xb000, 0x50]);
  });

  it('delivers through a task gate', () => {
    const m = new Machine();
    m.protected();
    m.desc(0x1050, 0x4000, 0x67, 0x89);
    m.w32(0x4020, 0xb000);
    m.w32(0x4038, 0x7800);
    [0x10, 0x08, 0x10, 0x10, 0, 0].forEach((v, i) => m.w32(0x4048 + i * 4, v));
    m.gate32(8, 0x50, 0, 0x85);
    m.at(0x5000);
    m.cpu.deliverFault(m.cpu.fault(13, 8));
    expect([m.pc, m.lo(X.RSP), m.r32(0x77fc), m.r32(0x3020)]).toEqual([0xb000, 0x77fc, 0, 0x5000]);
  });

  it('does SYSENTER and SYSEXIT, LLDT', () => {
    const m = new Machine();
    m.protected();
    m.cpu.msr.write(0x174, 0x08, 0);
    m.cpu.msr.write(0x175, 0x8800, 0);
    m.cpu.msr.write(0x176, 0xc000, 0);
    m.user32();
    m.call('sysenter');
    expect([m.pc, m.lo(X.RSP), m.cpu.cpl, m.cpu.seg.sel[Seg.SS]]).toEqual([0xc000, 0x8800, 0, 0x10]);
    m.reg(X.RCX, 0x7000);
    m.reg(X.RDX, 0x6000);
    m.call('sysexit', 2);
    expect([m.pc, m.lo(X.RSP), m.cpu.cpl, m.cpu.seg.sel[Seg.CS]]).toEqual([0x6000, 0x7000, 3, 0x1b]);
    const l = new Machine();
    l.protected();
    l.desc(0x1048, 0x4800, 0x17, 0x82);
    l.desc(0x4808, 0x1_0000, 0xfff, 0x93);
    l.reg(X.RAX, 0x48);
    l.call('lldt', 0, X.RAX);
    expect(l.cpu.seg.sel[LDTR]).toBe(0x48);
    l.cpu.seg.loadData(Seg.DS, 0x0c);
    expect(l.cpu.seg.baseLo(Seg.DS)).toBe(0x1_0000);
    expect(l.fault(() => l.cpu.seg.loadData(Seg.DS, 0x1c))).toEqual([13, 0x1c]);
  });
});
