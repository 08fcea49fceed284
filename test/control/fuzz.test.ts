/**
 * The parsers of the control protocols under damaged messages: whole sessions of each, in memory, with a machine that is not there. Whatever
 * comes, nothing throws, a connection is either served or closed, and memory stays bounded. VMX_FUZZ_MESSAGES makes it as long as one likes
 * (`node bench/fuzz-protocols.mjs`).
 */
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { frame } from '#lib/control/gdb/packets.js';
import { GdbServer, QmpServer, type VirtualMachine, VncServer } from '#lib/index.js';
import type { ScreenWatcher } from '#lib/machine/screen-feed.js';
import type { DebugRequest } from '#lib/machine/protocol.js';
import { randomFrom } from '../devices/fuzz.js';

const MESSAGES = Number(process.env.VMX_FUZZ_MESSAGES ?? 4000);
const SEED = Number(process.env.VMX_FUZZ_SEED ?? 1);
/** Messages of one connection. */
const PER_SESSION = 24;
const HEAP_GROWTH = 128 * 1024 * 1024;

/** Both ends of a connection: what is written to `wire` has come from the client; what the server writes is counted. */
class Wire extends Duplex {
  written = 0;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written += chunk.length;
    done();
  }

  /** Bytes from the client. */
  come(bytes: Uint8Array): void {
    if (!this.destroyed && !this.readableEnded) this.push(Buffer.from(bytes));
  }
}

/** What the servers use of a machine. */
class NoMachine extends EventEmitter {
  readonly config = { arch: 'x86_64', cpus: 2, memory: 1 << 24, vga: 'std', disks: [], machine: 'pc' };
  readonly state = 'running';
  readonly accel = 'jit';
  private readonly image = { width: 64, height: 48, words: new Uint32Array(64 * 48).map((_, i) => i * 0x0101) };
  readonly screen = {
    watch: (w: ScreenWatcher): (() => void) => {
      w.resized(this.image);
      return () => {};
    },
    picture: () => Promise.resolve({ width: 1, height: 1, rgba: new Uint8Array(4) }),
  };
  readonly keyboard = { down: () => Promise.resolve(), up: () => Promise.resolve(), press: () => Promise.resolve(), type: () => Promise.resolve() };
  readonly mouse = { move: () => Promise.resolve(), moveTo: () => Promise.resolve(), down: () => Promise.resolve(), up: () => Promise.resolve() };
  readonly disks = { list: () => Promise.resolve([]), eject: () => Promise.resolve(), change: () => Promise.resolve(), openTray: () => Promise.resolve(), closeTray: () => Promise.resolve() };
  readonly net = { forward: () => Promise.resolve(1) };
  pause = (): Promise<void> => Promise.resolve();
  resume = (): Promise<void> => Promise.resolve();
  setAccel = (): Promise<void> => Promise.resolve();
  pci = (): Promise<[]> => Promise.resolve([]);
  registers = (): Promise<string[]> => Promise.resolve(['pc 0']);
  stats = (): Promise<object> => Promise.resolve({});
  reset(): void {}
  powerButton(): void {}
  stop = (): Promise<void> => Promise.resolve();

  debug(r: DebugRequest): Promise<{ ok: boolean; data: Uint8Array | null; sizes?: number[] }> {
    if (r.op === 'attach') setImmediate(() => this.emit('debugStop', { cpu: 0, signal: 5, watch: null }));
    if (r.op === 'registers') return Promise.resolve({ ok: true, data: new Uint8Array(24), sizes: [8, 8, 8] });
    if (r.op === 'read') return Promise.resolve({ ok: r.length <= 65536, data: r.length <= 65536 ? new Uint8Array(r.length) : null });
    return Promise.resolve({ ok: true, data: new Uint8Array(0) });
  }
}

type Random = () => number;

/** Damages a message: bits, bytes, length, pieces of it twice. */
function damage(message: Uint8Array, random: Random): Uint8Array {
  let b = Buffer.from(message);
  for (let n = random() % 4; n > 0 && b.length > 0; n--) {
    const at = random() % b.length;
    switch (random() % 6) {
      case 0:
        b[at] = random();
        break;
      case 1:
        b[at] = b[at]! ^ (1 << (random() & 7));
        break;
      case 2:
        b = b.subarray(0, at);
        break;
      case 3:
        b = Buffer.concat([b.subarray(0, at), Buffer.from([random(), random()]), b.subarray(at)]);
        break;
      case 4:
        b = Buffer.concat([b, b.subarray(at)]);
        break;
      default:
        // Lengths are big-endian numbers of two or four bytes.
        if (at + 4 <= b.length) b.writeUInt32BE([0, 1, 0x7fff_ffff, 0xffff_ffff, 0xffff, random()][random() % 6]!, at);
    }
  }
  return b;
}

/** Sessions until so many messages have been sent. @param hello what opens a session, undamaged most of the time. */
async function fuzz(accept: (wire: Wire) => void, hello: readonly Uint8Array[], messages: (random: Random) => Uint8Array): Promise<number> {
  const random = randomFrom(SEED);
  const before = process.memoryUsage().heapUsed;
  let survived = 0;
  for (let sent = 0; sent < MESSAGES; ) {
    const wire = new Wire({ autoDestroy: true });
    wire.on('error', () => {});
    accept(wire);
    for (const h of hello) wire.come(random() % 16 === 0 ? damage(h, random) : h);
    for (let i = 0; i < PER_SESSION && !wire.destroyed; i++, sent++) {
      const m = damage(messages(random), random);
      // In one piece, or cut anywhere.
      const cut = random() % 3 === 0 ? random() % (m.length + 1) : m.length;
      wire.come(m.subarray(0, cut));
      if (cut < m.length) {
        await Promise.resolve();
        wire.come(m.subarray(cut));
      }
      if (random() % 8 === 0) await new Promise((r) => setImmediate(r));
    }
    // Answers to all that have to come.
    for (let turns = 0; turns < 4; turns++) await new Promise((r) => setImmediate(r));
    if (!wire.destroyed && wire.written > 0) survived++;
    wire.destroy();
    await new Promise((r) => setImmediate(r));
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(HEAP_GROWTH * 4);
  }
  global.gc?.();
  return survived;
}

const machine = (): VirtualMachine => new NoMachine().setMaxListeners(0) as unknown as VirtualMachine;
const TIMEOUT = 0x7fff_0000;

describe('damaged messages', () => {
  it('of VNC clients', async () => {
    const vnc = VncServer.create(machine());
    const be16 = (...v: number[]): number[] => v.flatMap((x) => [(x >> 8) & 255, x & 255]);
    const valid = (random: Random): Uint8Array => {
      switch (random() % 8) {
        case 0:
          return Uint8Array.from([0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
        case 1:
          return Uint8Array.from([2, 0, ...be16(5), 0, 0, 0, 16, 0, 0, 0, 5, 255, 255, 255, 33, 255, 255, 254, 255, 255, 255, 254, 254]);
        case 2:
          return Uint8Array.from([4, 1, 0, 0, ...be16(0, 0x61)]);
        case 3:
          return Uint8Array.from([5, random() & 31, ...be16(random() % 64, random() % 48)]);
        case 4:
          return Uint8Array.from([6, 0, 0, 0, 0, 0, 0, 5, 104, 101, 108, 108, 111]);
        case 5:
          return Uint8Array.from([255, 0, 0, 1, ...be16(0, 0x61, 0, 0x1e)]);
        default:
          return Uint8Array.from([3, random() & 1, ...be16(0, 0, 64, 48)]);
      }
    };
    expect(await fuzz((w) => vnc.accept(w), [Buffer.from('RFB 003.008\n'), Uint8Array.of(1), Uint8Array.of(1)], valid)).toBeGreaterThan(0);
  }, TIMEOUT);

  it('of QMP clients', async () => {
    const qmp = QmpServer.create(machine(), '1.2.3');
    const commands = [
      '{"execute":"query-status"}', '{"execute":"query-commands","id":1}', '{"execute":"human-monitor-command","arguments":{"command-line":"info status"}}', '{"execute":"query-block"}', '{"execute":"stop"}',
      '{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"a"},{"type":"number","data":28}],"hold-time":0}}', '{"execute":"blockdev-change-medium","arguments":{"id":"cdrom0","filename":"x"}}',
      '{"execute":"input-send-event","arguments":{"events":[{"type":"rel","data":{"axis":"x","value":3}},{"type":"btn","data":{"down":true,"button":"left"}}]}}', '{"execute":"eject","arguments":{"device":"cdrom0","force":true}}',
      `{"a":${'['.repeat(70)}`, '{"execute":"\\ud800\\u0000"}', '{"__proto__":{"execute":"stop"}}', '{"execute":"constructor","arguments":{"__proto__":1}}',
    ].map((c) => Buffer.from(`${c}\n`));
    expect(await fuzz((w) => qmp.accept(w), [Buffer.from('{"execute":"qmp_capabilities"}')], (random) => commands[random() % commands.length]!)).toBeGreaterThan(0);
  }, TIMEOUT);

  it('of GDB', async () => {
    const packets = [
      'qSupported:multiprocess+;swbreak+;xmlRegisters=i386', 'QStartNoAckMode', 'Hg0', 'Hc-1', 'g', 'p10', 'P0=0011223344556677', 'm1000,40', 'mffffffffffffffff,10', 'M1000,4:01020304', 'Z0,1000,1', 'z0,1000,1', 'Z2,2000,4', 'vCont?', 'vCont;s:1',
      '?', 'qXfer:features:read:target.xml:0,ffb', 'qXfer:features:read:target.xml:ffffffff,ffffffff', 'qfThreadInfo', 'qsThreadInfo', 'T1', 'qRcmd,696e666f20737461747573', 'X1000,3:a}]b', 'qC', 'vMustReplyEmpty', 'D', 'k',
    ];
    // Damaged inside a packet that is whole, or on the wire.
    const packet = (random: Random): Uint8Array => {
      const text = packets[random() % packets.length]!;
      return random() & 1 ? frame(Buffer.from(damage(Buffer.from(text, 'latin1'), random)).toString('latin1').replace(/[#$}]/g, '.')) : frame(text);
    };
    expect(await fuzz((w) => GdbServer.create(machine(), '1.2.3').accept(w), [], packet)).toBeGreaterThan(0);
  }, TIMEOUT);
});
