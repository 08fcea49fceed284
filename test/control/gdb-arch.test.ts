/** GDB itself on machines of other architectures: registers, memory, breakpoints, watchpoints and single steps. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GdbServer, parseEndpoint, VirtualMachine } from '#lib/index.js';
import { hostTool, noAddon, skipFor } from '../boot/guests.js';
import { canRun } from '../engine/x64/jit.js';

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

/** Programs that store 5 and load it again; where they stop: past either, and an instruction later, since GDB takes the report for one from before the access and steps. */
const WATCHED = [
  // auipc t0, 1; li a0, 5; sw a0, 0(t0); nop; lw a2, 0(t0); j .
  { arch: 'riscv64', words: [0x0000_1297, 0x0050_0513, 0x00a2_a023, 0x0000_0013, 0x0002_a603, 0x0000_006f], at: 0x8000_1000, after: [0x8000_0010, 0x8000_0014] },
  // mov x3, #0x1000; movk x3, #0x4009, lsl #16; mov w0, #5; str w0, [x3]; nop; ldr w2, [x3]; b .
  { arch: 'aarch64', words: [0xd282_0003, 0xf2a8_0123, 0x5280_00a0, 0xb900_0060, 0xd503_201f, 0xb940_0062, 0x1400_0000], at: 0x4009_1000, after: [0x4008_0014, 0x4008_0018] },
] as const;

describe.skipIf(skipFor(noAddon ?? hostTool('gdb-multiarch')))('GDB', () => {
  /** @returns what GDB says and complains of */
  async function debug(arch: (typeof CASES)[number]['arch'], words: readonly number[], commands: readonly string[], accel: 'jit' | 'interp', cpu?: string, machine?: `virt,${string}`): Promise<{ stdout: string; stderr: string }> {
    const kernel = join(dir, arch);
    const image = Buffer.alloc(Math.max(64, words.length * 4));
    words.forEach((w, i) => image.writeUInt32LE(w >>> 0, i * 4));
    writeFileSync(kernel, image);
    await using vm = await VirtualMachine.create({ arch, kernel, firmware: 'none', memory: '64M', accel, cpu, machine });
    const server = await GdbServer.listen(vm, parseEndpoint('tcp:127.0.0.1:0', '--gdb'), '0', () => vm.start());
    const { endpoint } = server;
    if (endpoint.kind !== 'tcp') throw new Error('not a TCP endpoint');
    // The machine lives until GDB has ended.
    return await promisify(execFile)('gdb-multiarch', ['-nx', '-batch', '-ex', `set architecture ${arch === 'riscv64' ? 'riscv:rv64' : arch}`, '-ex', `target remote 127.0.0.1:${endpoint.port}`, ...commands.flatMap((c) => ['-ex', c])], { timeout: 60_000 });
  }

  it.each(CASES)('debugs $arch', async ({ arch, words, commands, output }) => {
    const { stdout, stderr } = await debug(arch, words, commands, 'interp');
    for (const text of output) expect(stdout + stderr).toContain(text);
    expect(stderr.replace(/^warning: No executable has been specified.*\n.*$/m, '')).not.toMatch(/warning|error/i);
  }, 90_000);

  it('shows CSRs, those of AIA too', async () => {
    // li t0, 0x1f0; csrw miselect, t0; csrw mscratch, t0; j .
    const words = [0x1f00_0293, 0x3502_9073, 0x3402_9073, 0x0000_006f];
    const { stdout } = await debug('riscv64', words, ['break *0x8000000c', 'continue', 'print/x $mscratch', 'print/x $tinfo', 'print/x $miselect', 'print $mtopi', 'print sizeof($v31)'], 'interp', 'max', 'virt,aia=aplic-imsic');
    expect(stdout).toMatch(/= 0x1f0\n[^]*= 0x100804c\n[^]*= 0x1f0\n[^]*= 0\n[^]*= 16\n/);
  }, 90_000);

  it('shows the vector registers of a CPU that has them', async () => {
    // li t0, VS; csrs mstatus, t0; vsetivli t0, 4, e32, m1; vid.v v8; j .
    const words = [0x6000_0293, 0x3002_a073, 0xcd02_72d7, 0x5208_a457, 0x0000_006f];
    const { stdout } = await debug('riscv64', words, ['break *0x80000010', 'continue', 'print $v8.w', 'set $v8.b[15] = 1', 'print/x $v8.l[1]', 'print sizeof($v31)'], 'interp', 'max,vlen=256');
    expect(stdout).toMatch(/= \{0, 1, 2, 3, 0, 0, 0, 0\}\n[^]*= 0x100000300000002\n[^]*= 32\n/);
  }, 90_000);

  for (const accel of canRun ? (['jit', 'interp'] as const) : (['interp'] as const)) {
    it.each(WATCHED)(`watches memory of $arch on ${accel}`, async ({ arch, words, at, after }) => {
      const place = `*(int *) 0x${at.toString(16)}`;
      const { stdout } = await debug(arch, words, [`watch ${place}`, 'continue', 'print/x $pc', 'delete 1', `rwatch ${place}`, 'continue', 'print/x $pc'], accel);
      expect(stdout).toMatch(/Hardware watchpoint 1: [^]*Old value = 0\s+New value = 5[^]*Hardware read watchpoint 2: [^]*Value = 5/);
      for (const pc of after) expect(stdout).toContain(`= 0x${pc.toString(16)}\n`);
    }, 90_000);
  }
});
