/**
 * TCO watchdog of the ICH9 (datasheet 316972, section 13.9 "System Management TCO Registers" and 10.1.75 "GCS"): counts ticks of
 * 0.6 s; the first time-out is noted, the second in a row resets the machine unless GCS.NO_REBOOT is set, as the strap has it
 * after a reset. There is no system management mode, so nothing here raises an SMI, and NMI_NOW does nothing.
 */
import { ByteIo, bytePorts } from '../byte-io.js';
import type { Device, DeviceClock, DeviceTimer, IoHandler, SavedState } from '../device.js';
import { bool, int, loadState, saveState, time, u16, u8, type Schema } from '../saved.js';

const VERSION = 1;
/** 13.9: the timer's tick. */
export const TCO_TICK_NS = 600_000_000;
export const TCO_BYTES = 0x20;

const enum Reg {
  TCO_RLD = 0x00,
  TCO_DAT_IN = 0x02,
  TCO_DAT_OUT = 0x03,
  TCO1_STS = 0x04,
  TCO2_STS = 0x06,
  TCO1_CNT = 0x08,
  TCO2_CNT = 0x0a,
  TCO_MESSAGE1 = 0x0c,
  TCO_MESSAGE2 = 0x0d,
  TCO_WDCNT = 0x0e,
  SW_IRQ_GEN = 0x10,
  TCO_TMR = 0x12,
}

const enum Sts1 {
  SW_TCO_SMI = 1 << 1,
  TCO_INT_STS = 1 << 2,
  TIMEOUT = 1 << 3,
}

const enum Sts2 {
  INTRD_DET = 1 << 0,
  SECOND_TO_STS = 1 << 1,
  BOOT_STS = 1 << 2,
}

const enum Cnt1 {
  NMI2SMI_EN = 1 << 9,
  TCO_TMR_HLT = 1 << 11,
  TCO_LOCK = 1 << 12,
}

/** GCS of the chipset configuration space. */
export const GCS = 0x3410;
const GCS_NO_REBOOT = 1 << 5;
/** Lower values of the timer are not to be used (TCO_TMR). */
const LEAST_TICKS = 2;
const TMR_RESET = 4;
const TMR_MASK = 0x3ff;

interface State {
  datIn: number;
  datOut: number;
  sts1: number;
  sts2: number;
  cnt1: number;
  cnt2: number;
  message1: number;
  message2: number;
  wdcnt: number;
  swIrqGen: number;
  tmr: number;
  noReboot: boolean;
  /** Ticks that the running count began with. */
  ticks: number;
  /** When it began; while the timer is halted, what has passed of it. */
  since: number;
  /** A time-out has passed since TCO_RLD was written. */
  late: boolean;
}

const SCHEMA: Schema<State> = {
  datIn: u8,
  datOut: u8,
  sts1: u16,
  sts2: u16,
  cnt1: u16,
  cnt2: u16,
  message1: u8,
  message2: u8,
  wdcnt: u8,
  swIrqGen: u8,
  tmr: int(0, TMR_MASK),
  noReboot: bool,
  ticks: int(LEAST_TICKS, TMR_MASK),
  since: time,
  late: bool,
};

export class Ich9Tco extends ByteIo implements Device {
  readonly name = 'ich9-tco';
  /** 32 ports at PMBASE + 60h. */
  readonly ports: IoHandler = this;
  /** The four bytes of GCS. */
  readonly gcs: IoHandler;
  private readonly timer: DeviceTimer;
  private s: State;

  constructor(private readonly o: { clock: DeviceClock; onReset: () => void }) {
    super(TCO_BYTES);
    this.timer = o.clock.timer(() => this.sync());
    this.s = this.initial(0);
    this.gcs = bytePorts(
      4,
      (a) => (a === 0 && this.s.noReboot ? GCS_NO_REBOOT : 0),
      (a, v) => {
        if (a !== 0) return;
        this.account();
        this.s.noReboot = (v & GCS_NO_REBOOT) !== 0;
        this.sync();
      },
    );
  }

  private initial(sts2: number): State {
    return {
      datIn: 0, datOut: 0, sts1: 0, sts2, cnt1: 0, cnt2: 0x0008, message1: 0, message2: 0, wdcnt: 0, swIrqGen: 0x03, tmr: TMR_RESET, noReboot: true, ticks: TMR_RESET,
      since: this.o.clock.now(), late: false,
    };
  }

  /** What the watchdog did outlasts the reset that it brought. */
  reset(): void {
    this.s = this.initial(this.s.sts2 & (Sts2.SECOND_TO_STS | Sts2.BOOT_STS));
    this.sync();
  }

  save(): SavedState {
    this.account();
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, VERSION, saved);
    this.sync();
  }

  read8(offset: number): number {
    this.account();
    const s = this.s;
    const high = offset & 1;
    const half = (v: number): number => (high ? v >> 8 : v & 0xff);
    switch (offset) {
      case Reg.TCO_DAT_IN:
        return s.datIn;
      case Reg.TCO_DAT_OUT:
        return s.datOut;
      case Reg.TCO_MESSAGE1:
        return s.message1;
      case Reg.TCO_MESSAGE2:
        return s.message2;
      case Reg.TCO_WDCNT:
        return s.wdcnt;
      case Reg.SW_IRQ_GEN:
        return s.swIrqGen;
    }
    switch (offset & ~1) {
      case Reg.TCO_RLD:
        return half(this.left());
      case Reg.TCO1_STS:
        return half(s.sts1);
      case Reg.TCO2_STS:
        return half(s.sts2);
      case Reg.TCO1_CNT:
        return half(s.cnt1);
      case Reg.TCO2_CNT:
        return half(s.cnt2);
      case Reg.TCO_TMR:
        return half(s.tmr);
      default:
        return 0;
    }
  }

  write8(offset: number, v: number): void {
    this.account();
    const s = this.s;
    const shift = 8 * (offset & 1);
    const merged = (old: number): number => (old & ~(0xff << shift)) | (v << shift);
    switch (offset) {
      case Reg.TCO_RLD:
      case Reg.TCO_RLD + 1:
        s.ticks = Math.max(s.tmr, LEAST_TICKS);
        s.since = s.cnt1 & Cnt1.TCO_TMR_HLT ? 0 : this.o.clock.now();
        s.late = false;
        break;
      case Reg.TCO_DAT_IN:
        s.datIn = v;
        s.sts1 |= Sts1.SW_TCO_SMI;
        break;
      case Reg.TCO_DAT_OUT:
        s.datOut = v;
        s.sts1 |= Sts1.TCO_INT_STS;
        break;
      case Reg.TCO1_STS:
      case Reg.TCO1_STS + 1:
        s.sts1 &= ~(v << shift);
        break;
      case Reg.TCO2_STS:
        s.sts2 &= ~(v & (Sts2.INTRD_DET | Sts2.SECOND_TO_STS | Sts2.BOOT_STS));
        break;
      case Reg.TCO1_CNT:
      case Reg.TCO1_CNT + 1:
        this.control(merged(s.cnt1));
        break;
      case Reg.TCO2_CNT:
        s.cnt2 = v & 0x3e;
        break;
      case Reg.TCO_MESSAGE1:
        s.message1 = v;
        break;
      case Reg.TCO_MESSAGE2:
        s.message2 = v;
        break;
      case Reg.TCO_WDCNT:
        s.wdcnt = v;
        break;
      case Reg.SW_IRQ_GEN:
        s.swIrqGen = v & 3;
        break;
      case Reg.TCO_TMR:
      case Reg.TCO_TMR + 1:
        s.tmr = merged(s.tmr) & TMR_MASK;
        break;
    }
    this.sync();
  }

  /** TCO_LOCK stays until a reset. */
  private control(v: number): void {
    const s = this.s;
    const next = (v & (Cnt1.NMI2SMI_EN | Cnt1.TCO_TMR_HLT | Cnt1.TCO_LOCK)) | (s.cnt1 & Cnt1.TCO_LOCK);
    if ((s.cnt1 ^ next) & Cnt1.TCO_TMR_HLT) s.since = Math.max(0, this.o.clock.now() - s.since);
    s.cnt1 = next;
  }

  private passed(): number {
    return this.s.cnt1 & Cnt1.TCO_TMR_HLT ? this.s.since : this.o.clock.now() - this.s.since;
  }

  private left(): number {
    return this.s.ticks - Math.floor(Math.max(0, this.passed()) / TCO_TICK_NS);
  }

  /** Lets the time pass that has passed. */
  private account(): void {
    const s = this.s;
    if (s.cnt1 & Cnt1.TCO_TMR_HLT) return;
    const count = Math.floor(this.passed() / (s.ticks * TCO_TICK_NS));
    if (count <= 0) return;
    s.since += count * s.ticks * TCO_TICK_NS;
    s.sts1 |= Sts1.TIMEOUT;
    const second = s.late || count > 1;
    s.late = true;
    if (!second) return;
    s.sts2 |= Sts2.SECOND_TO_STS;
    if (s.noReboot) return;
    s.sts2 |= Sts2.BOOT_STS;
    s.late = false;
    this.o.onReset();
  }

  /** Only a time-out that resets has to come on time. */
  private sync(): void {
    this.account();
    const s = this.s;
    if (s.noReboot || s.cnt1 & Cnt1.TCO_TMR_HLT) this.timer.disarm();
    else this.timer.arm(s.since + s.ticks * TCO_TICK_NS);
  }
}
