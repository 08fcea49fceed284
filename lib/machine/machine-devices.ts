/** The machine's side of what programs ask of its devices: balloon, sockets. */
import type { Board } from '../boards/board.js';
import type { BoardControls } from '../boards/controls.js';
import type { PlugRequest } from '../boards/parts/hotplug.js';
import { VmxError } from '../errors.js';
import type { MachineStreams } from './machine-streams.js';
import type { DeviceReply, DeviceRequest } from './protocol.js';

/** A guest that does not answer: its last statistics will do, ms. */
const PATIENCE_MS = 2000;
/** Least time between two words about the balloon's size, ms. */
const BALLOON_NEWS_MS = 100;
const NO_HOTPLUG = 'devices of this board cannot come and go (pc and q35 have slots for that)';
const NO_VSOCK = 'the machine has no sockets to the host (--device virtio-vsock)';

export class MachineDevices {
  /** Who waits for statistics. */
  private waiting: (() => void)[] = [];

  /** Ports on which programs listen. */
  private readonly listening = new Set<number>();

  private readonly controls: BoardControls;
  /** Size of the balloon that programs have been told last. */
  private actual = 0;
  private balloonNews: NodeJS.Timeout | null = null;

  /** @param accepted the guest has connected to a port; its stream. @param inflated the balloon has another size, bytes. */
  constructor(
    private readonly board: Board,
    private readonly streams: MachineStreams,
    accepted: (port: number, from: number, id: number) => void,
    private readonly inflated: (actual: number) => void,
  ) {
    const controls = (this.controls = board.controls);
    if (controls.vsock !== null) {
      controls.vsock.onConnection = (port, from, client) => {
        if (!this.listening.has(port)) return null;
        const { id, peer } = streams.create(client);
        accepted(port, from, id);
        return peer;
      };
    }
    controls.onBalloonChange = () => {
      // A balloon changes its size in many small steps.
      if (controls.balloon !== null && controls.balloon.actual !== this.actual) this.balloonNews ??= setTimeout(() => this.tellBalloon(), BALLOON_NEWS_MS).unref();
      if (controls.balloon?.stats.fresh !== true) return;
      for (const done of this.waiting.splice(0)) done();
    };
  }

  handle(request: DeviceRequest, reply: (r: DeviceReply) => void): void {
    switch (request.kind) {
      case 'balloon':
        this.balloon(request.target, request.stats, reply);
        break;
      case 'plug':
        this.plug(request.id, request.what, reply);
        break;
      case 'unplug':
        this.unplug(request.id, reply);
        break;
      case 'vsock-connect':
        this.connect(request.port, request.timeout, reply);
        break;
      case 'vsock-listen':
        if (request.on) this.listening.add(request.port);
        else this.listening.delete(request.port);
        reply(this.controls.vsock === null ? { error: NO_VSOCK } : { done: true });
        break;
    }
  }

  private tellBalloon(): void {
    this.balloonNews = null;
    this.actual = this.controls.balloon!.actual;
    this.inflated(this.actual);
  }

  private plug(id: string, what: PlugRequest, reply: (r: DeviceReply) => void): void {
    const { hotplug } = this.board;
    if (hotplug === undefined) reply({ error: NO_HOTPLUG });
    else hotplug.add(id, what).then(() => reply({ done: true }), (e: unknown) => reply(refusal(e)));
  }

  private unplug(id: string, reply: (r: DeviceReply) => void): void {
    const { hotplug } = this.board;
    try {
      if (hotplug === undefined) reply({ error: NO_HOTPLUG });
      else {
        hotplug.ask(id);
        reply({ done: true });
      }
    } catch (e) {
      reply(refusal(e));
    }
  }

  private connect(port: number, timeout: number, reply: (r: DeviceReply) => void): void {
    const { vsock } = this.controls;
    if (vsock === null) {
      reply({ error: NO_VSOCK });
      return;
    }
    let id = 0;
    const timer = setTimeout(() => {
      giveUp();
      reply({ error: `vsock: the guest has not answered within ${timeout} ms (port ${port})`, code: 'ERR_TIMEOUT' });
    }, timeout);
    const giveUp = vsock.connect(
      port,
      (client) => {
        const s = this.streams.create(client);
        id = s.id;
        return s.peer;
      },
      (ok) => {
        clearTimeout(timer);
        reply(ok ? { stream: id } : { error: `vsock: the guest refuses connections to port ${port}`, code: 'ERR_REFUSED' });
      },
    );
  }

  private balloon(target: number | null, stats: boolean, reply: (r: DeviceReply) => void): void {
    const { balloon } = this.controls;
    if (balloon === null) {
      reply({ error: 'the machine has no balloon (--device virtio-balloon)' });
      return;
    }
    if (target !== null) balloon.setTarget(target);
    let timer: NodeJS.Timeout | null = null;
    const answer = (): void => {
      if (timer !== null) clearTimeout(timer);
      this.waiting = this.waiting.filter((w) => w !== answer);
      reply({ balloon: { target: balloon.target, actual: balloon.actual, stats: balloon.stats.values } });
    };
    if (!stats || !balloon.askStats()) {
      answer();
      return;
    }
    this.waiting.push(answer);
    timer = setTimeout(answer, PATIENCE_MS);
  }
}

/** @throws what is no refusal. */
function refusal(e: unknown): DeviceReply {
  if (e instanceof VmxError) return { error: e.message, code: e.code };
  throw e;
}
