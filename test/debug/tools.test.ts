/** --trace, --dump, --perf-map and --clock virtual on a tiny guest, through the command line. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noAddon } from '../boot/guests.js';
import { type Ending, tinyKernel } from '../boot/tiny.js';
import { canRun } from '../engine/x64/jit.js';

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-debug-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Ran {
  status: number | null;
  stdout: string;
  stderr: string;
  pid: number;
}

function boot(end: Ending, ...args: string[]): Promise<Ran> {
  const kernel = join(dir, `kernel-${end.kind}`);
  writeFileSync(kernel, tinyKernel('hello\n', end));
  return new Promise((resolve, reject) => {
    const p = spawn(process.execPath, [CLI, 'boot', '-m', '16M', '--kernel', kernel, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    p.stdout.on('data', (b: Buffer) => (stdout += b.toString('latin1')));
    p.stderr.on('data', (b: Buffer) => (stderr += b.toString('latin1')));
    p.on('error', reject);
    p.on('close', (status) => resolve({ status, stdout, stderr, pid: p.pid! }));
  });
}

async function trace(end: Ending, kinds: readonly string[], ...args: string[]): Promise<string[]> {
  const file = join(dir, 'trace');
  await boot(end, ...kinds.flatMap((k) => ['--trace', k]), '--trace-file', file, ...args);
  return readFileSync(file, 'utf8').trimEnd().split('\n');
}

const OFF: Ending = { kind: 'power-off' };
const accels = canRun ? ['jit', 'interp'] : ['interp'];

describe.skipIf(noAddon !== null)('debugging tools', () => {
  it.each(accels)('trace blocks with their bytes on %s', async (accel) => {
    const lines = await trace(OFF, ['block'], '--accel', accel);
    expect(lines[0]).toMatch(/^M 0 32,/);
    const blocks = lines.filter((l) => l.startsWith('B '));
    for (const b of blocks) expect(b).toMatch(/^B 0 [0-9a-f]{16} \d+:( [0-9a-f]{2})+$/);
    // mov esp, ...: the entry point, once; the print loop, once per character.
    expect(blocks[0]).toMatch(/^B 0 0000000000100020 .*: bc /);
    expect(blocks.filter((b) => / 0000000000100035 /.test(b)).length + blocks.filter((b) => / 000000000010002a /.test(b)).length).toBeGreaterThan(5);
  });

  it.each(accels)('trace instructions with the registers they change on %s', async (accel) => {
    const lines = (await trace(OFF, ['insn'], '--accel', accel)).filter((l) => l.startsWith('I '));
    expect(lines[0]).toMatch(/^I 0 0000000000100020: bc 00 00 11 00 rsp=0000000000110000$/);
    expect(lines[1]).toMatch(/^I 0 0000000000100025: be .* rsi=00000000001000/);
    // lodsb loads 'h'
    expect(lines[2]).toMatch(/^I 0 000000000010002a: ac rax=[0-9a-f]*68 .*rsi=/);
    // Every instruction once: the loop has six, for six characters.
    expect(lines.filter((l) => l.includes(': ee')).length).toBe(6);
  });

  it('traces exceptions and mode changes', async () => {
    const lines = await trace({ kind: 'triple-fault' }, ['fault', 'insn'], '--no-reboot');
    // #UD with an empty IDT ends in a triple fault, and is the last instruction traced; nothing can be delivered.
    expect(lines.at(-1)).toMatch(/^I 0 [0-9a-f]+: 0f 0b/);
  });

  it.skipIf(!canRun)('dumps a block in all its forms', async () => {
    const r = await boot(OFF, '--dump', '0x100025', '--accel', 'jit');
    expect(r.stdout).toContain('hello');
    expect(r.stderr).toMatch(/guest code at 0x100020 \(32,[a-z0-9,-]*\): bc 00 00 11 00 be/);
    expect(r.stderr).toContain('IR as lifted:\n@020:');
    expect(r.stderr).toContain('IR after the passes:\n@020:');
    expect(r.stderr).toMatch(/host code at 0x[0-9a-f]+, \d+ bytes:/);
    expect(r.stderr.match(/guest code at/g)).toHaveLength(1);
    const bad = await boot(OFF, '--dump', 'start');
    expect(bad.status).toBe(2);
    expect(bad.stderr).toMatch(/--dump: 'start' is not an address/);
  });

  it.skipIf(!canRun || process.platform !== 'linux')('writes a perf map', async () => {
    const r = await boot(OFF, '--perf-map', '--accel', 'jit');
    const file = `/tmp/perf-${r.pid}.map`;
    expect(existsSync(file)).toBe(true);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    rmSync(file);
    let last = 0;
    for (const l of lines) {
      const m = /^([0-9a-f]+) ([0-9a-f]+) (vmx-stub:\w+(?::\d+)?|guest:[0-9a-f]{16}\+[0-9a-f]+:(16|32|64):(user|kernel))$/.exec(l);
      expect(m, l).not.toBeNull();
      const start = parseInt(m![1]!, 16);
      expect(start).toBeGreaterThanOrEqual(last);
      last = start + parseInt(m![2]!, 16);
    }
    expect(lines.some((l) => l.includes('guest:0000000000100000+20:32:kernel'))).toBe(true);
    expect(lines.some((l) => l.includes('vmx-stub:enter'))).toBe(true);
  });

  it('runs the same way twice, and on both executors, with a virtual clock', async () => {
    const args = ['--clock', 'virtual'];
    for (const kinds of [['insn', 'fault'], ['block', 'fault']]) {
      let first: string | null = null;
      for (const accel of [...accels, accels[0]!]) {
        const text = (await trace(OFF, kinds, ...args, '--accel', accel)).join('\n');
        first ??= text;
        expect(text === first).toBe(true);
      }
    }
  });

  it.skipIf(!canRun)('runs a guest in lockstep', async () => {
    const r = await boot(OFF, '--lockstep', '--accel', 'jit');
    expect(r.status).toBe(0);
    expect(r.stdout).toContain('hello');
    expect(r.stderr).toMatch(/lockstep: \d+ blocks and \d+ events compared/);
  });

  it('reports bad debugging options in one line', async () => {
    for (const [args, text] of [
      [['--clock', 'atomic'], /--clock: 'atomic' is not available/],
      [['--rtc', 'yesterday'], /--rtc: 'yesterday' is not a time/],
      [['--trace', 'block', '--trace-file', join(dir, 'no', 'such')], /--trace-file: cannot write/],
      [['--lockstep', '--accel', 'interp'], /--lockstep: needs the JIT/],
      [['--disable-pass', 'all'], /--disable-pass: no pass 'all'/],
    ] as const) {
      const r = await boot(OFF, ...args);
      expect(r.status).toBe(2);
      expect(r.stderr).toMatch(text);
    }
  });
});
