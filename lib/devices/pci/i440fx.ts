/** Intel 82441FX PCI and Memory Controller (datasheet 290549): the host bridge of the `pc` board. */
import type { SavedState } from '../device.js';
import { applyPam, PAM_MASK, PAM_REGISTERS, type ShadowSwitch } from './pam.js';
import { PciFunction, type PciHost } from './pci.js';

const PAM0 = 0x59;
/** SMRAM control: stored and read back; there is no system management mode. */
const SMRAM = 0x72;

export class I440fx extends PciFunction {
  constructor(host: PciHost, private readonly shadow: ShadowSwitch) {
    super('i440fx', host, 0, { vendor: 0x8086, device: 0x1237, class: 0x0600, revision: 2 });
    this.writable(PAM0, PAM_MASK);
    this.config[SMRAM] = 0x02;
    this.writable(SMRAM, [0x78]);
    this.sealConfig();
  }

  /** All of C0000h-FFFFFh as plain RAM: as firmware leaves it, for kernels that are loaded without firmware. */
  openShadow(): void {
    for (let i = 0; i < PAM_REGISTERS; i++) this.config[PAM0 + i] = PAM_MASK[i]!;
    this.apply();
  }

  private apply(): void {
    applyPam(this.config.subarray(PAM0, PAM0 + PAM_REGISTERS), this.shadow);
  }

  protected override configWritten(reg: number, size: number): void {
    if (reg + size > PAM0 && reg < PAM0 + PAM_REGISTERS) this.apply();
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
