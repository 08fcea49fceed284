/** The physical memory layout a direct kernel boot announces. */

export const enum E820 { RAM = 1, RESERVED = 2, ACPI = 3 }

export interface MemoryRange {
  base: number;
  length: number;
  type: E820;
}

/** Start of the extended BIOS data area: the end of usable conventional memory. */
export const EBDA = 0x9_fc00;

/** Where a board's RAM lies: from 0 up to its limit below 4 GiB, what is left from 4 GiB on. */
export interface RamLayout {
  low: number;
  high: number;
}

export const HIGH_RAM = 0x1_0000_0000;

/** What is below 4 GiB besides RAM begins at 3 GiB; on q35 at 2 GiB, below the configuration window of PCI Express. */
export function ramLayout(machine: string, bytes: number): RamLayout {
  const low = Math.min(bytes, machine === 'q35' ? 0x8000_0000 : 0xc000_0000);
  return { low, high: bytes - low };
}

/** RAM with the PC's hole at 640 KiB. */
export function memoryMap({ low: bytes, high }: RamLayout): MemoryRange[] {
  const map: MemoryRange[] = [
    { base: 0, length: EBDA, type: E820.RAM },
    { base: EBDA, length: 0xa_0000 - EBDA, type: E820.RESERVED },
    { base: 0xf_0000, length: 0x1_0000, type: E820.RESERVED },
  ];
  if (bytes > 0x10_0000) map.push({ base: 0x10_0000, length: bytes - 0x10_0000, type: E820.RAM });
  if (high > 0) map.push({ base: HIGH_RAM, length: high, type: E820.RAM });
  return map;
}
