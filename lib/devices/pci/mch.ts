/** Host bridge of the Q35 chipset (Intel 3 Series Express Chipset Family datasheet 316966, chapter 5: device 0). */
import type { SavedState } from '../device.js';
import { applyPam, PAM_MASK, PAM_REGISTERS, type ShadowSwitch } from './pam.js';
import { PciFunction, type PciHost } from './pci.js';

const enum Reg {
  PCIEXBAR = 0x60,
  PAM0 = 0x90,
  SMRAM = 0x9d,
  ESMRAMC = 0x9e,
}
const ENABLE = 1;
/** Buses of the configuration window by its length field. */
const BUSES = [256, 128, 64, 0];

export class Mch extends PciFunction {
  /** @param onWindow the configuration window is here now, `buses` MiB long; base -1: off. */
  constructor(
    host: PciHost,
    private readonly shadow: ShadowSwitch,
    private readonly onWindow: (base: number, buses: number) => void,
  ) {
    super('mch', host, 0, { vendor: 0x8086, device: 0x29c0, class: 0x0600, revision: 2 });
    // Base bits 26 and 27 count only with the shorter windows; a 40-bit base.
    this.writable(Reg.PCIEXBAR, [0x07, 0, 0, 0xfc, 0xff]);
    this.writable(Reg.PAM0, PAM_MASK);
    // SMRAM and its extension are stored and read back: there is no system management mode.
    this.config[Reg.SMRAM] = 0x02;
    this.writable(Reg.SMRAM, [0x78, 0xc1]);
    this.config[Reg.ESMRAMC] = 0x38;
    this.sealConfig();
  }

  /** The window of PCI Express configuration, or null. */
  get window(): { base: number; buses: number } | null {
    const c = this.config;
    const low = c[Reg.PCIEXBAR]!;
    const buses = BUSES[(low >> 1) & 3]!;
    if (!(low & ENABLE) || buses === 0) return null;
    const at = c[Reg.PCIEXBAR + 3]! * 0x100_0000 + c[Reg.PCIEXBAR + 4]! * 0x1_0000_0000;
    return { base: at - (at % (buses * 0x10_0000)), buses };
  }

  /** As firmware leaves it, for kernels that are loaded without firmware. */
  enable(base: number): void {
    this.config.set([ENABLE, 0, 0, base >>> 24, 0], Reg.PCIEXBAR);
    for (let i = 0; i < PAM_REGISTERS; i++) this.config[Reg.PAM0 + i] = PAM_MASK[i]!;
    this.apply();
  }

  private apply(): void {
    applyPam(this.config.subarray(Reg.PAM0, Reg.PAM0 + PAM_REGISTERS), this.shadow);
    const w = this.window;
    this.onWindow(w?.base ?? -1, w?.buses ?? 0);
  }

  protected override configWritten(reg: number, size: number): void {
    const end = reg + size;
    if ((end > Reg.PAM0 && reg < Reg.PAM0 + PAM_REGISTERS) || (end > Reg.PCIEXBAR && reg < Reg.PCIEXBAR + 8)) this.apply();
  }

  override reset(): void {
    super.reset();
    this.apply();
  }

  override restore(s: SavedState): void {
    super.restore(s);
    this.apply();
  }
}
