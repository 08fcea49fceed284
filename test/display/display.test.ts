/** Screen, keyboard and mouse through the API and the command line; guests of a few instructions, assembled here. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { fromCp437 } from '#lib/display/cp437.js';
import { decodePng, encodePng } from '#lib/display/png.js';
import { chord, keyCode, typing } from '#lib/machine/keys.js';
import { noAddon, skipFor } from '../boot/guests.js';

let dir: string;
let kernel: string;
const tools = spawnSync('as', ['--version']).status === 0 && spawnSync('ld', ['-V']).status === 0;

/** Prints a line, switches the mouse on, then shows each byte from the keyboard controller as a character in the second row. */
const SOURCE = `
    .code32
    .globl _start
_start:
    jmp 1f
    .align 4
    .long 0x1badb002, 0, -0x1badb002
1:  mov $0xb8000, %edi
    mov $msg, %esi
    mov $0x1e, %ah
2:  lodsb
    test %al, %al
    jz 3f
    stosw
    jmp 2b
3:  mov $0xd4, %al
    out %al, $0x64
    mov $0xf4, %al
    out %al, $0x60
    mov $0xb80a0, %edi
4:  in $0x64, %al
    test $1, %al
    jz 4b
    in $0x60, %al
    mov $0x07, %ah
    stosw
    jmp 4b
msg: .asciz "ready \\xdb\\xb3"
`;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-display-'));
  kernel = join(dir, 'k.elf');
  if (!tools) return;
  writeFileSync(join(dir, 'k.S'), SOURCE);
  for (const [cmd, ...args] of [['as', '--32', '-o', 'k.o', 'k.S'], ['ld', '-m', 'elf_i386', '-Ttext', '0x100000', '-o', 'k.elf', 'k.o']]) expect(spawnSync(cmd!, args, { cwd: dir }).status).toBe(0);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('keys', () => {
  it('by name, by character, together', () => {
    expect([keyCode('a'), keyCode('F12'), keyCode('enter'), keyCode('del'), keyCode('/')]).toEqual([0x1e, 0x58, 0x1c, 0xe053, 0x35]);
    expect(chord('ctrl-alt-del').map((e) => (e.down ? e.key : -e.key))).toEqual([0x1d, 0x38, 0xe053, -0xe053, -0x38, -0x1d]);
    expect(typing('A\n').map((e) => (e.down ? e.key : -e.key))).toEqual([0x2a, 0x1e, -0x1e, -0x2a, 0x1c, -0x1c]);
    for (let c = 32; c < 127; c++) expect(typing(String.fromCharCode(c)).length).toBeGreaterThan(1);
    expect(() => typing('é')).toThrow("no key types 'é'");
    expect(() => chord('ctrl-foo')).toThrow("no key 'foo'");
  });
});

describe('PNG', () => {
  it('comes back as it was', async () => {
    const rgba = Uint8Array.from({ length: 33 * 17 * 4 }, (_, i) => (i % 4 === 3 ? 255 : (i * 31) & 255));
    const png = await encodePng({ width: 33, height: 17, rgba });
    const back = decodePng(png);
    expect([back.width, back.height]).toEqual([33, 17]);
    expect(Buffer.compare(back.rgba, rgba)).toBe(0);
    expect(() => decodePng(png.subarray(0, 30))).toThrow('not a PNG file');
  });
});

describe.skipIf(skipFor(noAddon) || !tools)('a machine with a display', () => {
  it('shows text and takes keys and the mouse', async () => {
    await using vm = await VirtualMachine.create({ kernel, memory: '16M', vga: 'std' });
    vm.start();
    expect(await vm.screen.waitForText(/^ready █│/)).toContain('ready');
    // FAh: the mouse answers.
    await vm.screen.waitForText('·');
    await vm.keyboard.type('aB');
    await vm.keyboard.press('ctrl-del');
    await vm.mouse.move(5, -2);
    await vm.mouse.click('right');
    const codes = [0xfa, 0x1e, 0x9e, 0x2a, 0x30, 0xb0, 0xaa, 0x1d, 0xe0, 0x53, 0xe0, 0xd3, 0x9d, 0x08, 5, 2, 0x0a, 0, 0, 0x08, 0, 0];
    const text = await vm.screen.waitForText(fromCp437(Uint8Array.from(codes)).trimEnd());
    expect(text.split('\n')).toHaveLength(2);
    const p = await vm.screen.picture();
    expect([p.width, p.height]).toEqual([720, 400]);
    expect(decodePng(await vm.screen.png()).rgba).toHaveLength(720 * 400 * 4);
    await expect(vm.screen.waitForText('never', { timeout: 120 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    await expect(vm.screen.waitForText('never', { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ name: 'TimeoutError' });
    const waiting = expect(vm.screen.waitForText('never')).rejects.toMatchObject({ code: 'ERR_STATE' });
    await vm.stop();
    await waiting;
    // The last picture stays.
    expect(await vm.screen.text()).toContain('ready');
    await vm.keyboard.type('x');
  });

  it('without a display there is nothing to see', async () => {
    await using vm = await VirtualMachine.create({ kernel, memory: '16M' });
    vm.start();
    await expect(vm.screen.png()).rejects.toMatchObject({ code: 'ERR_NO_DISPLAY' });
    await expect(vm.screen.text()).rejects.toMatchObject({ code: 'ERR_NO_DISPLAY' });
  });

  it('--screenshot writes while it runs and at the end', () => {
    const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
    const boot = (...args: string[]): ReturnType<typeof spawnSync> => spawnSync(process.execPath, [cli, 'boot', kernel, '--memory', '16M', '--serial', 'none', ...args], { cwd: dir, encoding: 'utf8' });
    expect(boot('--timeout', '1.5', '--screenshot', 'a.png@0.5', '--screenshot', 'b.png').status).toBe(124);
    for (const f of ['a.png', 'b.png']) {
      const p = decodePng(readFileSync(join(dir, f)));
      expect([p.width, p.height]).toEqual([720, 400]);
      // The full block after 'ready ' is yellow.
      expect([...p.rgba.subarray((8 * 720 + 56) * 4, (8 * 720 + 57) * 4)]).toEqual([255, 255, 87, 255]);
    }
    for (const [args, message] of [
      [['--screenshot', 'nowhere/a.png'], '--screenshot: nowhere is not a folder'],
      [['--screenshot', 'a.jpg'], 'only PNG files'],
      [['--screenshot', 'c.png', '--vga', 'none'], 'no screen'],
      [['--vga', 'cirrus'], "--vga: 'cirrus' is not available"],
    ] as const) {
      const r = boot(...args);
      expect([r.status, String(r.stderr).includes(message)]).toEqual([2, true]);
    }
    expect(existsSync(join(dir, 'c.png'))).toBe(false);
  });
});
