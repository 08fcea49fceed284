/**
 * USB human interface devices (HID 1.11; HID Usage Tables 1.12): boot keyboard, mouse with wheel, tablet with absolute positions. Reports wait in
 * a queue until the host polls.
 */
import { ABS_MAX, type AbsoluteSink, type KeySink, type PointerSink } from '../input/router.js';
import type { SavedState } from '../device.js';
import { bytes, int, list, loadState, saveState, type Schema, u8 } from '../saved.js';
import { hidUsage } from './hid-usages.js';
import { Desc, EndpointType, Req, ReqType, type Setup, UsbClass } from './usb.spec.js';
import { copy, NAK, STALL, UsbDevice } from './usb-device.js';

const VERSION = 2;
/** HID 1.11, 7.2. */
const enum Hid { GET_REPORT = 1, GET_IDLE = 2, GET_PROTOCOL = 3, SET_REPORT = 9, SET_IDLE = 10, SET_PROTOCOL = 11 }
const enum Protocol { BOOT = 0, REPORT = 1 }
/** bInterval at high speed: 2^(7-1) microframes are 8 ms. */
const INTERVAL = 7;
const IN = 0x81;
/** Reports that the host has not fetched; the newest ones are lost beyond that. */
const MAX_WAITING = 64;
/** 0627h: Adomax Technology, the vendor that guests know virtual input devices by. */
const VENDOR = 0x0627;
const REPORT_BYTES = 8;

interface State {
  protocol: Protocol;
  idle: number;
  leds: number;
  buttons: number;
  /** Keys that are down: usages, in the order they were pressed. */
  down: number[];
  waiting: Uint8Array[];
  last: Uint8Array;
}

const SCHEMA: Schema<State> = { protocol: int(0, 1), idle: u8, leds: u8, buttons: u8, down: list(256, u8), waiting: list(MAX_WAITING, bytes(REPORT_BYTES)), last: bytes(REPORT_BYTES) };
const initial = (): State => ({ protocol: Protocol.REPORT, idle: 0, leds: 0, buttons: 0, down: [], waiting: [], last: new Uint8Array(REPORT_BYTES) });

interface Kind {
  name: string;
  product: number;
  /** 1 and 1 or 2: a keyboard or mouse that firmware understands without reading the report descriptor. */
  subclass: number;
  protocol: number;
  report: readonly number[];
  /** Bytes of a report. */
  bytes: number;
}

abstract class UsbHid extends UsbDevice {
  protected s = initial();

  constructor(
    private readonly kind: Kind,
    serial: string,
  ) {
    super({
      vendor: VENDOR, product: kind.product, manufacturer: 'VMX', name: kind.name, serial, interfaceClass: UsbClass.HID, subclass: kind.subclass, protocol: kind.protocol,
      endpoints: [{ address: IN, type: EndpointType.INTERRUPT, maxPacket: REPORT_BYTES, interval: INTERVAL }],
      // HID 1.11, one report descriptor.
      extra: Uint8Array.from([9, Desc.HID, 0x11, 1, 0, 1, Desc.REPORT, kind.report.length & 0xff, kind.report.length >>> 8]),
    });
  }

  get listening(): boolean {
    return this.configured;
  }

  get waiting(): number {
    return this.s.waiting.length;
  }

  protected report(data: readonly number[]): void {
    const { s } = this;
    s.last = Uint8Array.from({ length: REPORT_BYTES }, (_, i) => data[i] ?? 0);
    if (!this.configured || s.waiting.length >= MAX_WAITING) return;
    s.waiting.push(s.last);
    this.onReady(IN);
  }

  protected send(_ep: number, dst: Uint8Array): number {
    const r = this.s.waiting.shift();
    return r === undefined ? NAK : copy(r.subarray(0, this.size()), dst);
  }

  /** Bytes of a report in the protocol that the host has chosen. */
  private size(): number {
    return this.s.protocol === Protocol.BOOT && this.kind.protocol === BOOT_MOUSE ? BOOT_MOUSE_BYTES : this.kind.bytes;
  }

  protected receive(): number {
    return STALL;
  }

  protected request(setup: Setup, data: Uint8Array): number {
    const { s } = this;
    const kind = setup.bmRequestType & ReqType.TYPE;
    if (kind === ReqType.STANDARD) {
      return setup.bRequest === Req.GET_DESCRIPTOR && setup.wValue >>> 8 === Desc.REPORT ? copy(Uint8Array.from(this.kind.report), data) : STALL;
    }
    if (kind !== ReqType.CLASS) return STALL;
    switch (setup.bRequest as Hid) {
      case Hid.GET_REPORT:
        return copy(s.last.subarray(0, this.size()), data);
      case Hid.GET_IDLE:
        return copy(Uint8Array.of(s.idle), data);
      case Hid.GET_PROTOCOL:
        return copy(Uint8Array.of(s.protocol), data);
      case Hid.SET_REPORT:
        s.leds = data[0] ?? 0;
        return 0;
      case Hid.SET_IDLE:
        s.idle = setup.wValue >>> 8;
        return 0;
      case Hid.SET_PROTOCOL:
        s.protocol = setup.wValue & 1;
        return 0;
      default:
        return STALL;
    }
  }

  protected resetFunction(): void {
    // Fingers stay where they are.
    this.s = { ...initial(), down: this.s.down };
  }

  override save(): Record<string, unknown> {
    return { ...super.save(), hid: saveState(SCHEMA, VERSION, this.s) };
  }

  override check(saved: Record<string, unknown>): () => void {
    const take = super.check(saved);
    const s = loadState(this.name, SCHEMA, VERSION, saved.hid as SavedState);
    return () => {
      take();
      this.s = s;
    };
  }
}

// Items of report descriptors (HID 1.11, 6.2.2): usage page, usage, collection, logical and physical range, size, count, input and output.
const KEYBOARD_REPORT = [
  0x05, 1, 0x09, 6, 0xa1, 1, 0x05, 7, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0, 0x25, 1, 0x75, 1, 0x95, 8, 0x81, 2, 0x95, 1, 0x75, 8, 0x81, 1, 0x95, 5, 0x75, 1, 0x05, 8, 0x19, 1, 0x29, 5,
  0x91, 2, 0x95, 1, 0x75, 3, 0x91, 1, 0x95, 6, 0x75, 8, 0x15, 0, 0x26, 0xff, 0, 0x05, 7, 0x19, 0, 0x2a, 0xff, 0, 0x81, 0, 0xc0,
];
const BUTTONS = [0x05, 9, 0x19, 1, 0x29, 5, 0x15, 0, 0x25, 1, 0x95, 5, 0x75, 1, 0x81, 2, 0x95, 1, 0x75, 3, 0x81, 1];
const WHEEL = [0x05, 1, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x75, 8, 0x95, 1, 0x81, 6];
const MOUSE_REPORT = [0x05, 1, 0x09, 2, 0xa1, 1, 0x09, 1, 0xa1, 0, ...BUTTONS, 0x05, 1, 0x09, 0x30, 0x09, 0x31, 0x15, 0x81, 0x25, 0x7f, 0x75, 8, 0x95, 2, 0x81, 6, ...WHEEL, 0xc0, 0xc0];
const TABLET_REPORT = [
  0x05, 1, 0x09, 2, 0xa1, 1, 0x09, 1, 0xa1, 0, ...BUTTONS, 0x05, 1, 0x09, 0x30, 0x09, 0x31, 0x15, 0, 0x26, 0xff, 0x7f, 0x35, 0, 0x46, 0xff, 0x7f, 0x75, 16, 0x95, 2, 0x81, 2,
  ...WHEEL, 0xc0, 0xc0,
];
const BOOT_MOUSE = 2;
const BOOT_MOUSE_BYTES = 3;
const KEYBOARD: Kind = { name: 'USB keyboard', product: 1, subclass: 1, protocol: 1, report: KEYBOARD_REPORT, bytes: 8 };
const MOUSE: Kind = { name: 'USB mouse', product: 2, subclass: 1, protocol: BOOT_MOUSE, report: MOUSE_REPORT, bytes: 4 };
const TABLET: Kind = { name: 'USB tablet', product: 3, subclass: 0, protocol: 0, report: TABLET_REPORT, bytes: 6 };

/** Modifier keys: usages E0h to E7h. */
const FIRST_MODIFIER = 0xe0;
const MOST_KEYS = 6;
const ROLL_OVER = 1;

export class UsbKeyboard extends UsbHid implements KeySink {
  constructor(serial = '1') {
    super(KEYBOARD, serial);
  }

  key(code: number, down: boolean): void {
    const usage = hidUsage(code);
    if (usage === 0) return;
    const held = this.s.down;
    const at = held.indexOf(usage);
    if (down && at < 0) held.push(usage);
    else if (!down && at >= 0) held.splice(at, 1);
    let modifiers = 0;
    const keys: number[] = [];
    for (const u of held) {
      if (u >= FIRST_MODIFIER) modifiers |= 1 << (u - FIRST_MODIFIER);
      else keys.push(u);
    }
    // More keys than fit: the report says so (HID 1.11, appendix C).
    this.report([modifiers, 0, ...(keys.length > MOST_KEYS ? new Array<number>(MOST_KEYS).fill(ROLL_OVER) : keys)]);
  }

  /** Lamps that the guest has switched on: Num Lock, Caps Lock, Scroll Lock from bit 0. */
  get leds(): number {
    return this.s.leds & 7;
  }
}

const clamp = (v: number): number => Math.max(-127, Math.min(127, Math.trunc(v)));

export class UsbMouse extends UsbHid implements PointerSink {
  constructor(serial = '1') {
    super(MOUSE, serial);
  }

  move(dx: number, dy: number, dz = 0): void {
    // Longer ways than a report holds go in several.
    let [x, y, z] = [Math.trunc(dx), Math.trunc(dy), Math.trunc(dz)];
    for (let n = 0; n < MAX_WAITING && (x !== 0 || y !== 0 || z !== 0); n++) {
      const [sx, sy, sz] = [clamp(x), clamp(y), clamp(z)];
      // The wheel counts away from the user.
      this.report([this.s.buttons, sx & 0xff, sy & 0xff, -sz & 0xff]);
      [x, y, z] = [x - sx, y - sy, z - sz];
    }
  }

  setButtons(mask: number): void {
    if ((mask & 31) === this.s.buttons) return;
    this.s.buttons = mask & 31;
    this.report([this.s.buttons, 0, 0, 0]);
  }
}

export class UsbTablet extends UsbHid implements AbsoluteSink {
  constructor(serial = '1') {
    super(TABLET, serial);
  }

  point(x: number, y: number, buttons: number, dz: number): void {
    const [px, py] = [x, y].map((v) => Math.max(0, Math.min(ABS_MAX, Math.round(v)))) as [number, number];
    this.s.buttons = buttons & 31;
    this.report([this.s.buttons, px & 0xff, px >>> 8, py & 0xff, py >>> 8, -clamp(dz) & 0xff]);
  }
}
