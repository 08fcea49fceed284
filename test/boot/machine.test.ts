/** The life of a machine through the API, with kernels of a few bytes. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MachineOptions, UsageError, VirtualMachine, VmxError } from '#lib/index.js';
import { Console } from './console.js';
import { noAddon, skipFor } from './guests.js';
import { type Ending, tinyKernel } from './tiny.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-machine-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let n = 0;
function kernel(text: string, end: Ending): string {
  const file = join(dir, `k${n++}`);
  writeFileSync(file, tinyKernel(text, end));
  return file;
}
const create = (text: string, end: Ending, options: MachineOptions = {}, signal?: AbortSignal): Promise<VirtualMachine> =>
  VirtualMachine.create({ memory: '16M', kernel: kernel(text, end), ...options }, signal);

describe.skipIf(skipFor(noAddon)).each(['jit', 'interp'] as const)('a machine on %s', (accel) => {
  const skip = accel === 'jit' && process.arch !== 'x64';

  it.skipIf(skip)('prints and powers off', async () => {
    await using vm = await create('hello\n', { kind: 'power-off' }, { accel });
    expect(vm.accel).toBe(accel);
    expect(vm.state).toBe('created');
    const c = new Console(vm);
    const ended = once(vm, 'end');
    vm.start();
    expect(vm.state).toBe('running');
    await c.until('hello\n');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off', status: 0 });
    expect(await ended).toMatchObject([{ reason: 'power-off' }]);
    expect(vm.state).toBe('ended');
    const stats = await vm.stats();
    expect(stats).toMatchObject({ accel, memory: { guest: 16 * 1024 * 1024 } });
    expect(stats!.guestTime).toBeGreaterThan(0);
  });

  it.skipIf(skip)('ends with the status of isa-debug-exit', async () => {
    await using vm = await create('', { kind: 'exit', value: 0x15 }, { accel, devices: ['isa-debug-exit'] });
    vm.start();
    expect(await vm.wait()).toMatchObject({ reason: 'exit', status: 43 });
  });

  it.skipIf(skip)('ends on a triple fault with noReboot', async () => {
    await using vm = await create('', { kind: 'triple-fault' }, { accel, noReboot: true });
    vm.start();
    const end = await vm.wait();
    expect(end).toMatchObject({ reason: 'triple-fault', status: 125 });
    expect(end.message).toContain('triple fault on CPU 0');
  });

  it.skipIf(skip)('takes typed bytes of any number, with back-pressure', async () => {
    await using vm = await create('', { kind: 'echo' }, { accel });
    const c = new Console(vm);
    vm.start();
    const text = Array.from({ length: 3000 }, (_, i) => `${i};`).join('');
    c.type(`${text}!`);
    await c.until('!');
    expect(c.text.length).toBe(text.length + 1);
    expect(c.text === `${text}!`).toBe(true);
    c.type('q');
    expect(await vm.wait()).toMatchObject({ reason: 'power-off' });
  });

  it.skipIf(skip)('stands still while paused', async () => {
    await using vm = await create('', { kind: 'echo' }, { accel });
    const c = new Console(vm);
    vm.start();
    c.type('a');
    await c.until('a');
    await vm.pause();
    expect(vm.state).toBe('paused');
    const before = await vm.stats();
    c.type('b');
    const after = await vm.stats();
    expect(after!.guestTime).toBe(before!.guestTime);
    expect(after!.slices).toBe(before!.slices);
    expect(c.text).toBe('a');
    await vm.resume();
    expect(vm.state).toBe('running');
    await c.until('b');
    expect((await vm.stats())!.guestTime).toBeGreaterThan(after!.guestTime);
    await vm.pause();
    await vm.stop();
    expect(vm.state).toBe('ended');
  });

  it.skipIf(skip)('stops a guest that spins and one that halts for ever', async () => {
    for (const kind of ['spin', 'halt'] as const) {
      await using vm = await create('up', { kind }, { accel });
      const c = new Console(vm);
      vm.start();
      await c.until('up');
      expect(await vm.stop()).toMatchObject({ reason: 'stopped', status: 0 });
    }
  });
});

describe.skipIf(skipFor(noAddon))('the API', () => {
  it('resets, and ends instead with noReboot', async () => {
    await using vm = await create('round ', { kind: 'reset' });
    const c = new Console(vm);
    const reset = once(vm, 'reset');
    vm.start();
    await reset;
    await c.until(/round .*round /);
    await vm.stop();
    await using other = await create('', { kind: 'reset' }, { noReboot: true });
    other.start();
    expect(await other.wait()).toMatchObject({ reason: 'reset', status: 0 });
  });

  it('resets on request, and again after a triple fault', async () => {
    await using vm = await create('<up>', { kind: 'halt' });
    const c = new Console(vm);
    vm.start();
    await c.until('<up>');
    vm.reset();
    await c.until('<up>');
    await using crash = await create('<up>', { kind: 'triple-fault' });
    const logs: string[] = [];
    crash.on('log', (m) => logs.push(m));
    const d = new Console(crash);
    crash.start();
    await d.until(/<up>.*<up>/);
    expect(logs[0]).toContain('triple fault');
  });

  it('runs several machines at once', async () => {
    const vms = await Promise.all([1, 2, 3].map((i) => create(`machine ${i}\n`, { kind: 'power-off' })));
    const texts = vms.map((vm) => new Console(vm));
    for (const vm of vms) vm.start();
    await Promise.all(vms.map((vm) => vm.wait()));
    texts.forEach((c, i) => expect(c.text).toBe(`machine ${i + 1}\n`));
  });

  it('stops by AbortSignal, before and after the start', async () => {
    const early = AbortSignal.abort();
    await expect(create('', { kind: 'halt' }, {}, early)).rejects.toThrow(/abort/i);
    const controller = new AbortController();
    await using vm = await create('up', { kind: 'spin' }, {}, controller.signal);
    const c = new Console(vm);
    vm.start();
    await c.until('up');
    controller.abort();
    expect(await vm.wait()).toMatchObject({ reason: 'stopped' });
  });

  it('can be thrown away without a start, and answers everything after its end', async () => {
    const vm = await create('', { kind: 'halt' });
    await vm[Symbol.asyncDispose]();
    expect(vm.state).toBe('ended');
    expect(() => vm.start()).toThrow(VmxError);
    await vm.pause();
    await vm.resume();
    vm.reset();
    vm.powerButton();
    vm.serial.write('x');
    expect(await vm.stop()).toMatchObject({ reason: 'stopped' });
    expect(await vm.stats()).toMatchObject({ slices: 0 });
  });

  it('ends the serial stream with the machine', async () => {
    await using vm = await create('bye', { kind: 'power-off' });
    vm.start();
    let text = '';
    for await (const chunk of vm.serial) text += String(chunk);
    expect(text).toBe('bye');
  });

  it('rejects bad options with UsageError and leaves nothing behind', async () => {
    const bad: [MachineOptions, RegExp][] = [
      [{ kernel: join(dir, 'nothing') }, /--kernel: .*nothing: no such file/],
      [{ cpu: 'pentium9' }, /--cpu: .*pentium9/],
      [{ memory: 0 }, /--memory/],
      [{ memory: NaN }, /--memory/],
      [{ devices: ['floppy'] }, /--device: no model 'floppy'/],
      [{ cpus: 1.5 }, /--cpus/],
      [{ disks: [join(dir, 'no.img')] }, /--disk: .*no.img: no such file/],
    ];
    for (const [options, message] of bad) {
      const p = VirtualMachine.create({ memory: '16M', kernel: kernel('', { kind: 'halt' }), ...options });
      await expect(p).rejects.toThrow(message);
      await expect(p).rejects.toBeInstanceOf(UsageError);
    }
  });
});
