/** Disks of the configuration, each at the controller it names. */
import type { BlockBackend } from '../../block/backend.js';
import { MemoryOverlay, RawImage } from '../../block/raw.js';
import { VirtioBlk } from '../../devices/virtio/blk.js';
import { addVirtio } from './extras.js';
import type { Parts } from './parts.js';

export function addDisks(p: Parts): void {
  p.host.config.disks.forEach((d, i) => {
    const raw = new RawImage(d.file, d.readonly || d.snapshot);
    const disk: BlockBackend = d.snapshot ? new MemoryOverlay(raw) : raw;
    p.onClose.push(() => disk.close());
    const f = addVirtio(p, `virtio-blk${i}`, new VirtioBlk(disk, `vmx-disk${i}`, (s) => p.host.log(s)));
    p.bootOrder.push(`/pci@i0cf8/scsi@${(f.devfn >> 3).toString(16)}/disk@0,0`);
  });
}
