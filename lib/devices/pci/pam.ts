/**
 * Programmable attribute map of Intel's host bridges (82441FX datasheet 290549, "PAM—Programmable Attribute Map Registers";
 * the same layout in the Q35 MCH at 90h): seven registers for thirteen segments of C0000h-FFFFFh, four bits each, of which
 * bit 0 enables reads and bit 1 writes of RAM.
 */
export const PAM_REGISTERS = 7;
/** Writable bits of each register; the low half of PAM0 is reserved. */
export const PAM_MASK: readonly number[] = [0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33];

/** Whoever switches the memory: attributes are 0..3 as above. */
export interface ShadowSwitch {
  set(base: number, length: number, attributes: number): void;
}

export function applyPam(registers: Uint8Array, shadow: ShadowSwitch): void {
  shadow.set(0xf_0000, 0x1_0000, (registers[0]! >> 4) & 3);
  for (let i = 1; i < PAM_REGISTERS; i++) {
    const base = 0xc_0000 + (i - 1) * 0x8000;
    shadow.set(base, 0x4000, registers[i]! & 3);
    shadow.set(base + 0x4000, 0x4000, (registers[i]! >> 4) & 3);
  }
}
