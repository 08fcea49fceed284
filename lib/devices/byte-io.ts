/** Adapters for devices on the 8-bit ISA bus, where a wide access becomes one byte access after another. */
import type { IoHandler, IrqLine } from './device.js';

export abstract class ByteIo implements IoHandler {
  constructor(private readonly length: number) {}

  abstract read8(offset: number): number;
  abstract write8(offset: number, value: number): void;

  read(offset: number, size: number): number {
    if (size === 1) return offset < this.length ? this.read8(offset) : 0xff;
    let v = 0;
    for (let i = 0; i < size; i++) v |= (offset + i < this.length ? this.read8(offset + i) : 0xff) << (8 * i);
    return v >>> 0;
  }

  write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) {
      if (offset + i < this.length) this.write8(offset + i, (value >>> (8 * i)) & 0xff);
    }
  }
}

/** A register window from two functions, one byte at a time. */
export function bytePorts(length: number, read8: (o: number) => number, write8: (o: number, v: number) => void): IoHandler {
  return new (class extends ByteIo {
    read8(offset: number): number {
      return read8(offset);
    }
    write8(offset: number, value: number): void {
      write8(offset, value);
    }
  })(length);
}

/** An interrupt line that leads nowhere. */
export const NO_LINE: IrqLine = { set: () => {} };
