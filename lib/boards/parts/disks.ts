/** Drives of the configuration, each at the controller its `if` names. */
import { MediaSlot } from '../../block/media.js';
import { openImage } from '../../block/open.js';
import { VmxError } from '../../errors.js';
import type { DiskIf } from '../../machine/config.js';
import { DISK_INTERFACES } from '../disk-interfaces.js';
import type { Attach, Drive } from './drive.js';
import type { Parts } from './parts.js';
import { attachVirtioBlk } from './storage/virtio-blk.js';

/** By `if`; lib/boards/disk-interfaces.ts says which boards have them. */
const ATTACH: Readonly<Partial<Record<DiskIf, Attach>>> = {
  virtio: attachVirtioBlk,
};

/** Opens all images, attaches the drives and tells firmware in which order to try them. */
export function addDisks(p: Parts): void {
  const drives = p.host.config.disks.map((config, index): Drive => {
    const image = openImage(config);
    const media = new MediaSlot(image);
    p.onClose.push(() => media.close());
    return { index, config, media, image, serial: config.serial ?? `vmx-disk${index}`, bootPath: null };
  });
  for (const { name, boards } of DISK_INTERFACES) {
    if (!boards.includes(p.host.config.machine)) continue;
    const attach = ATTACH[name];
    if (attach === undefined) throw new VmxError('ERR_INTERNAL', `no attach function for if=${name}`);
    attach(p, drives.filter((d) => d.config.if === name));
  }
  for (const d of drives) if (d.bootPath !== null) p.bootOrder.push(d.bootPath);
}
