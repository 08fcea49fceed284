/**
 * What all logical units do alike: phases of a command, sense data, unit attentions, and the commands every device type has:
 * INQUIRY, REQUEST SENSE, REPORT LUNS (SPC-4, chapter 6). A device type adds its own in `execute`.
 */
import { bool, bytes, int, loadState, saveState, type Schema, u16 } from '../../saved.js';
import type { SavedState } from '../../device.js';
import { Asc, CDB_BYTES, ScsiDirection, ScsiStatus, type ScsiUnit, SENSE_BYTES, SenseKey } from './target.js';

const VERSION = 1;
/** Parameter data of a command at most. */
const BUFFER = 4096;

/** Command codes of SPC-4. */
const enum Op {
  REQUEST_SENSE = 0x03,
  INQUIRY = 0x12,
  REPORT_LUNS = 0xa0,
}
const enum Vpd { SUPPORTED = 0x00, SERIAL = 0x80, IDENTIFICATION = 0x83 }

/** INQUIRY data of a unit. */
export interface ScsiIdentity {
  /** Peripheral device type: 0 disk, 5 CD-ROM. */
  type: number;
  removable: boolean;
  /** Up to 8, 16 and 4 characters. */
  vendor: string;
  product: string;
  revision: string;
  serial: string;
}

interface State {
  /** Unit attention that waits for the next command, 0 none; ones of lesser interest are replaced. */
  attention: number;
  key: number;
  asc: number;
  /** The data phase moves `buffer`; else what the device type makes of it. */
  buffered: boolean;
  buffer: Uint8Array;
  at: number;
  direction: number;
  length: number;
  cdb: Uint8Array;
  failed: boolean;
}

const SCHEMA: Schema<State> = {
  attention: u16, key: int(0, 15), asc: u16, buffered: bool, buffer: bytes(BUFFER), at: int(0, BUFFER), direction: int(0, 2), length: int(0, 2 ** 40), cdb: bytes(CDB_BYTES), failed: bool,
};

export const be16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!;
export const be24 = (b: Uint8Array, at: number): number => (b[at]! << 16) | be16(b, at + 1);
export const be32 = (b: Uint8Array, at: number): number => be16(b, at) * 0x1_0000 + be16(b, at + 2);

export function put16(b: Uint8Array, at: number, v: number): void {
  b[at] = v >>> 8;
  b[at + 1] = v;
}

export function put32(b: Uint8Array, at: number, v: number): void {
  put16(b, at, Math.floor(v / 0x1_0000) & 0xffff);
  put16(b, at + 2, v & 0xffff);
}

/** Text in a field of fixed width, padded with spaces. */
function putText(b: Uint8Array, at: number, width: number, text: string): void {
  for (let i = 0; i < width; i++) b[at + i] = i < text.length ? text.charCodeAt(i) & 0x7f : 0x20;
}

export abstract class ScsiUnitBase implements ScsiUnit {
  readonly sense = new Uint8Array(SENSE_BYTES);
  private s: State = this.fresh();

  constructor(
    private readonly identity: ScsiIdentity,
    protected readonly log: (message: string) => void,
  ) {}

  private fresh(): State {
    return {
      attention: Asc.POWER_ON_OR_RESET, key: 0, asc: 0, buffered: false, buffer: new Uint8Array(BUFFER), at: 0, direction: ScsiDirection.NONE, length: 0, cdb: new Uint8Array(CDB_BYTES), failed: false,
    };
  }

  get direction(): ScsiDirection {
    return this.s.direction;
  }

  get length(): number {
    return this.s.length;
  }

  get senseKey(): SenseKey {
    return this.s.key;
  }

  get asc(): Asc {
    return this.s.asc;
  }

  // ---- for device types ----

  /** Carries a command out: calls reply, wants, begin, fail, or nothing if it is done. */
  protected abstract execute(op: number, cdb: Uint8Array): void;
  /** The data phase of a command that called `begin`. @returns bytes moved; fewer: `fail` has said why. */
  protected abstract transferIn(dst: Uint8Array): number;
  protected abstract transferOut(src: Uint8Array): number;
  /** A command that called `wants` has its parameter list in `buffer`, `length` bytes; or one that called `begin` is through. */
  protected abstract finish(op: number, length: number): void;
  /** Pages of vital product data that the device type adds, ascending from B0h on. */
  protected readonly pages: readonly number[] = [];
  /** Fills in one of them, from behind its header of 4 bytes; the buffer is zeroed. @returns its length without the header. */
  protected vpdPage(_page: number, _b: Uint8Array): number {
    return 0;
  }
  /** Commands which a unit attention does not hold up. */
  protected passesAttention(op: number): boolean {
    return op === (Op.INQUIRY as number) || op === (Op.REPORT_LUNS as number) || op === (Op.REQUEST_SENSE as number);
  }

  /** Of the current command. */
  protected get cdb(): Uint8Array {
    return this.s.cdb;
  }

  protected get buffer(): Uint8Array {
    return this.s.buffer;
  }

  /** Sends the first `length` bytes of the buffer, no more than the initiator has allocated. */
  protected reply(length: number, allocated: number): void {
    const n = Math.min(length, allocated, BUFFER);
    this.s.buffered = true;
    this.s.direction = n === 0 ? ScsiDirection.NONE : ScsiDirection.IN;
    this.s.length = n;
  }

  /** Takes a parameter list of so many bytes. */
  protected wants(length: number): void {
    if (length > BUFFER) return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.PARAMETER_LIST_LENGTH_ERROR);
    this.s.buffered = true;
    this.s.direction = length === 0 ? ScsiDirection.NONE : ScsiDirection.OUT;
    this.s.length = length;
  }

  /** The data are the device type's. */
  protected begin(direction: ScsiDirection, length: number): void {
    this.s.direction = length === 0 ? ScsiDirection.NONE : direction;
    this.s.length = length;
  }

  protected fail(key: SenseKey, asc: Asc): void {
    const s = this.s;
    s.failed = true;
    s.key = key;
    s.asc = asc;
    if (s.at === 0) {
      s.direction = ScsiDirection.NONE;
      s.length = 0;
    }
  }

  protected invalidField(): void {
    this.fail(SenseKey.ILLEGAL_REQUEST, Asc.INVALID_FIELD_IN_CDB);
  }

  protected invalidCommand(): void {
    this.fail(SenseKey.ILLEGAL_REQUEST, Asc.INVALID_COMMAND);
  }

  /** The next command is told that something has happened. */
  protected attention(asc: Asc): void {
    this.s.attention = asc;
  }

  // ---- phases ----

  command(cdb: Uint8Array): void {
    const s = this.s;
    for (let i = 0; i < CDB_BYTES; i++) s.cdb[i] = cdb[i] ?? 0;
    s.direction = ScsiDirection.NONE;
    s.length = s.at = 0;
    s.buffered = s.failed = false;
    const op = s.cdb[0]!;
    if (op !== (Op.REQUEST_SENSE as number)) s.key = s.asc = 0;
    if (s.attention !== 0 && !this.passesAttention(op)) {
      this.fail(SenseKey.UNIT_ATTENTION, s.attention);
      s.attention = 0;
      return;
    }
    switch (op) {
      case Op.INQUIRY:
        return this.inquiry();
      case Op.REQUEST_SENSE:
        return this.requestSense();
      case Op.REPORT_LUNS:
        // One unit: number 0.
        s.buffer.fill(0, 0, 16);
        s.buffer[3] = 8;
        return this.reply(16, be32(s.cdb, 6));
    }
    this.execute(op, s.cdb);
  }

  dataIn(dst: Uint8Array): number {
    const s = this.s;
    if (s.direction !== ScsiDirection.IN || s.failed) return 0;
    if (!s.buffered) return this.transferIn(dst);
    const n = Math.min(dst.length, s.length - s.at, BUFFER - s.at);
    dst.set(s.buffer.subarray(s.at, s.at + n));
    s.at += n;
    return n;
  }

  dataOut(src: Uint8Array): number {
    const s = this.s;
    if (s.direction !== ScsiDirection.OUT || s.failed) return 0;
    if (!s.buffered) return this.transferOut(src);
    const n = Math.min(src.length, s.length - s.at, BUFFER - s.at);
    s.buffer.set(src.subarray(0, n), s.at);
    s.at += n;
    return n;
  }

  complete(): ScsiStatus {
    const s = this.s;
    if (!s.failed && (!s.buffered || s.direction === ScsiDirection.OUT)) this.finish(s.cdb[0]!, s.at);
    s.direction = ScsiDirection.NONE;
    s.length = 0;
    if (!s.failed) return ScsiStatus.GOOD;
    this.writeSense(this.sense);
    return ScsiStatus.CHECK_CONDITION;
  }

  /** Fixed format (SPC-4, 4.5.3). */
  private writeSense(b: Uint8Array): void {
    b.fill(0, 0, SENSE_BYTES);
    b[0] = 0x70;
    b[2] = this.s.key;
    b[7] = SENSE_BYTES - 8;
    put16(b, 12, this.s.asc);
  }

  /** Of the last command; or a unit attention, which is told thereby. */
  private requestSense(): void {
    const s = this.s;
    if (s.key === 0 && s.attention !== 0) {
      s.key = SenseKey.UNIT_ATTENTION;
      s.asc = s.attention;
      s.attention = 0;
    }
    this.writeSense(s.buffer);
    s.key = s.asc = 0;
    this.reply(SENSE_BYTES, s.cdb[4]!);
  }

  private inquiry(): void {
    const { cdb, buffer: b } = this.s;
    const id = this.identity;
    const allocated = be16(cdb, 3);
    b.fill(0, 0, 256);
    if (cdb[1]! & 1) return this.vitalProductData(cdb[2]!, allocated);
    if (cdb[2] !== 0) return this.invalidField();
    b[0] = id.type;
    b[1] = id.removable ? 0x80 : 0;
    // SPC-3; response data format 2.
    b[2] = 0x05;
    b[3] = 0x02;
    b[4] = 36 - 5;
    putText(b, 8, 8, id.vendor);
    putText(b, 16, 16, id.product);
    putText(b, 32, 4, id.revision);
    this.reply(36, allocated);
  }

  private vitalProductData(page: Vpd, allocated: number): void {
    const b = this.s.buffer;
    const { type, serial, vendor } = this.identity;
    b[0] = type;
    b[1] = page;
    let length = 0;
    if (page === Vpd.SUPPORTED) {
      const pages = [Vpd.SUPPORTED, Vpd.SERIAL, Vpd.IDENTIFICATION, ...this.pages];
      b.set(pages, 4);
      length = pages.length;
    } else if (page === Vpd.SERIAL) {
      length = serial.length;
      putText(b, 4, length, serial);
    } else if (page === Vpd.IDENTIFICATION) {
      // One designator: ASCII, T10 vendor identification.
      b.set([0x02, 0x01, 0, 8 + serial.length], 4);
      putText(b, 8, 8, vendor);
      putText(b, 16, serial.length, serial);
      length = 12 + serial.length;
    } else {
      length = this.pages.includes(page) ? this.vpdPage(page, b.subarray(4)) : 0;
      if (length === 0) return this.invalidField();
    }
    b[3] = length;
    this.reply(4 + length, allocated);
  }

  reset(): void {
    this.s = this.fresh();
  }

  save(): Record<string, unknown> {
    return saveState(SCHEMA, VERSION, this.s);
  }

  /** @returns a function that takes the state over. @throws VmxError; nothing has changed then. */
  check(saved: Record<string, unknown>): () => void {
    const s = loadState('SCSI unit', SCHEMA, VERSION, saved as SavedState);
    return () => {
      this.s = s;
    };
  }

  restore(saved: Record<string, unknown>): void {
    this.check(saved)();
  }
}
