/** `--device NAME[,k=v...]`: the models that can be added, as data, and the parser with its messages. */
import { UsageError } from '../errors.js';
import { suggestion } from '../suggest.js';

export interface DeviceModel {
  name: string;
  summary: string;
  /** Property name to its explanation. */
  props: Record<string, string>;
  /** What the board must have, besides virtio and ISA. */
  needs?: 'PCI' | 'PS/2';
}

export const DEVICE_MODELS: readonly DeviceModel[] = [
  { name: 'i6300esb', summary: 'watchdog timer', props: { action: 'what follows when it runs out: reset (default), poweroff, none' }, needs: 'PCI' },
  { name: 'isa-debug-exit', summary: 'a write of v ends the machine with status (v << 1) | 1', props: { iobase: 'port (default 0xf4)', iosize: 'bytes (default 4)' } },
  { name: 'isa-serial', summary: 'further serial port, COM2 to COM4, a stream to programs', props: { index: '1 to 3 (default: the next one)', name: "what programs know it by (default 'serial' and the index)" } },
  { name: 'pc-testdev', summary: 'ports used by kvm-unit-tests: echo, page flush, raise interrupts', props: {} },
  { name: 'pci-testdev', summary: 'PCI device used by kvm-unit-tests: counts writes to its BARs', props: {}, needs: 'PCI' },
  { name: 'pvpanic', summary: 'lets the guest say that it has crashed', props: { bus: 'isa (default on PCs; port 505h), pci', action: 'what follows: none (default; programs are told), exit (with status 125)' } },
  { name: 'ramfb', summary: 'picture in guest memory, for UEFI firmware', props: {} },
  { name: 'usb-kbd', summary: 'USB keyboard; guests with a driver use it in place of the PS/2 keyboard', props: {}, needs: 'PCI' },
  { name: 'usb-mouse', summary: 'USB mouse with a wheel', props: {}, needs: 'PCI' },
  { name: 'usb-tablet', summary: 'USB pointer with absolute positions, which nearly every system has a driver for', props: {}, needs: 'PCI' },
  { name: 'virtio-balloon', summary: 'takes memory from the guest and gives it back to the host', props: {} },
  { name: 'virtio-console', summary: 'second console, written to the log of the debug console', props: {} },
  { name: 'virtio-gpu', summary: '2D display with a cursor; guests without a driver see nothing of it (--vga virtio has a VGA, too)', props: {} },
  { name: 'virtio-keyboard', summary: 'keyboard; guests with a driver use it in place of the PS/2 keyboard', props: {} },
  { name: 'virtio-mouse', summary: 'mouse; guests with a driver use it in place of the PS/2 mouse', props: {} },
  { name: 'virtio-rng', summary: 'entropy source', props: {} },
  { name: 'virtio-serial', summary: 'ports that programs have as streams, /dev/virtio-ports/NAME in Linux', props: { ports: 'their names, with colons between them' } },
  { name: 'virtio-tablet', summary: 'pointer with absolute positions', props: {} },
  { name: 'virtio-vsock', summary: 'sockets between guest and host: streams to programs', props: { cid: 'context of the guest (default 3)' } },
  { name: 'vmmouse', summary: "VMware's pointer with absolute positions, beside the PS/2 mouse", props: {}, needs: 'PS/2' },
];

/** What other options add, by the names people know: as in `--device e1000`. */
const ELSEWHERE: readonly (readonly [RegExp, string])[] = [
  [/^(e1000|rtl8139|virtio-net)(-pci)?$/, '--net user,model='],
  [/^(virtio-blk|nvme|virtio-scsi|ahci|ide-hd|scsi-hd|usb-storage)(-pci)?$/, '--disk FILE,if='],
  [/^virtio-9p(-pci)?$/, '--share FOLDER,tag=NAME'],
  [/^(VGA|std-?vga|virtio-vga)$/i, '--vga '],
];

export interface DeviceOption {
  name: string;
  props: Record<string, string>;
}

/** @throws UsageError for unknown names and properties. */
export function parseDevice(text: string): DeviceOption {
  const [name, ...rest] = text.split(',') as [string, ...string[]];
  const model = DEVICE_MODELS.find((m) => m.name === name);
  if (!model) {
    const other = ELSEWHERE.find(([r]) => r.test(name))?.[1];
    if (other !== undefined) throw new UsageError(`--device: '${name}' is added by another option: ${other}${/[= ]$/.test(other) ? '...' : ''}`);
    const near = suggestion(name, DEVICE_MODELS.map((m) => m.name));
    throw new UsageError(`--device: no model '${name}'${near}; '--device help' lists them`);
  }
  const props: Record<string, string> = {};
  for (const part of rest) {
    const eq = part.indexOf('=');
    const key = eq < 0 ? part : part.slice(0, eq);
    if (!(key in model.props)) {
      throw new UsageError(`--device: ${name} has no property '${key}'${suggestion(key, Object.keys(model.props))}`);
    }
    props[key] = eq < 0 ? 'on' : part.slice(eq + 1);
  }
  return { name, props };
}

/** For boards with neither PCI nor PS/2. @throws UsageError if the device needs either */
export function checkPcDevice(o: DeviceOption, machine: string): void {
  const needs = o.props.bus === 'pci' ? 'PCI' : DEVICE_MODELS.find((m) => m.name === o.name)?.needs;
  if (needs !== undefined) throw new UsageError(`--device: ${o.name} needs ${needs}, which machine ${machine} does not have`);
}

/** A property that is one of `values`; the first is the default. */
export function choiceProp<T extends string>(o: DeviceOption, key: string, values: readonly [T, ...T[]]): T {
  const v = o.props[key] ?? values[0];
  const found = values.find((x) => x === v);
  if (found === undefined) throw new UsageError(`--device: ${o.name}: ${key}=${v} is not available (${values.join(', ')} are)${suggestion(v, values)}`);
  return found;
}

/** A property as an integer, decimal or 0x. */
export function intProp(o: DeviceOption, key: string, fallback: number, max: number): number {
  const v = o.props[key];
  if (v === undefined) return fallback;
  const n = /^(0x[0-9a-f]+|\d+)$/i.test(v) ? Number(v) : NaN;
  if (!(n >= 0 && n <= max)) throw new UsageError(`--device: ${o.name}: ${key}=${v} is not a number from 0 to ${max}`);
  return n;
}
