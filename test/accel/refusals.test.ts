/** Bad input around KVM, as users meet it: one clear line, what to do, and the right status. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AccelStats } from '#lib/accel/accelerator.js';
import { MemorySlots } from '#lib/accel/kvm/slots.js';
import { apicKeepsInService, chooseIrqchip, NEEDED, requireCapabilities, requireCpus } from '#lib/accel/kvm/system.js';
import type { PhysicalMemory } from '#lib/memory/physical.js';
import { loadNative, type NativeKvm } from '#lib/native.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { MAIN, type Result, run } from '../cli/run.js';
import { build, missingTools } from '../metal/metal.js';
import { kvm, noKvm, softKvm } from './harness.js';

const MINUTE = 60_000;
let dir: string;
let kernel: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-refusals-'));
  kernel = join(dir, 'kernel');
  writeFileSync(kernel, tinyKernel('up', { kind: 'power-off' }));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const boot = (...args: string[]): Promise<Result> => run(['boot', '--kernel', kernel, '--memory', '16M', '--no-reboot', ...args]);

describe.skipIf(skipFor(noAddon))('without KVM', () => {
  it('says what is missing and what to do', async () => {
    for (const [device, says] of [
      [join(dir, 'none'), /none does not exist: this kernel has no KVM or the host offers no virtualisation \(load kvm_amd or kvm_intel, .*\); or use --accel jit$/],
      ['/dev/null', /\/dev\/null is no KVM device; or use --accel jit$/],
      [dir, /cannot open .*: Is a directory; or use --accel jit$/],
    ] as const) {
      const r = await boot('--accel', `kvm,device=${device}`);
      expect(r).toMatchObject({ status: 2, stdout: '' });
      expect(r.stderr.trimEnd()).toMatch(/^vmx-accel: --accel: kvm: [^\n]*$/);
      expect(r.stderr.trimEnd()).toMatch(says);
    }
  }, MINUTE);

  it('says who may open the device', () => {
    const device = join(dir, 'closed');
    writeFileSync(device, '');
    chmodSync(device, 0);
    chmodSync(dir, 0o755);
    // Nothing is closed to root: as nobody, then.
    const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    const r = spawnSync(process.execPath, [MAIN, 'boot', '--kernel', kernel, '--accel', `kvm,device=${device}`], { ...nobody, encoding: 'utf8', env: { ...process.env, XDG_CACHE_HOME: dir } });
    expect(r.status).toBe(2);
    expect(r.stderr).toBe(`vmx-accel: --accel: kvm: no permission to open ${device} (add the user to the group kvm and log in anew, or chmod the device); or use --accel jit\n`);
  }, MINUTE);

  it('names the capability that an old kernel lacks', () => {
    NEEDED.forEach((n, i) => {
      const values = NEEDED.map((_n, k) => (k === i ? 0 : 1));
      expect(() => requireCapabilities('/dev/kvm', values)).toThrow(`/dev/kvm lacks '${n.name}', which Linux ${n.linux} brought: a newer host kernel is needed`);
    });
    requireCapabilities('/dev/kvm', NEEDED.map(() => 1));
  });

  it('chooses interrupt controllers that the host has, and none where the engine has kernel mode', () => {
    const host = (split: boolean, full: boolean): Parameters<typeof chooseIrqchip>[1] => ({ irqchip: { split, full } });
    expect(chooseIrqchip('auto', host(true, true), false)).toBe('off');
    expect(chooseIrqchip('split', host(true, true), false)).toBe('split');
    expect(chooseIrqchip('auto', host(false, true), false)).toBe('off');
    expect(chooseIrqchip('full', host(true, true), false)).toBe('full');
    expect(chooseIrqchip('off', host(true, true), false)).toBe('off');
    expect(chooseIrqchip('auto', host(true, true), true)).toBe('off');
    expect(chooseIrqchip('split', host(false, true), false)).toBe('off');
  });

  it('refuses more CPUs than KVM allows', () => {
    expect(() => requireCpus({ maxVcpus: 4 }, 8)).toThrow('--cpus: 8 is more than the 4 that KVM allows (use fewer, or --accel jit)');
    requireCpus({ maxVcpus: 8 }, 8);
  });
});

describe('memory slots', () => {
  it('refuses a map that overlaps itself before KVM is asked', () => {
    const calls: number[] = [];
    const vm = { setSlot: (n: number) => void calls.push(n) } as unknown as NativeKvm;
    const ranges = [{ pa: 0, bytes: 0x2000, offset: 0, rom: false }, { pa: 0x1000, bytes: 0x1000, offset: 0x2000, rom: true }];
    const slots = new MemorySlots(vm, { ranges: () => ranges } as unknown as PhysicalMemory, { buffer: new ArrayBuffer(0x4000), address: 0 });
    expect(() => slots.apply()).toThrow('memory at 0x1000 overlaps memory at 0x0');
    expect(calls).toEqual([]);
  });

  it.skipIf(skipFor(noAddon ?? noKvm))('says so when KVM finds an overlap', () => {
    const native = loadNative();
    const vm = native.kvmCreate(kvm!.device);
    const ram = native.allocRam(0x4000);
    try {
      vm.setSlot(0, 0, 0x2000, ram, 0, 0);
      expect(() => vm.setSlot(1, 0x1000, 0x1000, ram, 0x2000, 0)).toThrow(expect.objectContaining({ code: 'ERR_KVM_SLOT', message: 'setSlot: the slot overlaps another one' }) as Error);
      expect(() => vm.setSlot(1, 0x2000, 0x8000, ram, 0, 0)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG' }) as Error);
    } finally {
      vm.dispose();
      native.free(ram);
    }
  });
});

describe.skipIf(skipFor(noAddon ?? noKvm))('with KVM', () => {
  it('says what auto has chosen, when it is asked for', async () => {
    const r = await boot('--accel', 'auto');
    expect(r).toMatchObject({ status: 0, stdout: 'up' });
    expect(r.stderr).toMatch(softKvm ? /^vmx-accel: accel: jit: KVM emulates kernel mode here \(\d+ ns an instruction\); --accel kvm uses it for user mode\n$/ : /^vmx-accel: accel: kvm\n$/);
    expect((await boot()).stderr).toBe('');
  }, MINUTE);

  it.skipIf(!softKvm)('says so when interrupt controllers stay out of the kernel', async () => {
    const r = await boot('--accel', 'kvm,irqchip=split');
    expect(r).toMatchObject({ status: 0, stdout: 'up', stderr: 'vmx-accel: accel: irqchip=off: the engine has kernel mode here, with it the interrupts (kernel=kvm leaves both to KVM)\n' });
    if (kvm?.irqchip.split === true && kvm.irqchip.full && !apicKeepsInService(kvm)) {
      const decreed = await boot('--accel', 'kvm,kernel=kvm,irqchip=split');
      expect(decreed.stderr).toBe('vmx-accel: accel: irqchip=split: this KVM\'s local APIC ends an interrupt as it delivers it; some will come twice (irqchip=off is right)\n');
    }
    const hv = await boot('--accel', 'kvm,kernel=kvm,irqchip=full', '--cpu', 'max,hv=on');
    expect(hv).toMatchObject({ status: 2, stdout: '', stderr: 'vmx-accel: --accel: irqchip=full has no SynIC, which --cpu hv=on shows (use irqchip=off)\n' });
  }, MINUTE);

  it('doctor says what this KVM is', async () => {
    const r = await run(['doctor']);
    expect(r.status).toBe(0);
    expect(r.stdout).toMatch(/^ok {3}kvm +available: up to \d+ CPUs, TSC \d+ MHz; kernel mode /m);
    for (const name of ['irqchip', 'ioeventfd', 'irqfd', 'dirty ring', 'breakpoints', 'coalesced mmio', 'emulation exits', 'nested paging', 'tsc offset', 'hyper-v', ...(kvm?.irqchip.full === true ? ['local apic'] : [])]) expect(r.stdout).toMatch(new RegExp(`^(ok  |none) kvm ${name} +[A-Za-z].*$`, 'm'));
  }, MINUTE);

  it.skipIf(skipFor(missingTools()) || !softKvm)('counts in --stats how often and why it fell back, and at which instructions', async () => {
    const file = join(dir, 'stats.json');
    const r = await run(['boot', '--kernel', build('basics32'), '--memory', '32M', '--no-reboot', '--device', 'isa-debug-exit', '--accel', 'kvm,kernel=kvm', '--stats', file]);
    // Not all checks hold: such a KVM raises #UD for INT in ring 3. It is why kernel mode is the engine's unless one insists.
    expect(r.stdout).toContain('done');
    const s = (JSON.parse(readFileSync(file, 'utf8')) as { accel: string; kvm: AccelStats }).kvm;
    expect(s.kernelMode).toBe('kvm');
    expect(s.fallbacks['emulation failure']).toBeGreaterThan(0);
    expect(s.returns).toBeGreaterThan(0);
    expect(s.engineNs).toBeGreaterThan(0);
    const refused = Object.entries(s.instructions);
    expect(refused.reduce((n, [, count]) => n + count, 0)).toBeGreaterThan(0);
    for (const [bytes] of refused) expect(bytes).toMatch(/^([0-9a-f]{2})+$/);
  }, MINUTE);

  it.skipIf(skipFor(missingTools()) || !softKvm)('gives the bytes of an instruction that KVM cannot execute, and status 125, with fallback=off', async () => {
    const r = await run(['boot', '--kernel', build('basics32'), '--memory', '32M', '--no-reboot', '--accel', 'kvm,kernel=kvm,fallback=off']);
    expect(r.status).toBe(125);
    expect(r.stderr).toMatch(/^vmx-accel: KVM cannot go on \([^)]+\) on CPU 0 at the instruction [0-9a-f]{2}( [0-9a-f]{2})*: pc [^\n]*\n$/);
  }, MINUTE);
});
