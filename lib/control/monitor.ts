/** The monitor: commands for people, at Ctrl-A C and through QMP's human-monitor-command. Names are QEMU's where it has them. */
import { VmxError } from '../errors.js';
import type { VirtualMachine } from '../machine/virtual-machine.js';
import { suggestion } from '../suggest.js';
import { ControlError } from './error.js';
import { runState, screendump, sendKeys } from './operations.js';

interface MonitorCommand {
  readonly usage: string;
  readonly help: string;
  readonly aliases?: readonly string[];
  /** @returns text to show, with its final newline, or nothing. @throws ControlError, VmxError */
  run(vm: VirtualMachine, words: readonly string[]): Promise<string | void> | string | void;
}

const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, '0');

function number(word: string | undefined, name: string): number {
  if (word === undefined || !/^-?\d+$/.test(word)) throw new ControlError(`${name} must be a number`);
  return Number(word);
}

export class Monitor {
  private readonly commands: Readonly<Record<string, MonitorCommand>> = {
    help: { usage: 'help [COMMAND]', help: 'this list', aliases: ['?'], run: (_vm, [name]) => this.help(name) },
    info: { usage: 'info [TOPIC]', help: 'show something; without a topic: the topics', run: (vm, [topic]) => this.info(vm, topic) },
    stop: { usage: 'stop', help: 'pause the machine', aliases: ['s'], run: (vm) => vm.pause() },
    cont: { usage: 'cont', help: 'go on after stop', aliases: ['c'], run: (vm) => (vm.state === 'created' ? vm.start() : vm.resume()) },
    system_reset: { usage: 'system_reset', help: 'press the reset button', run: (vm) => vm.reset() },
    system_powerdown: { usage: 'system_powerdown', help: 'press the power button', run: (vm) => vm.powerButton() },
    sendkey: {
      usage: 'sendkey KEYS [HOLD_MS]',
      help: 'press keys together, such as ctrl-alt-delete',
      run: (vm, [keys, hold]) => {
        if (keys === undefined) throw new ControlError('sendkey: which keys? (example: sendkey ctrl-alt-delete)');
        return sendKeys(vm, keys.split('-'), hold === undefined ? 0 : number(hold, 'HOLD_MS'));
      },
    },
    mouse_move: {
      usage: 'mouse_move DX DY [DZ]',
      help: 'move the mouse by counts: right, down, wheel towards the user',
      run: (vm, [dx, dy, dz]) => vm.mouse.move(number(dx, 'DX'), number(dy, 'DY'), dz === undefined ? 0 : number(dz, 'DZ')),
    },
    screendump: {
      usage: 'screendump FILE',
      help: 'write the screen to FILE: a PNG if the name ends so, else a PPM',
      run: (vm, [file]) => {
        if (file === undefined) throw new ControlError('screendump: into which file?');
        return screendump(vm, file, /\.png$/i.test(file) ? 'png' : 'ppm');
      },
    },
    eject: {
      usage: 'eject [-f] DRIVE',
      help: "take the disc or floppy out; -f: also from a locked drive ('info block' lists the drives)",
      run: (vm, words) => {
        const drives = words.filter((w) => w !== '-f');
        if (drives.length !== 1) throw new ControlError('eject: from which drive? (info block lists them)');
        return vm.disks.eject(drives[0]!, { force: drives.length < words.length });
      },
    },
    change: {
      usage: 'change [-f] DRIVE FILE',
      help: 'put another disc or floppy in',
      run: (vm, words) => {
        const [drive, ...file] = words.filter((w, i) => i > 0 || w !== '-f');
        if (drive === undefined || file.length === 0) throw new ControlError('change: which drive, and which file?');
        return vm.disks.change(drive, file.join(' '), { force: words[0] === '-f' });
      },
    },
    accel: {
      usage: 'accel [kvm|jit|interp]',
      help: 'what executes the guest; with a name: let that go on',
      run: async (vm, [name]) => {
        if (name === undefined) return `${vm.accel}\n`;
        if (name !== 'kvm' && name !== 'jit' && name !== 'interp') throw new ControlError(`accel: '${name}' is not one of kvm, jit, interp`);
        await vm.setAccel(name);
        return '';
      },
    },
    quit: { usage: 'quit', help: 'switch the machine off and end', aliases: ['q'], run: (vm) => void setImmediate(() => void vm.stop()) },
  };

  private readonly topics: Readonly<Record<string, (vm: VirtualMachine) => Promise<string> | string>> = {
    version: () => `${this.version}\n`,
    status: (vm) => `VM status: ${runState(vm).status}\n`,
    cpus: (vm) => Array.from({ length: vm.config.cpus }, (_, i) => `CPU #${i}\n`).join(''),
    registers: async (vm) => (await vm.registers()).map((r, i) => `CPU #${i}\n${r}\n`).join('\n'),
    block: async (vm) =>
      (await vm.disks.list())
        .map((d) => `${d.id}: ${d.file === null ? 'empty' : `${d.file} (${d.format}${d.readonly ? ', read-only' : ''}${d.snapshot ? ', snapshot' : ''})`}${d.open ? ', tray open' : ''}${d.locked ? ', locked' : ''}\n`)
        .join('') || 'no disks\n',
    pci: async (vm) => (await vm.pci()).map((f) => `${hex(f.bus, 2)}:${hex(f.slot, 2)}.${f.function} ${hex(f.classCode, 4)} ${hex(f.vendor, 4)}:${hex(f.device, 4)} ${f.name}\n${f.regions.map((r) => `      BAR${r.bar}: ${r.io ? 'ports' : 'memory'} ${r.address < 0 ? 'off' : `at 0x${hex(r.address, r.io ? 4 : 8)}`} [${r.size}]\n`).join('')}`).join(''),
    stats: async (vm) => `${JSON.stringify(await vm.stats(), null, 2)}\n`,
  };

  constructor(
    private readonly vm: VirtualMachine,
    private readonly version: string,
  ) {}

  /** Runs one line. Whatever is wrong with it is said in the answer. */
  async run(line: string): Promise<string> {
    const [name, ...words] = line.trim().split(/\s+/);
    if (name === undefined || name === '') return '';
    const command = Object.hasOwn(this.commands, name) ? this.commands[name] : Object.values(this.commands).find((c) => c.aliases?.includes(name));
    if (command === undefined) return `unknown command '${name}'${suggestion(name, Object.keys(this.commands))}; help lists them\n`;
    try {
      return (await command.run(this.vm, words)) ?? '';
    } catch (e) {
      if (e instanceof ControlError || e instanceof VmxError) return `${e.message}\n`;
      throw e;
    }
  }

  private help(name?: string): string {
    const all = Object.entries(this.commands).filter(([n]) => name === undefined || n === name);
    if (all.length === 0) return `no command '${name}'\n`;
    return all.map(([, c]) => `${c.usage.padEnd(26)} ${c.help}${c.aliases === undefined ? '' : ` (also: ${c.aliases.join(', ')})`}\n`).join('');
  }

  private info(vm: VirtualMachine, topic?: string): Promise<string> | string {
    if (topic === undefined) return `${Object.keys(this.topics).map((t) => `info ${t}`).join('\n')}\n`;
    const show = Object.hasOwn(this.topics, topic) ? this.topics[topic] : undefined;
    return show?.(vm) ?? `unknown topic '${topic}'${suggestion(topic, Object.keys(this.topics))}; info lists them\n`;
  }
}
