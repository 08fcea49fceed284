/** Drives of the configuration, each at the controller its `if` names. */
import { MediaSlot } from '../../block/media.js';
import { openImage } from '../../block/open.js';
import { VmxError } from '../../errors.js';
import type { DiskConfig, DiskIf } from '../../machine/config.js';
import { DISK_INTERFACES } from '../disk-interfaces.js';
import type { BusParts } from './bus-parts.js';
import type { Attach, Drive, PcAttach } from './drive.js';
import { Parts } from './parts.js';
import { attachAhci, attachIde } from './storage/ata.js';
import { attachFloppy } from './storage/floppy.js';
import { attachNvme } from './storage/nvme.js';
import { attachScsi } from './storage/scsi.js';
import { attachUsb } from './storage/usb.js';
import { attachVirtioBlk } from './storage/virtio-blk.js';

/** By `if`; lib/boards/disk-interfaces.ts says which boards have them. */
const ATTACH: Readonly<Partial<Record<DiskIf, Attach>>> = {
  virtio: attachVirtioBlk,
  nvme: attachNvme,
  scsi: attachScsi,
  usb: attachUsb,
};

/** Those that only PCs have. */
const PC_ATTACH: Readonly<Partial<Record<DiskIf, PcAttach>>> = {
  ide: attachIde,
  ahci: attachAhci,
  floppy: attachFloppy,
};

/** Opens all images, attaches the drives and tells firmware in which order to try them. */
export function addDisks(p: BusParts): void {
  for (const d of addDrives(p, p.host.config.disks, true)) if (d.bootPath !== null) p.bootOrder.push(d.bootPath);
}

/**
 * The same without a word to firmware.
 * @param every boards have some controllers without drives, too. @returns the drives in the order given
 */
export function addDrives(p: BusParts, configs: readonly DiskConfig[], every: boolean): Drive[] {
  const first = p.drives.reduce((n, d) => Math.max(n, d.index + 1), 0);
  const drives = configs.map((config, i): Drive => {
    const index = first + i;
    const image = config.file === null ? null : openImage({ ...config, file: config.file });
    const media = new MediaSlot(image);
    p.onClose.push(() => media.close());
    return {
      index, config, media, serial: config.serial ?? `vmx-disk${index}`, bootPath: null,
      get image() {
        if (image === null || config.media !== 'disk') throw new VmxError('ERR_INTERNAL', `${config.id} is no fixed disk`);
        return image;
      },
    };
  });
  p.drives.push(...drives);
  for (const { name, boards } of DISK_INTERFACES) {
    if (!boards.includes(p.host.config.machine)) continue;
    const mine = drives.filter((d) => d.config.if === name);
    if (!every && mine.length === 0) continue;
    const attach = ATTACH[name];
    const pcAttach = PC_ATTACH[name];
    if (attach !== undefined) attach(p, mine);
    else if (pcAttach !== undefined && p instanceof Parts) pcAttach(p, mine);
    else throw new VmxError('ERR_INTERNAL', `no attach function for if=${name}`);
  }
  return drives;
}
