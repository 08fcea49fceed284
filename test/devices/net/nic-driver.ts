/** What tests of network cards share: a PCI card in the RAM of a real PhysicalMemory, and a cable whose end is looked at. */
import { PciBus, type PciFunction, type PciHost } from '#lib/devices/pci/pci.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import type { FrameInfo, NetBackend, NicEnd } from '#lib/net/port.js';

export const RAM_BYTES = 4 * 1024 * 1024;
export const SLOT = 3;
export const MAC = Uint8Array.from([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
export const PLAIN: FrameInfo = { gsoSize: 0, noChecksum: false };

export class TestCable implements NetBackend {
  nic!: NicEnd;
  readonly sent: { frame: Uint8Array; info: FrameInfo }[] = [];
  flushes = 0;
  rooms = 0;
  /** What to answer from within transmit, as the user network does. */
  answer: Uint8Array | null = null;

  constructor(readonly offload = true) {}

  attach(nic: NicEnd): void {
    this.nic = nic;
  }

  transmit(frame: Uint8Array, info: Readonly<FrameInfo>): void {
    this.sent.push({ frame: frame.slice(), info: { ...info } });
    if (this.answer !== null) this.nic.receive(this.answer, PLAIN);
  }

  flush(): void {
    this.flushes++;
  }

  room(): void {
    this.rooms++;
  }

  close(): void {}
}

export class NicBoard<T extends PciFunction> {
  readonly mem = new PhysicalMemory(new ArrayBuffer(RAM_BYTES), 0);
  readonly bus = new PciBus();
  readonly card: T;
  /** Level of INTA. */
  intx = false;
  readonly base = 0xe000_0000;
  readonly ports = 0xc000;
  private next = 0x10_0000;

  constructor(
    make: (host: PciHost, mem: PhysicalMemory) => T,
    /** Which BARs are ports. */
    private readonly portBars: readonly number[],
  ) {
    this.mem.mapRam(0, RAM_BYTES, 0);
    this.card = make({ bus: this.mem, intx: (_devfn, _pin, level) => (this.intx = level), msi: () => {} }, this.mem);
    this.bus.add(this.card);
    this.mem.mapPorts(0xcf8, 8, this.bus.ports);
    this.enable();
  }

  /** Places the BARs, switches decoding and bus mastering on. */
  enable(): void {
    for (let n = 0; n < 6; n++) this.setConfig(0x10 + n * 4, this.portBars.includes(n) ? this.ports + n * 0x100 : this.base + n * 0x10_0000);
    this.setConfig(4, 7, 2);
  }

  config(reg: number, size = 4): number {
    this.mem.portOut(0xcf8, 4, (0x8000_0000 + (SLOT << 11) + (reg & 0xfc)) >>> 0);
    return this.mem.portIn(0xcfc + (reg & 3), size);
  }

  setConfig(reg: number, value: number, size = 4): void {
    this.mem.portOut(0xcf8, 4, (0x8000_0000 + (SLOT << 11) + (reg & 0xfc)) >>> 0);
    this.mem.portOut(0xcfc + (reg & 3), size, value);
  }

  /** RAM that nothing else uses, 128 bytes aligned. */
  alloc(bytes: number | Uint8Array): number {
    const at = this.next;
    const n = typeof bytes === 'number' ? bytes : bytes.length;
    this.next += Math.ceil(n / 128) * 128;
    if (typeof bytes !== 'number') this.mem.writeFrom(at, bytes);
    return at;
  }

  bytes(at: number, n: number): Uint8Array {
    const b = new Uint8Array(n);
    this.mem.readInto(at, b);
    return b;
  }
}

/** A frame to `dst` with a pattern in it. */
export function frame(n: number, dst: readonly number[] = [...MAC]): Uint8Array {
  const f = new Uint8Array(n).map((_, i) => i * 7);
  f.set(dst);
  return f;
}
