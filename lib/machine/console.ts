/** The machine's side of screen, keyboard and mouse: draws when asked, and types at a speed that guests can follow. */
import type { Board } from '../boards/board.js';
import type { DeviceClock, DeviceTimer } from '../devices/device.js';
import { ABS_MAX } from '../devices/input/router.js';
import { fromCp437 } from '../display/cp437.js';
import type { Picture } from '../display/png.js';
import { Surface } from '../display/surface.js';
import type { ConsoleReply, ConsoleRequest, InputEvent, ScreenState } from './protocol.js';

/** Guest time between two events of keyboard or mouse, ns. */
const EVENT_NS = 10e6;
/** Between looks at a keyboard whose bytes nobody has taken. */
const RETRY_NS = 2e6;
/** A guest that does not read its keyboard for so long does not stop the typing, ns. */
const PATIENCE_NS = 1e9;

interface Job {
  events: readonly InputEvent[];
  next: number;
  done: () => void;
}

export class MachineConsole {
  private readonly surface = new Surface();
  private readonly jobs: Job[] = [];
  private readonly timer: DeviceTimer;
  private waitedNs = 0;
  /** Where the pointer was put last, in dots and from 0 to ABS_MAX; null if it has only been moved. */
  private at: { x: number; y: number; absX: number; absY: number } | null = null;

  constructor(
    private readonly board: Board,
    clock: DeviceClock,
  ) {
    this.timer = clock.timer((at) => this.step(at));
    this.now = () => clock.now();
  }

  private readonly now: () => number;

  /** The answer comes at once for the screen, when everything has been typed for the keyboard. */
  handle(request: ConsoleRequest, reply: (r: ConsoleReply) => void): void {
    switch (request.kind) {
      case 'picture':
        reply({ kind: 'picture', picture: this.picture() });
        break;
      case 'changes':
        reply(this.changes(request.all));
        break;
      case 'text':
        reply({ kind: 'text', lines: this.lines() });
        break;
      case 'cells':
        reply({ kind: 'cells', cells: this.board.screen?.textScreen() ?? null });
        break;
      case 'input':
        this.jobs.push({ events: request.events, next: 0, done: () => reply({ kind: 'done' }) });
        if (this.timer.deadline === Infinity) this.timer.arm(this.now());
        break;
    }
  }

  /** What the screen shows now, for whoever asks after the end. */
  last(): ScreenState {
    return { picture: this.picture(), lines: this.lines() };
  }

  private picture(): Picture | null {
    const { screen } = this.board;
    if (screen === null) return null;
    screen.render(this.surface);
    return { width: this.surface.width, height: this.surface.height, rgba: this.surface.bytes().slice() };
  }

  private changes(all: boolean): ConsoleReply {
    const { screen } = this.board;
    const s = this.surface;
    if (screen === null) return { kind: 'picture', picture: null };
    screen.render(s);
    const changed = s.takeChanges();
    const rects = all ? [{ x: 0, y: 0, width: s.width, height: s.height }] : changed;
    const areas = rects.map((r) => {
      const words = new Uint32Array(r.width * r.height);
      for (let y = 0; y < r.height; y++) words.set(s.pixels.subarray((r.y + y) * s.width + r.x, (r.y + y) * s.width + r.x + r.width), y * r.width);
      return { ...r, words };
    });
    return { kind: 'changes', width: s.width, height: s.height, absolute: this.board.input.tablet !== null, areas };
  }

  private lines(): string[] | null {
    return this.board.screen === null ? null : this.board.screen.textRows().map(fromCp437);
  }

  private step(at: number): void {
    const job = this.jobs[0];
    if (job === undefined) return;
    if ((this.board.input.keyboard?.waiting ?? 0) > 0 && this.waitedNs < PATIENCE_NS) {
      this.waitedNs += RETRY_NS;
      this.timer.arm(at + RETRY_NS);
      return;
    }
    this.waitedNs = 0;
    const event = job.events[job.next++];
    if (event !== undefined) this.apply(event);
    if (job.next >= job.events.length) {
      this.jobs.shift();
      job.done();
    }
    // Also after the last event: the next request must not follow at once.
    this.timer.arm(at + EVENT_NS);
  }

  private apply(e: InputEvent): void {
    if ('key' in e) {
      this.board.input.keyboard?.key(e.key, e.down);
      return;
    }
    if ('x' in e) {
      this.point(e);
      return;
    }
    this.board.input.pointer?.move(e.dx, e.dy, e.dz);
    this.setButtons(e.buttons);
  }

  /** Buttons are pressed where the pointer is moved. */
  private setButtons(buttons: number): void {
    const { tablet, pointer } = this.board.input;
    if (tablet !== null && this.at !== null) tablet.point(this.at.absX, this.at.absY, buttons, 0);
    else pointer?.setButtons(buttons);
  }

  /** To an absolute device if the guest has one, else the way there from where the pointer was put last, as movement. */
  private point(e: Extract<InputEvent, { x: number }>): void {
    const dot = (v: number, size: number): number => Math.max(0, Math.min(size - 1, e.range ? Math.round((v * (size - 1)) / ABS_MAX) : v));
    const x = dot(e.x, this.width);
    const y = dot(e.y, this.height);
    const to = { x, y, absX: e.range ? e.x : this.scaled(x, this.width), absY: e.range ? e.y : this.scaled(y, this.height) };
    const { tablet, pointer } = this.board.input;
    if (tablet !== null) {
      tablet.point(to.absX, to.absY, e.buttons, e.dz);
    } else {
      const from = this.at ?? to;
      if (to.x !== from.x || to.y !== from.y || e.dz !== 0) pointer?.move(to.x - from.x, to.y - from.y, e.dz);
      pointer?.setButtons(e.buttons);
    }
    this.at = to;
  }

  private scaled(v: number, size: number): number {
    return Math.round((v * ABS_MAX) / Math.max(1, size - 1));
  }

  /** Of the screen in dots; without one, a screen of the usual size is imagined. */
  private get width(): number {
    return this.surface.width || 1024;
  }

  private get height(): number {
    return this.surface.height || 768;
  }
}
