/**
 * Intel 82371SB PIIX3 PCI-to-ISA bridge (datasheet 290550: interrupt routing registers PIRQRC, reset control port CF9h) and
 * the power management function of the 82371AB PIIX4 (datasheet 290562, function 3). The ACPI registers themselves are
 * in acpi/pm.ts; this function says at which ports.
 */
import { VmxError } from '../../errors.js';
import type { IoHandler, IrqLine, SavedState } from '../device.js';
import { PciFunction, type PciHost } from './pci.js';
import { PIRQ_MASK, PIRQ_RESET, PirqRouter } from './pirq.js';

const PIRQRC = 0x60;
const PIRQS = 4;

export class Piix3 extends PciFunction {
  private readonly router: PirqRouter;
  private resetControl = 0;
  readonly resetPort: IoHandler;

  /** @param isa input lines 0..15 of the interrupt controllers, driven by PCI interrupts routed there. */
  constructor(host: PciHost, slot: number, isa: readonly IrqLine[], onReset: () => void) {
    super('piix3', host, slot << 3, { vendor: 0x8086, device: 0x7000, class: 0x0601, multifunction: true });
    for (let i = 0; i < PIRQS; i++) {
      this.config[PIRQRC + i] = PIRQ_RESET;
      this.writable(PIRQRC + i, [PIRQ_MASK]);
    }
    this.router = new PirqRouter(this.config, Array.from({ length: PIRQS }, (_, i) => PIRQRC + i), isa);
    this.sealConfig();
    this.resetPort = {
      read: () => this.resetControl,
      write: (_o, _s, v) => {
        const rising = (v & 4) !== 0 && (this.resetControl & 4) === 0;
        this.resetControl = v & 2;
        if (rising) onReset();
      },
    };
  }

  /** Level of PIRQ n (0..3). */
  setPirq(n: number, level: boolean): void {
    this.router.set(n, level);
  }

  protected override configWritten(reg: number, size: number): void {
    if (reg + size > PIRQRC && reg < PIRQRC + PIRQS) this.router.route();
  }

  override reset(): void {
    super.reset();
    this.resetControl = 0;
    this.router.route();
  }

  override save(): SavedState {
    return { ...super.save(), resetControl: this.resetControl, pirqs: this.router.save() };
  }

  override restore(s: SavedState): void {
    const { resetControl } = s;
    if (resetControl !== 0 && resetControl !== 2) throw new VmxError('ERR_BAD_STATE', 'piix3: not a saved state');
    const pirqs = this.router.check(s.pirqs);
    super.restore(s);
    this.resetControl = resetControl;
    this.router.restore(pirqs);
  }
}

/** PIIX4 power management registers. */
const PMBA = 0x40;
const DEVACTB = 0x58;
const PMREGMISC = 0x80;
const PM_BYTES = 64;

export class Piix4Pm extends PciFunction {
  /** @param onPmBase the ACPI registers are at these ports now; -1: nowhere. */
  constructor(host: PciHost, slot: number, private readonly onPmBase: (base: number) => void) {
    super('piix4-pm', host, (slot << 3) | 3, { vendor: 0x8086, device: 0x7113, class: 0x0680, revision: 3, pin: 1 });
    this.config[PMBA] = 1;
    this.writable(PMBA, [~(PM_BYTES - 1) & 0xff, 0xff]);
    // SMI on APM writes counts as enabled: firmware then knows that there is no system management mode to set up.
    this.config[DEVACTB + 3] = 0x02;
    this.writable(PMREGMISC, [1]);
    this.sealConfig();
  }

  /** Base of the ACPI registers, or -1. */
  get pmBase(): number {
    return this.config[PMREGMISC]! & 1 ? (this.config[PMBA]! & ~(PM_BYTES - 1)) | (this.config[PMBA + 1]! << 8) : -1;
  }

  /** As firmware leaves it, for kernels that are loaded without firmware. */
  enable(base: number): void {
    this.config[PMBA] = (base & 0xff) | 1;
    this.config[PMBA + 1] = base >>> 8;
    this.config[PMREGMISC] = 1;
    this.onPmBase(base);
  }

  protected override configWritten(reg: number, size: number): void {
    if ((reg + size > PMBA && reg < PMBA + 2) || (reg <= PMREGMISC && reg + size > PMREGMISC)) this.onPmBase(this.pmBase);
  }

  override reset(): void {
    super.reset();
    this.onPmBase(this.pmBase);
  }

  override restore(s: SavedState): void {
    super.restore(s);
    this.onPmBase(this.pmBase);
  }
}
