/**
 * The same boot sector under SeaBIOS and its VGA BIOS here and in QEMU: the pictures must be identical, dot by dot. Needs
 * qemu-system-x86_64, GNU as and the firmware; skipped where one of them is missing.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MachineOptions, VirtualMachine } from '#lib/index.js';
import type { Picture } from '#lib/display/png.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { readPpm } from '../boot/ppm.js';

const has = (cmd: string): boolean => spawnSync(cmd, ['--version']).status === 0;
const ready =
  has('as') && has('objcopy') && has('qemu-system-x86_64') && existsSync('/usr/share/seabios/vgabios-stdvga.bin') && existsSync(fileURLToPath(new URL('../../dist/boot/firmware.js', import.meta.url)));

/** Sets a mode, hides the cursor, fills the window with a pattern, and writes D7h, which no log has, to port E9h. */
function source(set: string, segment: number, fill: string): string {
  return `
    .code16
_start:
    xor %ax, %ax
    mov %ax, %ds
    ${set}
    int $0x10
    mov $0x0100, %ax
    mov $0x2000, %cx
    int $0x10
    mov $${segment}, %ax
    mov %ax, %es
    xor %di, %di
    xor %bx, %bx
    cld
    ${fill}
    mov $0xd7, %al
    out %al, $0xe9
2:  hlt
    jmp 2b
    .org 510
    .word 0xaa55
`;
}
/** Every character in every colour without blinking. B0h to BFh get a ninth dot in QEMU, and nowhere else. */
const CHARACTERS = `
1:  mov %bl, %al
    cmp $0xb0, %al
    jb 3f
    cmp $0xbf, %al
    ja 3f
    mov $' ', %al
3:  mov %bx, %cx
    shr $3, %cx
    mov %cl, %ah
    and $0x7f, %ah
    stosw
    inc %bx
    cmp $2000, %bx
    jne 1b`;
const BYTES = `
1:  mov %bx, %ax
    imul $37, %ax, %ax
    add %ah, %al
    stosb
    inc %bx
    jnz 1b`;
const PLANES = `
    mov $0x3c4, %dx
1:  mov %bl, %ah
    shr $2, %ah
    and $0xf, %ah
    mov $2, %al
    out %ax, %dx
    mov %bx, %ax
    imul $37, %ax, %ax
    add %ah, %al
    stosb
    inc %bx
    jnz 1b`;

const DRAWN = 0xd7;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-qemu-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function qemu(image: string): Promise<Picture> {
  const log = `${image}.log`;
  const shot = `${image}.ppm`;
  const p = spawn('qemu-system-x86_64', ['-M', 'pc,accel=tcg', '-m', '64', '-vga', 'std', '-display', 'none', '-monitor', 'stdio', '-nic', 'none', '-debugcon', `file:${log}`, '-drive', `file=${image},format=raw,if=virtio,readonly=on`]);
  p.stdout.resume();
  try {
    for (let i = 0; i < 600 && !(existsSync(log) && readFileSync(log).includes(DRAWN)); i++) await sleep(100);
    // The screen is drawn on the monitor's request.
    p.stdin.write(`screendump ${shot}\n`);
    for (let i = 0; i < 100 && !existsSync(shot); i++) await sleep(100);
    await sleep(300);
    return readPpm(shot);
  } finally {
    p.kill('SIGKILL');
  }
}

async function ours(image: string): Promise<Picture> {
  const options: MachineOptions & { firmware: string } = { disks: [{ file: image, snapshot: true }], memory: '64M', firmware: 'seabios' };
  await using vm = await VirtualMachine.create(options);
  const drawn = new Promise<void>((resolve) => {
    vm.on('debug', (b) => {
      if (b.includes(DRAWN)) resolve();
    });
  });
  vm.start();
  await Promise.race([drawn, sleep(60_000)]);
  await sleep(500);
  return vm.screen.picture();
}

describe.skipIf(skipFor(noAddon) || !ready)('pictures are QEMU’s', () => {
  it.each([
    ['text, mode 3', 'mov $0x0003, %ax', 0xb800, CHARACTERS],
    ['CGA, mode 4', 'mov $0x0004, %ax', 0xb800, BYTES],
    ['16 colours, mode 12h', 'mov $0x0012, %ax', 0xa000, PLANES],
    ['256 colours, mode 13h', 'mov $0x0013, %ax', 0xa000, BYTES],
    ['VBE 640 by 480, 16 bits', 'mov $0x4f02, %ax\n mov $0x111, %bx', 0xa000, BYTES],
  ])('%s', async (name, set, segment, fill) => {
    const base = join(dir, name.replace(/\W/g, ''));
    writeFileSync(`${base}.S`, source(set, segment, fill));
    expect(spawnSync('as', ['-o', `${base}.o`, `${base}.S`]).status).toBe(0);
    expect(spawnSync('objcopy', ['-O', 'binary', '-j', '.text', `${base}.o`, `${base}.img`]).status).toBe(0);
    const boot = Buffer.alloc(1024 * 1024);
    readFileSync(`${base}.img`).copy(boot);
    writeFileSync(`${base}.img`, boot);
    const want = await qemu(`${base}.img`);
    const got = await ours(`${base}.img`);
    expect([got.width, got.height]).toEqual([want.width, want.height]);
    let different = 0;
    for (let i = 0; i < got.rgba.length; i++) if (got.rgba[i] !== want.rgba[i]) different++;
    expect(different).toBe(0);
  });
});
