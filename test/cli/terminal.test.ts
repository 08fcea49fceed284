/** The console of `vmx-accel boot`, with a machine that is only its serial port. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { Terminal } from '#lib/cli/terminal.js';
import type { VirtualMachine } from '#lib/index.js';

it('has written what came last before it is closed', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'vmx-terminal-'));
  try {
    const file = join(dir, 'console');
    const serial = new Readable({ read: () => undefined });
    let stopped = 0;
    const terminal = new Terminal(`file:${file}`, null);
    terminal.open({ serial, stop: () => stopped++ } as unknown as VirtualMachine);
    serial.push('the last words');
    serial.push(null);
    await terminal.close();
    expect(readFileSync(file, 'latin1')).toBe('the last words');
    expect(stopped).toBe(0);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
