/** Plain command lines are read as yargs reads them, all others are left to it. */
import { describe, expect, it } from 'vitest';
import yargs from 'yargs';
import { bootOptions, plainBoot } from '#lib/cli/boot.js';

/** What yargs makes of it, without the names in other spellings; null if it refuses. */
function byYargs(argv: string[]): Record<string, unknown> | null {
  let failed = false;
  const y = bootOptions(yargs(argv).help(false).version(false).exitProcess(false).command('$0 [image]', false, (b) => b.positional('image', { type: 'string' })));
  const out = y.strict().fail(() => (failed = true)).parseSync() as unknown as Record<string, unknown>;
  if (failed) return null;
  const { _: rest, ...named } = out;
  if ((rest as unknown[]).length > 0) return null;
  delete named['$0'];
  return Object.fromEntries(Object.entries(named).filter(([k, v]) => !k.includes('-') && k.length > 1 && v !== undefined));
}

const PLAIN = [
  [],
  ['disk.img'],
  ['--kernel', 'vmlinuz', '--initrd', 'initrd.gz', '--append', 'console=ttyS0 root=/dev/vda', '--no-reboot', '--exit-on', 'login:', '--timeout', '60'],
  ['-m', '1G', '--cpus', '2', 'disk.img', '--snapshot'],
  ['--memory=1G', '--append=console=ttyS0 quiet', '--aot=off'],
  ['--disk', 'a.img', '--disk', 'b.img,if=nvme', '--device', 'virtio-rng', '--cdrom', 'x.iso'],
  ['--perf-map', '--reboot', '--aot-dir', '/tmp/x', '--stats', 's.json'],
];

const LEFT = [
  ['--help'], ['-h'], ['--no-such'], ['--kernel'], ['--kernel', '--initrd', 'x'], ['--kernel', ''], ['--append', '"quoted"'], ['a.img', 'b.img'], ['--memory', '1G', '--memory', '2G'],
  ['--disk', 'a.img', 'b.img'], ['--snapshot', 'false'], ['--snapshot=false'], ['--no-kernel', 'x'], ['--', 'x'], ['-m1G'], ['-m=1G'], ['--trace', 'block', '--trace-file', 'f'], ['17'], ['--kernel.x', 'y'],
  ['--exitOn', 'x'], ['--no-reboot', '--no-reboot'],
];

describe('plain command lines', () => {
  it.each(PLAIN.map((argv) => [argv.join(' '), argv] as const))('boot %s', (_text, argv) => {
    const quick = plainBoot(argv);
    expect(quick).not.toBeNull();
    expect(quick).toEqual(byYargs([...argv]));
  });

  it.each(LEFT.map((argv) => [argv.join(' '), argv] as const))('leaves to yargs: boot %s', (_text, argv) => {
    expect(plainBoot(argv)).toBeNull();
  });
});
