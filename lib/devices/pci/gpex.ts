/**
 * Host bridge of a generic PCI Express root complex (Linux Documentation/devicetree/bindings/pci/host-generic-pci.yaml): nothing to
 * program; configuration space lies in memory. Its IDs are those that guests know from other machines of this kind.
 */
import { PciFunction, type PciHost } from './pci.js';

export class GenericHostBridge extends PciFunction {
  constructor(host: PciHost) {
    super('gpex-root', host, 0, { vendor: 0x1b36, device: 0x0008, class: 0x0600, subsysVendor: 0x1af4, subsys: 0x1100 });
    this.sealConfig();
  }
}
