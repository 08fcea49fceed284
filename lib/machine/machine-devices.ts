/** The machine's side of what programs ask of its devices: balloon, sockets. */
import type { BoardControls } from '../boards/controls.js';
import type { DeviceReply, DeviceRequest } from './protocol.js';

/** A guest that does not answer: its last statistics will do, ms. */
const PATIENCE_MS = 2000;

export class MachineDevices {
  /** Who waits for statistics. */
  private waiting: (() => void)[] = [];

  constructor(private readonly controls: BoardControls) {
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
    }
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
