import { describe, expect, it } from 'vitest';
import { Mode, X, xmm } from '#lib/engine/guest/x86/mode.js';
import { HelperResult } from '#lib/engine/helpers.js';
import { Slot, TLB_BASE, TlbField } from '#lib/engine/state.js';
import { Fault, T_ADDR, T_VALUE, TestCpu, rng } from './x87-host.js';

const fsw = (cpu: TestCpu): number => cpu.V[Slot.FPU * 2]! >>> 16;
const vector = (f: () => unknown): number => {
  try {
    f();
  } catch (e) {
    if (e instanceof Fault) return e.vector;
    throw e;
  }
  return -1;
};
const ldcw = (cpu: TestCpu, v: number): void => {
  cpu.setSlot(T_VALUE, BigInt(v));
  cpu.call('x87.fldcw', { a: T_VALUE });
};

describe('pending x87 errors', () => {
  const failing = (): TestCpu => {
    const cpu = new TestCpu();
    cpu.call('x87.fninit');
    ldcw(cpu, 0x37b);
    cpu.call('x87.fldconst', { imm: 0 });
    cpu.call('x87.fldconst', { imm: 6 });
    // 1 / 0 with ZE unmasked: the operands stay
    cpu.call('x87.fdivr.st', { imm: 1 });
    return cpu;
  };
  it('#MF at the next waiting instruction with CR0.NE', () => {
    const cpu = failing();
    expect(fsw(cpu) & 0x80ff).toBe(0x8084);
    cpu.call('x87.fnstsw', { dst: T_VALUE });
    expect(cpu.slot(T_VALUE)).toBe(BigInt(fsw(cpu)));
    expect(vector(() => cpu.call('x87.fchs'.replace('fchs', 'fsign')))).toBe(16);
    expect(vector(() => cpu.call('x86.fwait'))).toBe(16);
    cpu.call('x87.fnclex');
    expect(vector(() => cpu.call('x86.fwait'))).toBe(-1);
    expect(fsw(cpu) & 0x80ff).toBe(0);
  });
  it('FERR# without CR0.NE: the instruction waits until IGNNE#', () => {
    const cpu = failing();
    cpu.cr0 = 0;
    cpu.V[Slot.PCBASE * 2] = 0x5000;
    cpu.V[Slot.X_INSN * 2] = 0x123 | (0x125 << 16);
    expect(cpu.call('x87.fsign')).toBe(HelperResult.DISPATCH);
    expect(cpu.V[Slot.PC * 2]).toBe(0x5123);
    expect(cpu.ferrCount).toBe(1);
    cpu.ignne = true;
    expect(cpu.call('x87.fsign')).toBe(HelperResult.CONTINUE);
  });
  it('unmasking a recorded exception makes it pending; masking it again withdraws it', () => {
    const cpu = new TestCpu();
    cpu.call('x87.fninit');
    cpu.call('x87.fldconst', { imm: 0 });
    cpu.call('x87.fldconst', { imm: 6 });
    cpu.call('x87.fdivr.st', { imm: 1 });
    expect(fsw(cpu) & 0x80ff).toBe(4);
    ldcw(cpu, 0x37b);
    expect(fsw(cpu) & 0x80ff).toBe(0x8084);
    expect(vector(() => ldcw(cpu, 0x37f))).toBe(16);
  });
  it('WAIT and MMX conditions', () => {
    const cpu = new TestCpu();
    cpu.call('x87.fninit');
    cpu.cr0 = 0x28;
    expect(vector(() => cpu.call('x86.fwait'))).toBe(-1);
    cpu.cr0 = 0x2a;
    expect(vector(() => cpu.call('x86.fwait'))).toBe(7);
    expect(vector(() => cpu.call('x86.mmx.enter', { imm: 3 }))).toBe(7);
    cpu.cr0 = 0x24;
    expect(vector(() => cpu.call('x86.emms'))).toBe(6);
    cpu.cr0 = 0x20;
    cpu.call('x87.fldconst');
    cpu.call('x86.mmx.enter', { imm: 3 });
    expect(cpu.V[Slot.FPU * 2 + 1]! & 0xff).toBe(0xff);
    expect((fsw(cpu) >> 11) & 7).toBe(0);
    expect(cpu.V[(Slot.X87 + 7) * 2]).toBe(0xffff);
    cpu.call('x86.emms');
    expect(cpu.V[Slot.FPU * 2 + 1]! & 0xff).toBe(0);
    expect(vector(() => cpu.call('x86.fpu.unavailable', { imm: 0 }))).toBe(7);
  });
  it('a faulting store changes nothing', () => {
    const cpu = new TestCpu();
    cpu.call('x87.fninit');
    cpu.call('x87.fldconst', { imm: 3 });
    const before = cpu.V.slice(Slot.FPU * 2, Slot.FPU * 2 + 2);
    cpu.limit = 0x1004;
    cpu.setSlot(T_ADDR, 0x1000n);
    expect(vector(() => cpu.call('x87.fstp.f80', { a: T_ADDR, c: T_ADDR }))).toBe(14);
    expect(cpu.data.getUint32(0x1000)).toBe(0);
    expect(vector(() => cpu.call('x87.fistp.i64', { a: T_ADDR, c: T_ADDR }))).toBe(14);
    expect(cpu.V.slice(Slot.FPU * 2, Slot.FPU * 2 + 2)).toEqual(before);
  });
});

describe('FXSAVE and the XSAVE family', () => {
  const AREA = 0x1fc0;
  const fillState = (cpu: TestCpu, seed: number): void => {
    const r = rng(seed);
    cpu.call('x87.fninit');
    for (let i = 0; i < 3; i++) cpu.call('x87.fldconst', { imm: 1 + (r() % 5) });
    for (let i = 0; i < 16; i++) for (let k = 0; k < 8; k++) cpu.V[xmm(i) * 2 + k] = r() | 0;
    cpu.V[Slot.MXCSR * 2] = 0x9fc0;
  };
  const image = (cpu: TestCpu): string => {
    let s = `${cpu.V[Slot.FPU * 2]} ${cpu.V[Slot.FPU * 2 + 1]} ${cpu.V[Slot.MXCSR * 2]}`;
    for (let i = Slot.X87 * 2; i < (Slot.X87 + 16) * 2; i++) s += ` ${cpu.V[i]}`;
    for (let i = 0; i < 16; i++) s += ` ${cpu.V.slice(xmm(i) * 2, xmm(i) * 2 + 8).join(' ')}`;
    return s;
  };
  const wipe = (cpu: TestCpu): void => {
    cpu.V.fill(0, Slot.X87 * 2, (Slot.X87 + 16) * 2);
    cpu.V.fill(0, Slot.VEC * 2, (Slot.VEC + 256) * 2);
    cpu.call('x87.fninit');
    cpu.V[Slot.MXCSR * 2] = 0x1f80;
  };
  const bulk = (cpu: TestCpu): void => {
    Object.assign(cpu.map, { ram8: cpu.memory, ram32: new Int32Array(cpu.memory.buffer) });
    for (let page = 0; page < 16; page++) {
      const e = (TLB_BASE >> 2) + page * 8;
      cpu.V[e + (TlbField.TAG_READ >> 2)] = cpu.V[e + (TlbField.TAG_WRITE >> 2)] = page << 12;
      cpu.V[e + (TlbField.RAM_PAGE >> 2)] = page << 12;
    }
  };
  const noTlb = (cpu: TestCpu): void => void cpu.V.fill(-1, TLB_BASE >> 2, (TLB_BASE >> 2) + 128);

  for (const fast of [true, false]) {
    const make = (): TestCpu => {
      const cpu = new TestCpu();
      if (fast) bulk(cpu);
      else noTlb(cpu);
      cpu.setSlot(T_ADDR, BigInt(AREA));
      cpu.setSlot(X.RAX, 7n);
      return cpu;
    };
    const kind = fast ? 'through the TLB' : 'piece by piece';
    it(`FXSAVE64 and FXRSTOR64 across a page boundary, ${kind}`, () => {
      const cpu = make();
      fillState(cpu, 1);
      for (let i = 0; i < 16; i++) cpu.V.fill(0, xmm(i) * 2 + 4, xmm(i) * 2 + 8);
      const before = image(cpu);
      cpu.data.setUint8(AREA + 500, 0x5a);
      cpu.call('x86.fxsave', { a: T_ADDR, imm: 1 });
      expect(cpu.data.getUint8(AREA + 500)).toBe(0x5a);
      expect(cpu.data.getUint32(AREA + 28, true)).toBe(0xffff);
      expect(cpu.data.getUint16(AREA + 4, true)).toBe(0xe0);
      wipe(cpu);
      expect(image(cpu)).not.toBe(before);
      cpu.call('x86.fxrstor', { a: T_ADDR, imm: 1 });
      expect(image(cpu)).toBe(before);
    });
    for (const [save, restore] of [['xsave', 'xrstor'], ['xsaveopt', 'xrstor'], ['xsavec', 'xrstor'], ['xsaves', 'xrstors']] as const) {
      it(`${save} and ${restore}, ${kind}`, () => {
        const cpu = make();
        fillState(cpu, 2);
        const before = image(cpu);
        cpu.call(`x86.${save}`, { a: T_ADDR, imm: 1 });
        expect(cpu.data.getUint32(AREA + 512, true)).toBe(7);
        expect(cpu.data.getUint32(AREA + 524, true)).toBe(save === 'xsavec' || save === 'xsaves' ? 0x8000_0000 : 0);
        wipe(cpu);
        cpu.call(`x86.${restore}`, { a: T_ADDR, imm: 1 });
        expect(image(cpu)).toBe(before);
        // A component that is not in the image is initialised.
        cpu.data.setUint32(AREA + 512, 3, true);
        cpu.call(`x86.${restore}`, { a: T_ADDR, imm: 1 });
        for (let i = 0; i < 16; i++) expect(cpu.V.slice(xmm(i) * 2 + 4, xmm(i) * 2 + 8).some((x) => x !== 0)).toBe(false);
        // One that is not asked for is left alone.
        fillState(cpu, 3);
        cpu.setSlot(X.RAX, 1n);
        const other = cpu.V.slice(xmm(0) * 2, xmm(0) * 2 + 8);
        cpu.call(`x86.${restore}`, { a: T_ADDR, imm: 1 });
        expect(cpu.V.slice(xmm(0) * 2, xmm(0) * 2 + 8)).toEqual(other);
      });
    }
  }

  it('initial state is not marked in XSTATE_BV and not written by the optimising forms', () => {
    const cpu = new TestCpu();
    bulk(cpu);
    cpu.setSlot(T_ADDR, BigInt(AREA));
    cpu.setSlot(X.RAX, 7n);
    wipe(cpu);
    cpu.memory.fill(0xcc, AREA, AREA + 832);
    cpu.data.setBigUint64(AREA + 512, 0n, true);
    cpu.call('x86.xsaveopt', { a: T_ADDR, imm: 1 });
    expect(cpu.data.getUint32(AREA + 512, true)).toBe(0);
    expect(cpu.data.getUint32(AREA, true)).toBe(0xcccccccc);
    expect(cpu.data.getUint32(AREA + 24, true)).toBe(0x1f80);
    cpu.call('x86.xsave', { a: T_ADDR, imm: 1 });
    expect(cpu.data.getUint32(AREA, true)).toBe(0x37f);
  });

  it('faults: alignment, reserved bits, privilege, CR bits', () => {
    const cpu = new TestCpu();
    bulk(cpu);
    wipe(cpu);
    cpu.setSlot(X.RAX, 7n);
    const at = (a: number): void => cpu.setSlot(T_ADDR, BigInt(a));
    const v = (n: string): number => vector(() => cpu.call(`x86.${n}`, { a: T_ADDR }));
    at(AREA + 8);
    expect(v('fxsave')).toBe(13);
    at(AREA + 16);
    expect(v('fxsave')).toBe(-1);
    expect(v('xsave')).toBe(13);
    at(AREA);
    cpu.data.setUint32(AREA + 24, 0x10000, true);
    expect(v('fxrstor')).toBe(13);
    cpu.data.setUint32(AREA + 24, 0x1f80, true);
    cpu.memory.fill(0, AREA + 512, AREA + 576);
    expect(v('xrstor')).toBe(-1);
    expect(v('xrstors')).toBe(13);
    for (const [off, value] of [[512, 8], [516, 1], [520, 1], [528, 1], [532, 1]] as const) {
      cpu.data.setUint32(AREA + off, value, true);
      expect(v('xrstor'), `header ${off}`).toBe(13);
      cpu.data.setUint32(AREA + off, 0, true);
    }
    cpu.data.setUint32(AREA + 524, 0x8000_0000, true);
    cpu.data.setUint32(AREA + 520, 3, true);
    cpu.data.setUint32(AREA + 512, 4, true);
    expect(v('xrstor')).toBe(13);
    cpu.data.setUint32(AREA + 512, 0, true);
    expect(v('xrstors')).toBe(-1);
    cpu.mode = Mode.CODE64 | Mode.CSFLAT | Mode.FLAT | Mode.USER;
    expect(v('xrstors')).toBe(13);
    expect(v('xsaves')).toBe(13);
    cpu.cr4 = 0;
    expect(v('xsave')).toBe(6);
    cpu.cr0 = 0x28;
    expect(v('fxsave')).toBe(7);
    cpu.cr4 = 0x40000;
    expect(v('xrstor')).toBe(7);
  });

  it('probes the whole area before writing', () => {
    const cpu = new TestCpu();
    noTlb(cpu);
    fillState(cpu, 9);
    cpu.limit = 0x2000;
    cpu.setSlot(T_ADDR, BigInt(AREA));
    cpu.setSlot(X.RAX, 7n);
    expect(vector(() => cpu.call('x86.xsave', { a: T_ADDR, imm: 1 }))).toBe(14);
    expect(cpu.memory.every((b) => b === 0)).toBe(true);
  });
});

describe('state images', () => {
  for (const [label, mode, wide] of [['32-bit protected', 0, 1], ['16-bit protected', 0, 0], ['32-bit real', Mode.REAL, 1], ['16-bit real', Mode.REAL, 0]] as const) {
    it(`${label}: FNSAVE, FRSTOR`, () => {
      const cpu = new TestCpu();
      cpu.mode = Mode.CODE16 | mode;
      cpu.call('x87.fninit');
      cpu.V[(X.SEGBASE + 1) * 2] = 0x12340;
      cpu.V[(X.SEGBASE + 3) * 2] = 0x23450;
      cpu.V[Slot.PCBASE * 2] = 0x15000;
      cpu.V[Slot.X_INSN * 2] = 0x678;
      cpu.setSlot(T_ADDR, 0x42n);
      cpu.data.setBigUint64(0x42, 0x3ff8_0000_0000_0000n, true);
      cpu.call('x87.fld.f64', { a: T_ADDR, c: T_ADDR, imm: 0x506 << 16 });
      const ip = cpu.V[Slot.FPU_IP * 2]!;
      expect(ip).toBe(0x15678 - 0x12340);
      cpu.setSlot(T_ADDR, 0x100n);
      const state = [...cpu.V.slice(Slot.FPU * 2, Slot.FPU_DP * 2 + 2), ...cpu.V.slice(Slot.X87 * 2, (Slot.X87 + 16) * 2)];
      cpu.call('x87.fnsave', { a: T_ADDR, imm: wide });
      const d = cpu.data;
      const n = wide !== 0 ? 4 : 2;
      const get = (i: number): number => (wide !== 0 ? d.getUint32(0x100 + i * n, true) : d.getUint16(0x100 + i * n, true));
      expect(get(2) & 0xffff).toBe(0x3fff);
      if (mode === Mode.REAL) {
        expect(get(3) & 0xffff).toBe(0x5678);
        expect(get(4)).toBe(0x1000 | 0x506);
        expect(get(5) & 0xffff).toBe(0x3492);
        expect(get(6)).toBe(0x2000);
      } else {
        expect(get(3)).toBe(ip);
        expect(get(4)).toBe(wide !== 0 ? 0x506 << 16 : 0);
        expect(get(5)).toBe(0x42);
      }
      expect(cpu.V[Slot.FPU * 2]).toBe(0x37f);
      cpu.V.fill(0, Slot.X87 * 2, (Slot.X87 + 16) * 2);
      cpu.call('x87.frstor', { a: T_ADDR, imm: wide });
      // The 16-bit protected image has no opcode.
      if (wide === 0 && mode !== Mode.REAL) state[1] = state[1]! & 0xffff;
      expect([...cpu.V.slice(Slot.FPU * 2, Slot.FPU_DP * 2 + 2), ...cpu.V.slice(Slot.X87 * 2, (Slot.X87 + 16) * 2)]).toEqual(state);
    });
  }
});
