/** The `pc` board: 440FX, PIIX3 with the PIIX4's power management. */
import { ramLayout } from '../boot/e820.js';
import { I440fx } from '../devices/pci/i440fx.js';
import { Piix3, Piix4Pm } from '../devices/pci/piix.js';
import type { PcBoardHost } from './board.js';
import { Pc } from './parts/map.js';
import { movable, type Parts } from './parts/parts.js';
import { addFirmwareRom } from './parts/rom.js';
import { addAcpiPm, type Chipset, PcFamilyBoard } from './pc-family.js';

/** Where things are on this board. */
const enum Place {
  /** Of the ACPI registers without firmware. */
  PM_BASE = 0x600,
  PM_BYTES = 12,
  GPE_BASE = 0xafe0,
  GPE_BYTES = 4,
  ACPI_ENABLE = 0xf1,
  ACPI_DISABLE = 0xf0,
  /** Firmware puts PCI memory from here on, or from the end of RAM. */
  PCI_HOLE = 0x8000_0000,
  PIIX_SLOT = 1,
  DISPLAY_SLOT = 2,
}

function addI440fx(p: Parts): Chipset {
  const h = p.host;
  const pm = addAcpiPm(p, { acpiEnable: Place.ACPI_ENABLE, acpiDisable: Place.ACPI_DISABLE, gpeBytes: Place.GPE_BYTES / 2 });
  p.memory.mapPorts(Place.GPE_BASE, Place.GPE_BYTES, pm.gpe0);
  const bridge = p.addPci(new I440fx(p.pciHost, addFirmwareRom(p)));
  const piix = p.addPci(new Piix3(p.pciHost, Place.PIIX_SLOT, p.isa, () => h.reset()));
  p.isaDevfn = piix.devfn;
  p.ideDevfn = piix.devfn | 1;
  p.memory.mapPorts(0xcf9, 1, piix.resetPort);
  const pmFunction = p.addPci(new Piix4Pm(p.pciHost, Place.PIIX_SLOT, movable(p, pm.pm, Place.PM_BYTES)));
  // As firmware knows it: the PIRQ of pin INTA of device 1 is PIRQA.
  p.pirqOf = (slot, pin) => (slot - 1 + pin - 1) & 3;
  // A PCI interrupt has a GSI of its own and goes through PIIX3 to the 8259As.
  p.pirq = {
    set: (n, level) => {
      p.gsi[Pc.PCI_GSI + n]!.set(level);
      piix.setPirq(n, level);
    },
  };
  const ram = ramLayout(h.config.machine, h.config.memory);
  return {
    pm,
    displaySlot: Place.DISPLAY_SLOT,
    enable() {
      bridge.openShadow();
      pmFunction.enable(Place.PM_BASE);
    },
    acpi: () => ({
      pmBase: pmFunction.pmBase < 0 ? Place.PM_BASE : pmFunction.pmBase,
      gpeBase: Place.GPE_BASE,
      gpeLength: Place.GPE_BYTES,
      acpiEnable: Place.ACPI_ENABLE,
      acpiDisable: Place.ACPI_DISABLE,
      pciHoles: [[Math.max(ram.low, Place.PCI_HOLE), Pc.IOAPIC - 1]],
      pirqs: 4,
      isaDevice: Place.PIIX_SLOT,
      ecam: null,
    }),
  };
}

export class PcBoard extends PcFamilyBoard {
  constructor(host: PcBoardHost) {
    super(host, addI440fx);
  }
}
