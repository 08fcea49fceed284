/** The console on a real terminal: raw mode, the Ctrl-A keys, and what reaches the guest. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { guests, hostTool, noAddon, noGuests, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { MAIN } from './run.js';

interface Outcome {
  status: number;
  /** The terminal was in raw mode while the machine ran. */
  raw: boolean;
  /** Its modes at the end are those at the beginning. */
  restored: boolean;
  shown: string;
  /** What was expected and never came. */
  missing?: string;
}
type Step = { send: string } | { expect: string } | { drawn: string; times?: number };

function onTerminal(args: readonly string[], steps: readonly Step[]): Promise<Outcome> {
  const python = spawn('python3', [fileURLToPath(new URL('terminal.py', import.meta.url)), process.execPath, MAIN, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  python.stdin.end(steps.map((s) => `${JSON.stringify(s)}\n`).join(''));
  // Should the test time out: the end of the terminal ends the machine.
  onTestFinished(() => void python.kill('SIGKILL'));
  let out = '';
  python.stdout.on('data', (d: Buffer) => (out += d.toString()));
  return new Promise((resolve, reject) => {
    python.on('error', reject);
    python.on('close', () => (out === '' ? reject(new Error('no result from terminal.py')) : resolve(JSON.parse(out) as Outcome)));
  });
}

let dir: string;
let echo: string[];
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-pty-'));
  writeFileSync(join(dir, 'echo'), tinyKernel('ready>', { kind: 'echo' }));
  echo = ['boot', '--kernel', join(dir, 'echo'), '--memory', '16M'];
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const why = process.platform === 'linux' ? (noAddon ?? hostTool('python3')) : 'needs Linux terminals';

describe.skipIf(skipFor(why))('a terminal', () => {
  it('is raw while the machine runs and as before after Ctrl-A X', async () => {
    const r = await onTerminal(echo, [{ expect: 'ready>' }, { send: 'abc\r' }, { expect: 'abc\r' }, { send: '\x01x' }]);
    expect(r).toMatchObject({ status: 0, raw: true, restored: true });
    expect(r.missing).toBeUndefined();
  });

  it('passes Ctrl-C, Ctrl-D, Ctrl-Z and escape sequences to the guest', async () => {
    const keys = '\x03\x04\x1a\x1b[A\x1b[D\x7f';
    const r = await onTerminal(echo, [{ expect: 'ready>' }, { send: keys }, { expect: keys }, { send: 'q' }]);
    expect(r).toMatchObject({ status: 0, restored: true });
    expect(r.missing).toBeUndefined();
  });

  it('sends Ctrl-A itself when it is typed twice, and shows help', async () => {
    const r = await onTerminal(echo, [
      { expect: 'ready>' }, { send: '[\x01\x01]' }, { expect: '[\x01]' }, { send: '\x01h' }, { expect: 'Ctrl-A X quit' }, { send: 'still' }, { expect: 'still' },
      { send: '\x01r' }, { expect: 'ready>' }, { send: '\x01x' },
    ]);
    expect(r).toMatchObject({ status: 0, restored: true });
    expect(r.missing).toBeUndefined();
  });

  it('is restored after an error of the guest', async () => {
    writeFileSync(join(dir, 'crash'), tinyKernel('bang', { kind: 'triple-fault' }));
    const r = await onTerminal(['boot', '--kernel', join(dir, 'crash'), '--memory', '16M', '--no-reboot'], [{ expect: 'bang' }]);
    expect(r).toMatchObject({ status: 125, restored: true });
    expect(r.shown).toContain('triple fault on CPU 0');
  });
});

const freedos = process.env.VMX_FREEDOS ?? fileURLToPath(new URL('../../../shared/guests/freedos722.img', import.meta.url));
describe.skipIf(why !== null || skipFor(existsSync(freedos) ? null : 'no FreeDOS floppy'))('a text screen on a terminal', () => {
  it('shows FreeDOS and types into it', async () => {
    const r = await onTerminal(['boot', freedos, '--snapshot', '--display', 'term'], [
      { drawn: 'A:\\>' }, { send: 'ver\r' }, { drawn: 'FreeCom', times: 2 }, { drawn: 'A:\\>', times: 2 }, { send: '\x01x' },
    ]);
    expect(r.missing).toBeUndefined();
    expect(r).toMatchObject({ status: 0, raw: true, restored: true });
    // The alternate screen was left.
    expect(r.shown.trimEnd().endsWith('\x1b[?1049l')).toBe(true);
  }, 120_000);

  it('cannot share the terminal with the serial port', async () => {
    const r = await onTerminal([...echo, '--display', 'term', '--serial', 'stdio'], []);
    expect(r.shown).toContain('--serial: stdio is the screen with --display term');
    expect(r).toMatchObject({ status: 2, restored: true });
  });
});

describe.skipIf(why !== null || skipFor(noGuests))('a shell on a terminal', () => {
  it('has history on the arrow keys and interrupts on Ctrl-C', async () => {
    const r = await onTerminal(['boot', '--kernel', guests.kernel, '--initrd', guests.initramfs, '--append', 'console=ttyS0 quiet'], [
      { expect: '~ # ' },
      { send: 'echo one-$((1 + 1))\r' }, { expect: 'one-2' }, { expect: '~ # ' },
      // Up: the same line again.
      { send: '\x1b[A\r' }, { expect: 'one-2' }, { expect: '~ # ' },
      // Left twice, then an insertion in the middle.
      { send: 'echo left-13\x1b[D2\r' }, { expect: 'left-123' }, { expect: '~ # ' },
      // A shell that has the terminal by the time it says so: Ctrl-C must not come while the first one starts it.
      { send: "sh -c 'echo go-$((2 * 2)); exec sleep 1000'\r" }, { expect: 'go-4' }, { send: '\x03' }, { expect: '~ # ' },
      { send: 'poweroff -f\r' },
    ]);
    expect(r.missing).toBeUndefined();
    expect(r).toMatchObject({ status: 0, raw: true, restored: true });
  }, 600_000);
});
