/**
 * Two Intel 8237A DMA controllers (data sheet 231466) and the page registers of the PC/AT. Devices move data through
 * `toMemory` and `fromMemory`, which follow the channel's programming: address, count, direction, auto-initialise, terminal
 * count. Memory-to-memory transfers and software requests are registers only. Channels 4 to 7 move 16-bit words.
 */
import { bytePorts } from '../byte-io.js';
import type { Device, GuestMemory, IoHandler, SavedState } from '../device.js';
import { array, bool, bytes, loadState, saveState, struct, u16, u8, type Schema } from '../saved.js';

const VERSION = 1;

/** Register numbers from 8 on; 0 to 7 are address and count of the four channels. */
const enum Reg {
  STATUS_COMMAND = 8,
  REQUEST = 9,
  MASK_ONE = 10,
  MODE = 11,
  CLEAR_FLIPFLOP = 12,
  TEMP_CLEAR = 13,
  CLEAR_MASK = 14,
  MASK_ALL = 15,
}

const enum Command {
  DISABLE = 0x04,
}

const enum Mode {
  /** Towards memory. */
  WRITE = 0x04,
  READ = 0x08,
  DIRECTION = 0x0c,
  AUTO_INIT = 0x10,
  DECREMENT = 0x20,
}

/** Page register of each channel, as an offset from 80h. */
const PAGE_PORT = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa] as const;

interface ChannelState {
  baseAddress: number;
  baseCount: number;
  address: number;
  count: number;
  mode: number;
}

interface ControllerState {
  channels: ChannelState[];
  command: number;
  request: number;
  mask: number;
  /** Terminal counts reached, low four bits. */
  status: number;
  high: boolean;
}

interface State {
  controllers: ControllerState[];
  pages: Uint8Array;
}

const CHANNEL: Schema<ChannelState> = { baseAddress: u16, baseCount: u16, address: u16, count: u16, mode: u8 };
const CONTROLLER: Schema<ControllerState> = {
  channels: array(4, struct(CHANNEL)),
  command: u8,
  request: u8,
  mask: u8,
  status: u8,
  high: bool,
};
const SCHEMA: Schema<State> = { controllers: array(2, struct(CONTROLLER)), pages: bytes(16) };

function initialController(): ControllerState {
  const channels = Array.from({ length: 4 }, () => ({ baseAddress: 0, baseCount: 0, address: 0, count: 0, mode: 0 }));
  return { channels, command: 0, request: 0, mask: 15, status: 0, high: false };
}

function initial(): State {
  return { controllers: [initialController(), initialController()], pages: new Uint8Array(16) };
}

export interface I8237Options {
  memory: GuestMemory;
}

export class I8237 implements Device {
  readonly name = 'i8237';
  /** 00h-0Fh: channels 0 to 3. */
  readonly low: IoHandler;
  /** C0h-DFh: channels 4 to 7, registers on even ports. */
  readonly high: IoHandler;
  /** 80h-8Fh. 80h is also the port firmware writes progress codes to. */
  readonly pages: IoHandler;

  private s = initial();

  constructor(private readonly o: I8237Options) {
    this.low = bytePorts(
      16,
      (a) => this.read(0, a),
      (a, v) => this.write(0, a, v),
    );
    this.high = bytePorts(
      32,
      (a) => (a & 1 ? 0xff : this.read(1, a >> 1)),
      (a, v) => {
        if (!(a & 1)) this.write(1, a >> 1, v);
      },
    );
    this.pages = bytePorts(
      16,
      (a) => this.s.pages[a],
      (a, v) => {
        this.s.pages[a] = v;
      },
    );
  }

  reset(): void {
    this.s = initial();
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
  }

  // ---- for devices ----

  /** Bytes the channel will still take or give until terminal count; 0 if it is masked or set the other way. */
  available(channel: number, toMemory: boolean): number {
    const c = this.s.controllers[channel >> 2];
    const n = channel & 3;
    const ch = c.channels[n];
    if ((c.mask >> n) & 1 || c.command & Command.DISABLE) return 0;
    if ((ch.mode & Mode.DIRECTION) !== (toMemory ? Mode.WRITE : Mode.READ)) return 0;
    return (ch.count + 1) << (channel >= 4 ? 1 : 0);
  }

  /** Device to memory. Returns the bytes moved. */
  toMemory(channel: number, data: Uint8Array): number {
    return this.move(channel, data, true);
  }

  /** Memory to device. */
  fromMemory(channel: number, into: Uint8Array): number {
    return this.move(channel, into, false);
  }

  /** Terminal count was reached since the guest last read the status. */
  terminalCount(channel: number): boolean {
    return ((this.s.controllers[channel >> 2].status >> (channel & 3)) & 1) !== 0;
  }

  private move(channel: number, data: Uint8Array, toMemory: boolean): number {
    const unit = channel >= 4 ? 2 : 1;
    const ch = this.s.controllers[channel >> 2].channels[channel & 3];
    const n = Math.min(this.available(channel, toMemory), data.length) & ~(unit - 1);
    for (let i = 0; i < n; i += unit) {
      const page = this.s.pages[PAGE_PORT[channel]];
      const pa = unit === 2 ? ((page & 0xfe) << 16) | (ch.address << 1) : (page << 16) | ch.address;
      for (let k = 0; k < unit; k++) {
        if (toMemory) this.o.memory.write8(pa + k, data[i + k]);
        else data[i + k] = this.o.memory.read8(pa + k);
      }
      ch.address = (ch.address + (ch.mode & Mode.DECREMENT ? -1 : 1)) & 0xffff;
      ch.count = (ch.count - 1) & 0xffff;
      if (ch.count === 0xffff && this.reachedEnd(channel)) return i + unit;
    }
    return n;
  }

  private reachedEnd(channel: number): boolean {
    const c = this.s.controllers[channel >> 2];
    const bit = 1 << (channel & 3);
    const ch = c.channels[channel & 3];
    c.status |= bit;
    if (ch.mode & Mode.AUTO_INIT) {
      ch.address = ch.baseAddress;
      ch.count = ch.baseCount;
    } else {
      c.mask |= bit;
    }
    return true;
  }

  // ---- registers ----

  private read(k: number, r: number): number {
    const c = this.s.controllers[k];
    if (r < 8) {
      const ch = c.channels[r >> 1];
      const v = r & 1 ? ch.count : ch.address;
      c.high = !c.high;
      return c.high ? v & 0xff : v >> 8;
    }
    switch (r) {
      case Reg.STATUS_COMMAND: {
        const v = c.status | (c.request << 4);
        c.status = 0;
        return v & 0xff;
      }
      case Reg.MASK_ALL:
        return c.mask | 0xf0;
      default:
        return 0;
    }
  }

  private write(k: number, r: number, v: number): void {
    const c = this.s.controllers[k];
    if (r < 8) {
      this.writeChannel(c, r, v);
      return;
    }
    const bit = 1 << (v & 3);
    switch (r) {
      case Reg.STATUS_COMMAND:
        c.command = v;
        break;
      case Reg.REQUEST:
        c.request = v & 4 ? c.request | bit : c.request & ~bit;
        break;
      case Reg.MASK_ONE:
        c.mask = v & 4 ? c.mask | bit : c.mask & ~bit;
        break;
      case Reg.MODE:
        c.channels[v & 3].mode = v & 0xfc;
        break;
      case Reg.CLEAR_FLIPFLOP:
        c.high = false;
        break;
      case Reg.TEMP_CLEAR:
        c.command = c.request = c.status = 0;
        c.mask = 15;
        c.high = false;
        break;
      case Reg.CLEAR_MASK:
        c.mask = 0;
        break;
      case Reg.MASK_ALL:
        c.mask = v & 15;
        break;
    }
  }

  /** A write goes to base and current register, low byte first. */
  private writeChannel(c: ControllerState, r: number, v: number): void {
    const ch = c.channels[r >> 1];
    const old = r & 1 ? ch.baseCount : ch.baseAddress;
    const now = c.high ? (old & 0x00ff) | (v << 8) : (old & 0xff00) | v;
    c.high = !c.high;
    if (r & 1) ch.baseCount = ch.count = now;
    else ch.baseAddress = ch.address = now;
  }
}
