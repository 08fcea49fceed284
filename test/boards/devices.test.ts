/** Every model of `--device` can be added, and saves and restores its state on the board as it does alone. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEVICE_MODELS, parseDevice } from '#lib/boards/device-options.js';
import { BUS_DEVICES, PC_DEVICES } from '#lib/boards/parts/extras.js';
import { PcBoard } from '#lib/boards/pc.js';
import { Q35Board } from '#lib/boards/q35.js';
import { resolveConfig } from '#lib/machine/config.js';
import { tinyKernel } from '../boot/tiny.js';
import { boardHost } from './board-host.js';

/** Properties that a model cannot do without. */
const NEEDED: Readonly<Record<string, string>> = { 'virtio-serial': ',ports=org.example.0' };

describe('--device', () => {
  let dir: string;
  let kernel: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-devices-'));
    kernel = join(dir, 'kernel');
    writeFileSync(kernel, tinyKernel('up', { kind: 'power-off' }));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('has a part for every model, and a model for every part', () => {
    expect([...Object.keys(BUS_DEVICES), ...Object.keys(PC_DEVICES)].sort()).toEqual(DEVICE_MODELS.map((m) => m.name).sort());
  });

  it.each(DEVICE_MODELS.map((m) => m.name))('%s on pc and q35', (name) => {
    for (const Board of [PcBoard, Q35Board]) {
      const machine = Board === PcBoard ? 'pc' : 'q35';
      const make = (devices: string[]): InstanceType<typeof Board> => new Board(boardHost(resolveConfig({ machine, kernel, memory: '16M', devices, shares: process.platform === 'linux' ? [`${dir},tag=t`] : [] })));
      const without = make([]);
      const board = make([name + (NEEDED[name] ?? '')]);
      board.reset();
      expect(board.devices.length).toBeGreaterThan(without.devices.length);
      for (const d of board.devices) {
        const saved = JSON.stringify(d.save());
        d.restore(JSON.parse(saved) as ReturnType<typeof d.save>);
        expect(JSON.stringify(d.save())).toBe(saved);
      }
      board.close();
      without.close();
    }
  });

  it('refuses what makes no sense', () => {
    const make = (...devices: string[]) => (): PcBoard => new PcBoard(boardHost(resolveConfig({ kernel, memory: '16M', devices })));
    for (const [devices, says] of [
      [['virtio-balloon', 'virtio-balloon'], 'one virtio-balloon'],
      [['virtio-vsock,cid=2'], 'cid=0 to 2'],
      [['virtio-serial'], 'ports='],
      [[`virtio-serial,ports=${Array.from({ length: 17 }, (_, i) => `p${i}`).join(':')}`], 'no more than 16'],
      [['isa-serial,index=0'], '--serial'],
      [['isa-serial,index=2', 'isa-serial,index=2'], 'two with index=2'],
      [['isa-serial', 'isa-serial', 'isa-serial', 'isa-serial'], 'four serial ports'],
      [['ramfb', 'ramfb'], 'one ramfb'],
    ] as const) expect(make(...devices)).toThrow(says);
    expect(() => parseDevice('virtio-gpuu')).toThrow('did you mean virtio-gpu?');
  });
});
