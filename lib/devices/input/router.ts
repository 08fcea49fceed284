/**
 * Where the machine's keyboard and pointer go: of the devices a board has, the one added last whose driver is running. So
 * firmware gets PS/2 and an operating system with a driver for something better gets that.
 */

export interface KeySink {
  /** A driver listens. */
  readonly listening: boolean;
  /** Scan code of set 1, with E000h for the prefix (see Ps2Keyboard). */
  key(code: number, down: boolean): void;
  /** Events or bytes that the guest has not taken. */
  readonly waiting: number;
}

/** Relative movement. Distances in counts: right, down, wheel towards the user; buttons a set of `Button`. */
export interface PointerSink {
  readonly listening: boolean;
  move(dx: number, dy: number, dz?: number): void;
  setButtons(mask: number): void;
}

/** Coordinates of absolute pointers: 0 is the left or upper edge, this the right or lower one. */
export const ABS_MAX = 0x7fff;

export interface AbsoluteSink {
  readonly listening: boolean;
  /** x, y: 0..ABS_MAX; buttons a set of `Button`; dz: wheel clicks towards the user. */
  point(x: number, y: number, buttons: number, dz: number): void;
}

/** A pointer as programs see it. */
export interface PointerInfo {
  name: string;
  /** Events go there. */
  current: boolean;
  absolute: boolean;
}

export class InputRouter {
  private readonly names = new Map<PointerSink | AbsoluteSink, string>();
  private readonly keyboards: KeySink[] = [];
  private readonly pointers: PointerSink[] = [];
  private readonly tablets: AbsoluteSink[] = [];

  addKeyboard(k: KeySink): void {
    this.keyboards.unshift(k);
  }

  addPointer(p: PointerSink, name: string): void {
    this.names.set(p, name);
    this.pointers.unshift(p);
  }

  addTablet(t: AbsoluteSink, name: string): void {
    this.names.set(t, name);
    this.tablets.unshift(t);
  }

  /** Pointers, the one that gets events first; a tablet that a driver runs is preferred, as clients with positions do. */
  get mice(): PointerInfo[] {
    const { tablet, pointer } = this;
    const chosen = tablet ?? pointer;
    const info = (s: PointerSink | AbsoluteSink, absolute: boolean): PointerInfo => ({ name: this.names.get(s)!, current: s === chosen, absolute });
    return [...this.tablets.map((t) => info(t, true)), ...this.pointers.map((p) => info(p, false))].sort((a, b) => Number(b.current) - Number(a.current));
  }

  /** Null: the machine has none. A device nobody listens to gets events only if there is no other. */
  get keyboard(): KeySink | null {
    return this.keyboards.find((k) => k.listening) ?? this.keyboards.at(-1) ?? null;
  }

  get pointer(): PointerSink | null {
    return this.pointers.find((p) => p.listening) ?? this.pointers.at(-1) ?? null;
  }

  /** Null: no absolute device that anybody listens to. */
  get tablet(): AbsoluteSink | null {
    return this.tablets.find((t) => t.listening) ?? null;
  }
}
