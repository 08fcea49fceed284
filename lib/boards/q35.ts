/** The `q35` board: Q35 memory controller hub, ICH9, PCI Express root ports. */
import { Ich9Tco } from '../devices/acpi/tco.js';
import { Ich9Lpc, ICH9_PM_BYTES, ICH9_SLOT, Ich9Smbus, ich9PmBlock, rcrb, RCRB_BYTES } from '../devices/pci/ich9.js';
import { Mch } from '../devices/pci/mch.js';
import { RootPort } from '../devices/pci/root-port.js';
import type { PcBoardHost } from './board.js';
import { Pc } from './parts/map.js';
import { movable, movableMmio, type Parts } from './parts/parts.js';
import { addFirmwareRom } from './parts/rom.js';
import { addAcpiPm, type Chipset, PcFamilyBoard } from './pc-family.js';

/** Where things are on this board. */
const enum Place {
  /** Of the ACPI registers without firmware. */
  PM_BASE = 0x600,
  PM_BYTES = 12,
  GPE_OFFSET = 0x20,
  GPE_BYTES = 16,
  ACPI_ENABLE = 2,
  ACPI_DISABLE = 3,
  /** RAM ends here or below. */
  PCI_HOLE = 0x8000_0000,
  /** Configuration window without firmware. */
  ECAM = 0xb000_0000,
  ECAM_BUSES = 256,
  DISPLAY_SLOT = 1,
  ROOT_PORT_SLOT = 28,
  ROOT_PORTS = 2,
  /** First device whose pins are wired straight to PIRQA..D. */
  STRAIGHT_SLOT = 25,
}
const MIB = 0x10_0000;

/** PIRQE..H by turns, as firmware knows it; devices 25 and up: INTA to PIRQA and so on (ICH9, 10.1.26-32). */
const pirqOf = (slot: number, pin: number): number => (slot < Place.STRAIGHT_SLOT ? 4 + ((slot + pin - 1) & 3) : (pin - 1) & 3);

function addQ35(p: Parts): Chipset {
  const m = p.memory;
  p.pirqOf = pirqOf;
  const pm = addAcpiPm(p, { acpiEnable: Place.ACPI_ENABLE, acpiDisable: Place.ACPI_DISABLE, gpeBytes: Place.GPE_BYTES / 2 });
  m.mapPorts(0xcf9, 1, pm.resetPort);
  const window = movableMmio(p, p.pci.ecam);
  const mch = p.addPci(new Mch(p.pciHost, addFirmwareRom(p), (base, buses) => window(base, buses * MIB)));
  const tco = p.add(new Ich9Tco({ clock: p.host.clock, onReset: () => p.host.reset() }));
  const configuration = movableMmio(p, rcrb(tco.gcs));
  const lpc = p.addPci(
    new Ich9Lpc(p.pciHost, {
      isa: p.isa,
      onPmBase: movable(p, ich9PmBlock(pm.pm, Place.PM_BYTES, pm.gpe0, tco.ports), ICH9_PM_BYTES),
      onRcba: (base) => configuration(base, RCRB_BYTES),
    }),
  );
  p.isaDevfn = lpc.devfn;
  p.ahciDevfn = lpc.devfn | 2;
  p.addPci(new Ich9Smbus(p.pciHost));
  p.pirq = {
    set: (n, level) => {
      p.gsi[Pc.PCI_GSI + n]!.set(level);
      lpc.setPirq(n, level);
    },
  };
  for (let i = 0; i < Place.ROOT_PORTS; i++) {
    const port = new RootPort(`root-port${i}`, p.pciHost, (Place.ROOT_PORT_SLOT << 3) | i, i + 1, Place.ROOT_PORTS > 1 && i === 0);
    p.add(port);
    p.pci.addBridge(port);
    p.freePorts.push(port);
  }
  return {
    pm,
    displaySlot: Place.DISPLAY_SLOT,
    enable() {
      mch.enable(Place.ECAM);
      lpc.enable(Place.PM_BASE);
    },
    acpi() {
      const pmBase = lpc.pmBase < 0 ? Place.PM_BASE : lpc.pmBase;
      const ecam = mch.window ?? { base: Place.ECAM as number, buses: Place.ECAM_BUSES as number };
      const end = ecam.base + ecam.buses * MIB;
      const outside = end <= Place.PCI_HOLE || ecam.base >= Pc.IOAPIC;
      return {
        pmBase,
        gpeBase: pmBase + Place.GPE_OFFSET,
        gpeLength: Place.GPE_BYTES,
        acpiEnable: Place.ACPI_ENABLE,
        acpiDisable: Place.ACPI_DISABLE,
        // Always two, so that the tables keep their length: before and behind the configuration window.
        pciHoles: outside ? [[Place.PCI_HOLE, Pc.IOAPIC - 1], [0, -1]] : [[Place.PCI_HOLE, ecam.base - 1], [end, Pc.IOAPIC - 1]],
        pirqs: 8,
        isaDevice: ICH9_SLOT,
        ecam,
      };
    },
  };
}

export class Q35Board extends PcFamilyBoard {
  constructor(host: PcBoardHost) {
    super(host, addQ35);
  }
}
