/** A port of the guest at a socket. */
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { PortServer } from '#lib/control/port-server.js';
import { UsageError, type VirtualMachine } from '#lib/index.js';

/** A machine with a port 'a', and the guest's end of it. */
function machine(): { vm: VirtualMachine; toGuest: PassThrough; fromGuest: PassThrough; end: () => void } {
  const toGuest = new PassThrough();
  const fromGuest = new PassThrough();
  const port = Duplex.from({ readable: fromGuest, writable: toGuest });
  const events = new EventEmitter();
  const vm = Object.assign(events, {
    port(name: string) {
      if (name !== 'a') throw new UsageError(`no port '${name}'`);
      return port;
    },
  });
  return { vm: vm as unknown as VirtualMachine, toGuest, fromGuest, end: () => events.emit('end') };
}

describe('--port', () => {
  it('carries bytes, one client after the other, and keeps what the guest sends meanwhile', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'vmx-port-'));
    const path = join(dir, 's');
    const { vm, toGuest, fromGuest, end } = machine();
    try {
      await PortServer.listen(vm, 'a', { kind: 'unix', path });
      fromGuest.write('before');
      const first = connect(path);
      expect(String((await once(first, 'data'))[0])).toBe('before');
      const second = connect(path);
      await once(second, 'close');
      first.write('hello');
      expect(String((await once(toGuest, 'data'))[0])).toBe('hello');
      first.destroy();
      await new Promise((r) => setTimeout(r, 50));
      fromGuest.write('between');
      const third = connect(path);
      expect(String((await once(third, 'data'))[0])).toBe('between');
      end();
      await once(third, 'end');
      third.destroy();
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('says what is wrong', async () => {
    const { vm, end } = machine();
    await expect(PortServer.listen(vm, 'b', { kind: 'tcp', host: '127.0.0.1', port: 0 })).rejects.toThrow("no port 'b'");
    const one = await PortServer.listen(vm, 'a', { kind: 'tcp', host: '127.0.0.1', port: 0 });
    await expect(PortServer.listen(vm, 'a', one.endpoint)).rejects.toThrow(/--port: cannot listen at tcp:127\.0\.0\.1:\d+: it is in use/);
    end();
  });
});
