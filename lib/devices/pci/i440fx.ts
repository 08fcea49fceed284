/** Intel 82441FX PCI and Memory Controller (datasheet 290549): the host bridge of the `pc` board. */
import { PciFunction, type PciHost } from './pci.js';

/** Programmable attribute map: C0000h..FFFFFh. Stored and read back; RAM below 1 MiB is always readable and writable. */
const PAM0 = 0x59;

export class I440fx extends PciFunction {
  constructor(host: PciHost) {
    super('i440fx', host, 0, { vendor: 0x8086, device: 0x1237, class: 0x0600, revision: 2 });
    for (let i = 0; i < 7; i++) this.writable(PAM0 + i, [0x33]);
    this.writable(0x72, [0xff]);
    this.sealConfig();
  }
}
