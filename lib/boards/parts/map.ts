/** Where things are on the PC boards. */
export const enum Pc {
  LAPIC = 0xfee0_0000,
  IOAPIC = 0xfec0_0000,
  HPET = 0xfed0_0000,
  SMI_COMMAND = 0xb2,
  SCI = 9,
  /** PCI interrupts go to GSIs of their own, from here on, when the guest uses the I/O APIC. */
  PCI_GSI = 16,
  TESTDEV = 0xff00_0000,
  CENTURY = 0x32,
}
