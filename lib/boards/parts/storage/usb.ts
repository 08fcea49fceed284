/** `if=usb`: disks and CD-ROMs as USB mass storage. */
import { ScsiCdRom } from '../../../devices/storage/scsi/cdrom.js';
import { ScsiDisk } from '../../../devices/storage/scsi/disk.js';
import { UsbStorage } from '../../../devices/usb/storage.js';
import { type Attach, pciPath } from '../drive.js';
import { addUsb } from '../usb.js';

export const attachUsb: Attach = (p, drives) => {
  const log = (s: string): void => p.host.log(s);
  for (const d of drives) {
    const unit = d.config.media === 'cdrom' ? new ScsiCdRom(d.media, d.serial, log) : new ScsiDisk(d.image, d.serial, log);
    const { controller, port } = addUsb(p, new UsbStorage(unit, d.serial), '--disk');
    d.bootPath = `${pciPath('usb', controller.devfn)}/storage@${port}/channel@0/disk@0,0`;
  }
};
