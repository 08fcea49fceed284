/** The interrupt controllers of RISC-V's board virt: the PLIC, or an APLIC with or without IMSICs. */
import type { FdtNode } from '../../boot/fdt.js';
import type { IoHandler, IrqLine } from '../../devices/device.js';
import { Aplic, APLIC_BYTES } from '../../devices/riscv/aplic.js';
import { Imsic, IMSIC_FILE_BYTES } from '../../devices/riscv/imsic.js';
import { Plic, PLIC_BYTES } from '../../devices/riscv/plic.js';
import type { HartImsic } from '../../engine/guest/riscv/aia.js';
import type { BusParts } from './bus-parts.js';

/** Where they are. */
const enum At { PLIC = 0xc00_0000, APLIC_M = 0xc00_0000, APLIC_S = 0xd00_0000, IMSIC_M = 0x2400_0000, IMSIC_S = 0x2800_0000 }
const PLIC_SOURCES = 95;
const APLIC_SOURCES = 96;
const IDENTITIES = 255;
const PAGE = 4096;
/** Offsets of setipnum_le and setipnum_be in a domain, which messages may be written to. */
const SETIPNUM_LE = 0x2000;
const SETIPNUM_BE = 0x2004;
/** Interrupts of a hart in its own interrupt controller. */
const MEI = 11;
const SEI = 9;
/** Interrupt specifiers of an APLIC: level-sensitive, high. */
const LEVEL_HIGH = 4;

export interface RiscvIrqHost {
  /** External interrupts by hart. */
  mei: readonly IrqLine[];
  sei: readonly IrqLine[];
}

/** phandles that a tree needs: one for each of these, and the harts' controllers from `harts` on. */
export interface RiscvIrqHandles {
  /** What devices' interrupts go to. */
  irq: number;
  root: number;
  machineImsic: number;
  supervisorImsic: number;
  harts: number;
}

export interface RiscvIrq {
  /** Wires by source number; 0 is nothing. */
  irqs: readonly IrqLine[];
  /** IMSICs by hart; null: the harts have none. */
  imsics: readonly HartImsic[] | null;
  /** Interrupt specifier of a source. */
  cells(source: number): readonly number[];
  /** What firmware in M-mode would do first, where none runs: the supervisor gets all sources. After a reset. */
  handOver(): void;
  /** Device tree nodes. @param machine firmware in M-mode, or nothing, runs first: the machine level's are usable. @returns phandle for PCI's messages, or null. */
  nodes(soc: FdtNode, handles: RiscvIrqHandles, machine: boolean): number | null;
}

export function addRiscvIrq(p: BusParts, host: RiscvIrqHost): RiscvIrq {
  const { aia } = p.host.config.board;
  if (aia === 'none') return addPlic(p, host);
  return addAplic(p, host, aia === 'aplic-imsic');
}

const each = (harts: number, first: number, ...numbers: number[]): number[] => Array.from({ length: harts }, (_, i) => numbers.flatMap((n) => [first + i, n])).flat();

function addPlic(p: BusParts, host: RiscvIrqHost): RiscvIrq {
  const plic = p.add(new Plic({ sources: PLIC_SOURCES, contexts: host.mei.flatMap((m, i) => [m, host.sei[i]!]) }));
  p.memory.mapMmio(At.PLIC, PLIC_BYTES, plic.mmio);
  return {
    irqs: plic.irqs,
    imsics: null,
    cells: (source) => [source],
    handOver: () => {},
    nodes(soc, handles) {
      soc
        .node(`plic@${At.PLIC.toString(16)}`)
        .text('compatible', 'sifive,plic-1.0.0', 'riscv,plic0')
        .cells64('reg', At.PLIC, PLIC_BYTES)
        .cells('interrupts-extended', ...each(host.mei.length, handles.harts, MEI, SEI))
        .cells('riscv,ndev', PLIC_SOURCES)
        .cells('#interrupt-cells', 1)
        .cells('#address-cells', 0)
        .flag('interrupt-controller')
        .cells('phandle', handles.irq);
      return null;
    },
  };
}

function addAplic(p: BusParts, host: RiscvIrqHost, messages: boolean): RiscvIrq {
  const m = p.memory;
  const harts = host.mei.length;
  const machine = messages ? p.add(new Imsic({ name: 'imsic-m', identities: IDENTITIES, lines: host.mei })) : null;
  const supervisor = messages ? p.add(new Imsic({ name: 'imsic-s', identities: IDENTITIES, lines: host.sei })) : null;
  /** Messages reach interrupt files; those from elsewhere than the APLIC also its setipnum registers. */
  const toImsic = (address: number, data: number): void => {
    if (machine === null || supervisor === null) return;
    if (address >= At.IMSIC_M && address < At.IMSIC_M + machine.bytes) machine.mmio.write(address - At.IMSIC_M, 4, data);
    else if (address >= At.IMSIC_S && address < At.IMSIC_S + supervisor.bytes) supervisor.mmio.write(address - At.IMSIC_S, 4, data);
  };
  const aplic = p.add(new Aplic({ sources: APLIC_SOURCES, machine: host.mei, supervisor: host.sei, msi: messages ? toImsic : null }));
  m.mapMmio(At.APLIC_M, APLIC_BYTES, aplic.machine);
  m.mapMmio(At.APLIC_S, APLIC_BYTES, aplic.supervisor);
  if (machine !== null) m.mapMmio(At.IMSIC_M, machine.bytes, machine.mmio);
  if (supervisor !== null) m.mapMmio(At.IMSIC_S, supervisor.bytes, supervisor.mmio);
  const toAplic = (domain: IoHandler, offset: number, data: number): void => {
    if (offset === SETIPNUM_LE || offset === SETIPNUM_BE) domain.write(offset, 4, data);
  };
  p.msi = (address, data) => {
    toImsic(address, data);
    toAplic(aplic.machine, address - At.APLIC_M, data);
    toAplic(aplic.supervisor, address - At.APLIC_S, data);
  };
  /** Bits of a hart number. */
  const width = 32 - Math.clz32(harts - 1);
  return {
    irqs: aplic.irqs,
    imsics: machine === null || supervisor === null ? null : machine.files.map((file, i) => ({ machine: file, supervisor: supervisor.files[i]! })),
    cells: (source) => [source, LEVEL_HIGH],
    handOver: () => aplic.delegateAll(At.IMSIC_M / PAGE, width << 12, At.IMSIC_S / PAGE, 0),
    nodes(soc, handles, machineLevel) {
      const aplicNode = (base: number, handle: number, msiParent: number, irq: number): FdtNode => {
        const n = soc.node(`interrupt-controller@${base.toString(16)}`).text('compatible', 'qemu,aplic', 'riscv,aplic').cells64('reg', base, APLIC_BYTES)
          .flag('interrupt-controller').cells('#interrupt-cells', 2).cells('#address-cells', 0).cells('riscv,num-sources', APLIC_SOURCES).cells('phandle', handle);
        return messages ? n.cells('msi-parent', msiParent) : n.cells('interrupts-extended', ...each(harts, handles.harts, irq));
      };
      const imsicNode = (base: number, handle: number, irq: number): FdtNode =>
        soc.node(`interrupt-controller@${base.toString(16)}`).text('compatible', 'qemu,imsics', 'riscv,imsics').cells64('reg', base, harts * IMSIC_FILE_BYTES)
          .flag('interrupt-controller').flag('msi-controller').cells('#interrupt-cells', 0).cells('#msi-cells', 0)
          .cells('riscv,num-ids', IDENTITIES).cells('interrupts-extended', ...each(harts, handles.harts, irq)).cells('phandle', handle);
      const own: FdtNode[] = [];
      if (messages) {
        own.push(imsicNode(At.IMSIC_M, handles.machineImsic, MEI));
        imsicNode(At.IMSIC_S, handles.supervisorImsic, SEI);
      }
      // `riscv,delegate` is the older name, which OpenSBI before 1.3 knows.
      own.push(
        aplicNode(At.APLIC_M, handles.root, handles.machineImsic, MEI)
          .cells('riscv,children', handles.irq)
          .cells('riscv,delegation', handles.irq, 1, APLIC_SOURCES)
          .cells('riscv,delegate', handles.irq, 1, APLIC_SOURCES),
      );
      aplicNode(At.APLIC_S, handles.irq, handles.supervisorImsic, SEI);
      if (!machineLevel) for (const n of own) n.text('status', 'disabled');
      return messages ? handles.supervisorImsic : null;
    },
  };
}
