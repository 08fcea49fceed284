/**
 * QMP commands about devices that come and go, and about the balloon (QEMU QMP Reference Manual). A card or disk takes two steps there:
 * `netdev_add` or `blockdev-add` says what is behind it, `device_add` plugs it in.
 */
import type { ImageFormat } from '../../block/formats.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { suggestion } from '../../suggest.js';
import { ControlError } from '../error.js';
import { type Args, type ArgSpec, checkArgs } from './arguments.js';
import type { QmpCommand } from './commands.js';

const STR: ArgSpec = { type: 'str' };
const OPT: ArgSpec = { type: 'str', optional: true };
const BOOL: ArgSpec = { type: 'bool', optional: true };
const MAX_NODES = 64;

interface Disk {
  file: string;
  format: ImageFormat;
  readonly: boolean;
}

/** What has been announced and is not plugged in yet. */
interface Announced {
  netdevs: Map<string, string>;
  nodes: Map<string, Disk>;
  /** By id of the device: what it was made of, which comes back when it has gone. */
  used: Map<string, () => void>;
}
const announced = new WeakMap<VirtualMachine, Announced>();

function of(vm: VirtualMachine): Announced {
  let a = announced.get(vm);
  if (a === undefined) {
    const made: Announced = { netdevs: new Map(), nodes: new Map(), used: new Map() };
    vm.on('deviceRemoved', (id) => {
      made.used.get(id)?.();
      made.used.delete(id);
    });
    announced.set(vm, (a = made));
  }
  return a;
}

function fresh(map: ReadonlyMap<string, unknown>, id: string, what: string): void {
  if (map.has(id)) throw new ControlError(`Duplicate ${what} '${id}'`);
  if (map.size >= MAX_NODES) throw new ControlError(`More than ${MAX_NODES} of them wait to be plugged in`);
}

function take<T>(map: Map<string, T>, id: string, property: string, driver: string): T {
  const v = map.get(id);
  if (v === undefined) throw new ControlError(`Property '${driver}.${property}' can't find value '${id}'`);
  return v;
}

/** A value among the comma-separated ones of a command line option. */
function plain(v: unknown, name: string): string {
  if (/[,=]/.test(v as string)) throw new ControlError(`Parameter '${name}' must not contain ',' or '='`);
  return v as string;
}

function netdevAdd(vm: VirtualMachine, a: Args): void {
  const { netdevs } = of(vm);
  const parts: string[] = [a.type as string];
  for (const f of (a.hostfwd as unknown[] | undefined) ?? []) parts.push(`hostfwd=${plain(checkArgs(f, { str: STR }, 'hostfwd.').str, 'hostfwd')}`);
  if (a.restrict === true) parts.push('restrict');
  if (a.hostname !== undefined) parts.push(`hostname=${plain(a.hostname, 'hostname')}`);
  fresh(netdevs, a.id as string, 'ID');
  netdevs.set(a.id as string, parts.join(','));
}

function blockdevAdd(vm: VirtualMachine, a: Args): void {
  const { nodes } = of(vm);
  const name = a['node-name'] as string;
  const driver = a.driver as string;
  fresh(nodes, name, 'node-name');
  let file = a.filename;
  if (driver === 'file') {
    if (a.file !== undefined) throw new ControlError("Parameter 'file' is unexpected");
  } else {
    if (file !== undefined) throw new ControlError("Parameter 'filename' is unexpected");
    file = checkArgs(a.file ?? {}, { driver: { type: 'str', values: ['file'] }, filename: STR, 'read-only': BOOL, locking: OPT, aio: OPT }, 'file.').filename;
  }
  if (typeof file !== 'string') throw new ControlError("Parameter 'filename' is missing");
  nodes.set(name, { file, format: driver === 'file' ? 'raw' : (driver as ImageFormat), readonly: a['read-only'] === true });
}

const CARDS: Readonly<Record<string, string>> = { 'virtio-net-pci': 'virtio', 'virtio-net': 'virtio', e1000: 'e1000', rtl8139: 'rtl8139' };
const DISKS: Readonly<Record<string, 'virtio' | 'nvme'>> = { 'virtio-blk-pci': 'virtio', 'virtio-blk': 'virtio', nvme: 'nvme' };
const OTHERS: Readonly<Record<string, string>> = { 'virtio-rng-pci': 'virtio-rng', 'virtio-rng': 'virtio-rng', i6300esb: 'i6300esb' };

async function deviceAdd(vm: VirtualMachine, a: Args): Promise<void> {
  const driver = a.driver as string;
  const id = a.id as string;
  const there = of(vm);
  const only = (...names: string[]): void => {
    for (const n of ['netdev', 'mac', 'drive', 'serial']) if (a[n] !== undefined && !names.includes(n)) throw new ControlError(`Property '${driver}.${n}' not found`);
  };
  const card = Object.hasOwn(CARDS, driver) ? CARDS[driver] : undefined;
  const disk = Object.hasOwn(DISKS, driver) ? DISKS[driver] : undefined;
  const other = Object.hasOwn(OTHERS, driver) ? OTHERS[driver] : undefined;
  if (card !== undefined) {
    only('netdev', 'mac');
    const netdev = (a.netdev as string | undefined) ?? '';
    const link = take(there.netdevs, netdev, 'netdev', driver);
    await vm.hotplug.addNet(id, `${link},model=${card}${a.mac === undefined ? '' : `,mac=${plain(a.mac, 'mac')}`}`);
    there.netdevs.delete(netdev);
    there.used.set(id, () => there.netdevs.set(netdev, link));
  } else if (disk !== undefined) {
    only('drive', 'serial');
    const node = (a.drive as string | undefined) ?? '';
    const { file, format, readonly } = take(there.nodes, node, 'drive', driver);
    await vm.hotplug.addDisk(id, { file, format, readonly, if: disk, ...(a.serial === undefined ? {} : { serial: a.serial as string }) });
    there.nodes.delete(node);
    there.used.set(id, () => there.nodes.set(node, { file, format, readonly }));
  } else if (other !== undefined) {
    only();
    await vm.hotplug.add(id, other);
  } else {
    throw new ControlError(`'${driver}' is not a valid device model name for hot-plug${suggestion(driver, [...Object.keys(CARDS), ...Object.keys(DISKS), ...Object.keys(OTHERS)])}`);
  }
}

function drop(map: Map<string, unknown>, id: string, what: string): void {
  if (!map.delete(id)) throw new ControlError(`${what} '${id}' not found or in use`, 'DeviceNotFound');
}

export const DEVICE_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  device_add: { args: { driver: STR, id: STR, bus: OPT, netdev: OPT, mac: OPT, drive: OPT, serial: OPT }, run: (c, a) => deviceAdd(c.vm, a) },
  device_del: { args: { id: STR }, run: (c, a) => c.vm.hotplug.remove(a.id as string) },
  netdev_add: { args: { type: { type: 'str', values: ['user'] }, id: STR, hostfwd: { type: 'list', optional: true }, restrict: BOOL, hostname: OPT }, run: (c, a) => netdevAdd(c.vm, a) },
  netdev_del: { args: { id: STR }, run: (c, a) => drop(of(c.vm).netdevs, a.id as string, 'Device') },
  'blockdev-add': {
    args: { driver: { type: 'str', values: ['raw', 'qcow2', 'file'] }, 'node-name': STR, file: { type: 'dict', optional: true }, filename: OPT, 'read-only': BOOL, cache: { type: 'dict', optional: true }, discard: OPT },
    run: (c, a) => blockdevAdd(c.vm, a),
  },
  'blockdev-del': { args: { 'node-name': STR }, run: (c, a) => drop(of(c.vm).nodes, a['node-name'] as string, 'Node') },
  balloon: { args: { value: { type: 'int' } }, run: (c, a) => c.vm.balloon.setMemory(a.value as number) },
  'query-balloon': { run: async (c) => ({ actual: c.vm.config.memory - (await c.vm.balloon.info()).actual }) },
  'query-mice': { run: async (c) => (await c.vm.mice()).map((m, index) => ({ name: m.name, index, current: m.current, absolute: m.absolute })) },
};
