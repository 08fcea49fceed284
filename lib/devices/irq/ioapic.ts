/**
 * Intel 82093AA I/O Advanced Programmable Interrupt Controller (data sheet 290566), sections 3.1 and 3.2, reporting
 * version 0x20: with the EOI register of its successors.
 */
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { array, int, loadState, saveState, u32, u8, type Schema } from '../saved.js';
import type { ApicBus, EoiListener } from './apic-bus.js';

const VERSION = 1;
export const IOAPIC_PINS = 24;

/** Offsets in the register page. */
const enum Mem {
  IOREGSEL = 0x00,
  IOWIN = 0x10,
  EOI = 0x40,
}

/** Indirect registers. */
const enum Reg {
  ID = 0x00,
  VER = 0x01,
  ARB = 0x02,
  REDTBL = 0x10,
}

/** Redirection table entry, low half. */
const enum Rte {
  LOGICAL = 1 << 11,
  DELIVERY_STATUS = 1 << 12,
  REMOTE_IRR = 1 << 14,
  LEVEL = 1 << 15,
  MASKED = 1 << 16,
  /** Vector, delivery mode, destination mode, polarity, trigger, mask. */
  WRITABLE = 0x1afff,
}

export interface IoApicState {
  select: number;
  id: number;
  lo: number[];
  hi: number[];
  /** Pin levels, one bit each. */
  pins: number;
}

const SCHEMA: Schema<IoApicState> = {
  select: u8,
  id: int(0, 15),
  lo: array(IOAPIC_PINS, int(0, 0x1ffff)),
  hi: array(IOAPIC_PINS, u32),
  pins: int(0, (1 << IOAPIC_PINS) - 1),
};

export interface IoApicOptions {
  bus: ApicBus;
  /** Unit suffix for the name; default ''. */
  unit?: string;
  /** Value of the version field; default 0x20. Below 0x20 there is no EOI register. */
  version?: number;
}

export class IoApic implements Device, EoiListener {
  readonly name: string;
  readonly mmio: IoHandler = {
    read: (offset, size) => this.read(offset, size),
    write: (offset, size, value) => this.write(offset, size, value),
  };
  /** The 24 input pins; polarity is the board's business: true is "asserted". */
  readonly pins: readonly IrqLine[];

  private readonly bus: ApicBus;
  private readonly version: number;

  /** A hypervisor that has the I/O APIC's state: told of every change of a pin. */
  remote: ((pin: number, level: boolean) => void) | null = null;
  /** A hypervisor that has the local APICs alone: told when a redirection entry has changed. */
  onEntry: (() => void) | null = null;

  private s: IoApicState = initial();

  constructor(o: IoApicOptions) {
    this.name = `ioapic${o.unit ?? ''}`;
    this.bus = o.bus;
    this.version = o.version ?? 0x20;
    this.pins = Array.from({ length: IOAPIC_PINS }, (_, n) => ({ set: (level: boolean) => this.setPin(n, level) }));
    o.bus.addEoiListener(this);
  }

  reset(): void {
    const pins = this.s.pins;
    this.s = initial();
    this.s.pins = pins;
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    // Messages that were on their way are in the local APICs' state: nothing to send.
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
  }

  /** The registers and pins. */
  get state(): Readonly<IoApicState> {
    return this.s;
  }

  /** The state, but for the pins, is what a hypervisor has made of it. What it has sent is with the local APICs. */
  takeBack(s: Omit<IoApicState, 'pins'>): void {
    this.s = { ...s, pins: this.s.pins };
  }

  setPin(n: number, level: boolean): void {
    const bit = 1 << n;
    const rose = level && !(this.s.pins & bit);
    const changed = rose || (!level && (this.s.pins & bit) !== 0);
    this.s.pins = level ? this.s.pins | bit : this.s.pins & ~bit;
    if (this.remote !== null) {
      if (changed) this.remote(n, level);
      return;
    }
    if (this.s.lo[n] & Rte.LEVEL) {
      if (level) this.serviceLevel(n);
    } else if (rose && !(this.s.lo[n] & Rte.MASKED)) {
      // An edge while masked is lost, as on the real part.
      this.deliver(n);
    }
  }

  eoi(vector: number): void {
    const s = this.s;
    for (let n = 0; n < IOAPIC_PINS; n++) {
      if ((s.lo[n] & (0xff | Rte.LEVEL)) !== (vector | Rte.LEVEL) || !(s.lo[n] & Rte.REMOTE_IRR)) continue;
      s.lo[n] &= ~Rte.REMOTE_IRR;
      this.serviceLevel(n);
    }
  }

  private serviceLevel(n: number): void {
    const e = this.s.lo[n];
    if (!(this.s.pins & (1 << n)) || e & (Rte.MASKED | Rte.REMOTE_IRR)) return;
    // Set before sending: the EOI may come back from within. Only accepted fixed messages await an EOI.
    const fixed = (e & 0x600) === 0;
    if (fixed) this.s.lo[n] = e | Rte.REMOTE_IRR;
    if (!this.deliver(n) && fixed) this.s.lo[n] &= ~Rte.REMOTE_IRR;
  }

  private deliver(n: number): boolean {
    const e = this.s.lo[n];
    const level = (e & Rte.LEVEL) !== 0;
    return this.bus.send(this.s.hi[n] >>> 24, (e & Rte.LOGICAL) !== 0, false, (e >> 8) & 7, e & 0xff, level);
  }

  private read(offset: number, size: number): number {
    const byte = offset & 3;
    let v = 0;
    switch (offset & ~3) {
      case Mem.IOREGSEL:
        v = this.s.select;
        break;
      case Mem.IOWIN:
        v = this.readReg(this.s.select);
        break;
    }
    v >>>= 8 * byte;
    return size === 4 ? v : v & (size === 2 ? 0xffff : 0xff);
  }

  private write(offset: number, size: number, value: number): void {
    switch (offset) {
      case Mem.IOREGSEL:
        this.s.select = value & 0xff;
        break;
      case Mem.IOWIN:
        if (size === 4) this.writeReg(this.s.select, value >>> 0);
        break;
      case Mem.EOI:
        if (this.version >= 0x20) this.eoi(value & 0xff);
        break;
    }
  }

  private readReg(r: number): number {
    const s = this.s;
    switch (r) {
      case Reg.ID:
      case Reg.ARB:
        return s.id << 24;
      case Reg.VER:
        return this.version | ((IOAPIC_PINS - 1) << 16);
    }
    const n = (r - Reg.REDTBL) >> 1;
    if (n < 0 || n >= IOAPIC_PINS) return 0xffffffff;
    return r & 1 ? s.hi[n] : s.lo[n];
  }

  private writeReg(r: number, v: number): void {
    const s = this.s;
    if (r === Reg.ID) s.id = (v >>> 24) & 15;
    const n = (r - Reg.REDTBL) >> 1;
    if (n < 0 || n >= IOAPIC_PINS) return;
    if (r & 1) {
      s.hi[n] = v;
      this.onEntry?.();
      return;
    }
    let e = (v & Rte.WRITABLE) | (s.lo[n] & Rte.REMOTE_IRR);
    // Turning an entry to edge ends its level interrupt: drivers without an EOI register use that.
    if (!(e & Rte.LEVEL)) e &= ~Rte.REMOTE_IRR;
    s.lo[n] = e;
    this.onEntry?.();
    if (e & Rte.LEVEL) this.serviceLevel(n);
  }
}

function initial(): IoApicState {
  return {
    select: 0,
    id: 0,
    lo: new Array<number>(IOAPIC_PINS).fill(Rte.MASKED),
    hi: new Array<number>(IOAPIC_PINS).fill(0),
    pins: 0,
  };
}
