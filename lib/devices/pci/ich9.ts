/**
 * Intel ICH9 (datasheet 316972): LPC bridge (chapter 13) with interrupt routing, the place of the ACPI registers and of the
 * chipset configuration space, and the SMBus controller (chapter 19) with nothing on its bus.
 */
import { VmxError } from '../../errors.js';
import { GCS, TCO_BYTES } from '../acpi/tco.js';
import { bytePorts } from '../byte-io.js';
import type { IoHandler, IrqLine, SavedState } from '../device.js';
import { PciFunction, type PciHost } from './pci.js';
import { PIRQ_MASK, PIRQ_RESET, PirqRouter } from './pirq.js';

export const ICH9_SLOT = 31;

const enum Lpc {
  PMBASE = 0x40,
  ACPI_CNTL = 0x44,
  PIRQA = 0x60,
  PIRQE = 0x68,
  GEN_PMCON_1 = 0xa0,
  RCBA = 0xf0,
}
const ACPI_EN = 0x80;
export const ICH9_PM_BYTES = 128;
export const RCRB_BYTES = 0x4000;

export interface Ich9LpcWiring {
  /** ISA interrupts 0..15. */
  isa: readonly IrqLine[];
  /** The ACPI registers (128 ports) are here now; -1: nowhere. */
  onPmBase: (base: number) => void;
  /** The chipset configuration space (16 KiB) is here now; -1: nowhere. */
  onRcba: (base: number) => void;
}

export class Ich9Lpc extends PciFunction {
  private readonly router: PirqRouter;

  constructor(host: PciHost, private readonly wiring: Ich9LpcWiring) {
    super('ich9-lpc', host, ICH9_SLOT << 3, { vendor: 0x8086, device: 0x2918, class: 0x0601, revision: 2, multifunction: true });
    this.config[Lpc.PMBASE] = 1;
    this.writable(Lpc.PMBASE, [0x80, 0xff]);
    // The SCI stays IRQ 9, whatever is written to its selection.
    this.writable(Lpc.ACPI_CNTL, [ACPI_EN]);
    const registers = [0, 1, 2, 3].map((i) => Lpc.PIRQA + i).concat([0, 1, 2, 3].map((i) => Lpc.PIRQE + i));
    for (const r of registers) {
      this.config[r] = PIRQ_RESET;
      this.writable(r, [PIRQ_MASK]);
    }
    this.writable(Lpc.GEN_PMCON_1, [0x3f, 0x06]);
    this.writable(Lpc.RCBA, [0x01, 0xc0, 0xff, 0xff]);
    this.router = new PirqRouter(this.config, registers, wiring.isa);
    this.sealConfig();
  }

  /** Base of the ACPI registers, or -1. */
  get pmBase(): number {
    return this.config[Lpc.ACPI_CNTL]! & ACPI_EN ? (this.config[Lpc.PMBASE]! & 0x80) | (this.config[Lpc.PMBASE + 1]! << 8) : -1;
  }

  /** As firmware leaves it, for kernels that are loaded without firmware. */
  enable(pmBase: number): void {
    this.config.set([(pmBase & 0x80) | 1, pmBase >>> 8], Lpc.PMBASE);
    this.config[Lpc.ACPI_CNTL] = ACPI_EN;
    this.apply();
  }

  /** Level of PIRQ n: 0..7 for A..H. */
  setPirq(n: number, level: boolean): void {
    this.router.set(n, level);
  }

  private apply(): void {
    const c = this.config;
    this.wiring.onPmBase(this.pmBase);
    this.wiring.onRcba(c[Lpc.RCBA]! & 1 ? (c[Lpc.RCBA + 1]! & 0xc0) * 0x100 + c[Lpc.RCBA + 2]! * 0x1_0000 + c[Lpc.RCBA + 3]! * 0x100_0000 : -1);
    this.router.route();
  }

  protected override configWritten(reg: number): void {
    if (reg >= Lpc.PMBASE) this.apply();
  }

  override reset(): void {
    super.reset();
    this.apply();
  }

  override save(): SavedState {
    return { ...super.save(), pirqs: this.router.save() };
  }

  override restore(s: SavedState): void {
    const pirqs = this.router.check(s.pirqs);
    super.restore(s);
    this.router.restore(pirqs);
    this.apply();
  }
}

/** Interrupt route registers of devices 31 (3140h) down to 25 (3150h): INTA..D to PIRQA..D. */
const ROUTES = [0x3140, 0x3142, 0x3144, 0x3146, 0x3148, 0x314c, 0x3150];
const ROUTE_DEFAULT = 0x3210;

/** Chipset configuration space: the interrupt routes, which are fixed, and the register GCS; the rest reads as zero. */
export function rcrb(gcs: IoHandler): IoHandler {
  return bytePorts(
    RCRB_BYTES,
    (a) => {
      if (a >= GCS && a < GCS + 4) return gcs.read(a - GCS, 1);
      return ROUTES.includes(a & ~1) ? (ROUTE_DEFAULT >>> (8 * (a & 1))) & 0xff : 0;
    },
    (a, v) => {
      if (a >= GCS && a < GCS + 4) gcs.write(a - GCS, 1, v);
    },
  );
}

/** Offsets in the ACPI block: general-purpose events, SMI enable, watchdog. */
const GPE0 = 0x20;
const GPE0_BYTES = 16;
const SMI_EN = 0x30;
const TCO = 0x60;
/** APMC_EN counts as set: firmware then knows that there is no system management mode to set up. */
const SMI_EN_VALUE = 0x20;

/** The ACPI block of 128 ports from its parts; the rest reads as zero. */
export function ich9PmBlock(pm: IoHandler, pmBytes: number, gpe0: IoHandler, tco: IoHandler): IoHandler {
  const part = (offset: number, size: number): [IoHandler, number] | null => {
    if (offset + size <= pmBytes) return [pm, offset];
    if (offset >= TCO && offset + size <= TCO + TCO_BYTES) return [tco, offset - TCO];
    if (offset >= GPE0 && offset + size <= GPE0 + GPE0_BYTES) return [gpe0, offset - GPE0];
    return null;
  };
  return {
    read(offset, size) {
      const p = part(offset, size);
      if (p !== null) return p[0].read(p[1], size);
      return offset === SMI_EN ? SMI_EN_VALUE : 0;
    },
    write(offset, size, value) {
      const p = part(offset, size);
      p?.[0].write(p[1], size, value);
    },
  };
}

/** SMBus host controller registers. */
const enum Smb { STATUS = 0, CONTROL = 2, COMMAND = 3, ADDRESS = 4, DATA0 = 5, DATA1 = 6, BLOCK = 7, PEC = 8, AUX_STATUS = 0xc, AUX_CONTROL = 0xd, LENGTH = 0x20 }
const HOSTC = 0x40;
const HST_EN = 1;
const CONTROL_INTREN = 1;
const CONTROL_START = 0x40;
const STATUS_DEV_ERR = 0x04;
const STATUS_INUSE = 0x40;
/** Status bits that interrupt and that a 1 clears. */
const STATUS_EVENTS = 0x1e;

export class Ich9Smbus extends PciFunction {
  /** Registers as written. */
  private regs = new Uint8Array(Smb.LENGTH);

  constructor(host: PciHost) {
    super('ich9-smbus', host, (ICH9_SLOT << 3) | 3, { vendor: 0x8086, device: 0x2930, class: 0x0c05, revision: 2, pin: 1 });
    this.addBar(4, 'io', Smb.LENGTH, { read: (o, n) => this.read(o, n), write: (o, n, v) => this.write(o, n, v) });
    this.writable(HOSTC, [0x07]);
    this.sealConfig();
  }

  private read(offset: number, size: number): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.read8(offset + i);
    return v;
  }

  private read8(a: number): number {
    const v = this.regs[a] ?? 0;
    // Reading takes the semaphore: INUSE_STS reads 0 the first time, then 1 until it is cleared.
    if (a === Smb.STATUS) this.regs[a] = v | STATUS_INUSE;
    return a === Smb.CONTROL ? v & ~CONTROL_START : v;
  }

  private write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.write8(offset + i, (value >>> (8 * i)) & 0xff);
  }

  private write8(a: number, v: number): void {
    switch (a) {
      case Smb.STATUS:
        this.regs[a]! &= ~(v & (STATUS_EVENTS | STATUS_INUSE));
        break;
      case Smb.CONTROL:
        this.regs[a] = v & ~CONTROL_START;
        // Nobody acknowledges any address.
        if (v & CONTROL_START && this.config[HOSTC]! & HST_EN) this.regs[Smb.STATUS]! |= STATUS_DEV_ERR;
        break;
      case Smb.COMMAND:
      case Smb.ADDRESS:
      case Smb.DATA0:
      case Smb.DATA1:
      case Smb.BLOCK:
      case Smb.PEC:
        this.regs[a] = v;
        break;
      case Smb.AUX_CONTROL:
        this.regs[a] = v & 3;
        break;
    }
    this.setIntx((this.regs[Smb.CONTROL]! & CONTROL_INTREN) !== 0 && (this.regs[Smb.STATUS]! & STATUS_EVENTS) !== 0);
  }

  override reset(): void {
    this.regs = new Uint8Array(Smb.LENGTH);
    super.reset();
  }

  override save(): SavedState {
    return { ...super.save(), regs: [...this.regs] };
  }

  override restore(s: SavedState): void {
    const regs: unknown = s.regs;
    if (!Array.isArray(regs) || regs.length !== Smb.LENGTH || !regs.every((v) => Number.isInteger(v) && v >= 0 && v <= 0xff)) {
      throw new VmxError('ERR_BAD_STATE', 'ich9-smbus: not a saved state');
    }
    super.restore(s);
    this.regs = Uint8Array.from(regs as number[]);
  }
}
