/** What runs first on RISC-V's board virt: an SBI (OpenSBI, or the machine's own), and UEFI above it where no kernel is given. */
import { findOpenSbi, findRiscvUefi, type FirmwareConfig, isUefiVolume, virtFirmwareFile } from '../boot/firmware.js';
import { UsageError } from '../errors.js';

const OWN_SBI: FirmwareConfig = { kind: 'sbi', code: '', varsTemplate: null, vars: null };

/**
 * @param want value of --firmware @param kernel one is given @param bootable there is something else to boot
 * @returns null: the kernel begins in M-mode @throws UsageError
 */
export function chooseRiscvFirmware(want: string, kernel: boolean, bootable: boolean, notes: string[]): FirmwareConfig | null {
  if (want === 'seabios' || want === 'ovmf' || want === 'aavmf') throw new UsageError(`--firmware: '${want}' is not for riscv64 (auto, edk2, opensbi, sbi, none or a file are)`);
  const file = want === 'auto' || want === 'edk2' || want === 'opensbi' || want === 'sbi' || want === 'none' ? null : want;
  if (want === 'edk2' || (want === 'auto' && !kernel) || (file !== null && isUefiVolume(file))) {
    if (!kernel && !bootable && want === 'auto') throw new UsageError('boot: nothing to boot (give an image, --disk or --kernel)');
    const uefi = file === null ? findRiscvUefi() : virtFirmwareFile(file, 'riscv64');
    const sbi = findOpenSbi()?.code ?? null;
    if (want === 'auto') notes.push(`firmware: edk2 (${uefi.code}) above ${sbi ?? 'the built-in SBI'}`);
    return { ...uefi, sbi };
  }
  if (!kernel) throw new UsageError(`--firmware: ${want} needs --kernel`);
  if (want === 'none') return null;
  if (want === 'sbi') return OWN_SBI;
  if (file !== null) return { kind: 'opensbi', code: file, varsTemplate: null, vars: null };
  const fw = findOpenSbi();
  if (fw === null && want === 'opensbi') throw new UsageError('--firmware: OpenSBI is not installed (Debian: apt install opensbi); name its fw_dynamic.bin with --firmware FILE, or use --firmware sbi');
  if (want === 'auto') notes.push(fw === null ? 'firmware: the built-in SBI (OpenSBI is not installed)' : `firmware: OpenSBI (${fw.code})`);
  return fw ?? OWN_SBI;
}
