/** Guest memory for device tests: RAM from 0 on, nothing above. */
import type { GuestMemory } from '#lib/devices/device.js';

export class TestMemory implements GuestMemory {
  readonly ram: Uint8Array;

  constructor(size: number) {
    this.ram = new Uint8Array(size);
  }
  valid(pa: number, len: number): boolean {
    return pa >= 0 && pa + len <= this.ram.length;
  }
  readInto(pa: number, dst: Uint8Array): boolean {
    if (!this.valid(pa, dst.length)) return false;
    dst.set(this.ram.subarray(pa, pa + dst.length));
    return true;
  }
  writeFrom(pa: number, src: Uint8Array): boolean {
    if (!this.valid(pa, src.length)) return false;
    this.ram.set(src, pa);
    return true;
  }
  private get(pa: number, n: number): number {
    let v = 0;
    for (let i = n - 1; i >= 0; i--) v = v * 256 + (this.valid(pa, n) ? this.ram[pa + i] : 0xff);
    return v;
  }
  private put(pa: number, n: number, v: number): void {
    if (this.valid(pa, n)) for (let i = 0; i < n; i++) this.ram[pa + i] = v >>> (8 * i);
  }
  read8 = (pa: number): number => this.get(pa, 1);
  read16 = (pa: number): number => this.get(pa, 2);
  read32 = (pa: number): number => this.get(pa, 4);
  read64 = (pa: number): number => {
    const v = this.get(pa, 8);
    return v < 2 ** 53 ? v : NaN;
  };
  write8 = (pa: number, v: number): void => this.put(pa, 1, v);
  write16 = (pa: number, v: number): void => this.put(pa, 2, v);
  write32 = (pa: number, v: number): void => this.put(pa, 4, v);
  view(pa: number, len: number): Uint8Array | null {
    return this.valid(pa, len) ? this.ram.subarray(pa, pa + len) : null;
  }
  viewForWrite(pa: number, len: number): Uint8Array | null {
    return this.view(pa, len);
  }
}
