/** Guest images that `node scripts/guests.mjs` has fetched, and whether this host can run machines at all. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadNative } from '#lib/native.js';

export interface Guests {
  kernel: string;
  initramfs: string;
  /** The same with virtio drivers. */
  initramfsModules: string;
  /** Debian's kernel for any hardware, and an initramfs with the drivers of a PC's disks. */
  kernelGeneric?: string;
  initramfsStorage?: string;
  /** With the drivers of input devices, displays, shared folders, sockets and so on, for the same kernel. */
  initramfsDesk?: string;
  initramfsUsb?: string;
  /** 32-bit kernel without PAE, and busybox for it; not everybody can fetch them. */
  kernel386?: string;
  initramfs386?: string;
  /** Debian's arm64 cloud kernel, and busybox for it without and with virtio drivers. */
  kernelArm64?: string;
  initramfsArm64?: string;
  initramfsArm64Modules?: string;
  /** GRUB's modules for UEFI on arm64. */
  grubArm64?: string;
  /** A RISC-V kernel and busybox for it, from the guest set. */
  kernelRiscv64?: string;
  initramfsRiscv64?: string;
  /** Debian 13's kernel for RISC-V, which has drivers for AIA, and busybox with virtio drivers for it. */
  kernelRiscv64Debian?: string;
  initramfsRiscv64Debian?: string;
  /** edk2 for RISC-V (its code; the variables' template is beside it), and GRUB's modules. */
  uefiRiscv64?: string;
  grubRiscv64?: string;
}

const LIST = fileURLToPath(new URL('../../.demo/guests.json', import.meta.url));

function addonProblem(): string | null {
  try {
    loadNative();
    return null;
  } catch (e) {
    return (e as Error).message;
  }
}

/** Why tests that need the addon are skipped, or null. */
export const noAddon = addonProblem();

function guestProblem(): string | null {
  if (noAddon !== null) return noAddon;
  if (!existsSync(LIST)) return 'no guest images: run node scripts/guests.mjs';
  const list = JSON.parse(readFileSync(LIST, 'utf8')) as Partial<Guests>;
  for (const k of ['kernel', 'initramfs', 'initramfsModules'] as const) {
    const file = list[k];
    if (file === undefined || !existsSync(file)) return `no ${k}: run node scripts/guests.mjs`;
  }
  return null;
}

/** Why tests that boot Linux are skipped, or null. */
export const noGuests = guestProblem();

export const guests: Guests =
  noGuests === null ? (JSON.parse(readFileSync(LIST, 'utf8')) as Guests) : { kernel: '', initramfs: '', initramfsModules: '' };

/** Says why a file's tests do not run, once, and gives the condition for skipIf. */
export function skipFor(reason: string | null): boolean {
  if (reason !== null) process.stderr.write(`skipped: ${reason}\n`);
  return reason !== null;
}

/** Whether a host program is there. */
export function hostTool(...names: string[]): string | null {
  const dirs = [...(process.env.PATH ?? '').split(':'), '/sbin', '/usr/sbin'];
  const missing = names.filter((n) => !dirs.some((d) => existsSync(`${d}/${n}`)));
  return missing.length === 0 ? null : `${missing.join(', ')} not installed`;
}
