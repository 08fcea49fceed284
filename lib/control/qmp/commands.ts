/**
 * The QMP commands: a table of arguments and what they do. Names, arguments and replies follow the QEMU QMP Reference
 * Manual, so that clients written for it work.
 */
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import type { ActiveAccel } from '../../machine/protocol.js';
import type { MouseButton } from '../../machine/screen.js';
import type { Monitor } from '../monitor.js';
import { ControlError } from '../error.js';
import { runState, screendump, sendKeys } from '../operations.js';
import { type Args, type ArgSpec, checkArgs } from './arguments.js';
import { BLOCK_COMMANDS } from './block.js';
import { DEVICE_COMMANDS } from './devices.js';

/** What a command may use. */
export interface QmpContext {
  readonly vm: VirtualMachine;
  readonly monitor: Monitor;
  readonly version: QmpVersion;
  /** Sends an event to every client. */
  event(name: string, data?: Record<string, unknown>): void;
}

export interface QmpVersion {
  qemu: { major: number; minor: number; micro: number };
  package: string;
}

export interface QmpCommand {
  readonly args?: Readonly<Record<string, ArgSpec>>;
  run(c: QmpContext, args: Args): unknown;
}

const optional = (type: ArgSpec['type'], values?: readonly string[]): ArgSpec => ({ type, optional: true, values });

/** KeyValue: { type: 'qcode' | 'number', data }. @returns the key's name. */
function keyName(v: unknown, where: string): string {
  const k = checkArgs(v, { type: { type: 'str', values: ['qcode', 'number'] }, data: { type: (v as { type?: unknown })?.type === 'number' ? 'int' : 'str' } }, `${where}.`);
  if (k.type === 'qcode') return k.data as string;
  const code = k.data as number;
  if (code < 1 || code > 0xffff) throw new ControlError(`Parameter '${where}.data' expects a scan code from 1 to 65535`);
  return `0x${code.toString(16)}`;
}

async function sendEvent(vm: VirtualMachine, v: unknown, where: string): Promise<void> {
  const e = checkArgs(v, { type: { type: 'str', values: ['key', 'btn', 'rel', 'abs'] }, data: { type: 'dict' } }, `${where}.`);
  const at = `${where}.data.`;
  switch (e.type) {
    case 'key': {
      const d = checkArgs(e.data, { down: { type: 'bool' }, key: { type: 'dict' } }, at);
      const name = keyName(d.key, `${at}key`);
      await (d.down === true ? vm.keyboard.down(name) : vm.keyboard.up(name));
      break;
    }
    case 'btn': {
      const d = checkArgs(e.data, { down: { type: 'bool' }, button: { type: 'str', values: ['left', 'middle', 'right', 'side', 'extra', 'wheel-up', 'wheel-down'] } }, at);
      if (d.button === 'wheel-up' || d.button === 'wheel-down') {
        if (d.down === true) await vm.mouse.move(0, 0, d.button === 'wheel-up' ? -1 : 1);
      } else await (d.down === true ? vm.mouse.down(d.button as MouseButton) : vm.mouse.up(d.button as MouseButton));
      break;
    }
    case 'rel': {
      const d = checkArgs(e.data, { axis: { type: 'str', values: ['x', 'y'] }, value: { type: 'int' } }, at);
      await (d.axis === 'x' ? vm.mouse.move(d.value as number, 0) : vm.mouse.move(0, d.value as number));
      break;
    }
    default: {
      const d = checkArgs(e.data, { axis: { type: 'str', values: ['x', 'y'] }, value: { type: 'int' } }, at);
      await vm.mouse.setAxis(d.axis as 'x' | 'y', d.value as number);
    }
  }
}

const MAX_EVENTS = 1024;
function listOf(v: unknown, name: string): readonly unknown[] {
  const list = v as readonly unknown[];
  if (list.length > MAX_EVENTS) throw new ControlError(`Parameter '${name}' has more than ${MAX_EVENTS} members`);
  return list;
}

export const COMMANDS: Readonly<Record<string, QmpCommand>> = {
  'query-version': { run: (c) => c.version },
  'query-commands': { run: () => [...Object.keys(COMMANDS), 'qmp_capabilities'].sort().map((name) => ({ name })) },
  'query-status': { run: (c) => runState(c.vm) },
  'query-name': { run: () => ({}) },
  'query-target': { run: (c) => ({ arch: c.vm.config.arch }) },
  'query-kvm': { run: (c) => ({ enabled: c.vm.accel === 'kvm', present: c.vm.accel === 'kvm' }) },
  // No standard command: the machine goes on on something else.
  'x-set-accel': { args: { accel: { type: 'str', values: ['kvm', 'jit', 'interp'] } }, run: (c, a) => c.vm.setAccel(a.accel as ActiveAccel) },
  'query-cpus-fast': {
    run: (c) => Array.from({ length: c.vm.config.cpus }, (_, i) => ({ 'cpu-index': i, 'qom-path': `/machine/cpu[${i}]`, 'thread-id': process.pid, target: c.vm.config.arch })),
  },
  'query-memory-size-summary': { run: (c) => ({ 'base-memory': c.vm.config.memory, 'plugged-memory': 0 }) },
  'query-chardev': { run: (c) => ['serial0', ...c.vm.portNames].map((label) => ({ label, filename: label === 'serial0' ? 'serial' : 'port', 'frontend-open': true })) },
  ...BLOCK_COMMANDS,
  ...DEVICE_COMMANDS,
  'query-pci': { run: async (c) => queryPci(c.vm) },
  stop: { run: (c) => c.vm.pause() },
  cont: { run: (c) => (c.vm.state === 'created' ? c.vm.start() : c.vm.resume()) },
  system_reset: { run: (c) => c.vm.reset() },
  system_powerdown: {
    run: (c) => {
      c.vm.powerButton();
      c.event('POWERDOWN');
    },
  },
  quit: {
    run: (c) => {
      // The reply goes out first.
      setImmediate(() => void c.vm.stop());
    },
  },
  screendump: {
    args: { filename: { type: 'str' }, format: optional('str', ['png', 'ppm']), device: optional('str'), head: optional('int') },
    run: (c, a) => screendump(c.vm, a.filename as string, (a.format as 'png' | 'ppm' | undefined) ?? 'ppm'),
  },
  'send-key': {
    args: { keys: { type: 'list' }, 'hold-time': optional('int') },
    run: (c, a) => sendKeys(c.vm, listOf(a.keys, 'keys').map((k, i) => keyName(k, `keys[${i}]`)), (a['hold-time'] as number | undefined) ?? 0),
  },
  'input-send-event': {
    args: { events: { type: 'list' }, device: optional('str'), head: optional('int') },
    run: async (c, a) => {
      const events = listOf(a.events, 'events');
      for (let i = 0; i < events.length; i++) await sendEvent(c.vm, events[i], `events[${i}]`);
    },
  },
  'human-monitor-command': {
    args: { 'command-line': { type: 'str' }, 'cpu-index': optional('int') },
    run: (c, a) => c.monitor.run(a['command-line'] as string),
  },
};

async function queryPci(vm: VirtualMachine): Promise<unknown[]> {
  const functions = await vm.pci();
  const buses = [...new Set(functions.map((f) => f.bus))].sort((a, b) => a - b);
  return buses.map((bus) => ({
    bus,
    devices: functions
      .filter((f) => f.bus === bus)
      .map((f) => ({
        bus,
        slot: f.slot,
        function: f.function,
        class_info: { class: f.classCode, desc: f.name },
        id: { vendor: f.vendor, device: f.device, 'subsystem-vendor': f.subsystemVendor, subsystem: f.subsystem },
        qdev_id: f.name,
        ...(f.pin > 0 ? { irq: f.irq, irq_pin: f.pin } : { irq_pin: 0 }),
        regions: f.regions.map((r) => ({ bar: r.bar, type: r.io ? 'io' : 'memory', address: r.address, size: r.size, ...(r.io ? {} : { prefetch: r.prefetch, mem_type_64: r.mem64 }) })),
      })),
  }));
}
