/** A RISC-V machine from the reset vector on: a tiny program in M-mode, and what is refused. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { canRun } from '../engine/x64/jit.js';
import { noAddon } from './guests.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-riscv-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** An executable of these words at the start of RAM. */
function program(words: readonly number[]): string {
  const b = Buffer.alloc(0x100 + words.length * 4);
  b.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  b.writeUInt16LE(2, 16);
  b.writeUInt16LE(243, 18);
  b.writeBigUInt64LE(0x8000_0000n, 24);
  b.writeBigUInt64LE(64n, 32);
  b.writeUInt16LE(56, 54);
  b.writeUInt16LE(1, 56);
  b.writeUInt32LE(1, 64);
  b.writeBigUInt64LE(0x100n, 72);
  b.writeBigUInt64LE(0x8000_0000n, 80);
  b.writeBigUInt64LE(0x8000_0000n, 88);
  b.writeBigUInt64LE(BigInt(words.length * 4), 96);
  b.writeBigUInt64LE(BigInt(words.length * 4), 104);
  words.forEach((w, i) => b.writeUInt32LE(w >>> 0, 0x100 + i * 4));
  const file = join(dir, 'program');
  writeFileSync(file, b);
  return file;
}

/** lui t0, 0x10000; li t1, 'O'; sb; li t1, 'K'; sb; */
const PRINT = [0x1000_02b7, 0x04f0_0313, 0x0062_8023, 0x04b0_0313, 0x0062_8023];
/** lui t0, 0x100; lui t1, 0x5; addi t1, t1, 0x555; sw t1, 0(t0): the finisher's pass. */
const PASS = [0x0010_02b7, 0x0000_5337, 0x5553_0313, 0x0062_a023, 0x0000_006f];

describe.skipIf(noAddon !== null)('a RISC-V machine', () => {
  it.each(canRun ? (['jit', 'interp'] as const) : (['interp'] as const))('runs in M-mode without firmware on %s', async (accel) => {
    await using vm = await VirtualMachine.create({ accel, kernel: program([...PRINT, ...PASS]), firmware: 'none', memory: '16M' });
    expect([vm.config.arch, vm.config.machine]).toEqual(['riscv64', 'virt']);
    let text = '';
    vm.serial.on('data', (b: Buffer) => (text += b.toString('latin1')));
    vm.start();
    const end = await vm.wait();
    expect([end.reason, end.status, text]).toEqual(['power-off', 0, 'OK']);
  });

  it('takes an exception for an instruction that does not exist, and logs it once', async () => {
    // auipc t0, 0; addi t0, t0, 20; csrw mtvec, t0; .word 0xffffffff; nop; then the handler: csrr t1, mcause; li t2, 2; bne t1, t2, .
    const words = [0x0000_0297, 0x0142_8293, 0x3052_9073, 0xffff_ffff, 0x0000_0013, 0x3420_2373, 0x0020_0393, 0x0073_1063, ...PASS];
    await using vm = await VirtualMachine.create({ accel: 'interp', kernel: program(words), firmware: 'none', memory: '16M' });
    const logs: string[] = [];
    vm.on('log', (m) => logs.push(m));
    vm.start();
    expect((await vm.wait()).reason).toBe('power-off');
    expect(logs.filter((m) => m.includes('illegal instruction ffffffff at 000000008000000c'))).toHaveLength(1);
  });

  it('refuses what does not fit together', async () => {
    const kernel = program(PASS);
    await expect(VirtualMachine.create({ kernel, arch: 'x86_64' })).rejects.toThrow(/--kernel: .* is a kernel for riscv64, not for x86_64 \(--arch\)/);
    await expect(VirtualMachine.create({ kernel, machine: 'pc' })).rejects.toThrow(/--machine: pc is no board for riscv64/);
    const dtb = join(dir, 'dtb');
    writeFileSync(dtb, 'no tree');
    await expect(VirtualMachine.create({ kernel, dtb, firmware: 'none', memory: '16M' })).rejects.toThrow(/--dtb: .* is not a device tree/);
  });
});
