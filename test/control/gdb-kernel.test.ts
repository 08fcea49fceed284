/** The real GDB in a Linux kernel: breaks where it starts, steps, reads registers and memory, watches a variable, goes on. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Endpoint, GdbServer, parseEndpoint, VirtualMachine } from '#lib/index.js';
import { Console } from '../boot/console.js';
import { guests, hostTool, noGuests, skipFor } from '../boot/guests.js';

const run = promisify(execFile);
const MINUTES = 60_000;
const GDB = hostTool('gdb-multiarch') === null ? 'gdb-multiarch' : 'gdb';
const SYMBOLS = ['start_kernel', 'early_boot_irqs_disabled', 'linux_banner'];

/** Packed kernels in a bzImage: magic numbers and what unpacks them. */
const PACKERS = [
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], tool: 'xz', args: ['-dc', '--single-stream'] },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], tool: 'zstd', args: ['-dc'] },
  { magic: [0x02, 0x21, 0x4c, 0x18], tool: 'lz4', args: ['-dc'] },
];

/** The ELF file in a bzImage, so that an interpreter need not unpack it: as the kernel's scripts/extract-vmlinux does. Null: no tool for it. */
function unpack(bzImage: string): Buffer | null {
  const b = readFileSync(bzImage);
  for (const p of PACKERS) {
    if (hostTool(p.tool) !== null) continue;
    for (let at = b.indexOf(Buffer.from(p.magic)); at >= 0; at = b.indexOf(Buffer.from(p.magic), at + 1)) {
      let out: Buffer;
      try {
        out = execFileSync(p.tool, p.args, { input: b.subarray(at), maxBuffer: 2 ** 30, stdio: ['pipe', 'pipe', 'ignore'] });
      } catch (e) {
        // What follows the packed kernel makes the tool complain after it has written everything.
        out = (e as { stdout?: Buffer }).stdout ?? Buffer.alloc(0);
      }
      if (out.subarray(0, 4).toString('latin1') === '\x7fELF') return out;
    }
  }
  return null;
}

const elf = noGuests === null ? unpack(guests.kernel) : null;
describe.skipIf(skipFor(noGuests ?? hostTool(GDB, 'as') ?? (elf === null ? 'nothing unpacks the kernel (xz, zstd, lz4)' : null)))('GDB', () => {
  let dir: string;
  let kernel: string;
  const addresses = new Map<string, string>();
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-gdb-'));
    kernel = join(dir, 'vmlinux');
    writeFileSync(kernel, elf!);
    // Debian's System.map is in a package of its own; the kernel itself knows its symbols, too.
    await using vm = await VirtualMachine.create({ kernel, initrd: guests.initramfs, append: 'console=ttyS0 quiet nokaslr' });
    const c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    const { output } = await c.run(`mount -t proc proc /proc 2>/dev/null; grep -wE '${SYMBOLS.join('|')}' /proc/kallsyms`);
    for (const line of output.split('\n')) {
      const [address, , name] = line.trim().split(/\s+/);
      addresses.set(name!, address!);
    }
    // An object file with absolute symbols, as one makes of a System.map.
    writeFileSync(join(dir, 'map.s'), [...addresses].map(([name, address]) => `.globl ${name}\n.set ${name}, 0x${address}\n`).join(''));
    execFileSync('as', ['--64', '-o', join(dir, 'map.o'), join(dir, 'map.s')]);
  }, 5 * MINUTES);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  for (const accel of ['jit', 'interp'] as const) {
    it(`debugs the start of Linux: ${accel}`, async () => {
      expect([...addresses.keys()].sort()).toEqual([...SYMBOLS].sort());
      await using vm = await VirtualMachine.create({ accel, kernel, initrd: guests.initramfs, append: 'console=ttyS0 quiet nokaslr' });
      const c = new Console(vm);
      const server = await GdbServer.listen(vm, parseEndpoint('tcp:0', '--gdb'), '1.2.3', () => vm.start());
      const { port } = server.endpoint as Extract<Endpoint, { kind: 'tcp' }>;
      const { stdout } = await run(GDB, [
        '-nx', '-batch', '-ex', 'set pagination off', '-ex', 'set remotetimeout 120', '-ex', 'set architecture i386:x86-64', '-ex', `symbol-file ${join(dir, 'map.o')}`,
        '-ex', `target remote 127.0.0.1:${port}`,
        '-ex', 'hbreak *(long)&start_kernel', '-ex', 'continue', '-ex', 'printf "AT %lx\\n", $rip', '-ex', 'printf "BANNER %s\\n", (char *)&linux_banner',
        '-ex', 'printf "STACK %lx\\n", $rsp',
        // Two instructions on.
        '-ex', 'stepi', '-ex', 'stepi', '-ex', 'printf "THEN %lx\\n", $rip',
        '-ex', 'printf "BEFORE %d\\n", *(char *)&early_boot_irqs_disabled', '-ex', 'watch *(char *)&early_boot_irqs_disabled', '-ex', 'continue', '-ex', 'printf "AFTER %d\\n", *(char *)&early_boot_irqs_disabled',
        '-ex', 'printf "IN %lx\\n", $rip', '-ex', 'set $old = $rax', '-ex', 'set $rax = 0x1122334455667788', '-ex', 'printf "RAX %lx\\n", $rax', '-ex', 'set $rax = $old', '-ex', 'info threads', '-ex', 'delete', '-ex', 'detach',
      ], { timeout: 4 * MINUTES });
      const value = (name: string): string => new RegExp(`^${name} (.*)$`, 'm').exec(stdout)?.[1] ?? `no ${name} in:\n${stdout}`;
      const start = BigInt(`0x${addresses.get('start_kernel')!}`);
      const inKernel = (name: string): bigint => BigInt(`0x${value(name)}`) - start;
      expect(value('AT')).toBe(addresses.get('start_kernel'));
      expect(value('BANNER')).toMatch(/^Linux version 6\./);
      expect(value('STACK')).toMatch(/^ffffffff[0-9a-f]{8}$/);
      expect(inKernel('THEN')).not.toBe(0n);
      expect([value('BEFORE'), value('AFTER')]).toEqual(['0', '1']);
      expect(stdout).toMatch(/Hardware watchpoint 2: [^]*Old value = 0[^]*New value = 1/);
      // It is written in start_kernel itself.
      expect(inKernel('IN') > 0n && inKernel('IN') < 4096n).toBe(true);
      expect(value('RAX')).toBe('1122334455667788');
      expect(stdout).toMatch(/\* 1 +Thread/);
      // Nothing of all that has harmed it.
      if (accel === 'jit') await c.until('~ # ');
    }, 10 * MINUTES);
  }
});
