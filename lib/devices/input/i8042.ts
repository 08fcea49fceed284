/**
 * The PC's keyboard controller: an Intel 8042 with the PS/2 firmware (IBM PS/2 Hardware Interface Technical Reference,
 * "Keyboard and Auxiliary Device Controller"). Ports 60h and 64h, IRQ 1 and IRQ 12, gate A20, reset line.
 */
import { bytePorts } from '../byte-io.js';
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { bool, bytes, int, list, loadState, saveState, u8, type Schema } from '../saved.js';
import type { Ps2Device } from './ps2.js';

const VERSION = 1;

const enum Status {
  OBF = 0x01,
  SYS = 0x04,
  COMMAND = 0x08,
  UNLOCKED = 0x10,
  AUX_OBF = 0x20,
}

/** The command byte, RAM location 0. */
const enum Mode {
  KBD_INT = 0x01,
  AUX_INT = 0x02,
  SYS = 0x04,
  KBD_DISABLE = 0x10,
  AUX_DISABLE = 0x20,
  TRANSLATE = 0x40,
}

const enum Cmd {
  READ_RAM = 0x20,
  WRITE_RAM = 0x60,
  AUX_OFF = 0xa7,
  AUX_ON = 0xa8,
  AUX_TEST = 0xa9,
  SELF_TEST = 0xaa,
  KBD_TEST = 0xab,
  KBD_OFF = 0xad,
  KBD_ON = 0xae,
  READ_INPUT = 0xc0,
  READ_OUTPUT = 0xd0,
  WRITE_OUTPUT = 0xd1,
  WRITE_KBD_OBF = 0xd2,
  WRITE_AUX_OBF = 0xd3,
  WRITE_AUX = 0xd4,
  A20_OFF = 0xdd,
  A20_ON = 0xdf,
  PULSE = 0xf0,
}

const enum Out {
  RESET = 0x01,
  A20 = 0x02,
  KBD_OBF = 0x10,
  AUX_OBF = 0x20,
}

/** Who filled the output buffer. */
const enum Source {
  CONTROLLER = 0,
  KEYBOARD = 1,
  AUX = 2,
}

/** Keyboard not inhibited, no manufacturing jumper. */
const INPUT_PORT = 0x80;

/** Scan code set 2 to set 1, as the 8042's ROM does it; codes from 85h on pass unchanged. */
// prettier-ignore
const TRANSLATION = Uint8Array.of(
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
  0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
  0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
  0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
  0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
  0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
  0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
  0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
  0x80, 0x81, 0x82, 0x41, 0x54,
);

export function set2ToSet1(code: number): number {
  return code < TRANSLATION.length ? TRANSLATION[code] : code;
}

interface State {
  ram: Uint8Array;
  outPort: number;
  /** Output buffer. */
  data: number;
  full: boolean;
  source: number;
  /** Replies of the controller waiting for the output buffer: low byte data, bit 8: as if from the mouse. */
  replies: number[];
  /** The command that waits for a data byte; 0: none. */
  pending: number;
  lastWasCommand: boolean;
  /** Translation has seen F0h: the next code is a break code. */
  breakSeen: boolean;
}

const SCHEMA: Schema<State> = {
  ram: bytes(32),
  outPort: u8,
  data: u8,
  full: bool,
  source: int(0, 2),
  replies: list(8, int(0, 0x1ff)),
  pending: u8,
  lastWasCommand: bool,
  breakSeen: bool,
};

function initial(): State {
  const ram = new Uint8Array(32);
  ram[0] = Mode.KBD_INT | Mode.SYS | Mode.TRANSLATE;
  return {
    ram,
    outPort: Out.RESET | Out.A20,
    data: 0,
    full: false,
    source: Source.CONTROLLER,
    replies: [],
    pending: 0,
    lastWasCommand: false,
    breakSeen: false,
  };
}

export interface I8042Options {
  irq1: IrqLine;
  irq12: IrqLine;
  keyboard: Ps2Device | null;
  mouse: Ps2Device | null;
  onA20: (enabled: boolean) => void;
  /** The reset line was pulsed. */
  onReset: () => void;
}

export class I8042 implements Device {
  readonly name = 'i8042';
  /** Port 60h. */
  readonly dataPort: IoHandler;
  /** Port 64h. */
  readonly commandPort: IoHandler;

  private s = initial();

  constructor(private readonly o: I8042Options) {
    this.dataPort = bytePorts(
      1,
      () => this.readData(),
      (_a, v) => this.writeData(v),
    );
    this.commandPort = bytePorts(
      1,
      () => this.status(),
      (_a, v) => this.command(v),
    );
    if (o.keyboard) o.keyboard.onData = () => this.fill();
    if (o.mouse) o.mouse.onData = () => this.fill();
  }

  reset(): void {
    this.s = initial();
    this.o.onA20(true);
    this.syncIrq();
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
    this.o.onA20((this.s.outPort & Out.A20) !== 0);
    this.syncIrq();
  }

  private get mode(): number {
    return this.s.ram[0];
  }

  private setMode(v: number): void {
    this.s.ram[0] = v;
  }

  private status(): number {
    const s = this.s;
    return (
      Status.UNLOCKED |
      (s.full ? Status.OBF | (s.source === Source.AUX ? Status.AUX_OBF : 0) : 0) |
      (this.mode & Mode.SYS ? Status.SYS : 0) |
      (s.lastWasCommand ? Status.COMMAND : 0)
    );
  }

  private readData(): number {
    const s = this.s;
    const v = s.data;
    if (s.full) {
      s.full = false;
      // The line falls before the next byte raises it: every byte is an edge.
      this.syncIrq();
      this.fill();
    }
    return v;
  }

  /** Moves the next waiting byte into the output buffer. */
  private fill(): void {
    const s = this.s;
    for (;;) {
      if (s.full) return;
      if (s.replies.length > 0) {
        const r = s.replies.shift()!;
        this.put(r & 0xff, r & 0x100 ? Source.AUX : Source.CONTROLLER);
        return;
      }
      let v = this.mode & Mode.KBD_DISABLE || !this.o.keyboard ? -1 : this.o.keyboard.take();
      if (v >= 0) {
        if (this.mode & Mode.TRANSLATE) v = this.translate(v);
        // F0h alone gives nothing: ask for the next byte.
        if (v < 0) continue;
        this.put(v, Source.KEYBOARD);
        return;
      }
      v = this.mode & Mode.AUX_DISABLE || !this.o.mouse ? -1 : this.o.mouse.take();
      if (v >= 0) this.put(v, Source.AUX);
      return;
    }
  }

  private translate(v: number): number {
    const s = this.s;
    if (v === 0xf0) {
      s.breakSeen = true;
      return -1;
    }
    const code = set2ToSet1(v);
    if (!s.breakSeen) return code;
    s.breakSeen = false;
    return code | 0x80;
  }

  private put(v: number, source: Source): void {
    this.s.data = v;
    this.s.full = true;
    this.s.source = source;
    this.syncIrq();
  }

  private reply(v: number, aux = false): void {
    const s = this.s;
    if (s.replies.length < 8) s.replies.push(v | (aux ? 0x100 : 0));
    this.fill();
  }

  private syncIrq(): void {
    const s = this.s;
    const aux = s.source === Source.AUX;
    this.o.irq1.set(s.full && !aux && (this.mode & Mode.KBD_INT) !== 0);
    this.o.irq12.set(s.full && aux && (this.mode & Mode.AUX_INT) !== 0);
  }

  private command(v: number): void {
    const s = this.s;
    s.lastWasCommand = true;
    s.pending = 0;
    if (v >= Cmd.READ_RAM && v < Cmd.READ_RAM + 32) this.reply(s.ram[v - Cmd.READ_RAM]);
    else if (v >= Cmd.WRITE_RAM && v < Cmd.WRITE_RAM + 32) s.pending = v;
    else if (v >= Cmd.PULSE) {
      // Low bits name the output lines that go low for 6 us; only the reset line matters.
      if (!(v & Out.RESET)) this.o.onReset();
    } else this.otherCommand(v);
    this.syncIrq();
  }

  private otherCommand(v: number): void {
    const s = this.s;
    switch (v) {
      case Cmd.AUX_OFF:
        this.setMode(this.mode | Mode.AUX_DISABLE);
        break;
      case Cmd.AUX_ON:
        this.setMode(this.mode & ~Mode.AUX_DISABLE);
        this.fill();
        break;
      case Cmd.AUX_TEST:
        // 0: good; FFh would be "no such port".
        this.reply(this.o.mouse ? 0 : 0xff);
        break;
      case Cmd.SELF_TEST:
        this.setMode(this.mode | Mode.SYS);
        this.reply(0x55);
        break;
      case Cmd.KBD_TEST:
        this.reply(0);
        break;
      case Cmd.KBD_OFF:
        this.setMode(this.mode | Mode.KBD_DISABLE);
        break;
      case Cmd.KBD_ON:
        this.setMode(this.mode & ~Mode.KBD_DISABLE);
        this.fill();
        break;
      case Cmd.READ_INPUT:
        this.reply(INPUT_PORT);
        break;
      case Cmd.READ_OUTPUT:
        this.reply((s.outPort & 0x0f) | (s.full ? (s.source === Source.AUX ? Out.AUX_OBF : Out.KBD_OBF) : 0));
        break;
      case Cmd.A20_OFF:
        this.writeOutPort(s.outPort & ~Out.A20);
        break;
      case Cmd.A20_ON:
        this.writeOutPort(s.outPort | Out.A20);
        break;
      case Cmd.WRITE_OUTPUT:
      case Cmd.WRITE_KBD_OBF:
      case Cmd.WRITE_AUX_OBF:
      case Cmd.WRITE_AUX:
        s.pending = v;
        break;
    }
  }

  private writeOutPort(v: number): void {
    this.s.outPort = v | Out.RESET;
    this.o.onA20((v & Out.A20) !== 0);
    if (!(v & Out.RESET)) this.o.onReset();
  }

  private writeData(v: number): void {
    const s = this.s;
    const pending = s.pending;
    s.pending = 0;
    s.lastWasCommand = false;
    switch (pending) {
      case 0:
        // Talking to the keyboard turns its clock on.
        this.setMode(this.mode & ~Mode.KBD_DISABLE);
        this.o.keyboard?.command(v);
        break;
      case Cmd.WRITE_OUTPUT:
        this.writeOutPort(v);
        break;
      case Cmd.WRITE_KBD_OBF:
        this.reply(v);
        break;
      case Cmd.WRITE_AUX_OBF:
        this.reply(v, true);
        break;
      case Cmd.WRITE_AUX:
        this.setMode(this.mode & ~Mode.AUX_DISABLE);
        this.o.mouse?.command(v);
        break;
      default:
        s.ram[pending - Cmd.WRITE_RAM] = v;
    }
    this.fill();
    this.syncIrq();
  }
}
