/** The guest-visible machine of each board as a listing: a change of any address, ID or table shows up here. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Board, PcBoardHost } from '#lib/boards/board.js';
import { MicrovmBoard } from '#lib/boards/microvm.js';
import { PcBoard } from '#lib/boards/pc.js';
import { Q35Board } from '#lib/boards/q35.js';
import { type MachineName, resolveConfig } from '#lib/machine/config.js';
import { tinyKernel } from '../boot/tiny.js';
import { boardHost } from './board-host.js';

const BOARDS: Partial<Record<MachineName, new (h: PcBoardHost) => Board>> = { pc: PcBoard, q35: Q35Board, microvm: MicrovmBoard };
const ACPI_TABLES = 0xf_0000;

const hex = (v: number, digits: number): string => v.toString(16).padStart(digits, '0');

/** Configuration space through the ports, as a guest reads it. */
function config(h: PcBoardHost, bus: number, devfn: number, reg: number): number {
  h.memory.portOut(0xcf8, 4, (0x8000_0000 | (bus << 16) | (devfn << 8) | reg) >>> 0);
  return h.memory.portIn(0xcfc, 4);
}

function functions(h: PcBoardHost, bus: number): string[] {
  const out: string[] = [];
  for (let devfn = 0; devfn < 256; devfn++) {
    const id = config(h, bus, devfn, 0);
    if (id === 0xffff_ffff) continue;
    const cls = config(h, bus, devfn, 8) >>> 8;
    const pin = (config(h, bus, devfn, 0x3c) >>> 8) & 0xff;
    const caps: number[] = [];
    for (let at = config(h, bus, devfn, 0x34) & 0xfc; at !== 0 && caps.length < 16; at = (config(h, bus, devfn, at) >>> 8) & 0xfc) caps.push(config(h, bus, devfn, at) & 0xff);
    out.push(`pci ${hex(bus, 2)}:${hex(devfn >> 3, 2)}.${devfn & 7} ${hex(id & 0xffff, 4)}:${hex(id >>> 16, 4)} class ${hex(cls, 6)} pin ${pin} capabilities ${caps.map((c) => hex(c, 2)).join(' ') || '-'}`);
  }
  return out;
}

/** Signatures of the tables the RSDP leads to. */
function tables(h: PcBoardHost): string[] {
  const m = h.memory;
  const text = (pa: number, n: number): string => Array.from({ length: n }, (_, i) => String.fromCharCode(m.read8(pa + i))).join('');
  expect(text(ACPI_TABLES, 8)).toBe('RSD PTR ');
  const xsdt = m.read32(ACPI_TABLES + 24);
  const out: string[] = [];
  const one = (pa: number): void => {
    const length = m.read32(pa + 4);
    let sum = 0;
    for (let i = 0; i < length; i++) sum += m.read8(pa + i);
    if (text(pa, 4) !== 'FACS') expect(sum & 0xff).toBe(0);
    out.push(text(pa, 4));
  };
  for (let i = 36; i < m.read32(xsdt + 4); i += 8) {
    const t = m.read32(xsdt + i);
    one(t);
    if (text(t, 4) === 'FACP') {
      // Hardware-reduced platforms have no FACS.
      for (const part of [m.read32(t + 36), m.read32(t + 40)]) if (part !== 0) one(part);
    }
  }
  return out;
}

describe('what a guest sees of', () => {
  let dir: string;
  let kernel: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-listing-'));
    kernel = join(dir, 'kernel');
    writeFileSync(kernel, tinyKernel('', { kind: 'halt' }));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  for (const machine of ['pc', 'q35', 'microvm'] as const) {
    it(machine, async () => {
      const h = boardHost(resolveConfig({ machine, kernel, memory: '64M', cpus: 2, vga: 'none', devices: ['virtio-rng'] }));
      const board = new BOARDS[machine]!(h);
      board.reset();
      // Bus numbers as firmware would give them: 1, 2, ... in the order of the bridges.
      let next = 1;
      for (let devfn = 0; devfn < 256; devfn++) {
        if (config(h, 0, devfn, 0) === 0xffff_ffff || ((config(h, 0, devfn, 0x0c) >>> 16) & 0x7f) !== 1) continue;
        config(h, 0, devfn, 0x18);
        h.memory.portOut(0xcfc, 4, (next << 16) | (next << 8));
        next++;
      }
      const r = h.memory.regions();
      const range = (kind: string, digits: number) => ([a, b]: [number, number]): string => `${kind} ${hex(a, digits)}-${hex(b, digits)}`;
      const lines = [
        ...Array.from({ length: next }, (_, bus) => functions(h, bus)).flat(),
        ...r.ram.map(range('ram', 8)), ...r.rom.map(range('rom', 8)), ...r.mmio.map(range('mmio', 8)), ...r.ports.map(range('port', 4)),
        `acpi ${tables(h).join(' ')}`,
        `devices ${board.devices.map((d) => d.name).join(' ')}`,
      ];
      await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot(`golden/${machine}.txt`);
      expect(new Set(board.devices.map((d) => d.name)).size).toBe(board.devices.length);
      board.close();
    });
  }

  it('q35 by memory mapped configuration', () => {
    const h = boardHost(resolveConfig({ machine: 'q35', kernel, memory: '64M' }));
    new Q35Board(h).reset();
    expect(h.memory.read(0xb000_0000, 4)).toBe(0x29c0_8086);
    expect(h.memory.read(0xb000_0000 + (0x1f << 15), 4)).toBe(0x2918_8086);
    expect(h.memory.read(0xb000_0000 + 0x100, 4)).toBe(0xffff_ffff);
    expect(h.memory.read(0xb010_0000, 4)).toBe(0xffff_ffff);
    // The window goes with its enable bit.
    h.memory.write(0xb000_0060, 4, 0xb000_0000);
    expect(config(h, 0, 0, 0)).toBe(0x29c0_8086);
    expect(h.memory.read(0xb000_0000, 4)).toBe(0xffff_ffff);
  });
});
