/** Vector code of a process under Debian 13's kernel for RISC-V: context switches, signals, demand paging. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, hostTool, noAddon, skipFor } from './guests.js';

const MINUTES = 60_000;
const { kernelRiscv64Debian = '', initramfsRiscv64Debian = '' } = guests;

function problem(): string | null {
  if (noAddon !== null) return noAddon;
  if (!existsSync(kernelRiscv64Debian) || !existsSync(initramfsRiscv64Debian)) return 'no RISC-V kernel that knows vectors (kernelRiscv64Debian, initramfsRiscv64Debian in .demo/guests.json): run node scripts/guests.mjs';
  return hostTool('riscv64-linux-gnu-gcc', 'cpio');
}

const dir = mkdtempSync(join(tmpdir(), 'vmx-riscv-vector-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The initramfs with test/boot/vector.c. */
function initrd(): string {
  execFileSync('riscv64-linux-gnu-gcc', ['-O1', '-static', '-o', join(dir, 'vector'), fileURLToPath(new URL('vector.c', import.meta.url))]);
  // A kernel unpacks archives one after the other.
  const more = execFileSync('cpio', ['-o', '-H', 'newc', '--quiet'], { cwd: dir, input: 'vector\n', maxBuffer: 1 << 26 });
  const file = join(dir, 'initrd');
  writeFileSync(file, Buffer.concat([readFileSync(initramfsRiscv64Debian), gzipSync(more, { level: 1 })]));
  return file;
}

describe.skipIf(skipFor(problem()))('RISC-V Linux with vectors', () => {
  it.each([['max', 128], ['rv64,v=on,vlen=256', 256]] as const)('runs a process that uses them: %s', async (cpu) => {
    await using vm = await VirtualMachine.create({ kernel: kernelRiscv64Debian, initrd: initrd(), append: 'console=ttyS0 quiet', firmware: 'sbi', cpu });
    const c = new Console(vm);
    vm.start();
    await c.until(/# /);
    expect((await c.run('grep -m 1 isa /proc/cpuinfo')).output).toMatch(/^isa\s*: rv64imafdcv_.*_zve64d/);
    expect((await c.run('/vector')).output).toBe('vector ok');
    c.type('poweroff -f\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
  }, 5 * MINUTES);
});
