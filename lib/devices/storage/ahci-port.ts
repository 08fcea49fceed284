/**
 * One AHCI port (AHCI 1.3.1, 3.3, chapters 5 and 6) with what is plugged into it: runs the commands of its list in order, each
 * within the write that issues it. A command that fails stops the list until software clears PxCMD.ST (6.2.2).
 */
import { VmxError } from '../../errors.js';
import type { GuestMemory, SavedState } from '../device.js';
import { bool, int, loadState, saveState, type Schema, u32 } from '../saved.js';
import { AtaCmd, Control, DeviceReg, Status } from './ata/ata.spec.js';
import { AtaDisk } from './ata/disk.js';
import { type AtaDevice, Protocol } from './ata/device.js';
import { deviceToMemory, memoryToDevice } from './ata/dma.js';
import { PACKET_BYTES } from './ata/packet.js';
import {
  CDB_AT, Det, Fis, FIS_COMMAND, FIS_INTERRUPT, FIS_TO_HOST, HEADER_BYTES, Pi, PRD_BYTES, PRD_COUNT, PRD_INTERRUPT, PRDT_AT, Px, PxCmd, Rx, Serr, SLOTS, SSTS_OFFLINE, SSTS_PRESENT,
} from './ahci.spec.js';

const VERSION = 1;
const NO_SIGNATURE = 0xffff_ffff;
const TFD_NO_DEVICE = 0x7f;
const GIB4 = 0x1_0000_0000;
const CFIS_BYTES = 20;

interface State {
  clb: number;
  clbu: number;
  fb: number;
  fbu: number;
  is: number;
  ie: number;
  cmd: number;
  tfd: number;
  sig: number;
  ssts: number;
  sctl: number;
  serr: number;
  sact: number;
  ci: number;
  /** A command has failed: nothing runs until ST is cleared. */
  halted: boolean;
  /** The last register FIS without a command had SRST set. */
  softReset: boolean;
  ccs: number;
}

const SCHEMA: Schema<State> = {
  clb: u32, clbu: u32, fb: u32, fbu: u32, is: u32, ie: u32, cmd: u32, tfd: u32, sig: u32, ssts: u32, sctl: u32, serr: u32, sact: u32, ci: u32, halted: bool, softReset: bool, ccs: int(0, SLOTS - 1),
};

const initial = (): State => ({
  clb: 0, clbu: 0, fb: 0, fbu: 0, is: 0, ie: 0, cmd: PxCmd.SUD | PxCmd.POD, tfd: TFD_NO_DEVICE, sig: NO_SIGNATURE, ssts: 0, sctl: 0, serr: 0, sact: 0, ci: 0, halted: false, softReset: false, ccs: 0,
});

export class AhciPort {
  private s = initial();
  private readonly cfis = new Uint8Array(CFIS_BYTES);
  private readonly cdb = new Uint8Array(PACKET_BYTES);
  private readonly rx = new Uint8Array(CFIS_BYTES);
  /** Bits that have come to PxIS since the function last looked. */
  raised = 0;

  constructor(
    private readonly mem: GuestMemory,
    private device: AtaDevice | null,
    /** The function may read and write memory. */
    private readonly master: () => boolean,
  ) {
    this.reset(true);
  }

  /** @param all also what a reset of the HBA by software keeps (10.4.3). */
  reset(all: boolean): void {
    const { clb, clbu, fb, fbu } = this.s;
    this.s = initial();
    if (!all) Object.assign(this.s, { clb, clbu, fb, fbu });
    this.device?.reset(true);
    this.connected();
  }

  /** A device is plugged in, or with null taken out (7.x "native hot plug"): software sees PxSERR and its interrupts. */
  plug(device: AtaDevice | null): void {
    this.device = device;
    this.s.ci = this.s.sact = 0;
    this.s.tfd = TFD_NO_DEVICE;
    this.s.sig = NO_SIGNATURE;
    this.s.ssts = 0;
    device?.reset(true);
    this.serr(Serr.N);
    if (device !== null) this.connected();
  }

  /** The PHY has found its device: its first register FIS brings the signature. */
  private connected(): void {
    const d = this.device;
    if (d === null || (this.s.sctl & Det.MASK) === (Det.OFFLINE as number)) return;
    this.s.ssts = SSTS_PRESENT;
    this.serr(Serr.X);
    this.signature(d);
  }

  private signature(d: AtaDevice): void {
    const r = d.r;
    this.s.sig = ((r.count & 0xff) | ((r.lbaLow & 0xff) << 8) | ((r.lbaMid & 0xff) << 16) | ((r.lbaHigh & 0xff) << 24)) >>> 0;
    this.registerFis(d, false);
  }

  private serr(bits: number): void {
    this.s.serr = (this.s.serr | bits) >>> 0;
    this.raise((bits & Serr.N ? Pi.PRCS : 0) | (bits & Serr.X ? Pi.PCS : 0));
  }

  private raise(bits: number): void {
    this.s.is = (this.s.is | bits) >>> 0;
    this.raised |= bits;
  }

  /** Level of this port's interrupt. */
  get pending(): boolean {
    return (this.s.is & this.s.ie) !== 0;
  }

  save(): SavedState {
    return { ...saveState(SCHEMA, VERSION, this.s), device: this.device?.save() ?? null };
  }

  /** @returns a function that takes the state over. @throws VmxError; nothing has changed then. */
  check(saved: unknown): () => void {
    if (typeof saved !== 'object' || saved === null) throw new VmxError('ERR_BAD_STATE', 'not the state of an AHCI port');
    const s = loadState('AHCI port', SCHEMA, VERSION, saved as SavedState);
    const take = this.device?.check((saved as SavedState).device);
    return () => {
      this.s = s;
      this.raised = 0;
      take?.();
    };
  }

  // ---- registers ----

  read(reg: Px): number {
    const s = this.s;
    switch (reg) {
      case Px.CLB:
        return s.clb;
      case Px.CLBU:
        return s.clbu;
      case Px.FB:
        return s.fb;
      case Px.FBU:
        return s.fbu;
      case Px.IS:
        return s.is;
      case Px.IE:
        return s.ie;
      case Px.CMD:
        return (s.cmd | (s.ccs << PxCmd.CCS_SHIFT) | (s.cmd & PxCmd.FRE ? PxCmd.FR : 0) | (s.cmd & PxCmd.ST ? PxCmd.CR : 0)) >>> 0;
      case Px.TFD:
        return s.tfd;
      case Px.SIG:
        return s.sig;
      case Px.SSTS:
        return s.ssts;
      case Px.SCTL:
        return s.sctl;
      case Px.SERR:
        return s.serr;
      case Px.SACT:
        return s.sact;
      case Px.CI:
        return s.ci;
      default:
        return 0;
    }
  }

  write(reg: Px, v: number): void {
    const s = this.s;
    switch (reg) {
      case Px.CLB:
        s.clb = (v & ~0x3ff) >>> 0;
        break;
      case Px.CLBU:
        s.clbu = v;
        break;
      case Px.FB:
        s.fb = (v & ~0xff) >>> 0;
        break;
      case Px.FBU:
        s.fbu = v;
        break;
      case Px.IS:
        // Those two show PxSERR and go with it.
        s.is = (s.is & ~(v & ~(Pi.PCS | Pi.PRCS))) >>> 0;
        break;
      case Px.IE:
        s.ie = (v & Pi.WRITABLE_IE) >>> 0;
        break;
      case Px.CMD:
        this.writeCommand(v);
        break;
      case Px.SCTL:
        this.writeControl(v);
        break;
      case Px.SERR:
        s.serr = (s.serr & ~v) >>> 0;
        if (!(s.serr & Serr.X)) s.is = (s.is & ~Pi.PCS) >>> 0;
        if (!(s.serr & Serr.N)) s.is = (s.is & ~Pi.PRCS) >>> 0;
        break;
      case Px.SACT:
        if (s.cmd & PxCmd.ST) s.sact = (s.sact | v) >>> 0;
        break;
      case Px.CI:
        if (s.cmd & PxCmd.ST) {
          s.ci = (s.ci | v) >>> 0;
          this.run();
        }
        break;
    }
  }

  private writeCommand(v: number): void {
    const s = this.s;
    const before = s.cmd;
    s.cmd = (v & (PxCmd.ST | PxCmd.SUD | PxCmd.POD | PxCmd.FRE | PxCmd.ATAPI | PxCmd.DLAE)) >>> 0;
    if (v & PxCmd.CLO) s.tfd &= ~(Status.BSY | Status.DRQ);
    if (before & PxCmd.ST && !(v & PxCmd.ST)) {
      s.ci = s.sact = s.ccs = 0;
      s.halted = false;
    }
    // The signature's FIS waits until there is room for it.
    if (!(before & PxCmd.FRE) && v & PxCmd.FRE && this.device !== null && s.ssts === SSTS_PRESENT) this.writeFis(Rx.REGISTER, this.registerImage(this.device, false), 20);
  }

  private writeControl(v: number): void {
    const s = this.s;
    const before = s.sctl & Det.MASK;
    const det = v & Det.MASK;
    s.sctl = v & 0xfff;
    if (det === (Det.COMRESET as number)) {
      s.ssts = 0;
      s.tfd = TFD_NO_DEVICE;
    } else if (det === (Det.OFFLINE as number)) {
      s.ssts = SSTS_OFFLINE;
    } else if (before !== (Det.NONE as number) && det === (Det.NONE as number)) {
      s.ssts = 0;
      s.halted = false;
      this.device?.reset(true);
      this.connected();
    }
  }

  // ---- commands ----

  private run(): void {
    const s = this.s;
    const d = this.device;
    if (d === null || s.ssts !== SSTS_PRESENT || !this.master()) return;
    // Every round clears a bit of PxCI or halts the port.
    for (let n = 0; n < SLOTS && s.ci !== 0 && !s.halted; n++) {
      const slot = 31 - Math.clz32(s.ci & -s.ci);
      s.ccs = slot;
      this.command(d, slot);
    }
  }

  private done(slot: number): void {
    this.s.ci = (this.s.ci & ~(1 << slot)) >>> 0;
  }

  private halt(bits: number): void {
    this.s.halted = true;
    this.raise(bits);
  }

  private command(d: AtaDevice, slot: number): void {
    const s = this.s;
    const header = s.clbu * GIB4 + s.clb + slot * HEADER_BYTES;
    if (!this.mem.valid(header, HEADER_BYTES)) return this.halt(Pi.HBFS);
    const flags = this.mem.read32(header);
    const table = this.mem.read32(header + 12) * GIB4 + ((this.mem.read32(header + 8) & ~0x7f) >>> 0);
    const f = this.cfis;
    if (!this.mem.readInto(table, f)) return this.halt(Pi.HBFS);
    if (f[0] !== (Fis.REG_H2D as number)) {
      this.done(slot);
      return;
    }
    if (!(f[1]! & FIS_COMMAND)) {
      this.deviceControl(d, f[15]!);
      this.done(slot);
      return;
    }
    const r = d.r;
    r.command = f[2]!;
    r.feature = f[3]! | (f[11]! << 8);
    r.lbaLow = f[4]! | (f[8]! << 8);
    r.lbaMid = f[5]! | (f[9]! << 8);
    r.lbaHigh = f[6]! | (f[10]! << 8);
    r.device = f[7]! & ~DeviceReg.DEV;
    r.count = f[12]! | (f[13]! << 8);
    this.mem.write32(header + 4, 0);
    const queued = r.command === AtaCmd.READ_FPDMA_QUEUED || r.command === AtaCmd.WRITE_FPDMA_QUEUED;
    const tag = r.count >>> 3;
    d.execute();
    if (d.protocol === Protocol.PACKET && !this.sendPacket(d, table)) return this.halt(Pi.HBFS);
    const protocol = d.protocol;
    let moved = 0;
    if (protocol !== Protocol.NONE) {
      const toHost = protocol === Protocol.PIO_IN || protocol === Protocol.DMA_IN;
      const block = Math.min(d.blockBytes, d.remaining);
      moved = this.transfer(d, table, flags >>> 16, toHost);
      if (moved < 0) {
        d.end();
        return this.halt(Pi.HBFS);
      }
      const cut = d.remaining > 0;
      d.end();
      if (!queued) this.mem.write32(header + 4, moved);
      if (cut && !(d.r.status & Status.ERR)) this.raise(Pi.OFS);
      if (protocol === Protocol.PIO_IN && !(d.r.status & Status.ERR)) {
        this.pioSetup(d, block);
        // A packet command has a status of its own to report.
        if (r.command !== AtaCmd.PACKET) {
          this.done(slot);
          return;
        }
      }
    }
    if (queued && d instanceof AtaDisk) this.queuedDone(d, slot, tag & 31);
    else this.finished(d, slot);
  }

  private finished(d: AtaDevice, slot: number): void {
    this.registerFis(d, true);
    if (d.r.status & Status.ERR) this.halt(Pi.TFES);
    else this.done(slot);
  }

  /** First the command is released, then set device bits says which tags are through. */
  private queuedDone(d: AtaDisk, slot: number, tag: number): void {
    const s = this.s;
    const failed = (d.r.status & Status.ERR) !== 0;
    this.done(slot);
    s.tfd = d.r.status | (d.r.error << 8);
    const f = this.rx.fill(0);
    f[0] = Fis.SET_DEVICE_BITS;
    f[1] = FIS_INTERRUPT;
    f[2] = d.r.status & 0x77;
    f[3] = d.r.error;
    if (failed) {
      d.queuedFailed(tag);
    } else {
      s.sact = (s.sact & ~(1 << tag)) >>> 0;
      f[4 + (tag >> 3)] = 1 << (tag & 7);
    }
    this.writeFis(Rx.SET_DEVICE_BITS, f, 8);
    this.raise(Pi.SDBS);
    if (failed) this.halt(Pi.TFES);
  }

  /** A register FIS without a command: software reset, in two of them (10.4.1). */
  private deviceControl(d: AtaDevice, control: number): void {
    const srst = (control & Control.SRST) !== 0;
    if (this.s.softReset && !srst) {
      d.reset(false);
      this.signature(d);
    }
    this.s.softReset = srst;
  }

  /** @returns false if the packet is not in memory. */
  private sendPacket(d: AtaDevice, table: number): boolean {
    if (!this.mem.readInto(table + CDB_AT, this.cdb)) return false;
    d.dataOut(this.cdb);
    d.end();
    return true;
  }

  /** @returns bytes moved, or -1 where the tables lead to no memory. */
  private transfer(d: AtaDevice, table: number, entries: number, toHost: boolean): number {
    let total = 0;
    for (let n = 0, at = table + PRDT_AT; n < entries && d.remaining > 0; n++, at += PRD_BYTES) {
      if (!this.mem.valid(at, PRD_BYTES)) return -1;
      const pa = this.mem.read32(at + 4) * GIB4 + this.mem.read32(at);
      const word = this.mem.read32(at + 12);
      const len = Math.min((word & PRD_COUNT) + 1, d.remaining);
      const moved = toHost ? deviceToMemory(d, this.mem, pa, len) : memoryToDevice(d, this.mem, pa, len);
      total += moved;
      if (moved < len) return this.mem.valid(pa + moved, 1) ? total : -1;
      if (word >= PRD_INTERRUPT) this.raise(Pi.DPS);
    }
    return total;
  }

  // ---- FISes from the device ----

  private writeFis(at: Rx, image: Uint8Array, bytes: number): void {
    const s = this.s;
    if (s.cmd & PxCmd.FRE && this.master()) this.mem.writeFrom(s.fbu * GIB4 + s.fb + at, bytes === image.length ? image : image.subarray(0, bytes));
  }

  /** Register FIS, device to host (10.5.6). */
  private registerImage(d: AtaDevice, interrupt: boolean): Uint8Array {
    const r = d.r;
    const f = this.rx.fill(0);
    f[0] = Fis.REG_D2H;
    f[1] = interrupt ? FIS_INTERRUPT : 0;
    f[2] = r.status;
    f[3] = r.error;
    f[4] = r.lbaLow;
    f[5] = r.lbaMid;
    f[6] = r.lbaHigh;
    f[7] = r.device;
    f[8] = r.lbaLow >>> 8;
    f[9] = r.lbaMid >>> 8;
    f[10] = r.lbaHigh >>> 8;
    f[12] = r.count;
    f[13] = r.count >>> 8;
    return f;
  }

  private registerFis(d: AtaDevice, interrupt: boolean): void {
    this.s.tfd = d.r.status | (d.r.error << 8);
    this.writeFis(Rx.REGISTER, this.registerImage(d, interrupt), 20);
    if (interrupt) this.raise(Pi.DHRS);
  }

  /** PIO setup FIS of the last block: its ending status is the command's. */
  private pioSetup(d: AtaDevice, block: number): void {
    const f = this.registerImage(d, true);
    f[0] = Fis.PIO_SETUP;
    f[1] = FIS_INTERRUPT | FIS_TO_HOST;
    f[2] = Status.DRDY | Status.DSC | Status.DRQ;
    f[15] = d.r.status;
    f[16] = block & 0xff;
    f[17] = block >>> 8;
    this.s.tfd = d.r.status | (d.r.error << 8);
    this.writeFis(Rx.PIO_SETUP, f, 20);
    this.raise(Pi.PSS);
  }
}
