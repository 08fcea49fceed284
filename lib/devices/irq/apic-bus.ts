/**
 * The interrupt message bus between local APICs, I/O APICs and devices with message-signalled interrupts.
 * Intel SDM volume 3A, sections "Determining IPI Destination", "Message Signalled Interrupts".
 */
import type { IoHandler } from '../device.js';
import { DeliveryMode } from './lapic.spec.js';

/** A local APIC as the bus sees it. */
export interface ApicTarget {
  /** wide: the destination is a full 32-bit x2APIC one; otherwise 0xff in an 8-bit field means everybody. */
  matches(dest: number, logical: boolean, wide: boolean): boolean;
  /** Returns false if the message was dropped. */
  accept(mode: DeliveryMode, vector: number, level: boolean): boolean;
  /** Priority for lowest-priority arbitration: the smallest wins; above 255 the APIC does not take part. */
  arbitrationPriority(): number;
  readonly mmio: IoHandler;
}

export interface EoiListener {
  /** The end of a level-triggered interrupt was signalled. */
  eoi(vector: number): void;
}

/** A hypervisor that has the local APICs: messages to them are delivered there. */
export interface RemoteApics {
  /** As ApicBus.send. */
  send(dest: number, logical: boolean, wide: boolean, mode: DeliveryMode, vector: number, level: boolean): boolean;
}

export class ApicBus {
  /** Who has the APICs' state while they are lent (LocalApic.lend). */
  remote: RemoteApics | null = null;
  private readonly lapics: ApicTarget[] = [];
  private readonly eoiListeners: EoiListener[] = [];
  /** Where lowest-priority arbitration starts looking: equals take turns. */
  private turn = 0;

  addLapic(l: ApicTarget): void {
    this.lapics.push(l);
  }

  addEoiListener(l: EoiListener): void {
    this.eoiListeners.push(l);
  }

  /** Delivers a message to every APIC it addresses; true if one of them accepted it. */
  send(dest: number, logical: boolean, wide: boolean, mode: DeliveryMode, vector: number, level: boolean): boolean {
    if (this.remote !== null) return this.remote.send(dest, logical, wide, mode, vector, level);
    if (mode === DeliveryMode.LOWEST) return this.sendLowest(dest, logical, wide, vector, level);
    let accepted = false;
    for (let i = 0; i < this.lapics.length; i++) {
      const l = this.lapics[i];
      if (l.matches(dest, logical, wide) && l.accept(mode, vector, level)) accepted = true;
    }
    return accepted;
  }

  private sendLowest(dest: number, logical: boolean, wide: boolean, vector: number, level: boolean): boolean {
    const n = this.lapics.length;
    let best = -1;
    let bestPriority = 256;
    for (let k = 1; k <= n; k++) {
      const i = (this.turn + k) % n;
      const l = this.lapics[i];
      if (!l.matches(dest, logical, wide)) continue;
      const p = l.arbitrationPriority();
      if (p < bestPriority) {
        best = i;
        bestPriority = p;
      }
    }
    if (best < 0) return false;
    this.turn = best;
    return this.lapics[best].accept(DeliveryMode.FIXED, vector, level);
  }

  /** To all, or to all but one. */
  broadcast(except: ApicTarget | null, mode: DeliveryMode, vector: number, level: boolean): void {
    const m = mode === DeliveryMode.LOWEST ? DeliveryMode.FIXED : mode;
    for (let i = 0; i < this.lapics.length; i++) {
      if (this.lapics[i] !== except) this.lapics[i].accept(m, vector, level);
    }
  }

  /**
   * A device's write of `data` to 0xFEExxxxx. Address bits 11:5 extend the destination to 15 bits, as hypervisors offer to
   * guests with more than 255 CPUs (the bits are zero otherwise).
   */
  msi(address: number, data: number): boolean {
    if (((address >>> 20) & 0xfff) !== 0xfee) return false;
    const dest = ((address >>> 12) & 0xff) | (((address >>> 5) & 0x7f) << 8);
    return this.send(dest, (address & 4) !== 0, false, (data >>> 8) & 7, data & 0xff, (data & 0x8000) !== 0);
  }

  eoi(vector: number): void {
    for (let i = 0; i < this.eoiListeners.length; i++) this.eoiListeners[i].eoi(vector);
  }

  /** The register page at 0xFEE00000, where each CPU sees its own APIC. `current` tells which CPU makes the access. */
  window(current: () => ApicTarget): IoHandler {
    return {
      read: (offset, size) => current().mmio.read(offset, size),
      write: (offset, size, value) => current().mmio.write(offset, size, value),
    };
  }
}
