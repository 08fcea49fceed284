/** The QMP server against a machine that runs: negotiation, commands, events, and clients that misbehave. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndpoint, QmpServer, VirtualMachine } from '#lib/index.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';
import { QmpClient } from './qmp-client.js';

let dir: string;
let vm: VirtualMachine;
let path: string;
const clients: QmpClient[] = [];
async function client(): Promise<QmpClient> {
  const c = await QmpClient.open(path);
  clients.push(c);
  return c;
}

describe.skipIf(skipFor(noAddon))('QMP', () => {
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-qmp-'));
    path = join(dir, 'qmp');
    writeFileSync(join(dir, 'kernel'), tinyKernel('up', { kind: 'spin' }));
    vm = await VirtualMachine.create({ kernel: join(dir, 'kernel'), memory: '16M', vga: 'std' });
    await QmpServer.listen(vm, parseEndpoint(`unix:${path}`, '--qmp'), '1.2.3');
  });
  afterEach(async () => {
    for (const c of clients.splice(0)) c.socket.destroy();
    await vm.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('wants capabilities negotiated first', async () => {
    const c = await client();
    expect(await c.next()).toMatchObject({ QMP: { version: { qemu: { major: 1, minor: 2, micro: 3 } } } });
    expect(await c.call('query-status')).toMatchObject({ error: { class: 'CommandNotFound' }, id: 'query-status' });
    expect(await c.call('qmp_capabilities', { enable: ['oob'] })).toMatchObject({ error: { class: 'GenericError' } });
    expect(await c.call('qmp_capabilities')).toEqual({ return: {}, id: 'qmp_capabilities' });
    expect(await c.call('qmp_capabilities')).toMatchObject({ error: { class: 'CommandNotFound' } });
  });

  it('belongs to its user alone', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('runs the machine, and tells every client about it', async () => {
    const [a, b] = [await client(), await client()];
    await a.negotiate();
    await b.negotiate();
    expect(await a.call('query-status')).toMatchObject({ return: { running: false, status: 'prelaunch' } });
    expect(await a.call('cont')).toMatchObject({ return: {} });
    expect(await a.call('query-status')).toMatchObject({ return: { running: true, status: 'running' } });
    expect(await a.call('stop')).toMatchObject({ event: 'STOP', timestamp: { seconds: expect.any(Number) as number } });
    expect(await a.next()).toMatchObject({ return: {}, id: 'stop' });
    expect(await b.next()).toMatchObject({ event: 'STOP' });
    expect(await b.call('query-status')).toMatchObject({ return: { status: 'paused' } });
    expect(await b.call('cont')).toMatchObject({ event: 'RESUME' });
    expect(await b.next()).toMatchObject({ id: 'cont' });
    expect(await a.next()).toMatchObject({ event: 'RESUME' });
    expect(await a.call('quit')).toMatchObject({ return: {}, id: 'quit' });
    expect(await a.next()).toMatchObject({ event: 'SHUTDOWN', data: { guest: false, reason: 'host-qmp-quit' } });
    expect(await a.next()).toBeNull();
    expect(await vm.wait()).toMatchObject({ reason: 'stopped' });
  });

  it('answers what programs ask', async () => {
    vm.start();
    const c = await client();
    await c.negotiate();
    expect(await c.call('query-version')).toMatchObject({ return: { package: 'vmx-accel 1.2.3' } });
    const commands = (await c.call('query-commands'))!.return as { name: string }[];
    expect(commands.map((x) => x.name)).toEqual(expect.arrayContaining(['query-status', 'screendump', 'qmp_capabilities']));
    expect(await c.call('query-cpus-fast')).toMatchObject({ return: [{ 'cpu-index': 0, target: 'x86_64' }] });
    const [bus] = (await c.call('query-pci'))!.return as { bus: number; devices: { slot: number; id: { vendor: number; device: number } }[] }[];
    expect(bus).toMatchObject({ bus: 0 });
    expect(bus!.devices).toEqual(expect.arrayContaining([expect.objectContaining({ slot: 0, id: expect.objectContaining({ vendor: 0x8086, device: 0x1237 }) as unknown })]));
    expect(await c.call('query-block')).toEqual({ return: [], id: 'query-block' });
    expect(await c.call('system_powerdown')).toMatchObject({ event: 'POWERDOWN' });
    expect(await c.next()).toMatchObject({ id: 'system_powerdown' });
  });

  it('writes pictures and takes input', async () => {
    vm.start();
    const c = await client();
    await c.negotiate();
    const png = join(dir, 'a.png');
    expect(await c.call('screendump', { filename: png, format: 'png' })).toEqual({ return: {}, id: 'screendump' });
    expect(readFileSync(png).subarray(1, 4).toString()).toBe('PNG');
    const ppm = join(dir, 'a.ppm');
    await c.call('screendump', { filename: ppm });
    expect(readFileSync(ppm, 'latin1')).toMatch(/^P6\n720 400\n255\n/);
    expect(readFileSync(ppm).length).toBe(15 + 720 * 400 * 3);
    expect(await c.call('screendump', { filename: join(dir, 'no', 'a.ppm') })).toMatchObject({ error: { class: 'GenericError' } });
    expect(await c.call('send-key', { keys: [{ type: 'qcode', data: 'ctrl' }, { type: 'qcode', data: 'alt' }, { type: 'number', data: 0xe053 }] })).toMatchObject({ return: {} });
    expect(await c.call('send-key', { keys: [{ type: 'qcode', data: 'nosuch' }] })).toMatchObject({ error: { desc: expect.stringContaining('nosuch') as string } });
    expect(
      await c.call('input-send-event', {
        events: [
          { type: 'key', data: { down: true, key: { type: 'qcode', data: 'a' } } },
          { type: 'key', data: { down: false, key: { type: 'qcode', data: 'a' } } },
          { type: 'btn', data: { down: true, button: 'left' } },
          { type: 'btn', data: { down: false, button: 'left' } },
          { type: 'rel', data: { axis: 'x', value: -5 } },
        ],
      }),
    ).toMatchObject({ return: {} });
    expect(await c.call('input-send-event', { events: [{ type: 'rel', data: { axis: 'z', value: 1 } }] })).toMatchObject({ error: { desc: "Parameter 'events[0].data.axis' does not accept value 'z'" } });
  });

  it('plugs cards and disks in, and has them back', async () => {
    vm.start();
    const c = await client();
    await c.negotiate();
    const slots = async (): Promise<string[]> => ((await c.call('query-pci'))!.return as { devices: { qdev_id: string }[] }[]).flatMap((b) => b.devices.map((d) => d.qdev_id));
    expect(await c.call('device_add', { driver: 'virtio-net-pci', id: 'nic', netdev: 'n' })).toMatchObject({ error: { desc: "Property 'virtio-net-pci.netdev' can't find value 'n'" } });
    expect(await c.call('netdev_add', { type: 'user', id: 'n', hostfwd: [{ str: 'tcp:127.0.0.1:0-:22' }] })).toMatchObject({ return: {} });
    expect(await c.call('netdev_add', { type: 'user', id: 'n' })).toMatchObject({ error: { desc: "Duplicate ID 'n'" } });
    expect(await c.call('device_add', { driver: 'virtio-net-pc', id: 'nic', netdev: 'n' })).toMatchObject({ error: { desc: expect.stringContaining('did you mean virtio-net-pci?') as string } });
    expect(await c.call('device_add', { driver: 'e1000', id: 'nic', netdev: 'n', drive: 'd' })).toMatchObject({ error: { desc: "Property 'e1000.drive' not found" } });
    expect(await c.call('device_add', { driver: 'e1000', id: 'nic', netdev: 'n' })).toMatchObject({ return: {} });
    expect(await slots()).toContain('e1000-@nic');
    expect(await c.call('netdev_del', { id: 'n' })).toMatchObject({ error: { class: 'DeviceNotFound' } });
    writeFileSync(join(dir, 'disk'), Buffer.alloc(1 << 20));
    expect(await c.call('blockdev-add', { driver: 'raw', 'node-name': 'd', file: { driver: 'file', filename: join(dir, 'disk') } })).toMatchObject({ return: {} });
    expect(await c.call('device_add', { driver: 'virtio-blk-pci', id: 'data', drive: 'd' })).toMatchObject({ return: {} });
    expect(await c.call('query-block')).toMatchObject({ return: [{ device: 'data', inserted: { file: join(dir, 'disk') } }] });
    expect(await c.call('device_add', { driver: 'virtio-rng-pci', id: 'data' })).toMatchObject({ error: { desc: expect.stringContaining("'data' already") as string } });
    expect(await c.call('device_del', { id: 'dato' })).toMatchObject({ error: { class: 'DeviceNotFound', desc: expect.stringContaining('did you mean data?') as string } });
    // Nobody in the guest listens: they go at the next reset.
    for (const id of ['nic', 'data']) expect(await c.call('device_del', { id })).toMatchObject({ return: {} });
    expect(await slots()).toContain('e1000-@nic');
    c.send('system_reset');
    const seen: unknown[] = [];
    while (seen.length < 4) seen.push(await c.next());
    expect(seen).toEqual(expect.arrayContaining([expect.objectContaining({ event: 'DEVICE_DELETED', data: { device: 'nic', path: '/machine/peripheral/nic' } }), expect.objectContaining({ event: 'RESET' })]));
    expect(await slots()).not.toContain('e1000-@nic');
    expect(await c.call('query-block')).toMatchObject({ return: [] });
    expect(await c.call('netdev_del', { id: 'n' })).toMatchObject({ return: {} });
    expect(await c.call('blockdev-del', { 'node-name': 'd' })).toMatchObject({ return: {} });
    expect(await c.call('query-mice')).toMatchObject({ return: [{ name: 'PS/2 mouse', current: true, absolute: false }] });
    expect(await c.call('query-balloon')).toMatchObject({ error: { class: 'DeviceNotFound' } });
  });

  it('carries the monitor', async () => {
    const c = await client();
    await c.negotiate();
    const ask = async (line: string): Promise<unknown> => (await c.call('human-monitor-command', { 'command-line': line }))!.return;
    expect(await ask('info status')).toBe('VM status: prelaunch\n');
    expect(await ask('inf status')).toBe("unknown command 'inf' (did you mean info?); help lists them\n");
    expect(await ask('info pci')).toContain('8086:1237');
    expect(await ask('info registers')).toMatch(/^CPU #0\npc [0-9a-f]+/);
    expect(await ask('help')).toContain('screendump FILE');
    expect(await ask('mouse_move 1 x')).toBe('DY must be a number\n');
    expect(await ask('')).toBe('');
  });

  it('says what is wrong and goes on', async () => {
    const c = await client();
    await c.negotiate();
    const cases: [string, unknown, string][] = [
      ['an unknown command', { execute: 'nonsense' }, 'CommandNotFound'],
      ['a name that objects have', { execute: 'constructor' }, 'CommandNotFound'],
      ['no command', {}, 'GenericError'],
      ['an unknown member', { execute: 'stop', foo: 1 }, 'GenericError'],
      ['an unknown argument', { execute: 'stop', arguments: { a: 1 } }, 'GenericError'],
      ['a missing argument', { execute: 'screendump' }, 'GenericError'],
      ['an argument of another type', { execute: 'screendump', arguments: { filename: 1 } }, 'GenericError'],
      ['arguments that are none', { execute: 'stop', arguments: [] }, 'GenericError'],
    ];
    for (const [what, message, errorClass] of cases) {
      c.socket.write(JSON.stringify(message));
      expect(await c.next(), what).toMatchObject({ error: { class: errorClass } });
      expect(await c.call('query-status')).toMatchObject({ return: { status: 'prelaunch' } });
    }
  });

  it('closes the connection of a client that sends nonsense, and only that', async () => {
    const good = await client();
    await good.negotiate();
    for (const nonsense of ['GET / HTTP/1.1\r\n\r\n', '{"a":', `{"a":${'['.repeat(1000)}`, '{"a":b}', '\0\xff']) {
      const bad = await client();
      await bad.next();
      bad.socket.end(Buffer.from(nonsense, 'latin1'));
      const reply = await bad.next();
      if (reply !== null) expect(reply).toMatchObject({ error: { class: 'GenericError' } });
      while ((await bad.next()) !== null);
    }
    expect(await good.call('query-status')).toMatchObject({ return: { status: 'prelaunch' } });
  });

  it('refuses an address that is in use', async () => {
    await expect(QmpServer.listen(vm, parseEndpoint(`unix:${path}`, '--qmp'), '1.2.3')).rejects.toThrow(`--qmp: cannot listen at unix:${path}: it is in use`);
    await expect(QmpServer.listen(vm, parseEndpoint('unix:/missing/folder/x', '--qmp'), '1.2.3')).rejects.toThrow('--qmp: cannot listen at unix:/missing/folder/x: there is no such folder');
    for (const bad of ['nonsense', 'tcp:', 'tcp:70000', 'unix:', 'tcp:host:x']) expect(() => parseEndpoint(bad, '--qmp')).toThrow(/^--qmp: /);
    expect(parseEndpoint('tcp:[::1]:5', '--qmp')).toEqual({ kind: 'tcp', host: '::1', port: 5 });
  });
});
