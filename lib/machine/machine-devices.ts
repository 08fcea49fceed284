/** The machine's side of what programs ask of its devices: balloon, sockets. */
import type { BoardControls } from '../boards/controls.js';
import type { MachineStreams } from './machine-streams.js';
import type { DeviceReply, DeviceRequest } from './protocol.js';

/** A guest that does not answer: its last statistics will do, ms. */
const PATIENCE_MS = 2000;
const NO_VSOCK = 'the machine has no sockets to the host (--device virtio-vsock)';

export class MachineDevices {
  /** Who waits for statistics. */
  private waiting: (() => void)[] = [];

  /** Ports on which programs listen. */
  private readonly listening = new Set<number>();

  /** @param accepted the guest has connected to a port; its stream. */
  constructor(
    private readonly controls: BoardControls,
    private readonly streams: MachineStreams,
    accepted: (port: number, from: number, id: number) => void,
  ) {
    if (controls.vsock !== null) {
      controls.vsock.onConnection = (port, from, client) => {
        if (!this.listening.has(port)) return null;
        const { id, peer } = streams.create(client);
        accepted(port, from, id);
        return peer;
      };
    }
    controls.onBalloonChange = () => {
      if (controls.balloon?.stats.fresh !== true) return;
      for (const done of this.waiting.splice(0)) done();
    };
  }

  handle(request: DeviceRequest, reply: (r: DeviceReply) => void): void {
    switch (request.kind) {
      case 'balloon':
        this.balloon(request.target, request.stats, reply);
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
