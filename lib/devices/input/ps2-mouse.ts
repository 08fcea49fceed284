/**
 * PS/2 mouse with wheel and five buttons: IBM PS/2 Mouse Technical Reference, and the IntelliMouse and IntelliMouse
 * Explorer extensions, which a driver asks for by setting sample rates 200, 100, 80 and 200, 200, 80.
 */
import type { SavedState } from '../device.js';
import { array, bool, int, list, loadState, saveState, u8, type Schema } from '../saved.js';
import { Ps2, type Ps2Device } from './ps2.js';
import type { PointerSink } from './router.js';

const VERSION = 1;
/** Movement not yet reported is bounded, or a mouse nobody reads would jump for minutes. */
const MAX_PENDING = 4096;

const enum Cmd {
  SCALE_1 = 0xe6,
  SCALE_2 = 0xe7,
  RESOLUTION = 0xe8,
  STATUS = 0xe9,
  STREAM = 0xea,
  READ = 0xeb,
  WRAP_OFF = 0xec,
  WRAP_ON = 0xee,
  REMOTE = 0xf0,
  IDENTIFY = 0xf2,
  SAMPLE_RATE = 0xf3,
  ENABLE = 0xf4,
  DISABLE = 0xf5,
  DEFAULTS = 0xf6,
  RESEND = 0xfe,
  RESET = 0xff,
}

const enum Id {
  PLAIN = 0,
  WHEEL = 3,
  FIVE_BUTTONS = 4,
}

/** Mouse buttons. */
export const enum Button {
  LEFT = 1,
  RIGHT = 2,
  MIDDLE = 4,
  SIDE = 8,
  EXTRA = 16,
}

interface State {
  /** Bytes for the host: replies, then at most one packet. */
  out: number[];
  lastSent: number;
  pending: number;
  id: number;
  enabled: boolean;
  remote: boolean;
  wrap: boolean;
  scale2: boolean;
  resolution: number;
  rate: number;
  /** The last three sample rates, newest last. */
  rates: number[];
  dx: number;
  dy: number;
  dz: number;
  buttons: number;
  /** The buttons last reported. */
  reported: number;
}

const delta = int(-MAX_PENDING, MAX_PENDING);
const SCHEMA: Schema<State> = {
  out: list(32, u8),
  lastSent: u8,
  pending: u8,
  id: int(0, 4),
  enabled: bool,
  remote: bool,
  wrap: bool,
  scale2: bool,
  resolution: int(0, 3),
  rate: u8,
  rates: array(3, u8),
  dx: delta,
  dy: delta,
  dz: delta,
  buttons: int(0, 31),
  reported: int(0, 31),
};

function initial(): State {
  return {
    out: [],
    lastSent: 0,
    pending: 0,
    id: Id.PLAIN,
    enabled: false,
    remote: false,
    wrap: false,
    scale2: false,
    resolution: 2,
    rate: 100,
    rates: [0, 0, 0],
    dx: 0,
    dy: 0,
    dz: 0,
    buttons: 0,
    reported: 0,
  };
}

function clamp(v: number, limit: number): number {
  return Math.max(-limit, Math.min(limit, v));
}

export class Ps2Mouse implements Ps2Device, PointerSink {
  readonly name = 'ps2-mouse';
  readonly listening = true;
  onData: () => void = () => {};

  private s = initial();

  reset(): void {
    this.s = initial();
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
  }

  /** Relative movement in counts: right, down (as on screens), wheel towards the user. */
  move(dx: number, dy: number, dz = 0): void {
    const s = this.s;
    if (!s.enabled) return;
    s.dx = clamp(s.dx + Math.trunc(dx), MAX_PENDING);
    s.dy = clamp(s.dy - Math.trunc(dy), MAX_PENDING);
    s.dz = clamp(s.dz + Math.trunc(dz), MAX_PENDING);
    this.onData();
  }

  /** Buttons now held, a set of Button. */
  setButtons(mask: number): void {
    this.s.buttons = mask & 31;
    this.onData();
  }

  take(): number {
    const s = this.s;
    if (s.out.length === 0 && s.enabled && !s.remote && !s.wrap && s.pending === 0 && this.changed()) this.packet();
    if (s.out.length === 0) return -1;
    return (s.lastSent = s.out.shift()!);
  }

  private changed(): boolean {
    const s = this.s;
    return s.dx !== 0 || s.dy !== 0 || (s.dz !== 0 && s.id !== Id.PLAIN) || s.buttons !== s.reported;
  }

  /** Puts a movement packet into the output; what does not fit stays for the next. */
  private packet(): void {
    const s = this.s;
    const dx = clamp(s.dx, 255);
    const dy = clamp(s.dy, 255);
    s.dx -= dx;
    s.dy -= dy;
    s.reported = s.buttons;
    s.out.push(8 | (s.buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0), dx & 0xff, dy & 0xff);
    if (s.id === Id.PLAIN) {
      s.dz = 0;
      return;
    }
    const dz = clamp(s.dz, s.id === Id.WHEEL ? 127 : 7);
    s.dz -= dz;
    s.out.push(s.id === Id.WHEEL ? dz & 0xff : (dz & 0x0f) | ((s.buttons & (Button.SIDE | Button.EXTRA)) << 1));
  }

  private reply(...v: number[]): void {
    if (this.s.out.length + v.length <= 16) this.s.out.push(...v);
  }

  command(v: number): void {
    const s = this.s;
    if (s.wrap && v !== Cmd.WRAP_OFF && v !== Cmd.RESET) {
      this.reply(v);
    } else {
      const pending = s.pending;
      s.pending = 0;
      // A command ends whatever packet was on its way.
      if (v !== Cmd.RESEND) s.out.length = 0;
      if (pending === 0) this.execute(v);
      else this.parameter(pending, v);
    }
    this.onData();
  }

  private parameter(cmd: number, v: number): void {
    const s = this.s;
    if (cmd === Cmd.RESOLUTION) {
      s.resolution = v & 3;
    } else {
      s.rate = v;
      s.rates = [s.rates[1], s.rates[2], v];
      const knock = s.rates.join();
      if (knock === '200,100,80') s.id = Id.WHEEL;
      else if (knock === '200,200,80' && s.id === Id.WHEEL) s.id = Id.FIVE_BUTTONS;
    }
    this.reply(Ps2.ACK);
  }

  private defaults(): void {
    const s = this.s;
    s.enabled = s.remote = s.wrap = s.scale2 = false;
    s.resolution = 2;
    s.rate = 100;
    s.dx = s.dy = s.dz = 0;
  }

  private execute(v: number): void {
    const s = this.s;
    switch (v) {
      case Cmd.SCALE_1:
        s.scale2 = false;
        break;
      case Cmd.SCALE_2:
        s.scale2 = true;
        break;
      case Cmd.RESOLUTION:
      case Cmd.SAMPLE_RATE:
        s.pending = v;
        break;
      case Cmd.STATUS: {
        const b = s.buttons;
        const buttons = (b & Button.LEFT ? 4 : 0) | (b & Button.MIDDLE ? 2 : 0) | (b & Button.RIGHT ? 1 : 0);
        const flags = (s.remote ? 0x40 : 0) | (s.enabled ? 0x20 : 0) | (s.scale2 ? 0x10 : 0);
        this.reply(Ps2.ACK, flags | buttons, s.resolution, s.rate);
        return;
      }
      case Cmd.STREAM:
        s.remote = false;
        break;
      case Cmd.REMOTE:
        s.remote = true;
        break;
      case Cmd.READ:
        this.reply(Ps2.ACK);
        this.packet();
        return;
      case Cmd.WRAP_OFF:
        s.wrap = false;
        break;
      case Cmd.WRAP_ON:
        s.wrap = true;
        break;
      case Cmd.IDENTIFY:
        this.reply(Ps2.ACK, s.id);
        return;
      case Cmd.ENABLE:
        s.enabled = true;
        break;
      case Cmd.DISABLE:
        s.enabled = false;
        break;
      case Cmd.DEFAULTS:
        this.defaults();
        break;
      case Cmd.RESEND:
        this.reply(s.lastSent);
        return;
      case Cmd.RESET:
        this.defaults();
        s.id = Id.PLAIN;
        s.rates = [0, 0, 0];
        this.reply(Ps2.ACK, Ps2.SELF_TEST_OK, Id.PLAIN);
        return;
      default:
        this.reply(Ps2.RESEND);
        return;
    }
    this.reply(Ps2.ACK);
  }
}
