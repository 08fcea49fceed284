/**
 * Interrupt controllers in the kernel. Their state is in one place at a time for the whole machine: in KVM while CPUs run there
 * (`toKernel`), in the device models otherwise (`toDevices`). Linux Documentation/virt/kvm/api.rst: KVM_CREATE_IRQCHIP,
 * KVM_CAP_SPLIT_IRQCHIP, KVM_SET_GSI_ROUTING, KVM_SIGNAL_MSI, KVM_IRQ_LINE.
 */
import { DeliveryMode } from '../../devices/irq/lapic.spec.js';
import type { RemoteApics } from '../../devices/irq/apic-bus.js';
import type { InterruptHardware } from '../../devices/irq/hardware.js';
import { IOAPIC_PINS } from '../../devices/irq/ioapic.js';
import type { NativeKvm } from '../../native.js';
import { getIoApic, getPics, IOAPIC_BYTES, PIC_BYTES, putIoApic, putPic } from './chips.js';
import { Cap } from './layout.js';

/** off: all of them are the device models. split: the local APICs are the kernel's. full: I/O APIC and 8259As, too. */
export type IrqchipMode = 'off' | 'split' | 'full';

/** KVM_X2APIC_API_USE_32BIT_IDS. */
const WIDE_IDS = 1;
/** KVM_IRQCHIP_*. */
const enum Which { MASTER = 0, SLAVE = 1, IOAPIC = 2 }
/**
 * GSIs. 0 to 23 are a PC's: I/O APIC pins, of which the first sixteen are inputs of the 8259As as well. The models have the two apart: PINS
 * on are the I/O APIC's pins alone, IRQS the 8259As' inputs.
 */
const enum Gsi { PINS = 32, IRQS = 64, COUNT = 80 }
const MSI_BASE = 0xfee0_0000;
const MSI_LOGICAL = 4;
const MSI_REDIRECT = 8;
const MSI_LEVEL = 0xc000;
const RTE_MASKED = 1 << 16;
const RTE_LEVEL = 1 << 15;
const RTE_LOGICAL = 1 << 11;

export class KernelIrqchip implements RemoteApics {
  /** The controllers' state is the kernel's. */
  resident = false;
  /** Routes that the kernel has, as text. */
  private routes = '';
  /** Levels that KVM_IRQ_LINE has told, by GSI. */
  private readonly levels = new Uint8Array(Gsi.COUNT);
  private readonly chip = new Uint8Array(512);
  /** Messages sent by KVM_SIGNAL_MSI. */
  messages = 0;

  /** Before the first vCPU. */
  constructor(
    private readonly vm: NativeKvm,
    readonly mode: 'split' | 'full',
    readonly hardware: InterruptHardware,
  ) {
    vm.enable(Cap.X2APIC_API, WIDE_IDS);
    vm.createIrqchip(mode === 'split' ? IOAPIC_PINS : 0, false);
    if (mode === 'full') this.routePins();
  }

  /** full: the models' wires. */
  private routePins(): void {
    const w: number[] = [];
    for (let n = 0; n < IOAPIC_PINS; n++) w.push(Gsi.PINS + n, 0, Which.IOAPIC, n, 0);
    for (let n = 0; n < 16; n++) w.push(Gsi.IRQS + n, 0, n >> 3, n & 7, 0);
    this.vm.setRoutes(Uint32Array.from(w));
  }

  /** The local APICs' state has been given to the vCPUs: the rest follows. No vCPU runs. */
  toKernel(): void {
    const { apics, ioapic, pic } = this.hardware;
    if (this.mode === 'split') {
      this.routeEntries();
      ioapic.onEntry = (): void => this.routeEntries();
    } else {
      // What a line does on its way to its level is overwritten by the states below.
      for (let n = 0; n < IOAPIC_PINS; n++) if (ioapic.state.lo[n]! & RTE_LEVEL || !(ioapic.state.pins & (1 << n))) this.line(Gsi.PINS + n, (ioapic.state.pins & (1 << n)) !== 0);
      const { master, slave } = pic.state;
      const lines = master.lines | (slave.lines << 8);
      for (let n = 0; n < 16; n++) if (n !== 2) this.line(Gsi.IRQS + n, ((lines >> n) & 1) !== 0);
      putPic(master, true, this.chip);
      this.vm.chip(Which.MASTER, this.chip, true);
      putPic(slave, false, this.chip);
      this.vm.chip(Which.SLAVE, this.chip, true);
      putIoApic(ioapic.state, this.chip);
      this.vm.chip(Which.IOAPIC, this.chip, true);
      ioapic.remote = (n, level): void => this.line(Gsi.PINS + n, level);
      pic.remote = (n, level): void => this.line(Gsi.IRQS + n, level);
    }
    apics.remote = this;
    this.resident = true;
  }

  /** The models have the state again, but for the local APICs', which follows. No vCPU runs. */
  toDevices(): void {
    this.detach();
    if (this.mode === 'split') return;
    const { ioapic, pic } = this.hardware;
    this.vm.chip(Which.IOAPIC, this.chip, false);
    ioapic.takeBack(getIoApic(this.chip.subarray(0, IOAPIC_BYTES)));
    this.vm.chip(Which.MASTER, this.chip, false);
    const master = this.chip.slice(0, PIC_BYTES);
    this.vm.chip(Which.SLAVE, this.chip, false);
    pic.takeBack(getPics(master, this.chip, pic.state));
  }

  /** The kernel's state is of no use any more: the machine is about to be reset. */
  drop(): void {
    this.detach();
    for (const l of this.hardware.lapics) l.takeBack(null);
  }

  private detach(): void {
    const { apics, ioapic, pic } = this.hardware;
    apics.remote = ioapic.remote = pic.remote = ioapic.onEntry = null;
    this.resident = false;
  }

  private line(gsi: number, level: boolean): void {
    if ((this.levels[gsi] !== 0) === level) return;
    this.levels[gsi] = level ? 1 : 0;
    this.vm.irqLine(gsi, level);
  }

  /** split: which vectors are level-triggered, and whose: their EOIs exit. */
  private routeEntries(): void {
    const { lo, hi } = this.hardware.ioapic.state;
    const w: number[] = [];
    for (let n = 0; n < IOAPIC_PINS; n++) {
      if (lo[n]! & RTE_MASKED || !(lo[n]! & RTE_LEVEL)) continue;
      w.push(n, 1, ...message(hi[n]! >>> 24, (lo[n]! & RTE_LOGICAL) !== 0, (lo[n]! >> 8) & 7, lo[n]! & 0xff, true));
    }
    const text = w.join();
    if (text === this.routes) return;
    this.routes = text;
    this.vm.setRoutes(Uint32Array.from(w));
  }

  send(dest: number, logical: boolean, _wide: boolean, mode: DeliveryMode, vector: number, level: boolean): boolean {
    this.messages++;
    const [lo, hi, data] = message(dest, logical, mode, vector, level);
    return this.vm.signalMsi(lo, hi, data);
  }

  /** A level-triggered interrupt of an I/O APIC outside has ended. */
  eoi(vector: number): void {
    this.hardware.apics.eoi(vector);
  }
}

/** A message as KVM_SIGNAL_MSI and routes take it: low and high half of the address, data. Destinations above 255 are in the high half. */
export function message(dest: number, logical: boolean, mode: DeliveryMode, vector: number, level: boolean): [number, number, number] {
  const lo = MSI_BASE | ((dest & 0xff) << 12) | (logical ? MSI_LOGICAL : 0) | (mode === DeliveryMode.LOWEST ? MSI_REDIRECT : 0);
  return [lo >>> 0, (dest & 0xffff_ff00) >>> 0, vector | (mode << 8) | (level ? MSI_LEVEL : 0)];
}

