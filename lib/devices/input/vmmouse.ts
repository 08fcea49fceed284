/**
 * VMware's absolute pointer at port 5658h: commands and answers are in the CPU's registers (open-vm-tools, backdoor protocol; Linux
 * drivers/input/mouse/vmmouse.c). The PS/2 mouse interrupts the driver, which then asks here.
 */
import type { Device, IoHandler, SavedState } from '../device.js';
import { bool, int, list, loadState, saveState, type Schema, struct } from '../saved.js';
import { ABS_MAX, type AbsoluteSink } from './router.js';
import { Button, type Ps2Mouse } from './ps2-mouse.js';

export const VMMOUSE_PORT = 0x5658;
const MAGIC = 0x564d_5868;
const VERSION = 6;
/** Command in ECX. */
const enum Cmd { GET_VERSION = 10, DATA = 39, STATUS = 40, COMMAND = 41 }
/** What COMMAND does, in EBX. */
const enum Sub { ENABLE = 0x4541_4552, DISABLE = 0xf5, ABSOLUTE = 0x5342_4152, RELATIVE = 0x4c45_5252 }
/** The first word after ENABLE. */
const VERSION_ID = 0x3442_554a;
const NOTHING = 0xffff_0000;
const enum Bits { LEFT = 0x20, RIGHT = 0x10, MIDDLE = 0x08 }
const MAX_EVENTS = 64;
const STATE_VERSION = 1;

/** Low halves of the registers of the CPU that accesses the port; null: they are out of reach. */
export interface PortRegisters {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

interface Event {
  buttons: number;
  x: number;
  y: number;
  z: number;
}

interface State {
  enabled: boolean;
  absolute: boolean;
  /** VERSION_ID is to be read. */
  greeting: boolean;
  events: Event[];
}

const SCHEMA: Schema<State> = { enabled: bool, absolute: bool, greeting: bool, events: list(MAX_EVENTS, struct<Event>({ buttons: int(0, 0xff), x: int(0, 0xffff), y: int(0, 0xffff), z: int(-128, 127) })) };
const initial = (): State => ({ enabled: false, absolute: false, greeting: false, events: [] });

export class VmMouse implements Device, AbsoluteSink {
  readonly name = 'vmmouse';
  private s = initial();
  private step = 1;

  /** A dword; answers but the value of IN itself go straight into registers. */
  readonly ports: IoHandler = {
    read: (offset, size) => (offset === 0 && size === 4 ? this.command() : size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff),
    write: () => {},
  };

  constructor(
    private readonly registers: () => PortRegisters | null,
    private readonly mouse: Pick<Ps2Mouse, 'move'>,
  ) {}

  get listening(): boolean {
    return this.s.enabled && this.s.absolute;
  }

  point(x: number, y: number, buttons: number, dz: number): void {
    const { s } = this;
    if (!this.listening) return;
    const scale = (v: number): number => Math.max(0, Math.min(0xffff, Math.round((v * 0xffff) / ABS_MAX)));
    const held = (buttons & Button.LEFT ? Bits.LEFT : 0) | (buttons & Button.RIGHT ? Bits.RIGHT : 0) | (buttons & Button.MIDDLE ? Bits.MIDDLE : 0);
    if (s.events.length < MAX_EVENTS) s.events.push({ buttons: held, x: scale(x), y: scale(y), z: Math.max(-128, Math.min(127, Math.trunc(dz))) });
    // The driver takes a packet of the mouse as a sign, whatever is in it.
    this.mouse.move(this.step, 0);
    this.step = -this.step;
  }

  /** @returns EAX. */
  private command(): number {
    const r = this.registers();
    if (r === null || r.eax >>> 0 !== MAGIC) return 0xffff_ffff;
    switch (r.ecx & 0xffff) {
      case Cmd.GET_VERSION:
        r.ebx = MAGIC;
        return VERSION;
      case Cmd.STATUS:
        return this.s.enabled ? (this.s.greeting ? 1 : 0) + this.s.events.length * 4 : NOTHING;
      case Cmd.COMMAND:
        this.control(r.ebx >>> 0);
        return 0;
      case Cmd.DATA:
        return this.data(r);
      default:
        return 0xffff_ffff;
    }
  }

  private control(sub: number): void {
    if (sub === Sub.ENABLE) this.s = { ...initial(), enabled: true, greeting: true };
    else if (sub === Sub.DISABLE) this.s = initial();
    else if (sub === Sub.ABSOLUTE) this.s.absolute = true;
    else if (sub === Sub.RELATIVE) this.s.absolute = false;
  }

  /** EBX words: one is the greeting, four are an event. */
  private data(r: PortRegisters): number {
    const { s } = this;
    if (s.greeting && r.ebx >>> 0 === 1) {
      s.greeting = false;
      return VERSION_ID;
    }
    const e = r.ebx >>> 0 === 4 ? s.events.shift() : undefined;
    if (e === undefined) return 0xffff_ffff;
    r.ebx = e.x;
    r.ecx = e.y;
    r.edx = e.z >>> 0;
    return e.buttons;
  }

  reset(): void {
    this.s = initial();
  }

  save(): SavedState {
    return saveState(SCHEMA, STATE_VERSION, this.s);
  }

  restore(s: SavedState): void {
    this.s = loadState(this.name, SCHEMA, STATE_VERSION, s);
  }
}
