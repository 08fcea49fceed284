/** A driver for the xHCI controller, for tests: rings and contexts in guest memory, commands, transfers. */
import { ManualClock } from '#lib/devices/clock.js';
import type { IoHandler } from '#lib/devices/device.js';
import type { UsbDevice } from '#lib/devices/usb/usb-device.js';
import { Xhci } from '#lib/devices/usb/xhci.js';
import { TestMemory } from '../memory.js';
import { placeBar, TestPciHost } from '../storage/pci-host.js';

const [DCBAA, COMMANDS, ERST, EVENTS, INPUT, CONTEXTS, RINGS] = [0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x1_0000];
const EVENT_COUNT = 64;
const RING_BYTES = 0x1000;
const RAM = 0x8_0000;
const BASE = 0xe000_0000;

export interface Event {
  type: number;
  code: number;
  pointer: number;
  length: number;
  slot: number;
  dci: number;
  ed: boolean;
}

export class XhciDriver {
  readonly mem = new TestMemory(RAM);
  readonly clock = new ManualClock(1_000_000);
  readonly host = new TestPciHost();
  readonly dev: Xhci;
  readonly logs: string[] = [];
  bar!: IoHandler;
  /** Where the next TRB of each ring goes, by doorbell and target. */
  private at = new Map<number, number>();
  private next = 0;
  private cycle = 1;

  constructor(readonly devices: readonly UsbDevice[]) {
    this.dev = new Xhci('xhci', this.host, 5, { memory: this.mem, clock: this.clock, log: (m) => this.logs.push(m) });
    for (const d of devices) this.dev.plug(d);
  }

  op(reg: number, v?: number): number {
    if (v !== undefined) this.bar.write(0x40 + reg, 4, v);
    return this.bar.read(0x40 + reg, 4);
  }

  port(n: number, v?: number): number {
    return this.op(0x400 + (n - 1) * 16, v);
  }

  /** Sets everything up and lets it run. */
  start(): void {
    this.dev.reset();
    this.bar = placeBar(this.host, this.dev, 0, 'mmio', BASE);
    this.mem.writeFrom(DCBAA, new Uint8Array(RINGS - DCBAA));
    this.mem.writeFrom(RINGS, new Uint8Array(32 * RING_BYTES));
    this.at = new Map([[0, COMMANDS]]);
    [this.next, this.cycle] = [0, 1];
    this.op(0x38, 16);
    this.op(0x30, DCBAA);
    this.op(0x34, 0);
    this.op(0x18, COMMANDS | 1);
    this.op(0x1c, 0);
    this.mem.write32(ERST, EVENTS);
    this.mem.write32(ERST + 8, EVENT_COUNT);
    const ir = (reg: number, v: number): void => this.bar.write(0x1020 + reg, 4, v);
    ir(8, 1);
    ir(0x18, EVENTS);
    ir(0x1c, 0);
    ir(0x10, ERST);
    ir(0x14, 0);
    ir(0, 2);
    this.op(0, 5);
  }

  /** Events that have come, and tells the controller that they were taken. */
  events(): Event[] {
    const out: Event[] = [];
    for (;;) {
      const pa = EVENTS + this.next * 16;
      const control = this.mem.read32(pa + 12);
      if ((control & 1) !== this.cycle) break;
      const status = this.mem.read32(pa + 8);
      out.push({
        type: (control >>> 10) & 63, code: status >>> 24, length: status & 0xff_ffff, slot: control >>> 24, dci: (control >>> 16) & 31, ed: (control & 4) !== 0,
        pointer: this.mem.read32(pa) + this.mem.read32(pa + 4) * 2 ** 32,
      });
      this.next = (this.next + 1) % EVENT_COUNT;
      if (this.next === 0) this.cycle ^= 1;
    }
    this.bar.write(0x1038, 4, (EVENTS + this.next * 16) | 8);
    this.bar.write(0x103c, 4, 0);
    return out;
  }

  /** Puts a TRB into a ring. @returns its address */
  put(ring: number, lo: number, hi: number, status: number, control: number): number {
    const pa = this.at.get(ring)!;
    this.mem.write32(pa, lo);
    this.mem.write32(pa + 4, hi);
    this.mem.write32(pa + 8, status);
    // Rings are long enough for a test.
    this.mem.write32(pa + 12, (control | 1) >>> 0);
    this.at.set(ring, pa + 16);
    return pa;
  }

  bell(slot: number, target: number): void {
    this.bar.write(0x2000 + slot * 4, 4, target);
  }

  /** @returns the completion event */
  command(type: number, lo = 0, flags = 0, slot = 0): Event {
    this.put(0, lo, 0, 0, (type << 10) | flags | (slot << 24));
    this.bell(0, 0);
    const e = this.events().filter((x) => x.type === 33);
    if (e.length !== 1) throw new Error(`${e.length} completions`);
    return e[0]!;
  }

  ring(slot: number, dci: number): number {
    return slot * 32 + dci;
  }

  private newRing(slot: number, dci: number): number {
    const pa = RINGS + ((slot - 1) * 8 + (dci & 7)) * RING_BYTES;
    this.at.set(this.ring(slot, dci), pa);
    return pa;
  }

  /** Resets port n, enables a slot for what is there, gives it an address. @returns slot */
  address(n: number): number {
    this.port(n, 0x210);
    this.events();
    const { slot } = this.command(9);
    this.mem.write32(DCBAA + slot * 8, CONTEXTS + slot * 0x400);
    this.input(3);
    this.mem.write32(INPUT + 0x20, (1 << 27) | (3 << 20));
    this.mem.write32(INPUT + 0x24, n << 16);
    this.endpointContext(slot, 1, 4, 64);
    const e = this.command(11, INPUT, 0, slot);
    if (e.code !== 1) throw new Error(`address device: ${e.code}`);
    return slot;
  }

  private input(add: number): void {
    this.mem.writeFrom(INPUT, new Uint8Array(0x420));
    this.mem.write32(INPUT + 4, add >>> 0);
  }

  private endpointContext(slot: number, dci: number, type: number, packet: number): void {
    const pa = INPUT + 0x20 * (dci + 1);
    this.mem.write32(pa + 4, (type << 3) | (packet << 16));
    this.mem.write32(pa + 8, this.newRing(slot, dci) | 1);
  }

  /** Configure Endpoint with one more endpoint. type: 2 bulk out, 6 bulk in, 7 interrupt in. */
  configure(slot: number, dci: number, type: number, packet: number): Event {
    this.input((1 << dci) | 1);
    this.endpointContext(slot, dci, type, packet);
    return this.command(12, INPUT, 0, slot);
  }

  /** Word of the output context of an endpoint (0: the slot). */
  context(slot: number, dci: number, word: number): number {
    return this.mem.read32(CONTEXTS + slot * 0x400 + dci * 0x20 + word * 4);
  }

  /** A control transfer. @returns completion code and, for IN, the bytes */
  control(slot: number, type: number, request: number, value: number, index: number, length: number, data: Uint8Array = new Uint8Array(0)): { code: number; data: Buffer } {
    const ring = this.ring(slot, 1);
    const isIn = (type & 0x80) !== 0;
    const buffer = 0x7_0000;
    this.mem.writeFrom(buffer, new Uint8Array(length));
    this.mem.writeFrom(buffer, data);
    this.put(ring, (type | (request << 8) | (value << 16)) >>> 0, (index | (length << 16)) >>> 0, 8, (2 << 10) | 0x40);
    if (length > 0) this.put(ring, buffer, 0, length, (3 << 10) | (isIn ? 0x1_0004 : 4));
    this.put(ring, 0, 0, 0, (4 << 10) | 0x20 | (isIn ? 0 : 0x1_0000));
    this.bell(slot, 1);
    const events = this.events();
    const short = events.find((e) => e.code === 13);
    const last = events.at(-1);
    return { code: last?.code ?? 0, data: Buffer.from(this.mem.ram.subarray(buffer, buffer + length - (short?.length ?? 0))) };
  }

  /** One TRB of a bulk or interrupt transfer. */
  transfer(slot: number, dci: number, pa: number, length: number, flags = 0x24): Event | undefined {
    this.put(this.ring(slot, dci), pa, 0, length, (1 << 10) | flags);
    this.bell(slot, dci);
    return this.events().at(-1);
  }
}
