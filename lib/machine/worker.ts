/** What runs one machine and answers its owner's messages: in a worker of its own, or (local-worker.ts) beside its owner. */
import { assumeKvmHost } from '../accel/kvm/system.js';
import { assumeBuild } from '../cache/identity.js';
import { UsageError, VmxError } from '../errors.js';
import { Machine } from './machine.js';
import type { ArchName } from './config.js';
import { loadArch } from './guests/load.js';
import type { EndState, FromWorker, ToWorker, WorkerInit } from './protocol.js';
import { machinePart } from './program-parts.js';
import { mark } from './timeline.js';

/** The line to the machine's owner. `once` gets the first message. */
export interface OwnerPort {
  postMessage(m: FromWorker): void;
  once(event: 'message', listener: (m: WorkerInit) => void): unknown;
  on(event: 'message', listener: (m: ToWorker) => void): unknown;
}

type Send = (m: FromWorker) => void;
/** Told what a machine that has run has used of the program. */
export type AtEnd = (part: string) => void;

/** Output is gathered for one turn of the event loop or this many bytes. */
const CHUNK = 16384;

/** Gathers the bytes of one console. */
class Output {
  private readonly bytes = Buffer.alloc(CHUNK);
  private used = 0;
  private scheduled = false;
  wantTurn: () => void = () => {};

  constructor(private readonly type: 'serial' | 'debug', private readonly send: Send) {}

  add(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      this.bytes[this.used++] = bytes[i]!;
      if (this.used === CHUNK) this.flush();
    }
    if (this.scheduled || this.used === 0) return;
    this.scheduled = true;
    setImmediate(() => this.flush());
    this.wantTurn();
  }

  flush(): void {
    this.scheduled = false;
    if (this.used === 0) return;
    this.send({ type: this.type, bytes: Uint8Array.from(this.bytes.subarray(0, this.used)) });
    this.used = 0;
  }
}

function failed(e: unknown): FromWorker {
  const err = e instanceof Error ? e : new Error(String(e));
  return { type: 'failed', name: err.name, code: err instanceof VmxError ? err.code : 'ERR_INTERNAL', message: err.message, stack: err.stack ?? '' };
}

async function start(port: OwnerPort, { config, build, kvm }: WorkerInit, atEnd: AtEnd): Promise<void> {
  const send: Send = (m) => port.postMessage(m);
  const serial = new Output('serial', send);
  const debug = new Output('debug', send);
  mark('configuration received');
  if (build !== null) assumeBuild(build);
  if (kvm !== null) assumeKvmHost(kvm);
  const arch = await loadArch(config.arch);
  mark('tables of the architecture made');
  if (arch === undefined) throw new UsageError(`--arch: '${config.arch}' is not available`);
  const machine = new Machine(config, arch, {
    serialOutput: (bytes) => serial.add(bytes),
    debugOutput: (bytes) => debug.add(bytes),
    log: (message) => send({ type: 'log', message }),
    serialTaken: (count) => send({ type: 'serial-taken', count }),
    reset: () => send({ type: 'reset' }),
    trayMoved: (drive, open) => send({ type: 'tray', drive, open }),
    debugStop: (stop) => send({ type: 'debug-stop', stop }),
    guestEvent: (event) => send({ type: 'guest-event', event }),
    vsockConnection: (port, from, id) => send({ type: 'vsock-connection', port, from, id }),
    stream: (id, m) => send({ type: 'stream', id, m }),
  });
  serial.wantTurn = debug.wantTurn = () => machine.wantTurn();
  port.on('message', (m: ToWorker) => {
    switch (m.type) {
      case 'start':
        machine
          .run()
          .then((end: EndState) => {
            serial.flush();
            debug.flush();
            const stats = machine.stats();
            atEnd(machinePart(config.arch, (stats.aot?.hits ?? 0) > 0));
            send({ type: 'ended', end, stats, screen: machine.console.last() });
          })
          .catch((e: unknown) => send(failed(e)));
        break;
      case 'accel':
        try {
          machine.setAccel(m.accel);
          send({ type: 'done', id: m.id });
        } catch (e) {
          if (!(e instanceof VmxError)) throw e;
          send({ type: 'done', id: m.id, refusal: { code: e.code, message: e.message } });
        }
        break;
      case 'pause':
        void machine.pause().then(() => send({ type: 'done', id: m.id }));
        break;
      case 'resume':
        machine.resume();
        send({ type: 'done', id: m.id });
        break;
      case 'stop':
        if (machine.started) machine.end({ reason: 'stopped', status: 0, message: 'stopped' });
        else send({ type: 'ended', end: { reason: 'stopped', status: 0, message: 'stopped' }, stats: machine.stats(), screen: machine.console.last() });
        break;
      case 'power-button':
        machine.powerButton();
        break;
      case 'reset':
        machine.requestReset();
        break;
      case 'serial':
        machine.serialInput(m.bytes);
        break;
      case 'stats':
        send({ type: 'done', id: m.id, stats: machine.stats() });
        break;
      case 'drives':
        try {
          machine.drives.handle(m.request);
          send({ type: 'drives', id: m.id, drives: machine.drives.list() });
        } catch (e) {
          if (!(e instanceof VmxError)) throw e;
          send({ type: 'drives', id: m.id, drives: [], refusal: { code: e.code, message: e.message } });
        }
        break;
      case 'forward':
        machine.forward(m.nic, m.forward).then(
          (port) => send({ type: 'forwarded', id: m.id, port, error: null }),
          (e: Error) => send({ type: 'forwarded', id: m.id, port: 0, error: e.message }),
        );
        break;
      case 'debug':
        send({ type: 'debugged', id: m.id, reply: machine.debug(m.request) });
        break;
      case 'inspect':
        send({ type: 'inspected', id: m.id, inspection: machine.inspect() });
        break;
      case 'stream':
        machine.streams.message(m.id, m.m);
        break;
      case 'device':
        machine.devices.handle(m.request, (reply) => send({ type: 'device', id: m.id, reply }));
        break;
      case 'console':
        machine.console.handle(m.request, (reply) => send({ type: 'console', id: m.id, reply }));
        break;
    }
  });
  await machine.prepare();
  send({ type: 'ready', contextId: machine.contextId, accel: machine.accel, notes: machine.notes, ports: machine.streams.ports });
}

/**
 * Waits for `WorkerInit` and does what it is told.
 * @param ask guest architecture to load meanwhile: a guess; null: none
 * @param atEnd called when a machine has run
 */
export function serve(port: OwnerPort, ask: ArchName | null, atEnd: AtEnd): void {
  // The machine's configuration asks again, and reports what goes wrong.
  if (ask !== null) loadArch(ask).catch(() => undefined);
  port.once('message', (init) => void start(port, init, atEnd).catch((e: unknown) => port.postMessage(failed(e))));
}
