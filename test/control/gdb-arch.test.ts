/** GDB itself on machines of other architectures: registers, memory, breakpoints and single steps. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GdbServer, parseEndpoint, VirtualMachine } from '#lib/index.js';
import { hostTool, noAddon, skipFor } from '../boot/guests.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-gdb-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const CASES = [
  {
    // addi a0, zero, 5; addi a0, a0, 1; addi a1, a0, 2; fmv.d.x needs FS, so no more; j .
    arch: 'riscv64', base: 0x8000_0000, words: [0x0050_0513, 0x0015_0513, 0x0025_0593, 0x0000_006f], commands: ['break *0x80000008', 'continue', 'print $a0', 'stepi', 'print $a1', 'x/1xw $pc', 'print/x $pc', 'set $a0 = 77', 'print $a0'],
    output: ['= 6', '= 8', '0x0000006f', '0x8000000c', '= 77'],
  },
  {
    // mov x0, #5; add x0, x0, #1; add x1, x0, #2; b .
    arch: 'aarch64', base: 0x4008_0000, words: [0xd280_00a0, 0x9100_0400, 0x9100_0801, 0x1400_0000], commands: ['break *0x40080008', 'continue', 'print $x0', 'stepi', 'print $x1', 'x/1xw $pc', 'print/x $pc', 'set $x0 = 77', 'print $x0'],
    output: ['= 6', '= 8', '0x14000000', '0x4008000c', '= 77'],
  },
] as const;

describe.skipIf(skipFor(noAddon ?? hostTool('gdb-multiarch')))('GDB', () => {
  it.each(CASES)('debugs $arch', async ({ arch, words, commands, output }) => {
    const kernel = join(dir, arch);
    const image = Buffer.alloc(Math.max(64, words.length * 4));
    words.forEach((w, i) => image.writeUInt32LE(w >>> 0, i * 4));
    writeFileSync(kernel, image);
    await using vm = await VirtualMachine.create({ arch, kernel, firmware: 'none', memory: '64M', accel: 'interp' });
    const server = await GdbServer.listen(vm, parseEndpoint('tcp:127.0.0.1:0', '--gdb'), '0', () => vm.start());
    const { endpoint } = server;
    if (endpoint.kind !== 'tcp') throw new Error('not a TCP endpoint');
    const run = promisify(execFile)('gdb-multiarch', ['-nx', '-batch', '-ex', `set architecture ${arch === 'riscv64' ? 'riscv:rv64' : arch}`, '-ex', `target remote 127.0.0.1:${endpoint.port}`, ...commands.flatMap((c) => ['-ex', c])], { timeout: 60_000 });
    const { stdout, stderr } = await run;
    for (const text of output) expect(stdout + stderr).toContain(text);
    expect(stderr.replace(/^warning: No executable has been specified.*\n.*$/m, '')).not.toMatch(/warning|error/i);
  }, 90_000);
});
