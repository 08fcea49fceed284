/**
 * Pointer authentication (Arm ARM, D8.10): which bits of an address its code takes. The codes are made by lifted code
 * (lift-pauth.ts), which finds those bits in slots.
 */
import type { Arm64Cpu } from './cpu.js';
import { A } from './regs.js';

/** Keys in the order of their slots. */
export const enum Key { IA = 0, IB = 1, DA = 2, DB = 3 }
/** Enable bits of SCTLR_EL1 by key: EnIA, EnIB, EnDA, EnDB. */
export const PAC_ENABLES: readonly number[] = [1 << 31, 1 << 30, 1 << 27, 1 << 13];

/** Bits of TCR_EL1's high word, for the lower half; those for the upper half are one to the left. */
const TBI = 1 << 5;
const TBID = 1 << 19;

export class PointerAuthentication {
  constructor(private readonly cpu: Arm64Cpu) {}

  /** Tags are ignored for the half: addresses of data, or of instructions. */
  private tagged(upper: boolean, data: boolean): boolean {
    const tcr = this.cpu.tcrHi >>> (upper ? 1 : 0);
    return (tcr & TBI) !== 0 && (data || (tcr & TBID) === 0);
  }

  /** Bits that a code takes in addresses of the half, in cpu.outHi and outLo: 63..56 unless they are a tag, and from 54 down to the first above the input size. */
  field(upper: boolean, data: boolean): void {
    const { cpu } = this;
    const size = 64 - Math.max(16, Math.min(39, (upper ? cpu.tcrLo >>> 16 : cpu.tcrLo) & 63));
    const top = this.tagged(upper, data) ? 0 : 0xff00_0000;
    cpu.outHi = top | (size >= 32 ? 0x7f_ffff & ~((1 << (size - 32)) - 1) : 0x7f_ffff);
    cpu.outLo = size >= 32 ? 0 : ~((1 << size) - 1);
  }

  /** The slots anew, for SCTLR_EL1 and TCR_EL1. @returns whether adding a code may move the choice of the half. */
  update(): boolean {
    const { cpu } = this;
    let moves = false;
    for (let key: number = Key.IA; key <= Key.DB; key++) {
      const on = (cpu.sctlr & PAC_ENABLES[key]!) !== 0;
      const data = key >= Key.DA;
      for (const upper of [false, true]) {
        this.field(upper, data);
        cpu.setSlot(A.PAC_MASK + key * 2 + (upper ? 1 : 0), on ? cpu.outLo : 0, on ? cpu.outHi : 0);
      }
      // Bit 55 chooses the half where either half has tags, otherwise bit 63.
      const fix = on && !this.tagged(false, data) && !this.tagged(true, data);
      cpu.setSlot(A.PAC_FIX + key, 0, fix ? 0x80_0000 : 0);
      moves ||= fix;
    }
    return moves;
  }
}
