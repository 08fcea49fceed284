/** Devices that come and go while the machine runs, in slots of PCI bus 0 of the PC boards. */
import type { Device } from '../../devices/device.js';
import { AcpiPciHotplug, HOTPLUG_BYTES } from '../../devices/acpi/pci-hotplug.js';
import { PciFunction } from '../../devices/pci/pci.js';
import { UsageError, VmxError } from '../../errors.js';
import type { DiskConfig } from '../../machine/config.js';
import type { NetConfig } from '../../machine/net-config.js';
import { suggestion } from '../../suggest.js';
import { parseDevice } from '../device-options.js';
import { addDrives } from './disks.js';
import { BUS_DEVICES } from './extras.js';
import type { Drive } from './drive.js';
import { type NetConnection, openNet } from './net.js';
import type { Parts } from './parts.js';

/** What comes: a network card, a disk, or a device as `--device` has it. */
export type PlugRequest = { net: NetConfig } | { disk: DiskConfig } | { device: string };

/** Where QEMU has it, so that operating systems find nothing new. */
const BASE = 0xae00;
const GPE = 1;
const FIRST_SLOT = 3;
/** Interfaces of disks that are a PCI function each. */
const DISK_INTERFACES = ['virtio', 'nvme'];
/** Models that keep nothing elsewhere on the board. */
const MODELS = ['virtio-rng', 'virtio-console', 'i6300esb'];

interface Plugged {
  slot: number;
  /** What it has in the board's lists: devices, cards, drives, what closes it. */
  added: readonly [readonly Device[], readonly NetConnection[], readonly Drive[], readonly (() => void)[]];
}

/** Takes what has been appended off again. @returns it */
const since = <T>(list: T[], before: number): T[] => list.splice(before);

function without<T>(list: T[], gone: readonly T[]): void {
  for (const x of gone) list.splice(list.indexOf(x), 1);
}

export class HotPlug {
  /** Slots that were free when the board was built. */
  readonly slots: readonly number[];
  readonly acpi: { base: number; bytes: number; slots: readonly number[]; gpe: number };
  private readonly registers: AcpiPciHotplug;
  private readonly plugged = new Map<string, Plugged>();

  /** Once every other device is there. @param onRemoved a device has gone. */
  constructor(
    private readonly p: Parts,
    raiseGpe: (n: number) => void,
    private readonly onRemoved: (id: string) => void,
  ) {
    const taken = new Set(p.pci.list().map((f) => f.devfn >> 3));
    this.slots = Array.from({ length: 32 }, (_, n) => n).filter((n) => n >= FIRST_SLOT && !taken.has(n) && !p.reservedSlots.has(n));
    this.acpi = { base: BASE, bytes: HOTPLUG_BYTES, slots: this.slots, gpe: GPE };
    this.registers = p.add(
      new AcpiPciHotplug({
        raise: () => raiseGpe(GPE),
        eject: (slot) => this.eject(slot),
        removable: () => [...this.plugged.values()].reduce((set, x) => (set | (1 << x.slot)) >>> 0, 0),
      }),
    );
    p.memory.mapPorts(BASE, HOTPLUG_BYTES, this.registers.ports);
  }

  /** Ids of the devices that have come. */
  get ids(): string[] {
    return [...this.plugged.keys()];
  }

  /** Rejects with a UsageError; then nothing has changed. */
  async add(id: string, what: PlugRequest): Promise<void> {
    this.unused(id);
    const attach = await this.prepare(id, what);
    const { p } = this;
    const before = [p.devices.length, p.nets.length, p.drives.length, p.onClose.length] as const;
    const undo = (): void => {
      const gone = since(p.devices, before[0]);
      since(p.nets, before[1]);
      since(p.drives, before[2]);
      for (const f of gone) if (f instanceof PciFunction) p.pci.remove(f);
      for (const close of since(p.onClose, before[3])) close();
    };
    try {
      attach();
      // Another one of that name may have come while ports were opened.
      this.unused(id);
    } catch (e) {
      undo();
      throw e;
    }
    const [f, ...more] = p.devices.slice(before[0]);
    if (!(f instanceof PciFunction) || more.length > 0) throw new VmxError('ERR_INTERNAL', 'a device that is not one PCI function cannot be plugged');
    f.reset();
    const slot = f.devfn >> 3;
    this.plugged.set(id, { slot, added: [p.devices.slice(before[0]), p.nets.slice(before[1]), p.drives.slice(before[2]), p.onClose.slice(before[3])] });
    this.registers.inserted(slot);
  }

  private unused(id: string): void {
    if (this.plugged.has(id)) throw new UsageError(`device_add: there is a device '${id}' already`);
  }

  /** What may take its time. @returns what adds the device then, at once */
  private async prepare(id: string, what: PlugRequest): Promise<() => void> {
    if ('net' in what) return openNet(this.p, `@${id}`, what.net);
    return () => ('disk' in what ? this.addDisk(what.disk) : this.addDevice(what.device));
  }

  private addDisk(d: DiskConfig): void {
    if (d.media !== 'disk' || !DISK_INTERFACES.includes(d.if)) throw new UsageError(`device_add: a disk comes with if=${DISK_INTERFACES.join(' or if=')}, not if=${d.if}`);
    addDrives(this.p, [d], false);
  }

  private addDevice(text: string): void {
    const o = parseDevice(text);
    if (!MODELS.includes(o.name)) throw new UsageError(`device_add: ${o.name} cannot come while the machine runs (${MODELS.join(', ')}, cards and disks can)`);
    BUS_DEVICES[o.name]!(this.p, o);
  }

  /** Asks the operating system to let a device go; onRemoved follows if it does. @throws UsageError */
  ask(id: string): void {
    const d = this.plugged.get(id);
    if (d === undefined) throw new VmxError('ERR_NO_DEVICE', `there is no device '${id}' that could go${suggestion(id, this.ids)}`);
    this.registers.ask(d.slot);
  }

  private eject(slot: number): void {
    for (const [id, d] of this.plugged) {
      if (d.slot !== slot) continue;
      this.plugged.delete(id);
      const [devices, nets, drives, closing] = d.added;
      without(this.p.devices, devices);
      without(this.p.nets, nets);
      without(this.p.drives, drives);
      without(this.p.onClose, closing);
      for (const f of devices) if (f instanceof PciFunction) this.p.pci.remove(f);
      for (const close of closing) close();
      this.onRemoved(id);
    }
  }

  /** The machine is about to be reset. */
  settle(): void {
    this.registers.settle();
  }
}
