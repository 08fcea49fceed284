/**
 * Intel 82540EM gigabit Ethernet controller (317453): legacy, context and data transmit descriptors with checksum and TCP
 * segmentation offload, legacy receive descriptors with checksum check, address, multicast and VLAN filters, EEPROM, PHY.
 * Interrupts come no faster than ITR says (13.4.18); the absolute and packet delay timers are kept and have no effect.
 */
import { VmxError } from '../../errors.js';
import { isTcp4, MIN_MSS, segmentTcp4, checkChecksums, Checked, insertChecksum } from '../../net/offload.js';
import { be16, be32, ETH_HEADER, MAX_FRAME, put16, put32 } from '../../net/packet.js';
import { type FrameInfo, type NetBackend, type NicAbilities, type NicEnd, PLAIN_FRAME } from '../../net/port.js';
import type { DeviceClock, DeviceTimer, GuestMemory, IoHandler, SavedState } from '../device.js';
import { PciFunction, type PciHost } from '../pci/pci.js';
import { bool, bytes, int, loadState, saveState, type Schema, struct, u16, u32, u8, words } from '../saved.js';
import { EEPROM_WORDS, Microwire, microwireRule } from './microwire.js';
import { Ctrl, Eecd, Eerd, eeprom, Int, Mdic, Phy, PHY_REGISTERS, PLAIN, Popts, Rctl, Reg, REGISTER_BYTES, Rxcsum, Rxd, Stat, STATUS_VALUE, Tctl, Tucmd, Txd } from './e1000.spec.js';

const VERSION = 1;
const WORDS = REGISTER_BYTES / 4;
/** Registers that are saved: everything from 8000h on does not exist. */
const SAVED_WORDS = 0x8000 / 4;
const MIN_FRAME = 60;
const CRC_BYTES = 4;
/** Longest frame a driver may send: TCP segments of 64 KiB with their headers. */
const MAX_TX = 65536 + 256;
const VLAN_ETHERTYPE = 0x8100;
/** Bytes that one pass over the transmit ring sends, descriptors included, and when the next one follows: a ring may hold 4 GiB. */
const PASS_BYTES = 4 * 1024 * 1024;
const PASS_NS = 1e6;
/** Unit of ITR. */
const ITR_NS = 256;
const ICR = Reg.ICR >> 2;
const IMS = Reg.IMS >> 2;

/** Offload context (3.3.6). */
interface Context {
  ipcss: number;
  ipcso: number;
  ipcse: number;
  tucss: number;
  tucso: number;
  tucse: number;
  paylen: number;
  hdrlen: number;
  mss: number;
  tucmd: number;
}

interface State {
  regs: Int32Array;
  phy: number[];
  /** The contexts of checksum and of segmentation offload. */
  checksum: Context;
  segmentation: Context;
  /** The frame being gathered: bytes, what to do with it, VLAN tag or -1. */
  frame: Uint8Array;
  popts: number;
  tse: boolean;
  vlan: number;
  ioaddr: number;
  eeprom: Microwire['s'];
}

const contextSchema: Schema<Context> = { ipcss: u8, ipcso: u8, ipcse: u16, tucss: u8, tucso: u8, tucse: u16, paylen: int(0, 0xf_ffff), hdrlen: u8, mss: u16, tucmd: u32 };
const NO_CONTEXT: Readonly<Context> = { ipcss: 0, ipcso: 0, ipcse: 0, tucss: 0, tucso: 0, tucse: 0, paylen: 0, hdrlen: 0, mss: 0, tucmd: 0 };

const schema: Schema<State> = {
  regs: words(SAVED_WORDS),
  phy: { save: (v) => v, load: (raw, at) => phyWords(raw, at) },
  checksum: struct(contextSchema),
  segmentation: struct(contextSchema),
  frame: { save: (v) => Buffer.from(v).toString('hex'), load: (raw, at) => partialFrame(raw, at) },
  popts: u8,
  tse: bool,
  vlan: int(-1, 0xffff),
  ioaddr: u32,
  eeprom: microwireRule,
};

function phyWords(raw: unknown, at: string): number[] {
  if (!Array.isArray(raw) || raw.length !== 32 || raw.some((v) => !Number.isInteger(v) || v < 0 || v > 0xffff)) throw new VmxError('ERR_BAD_STATE', `saved state: ${at} is not 32 words`);
  return raw as number[];
}

function partialFrame(raw: unknown, at: string): Uint8Array {
  if (typeof raw !== 'string' || raw.length > MAX_TX * 2) throw new VmxError('ERR_BAD_STATE', `saved state: ${at} is not a frame`);
  return bytes(raw.length >> 1).load(raw, at);
}

export interface E1000Options {
  memory: GuestMemory;
  clock: DeviceClock;
  mac: Uint8Array;
  backend: NetBackend;
}

export class E1000 extends PciFunction implements NicEnd {
  readonly abilities: NicAbilities = { maxFrame: MAX_FRAME, checksumFree: false };
  private readonly rom: Uint16Array;
  private readonly serial: Microwire;
  private s: State;
  /** The frame being gathered. */
  private readonly tx = new Uint8Array(MAX_TX);
  private txLength = 0;
  private readonly segment = new Uint8Array(16384 + 256);
  private readonly rx = new Uint8Array(16384 + 8);
  private readonly desc = new Uint8Array(16);
  private readonly descView = new DataView(this.desc.buffer);
  private readonly info: FrameInfo = { gsoSize: 0, noChecksum: false };
  /** Descriptors are being worked through: a register write from within changes nothing about that. */
  private sending = false;
  /** Goes on with what one pass over the ring has left. */
  private readonly more: DeviceTimer;
  /** INTA is asserted. */
  private asserted = false;
  /** When the interval of ITR that began with the last interrupt is over, ns. */
  private quietUntil = 0;
  private readonly moderation: DeviceTimer;

  constructor(
    name: string,
    host: PciHost,
    slot: number,
    private readonly o: E1000Options,
  ) {
    super(name, host, slot << 3, { vendor: 0x8086, device: 0x100e, class: 0x0200, revision: 3, subsysVendor: 0x8086, subsys: 0x001e, pin: 1 });
    this.rom = eeprom(o.mac);
    this.serial = new Microwire(this.rom);
    this.s = this.initialState();
    this.serial.s = this.s.eeprom;
    this.addBar(0, 'mem', REGISTER_BYTES, { read: (at, size) => this.read(at, size), write: (at, size, v) => this.write(at, size, v) });
    this.addBar(1, 'io', 64, this.ioPorts());
    this.addMasterRegisters();
    this.sealConfig();
    this.more = o.clock.timer(() => this.send());
    this.moderation = o.clock.timer(() => this.syncInt());
    o.backend.attach(this);
  }

  private initialState(): State {
    const regs = new Int32Array(WORDS);
    for (const [at, r] of Object.entries(PLAIN)) regs[Number(at) >> 2] = r!.reset;
    regs[Reg.CTRL >> 2] = Ctrl.FD | Ctrl.ASDE | Ctrl.SLU | Ctrl.SPEED_1000;
    regs[Reg.EECD >> 2] = Eecd.PRES | Eecd.DO;
    const mac = this.o.mac;
    regs[Reg.RAL >> 2] = mac[0]! | (mac[1]! << 8) | (mac[2]! << 16) | (mac[3]! << 24);
    regs[Reg.RAH >> 2] = mac[4]! | (mac[5]! << 8) | (1 << 31);
    const phy = Array.from({ length: 32 }, (_, i) => PHY_REGISTERS[i]?.reset ?? 0);
    return {
      regs, phy, checksum: { ...NO_CONTEXT }, segmentation: { ...NO_CONTEXT }, frame: new Uint8Array(0), popts: 0, tse: false, vlan: -1, ioaddr: 0,
      eeprom: new Microwire(this.rom).s,
    };
  }

  /** IOADDR and IODATA (13.3.1): the registers through two ports. */
  private ioPorts(): IoHandler {
    const ones = (size: number): number => 2 ** (8 * size) - 1;
    return {
      read: (at, size) => (size !== 4 ? ones(size) : at === 0 ? this.s.ioaddr : at === 4 && this.s.ioaddr < REGISTER_BYTES ? this.read(this.s.ioaddr & ~3, 4) : 0),
      write: (at, size, v) => {
        if (size !== 4) return;
        if (at === 0) this.s.ioaddr = v >>> 0;
        else if (at === 4 && this.s.ioaddr < REGISTER_BYTES) this.write(this.s.ioaddr & ~3, 4, v);
      },
    };
  }

  // ---- registers ----

  private read(offset: number, size: number): number {
    const v = this.read32(offset & ~3) >>> 0;
    return size === 4 ? v : (v >>> ((offset & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private read32(at: number): number {
    const r = this.s.regs;
    switch (at) {
      case Reg.STATUS:
        return STATUS_VALUE;
      case Reg.ICR: {
        const v = r[ICR]!;
        r[ICR] = 0;
        this.syncInt();
        return v;
      }
      case Reg.ICS:
      case Reg.IMC:
        return 0;
      default:
        break;
    }
    if (at >= 0x8000) return 0;
    const v = r[at >> 2]!;
    if (at >= Reg.STATS && at < Reg.STATS_END) r[at >> 2] = 0;
    return v;
  }

  private write(offset: number, size: number, value: number): void {
    // Registers are 32 bits wide and written whole (13.3).
    if (size === 4 && (offset & 3) === 0) this.write32(offset, value | 0);
  }

  private write32(at: number, v: number): void {
    const r = this.s.regs;
    const i = at >> 2;
    switch (at) {
      case Reg.CTRL:
        if (v & Ctrl.RST) this.resetCard();
        else r[i] = v & ~Ctrl.PHY_RST;
        return;
      case Reg.EECD:
        this.eecd(v);
        return;
      case Reg.EERD:
        if (v & Eerd.START) r[i] = (this.word((v >>> 8) & 0xff) << 16) | (v & 0xff00) | Eerd.DONE;
        return;
      case Reg.MDIC:
        this.mdic(v);
        return;
      case Reg.ICR:
        r[ICR] = r[ICR]! & ~v;
        this.syncInt();
        return;
      case Reg.ICS:
        this.raise(v & Int.ALL);
        return;
      case Reg.IMS:
        r[IMS] = r[IMS]! | (v & Int.ALL);
        this.syncInt();
        return;
      case Reg.IMC:
        r[IMS] = r[IMS]! & ~v;
        this.syncInt();
        return;
      case Reg.RCTL:
        r[i] = v & 0x06df_ffff;
        this.o.backend.room();
        return;
      case Reg.RDH:
      case Reg.TDH:
        r[i] = v & 0xffff;
        return;
      case Reg.RDT:
        r[i] = v & 0xffff;
        this.o.backend.room();
        return;
      case Reg.TDT:
        r[i] = v & 0xffff;
        this.send();
        return;
      case Reg.TCTL:
        r[i] = v & PLAIN[Reg.TCTL]!.writable;
        this.send();
        return;
      default:
        break;
    }
    const plain = PLAIN[at];
    if (plain !== undefined) r[i] = (r[i]! & ~plain.writable) | (v & plain.writable);
    else if ((at >= Reg.MTA && at < Reg.RA_END) || (at >= Reg.VFTA && at < Reg.VFTA_END)) r[i] = v;
  }

  private raise(causes: number): void {
    this.s.regs[ICR] = this.s.regs[ICR]! | causes;
    this.syncInt();
  }

  private syncInt(): void {
    const wanted = (this.s.regs[ICR]! & this.s.regs[IMS]!) !== 0;
    if (wanted && !this.asserted) {
      const interval = this.s.regs[Reg.ITR >> 2]! * ITR_NS;
      if (interval > 0) {
        const now = this.o.clock.now();
        // A clock that has gone back (a restored machine) makes nobody wait longer than the interval.
        if (now < this.quietUntil && this.quietUntil - now <= interval) {
          this.moderation.arm(this.quietUntil);
          return;
        }
        this.quietUntil = now + interval;
      }
    }
    this.asserted = wanted;
    this.setIntx(wanted);
  }

  private count(stat: Stat, n = 1): void {
    this.s.regs[stat >> 2] = this.s.regs[stat >> 2]! + n;
  }

  private word(at: number): number {
    return at < EEPROM_WORDS ? this.rom[at]! : 0xffff;
  }

  /** The EEPROM's serial interface. */
  private eecd(v: number): void {
    const keep = Eecd.SK | Eecd.CS | Eecd.DI | Eecd.FWE | Eecd.REQ;
    this.serial.set((v & Eecd.CS) !== 0, (v & Eecd.SK) !== 0, (v & Eecd.DI) !== 0);
    this.s.regs[Reg.EECD >> 2] = (v & keep) | Eecd.PRES | (v & Eecd.REQ ? Eecd.GNT : 0) | (this.serial.data ? Eecd.DO : 0);
  }

  private mdic(v: number): void {
    const s = this.s;
    const reg = (v >>> Mdic.REG_SHIFT) & 31;
    const there = ((v >>> Mdic.PHY_SHIFT) & 31) === Phy.ADDRESS && PHY_REGISTERS[reg] !== undefined;
    let out = (v & ~Mdic.READY) | Mdic.READY;
    if (!there) out |= Mdic.ERROR;
    else if (v & Mdic.OP_READ) out = (out & ~0xffff) | s.phy[reg]!;
    else if (v & Mdic.OP_WRITE) {
      const { writable } = PHY_REGISTERS[reg]!;
      s.phy[reg] = (s.phy[reg]! & ~writable) | (v & writable);
      // Reset and restart of autonegotiation clear themselves; the link comes up at once.
      if (reg === Phy.CONTROL) {
        if (v & 0x8000) s.phy = this.initialState().phy;
        else if (v & 0x0200) this.raise(Int.LSC);
        s.phy[reg] = s.phy[reg]! & 0x7dff;
      }
    }
    s.regs[Reg.MDIC >> 2] = out;
    if (v & Mdic.INT_EN) this.raise(Int.MDAC);
  }

  // ---- transmit ----

  private send(): void {
    const r = this.s.regs;
    if (this.sending || !(r[Reg.TCTL >> 2]! & Tctl.EN) || !this.busMaster) return;
    const count = r[Reg.TDLEN >> 2]! >>> 4;
    if (count === 0 || r[Reg.TDH >> 2] === r[Reg.TDT >> 2]) return;
    this.sending = true;
    let causes = Int.TXQE as number;
    let left = PASS_BYTES;
    // Bounded by the ring: the tail the driver wrote is reached, or every descriptor has been looked at once.
    for (let n = 0; n < count && r[Reg.TDH >> 2] !== r[Reg.TDT >> 2]; n++) {
      if (left <= 0) {
        causes &= ~Int.TXQE;
        this.more.arm(this.o.clock.now() + PASS_NS);
        break;
      }
      const head = r[Reg.TDH >> 2]! % count;
      const at = this.ring(Reg.TDBAL) + head * Txd.BYTES;
      if (!this.o.memory.readInto(at, this.desc)) break;
      const command = this.descView.getInt32(8, true);
      left -= Txd.BYTES + (command & (command & Txd.DEXT ? 0xf_ffff : 0xffff));
      this.descriptor(command);
      if (command & Txd.RS) {
        this.desc[12] = this.desc[12]! | Txd.DD;
        this.o.memory.write8(at + 12, this.desc[12]!);
        causes |= Int.TXDW;
      }
      r[Reg.TDH >> 2] = (head + 1) % count;
    }
    this.sending = false;
    this.o.backend.flush();
    this.raise(causes);
  }

  private ring(low: Reg): number {
    const r = this.s.regs;
    return (r[low >> 2]! >>> 0) + Math.min(r[(low >> 2) + 1]! >>> 0, 0xf_ffff) * 0x1_0000_0000;
  }

  /** One transmit descriptor, in `desc`. */
  private descriptor(command: number): void {
    const s = this.s;
    const d = this.descView;
    const b = this.desc;
    const extended = (command & Txd.DEXT) !== 0;
    if (extended && (command & Txd.DTYP) === 0) {
      const c: Context = {
        ipcss: b[0]!, ipcso: b[1]!, ipcse: d.getUint16(2, true), tucss: b[4]!, tucso: b[5]!, tucse: d.getUint16(6, true), paylen: command & 0xf_ffff,
        hdrlen: b[13]!, mss: d.getUint16(14, true), tucmd: command >>> 0,
      };
      if (command & Tucmd.TSE) s.segmentation = c;
      else s.checksum = c;
      return;
    }
    const length = extended ? command & 0xf_ffff : command & 0xffff;
    if (this.txLength === 0) {
      s.popts = extended && (command & Txd.DTYP) === Txd.DTYP_DATA ? b[13]! : 0;
      s.tse = extended && (command & Txd.TSE) !== 0;
    }
    if (command & Txd.VLE && this.s.regs[Reg.CTRL >> 2]! & Ctrl.VME) s.vlan = d.getUint16(14, true);
    const address = d.getUint32(0, true) + Math.min(d.getUint32(4, true), 0xf_ffff) * 0x1_0000_0000;
    const n = Math.min(length, MAX_TX - this.txLength);
    if (n > 0) {
      // Memory that is not there reads as ones.
      const into = this.tx.subarray(this.txLength, this.txLength + n);
      if (!this.o.memory.readInto(address, into)) into.fill(0xff);
      this.txLength += n;
    }
    if (!(command & Txd.EOP)) return;
    // Legacy descriptors ask for one checksum: CSS and CSO.
    if (!extended && command & Txd.IC) insertChecksum(this.tx, b[13]!, this.txLength, (command >>> 16) & 0xff);
    this.finish();
  }

  private finish(): void {
    const s = this.s;
    const f = this.tx.subarray(0, this.txLength);
    this.txLength = 0;
    const { vlan, popts, tse } = s;
    s.vlan = -1;
    if (f.length < ETH_HEADER) return;
    if (tse) this.sendSegments(f, s.segmentation, vlan);
    else {
      this.checksums(f, popts, s.checksum, f.length);
      this.transmit(f, vlan, PLAIN_FRAME);
    }
  }

  private checksums(f: Uint8Array, popts: number, c: Context, length: number): void {
    const end = (e: number): number => (e === 0 ? length : Math.min(e + 1, length));
    if (popts & Popts.TXSM) insertChecksum(f, c.tucss, end(c.tucse), c.tucso);
    if (popts & Popts.IXSM) insertChecksum(f, c.ipcss, end(c.ipcse), c.ipcso);
  }

  /** TCP segmentation (3.5): the first hdrlen bytes are the header of every segment. */
  private sendSegments(f: Uint8Array, c: Context, vlan: number): void {
    const { hdrlen, mss } = c;
    if (hdrlen === 0 || mss < MIN_MSS || hdrlen + mss > this.segment.length || hdrlen > f.length) return;
    this.count(Stat.TSCTC);
    const tcp = (c.tucmd & Tucmd.TCP) !== 0;
    if (vlan < 0 && tcp && isTcp4(f)) {
      if (this.o.backend.offload) {
        this.info.gsoSize = mss;
        this.info.noChecksum = true;
        this.transmit(f, vlan, this.info);
      } else segmentTcp4(f, mss, this.segment, (part) => this.transmit(part, vlan, PLAIN_FRAME));
      return;
    }
    // IPv6, UDP, tags inside the frame: by the context's offsets alone.
    const out = this.segment;
    const v4 = (c.tucmd & Tucmd.IP) !== 0;
    for (let done = 0, n = 0; hdrlen + done < f.length; n++) {
      const bytes = Math.min(mss, f.length - hdrlen - done);
      const total = hdrlen + bytes;
      out.set(f.subarray(0, hdrlen));
      out.set(f.subarray(hdrlen + done, hdrlen + done + bytes), hdrlen);
      const last = hdrlen + done + bytes >= f.length;
      if (c.ipcss + 20 <= hdrlen) {
        put16(out, c.ipcss + (v4 ? 2 : 4), v4 ? total - c.ipcss : total - c.ipcss - 40);
        if (v4) put16(out, c.ipcss + 4, (be16(f, c.ipcss + 4) + n) & 0xffff);
      }
      if (tcp && c.tucss + 20 <= hdrlen) {
        put32(out, c.tucss + 4, be32(f, c.tucss + 4) + done);
        if (!last) out[c.tucss + 13] = out[c.tucss + 13]! & ~9;
      } else if (!tcp && c.tucss + 8 <= hdrlen) put16(out, c.tucss + 4, total - c.tucss);
      // The driver has put the pseudo header's sum there, without the length.
      if (c.tucso + 2 <= hdrlen) {
        const sum = be16(out, c.tucso) + (total - c.tucss);
        put16(out, c.tucso, (sum & 0xffff) + (sum >>> 16));
      }
      this.checksums(out, Popts.TXSM | (v4 ? Popts.IXSM : 0), c, total);
      this.transmit(out.subarray(0, total), vlan, PLAIN_FRAME);
      done += bytes;
    }
  }

  private transmit(f: Uint8Array, vlan: number, info: Readonly<FrameInfo>): void {
    this.count(Stat.TPT);
    this.count(Stat.GPTC);
    this.count(Stat.TOTL, f.length);
    this.count(Stat.GOTCL, f.length + CRC_BYTES);
    if (f[0]! & 1) this.count(f[0] === 0xff ? Stat.BPTC : Stat.MPTC);
    let frame = f;
    if (vlan >= 0) {
      frame = new Uint8Array(f.length + 4);
      frame.set(f.subarray(0, 12));
      put16(frame, 12, this.s.regs[Reg.VET >> 2]! || VLAN_ETHERTYPE);
      put16(frame, 14, vlan);
      frame.set(f.subarray(12), 16);
    }
    if ((this.s.regs[Reg.RCTL >> 2]! & Rctl.LBM) === Rctl.LBM || (this.s.phy[Phy.CONTROL]! & 0x4000) !== 0) this.receive(frame, info);
    else this.o.backend.transmit(frame, info);
  }

  // ---- receive ----

  receive(frame: Uint8Array, _info: Readonly<FrameInfo>): boolean {
    const r = this.s.regs;
    const rctl = r[Reg.RCTL >> 2]!;
    if (!(rctl & Rctl.EN) || !this.busMaster || !this.accepts(frame, rctl)) return true;
    const limit = rctl & Rctl.LPE ? 16384 : MAX_FRAME + 4;
    if (frame.length > limit) {
      this.count(Stat.ROC);
      return true;
    }
    const b = this.rx;
    let status = Rxd.DD as number;
    let special = 0;
    let length = frame.length;
    if (r[Reg.CTRL >> 2]! & Ctrl.VME && frame.length >= 18 && be16(frame, 12) === (r[Reg.VET >> 2]! || VLAN_ETHERTYPE)) {
      b.set(frame.subarray(0, 12));
      b.set(frame.subarray(16), 12);
      special = be16(frame, 14);
      status |= Rxd.VP;
      length -= 4;
    } else b.set(frame);
    const errors = this.checkSums(b.subarray(0, length), r[Reg.RXCSUM >> 2]!);
    status |= errors >>> 8;
    if (length < MIN_FRAME) {
      b.fill(0, length, MIN_FRAME);
      length = MIN_FRAME;
    }
    // Drivers cut the frame check sequence off without a look at it.
    if (!(rctl & Rctl.SECRC)) {
      b.fill(0, length, length + CRC_BYTES);
      length += CRC_BYTES;
    }
    return this.store(b.subarray(0, length), status, errors & 0xff, special, rctl);
  }

  /** @returns status bits << 8 | error bits. */
  private checkSums(f: Uint8Array, rxcsum: number): number {
    if (!(rxcsum & (Rxcsum.IPOFLD | Rxcsum.TUOFLD))) return Rxd.IXSM << 8;
    const c = checkChecksums(f);
    let status = 0;
    let errors = 0;
    if (c & Checked.IP && rxcsum & Rxcsum.IPOFLD) {
      status |= Rxd.IPCS;
      if (c & Checked.IP_BAD) errors |= Rxd.IPE;
    }
    if (c & Checked.TRANSPORT && rxcsum & Rxcsum.TUOFLD) {
      status |= Rxd.TCPCS;
      if (c & Checked.TRANSPORT_BAD) errors |= Rxd.TCPE;
    }
    return ((status === 0 ? Rxd.IXSM : status) << 8) | errors;
  }

  private store(f: Uint8Array, status: number, errors: number, special: number, rctl: number): boolean {
    const r = this.s.regs;
    const m = this.o.memory;
    const count = r[Reg.RDLEN >> 2]! >>> 4;
    const size = bufferSize(rctl);
    const need = Math.ceil(f.length / size);
    if (count === 0) return true;
    const head = r[Reg.RDH >> 2]! % count;
    const tail = r[Reg.RDT >> 2]! % count;
    const free = (tail - head + count) % count;
    if (free < need) {
      this.count(Stat.MPC);
      this.raise(Int.RXO);
      return false;
    }
    const base = this.ring(Reg.RDBAL);
    for (let i = 0; i < need; i++) {
      const at = base + ((head + i) % count) * Rxd.BYTES;
      const part = f.subarray(i * size, Math.min(f.length, (i + 1) * size));
      const hi = m.read32(at + 4);
      const address = m.read32(at) + Math.min(hi, 0xf_ffff) * 0x1_0000_0000;
      m.writeFrom(address, part);
      const last = i === need - 1;
      m.write16(at + 8, part.length);
      m.write16(at + 10, 0);
      m.write16(at + 14, special);
      m.write16(at + 12, (status | (last ? Rxd.EOP : 0)) | (errors << 8));
    }
    r[Reg.RDH >> 2] = (head + need) % count;
    this.count(Stat.TPR);
    this.count(Stat.GPRC);
    this.count(Stat.TORL, f.length);
    this.count(Stat.GORCL, f.length);
    const threshold = count >> (((rctl >>> Rctl.RDMTS_SHIFT) & 3) + 1);
    this.raise(Int.RXT0 | (free - need <= threshold ? Int.RXDMT0 : 0));
    return true;
  }

  private accepts(f: Uint8Array, rctl: number): boolean {
    const r = this.s.regs;
    if (rctl & Rctl.VFE && f.length >= 18 && be16(f, 12) === (r[Reg.VET >> 2]! || VLAN_ETHERTYPE)) {
      const id = be16(f, 14) & 0xfff;
      if (!(r[(Reg.VFTA >> 2) + (id >> 5)]! & (1 << (id & 31)))) return false;
    }
    if (f[0]! & 1) {
      if (f[0] === 0xff && f[1] === 0xff && f[2] === 0xff && f[3] === 0xff && f[4] === 0xff && f[5] === 0xff) {
        if (!(rctl & (Rctl.BAM | Rctl.MPE))) return false;
        this.count(Stat.BPRC);
        return true;
      }
      if (!(rctl & Rctl.MPE) && !this.exact(f) && !this.multicast(f, rctl)) return false;
      this.count(Stat.MPRC);
      return true;
    }
    return (rctl & Rctl.UPE) !== 0 || this.exact(f);
  }

  private exact(f: Uint8Array): boolean {
    const r = this.s.regs;
    const lo = f[0]! | (f[1]! << 8) | (f[2]! << 16) | (f[3]! << 24);
    const hi = f[4]! | (f[5]! << 8) | (1 << 31);
    for (let i = Reg.RAL >> 2; i < Reg.RA_END >> 2; i += 2) if (r[i] === lo && (r[i + 1]! & 0x8000_ffff) === hi) return true;
    return false;
  }

  /** The multicast table (13.5.1): twelve bits of the address, which ones RCTL.MO says. */
  private multicast(f: Uint8Array, rctl: number): boolean {
    const shift = [4, 3, 2, 0][(rctl >>> Rctl.MO_SHIFT) & 3]!;
    const bits = (((f[5]! << 8) | f[4]!) >>> shift) & 0xfff;
    return (this.s.regs[(Reg.MTA >> 2) + (bits >>> 5)]! & (1 << (bits & 31))) !== 0;
  }

  // ---- reset and state ----

  private resetCard(): void {
    this.s = this.initialState();
    this.serial.s = this.s.eeprom;
    this.txLength = 0;
    this.more.disarm();
    this.moderation.disarm();
    this.quietUntil = 0;
    this.syncInt();
  }

  override reset(): void {
    super.reset();
    this.resetCard();
  }

  override save(): SavedState {
    this.s.frame = this.tx.slice(0, this.txLength);
    return { ...super.save(), card: saveState(schema, VERSION, { ...this.s, regs: this.s.regs.subarray(0, SAVED_WORDS) }) };
  }

  override restore(s: SavedState): void {
    const card = loadState(this.name, schema, VERSION, s.card as SavedState);
    super.restore(s);
    const regs = new Int32Array(WORDS);
    regs.set(card.regs);
    this.s = { ...card, regs };
    this.serial.s = this.s.eeprom;
    this.tx.set(card.frame);
    this.txLength = card.frame.length;
    // Whether the ring had been left in the middle does not matter: an empty one is left alone.
    this.more.arm(this.o.clock.now());
    this.asserted = false;
    this.quietUntil = 0;
    this.syncInt();
  }
}

/** Bytes of a receive buffer (RCTL.BSIZE, BSEX). */
function bufferSize(rctl: number): number {
  const n = 2048 >> ((rctl >>> Rctl.BSIZE_SHIFT) & 3);
  return rctl & Rctl.BSEX ? Math.min(16384, n * 16) : n;
}
