/** The GDB stub: packets, and a debugging session with a guest that counts in memory, on both executors. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checksum, frame, PacketReader } from '#lib/control/gdb/packets.js';
import { GdbServer, parseEndpoint, VirtualMachine } from '#lib/index.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { TINY_CODE, tinyCode } from '../boot/tiny.js';
import { randomFrom } from '../devices/fuzz.js';
import { noKvm } from '../accel/harness.js';

const COUNTER = 0x11_0000;
const LOOP = TINY_CODE + 5;
/** mov eax,0; loop: inc dword [COUNTER]; inc eax; jmp loop */
const CODE = Uint8Array.from([0xb8, 0, 0, 0, 0, 0xff, 0x05, 0, 0, 0x11, 0, 0x40, 0xeb, 0xf7]);
const INC_EAX = LOOP + 6;
const JMP = LOOP + 7;

class Gdb {
  private readonly reader = new PacketReader();
  private readonly packets: string[] = [];
  private wake: () => void = () => {};
  closed = false;
  constructor(readonly socket: Socket) {
    socket.on('data', (b) => {
      this.reader.push(b, { packet: (p) => (this.packets.push(p), socket.write('+'), this.wake()), interrupt: () => {}, bad: () => {} });
    });
    socket.on('close', () => ((this.closed = true), this.wake()));
    socket.on('error', () => socket.destroy());
  }
  static open(port: number): Promise<Gdb> {
    return new Promise((resolve, reject) => {
      const s = connect(port, '127.0.0.1', () => resolve(new Gdb(s)));
      s.once('error', reject);
    });
  }
  send(p: string): void {
    this.socket.write(frame(p));
  }
  async next(): Promise<string> {
    while (this.packets.length === 0) {
      if (this.closed) throw new Error('the stub closed the connection');
      await new Promise<void>((r) => (this.wake = r));
    }
    return this.packets.shift()!;
  }
  ask(p: string): Promise<string> {
    this.send(p);
    return this.next();
  }
  async register(n: number): Promise<number> {
    return Buffer.from(await this.ask(`p${n.toString(16)}`), 'hex').readUInt32LE();
  }
  async word(at: number): Promise<number> {
    return Buffer.from(await this.ask(`m${at.toString(16)},4`), 'hex').readUInt32LE();
  }
}
const EAX = 0;
const RIP = 16;

describe('packets', () => {
  const read = (...chunks: Buffer[]): string[] => {
    const out: string[] = [];
    const r = new PacketReader();
    for (const c of chunks) r.push(c, { packet: (p) => out.push(p), interrupt: () => out.push('<interrupt>'), bad: () => out.push('<bad>') });
    return out;
  };

  it('are found, unescaped and checked', () => {
    expect(checksum(Buffer.from('OK'))).toBe(0x9a);
    expect(frame('OK').toString()).toBe('$OK#9a');
    expect(read(Buffer.from('+$OK#9a-\x03$?#3f$OK#00'))).toEqual(['OK', '<interrupt>', '?', '<bad>']);
    expect(read(...[...Buffer.from('$}\x03a#e1')].map((b) => Buffer.from([b])))).toEqual(['#a']);
  });

  it('have a bound', () => {
    expect(() => read(Buffer.from(`$${'x'.repeat(200_000)}`))).toThrow(RangeError);
  });

  it('survive a million random bytes', () => {
    const random = randomFrom(5);
    const r = new PacketReader();
    let n = 0;
    for (let i = 0; i < 1000; i++) r.push(Buffer.from(Array.from({ length: 1000 }, () => (random() & 7 ? random() & 127 : 0x23))), { packet: () => n++, interrupt: () => n++, bad: () => n++ });
    expect(n).toBeGreaterThan(100);
  });
});

const accels = ['jit', 'interp', ...(skipFor(noAddon ?? noKvm) ? [] : (['kvm', 'kvm,kernel=kvm'] as const))] as const;
describe.skipIf(skipFor(noAddon)).each(accels)('GDB on %s', (accel) => {
  let dir: string;
  let vm: VirtualMachine;
  let server: GdbServer;
  let gdb: Gdb;

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'vmx-gdb-'));
    writeFileSync(join(dir, 'kernel'), tinyCode(CODE));
    vm = await VirtualMachine.create({ kernel: join(dir, 'kernel'), memory: '16M', accel });
    server = await GdbServer.listen(vm, parseEndpoint('tcp:0', '--gdb'), '1.2.3');
    vm.start();
    gdb = await Gdb.open((server.endpoint as { port: number }).port);
  });
  afterEach(async () => {
    gdb.socket.destroy();
    await vm.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it('stops, shows registers and memory, sets breakpoints, steps and goes on', async () => {
    expect(await gdb.ask('?')).toBe('T05thread:1;');
    expect(await gdb.ask('qSupported:multiprocess+')).toContain('qXfer:features:read+');
    let xml = '';
    for (;;) {
      const part = await gdb.ask(`qXfer:features:read:target.xml:${xml.length.toString(16)},400`);
      xml += part.slice(1);
      if (part[0] === 'l') break;
    }
    expect(xml).toContain('<architecture>i386:x86-64</architecture>');
    expect(xml.endsWith('</target>')).toBe(true);
    expect(await gdb.ask('g')).toMatch(/^[0-9a-f]{800,}$/);
    const pc = await gdb.register(RIP);
    expect(pc).toBeGreaterThanOrEqual(TINY_CODE);
    expect(pc).toBeLessThanOrEqual(JMP);
    expect(await gdb.ask(`m${LOOP.toString(16)},6`)).toBe('ff0500001100');

    expect(await gdb.ask(`Z0,${INC_EAX.toString(16)},1`)).toBe('OK');
    expect(await gdb.ask('c')).toBe('T05thread:1;');
    expect(await gdb.register(RIP)).toBe(INC_EAX);
    const count = await gdb.word(COUNTER);
    // Once round: the breakpoint is met again, one later.
    expect(await gdb.ask('vCont;c')).toBe('T05thread:1;');
    expect([await gdb.register(RIP), await gdb.word(COUNTER)]).toEqual([INC_EAX, count + 1]);
    const eax = await gdb.register(EAX);
    expect(await gdb.ask('vCont;s:1')).toBe('T05thread:1;');
    expect([await gdb.register(RIP), await gdb.register(EAX)]).toEqual([JMP, eax + 1]);
    expect(await gdb.ask('s')).toBe('T05thread:1;');
    expect(await gdb.register(RIP)).toBe(LOOP);

    expect(await gdb.ask(`z0,${INC_EAX.toString(16)},1`)).toBe('OK');
    expect(await gdb.ask(`M${COUNTER.toString(16)},4:78563412`)).toBe('OK');
    expect(await gdb.ask('P0=efbeadde00000000')).toBe('OK');
    expect([await gdb.word(COUNTER), await gdb.register(EAX)]).toEqual([0x1234_5678, 0xdead_beef]);
    gdb.send('c');
    await new Promise((r) => setTimeout(r, 300));
    gdb.socket.write(Buffer.from([3]));
    expect(await gdb.next()).toBe('T02thread:1;');
    expect(await gdb.word(COUNTER)).toBeGreaterThan(0x1234_5678);
  });

  it.skipIf(accel !== 'kvm,kernel=kvm')('keeps up to four breakpoints in KVM, and more on the engine', async () => {
    await gdb.ask('?');
    const stats = async (): Promise<{ exits: Record<string, number>; returns: number }> => (await vm.stats())!.kvm!;
    for (const at of [INC_EAX, JMP, 0x9000, 0x9010]) expect(await gdb.ask(`Z1,${at.toString(16)},1`)).toBe('OK');
    for (const want of [INC_EAX, JMP, INC_EAX, JMP]) {
      expect(await gdb.ask('c')).toBe('T05thread:1;');
      // The instruction at the breakpoint is the engine's; KVM has the rest of the way.
      expect(await gdb.register(RIP)).toBe(want);
    }
    const four = await stats();
    expect(four.exits.debug).toBeGreaterThanOrEqual(1);
    expect(await gdb.ask('Z1,9020,1')).toBe('OK');
    for (const want of [INC_EAX, JMP]) {
      expect(await gdb.ask('c')).toBe('T05thread:1;');
      expect(await gdb.register(RIP)).toBe(want);
    }
    expect(await stats()).toMatchObject({ exits: { debug: four.exits.debug }, returns: four.returns });
    expect(vm.accel).toBe('kvm');
    // Gone with the client.
    expect(await gdb.ask('D')).toBe('OK');
    await new Promise((r) => setTimeout(r, 100));
    const after = await stats();
    expect(after.returns).toBeGreaterThan(four.returns);
    expect(after.exits.debug).toBe(four.exits.debug);
  });

  it('watches memory', async () => {
    await gdb.ask('?');
    expect(await gdb.ask(`Z2,${COUNTER.toString(16)},4`)).toBe('OK');
    const before = await gdb.word(COUNTER);
    const stop = await gdb.ask('c');
    expect(stop).toMatch(/^T05thread:1;(a|)watch:110000;$/);
    expect([await gdb.register(RIP), await gdb.word(COUNTER)]).toEqual([INC_EAX, before + 1]);
    expect(await gdb.ask(`z2,${COUNTER.toString(16)},4`)).toBe('OK');
  });

  it('lets the guest run on when the client goes', async () => {
    await gdb.ask('?');
    await gdb.ask(`Z0,${LOOP.toString(16)},1`);
    await gdb.ask('c');
    gdb.socket.destroy();
    await new Promise((r) => setTimeout(r, 100));
    gdb = await Gdb.open((server.endpoint as { port: number }).port);
    await gdb.ask('?');
    const a = await gdb.word(COUNTER);
    expect(await gdb.ask('D')).toBe('OK');
    await new Promise((r) => setTimeout(r, 300));
    gdb.socket.destroy();
    await new Promise((r) => setTimeout(r, 300));
    gdb = await Gdb.open((server.endpoint as { port: number }).port);
    await gdb.ask('?');
    expect(await gdb.word(COUNTER)).not.toBe(a);
  });

  it('says what cannot be done', async () => {
    await gdb.ask('?');
    expect(await gdb.ask('mfee00000,4')).toBe('E14');
    expect(await gdb.ask('m,')).toBe('E01');
    expect(await gdb.ask('pffff')).toBe('E01');
    expect(await gdb.ask('P12=00000000')).toBe('E01');
    expect(await gdb.ask('Hg5')).toBe('E01');
    expect(await gdb.ask('T1')).toBe('OK');
    expect(await gdb.ask('_nonsense')).toBe('');
    expect(Buffer.from(await gdb.ask(`qRcmd,${Buffer.from('info status').toString('hex')}`), 'hex').toString()).toContain('VM status');
  });
});
