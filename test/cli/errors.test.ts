/** Bad input: one line on standard error that names the option or the file, status 2, nothing half-done. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { totalmem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { run } from './run.js';

let dir: string;
const at = (name: string): string => join(dir, name);

/** The start of a bzImage: setup header 2.15, one setup sector, 64-bit entry, relocatable. */
function bzImage(bytes: number): Buffer {
  const b = Buffer.alloc(bytes);
  b[0x1f1] = 1;
  b.writeUInt32LE((0x10_0000 - 1024) / 16, 0x1f4);
  b.write('HdrS', 0x202, 'latin1');
  b.writeUInt16LE(0x020f, 0x206);
  b[0x201] = 0x66;
  b[0x211] = 1;
  b.writeUInt32LE(0x10_0000, 0x214);
  b.writeUInt32LE(0x7fff_ffff, 0x22c);
  b.writeUInt32LE(0x20_0000, 0x230);
  b[0x234] = 1;
  b.writeUInt16LE(1, 0x236);
  b.writeUInt32LE(2047, 0x238);
  b.writeUInt32LE(0x100_0000, 0x258);
  b.writeUInt32LE(0x300_0000, 0x260);
  return b;
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-errors-'));
  writeFileSync(at('kernel'), tinyKernel('up', { kind: 'power-off' }));
  writeFileSync(at('whole'), bzImage(0x10_0000));
  writeFileSync(at('truncated'), bzImage(0x1_0000));
  writeFileSync(at('text'), 'hello\n');
  writeFileSync(at('empty'), '');
  writeFileSync(at('disk'), Buffer.alloc(4096));
  writeFileSync(at('big'), '');
  truncateSync(at('big'), 100 * 1024 * 1024);
  mkdirSync(at('folder'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Case {
  what: string;
  args: () => string[];
  says: RegExp;
  env?: NodeJS.ProcessEnv;
}

const boot = (...args: string[]) => (): string[] => ['boot', '--kernel', at('kernel'), '--memory', '16M', ...args];

const CASES: Case[] = [
  { what: 'no command', args: () => [], says: /a command is needed: boot, doctor, image/ },
  { what: 'an unknown command', args: () => ['bot'], says: /unknown command 'bot' \(did you mean boot\?\)/ },
  { what: 'nothing to boot', args: () => ['boot'], says: /boot: nothing to boot \(give an image, --disk or --kernel\)/ },
  { what: 'a missing kernel', args: () => ['boot', '--kernel', at('nope')], says: /--kernel: .*nope: no such file/ },
  { what: 'a truncated kernel', args: () => ['boot', '--kernel', at('truncated')], says: /--kernel: .*truncated is truncated \(65536 of 1048576 bytes\)/ },
  { what: 'a text file as kernel', args: () => ['boot', '--kernel', at('text')], says: /--kernel: .*text is not a kernel/ },
  { what: 'an empty kernel', args: () => ['boot', '--kernel', at('empty')], says: /--kernel: .*empty is empty/ },
  { what: 'a folder as kernel', args: () => ['boot', '--kernel', at('folder')], says: /--kernel: .*folder is a directory/ },
  { what: 'a kernel too big for memory', args: () => ['boot', '--kernel', at('whole'), '--memory', '16M'], says: /--kernel: .*whole needs 50M of memory, the machine has 16M \(--memory\)/ },
  { what: 'two kernels', args: () => [...boot()(), '--kernel', at('text')], says: /--kernel: given more than once/ },
  { what: 'two kernels in two ways', args: () => [...boot()(), at('kernel')], says: /both a kernel .* and --kernel/ },
  { what: 'no memory', args: () => ['boot', '--kernel', at('kernel'), '--memory', '0'], says: /--memory: 0 bytes is less than the minimum/ },
  { what: 'memory that is no size', args: () => ['boot', '--kernel', at('kernel'), '--memory', 'lots'], says: /--memory: 'lots' is not a size \(examples: 512M, 2G\)/ },
  { what: 'negative memory', args: () => ['boot', '--kernel', at('kernel'), '--memory=-5M'], says: /--memory: '-5M' is not a size/ },
  { what: 'more memory than the host has', args: () => ['boot', '--kernel', at('kernel'), '--memory', `${Math.ceil(totalmem() / 2 ** 30) + 1}G`], says: /--memory: \d+M is more than this host has/ },
  { what: 'an option without its value', args: () => ['boot', '--kernel'], says: /--kernel: needs a value/ },
  { what: 'an unknown option', args: boot('--kernell', 'x'), says: /unknown option --kernell \(did you mean --kernel\?\)/ },
  { what: 'an unknown switch', args: boot('--no-rebot'), says: /unknown option --no-rebot \(did you mean --no-reboot\?\)/ },
  { what: 'a stray argument', args: () => ['boot', at('kernel'), 'two'], says: /unexpected argument 'two'/ },
  { what: 'an unknown accelerator', args: boot('--accel', 'warp'), says: /--accel: 'warp' is not available \(auto, kvm, jit/ },
  { what: 'an unknown board', args: boot('--machine', 'amiga'), says: /--machine: 'amiga' is not available/ },
  { what: 'a property that the board does not have', args: boot('--machine', 'pc,its=on'), says: /--machine: pc has no property 'its'/ },
  { what: 'an interrupt controller that there is not', args: () => ['boot', '--arch', 'aarch64', '--machine', 'virt,gic-version=4'], says: /--machine: gic-version=4 is not available \(2, 3 are\)/ },
  { what: 'an interrupt architecture that there is not', args: () => ['boot', '--arch', 'riscv64', '--machine', 'virt,aia=imsic'], says: /--machine: aia=imsic is not available \(none, aplic, aplic-imsic are\)/ },
  { what: 'firmware for another architecture', args: () => ['boot', '--arch', 'aarch64', '--firmware', 'seabios'], says: /--firmware: 'seabios' is for x86_64/ },
  { what: 'UEFI of another architecture', args: () => ['boot', '--arch', 'riscv64', '--firmware', 'aavmf'], says: /--firmware: 'aavmf' is not for riscv64/ },
  { what: 'nothing to boot on RISC-V', args: () => ['boot', '--arch', 'riscv64'], says: /boot: nothing to boot/ },
  { what: 'M-mode without a program', args: () => ['boot', '--arch', 'riscv64', '--firmware', 'none'], says: /--firmware: none needs --kernel/ },
  { what: 'an unknown architecture', args: boot('--arch', 'z80'), says: /--arch: 'z80' is not available/ },
  { what: 'an unknown CPU', args: boot('--cpu', 'qemu46'), says: /--cpu: unknown model 'qemu46' \(did you mean qemu64\?\)/ },
  { what: 'an unknown CPU feature', args: boot('--cpu', 'max,-pclmulqdp'), says: /--cpu: unknown feature 'pclmulqdp' \(did you mean pclmulqdq\?\)/ },
  { what: 'a CPU feature without sign', args: boot('--cpu', 'max,avx2'), says: /--cpu: 'avx2' must begin with \+ or -/ },
  { what: 'a CPU of another architecture', args: () => ['boot', '--arch', 'riscv64', '--cpu', 'qemu64'], says: /--cpu: riscv64 has no model 'qemu64'.*; '--arch riscv64 --cpu help' lists them/ },
  { what: 'a feature that RISC-V CPUs do not have', args: () => ['boot', '--arch', 'riscv64', '--cpu', 'rv64,-avx2'], says: /--cpu: riscv64 has no feature '-avx2' to switch/ },
  { what: 'a vector length that there is not', args: () => ['boot', '--arch', 'riscv64', '--cpu', 'max,vlen=512'], says: /--cpu: vlen=512 must be 128 or 256/ },
  { what: 'a vector length without vectors', args: () => ['boot', '--arch', 'riscv64', '--cpu', 'rv64,vlen=128'], says: /--cpu: vlen needs the vector extension \(v=on\)/ },
  { what: 'a feature of an ARM CPU', args: () => ['boot', '--arch', 'aarch64', '--cpu', 'max,-sve'], says: /--cpu: aarch64 has no feature '-sve' to switch; '--arch aarch64 --cpu help' lists them/ },
  { what: 'an ARM CPU that there is not', args: () => ['boot', '--arch', 'aarch64', '--cpu', 'cortex-a57'], says: /--cpu: aarch64 has no model 'cortex-a57'; '--arch aarch64 --cpu help' lists them/ },
  { what: 'a switch of an ARM CPU that is neither on nor off', args: () => ['boot', '--arch', 'aarch64', '--cpu', 'max,pauth=yes'], says: /--cpu: pauth=yes must be on or off/ },
  { what: 'no CPUs', args: boot('--cpus', '0'), says: /--cpus: '0' is not a number from 1 to 16/ },
  { what: 'too many CPUs', args: boot('--cpus', '17'), says: /--cpus: 17 is not a number from 1 to 16/ },
  { what: 'CPUs in words', args: boot('--cpus', 'two'), says: /--cpus: 'two' is not a number/ },
  { what: 'an unknown device', args: boot('--device', 'virtio-rgn'), says: /--device: no model 'virtio-rgn' \(did you mean virtio-rng\?\); '--device help'/ },
  { what: 'an unknown property', args: boot('--device', 'isa-debug-exit,iobas=1'), says: /--device: isa-debug-exit has no property 'iobas' \(did you mean iobase\?\)/ },
  { what: 'a bad property value', args: boot('--device', 'isa-debug-exit,iobase=high'), says: /--device: isa-debug-exit: iobase=high is not a number from 0 to 65535/ },
  { what: 'a missing folder to share', args: () => boot('--share', at('nope'))(), says: /--share: .*nope: no such folder/ },
  { what: 'a file to share', args: () => boot('--share', at('text'))(), says: /--share: .*text: not a folder/ },
  { what: 'an unknown property of a shared folder', args: () => boot('--share', `${at('folder')},tga=x`)(), says: /--share: unknown property 'tga' \(did you mean tag\?\)/ },
  { what: 'a bad tag of a shared folder', args: () => boot('--share', `${at('folder')},tag=`)(), says: /--share: tag= is not 1 to 31 printable/ },
  { what: 'two shared folders with one tag', args: () => boot('--share', `${at('folder')},tag=a`, '--share', `${at('folder')},tag=a`)(), says: /--share: two folders with tag=a/ },
  { what: 'a bad choice of a property', args: boot('--device', 'i6300esb,action=rest'), says: /--device: i6300esb: action=rest is not available \(reset, poweroff, none are\) \(did you mean reset\?\)/ },
  { what: 'a missing disk', args: () => boot('--disk', at('nope'))(), says: /--disk: .*nope: no such file/ },
  { what: 'a folder as disk', args: () => boot('--disk', at('folder'))(), says: /--disk: .*folder is a directory/ },
  { what: 'an empty disk', args: () => boot('--disk', at('empty'))(), says: /--disk: .*empty is empty/ },
  { what: 'a disk without a name', args: boot('--disk', ',readonly'), says: /--disk: ',readonly' names no file/ },
  { what: 'an unknown disk property', args: () => boot('--disk', `${at('disk')},redonly`)(), says: /--disk: unknown property 'redonly'/ },
  { what: 'an unknown disk format', args: () => boot('--disk', `${at('disk')},format=floppy`)(), says: /--disk: format=floppy is not available/ },
  { what: 'a bad switch of a disk', args: () => boot('--disk', `${at('disk')},readonly=perhaps`)(), says: /--disk: readonly=perhaps must be on or off/ },
  { what: 'a missing initrd', args: () => boot('--initrd', at('nope'))(), says: /--initrd: .*nope: no such file/ },
  { what: 'an empty initrd', args: () => boot('--initrd', at('empty'))(), says: /--initrd: .*empty is empty/ },
  { what: 'an initrd too big for memory', args: () => boot('--initrd', at('big'))(), says: /--initrd: .*big \(104857600 bytes\) does not fit into 16M of memory/ },
  { what: 'an initrd without a kernel', args: () => ['boot', '--initrd', at('big')], says: /--initrd: needs --kernel/ },
  { what: 'a command line without a kernel', args: () => ['boot', '--append', 'quiet'], says: /--append: needs --kernel/ },
  { what: 'a command line longer than the kernel takes', args: () => ['boot', '--kernel', at('whole'), '--append', 'x'.repeat(3000)], says: /--append: longer than the 2047 bytes/ },
  { what: 'an unknown serial port', args: boot('--serial', 'tty'), says: /--serial: 'tty' is not available/ },
  { what: 'a serial file that cannot be written', args: () => boot('--serial', `file:${at('nope/x')}`)(), says: /--serial: cannot write .*nope\/x/ },
  { what: 'a missing image', args: () => ['boot', at('nope')], says: /nope: no such file/ },
  { what: 'missing firmware', args: () => ['boot', at('disk'), '--firmware', at('nope')], says: /--firmware: .*nope/ },
  { what: 'a date that is none', args: boot('--rtc', 'yesterday'), says: /--rtc: 'yesterday' is not a time/ },
  { what: 'an unknown display', args: boot('--display', 'hologram'), says: /--display: 'hologram' is not available/ },
  { what: 'a timeout of 0', args: boot('--timeout', '0'), says: /--timeout: '0' is not a positive number of seconds/ },
  { what: 'a timeout in words', args: boot('--timeout', 'soon'), says: /--timeout: 'soon' is not a positive number/ },
  { what: 'an empty text to exit on', args: boot('--exit-on='), says: /--exit-on: the text is empty/ },
  { what: 'statistics that cannot be written', args: () => boot('--stats', at('nope/s.json'))(), says: /--stats: cannot write .*nope\/s\.json/ },
  { what: 'a trace without its file', args: boot('--trace', 'insn'), says: /--trace: goes together with --trace-file/ },
  { what: 'a trace file that cannot be written', args: () => boot('--trace', 'insn', '--trace-file', at('folder'))(), says: /--trace-file: cannot write .*folder/ },
  { what: 'an address that is none', args: boot('--dump', 'here'), says: /--dump: 'here' is not an address/ },
  { what: 'an unknown pass', args: boot('--disable-pass', 'magic'), says: /--disable-pass: no pass 'magic'/ },
  { what: 'the JIT without executable memory', args: boot('--accel', 'jit'), says: /--accel: jit needs executable memory.*\(use interp\)/, env: { VMX_ACCEL_NO_EXEC: '1' } },
];

describe.skipIf(skipFor(noAddon)).concurrent('bad input', () => {
  it.each(CASES)('$what', async ({ args, says, env }) => {
    const r = await run(args(), env);
    expect(r.stderr).toMatch(says);
    expect(r.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(r.stderr).toMatch(/^vmx-accel: /);
    expect(r.stdout).toBe('');
    expect(r.status).toBe(2);
    expect(existsSync(at('nope'))).toBe(false);
  });
});
