/**
 * ATAPI drive: a SCSI unit behind the PACKET command feature set (ACS-3, 4.3 and 7.x "PACKET"; SFF-8020i for the interrupt
 * reason and the byte count limit).
 */
import type { SavedState } from '../../device.js';
import { array, bool, int, loadState, saveState, type Schema, u8 } from '../../saved.js';
import { CDB_BYTES, ScsiDirection, ScsiStatus, type ScsiUnit } from '../scsi/target.js';
import { AtaCmd, AtaError, DeviceReg, Reason, SIGNATURE_PACKET } from './ata.spec.js';
import { AtaDevice, identifyChecksum, identifyText, Protocol } from './device.js';

const VERSION = 1;
export const PACKET_BYTES = 12;
const IDENTIFY_BYTES = 512;
/** Byte count limits are even; 0 stands for as much as fits. */
const MAX_BYTE_COUNT = 0xfffe;
const FIRMWARE = '1.0';
const MODEL = 'VMX DVD-ROM';

interface State {
  /** The data phase is identify data. */
  identify: boolean;
  at: number;
  /** PACKET asked for DMA. */
  dma: boolean;
  limit: number;
  packetAt: number;
}

const SCHEMA: Schema<State> = { identify: bool, at: int(0, IDENTIFY_BYTES), dma: bool, limit: int(0, 0xffff), packetAt: int(0, PACKET_BYTES) };

const CDB = array(CDB_BYTES, u8);

/** A unit whose state can be checked before anything is taken over. */
export interface PacketUnit extends ScsiUnit {
  check(saved: Record<string, unknown>): () => void;
}

export interface AtaPacketOptions {
  unit: PacketUnit;
  serial: string;
  sata: boolean;
  log: (message: string) => void;
}

export class AtaPacketDevice extends AtaDevice {
  private s: State = { identify: false, at: 0, dma: false, limit: 0, packetAt: 0 };
  private readonly page = new Uint8Array(IDENTIFY_BYTES);
  private readonly cdb = new Uint8Array(CDB_BYTES);

  constructor(private readonly o: AtaPacketOptions) {
    super(SIGNATURE_PACKET, o.log);
    this.sign();
  }

  override reset(hard: boolean): void {
    this.s = { identify: false, at: 0, dma: false, limit: 0, packetAt: 0 };
    if (hard) this.o.unit.reset();
    super.reset(hard);
  }

  override save(): SavedState {
    return { ...super.save(), packet: saveState(SCHEMA, VERSION, this.s), cdb: [...this.cdb], unit: this.o.unit.save() };
  }

  override check(saved: unknown): () => void {
    const take = super.check(saved);
    const state = saved as SavedState;
    const s = loadState('ATAPI', SCHEMA, VERSION, state.packet as SavedState);
    const cdb = loadState('ATAPI', { cdb: CDB }, VERSION, { version: VERSION, cdb: state.cdb }).cdb;
    const takeUnit = this.o.unit.check(state.unit as Record<string, unknown>);
    return () => {
      take();
      takeUnit();
      this.s = s;
      this.cdb.set(cdb);
      if (s.identify) this.identify();
    };
  }

  execute(): void {
    const r = this.r;
    this.protocol = Protocol.NONE;
    this.remaining = 0;
    this.s.identify = false;
    switch (r.command) {
      case AtaCmd.PACKET:
        return this.packet();
      case AtaCmd.IDENTIFY_PACKET:
        this.identify();
        this.s.identify = true;
        this.s.at = 0;
        return this.begin(Protocol.PIO_IN, IDENTIFY_BYTES);
      case AtaCmd.DEVICE_RESET: {
        const device = r.device & DeviceReg.DEV;
        this.reset(false);
        r.device = device;
        return;
      }
      case AtaCmd.EXECUTE_DIAGNOSTIC:
        return this.sign();
      case AtaCmd.IDENTIFY:
      case AtaCmd.READ_SECTORS: {
        // By which a driver for disks learns what this is.
        const device = r.device;
        this.sign();
        r.device = device;
        return this.abort();
      }
      case AtaCmd.SET_FEATURES:
        return this.commonFeature() ? this.ok() : this.abort();
      case AtaCmd.CHECK_POWER:
        return this.checkPower();
      case AtaCmd.STANDBY_IMMEDIATE:
      case AtaCmd.SLEEP:
        this.standby = true;
        return this.ok();
      case AtaCmd.IDLE_IMMEDIATE:
      case AtaCmd.NOP:
        return r.command === AtaCmd.NOP ? this.abort() : this.ok();
    }
    this.abort();
  }

  private packet(): void {
    const r = this.r;
    this.s.dma = (r.feature & 1) !== 0;
    this.s.limit = (r.lbaMid & 0xff) | ((r.lbaHigh & 0xff) << 8);
    this.s.packetAt = 0;
    this.begin(Protocol.PACKET, PACKET_BYTES);
    r.count = Reason.COD;
  }

  dataOut(src: Uint8Array): number {
    const s = this.s;
    if (this.protocol === Protocol.PACKET) {
      const n = Math.min(src.length, PACKET_BYTES - s.packetAt);
      this.cdb.set(src.subarray(0, n), s.packetAt);
      s.packetAt += n;
      this.remaining = PACKET_BYTES - s.packetAt;
      return n;
    }
    const n = this.o.unit.dataOut(src);
    this.remaining -= n;
    return n;
  }

  dataIn(dst: Uint8Array): number {
    const s = this.s;
    if (s.identify) {
      const n = Math.min(dst.length, IDENTIFY_BYTES - s.at);
      dst.set(this.page.subarray(s.at, s.at + n));
      s.at += n;
      this.remaining -= n;
      return n;
    }
    const n = this.o.unit.dataIn(dst);
    this.remaining -= n;
    return n;
  }

  /** After the packet: the unit's data phase begins. After that: its status. */
  end(): void {
    const packet = this.protocol === Protocol.PACKET;
    const identify = this.s.identify;
    this.protocol = Protocol.NONE;
    if (identify) {
      this.s.identify = false;
      return this.ok();
    }
    if (packet) {
      if (this.s.packetAt < PACKET_BYTES) return this.abort();
      this.cdb.fill(0, PACKET_BYTES);
      this.o.unit.command(this.cdb);
      if (this.o.unit.length > 0) return this.dataPhase();
    }
    this.complete();
  }

  private dataPhase(): void {
    const { unit } = this.o;
    const input = unit.direction === ScsiDirection.IN;
    const { dma, limit } = this.s;
    // Odd limits would split words.
    const block = Math.max(2, (limit === 0 ? MAX_BYTE_COUNT : limit) & ~1);
    this.begin(dma ? (input ? Protocol.DMA_IN : Protocol.DMA_OUT) : input ? Protocol.PIO_IN : Protocol.PIO_OUT, unit.length, dma ? unit.length : block);
    this.r.count = input ? Reason.IO : 0;
    this.announce();
  }

  override announce(): void {
    if (this.s.identify) return;
    const n = Math.min(this.remaining, this.blockBytes);
    this.r.lbaMid = n & 0xff;
    this.r.lbaHigh = (n >>> 8) & 0xff;
  }

  private complete(): void {
    const { unit } = this.o;
    this.remaining = 0;
    if (unit.complete() === ScsiStatus.GOOD) {
      this.ok();
    } else {
      this.fail((unit.senseKey << 4) | AtaError.ABRT);
    }
    this.r.count = Reason.IO | Reason.COD;
  }

  private identify(): void {
    const page = this.page.fill(0);
    const id = new DataView(page.buffer);
    const w = (word: number, v: number): void => id.setUint16(word * 2, v, true);
    // Removable CD-ROM; DRQ within 50 us of PACKET; 12-byte packets.
    w(0, 0x85c0);
    identifyText(id, 10, 10, this.o.serial);
    identifyText(id, 23, 4, FIRMWARE);
    identifyText(id, 27, 20, MODEL);
    // DMA, LBA, IORDY.
    w(49, 0x0b00);
    w(53, 0x0006);
    this.identifyModes(id);
    w(64, 0x0003);
    for (let i = 65; i <= 68; i++) w(i, 120);
    if (this.o.sata) w(76, 0x0006);
    w(80, 0x07f0);
    // PACKET, power management, DEVICE RESET, NOP.
    w(82, 0x4218);
    w(83, 0x4000);
    w(84, 0x4000);
    w(85, 0x4218);
    w(87, 0x4000);
    if (!this.o.sata) w(93, 0x6001);
    identifyChecksum(page);
  }
}
