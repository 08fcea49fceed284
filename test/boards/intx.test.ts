/** Interrupt pins of PCI functions: wired together, within a device and between devices. */
import { describe, expect, it } from 'vitest';
import { BusParts } from '#lib/boards/parts/bus-parts.js';
import { resolveConfig } from '#lib/machine/config.js';
import { boardHost } from './board-host.js';

describe('PCI interrupt pins', () => {
  it('are the OR of the functions that share them', () => {
    const p = new BusParts(boardHost(resolveConfig({ kernel: process.execPath, arch: 'x86_64', memory: '1M' })));
    const levels: boolean[] = [];
    p.pirq = { set: (n, level) => void (levels[n] = level) };
    const { intx } = p.pciHost;
    // Two functions of device 5, both at INTA: as ICH9 has its USB and SMBus.
    const [a, b] = [5 << 3, (5 << 3) | 1];
    const n = p.pirqOf(5, 1);
    intx(a, 1, true);
    intx(b, 1, true);
    expect(levels[n]).toBe(true);
    intx(a, 1, false);
    expect(levels[n]).toBe(true);
    // A device four numbers on has its INTA on the same line.
    intx(9 << 3, 1, true);
    intx(b, 1, false);
    expect(levels[n]).toBe(true);
    intx(9 << 3, 1, false);
    expect(levels[n]).toBe(false);
  });
});
