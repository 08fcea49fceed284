/** Bare-metal checks of RISC-V privilege: traps, returns, sstatus, interrupts. */
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

/** Assembles, links, and runs the program without firmware. @returns its lines. */
async function run(accel: 'jit' | 'interp'): Promise<string[]> {
  const object = join(dir, 'trap.o');
  const kernel = join(dir, 'trap.elf');
  execFileSync('riscv64-linux-gnu-gcc', ['-c', '-march=rv64gc', '-mabi=lp64d', '-mno-relax', '-o', object, fileURLToPath(new URL('trap.S', import.meta.url))], { stdio: 'pipe' });
  execFileSync('riscv64-linux-gnu-ld', ['-N', '--no-relax', '--no-warn-rwx-segments', '-Ttext=0x80000000', '-e', '_start', '-o', kernel, object], { stdio: 'pipe' });
  await using vm = await VirtualMachine.create({ kernel, firmware: 'none', memory: '64M', accel });
  let text = '';
  vm.serial.on('data', (b: Uint8Array) => (text += Buffer.from(b).toString('latin1')));
  vm.start();
  expect(await vm.wait()).toMatchObject({ reason: 'power-off' });
  return text.trim().split('\n');
}

describe.skipIf(skipFor(missing))('RISC-V bare metal', () => {
  for (const accel of ['jit', 'interp'] as const) {
    it(`traps and sstatus on ${accel}`, async () => {
      const lines = await run(accel);
      expect(lines.filter((l) => !l.startsWith('ok'))).toEqual(['done']);
      expect(lines.length).toBe(30);
    }, 120_000);
  }
});
