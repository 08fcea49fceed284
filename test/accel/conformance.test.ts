/** One table of cases for interpreter, JIT and KVM: the same code ends in the same state, and devices see the same. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { CASES } from './cases.js';
import { Bench, type BenchOptions, type EndState, type Executor, kvm, noKvm, softKvm } from './harness.js';

if (noKvm !== null) process.stderr.write(`skipped on KVM: ${noKvm}\n`);
const skip = skipFor(noAddon ?? (process.arch === 'x64' ? null : 'the JIT and KVM need an x86-64 host'));

/** Without the arithmetic flags, which some instructions leave undefined. */
const comparable = (s: EndState): EndState => ({ ...s, flags: s.flags & 0x3_7702 });
/** How the interpreter ended. */
const reference = new Map<string, EndState>();

/** Executors, with the interrupt controllers that they have: a queue of the test's, the models of a PC's, or KVM's. */
const WAYS: readonly { executor: Executor; options: BenchOptions }[] = [
  { executor: 'interp', options: {} }, { executor: 'jit', options: {} }, { executor: 'kvm', options: {} },
  { executor: 'interp', options: { pc: true } }, { executor: 'kvm', options: { pc: true } },
  { executor: 'kvm', options: { pc: true, irqchip: 'split' } }, { executor: 'kvm', options: { pc: true, irqchip: 'full' } },
];
const lacks = (irqchip: BenchOptions['irqchip']): boolean => (irqchip === 'split' || irqchip === 'full') && kvm?.irqchip[irqchip] !== true;
for (const { executor, options } of WAYS) {
  if (noKvm === null && lacks(options.irqchip)) process.stderr.write(`skipped: this KVM has no ${options.irqchip!} irqchip\n`);
  describe.skipIf(skip || (executor === 'kvm' && (noKvm !== null || lacks(options.irqchip))))(`conformance: ${executor}${options.pc ? `, irqchip=${options.irqchip ?? 'off'}` : ''}`, () => {
    let bench: Bench;
    beforeAll(() => {
      bench = new Bench(executor, options);
    });
    afterAll(() => bench.dispose());

    for (const c of CASES) {
      const flawed = executor === 'kvm' && softKvm && c.soft !== undefined;
      it.skipIf(flawed)(flawed ? `${c.name} (${c.soft ?? ''})` : c.name, () => {
        bench.start(c.mode, Buffer.from(c.code, 'hex'));
        const s = bench.run();
        expect(s.end).toBe(c.end ?? 'halt');
        if (s.end === 'shutdown') return;
        expect(s.rip.toString(16)).toBe(c.rip.toString(16));
        for (const [name, value] of Object.entries({ ...c.regs, ...(options.pc ? c.apic : {}) })) expect(`${name} ${s.regs[name]!.toString(16)}`).toBe(`${name} ${value.toString(16)}`);
        expect(s.log).toEqual(c.log ?? []);
        expect(s.data).toBe(c.data ?? '');
        if (c.stack !== undefined) expect(s.stack.map((w) => w.toString(16))).toEqual(c.stack.map((w) => w.toString(16)));
        if (c.cr2 !== undefined) expect(s.cr2).toBe(c.cr2);
        expect(s.cpl).toBe(c.cpl ?? 0);
        // Whatever the table does not say, too.
        const same = options.pc && c.apic !== undefined ? `${c.name}, APIC` : c.name;
        if (executor === 'interp' && !reference.has(same)) reference.set(same, comparable(s));
        else expect(comparable(s)).toEqual(reference.get(same));
      });
    }

    // After the cases above, which write to a window that allows it.
    it.skipIf(executor !== 'kvm' || kvm?.coalescedPage === 0)('has collected writes', () => {
      expect(bench.accelerator!.stats().collectedWrites).toBeGreaterThanOrEqual(6);
    });
  });
}
