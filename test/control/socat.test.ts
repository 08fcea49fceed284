/** Recorded QMP exchanges through socat, a client that knows nothing of us: each reply and event as clients of QEMU expect it. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseEndpoint, QmpServer, VirtualMachine } from '#lib/index.js';
import { hostTool, noAddon, skipFor } from '../boot/guests.js';
import { tinyKernel } from '../boot/tiny.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'vmx-socat-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Message = Record<string, unknown>;
/** What is sent, and what has to come before the next line is sent, in this order. */
const EXCHANGE = (iso: string, png: string): [string, Message[]][] => [
  ['', [{ QMP: { version: { qemu: { major: 1, minor: 2, micro: 3 } }, capabilities: [] } }]],
  ['{"execute":"qmp_capabilities"}', [{ return: {} }]],
  ['{ "execute": "query-status", "id": "a" }', [{ return: { running: false, status: 'prelaunch' }, id: 'a' }]],
  ['{"execute":"cont"}', [{ return: {} }]],
  ['{"execute":"query-block"}', [{ return: [{ device: 'cdrom0', removable: true, locked: false, tray_open: false }] }]],
  ['{"execute":"query-pci"}', [{ return: [{ bus: 0 }] }]],
  [`{"execute":"blockdev-change-medium","arguments":{"id":"cdrom0","filename":"${iso}"}}`, [{ event: 'DEVICE_TRAY_MOVED', data: { 'tray-open': true } }, { event: 'DEVICE_TRAY_MOVED', data: { 'tray-open': false } }, { return: {} }]],
  ['{"execute":"eject","arguments":{"id":"cdrom0"}}', [{ event: 'DEVICE_TRAY_MOVED', data: { device: 'cdrom0', id: 'cdrom0', 'tray-open': true } }, { return: {} }]],
  ['{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"ctrl"},{"type":"qcode","data":"alt"},{"type":"qcode","data":"delete"}]}}', [{ return: {} }]],
  ['{"execute":"input-send-event","arguments":{"events":[{"type":"rel","data":{"axis":"x","value":10}},{"type":"btn","data":{"down":true,"button":"left"}}]}}', [{ return: {} }]],
  [`{"execute":"screendump","arguments":{"filename":"${png}","format":"png"}}`, [{ return: {} }]],
  ['{"execute":"stop"}', [{ event: 'STOP' }, { return: {} }]],
  ['{"execute":"query-status"}', [{ return: { running: false, status: 'paused' } }]],
  ['{"execute":"cont"}', [{ event: 'RESUME' }, { return: {} }]],
  ['{"execute":"system_reset"}', [{ return: {} }, { event: 'RESET' }]],
  ['{"execute":"system_powerdown"}', [{ event: 'POWERDOWN' }, { return: {} }]],
  ['{"execute":"human-monitor-command","arguments":{"command-line":"info status"}}', [{ return: 'VM status: running\n' }]],
  ['{"execute":"nonsense"}', [{ error: { class: 'CommandNotFound' } }]],
  ['{"execute":"quit"}', [{ return: {} }, { event: 'SHUTDOWN', data: { guest: false, reason: 'host-qmp-quit' } }]],
];

describe.skipIf(skipFor(noAddon ?? hostTool('socat')))('socat', () => {
  it('controls a machine', async () => {
    const path = join(dir, 'qmp');
    writeFileSync(join(dir, 'kernel'), tinyKernel('up', { kind: 'spin' }));
    writeFileSync(join(dir, 'a.iso'), Buffer.alloc(20480));
    await using vm = await VirtualMachine.create({ kernel: join(dir, 'kernel'), memory: '16M', vga: 'std', cdroms: ['none'] });
    await QmpServer.listen(vm, parseEndpoint(`unix:${path}`, '--qmp'), '1.2.3');
    const socat = spawn('socat', ['-', `UNIX-CONNECT:${path}`], { stdio: ['pipe', 'pipe', 'inherit'] });
    const came: Message[] = [];
    let text = '';
    let wake = (): void => {};
    socat.stdout.on('data', (d: Buffer) => {
      text += d.toString();
      const lines = text.split('\r\n');
      text = lines.pop()!;
      came.push(...lines.map((l) => JSON.parse(l) as Message));
      wake();
    });
    const closed = new Promise((r) => socat.once('close', r));
    for (const [line, expected] of EXCHANGE(join(dir, 'a.iso'), join(dir, 'a.png'))) {
      if (line !== '') socat.stdin.write(`${line}\n`);
      while (came.length < expected.length) await new Promise<void>((r) => (wake = r));
      expect(came.splice(0), line).toMatchObject(expected);
    }
    await closed;
    expect(await vm.wait()).toMatchObject({ reason: 'stopped' });
  });
});
