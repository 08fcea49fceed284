/** The physical memory layout a direct kernel boot announces. */

export const enum E820 { RAM = 1, RESERVED = 2, ACPI = 3 }

export interface MemoryRange {
  base: number;
  length: number;
  type: E820;
}

/** Start of the extended BIOS data area: the end of usable conventional memory. */
export const EBDA = 0x9_fc00;

/** RAM of `bytes` from physical 0 with the PC's hole at 640 KiB. RAM ends below the PCI hole at 3 GiB. */
export function memoryMap(bytes: number): MemoryRange[] {
  const map: MemoryRange[] = [
    { base: 0, length: EBDA, type: E820.RAM },
    { base: EBDA, length: 0xa_0000 - EBDA, type: E820.RESERVED },
    { base: 0xf_0000, length: 0x1_0000, type: E820.RESERVED },
  ];
  if (bytes > 0x10_0000) map.push({ base: 0x10_0000, length: bytes - 0x10_0000, type: E820.RAM });
  return map;
}
