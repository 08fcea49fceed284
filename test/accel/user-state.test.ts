/** What comes back from user mode in KVM while kernel mode is the engine's: the CPU stands at an instruction of user mode, whatever had begun. */
import { afterAll, describe, expect, it } from 'vitest';
import { Block } from '#lib/accel/kvm/layout.js';
import { StateBlock } from '#lib/accel/kvm/state.js';
import { Ef } from '#lib/engine/guest/x86/defs.js';
import { X } from '#lib/engine/guest/x86/mode.js';
import { Slot } from '#lib/engine/state.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { Bench } from './harness.js';

const LSTAR_LO = 0xa460_0080 | 0;
const AFTER_SYSCALL = 0x40_2000;
const RIP = Block.REGS + 128;

describe.skipIf(skipFor(noAddon))('state after user mode in KVM', () => {
  const bench = new Bench('interp');
  afterAll(() => bench.dispose());

  /** @param rip where KVM says that the CPU is @param r11 what SYSCALL leaves there */
  function back(rip: readonly [number, number], r11: number): { pc: readonly [number, number]; eflags: number } {
    const { cpu } = bench;
    bench.start('long64', Uint8Array.of(0xf4));
    const V = cpu.V;
    V[X.EFLAGS * 2] = Ef.IF | 2;
    cpu.msr.lstarLo = LSTAR_LO;
    cpu.msr.lstarHi = -1;
    const s = new StateBlock(new ArrayBuffer(Block.BYTES), cpu);
    s.save(cpu, true);
    // SS.DPL: user mode.
    s.bytes[Block.SREGS + 5 * 24 + 16] = 3;
    s.words[RIP >> 2] = rip[0];
    s.words[(RIP >> 2) + 1] = rip[1];
    const put = (register: number, v: number): void => {
      s.words[(Block.REGS + register * 8) >> 2] = v;
      s.words[(Block.REGS + register * 8 + 4) >> 2] = 0;
    };
    // As struct kvm_regs has them: RCX is the third, R11 the twelfth.
    put(2, AFTER_SYSCALL);
    put(11, r11);
    s.loadUser(cpu, false);
    cpu.nextIp();
    return { pc: [V[Slot.PC * 2]!, V[Slot.PC * 2 + 1]!], eflags: V[X.EFLAGS * 2]! };
  }

  it('is at SYSCALL again if that was stopped before its target was fetched', () => {
    expect(back([LSTAR_LO, -1], Ef.IF | Ef.AC | 2)).toEqual({ pc: [AFTER_SYSCALL - 2, 0], eflags: Ef.IF | Ef.AC | 2 });
  });

  it('takes no privilege from R11', () => {
    expect(back([LSTAR_LO, -1], Ef.IOPL | Ef.VM | Ef.NT).eflags).toBe(Ef.IF | Ef.NT | 2);
  });

  it('is where KVM says otherwise', () => {
    expect(back([0x40_1000, 0], 0)).toEqual({ pc: [0x40_1000, 0], eflags: Ef.IF | 2 });
  });
});
