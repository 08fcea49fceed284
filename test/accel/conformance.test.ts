/** One table of cases for interpreter, JIT and KVM: the same code ends in the same state, and devices see the same. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { CASES } from './cases.js';
import { Bench, type EndState, type Executor, kvm, noKvm, softKvm } from './harness.js';

if (noKvm !== null) process.stderr.write(`skipped on KVM: ${noKvm}\n`);
const skip = skipFor(noAddon ?? (process.arch === 'x64' ? null : 'the JIT and KVM need an x86-64 host'));

/** Without the arithmetic flags, which some instructions leave undefined. */
const comparable = (s: EndState): EndState => ({ ...s, flags: s.flags & 0x3_7702 });
/** How the interpreter ended. */
const reference = new Map<string, EndState>();

for (const executor of ['interp', 'jit', 'kvm'] as const satisfies readonly Executor[]) {
  describe.skipIf(skip || (executor === 'kvm' && noKvm !== null))(`conformance: ${executor}`, () => {
    let bench: Bench;
    beforeAll(() => {
      bench = new Bench(executor);
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
        for (const [name, value] of Object.entries(c.regs ?? {})) expect(`${name} ${s.regs[name]!.toString(16)}`).toBe(`${name} ${value.toString(16)}`);
        expect(s.log).toEqual(c.log ?? []);
        expect(s.data).toBe(c.data ?? '');
        if (c.stack !== undefined) expect(s.stack.map((w) => w.toString(16))).toEqual(c.stack.map((w) => w.toString(16)));
        if (c.cr2 !== undefined) expect(s.cr2).toBe(c.cr2);
        expect(s.cpl).toBe(c.cpl ?? 0);
        // Whatever the table does not say, too.
        if (executor === 'interp') reference.set(c.name, comparable(s));
        else expect(comparable(s)).toEqual(reference.get(c.name));
      });
    }

    // After the cases above, which write to a window that allows it.
    it.skipIf(executor !== 'kvm' || kvm?.coalescedPage === 0)('has collected writes', () => {
      expect(bench.accelerator!.stats().collectedWrites).toBeGreaterThanOrEqual(6);
    });
  });
}
