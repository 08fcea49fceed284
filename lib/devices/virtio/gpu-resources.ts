/** 2D resources of the virtio GPU: pictures on the host, each with pages of guest memory that they are copied from. */
import { VmxError } from '../../errors.js';
import type { GuestMemory } from '../device.js';
import { FORMATS, MAX_ENTRIES } from './gpu.spec.js';

/** A resource is at most so wide and high; all of them together take at most so many bytes of the host. */
export const MAX_DOTS = 8192;
const MAX_BYTES = 256 << 20;
const MAX_RESOURCES = 4096;

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export class Resource {
  readonly pixels: Uint8Array;
  /** Guest memory behind it: addresses, and where each piece begins and ends in the whole. */
  addr: number[] = [];
  ends: number[] = [];

  constructor(
    readonly id: number,
    readonly format: number,
    readonly width: number,
    readonly height: number,
  ) {
    this.pixels = new Uint8Array(width * height * 4);
  }

  /** True if the box lies within. */
  contains(b: Box): boolean {
    return b.width > 0 && b.height > 0 && b.x + b.width <= this.width && b.y + b.height <= this.height;
  }

  attach(addr: number[], len: number[]): void {
    this.addr = addr;
    let end = 0;
    this.ends = len.map((n) => (end += n));
  }

  detach(): void {
    this.addr = [];
    this.ends = [];
  }

  /** Copies a box from guest memory, whose rows begin at `offset` and lie a whole row of the resource apart. @returns whether all of it was there. */
  transfer(mem: GuestMemory, b: Box, offset: number): boolean {
    const stride = this.width * 4;
    for (let row = 0; row < b.height; row++) {
      const to = (b.y + row) * stride + b.x * 4;
      if (!this.copy(mem, offset + row * stride, this.pixels.subarray(to, to + b.width * 4))) return false;
    }
    return true;
  }

  private copy(mem: GuestMemory, offset: number, dst: Uint8Array): boolean {
    let lo = 0;
    let hi = this.ends.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (this.ends[mid]! <= offset) lo = mid + 1;
      else hi = mid;
    }
    let done = 0;
    for (let i = lo; done < dst.length; i++) {
      if (i >= this.ends.length) return false;
      const start = i === 0 ? 0 : this.ends[i - 1]!;
      const skip = offset + done - start;
      const n = Math.min(this.ends[i]! - start - skip, dst.length - done);
      if (!mem.readInto(this.addr[i]! + skip, dst.subarray(done, done + n))) return false;
      done += n;
    }
    return true;
  }
}

export class Resources {
  private readonly all = new Map<number, Resource>();
  private bytes = 0;

  get(id: number): Resource | undefined {
    return this.all.get(id);
  }

  /** @returns the resource, 'bad' for parameters that are, 'full' if there is no memory for it. */
  create(id: number, format: number, width: number, height: number): Resource | 'bad' | 'full' {
    if (id === 0 || this.all.has(id) || FORMATS[format] === undefined || width === 0 || height === 0 || width > MAX_DOTS || height > MAX_DOTS) return 'bad';
    const n = width * height * 4;
    if (this.bytes + n > MAX_BYTES || this.all.size >= MAX_RESOURCES) return 'full';
    const r = new Resource(id, format, width, height);
    this.all.set(id, r);
    this.bytes += n;
    return r;
  }

  remove(id: number): boolean {
    const r = this.all.get(id);
    if (r === undefined) return false;
    this.all.delete(id);
    this.bytes -= r.pixels.length;
    return true;
  }

  clear(): void {
    this.all.clear();
    this.bytes = 0;
  }

  save(): unknown[] {
    return [...this.all.values()].map((r) => ({ id: r.id, format: r.format, width: r.width, height: r.height, addr: r.addr, ends: r.ends, pixels: Buffer.from(r.pixels).toString('base64') }));
  }

  /** @throws VmxError */
  static load(raw: unknown): Resources {
    const bad = (): never => {
      throw new VmxError('ERR_BAD_STATE', 'virtio-gpu: bad saved resources');
    };
    const whole = (v: unknown, max: number): v is number => typeof v === 'number' && Number.isInteger(v) && v >= 0 && v <= max;
    const numbers = (v: unknown): number[] => (Array.isArray(v) && v.length <= MAX_ENTRIES && v.every((n) => whole(n, 2 ** 53 - 1)) ? (v as number[]) : bad());
    const all = new Resources();
    if (!Array.isArray(raw)) bad();
    for (const v of raw as unknown[]) {
      const o = (typeof v === 'object' && v !== null ? v : {}) as Record<string, unknown>;
      const { id, format, width, height, pixels } = o;
      if (!whole(id, 0xffff_ffff) || !whole(format, 0xffff_ffff) || !whole(width, MAX_DOTS) || !whole(height, MAX_DOTS) || typeof pixels !== 'string') return bad();
      const r = all.create(id, format, width, height);
      if (typeof r === 'string') return bad();
      const data = Buffer.from(pixels, 'base64');
      r.addr = numbers(o.addr);
      r.ends = numbers(o.ends);
      if (data.length !== r.pixels.length || r.addr.length !== r.ends.length || r.ends.some((e, i) => e < (r.ends[i - 1] ?? 0))) bad();
      r.pixels.set(data);
    }
    return all;
  }
}
