/** USB mass storage by Bulk-Only Transport (USB Mass Storage Class, Bulk-Only Transport 1.0) for a SCSI disk or CD-ROM. */
import type { SavedState } from '../device.js';
import { bytes, int, loadState, saveState, type Schema, u32 } from '../saved.js';
import { CDB_BYTES, ScsiDirection, ScsiStatus, type ScsiUnit } from '../storage/scsi/target.js';
import { EndpointType, ReqType, type Setup, UsbClass } from './usb.spec.js';
import { copy, NAK, STALL, UsbDevice } from './usb-device.js';

const VERSION = 1;
const BULK_IN = 0x81;
const BULK_OUT = 0x02;
const MAX_PACKET = 512;
/** SCSI transparent command set, Bulk-Only Transport. */
const SUBCLASS = 6;
const PROTOCOL = 0x50;
/** Class requests (3.1, 3.2). */
const enum Bot { GET_MAX_LUN = 0xfe, RESET = 0xff }
/** Command block wrapper (5.1): signature, tag, transfer length, flags, LUN, length, command block. */
const CBW_BYTES = 31;
const CBW_SIGNATURE = 0x4342_5355;
const CBW_IN = 0x80;
/** Command status wrapper (5.2). */
const CSW_BYTES = 13;
const CSW_SIGNATURE = 0x5342_5355;
const enum CswStatus { PASSED = 0, FAILED = 1, PHASE_ERROR = 2 }
const VENDOR = 0x46f4;
const PRODUCT = 1;

/** BROKEN: what came was no command; the host has to reset (6.6.1). */
const enum Phase { COMMAND = 0, DATA_IN = 1, DATA_OUT = 2, STATUS = 3, BROKEN = 4 }

interface State {
  phase: Phase;
  /** The wrapper at hand, and how much of it has moved: the command's on its way in, the status' on its way out. */
  wrapper: Uint8Array;
  at: number;
  tag: number;
  /** Bytes of the host's transfer that have not moved. */
  left: number;
  phaseError: number;
}

const SCHEMA: Schema<State> = { phase: int(0, 4), wrapper: bytes(CBW_BYTES), at: int(0, CBW_BYTES), tag: u32, left: u32, phaseError: int(0, 1) };
const initial = (): State => ({ phase: Phase.COMMAND, wrapper: new Uint8Array(CBW_BYTES), at: 0, tag: 0, left: 0, phaseError: 0 });

/** A unit with state of its own, as those of storage/scsi are. */
export type StorageUnit = ScsiUnit & { check(saved: Record<string, unknown>): () => void };

export class UsbStorage extends UsbDevice {
  private s = initial();
  private readonly cdb = new Uint8Array(CDB_BYTES);

  constructor(
    private readonly unit: StorageUnit,
    serial: string,
  ) {
    super({
      vendor: VENDOR, product: PRODUCT, manufacturer: 'VMX', name: 'USB storage', serial, interfaceClass: UsbClass.STORAGE, subclass: SUBCLASS, protocol: PROTOCOL,
      endpoints: [{ address: BULK_IN, type: EndpointType.BULK, maxPacket: MAX_PACKET, interval: 0 }, { address: BULK_OUT, type: EndpointType.BULK, maxPacket: MAX_PACKET, interval: 0 }],
    });
  }

  protected request(setup: Setup, data: Uint8Array): number {
    if ((setup.bmRequestType & ReqType.TYPE) !== ReqType.CLASS) return STALL;
    if (setup.bRequest === (Bot.GET_MAX_LUN as number)) return copy(Uint8Array.of(0), data);
    if (setup.bRequest !== (Bot.RESET as number)) return STALL;
    this.s = initial();
    return 0;
  }

  protected receive(_ep: number, src: Uint8Array): number {
    const { s } = this;
    if (s.phase === Phase.COMMAND) return this.command(src);
    if (s.phase !== Phase.DATA_OUT) return this.broken();
    const n = Math.min(src.length, s.left);
    // What the command has no use for is taken and forgotten (6.7.3).
    if (this.unit.direction === ScsiDirection.OUT) this.unit.dataOut(src.subarray(0, n));
    s.left -= n;
    if (s.left === 0) this.finish();
    return n;
  }

  protected send(_ep: number, dst: Uint8Array): number {
    const { s } = this;
    if (s.phase === Phase.DATA_IN) {
      const room = dst.subarray(0, Math.min(dst.length, s.left));
      const n = this.unit.direction === ScsiDirection.IN ? this.unit.dataIn(room) : 0;
      s.left -= n;
      // A short packet ends the data, too.
      if (s.left === 0 || n < dst.length) this.finish();
      return n;
    }
    if (s.phase === Phase.STATUS) {
      const n = copy(s.wrapper.subarray(s.at, CSW_BYTES), dst);
      s.at += n;
      if (s.at === CSW_BYTES) {
        s.phase = Phase.COMMAND;
        s.at = 0;
      }
      return n;
    }
    return s.phase === Phase.BROKEN ? STALL : NAK;
  }

  private broken(): number {
    this.s.phase = Phase.BROKEN;
    return STALL;
  }

  /** The next bytes of a command block wrapper. */
  private command(src: Uint8Array): number {
    const { s } = this;
    if (s.at + src.length > CBW_BYTES) return this.broken();
    s.wrapper.set(src, s.at);
    s.at += src.length;
    if (s.at < CBW_BYTES) return src.length;
    s.at = 0;
    const w = new DataView(s.wrapper.buffer, s.wrapper.byteOffset);
    const length = s.wrapper[14]!;
    // Valid and meaningful (6.2).
    if (w.getUint32(0, true) !== CBW_SIGNATURE || s.wrapper[13] !== 0 || length < 1 || length > CDB_BYTES) return this.broken();
    s.tag = w.getUint32(4, true);
    s.left = w.getUint32(8, true);
    const wantsIn = (s.wrapper[12]! & CBW_IN) !== 0;
    this.cdb.fill(0);
    this.cdb.set(s.wrapper.subarray(15, 15 + length));
    this.unit.command(this.cdb);
    const { direction } = this.unit;
    s.phaseError = direction !== ScsiDirection.NONE && (s.left === 0 || (direction === ScsiDirection.IN) !== wantsIn) ? 1 : 0;
    if (s.left === 0) this.finish();
    else {
      s.phase = wantsIn ? Phase.DATA_IN : Phase.DATA_OUT;
      if (wantsIn) this.onReady(BULK_IN);
    }
    return src.length;
  }

  /** The status wrapper is ready to go. */
  private finish(): void {
    const { s } = this;
    const status = this.unit.complete();
    const w = new DataView(s.wrapper.buffer, s.wrapper.byteOffset);
    w.setUint32(0, CSW_SIGNATURE, true);
    w.setUint32(4, s.tag, true);
    w.setUint32(8, s.left, true);
    s.wrapper[12] = s.phaseError !== 0 ? CswStatus.PHASE_ERROR : status === ScsiStatus.GOOD ? CswStatus.PASSED : CswStatus.FAILED;
    s.phase = Phase.STATUS;
    s.at = 0;
    this.onReady(BULK_IN);
  }

  protected resetFunction(): void {
    this.s = initial();
  }

  override reset(): void {
    super.reset();
    this.unit.reset();
  }

  override save(): Record<string, unknown> {
    return { ...super.save(), bot: saveState(SCHEMA, VERSION, this.s), unit: this.unit.save() };
  }

  override check(saved: Record<string, unknown>): () => void {
    const take = super.check(saved);
    const s = loadState(this.name, SCHEMA, VERSION, saved.bot as SavedState);
    const takeUnit = this.unit.check(saved.unit as Record<string, unknown>);
    return () => {
      take();
      takeUnit();
      this.s = s;
    };
  }
}
