/** `--device NAME[,k=v...]`: the models that can be added, as data, and the parser with its messages. */
import { UsageError } from '../errors.js';
import { suggestion } from '../suggest.js';

export interface DeviceModel {
  name: string;
  summary: string;
  /** Property name to its explanation. */
  props: Record<string, string>;
}

export const DEVICE_MODELS: readonly DeviceModel[] = [
  { name: 'isa-debug-exit', summary: 'a write of v ends the machine with status (v << 1) | 1', props: { iobase: 'port (default 0xf4)', iosize: 'bytes (default 4)' } },
  { name: 'pc-testdev', summary: 'ports used by kvm-unit-tests: echo, page flush, raise interrupts', props: {} },
  { name: 'virtio-console', summary: 'second console, written to the log of the debug console', props: {} },
  { name: 'virtio-keyboard', summary: 'keyboard; guests with a driver use it in place of the PS/2 keyboard', props: {} },
  { name: 'virtio-mouse', summary: 'mouse; guests with a driver use it in place of the PS/2 mouse', props: {} },
  { name: 'virtio-rng', summary: 'entropy source', props: {} },
  { name: 'virtio-tablet', summary: 'pointer with absolute positions', props: {} },
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

/** A property as an integer, decimal or 0x. */
export function intProp(o: DeviceOption, key: string, fallback: number, max: number): number {
  const v = o.props[key];
  if (v === undefined) return fallback;
  const n = /^(0x[0-9a-f]+|\d+)$/i.test(v) ? Number(v) : NaN;
  if (!(n >= 0 && n <= max)) throw new UsageError(`--device: ${o.name}: ${key}=${v} is not a number from 0 to ${max}`);
  return n;
}
