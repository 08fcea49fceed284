/**
 * Bare-metal programs that check system behaviour against the Intel SDM, on both executors. QEMU's TCG, where installed,
 * runs them too: it shows that a check asks for what other implementations do as well, but for the departures listed here.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { build, hasQemu, missingTools, type Outcome, type Program, run, runQemu } from './metal.js';

/** TCG loads before it stores, and reports P = 0 for reserved bits; it lets STAC cover implicit accesses; it misses writes to a block's tail in its own frame. */
const QEMU_PAGING = [/is a write$/, /^implicit access/, /without NXE/, /reserved address bit$/, /: bit \d+$/, /: PS$/, /^stack, non-canonical/, /in the one frame$/];

const PROGRAMS: readonly Program[] = [
  { name: 'basics32' },
  { name: 'basics64' },
  { name: 'paging32', qemu: QEMU_PAGING },
  { name: 'paging-pae', qemu: QEMU_PAGING },
  { name: 'paging4', qemu: QEMU_PAGING },
  { name: 'paging5', qemu: QEMU_PAGING },
  { name: 'smc64' },
  { name: 'jumps64' },
  // TCG reads registers that do not exist, and the counter, as zero.
  { name: 'answers64', qemu: [/^a register that does not exist/, 'TSC'] },
  // TCG lets PCIDE be set with a PCID in CR3 and does not survive it.
  { name: 'pcid', qemu: 'skip' },
  {
    name: 'gates64',
    // No EXT bit, no accessed bit for handlers' segments, #NP for a stack that is not present, no check of targets, and
    // some one-byte opcodes that 64-bit mode lacks.
    qemu: ['non-canonical handler', 'code segment marked accessed', /^#UD, /, /does not exist$/, /^IRETQ: (CS with L and D|SS not present)$/],
  },
  {
    name: 'gates32',
    qemu: ['handler past the limit', /^#UD, /, 'inner SS not present', 'inner stack outside its limit', 'call gate to conforming code: CS'],
  },
  // TCG checks neither limits nor rights of segments when they are used.
  { name: 'segments32', qemu: 'skip' },
  // TCG takes every x2APIC write.
  { name: 'irq64', qemu: ['x2APIC: version is read-only', 'x2APIC: EOI must be 0'] },
  { name: 'smp32', cpus: 2 },
  { name: 'parallel32', cpus: 4 },
  // TCG raises neither #MF nor #XM where it should, and takes reserved bits of MXCSR.
  {
    name: 'fpu64',
    qemu: [
      'TS: EMMS', 'TS: XSAVE', /^EM and TS/, /#MF/, 'SSE, unmasked', 'destination unchanged', 'SSE, unmasked, no OSXMMEXCPT', 'LDMXCSR: reserved bit',
      'FXRSTOR: reserved MXCSR bit', 'EM: AVX',
    ],
  },
  { name: 'triple', status: 125, qemu: 'skip' },
  // TCG ends a REP by itself after its last iteration, meets breakpoints in it late, and notes one of two breakpoints.
  { name: 'debug64', qemu: ['DR6: fixed zeros', /^REP/, 'two breakpoints: DR6', 'MOV SS from a watched word: one instruction later'] },
  // The EIP saved for a fault in the new task is another one.
  { name: 'tasks32', qemu: ['#GP: RF saved', 'gate to the LDT', "its EIP is the new task's"] },
  // TCG has no limits in real mode and runs wild without them.
  { name: 'real16', qemu: 'skip' },
  // No VME, no PVI, no limits in virtual-8086 mode.
  { name: 'v86', qemu: [/^(VME|PVI)/, /FFFFh$/, 'handler of ring 1', 'IRET in ring 3 ignores VM'] },
];

const why = missingTools();
if (why !== null) console.log(`bare-metal tests are skipped: ${why}`);

function verdict(o: Outcome, status: number): void {
  expect(o.bad).toEqual([]);
  if (status === 1) expect(o.done, `the program did not end:\n${o.text.slice(-2000)}`).toBe(true);
  expect(o.status).toBe(status);
}

describe.skipIf(why !== null)('bare metal', () => {
  const images = new Map<string, string>();
  const qemu = why === null && hasQemu();

  beforeAll(() => {
    for (const p of PROGRAMS) images.set(p.name, build(p.name));
  });

  for (const p of PROGRAMS) {
    for (const accel of ['interp', 'jit'] as const) {
      test.skipIf(accel === 'jit' && process.arch !== 'x64').concurrent(`${p.name} on ${accel}`, async () => {
        verdict(await run(images.get(p.name)!, accel, p.cpus), p.status ?? 1);
      });
    }
    const known = p.qemu ?? [];
    // QEMU's CPUs are threads of their own: on a busy host one may wait longer for another than a program allows.
    test.skipIf(!qemu || known === 'skip').concurrent(`${p.name} on QEMU`, { retry: 2 }, async () => {
      if (known === 'skip') return;
      const o = await runQemu(images.get(p.name)!, p.cpus);
      const name = (line: string): string => line.replace(/( \([a-z ]+\))? got .*$/, '');
      expect(o.bad.filter((b) => !known.some((k) => (typeof k === 'string' ? k === name(b) : k.test(name(b)))))).toEqual([]);
      if ((p.status ?? 1) === 1) expect(o.done, o.text.slice(-2000)).toBe(true);
    });
  }
});
