/** `if=` of --disk, --cdrom and --floppy: which controllers there are, as data, and what is chosen when none is named. */
import { UsageError } from '../errors.js';
import type { DiskIf, MachineName, MediaKind } from '../machine/config.js';

export interface DiskInterface {
  readonly name: DiskIf;
  readonly media: readonly MediaKind[];
  readonly boards: readonly MachineName[];
  /** Most drives a machine can have there. */
  readonly limit: number;
}

/** The controllers that exist; lib/boards/parts/disks.ts has the function that attaches drives to each. */
export const DISK_INTERFACES: readonly DiskInterface[] = [
  { name: 'virtio', media: ['disk'], boards: ['pc', 'q35', 'microvm', 'virt'], limit: 16 },
  { name: 'scsi', media: ['disk', 'cdrom'], boards: ['pc', 'q35', 'microvm', 'virt'], limit: 32 },
  { name: 'nvme', media: ['disk'], boards: ['pc', 'q35'], limit: 8 },
  { name: 'ide', media: ['disk', 'cdrom'], boards: ['pc', 'q35'], limit: 4 },
  { name: 'ahci', media: ['disk', 'cdrom'], boards: ['pc', 'q35'], limit: 6 },
  { name: 'usb', media: ['disk', 'cdrom'], boards: ['pc', 'q35', 'virt'], limit: 8 },
  { name: 'floppy', media: ['floppy'], boards: ['pc', 'q35'], limit: 2 },
];

/**
 * What users expect when they say nothing, first choice first: virtio for disks, since every firmware here boots from it and every
 * Linux has its driver; the chipset's own controller for systems by Microsoft, which do not; CD-ROMs where every installer
 * looks for them.
 */
const PREFERRED: Readonly<Record<MediaKind, readonly DiskIf[]>> = { disk: ['virtio'], cdrom: ['ide', 'ahci', 'scsi', 'usb'], floppy: ['floppy'] };
const PREFERRED_MICROSOFT: readonly DiskIf[] = ['ide', 'ahci', 'virtio'];
/** Boards whose chipset has AHCI in place of IDE: ich9 of the q35. */
const AHCI_FIRST: readonly MachineName[] = ['q35'];

const fits = (i: DiskInterface, machine: MachineName, media: MediaKind): boolean => i.boards.includes(machine) && i.media.includes(media);

/** @param microsoft there is a system by Microsoft on it. @throws UsageError if the board has no drive for such a medium. */
export function defaultInterface(machine: MachineName, media: MediaKind, microsoft: boolean, option: string): DiskIf {
  const order = media === 'disk' && microsoft ? PREFERRED_MICROSOFT : PREFERRED[media];
  const own: DiskIf = AHCI_FIRST.includes(machine) ? 'ahci' : 'ide';
  for (const name of order.map((i) => (i === 'ide' || i === 'ahci' ? own : i))) if (DISK_INTERFACES.some((i) => i.name === name && fits(i, machine, media))) return name;
  throw new UsageError(`${option}: ${media} images are not available yet on machine ${machine}`);
}

/** @throws UsageError if the board has no such controller for this kind of medium. */
export function checkInterface(name: string, machine: MachineName, media: MediaKind, option: string): DiskIf {
  const all = DISK_INTERFACES.filter((i) => fits(i, machine, media));
  const found = all.find((i) => i.name === name);
  if (found === undefined) throw new UsageError(`${option}: if=${name} is not available on machine ${machine} (${all.map((i) => i.name).join(', ') || 'nothing'} ${all.length > 1 ? 'are' : 'is'})`);
  return found.name;
}
