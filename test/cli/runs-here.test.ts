/** Which boots run the machine in the main thread (lib/cli/runs-here.ts). Tests have no terminal as standard input and output, or the answer is always no. */
import { isatty } from 'node:tty';
import { describe, expect, it } from 'vitest';
import { runsHere } from '#lib/cli/runs-here.js';

describe.skipIf(isatty(0) || isatty(1))('runsHere', () => {
  it('is true of boots that nobody else has to do with', () => {
    for (const argv of [[], ['--kernel', 'vmlinuz', '--append', 'console=ttyS0 --net'], ['disk.img', '--serial', 'none'], ['--serial=file:console'], ['--serial', 'stdio', '--timeout', '3']]) expect(runsHere(argv), argv.join(' ')).toBe(true);
  });

  it('is false if the main thread serves others', () => {
    for (const argv of [['--qmp', 'tcp:1'], ['--display=vnc'], ['disk.img', '--net', 'user'], ['--serial', 'tcp:5000'], ['--serial=unix:/s'], ['--serial'], ['--gdb', 'tcp:1'], ['--port', 'a=tcp:1'], ['--device', 'virtio-vsock'], ['--screenshot', 'a.png']]) {
      expect(runsHere(argv), argv.join(' ')).toBe(false);
    }
  });
});
