/** `if=virtio`: a virtio-blk function per disk. */
import { VirtioBlk } from '../../../devices/virtio/blk.js';
import { type Attach, pciPath } from '../drive.js';
import { addVirtio } from '../extras.js';

/** One queue per CPU, up to here. */
const MAX_QUEUES = 8;

export const attachVirtioBlk: Attach = (p, drives) => {
  for (const d of drives) {
    const f = addVirtio(p, `virtio-blk${d.index}`, new VirtioBlk(d.image, d.serial, (s) => p.host.log(s), Math.min(p.host.config.cpus, MAX_QUEUES)));
    if (f !== null) d.bootPath = `${pciPath('scsi', f.devfn)}/disk@0,0`;
  }
};
