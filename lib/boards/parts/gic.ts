/** The interrupt controller of ARM64's board virt, version 2 or 3, and what receives messages of PCI functions. */
import type { FdtNode } from '../../boot/fdt.js';
import { GicV2 } from '../../devices/arm/gicv2.js';
import { GicV2m, V2M_BYTES } from '../../devices/arm/gicv2m.js';
import { GicV3 } from '../../devices/arm/gicv3.js';
import { GicV3Its, ITS_BYTES, ITS_TRANSLATER } from '../../devices/arm/gicv3-its.js';
import type { GicCore } from '../../devices/arm/gic-core.js';
import type { BusParts } from './bus-parts.js';

export interface GicMap {
  gicd: { base: number; bytes: number };
  gicc: { base: number; bytes: number };
  gicr: { base: number; bytes: number };
  its: number;
  v2m: number;
}

export interface GicWiring {
  changed(cpu: number): void;
  affinity(cpu: number): number;
}

/** The SPIs of messages without translation service. */
export const V2M_SPI = 48;
export const V2M_SPIS = 64;
const FIRST_SPI = 32;

export interface ArmGic {
  core: GicCore;
  /** With registers in the CPUs. */
  v3: GicV3 | null;
  its: boolean;
}

export function addGic(p: BusParts, map: GicMap, spis: number, wiring: GicWiring): ArmGic {
  const { config } = p.host;
  const { cpus, board } = config;
  const m = p.memory;
  if (board.gic === 2) {
    const gic = p.add(new GicV2({ cpus, spis, changed: (c) => wiring.changed(c), currentCpu: () => p.host.currentCpu() }));
    m.mapMmio(map.gicd.base, map.gicd.bytes, gic.distributor);
    m.mapMmio(map.gicc.base, map.gicc.bytes, gic.cpuInterface);
    const pulse = (n: number): void => {
      gic.core.setSpi(n - FIRST_SPI, true);
      gic.core.setSpi(n - FIRST_SPI, false);
    };
    const frame = p.add(new GicV2m({ first: FIRST_SPI + V2M_SPI, count: V2M_SPIS, pulse }));
    m.mapMmio(map.v2m, V2M_BYTES, frame.mmio);
    p.msi = (address, data) => frame.write(address - map.v2m, data);
    return { core: gic.core, v3: null, its: false };
  }
  const gic = p.add(new GicV3({ cpus, spis, changed: (c) => wiring.changed(c), affinity: (c) => wiring.affinity(c), ...(board.its ? { memory: m } : {}) }));
  m.mapMmio(map.gicd.base, map.gicd.bytes, gic.distributor);
  m.mapMmio(map.gicr.base, map.gicr.bytes, gic.redistributors);
  if (gic.lpis === null) return { core: gic.core, v3: gic, its: false };
  const its = p.add(new GicV3Its({ memory: m, lpis: gic.lpis, cpus }));
  m.mapMmio(map.its, ITS_BYTES, its.mmio);
  // A function's requester ID is its device ID; all of them are on bus 0.
  p.msi = (address, data, devfn) => {
    if (address === map.its + ITS_TRANSLATER) its.message(devfn, data);
  };
  return { core: gic.core, v3: gic, its: true };
}

/** Device tree node. @returns the phandle that PCI's messages go to, or null */
export function gicNode(root: FdtNode, map: GicMap, gic: ArmGic, phandle: number, msiHandle: number): number | null {
  const n = root
    .node(`intc@${map.gicd.base.toString(16)}`)
    .text('compatible', gic.v3 === null ? 'arm,cortex-a15-gic' : 'arm,gic-v3')
    .flag('interrupt-controller').cells('#interrupt-cells', 3).cells('#address-cells', 2).cells('#size-cells', 2).flag('ranges').cells('phandle', phandle);
  if (gic.v3 === null) {
    n.cells64('reg', map.gicd.base, map.gicd.bytes, map.gicc.base, map.gicc.bytes);
    n.node(`v2m@${map.v2m.toString(16)}`).text('compatible', 'arm,gic-v2m-frame').flag('msi-controller').cells64('reg', map.v2m, V2M_BYTES).cells('phandle', msiHandle);
    return msiHandle;
  }
  n.cells('#redistributor-regions', 1).cells64('reg', map.gicd.base, map.gicd.bytes, map.gicr.base, map.gicr.bytes);
  if (!gic.its) return null;
  n.node(`its@${map.its.toString(16)}`).text('compatible', 'arm,gic-v3-its').flag('msi-controller').cells('#msi-cells', 1).cells64('reg', map.its, ITS_BYTES).cells('phandle', msiHandle);
  return msiHandle;
}
