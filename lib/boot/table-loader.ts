/**
 * The linker/loader script by which firmware puts ACPI tables from fw_cfg files into memory of its own choice ("QEMU
 * Firmware Configuration Device" specification; the interface SeaBIOS and edk2 implement): allocate a file's memory, add
 * its address to pointers, compute checksums. Entries of 128 bytes.
 */
import { ACPI_ALIGN, type AcpiTables, type Pointer } from './acpi.js';

const ENTRY = 128;
const NAME = 56;
const enum Command { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3 }
/** Where to allocate: anywhere below 4 GiB, or in F0000h-FFFFFh where the RSDP is searched. */
const enum Zone { HIGH = 1, FSEG = 2 }

export const TABLES_FILE = 'etc/acpi/tables';
export const RSDP_FILE = 'etc/acpi/rsdp';
export const LOADER_FILE = 'etc/table-loader';

export function loaderScript(t: AcpiTables): Buffer {
  const entries: Buffer[] = [];
  const entry = (command: Command): Buffer => {
    const e = Buffer.alloc(ENTRY);
    e.writeUInt32LE(command, 0);
    entries.push(e);
    return e;
  };
  const name = (e: Buffer, at: number, file: string): void => void e.write(file, at, NAME - 1, 'latin1');
  const allocate = (file: string, align: number, zone: Zone): void => {
    const e = entry(Command.ALLOCATE);
    name(e, 4, file);
    e.writeUInt32LE(align, 4 + NAME);
    e[8 + NAME] = zone;
  };
  const pointer = (file: string, { at, size }: Pointer): void => {
    const e = entry(Command.ADD_POINTER);
    name(e, 4, file);
    name(e, 4 + NAME, TABLES_FILE);
    e.writeUInt32LE(at, 4 + 2 * NAME);
    e[8 + 2 * NAME] = size;
  };
  const checksum = (file: string, at: number, start: number, length: number): void => {
    const e = entry(Command.ADD_CHECKSUM);
    name(e, 4, file);
    e.writeUInt32LE(at, 4 + NAME);
    e.writeUInt32LE(start, 8 + NAME);
    e.writeUInt32LE(length, 12 + NAME);
  };
  allocate(RSDP_FILE, 16, Zone.FSEG);
  allocate(TABLES_FILE, ACPI_ALIGN, Zone.HIGH);
  for (const p of t.pointers) pointer(TABLES_FILE, p);
  for (const c of t.checksums) checksum(TABLES_FILE, c.start + 9, c.start, c.length);
  for (const p of t.rsdpPointers) pointer(RSDP_FILE, p);
  checksum(RSDP_FILE, 8, 0, 20);
  checksum(RSDP_FILE, 32, 0, t.rsdp.length);
  return Buffer.concat(entries);
}
