/**
 * GICv3 interrupt translation service (ARM IHI 0069H, chapter 5 and 12.18, 12.19): turns the message-signalled interrupts of devices
 * into LPIs. Devices, collections and translation tables lie in guest memory, in a format of our own, as the architecture has it.
 */
import type { Device, GuestMemory, IoHandler, SavedState } from '../device.js';
import { array, loadState, saveState, u32, type Schema } from '../saved.js';
import { type Lpis, LPI_FIRST, LPI_ID_BITS } from './gicv3-lpi.js';

/** Control and translation frame. */
export const ITS_BYTES = 0x2_0000;
/** GITS_TRANSLATER, from the start of both frames: where messages are written to. */
export const ITS_TRANSLATER = 0x1_0040;

const enum Reg { CTLR = 0x00, IIDR = 0x04, TYPER = 0x08, TYPER_HI = 0x0c, CBASER = 0x80, CBASER_HI = 0x84, CWRITER = 0x88, CREADR = 0x90, BASER = 0x100, BASER_END = 0x140, PIDR2 = 0xffe8 }
const enum Cmd { MOVI = 0x01, INT = 0x03, CLEAR = 0x04, SYNC = 0x05, MAPD = 0x08, MAPC = 0x09, MAPTI = 0x0a, MAPI = 0x0b, INV = 0x0c, INVALL = 0x0d, MOVALL = 0x0e, DISCARD = 0x0f }

const IIDR = 0x0000_043b;
const ENABLED = 1;
const QUIESCENT = 0x8000_0000;
const VALID_HI = 0x8000_0000;
const ENTRY = 8;
const COMMAND = 32;
const PAGE = 4096;
/** Bits of device IDs and of event IDs. */
const ID_BITS = 16;
/** Physical LPIs; entries of translation tables have 8 bytes; the width of IDs. */
const TYPER = 1 | ((ENTRY - 1) << 4) | ((ID_BITS - 1) << 8) | ((ID_BITS - 1) << 13);
/** GITS_BASER<n>: 0 has devices, 1 collections. */
const TYPES = [1, 4];
/** GITS_BASER.Page_Size. */
const PAGE_64K = 2 << 8;
const BASER_FIXED_HI = (type: number): number => (type << 24) | ((ENTRY - 1) << 16);
/** What can be written: valid, indirect, cacheabilities; address; shareability, page size, size. */
const BASER_HI_MASK = 0xf8e0_ffff;

interface State {
  ctlr: number;
  cbaserLo: number;
  cbaserHi: number;
  cwriter: number;
  creadr: number;
  /** Low and high words of GITS_BASER0, 1. */
  baser: number[];
}
const SCHEMA: Schema<State> = { ctlr: u32, cbaserLo: u32, cbaserHi: u32, cwriter: u32, creadr: u32, baser: array(4, u32) };
const initial = (): State => ({ ctlr: 0, cbaserLo: 0, cbaserHi: 0, cwriter: 0, creadr: 0, baser: [PAGE_64K, BASER_FIXED_HI(TYPES[0]!), PAGE_64K, BASER_FIXED_HI(TYPES[1]!)] });

export interface ItsOptions {
  memory: GuestMemory;
  lpis: Lpis;
  cpus: number;
}

/** An interrupt as its table has it. */
interface Translation {
  lpi: number;
  collection: number;
}

export class GicV3Its implements Device {
  readonly name = 'gicv3-its';
  readonly mmio: IoHandler;
  private s = initial();

  constructor(private readonly o: ItsOptions) {
    this.mmio = {
      read: (offset, size) => (size === 4 ? this.read(offset) : 0),
      write: (offset, size, v) => {
        if (size === 4) this.write(offset, v);
      },
    };
  }

  reset(): void {
    this.s = initial();
  }

  save(): SavedState {
    return saveState(SCHEMA, 1, this.s);
  }

  restore(s: SavedState): void {
    this.s = loadState(this.name, SCHEMA, 1, s);
  }

  /** A device writes `event` to GITS_TRANSLATER. */
  message(device: number, event: number): void {
    if ((this.s.ctlr & ENABLED) !== 0) this.setPending(device, event, true);
  }

  // ---- registers ----

  private read(offset: number): number {
    const s = this.s;
    if (offset >= Reg.BASER && offset < Reg.BASER_END) return s.baser[(offset - Reg.BASER) >> 2] ?? 0;
    switch (offset as Reg) {
      // Commands are done when the write that asked for them returns.
      case Reg.CTLR: return (s.ctlr | (s.ctlr & ENABLED ? 0 : QUIESCENT)) >>> 0;
      case Reg.IIDR: return IIDR;
      case Reg.TYPER: return TYPER;
      case Reg.CBASER: return s.cbaserLo;
      case Reg.CBASER_HI: return s.cbaserHi;
      case Reg.CWRITER: return s.cwriter;
      case Reg.CREADR: return s.creadr;
      case Reg.PIDR2: return 0x3b;
      default: return 0;
    }
  }

  private write(offset: number, v: number): void {
    const s = this.s;
    if (offset >= Reg.BASER && offset < Reg.BASER_END) {
      const i = (offset - Reg.BASER) >> 2;
      if (i < s.baser.length && (s.ctlr & ENABLED) === 0) s.baser[i] = i & 1 ? ((v & BASER_HI_MASK) | BASER_FIXED_HI(TYPES[i >> 1]!)) >>> 0 : v;
      return;
    }
    switch (offset as Reg) {
      case Reg.CTLR:
        s.ctlr = v & ENABLED;
        this.run();
        break;
      case Reg.CBASER:
      case Reg.CBASER_HI:
        if (s.ctlr & ENABLED) break;
        if (offset === Reg.CBASER) s.cbaserLo = v;
        else s.cbaserHi = v;
        s.creadr = 0;
        break;
      case Reg.CWRITER:
        s.cwriter = v & 0xf_ffe0;
        this.run();
        break;
      default:
        break;
    }
  }

  // ---- tables ----

  /** Address of entry i of table n (0 devices, 1 collections), or -1. */
  private entry(n: number, i: number): number {
    const lo = this.s.baser[n * 2]!;
    const hi = this.s.baser[n * 2 + 1]!;
    if ((hi & VALID_HI) === 0 || i < 0 || i >= 2 ** ID_BITS) return -1;
    const size = [PAGE, 4 * PAGE, 16 * PAGE, 16 * PAGE][(lo >>> 8) & 3]!;
    // With pages of 64 KiB bits 15..12 hold bits 51..48 of the address.
    const base = size === 16 * PAGE ? ((lo & 0xf000) >>> 12) * 2 ** 48 + (hi & 0xffff) * 2 ** 32 + ((lo & 0xffff_0000) >>> 0) : (hi & 0xffff) * 2 ** 32 + ((lo & 0xffff_f000) >>> 0);
    const bytes = ((lo & 0xff) + 1) * size;
    const { memory } = this.o;
    let at = base + i * ENTRY;
    if (hi & 0x4000_0000) {
      const per = size / ENTRY;
      const first = base + Math.floor(i / per) * 8;
      if (Math.floor(i / per) * 8 >= bytes || !memory.valid(first, 8) || (memory.read32(first + 4) & VALID_HI) === 0) return -1;
      at = (memory.read32(first + 4) & 0xf_ffff) * 2 ** 32 + ((memory.read32(first) & ~(size - 1)) >>> 0) + (i % per) * ENTRY;
    } else if (i * ENTRY >= bytes) {
      return -1;
    }
    return memory.valid(at, ENTRY) ? at : -1;
  }

  private put(at: number, lo: number, hi: number): void {
    if (at < 0) return;
    this.o.memory.write32(at, lo >>> 0);
    this.o.memory.write32(at + 4, hi >>> 0);
  }

  /** Where the translation of an event is, or -1. Device entry: valid, address of the table | bits of events - 1. */
  private translation(device: number, event: number): number {
    const at = this.entry(0, device);
    if (at < 0) return -1;
    const { memory } = this.o;
    const lo = memory.read32(at);
    const hi = memory.read32(at + 4);
    if ((hi & VALID_HI) === 0 || event >= 2 ** ((lo & 31) + 1)) return -1;
    const t = (hi & 0xf_ffff) * 2 ** 32 + ((lo & ~0xff) >>> 0) + event * ENTRY;
    return memory.valid(t, ENTRY) ? t : -1;
  }

  /** Translation entry: LPI | collection << 16, then valid. */
  private lookup(device: number, event: number): Translation | null {
    const at = this.translation(device, event);
    if (at < 0 || (this.o.memory.read32(at + 4) & VALID_HI) === 0) return null;
    const v = this.o.memory.read32(at);
    return { lpi: v & 0xffff, collection: v >>> 16 };
  }

  /** CPU of a collection, or -1. Collection entry: CPU, then valid. */
  private target(collection: number): number {
    const at = this.entry(1, collection);
    if (at < 0 || (this.o.memory.read32(at + 4) & VALID_HI) === 0) return -1;
    const c = this.o.memory.read32(at);
    return c < this.o.cpus ? c : -1;
  }

  private setPending(device: number, event: number, on: boolean): void {
    const t = this.lookup(device, event);
    const c = t === null ? -1 : this.target(t.collection);
    if (c >= 0) this.o.lpis.setPending(c, t!.lpi, on);
  }

  // ---- commands (5.3) ----

  /** Runs the queue up to GITS_CWRITER: at most once around it. */
  private run(): void {
    const s = this.s;
    if ((s.ctlr & ENABLED) === 0 || (s.cbaserHi & VALID_HI) === 0) return;
    const base = (s.cbaserHi & 0xf_ffff) * 2 ** 32 + ((s.cbaserLo & 0xffff_f000) >>> 0);
    const bytes = ((s.cbaserLo & 0xff) + 1) * PAGE;
    if (s.cwriter >= bytes) return;
    for (let left = bytes / COMMAND; left > 0 && s.creadr !== s.cwriter; left--) {
      if (this.o.memory.valid(base + s.creadr, COMMAND)) this.command(base + s.creadr);
      s.creadr = (s.creadr + COMMAND) % bytes;
    }
  }

  /** One command; what makes no sense is passed over. */
  private command(at: number): void {
    const { memory, lpis } = this.o;
    const word = (i: number): number => memory.read32(at + 4 * i);
    const device = word(1);
    const event = word(2);
    const collection = word(4) & 0xffff;
    const valid = (word(5) & VALID_HI) !== 0;
    /** RDbase of double word 2 or 3: with GITS_TYPER.PTA = 0 a processor number. */
    const cpu = (i: number): number => (word(i) >>> 16) | ((word(i + 1) & 0xf) << 16);
    switch ((word(0) & 0xff) as Cmd) {
      case Cmd.MAPD: {
        const size = word(2) & 31;
        if (size >= ID_BITS) return;
        this.put(this.entry(0, device), valid ? (word(4) & ~0xff) | size : 0, valid ? VALID_HI | (word(5) & 0xf_ffff) : 0);
        break;
      }
      case Cmd.MAPC:
        this.put(this.entry(1, collection), valid ? cpu(4) : 0, valid ? VALID_HI : 0);
        break;
      case Cmd.MAPTI: this.map(device, event, word(3), collection); break;
      case Cmd.MAPI: this.map(device, event, event, collection); break;
      case Cmd.MOVI: {
        const t = this.lookup(device, event);
        if (t === null) return;
        lpis.move(this.target(t.collection), this.target(collection), t.lpi);
        this.put(this.translation(device, event), t.lpi | (collection << 16), VALID_HI);
        break;
      }
      case Cmd.MOVALL: lpis.moveAll(cpu(4), cpu(6)); break;
      case Cmd.DISCARD:
        this.setPending(device, event, false);
        this.put(this.translation(device, event), 0, 0);
        break;
      case Cmd.INT: this.setPending(device, event, true); break;
      case Cmd.CLEAR: this.setPending(device, event, false); break;
      case Cmd.INV: lpis.invalidate(this.lookup(device, event)?.lpi ?? 0); break;
      case Cmd.INVALL:
        if (this.target(collection) >= 0) lpis.invalidateAll();
        break;
      default:
        break;
    }
  }

  private map(device: number, event: number, lpi: number, collection: number): void {
    if (lpi < LPI_FIRST || lpi >= 2 ** LPI_ID_BITS) return;
    this.put(this.translation(device, event), lpi | (collection << 16), VALID_HI);
  }
}
