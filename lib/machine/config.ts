/**
 * The configuration of a virtual machine: plain data that crosses to the machine's worker, with every user-visible
 * check in one place. Messages name the option as the command line spells it.
 */
import { existsSync, openSync, closeSync, statSync, accessSync, constants } from 'node:fs';
import { totalmem } from 'node:os';
import { defaultVarsFile, findAavmf, findBios, findUefi, firmwareFile, type FirmwareConfig, virtFirmwareFile } from '../boot/firmware.js';
import { type ArchName, kernelArch } from '../boot/arch.js';
import { type BootChoice, cdFirmware, diskFirmware, isMicrosoft } from '../boot/image.js';
import { IMAGE_FORMATS, type ImageFormat } from '../block/formats.js';
import { openImage } from '../block/open.js';
import { checkInterface, defaultInterface, DISK_INTERFACES } from '../boards/disk-interfaces.js';
import { type AccelConfig, type AccelName, parseAccel } from '../accel/options.js';
import type { BlockBackend } from '../block/backend.js';
import { resolveShares, type ShareConfig, type ShareOptions } from './share-config.js';
import { ARM64_DEFAULT_CPU, parseArm64Cpu } from '../engine/guest/arm64/model.js';
import { parseRiscvCpu, RISCV_DEFAULT_CPU } from '../engine/guest/riscv/model.js';
import { UsageError } from '../errors.js';
import { type AotConfig, type AotOptions, resolveAot } from './aot-config.js';
import { type BoardChoice, boardChoice, splitMachine } from './board-choice.js';
import { type NetConfig, parseNets } from './net-config.js';
import { chooseRiscvFirmware } from './riscv-firmware.js';

export type { ArchName };
export type MachineName = 'pc' | 'q35' | 'microvm' | 'virt';
/** Architectures with their boards, the default one first. */
const BOARDS: Readonly<Record<ArchName, readonly MachineName[]>> = { x86_64: ['pc', 'q35', 'microvm'], aarch64: ['virt'], riscv64: ['virt'] };
/** Architectures that can be chosen. */
const ARCH_NAMES: readonly ArchName[] = ['x86_64', 'aarch64', 'riscv64'];
export type Accel = AccelName;

export type VgaKind = 'std' | 'virtio' | 'none';

export type MediaKind = 'disk' | 'cdrom' | 'floppy';
export type DiskIf = 'virtio' | 'nvme' | 'ahci' | 'ide' | 'scsi' | 'usb' | 'floppy';

/** A drive and the image in it. */
export interface DiskConfig {
  /** `disk0`, `cdrom0`, `floppy0`: each kind counted in the order of the configuration. */
  id: string;
  /** Null: nothing is in the drive, which takes removable media. */
  file: string | null;
  media: MediaKind;
  /** Controller. Default: virtio for disks (ide or ahci for systems by Microsoft), ide, ahci or scsi for CD-ROMs. */
  if: DiskIf;
  /** `auto`: by content. */
  format: ImageFormat | 'auto';
  readonly: boolean;
  /** Writes go to memory and are dropped at the end. */
  snapshot: boolean;
  /** As the guest sees it; null: one made from the drive's position. */
  serial: string | null;
  /** Names the option in messages. */
  option: string;
}

/** What may be said of a drive. */
export type DiskOptions = Partial<Omit<DiskConfig, 'option' | 'id'>> & { file: string | null };

/** What a caller of `VirtualMachine.create` may pass. Everything has a default. */
export interface MachineOptions extends AotOptions {
  /**
   * What executes guest code: `kvm`, `jit`, `interp`, or `auto`: KVM where it is fast, else the JIT, else (where memory may not be
   * made executable) the interpreter. Properties follow as on the command line: `kvm,fallback=off`. Default auto.
   */
  accel?: Accel | `kvm,${string}`;
  /** The machine may be switched to KVM while it runs, too (`VirtualMachine.setAccel`): it gets the CPU features and the TSC of KVM here. Default: only if it starts on KVM. */
  switchable?: boolean;
  /** Guest architecture. Default auto: by the kernel image. */
  arch?: 'auto' | ArchName;
  /** Board, with properties as on the command line: `virt`, `virt,gic-version=2`. */
  machine?: MachineName | `virt,${string}`;
  /** CPU model with feature changes: `max`, `qemu64`, `max,-avx2`; of riscv64 `rv64`, `rv64,v=on`, `max`. Default `max`, of riscv64 `rv64`. */
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
  /** Device tree to use in place of the board's own (virt boards); /chosen is filled in. */
  dtb?: string;
  /**
   * `seabios`, `ovmf`, `none`, a file, or `auto`: none with a kernel, else by what the first disk can boot. Default auto.
   */
  firmware?: string;
  /** File that keeps UEFI variables; `none` forgets them. Default: one in the user's data folder, by machine and first disk. */
  firmwareVars?: string;
  /** Drives in boot order: text as for --disk, or an object. */
  disks?: (string | DiskOptions)[];
  /** CD-ROMs, tried after the disks. */
  cdroms?: (string | DiskOptions)[];
  /** Floppies, tried last; at most two. */
  floppies?: (string | DiskOptions)[];
  /** Network cards, as on the command line: `user`, `user,hostfwd=tcp:127.0.0.1:2222-:22`, `socket,listen=5000`. Default none. */
  net?: string[];
  /** All disks as snapshots. */
  snapshot?: boolean;
  /** Display: `std` (VGA with Bochs VBE), `virtio` (the same and a virtio GPU), `none`. Default: none with a kernel, else std. */
  vga?: VgaKind;
  /** Folders of the host for the guest, `FOLDER,tag=NAME[,readonly]` as on the command line or an object (9P, virtio). */
  shares?: (string | ShareOptions)[];
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
  accel: AccelConfig;
  switchable: boolean;
  arch: ArchName;
  machine: MachineName;
  /** What was chosen of the board beside its name. */
  board: BoardChoice;
  cpu: string;
  cpus: number;
  /** Bytes. */
  memory: number;
  kernel: string | null;
  initrd: string | null;
  append: string;
  dtb: string | null;
  /** Null: the kernel is loaded directly. */
  firmware: FirmwareConfig | null;
  /** For the user: which firmware was chosen and why; empty if it was asked for. */
  notes: string[];
  disks: DiskConfig[];
  net: NetConfig[];
  vga: VgaKind;
  shares: ShareConfig[];
  devices: string[];
  noReboot: boolean;
  /** ms since the epoch. */
  rtc: number;
  clock: 'host' | 'virtual';
  aot: AotConfig;
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

const DISK_KEYS = ['if', 'format', 'readonly', 'snapshot', 'serial'] as const;
const SERIAL_MAX = 20;
/** In place of a file: nothing is in the drive. */
const EMPTY = 'none';

/** Cuts text at single commas; two of them stand for one. */
function commaParts(text: string): string[] {
  return text.replaceAll(',,', '\0').split(',').map((part) => part.replaceAll('\0', ','));
}

/** `FILE[,if=...][,format=...][,readonly][,snapshot][,serial=...]`. Commas in FILE are doubled. @param option names it in messages. */
export function parseDisk(text: string, option = '--disk'): DiskOptions {
  const [file, ...rest] = commaParts(text);
  if (file === undefined || file === '') throw new UsageError(`${option}: '${text}' names no file`);
  const d: DiskOptions = { file: file === EMPTY ? null : file };
  for (const part of rest) {
    const eq = part.indexOf('=');
    const k = eq < 0 ? part : part.slice(0, eq);
    const v = eq < 0 ? undefined : part.slice(eq + 1);
    const key = DISK_KEYS.find((x) => x === k);
    if (key === undefined) throw new UsageError(`${option}: unknown property '${k}' (known: ${DISK_KEYS.join(', ')})`);
    if (key === 'readonly' || key === 'snapshot') {
      if (v !== undefined && v !== 'on' && v !== 'off') throw new UsageError(`${option}: ${k}=${v} must be on or off`);
      d[key] = v !== 'off';
      continue;
    }
    if (v === undefined || v === '') throw new UsageError(`${option}: ${k} needs a value`);
    // Checked by `drive`, with what objects say.
    if (key === 'if') d.if = v as DiskIf;
    else if (key === 'format') d.format = v as ImageFormat;
    else d.serial = v;
  }
  return d;
}

function drive(o: DiskOptions, id: string, machine: MachineName, option: string, snapshot: boolean): DiskConfig {
  const media = o.media ?? 'disk';
  const readonly = media === 'cdrom' || (o.readonly ?? false);
  const d: DiskConfig = { id, file: o.file, media, if: 'virtio', format: o.format ?? 'auto', readonly, snapshot: !readonly && (snapshot || (o.snapshot ?? false)), serial: o.serial ?? null, option };
  if (d.format !== 'auto' && !IMAGE_FORMATS.includes(d.format)) throw new UsageError(`${option}: format=${String(d.format)} is not available (${IMAGE_FORMATS.join(', ')} ${IMAGE_FORMATS.length > 1 ? 'are' : 'is'})`);
  if (d.serial !== null && !/^[\x20-\x7e]{1,20}$/.test(d.serial)) throw new UsageError(`${option}: serial=${d.serial} is not 1 to ${SERIAL_MAX} printable ASCII characters`);
  if (o.if !== undefined) d.if = checkInterface(o.if, machine, media, option);
  if (d.file !== null) checkFile(d.file, option, !d.readonly && !d.snapshot);
  else if (media === 'disk') throw new UsageError(`${option}: a disk needs a file`);
  if (o.if === undefined) d.if = defaultInterface(machine, media, media === 'disk' && DISK_INTERFACES.length > 1 && look(d, isMicrosoft), option);
  return d;
}

/** A drive that comes while the machine runs, checked. @throws UsageError */
export function resolveDrive(o: DiskOptions, id: string, machine: MachineName): DiskConfig {
  return drive(o, id, machine, '--disk', false);
}

/** Looks into an image, which is there. */
function look<T>(d: DiskConfig, fn: (r: BlockBackend) => T): T {
  const image = openImage({ ...d, file: d.file!, readonly: true, snapshot: false, lock: false });
  try {
    return fn(image);
  } finally {
    image.close();
  }
}

/** All drives in boot order. */
function drives(o: MachineOptions, machine: MachineName): DiskConfig[] {
  const disks: DiskConfig[] = [];
  const add = (list: readonly (string | DiskOptions)[] | undefined, media: MediaKind, option: string): void => {
    for (const d of list ?? []) {
      const options = typeof d === 'string' ? parseDisk(d, option) : d;
      const kind = options.media ?? media;
      const id = `${kind}${disks.filter((x) => x.media === kind).length}`;
      disks.push(drive({ media, ...options }, id, machine, options.media === undefined ? option : `--${options.media}`, o.snapshot ?? false));
    }
  };
  add(o.disks, 'disk', '--disk');
  add(o.cdroms, 'cdrom', '--cdrom');
  add(o.floppies, 'floppy', '--floppy');
  for (const i of DISK_INTERFACES) {
    const there = disks.filter((d) => d.if === i.name);
    if (there.length > i.limit) throw new UsageError(`${there[i.limit]!.option}: ${there[i.limit]!.file ?? EMPTY}: no more than ${i.limit} drives with if=${i.name}`);
  }
  return disks;
}

/** What the first drive can boot; BIOS if there is none. */
function bootChoice(disks: readonly DiskConfig[]): BootChoice {
  const disk = disks[0];
  if (disk === undefined) return { kind: 'bios', why: 'there is no disk' };
  if (disk.file === null) return { kind: 'bios', why: 'the first drive is empty' };
  if (disk.media === 'floppy') return { kind: 'bios', why: 'the image is a floppy' };
  return look(disk, disk.media === 'cdrom' ? cdFirmware : diskFirmware);
}

function chooseFirmware(o: MachineOptions, machine: MachineName, disks: readonly DiskConfig[], notes: string[]): FirmwareConfig | null {
  const want = o.firmware ?? 'auto';
  if (machine === 'microvm') {
    if (o.kernel === undefined) throw new UsageError('boot: machine microvm starts kernels only (give --kernel)');
    if (want !== 'auto' && want !== 'none') throw new UsageError(`--firmware: machine microvm has none (--machine pc or q35 for ${want})`);
  }
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
  else if (disk?.file !== undefined && disk.file !== null && !disk.snapshot && !disk.readonly) fw.vars = defaultVarsFile(machine, fw, disk.file);
  return fw;
}

/** ARM64: kernels need no firmware, as PSCI is built in; disks need UEFI. */
function chooseAavmf(want: string, kernel: boolean, bootable: boolean, notes: string[]): FirmwareConfig | null {
  if (want === 'none' || (want === 'auto' && kernel)) {
    if (!kernel) throw new UsageError('--firmware: none needs --kernel');
    return null;
  }
  if (want === 'auto' && !bootable) throw new UsageError('boot: nothing to boot (give an image, --disk or --kernel)');
  if (want === 'seabios' || want === 'ovmf') throw new UsageError(`--firmware: '${want}' is for x86_64 (auto, aavmf, none or a file are for aarch64)`);
  const fw = want === 'auto' || want === 'aavmf' ? findAavmf() : virtFirmwareFile(want, 'aarch64');
  if (want === 'auto') notes.push(`firmware: AAVMF (${fw.code})`);
  return fw;
}

/** Firmware of the virt boards. */
function chooseVirtFirmware(o: MachineOptions, arch: ArchName, disks: readonly DiskConfig[], notes: string[]): FirmwareConfig | null {
  const choose = arch === 'aarch64' ? chooseAavmf : chooseRiscvFirmware;
  const fw = choose(o.firmware ?? 'auto', o.kernel !== undefined, disks.length > 0, notes);
  if (fw?.kind !== 'uefi') {
    if (o.firmwareVars !== undefined) throw new UsageError(`--firmware-vars: ${fw === null ? 'there is no firmware' : 'only UEFI firmware has variables'}`);
    return fw;
  }
  const disk = disks[0];
  if (o.firmwareVars !== undefined) fw.vars = o.firmwareVars === 'none' ? null : o.firmwareVars;
  else if (disk?.file !== undefined && disk.file !== null && !disk.snapshot && !disk.readonly) fw.vars = defaultVarsFile('virt', fw, disk.file);
  return fw;
}

/** Guest architecture and board. */
function chooseArch(o: MachineOptions, machine: MachineName | undefined): { arch: ArchName; machine: MachineName } {
  const want = o.arch ?? 'auto';
  const all = Object.keys(BOARDS) as ArchName[];
  if (want !== 'auto' && !ARCH_NAMES.includes(want)) throw new UsageError(`--arch: '${String(want)}' is not available (${['auto', ...ARCH_NAMES].join(', ')} are)`);
  const image = o.kernel === undefined ? null : kernelArch(o.kernel, '--kernel');
  if (image !== null && want !== 'auto' && image !== want) throw new UsageError(`--kernel: ${o.kernel!} is a kernel for ${image}, not for ${want} (--arch)`);
  if (image !== null && !ARCH_NAMES.includes(image)) throw new UsageError(`--kernel: ${o.kernel!} is a kernel for ${image}, which is not available`);
  const having = machine === undefined ? all : all.filter((a) => BOARDS[a].includes(machine));
  if (having.length === 0) throw new UsageError(`--machine: '${String(machine)}' is not available (${[...new Set(ARCH_NAMES.flatMap((a) => BOARDS[a]))].join(', ')} are)`);
  const arch = want !== 'auto' ? want : (image ?? (having.includes('x86_64') ? 'x86_64' : null));
  if (arch === null) throw new UsageError(`--machine: ${machine!} exists for ${having.join(' and ')}: choose with --arch`);
  if (!having.includes(arch)) throw new UsageError(`--machine: ${machine!} is no board for ${arch} (${BOARDS[arch].join(', ')} ${BOARDS[arch].length === 1 ? 'is' : 'are'})`);
  return { arch, machine: machine ?? BOARDS[arch][0]! };
}

/** CPU model; those of x86 are looked at when the CPUs are made. */
function chooseCpu(arch: ArchName, asked: string | undefined): string {
  if (arch === 'riscv64') {
    const cpu = asked ?? RISCV_DEFAULT_CPU;
    parseRiscvCpu(cpu);
    return cpu;
  }
  if (arch === 'aarch64') {
    const cpu = asked ?? ARM64_DEFAULT_CPU;
    parseArm64Cpu(cpu);
    return cpu;
  }
  return asked ?? 'max';
}

/** Checks options and fills in defaults. @throws UsageError with one line that names the option. */
export function resolveConfig(o: MachineOptions): MachineConfig {
  const accel = parseAccel(o.accel);
  const cpus = o.cpus ?? 1;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > 16) throw new UsageError(`--cpus: ${cpus} is not a number from 1 to 16`);
  const memory = parseSize(o.memory ?? '512M', '--memory');
  if (memory < MIB) throw new UsageError(`--memory: ${memory} bytes is less than the minimum of 1M`);
  if (memory > totalmem()) throw new UsageError(`--memory: ${Math.floor(memory / MIB)}M is more than this host has (${Math.floor(totalmem() / MIB)}M)`);
  if (memory > 3 * 1024 * MIB) throw new UsageError(`--memory: ${Math.floor(memory / MIB)}M is more than the 3G this version supports`);
  if (o.kernel !== undefined) checkFile(o.kernel, '--kernel', false);
  const { machine: wanted, properties } = splitMachine(o.machine);
  const { arch, machine } = chooseArch(o, wanted as MachineName | undefined);
  const cpu = chooseCpu(arch, o.cpu);
  const board = boardChoice(arch, machine, properties);
  if (o.initrd !== undefined) {
    if (o.kernel === undefined) throw new UsageError('--initrd: needs --kernel');
    checkFile(o.initrd, '--initrd', false);
  }
  if (o.append !== undefined && o.kernel === undefined) throw new UsageError('--append: needs --kernel');
  if (o.dtb !== undefined) {
    if (machine !== 'virt') throw new UsageError(`--dtb: machine ${machine} has no device tree`);
    checkFile(o.dtb, '--dtb', false);
  }
  const disks = drives(o, machine);
  const notes: string[] = [];
  const firmware = arch === 'x86_64' ? chooseFirmware(o, machine, disks, notes) : chooseVirtFirmware(o, arch, disks, notes);
  const clock = o.clock ?? 'host';
  if (clock !== 'host' && clock !== 'virtual') throw new UsageError(`--clock: '${String(clock)}' is not available (host, virtual are)`);
  // Runs under a virtual clock are to be repeatable.
  const rtc = o.rtc ?? (clock === 'virtual' ? new Date(Date.UTC(2020, 0, 1)) : new Date());
  if (Number.isNaN(rtc.getTime())) throw new UsageError('--rtc: not a time (example: 2026-01-31T12:00:00Z)');
  if (accel.name === 'kvm' && clock === 'virtual') throw new UsageError('--clock: virtual counts instructions, which kvm does not (use --accel jit or interp)');
  const vga = o.vga ?? (o.kernel === undefined ? 'std' : 'none');
  if (vga !== 'std' && vga !== 'virtio' && vga !== 'none') throw new UsageError(`--vga: '${String(vga)}' is not available (std, virtio, none are)`);
  if (machine === 'microvm' && vga !== 'none') throw new UsageError(`--vga: machine microvm has no PCI for '${vga}' (--device virtio-gpu has a display)`);
  return {
    accel,
    switchable: o.switchable ?? false,
    arch,
    machine,
    board,
    cpu,
    cpus,
    memory: Math.floor(memory / 4096) * 4096,
    kernel: o.kernel ?? null,
    initrd: o.initrd ?? null,
    append: o.append ?? '',
    dtb: o.dtb ?? null,
    firmware,
    notes,
    disks,
    net: parseNets(o.net ?? []),
    vga,
    shares: resolveShares(o.shares ?? [], commaParts),
    devices: o.devices ?? [],
    noReboot: o.noReboot ?? false,
    rtc: rtc.getTime(),
    clock,
    aot: resolveAot(o),
    debug: o.debug ?? {},
  };
}
