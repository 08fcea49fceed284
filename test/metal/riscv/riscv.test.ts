/** Bare-metal checks of RISC-V privilege: traps, returns, sstatus, interrupts; page tables under a hot loop; the Advanced Interrupt Architecture; debug triggers. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { hostTool, noAddon, skipFor } from '../../boot/guests.js';

const missing = noAddon ?? hostTool('riscv64-linux-gnu-gcc', 'riscv64-linux-gnu-ld');
const dir = mkdtempSync(join(tmpdir(), 'vmx-metal-riscv-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Assembles, links, and runs the program without firmware. @returns its lines, and how many loops were compiled as one piece. */
async function run(program: string, accel: 'jit' | 'interp', machine: 'virt' | `virt,${string}` = 'virt', lockstep = false): Promise<{ lines: string[]; regions: number }> {
  const object = join(dir, `${program}.o`);
  const kernel = join(dir, `${program}.elf`);
  execFileSync('riscv64-linux-gnu-gcc', ['-c', '-march=rv64gc', '-mabi=lp64d', '-mno-relax', '-o', object, fileURLToPath(new URL(`${program}.S`, import.meta.url))], { stdio: 'pipe' });
  execFileSync('riscv64-linux-gnu-ld', ['-N', '--no-relax', '--no-warn-rwx-segments', '-Ttext=0x80000000', '-e', '_start', '-o', kernel, object], { stdio: 'pipe' });
  await using vm = await VirtualMachine.create({ kernel, machine, cpu: 'max', firmware: 'none', memory: '64M', accel, debug: lockstep ? { lockstep, lockstepEvery: 1 } : {} });
  let text = '';
  vm.serial.on('data', (b: Uint8Array) => (text += Buffer.from(b).toString('latin1')));
  vm.start();
  expect(await vm.wait()).toMatchObject({ reason: 'power-off' });
  return { lines: text.trim().split('\n'), regions: (await vm.stats()).engine.regions };
}

/** Programs, their machines, and how many checks they print. */
const PROGRAMS = [['imsic', 'virt,aia=aplic-imsic', 59], ['aplic', 'virt,aia=aplic', 20], ['triggers', 'virt', 51]] as const;

function expectOk(lines: readonly string[], checks: number): void {
  expect(lines.filter((l) => !l.startsWith('ok'))).toEqual(['done']);
  expect(lines.length).toBe(checks + 1);
}

describe.skipIf(skipFor(missing))('RISC-V bare metal', () => {
  for (const accel of ['jit', 'interp'] as const) {
    it(`traps and sstatus on ${accel}`, async () => {
      expectOk((await run('trap', accel)).lines, 29);
    }, 120_000);

    it.each(PROGRAMS)(`%s on ${accel}`, async (program, machine, checks) => {
      expectOk((await run(program, accel, machine)).lines, checks);
    }, 120_000);

    it(`a page that changes under a hot loop on ${accel}`, async () => {
      const { lines, regions } = await run('loop', accel);
      expect(lines).toEqual(['ok page A', 'ok page B', 'ok page A', 'done']);
      expect(regions > 0).toBe(accel === 'jit');
    }, 120_000);
  }

  it.each(PROGRAMS)('%s in lockstep', async (program, machine, checks) => {
    expectOk((await run(program, 'jit', machine, true)).lines, checks);
  }, 120_000);
});
