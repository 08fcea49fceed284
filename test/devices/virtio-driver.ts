/**
 * The driver's side of virtio over PCI, for tests: finds the device through configuration space as a guest would, maps its
 * BARs, negotiates and runs queues in the RAM of a real PhysicalMemory. Ring memory can be spoiled at will.
 */
import { PciBus, type PciHost } from '#lib/devices/pci/pci.js';
import { VirtioPci, type VirtioDevice } from '#lib/devices/virtio/pci-transport.js';
import { PhysicalMemory } from '#lib/memory/physical.js';

export const RAM_BYTES = 2 * 1024 * 1024;
const RINGS = 0x1_0000;
const RING_BYTES = 0x1_0000;
const BUFFERS = 0x10_0000;
const BAR_BASE = 0xe000_0000;
export const DESC = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

export interface Ring {
  desc: number;
  avail: number;
  used: number;
  size: number;
}

interface Capability {
  bar: number;
  offset: number;
  multiplier: number;
}

export class VirtioDriver {
  readonly mem = new PhysicalMemory(new ArrayBuffer(RAM_BYTES), 0);
  readonly bus = new PciBus();
  readonly pci: VirtioPci;
  readonly messages: { address: number; data: number }[] = [];
  readonly logs: string[] = [];
  intx = false;
  readonly rings: Ring[] = [];
  readonly caps = new Map<number, Capability>();
  private nextBuffer = BUFFERS;
  private readonly nextDesc: number[] = [];
  private readonly seenUsed: number[] = [];

  constructor(dev: VirtioDevice) {
    this.mem.mapRam(0, RAM_BYTES, 0);
    const host: PciHost = {
      bus: this.mem,
      intx: (_devfn, _pin, level) => (this.intx = level),
      msi: (address, data) => void this.messages.push({ address, data }),
    };
    this.pci = new VirtioPci('virtio', host, 3, this.mem, dev, (m) => void this.logs.push(m));
    this.bus.add(this.pci);
    this.mem.mapPorts(0xcf8, 8, this.bus.ports);
    this.pci.reset();
  }

  // ---- configuration space ----

  config(reg: number, size = 4): number {
    this.mem.portOut(0xcf8, 4, (0x8000_0000 + (3 << 11) + (reg & 0xfc)) >>> 0);
    return this.mem.portIn(0xcfc + (reg & 3), size);
  }

  setConfig(reg: number, value: number, size = 4): void {
    this.mem.portOut(0xcf8, 4, (0x8000_0000 + (3 << 11) + (reg & 0xfc)) >>> 0);
    this.mem.portOut(0xcfc + (reg & 3), size, value);
  }

  /** Places BARs, reads the capabilities, switches memory and bus mastering on. */
  probe(): void {
    for (let n = 0; n < 6; n++) this.setConfig(0x10 + n * 4, BAR_BASE + n * 0x1_0000);
    this.setConfig(4, 6, 2);
    for (let at = this.config(0x34, 1); at !== 0; at = this.config(at + 1, 1)) {
      if (this.config(at, 1) !== 9) continue;
      this.caps.set(this.config(at + 3, 1), { bar: this.config(at + 4, 1), offset: this.config(at + 8), multiplier: this.config(at + 16) });
    }
  }

  /** Address of a register of capability `type` (1 common, 2 notify, 3 ISR, 4 device). */
  at(type: number, offset: number): number {
    const c = this.caps.get(type)!;
    return (this.config(0x10 + c.bar * 4) & ~15) + 2 ** 32 * (BAR_BASE > 2 ** 31 ? 1 : 0) + c.offset + offset;
  }

  read(type: number, offset: number, size: number): number {
    return this.mem.read(this.at(type, offset), size);
  }

  write(type: number, offset: number, size: number, value: number): void {
    this.mem.write(this.at(type, offset), size, value);
  }

  get status(): number {
    return this.read(1, 0x14, 1);
  }

  set status(v: number) {
    this.write(1, 0x14, 1, v);
  }

  features(): { lo: number; hi: number } {
    this.write(1, 0, 4, 0);
    const lo = this.read(1, 4, 4);
    this.write(1, 0, 4, 1);
    return { lo, hi: this.read(1, 4, 4) };
  }

  negotiate(lo: number, hi: number): boolean {
    this.status = 1;
    this.status = 3;
    this.write(1, 8, 4, 0);
    this.write(1, 12, 4, lo);
    this.write(1, 8, 4, 1);
    this.write(1, 12, 4, hi);
    this.status = 11;
    return (this.status & 8) !== 0;
  }

  queueCount(): number {
    return this.read(1, 0x12, 2);
  }

  /** Places and enables queue q. Rings may be put elsewhere with `ring`. */
  enable(q: number, size = 16, ring: Partial<Ring> = {}): void {
    const base = RINGS + q * RING_BYTES;
    const r: Ring = { desc: base, avail: base + 0x4000, used: base + 0x8000, size, ...ring };
    this.rings[q] = r;
    this.nextDesc[q] = 0;
    this.seenUsed[q] = 0;
    this.write(1, 0x16, 2, q);
    this.write(1, 0x18, 2, size);
    [r.desc, r.avail, r.used].forEach((a, i) => {
      this.write(1, 0x20 + i * 8, 4, a % 2 ** 32);
      this.write(1, 0x24 + i * 8, 4, Math.floor(a / 2 ** 32));
    });
    this.write(1, 0x1c, 2, 1);
  }

  /** From reset to DRIVER_OK with the features offered, less `without`. */
  start(size = 16, without = 0): void {
    this.probe();
    const f = this.features();
    if (!this.negotiate((f.lo & ~without) >>> 0, f.hi)) throw new Error('FEATURES_OK refused');
    for (let q = 0; q < this.queueCount(); q++) this.enable(q, size);
    this.status = 15;
  }

  /** Switches MSI-X on, one message per vector: address fee00000, data 40h + vector. */
  useMsix(): void {
    for (let at = this.config(0x34, 1); at !== 0; at = this.config(at + 1, 1)) {
      if (this.config(at, 1) !== 0x11) continue;
      const table = 2 ** 32 + (this.config(0x10 + (this.config(at + 4) & 7) * 4) & ~15);
      const vectors = (this.config(at + 2, 2) & 0x7ff) + 1;
      for (let v = 0; v < vectors; v++) {
        this.mem.write(table + v * 16, 4, 0xfee0_0000);
        this.mem.write(table + v * 16 + 4, 4, 0);
        this.mem.write(table + v * 16 + 8, 4, 0x40 + v);
        this.mem.write(table + v * 16 + 12, 4, 0);
      }
      this.setConfig(at + 2, 0x8000, 2);
    }
    this.write(1, 0x10, 2, 0);
    for (let q = 0; q < this.queueCount(); q++) {
      this.write(1, 0x16, 2, q);
      this.write(1, 0x1a, 2, q + 1);
    }
  }

  // ---- rings ----

  /** RAM that nothing else uses. */
  buffer(bytes: number | Uint8Array): number {
    const at = this.nextBuffer;
    const n = typeof bytes === 'number' ? bytes : bytes.length;
    this.nextBuffer += Math.ceil(n / 16) * 16;
    if (typeof bytes !== 'number') this.mem.writeFrom(at, bytes);
    return at;
  }

  /** Memory of all buffers so far may be used again. */
  rewind(): void {
    this.nextBuffer = BUFFERS;
  }

  bytes(at: number, n: number): Uint8Array {
    const b = new Uint8Array(n);
    this.mem.readInto(at, b);
    return b;
  }

  setDesc(table: number, i: number, addr: number, len: number, flags: number, next: number): void {
    const d = table + i * 16;
    this.mem.write32(d, addr % 2 ** 32);
    this.mem.write32(d + 4, Math.floor(addr / 2 ** 32));
    this.mem.write32(d + 8, len);
    this.mem.write16(d + 12, flags);
    this.mem.write16(d + 14, next);
  }

  /** Offers the chain that starts at descriptor `head`. */
  offer(q: number, head: number): void {
    const r = this.rings[q]!;
    const idx = this.mem.read16(r.avail + 2);
    this.mem.write16(r.avail + 4 + (idx % r.size) * 2, head);
    this.mem.write16(r.avail + 2, (idx + 1) & 0xffff);
  }

  /** Builds a chain of pieces the device reads, then pieces it writes, and offers it. @returns addresses of the writable pieces. */
  add(q: number, readable: readonly Uint8Array[], writable: readonly number[], indirect = false): number[] {
    const r = this.rings[q]!;
    const total = readable.length + writable.length;
    const out = writable.map((n) => this.buffer(n));
    const pieces = [...readable.map((b) => ({ at: this.buffer(b), n: b.length, f: 0 })), ...writable.map((n, i) => ({ at: out[i]!, n, f: DESC.WRITE }))];
    if (indirect) {
      const table = this.buffer(total * 16);
      pieces.forEach((p, i) => this.setDesc(table, i, p.at, p.n, p.f | (i + 1 < total ? DESC.NEXT : 0), i + 1));
      const head = this.nextDesc[q]! % r.size;
      this.nextDesc[q]!++;
      this.setDesc(r.desc, head, table, total * 16, DESC.INDIRECT, 0);
      this.offer(q, head);
      return out;
    }
    const first = this.nextDesc[q]!;
    pieces.forEach((p, i) => this.setDesc(r.desc, (first + i) % r.size, p.at, p.n, p.f | (i + 1 < total ? DESC.NEXT : 0), (first + i + 1) % r.size));
    this.nextDesc[q] = first + total;
    this.offer(q, first % r.size);
    return out;
  }

  kick(q: number): void {
    const c = this.caps.get(2)!;
    this.write(1, 0x16, 2, q);
    this.write(2, this.read(1, 0x1e, 2) * c.multiplier, 2, q);
  }

  /** What the device has returned since the last call. */
  returned(q: number): { id: number; len: number }[] {
    const r = this.rings[q]!;
    const out: { id: number; len: number }[] = [];
    for (let i = this.seenUsed[q]!; i !== this.mem.read16(r.used + 2); i = (i + 1) & 0xffff) {
      const e = r.used + 4 + (i % r.size) * 8;
      out.push({ id: this.mem.read32(e), len: this.mem.read32(e + 4) });
      this.seenUsed[q] = (i + 1) & 0xffff;
    }
    return out;
  }
}
