/**
 * SATA controller of the ICH9 in AHCI mode (datasheet 316972, chapter 14; AHCI 1.3.1): six ports without port multipliers,
 * command queuing, 64-bit addresses, INTx or MSI.
 */
import type { GuestMemory, IoHandler, SavedState } from '../device.js';
import { PciFunction, type PciHost } from '../pci/pci.js';
import { AhciPort } from './ahci-port.js';
import { Cap, Ghc, Hba, HBA_VERSION, PORT_BYTES, PORTS_AT, SLOTS } from './ahci.spec.js';
import type { AtaDevice } from './ata/device.js';
import { loadState, saveState, type Schema, u32 } from '../saved.js';

const VERSION = 1;
export const AHCI_PORTS = 6;
const ABAR = 5;
const ABAR_BYTES = 0x1000;
/** Address map register: AHCI mode. */
const MAP = 0x90;
const MAP_AHCI = 0x40;
const CAP_SATA = 0x12;

interface State {
  ghc: number;
  is: number;
}
const SCHEMA: Schema<State> = { ghc: u32, is: u32 };

export interface AhciOptions {
  memory: GuestMemory;
  /** What is plugged into each port. */
  devices: readonly (AtaDevice | null)[];
}

export class Ahci extends PciFunction {
  private s: State = { ghc: Ghc.AE, is: 0 };
  private readonly ports: AhciPort[];

  constructor(name: string, host: PciHost, devfn: number, o: AhciOptions) {
    // INTB, as the chipset has it after a reset (D31IP).
    super(name, host, devfn, { vendor: 0x8086, device: 0x2922, class: 0x0106, progIf: 1, revision: 2, pin: 2 });
    this.ports = Array.from({ length: AHCI_PORTS }, (_, i) => new AhciPort(o.memory, o.devices[i] ?? null, () => this.busMaster));
    this.addMsi();
    // Serial ATA capability 1.0: no index-data pair.
    this.addCapability(CAP_SATA, [0x10, 0x00, 0, 0, 0, 0]);
    this.config[MAP] = MAP_AHCI;
    this.addBar(ABAR, 'mem', ABAR_BYTES, this.registers());
    this.sealConfig();
  }

  /** Plugs a device into a port, or with null takes it out. */
  plug(port: number, device: AtaDevice | null): void {
    this.ports[port]!.plug(device);
    this.update();
  }

  private registers(): IoHandler {
    return {
      read: (a, size) => {
        const v = this.read(a & ~3);
        return size === 4 ? v : ((v >>> (8 * (a & 3))) & (size === 2 ? 0xffff : 0xff)) >>> 0;
      },
      // The specification has double words only (3: "all registers are 32 bits wide").
      write: (a, size, v) => {
        if (size === 4 && (a & 3) === 0) this.write(a, v);
      },
    };
  }

  private read(a: number): number {
    if (a >= PORTS_AT) return this.ports[(a - PORTS_AT) >> 7]?.read((a - PORTS_AT) % PORT_BYTES) ?? 0;
    switch (a) {
      case Hba.CAP:
        return (Cap.S64A | Cap.SNCQ | Cap.SCLO | Cap.GEN2 | Cap.SAM | ((SLOTS - 1) << Cap.SLOTS_SHIFT) | (AHCI_PORTS - 1)) >>> 0;
      case Hba.GHC:
        return this.s.ghc;
      case Hba.IS:
        return this.s.is;
      case Hba.PI:
        return (1 << AHCI_PORTS) - 1;
      case Hba.VS:
        return HBA_VERSION;
      default:
        return 0;
    }
  }

  private write(a: number, v: number): void {
    if (a >= PORTS_AT) {
      this.ports[(a - PORTS_AT) >> 7]?.write((a - PORTS_AT) % PORT_BYTES, v);
    } else if (a === Hba.GHC) {
      if (v & Ghc.HR) this.resetHba(false);
      else this.s.ghc = (Ghc.AE | (v & Ghc.IE)) >>> 0;
    } else if (a === Hba.IS) {
      this.s.is = (this.s.is & ~v) >>> 0;
      this.update();
      // By message: bits that are left are told of again (10.6.2.2).
      if (this.s.is !== 0 && this.s.ghc & Ghc.IE) this.message();
      return;
    }
    this.update();
  }

  private resetHba(all: boolean): void {
    this.s = { ghc: Ghc.AE, is: 0 };
    for (const p of this.ports) p.reset(all);
  }

  /** IS shows ports with enabled interrupts; it stays until software clears it. */
  private update(): void {
    let news = false;
    this.ports.forEach((p, i) => {
      if (p.pending) {
        if (!((this.s.is >>> i) & 1) || p.raised !== 0) news = true;
        this.s.is = (this.s.is | (1 << i)) >>> 0;
      }
      p.raised = 0;
    });
    const level = this.s.is !== 0 && (this.s.ghc & Ghc.IE) !== 0;
    this.setIntx(level);
    if (level && news) this.message();
  }

  override reset(): void {
    super.reset();
    this.resetHba(true);
    this.update();
  }

  override save(): SavedState {
    return { ...super.save(), hba: saveState(SCHEMA, VERSION, this.s), ports: this.ports.map((p) => p.save()) };
  }

  override restore(saved: SavedState): void {
    const s = loadState(this.name, SCHEMA, VERSION, saved.hba as SavedState);
    const list: unknown[] = Array.isArray(saved.ports) ? saved.ports : [];
    const take = this.ports.map((p, i) => p.check(list[i]));
    super.restore(saved);
    this.s = s;
    for (const t of take) t();
  }
}
