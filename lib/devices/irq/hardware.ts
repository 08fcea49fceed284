/** The interrupt controllers of a PC, for a hypervisor that has some of its own and takes their state over. */
import type { I8254 } from '../timer/i8254.js';
import type { ApicBus } from './apic-bus.js';
import type { I8259 } from './i8259.js';
import type { IoApic } from './ioapic.js';
import type { LocalApic } from './lapic.js';

export interface InterruptHardware {
  readonly apics: ApicBus;
  /** One per CPU. */
  readonly lapics: readonly LocalApic[];
  readonly ioapic: IoApic;
  readonly pic: I8259;
  /** The 8254, whose output is IRQ 0; absent: it stays outside of the hypervisor. */
  readonly pit?: I8254;
}
