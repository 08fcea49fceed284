/** SCSI disk (SBC-3; SPC-4): reading, writing, write cache control, thin provisioning by UNMAP and WRITE SAME. */
import type { BlockBackend } from '../../../block/backend.js';
import { bool, int, loadState, saveState, type Schema } from '../../saved.js';
import type { SavedState } from '../../device.js';
import { Asc, ScsiDirection, SenseKey } from './target.js';
import { be16, be24, be32, put16, put32, ScsiUnitBase } from './unit.js';

const VERSION = 1;
const BLOCK = 512;
/** Blocks of one UNMAP descriptor or WRITE SAME. */
const MAX_UNMAP = 0x20_0000;
/** Without the UNMAP bit a WRITE SAME writes for real, with a pattern at that: no more than this. */
const MAX_WRITE_SAME = 0x1_0000;
const UNMAP_HEADER = 8;
const UNMAP_DESCRIPTOR = 16;
const MAX_DESCRIPTORS = 255;
/** log2 of the logical blocks per physical block. */
const PHYSICAL_EXPONENT = 3;

const enum Op {
  TEST_UNIT_READY = 0x00, READ_6 = 0x08, WRITE_6 = 0x0a, MODE_SELECT_6 = 0x15, RESERVE_6 = 0x16, RELEASE_6 = 0x17, MODE_SENSE_6 = 0x1a, START_STOP_UNIT = 0x1b,
  PREVENT_ALLOW = 0x1e, READ_CAPACITY_10 = 0x25, READ_10 = 0x28, WRITE_10 = 0x2a, VERIFY_10 = 0x2f, SYNCHRONIZE_10 = 0x35, WRITE_SAME_10 = 0x41, UNMAP = 0x42,
  MODE_SELECT_10 = 0x55, MODE_SENSE_10 = 0x5a, READ_16 = 0x88, WRITE_16 = 0x8a, VERIFY_16 = 0x8f, SYNCHRONIZE_16 = 0x91, WRITE_SAME_16 = 0x93, SERVICE_IN_16 = 0x9e,
  READ_12 = 0xa8, WRITE_12 = 0xaa,
}
const SA_READ_CAPACITY_16 = 0x10;
const enum Vpd { BLOCK_LIMITS = 0xb0, CHARACTERISTICS = 0xb1, PROVISIONING = 0xb2 }
const enum Page { CACHING = 0x08, CONTROL = 0x0a, ALL = 0x3f }
const CACHING_BYTES = 18;
const CONTROL_BYTES = 10;
const WCE = 4;
/** Bits of the CDB. */
const FUA = 8;
const UNMAP_BIT = 8;
const NDOB = 1;

interface State {
  /** Transfer: where on the disk, and how much is left, in bytes. */
  at: number;
  left: number;
  writeCache: boolean;
}

export class ScsiDisk extends ScsiUnitBase {
  protected override readonly pages = [Vpd.BLOCK_LIMITS, Vpd.CHARACTERISTICS, Vpd.PROVISIONING];
  private readonly blocks: number;
  private readonly schema: Schema<State>;
  private d: State = { at: 0, left: 0, writeCache: true };

  constructor(
    private readonly disk: BlockBackend,
    serial: string,
    log: (message: string) => void,
  ) {
    super({ type: 0, removable: false, vendor: 'VMX', product: 'DISK', revision: '1.0', serial }, log);
    this.blocks = Math.floor(disk.size / BLOCK);
    const bytes = int(0, disk.size);
    this.schema = { at: bytes, left: bytes, writeCache: bool };
  }

  protected override vpdPage(page: number, b: Uint8Array): number {
    switch (page) {
      case Vpd.BLOCK_LIMITS:
        put16(b, 2, 1 << PHYSICAL_EXPONENT); // optimal granularity
        put32(b, 16, MAX_UNMAP);
        put32(b, 20, MAX_DESCRIPTORS);
        put32(b, 24, 1 << PHYSICAL_EXPONENT); // granularity of unmapping
        put32(b, 36, MAX_WRITE_SAME); // high word, at 32, stays 0
        return 60;
      case Vpd.CHARACTERISTICS:
        put16(b, 0, 1); // does not rotate
        return 60;
      default:
        // UNMAP and WRITE SAME with the UNMAP bit, of 16 and 10 bytes; thin.
        b[1] = 0xe0;
        b[2] = 2;
        return 4;
    }
  }

  protected execute(op: Op, c: Uint8Array): void {
    switch (op) {
      case Op.TEST_UNIT_READY:
      case Op.RESERVE_6:
      case Op.RELEASE_6:
      case Op.START_STOP_UNIT:
      case Op.PREVENT_ALLOW:
        return;
      case Op.READ_6:
        return this.transfer(be24(c, 1) & 0x1f_ffff, c[4]! || 256, false);
      case Op.WRITE_6:
        return this.transfer(be24(c, 1) & 0x1f_ffff, c[4]! || 256, true);
      case Op.READ_10:
        return this.transfer(be32(c, 2), be16(c, 7), false);
      case Op.WRITE_10:
        return this.transfer(be32(c, 2), be16(c, 7), true);
      case Op.READ_12:
        return this.transfer(be32(c, 2), be32(c, 6), false);
      case Op.WRITE_12:
        return this.transfer(be32(c, 2), be32(c, 6), true);
      case Op.READ_16:
        return this.transfer(lba64(c), be32(c, 10), false);
      case Op.WRITE_16:
        return this.transfer(lba64(c), be32(c, 10), true);
      case Op.VERIFY_10:
        return this.verify(c, be32(c, 2), be16(c, 7));
      case Op.VERIFY_16:
        return this.verify(c, lba64(c), be32(c, 10));
      case Op.SYNCHRONIZE_10:
      case Op.SYNCHRONIZE_16:
        return this.attempt(() => this.disk.flush());
      case Op.READ_CAPACITY_10:
        put32(this.buffer, 0, Math.min(0xffff_ffff, this.blocks - 1));
        put32(this.buffer, 4, BLOCK);
        return this.reply(8, 8);
      case Op.SERVICE_IN_16:
        if ((c[1]! & 31) !== SA_READ_CAPACITY_16) return this.invalidField();
        return this.readCapacity16(be32(c, 10));
      case Op.WRITE_SAME_10:
        return this.writeSame(c, be32(c, 2), be16(c, 7), false);
      case Op.WRITE_SAME_16:
        return this.writeSame(c, lba64(c), be32(c, 10), (c[1]! & NDOB) !== 0);
      case Op.UNMAP:
        if (c[1]! & 1) return this.invalidField();
        return this.wants(be16(c, 7));
      case Op.MODE_SENSE_6:
        return this.modeSense(c, 4, c[4]!);
      case Op.MODE_SENSE_10:
        return this.modeSense(c, 8, be16(c, 7));
      case Op.MODE_SELECT_6:
        return this.modeSelect(c, c[4]!);
      case Op.MODE_SELECT_10:
        return this.modeSelect(c, be16(c, 7));
    }
    this.invalidCommand();
  }

  // ---- blocks ----

  private inRange(lba: number, count: number): boolean {
    if (lba + count <= this.blocks) return true;
    this.fail(SenseKey.ILLEGAL_REQUEST, Asc.LBA_OUT_OF_RANGE);
    return false;
  }

  private writable(): boolean {
    if (this.disk.readonly) this.fail(SenseKey.DATA_PROTECT, Asc.WRITE_PROTECTED);
    return !this.disk.readonly;
  }

  private attempt(fn: () => void): void {
    try {
      fn();
    } catch (e) {
      this.log(`SCSI disk: ${(e as Error).message}`);
      this.fail(SenseKey.MEDIUM_ERROR, Asc.WRITE_ERROR);
    }
  }

  private transfer(lba: number, count: number, write: boolean): void {
    if (!this.inRange(lba, count) || (write && !this.writable())) return;
    this.d.at = lba * BLOCK;
    this.d.left = count * BLOCK;
    this.begin(write ? ScsiDirection.OUT : ScsiDirection.IN, count * BLOCK);
  }

  protected transferIn(dst: Uint8Array): number {
    const s = this.d;
    const n = Math.min(dst.length, s.left);
    try {
      this.disk.read(s.at, n === dst.length ? dst : dst.subarray(0, n));
    } catch (e) {
      this.log(`SCSI disk: ${(e as Error).message}`);
      this.fail(SenseKey.MEDIUM_ERROR, Asc.UNRECOVERED_READ_ERROR);
      return 0;
    }
    s.at += n;
    s.left -= n;
    return n;
  }

  protected transferOut(src: Uint8Array): number {
    const s = this.d;
    const n = Math.min(src.length, s.left);
    try {
      this.disk.write(s.at, n === src.length ? src : src.subarray(0, n));
    } catch (e) {
      this.log(`SCSI disk: ${(e as Error).message}`);
      this.fail(SenseKey.MEDIUM_ERROR, Asc.WRITE_ERROR);
      return 0;
    }
    s.at += n;
    s.left -= n;
    return n;
  }

  /** What was asked to be written lasts without a write cache, and when asked for by FUA. @param fua the CDB's byte with the bit */
  private settle(fua: number): void {
    if (fua & FUA || !this.d.writeCache) this.attempt(() => this.disk.flush());
  }

  protected finish(op: Op, length: number): void {
    const c = this.cdb;
    switch (op) {
      case Op.WRITE_6:
        return this.settle(0);
      case Op.WRITE_10:
      case Op.WRITE_12:
      case Op.WRITE_16:
        return this.settle(c[1]!);
      case Op.UNMAP:
        return this.unmap(length);
      case Op.WRITE_SAME_10:
        if (length === BLOCK) this.writePattern(c, be32(c, 2), be16(c, 7));
        return;
      case Op.WRITE_SAME_16:
        if (length === BLOCK) this.writePattern(c, lba64(c), be32(c, 10));
        return;
      case Op.MODE_SELECT_6:
        return this.selected(length, 4);
      case Op.MODE_SELECT_10:
        return this.selected(length, 8);
      default:
        return;
    }
  }

  /** Comparing with data from the initiator is not offered. */
  private verify(c: Uint8Array, lba: number, count: number): void {
    if (c[1]! & 6) return this.invalidField();
    this.inRange(lba, count);
  }

  private readCapacity16(allocated: number): void {
    const b = this.buffer.fill(0, 0, 32);
    const last = this.blocks - 1;
    put32(b, 0, Math.floor(last / 0x1_0000_0000));
    put32(b, 4, last % 0x1_0000_0000);
    put32(b, 8, BLOCK);
    b[13] = PHYSICAL_EXPONENT;
    // Logical block provisioning; unmapped blocks need not read as zeros.
    b[14] = 0x80;
    this.reply(32, allocated);
  }

  /** All descriptors are checked before any is unmapped (SBC-3, 5.28). */
  private unmap(length: number): void {
    if (length < UNMAP_HEADER || !this.writable()) return;
    const b = this.buffer;
    const n = Math.min(be16(b, 2), length - UNMAP_HEADER);
    if (n > MAX_DESCRIPTORS * UNMAP_DESCRIPTOR) return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.INVALID_FIELD_IN_PARAMETER_LIST);
    for (let pass = 0; pass < 2; pass++) {
      for (let at = UNMAP_HEADER; at + UNMAP_DESCRIPTOR <= UNMAP_HEADER + n; at += UNMAP_DESCRIPTOR) {
        const lba = be32(b, at) * 0x1_0000_0000 + be32(b, at + 4);
        const count = be32(b, at + 8);
        if (pass === 1) {
          if (count > 0) this.attempt(() => this.disk.discard(lba * BLOCK, count * BLOCK));
        } else if (!this.inRange(lba, count)) {
          return;
        } else if (count > MAX_UNMAP) {
          return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.INVALID_FIELD_IN_PARAMETER_LIST);
        }
      }
    }
  }

  private writeSame(c: Uint8Array, lba: number, count: number, noData: boolean): void {
    // "To the end of the disk" and block numbers within the data are not offered.
    if (count === 0 || count > MAX_WRITE_SAME || c[1]! & 0x06) return this.invalidField();
    if (!this.inRange(lba, count) || !this.writable()) return;
    if (!noData) return this.wants(BLOCK);
    this.buffer.fill(0, 0, BLOCK);
    this.writePattern(c, lba, count);
  }

  private writePattern(c: Uint8Array, lba: number, count: number): void {
    const pattern = this.buffer.subarray(0, BLOCK);
    this.attempt(() => {
      if (pattern.every((x) => x === 0)) {
        this.disk.writeZeroes(lba * BLOCK, count * BLOCK, (c[1]! & UNMAP_BIT) !== 0);
        return;
      }
      const many = new Uint8Array(Math.min(count, 128) * BLOCK);
      for (let i = 0; i < many.length; i += BLOCK) many.set(pattern, i);
      for (let done = 0; done < count; done += 128) this.disk.write((lba + done) * BLOCK, many.subarray(0, Math.min(128, count - done) * BLOCK));
    });
    this.settle(0);
  }

  // ---- mode pages ----

  private modeSense(c: Uint8Array, header: number, allocated: number): void {
    const page: Page = c[2]! & 0x3f;
    const control = c[2]! >> 6;
    if (control === 3) return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.SAVING_PARAMETERS_NOT_SUPPORTED);
    const b = this.buffer.fill(0, 0, 128);
    let n = header;
    if (page === Page.CACHING || page === Page.ALL) {
      b[n] = Page.CACHING;
      b[n + 1] = CACHING_BYTES;
      // Current and default values, or (control 1) which bits can be changed: WCE.
      b[n + 2] = control === 0 ? (this.d.writeCache ? WCE : 0) : WCE;
      n += 2 + CACHING_BYTES;
    }
    if (page === Page.CONTROL || page === Page.ALL) {
      b[n] = Page.CONTROL;
      b[n + 1] = CONTROL_BYTES;
      n += 2 + CONTROL_BYTES;
    }
    if (n === header) return this.invalidField();
    // Write protection, and FUA is known.
    const parameter = (this.disk.readonly ? 0x80 : 0) | 0x10;
    if (header === 4) {
      b[0] = n - 1;
      b[2] = parameter;
    } else {
      put16(b, 0, n - 2);
      b[3] = parameter;
    }
    this.reply(n, allocated);
  }

  private modeSelect(c: Uint8Array, length: number): void {
    // Page format; nothing can be saved.
    if (!(c[1]! & 0x10) || c[1]! & 1) return this.invalidField();
    this.wants(length);
  }

  private selected(length: number, header: number): void {
    if (length === 0) return;
    const b = this.buffer;
    const bad = (): void => this.fail(SenseKey.ILLEGAL_REQUEST, Asc.INVALID_FIELD_IN_PARAMETER_LIST);
    if (length < header) return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.PARAMETER_LIST_LENGTH_ERROR);
    let at = header + (header === 4 ? b[3]! : be16(b, 6));
    let cache = this.d.writeCache;
    while (at + 2 <= length) {
      const code = b[at]! & 0x3f;
      const n = b[at + 1]!;
      if (at + 2 + n > length) return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.PARAMETER_LIST_LENGTH_ERROR);
      if (code === (Page.CACHING as number)) {
        if (n !== CACHING_BYTES) return bad();
        cache = (b[at + 2]! & WCE) !== 0;
      } else if (code !== (Page.CONTROL as number) || n !== CONTROL_BYTES) {
        return bad();
      }
      at += 2 + n;
    }
    if (this.d.writeCache && !cache) this.attempt(() => this.disk.flush());
    this.d.writeCache = cache;
  }

  override reset(): void {
    super.reset();
    this.d = { at: 0, left: 0, writeCache: true };
  }

  override save(): Record<string, unknown> {
    return { ...super.save(), disk: saveState(this.schema, VERSION, this.d) };
  }

  override check(saved: Record<string, unknown>): () => void {
    const take = super.check(saved);
    const s = loadState('SCSI disk', this.schema, VERSION, saved.disk as SavedState);
    if (s.at + s.left > this.disk.size) s.left = this.disk.size - s.at;
    return () => {
      take();
      this.d = s;
    };
  }
}

/** The block number of a CDB of 16 bytes; Infinity where numbers are no longer exact: that is beyond any disk. */
function lba64(c: Uint8Array): number {
  const hi = be32(c, 2);
  return hi < 0x20_0000 ? hi * 0x1_0000_0000 + be32(c, 6) : Infinity;
}
