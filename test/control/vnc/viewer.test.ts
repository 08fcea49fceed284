/** A viewer of Debian's packages (gvnccapture, of gtk-vnc) sees what the screenshot shows. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PNG } from 'pngjs';
import { describe, expect, it } from 'vitest';
import { UsageError, VirtualMachine, VncServer } from '#lib/index.js';
import { hostTool, noAddon, skipFor } from '../../boot/guests.js';

const freedos = process.env.VMX_FREEDOS ?? fileURLToPath(new URL('../../../../shared/guests/freedos722.img', import.meta.url));
/** Viewers count displays from this port on. */
const FIRST_PORT = 5900;

async function listen(vm: VirtualMachine): Promise<number> {
  for (let display = 40; ; display++) {
    try {
      await VncServer.listen(vm, { kind: 'tcp', host: '127.0.0.1', port: FIRST_PORT + display });
      return display;
    } catch (e) {
      if (!(e instanceof UsageError) || display > 100) throw e;
    }
  }
}

async function capture(vm: VirtualMachine): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'vmx-viewer-'));
  try {
    await vm.pause();
    const file = join(dir, 'a.png');
    await promisify(execFile)('gvnccapture', ['-q', `127.0.0.1:${await listen(vm)}`, file], { timeout: 60_000 });
    const seen = PNG.sync.read(readFileSync(file));
    const want = await vm.screen.picture();
    expect({ width: seen.width, height: seen.height }).toEqual({ width: want.width, height: want.height });
    expect(Buffer.from(seen.data).equals(Buffer.from(want.rgba))).toBe(true);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describe.skipIf(skipFor(noAddon ?? hostTool('gvnccapture') ?? (existsSync(freedos) ? null : 'no FreeDOS floppy')))('gvnccapture', () => {
  it('shows FreeDOS dot by dot', async () => {
    await using vm = await VirtualMachine.create({ floppies: [`${freedos},snapshot`] });
    vm.start();
    await vm.screen.waitForText('A:\\>', { timeout: 120_000 });
    await capture(vm);
  }, 300_000);
});
