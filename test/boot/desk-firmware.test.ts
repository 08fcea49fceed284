/** Displays as UEFI firmware drives them: OVMF's graphics output on ramfb and on virtio-vga shows the same as on the standard VGA. */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { noAddon, skipFor } from './guests.js';

const MINUTES = 60_000;
const missing = noAddon ?? (process.env.VMX_TEST_LONG === undefined ? 'long tests of firmware displays: set VMX_TEST_LONG=1' : null) ?? (existsSync('/usr/share/OVMF/OVMF_CODE_4M.fd') || existsSync('/usr/share/OVMF/OVMF_CODE.fd') ? null : 'OVMF is not installed');

/** Size of the picture and number of its colours once there are more than one. */
async function firmwareScreen(o: { vga: 'none' | 'virtio'; devices: string[] }): Promise<{ width: number; height: number; colours: number }> {
  await using vm = await VirtualMachine.create({ firmware: 'ovmf', firmwareVars: 'none', memory: '128M', ...o });
  vm.start();
  for (let i = 0; i < 600; i++) {
    const p = await vm.screen.picture();
    const colours = new Set(new Uint32Array(p.rgba.buffer, p.rgba.byteOffset, p.width * p.height)).size;
    if (p.width >= 800 && colours > 1) return { width: p.width, height: p.height, colours };
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error('the screen stays empty');
}

describe.skipIf(skipFor(missing))('OVMF shows itself', () => {
  it.each([
    ['ramfb', { vga: 'none' as const, devices: ['ramfb'] }],
    ['virtio-vga', { vga: 'virtio' as const, devices: [] }],
    ['virtio-gpu', { vga: 'none' as const, devices: ['virtio-gpu'] }],
  ])('on %s', async (_name, o) => {
    const { width, height, colours } = await firmwareScreen(o);
    expect(width).toBeGreaterThanOrEqual(800);
    expect(height).toBeGreaterThanOrEqual(600);
    expect(colours).toBeGreaterThan(1);
  }, 2 * MINUTES);
});
