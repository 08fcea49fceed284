/**
 * Realtek RTL8139C(L)+ fast Ethernet controller: the four transmit descriptors and the receive ring of the 8139, and the
 * descriptor rings of C+ mode with checksum offload, large send and VLAN tags. EEPROM, PHY registers, timer interrupt.
 */
import { VmxError } from '../../errors.js';
import { checkChecksums, Checked, isTcp4, MIN_MSS, segmentTcp4 } from '../../net/offload.js';
import { be16, ETH_HEADER, EtherType, foldSum, IP_HEADER, IpProto, MAX_FRAME, MTU, pseudoSum, put16, sumBytes } from '../../net/packet.js';
import { type FrameInfo, type NetBackend, type NicAbilities, type NicEnd, PLAIN_FRAME } from '../../net/port.js';
import type { DeviceClock, DeviceTimer, GuestMemory, IoHandler, SavedState } from '../device.js';
import { PciFunction, type PciHost } from '../pci/pci.js';
import { bytes, int, loadState, saveState, type Schema, time, u16, u8 } from '../saved.js';
import { Cpcr, Cr, Ee, EeMode, eeprom, Int, PHY, Poll, Rcr, Reg, REGISTER_BYTES, RxStatus, Rxd, Tcr, Tsd, Txd } from './rtl8139.spec.js';
import { Microwire, microwireRule } from './microwire.js';

const VERSION = 1;
const CRC_BYTES = 4;
const MIN_FRAME = 60;
const MAX_TX = 65536 + 256;
/** Free space the ring keeps, so that full and empty differ. */
const RING_GAP = 16;
/** Descriptors looked at for one poll. */
const MAX_DESCRIPTORS = 256;
/** Between looks for a free receive descriptor in C+ mode. */
const RETRY_NS = 1e6;
/** PCI clocks, which the timer counts. */
const TIMER_HZ = 33_000_000;

interface State {
  /** Registers without side effects, by offset; the wide ones are little-endian. */
  regs: Uint8Array;
  cr: number;
  isr: number;
  imr: number;
  cpcr: number;
  /** Next of the four transmit descriptors. */
  next: number;
  capr: number;
  cbr: number;
  /** Positions in the C+ rings: normal, high priority, receive. */
  txNormal: number;
  txHigh: number;
  rxNext: number;
  /** Guest time at which TCTR was 0. */
  timerStart: number;
  ee: number;
  eeprom: Microwire['s'];
  frame: Uint8Array;
}

const schema: Schema<State> = {
  regs: bytes(REGISTER_BYTES),
  cr: u8,
  isr: u16,
  imr: u16,
  cpcr: u16,
  next: int(0, 3),
  capr: u16,
  cbr: u16,
  txNormal: int(0, MAX_DESCRIPTORS - 1),
  txHigh: int(0, MAX_DESCRIPTORS - 1),
  rxNext: int(0, MAX_DESCRIPTORS - 1),
  timerStart: time,
  ee: u8,
  eeprom: microwireRule,
  frame: {
    save: (v) => Buffer.from(v).toString('hex'),
    load: (raw, at) => {
      if (typeof raw !== 'string' || raw.length > MAX_TX * 2) throw new VmxError('ERR_BAD_STATE', `saved state: ${at} is not a frame`);
      return bytes(raw.length >> 1).load(raw, at);
    },
  },
};

export interface Rtl8139Options {
  memory: GuestMemory;
  clock: DeviceClock;
  mac: Uint8Array;
  backend: NetBackend;
}

export class Rtl8139 extends PciFunction implements NicEnd {
  readonly abilities: NicAbilities = { maxFrame: MAX_FRAME, checksumFree: false };
  private readonly rom: Uint16Array;
  private readonly serial: Microwire;
  private readonly timer: DeviceTimer;
  private readonly retry: DeviceTimer;
  private refused = false;
  private s: State;
  private readonly tx = new Uint8Array(MAX_TX);
  private txLength = 0;
  private readonly segment = new Uint8Array(MAX_FRAME + 2048);
  private readonly rx = new Uint8Array(MAX_FRAME + 64);
  private readonly info: FrameInfo = { gsoSize: 0, noChecksum: false };

  constructor(
    name: string,
    host: PciHost,
    slot: number,
    private readonly o: Rtl8139Options,
  ) {
    super(name, host, slot << 3, { vendor: 0x10ec, device: 0x8139, class: 0x0200, revision: 0x20, subsysVendor: 0x10ec, subsys: 0x8139, pin: 1 });
    this.rom = eeprom(o.mac);
    this.serial = new Microwire(this.rom);
    this.timer = o.clock.timer(() => this.timerTick());
    this.retry = o.clock.timer(() => this.retryNow());
    this.s = this.initialState();
    const io: IoHandler = { read: (at, size) => this.read(at, size), write: (at, size, v) => this.write(at, size, v) };
    this.addBar(0, 'io', REGISTER_BYTES, io);
    this.addBar(1, 'mem', REGISTER_BYTES, io);
    this.addMasterRegisters();
    this.sealConfig();
    o.backend.attach(this);
  }

  private initialState(): State {
    const regs = new Uint8Array(REGISTER_BYTES);
    regs.set(this.o.mac, Reg.IDR0);
    for (let i = 0; i < 4; i++) put(regs, Reg.TSD0 + i * 4, 4, Tsd.OWN);
    for (const [at, r] of Object.entries(PHY)) put(regs, Number(at), 2, r!.reset);
    regs[Reg.CONFIG1] = 0x0c;
    regs[Reg.CONFIG3] = 0x01;
    return {
      regs, cr: 0, isr: 0, imr: 0, cpcr: 0, next: 0, capr: 0xfff0, cbr: 0, txNormal: 0, txHigh: 0, rxNext: 0, timerStart: this.o.clock.now(), ee: 0,
      eeprom: (this.serial.s = new Microwire(this.rom).s), frame: new Uint8Array(0),
    };
  }

  private get16(at: number): number {
    return this.s.regs[at]! | (this.s.regs[at + 1]! << 8);
  }

  private get32(at: number): number {
    return (this.get16(at) + this.get16(at + 2) * 0x10000) >>> 0;
  }

  /** An address of 64 bits; what is no memory is cut so that arithmetic stays exact. */
  private get64(at: number): number {
    return this.get32(at) + Math.min(this.get32(at + 4), 0xf_ffff) * 0x1_0000_0000;
  }

  private get cplusTx(): boolean {
    return (this.s.cpcr & Cpcr.TX_ENABLE) !== 0;
  }

  // ---- registers ----

  private read(at: number, size: number): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.readByte(at + i);
    return v;
  }

  private readByte(at: number): number {
    const s = this.s;
    switch (at) {
      case Reg.CR:
        return s.cr | (this.ringEmpty() ? Cr.BUFE : 0);
      case Reg.CAPR:
      case Reg.CAPR + 1:
        return byteOf(s.capr, at - Reg.CAPR);
      case Reg.CBR:
      case Reg.CBR + 1:
        return byteOf(s.cbr, at - Reg.CBR);
      case Reg.IMR:
      case Reg.IMR + 1:
        return byteOf(s.imr, at - Reg.IMR);
      case Reg.ISR:
      case Reg.ISR + 1:
        return byteOf(s.isr, at - Reg.ISR);
      case Reg.TCR + 2:
      case Reg.TCR + 3:
        return (s.regs[at]! & byteOf(Tcr.WRITABLE, at - Reg.TCR)) | byteOf(Tcr.HWVER, at - Reg.TCR);
      case Reg.TCTR:
      case Reg.TCTR + 1:
      case Reg.TCTR + 2:
      case Reg.TCTR + 3:
        return byteOf(this.ticks() % 0x1_0000_0000, at - Reg.TCTR);
      case Reg.CR9346:
        return (s.ee & ~Ee.DO) | (this.serial.data ? Ee.DO : 0);
      // Link up (LINKB is low active), 100 Mb/s.
      case Reg.MSR:
        return 0;
      case Reg.TSAD:
      case Reg.TSAD + 1:
        return byteOf(this.summary(), at - Reg.TSAD);
      case Reg.CPCR:
      case Reg.CPCR + 1:
        return byteOf(s.cpcr, at - Reg.CPCR);
      default:
        return s.regs[at] ?? 0;
    }
  }

  /** Transmit status of all four descriptors: OWN in bits 3..0, TUN in 11..8, TOK in 15..12. */
  private summary(): number {
    let v = 0;
    for (let i = 0; i < 4; i++) {
      const d = this.get32(Reg.TSD0 + i * 4);
      v |= (d & Tsd.OWN ? 1 << i : 0) | (d & Tsd.TUN ? 0x100 << i : 0) | (d & Tsd.TOK ? 0x1000 << i : 0);
    }
    return v;
  }

  /** The configuration registers and the PHY's mode can be changed while 9346CR says so. */
  private get unlocked(): boolean {
    return this.s.ee >>> Ee.MODE_SHIFT === EeMode.CONFIG;
  }

  private write(at: number, size: number, value: number): void {
    const s = this.s;
    // Registers whose writing starts something are written whole.
    if (size === 4 && (at & 3) === 0 && at >= Reg.TSD0 && at < Reg.TSD0 + 16) {
      if (!this.cplusTx) this.transmitStatus((at - Reg.TSD0) >> 2, value);
      else put(s.regs, at, 4, value);
      return;
    }
    if (size === 2 && (at & 1) === 0) {
      const phy = PHY[at];
      if (phy !== undefined) {
        const v = (this.get16(at) & ~phy.writable) | (value & phy.writable);
        // Reset and restart of autonegotiation clear themselves.
        put(s.regs, at, 2, at === (Reg.BMCR as number) ? v & 0x7dff : v);
        return;
      }
      switch (at) {
        case Reg.IMR:
          s.imr = value & Int.ALL;
          this.syncInt();
          // Drivers write this when they have taken what had come.
          if (this.refused) this.retryNow();
          return;
        case Reg.ISR:
          s.isr &= ~value;
          this.syncInt();
          return;
        case Reg.CAPR:
          s.capr = value;
          this.o.backend.room();
          return;
        case Reg.CPCR:
          s.cpcr = value & Cpcr.WRITABLE;
          s.txNormal = s.txHigh = s.rxNext = 0;
          return;
      }
    }
    if (size === 4 && at === (Reg.TCTR as number)) {
      s.timerStart = this.o.clock.now();
      this.armTimer();
      return;
    }
    for (let i = 0; i < size; i++) this.writeByte(at + i, byteOf(value, i));
    if (at <= Reg.TIMER_INT && at + size > Reg.TIMER_INT) this.armTimer();
    if (at <= Reg.RCR && at + size > Reg.RCR) this.o.backend.room();
  }

  private writeByte(at: number, v: number): void {
    const s = this.s;
    switch (at) {
      case Reg.CR:
        if (v & Cr.RST) this.softReset();
        else {
          s.cr = v & (Cr.TE | Cr.RE);
          this.o.backend.room();
        }
        return;
      case Reg.CR9346:
        s.ee = v & ~Ee.DO;
        if (v >>> Ee.MODE_SHIFT === EeMode.AUTOLOAD) {
          s.regs.set(this.o.mac, Reg.IDR0);
          s.ee = 0;
        } else this.serial.set(v >>> Ee.MODE_SHIFT === EeMode.PROGRAM && (v & Ee.CS) !== 0, (v & Ee.SK) !== 0, (v & Ee.DI) !== 0);
        return;
      case Reg.TPPOLL:
        if (v & Poll.FSWINT) this.raise(Int.SWINT);
        if (v & Poll.HPQ) this.sendRing(true);
        if (v & Poll.NPQ) this.sendRing(false);
        return;
      case Reg.CONFIG0:
      case Reg.CONFIG1:
      case Reg.CONFIG3:
      case Reg.CONFIG4:
        if (this.unlocked) s.regs[at] = v;
        return;
      default:
        break;
    }
    const writable = at < Reg.TSD0 || (at >= Reg.TSAD0 && at < Reg.CR - 1) || (at >= Reg.TCR && at < Reg.TCTR) || (at >= Reg.MPC && at < Reg.MPC + 4) || (at >= Reg.TIMER_INT && at < Reg.MSR) || at === Reg.MULINT || at === Reg.CONFIG5 || (at >= Reg.RDSAR && at <= Reg.MTPS);
    if (!writable) return;
    if (at >= Reg.IDR0 && at < 6 && !this.unlocked) return;
    s.regs[at] = at >= Reg.MPC && at < Reg.MPC + 4 ? 0 : v;
    if (at >= Reg.TSAD0 && at < Reg.TSAD0 + 16 && this.cplusTx) {
      if (at < Reg.THPDS) s.txNormal = 0;
      else s.txHigh = 0;
    }
    if (at >= Reg.RDSAR && at < Reg.RDSAR + 8) s.rxNext = 0;
  }

  private raise(causes: number): void {
    this.s.isr |= causes;
    this.syncInt();
  }

  private syncInt(): void {
    this.setIntx((this.s.isr & this.s.imr) !== 0);
  }

  // ---- timer ----

  private ticks(): number {
    return Math.floor(((this.o.clock.now() - this.s.timerStart) * TIMER_HZ) / 1e9);
  }

  /** TimerInt: an interrupt when TCTR gets there; 0 switches it off. */
  private armTimer(): void {
    const at = this.get32(Reg.TIMER_INT);
    const deadline = this.s.timerStart + Math.ceil((at * 1e9) / TIMER_HZ);
    if (at === 0 || deadline < this.o.clock.now()) this.timer.disarm();
    else this.timer.arm(deadline);
  }

  private timerTick(): void {
    this.raise(Int.TIMEOUT);
  }

  // ---- transmit ----

  /** A write to TSDn with OWN clear sends its buffer (8139 mode). */
  private transmitStatus(n: number, value: number): void {
    const at = Reg.TSD0 + n * 4;
    put(this.s.regs, at, 4, value & ~(Tsd.TOK | Tsd.TUN));
    if (value & Tsd.OWN || !(this.s.cr & Cr.TE) || !this.busMaster) return;
    const size = value & Tsd.SIZE;
    const f = this.tx.subarray(0, size);
    if (!this.o.memory.readInto(this.get32(Reg.TSAD0 + n * 4), f)) f.fill(0xff);
    this.s.next = (n + 1) & 3;
    if (size >= ETH_HEADER && size <= MAX_FRAME + 4) this.transmit(f, PLAIN_FRAME);
    put(this.s.regs, at, 4, (value & ~Tsd.TUN) | Tsd.OWN | Tsd.TOK);
    this.o.backend.flush();
    this.raise(Int.TOK);
  }

  /** Works through a ring of C+ mode until a descriptor that is not ours. */
  private sendRing(high: boolean): void {
    const s = this.s;
    if (!this.cplusTx || !(s.cr & Cr.TE) || !this.busMaster) return;
    const m = this.o.memory;
    const base = this.get64(high ? Reg.THPDS : Reg.TSAD0);
    let at = high ? s.txHigh : s.txNormal;
    let sent = false;
    for (let n = 0; n < MAX_DESCRIPTORS; n++) {
      const d = base + at * Txd.BYTES;
      const command = m.read32(d) | 0;
      if (!m.valid(d, Txd.BYTES) || !(command & Txd.OWN)) break;
      this.descriptor(d, command);
      m.write32(d, (command & ~Txd.OWN & (Txd.EOR | Txd.FS | Txd.LS | Txd.LENGTH)) >>> 0);
      at = command & Txd.EOR || at === MAX_DESCRIPTORS - 1 ? 0 : at + 1;
      sent = true;
    }
    if (high) s.txHigh = at;
    else s.txNormal = at;
    this.o.backend.flush();
    this.raise((sent ? Int.TOK : 0) | Int.TDU);
  }

  private descriptor(d: number, command: number): void {
    const m = this.o.memory;
    if (command & Txd.FS) this.txLength = 0;
    const n = Math.min(command & Txd.LENGTH, MAX_TX - this.txLength);
    if (n > 0) {
      const into = this.tx.subarray(this.txLength, this.txLength + n);
      if (!m.readInto(m.read32(d + 8) + Math.min(m.read32(d + 12), 0xf_ffff) * 0x1_0000_0000, into)) into.fill(0xff);
      this.txLength += n;
    }
    if (!(command & Txd.LS)) return;
    const f = this.tx.subarray(0, this.txLength);
    this.txLength = 0;
    if (f.length < ETH_HEADER) return;
    const tag = m.read32(d + 4);
    const vlan = tag & Txd.TAGC ? ((tag & 0xff) << 8) | ((tag >>> 8) & 0xff) : -1;
    if (command & Txd.LGSEN) this.largeSend(f, (command >>> Txd.MSS_SHIFT) & 0x7ff, vlan);
    else {
      if (command & (Txd.IPCS | Txd.TCPCS | Txd.UDPCS)) completeChecksums(f, (command & Txd.IPCS) !== 0, (command & (Txd.TCPCS | Txd.UDPCS)) !== 0);
      if (f.length <= MAX_FRAME + 4) this.tagged(f, vlan, PLAIN_FRAME);
    }
  }

  private largeSend(f: Uint8Array, mss: number, vlan: number): void {
    if (!isTcp4(f) || mss < MIN_MSS) return;
    if (this.o.backend.offload && vlan < 0) {
      this.info.gsoSize = mss;
      this.info.noChecksum = true;
      this.transmit(f, this.info);
    } else segmentTcp4(f, Math.min(mss, MTU), this.segment, (part) => this.tagged(part, vlan, PLAIN_FRAME));
  }

  private tagged(f: Uint8Array, vlan: number, info: Readonly<FrameInfo>): void {
    if (vlan < 0) {
      this.transmit(f, info);
      return;
    }
    const t = new Uint8Array(f.length + 4);
    t.set(f.subarray(0, 12));
    put16(t, 12, 0x8100);
    put16(t, 14, vlan);
    t.set(f.subarray(12), 16);
    this.transmit(t, info);
  }

  private transmit(f: Uint8Array, info: Readonly<FrameInfo>): void {
    if ((this.get32(Reg.TCR) & Tcr.LBK) === Tcr.LBK) this.receive(f, info);
    else this.o.backend.transmit(f, info);
  }

  // ---- receive ----

  receive(frame: Uint8Array, _info: Readonly<FrameInfo>): boolean {
    const s = this.s;
    if (!(s.cr & Cr.RE) || !this.busMaster || frame.length > MAX_FRAME + 4) return true;
    const kind = this.accepts(frame);
    if (kind === 0) return true;
    const b = this.rx;
    b.set(frame);
    let length = frame.length;
    if (length < MIN_FRAME) {
      b.fill(0, length, MIN_FRAME);
      length = MIN_FRAME;
    }
    // Drivers cut the frame check sequence off without a look at it.
    b.fill(0, length, length + CRC_BYTES);
    const f = b.subarray(0, length + CRC_BYTES);
    return s.cpcr & Cpcr.RX_ENABLE ? this.intoDescriptor(f, kind) : this.intoRing(f, kind);
  }

  private intoDescriptor(f: Uint8Array, kind: number): boolean {
    const s = this.s;
    const m = this.o.memory;
    const d = this.get64(Reg.RDSAR) + s.rxNext * Rxd.BYTES;
    if (!m.valid(d, Rxd.BYTES)) return true;
    const command = m.read32(d) | 0;
    if (!(command & Rxd.OWN)) {
      this.raise(Int.RXOVW);
      this.refused = true;
      this.retry.arm(this.o.clock.now() + RETRY_NS);
      return false;
    }
    let data = f;
    let tag = 0;
    if (s.cpcr & Cpcr.RX_VLAN && be16(f, 12) === 0x8100) {
      tag = Rxd.TAVA | ((be16(f, 14) & 0xff) << 8) | (be16(f, 14) >>> 8);
      f.copyWithin(12, 16);
      data = f.subarray(0, f.length - 4);
    }
    let status = Rxd.FS | Rxd.LS | (command & Rxd.EOR) | (kind & RxStatus.BAR ? Rxd.BAR : 0) | (kind & RxStatus.PAM ? Rxd.PAM : 0) | (kind & RxStatus.MAR ? Rxd.MAR : 0);
    if (s.cpcr & Cpcr.RX_CHECKSUM) status |= checksumStatus(data.subarray(0, data.length - CRC_BYTES));
    const size = command & Rxd.SIZE;
    // A frame that does not fit is lost; its descriptor stays.
    if (data.length > size) return true;
    m.writeFrom(m.read32(d + 8) + Math.min(m.read32(d + 12), 0xf_ffff) * 0x1_0000_0000, data);
    m.write32(d + 4, tag);
    m.write32(d, (status | data.length) >>> 0);
    s.rxNext = command & Rxd.EOR || s.rxNext === MAX_DESCRIPTORS - 1 ? 0 : s.rxNext + 1;
    this.raise(Int.ROK);
    return true;
  }

  /** A frame waits for a descriptor: giving one back writes to no register, so it is looked for. */
  private retryNow(): void {
    this.refused = false;
    this.retry.disarm();
    this.o.backend.room();
  }

  private ringSize(): number {
    return 8192 << ((this.get32(Reg.RCR) >>> Rcr.RBLEN_SHIFT) & 3);
  }

  private ringEmpty(): boolean {
    return this.s.cbr === (this.s.capr + RING_GAP) % this.ringSize();
  }

  /** The receive buffer of the 8139: status, length and frame, one after the other. */
  private intoRing(f: Uint8Array, kind: number): boolean {
    const s = this.s;
    const m = this.o.memory;
    const size = this.ringSize();
    const base = this.get32(Reg.RBSTART);
    const read = (s.capr + RING_GAP) % size;
    const used = (s.cbr - read + size) % size;
    const need = (4 + f.length + 3) & ~3;
    if (used + need >= size) {
      this.raise(Int.RXOVW);
      return false;
    }
    const at = s.cbr % size;
    m.write16(base + at, RxStatus.ROK | kind);
    m.write16(base + at + 2, f.length);
    // With WRAP, and always in the biggest ring but one, a frame goes on behind the end.
    const room = size - at - 4;
    if (f.length <= room || (this.get32(Reg.RCR) & Rcr.WRAP && size < 65536)) m.writeFrom(base + at + 4, f);
    else {
      m.writeFrom(base + at + 4, f.subarray(0, room));
      m.writeFrom(base, f.subarray(room));
    }
    s.cbr = (at + need) % size;
    this.raise(Int.ROK);
    return true;
  }

  /** @returns RxStatus bits of the kind of address, 0 if the frame is not wanted. */
  private accepts(f: Uint8Array): number {
    const rcr = this.get32(Reg.RCR);
    const r = this.s.regs;
    if (f[0]! & 1) {
      if (f[0] === 0xff && f[1] === 0xff && f[2] === 0xff && f[3] === 0xff && f[4] === 0xff && f[5] === 0xff) return rcr & (Rcr.AB | Rcr.AAP) ? RxStatus.BAR : 0;
      const hash = crc32(f, 6) >>> 26;
      return rcr & Rcr.AAP || (rcr & Rcr.AM && r[Reg.MAR0 + (hash >>> 3)]! & (1 << (hash & 7))) ? RxStatus.MAR : 0;
    }
    let mine = true;
    for (let i = 0; i < 6; i++) if (f[i] !== r[i]) mine = false;
    return mine && rcr & (Rcr.APM | Rcr.AAP) ? RxStatus.PAM : rcr & Rcr.AAP ? RxStatus.ROK : 0;
  }

  // ---- reset and state ----

  /** CR.RST: everything but the address, the multicast table and the configuration. */
  private softReset(): void {
    const old = this.s;
    this.s = this.initialState();
    this.s.regs.set(old.regs.subarray(0, 16));
    for (const at of [Reg.CONFIG0, Reg.CONFIG1, Reg.CONFIG3, Reg.CONFIG4, Reg.CONFIG5]) this.s.regs[at] = old.regs[at]!;
    this.txLength = 0;
    this.timer.disarm();
    this.retry.disarm();
    this.refused = false;
    this.syncInt();
  }

  override reset(): void {
    super.reset();
    this.s = this.initialState();
    this.txLength = 0;
    this.timer.disarm();
    this.retry.disarm();
    this.refused = false;
    this.syncInt();
  }

  override save(): SavedState {
    this.s.frame = this.tx.slice(0, this.txLength);
    return { ...super.save(), card: saveState(schema, VERSION, this.s) };
  }

  override restore(s: SavedState): void {
    const card = loadState(this.name, schema, VERSION, s.card as SavedState);
    super.restore(s);
    this.s = card;
    this.serial.s = card.eeprom;
    this.tx.set(card.frame);
    this.txLength = card.frame.length;
    this.armTimer();
    this.syncInt();
  }
}

const byteOf = (v: number, i: number): number => (v >>> (8 * i)) & 0xff;

function put(regs: Uint8Array, at: number, size: number, v: number): void {
  for (let i = 0; i < size; i++) regs[at + i] = byteOf(v, i);
}

/** The card's hash: CRC-32 of IEEE 802.3, most significant bit first. */
function crc32(f: Uint8Array, n: number): number {
  let crc = 0xffff_ffff;
  for (let i = 0; i < n; i++) {
    for (let bit = 0, b = f[i]!; bit < 8; bit++, b >>= 1) {
      const carry = (crc >>> 31) ^ (b & 1);
      crc <<= 1;
      if (carry) crc ^= 0x04c1_1db7;
    }
  }
  return crc >>> 0;
}

/** Computes the checksums of an IPv4 frame anew: of its header, and of TCP or UDP. */
function completeChecksums(f: Uint8Array, header: boolean, transport: boolean): void {
  const ip = ETH_HEADER;
  if (f.length < ip + IP_HEADER || be16(f, 12) !== EtherType.IPV4) return;
  const start = ip + (f[ip]! & 15) * 4;
  const end = ip + be16(f, ip + 2);
  if (start < ip + IP_HEADER || end > f.length || start > end) return;
  if (header) {
    put16(f, ip + 10, 0);
    put16(f, ip + 10, foldSum(sumBytes(f, ip, start)));
  }
  const proto = f[ip + 9]!;
  const at = start + (proto === IpProto.TCP ? 16 : 6);
  if (!transport || (proto !== IpProto.TCP && proto !== IpProto.UDP) || at + 2 > end) return;
  put16(f, at, 0);
  const sum = foldSum(sumBytes(f, start, end, pseudoSum(f, ip, proto, end - start)));
  put16(f, at, sum === 0 && proto === IpProto.UDP ? 0xffff : sum);
}

function checksumStatus(f: Uint8Array): number {
  const c = checkChecksums(f);
  if (!(c & Checked.IP)) return 0;
  const proto = f[ETH_HEADER + 9];
  const transport = (c & Checked.TRANSPORT) !== 0;
  const bad = (c & Checked.TRANSPORT_BAD) !== 0;
  let v = c & Checked.IP_BAD ? (Rxd.IPF as number) : 0;
  if (transport && proto === IpProto.TCP) v |= Rxd.PID_TCP | (bad ? Rxd.TCPF : 0);
  else if (transport && proto === IpProto.UDP) v |= Rxd.PID_UDP | (bad ? Rxd.UDPF : 0);
  else v |= Rxd.PID_IP;
  return v;
}
