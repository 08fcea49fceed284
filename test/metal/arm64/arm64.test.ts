/** Bare-metal checks of the ARM64 system architecture: exceptions, page tables, timers, interrupts; self-hosted debug, performance monitors; branch targets, pointer authentication. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { noAddon, skipFor } from '../../boot/guests.js';

const onPath = (name: string): boolean => (process.env.PATH ?? '').split(':').some((d) => existsSync(join(d, name)));
const cc = ['aarch64-linux-gnu-gcc', 'aarch64-linux-gnu-gcc-12', 'aarch64-linux-gnu-gcc-14'].find(onPath);
const missing = noAddon ?? (cc === undefined || !onPath('aarch64-linux-gnu-ld') ? 'no cross tools: install gcc-aarch64-linux-gnu' : null);
const dir = mkdtempSync(join(tmpdir(), 'vmx-metal-arm64-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Assembles, links, and runs the program on a CPU of the model named. @returns its lines, and how many loops were compiled as one piece. */
async function run(program: string, accel: 'jit' | 'interp', cpu?: string): Promise<{ lines: string[]; regions: number }> {
  const object = join(dir, `${program}.o`);
  const kernel = join(dir, `${program}.elf`);
  execFileSync(cc!, ['-c', '-march=armv8.5-a', '-o', object, fileURLToPath(new URL(`${program}.S`, import.meta.url))], { stdio: 'pipe' });
  execFileSync('aarch64-linux-gnu-ld', ['-N', '--no-warn-rwx-segments', '-Ttext=0x40080000', '-e', '_start', '-o', kernel, object], { stdio: 'pipe' });
  await using vm = await VirtualMachine.create({ kernel, memory: '64M', accel, ...(cpu === undefined ? {} : { cpu }) });
  let text = '';
  vm.serial.on('data', (b: Uint8Array) => (text += Buffer.from(b).toString('latin1')));
  vm.start();
  expect(await vm.wait()).toMatchObject({ reason: 'power-off' });
  return { lines: text.trim().split('\n'), regions: (await vm.stats()).engine.regions };
}

describe.skipIf(skipFor(missing))('ARM64 bare metal', () => {
  for (const accel of ['jit', 'interp'] as const) {
    it.each([
      ['system', undefined, 38], ['debug', undefined, 28], ['absent', undefined, 17], ['bti', 'max', 61], ['pauth', 'max', 113], ['system', 'max', 38], ['debug', 'max', 28],
    ] as const)(`%s.S on ${accel}, --cpu %s`, async (program, cpu, checks) => {
      const { lines } = await run(program, accel, cpu);
      expect(lines.filter((l) => l.startsWith('BAD'))).toEqual([]);
      expect(lines.filter((l) => l.startsWith('ok')).length).toBe(checks);
      expect(lines.at(-1)).toBe('done');
    }, 120_000);

    it(`a page that changes under a hot loop on ${accel}`, async () => {
      const { lines, regions } = await run('loop', accel);
      expect(lines).toEqual(['ok page_a', 'ok page_b', 'ok page_a_again', 'done']);
      expect(regions > 0).toBe(accel === 'jit');
    }, 120_000);
  }
});
