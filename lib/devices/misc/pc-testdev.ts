/**
 * The test device of kvm-unit-tests: ports that echo, ports that drive interrupt lines, and 64 KiB of memory that is
 * register space, so that a test meets MMIO.
 */
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { bytes, loadState, saveState, u32, type Schema } from '../saved.js';

const VERSION = 1;
export const TESTDEV_MEMORY = 0x10000;
export const TESTDEV_IRQS = 24;

interface State {
  echo: number;
  flush: number;
  memory: Uint8Array;
}

const SCHEMA: Schema<State> = { echo: u32, flush: u32, memory: bytes(TESTDEV_MEMORY) };

export interface PcTestDevOptions {
  /** Global interrupt n. */
  irqs: readonly IrqLine[];
  /** A write to E4h: the page of this physical address shall be forgotten by shadow structures. */
  onFlush?: (pa: number) => void;
}

export class PcTestDev implements Device {
  readonly name = 'pc-testdev';

  private s: State = { echo: 0, flush: 0, memory: new Uint8Array(TESTDEV_MEMORY) };

  /** E0h-E3h: reads back what was written, in any width. */
  readonly echo: IoHandler = {
    read: (offset, size) => take(this.s.echo >>> (8 * (offset & 3)), size),
    write: (offset, size, value) => {
      const shift = 8 * (offset & 3);
      const mask = (size === 4 ? 0xffffffff : (1 << (8 * size)) - 1) << shift;
      this.s.echo = ((this.s.echo & ~mask) | ((value << shift) & mask)) >>> 0;
    },
  };
  /** E4h-E7h. */
  readonly flush: IoHandler = {
    read: (_offset, size) => take(this.s.flush, size),
    write: (_offset, _size, value) => {
      this.s.flush = value >>> 0;
      this.o.onFlush?.(value >>> 0);
    },
  };
  /** 2000h-2017h: the level of interrupt n. */
  readonly irqPorts: IoHandler = {
    read: (_offset, size) => take(0xffffffff, size),
    write: (offset, _size, value) => this.o.irqs[offset]?.set(value !== 0),
  };
  /** FF000000h, 64 KiB. */
  readonly mmio: IoHandler = {
    read: (offset, size) => {
      let v = 0;
      for (let i = 0; i < size; i++) v |= this.s.memory[(offset + i) & (TESTDEV_MEMORY - 1)] << (8 * i);
      return v >>> 0;
    },
    write: (offset, size, value) => {
      for (let i = 0; i < size; i++) this.s.memory[(offset + i) & (TESTDEV_MEMORY - 1)] = value >>> (8 * i);
    },
  };

  constructor(private readonly o: PcTestDevOptions) {}

  reset(): void {
    this.s.echo = this.s.flush = 0;
    this.s.memory.fill(0);
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
  }
}

function take(v: number, size: number): number {
  return size === 4 ? v >>> 0 : v & (size === 2 ? 0xffff : 0xff);
}
