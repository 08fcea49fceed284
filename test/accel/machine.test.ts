/** Whole machines on KVM and between executors: switching, pausing, several CPUs, ends, bad input, and nothing left behind. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { type ActiveAccel, type MachineOptions, VirtualMachine } from '#lib/index.js';
import { apicKeepsInService } from '#lib/accel/kvm/system.js';
import { parseAccel } from '#lib/accel/options.js';
import { tinyKernel } from '../boot/tiny.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { build, missingTools } from '../metal/metal.js';
import { kvm, noKvm, softKvm } from './harness.js';

const skip = skipFor(noAddon ?? noKvm);
const noTools = missingTools();
const MINUTE = 60_000;
/** All of the guest, kernel mode too, in KVM; and what --accel kvm does by itself. */
const WAYS: readonly MachineOptions['accel'][] = ['kvm,kernel=kvm', 'kvm'];

function kernelFile(image: Buffer): string {
  const file = join(tmpdir(), `vmx-accel-${process.pid}-${createHash('md5').update(image).digest('hex').slice(0, 8)}.bin`);
  writeFileSync(file, image);
  return file;
}

const options = (kernel: string, accel: MachineOptions['accel']): MachineOptions => ({ kernel, accel, memory: '32M', devices: ['isa-debug-exit'], noReboot: true });

async function run(kernel: string, accel: MachineOptions['accel'], cpus = 1): Promise<{ text: string; status: number; reason: string }> {
  await using vm = await VirtualMachine.create({ ...options(kernel, accel), cpus });
  let text = '';
  vm.serial.on('data', (b: Buffer) => (text += b.toString('latin1')));
  vm.start();
  const end = await vm.wait();
  if (!vm.serial.readableEnded) await new Promise<void>((resolve) => vm.serial.once('end', resolve));
  return { text, status: end.status, reason: end.reason };
}

describe.skipIf(skip)('machines on KVM', () => {
  for (const way of WAYS) {
    it(`prints and ends as asked (${way!})`, async () => {
      expect(await run(kernelFile(tinyKernel('hello', { kind: 'exit', value: 4 })), way)).toEqual({ text: 'hello', status: 9, reason: 'exit' });
      expect(await run(kernelFile(tinyKernel('bye', { kind: 'power-off' })), way)).toEqual({ text: 'bye', status: 0, reason: 'power-off' });
      expect(await run(kernelFile(tinyKernel('', { kind: 'reset' })), way)).toMatchObject({ reason: 'reset' });
      expect(await run(kernelFile(tinyKernel('', { kind: 'triple-fault' })), way)).toMatchObject({ reason: 'triple-fault', status: 125 });
    }, MINUTE);
  }

  it('runs without fallback what KVM can run', async () => {
    expect(await run(kernelFile(tinyKernel('x', { kind: 'exit', value: 0 })), 'kvm,kernel=kvm,fallback=off')).toMatchObject({ text: 'x', status: 1 });
  }, MINUTE);

  it.skipIf(!softKvm)('says which instruction stops it without fallback', async () => {
    await using vm = await VirtualMachine.create(options(build('basics32'), 'kvm,kernel=kvm,fallback=off'));
    vm.start();
    const end = await vm.wait();
    expect(end).toMatchObject({ reason: 'error', status: 125 });
    expect(end.message).toMatch(/^KVM cannot go on \(emulation failure\) on CPU 0 at the instruction [0-9a-f]{2}( [0-9a-f]{2})*: pc /);
  }, MINUTE);

  it('pauses and resumes 1,000 times', async () => {
    await using vm = await VirtualMachine.create(options(kernelFile(tinyKernel('go', { kind: 'spin' })), 'kvm,kernel=kvm'));
    vm.start();
    let before = 0;
    for (let i = 0; i < 1000; i++) {
      await vm.pause();
      if (i % 100 === 0) {
        const t = (await vm.stats())!.guestTime;
        expect(t).toBeGreaterThan(before);
        before = t;
      }
      await vm.resume();
    }
    expect(vm.state).toBe('running');
  }, 3 * MINUTE);

  it('leaves no descriptor, thread or mapping behind', async () => {
    const count = (): { fds: number; threads: number; maps: number } => ({
      fds: readdirSync('/proc/self/fd').length,
      threads: readdirSync('/proc/self/task').length,
      maps: readFileSync('/proc/self/maps', 'latin1').split('\n').filter((l) => /kvm-vcpu|kvm-vm/.test(l)).length,
    });
    const kernel = kernelFile(tinyKernel('', { kind: 'power-off' }));
    await Promise.all(Array.from({ length: 5 }, () => run(kernel, 'kvm,kernel=kvm')));
    const before = count();
    for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 5 }, () => run(kernel, 'kvm,kernel=kvm')));
    const after = count();
    expect(after.maps).toBe(0);
    expect(after.fds).toBeLessThanOrEqual(before.fds + 1);
    expect(after.threads).toBeLessThanOrEqual(before.threads + 1);
  }, 6 * MINUTE);
});

/** All of the guest in KVM, with the kernel's interrupt controllers where there are any. */
const IRQCHIPS = (['split', 'full'] as const).filter((i) => kvm?.irqchip[i] === true);
if (kvm !== null && IRQCHIPS.length < 2) process.stderr.write(`skipped: this KVM has no ${kvm.irqchip.split ? 'full' : 'split'} irqchip\n`);

/** With those, a CPU must be able to move in the middle of an interrupt's handler: what is in service has to be readable. */
const noMoves = kvm?.irqchip.full === true && !apicKeepsInService(kvm) ? 'this hypervisor\'s local APIC ends interrupts when it delivers them' : null;
if (noMoves !== null) process.stderr.write(`skipped with irqchip=split and full: whole machines (${noMoves})\n`);

describe.skipIf(skip || noTools !== null || noMoves !== null)('interrupt controllers in the kernel', () => {
  for (const irqchip of IRQCHIPS) {
    for (const name of ['irq64', 'smp32', 'parallel32']) {
      it(`${name}, irqchip=${irqchip}`, async () => {
        const r = await run(build(name), `kvm,kernel=kvm,irqchip=${irqchip}`, name === 'irq64' ? 1 : name === 'smp32' ? 2 : 4);
        expect(r.text.split('\n').filter((l) => l.startsWith('bad '))).toEqual([]);
        expect(r.status).toBe(1);
      }, MINUTE);
    }
  }
});

describe.skipIf(skip || noTools !== null)('bare-metal programs on KVM', () => {
  // Those whose CPU features every KVM has; with the policy that --accel kvm chooses by itself.
  for (const name of ['basics32', 'basics64', 'smc64', 'irq64', 'real16', 'smp32']) {
    it(name, async () => {
      const r = await run(build(name), 'kvm', name === 'smp32' ? 2 : 1);
      expect(r.text.split('\n').filter((l) => l.startsWith('bad '))).toEqual([]);
      expect(r.status).toBe(1);
    }, MINUTE);
  }
});

describe.skipIf(skip || noTools !== null || kvm?.shutdownKeepsState !== true)('user mode in KVM and kernel mode on the engine', () => {
  it('sees page tables as the engine has left them', async () => {
    await using vm = await VirtualMachine.create(options(build('remap64'), 'kvm,kernel=engine'));
    let text = '';
    vm.serial.on('data', (b: Buffer) => (text += b.toString('latin1')));
    vm.start();
    const end = await vm.wait();
    if (!vm.serial.readableEnded) await new Promise<void>((resolve) => vm.serial.once('end', resolve));
    // It has been in KVM every time.
    expect((await vm.stats())!.kvm!.returns).toBeGreaterThanOrEqual(10);
    expect(text.split('\n').filter((l) => l.startsWith('bad '))).toEqual([]);
    expect(end.status).toBe(1);
  }, MINUTE);
});

describe.skipIf(skip || noTools !== null)('several CPUs on KVM', () => {
  for (const way of WAYS) {
    it(`four come up and share work, memory and interrupts (${way!})`, async () => {
      const r = await run(build('parallel32'), way, 4);
      expect(r.text.split('\n').filter((l) => l.startsWith('bad '))).toEqual([]);
      expect(r.text).toContain('ok all CPUs are online');
      expect(r.text).toContain('ok hash of the quarters');
      expect(r.status).toBe(1);
    }, MINUTE);
  }
});

describe.skipIf(skip || noTools !== null)('eight CPUs on KVM', () => {
  for (const irqchip of ['off', ...IRQCHIPS]) {
    it(`are served alike when all of them want the same device (irqchip=${irqchip})`, async () => {
      const r = await run(build('fair32'), `kvm,kernel=kvm,irqchip=${irqchip}`, 8);
      expect(r.text.split('\n').filter((l) => l.startsWith('bad '))).toEqual([]);
      expect(r.text).toContain('ok CPUs without their share');
      expect(r.status).toBe(1);
    }, MINUTE);

    for (const cpus of [1, 8]) {
      it(`${cpus}, idle, do nothing (irqchip=${irqchip})`, async () => {
        await using vm = await VirtualMachine.create({ ...options(kernelFile(tinyKernel('idle', { kind: 'halt' })), `kvm,kernel=kvm,irqchip=${irqchip}`), cpus });
        const up = new Promise<void>((resolve) => vm.serial.once('data', () => resolve()));
        vm.start();
        await up;
        const look = async (): Promise<number> => {
          const s = (await vm.stats())!;
          return s.slices + s.kvm!.roundTrips.count + s.kvm!.roundTrips.here;
        };
        await new Promise((resolve) => setTimeout(resolve, 300));
        const before = await look();
        await new Promise((resolve) => setTimeout(resolve, 1000));
        // Far less than a hundred looks at a second, let alone a loop.
        expect((await look()) - before).toBeLessThan(60);
        expect(vm.state).toBe('running');
      }, MINUTE);
    }
  }
});

describe.skipIf(skip || noTools !== null)('switching a running machine', () => {
  it.for(['off', ...(noMoves === null ? IRQCHIPS : [])])('keeps the guest right: memory, clock, interrupts (irqchip=%s)', async (irqchip) => {
    const image = build('switch64');
    await using vm = await VirtualMachine.create({ ...options(image, `kvm,kernel=kvm,irqchip=${irqchip}`) });
    let text = '';
    vm.serial.on('data', (b: Buffer) => (text += b.toString('latin1')));
    vm.start();
    const order: ActiveAccel[] = ['jit', 'interp', 'kvm'];
    let switches = 0;
    const ended = vm.wait();
    while (vm.state === 'running' && switches < 1000) {
      await vm.setAccel(order[switches % 3]!);
      switches++;
      // The guest is to get somewhere each time.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    vm.serial.write('q');
    const end = await ended;
    expect(switches).toBe(1000);
    expect((await vm.stats())!.kvm!.fallbacks.switch).toBeGreaterThan(100);
    expect(text.split('\n').filter((l) => l.startsWith('bad '))).toEqual([]);
    expect(text).toContain('done');
    expect(end.status).toBe(1);
  }, 5 * MINUTE);

  it('refuses KVM on a machine that was not made for it', async () => {
    await using vm = await VirtualMachine.create(options(kernelFile(tinyKernel('', { kind: 'spin' })), 'jit'));
    await expect(vm.setAccel('kvm')).rejects.toMatchObject({ code: 'ERR_STATE' });
    await vm.setAccel('interp');
    expect(vm.accel).toBe('interp');
  }, MINUTE);
});

describe('--accel', () => {
  it('is parsed', () => {
    expect(parseAccel(undefined)).toMatchObject({ name: 'auto', silent: true });
    expect(parseAccel('kvm')).toMatchObject({ kvm: { irqchip: 'auto', dirty: 'auto', ioeventfd: 'auto' } });
    expect(parseAccel('kvm,irqchip=full,dirty=ring,ioeventfd=off')).toMatchObject({ kvm: { irqchip: 'full', dirty: 'ring', ioeventfd: 'off' } });
    expect(parseAccel('kvm,fallback=off,kernel=engine')).toMatchObject({ name: 'kvm', silent: false, kvm: { fallback: false, kernel: 'engine' } });
    for (const bad of ['tcg', 'jit,fallback=on', 'kvm,fallback=maybe', 'kvm,kernel=linux', 'kvm,irqchip=on', 'kvm,dirty=yes', 'kvm,ioeventfd=maybe', 'jit,irqchip=split', 'kvm,nested', 'kvm,device=']) expect(() => parseAccel(bad)).toThrow(/^--accel: /);
  });

  it.skipIf(skipFor(noAddon))('says what to do without KVM', async () => {
    const kernel = kernelFile(tinyKernel('', { kind: 'halt' }));
    await expect(VirtualMachine.create(options(kernel, 'kvm,device=/nonexistent/kvm'))).rejects.toThrow(/^--accel: kvm: \/nonexistent\/kvm does not exist/);
    await expect(VirtualMachine.create(options(kernel, 'kvm,device=/dev/null'))).rejects.toThrow(/^--accel: kvm: \/dev\/null is no KVM device/);
    await expect(VirtualMachine.create({ ...options(kernel, 'kvm'), clock: 'virtual' })).rejects.toThrow(/^--clock: /);
  });
});
