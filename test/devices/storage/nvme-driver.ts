/** The driver's side of NVMe, for tests: maps the function, makes queues in the RAM of a real PhysicalMemory, sends commands. */
import { ManualClock } from '#lib/devices/clock.js';
import { PciBus, type PciHost } from '#lib/devices/pci/pci.js';
import { Nvme } from '#lib/devices/storage/nvme.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import type { MemoryDisk } from './memory-disk.js';

export const RAM = 4 * 1024 * 1024;
const BAR = 0xe000_0000;
const MSIX_BAR = 0xe010_0000;
const ASQ = 0x1_0000;
const ACQ = 0x2_0000;
const QUEUES = 0x4_0000;
const QUEUE_BYTES = 0x1_0000;
const BUFFERS = 0x20_0000;
const SLOT = 3;

export interface Completion {
  cid: number;
  /** Status code type << 8 | status code. */
  status: number;
  result: number;
  sqHead: number;
  sqid: number;
}

export interface Command {
  opcode: number;
  nsid?: number;
  prp1?: number;
  prp2?: number;
  /** Dwords from 10 on. */
  dw?: number[];
  flags?: number;
  cid?: number;
}

interface Pair {
  sq: number;
  cq: number;
  size: number;
  tail: number;
  head: number;
  phase: number;
}

export class NvmeDriver {
  readonly mem = new PhysicalMemory(new ArrayBuffer(RAM), 0);
  readonly bus = new PciBus();
  readonly clock = new ManualClock(0);
  readonly messages: number[] = [];
  readonly logs: string[] = [];
  readonly dev: Nvme;
  intx = false;
  readonly pairs: Pair[] = [];
  private nextCid = 1;
  private next = BUFFERS;

  constructor(readonly disk: MemoryDisk) {
    this.mem.mapRam(0, RAM, 0);
    const host: PciHost = {
      bus: this.mem,
      intx: (_devfn, _pin, level) => (this.intx = level),
      msi: (_address, data) => void this.messages.push(data),
    };
    this.dev = new Nvme('nvme0', host, SLOT, { memory: this.mem, clock: this.clock, disk, serial: 'serial-1', log: (m) => void this.logs.push(m) });
    this.bus.add(this.dev);
    this.mem.mapPorts(0xcf8, 8, this.bus.ports);
    this.dev.reset();
  }

  setConfig(reg: number, v: number, size = 4): void {
    this.mem.portOut(0xcf8, 4, (0x8000_0000 + (SLOT << 11) + (reg & 0xfc)) >>> 0);
    this.mem.portOut(0xcfc + (reg & 3), size, v);
  }

  config(reg: number, size = 4): number {
    this.mem.portOut(0xcf8, 4, (0x8000_0000 + (SLOT << 11) + (reg & 0xfc)) >>> 0);
    return this.mem.portIn(0xcfc + (reg & 3), size);
  }

  read = (reg: number): number => this.mem.read(BAR + reg, 4);
  write = (reg: number, v: number): void => this.mem.write(BAR + reg, 4, v);

  /** Maps the BARs; with `msix` sends message 40h + vector. */
  probe(msix = false): void {
    this.setConfig(0x10, BAR);
    this.setConfig(0x14, 0);
    this.setConfig(0x20, MSIX_BAR);
    this.setConfig(4, 6, 2);
    if (!msix) return;
    for (let v = 0; v < 17; v++) [0xfee0_0000, 0, 0x40 + v, 0].forEach((w, i) => this.mem.write(MSIX_BAR + v * 16 + i * 4, 4, w));
    for (let at = this.config(0x34, 1); at !== 0; at = this.config(at + 1, 1)) if (this.config(at, 1) === 0x11) this.setConfig(at + 2, 0x8000, 2);
  }

  /** Enables the controller with admin queues of `size` entries. */
  enable(size = 16, cc = 0x0046_0001): void {
    this.write(0x24, (size - 1) | ((size - 1) << 16));
    this.write(0x28, ASQ);
    this.write(0x2c, 0);
    this.write(0x30, ACQ);
    this.write(0x34, 0);
    this.mem.ram8.fill(0, ACQ, ACQ + size * 16);
    this.pairs[0] = { sq: ASQ, cq: ACQ, size, tail: 0, head: 0, phase: 1 };
    this.write(0x14, cc);
  }

  /** A buffer at a page boundary. */
  buffer(bytes: number): number {
    const at = this.next;
    this.next += Math.ceil(bytes / 4096) * 4096;
    if (this.next > RAM) throw new Error('test: out of memory');
    return at;
  }

  free(): void {
    this.next = BUFFERS;
  }

  /** Makes I/O queue pair q. @returns the two statuses. */
  createPair(q: number, size = 16): number[] {
    const sq = QUEUES + q * QUEUE_BYTES;
    const cq = sq + QUEUE_BYTES / 2;
    this.mem.ram8.fill(0, cq, cq + size * 16);
    this.pairs[q] = { sq, cq, size, tail: 0, head: 0, phase: 1 };
    return [
      this.admin({ opcode: 5, prp1: cq, dw: [q | ((size - 1) << 16), 3 | (q << 16)] }).status,
      this.admin({ opcode: 1, prp1: sq, dw: [q | ((size - 1) << 16), 1 | (q << 16)] }).status,
    ];
  }

  /** Puts a command into the queue without ringing. @returns its identifier. */
  put(q: number, c: Command): number {
    const p = this.pairs[q]!;
    const at = p.sq + p.tail * 64;
    const cid = c.cid ?? this.nextCid++ & 0xffff;
    this.mem.ram8.fill(0, at, at + 64);
    this.mem.write32(at, c.opcode | ((c.flags ?? 0) << 8) | (cid << 16));
    this.mem.write32(at + 4, c.nsid ?? (q === 0 ? 0 : 1));
    const put64 = (a: number, v: number): void => {
      this.mem.write32(a, v % 2 ** 32);
      this.mem.write32(a + 4, Math.floor(v / 2 ** 32));
    };
    put64(at + 24, c.prp1 ?? 0);
    put64(at + 32, c.prp2 ?? 0);
    (c.dw ?? []).forEach((w, i) => this.mem.write32(at + 40 + i * 4, w));
    p.tail = (p.tail + 1) % p.size;
    return cid;
  }

  ring(q: number): void {
    this.write(0x1000 + q * 8, this.pairs[q]!.tail);
  }

  /** Takes the completions that are there; `acknowledge`: tells the device so. */
  take(q: number, acknowledge = true): Completion[] {
    const p = this.pairs[q]!;
    const out: Completion[] = [];
    for (;;) {
      const at = p.cq + p.head * 16;
      const last = this.mem.read32(at + 12);
      if (((last >>> 16) & 1) !== p.phase) break;
      out.push({ cid: last & 0xffff, status: (last >>> 17) & 0x7ff, result: this.mem.read32(at), sqHead: this.mem.read16(at + 8), sqid: this.mem.read16(at + 10) });
      p.head++;
      if (p.head === p.size) {
        p.head = 0;
        p.phase ^= 1;
      }
    }
    if (acknowledge && out.length > 0) this.write(0x1004 + q * 8, p.head);
    return out;
  }

  run(q: number, c: Command): Completion {
    this.put(q, c);
    this.ring(q);
    const [done, ...more] = this.take(q);
    if (done === undefined || more.length > 0) throw new Error(`test: ${more.length + (done ? 1 : 0)} completions for one command`);
    return done;
  }

  admin(c: Command): Completion {
    return this.run(0, c);
  }

  /** Enabled, with one I/O queue pair. */
  start(msix = false): void {
    this.probe(msix);
    this.enable();
    this.createPair(1);
  }
}
