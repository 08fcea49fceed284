/** virtio-vga: a virtio GPU that is a VGA with Bochs VBE until its driver comes. BARs 0 and 2 are those of the standard VGA, 1 and 4 virtio's. */
import type { GuestMemory, SavedState } from '../device.js';
import type { PciHost } from '../pci/pci.js';
import type { VirtioGpu } from '../virtio/gpu.js';
import { VirtioPci } from '../virtio/pci-transport.js';
import { type VgaBoard, VgaCore, type VgaOptions } from './stdvga.js';

export class VirtioVga extends VirtioPci implements VgaBoard {
  readonly core: VgaCore;

  /** @param gpu of class 0300h. */
  constructor(host: PciHost, slot: number, mem: GuestMemory, gpu: VirtioGpu, log: (message: string) => void, o: VgaOptions) {
    super('virtio-vga', host, slot, mem, gpu, log);
    this.core = new VgaCore(o);
    this.addMemoryBar(0, o.vram.length, o.mapVram);
    this.addBar(2, 'mem', this.core.registerBytes, this.core.registers);
    if (o.rom) this.addRom(o.rom.bytes, o.rom.map);
    this.sealConfig();
  }

  override reset(): void {
    super.reset();
    this.core.reset();
  }

  override save(): SavedState {
    return { ...super.save(), ...this.core.save() };
  }

  protected override load(s: SavedState): void {
    super.load(s);
    this.core.load(s);
  }
}
