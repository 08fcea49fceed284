/**
 * PCI: configuration space, base address registers, MSI-X and INTx (PCI Local Bus Specification 3.0, chapter 6;
 * MSI-X: 6.8.2), and the bus with configuration mechanism #1 (3.2.2.3.2).
 */
import { VmxError } from '../../errors.js';
import type { Device, IoBus, IoHandler, SavedState } from '../device.js';

/** Configuration header registers. */
export const enum PciReg {
  VENDOR = 0x00,
  DEVICE = 0x02,
  COMMAND = 0x04,
  STATUS = 0x06,
  REVISION = 0x08,
  CLASS_PROG = 0x09,
  CLASS = 0x0a,
  CACHE_LINE_SIZE = 0x0c,
  HEADER_TYPE = 0x0e,
  BAR0 = 0x10,
  ROM = 0x30,
  SUBSYS_VENDOR = 0x2c,
  SUBSYS = 0x2e,
  CAPABILITIES = 0x34,
  INT_LINE = 0x3c,
  INT_PIN = 0x3d,
}
export const enum PciCommand { IO = 1, MEMORY = 2, MASTER = 4, MWI = 0x10, INTX_DISABLE = 0x400 }
const STATUS_CAP_LIST = 0x10;
const STATUS_INTX = 0x08;

export interface PciIdentity {
  vendor: number;
  device: number;
  /** Base class << 8 | subclass. */
  class: number;
  progIf?: number;
  revision?: number;
  subsysVendor?: number;
  subsys?: number;
  /** 0 = none, 1 = INTA .. 4 = INTD. */
  pin?: number;
  multifunction?: boolean;
}

/** Makes what is behind a BAR answer at an address; returns the function that takes it away again. */
export type BarMapper = (at: number) => () => void;

interface Bar {
  kind: 'io' | 'mem' | 'mem64' | 'rom';
  size: number;
  map: BarMapper;
  unmap: (() => void) | null;
  mappedAt: number;
}

/** Place of the expansion ROM among the BARs: its register is not one of the six. */
const ROM_BAR = 6;
const ROM_ENABLE = 1;
const PREFETCHABLE = 8;
/** MSI message control. */
const MSI_ENABLE = 0x01;
const MSI_64 = 0x80;

/** What a function needs of the board. */
export interface PciHost {
  bus: IoBus;
  /** All ports are PCI's: a BAR may lie at port 0. */
  readonly portZero?: boolean;
  /** Level of an INTx pin (1..4) of function `devfn` (device number << 3 | function number); functions of a device may share a pin. */
  intx(devfn: number, pin: number, level: boolean): void;
  /** A message-signalled interrupt: a 32-bit write to `address` by function `devfn`. */
  msi(address: number, data: number, devfn: number): void;
}

/** What people and programs want to know of a function. */
export interface PciInfo {
  bus: number;
  slot: number;
  function: number;
  name: string;
  vendor: number;
  device: number;
  subsystemVendor: number;
  subsystem: number;
  /** Base class << 8 | subclass. */
  classCode: number;
  /** 0 = none, 1..4 = INTA..INTD, and the line that firmware wrote down for it. */
  pin: number;
  irq: number;
  /** Base address registers; address -1 if the BAR does not decode now. Sizes and addresses in bytes. */
  regions: { bar: number; io: boolean; address: number; size: number; prefetch: boolean; mem64: boolean }[];
}

/** One function of a device. Subclasses add BARs and capabilities in their constructor. */
export class PciFunction implements Device {
  readonly config = new Uint8Array(256);
  /** Writable bits. */
  private readonly wmask = new Uint8Array(256);
  /** Bits that a 1 clears. */
  protected readonly w1c = new Uint8Array(256);
  private readonly initial = new Uint8Array(256);
  private readonly bars: (Bar | undefined)[] = [];
  private nextCap = 0x40;
  private lastCap = 0;
  private intxLevel = false;
  private msix: MsixTable | null = null;
  private msixCap = 0;
  private msiCap = 0;

  constructor(
    readonly name: string,
    protected readonly host: PciHost,
    /** Device number << 3 | function number. */
    readonly devfn: number,
    id: PciIdentity,
  ) {
    const c = this.config;
    this.set16(PciReg.VENDOR, id.vendor);
    this.set16(PciReg.DEVICE, id.device);
    c[PciReg.REVISION] = id.revision ?? 0;
    c[PciReg.CLASS_PROG] = id.progIf ?? 0;
    this.set16(PciReg.CLASS, id.class);
    c[PciReg.HEADER_TYPE] = id.multifunction ? 0x80 : 0;
    this.set16(PciReg.SUBSYS_VENDOR, id.subsysVendor ?? 0);
    this.set16(PciReg.SUBSYS, id.subsys ?? 0);
    c[PciReg.INT_PIN] = id.pin ?? 0;
    this.writable(PciReg.COMMAND, [0x07, 0x04]);
    this.writable(PciReg.INT_LINE, [0xff]);
    this.w1c[PciReg.STATUS + 1] = 0xf9;
  }

  /** Called at the end of the subclass's constructor: what is set now is the reset state. */
  protected sealConfig(): void {
    this.initial.set(this.config);
  }

  protected set16(reg: number, v: number): void {
    this.config[reg] = v & 0xff;
    this.config[reg + 1] = v >>> 8;
  }

  protected writable(reg: number, mask: readonly number[]): void {
    this.wmask.set(mask, reg);
  }

  /** Cache line size, latency timer and memory write and invalidate can be set (6.2.4): a bus master on conventional PCI. */
  protected addMasterRegisters(): void {
    this.writable(PciReg.COMMAND, [0x07 | PciCommand.MWI, 0x04]);
    this.writable(PciReg.CACHE_LINE_SIZE, [0xff, 0xf8]);
  }

  /** Adds BAR n. size: power of two, >= 16 for memory, >= 4 for ports. */
  protected addBar(n: number, kind: 'io' | 'mem' | 'mem64', size: number, handler: IoHandler): void {
    this.setBar(n, kind, size, (at) => (kind === 'io' ? this.host.bus.mapPorts(at, size, handler) : this.host.bus.mapMmio(at, size, handler)));
  }

  /** Adds BAR n with memory behind it, prefetchable; size: power of two, >= 4096. `map` puts the memory at an address. */
  protected addMemoryBar(n: number, size: number, map: BarMapper): void {
    this.setBar(n, 'mem', size, map);
    this.config[PciReg.BAR0 + n * 4] = PREFETCHABLE;
  }

  /** Adds the expansion ROM (6.2.5.2): it answers while both its own enable bit and memory decoding are on. size: power of two, >= 4096. */
  protected addRom(size: number, map: BarMapper): void {
    this.bars[ROM_BAR] = { kind: 'rom', size, map, unmap: null, mappedAt: -1 };
    const m = ~(size - 1) >>> 0;
    this.writable(PciReg.ROM, [ROM_ENABLE, (m >>> 8) & 0xf8, (m >>> 16) & 0xff, m >>> 24]);
  }

  private setBar(n: number, kind: 'io' | 'mem' | 'mem64', size: number, map: BarMapper): void {
    this.bars[n] = { kind, size, map, unmap: null, mappedAt: -1 };
    const reg = PciReg.BAR0 + n * 4;
    this.config[reg] = kind === 'io' ? 1 : kind === 'mem64' ? 4 : 0;
    const m = ~(size - 1) >>> 0;
    this.writable(reg, [m & (kind === 'io' ? 0xfc : 0xf0), (m >>> 8) & 0xff, (m >>> 16) & 0xff, m >>> 24]);
    if (kind === 'mem64') this.writable(reg + 4, [0xff, 0xff, 0xff, 0xff]);
  }

  /** Appends a capability: id, then body (from offset 2 on). @returns its offset. */
  protected addCapability(id: number, body: readonly number[], mask: readonly number[] = []): number {
    const at = this.nextCap;
    this.config[at] = id;
    this.config[at + 1] = 0;
    this.config.set(body, at + 2);
    if (mask.length > 0) this.writable(at + 2, mask);
    this.config[this.lastCap === 0 ? PciReg.CAPABILITIES : this.lastCap + 1] = at;
    this.config[PciReg.STATUS] = this.config[PciReg.STATUS]! | STATUS_CAP_LIST;
    this.lastCap = at;
    this.nextCap = (at + 2 + body.length + 3) & ~3;
    return at;
  }

  /** Adds MSI-X with `vectors` entries in BAR n (its own BAR, 4 KiB). */
  protected addMsix(n: number, vectors: number): MsixTable {
    const t = new MsixTable(vectors, (address, data) => this.host.msi(address, data, this.devfn), () => this.msixEnabled(), () => this.msixMasked());
    this.addBar(n, 'mem', 4096, t);
    this.msixCap = this.addCapability(0x11, [...le16(vectors - 1), ...le32(n), ...le32(0x800 | n)], [0, 0xc0]);
    this.msix = t;
    return t;
  }

  /** Adds MSI (6.8.1) with one message, 64-bit addresses, no masking. */
  protected addMsi(): void {
    this.msiCap = this.addCapability(0x05, [MSI_64, 0, ...le32(0), ...le32(0), ...le16(0)], [MSI_ENABLE, 0, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  }

  msiEnabled(): boolean {
    return this.msiCap !== 0 && (this.config[this.msiCap + 2]! & MSI_ENABLE) !== 0;
  }

  /** Sends the function's message, if software has switched messages on. */
  protected message(): void {
    const at = this.msiCap;
    if (!this.msiEnabled()) return;
    const address = this.configRead(at + 4, 4);
    // The upper address word must be zero for the interrupt window; others go nowhere.
    if (this.configRead(at + 8, 4) === 0) this.host.msi(address, this.configRead(at + 12, 2), this.devfn);
  }

  private msixControl(): number {
    return this.msixCap === 0 ? 0 : this.config[this.msixCap + 3]!;
  }

  msixEnabled(): boolean {
    return (this.msixControl() & 0x80) !== 0;
  }

  private msixMasked(): boolean {
    return (this.msixControl() & 0x40) !== 0;
  }

  get command(): number {
    return this.config[PciReg.COMMAND]! | (this.config[PciReg.COMMAND + 1]! << 8);
  }

  get busMaster(): boolean {
    return (this.command & PciCommand.MASTER) !== 0;
  }

  /** Drives the INTx pin. */
  protected setIntx(level: boolean): void {
    this.intxLevel = level;
    this.syncIrq();
  }

  private syncIrq(): void {
    const c = this.config;
    c[PciReg.STATUS] = (c[PciReg.STATUS]! & ~STATUS_INTX) | (this.intxLevel ? STATUS_INTX : 0);
    const pin = c[PciReg.INT_PIN]!;
    if (pin !== 0) this.host.intx(this.devfn, pin, this.intxLevel && !(this.command & PciCommand.INTX_DISABLE) && !this.msixEnabled() && !this.msiEnabled());
  }

  /** reg 0..255, size 1, 2, 4; unaligned accesses have been split by the bus. */
  configRead(reg: number, size: number): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + (this.config[reg + i] ?? 0xff);
    return v;
  }

  configWrite(reg: number, size: number, value: number): void {
    for (let i = 0; i < size && reg + i < 256; i++) {
      const b = (value >>> (8 * i)) & 0xff;
      const r = reg + i;
      const m = this.wmask[r]!;
      this.config[r] = ((this.config[r]! & ~m) | (b & m)) & ~(b & this.w1c[r]!);
    }
    if (reg < PciReg.BAR0 + 24 || (reg + size > PciReg.ROM && reg < PciReg.ROM + 4)) this.mapBars();
    this.syncIrq();
    this.msix?.changed();
    this.configWritten(reg, size);
  }

  /** For subclasses: registers beyond the standard header may have changed. */
  protected configWritten(_reg: number, _size: number): void {}

  private bar32(n: number): number {
    const r = n === ROM_BAR ? PciReg.ROM : PciReg.BAR0 + n * 4;
    return this.config[r]! + this.config[r + 1]! * 0x100 + this.config[r + 2]! * 0x1_0000 + this.config[r + 3]! * 0x100_0000;
  }

  /** Current address of BAR n, or -1 if it does not decode. */
  barAddress(n: number): number {
    const b = this.bars[n];
    if (b === undefined || !(this.command & (b.kind === 'io' ? PciCommand.IO : PciCommand.MEMORY))) return -1;
    const low = this.bar32(n);
    if (b.kind === 'rom' && !(low & ROM_ENABLE)) return -1;
    const at = b.kind === 'io' ? low - (low % 4) : low - (low % 16) + (b.kind === 'mem64' ? this.bar32(n + 1) * 0x1_0000_0000 : 0);
    // While a guest sizes a BAR the value is all ones: nothing sensible decodes there. Address 0 counts as unassigned, with an exception.
    if ((at === 0 && !(b.kind === 'io' && this.host.portZero === true)) || at + b.size > (b.kind === 'io' ? 0x1_0000 : b.kind === 'mem64' ? 2 ** 52 : 0xffff_ffff)) return -1;
    return at;
  }

  describe(bus: number): PciInfo {
    const c = this.config;
    const u16 = (reg: number): number => c[reg]! | (c[reg + 1]! << 8);
    const regions: PciInfo['regions'] = [];
    this.bars.forEach((b, n) => {
      if (b === undefined || b.kind === 'rom') return;
      regions.push({ bar: n, io: b.kind === 'io', address: this.barAddress(n), size: b.size, prefetch: b.kind !== 'io' && (c[PciReg.BAR0 + n * 4]! & PREFETCHABLE) !== 0, mem64: b.kind === 'mem64' });
    });
    return {
      bus, slot: this.devfn >> 3, function: this.devfn & 7, name: this.name, vendor: u16(PciReg.VENDOR), device: u16(PciReg.DEVICE),
      subsystemVendor: u16(PciReg.SUBSYS_VENDOR), subsystem: u16(PciReg.SUBSYS), classCode: u16(PciReg.CLASS), pin: c[PciReg.INT_PIN]!,
      irq: c[PciReg.INT_LINE]!, regions,
    };
  }

  private mapBars(): void {
    this.bars.forEach((b, n) => {
      if (b === undefined) return;
      const at = this.barAddress(n);
      if (at === b.mappedAt) return;
      b.unmap?.();
      b.unmap = at < 0 ? null : b.map(at);
      b.mappedAt = at;
    });
  }

  /** Pulled out of its slot: whatever it decoded is free, its interrupt is low, what it did has ended. */
  unplug(): void {
    this.reset();
  }

  reset(): void {
    this.config.set(this.initial);
    this.intxLevel = false;
    this.msix?.reset();
    this.mapBars();
    this.syncIrq();
  }

  save(): SavedState {
    return { version: 1, config: Buffer.from(this.config).toString('base64'), intx: this.intxLevel, msix: this.msix?.save() ?? null };
  }

  /** All or nothing: what fails half-way is taken back. */
  restore(s: SavedState): void {
    const before = this.save();
    try {
      this.load(s);
    } catch (e) {
      this.load(before);
      throw e;
    }
  }

  /** Takes a saved state. @throws VmxError, in which case `restore` puts the old one back. */
  protected load(s: SavedState): void {
    const config = typeof s.config === 'string' ? Buffer.from(s.config, 'base64') : null;
    if (s.version !== 1 || config === null || config.length !== 256) throw new VmxError('ERR_BAD_STATE', `${this.name}: not a saved PCI function`);
    for (let r = 0; r < 256; r++) this.config[r] = (this.initial[r]! & ~(this.wmask[r]! | this.w1c[r]!)) | (config[r]! & (this.wmask[r]! | this.w1c[r]!));
    if (typeof s.intx !== 'boolean' || (this.msix === null ? s.msix !== null : typeof s.msix !== 'string')) throw new VmxError('ERR_BAD_STATE', `${this.name}: not a saved PCI function`);
    this.intxLevel = s.intx;
    this.msix?.restore(s.msix as string);
    this.mapBars();
    this.syncIrq();
  }
}

/** MSI-X table and pending bits in one 4 KiB window: table at 0, PBA at 0x800. */
export class MsixTable implements IoHandler {
  private readonly table: Uint32Array;
  private readonly pending: Uint8Array;

  constructor(
    readonly vectors: number,
    private readonly send: (address: number, data: number) => void,
    private readonly enabled: () => boolean,
    private readonly masked: () => boolean,
  ) {
    this.table = new Uint32Array(vectors * 4);
    this.pending = new Uint8Array(vectors);
    this.reset();
  }

  reset(): void {
    this.table.fill(0);
    for (let v = 0; v < this.vectors; v++) this.table[v * 4 + 3] = 1;
    this.pending.fill(0);
  }

  /** Raises vector v (ignored if there is none such). */
  raise(v: number): void {
    if (v >= this.vectors || !this.enabled()) return;
    if (this.masked() || this.table[v * 4 + 3]! & 1) {
      this.pending[v] = 1;
      return;
    }
    this.pending[v] = 0;
    // The upper address word must be zero for the interrupt window; others go nowhere.
    if (this.table[v * 4 + 1] === 0) this.send(this.table[v * 4]!, this.table[v * 4 + 2]!);
  }

  /** Masks may have changed: deliver what waited. */
  changed(): void {
    for (let v = 0; v < this.vectors; v++) if (this.pending[v]) this.raise(v);
  }

  read(offset: number, size: number): number {
    const word = this.word(offset & ~3);
    return size === 4 ? word : (word >>> ((offset & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private word(offset: number): number {
    if (offset < this.vectors * 16) return this.table[offset >> 2]!;
    if (offset < 0x800) return 0;
    let w = 0;
    for (let i = 0; i < 32; i++) w |= (this.pending[(offset - 0x800) * 8 + i] ?? 0) << i;
    return w >>> 0;
  }

  write(offset: number, size: number, value: number): void {
    if (offset >= this.vectors * 16 || size !== 4 || offset & 3) return;
    this.table[offset >> 2] = value;
    this.changed();
  }

  save(): string {
    return Buffer.concat([Buffer.from(this.table.buffer), this.pending]).toString('base64');
  }

  restore(s: string): void {
    const b = Buffer.from(s, 'base64');
    if (b.length !== this.vectors * 17) throw new VmxError('ERR_BAD_STATE', 'MSI-X table has another size');
    for (let i = 0; i < this.table.length; i++) this.table[i] = b.readUInt32LE(i * 4);
    for (let v = 0; v < this.vectors; v++) this.pending[v] = b[this.vectors * 16 + v]! & 1;
  }
}

export const le16 = (v: number): number[] => [v & 0xff, (v >>> 8) & 0xff];
export const le32 = (v: number): number[] => [v & 0xff, (v >>> 8) & 0xff, (v >>> 16) & 0xff, v >>> 24];

/** A function that leads to another bus. */
export interface PciBridgeFunction extends PciFunction {
  /** Bus numbers behind it, as programmed: own secondary bus, and the highest reached through it. */
  readonly secondary: number;
  readonly subordinate: number;
  readonly child: PciBus;
}

/** Functions of one bus. Bus 0 also has the ports 0xCF8 (address) and 0xCFC (data) and the memory mapped window. */
export class PciBus implements Device {
  private readonly functions = new Map<number, PciFunction>();
  private readonly bridges: PciBridgeFunction[] = [];
  private address = 0;
  readonly ports: IoHandler;
  /** Enhanced configuration access (PCI Express Base Specification 4.0, 7.2.2): 1 MiB per bus. */
  readonly ecam: IoHandler;

  constructor(readonly name = 'pci-bus') {
    this.ports = { read: (o, s) => this.portRead(o, s), write: (o, s, v) => this.portWrite(o, s, v) };
    this.ecam = {
      read: (o, s) => {
        const reg = o & 0xfff;
        const f = reg + s <= CONFIG_BYTES ? this.find(o >>> 20, (o >>> 12) & 0xff) : undefined;
        return f === undefined ? ones(s) : f.configRead(reg, s);
      },
      write: (o, s, v) => {
        const reg = o & 0xfff;
        if (reg + s <= CONFIG_BYTES) this.find(o >>> 20, (o >>> 12) & 0xff)?.configWrite(reg, s, v);
      },
    };
  }

  add(f: PciFunction): void {
    if (this.functions.has(f.devfn)) throw new VmxError('ERR_INTERNAL', `PCI slot ${f.devfn >> 3}.${f.devfn & 7} is taken twice`);
    this.functions.set(f.devfn, f);
  }

  addBridge(f: PciBridgeFunction): void {
    this.add(f);
    this.bridges.push(f);
  }

  /** Takes a function out of its slot: it answers nothing from now on. */
  remove(f: PciFunction): void {
    if (this.functions.get(f.devfn) !== f) return;
    f.unplug();
    this.functions.delete(f.devfn);
  }

  /** Functions in order of devfn. */
  list(): PciFunction[] {
    return [...this.functions.values()].sort((a, b) => a.devfn - b.devfn);
  }

  /** Every function on this bus, which has number `own`, and behind its bridges as they are programmed now. */
  describe(own = 0): PciInfo[] {
    const behind = this.bridges.filter((b) => b.secondary > own).flatMap((b) => b.child.describe(b.secondary));
    return [...this.list().map((f) => f.describe(own)), ...behind];
  }

  /** The function that answers a configuration access, seen from this bus, which has number `own`. */
  find(bus: number, devfn: number, own = 0): PciFunction | undefined {
    if (bus === own) return this.functions.get(devfn);
    for (const b of this.bridges) {
      // Numbers grow downwards, so the recursion ends whatever a guest programs.
      if (b.secondary > own && bus >= b.secondary && bus <= b.subordinate) return b.child.find(bus, devfn, b.secondary);
    }
    return undefined;
  }

  /** Offset 0..3: address register, 4..7: data. */
  private portRead(offset: number, size: number): number {
    if (offset < 4) return offset === 0 && size === 4 ? this.address : ones(size);
    const f = this.selected();
    return f === undefined ? ones(size) : f.configRead((this.address & 0xfc) + (offset - 4), size);
  }

  private portWrite(offset: number, size: number, value: number): void {
    if (offset < 4) {
      if (offset === 0 && size === 4) this.address = (value & 0x80ff_fffc) >>> 0;
      return;
    }
    this.selected()?.configWrite((this.address & 0xfc) + (offset - 4), size, value);
  }

  private selected(): PciFunction | undefined {
    if (this.address < 0x8000_0000) return undefined;
    return this.find((this.address >>> 16) & 0xff, (this.address >>> 8) & 0xff);
  }

  reset(): void {
    this.address = 0;
  }

  save(): SavedState {
    return { version: 1, address: this.address };
  }

  restore(s: SavedState): void {
    if (s.version !== 1 || typeof s.address !== 'number') throw new VmxError('ERR_BAD_STATE', 'pci-bus: not a saved state');
    this.address = (s.address & 0x80ff_fffc) >>> 0;
  }
}

const CONFIG_BYTES = 256;
const ones = (size: number): number => (size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff);
