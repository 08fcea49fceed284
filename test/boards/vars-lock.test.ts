/** The file of UEFI variables is locked while a machine uses it. */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PcBoard } from '#lib/boards/pc.js';
import { findUefi } from '#lib/boot/firmware.js';
import { resolveConfig } from '#lib/machine/config.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { boardHost } from './board-host.js';

function missing(): string | null {
  try {
    findUefi();
    return noAddon;
  } catch (e) {
    return (e as Error).message;
  }
}

describe.skipIf(skipFor(missing()))('UEFI variables', () => {
  let dir: string;
  beforeAll(() => (dir = mkdtempSync(join(tmpdir(), 'vmx-vars-lock-'))));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('have one writer', () => {
    const vars = join(dir, 'vars.fd');
    copyFileSync(findUefi().varsTemplate!, vars);
    const machine = (): PcBoard => new PcBoard(boardHost(resolveConfig({ memory: '64M', firmware: 'ovmf', firmwareVars: vars, vga: 'none' })));
    const first = machine();
    expect(machine).toThrow(/--firmware-vars: .*vars\.fd is in use by another machine or program/);
    first.close();
    machine().close();
  });
});
