/** The caller's side of screen, keyboard and mouse. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { TextScreen } from '../devices/display/vga-render.js';
import { encodePng, type Picture } from '../display/png.js';
import { UsageError, VmxError } from '../errors.js';
import { chord, keyCode, typing } from './keys.js';
import { ScreenFeed, type ScreenWatcher } from './screen-feed.js';
import type { ConsoleRequest, InputEvent, ScreenChanges, ScreenState } from './protocol.js';

/** How the machine is asked. After its end the answers are about how it ended. */
export interface ConsoleLink {
  /** Null: there is no display, or the machine has ended. */
  changes(all: boolean): Promise<ScreenChanges | null>;
  screen(request: Extract<ConsoleRequest, { kind: 'picture' | 'text' }>): Promise<ScreenState>;
  /** Null: not a text mode, no display, or the end. */
  cells(): Promise<TextScreen | null>;
  input(events: InputEvent[]): Promise<void>;
  /** The machine has ended: nothing on the screen will change. */
  isOver(): boolean;
}

export interface WaitOptions {
  /** ms; default 30000. */
  timeout?: number;
  signal?: AbortSignal;
}

const POLL_MS = 50;
const DEFAULT_TIMEOUT_MS = 30_000;

export class Screen {
  private readonly feed: ScreenFeed;

  constructor(private readonly link: ConsoleLink) {
    this.feed = new ScreenFeed((all) => link.changes(all));
  }

  /** Calls `watcher` with what changes, from now on; at first with everything. @returns the function that ends it. */
  watch(watcher: ScreenWatcher): () => void {
    return this.feed.watch(watcher);
  }

  /** The picture, RGBA. @throws VmxError ERR_NO_DISPLAY */
  async picture(): Promise<Picture> {
    const { picture } = await this.link.screen({ kind: 'picture' });
    return picture ?? noDisplay();
  }

  /** The picture as a PNG file. @throws VmxError ERR_NO_DISPLAY */
  async png(): Promise<Buffer> {
    return encodePng(await this.picture());
  }

  /** A text screen with attributes and cursor; null in graphics modes and without a display. */
  cells(): Promise<TextScreen | null> {
    return this.link.cells();
  }

  /** A text screen's lines, without spaces at their ends; '' in graphics modes. @throws VmxError ERR_NO_DISPLAY */
  async text(): Promise<string> {
    const { lines } = await this.link.screen({ kind: 'text' });
    return (lines ?? noDisplay()).map((l) => l.trimEnd()).join('\n').trimEnd();
  }

  /**
   * Resolves with the screen's text once it contains `what`.
   * @throws VmxError ERR_TIMEOUT (with what the screen shows), ERR_STATE if the machine ends before; the signal's reason.
   */
  async waitForText(what: RegExp | string, o: WaitOptions = {}): Promise<string> {
    const timeout = o.timeout ?? DEFAULT_TIMEOUT_MS;
    const until = Date.now() + timeout;
    for (;;) {
      o.signal?.throwIfAborted();
      const over = this.link.isOver();
      const text = await this.text();
      // A sticky or global expression must not go on from its last match.
      if (typeof what === 'string' ? text.includes(what) : text.search(what) >= 0) return text;
      if (over) throw new VmxError('ERR_STATE', `the machine ended before the screen showed ${String(what)}; it shows:\n${text}`);
      if (Date.now() >= until) throw new VmxError('ERR_TIMEOUT', `the screen has not shown ${String(what)} within ${timeout} ms; it shows:\n${text}`);
      await sleep(POLL_MS, undefined, { signal: o.signal }).catch(() => o.signal?.throwIfAborted());
    }
  }
}

function noDisplay(): never {
  throw new VmxError('ERR_NO_DISPLAY', "the machine has no display (vga: 'std')");
}

export class Keyboard {
  constructor(private readonly link: ConsoleLink) {}

  /** Types text on a US keyboard, '\n' as Enter. Resolves when the last key is up. @throws UsageError for characters it lacks. */
  async type(text: string): Promise<void> {
    await this.link.input(typing(text));
  }

  /** Presses keys together: 'a', 'ret', 'ctrl-alt-del'. @throws UsageError for unknown keys. */
  async press(keys: string): Promise<void> {
    await this.link.input(chord(keys));
  }

  /** One key goes down and stays there. */
  async down(key: string): Promise<void> {
    await this.link.input([{ key: keyCode(key), down: true }]);
  }

  async up(key: string): Promise<void> {
    await this.link.input([{ key: keyCode(key), down: false }]);
  }
}

const BUTTONS = { left: 1, right: 2, middle: 4, side: 8, extra: 16 } as const;
export type MouseButton = keyof typeof BUTTONS;

const AXIS_MAX = 0x7fff;

export class Mouse {
  private buttons = 0;
  private readonly axes = { x: 0, y: 0 };

  constructor(private readonly link: ConsoleLink) {}

  /**
   * Puts the pointer at (x, y), in dots of the screen. Guests with a tablet (virtio-tablet, VMware's pointer) have it there exactly;
   * a mouse is moved by the way from where it was put last.
   */
  async moveTo(x: number, y: number, wheel = 0): Promise<void> {
    for (const v of [x, y, wheel]) if (!Number.isFinite(v)) throw new UsageError(`mouse: ${v} is not a place`);
    await this.link.input([{ x, y, range: false, dz: wheel, buttons: this.buttons }]);
  }

  /** One coordinate, as a part of the screen's width or height: 0..32767. The other stays as this function set it last. */
  async setAxis(axis: 'x' | 'y', value: number): Promise<void> {
    if (!(value >= 0 && value <= AXIS_MAX)) throw new UsageError(`mouse: ${value} is not a number from 0 to ${AXIS_MAX}`);
    this.axes[axis] = value;
    await this.link.input([{ ...this.axes, range: true, dz: 0, buttons: this.buttons }]);
  }

  /** Moves by counts: right, down, wheel towards the user. */
  async move(dx: number, dy: number, wheel = 0): Promise<void> {
    for (const v of [dx, dy, wheel]) if (!Number.isFinite(v)) throw new UsageError(`mouse: ${v} is not a distance`);
    await this.link.input([{ dx, dy, dz: wheel, buttons: this.buttons }]);
  }

  async click(button: MouseButton = 'left'): Promise<void> {
    await this.down(button);
    await this.up(button);
  }

  async down(button: MouseButton = 'left'): Promise<void> {
    this.buttons |= BUTTONS[button];
    await this.move(0, 0);
  }

  async up(button: MouseButton = 'left'): Promise<void> {
    this.buttons &= ~BUTTONS[button];
    await this.move(0, 0);
  }
}
