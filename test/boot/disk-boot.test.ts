/** SeaBIOS boots from a disk at every controller, in the order of the configuration, from raw and qcow2 images. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openImage } from '#lib/block/open.js';
import { createQcow2 } from '#lib/block/qcow2/create.js';
import { findBios } from '#lib/boot/firmware.js';
import { type DiskIf, VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { noAddon, skipFor } from './guests.js';

const MINUTES = 60_000;
const SIZE = 4 << 20;

function missing(): string | null {
  try {
    findBios();
    return noAddon;
  } catch (e) {
    return (e as Error).message;
  }
}

/** Its boot sector reads the sector behind it with INT 13h, prints the text there on COM1, and ends the machine. */
function bootDisk(text: string): Buffer {
  const code = [
    // xor ax,ax; mov ds,ax; mov ah,42h; mov si,packet; int 13h; jc done
    0x31, 0xc0, 0x8e, 0xd8, 0xb4, 0x42, 0xbe, 0xe0, 0x7c, 0xcd, 0x13, 0x72, 0x0f,
    // mov si,7e00h; cld; next: lodsb; test al,al; jz done; mov dx,3f8h; out dx,al; jmp next
    0xbe, 0x00, 0x7e, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5,
    // done: mov dx,0f4h; mov al,21h; out dx,al; hlt
    0xba, 0xf4, 0x00, 0xb0, 0x21, 0xee, 0xf4,
  ];
  const b = Buffer.alloc(1024);
  b.set(code);
  // Disk address packet: one sector to 0:7e00, block 1.
  b.set([16, 0, 1, 0, 0x00, 0x7e, 0, 0, 1], 0xe0);
  b.writeUInt16LE(0xaa55, 510);
  b.write(`${text}\r\n\0`, 512, 'latin1');
  return b;
}

describe.skipIf(skipFor(missing()))('SeaBIOS boots from', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-disk-boot-'));
    for (const name of ['first', 'second']) {
      const raw = Buffer.alloc(SIZE);
      bootDisk(`this is the ${name} disk`).copy(raw);
      writeFileSync(join(dir, `${name}.raw`), raw);
    }
    const file = join(dir, 'first.qcow2');
    createQcow2(file, { size: SIZE, option: 'test' });
    const image = openImage({ file, format: 'qcow2', readonly: false, snapshot: false, option: 'test' });
    image.write(0, bootDisk('this is the first disk'));
    image.close();
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const cases: [DiskIf, 'pc' | 'q35', 'raw' | 'qcow2'][] = [
    ['virtio', 'pc', 'qcow2'], ['scsi', 'pc', 'raw'], ['scsi', 'q35', 'qcow2'], ['nvme', 'pc', 'raw'], ['nvme', 'q35', 'qcow2'], ['ide', 'pc', 'qcow2'], ['ahci', 'q35', 'qcow2'],
  ];
  it.each(cases)('%s on %s, %s', async (name, machine, format) => {
    // The other disk comes first in the machine, but not in the boot order.
    const other: DiskIf = name === 'virtio' ? 'scsi' : 'virtio';
    await using vm = await VirtualMachine.create({
      machine, memory: '64M', noReboot: true, devices: ['isa-debug-exit'],
      disks: [{ file: join(dir, `first.${format}`), if: name }, { file: join(dir, 'second.raw'), if: other, readonly: true }],
    });
    const c = new Console(vm);
    vm.start();
    await c.until('this is the first disk');
    expect(await vm.wait()).toMatchObject({ reason: 'exit', status: 0x43 });
  }, 5 * MINUTES);
});
