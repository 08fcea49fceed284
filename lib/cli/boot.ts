/** `vmx-accel boot`. */
import { createWriteStream, writeFileSync, type WriteStream } from 'node:fs';
import type { Argv, CommandModule, Options } from 'yargs';
import { DEVICE_MODELS } from '../boards/device-options.js';
import { detectImage } from '../boot/image.js';
import { type Endpoint, endpointText, parseEndpoint } from '../control/endpoint.js';
import { CPU_FEATURES, CPU_MODELS } from '../engine/guest/x86/cpuid.js';
import { UsageError } from '../errors.js';
import { type MachineOptions, parseSize } from '../machine/config.js';
import { mark, wholeTimeline } from '../machine/timeline.js';
import { VirtualMachine } from '../machine/virtual-machine.js';
import { openDisplay, parseDisplay, takesTerminal } from './display.js';
import { Screenshots, parseShot } from './screenshot.js';
import { checkOutput } from './output.js';
import { quickArgs } from './quick-args.js';
import { Terminal } from './terminal.js';
import { VERSION } from './version.js';

export interface BootArgs {
  image?: string;
  accel?: string;
  arch: string;
  machine?: string;
  cpu?: string;
  cpus: string;
  memory: string;
  firmware: string;
  firmwareVars?: string;
  debugcon: string;
  kernel?: string;
  initrd?: string;
  append?: string;
  dtb?: string;
  disk?: string[];
  cdrom?: string[];
  floppy?: string[];
  snapshot: boolean;
  share?: string[];
  device?: string[];
  serial?: string;
  display: string;
  vga?: string;
  screenshot?: string[];
  port?: string[];
  qmp?: string[];
  gdb?: string;
  net?: string[];
  reboot: boolean;
  exitOn?: string;
  timeout?: string;
  stats?: string;
  traceFile?: string;
  trace?: string[];
  perfMap: boolean;
  lockstep: boolean;
  lockstepEvery?: string;
  clock: string;
  rtc?: string;
  aot: string;
  aotDir?: string;
  aotSize?: string;
  dump?: string[];
  disablePass?: string[];
}

const EXIT_TIMEOUT = 124;

/** Every option: what yargs is told, what must have a value, and what "did you mean" chooses from. */
const OPTIONS = {
  accel: { type: 'string', describe: 'what executes the guest: auto (default), kvm[,fallback=off][,kernel=kvm|engine], jit, interp' },
  arch: { type: 'string', default: 'auto', describe: 'guest architecture: auto (by the kernel image), x86_64, aarch64, riscv64' },
  machine: { type: 'string', describe: 'board: pc, q35, microvm (x86_64; default pc), virt (aarch64, riscv64; virt,aia=aplic-imsic)' },
  cpu: { type: 'string', describe: "CPU model and features, such as max,-avx2 (default max; of riscv64 rv64, of aarch64 armv8.2); 'help' lists them (with --arch)" },
  cpus: { type: 'string', default: '1', describe: 'number of CPUs' },
  memory: { alias: 'm', type: 'string', default: '512M', describe: 'RAM' },
  firmware: { type: 'string', default: 'auto', describe: 'auto (by what the disk can boot), seabios, ovmf, aavmf (aarch64), opensbi, sbi or edk2 (riscv64; sbi is built in), none, or a file' },
  'firmware-vars': { type: 'string', describe: 'file that keeps UEFI variables, or none (default: in your data folder, per disk)' },
  debugcon: { type: 'string', default: 'none', describe: "firmware's debug log (ports 402h, E9h): none, stdio (standard error), file:PATH" },
  kernel: { type: 'string', describe: 'boot this kernel (bzImage, ELF with PVH note, multiboot)' },
  initrd: { type: 'string', describe: 'initial RAM disk' },
  append: { type: 'string', describe: 'kernel command line' },
  dtb: { type: 'string', describe: "device tree to use instead of the board's own (machine virt)" },
  disk: { type: 'string', array: true, describe: 'FILE[,if=virtio|nvme|ahci|ide|scsi|usb][,format=F][,readonly][,snapshot][,serial=S], repeatable' },
  cdrom: { type: 'string', array: true, describe: 'FILE[,if=ide|ahci|scsi|usb]: CD-ROM drive with this image (none: empty), repeatable' },
  floppy: { type: 'string', array: true, describe: 'FILE[,readonly][,snapshot]: floppy drive with this image (none: empty), up to two' },
  snapshot: { type: 'boolean', default: false, describe: 'discard all writes to disks' },
  share: { type: 'string', array: true, describe: 'FOLDER,tag=NAME[,readonly]: a folder for the guest (mount -t 9p -o trans=virtio,version=9p2000.L NAME /mnt), repeatable' },
  device: { type: 'string', array: true, describe: "NAME[,k=v...], repeatable; 'help' lists the models" },
  serial: { type: 'string', describe: 'first serial port: stdio (default), none, file:PATH, unix:PATH or tcp:[HOST:]PORT for clients' },
  display: { type: 'string', default: 'none', describe: 'none; vnc[:[HOST:]PORT][,password=FILE][,websocket=PORT]: a VNC server; web[:[HOST:]PORT][,token=FILE]: a page for browsers; term: text modes in this terminal' },
  vga: { type: 'string', describe: 'display device: std, virtio, none (default: std, but none with a kernel unless there are screenshots)' },
  screenshot: { type: 'string', array: true, describe: 'FILE.png: write the screen at the end; FILE.png@SECONDS: after so long, and go on; repeatable' },
  net: { type: 'string', array: true, describe: 'network card: none, user[,model=virtio|e1000|rtl8139][,hostfwd=tcp:127.0.0.1:2222-:22][,restrict], socket,listen=|connect=[HOST:]PORT; repeatable' },
  gdb: { type: 'string', describe: 'GDB stub: tcp:PORT, tcp:HOST:PORT or unix:PATH; with ,wait the machine starts when a client is there' },
  port: { type: 'string', array: true, describe: 'a port of the guest at a socket: NAME=unix:PATH, NAME=tcp:PORT (--device virtio-serial,ports=NAME, isa-serial); repeatable' },
  qmp: { type: 'string', array: true, describe: 'QMP server: unix:PATH, tcp:PORT or tcp:HOST:PORT; repeatable' },
  reboot: { type: 'boolean', default: true, describe: 'restart on a guest reset; --no-reboot ends instead' },
  'exit-on': { type: 'string', describe: 'stop with status 0 once the serial console has printed TEXT' },
  timeout: { type: 'string', describe: 'stop with status 124 after this many seconds' },
  stats: { type: 'string', describe: 'write what ran to this JSON file' },
  trace: { type: 'string', array: true, choices: ['block', 'insn', 'fault'], describe: 'write an execution trace (with --trace-file)' },
  'trace-file': { type: 'string', describe: 'where the trace goes' },
  'perf-map': { type: 'boolean', default: false, describe: 'write /tmp/perf-PID.map with the generated code' },
  lockstep: { type: 'boolean', default: false, describe: 'run interpreter and JIT side by side, stop at the first difference' },
  'lockstep-every': { type: 'string', describe: 'compare one in this many executions of a block after its first 100 (default 64; 1 = all)' },
  dump: { type: 'string', array: true, describe: 'print IR and host code of the block at this guest address' },
  clock: { type: 'string', default: 'host', describe: 'guest time: host, or virtual (1 ns per instruction, repeatable)' },
  rtc: { type: 'string', describe: 'where the real-time clock starts (2026-01-31T12:00:00Z); default now' },
  aot: { type: 'string', default: 'on', describe: 'keep generated code for the next run: on, off, verify (recompile and compare)' },
  'aot-dir': { type: 'string', describe: 'where (default: in your cache folder)' },
  'aot-size': { type: 'string', describe: 'most that it may take on disk (default 512M)' },
  'disable-pass': { type: 'string', array: true, describe: 'switch an IR pass off' },
} as const satisfies Record<string, Options>;

const entries = Object.entries<Options>(OPTIONS);
const VALUED = entries.filter(([, o]) => o.type !== 'boolean').map(([name]) => name);
const ONCE = entries.filter(([, o]) => o.array !== true).map(([name]) => name);

/** Names of all options, for "did you mean". */
export const BOOT_OPTIONS: readonly string[] = [...Object.keys(OPTIONS), 'no-reboot', 'help', 'version'];

/** yargs lays the help text out whenever a command runs. It is long: options are left out of it if nobody asks for it. */
function described(): Record<string, Options> {
  if (process.argv.some((a) => a === '-h' || a === '--help')) return OPTIONS;
  return Object.fromEntries(entries.map(([name, o]) => [name, { ...o, hidden: true }]));
}

export function bootOptions(y: Argv): Argv<BootArgs> {
  return y
    .positional('image', { type: 'string', describe: 'a disk, CD-ROM or floppy image or a kernel, recognised by content' })
    .options(described())
    .example('$0 boot --kernel vmlinuz --initrd initrd.gz --append console=ttyS0', 'Linux on the serial console')
    .example('$0 boot --kernel vmlinuz --append console=ttyS0 --exit-on "login:" --timeout 60', 'in a script')
    .requiresArg(VALUED)
    .check((argv) => {
      for (const [key, value] of Object.entries(argv)) {
        if (Array.isArray(value) && ONCE.includes(key)) throw new UsageError(`--${key}: given more than once`);
      }
      return true;
    })
    .epilogue('On the serial console Ctrl-A X quits and Ctrl-A H lists the other keys.') as unknown as Argv<BootArgs>;
}

function listDevices(): void {
  for (const m of DEVICE_MODELS) {
    process.stdout.write(`${m.name.padEnd(16)} ${m.summary}\n`);
    for (const [k, v] of Object.entries(m.props)) process.stdout.write(`${''.padEnd(16)}   ${k}: ${v}\n`);
  }
}

type NamedCpus = [readonly { name: string; summary: string }[], readonly (readonly [string, string])[]];

/** CPU models and features of RISC-V and ARM64; null of another architecture. */
async function namedCpus(arch: string): Promise<NamedCpus | null> {
  if (arch === 'aarch64') {
    const { ARM64_FEATURES, ARM64_MODELS } = await import('../engine/guest/arm64/model.js');
    return [ARM64_MODELS, ARM64_FEATURES];
  }
  if (arch !== 'riscv64') return null;
  const { RISCV_FEATURES, RISCV_MODELS } = await import('../engine/guest/riscv/model.js');
  return [RISCV_MODELS, RISCV_FEATURES];
}

async function listCpus(arch: string): Promise<void> {
  const named = await namedCpus(arch);
  if (named !== null) {
    const [models, features] = named;
    for (const m of models) process.stdout.write(`${m.name.padEnd(16)} ${m.summary}\n`);
    process.stdout.write('\nFeatures to switch with ,NAME=VALUE:\n');
    for (const [name, what] of features) process.stdout.write(`${name.padEnd(16)} ${what}\n`);
    return;
  }
  for (const m of CPU_MODELS) process.stdout.write(`${m.name.padEnd(16)} ${m.features.trim()}\n`);
  process.stdout.write(`\nFeatures to switch with ,+NAME and ,-NAME:\n${CPU_FEATURES.join(' ')}\n`);
}

/** A number as users write it, or an error that names the option. */
export function positive(text: string, option: string, what: string): number {
  const n = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(n > 0)) throw new UsageError(`${option}: '${text}' is not ${what}`);
  return n;
}

function address(text: string): bigint {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) throw new UsageError(`--dump: '${text}' is not an address (example: 0xffffffff81000000)`);
  return BigInt(text);
}

function time(text: string): Date {
  const d = new Date(text);
  if (Number.isNaN(d.getTime())) throw new UsageError(`--rtc: '${text}' is not a time (example: 2026-01-31T12:00:00Z)`);
  return d;
}

export function machineOptions(a: BootArgs): MachineOptions {
  const kind = a.image === undefined ? null : detectImage(a.image);
  if (kind === 'kernel' && a.kernel !== undefined) throw new UsageError(`boot: both a kernel (${a.image}) and --kernel given`);
  if (a.debugcon !== 'none' && a.debugcon !== 'stdio' && !a.debugcon.startsWith('file:')) {
    throw new UsageError(`--debugcon: '${a.debugcon}' is not available (none, stdio, file:PATH are)`);
  }
  if (a.exitOn === '') throw new UsageError('--exit-on: the text is empty');
  if ((a.trace === undefined) !== (a.traceFile === undefined)) throw new UsageError('--trace: goes together with --trace-file');
  return {
    accel: a.accel as MachineOptions['accel'],
    arch: a.arch as MachineOptions['arch'],
    machine: a.machine as MachineOptions['machine'],
    cpu: a.cpu,
    cpus: positive(a.cpus, '--cpus', 'a number from 1 to 16'),
    memory: a.memory,
    kernel: kind === 'kernel' ? a.image : a.kernel,
    firmware: a.firmware,
    firmwareVars: a.firmwareVars,
    initrd: a.initrd,
    append: a.append,
    dtb: a.dtb,
    disks: kind === null || kind === 'kernel' ? a.disk : [{ file: a.image!, media: kind }, ...(a.disk ?? [])],
    cdroms: a.cdrom,
    floppies: a.floppy,
    net: a.net,
    snapshot: a.snapshot,
    vga: (a.vga ?? (a.screenshot === undefined && a.display === 'none' ? undefined : 'std')) as MachineOptions['vga'],
    shares: a.share,
    devices: a.device,
    noReboot: !a.reboot,
    clock: a.clock as MachineOptions['clock'],
    aot: a.aot as MachineOptions['aot'],
    aotDir: a.aotDir,
    aotSize: a.aotSize === undefined ? undefined : parseSize(a.aotSize, '--aot-size'),
    rtc: a.rtc === undefined ? undefined : time(a.rtc),
    debug: {
      traceFile: a.traceFile,
      trace: a.trace as ('block' | 'insn' | 'fault')[] | undefined,
      perfMap: a.perfMap,
      lockstep: a.lockstep,
      lockstepEvery: a.lockstepEvery === undefined ? undefined : positive(a.lockstepEvery, '--lockstep-every', 'a positive number'),
      dump: a.dump?.map(address),
      disablePasses: a.disablePass,
    },
  };
}

/** `NAME=unix:PATH` or `NAME=tcp:...`. */
function parsePort(text: string): { name: string; endpoint: Endpoint } {
  const eq = text.indexOf('=');
  if (eq < 1) throw new UsageError(`--port: '${text}' is not NAME=unix:PATH or NAME=tcp:PORT`);
  return { name: text.slice(0, eq), endpoint: parseEndpoint(text.slice(eq + 1), '--port') };
}

/** Conventional exit statuses of processes that a signal ends. */
const SIGNALS = { SIGHUP: 129, SIGTERM: 143 } as const;

/** --debugcon: where the bytes of the debug console go. */
function openDebugcon(mode: string, vm: VirtualMachine): WriteStream | null {
  if (mode === 'none') return null;
  if (mode === 'stdio') {
    vm.on('debug', (b) => process.stderr.write(b));
    return null;
  }
  const file = createWriteStream(mode.slice(5));
  file.on('error', (e) => process.stderr.write(`vmx-accel: --debugcon: ${e.message}\n`));
  vm.on('debug', (b) => file.write(b));
  return file;
}

/** Where the serial port goes: to the terminal, unless that is the screen. */
function serialMode(a: BootArgs): string {
  if (!takesTerminal(a.display)) return a.serial ?? 'stdio';
  if (a.serial === 'stdio') throw new UsageError('--serial: stdio is the screen with --display term (none, file:PATH, unix:PATH and tcp:PORT are available)');
  return a.serial ?? 'none';
}

async function boot(a: BootArgs): Promise<number> {
  if (a.device?.includes('help')) {
    listDevices();
    return 0;
  }
  if (a.cpu === 'help') {
    await listCpus(a.arch);
    return 0;
  }
  const seconds = a.timeout === undefined ? null : positive(a.timeout, '--timeout', 'a positive number of seconds');
  const options = machineOptions(a);
  if (a.stats !== undefined) checkOutput(a.stats, '--stats');
  if (a.traceFile !== undefined) checkOutput(a.traceFile, '--trace-file');
  const shots = (a.screenshot ?? []).map(parseShot);
  if (shots.length > 0 && a.vga === 'none' && !(a.device ?? []).some((d) => /^(virtio-gpu|ramfb)(,|$)/.test(d))) throw new UsageError('--screenshot: there is no screen with --vga none');
  const terminal = new Terminal(serialMode(a), a.exitOn ?? null);
  const gdb = a.gdb === undefined ? null : { wait: a.gdb.endsWith(',wait'), endpoint: parseEndpoint(a.gdb.replace(/,wait$/, ''), '--gdb') };
  const display = parseDisplay(a.display);
  const qmp = (a.qmp ?? []).map((text) => parseEndpoint(text, '--qmp'));
  const ports = (a.port ?? []).map(parsePort);
  const vm = await VirtualMachine.create(options);
  let debuggerThere: Promise<void> = Promise.resolve();
  let gdbClient: () => void = () => {};
  try {
    // Servers are loaded when asked for: most boots have none.
    for (const endpoint of qmp) await (await import('../control/qmp/server.js')).QmpServer.listen(vm, endpoint, VERSION);
    for (const { name, endpoint } of ports) await (await import('../control/port-server.js')).PortServer.listen(vm, name, endpoint);
    if (terminal.endpoint !== null) await (await import('../control/serial-server.js')).SerialServer.listen(vm, terminal.endpoint);
    if (gdb !== null) {
      const client = new Promise<void>((resolve) => void (gdbClient = resolve));
      const { GdbServer } = await import('../control/gdb/server.js');
      const g = await GdbServer.listen(vm, gdb.endpoint, VERSION, () => gdbClient());
      if (gdb.wait) {
        process.stderr.write(`vmx-accel: waiting for GDB at ${endpointText(g.endpoint)}\n`);
        debuggerThere = client;
      }
    }
    if (display !== null) await openDisplay(display, vm, (line) => process.stderr.write(`vmx-accel: ${line}\n`));
  } catch (e) {
    await vm.stop();
    throw e;
  }
  vm.on('log', (m) => process.stderr.write(`vmx-accel: ${m}\n`));
  const debugcon = openDebugcon(a.debugcon, vm);
  let timedOut = false;
  const timer = seconds === null ? null : setTimeout(() => ((timedOut = true), void vm.stop()), seconds * 1000);
  let signalled: number | null = null;
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ((signalled = SIGNALS[signal]), void vm.stop()));
  const screenshots = new Screenshots(shots, vm);
  mark('machine ready');
  terminal.open(vm);
  await debuggerThere;
  vm.start();
  screenshots.start();
  const end = await vm.wait();
  await screenshots.finish();
  if (timer !== null) clearTimeout(timer);
  await terminal.close();
  debugcon?.end();
  if (a.stats !== undefined) {
    const stats = await vm.stats();
    writeFileSync(a.stats, `${JSON.stringify({ end, ...stats, moments: undefined, timeline: wholeTimeline(stats?.moments ?? []) }, null, 2)}\n`);
  }
  if (signalled !== null) return signalled;
  if (terminal.matched) return 0;
  if (timedOut) {
    process.stderr.write(`vmx-accel: stopped after ${seconds} s (--timeout)\n`);
    return EXIT_TIMEOUT;
  }
  if (end.reason !== 'power-off' && end.reason !== 'exit' && end.reason !== 'stopped') process.stderr.write(`vmx-accel: ${end.message}\n`);
  return end.status;
}

/** The arguments of a plain command line; null: yargs has to read it. */
export function plainBoot(argv: readonly string[]): BootArgs | null {
  return quickArgs(OPTIONS, 'image', argv) as BootArgs | null;
}

export async function runBoot(a: BootArgs): Promise<void> {
  process.exitCode = await boot(a);
}

export const bootCommand: CommandModule<object, BootArgs> = {
  command: 'boot [image]',
  describe: 'boot a machine',
  builder: bootOptions,
  handler: runBoot,
};
