/** Watchdog timer of the Intel 6300ESB I/O controller hub (datasheet 300641, chapter 19): two stages, then a reset. */
import type { DeviceClock, DeviceTimer, SavedState } from '../device.js';
import { VmxError } from '../../errors.js';
import { PciFunction, type PciHost } from '../pci/pci.js';
import { bool, int, loadState, saveState, type Schema, time } from '../saved.js';

/** Configuration space. */
const enum Reg { CONFIG = 0x60, LOCK = 0x68 }
const CONFIG_NO_REBOOT = 1 << 5;
/** The prescaler divides by 2^5 for 1 MHz, by 2^15 for 1 kHz. */
const CONFIG_1MHZ = 1 << 2;
const INTERRUPT_TYPE = 3;
const INTERRUPT_INTX = 0;
const LOCK_LOCK = 1;
const LOCK_ENABLE = 2;
/** "Free running": the second stage begins the first again. */
const LOCK_FREE_RUN = 4;
const LOCK_BITS = LOCK_LOCK | LOCK_ENABLE | LOCK_FREE_RUN;
/** Memory. */
const enum Mem { TIMER1 = 0, TIMER2 = 4, INTERRUPT = 8, RELOAD = 12, BYTES = 16 }
const RELOAD = 0x100;
const TIMED_OUT = 0x200;
const TIMER_MASK = 0xf_ffff;
const UNLOCK1 = 0x80;
const UNLOCK2 = 0x86;
const PCI_CLOCK_HZ = 33e6;
/** No stage is shorter, whatever a guest asks for, ns. */
const MIN_STAGE_NS = 25_000;

interface State {
  timer1: number;
  timer2: number;
  /** Register writes that unlocked the next one: 0, 1, 2. */
  unlock: number;
  /** 0: stopped; 1, 2: the stage that runs, until `deadline`, ns. */
  stage: number;
  deadline: number;
  /** The first stage has run out, and its interrupt is not acknowledged. */
  interrupt: boolean;
  /** The second has, since software cleared this. Outlives a reset. */
  timedOut: boolean;
}

const SCHEMA: Schema<State> = { timer1: int(0, TIMER_MASK), timer2: int(0, TIMER_MASK), unlock: int(0, 2), stage: int(0, 2), deadline: time, interrupt: bool, timedOut: bool };
const VERSION = 1;
const initial = (timedOut: boolean): State => ({ timer1: TIMER_MASK, timer2: TIMER_MASK, unlock: 0, stage: 0, deadline: -1, interrupt: false, timedOut });

export interface I6300EsbOptions {
  clock: DeviceClock;
  onExpired(): void;
}

export class I6300Esb extends PciFunction {
  private readonly timer: DeviceTimer;
  private s = initial(false);

  constructor(
    name: string,
    host: PciHost,
    slot: number,
    private readonly o: I6300EsbOptions,
  ) {
    super(name, host, slot << 3, { vendor: 0x8086, device: 0x25ab, class: 0x0880, pin: 1 });
    this.timer = o.clock.timer(() => this.expired());
    this.addBar(0, 'mem', Mem.BYTES, { read: (offset, size) => this.memRead(offset, size), write: (offset, size, v) => this.memWrite(offset, size, v) });
    this.writable(Reg.CONFIG, [0x27, 0]);
    this.writable(Reg.LOCK, [LOCK_BITS]);
    this.sealConfig();
  }

  private get enabled(): boolean {
    return (this.config[Reg.LOCK]! & LOCK_ENABLE) !== 0;
  }

  override configWrite(reg: number, size: number, value: number): void {
    // Once locked, the register is so until reset.
    this.writable(Reg.LOCK, [this.config[Reg.LOCK]! & LOCK_LOCK ? 0 : LOCK_BITS]);
    super.configWrite(reg, size, value);
  }

  protected override configWritten(): void {
    if (this.enabled && this.s.stage === 0) this.begin(1);
    else if (!this.enabled && this.s.stage !== 0) {
      this.s.stage = 0;
      this.s.deadline = -1;
      this.timer.disarm();
    }
  }

  private begin(stage: 1 | 2): void {
    const { s } = this;
    const prescale = this.config[Reg.CONFIG]! & CONFIG_1MHZ ? 2 ** 5 : 2 ** 15;
    const count = Math.max(1, stage === 1 ? s.timer1 : s.timer2);
    s.stage = stage;
    s.deadline = this.o.clock.now() + Math.max(MIN_STAGE_NS, Math.ceil((count * prescale * 1e9) / PCI_CLOCK_HZ));
    this.timer.arm(s.deadline);
  }

  private expired(): void {
    const { s } = this;
    if (s.stage === 0) return;
    if (s.stage === 1) {
      if ((this.config[Reg.CONFIG]! & INTERRUPT_TYPE) === INTERRUPT_INTX) {
        s.interrupt = true;
        this.setIntx(true);
      }
      this.begin(2);
      return;
    }
    if (this.config[Reg.CONFIG]! & CONFIG_NO_REBOOT) {
      this.begin(this.config[Reg.LOCK]! & LOCK_FREE_RUN ? 1 : 2);
      return;
    }
    s.timedOut = true;
    s.stage = 0;
    s.deadline = -1;
    this.o.onExpired();
  }

  private memRead(offset: number, size: number): number {
    const { s } = this;
    const word = offset < 8 ? 0 : offset < Mem.RELOAD ? (s.interrupt ? 1 : 0) : s.timedOut ? TIMED_OUT : 0;
    return size === 4 ? word : (word >>> ((offset & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private memWrite(offset: number, size: number, v: number): void {
    const { s } = this;
    if (offset === Mem.INTERRUPT) {
      if (v & 1 && s.interrupt) {
        s.interrupt = false;
        this.setIntx(false);
      }
      return;
    }
    if (offset === Mem.RELOAD && s.unlock < 2) {
      const low = v & 0xff;
      s.unlock = low === UNLOCK1 ? 1 : low === UNLOCK2 && s.unlock === 1 ? 2 : 0;
      return;
    }
    if (s.unlock < 2) return;
    s.unlock = 0;
    if (offset === Mem.RELOAD) {
      if (size === 1) return;
      if (v & TIMED_OUT) s.timedOut = false;
      if (v & RELOAD && this.enabled) this.begin(1);
    } else if (size === 4 && offset === Mem.TIMER1) {
      s.timer1 = v & TIMER_MASK;
    } else if (size === 4 && offset === Mem.TIMER2) {
      s.timer2 = v & TIMER_MASK;
    }
  }

  override reset(): void {
    super.reset();
    this.s = initial(this.s.timedOut);
    this.timer.disarm();
  }

  override save(): SavedState {
    return { ...super.save(), watchdog: saveState(SCHEMA, VERSION, this.s) };
  }

  protected override load(s: SavedState): void {
    this.writable(Reg.LOCK, [LOCK_BITS]);
    super.load(s);
    const w = s.watchdog as SavedState | undefined;
    if (typeof w !== 'object' || w === null) throw new VmxError('ERR_BAD_STATE', `${this.name}: not a saved watchdog`);
    this.s = loadState(this.name, SCHEMA, VERSION, w);
    if (this.s.stage === 0 || this.s.deadline < 0) this.timer.disarm();
    else this.timer.arm(this.s.deadline);
  }
}
