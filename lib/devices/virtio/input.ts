/** Virtio input device (Virtual I/O Device 1.2, 5.8): keyboard, mouse and tablet. */
import type { IoHandler } from '../device.js';
import { ABS_MAX, type AbsoluteSink, type KeySink, type PointerSink } from '../input/router.js';
import { array, bool, int, list, loadState, saveState, type Schema, u16, u32 } from '../saved.js';
import { Abs, ALL_KEYS, BUTTON_KEYS, Ev, keyOfScanCode, Led, Rel } from './input-codes.js';
import { Chain } from './queue.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';

const EVENTS = 0;
const STATUS = 1;
/** struct virtio_input_event: type, code, value. */
const EVENT_BYTES = 8;
/** struct virtio_input_config: select, subsel, size, reserved; then up to 128 bytes. */
const HEADER = 8;
const CONFIG_BYTES = 128;
/** Values of select (5.8.2). */
const enum Cfg { ID_NAME = 1, ID_SERIAL = 2, ID_DEVIDS = 3, PROP_BITS = 0x10, EV_BITS = 0x11, ABS_INFO = 0x12 }
const BUS_VIRTUAL = 6;
/** Vendor ID of the driver's table of virtual devices: that of Red Hat, which the PCI functions have, too. */
const VENDOR = 0x1af4;
const PROP_POINTER = 0;
/** Events kept while the driver has no buffers; a group that does not fit is dropped whole (5.8.6.2). */
const MAX_WAITING = 512;

interface Event {
  type: number;
  code: number;
  value: number;
}

interface State {
  select: number;
  subsel: number;
  waiting: Event[];
  /** Lamps of the keyboard as the driver has set them: bits of Led. */
  leds: number;
  buttons: number;
  running: boolean;
  /** Where an absolute pointer is. */
  at: number[];
}

const event: Schema<Event> = { type: u16, code: u16, value: u32 };
const SCHEMA: Schema<State> = {
  select: int(0, 255),
  subsel: int(0, 255),
  waiting: list(MAX_WAITING, { save: (v) => saveState(event, 1, v), load: (raw, at) => loadState(at, event, 1, raw as ReturnType<typeof saveState>) }),
  leds: int(0, 7),
  buttons: int(0, 31),
  running: bool,
  at: array(2, int(-1, ABS_MAX)),
};
const VERSION = 1;

const initial = (): State => ({ select: 0, subsel: 0, waiting: [], leds: 0, buttons: 0, running: false, at: [-1, -1] });

function bitmap(bits: readonly number[]): Uint8Array {
  const out = new Uint8Array(bits.length === 0 ? 0 : (Math.max(...bits) >> 3) + 1);
  for (const b of bits) out[b >> 3]! |= 1 << (b & 7);
  return out;
}

/** What a kind of device tells its driver. */
interface Kind {
  name: string;
  product: number;
  pciClass: number;
  props: readonly number[];
  /** Codes by event type. */
  codes: Readonly<Partial<Record<Ev, readonly number[]>>>;
}

const KEYBOARD: Kind = {
  name: 'virtio keyboard', product: 1, pciClass: 0x0900, props: [],
  codes: { [Ev.KEY]: ALL_KEYS, [Ev.LED]: [Led.NUM_LOCK, Led.CAPS_LOCK, Led.SCROLL_LOCK], [Ev.REP]: [0, 1] },
};
const MOUSE: Kind = { name: 'virtio mouse', product: 2, pciClass: 0x0902, props: [], codes: { [Ev.KEY]: BUTTON_KEYS, [Ev.REL]: [Rel.X, Rel.Y, Rel.WHEEL] } };
const TABLET: Kind = { name: 'virtio tablet', product: 3, pciClass: 0x0980, props: [PROP_POINTER], codes: { [Ev.KEY]: BUTTON_KEYS, [Ev.REL]: [Rel.WHEEL], [Ev.ABS]: [Abs.X, Abs.Y] } };

abstract class VirtioInput implements VirtioDevice {
  readonly type = 18;
  readonly queues = 2;
  readonly pciClass: number;
  readonly features = 0;
  readonly config: IoHandler = { read: (o, size) => this.configRead(o, size), write: (o, size, v) => this.configWrite(o, size, v) };
  protected s = initial();
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly bytes = new Uint8Array(EVENT_BYTES);
  private readonly view = new DataView(this.bytes.buffer);

  constructor(private readonly kind: Kind) {
    this.pciClass = kind.pciClass;
  }

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(): void {
    this.s.running = true;
    this.deliver();
  }

  get listening(): boolean {
    return this.s.running;
  }

  get waiting(): number {
    return this.s.waiting.length;
  }

  /** Reports events that belong together. */
  protected report(...group: Event[]): void {
    const { s } = this;
    if (!s.running || s.waiting.length + group.length + 1 > MAX_WAITING) return;
    s.waiting.push(...group, { type: Ev.SYN, code: 0, value: 0 });
    this.deliver();
  }

  /** One event in each buffer of the driver (5.8.6.2). */
  private deliver(): void {
    const t = this.t!;
    const vq = t.queue[EVENTS]!;
    const { waiting } = this.s;
    for (let n = 0; n < vq.size && waiting.length > 0 && vq.pop(this.chain); n++) {
      const e = waiting.shift()!;
      this.view.setUint16(0, e.type, true);
      this.view.setUint16(2, e.code, true);
      this.view.setUint32(4, e.value, true);
      vq.push(this.chain.head, Math.max(0, this.chain.writeFrom(t.mem, this.bytes)));
    }
    t.signal(EVENTS);
  }

  notify(q: number): void {
    if (q === EVENTS) {
      this.deliver();
      return;
    }
    const t = this.t!;
    const vq = t.queue[STATUS]!;
    for (let n = 0; n < vq.size && vq.pop(this.chain); n++) {
      for (let at = 0; at < Math.min(this.chain.readBytes, EVENT_BYTES * 64); at += EVENT_BYTES) {
        if (this.chain.readInto(t.mem, this.bytes, at) !== EVENT_BYTES) break;
        const code = this.view.getUint16(2, true);
        if (this.view.getUint16(0, true) !== (Ev.LED as number) || code > (Led.SCROLL_LOCK as number)) continue;
        this.s.leds = this.view.getUint32(4, true) === 0 ? this.s.leds & ~(1 << code) : this.s.leds | (1 << code);
      }
      vq.push(this.chain.head, 0);
    }
    t.signal(STATUS);
  }

  // ---- configuration (5.8.4) ----

  private selected(): Uint8Array {
    const { select, subsel } = this.s;
    switch (select) {
      case Cfg.ID_NAME:
        return subsel === 0 ? Buffer.from(this.kind.name) : bitmap([]);
      case Cfg.ID_SERIAL:
        return subsel === 0 ? Buffer.from('1') : bitmap([]);
      case Cfg.ID_DEVIDS: {
        const ids = new DataView(new ArrayBuffer(8));
        [BUS_VIRTUAL, VENDOR, this.kind.product, 1].forEach((v, i) => ids.setUint16(i * 2, v, true));
        return new Uint8Array(ids.buffer);
      }
      case Cfg.PROP_BITS:
        return bitmap(this.kind.props);
      case Cfg.EV_BITS:
        return bitmap(this.kind.codes[subsel as Ev] ?? []);
      case Cfg.ABS_INFO: {
        if (!(this.kind.codes[Ev.ABS] ?? []).includes(subsel)) return bitmap([]);
        // Minimum, maximum, fuzz, flat, resolution.
        const info = new DataView(new ArrayBuffer(20));
        info.setUint32(4, ABS_MAX, true);
        return new Uint8Array(info.buffer);
      }
      default:
        return bitmap([]);
    }
  }

  private configByte(o: number): number {
    if (o === 0) return this.s.select;
    if (o === 1) return this.s.subsel;
    if (o === 2) return this.selected().length;
    return o < HEADER || o >= HEADER + CONFIG_BYTES ? 0 : (this.selected()[o - HEADER] ?? 0);
  }

  private configRead(o: number, size: number): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.configByte(o + i);
    return v;
  }

  private configWrite(o: number, size: number, v: number): void {
    for (let i = 0; i < size; i++) {
      const b = (v >>> (8 * i)) & 0xff;
      if (o + i === 0) this.s.select = b;
      else if (o + i === 1) this.s.subsel = b;
    }
  }

  reset(): void {
    this.s = initial();
  }

  save(): Record<string, unknown> {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(s: Record<string, unknown>): void {
    this.s = loadState(this.kind.name, SCHEMA, VERSION, s as ReturnType<typeof saveState>);
  }

  /** Events for the buttons that are now others. */
  protected buttonEvents(mask: number): Event[] {
    const changed = (mask ^ this.s.buttons) & 31;
    this.s.buttons = mask & 31;
    return BUTTON_KEYS.flatMap((code, i) => (changed & (1 << i) ? [{ type: Ev.KEY, code, value: (mask >>> i) & 1 }] : []));
  }
}

export class VirtioKeyboard extends VirtioInput implements KeySink {
  constructor() {
    super(KEYBOARD);
  }

  key(code: number, down: boolean): void {
    const key = keyOfScanCode(code);
    if (key !== 0) this.report({ type: Ev.KEY, code: key, value: down ? 1 : 0 });
  }

  /** Lamps that the guest has switched on: bits of Led. */
  get leds(): number {
    return this.s.leds;
  }
}

const rel = (code: Rel, v: number): Event[] => (Math.trunc(v) === 0 ? [] : [{ type: Ev.REL, code, value: Math.trunc(v) >>> 0 }]);

export class VirtioMouse extends VirtioInput implements PointerSink {
  constructor() {
    super(MOUSE);
  }

  move(dx: number, dy: number, dz = 0): void {
    // The wheel of the input layer counts away from the user.
    const group = [...rel(Rel.X, dx), ...rel(Rel.Y, dy), ...rel(Rel.WHEEL, -dz)];
    if (group.length > 0) this.report(...group);
  }

  setButtons(mask: number): void {
    const group = this.buttonEvents(mask);
    if (group.length > 0) this.report(...group);
  }
}

export class VirtioTablet extends VirtioInput implements AbsoluteSink {
  constructor() {
    super(TABLET);
  }

  point(x: number, y: number, buttons: number, dz: number): void {
    const group = [...this.axis(Abs.X, x), ...this.axis(Abs.Y, y), ...this.buttonEvents(buttons), ...rel(Rel.WHEEL, -dz)];
    if (group.length > 0) this.report(...group);
  }

  private axis(code: Abs, v: number): Event[] {
    const to = Math.max(0, Math.min(ABS_MAX, Math.round(v)));
    if (this.s.at[code] === to) return [];
    this.s.at[code] = to;
    return [{ type: Ev.ABS, code, value: to }];
  }
}
