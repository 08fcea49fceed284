/** The return stack: calls and returns between blocks, and what must not be returned to. */
import { describe, expect, it } from 'vitest';
import { dropReturns, RETURNS_END, STACK_TOP } from '#lib/engine/host/x64/stubs.js';
import { ExitCode, Slot, STATE_BIAS } from '#lib/engine/state.js';
import { canRun, Jit } from './jit.js';

const PAGE = 0x7f12_3456_7000n;
const RAX = 8;
const depth = (jit: Jit): number => (STACK_TOP - STATE_BIAS - jit.cpu.V[Slot.X_RETURNS * 2]!) / 16;

/** A call at 0x10 to 0x100 whose return is to 0x14, and a return to the address in RAX; the call goes straight to it. */
function pair(returnMode = 0): { jit: Jit; caller: ReturnType<Jit['block']>; back: number } {
  const jit = new Jit();
  const callee = jit.block((b) => b.jmpi(RAX, 2), { mode: returnMode });
  const caller = jit.block((b) => b.jmp(0x100, 1));
  const site = (offset: number): number => caller.sites[caller.sites.findIndex((s, i) => i % 3 === 1 && s === offset) - 1]!;
  jit.backend.patch(site(0x100), callee.entryB);
  jit.cpu.set(Slot.PCBASE, PAGE);
  jit.cpu.set(RAX, PAGE + 0x14n);
  return { jit, caller, back: site(0x14) };
}

describe.skipIf(!canRun)('return stack', () => {
  it('a return comes back to the code after its call', () => {
    const { jit, caller, back } = pair();
    expect(jit.run(caller)).toBe(ExitCode.CHAIN);
    expect(jit.lastSite).toBe(back);
    expect(jit.cpu.get(Slot.PC)).toBe(PAGE + 0x14n);
    expect(depth(jit)).toBe(0);
  });

  it('a return to somewhere else looks the address up and empties the stack', () => {
    const { jit, caller } = pair();
    jit.cpu.set(RAX, PAGE + 0x15n);
    expect(jit.run(caller)).toBe(ExitCode.NEXT);
    expect(jit.cpu.get(Slot.PC)).toBe(PAGE + 0x15n);
    expect(depth(jit)).toBe(0);
    const other = jit.block((b) => b.exit(ExitCode.HALT, 0x20));
    jit.cpu.set(Slot.PCBASE, PAGE);
    jit.cache(PAGE + 0x15n, other);
    expect(jit.run(caller)).toBe(ExitCode.HALT);
  });

  it('a return in another mode does not run code of the call’s mode', () => {
    const { jit, caller } = pair(3);
    expect(jit.run(caller)).toBe(ExitCode.NEXT);
    expect(jit.cpu.get(Slot.PC)).toBe(PAGE + 0x14n);
  });

  it('after a flush nothing on the stack is returned to, and what a yield has pushed stays', () => {
    const jit = new Jit();
    const cpu = jit.cpu;
    const drop = cpu.helpers.define('drop', (c) => {
      dropReturns((c as unknown as { V: Int32Array }).V);
      return 0;
    });
    const callee = jit.block((b) => {
      b.call(drop);
      b.jmpi(RAX, 2);
    });
    const caller = jit.block((b) => b.jmp(0x100, 1));
    jit.backend.patch(caller.sites[caller.sites.indexOf(0x100) - 1]!, callee.entryB);
    cpu.set(Slot.PCBASE, PAGE);
    cpu.set(RAX, PAGE + 0x14n);
    expect(jit.run(caller)).toBe(ExitCode.NEXT);
    expect(cpu.get(Slot.PC)).toBe(PAGE + 0x14n);
  });

  it('a call that is not linked yet leaves its return on the stack, and an endless recursion starts anew', () => {
    const { jit, caller } = pair();
    const direct = jit.block((b) => b.jmp(0x200, 1));
    const indirect = jit.block((b) => b.jmpi(RAX, 1));
    jit.cpu.set(Slot.PCBASE, PAGE);
    expect(jit.run(direct)).toBe(ExitCode.CHAIN);
    expect(depth(jit)).toBe(1);
    jit.cpu.set(RAX, PAGE + 0x555n);
    expect(jit.run(indirect)).toBe(ExitCode.NEXT);
    expect(depth(jit)).toBe(2);
    for (let i = 0; i < 200; i++) {
      jit.cpu.set(Slot.PCBASE, PAGE);
      jit.run(i & 1 ? direct : indirect);
      expect(depth(jit)).toBeLessThanOrEqual((STACK_TOP - RETURNS_END) / 16 + 1);
      expect(Number.isInteger(depth(jit))).toBe(true);
    }
    jit.cpu.set(Slot.PCBASE, PAGE);
    jit.cpu.set(RAX, PAGE + 0x14n);
    expect(jit.run(caller)).toBe(ExitCode.CHAIN);
  });

  it('a pending request is seen before a call and before a return', () => {
    for (const make of ['call', 'return']) {
      const jit = new Jit();
      const c = jit.block((b) => b.jmpi(RAX, make === 'call' ? 1 : 2));
      jit.cpu.set(RAX, PAGE);
      jit.cpu.set(Slot.PENDING, 1n);
      expect(jit.run(c)).toBe(ExitCode.PENDING);
      expect(depth(jit)).toBe(0);
    }
  });

  it('a call at the end of a page is an ordinary jump', () => {
    const jit = new Jit();
    const c = jit.block((b) => {
      b.insn(0xffe, 0x1000);
      b.jmp(0x100, 1);
    });
    expect(jit.run(c)).toBe(ExitCode.CHAIN);
    expect(depth(jit)).toBe(0);
  });
});
