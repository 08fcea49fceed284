/** A drive of the configuration on its way to its controller. */
import type { BlockBackend } from '../../block/backend.js';
import type { MediaSlot } from '../../block/media.js';
import type { DiskConfig } from '../../machine/config.js';
import type { BusParts } from './bus-parts.js';
import type { Parts } from './parts.js';

export interface Drive {
  /** Position among all drives; names devices uniquely. */
  readonly index: number;
  readonly config: DiskConfig;
  /** Drives with removable media look here each time. */
  readonly media: MediaSlot;
  /** What a fixed disk has. @throws VmxError for a drive with removable media, whose medium may be absent */
  readonly image: BlockBackend;
  readonly serial: string;
  /** Set by the controller's attach function: Open Firmware path of the drive for fw_cfg `bootorder`; null: firmware cannot name it. */
  bootPath: string | null;
}

/** Adds a controller (or several) with these drives, all of one `if`. Called for every `if` of the board, maybe with no drives. */
export type Attach = (p: BusParts, drives: readonly Drive[]) => void;

/** The same for controllers that only PCs have: with ports and ISA interrupts. */
export type PcAttach = (p: Parts, drives: readonly Drive[]) => void;

/** Path of a PCI function on bus 0: SeaBIOS and OVMF know them by class name and place. */
export function pciPath(name: string, devfn: number): string {
  const fn = devfn & 7;
  return `/pci@i0cf8/${name}@${(devfn >> 3).toString(16)}${fn === 0 ? '' : `,${fn.toString(16)}`}`;
}
