/**
 * Interrupt routing of Intel's bridges to ISA: a register per PIRQ line names the ISA interrupt it drives (PIIX3 datasheet
 * 290550, "PIRQRCx"; ICH9 datasheet 316972, 13.1.12 "PIRQ[n]_ROUT"). An ISA interrupt is the wire-OR of its PIRQs.
 */
import { VmxError } from '../../errors.js';
import type { IrqLine } from '../device.js';

const DISABLED = 0x80;
export const PIRQ_RESET = DISABLED;
export const PIRQ_MASK = 0x8f;

export class PirqRouter {
  private readonly level: boolean[];
  private readonly driven = new Uint8Array(16);

  /** @param registers offset of each PIRQ's register in `config`. */
  constructor(
    private readonly config: Uint8Array,
    private readonly registers: readonly number[],
    private readonly isa: readonly IrqLine[],
  ) {
    this.level = registers.map(() => false);
  }

  set(n: number, level: boolean): void {
    this.level[n] = level;
    this.route();
  }

  /** The registers may have changed. */
  route(): void {
    // 0, 1, 2, 8 and 13 belong to the board itself.
    for (const irq of [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15]) {
      let up = false;
      for (let n = 0; n < this.registers.length; n++) {
        const r = this.config[this.registers[n]!]!;
        if (this.level[n] && !(r & DISABLED) && (r & 0xf) === irq) up = true;
      }
      const v = up ? 1 : 0;
      if (this.driven[irq] === v) continue;
      this.driven[irq] = v;
      this.isa[irq]!.set(up);
    }
  }

  save(): number[] {
    return this.level.map(Number);
  }

  /** Checks a saved state. @throws VmxError */
  check(saved: unknown): number[] {
    if (!Array.isArray(saved) || saved.length !== this.level.length || !saved.every((v) => v === 0 || v === 1)) {
      throw new VmxError('ERR_BAD_STATE', 'saved state: no levels of PCI interrupts');
    }
    return saved as number[];
  }

  /** Takes a checked state. */
  restore(levels: readonly number[]): void {
    levels.forEach((v, n) => (this.level[n] = v === 1));
    this.route();
  }
}
