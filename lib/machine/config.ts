/**
 * The configuration of a virtual machine: plain data that crosses to the machine's worker, with every user-visible
 * check in one place. Messages name the option as the command line spells it.
 */
import { existsSync, openSync, closeSync, statSync, accessSync, constants } from 'node:fs';
import { totalmem } from 'node:os';
import { defaultVarsFile, findBios, findUefi, firmwareFile, type FirmwareConfig } from '../boot/firmware.js';
import { type ArchName, kernelArch } from '../boot/arch.js';
import { type BootChoice, diskFirmware, openFile } from '../boot/image.js';
import { UsageError } from '../errors.js';

export type { ArchName };
export type MachineName = 'pc' | 'q35' | 'virt';
/** Architectures with their boards, the default one first. */
const BOARDS: Readonly<Record<ArchName, readonly MachineName[]>> = { x86_64: ['pc', 'q35'], aarch64: ['virt'], riscv64: ['virt'] };
/** Architectures that can be chosen; the others are on their way. */
const ARCH_NAMES: readonly ArchName[] = ['x86_64'];
export type Accel = 'auto' | 'jit' | 'interp';

export type VgaKind = 'std' | 'none';

export interface DiskConfig {
  file: string;
  if: 'virtio';
  format: 'raw';
  readonly: boolean;
  /** Writes go to memory and are dropped at the end. */
  snapshot: boolean;
}

/** What a caller of `VirtualMachine.create` may pass. Everything has a default. */
export interface MachineOptions {
  /** Which engine executes guest code. Default 'auto': the JIT, or the interpreter where memory may not be made executable. */
  accel?: Accel;
  /** Guest architecture. Default auto: by the kernel image. */
  arch?: 'auto' | ArchName;
  /** Board. */
  machine?: MachineName;
  /** CPU model with feature changes: `max`, `qemu64`, `max,-avx2`. */
  cpu?: string;
  /** Number of vCPUs, 1..16. */
  cpus?: number;
  /** Bytes, or text such as `512M`, `1G`. */
  memory?: number | string;
  /** Kernel image: bzImage, ELF (PVH or multiboot 1). */
  kernel?: string;
  initrd?: string;
  /** Kernel command line. */
  append?: string;
  /**
   * `seabios`, `ovmf`, `none`, a file, or `auto`: none with a kernel, else by what the first disk can boot. Default auto.
   */
  firmware?: string;
  /** File that keeps UEFI variables; `none` forgets them. Default: one in the user's data folder, by machine and first disk. */
  firmwareVars?: string;
  /** Disks: a file name, or an object. */
  disks?: (string | Partial<DiskConfig> & { file: string })[];
  /** All disks as snapshots. */
  snapshot?: boolean;
  /** Display: `std` (VGA with Bochs VBE), `none`. Default: none with a kernel, else std. */
  vga?: VgaKind;
  /** Extra devices, `name,key=value` as on the command line. */
  devices?: string[];
  /** Treat a guest reset as power-off. */
  noReboot?: boolean;
  /** Start value of the guest's real-time clock; default now (1 January 2020 with a virtual clock). */
  rtc?: Date;
  /** What guest time is: the host's clock, or a nanosecond per instruction, so that runs can be repeated. Default host. */
  clock?: 'host' | 'virtual';
  /** Tracing for developers. */
  debug?: DebugOptions;
}

export interface DebugOptions {
  /** File that receives a line per executed block or, with `insn`, per instruction. */
  traceFile?: string;
  trace?: ('block' | 'insn' | 'fault')[];
  /** Write /tmp/perf-PID.map for `perf`. */
  perfMap?: boolean;
  /** Run every block on the interpreter and as generated code and stop at the first difference. */
  lockstep?: boolean;
  /** Of a block's executions compare the first hundred, then one in this many (default 64; 1 = all). */
  lockstepEvery?: number;
  /** Guest addresses whose IR and host code are printed when translated. */
  dump?: (number | bigint)[];
  /** IR passes to switch off, by name. */
  disablePasses?: string[];
}

export interface MachineConfig {
  accel: Accel;
  arch: ArchName;
  machine: MachineName;
  cpu: string;
  cpus: number;
  /** Bytes. */
  memory: number;
  kernel: string | null;
  initrd: string | null;
  append: string;
  /** Null: the kernel is loaded directly. */
  firmware: FirmwareConfig | null;
  /** For the user: which firmware was chosen and why; empty if it was asked for. */
  notes: string[];
  disks: DiskConfig[];
  vga: VgaKind;
  devices: string[];
  noReboot: boolean;
  /** ms since the epoch. */
  rtc: number;
  clock: 'host' | 'virtual';
  debug: DebugOptions;
}

const MIB = 1024 * 1024;

/** '512M', '1G', '4096K', '1048576' or a number of bytes. A plain number of text below 1 MiB counts as MiB, as users expect of -m. */
export function parseSize(v: number | string, option: string): number {
  if (typeof v === 'number') {
    if (!Number.isFinite(v) || v < 0) throw new UsageError(`${option}: ${v} is not a size`);
    return Math.floor(v);
  }
  const m = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(i?B)?$/i.exec(v.trim());
  if (!m) throw new UsageError(`${option}: '${v}' is not a size (examples: 512M, 2G)`);
  const n = Number(m[1]);
  const unit = (m[2] ?? '').toUpperCase();
  const scale = unit === 'K' ? 1024 : unit === 'M' ? MIB : unit === 'G' ? 1024 * MIB : unit === 'T' ? 1024 * 1024 * MIB : n < MIB ? MIB : 1;
  return Math.floor(n * scale);
}

function checkFile(file: string, option: string, write: boolean): void {
  if (!existsSync(file)) throw new UsageError(`${option}: ${file}: no such file`);
  const st = statSync(file);
  if (st.isDirectory()) throw new UsageError(`${option}: ${file} is a directory`);
  try {
    accessSync(file, constants.R_OK);
  } catch {
    throw new UsageError(`${option}: ${file}: no permission to read`);
  }
  if (!write) return;
  try {
    closeSync(openSync(file, 'r+'));
  } catch {
    throw new UsageError(`${option}: ${file} is not writable (add ,readonly or ,snapshot)`);
  }
}

const DISK_KEYS = new Set(['if', 'format', 'readonly', 'snapshot']);

/** `FILE[,if=virtio][,format=raw][,readonly][,snapshot]`. */
export function parseDisk(text: string): DiskConfig {
  const [file, ...rest] = text.split(',');
  const d: DiskConfig = { file: file ?? '', if: 'virtio', format: 'raw', readonly: false, snapshot: false };
  if (d.file === '') throw new UsageError(`--disk: '${text}' names no file`);
  for (const part of rest) {
    const [k, v] = part.split('=', 2) as [string, string | undefined];
    if (!DISK_KEYS.has(k)) throw new UsageError(`--disk: unknown property '${k}' (known: ${[...DISK_KEYS].join(', ')})`);
    if (k === 'if') {
      if (v !== 'virtio') throw new UsageError(`--disk: if=${v ?? ''} is not available (virtio is)`);
    } else if (k === 'format') {
      if (v !== 'raw') throw new UsageError(`--disk: format=${v ?? ''} is not available (raw is)`);
    } else {
      const on = v === undefined || v === 'on';
      if (!on && v !== 'off') throw new UsageError(`--disk: ${k}=${v} must be on or off`);
      if (k === 'readonly') d.readonly = on;
      else d.snapshot = on;
    }
  }
  return d;
}

/** What the first disk can boot; BIOS if there is none. */
function bootChoice(disks: readonly DiskConfig[]): BootChoice {
  const disk = disks[0];
  if (disk === undefined) return { kind: 'bios', why: 'there is no disk' };
  const r = openFile(disk.file, '--disk');
  try {
    return diskFirmware(r);
  } finally {
    r.close();
  }
}

function chooseFirmware(o: MachineOptions, machine: MachineName, disks: readonly DiskConfig[], notes: string[]): FirmwareConfig | null {
  const want = o.firmware ?? 'auto';
  // Firmware asked for by name may run without a disk: its own menus and shell are worth seeing.
  if (want === 'auto' && o.kernel === undefined && disks.length === 0) throw new UsageError('boot: nothing to boot (give an image, --disk or --kernel)');
  let fw: FirmwareConfig;
  if (want === 'none' || (want === 'auto' && o.kernel !== undefined)) {
    if (o.kernel === undefined) throw new UsageError('--firmware: none needs --kernel');
    if (o.firmwareVars !== undefined) throw new UsageError('--firmware-vars: there is no firmware');
    return null;
  }
  if (want === 'auto') {
    if (disks.length === 0) throw new UsageError('--kernel: nothing to boot (give an image, --disk or --kernel; or --firmware for firmware alone)');
    const choice = bootChoice(disks);
    fw = choice.kind === 'bios' ? findBios() : findUefi();
    notes.push(`firmware: ${choice.kind === 'bios' ? 'SeaBIOS' : 'OVMF'} (${fw.code}): ${choice.why}`);
  } else {
    fw = want === 'seabios' ? findBios() : want === 'ovmf' ? findUefi() : firmwareFile(want);
  }
  if (fw.kind !== 'uefi') {
    if (o.firmwareVars !== undefined) throw new UsageError('--firmware-vars: only UEFI firmware has variables');
    if (o.kernel !== undefined) throw new UsageError('--kernel: BIOS firmware does not load kernels (leave --firmware out)');
    return fw;
  }
  const disk = disks[0];
  if (o.firmwareVars !== undefined) fw.vars = o.firmwareVars === 'none' ? null : o.firmwareVars;
  else if (disk !== undefined && !disk.snapshot && !disk.readonly) fw.vars = defaultVarsFile(machine, fw, disk.file);
  return fw;
}

/** Guest architecture and board. */
function chooseArch(o: MachineOptions): { arch: ArchName; machine: MachineName } {
  const want = o.arch ?? 'auto';
  const all = Object.keys(BOARDS) as ArchName[];
  if (want !== 'auto' && !ARCH_NAMES.includes(want)) throw new UsageError(`--arch: '${String(want)}' is not available (${['auto', ...ARCH_NAMES].join(', ')} are)`);
  const image = o.kernel === undefined ? null : kernelArch(o.kernel, '--kernel');
  if (image !== null && want !== 'auto' && image !== want) throw new UsageError(`--kernel: ${o.kernel!} is a kernel for ${image}, not for ${want} (--arch)`);
  if (image !== null && !ARCH_NAMES.includes(image)) throw new UsageError(`--kernel: ${o.kernel!} is a kernel for ${image}, which is not available`);
  const machine = o.machine;
  const having = machine === undefined ? all : all.filter((a) => BOARDS[a].includes(machine));
  if (having.length === 0) throw new UsageError(`--machine: '${String(machine)}' is not available (${[...new Set(ARCH_NAMES.flatMap((a) => BOARDS[a]))].join(', ')} are)`);
  const arch = want !== 'auto' ? want : (image ?? (having.includes('x86_64') ? 'x86_64' : null));
  if (arch === null) throw new UsageError(`--machine: ${machine!} exists for ${having.join(' and ')}: choose with --arch`);
  if (!having.includes(arch)) throw new UsageError(`--machine: ${machine!} is no board for ${arch} (${BOARDS[arch].join(', ')} ${BOARDS[arch].length === 1 ? 'is' : 'are'})`);
  return { arch, machine: machine ?? BOARDS[arch][0]! };
}

/** Checks options and fills in defaults. @throws UsageError with one line that names the option. */
export function resolveConfig(o: MachineOptions): MachineConfig {
  const accel = o.accel ?? 'auto';
  if (!['auto', 'jit', 'interp'].includes(accel)) throw new UsageError(`--accel: '${accel}' is not available (auto, jit, interp are)`);
  const cpus = o.cpus ?? 1;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > 16) throw new UsageError(`--cpus: ${cpus} is not a number from 1 to 16`);
  const memory = parseSize(o.memory ?? '512M', '--memory');
  if (memory < MIB) throw new UsageError(`--memory: ${memory} bytes is less than the minimum of 1M`);
  if (memory > totalmem()) throw new UsageError(`--memory: ${Math.floor(memory / MIB)}M is more than this host has (${Math.floor(totalmem() / MIB)}M)`);
  if (memory > 3 * 1024 * MIB) throw new UsageError(`--memory: ${Math.floor(memory / MIB)}M is more than the 3G this version supports`);
  if (o.kernel !== undefined) checkFile(o.kernel, '--kernel', false);
  const { arch, machine } = chooseArch(o);
  if (o.initrd !== undefined) {
    if (o.kernel === undefined) throw new UsageError('--initrd: needs --kernel');
    checkFile(o.initrd, '--initrd', false);
  }
  if (o.append !== undefined && o.kernel === undefined) throw new UsageError('--append: needs --kernel');
  const disks: DiskConfig[] = [];
  for (const d of o.disks ?? []) {
    const disk: DiskConfig = typeof d === 'string' ? parseDisk(d) : { if: 'virtio', format: 'raw', readonly: false, snapshot: false, ...d };
    if (o.snapshot) disk.snapshot = true;
    checkFile(disk.file, '--disk', !disk.readonly && !disk.snapshot);
    disks.push(disk);
  }
  const notes: string[] = [];
  const firmware = chooseFirmware(o, machine, disks, notes);
  const clock = o.clock ?? 'host';
  if (clock !== 'host' && clock !== 'virtual') throw new UsageError(`--clock: '${String(clock)}' is not available (host, virtual are)`);
  // Runs under a virtual clock are to be repeatable.
  const rtc = o.rtc ?? (clock === 'virtual' ? new Date(Date.UTC(2020, 0, 1)) : new Date());
  if (Number.isNaN(rtc.getTime())) throw new UsageError('--rtc: not a time (example: 2026-01-31T12:00:00Z)');
  const vga = o.vga ?? (o.kernel === undefined ? 'std' : 'none');
  if (vga !== 'std' && vga !== 'none') throw new UsageError(`--vga: '${String(vga)}' is not available (std, none are)`);
  return {
    accel,
    arch,
    machine,
    cpu: o.cpu ?? 'max',
    cpus,
    memory: Math.floor(memory / 4096) * 4096,
    kernel: o.kernel ?? null,
    initrd: o.initrd ?? null,
    append: o.append ?? '',
    firmware,
    notes,
    disks,
    vga,
    devices: o.devices ?? [],
    noReboot: o.noReboot ?? false,
    rtc: rtc.getTime(),
    clock,
    debug: o.debug ?? {},
  };
}
