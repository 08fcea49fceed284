/** pvpanic ("PVPANIC DEVICE" specification of QEMU): the guest says that it has crashed, at port 505h or as a PCI function. */
import type { Device, IoHandler, SavedState } from '../device.js';
import { PciFunction, type PciHost } from '../pci/pci.js';
import { loadState, saveState } from '../saved.js';

const VERSION = 1;
export const PVPANIC_PORT = 0x505;
/** Events: the guest has panicked; it has, and a crash kernel takes over. */
const enum Bit { PANICKED = 1, CRASHLOADED = 2 }
const SUPPORTED = Bit.PANICKED | Bit.CRASHLOADED;
const BAR_BYTES = 4096;

export type PanicEvent = 'panicked' | 'crash-loaded';

function register(onPanic: (event: PanicEvent) => void): IoHandler {
  return {
    read: (offset) => (offset === 0 ? SUPPORTED : 0),
    write: (offset, _size, value) => {
      if (offset !== 0) return;
      if (value & Bit.PANICKED) onPanic('panicked');
      else if (value & Bit.CRASHLOADED) onPanic('crash-loaded');
    },
  };
}

/** At a port of the ISA bus. */
export class PvPanic implements Device {
  readonly name = 'pvpanic';
  readonly ports: IoHandler;

  constructor(onPanic: (event: PanicEvent) => void) {
    this.ports = register(onPanic);
  }

  reset(): void {}

  save(): SavedState {
    return saveState({}, VERSION, {});
  }

  restore(s: SavedState): void {
    loadState(this.name, {}, VERSION, s);
  }
}

export class PvPanicPci extends PciFunction {
  constructor(name: string, host: PciHost, slot: number, onPanic: (event: PanicEvent) => void) {
    super(name, host, slot << 3, { vendor: 0x1b36, device: 0x0011, class: 0x0880, revision: 1, subsysVendor: 0x1af4, subsys: 0x1100 });
    this.addBar(0, 'mem', BAR_BYTES, register(onPanic));
    this.sealConfig();
  }
}
