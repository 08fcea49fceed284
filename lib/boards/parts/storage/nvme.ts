/** `if=nvme`: a controller with one namespace per disk. */
import { Nvme } from '../../../devices/storage/nvme.js';
import { type Attach, pciPath } from '../drive.js';

/** The name that firmware knows NVMe controllers by. */
const NODE = 'pci8086,5845';

export const attachNvme: Attach = (p, drives) => {
  for (const d of drives) {
    const f = p.addPci(new Nvme(`nvme${d.index}`, p.pciHost, p.freeSlot(), { memory: p.memory, clock: p.host.clock, disk: d.image, serial: d.serial, log: (s) => p.host.log(s) }));
    d.bootPath = `${pciPath(NODE, f.devfn)}/namespace@1,0`;
  }
};
