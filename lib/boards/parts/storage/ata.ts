/** Drives for parallel and serial ATA, `if=ide` and `if=ahci`. */
import { AtaDisk } from '../../../devices/storage/ata/disk.js';
import type { AtaDevice } from '../../../devices/storage/ata/device.js';
import { AtaPacketDevice } from '../../../devices/storage/ata/packet.js';
import { ScsiCdRom } from '../../../devices/storage/scsi/cdrom.js';
import { Ahci, AHCI_PORTS } from '../../../devices/storage/ahci.js';
import { PiixIde } from '../../../devices/storage/piix-ide.js';
import { type Drive, type PcAttach, pciPath } from '../drive.js';
import { movable, type Parts } from '../parts.js';

function ataDevice(p: Parts, d: Drive, sata: boolean): AtaDevice {
  const log = (m: string): void => p.host.log(m);
  if (d.config.media === 'cdrom') return new AtaPacketDevice({ unit: new ScsiCdRom(d.media, d.serial, log), serial: d.serial, sata, log });
  return new AtaDisk({ disk: d.image, serial: d.serial, sata, log });
}

/** Command and control ports of the two channels, and their interrupts. */
const CHANNELS = [
  { command: 0x1f0, control: 0x3f6, irq: 14 },
  { command: 0x170, control: 0x376, irq: 15 },
] as const;
/** Places in the order in which they are taken: device 0 of the secondary channel is where PCs had their CD-ROM. */
const DISK_PLACES = [0, 1, 3, 2];
const CD_PLACES = [2, 3, 1, 0];

/** The chipset's IDE function; on boards without one it is there if there are drives for it. */
export const attachIde: PcAttach = (p, drives) => {
  if (p.ideDevfn < 0 && drives.length === 0) return;
  const devices: (AtaDevice | null)[] = [null, null, null, null];
  const devfn = p.ideDevfn < 0 ? p.freeSlot() << 3 : p.ideDevfn;
  for (const d of drives) {
    const place = (d.config.media === 'cdrom' ? CD_PLACES : DISK_PLACES).find((i) => devices[i] === null)!;
    devices[place] = ataDevice(p, d, false);
    d.bootPath = `${pciPath('ide', devfn)}/drive@${place >> 1}/disk@${place & 1}`;
  }
  const windows: { command: (base: number) => void; control: (base: number) => void }[] = [];
  const ide = new PiixIde(p.pciHost, devfn, {
    memory: p.memory,
    irqs: [p.isa[CHANNELS[0].irq]!, p.isa[CHANNELS[1].irq]!],
    devices,
    onDecode: (n, on) => {
      windows[n]?.command(on ? CHANNELS[n]!.command : -1);
      windows[n]?.control(on ? CHANNELS[n]!.control : -1);
    },
  });
  for (const c of ide.channels) windows.push({ command: movable(p, c.command, 8), control: movable(p, c.control, 1) });
  p.addPci(ide);
  p.onDirectBoot.push(() => ide.enable());
};

/** The chipset's AHCI function, likewise. */
export const attachAhci: PcAttach = (p, drives) => {
  if (p.ahciDevfn < 0 && drives.length === 0) return;
  const devfn = p.ahciDevfn < 0 ? p.freeSlot() << 3 : p.ahciDevfn;
  const devices = Array.from({ length: AHCI_PORTS }, (_, i) => (drives[i] === undefined ? null : ataDevice(p, drives[i], true)));
  drives.forEach((d, i) => (d.bootPath = `${pciPath('pci8086,2922', devfn)}/drive@${i}/disk@0`));
  p.addPci(new Ahci('ahci', p.pciHost, devfn, { memory: p.memory, devices }));
};
