/** What executes a running machine, asked and changed by QMP and by the monitor. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndpoint, QmpServer, VirtualMachine } from '#lib/index.js';
import { Monitor } from '#lib/control/monitor.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { QmpClient } from '../control/qmp-client.js';
import { noKvm } from './harness.js';

describe.skipIf(skipFor(noAddon ?? noKvm))('the accelerator of a running machine', () => {
  let dir: string;
  let vm: VirtualMachine;
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-accel-control-'));
    writeFileSync(join(dir, 'kernel'), tinyKernel('up', { kind: 'spin' }));
    vm = await VirtualMachine.create({ kernel: join(dir, 'kernel'), memory: '16M', accel: 'kvm,kernel=kvm' });
    vm.start();
  });
  afterEach(async () => {
    await vm.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('changes by QMP', async () => {
    const path = join(dir, 'qmp');
    await QmpServer.listen(vm, parseEndpoint(`unix:${path}`, '--qmp'), '1.2.3');
    const c = await QmpClient.open(path);
    await c.negotiate();
    expect(await c.call('query-kvm')).toMatchObject({ return: { enabled: true, present: true } });
    for (const accel of ['jit', 'interp', 'kvm', 'jit'] as const) {
      expect(await c.call('x-set-accel', { accel })).toEqual({ return: {}, id: 'x-set-accel' });
      expect(vm.accel).toBe(accel);
      expect((await vm.stats())!.accel).toBe(accel);
    }
    expect(await c.call('query-kvm')).toMatchObject({ return: { enabled: false } });
    expect(await c.call('x-set-accel', { accel: 'tcg' })).toMatchObject({ error: { class: 'GenericError', desc: expect.stringContaining('accel') as string } });
    expect(await c.call('x-set-accel')).toMatchObject({ error: { class: 'GenericError' } });
    expect(vm.accel).toBe('jit');
    c.socket.destroy();
  });

  it('changes by the monitor', async () => {
    const monitor = new Monitor(vm, '1.2.3');
    expect(await monitor.run('accel')).toBe('kvm\n');
    expect(await monitor.run('accel interp')).toBe('');
    expect(await monitor.run('accel')).toBe('interp\n');
    expect(await monitor.run('accel kvm')).toBe('');
    expect(vm.accel).toBe('kvm');
    expect(await monitor.run('accel tcg')).toContain("'tcg' is not one of kvm, jit, interp");
    const stats = JSON.parse(await monitor.run('info stats')) as { accel: string; kvm: { fallbacks: Record<string, number>; returns: number } };
    expect(stats).toMatchObject({ accel: 'kvm', kvm: { fallbacks: { switch: expect.any(Number) as number } } });
    expect(stats.kvm.returns).toBeGreaterThanOrEqual(1);
  });

  it('stays what it is where there is no KVM to change to', async () => {
    const jit = await VirtualMachine.create({ kernel: join(dir, 'kernel'), memory: '16M', accel: 'jit' });
    jit.start();
    expect(await new Monitor(jit, '1.2.3').run('accel kvm')).toContain('has not been created to run on KVM');
    expect(jit.accel).toBe('jit');
    await jit.stop();
  });
});
