/** Unmodified firmware: SeaBIOS up to a boot sector, OVMF up to its shell. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findBios, findUefi } from '#lib/boot/firmware.js';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { noAddon, skipFor } from './guests.js';

const MINUTES = 60_000;

function missing(find: () => unknown): string | null {
  if (noAddon !== null) return noAddon;
  try {
    find();
    return null;
  } catch (e) {
    return (e as Error).message;
  }
}

/** A disk whose boot sector prints on COM1 what it was started with, and ends the machine through isa-debug-exit. */
function bootDisk(): Buffer {
  const text = 'boot sector here\r\n\0';
  const code = [
    // xor ax,ax; mov ds,ax; mov si,7c00h+offset; cld
    0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x00, 0x7d, 0xfc,
    // next: lodsb; test al,al; jz done; mov dx,3f8h; out dx,al; jmp next
    0xac, 0x84, 0xc0, 0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5,
    // done: mov dx,0f4h; mov al,21h; out dx,al; hlt
    0xba, 0xf4, 0x00, 0xb0, 0x21, 0xee, 0xf4,
  ];
  const b = Buffer.alloc(1 << 20);
  b.set(code);
  b.write(text, 0x100, 'latin1');
  b.writeUInt16LE(0xaa55, 510);
  return b;
}

describe.skipIf(skipFor(missing(findBios)))('SeaBIOS', () => {
  let dir: string;
  let disk: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-seabios-'));
    disk = join(dir, 'disk.img');
    writeFileSync(disk, bootDisk());
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  for (const machine of ['pc', 'q35'] as const) {
    for (const accel of ['jit', 'interp'] as const) {
      it(
        `starts a boot sector on ${machine}, ${accel}`,
        async () => {
          await using vm = await VirtualMachine.create({ accel, machine, cpus: 2, memory: '64M', disks: [`${disk},readonly`], devices: ['isa-debug-exit'], noReboot: true });
          expect(vm.config.firmware?.kind).toBe('bios');
          let log = '';
          vm.on('debug', (b) => (log += Buffer.from(b).toString('latin1')));
          const c = new Console(vm);
          vm.start();
          await c.until('boot sector here');
          expect(await vm.wait()).toMatchObject({ reason: 'exit', status: 0x43 });
          // What it found on the way: CPUs, ACPI through the table loader, SMBIOS, the disk.
          expect(log).toMatch(/Found 2 cpu\(s\)/);
          expect(log).toMatch(/Copying SMBIOS/);
          expect(log).toMatch(/ACPI: parse DSDT/);
          expect(log).toMatch(/Booting from 0000:7c00/);
          expect(log).not.toMatch(/WARNING|Unable|failed/);
        },
        5 * MINUTES,
      );
    }
  }

  it(
    'survives a reset',
    async () => {
      await using vm = await VirtualMachine.create({ memory: '64M', firmware: 'seabios' });
      let log = '';
      vm.on('debug', (b) => (log += Buffer.from(b).toString('latin1')));
      const seen = async (n: number): Promise<void> => {
        while (log.split('No bootable device').length <= n) await new Promise((r) => setTimeout(r, 50));
      };
      vm.start();
      await seen(1);
      vm.reset();
      await seen(2);
    },
    5 * MINUTES,
  );
});

describe.skipIf(skipFor(missing(findUefi)))('OVMF', () => {
  for (const [machine, accel] of [['pc', 'jit'], ['q35', 'jit'], ['q35', 'interp']] as const) {
    it(
      `reaches its shell on ${machine}, ${accel}`,
      async () => {
        await using vm = await VirtualMachine.create({ accel, machine, memory: '256M', firmware: 'ovmf' });
        const c = new Console(vm);
        vm.start();
        await c.until('any other key to continue');
        c.type('\x1b');
        await c.until('Shell>');
        c.type('pci\r');
        await c.until(machine === 'pc' ? /8086\s+1237|Vendor 8086 Device 1237/ : /Vendor 8086 Device 29C0/);
      },
      10 * MINUTES,
    );
  }

  it(
    'keeps variables in a file',
    async () => {
      const dir = mkdtempSync(join(tmpdir(), 'vmx-vars-'));
      const vars = join(dir, 'sub', 'vars.fd');
      const run = async (command: string, want: string | RegExp): Promise<void> => {
        await using vm = await VirtualMachine.create({ memory: '256M', firmware: 'ovmf', firmwareVars: vars });
        const c = new Console(vm);
        vm.start();
        await c.until('any other key to continue');
        c.type('\x1b');
        await c.until('Shell>');
        c.type(`${command}\r`);
        await c.until(want);
        c.type('reset -s\r');
        expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
      };
      await run('set kept value42', 'Shell>');
      expect(existsSync(vars)).toBe(true);
      expect(statSync(vars).size).toBe(statSync(findUefi().varsTemplate!).size);
      // The shell colours the name and the value.
      await run('set kept', 'value42');
      rmSync(dir, { recursive: true, force: true });
    },
    10 * MINUTES,
  );
});
