/**
 * Two Intel 8259A programmable interrupt controllers, cascaded as in a PC/AT (8259A data sheet 231468-003: ICW1..4,
 * OCW1..3, "Fully Nested Mode", "Special Mask Mode", "Poll Command"), with the edge/level registers of the 82371SB (PIIX3)
 * at 4D0h/4D1h. MCS-80 mode and buffered mode are accepted and ignored.
 */
import { bytePorts } from '../byte-io.js';
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { bool, int, loadState, saveState, struct, u8, type Schema } from '../saved.js';

const VERSION = 1;
const CASCADE_IRQ = 2;

const enum Icw1 {
  IC4 = 0x01,
  SNGL = 0x02,
  LTIM = 0x08,
  SELECT = 0x10,
}

const enum Icw4 {
  AEOI = 0x02,
  SFNM = 0x10,
}

const enum Ocw3 {
  RIS = 0x01,
  RR = 0x02,
  POLL = 0x04,
  SELECT = 0x08,
  SMM = 0x20,
  ESMM = 0x40,
}

/** OCW2 commands, bits 7:5. */
const enum Eoi {
  ROTATE_AEOI_CLEAR = 0,
  NON_SPECIFIC = 1,
  SPECIFIC = 3,
  ROTATE_AEOI_SET = 4,
  ROTATE_NON_SPECIFIC = 5,
  SET_PRIORITY = 6,
  ROTATE_SPECIFIC = 7,
}

/** ELCR bits that can be set: IRQ 0, 1, 2, 8 and 13 are always edge-triggered. */
const ELCR_MASK = [0xf8, 0xde] as const;

export interface ChipState {
  imr: number;
  irr: number;
  isr: number;
  /** Input levels. */
  lines: number;
  elcr: number;
  /** Vector base, ICW2. */
  base: number;
  icw1: number;
  icw3: number;
  icw4: number;
  /** Next initialisation word expected: 0 (none), 2, 3 or 4. */
  initStep: number;
  /** The request with the lowest priority. */
  lowest: number;
  readIsr: boolean;
  poll: boolean;
  specialMask: boolean;
  rotateAeoi: boolean;
}

const CHIP: Schema<ChipState> = {
  imr: u8,
  irr: u8,
  isr: u8,
  lines: u8,
  elcr: u8,
  base: u8,
  icw1: u8,
  icw3: u8,
  icw4: u8,
  initStep: int(0, 4),
  lowest: int(0, 7),
  readIsr: bool,
  poll: bool,
  specialMask: bool,
  rotateAeoi: bool,
};

export interface I8259State {
  master: ChipState;
  slave: ChipState;
}

const SCHEMA: Schema<I8259State> = { master: struct(CHIP), slave: struct(CHIP) };

function initial(): ChipState {
  return {
    imr: 0,
    irr: 0,
    isr: 0,
    lines: 0,
    elcr: 0,
    base: 0,
    icw1: 0,
    icw3: 0,
    icw4: 0,
    initStep: 0,
    lowest: 7,
    readIsr: false,
    poll: false,
    specialMask: false,
    rotateAeoi: false,
  };
}

/** One 8259A. */
class Chip {
  s = initial();

  constructor(
    private readonly isMaster: boolean,
    private readonly changed: () => void,
  ) {}

  reset(): void {
    const { lines } = this.s;
    this.s = initial();
    this.s.lines = lines;
  }

  /** Is input n level-triggered? */
  private level(n: number): boolean {
    return ((this.s.elcr >> n) & 1) !== 0 || (this.s.icw1 & Icw1.LTIM) !== 0;
  }

  setLine(n: number, on: boolean): void {
    const s = this.s;
    const bit = 1 << n;
    if (on) {
      if (this.level(n) || !(s.lines & bit)) s.irr |= bit;
      s.lines |= bit;
    } else {
      s.lines &= ~bit;
      // A request must last until it is acknowledged, also an edge: else it becomes the spurious interrupt 7.
      s.irr &= ~bit;
    }
    this.changed();
  }

  /** Position in the priority order of the first set bit of `set`, or 8. */
  private priority(set: number): number {
    const first = (this.s.lowest + 1) & 7;
    for (let p = 0; p < 8; p++) {
      if ((set >> ((first + p) & 7)) & 1) return p;
    }
    return 8;
  }

  /** The request that wins now, or -1. */
  request(): number {
    const s = this.s;
    const p = this.priority(s.irr & ~s.imr);
    if (p === 8) return -1;
    let inService = s.isr;
    if (s.specialMask) inService &= ~s.imr;
    // In special fully nested mode the slave may interrupt its own service on the master.
    if (this.isMaster && s.icw4 & Icw4.SFNM) inService &= ~(1 << CASCADE_IRQ);
    if (p >= this.priority(inService)) return -1;
    return (s.lowest + 1 + p) & 7;
  }

  acknowledge(n: number): void {
    const s = this.s;
    if (!this.level(n)) s.irr &= ~(1 << n);
    if (s.icw4 & Icw4.AEOI) {
      if (s.rotateAeoi) s.lowest = n;
    } else {
      s.isr |= 1 << n;
    }
    this.changed();
  }

  write(offset: number, v: number): void {
    const s = this.s;
    if (offset === 0) {
      if (v & Icw1.SELECT) this.writeIcw1(v);
      else if (v & Ocw3.SELECT) this.writeOcw3(v);
      else this.writeOcw2(v);
    } else if (s.initStep !== 0) {
      this.writeIcw(v);
    } else {
      s.imr = v;
    }
    this.changed();
  }

  private writeIcw1(v: number): void {
    const s = this.s;
    s.icw1 = v;
    s.icw4 = 0;
    s.imr = 0;
    s.isr = 0;
    s.lowest = 7;
    s.readIsr = s.poll = s.specialMask = s.rotateAeoi = false;
    s.initStep = 2;
    // The edge sense is reset: a line must fall and rise again. Level inputs request at once.
    s.irr = 0;
    for (let n = 0; n < 8; n++) if (this.level(n)) s.irr |= s.lines & (1 << n);
  }

  private writeIcw(v: number): void {
    const s = this.s;
    switch (s.initStep) {
      case 2:
        s.base = v & 0xf8;
        s.initStep = !(s.icw1 & Icw1.SNGL) ? 3 : s.icw1 & Icw1.IC4 ? 4 : 0;
        break;
      case 3:
        s.icw3 = v;
        s.initStep = s.icw1 & Icw1.IC4 ? 4 : 0;
        break;
      default:
        s.icw4 = v;
        s.initStep = 0;
    }
  }

  private writeOcw2(v: number): void {
    const s = this.s;
    const n = v & 7;
    switch ((v >> 5) as Eoi) {
      case Eoi.NON_SPECIFIC:
      case Eoi.ROTATE_NON_SPECIFIC: {
        // Under the special mask a masked in-service bit is not found by a non-specific EOI.
        const p = this.priority(s.specialMask ? s.isr & ~s.imr : s.isr);
        if (p === 8) return;
        const top = (s.lowest + 1 + p) & 7;
        s.isr &= ~(1 << top);
        if (v >> 5 === Eoi.ROTATE_NON_SPECIFIC) s.lowest = top;
        return;
      }
      case Eoi.SPECIFIC:
        s.isr &= ~(1 << n);
        return;
      case Eoi.ROTATE_SPECIFIC:
        s.isr &= ~(1 << n);
        s.lowest = n;
        return;
      case Eoi.SET_PRIORITY:
        s.lowest = n;
        return;
      case Eoi.ROTATE_AEOI_SET:
        s.rotateAeoi = true;
        return;
      case Eoi.ROTATE_AEOI_CLEAR:
        s.rotateAeoi = false;
        return;
    }
  }

  private writeOcw3(v: number): void {
    const s = this.s;
    if (v & Ocw3.POLL) s.poll = true;
    else if (v & Ocw3.RR) s.readIsr = (v & Ocw3.RIS) !== 0;
    if (v & Ocw3.ESMM) s.specialMask = (v & Ocw3.SMM) !== 0;
  }

  read(offset: number): number {
    const s = this.s;
    if (s.poll) {
      s.poll = false;
      const n = this.request();
      if (n < 0) return 0;
      this.acknowledge(n);
      return 0x80 | n;
    }
    if (offset === 1) return s.imr;
    return s.readIsr ? s.isr : s.irr;
  }

  setElcr(v: number): void {
    this.s.elcr = v & ELCR_MASK[this.isMaster ? 0 : 1];
    for (let n = 0; n < 8; n++) if (this.level(n)) this.s.irr |= this.s.lines & (1 << n);
    this.changed();
  }
}

export interface I8259Options {
  /** The master's INT output: to the CPU or LINT0, and to IOAPIC pin 0 where the board has that wire. */
  out: IrqLine;
}

export class I8259 implements Device {
  readonly name = 'i8259';
  /** 20h-21h. */
  readonly master: IoHandler;
  /** A0h-A1h. */
  readonly slave: IoHandler;
  /** 4D0h-4D1h. */
  readonly elcr: IoHandler;
  /** IRQ inputs 0..15. Input 2 is the cascade and ignores what is set. */
  readonly irqs: readonly IrqLine[];

  /** A hypervisor that has the state: told of every change of an input. */
  remote: ((irq: number, level: boolean) => void) | null = null;

  private readonly out: IrqLine;

  private readonly m = new Chip(true, () => this.syncIrq());
  private readonly sl = new Chip(false, () => this.syncIrq());
  private syncing = false;
  private level = false;

  constructor(o: I8259Options) {
    this.out = o.out;
    this.master = bytePorts(2, (a) => this.m.read(a), (a, v) => this.m.write(a, v));
    this.slave = bytePorts(2, (a) => this.sl.read(a), (a, v) => this.sl.write(a, v));
    this.elcr = bytePorts(
      2,
      (a) => (a === 0 ? this.m.s.elcr : this.sl.s.elcr),
      (a, v) => (a === 0 ? this.m : this.sl).setElcr(v),
    );
    this.irqs = Array.from({ length: 16 }, (_, n) => ({ set: (on: boolean) => this.setIrq(n, on) }));
  }

  reset(): void {
    this.m.reset();
    this.sl.reset();
    this.syncIrq();
    this.out.set(this.level);
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, { master: this.m.s, slave: this.sl.s });
  }

  restore(saved: SavedState): void {
    const s = loadState(this.name, SCHEMA, VERSION, saved);
    this.m.s = s.master;
    this.sl.s = s.slave;
    this.out.set((this.level = this.m.request() >= 0));
  }

  /** The registers and inputs. */
  get state(): Readonly<I8259State> {
    return { master: this.m.s, slave: this.sl.s };
  }

  /** The state, but for the inputs, is what a hypervisor has made of it. */
  takeBack(s: I8259State): void {
    // The cascade wire rises anew below if the slave asks.
    this.m.s = { ...s.master, lines: this.m.s.lines & ~(1 << CASCADE_IRQ) };
    this.sl.s = { ...s.slave, lines: this.sl.s.lines };
    this.syncIrq();
    this.out.set(this.level);
  }

  setIrq(n: number, on: boolean): void {
    if (this.remote !== null && n !== CASCADE_IRQ) {
      const { s } = n >= 8 ? this.sl : this.m;
      const lines = on ? s.lines | (1 << (n & 7)) : s.lines & ~(1 << (n & 7));
      if (lines === s.lines) return;
      s.lines = lines;
      this.remote(n, on);
      return;
    }
    if (n >= 8) this.sl.setLine(n & 7, on);
    else if (n !== CASCADE_IRQ) this.m.setLine(n, on);
  }

  /** INT output level. */
  pending(): boolean {
    return this.level;
  }

  /** The CPU's INTA cycles: the vector. A request that has gone away gives the spurious IRQ 7 or 15. */
  acknowledge(): number {
    const n = this.m.request();
    if (n < 0) return this.m.s.base | 7;
    if (n !== CASCADE_IRQ) {
      this.m.acknowledge(n);
      return this.m.s.base | n;
    }
    const k = this.sl.request();
    this.syncing = true;
    // The master takes the cascade into service even when the slave has nothing any more. The slave's output drops
    // during the acknowledge cycle, so that its next request is an edge again.
    this.m.acknowledge(CASCADE_IRQ);
    if (k >= 0) this.sl.acknowledge(k);
    this.m.setLine(CASCADE_IRQ, false);
    this.syncing = false;
    this.syncIrq();
    return this.sl.s.base | (k < 0 ? 7 : k);
  }

  /** Recomputes the cascade wire and the INT output. */
  private syncIrq(): void {
    if (this.syncing) return;
    this.syncing = true;
    const cascade = this.sl.request() >= 0;
    this.m.setLine(CASCADE_IRQ, cascade);
    this.syncing = false;
    const level = this.m.request() >= 0;
    if (level === this.level) return;
    this.level = level;
    this.out.set(level);
  }
}
