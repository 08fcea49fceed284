/**
 * Which firmware a machine starts with, and where its files are: SeaBIOS for BIOS boot, OVMF (edk2) for UEFI. Both are
 * used as the distributions ship them.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { UsageError } from '../errors.js';

export type FirmwareKind = 'bios' | 'uefi' | 'opensbi' | 'sbi';

export interface FirmwareConfig {
  kind: FirmwareKind;
  /** ROM image or UEFI code volume; of kind 'sbi', which is the machine's own, ''. */
  code: string;
  /** Initial contents of the variable store, for UEFI with a volume of its own; null if `code` holds everything. */
  varsTemplate: string | null;
  /** File that keeps the variables, or null: they are forgotten at the end. */
  vars: string | null;
  /** RISC-V's UEFI: the OpenSBI below it; null: the machine's own SBI. */
  sbi?: string | null;
}

/** Folders that hold firmware: Debian, Fedora, Arch, openSUSE, Homebrew (Apple silicon and Intel), MacPorts, NixOS. */
const FOLDERS = [
  '/usr/share/seabios', '/usr/share/OVMF', '/usr/share/ovmf', '/usr/share/qemu', '/usr/share/qemu-kvm', '/usr/share/edk2/x64', '/usr/share/edk2/ovmf',
  '/usr/share/edk2-ovmf/x64', '/usr/share/edk2-ovmf', '/usr/local/share/qemu', '/opt/homebrew/share/qemu', '/opt/local/share/qemu', '/run/current-system/sw/share/qemu',
];
const BIOS_NAMES = ['bios-256k.bin', 'bios.bin'];
/** Code volume and variable template that belong together. */
const UEFI_NAMES: readonly (readonly [string, string])[] = [
  ['OVMF_CODE_4M.fd', 'OVMF_VARS_4M.fd'],
  ['OVMF_CODE.4m.fd', 'OVMF_VARS.4m.fd'],
  ['OVMF_CODE.fd', 'OVMF_VARS.fd'],
  ['ovmf-x86_64-code.bin', 'ovmf-x86_64-vars.bin'],
  ['edk2-x86_64-code.fd', 'edk2-i386-vars.fd'],
];

const ADVICE =
  process.platform === 'darwin' ? "'brew install qemu' brings both SeaBIOS and OVMF" : "install your distribution's packages (Debian: apt install seabios ovmf)";

function found(folders: readonly string[], name: string): string | null {
  for (const f of folders) if (existsSync(join(f, name))) return join(f, name);
  return null;
}

export function findBios(folders: readonly string[] = FOLDERS): FirmwareConfig {
  for (const name of BIOS_NAMES) {
    const code = found(folders, name);
    if (code !== null) return { kind: 'bios', code, varsTemplate: null, vars: null };
  }
  throw new UsageError(`--firmware: SeaBIOS is not installed; ${ADVICE}, or name a file with --firmware FILE`);
}

export function findUefi(folders: readonly string[] = FOLDERS): FirmwareConfig {
  for (const [name, template] of UEFI_NAMES) {
    const code = found(folders, name);
    if (code === null) continue;
    const varsTemplate = found([dirname(code), ...folders], template);
    if (varsTemplate !== null) return { kind: 'uefi', code, varsTemplate, vars: null };
  }
  throw new UsageError(`--firmware: OVMF is not installed; ${ADVICE}, or name a file with --firmware FILE`);
}

/** UEFI for ARM64: Debian, Fedora; openSUSE; QEMU's own copy. */
const AAVMF_FILES: readonly (readonly [string, string | null])[] = [
  ['/usr/share/AAVMF/AAVMF_CODE.fd', '/usr/share/AAVMF/AAVMF_VARS.fd'],
  ['/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw', '/usr/share/edk2/aarch64/vars-template-pflash.raw'],
  ['/usr/share/qemu/aavmf-aarch64-code.bin', '/usr/share/qemu/aavmf-aarch64-vars.bin'],
  ['/usr/share/qemu/edk2-aarch64-code.fd', '/usr/share/qemu/edk2-arm-vars.fd'],
  ['/opt/homebrew/share/qemu/edk2-aarch64-code.fd', '/opt/homebrew/share/qemu/edk2-arm-vars.fd'],
  ['/usr/share/qemu-efi-aarch64/QEMU_EFI.fd', null],
];

/** AAVMF, edk2's UEFI for the board virt. @throws UsageError if it is not installed */
export function findAavmf(files: readonly (readonly [string, string | null])[] = AAVMF_FILES): FirmwareConfig {
  const there = files.find(([code, vars]) => existsSync(code) && (vars === null || existsSync(vars)));
  if (there === undefined) throw new UsageError('--firmware: AAVMF, UEFI for aarch64, is not installed (Debian: apt install qemu-efi-aarch64); name a file with --firmware FILE');
  return { kind: 'uefi', code: there[0], varsTemplate: there[1], vars: null };
}

/** UEFI for RISC-V: Debian; Fedora; QEMU's own copy. */
const RISCV_UEFI_FILES: readonly (readonly [string, string])[] = [
  ['/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd', '/usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd'],
  ['/usr/share/edk2/riscv/RISCV_VIRT_CODE.fd', '/usr/share/edk2/riscv/RISCV_VIRT_VARS.fd'],
  ['/usr/share/qemu/edk2-riscv-code.fd', '/usr/share/qemu/edk2-riscv-vars.fd'],
  ['/opt/homebrew/share/qemu/edk2-riscv-code.fd', '/opt/homebrew/share/qemu/edk2-riscv-vars.fd'],
];

/** edk2's UEFI for RISC-V's board virt. @throws UsageError if it is not installed */
export function findRiscvUefi(files: readonly (readonly [string, string])[] = RISCV_UEFI_FILES): FirmwareConfig {
  const there = files.find((pair) => pair.every((f) => existsSync(f)));
  if (there === undefined) throw new UsageError('--firmware: edk2, UEFI for riscv64, is not installed (Debian: apt install qemu-efi-riscv64); name a file with --firmware FILE');
  return { kind: 'uefi', code: there[0], varsTemplate: there[1], vars: null };
}

/** The file begins with a UEFI firmware volume. False for one that cannot be read: whoever loads it will say so. */
export function isUefiVolume(file: string): boolean {
  const signature = Buffer.alloc(4);
  try {
    const fd = openSync(file, 'r');
    readSync(fd, signature, 0, 4, FV_SIGNATURE);
    closeSync(fd);
  } catch {
    return false;
  }
  return signature.toString('latin1') === '_FVH';
}

/** Largest firmware of the boards virt: half of the flash. */
const VIRT_FLASH = { aarch64: 0x400_0000, riscv64: 0x200_0000 };

/** A UEFI volume for a board virt that the user names; its variables' template beside it. */
export function virtFirmwareFile(file: string, arch: keyof typeof VIRT_FLASH): FirmwareConfig {
  const most = VIRT_FLASH[arch];
  let size: number;
  try {
    size = statSync(file).size;
  } catch (e) {
    throw new UsageError(`--firmware: ${file}: ${(e as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (e as Error).message}`, { cause: e });
  }
  if (size < ROM_MIN || size > most) throw new UsageError(`--firmware: ${file}: UEFI for ${arch} has 64K to ${most >> 20}M, this file has ${size} bytes`);
  const template = join(dirname(file), basename(file).replace(/CODE/, 'VARS').replace(/-code\./, '-vars.').replace(/\.(ms|snakeoil)\./, '.'));
  return { kind: 'uefi', code: file, varsTemplate: template !== file && existsSync(template) ? template : null, vars: null };
}

/** Debian, Fedora, Arch; QEMU's own copy. */
const OPENSBI_FILES: readonly string[] = [
  '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin', '/usr/share/opensbi/generic/firmware/fw_dynamic.bin', '/usr/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin',
  '/usr/local/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin', '/opt/homebrew/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin',
];

/** OpenSBI, with dynamic information; null if it is not installed. */
export function findOpenSbi(files: readonly string[] = OPENSBI_FILES): FirmwareConfig | null {
  const code = files.find((f) => existsSync(f));
  return code === undefined ? null : { kind: 'opensbi', code, varsTemplate: null, vars: null };
}

/** Sizes of ROM images: whole pages, 64 KiB to 16 MiB. */
const PAGE = 4096;
const ROM_MIN = 0x1_0000;
const ROM_MAX = 0x100_0000;
/** Offset of the signature of a UEFI firmware volume ("_FVH", PI Specification 1.7, vol. 3, 3.2.1). */
const FV_SIGNATURE = 40;

/** A file named by the user: a UEFI volume says so itself, anything else is a BIOS ROM. */
export function firmwareFile(file: string): FirmwareConfig {
  const head = Buffer.alloc(64);
  let size: number;
  try {
    const fd = openSync(file, 'r');
    size = fstatSync(fd).size;
    readSync(fd, head, 0, head.length, 0);
    closeSync(fd);
  } catch (e) {
    throw new UsageError(`--firmware: ${file}: ${(e as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (e as Error).message}`, { cause: e });
  }
  if (size % PAGE) throw new UsageError(`--firmware: ${file}: ${size} bytes is no size of a ROM image`);
  if (size < ROM_MIN || size > ROM_MAX) throw new UsageError(`--firmware: ${file}: a ROM image has 64K to 16M, this file has ${size} bytes`);
  if (head.toString('latin1', FV_SIGNATURE, FV_SIGNATURE + 4) !== '_FVH') return { kind: 'bios', code: file, varsTemplate: null, vars: null };
  const sibling = basename(file).replace(/CODE/, 'VARS').replace(/\.(ms|secboot|snakeoil)\./, '.').replace(/-code\./, '-vars.');
  const template = join(dirname(file), sibling);
  return { kind: 'uefi', code: file, varsTemplate: sibling !== basename(file) && existsSync(template) ? template : null, vars: null };
}

/** Folder of files the program keeps for the user: XDG Base Directory Specification, or what macOS and Windows use. */
export function dataFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'vmx-accel');
  if (process.platform === 'win32') return join(env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'vmx-accel');
  return join(env.XDG_DATA_HOME?.startsWith('/') ? env.XDG_DATA_HOME : join(homedir(), '.local', 'share'), 'vmx-accel');
}

/**
 * Where the UEFI variables of a machine are kept unless --firmware-vars names a file: one file per board, firmware and
 * first disk. Moving the disk image makes a new machine.
 */
export function defaultVarsFile(machine: string, firmware: FirmwareConfig, disk: string): string {
  const id = createHash('sha256').update(JSON.stringify([machine, basename(firmware.code), resolve(disk)])).digest('hex').slice(0, 16);
  return join(dataFolder(), 'firmware-vars', `${basename(disk).replace(/[^\w.-]/g, '_').slice(0, 40)}-${id}.fd`);
}
