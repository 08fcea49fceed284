/**
 * IBM enhanced keyboard with 101 to 104 keys (IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and
 * 102-Key)"): scan code sets 1, 2 and 3, typematic repeat, LEDs.
 *
 * Keys are named by their set 1 make code; those with an E0h prefix have E000h added (right Ctrl: E01Dh). Pause is E11Dh,
 * Print Screen E037h.
 */
import type { DeviceClock, DeviceTimer, SavedState } from '../device.js';
import { array, bool, bytes, int, list, loadState, saveState, time, u16, u8, type Schema } from '../saved.js';
import { set2ToSet1 } from './i8042.js';
import { Ps2, type Ps2Device } from './ps2.js';
import type { KeySink } from './router.js';

const VERSION = 1;
/** Bytes of keystrokes kept; a real keyboard has room for 16. */
const QUEUE_SIZE = 64;
export const KEY_PAUSE = 0xe11d;
export const KEY_PRINT = 0xe037;

const enum Cmd {
  SET_LEDS = 0xed,
  ECHO = 0xee,
  SCAN_SET = 0xf0,
  IDENTIFY = 0xf2,
  TYPEMATIC = 0xf3,
  ENABLE = 0xf4,
  DISABLE = 0xf5,
  DEFAULTS = 0xf6,
  ALL_TYPEMATIC = 0xf7,
  ALL_MAKE_BREAK = 0xf8,
  ALL_MAKE = 0xf9,
  ALL_TYPEMATIC_MAKE_BREAK = 0xfa,
  KEY_TYPEMATIC = 0xfb,
  KEY_MAKE_BREAK = 0xfc,
  KEY_MAKE = 0xfd,
  RESEND = 0xfe,
  RESET = 0xff,
}

/** Set 3 key types. */
const enum KeyType {
  TYPEMATIC_MAKE_BREAK = 0,
  TYPEMATIC = 1,
  MAKE_BREAK = 2,
  MAKE = 3,
}

/** 500 ms, 10.9 characters a second. */
const TYPEMATIC_DEFAULT = 0x2b;

/** Set 2 codes by set 1 code: the inverse of the controller's translation. The first code of a pair wins. */
const SET2 = new Uint8Array(128);
for (let code = 0x84; code > 0; code--) {
  const one = set2ToSet1(code);
  if (one < 128) SET2[one] = code;
}
// Two codes translate to F7 and SysRq each; the keyboard sends these.
SET2[0x41] = 0x83;
SET2[0x54] = 0x84;

/** Set 3 codes by set 1 code, 00h to 58h. */
// prettier-ignore
const SET3 = Uint8Array.of(
  0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
  0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11, 0x1c, 0x1b,
  0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5c, 0x1a, 0x22, 0x21, 0x2a,
  0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, 0x19, 0x29, 0x14, 0x07, 0x0f, 0x17, 0x1f, 0x27,
  0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, 0x75, 0x7d, 0x84, 0x6b, 0x73, 0x74, 0x7c, 0x69,
  0x72, 0x7a, 0x70, 0x71, 0x57, 0x00, 0x13, 0x56, 0x5e,
);
const SET3_EXTENDED: ReadonlyMap<number, number> = new Map([
  [0xe01c, 0x79], [0xe01d, 0x58], [0xe035, 0x77], [0xe038, 0x39], [0xe047, 0x6e], [0xe048, 0x63], [0xe049, 0x6f],
  [0xe04b, 0x61], [0xe04d, 0x6a], [0xe04f, 0x65], [0xe050, 0x60], [0xe051, 0x6d], [0xe052, 0x67], [0xe053, 0x64],
  [0xe05b, 0x8b], [0xe05c, 0x8c], [0xe05d, 0x8d], [KEY_PRINT, 0x57], [KEY_PAUSE, 0x62],
]);

interface State {
  queue: number[];
  /** Replies to commands go before keystrokes. */
  replies: number[];
  enabled: boolean;
  set: number;
  leds: number;
  typematic: number;
  /** The command that waits for its parameter; 0: none. */
  pending: number;
  lastSent: number;
  /** Types of keys in set 3. */
  types: Uint8Array;
  /** Key that repeats; 0: none. */
  repeat: number;
  repeatAt: number;
  /** Keys held down, as a bit per set 1 code: 0..127 plain, 128..255 extended. */
  down: number[];
}

const SCHEMA: Schema<State> = {
  queue: list(QUEUE_SIZE, u8),
  replies: list(16, u8),
  enabled: bool,
  set: int(1, 3),
  leds: int(0, 7),
  typematic: int(0, 127),
  pending: u8,
  lastSent: u8,
  types: bytes(256),
  repeat: u16,
  repeatAt: time,
  down: array(256, int(0, 1)),
};

function initial(): State {
  return {
    queue: [],
    replies: [],
    enabled: true,
    set: 2,
    leds: 0,
    typematic: TYPEMATIC_DEFAULT,
    pending: 0,
    lastSent: 0,
    types: new Uint8Array(256),
    repeat: 0,
    repeatAt: -1,
    down: new Array<number>(256).fill(0),
  };
}

export interface Ps2KeyboardOptions {
  clock: DeviceClock;
  /** Scroll lock 1, num lock 2, caps lock 4. */
  onLeds?: (leds: number) => void;
  /** Repeat held keys. Off if the source of the keys repeats them itself. Default true. */
  typematic?: boolean;
}

export class Ps2Keyboard implements Ps2Device, KeySink {
  readonly name = 'ps2-keyboard';
  readonly listening = true;
  onData: () => void = () => {};

  private readonly timer: DeviceTimer;
  private s = initial();

  constructor(private readonly o: Ps2KeyboardOptions) {
    this.timer = o.clock.timer((at) => this.repeatKey(at));
  }

  reset(): void {
    this.s = initial();
    this.timer.disarm();
    this.o.onLeds?.(0);
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
    this.timer.arm(this.s.repeatAt < 0 ? Infinity : this.s.repeatAt);
    this.o.onLeds?.(this.s.leds);
  }

  /** A key went down or up. */
  key(code: number, down: boolean): void {
    const s = this.s;
    const known = this.makeCode(code) > 0;
    if (!known) return;
    const slot = (code & 0x7f) | (code > 0xff ? 0x80 : 0);
    const held = s.down[slot] !== 0;
    if (!down && !held) return;
    if (down && held && this.o.typematic !== false) return;
    s.down[slot] = down ? 1 : 0;
    if (!s.enabled) return;
    this.emit(code, down);
    if (this.o.typematic !== false) {
      if (down && code !== KEY_PAUSE) this.startRepeat(code);
      else if (!down && s.repeat === code) this.stopRepeat();
    }
    this.onData();
  }

  /** Bytes of keystrokes and replies that the controller has not taken. */
  get waiting(): number {
    return this.s.queue.length + this.s.replies.length;
  }

  take(): number {
    const s = this.s;
    const v = s.replies.length > 0 ? s.replies.shift()! : s.pending === 0 && s.queue.length > 0 ? s.queue.shift()! : -1;
    if (v >= 0) s.lastSent = v;
    return v;
  }

  // ---- scan codes ----

  /** Code in the present set without prefix and break marks; 0 for a key this keyboard does not have. */
  private makeCode(code: number): number {
    if (code === KEY_PAUSE) return this.s.set === 3 ? 0x62 : 0x1d;
    if (this.s.set === 3) return (code < 0x100 ? SET3[code] : SET3_EXTENDED.get(code)) ?? 0;
    const low = code & 0xff;
    if (low === 0 || low > 0x7f || (code > 0xff && code >> 8 !== 0xe0)) return 0;
    return this.s.set === 1 ? low : SET2[low];
  }

  private emit(code: number, down: boolean): void {
    const s = this.s;
    const c = this.makeCode(code);
    if (s.set === 3) {
      const type = s.types[c] as KeyType;
      if (down) this.queue(c);
      else if (type === KeyType.MAKE_BREAK || type === KeyType.TYPEMATIC_MAKE_BREAK) this.queue(0xf0, c);
      return;
    }
    if (code === KEY_PAUSE) {
      // Make and break come together; the key never repeats.
      if (!down) return;
      if (s.set === 1) this.queue(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
      else this.queue(0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77);
      return;
    }
    if (code === KEY_PRINT) {
      // Comes with a shift around it, from the days when it was the keypad's asterisk.
      if (s.set === 1) this.queue(...(down ? [0xe0, 0x2a, 0xe0, 0x37] : [0xe0, 0xb7, 0xe0, 0xaa]));
      else this.queue(...(down ? [0xe0, 0x12, 0xe0, 0x7c] : [0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12]));
      return;
    }
    const prefix = code > 0xff ? [0xe0] : [];
    if (s.set === 1) this.queue(...prefix, down ? c : c | 0x80);
    else if (down) this.queue(...prefix, c);
    else this.queue(...prefix, 0xf0, c);
  }

  /** Whole sequences or none: half a break code would leave a key stuck. */
  private queue(...codes: number[]): void {
    if (this.s.queue.length + codes.length <= QUEUE_SIZE) this.s.queue.push(...codes);
  }

  // ---- typematic ----

  private startRepeat(code: number): void {
    const s = this.s;
    if (s.set === 3 && s.types[this.makeCode(code)] >= KeyType.MAKE_BREAK) return;
    s.repeat = code;
    s.repeatAt = this.o.clock.now() + (((s.typematic >> 5) & 3) + 1) * 250e6;
    this.timer.arm(s.repeatAt);
  }

  private stopRepeat(): void {
    this.s.repeat = 0;
    this.s.repeatAt = -1;
    this.timer.disarm();
  }

  private repeatKey(at: number): void {
    const s = this.s;
    if (s.repeat === 0 || !s.enabled) {
      this.stopRepeat();
      return;
    }
    // A guest that does not keep up is not buried in repeats.
    if (s.queue.length === 0) this.emit(s.repeat, true);
    const r = s.typematic & 31;
    const period = Math.round((8 + (r & 7)) * (1 << (r >> 3)) * 4.17e6);
    s.repeatAt = Math.max(at, this.o.clock.now() - period) + period;
    this.timer.arm(s.repeatAt);
    this.onData();
  }

  // ---- commands ----

  private reply(v: number): void {
    if (this.s.replies.length < 16) this.s.replies.push(v);
  }

  private defaults(): void {
    const s = this.s;
    s.typematic = TYPEMATIC_DEFAULT;
    s.set = 2;
    s.types.fill(KeyType.TYPEMATIC_MAKE_BREAK);
    s.queue.length = 0;
    this.stopRepeat();
  }

  command(v: number): void {
    const s = this.s;
    const pending = s.pending;
    s.pending = 0;
    if (pending !== 0 && v < Cmd.SET_LEDS) this.parameter(pending, v);
    else this.execute(v);
    this.onData();
  }

  private parameter(cmd: number, v: number): void {
    const s = this.s;
    switch (cmd) {
      case Cmd.SET_LEDS:
        s.leds = v & 7;
        this.o.onLeds?.(s.leds);
        break;
      case Cmd.TYPEMATIC:
        s.typematic = v & 0x7f;
        break;
      case Cmd.SCAN_SET:
        if (v > 3) {
          this.reply(Ps2.RESEND);
          return;
        }
        this.reply(Ps2.ACK);
        if (v === 0) this.reply(s.set);
        else {
          s.set = v;
          s.queue.length = 0;
          this.stopRepeat();
        }
        return;
      default:
        // FBh..FDh go on until the next command.
        s.types[v] = cmd - Cmd.KEY_TYPEMATIC + 1;
        s.pending = cmd;
    }
    this.reply(Ps2.ACK);
  }

  private execute(v: number): void {
    const s = this.s;
    switch (v) {
      case Cmd.SET_LEDS:
      case Cmd.TYPEMATIC:
      case Cmd.SCAN_SET:
      case Cmd.KEY_TYPEMATIC:
      case Cmd.KEY_MAKE_BREAK:
      case Cmd.KEY_MAKE:
        s.pending = v;
        break;
      case Cmd.ECHO:
        this.reply(Cmd.ECHO);
        return;
      case Cmd.IDENTIFY:
        this.reply(Ps2.ACK);
        this.reply(0xab);
        this.reply(0x83);
        return;
      case Cmd.ENABLE:
        s.enabled = true;
        s.queue.length = 0;
        break;
      case Cmd.DISABLE:
        this.defaults();
        s.enabled = false;
        break;
      case Cmd.DEFAULTS:
        this.defaults();
        break;
      case Cmd.ALL_TYPEMATIC:
        s.types.fill(KeyType.TYPEMATIC);
        break;
      case Cmd.ALL_MAKE_BREAK:
        s.types.fill(KeyType.MAKE_BREAK);
        break;
      case Cmd.ALL_MAKE:
        s.types.fill(KeyType.MAKE);
        break;
      case Cmd.ALL_TYPEMATIC_MAKE_BREAK:
        s.types.fill(KeyType.TYPEMATIC_MAKE_BREAK);
        break;
      case Cmd.RESEND:
        this.reply(s.lastSent);
        return;
      case Cmd.RESET:
        s.replies.length = 0;
        this.defaults();
        s.enabled = true;
        s.leds = 0;
        this.o.onLeds?.(0);
        this.reply(Ps2.ACK);
        this.reply(Ps2.SELF_TEST_OK);
        return;
      default:
        this.reply(Ps2.RESEND);
        return;
    }
    this.reply(Ps2.ACK);
  }
}
