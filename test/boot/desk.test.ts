/** What a machine on a desk has besides, as Linux's own drivers see it: one guest with all of these devices. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';

const MINUTES = 60_000;
const { kernelGeneric: kernel, initramfsDesk: initrd } = guests;
const missing = noGuests ?? (kernel === undefined || initrd === undefined || !existsSync(kernel) || !existsSync(initrd) ? 'no generic kernel or initramfs for it: run node scripts/guests.mjs' : null);

describe.skipIf(skipFor(missing))("Linux's drivers", () => {
  let vm: VirtualMachine;
  let c: Console;
  beforeAll(async () => {
    vm = await VirtualMachine.create({
      kernel: kernel!,
      initrd: initrd!,
      append: 'console=ttyS0 quiet',
      devices: ['virtio-keyboard', 'virtio-mouse', 'virtio-tablet'],
    });
    c = new Console(vm);
    vm.start();
    await c.until('~ # ');
  }, 5 * MINUTES);
  afterAll(() => vm?.stop());

  /** Events that an input device reports while `act` runs: type, code, value. */
  async function events(name: string, count: number, act: () => Promise<void>): Promise<number[][]> {
    const node = (await c.run(`grep -l '${name}' /sys/class/input/event*/device/name`)).output.replace(/.*(event\d+).*/s, '$1');
    c.type(`timeout 20 head -c ${count * 24} /dev/input/${node} > /tmp/events & sleep 1; echo "<<"ready">>"\n`);
    await c.until('<<ready>>');
    await act();
    const { output } = await c.run('wait; od -An -v -tx1 -w24 /tmp/events');
    return output
      .split('\n')
      .filter((l) => /^( [0-9a-f]{2}){24}$/.test(l))
      .map((l) => Buffer.from(l.replaceAll(' ', ''), 'hex'))
      .map((b) => [b.readUInt16LE(16), b.readUInt16LE(18), b.readInt32LE(20)]);
  }

  it('virtio-input: keyboard, mouse and tablet get what programs send', async () => {
    expect(await events('virtio keyboard', 8, () => vm.keyboard.type('A'))).toEqual([[1, 42, 1], [0, 0, 0], [1, 30, 1], [0, 0, 0], [1, 30, 0], [0, 0, 0], [1, 42, 0], [0, 0, 0]]);
    expect(await events('virtio mouse', 3, () => vm.mouse.move(7, -4))).toEqual([[2, 0, 7], [2, 1, -4], [0, 0, 0]]);
    const tablet = await events('virtio tablet', 5, async () => {
      await vm.mouse.setAxis('x', 1000);
      await vm.mouse.setAxis('y', 20000);
      await vm.mouse.down();
    });
    expect(tablet).toEqual([[3, 0, 1000], [0, 0, 0], [3, 1, 20000], [0, 0, 0], [1, 0x110, 1]]);
    await vm.mouse.up();
  }, 2 * MINUTES);
});
