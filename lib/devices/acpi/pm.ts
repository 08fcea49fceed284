/**
 * ACPI fixed hardware (ACPI 6.4, sections 4.8.3 "ACPI Register Model" to 4.8.4): PM1a event and control blocks, power
 * management timer, GPE0 block, SMI command port, reset register CF9h (82371SB "Reset Control Register"). The same model
 * serves the PIIX4 and the ICH9: the board chooses addresses, sleep types and ACPI enable values.
 */
import { ByteIo, bytePorts } from '../byte-io.js';
import { nsToTicks, ticksToNs } from '../clock.js';
import type { Device, DeviceClock, DeviceTimer, IoHandler, IrqLine, SavedState } from '../device.js';
import { bool, bytes, loadState, saveState, time, u16, u8, type Schema } from '../saved.js';

const VERSION = 1;
export const PM_TIMER_HZ = 3579545;

/** Offsets in the PM block. */
const enum Reg {
  STATUS = 0,
  ENABLE = 2,
  CONTROL = 4,
  TIMER = 8,
  LENGTH = 12,
}

/** PM1 status and enable. */
const enum Pm1 {
  TMR = 1 << 0,
  GBL = 1 << 5,
  PWRBTN = 1 << 8,
  SLPBTN = 1 << 9,
  RTC = 1 << 10,
  WAK = 1 << 15,
  ENABLES = TMR | GBL | PWRBTN | SLPBTN | RTC,
}

/** PM1 control. */
const enum Control {
  SCI_EN = 1 << 0,
  SLP_TYP_SHIFT = 10,
  SLP_EN = 1 << 13,
  /** SLP_EN reads as 0; BM_RLD and GBL_RLS are kept, SCI_EN is set by the SMI command only. */
  WRITABLE = 0x1c02,
}

const enum ResetControl {
  SYS_RST = 0x02,
  RST_CPU = 0x04,
}

interface State {
  status: number;
  enable: number;
  control: number;
  gpeStatus: Uint8Array;
  gpeEnable: Uint8Array;
  smiCommand: number;
  smiStatus: number;
  resetControl: number;
  /** PM timer up to which TMR_STS is accounted for. */
  seenTick: number;
  /** Level of the RTC alarm input. */
  rtc: boolean;
  /** The machine is in S3. */
  asleep: boolean;
}

export interface AcpiPmOptions {
  clock: DeviceClock;
  sci: IrqLine;
  /** Width of the PM timer (FADT flag TMR_VAL_EXT). Default 32. */
  timerBits?: 24 | 32;
  /** SLP_TYP of the DSDT's \_S5. Default 0, as in a PIIX4; 7 in an ICH9. */
  s5Type?: number;
  /** SLP_TYP of \_S3, if the board supports it. */
  s3Type?: number;
  /** FADT ACPI_ENABLE and ACPI_DISABLE, default F1h and F0h. */
  acpiEnable?: number;
  acpiDisable?: number;
  /** Bytes of GPE0 status, and as many of enable. Default 2. */
  gpeBytes?: number;
  onPowerOff: () => void;
  onReset: () => void;
  onSuspend?: () => void;
  /** An event ends S3: an enabled one, or the power button. */
  onWake?: () => void;
  /** Any other value written to the SMI command port. */
  onSmi?: (command: number) => void;
}

export class AcpiPm extends ByteIo implements Device {
  readonly name = 'acpi-pm';
  /** 12 bytes: PM1a_EVT (+0, 4 bytes), PM1a_CNT (+4, 2 bytes), PM_TMR (+8, 4 bytes). */
  readonly pm: IoHandler = this;
  /** GPE0: status bytes, then enable bytes. */
  readonly gpe0: IoHandler;
  /** B2h-B3h. */
  readonly smi: IoHandler;
  /** CF9h. */
  readonly resetPort: IoHandler;

  private readonly o: AcpiPmOptions;
  private readonly timerBits: number;
  private readonly gpeBytes: number;
  private readonly schema: Schema<State>;
  private readonly timer: DeviceTimer;

  private s: State;

  constructor(o: AcpiPmOptions) {
    super(Reg.LENGTH);
    this.o = o;
    this.timerBits = o.timerBits ?? 32;
    const n = (this.gpeBytes = o.gpeBytes ?? 2);
    this.schema = {
      status: u16,
      enable: u16,
      control: u16,
      gpeStatus: bytes(n),
      gpeEnable: bytes(n),
      smiCommand: u8,
      smiStatus: u8,
      resetControl: u8,
      seenTick: time,
      rtc: bool,
      asleep: bool,
    };
    this.timer = o.clock.timer(() => this.syncIrq());
    this.s = this.initial();
    this.gpe0 = bytePorts(
      2 * n,
      (a) => (a < n ? this.s.gpeStatus[a] : this.s.gpeEnable[a - n]),
      (a, v) => {
        if (a < n) this.s.gpeStatus[a] &= ~v;
        else this.s.gpeEnable[a - n] = v;
        this.syncIrq();
      },
    );
    this.smi = bytePorts(
      2,
      (a) => (a === 0 ? this.s.smiCommand : this.s.smiStatus),
      (a, v) => {
        if (a === 0) this.smiCommand(v);
        else this.s.smiStatus = v;
      },
    );
    this.resetPort = bytePorts(
      1,
      () => this.s.resetControl,
      (_a, v) => {
        const rise = v & ~this.s.resetControl & ResetControl.RST_CPU;
        this.s.resetControl = v & (ResetControl.SYS_RST | ResetControl.RST_CPU | 0x08);
        if (rise) {
          this.s.resetControl &= ~ResetControl.RST_CPU;
          o.onReset();
        }
      },
    );
  }

  private initial(): State {
    return {
      status: 0,
      enable: 0,
      control: 0,
      gpeStatus: new Uint8Array(this.gpeBytes),
      gpeEnable: new Uint8Array(this.gpeBytes),
      smiCommand: 0,
      smiStatus: 0,
      resetControl: 0,
      seenTick: this.ticks(),
      rtc: false,
      asleep: false,
    };
  }

  reset(): void {
    this.s = this.initial();
    this.syncIrq();
  }

  save(): SavedState {
    this.account();
    return saveState(this.schema, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, this.schema, VERSION, saved);
    this.syncIrq();
  }

  // ---- events from the board ----

  powerButton(): void {
    this.event(Pm1.PWRBTN);
  }

  sleepButton(): void {
    this.event(Pm1.SLPBTN);
  }

  /** The RTC's interrupt, which may wake the machine. */
  setRtcAlarm(level: boolean): void {
    const rose = level && !this.s.rtc;
    this.s.rtc = level;
    if (rose) this.event(Pm1.RTC);
  }

  /** A general-purpose event: hot-plug, lid and so on. */
  raiseGpe(n: number): void {
    if (n >> 3 >= this.gpeBytes) return;
    this.s.gpeStatus[n >> 3] |= 1 << (n & 7);
    this.syncIrq();
  }

  /** The guest runs in ACPI mode. */
  get acpiMode(): boolean {
    return (this.s.control & Control.SCI_EN) !== 0;
  }

  /** For boards without an SMI command (hardware-reduced start): ACPI mode from the beginning. */
  enableAcpi(): void {
    this.s.control |= Control.SCI_EN;
    this.syncIrq();
  }

  /** The machine woke from S3. */
  wake(): void {
    this.event(Pm1.WAK);
  }

  private event(bit: number): void {
    const s = this.s;
    s.status |= bit;
    this.syncIrq();
    if (s.asleep && bit !== Pm1.WAK && (bit === Pm1.PWRBTN || s.enable & bit)) {
      s.asleep = false;
      this.o.onWake?.();
    }
  }

  // ---- registers ----

  override read(offset: number, size: number): number {
    // The timer is one register: its bytes must belong together.
    if (offset >= Reg.TIMER && offset + size <= Reg.LENGTH) {
      const v = this.timerValue() >>> (8 * (offset - Reg.TIMER));
      return size === 4 ? v : v & (size === 2 ? 0xffff : 0xff);
    }
    return super.read(offset, size);
  }

  read8(offset: number): number {
    const s = this.s;
    if (offset >= Reg.TIMER) return (this.timerValue() >>> (8 * (offset - Reg.TIMER))) & 0xff;
    this.account();
    const shift = 8 * (offset & 1);
    switch (offset & ~1) {
      case Reg.STATUS:
        return (s.status >> shift) & 0xff;
      case Reg.ENABLE:
        return (s.enable >> shift) & 0xff;
      case Reg.CONTROL:
        return (s.control >> shift) & 0xff;
      default:
        return 0;
    }
  }

  write8(offset: number, v: number): void {
    const s = this.s;
    const shift = 8 * (offset & 1);
    const mask = 0xff << shift;
    this.account();
    switch (offset & ~1) {
      case Reg.STATUS:
        s.status &= ~(v << shift);
        break;
      case Reg.ENABLE:
        s.enable = ((s.enable & ~mask) | (v << shift)) & Pm1.ENABLES;
        break;
      case Reg.CONTROL:
        s.control = (s.control & ~(mask & Control.WRITABLE)) | ((v << shift) & Control.WRITABLE);
        if ((v << shift) & Control.SLP_EN) this.sleep((s.control >> Control.SLP_TYP_SHIFT) & 7);
        break;
    }
    this.syncIrq();
  }

  private sleep(type: number): void {
    if (type === (this.o.s5Type ?? 0)) this.o.onPowerOff();
    else if (type === this.o.s3Type) {
      this.s.asleep = true;
      this.o.onSuspend?.();
    }
  }

  private smiCommand(v: number): void {
    this.s.smiCommand = v;
    if (v === (this.o.acpiEnable ?? 0xf1)) this.s.control |= Control.SCI_EN;
    else if (v === (this.o.acpiDisable ?? 0xf0)) this.s.control &= ~Control.SCI_EN;
    else this.o.onSmi?.(v);
    this.syncIrq();
  }

  // ---- timer ----

  private ticks(): number {
    return nsToTicks(this.o.clock.now(), PM_TIMER_HZ);
  }

  private timerValue(): number {
    const t = this.ticks();
    return this.timerBits === 24 ? t % 0x1000000 : t % 0x100000000;
  }

  /** TMR_STS is set whenever the top bit of the timer changes. */
  private account(): void {
    const s = this.s;
    const half = 2 ** (this.timerBits - 1);
    const t = this.ticks();
    if (Math.floor(t / half) > Math.floor(s.seenTick / half)) s.status |= Pm1.TMR;
    s.seenTick = t;
  }

  private syncIrq(): void {
    const s = this.s;
    this.account();
    let wanted = (s.status & s.enable & Pm1.ENABLES) !== 0;
    for (let i = 0; i < this.gpeBytes; i++) if (s.gpeStatus[i] & s.gpeEnable[i]) wanted = true;
    this.o.sci.set(wanted && (s.control & Control.SCI_EN) !== 0);
    if (s.enable & Pm1.TMR && !(s.status & Pm1.TMR)) {
      const half = 2 ** (this.timerBits - 1);
      this.timer.arm(ticksToNs((Math.floor(s.seenTick / half) + 1) * half, PM_TIMER_HZ));
    } else {
      this.timer.disarm();
    }
  }
}
