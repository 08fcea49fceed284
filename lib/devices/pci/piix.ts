/**
 * Intel 82371SB PIIX3 PCI-to-ISA bridge (datasheet 290550: interrupt routing registers PIRQRC, reset control port CF9h) and
 * the power management function of the 82371AB PIIX4 (datasheet 290562, function 3). The ACPI registers themselves are
 * in acpi/pm.ts at a fixed base that this function shows.
 */
import type { IoHandler, IrqLine } from '../device.js';
import { PciFunction, type PciHost, le32 } from './pci.js';

const PIRQRC = 0x60;
const ROUTING_DISABLED = 0x80;

export class Piix3 extends PciFunction {
  /** Levels of PIRQA..PIRQD. */
  private readonly level = [false, false, false, false];
  private readonly driven = new Uint8Array(16);
  private resetControl = 0;
  readonly resetPort: IoHandler;

  /** @param isa input lines 0..15 of the interrupt controllers, driven by PCI interrupts routed there. */
  constructor(host: PciHost, slot: number, private readonly isa: readonly IrqLine[], onReset: () => void) {
    super('piix3', host, slot << 3, { vendor: 0x8086, device: 0x7000, class: 0x0601, multifunction: true });
    for (let i = 0; i < 4; i++) {
      this.config[PIRQRC + i] = ROUTING_DISABLED;
      this.writable(PIRQRC + i, [0x8f]);
    }
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
    this.level[n] = level;
    this.route();
  }

  private route(): void {
    for (let irq = 3; irq < 16; irq++) {
      let up = false;
      for (let n = 0; n < 4; n++) {
        const r = this.config[PIRQRC + n]!;
        if (this.level[n] && !(r & ROUTING_DISABLED) && (r & 0xf) === irq) up = true;
      }
      const v = up ? 1 : 0;
      if (this.driven[irq] !== v) {
        this.driven[irq] = v;
        this.isa[irq]!.set(up);
      }
    }
  }

  protected override configWritten(reg: number, size: number): void {
    if (reg + size > PIRQRC && reg < PIRQRC + 4) this.route();
  }

  override reset(): void {
    super.reset();
    this.resetControl = 0;
    this.route();
  }
}

export class Piix4Pm extends PciFunction {
  constructor(host: PciHost, slot: number, pmBase: number) {
    super('piix4-pm', host, (slot << 3) | 3, { vendor: 0x8086, device: 0x7113, class: 0x0680, revision: 3, pin: 1 });
    // PMBA: I/O space; PMREGMISC bit 0: enabled.
    this.config.set(le32(pmBase | 1), 0x40);
    this.config[0x80] = 1;
    this.writable(0x80, [1]);
    this.sealConfig();
  }
}
