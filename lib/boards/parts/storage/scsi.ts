/** `if=scsi`: one virtio-scsi host, each disk and CD-ROM a target of it. */
import { ScsiCdRom } from '../../../devices/storage/scsi/cdrom.js';
import { ScsiDisk } from '../../../devices/storage/scsi/disk.js';
import { VirtioScsi } from '../../../devices/virtio/scsi.js';
import { type Attach, pciPath } from '../drive.js';
import { addVirtio } from '../extras.js';

/** One request queue per CPU, up to here. */
const MAX_QUEUES = 8;

export const attachScsi: Attach = (p, drives) => {
  if (drives.length === 0) return;
  const log = (s: string): void => p.host.log(s);
  const units = drives.map((d, target) => ({
    target,
    lun: 0,
    unit: d.config.media === 'cdrom' ? new ScsiCdRom(d.media, d.serial, log) : new ScsiDisk(d.image, d.serial, log),
  }));
  const f = addVirtio(p, 'virtio-scsi', new VirtioScsi(units, Math.min(p.host.config.cpus, MAX_QUEUES)));
  if (f !== null) drives.forEach((d, target) => (d.bootPath = `${pciPath('scsi', f.devfn)}/channel@0/disk@${target.toString(16)},0`));
};
