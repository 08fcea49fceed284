/**
 * Parallel NOR flash with Intel's command set 0001h and CFI ("Common Flash Memory Interface Specification", release 2.0; Intel
 * StrataFlash J3 data sheet for the commands), as UEFI firmware for virtual machines drives it: 8 bits wide with blocks of 4 KiB, or
 * two chips of 16 bits side by side with blocks of 256 KiB together. The status register reads zero after Clear Status until an operation has ended: firmware
 * tells flash from ROM and RAM by that. A chip in array mode is mapped as ROM by its owner, so reads cost nothing.
 */
import { VmxError } from '../../errors.js';
import type { Device, IoHandler, SavedState } from '../device.js';
import { bytes, int, list, loadState, saveState, u32, u8, type Schema } from '../saved.js';

const VERSION = 1;
export const FLASH_BLOCK = 4096;

/** Commands. */
const enum Cmd {
  PROGRAM = 0x10,
  PROGRAM_ALT = 0x40,
  ERASE = 0x20,
  CONFIRM = 0xd0,
  CLEAR_STATUS = 0x50,
  READ_STATUS = 0x70,
  READ_ID = 0x90,
  CFI_QUERY = 0x98,
  BUFFERED = 0xe8,
  LOCK_SETUP = 0x60,
  SUSPEND = 0xb0,
  READ_ARRAY = 0xff,
}

/** Status register. */
const enum Status {
  LOCKED = 0x02,
  PROGRAM_ERROR = 0x10,
  ERASE_ERROR = 0x20,
  READY = 0x80,
}

/** What reads give. */
const enum Mode { ARRAY = 0, STATUS = 1, ID = 2, CFI = 3 }
/** What the next write is. */
const enum Expect { COMMAND = 0, DATA = 1, ERASE_CONFIRM = 2, COUNT = 3, BUFFER = 4, BUFFER_CONFIRM = 5, LOCK = 6 }

const MAKER = 0x89;
const DEVICE = 0x18;
/** Bytes of the write buffer, log2. */
const BUFFER_BITS = 6;

/** How the chips are put together: bytes of the bus, bytes of an erase block. */
export interface FlashGeometry {
  width: 1 | 4;
  block: number;
}
export const FLASH_NARROW: FlashGeometry = { width: 1, block: FLASH_BLOCK };
/** Two chips of 16 bits, each with blocks of 128 KiB. */
export const FLASH_WIDE: FlashGeometry = { width: 4, block: 0x4_0000 };

interface State {
  mode: number;
  expect: number;
  status: number;
  /** Bytes of a buffered program that are still to come. */
  count: number;
  /** Those that have come: place and value. */
  places: number[];
  values: number[];
}

const initial = (): State => ({ mode: Mode.ARRAY, expect: Expect.COMMAND, status: Status.READY, count: 0, places: [], values: [] });

export interface PflashOptions {
  name: string;
  /** The chip's contents, changed in place (a view of the machine's memory); whole blocks. */
  contents: Uint8Array;
  readonly: boolean;
  /** Default FLASH_NARROW. */
  geometry?: FlashGeometry;
  /** The chip changed between array mode (reads may come from memory) and command mode (reads must come here). */
  onArrayMode: (array: boolean) => void;
  /** Bytes changed. */
  onChange?: (offset: number, length: number) => void;
}

/** In units of the bus. */
const BUFFER_UNITS = 1 << BUFFER_BITS;
const BUFFER_BYTES = BUFFER_UNITS * 4;
const SCHEMA: Schema<State> = {
  mode: int(Mode.ARRAY, Mode.CFI),
  expect: int(Expect.COMMAND, Expect.LOCK),
  status: u8,
  count: int(0, BUFFER_BYTES),
  places: list(BUFFER_BYTES, u32),
  values: list(BUFFER_BYTES, u8),
};

export class Pflash implements Device {
  readonly name: string;
  readonly mmio: IoHandler;
  private readonly o: PflashOptions;
  private readonly cfi: Uint8Array;
  /** A chip that can be written saves its contents too. */
  private readonly schema: Schema<State & { contents: Uint8Array }>;
  private readonly geometry: FlashGeometry;
  private s = initial();
  private mapped = true;

  constructor(o: PflashOptions) {
    const g = (this.geometry = o.geometry ?? FLASH_NARROW);
    if (o.contents.length === 0 || o.contents.length % g.block) throw new VmxError('ERR_INTERNAL', `${o.name}: size must be whole blocks`);
    this.o = o;
    this.name = o.name;
    // Of one chip.
    this.cfi = g.width === 1 ? cfiTable(o.contents.length, g.block) : cfiTable(o.contents.length / 2, g.block / 2);
    this.schema = { ...SCHEMA, contents: bytes(o.readonly ? 0 : o.contents.length) };
    this.mmio = { read: (a, n) => this.read(a, n), write: (a, n, v) => this.write(a, n, v) };
  }

  /** Reset returns to array mode; contents stay. */
  reset(): void {
    this.s = initial();
    this.syncMode();
  }

  save(): SavedState {
    return saveState(this.schema, VERSION, { ...this.s, contents: this.o.readonly ? new Uint8Array(0) : this.o.contents });
  }

  restore(saved: SavedState): void {
    const { contents, ...s } = loadState(this.name, this.schema, VERSION, saved);
    if (!this.o.readonly) {
      this.o.contents.set(contents);
      this.o.onChange?.(0, contents.length);
    }
    this.s = s;
    this.syncMode();
  }

  private syncMode(): void {
    const array = this.s.mode === Mode.ARRAY;
    if (array === this.mapped) return;
    this.mapped = array;
    this.o.onArrayMode(array);
  }

  private read(offset: number, size: number): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.read8(offset + i);
    return v;
  }

  private read8(address: number): number {
    let a = address;
    if (this.geometry.width === 4 && this.s.mode !== Mode.ARRAY) {
      // Each chip answers in the low half of its lane.
      if (a & 1) return 0;
      a >>= 2;
    }
    switch (this.s.mode) {
      case Mode.STATUS:
        return this.s.status;
      case Mode.ID:
        // Maker, device, then the block's lock bit.
        return [MAKER, DEVICE, this.o.readonly ? 1 : 0][a & 0xff] ?? 0;
      case Mode.CFI:
        return this.cfi[a & 0xff] ?? 0;
      default:
        return this.o.contents[a] ?? 0xff;
    }
  }

  /** The chip sees the lowest byte of a wide write as command; data goes byte by byte. */
  private write(offset: number, size: number, value: number): void {
    if (offset >= this.o.contents.length) return;
    const s = this.s;
    const v = value & 0xff;
    switch (s.expect) {
      case Expect.DATA:
        for (let i = 0; i < size; i++) this.program(offset + i, (value >>> (8 * i)) & 0xff);
        s.status |= Status.READY;
        s.expect = Expect.COMMAND;
        break;
      case Expect.ERASE_CONFIRM:
        if (v === Cmd.CONFIRM) this.erase(offset);
        else this.sequenceError();
        s.expect = Expect.COMMAND;
        break;
      case Expect.COUNT:
        s.count = Math.min(v + 1, BUFFER_UNITS) * this.geometry.width;
        s.expect = Expect.BUFFER;
        break;
      case Expect.BUFFER:
        for (let i = 0; i < size && s.count > 0; i++, s.count--) {
          s.places.push(offset + i);
          s.values.push((value >>> (8 * i)) & 0xff);
        }
        if (s.count === 0) s.expect = Expect.BUFFER_CONFIRM;
        break;
      case Expect.BUFFER_CONFIRM:
        if (v === Cmd.CONFIRM) s.places.forEach((a, i) => this.program(a, s.values[i] ?? 0xff));
        else this.sequenceError();
        s.status |= Status.READY;
        s.expect = Expect.COMMAND;
        break;
      case Expect.LOCK:
        // Block locks are accepted and mean nothing: a chip is read-only as a whole or not at all.
        s.status |= Status.READY;
        s.expect = Expect.COMMAND;
        break;
      default:
        this.command(v);
    }
    this.syncMode();
  }

  private command(v: number): void {
    const s = this.s;
    switch (v) {
      case Cmd.READ_ARRAY:
      case 0x00:
        s.mode = Mode.ARRAY;
        break;
      case Cmd.READ_STATUS:
        s.mode = Mode.STATUS;
        break;
      case Cmd.CLEAR_STATUS:
        s.status = 0;
        s.mode = Mode.STATUS;
        break;
      case Cmd.READ_ID:
        s.mode = Mode.ID;
        break;
      case Cmd.CFI_QUERY:
        s.mode = Mode.CFI;
        break;
      case Cmd.PROGRAM:
      case Cmd.PROGRAM_ALT:
        s.mode = Mode.STATUS;
        s.expect = Expect.DATA;
        break;
      case Cmd.ERASE:
        s.mode = Mode.STATUS;
        s.expect = Expect.ERASE_CONFIRM;
        break;
      case Cmd.BUFFERED:
        s.mode = Mode.STATUS;
        s.status |= Status.READY;
        s.expect = Expect.COUNT;
        s.places = [];
        s.values = [];
        break;
      case Cmd.LOCK_SETUP:
        s.mode = Mode.STATUS;
        s.expect = Expect.LOCK;
        break;
      case Cmd.SUSPEND:
        // Operations end at once: there is nothing to suspend.
        s.mode = Mode.STATUS;
        break;
      default:
        s.mode = Mode.ARRAY;
    }
  }

  private sequenceError(): void {
    this.s.status |= Status.READY | Status.PROGRAM_ERROR | Status.ERASE_ERROR;
  }

  /** Programming clears bits on a real chip; firmware for virtual machines overwrites without erasing, so bytes are replaced. */
  private program(a: number, v: number): void {
    if (a >= this.o.contents.length) return;
    if (this.o.readonly) {
      this.s.status |= Status.PROGRAM_ERROR | Status.LOCKED;
      return;
    }
    this.o.contents[a] = v;
    this.o.onChange?.(a, 1);
  }

  private erase(a: number): void {
    this.s.status |= Status.READY;
    if (this.o.readonly) {
      this.s.status |= Status.ERASE_ERROR | Status.LOCKED;
      return;
    }
    const { block } = this.geometry;
    const at = a - (a % block);
    this.o.contents.fill(0xff, at, at + block);
    this.o.onChange?.(at, block);
  }
}

/** CFI query structure: identification string at 10h, system interface at 1Bh, geometry at 27h, primary table at 31h. */
function cfiTable(bytes: number, block: number): Uint8Array {
  const t = new Uint8Array(0x60);
  const put = (at: number, ...v: number[]): void => t.set(v, at);
  put(0x10, 0x51, 0x52, 0x59); // "QRY"
  put(0x13, 0x01, 0x00, 0x31, 0x00); // primary command set 0001h, its table at 31h
  put(0x1b, 0x45, 0x55, 0x00, 0x00); // supply voltages
  put(0x1f, 0x07, 0x07, 0x0a, 0x00, 0x04, 0x04, 0x04, 0x00); // time-outs
  const blocks = bytes / block - 1;
  put(0x27, Math.ceil(Math.log2(bytes)), 0x02, 0x00, BUFFER_BITS, 0x00, 0x01);
  put(0x2d, blocks & 0xff, blocks >> 8, (block / 256) & 0xff, block >> 16);
  put(0x31, 0x50, 0x52, 0x49, 0x31, 0x30); // "PRI", version 1.0
  return t;
}
