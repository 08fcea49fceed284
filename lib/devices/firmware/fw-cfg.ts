/**
 * fw_cfg, the firmware configuration device that SeaBIOS, OVMF and Linux (qemu_fw_cfg) know ("QEMU Firmware Configuration
 * (fw_cfg) Device" specification): at ports selector 510h, data 511h, DMA address 514h; in memory data, selector (big-endian) and
 * DMA address at 0, 8 and 16.
 */
import type { Device, GuestMemory, IoHandler, SavedState } from '../device.js';
import { VmxError } from '../../errors.js';
import { int, loadState, saveState, u16, u32, type Rule, type Schema } from '../saved.js';

const VERSION = 1;

/** Port offsets from 510h. */
const enum Port {
  SELECT = 0,
  DATA = 1,
  DMA_HIGH = 4,
  DMA_LOW = 8,
  LENGTH = 12,
}
export const FW_CFG_PORTS: number = Port.LENGTH;

/** Offsets of the registers in memory. */
const enum Mmio {
  DATA = 0,
  SELECT = 8,
  DMA_HIGH = 16,
  DMA_LOW = 20,
  LENGTH = 24,
}
export const FW_CFG_MMIO_BYTES: number = Mmio.LENGTH;

/** Item keys. */
export const enum FwCfgKey {
  SIGNATURE = 0x00,
  ID = 0x01,
  UUID = 0x02,
  RAM_SIZE = 0x03,
  NOGRAPHIC = 0x04,
  NB_CPUS = 0x05,
  KERNEL_ADDR = 0x07,
  KERNEL_SIZE = 0x08,
  INITRD_ADDR = 0x0a,
  INITRD_SIZE = 0x0b,
  BOOT_DEVICE = 0x0c,
  BOOT_MENU = 0x0e,
  MAX_CPUS = 0x0f,
  KERNEL_ENTRY = 0x10,
  KERNEL_DATA = 0x11,
  INITRD_DATA = 0x12,
  CMDLINE_ADDR = 0x13,
  CMDLINE_SIZE = 0x14,
  CMDLINE_DATA = 0x15,
  SETUP_ADDR = 0x16,
  SETUP_SIZE = 0x17,
  SETUP_DATA = 0x18,
  FILE_DIR = 0x19,
  FILE_FIRST = 0x20,
  FILE_LAST = 0x3fff,
  /** x86 only. */
  ACPI_TABLES = 0x8000,
  SMBIOS = 0x8001,
  IRQ0_OVERRIDE = 0x8002,
  E820 = 0x8003,
}

/** Bits of the select key: the write channel of old is accepted and means nothing. */
const WRITE_CHANNEL = 0x4000;

/** DMA control. */
const enum Dma {
  ERROR = 0x01,
  READ = 0x02,
  SKIP = 0x04,
  SELECT = 0x08,
  WRITE = 0x10,
}

/** ID item: traditional interface and DMA. */
const FEATURES = 3;
const DMA_SIGNATURE_HIGH = 0x51454d55;
const DMA_SIGNATURE_LOW = 0x20434647;
const NAME_SIZE = 56;
const ENTRY_SIZE = 64;
/** DMA copies go in pieces, so that zero-filling a huge length needs no huge buffer. */
const CHUNK = 65536;

interface Item {
  data: Uint8Array;
  /** Null: read-only. */
  onWrite: ((data: Uint8Array, offset: number, length: number) => void) | null;
  /** Writable items go back to this on reset. */
  original: Uint8Array | null;
  /** Contents that depend on what the guest has set up: made when the guest selects the item. Their length is fixed (0: not made yet). */
  make: (() => Uint8Array) | null;
}

interface State {
  key: number;
  offset: number;
  dmaHigh: number;
  /** Contents of the items the guest may write: key and bytes in hexadecimal. */
  written: [number, string][];
}

const writtenRule: Rule<[number, string][]> = {
  save: (v) => v,
  load: (raw, at) => {
    const ok =
      Array.isArray(raw) &&
      raw.every(
        (e: unknown) =>
          Array.isArray(e) && e.length === 2 && Number.isInteger(e[0]) && typeof e[1] === 'string' && /^([0-9a-f]{2})*$/.test(e[1]),
      );
    if (!ok) throw new VmxError('ERR_BAD_STATE', `saved state: ${at} is not a list of items`);
    return raw as [number, string][];
  },
};

const SCHEMA: Schema<State> = { key: u16, offset: int(0, 2 ** 40), dmaHigh: u32, written: writtenRule };

export interface FwCfgOptions {
  memory: GuestMemory;
  ramSize: number;
  cpus: number;
  maxCpus?: number;
  /** 16 bytes. */
  uuid?: Uint8Array;
}

export class FwCfg implements Device {
  readonly name = 'fw-cfg';
  /** 510h-51Bh. */
  readonly ports: IoHandler = {
    read: (offset, size) => this.read(offset, size),
    write: (offset, size, value) => this.write(offset, size, value),
  };

  /** The same registers in memory. */
  readonly mmio: IoHandler = {
    read: (offset, size) => (offset < Mmio.SELECT ? this.readData(size) : offset >= Mmio.DMA_HIGH ? this.read(offset - Mmio.DMA_HIGH + Port.DMA_HIGH, size) : 0),
    write: (offset, size, value) => {
      if (offset === Mmio.SELECT && size === 2) this.select(((value & 0xff) << 8) | (value >>> 8));
      else if (offset >= Mmio.DMA_HIGH) this.write(offset - Mmio.DMA_HIGH + Port.DMA_HIGH, size, value);
    },
  };

  private readonly memory: GuestMemory;
  private readonly items = new Map<number, Item>();
  private readonly files: { name: string; key: number }[] = [];
  /** Files have come since the directory was made: it is made when somebody looks, for few guests do. */
  private newFiles = true;
  private readonly zeros = new Uint8Array(CHUNK);
  private readonly descriptor = new Uint8Array(16);

  private s: State = { key: 0, offset: 0, dmaHigh: 0, written: [] };
  /** The selected item. */
  private current: Item | null = null;

  constructor(o: FwCfgOptions) {
    this.memory = o.memory;
    this.add(FwCfgKey.SIGNATURE, Buffer.from('QEMU'));
    this.addNumber(FwCfgKey.ID, FEATURES, 4);
    this.add(FwCfgKey.UUID, o.uuid ?? new Uint8Array(16));
    this.addNumber(FwCfgKey.RAM_SIZE, o.ramSize, 8);
    this.addNumber(FwCfgKey.NOGRAPHIC, 0, 2);
    this.addNumber(FwCfgKey.NB_CPUS, o.cpus, 2);
    this.addNumber(FwCfgKey.MAX_CPUS, o.maxCpus ?? o.cpus, 2);
    this.addNumber(FwCfgKey.BOOT_MENU, 0, 2);
    this.select(0);
  }

  // ---- for the board ----

  /** Sets an item. With onWrite the guest may write it (DMA only); it is told what of `data` has changed. */
  add(key: number, data: Uint8Array, onWrite: Item['onWrite'] = null): void {
    this.items.set(key, { data, onWrite, original: onWrite ? data.slice() : null, make: null });
    if (this.s.key === key) this.current = this.items.get(key) ?? null;
  }

  /** A little-endian number of 2, 4 or 8 bytes. */
  addNumber(key: number, value: number, size: 2 | 4 | 8): void {
    const b = Buffer.alloc(8);
    b.writeBigUInt64LE(BigInt(value));
    this.add(key, new Uint8Array(b.subarray(0, size)));
  }

  /** Text with its final NUL. */
  addString(key: number, text: string): void {
    this.add(key, Buffer.from(`${text}\0`));
  }

  /** Adds or replaces a named file. Its key is the next free one and stays. */
  addFile(name: string, data: Uint8Array, onWrite: Item['onWrite'] = null): number {
    if (Buffer.byteLength(name) >= NAME_SIZE) throw new VmxError('ERR_FW_CFG_NAME', `fw_cfg file name too long: ${name}`);
    const known = this.files.find((f) => f.name === name);
    const key = known?.key ?? FwCfgKey.FILE_FIRST + this.files.length;
    if (key > FwCfgKey.FILE_LAST) throw new VmxError('ERR_FW_CFG_FULL', 'too many fw_cfg files');
    if (!known) this.files.push({ name, key });
    this.add(key, data, onWrite);
    this.newFiles = true;
    return key;
  }

  /** Adds a file that is made whenever the guest selects it, always of the same length. */
  addComputedFile(name: string, make: () => Uint8Array): number {
    const key = this.addFile(name, new Uint8Array(0));
    const item = this.items.get(key);
    if (item) item.make = make;
    return key;
  }

  /** Contents of a file, as the guest may have written it. */
  file(name: string): Uint8Array | null {
    const f = this.files.find((x) => x.name === name);
    return f === undefined ? null : this.contents(f.key);
  }

  private contents(key: number): Uint8Array {
    const item = this.items.get(key)!;
    if (item.make !== null && item.data.length === 0) item.data = item.make();
    return item.data;
  }

  /** Sorted by name: firmware of different boards then sees the same order whatever was added first. */
  private makeDirectory(): void {
    this.newFiles = false;
    const sorted = [...this.files].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    const dir = Buffer.alloc(4 + ENTRY_SIZE * sorted.length);
    dir.writeUInt32BE(sorted.length, 0);
    sorted.forEach((f, i) => {
      const at = 4 + ENTRY_SIZE * i;
      dir.writeUInt32BE(this.contents(f.key).length, at);
      dir.writeUInt16BE(f.key, at + 4);
      dir.write(f.name, at + 8, NAME_SIZE - 1);
    });
    this.add(FwCfgKey.FILE_DIR, dir);
  }

  // ---- Device ----

  reset(): void {
    for (const item of this.items.values()) {
      if (item.original) item.data.set(item.original);
    }
    this.s.dmaHigh = 0;
    this.select(0);
  }

  save(): SavedState {
    const written: [number, string][] = [];
    for (const [key, item] of this.items) {
      if (item.onWrite) written.push([key, Buffer.from(item.data).toString('hex')]);
    }
    return saveState(SCHEMA, VERSION, { ...this.s, written });
  }

  restore(saved: SavedState): void {
    const s = loadState(this.name, SCHEMA, VERSION, saved);
    for (const [key, hex] of s.written) {
      const item = this.items.get(key);
      if (!item?.onWrite || item.data.length !== hex.length / 2) {
        throw new VmxError('ERR_BAD_STATE', `saved state: fw-cfg item ${key} does not fit this machine`);
      }
    }
    for (const [key, hex] of s.written) this.items.get(key)?.data.set(Buffer.from(hex, 'hex'));
    this.select(s.key);
    this.s = { ...s, written: [] };
  }

  // ---- guest side ----

  private select(key: number): void {
    this.s.key = key;
    this.s.offset = 0;
    if (this.newFiles && (key & ~WRITE_CHANNEL) === (FwCfgKey.FILE_DIR as number)) this.makeDirectory();
    const item = this.items.get(key & ~WRITE_CHANNEL) ?? null;
    if (item?.make) {
      const data = item.make();
      if (item.data.length === 0 || data.length === item.data.length) item.data = data;
    }
    this.current = item;
  }

  private read(offset: number, size: number): number {
    switch (offset) {
      case Port.DATA:
        return this.readData(size);
      case Port.DMA_HIGH:
        return size === 4 ? swap32(DMA_SIGNATURE_HIGH) : 0;
      case Port.DMA_LOW:
        return size === 4 ? swap32(DMA_SIGNATURE_LOW) : 0;
      default:
        return 0;
    }
  }

  /** Bytes in string order: the first is the lowest. Past the end there are zeros. */
  private readData(size: number): number {
    const data = this.current?.data;
    let v = 0;
    for (let i = 0; i < size; i++) {
      if (data && this.s.offset < data.length) v |= data[this.s.offset++] << (8 * i);
    }
    return v >>> 0;
  }

  private write(offset: number, size: number, value: number): void {
    if (offset === Port.SELECT && size >= 2) {
      this.select(value & 0xffff);
    } else if (offset === Port.DMA_HIGH && size === 4) {
      this.s.dmaHigh = swap32(value);
    } else if (offset === Port.DMA_LOW && size === 4) {
      const high = this.s.dmaHigh;
      this.s.dmaHigh = 0;
      this.dma(high * 0x100000000 + swap32(value));
    }
  }

  /** Runs the descriptor { control, length: u32; address: u64 }, all big-endian, and writes back the control word. */
  private dma(at: number): void {
    const d = this.descriptor;
    // Addresses from 2^52 on are not RAM on any machine, and not exact as numbers.
    if (at >= 2 ** 52 || !this.memory.valid(at, 16) || !this.memory.readInto(at, d)) return;
    const view = new DataView(d.buffer);
    const control = view.getUint32(0);
    const length = view.getUint32(4);
    const address = view.getUint32(8) * 0x100000000 + view.getUint32(12);
    const ok = this.transfer(control, length, address);
    this.memory.write32(at, swap32(ok ? 0 : Dma.ERROR));
  }

  private transfer(control: number, length: number, address: number): boolean {
    if (control & Dma.SELECT) this.select(control >>> 16);
    if (control & Dma.READ) return this.dmaRead(length, address);
    if (control & Dma.WRITE) return this.dmaWrite(length, address);
    if (control & Dma.SKIP) this.s.offset = Math.min(this.s.offset + length, 2 ** 40);
    return true;
  }

  private dmaRead(length: number, address: number): boolean {
    if (address >= 2 ** 52 || !this.memory.valid(address, length)) return false;
    const data = this.current?.data ?? this.zeros.subarray(0, 0);
    const n = Math.min(length, Math.max(0, data.length - this.s.offset));
    if (n > 0 && !this.memory.writeFrom(address, data.subarray(this.s.offset, this.s.offset + n))) return false;
    this.s.offset += n;
    for (let done = n; done < length; done += CHUNK) {
      if (!this.memory.writeFrom(address + done, this.zeros.subarray(0, Math.min(CHUNK, length - done)))) return false;
    }
    return true;
  }

  private dmaWrite(length: number, address: number): boolean {
    const item = this.current;
    const start = this.s.offset;
    if (!item?.onWrite || start + length > item.data.length) return false;
    if (address >= 2 ** 52 || !this.memory.valid(address, length)) return false;
    if (!this.memory.readInto(address, item.data.subarray(start, start + length))) return false;
    this.s.offset += length;
    item.onWrite(item.data, start, length);
    return true;
  }
}

function swap32(v: number): number {
  return (((v & 0xff) << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0;
}
