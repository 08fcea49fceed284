/**
 * Physical address space of a machine: RAM, ROM, MMIO windows and I/O ports, and the view devices use for DMA.
 *
 * All RAM and ROM contents lie in one host mapping ("ram offsets"). Physical pages below 4 GiB map to it through a flat
 * table; pages above through a short list of ranges. Anything else is MMIO or nothing.
 */
import type { PhysicalMap, PortSpace } from '../engine/cpu.js';
import type { Doorbell, GuestMemory, IoBus, IoHandler } from '../devices/device.js';
import { VmxError } from '../errors.js';

const PAGE = 4096;
/** What one entry of `written` stands for. */
const STRETCH = 2 << 20;
/** Flat table: 2^20 pages. */
const LOW_PAGES = 1 << 20;
/** Zero, so that what is never mapped needs no memory of the host. */
const UNMAPPED = 0;
/** Added to entries of the flat table, which may be negative or 0 themselves. */
const BIAS = 1 << 24;

interface Window {
  base: number;
  end: number;
  handler: IoHandler;
}

/** Value that nothing drives: all ones. size 1, 2 or 4. */
export function floating(size: number): number {
  return size === 1 ? 0xff : size === 2 ? 0xffff : 0xffff_ffff;
}

export class PhysicalMemory implements PhysicalMap, PortSpace, IoBus, GuestMemory {
  readonly ram8: Uint8Array;
  readonly ram16: Uint16Array;
  readonly ram32: Int32Array;
  readonly ramView: DataView;
  readonly ramAddress: number;
  readonly codePages: Uint8Array;
  readonly written: Uint8Array;
  /** The CPU has begun to write to a stretch of 2 MiB after the two before (or behind) it: it is likely to go on so, `step` (1, -1) by step. */
  onSequence: (stretch: number, step: number) => void = () => {};
  onCodeWrite: (ramOffset: number, bytes: number) => void = () => {};
  /** As onCodeWrite, for writes by devices: must not throw. */
  onDmaCodeWrite: (ramOffset: number, bytes: number) => void = () => {};
  /**
   * Called when a page becomes RAM or ROM or ceases to be (windows only decode where there is no RAM). `code`: translations
   * of what was mapped there may exist.
   */
  onRemap: (code: boolean) => void = () => {};

  /** By how many pages the ram offset of each page below 4 GiB is above its address, plus BIAS, or UNMAPPED: one value for all pages of a range, which is set at once. */
  private readonly low = new Int32Array(LOW_PAGES);
  /** No page from this one on has been mapped yet. */
  private lowEnd = 0;
  private readonly rom = new Uint8Array(LOW_PAGES);
  private readonly high: { base: number; end: number; offset: number }[] = [];
  private windows: Window[] = [];
  private lastWindow: Window | null = null;
  /** Page asked for last that no window reaches into, or -1. */
  private nothing = -1;
  private readonly ports: (Window | undefined)[] = new Array<Window | undefined>(65536);

  /** @param buffer holds RAM then ROM contents; page multiple, at most 4 GiB. @param address its host address. @param codeMap see PhysicalMap */
  constructor(buffer: ArrayBuffer, address: number, readonly codeMap?: { readonly words: Int32Array; readonly address: number }) {
    this.ram8 = new Uint8Array(buffer);
    this.ram16 = new Uint16Array(buffer);
    this.ram32 = new Int32Array(buffer);
    this.ramView = new DataView(buffer);
    this.ramAddress = address;
    this.codePages = new Uint8Array(buffer.byteLength / PAGE);
    this.written = new Uint8Array(Math.ceil(buffer.byteLength / STRETCH));
  }

  firstWrite(stretch: number): void {
    const { written } = this;
    written[stretch] = 1;
    if (written[stretch - 1] === 1 && written[stretch - 2] === 1) this.onSequence(stretch, 1);
    else if (written[stretch + 1] === 1 && written[stretch + 2] === 1) this.onSequence(stretch, -1);
  }

  /** Maps [pa, pa+bytes) to ram offset `offset`. Page multiples. */
  mapRam(pa: number, bytes: number, offset: number, rom = false): void {
    if (pa % PAGE || bytes % PAGE || offset % PAGE) throw new VmxError('ERR_INTERNAL', 'mapRam: unaligned');
    if (pa >= LOW_PAGES * PAGE) {
      this.high.push({ base: pa, end: pa + bytes, offset });
      return;
    }
    const { low } = this;
    const first = pa / PAGE;
    const pages = bytes / PAGE;
    const now = offset / PAGE - first + BIAS;
    let code = false;
    for (let p = first; p < first + pages && p < this.lowEnd; p++) {
      if (low[p] !== now && this.hasCode(p)) code = true;
    }
    low.fill(now, first, first + pages);
    this.rom.fill(rom ? 1 : 0, first, first + pages);
    this.lowEnd = Math.max(this.lowEnd, Math.min(first + pages, LOW_PAGES));
    this.onRemap(code);
  }

  unmapRam(pa: number, bytes: number): void {
    let code = false;
    for (let p = pa / PAGE; p < (pa + bytes) / PAGE; p++) {
      if (this.hasCode(p)) code = true;
      this.low[p] = UNMAPPED;
      this.rom[p] = 0;
    }
    this.onRemap(code);
  }

  /** Page p below 4 GiB is RAM or ROM, and code has been translated from there. */
  private hasCode(p: number): boolean {
    const at = this.low[p]!;
    return at !== UNMAPPED && this.codePages[at - BIAS + p] !== 0;
  }

  /** Writes to RAM by its ram offset, wherever (and whether) it is mapped. size 1, 2 or 4. */
  poke(offset: number, size: number, value: number): void {
    this.touch(offset, size);
    for (let i = 0; i < size; i++) this.ram8[offset + i] = value >>> (8 * i);
  }

  /**
   * Maps memory behind a BAR: pages that are nothing so far become RAM or ROM, others stay what they are, so that no BAR can
   * hide or take away guest RAM. Below 4 GiB. @returns the function that takes it away again.
   */
  mapBarRam(pa: number, bytes: number, offset: number, rom = false): () => void {
    if (pa % PAGE || bytes % PAGE || offset % PAGE || pa + bytes > LOW_PAGES * PAGE) throw new VmxError('ERR_INTERNAL', 'mapBarRam: bad range');
    const first = pa / PAGE;
    const pages = bytes / PAGE;
    const source = offset / PAGE - first + BIAS;
    this.lowEnd = Math.max(this.lowEnd, first + pages);
    for (let i = 0; i < pages; i++) {
      if (this.low[first + i] !== UNMAPPED) continue;
      this.low[first + i] = source;
      this.rom[first + i] = rom ? 1 : 0;
    }
    this.onRemap(false);
    return () => {
      let code = false;
      for (let i = 0; i < pages; i++) {
        if (this.low[first + i] !== source) continue;
        if (this.hasCode(first + i)) code = true;
        this.low[first + i] = UNMAPPED;
        this.rom[first + i] = 0;
      }
      this.onRemap(code);
    };
  }

  pageOffset(pa: number): number {
    if (pa < 0x1_0000_0000) {
      const p = Math.floor(pa / PAGE);
      const at = this.low[p]!;
      return at === UNMAPPED ? -1 : (at - BIAS + p) * PAGE;
    }
    for (const r of this.high) {
      if (pa >= r.base && pa < r.end) return r.offset + Math.floor((pa - r.base) / PAGE) * PAGE;
    }
    return -1;
  }

  isRom(pa: number): boolean {
    return pa < 0x1_0000_0000 && this.rom[Math.floor(pa / PAGE)] === 1;
  }

  mapMmio(base: number, length: number, handler: IoHandler): () => void {
    const w: Window = { base, end: base + length, handler };
    this.windows.unshift(w);
    this.lastWindow = null;
    this.nothing = -1;
    return () => {
      this.windows = this.windows.filter((x) => x !== w);
      this.lastWindow = null;
    };
  }

  mapPorts(base: number, length: number, handler: IoHandler): () => void {
    const w: Window = { base, end: base + length, handler };
    const old = this.ports.slice(base, base + length);
    for (let p = base; p < base + length && p < 65536; p++) this.ports[p] = w;
    return () => {
      for (let p = base; p < base + length && p < 65536; p++) if (this.ports[p] === w) this.ports[p] = old[p - base];
    };
  }

  /** Contiguous ranges of RAM and ROM: physical address, size and ram offset in bytes. In ascending order of addresses. */
  ranges(): { pa: number; bytes: number; offset: number; rom: boolean }[] {
    const out: { pa: number; bytes: number; offset: number; rom: boolean }[] = [];
    for (let p = 0; p < LOW_PAGES; ) {
      const first = this.low[p]!;
      if (first === UNMAPPED) {
        p++;
        continue;
      }
      const rom = this.rom[p]!;
      let n = 1;
      while (p + n < LOW_PAGES && this.low[p + n] === first && this.rom[p + n] === rom) n++;
      out.push({ pa: p * PAGE, bytes: n * PAGE, offset: (first - BIAS + p) * PAGE, rom: rom === 1 });
      p += n;
    }
    for (const r of [...this.high].sort((a, b) => a.base - b.base)) out.push({ pa: r.base, bytes: r.end - r.base, offset: r.offset, rom: false });
    return out;
  }

  /** Windows whose writes may come late (IoHandler.posted): [first, bytes]. They do not change while the machine exists. */
  posted(): [number, number][] {
    return this.windows.filter((w) => w.handler.posted === true).map((w) => [w.base, w.end - w.base]);
  }

  /** Doorbells in windows of memory, with their addresses; windows on top first. */
  doorbells(): { pa: number; bell: Doorbell }[] {
    return this.windows.flatMap((w) => (w.handler.doorbells ?? []).map((bell) => ({ pa: w.base + bell.offset, bell })));
  }

  /** What is mapped where, for listings: RAM and ROM below 4 GiB, windows of memory and ports; [first, last]. */
  regions(): { ram: [number, number][]; rom: [number, number][]; mmio: [number, number][]; ports: [number, number][] } {
    const out = { ram: [] as [number, number][], rom: [] as [number, number][], mmio: [] as [number, number][], ports: [] as [number, number][] };
    for (let p = 0; p < LOW_PAGES; ) {
      const start = p;
      const kind = this.low[p] === UNMAPPED ? null : this.rom[p] ? 'rom' : 'ram';
      while (p < LOW_PAGES && (this.low[p] === UNMAPPED ? null : this.rom[p] ? 'rom' : 'ram') === kind) p++;
      if (kind !== null) out[kind].push([start * PAGE, p * PAGE - 1]);
    }
    for (const r of this.high) out.ram.push([r.base, r.end - 1]);
    for (const w of this.windows) out.mmio.push([w.base, w.end - 1]);
    out.mmio.sort((a, b) => a[0] - b[0]);
    for (let p = 0; p < 65536; ) {
      const w = this.ports[p];
      const start = p;
      while (p < 65536 && this.ports[p] === w) p++;
      if (w !== undefined) out.ports.push([start, p - 1]);
    }
    return out;
  }

  private window(pa: number): Window | null {
    const l = this.lastWindow;
    if (l !== null && pa >= l.base && pa < l.end) return l;
    const page = pa - (pa % PAGE);
    if (page === this.nothing) return null;
    for (const w of this.windows) {
      if (pa >= w.base && pa < w.end) return (this.lastWindow = w);
    }
    if (!this.windows.some((w) => w.base < page + PAGE && w.end > page)) this.nothing = page;
    return null;
  }

  /** Something answers at pa that is not RAM. */
  isDevice(pa: number): boolean {
    return this.window(pa) !== null;
  }

  read(pa: number, size: number): number {
    const w = this.window(pa);
    if (w === null) return floating(size);
    return w.handler.read(pa - w.base, size);
  }

  write(pa: number, size: number, value: number): void {
    const w = this.window(pa);
    if (w !== null) w.handler.write(pa - w.base, size, value);
  }

  portIn(port: number, size: number): number {
    const w = this.ports[port];
    if (w === undefined) return floating(size);
    if (port + size <= w.end) return w.handler.read(port - w.base, size);
    // An access wider than the device: the bus splits it into bytes.
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + (port + i < 65536 ? this.portIn(port + i, 1) : 0xff);
    return v;
  }

  portOut(port: number, size: number, value: number): void {
    const w = this.ports[port];
    if (w === undefined) return;
    if (port + size <= w.end) {
      w.handler.write(port - w.base, size, value);
      return;
    }
    for (let i = 0; i < size && port + i < 65536; i++) this.portOut(port + i, 1, (value >>> (8 * i)) & 0xff);
  }

  // ---- GuestMemory -------------------------------------------------------------------------------------------

  valid(pa: number, len: number): boolean {
    if (!(pa >= 0) || !(len >= 0) || pa + len > 2 ** 52) return false;
    const last = pa + Math.max(len, 1) - 1;
    for (let p = pa - (pa % PAGE); p <= last; p += PAGE) if (this.pageOffset(p) < 0) return false;
    return true;
  }

  readInto(pa: number, dst: Uint8Array): boolean {
    for (let done = 0; done < dst.length; ) {
      const a = pa + done;
      const off = this.pageOffset(a);
      if (off < 0) return false;
      const n = Math.min(PAGE - (a % PAGE), dst.length - done);
      dst.set(this.ram8.subarray(off + (a % PAGE), off + (a % PAGE) + n), done);
      done += n;
    }
    return true;
  }

  writeFrom(pa: number, src: Uint8Array): boolean {
    for (let done = 0; done < src.length; ) {
      const a = pa + done;
      const off = this.writable(a);
      if (off < 0) return false;
      let n = Math.min(PAGE - (a % PAGE), src.length - done);
      this.touch(off, n);
      // Pages that follow without code in them go along.
      for (let to = off + n; done + n < src.length && this.writable(a + n) === to && this.codePages[to / PAGE] === 0; to += PAGE) n += Math.min(PAGE, src.length - done - n);
      this.ram8.set(src.subarray(done, done + n), off);
      done += n;
    }
    return true;
  }

  read8(pa: number): number {
    const off = this.pageOffset(pa);
    return off < 0 ? 0xff : this.ram8[off + (pa % PAGE)]!;
  }

  read16(pa: number): number {
    return this.read8(pa) | (this.read8(pa + 1) << 8);
  }

  read32(pa: number): number {
    const off = this.pageOffset(pa);
    const o = pa % PAGE;
    if (off >= 0 && o <= PAGE - 4) return this.ramView.getUint32(off + o, true);
    return (this.read16(pa) | (this.read16(pa + 2) << 16)) >>> 0;
  }

  read64(pa: number): number {
    const hi = this.read32(pa + 4);
    return hi < 0x20_0000 ? hi * 0x1_0000_0000 + this.read32(pa) : NaN;
  }

  write8(pa: number, v: number): void {
    const off = this.writable(pa);
    if (off < 0) return;
    this.touch(off, 1);
    this.ram8[off] = v;
  }

  write16(pa: number, v: number): void {
    this.write8(pa, v & 0xff);
    this.write8(pa + 1, (v >>> 8) & 0xff);
  }

  write32(pa: number, v: number): void {
    const off = this.writable(pa);
    if (off >= 0 && pa % PAGE <= PAGE - 4) {
      this.touch(off, 4);
      this.ramView.setUint32(off, v >>> 0, true);
      return;
    }
    this.write16(pa, v & 0xffff);
    this.write16(pa + 2, v >>> 16);
  }

  view(pa: number, len: number): Uint8Array | null {
    const off = this.contiguous(pa, len);
    return off < 0 ? null : this.ram8.subarray(off, off + len);
  }

  viewForWrite(pa: number, len: number): Uint8Array | null {
    const off = this.contiguous(pa, len);
    if (off < 0) return null;
    for (let p = pa - (pa % PAGE); p < pa + len; p += PAGE) if (this.isRom(p)) return null;
    this.touch(off, len);
    return this.ram8.subarray(off, off + len);
  }

  /** Ram offset of byte pa if devices may write it, else -1. */
  private writable(pa: number): number {
    const off = this.pageOffset(pa);
    return off < 0 || this.isRom(pa) ? -1 : off + (pa % PAGE);
  }

  /** Ram offset of pa if [pa, pa+len) is RAM and contiguous in the host mapping, else -1. */
  private contiguous(pa: number, len: number): number {
    if (!(pa >= 0) || !(len > 0) || pa + len > 2 ** 52) return -1;
    const first = this.pageOffset(pa);
    if (first < 0) return -1;
    const base = pa - (pa % PAGE);
    for (let p = base + PAGE; p < pa + len; p += PAGE) if (this.pageOffset(p) !== first + (p - base)) return -1;
    return first + (pa % PAGE);
  }

  private touch(off: number, len: number): void {
    for (let p = Math.floor(off / PAGE); p * PAGE < off + len; p++) {
      if (this.codePages[p]) {
        const start = Math.max(off, p * PAGE);
        this.onDmaCodeWrite(start, Math.min(off + len, (p + 1) * PAGE) - start);
      }
    }
  }
}
