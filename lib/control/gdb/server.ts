/**
 * The GDB stub (GDB manual, appendix E): one client at a time, a thread for each CPU, all of which stop together. Registers by
 * target description, memory, breakpoints, watchpoints, single steps, and the monitor through `monitor COMMAND`.
 */
import { createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import type { DebugRequest, DebugStop } from '../../machine/protocol.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { type Endpoint, listenAt } from '../endpoint.js';
import { Monitor } from '../monitor.js';
import { frame, PacketReader } from './packets.js';

const PACKET_SIZE = 0x4000;
const KINDS = { 0: 'break', 1: 'break', 2: 'write', 3: 'read', 4: 'access' } as const;
const STOP_KINDS = { write: 'watch', read: 'rwatch', access: 'awatch' } as const;

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex');
const number = (text: string | undefined): number => (text !== undefined && /^[0-9a-f]{1,8}$/i.test(text) ? Number.parseInt(text, 16) : NaN);
const address = (text: string | undefined): bigint | null => (text !== undefined && /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : null);

export class GdbServer {
  private readonly server: Server;
  private session: GdbSession | null = null;
  private at: Endpoint | null = null;

  private constructor(
    private readonly vm: VirtualMachine,
    private readonly version: string,
    private readonly onClient: () => void,
  ) {
    this.server = createServer((socket) => {
      socket.setNoDelay(true);
      this.accept(socket);
    });
    vm.once('end', (end) => {
      this.session?.ended(end.status);
      this.close();
    });
  }

  /** A server that listens nowhere: a connection comes by `accept`. */
  static create(vm: VirtualMachine, version: string, onClient: () => void = () => {}): GdbServer {
    return new GdbServer(vm, version, onClient);
  }

  /** Takes a connection of whatever kind; one at a time. */
  accept(stream: Duplex & { unref?: () => unknown }): void {
    if (this.session !== null) {
      stream.destroy();
      return;
    }
    this.session = new GdbSession(stream, this.vm, this.version, () => (this.session = null));
    this.onClient();
  }

  /**
   * Starts listening. @param onClient called when a client has connected.
   * @throws UsageError that names the option if that is impossible.
   */
  static async listen(vm: VirtualMachine, endpoint: Endpoint, version: string, onClient: () => void = () => {}, option = '--gdb'): Promise<GdbServer> {
    const s = new GdbServer(vm, version, onClient);
    s.at = await listenAt(s.server, endpoint, option);
    s.server.unref();
    return s;
  }

  /** Where it listens, with the actual port. */
  get endpoint(): Endpoint {
    return this.at!;
  }

  close(): void {
    this.server.close();
    this.session?.close();
  }
}

/** Packets that may wait for their answer: GDB waits for each. */
const MAX_QUEUED = 256;

class GdbSession {
  private readonly reader = new PacketReader();
  private ack = true;
  private queued = 0;
  /** CPU that register and memory packets mean. */
  private cpu = 0;
  private targetXml = '';
  /** Packets are answered one after the other. */
  private last: Promise<void>;
  /** The client waits for the guest to stop. */
  private running = false;
  private lastStop: DebugStop = { cpu: 0, signal: 5, watch: null };
  private readonly onStop = (s: DebugStop): void => this.stopped(s);
  private readonly monitor: Monitor;

  constructor(
    private readonly socket: Duplex & { unref?: () => unknown },
    private readonly vm: VirtualMachine,
    version: string,
    onClose: () => void,
  ) {
    this.monitor = new Monitor(vm, version);
    socket.on('data', (b: Buffer) => this.data(b));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      vm.off('debugStop', this.onStop);
      void vm.debug({ op: 'detach' });
      onClose();
    });
    vm.on('debugStop', this.onStop);
    this.last = this.attach();
  }

  private async attach(): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      // A machine that has not been started stands still anyway.
      if (this.vm.state === 'created') resolve();
      else this.vm.once('debugStop', () => resolve());
    });
    const r = await this.vm.debug({ op: 'attach' });
    this.targetXml = r.data === null ? '' : Buffer.from(r.data).toString();
    await stopped;
  }

  private data(bytes: Uint8Array): void {
    try {
      this.reader.push(bytes, {
        packet: (data) => {
          if (this.ack) this.socket.write('+');
          if (data === 'QStartNoAckMode') this.ack = false;
          if (++this.queued > MAX_QUEUED) throw new RangeError('too many packets at once');
          this.last = this.last.then(async () => {
            const reply = await this.answer(data);
            if (reply !== null) this.send(reply);
            this.queued--;
          });
        },
        interrupt: () => void this.vm.debug({ op: 'halt' }),
        bad: () => {
          if (this.ack) this.socket.write('-');
        },
      });
    } catch (e) {
      if (!(e instanceof RangeError)) throw e;
      this.socket.destroy();
    }
  }

  private send(data: string): void {
    if (!this.socket.destroyed && !this.socket.writableEnded) this.socket.write(frame(data));
  }

  private stopped(s: DebugStop): void {
    this.lastStop = s;
    if (!this.running) return;
    this.running = false;
    this.cpu = s.cpu;
    this.send(this.stopReply());
  }

  /** The machine is gone. */
  ended(status: number): void {
    if (this.running) this.send(`W${(status & 255).toString(16).padStart(2, '0')}`);
    this.running = false;
  }

  private stopReply(): string {
    const { cpu, signal, watch } = this.lastStop;
    const what = watch === null ? '' : `${STOP_KINDS[watch.kind]}:${watch.address.toString(16)};`;
    return `T${signal.toString(16).padStart(2, '0')}thread:${(cpu + 1).toString(16)};${what}`;
  }

  private async ask(request: DebugRequest): Promise<Uint8Array | null> {
    const r = await this.vm.debug(request);
    return r.ok ? (r.data ?? new Uint8Array(0)) : null;
  }

  /** The reply to a packet; '' if it is not known, null if there is none yet. */
  private async answer(p: string): Promise<string | null> {
    switch (p[0]) {
      case '?':
        return this.stopReply();
      case 'g': {
        const b = await this.ask({ op: 'registers', cpu: this.cpu });
        return b === null ? 'E01' : hex(b);
      }
      case 'G':
        return this.setAll(p.slice(1));
      case 'p':
        return this.register(number(p.slice(1)));
      case 'P': {
        const m = /^P([0-9a-f]+)=([0-9a-f]+)$/i.exec(p);
        if (m === null) return 'E01';
        return (await this.ask({ op: 'set-register', cpu: this.cpu, register: number(m[1]), value: Buffer.from(m[2]!, 'hex') })) === null ? 'E01' : 'OK';
      }
      case 'm': {
        const [at, n] = p.slice(1).split(',');
        const a = address(at);
        if (a === null || !(number(n) >= 0)) return 'E01';
        const b = await this.ask({ op: 'read', cpu: this.cpu, address: a, length: Math.min(number(n), PACKET_SIZE / 2) });
        return b === null ? 'E14' : hex(b);
      }
      case 'M':
      case 'X':
        return this.writeMemory(p);
      case 'Z':
      case 'z':
        return this.point(p);
      case 'H': {
        const t = number(p.slice(2));
        if (t > this.vm.config.cpus) return 'E01';
        if (p[1] === 'g' && t > 0) this.cpu = t - 1;
        return 'OK';
      }
      case 'T':
        return number(p.slice(1)) >= 1 && number(p.slice(1)) <= this.vm.config.cpus ? 'OK' : 'E01';
      case 'c':
        return this.go(-1);
      case 's':
        return this.go(this.cpu);
      case 'D':
        await this.vm.debug({ op: 'detach' });
        return 'OK';
      case 'k':
        void this.vm.stop();
        return null;
      case 'v':
        return this.verbose(p);
      case 'q':
      case 'Q':
        return this.query(p);
      default:
        return '';
    }
  }

  private async register(n: number): Promise<string> {
    const r = await this.vm.debug({ op: 'registers', cpu: this.cpu });
    const size = r.sizes?.[n];
    if (!r.ok || r.data === null || size === undefined) return 'E01';
    const at = r.sizes!.slice(0, n).reduce((a, b) => a + b, 0);
    return hex(r.data.subarray(at, at + size));
  }

  private async setAll(text: string): Promise<string> {
    const now = await this.vm.debug({ op: 'registers', cpu: this.cpu });
    const b = Buffer.from(text, 'hex');
    if (!now.ok || now.data === null || b.length !== now.data.length) return 'E01';
    let at = 0;
    for (const [register, n] of now.sizes!.entries()) {
      const value = b.subarray(at, at + n);
      // Those that cannot be set are sent back as they were.
      if (!value.equals(now.data.subarray(at, at + n)) && (await this.ask({ op: 'set-register', cpu: this.cpu, register, value })) === null) return 'E01';
      at += n;
    }
    return 'OK';
  }

  private async writeMemory(p: string): Promise<string> {
    const m = /^[MX]([0-9a-f]+),([0-9a-f]+):([^]*)$/i.exec(p);
    const a = address(m?.[1]);
    if (m === null || a === null) return 'E01';
    const bytes = p[0] === 'M' ? Buffer.from(m[3]!, 'hex') : Buffer.from(m[3]!, 'latin1');
    if (bytes.length !== number(m[2])) return 'E01';
    return (await this.ask({ op: 'write', cpu: this.cpu, address: a, bytes })) === null ? 'E14' : 'OK';
  }

  private async point(p: string): Promise<string> {
    const m = /^[zZ]([0-4]),([0-9a-f]+),([0-9a-f]+)/i.exec(p);
    const a = address(m?.[2]);
    if (m === null || a === null) return '';
    const kind = KINDS[Number(m[1]) as keyof typeof KINDS];
    return (await this.ask({ op: 'point', insert: p[0] === 'Z', kind, address: a, length: number(m[3]) })) === null ? 'E01' : 'OK';
  }

  private async go(step: number): Promise<string | null> {
    this.running = true;
    if ((await this.ask({ op: 'resume', step })) !== null) return null;
    this.running = false;
    return 'E01';
  }

  private async verbose(p: string): Promise<string | null> {
    if (p === 'vCont?') return 'vCont;c;C;s;S';
    if (p.startsWith('vKill')) {
      void this.vm.stop();
      return 'OK';
    }
    if (!p.startsWith('vCont;')) return '';
    // The first action that steps decides; all other CPUs stand still meanwhile.
    for (const action of p.slice(6).split(';')) {
      const m = /^([cs]|[CS][0-9a-f]{2})(?::([0-9a-f]+|-1))?$/i.exec(action);
      if (m === null) return 'E01';
      const thread = m[2] === undefined || m[2] === '-1' ? this.cpu + 1 : number(m[2]);
      if (m[1]![0]!.toLowerCase() === 's') return this.go(Math.max(0, thread - 1));
    }
    return this.go(-1);
  }

  private async query(p: string): Promise<string> {
    if (p.startsWith('qSupported')) return `PacketSize=${PACKET_SIZE.toString(16)};qXfer:features:read+;QStartNoAckMode+;vContSupported+`;
    if (p === 'QStartNoAckMode') return 'OK';
    if (p === 'qAttached') return '1';
    if (p === 'qC') return `QC${(this.cpu + 1).toString(16)}`;
    if (p === 'qfThreadInfo') return `m${Array.from({ length: this.vm.config.cpus }, (_, i) => (i + 1).toString(16)).join(',')}`;
    if (p === 'qsThreadInfo') return 'l';
    if (p.startsWith('qThreadExtraInfo,')) return hex(Buffer.from(`CPU#${number(p.slice(17)) - 1}`));
    const x = /^qXfer:features:read:target\.xml:([0-9a-f]+),([0-9a-f]+)$/i.exec(p);
    if (x !== null) {
      const part = this.targetXml.slice(number(x[1]), number(x[1]) + number(x[2]));
      return `${number(x[1]) + part.length < this.targetXml.length ? 'm' : 'l'}${part}`;
    }
    if (p.startsWith('qRcmd,')) return hex(Buffer.from(await this.monitor.run(Buffer.from(p.slice(6), 'hex').toString()))) || 'OK';
    return '';
  }

  close(): void {
    this.socket.end();
    this.socket.unref?.();
  }
}
