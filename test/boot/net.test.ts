/** Linux with a virtio network card on the user network: lease, echo, names, and downloads and uploads compared by checksum. */
import { createHash, randomBytes } from 'node:crypto';
import { createServer as createHttp } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualMachine } from '#lib/index.js';
import { Console } from './console.js';
import { guests, noGuests, skipFor } from './guests.js';

describe.skipIf(skipFor(noGuests))('Linux on the user network', () => {
  let vm: VirtualMachine;
  let c: Console;
  let httpPort = 0;
  let sinkPort = 0;
  const blob = randomBytes(4 << 20);
  const uploaded: Buffer[] = [];
  const http = createHttp((q, r) => r.end(q.url === '/blob' ? blob : 'hello'));
  const sink = createServer((s) => s.on('data', (d) => uploaded.push(d)).on('error', () => s.destroy()));

  beforeAll(async () => {
    await new Promise<void>((r) => http.listen(0, '127.0.0.1', r));
    await new Promise<void>((r) => sink.listen(0, '127.0.0.1', r));
    httpPort = (http.address() as AddressInfo).port;
    sinkPort = (sink.address() as AddressInfo).port;
    vm = await VirtualMachine.create({ kernel: guests.kernel, initrd: guests.initramfsModules, append: 'console=ttyS0 quiet', net: ['user,hostname=guest'] });
    c = new Console(vm);
    vm.start();
    await c.until('~ # ');
    // udhcpc's script is told the lease in its environment.
    const script = '#!/bin/sh\\n[ "$1" = bound ] && ifconfig $interface $ip netmask $subnet && route add default gw $router && echo "nameserver $dns" > /etc/resolv.conf && echo LEASE $ip $router $dns $hostname\\nexit 0\\n';
    await c.run(`mkdir -p /etc; printf '${script}' > /lease; chmod +x /lease; ifconfig lo up; ifconfig eth0 up`);
  });
  afterAll(async () => {
    http.close();
    sink.close();
    await vm?.stop();
  });

  it('gets an address by DHCP', async () => {
    expect((await c.run('udhcpc -i eth0 -n -q -f -s /lease')).output).toContain('LEASE 10.0.2.15 10.0.2.2 10.0.2.3 guest');
  });

  it('reaches the router, and names through the host', async () => {
    expect((await c.run('ping -c 2 10.0.2.2')).output).toContain('2 packets received');
    expect((await c.run('nslookup localhost')).output).toContain('127.0.0.1');
  });

  it('downloads and uploads without a wrong byte', async () => {
    expect((await c.run(`wget -q -O - http://10.0.2.2:${httpPort}/blob | md5sum`)).output).toContain(createHash('md5').update(blob).digest('hex'));
    const { output: out } = await c.run(`dd if=/dev/urandom of=/tmp/up bs=64k count=32 2>/dev/null; md5sum < /tmp/up; nc 10.0.2.2 ${sinkPort} < /tmp/up; echo sent`);
    expect(out).toContain('sent');
    expect(out).toContain(createHash('md5').update(Buffer.concat(uploaded)).digest('hex'));
  });

  it('speaks IPv6', async () => {
    const server = createHttp((_q, r) => r.end('over IPv6'));
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '::1', resolve));
    try {
      // The guest makes its address of the prefix that the router advertises, and looks whether it is free.
      expect((await c.run('i=0; until ip -6 addr show dev eth0 scope site | grep -q "inet6 fec0:.* dynamic" || [ $i -gt 30 ]; do i=$((i+1)); sleep 1; done; sleep 2; ip -6 addr')).output).toMatch(/inet6 fec0:/);
      expect((await c.run('ping6 -c 2 fec0::2')).output).toContain('2 packets received');
      expect((await c.run(`wget -q -O - 'http://[fec0::2]:${(server.address() as AddressInfo).port}/'`)).output).toContain('over IPv6');
      expect((await c.run('nslookup localhost fec0::3')).output).toContain('127.0.0.1');
    } finally {
      server.close();
    }
  });

  it('is refused where nobody listens', async () => {
    expect((await c.run('wget -O - http://10.0.2.2:1/')).output).toContain('refused');
  });

  it('is reached through a forwarded port', async () => {
    await c.run('(nc -l -p 23 -e /bin/cat) & sleep 1');
    const s = connect(await vm.net.forward('tcp:127.0.0.1:0-:23'), '127.0.0.1');
    s.end('over the bridge');
    const parts: Buffer[] = [];
    for await (const d of s) parts.push(d as Buffer);
    expect(Buffer.concat(parts).toString()).toBe('over the bridge');
  });
});
