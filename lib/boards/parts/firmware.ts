/** What firmware and kernels find out about the machine: CMOS and fw_cfg. */
import { E820, HIGH_RAM, ramLayout, type RamLayout } from '../../boot/e820.js';
import { readFileSync } from 'node:fs';
import { type AcpiBoard, type AcpiTables, buildAcpi } from '../../boot/acpi.js';
import { smbiosAnchor, smbiosTables } from '../../boot/smbios.js';
import { LOADER_FILE, loaderScript, RSDP_FILE, TABLES_FILE } from '../../boot/table-loader.js';
import { FW_CFG_PORTS, FwCfg, FwCfgKey } from '../../devices/firmware/fw-cfg.js';
import { le32 } from '../../devices/pci/pci.js';
import type { BusParts } from './bus-parts.js';
import type { Parts } from './parts.js';

const VERSION = (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version;
/** Of every machine: so that a guest sees the same hardware at each start. */
const UUID = Uint8Array.from(Buffer.from('766d782d616363656c80000000000001', 'hex'));
/** CMOS equipment byte. */
const CMOS_EQUIPMENT = 0x14;
const EQUIPMENT_FPU = 0x02;
const EQUIPMENT_MOUSE = 0x04;
/** SeaBIOS tries again after this long when nothing is bootable. */
const BOOT_RETRY_MS = 60_000;

/** Memory sizes and CPU count in CMOS, as PC firmware reads them. */
export function fillCmos(p: Parts): void {
  const { low, high } = ramLayout(p.host.config.machine, p.host.config.memory);
  const put16 = (at: number, v: number): void => {
    const n = Math.min(65535, Math.max(0, Math.floor(v)));
    p.rtc.setNvram(at, n & 0xff);
    p.rtc.setNvram(at + 1, n >>> 8);
  };
  p.equipment = EQUIPMENT_MOUSE | EQUIPMENT_FPU;
  p.rtc.setNvram(CMOS_EQUIPMENT, p.equipment);
  put16(0x15, 640);
  put16(0x17, (low - 0x10_0000) / 1024);
  put16(0x30, (low - 0x10_0000) / 1024);
  put16(0x34, (low - 0x100_0000) / 65536);
  // Above 4 GiB, in units of 64 KiB: three bytes.
  put16(0x5b, high / 65536);
  p.rtc.setNvram(0x5d, Math.floor(high / 65536) >>> 16);
  p.rtc.setNvram(0x5f, p.host.config.cpus - 1);
}

/** The fw_cfg device with what it always has. Parts that come later may add files (p.fw.addFile). */
export function addFwCfg(p: Parts): void {
  const c = p.host.config;
  const ram = ramLayout(c.machine, c.memory);
  p.fw = p.add(new FwCfg({ memory: p.memory, ramSize: ram.low, cpus: c.cpus, uuid: UUID }));
  p.memory.mapPorts(0x510, FW_CFG_PORTS, p.fw.ports);
  p.fw.addFile('etc/e820', e820(ram));
  const smbios = smbiosTables({ machine: c.machine, version: VERSION, cpus: c.cpus, ram, uuid: UUID, uefi: c.firmware?.kind === 'uefi' });
  p.fw.addFile('etc/smbios/smbios-tables', smbios);
  p.fw.addFile('etc/smbios/smbios-anchor', smbiosAnchor(smbios));
  // Sleep states S0-S5: 80h marks the supported ones, the low bits are SLP_TYP. No suspend.
  p.fw.addFile('etc/system-states', Uint8Array.of(0x80, 0, 0, 1, 2, 0x80));
  p.fw.addFile('etc/boot-fail-wait', Uint8Array.from(le32(BOOT_RETRY_MS)));
}

/** ACPI tables for firmware, made anew when it reads them: they depend on where it has put the PM registers. */
export function addAcpiFiles(p: Parts, board: () => AcpiBoard): void {
  addAcpiTables(p, () => buildAcpi(board()));
}

export function addAcpiTables(p: BusParts, build: () => AcpiTables): void {
  p.fw.addComputedFile(TABLES_FILE, () => build().tables);
  p.fw.addComputedFile(RSDP_FILE, () => build().rsdp);
  p.fw.addComputedFile(LOADER_FILE, () => loaderScript(build()));
}

/** What depends on all other parts: the boot order. Comes last. */
export function finishFwCfg(p: Parts): void {
  if (p.bootOrder.length > 0) p.fw.addFile('bootorder', Buffer.from(`${p.bootOrder.join('\n')}\0`));
}

/** Kernel, initrd and command line for firmware that loads them itself (UEFI). */
export function addKernelItems(p: BusParts): void {
  const c = p.host.config;
  if (c.kernel === null || c.firmware === null) return;
  const kernel = readFileSync(c.kernel);
  const item = (size: FwCfgKey, data: FwCfgKey, bytes: Uint8Array): void => {
    p.fw.addNumber(size, bytes.length, 4);
    p.fw.add(data, bytes);
  };
  // A bzImage is its setup sectors and the rest (Linux boot protocol).
  const setup = kernel.length > 0x206 && kernel.readUInt32LE(0x202) === 0x5372_6448 ? ((kernel[0x1f1] || 4) + 1) * 512 : 0;
  item(FwCfgKey.SETUP_SIZE, FwCfgKey.SETUP_DATA, kernel.subarray(0, setup));
  item(FwCfgKey.KERNEL_SIZE, FwCfgKey.KERNEL_DATA, kernel.subarray(setup));
  item(FwCfgKey.CMDLINE_SIZE, FwCfgKey.CMDLINE_DATA, Buffer.from(`${c.append}\0`));
  if (c.initrd !== null) item(FwCfgKey.INITRD_SIZE, FwCfgKey.INITRD_DATA, readFileSync(c.initrd));
}

/** The PCI window above 4 GiB: from the end of RAM to the end of the CPU's addresses. */
export function pciHole64(ram: RamLayout, physBits: number): readonly [number, number] {
  const gib = 2 ** 30;
  const from = Math.ceil((HIGH_RAM + ram.high) / gib) * gib;
  return [from, Math.max(from, 2 ** physBits) - 1];
}

/** RAM as the firmware finds it: what it keeps for itself and the legacy hole it knows. */
function e820({ low, high }: RamLayout): Buffer {
  const map = [{ base: 0, length: low }, ...(high > 0 ? [{ base: HIGH_RAM, length: high }] : [])];
  const b = Buffer.alloc(map.length * 20);
  map.forEach((r, i) => {
    b.writeBigUInt64LE(BigInt(r.base), i * 20);
    b.writeBigUInt64LE(BigInt(r.length), i * 20 + 8);
    b.writeUInt32LE(E820.RAM, i * 20 + 16);
  });
  return b;
}
