/**
 * CD-ROM and DVD-ROM drive (MMC-6; SPC-4 and SFF-8020i for what older systems ask): reads data discs of one track, says what
 * disc is in and when it changes, opens and closes its tray.
 */
import type { BlockBackend } from '../../../block/backend.js';
import type { MediaSlot } from '../../../block/media.js';
import { bool, int, loadState, saveState, type Schema } from '../../saved.js';
import type { SavedState } from '../../device.js';
import { Asc, ScsiDirection, SenseKey } from './target.js';
import { be16, be24, be32, put16, put32, ScsiUnitBase } from './unit.js';

const VERSION = 1;
export const CD_SECTOR = 2048;
/** Sectors of the largest CD, 80 minutes; larger discs are DVDs. */
const CD_SECTORS = 80 * 60 * 75;
/** First sector's place on the disc in frames of 1/75 s: 2 s lead. */
const LEAD_FRAMES = 150;
const FRAMES = 75;
const LEAD_OUT = 0xaa;

const enum Op {
  TEST_UNIT_READY = 0x00,
  MODE_SENSE_6 = 0x1a,
  START_STOP_UNIT = 0x1b,
  PREVENT_ALLOW = 0x1e,
  READ_CAPACITY = 0x25,
  READ_10 = 0x28,
  SEEK_10 = 0x2b,
  VERIFY_10 = 0x2f,
  READ_SUBCHANNEL = 0x42,
  READ_TOC = 0x43,
  GET_CONFIGURATION = 0x46,
  GET_EVENT_STATUS = 0x4a,
  READ_DISC_INFORMATION = 0x51,
  READ_TRACK_INFORMATION = 0x52,
  MODE_SELECT_10 = 0x55,
  MODE_SENSE_10 = 0x5a,
  READ_12 = 0xa8,
  READ_DVD_STRUCTURE = 0xad,
  SET_CD_SPEED = 0xbb,
  MECHANISM_STATUS = 0xbd,
  READ_CD = 0xbe,
}

const enum Profile { NONE = 0x0000, CD_ROM = 0x0008, DVD_ROM = 0x0010 }

/** Events of the media class (MMC-6, 6.6.3.5). */
const enum MediaEvent { NONE = 0, EJECT_REQUEST = 1, NEW_MEDIA = 2, REMOVAL = 3 }

const enum Page { ERROR_RECOVERY = 0x01, CAPABILITIES = 0x2a, ALL = 0x3f }

interface State {
  /** Transfer: where in the medium, and how much is left, in bytes. */
  at: number;
  left: number;
  /** What GET EVENT STATUS NOTIFICATION has not told yet. */
  event: number;
  locked: boolean;
  open: boolean;
}

const SCHEMA: Schema<State> = { at: int(0, 2 ** 45), left: int(0, 2 ** 45), event: int(0, 3), locked: bool, open: bool };

export class ScsiCdRom extends ScsiUnitBase {
  private at = 0;
  private left = 0;
  private event = MediaEvent.NONE;

  constructor(
    private readonly slot: MediaSlot,
    serial: string,
    log: (message: string) => void,
  ) {
    super({ type: 5, removable: true, vendor: 'VMX', product: 'CD-ROM', revision: '1.0', serial }, log);
    slot.onChange(() => {
      this.event = slot.medium === null ? MediaEvent.REMOVAL : MediaEvent.NEW_MEDIA;
      if (slot.medium !== null) this.attention(Asc.MEDIUM_MAY_HAVE_CHANGED);
    });
    slot.onEjectRequest(() => (this.event = MediaEvent.EJECT_REQUEST));
  }

  /** GET CONFIGURATION and GET EVENT STATUS NOTIFICATION are answered whatever has happened (MMC-6, 4.1.6.1). */
  protected override passesAttention(op: number): boolean {
    return op === (Op.GET_CONFIGURATION as number) || op === (Op.GET_EVENT_STATUS as number) || super.passesAttention(op);
  }

  /** Sectors of the disc; 0 without one. */
  private get sectors(): number {
    return Math.floor((this.slot.medium?.size ?? 0) / CD_SECTOR);
  }

  private get profile(): Profile {
    return this.slot.medium === null ? Profile.NONE : this.sectors > CD_SECTORS ? Profile.DVD_ROM : Profile.CD_ROM;
  }

  /** The disc, or null: the command has failed. */
  private ready(): BlockBackend | null {
    const m = this.slot.medium;
    if (m === null) this.fail(SenseKey.NOT_READY, this.slot.open ? Asc.MEDIUM_NOT_PRESENT_TRAY_OPEN : Asc.MEDIUM_NOT_PRESENT_TRAY_CLOSED);
    return m;
  }

  protected execute(op: Op, c: Uint8Array): void {
    switch (op) {
      case Op.TEST_UNIT_READY:
        this.ready();
        return;
      case Op.READ_10:
        return this.read(be32(c, 2), be16(c, 7));
      case Op.READ_12:
        return this.read(be32(c, 2), be32(c, 6));
      case Op.READ_CD:
        return this.readCd(c);
      case Op.VERIFY_10:
      case Op.SEEK_10:
        if (this.ready() !== null && be32(c, 2) + (op === Op.VERIFY_10 ? be16(c, 7) : 0) > this.sectors) this.fail(SenseKey.ILLEGAL_REQUEST, Asc.LBA_OUT_OF_RANGE);
        return;
      case Op.READ_CAPACITY:
        if (this.ready() === null) return;
        put32(this.buffer, 0, this.sectors - 1);
        put32(this.buffer, 4, CD_SECTOR);
        return this.reply(8, 8);
      case Op.READ_TOC:
        return this.readToc(c);
      case Op.READ_SUBCHANNEL:
        return this.readSubchannel(c);
      case Op.READ_DISC_INFORMATION:
        return this.discInformation(c);
      case Op.READ_TRACK_INFORMATION:
        return this.trackInformation(c);
      case Op.READ_DVD_STRUCTURE:
        return this.dvdStructure(c);
      case Op.GET_CONFIGURATION:
        return this.getConfiguration(c);
      case Op.GET_EVENT_STATUS:
        return this.eventStatus(c);
      case Op.MODE_SENSE_6:
        return this.modeSense(c, 4, c[4]!);
      case Op.MODE_SENSE_10:
        return this.modeSense(c, 8, be16(c, 7));
      case Op.MODE_SELECT_10:
        return this.wants(be16(c, 7));
      case Op.START_STOP_UNIT:
        return this.startStop(c[4]!);
      case Op.PREVENT_ALLOW:
        this.slot.locked = (c[4]! & 1) !== 0;
        return;
      case Op.MECHANISM_STATUS:
        this.buffer.fill(0, 0, 8);
        this.buffer[1] = this.slot.open ? 0x10 : 0;
        return this.reply(8, be16(c, 8));
      case Op.SET_CD_SPEED:
        return;
    }
    this.invalidCommand();
  }

  // ---- reading ----

  private read(lba: number, count: number): void {
    if (this.ready() === null) return;
    if (lba + count > this.sectors || lba >= this.sectors) return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.LBA_OUT_OF_RANGE);
    this.at = lba * CD_SECTOR;
    this.left = count * CD_SECTOR;
    this.begin(ScsiDirection.IN, this.left);
  }

  /** User data of mode 1 sectors is all there is: an image has no headers and no error correction codes. */
  private readCd(c: Uint8Array): void {
    const type = (c[1]! >> 2) & 7;
    const parts = c[9]! & 0xf8;
    if (be24(c, 6) === 0 || parts === 0) {
      this.ready();
      return;
    }
    if ((type !== 0 && type !== 2) || parts !== 0x10 || c[10]! & 7) return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.ILLEGAL_MODE_FOR_THIS_TRACK);
    this.read(be32(c, 2), be24(c, 6));
  }

  protected transferIn(dst: Uint8Array): number {
    const m = this.ready();
    if (m === null) return 0;
    const n = Math.max(0, Math.min(dst.length, this.left, m.size - this.at));
    try {
      m.read(this.at, n === dst.length ? dst : dst.subarray(0, n));
    } catch (e) {
      this.log(`CD-ROM: ${(e as Error).message}`);
      this.fail(SenseKey.MEDIUM_ERROR, Asc.UNRECOVERED_READ_ERROR);
      return 0;
    }
    this.at += n;
    this.left -= n;
    return n;
  }

  protected transferOut(): number {
    return 0;
  }

  /** MODE SELECT: the error recovery page is taken and means nothing here. */
  protected finish(): void {}

  // ---- about the disc ----

  /** Four bytes: a sector, or minutes, seconds and frames. */
  private putAddress(at: number, lba: number, msf: boolean): void {
    const b = this.buffer;
    if (!msf) return put32(b, at, lba);
    const f = lba + LEAD_FRAMES;
    b.set([0, Math.min(255, Math.floor(f / FRAMES / 60)), Math.floor(f / FRAMES) % 60, f % FRAMES], at);
  }

  private readToc(c: Uint8Array): void {
    if (this.ready() === null) return;
    const msf = (c[1]! & 2) !== 0;
    // SFF-8020i had the format in the control byte.
    const format = (c[2]! & 15) || c[9]! >> 6;
    const b = this.buffer.fill(0, 0, 64);
    let n: number;
    if (format === 0) {
      const first = c[6]!;
      if (first > 1 && first !== LEAD_OUT) return this.invalidField();
      n = 4;
      for (const track of first <= 1 ? [1, LEAD_OUT] : [LEAD_OUT]) {
        b.set([0, 0x14, track, 0], n);
        this.putAddress(n + 4, track === 1 ? 0 : this.sectors, msf);
        n += 8;
      }
    } else if (format === 1) {
      // Sessions: one, from track 1 on.
      b.set([0, 0x14, 1, 0], 4);
      this.putAddress(8, 0, msf);
      n = 12;
    } else if (format === 2) {
      n = this.fullToc(b);
    } else {
      return this.invalidField();
    }
    put16(b, 0, n - 2);
    b[2] = b[3] = 1;
    this.reply(n, be16(c, 7));
  }

  /** As in the lead-in: first track, last track, lead-out, the track. Addresses are in minutes, seconds, frames. */
  private fullToc(b: Uint8Array): number {
    let n = 4;
    const entry = (point: number, p: readonly number[] | number): void => {
      b.set([1, 0x14, 0, point, 0, 0, 0], n);
      if (typeof p === 'number') {
        this.putAddress(n + 7, p, true);
      } else b.set(p, n + 7);
      n += 11;
    };
    entry(0xa0, [0, 1, 0, 0]);
    entry(0xa1, [0, 1, 0, 0]);
    entry(0xa2, this.sectors);
    entry(1, 0);
    return n;
  }

  /** Nothing plays. */
  private readSubchannel(c: Uint8Array): void {
    if (this.ready() === null) return;
    this.buffer.fill(0, 0, 4);
    this.buffer[1] = 0x15;
    this.reply(4, be16(c, 7));
  }

  private discInformation(c: Uint8Array): void {
    if (this.ready() === null) return;
    if (c[1]! & 7) return this.invalidField();
    const b = this.buffer.fill(0, 0, 34);
    put16(b, 0, 32);
    // Complete, last session complete, not erasable; one session with one track.
    b.set([0x0e, 1, 1, 1, 1, 0x20], 2);
    b.fill(0xff, 16, 24);
    this.reply(34, be16(c, 7));
  }

  private trackInformation(c: Uint8Array): void {
    if (this.ready() === null) return;
    const b = this.buffer.fill(0, 0, 36);
    put16(b, 0, 34);
    // Track 1 of session 1: data, mode 1.
    b.set([1, 1, 0, 0x04, 0x01], 2);
    put32(b, 24, this.sectors);
    this.reply(36, be16(c, 7));
  }

  /** Physical format information and copyright of DVDs (MMC-6, 6.22.3). */
  private dvdStructure(c: Uint8Array): void {
    if (this.ready() === null) return;
    if (this.profile !== Profile.DVD_ROM) return this.invalidField();
    const b = this.buffer.fill(0, 0, 2052);
    const format = c[7]!;
    let n: number;
    if (format === 0) {
      // DVD-ROM, version 1; 120 mm; one layer.
      b.set([0x01, 0x0f, 0x01, 0x00], 4);
      put32(b, 8, 0x3_0000);
      put32(b, 12, 0x3_0000 + this.sectors - 1);
      n = 2052;
    } else if (format === 1) {
      n = 8;
    } else {
      return this.invalidField();
    }
    put16(b, 0, n - 2);
    this.reply(n, be16(c, 8));
  }

  // ---- about the drive ----

  /** MMC-6, 6.5 and chapter 5: profiles and the features that make a reader. */
  private getConfiguration(c: Uint8Array): void {
    const b = this.buffer.fill(0, 0, 256);
    const only = (c[1]! & 3) === 2;
    const current = (c[1]! & 3) === 1;
    const start = be16(c, 2);
    const profile = this.profile;
    const disc = profile !== Profile.NONE;
    let n = 8;
    const feature = (code: number, version: number, active: boolean, data: readonly number[]): void => {
      if (only ? code !== start : code < start || (current && !active)) return;
      put16(b, n, code);
      b[n + 2] = (version << 2) | (active ? 1 : 0) | (code <= 3 ? 2 : 0);
      b[n + 3] = data.length;
      b.set(data, n + 4);
      n += 4 + data.length;
    };
    const profileEntry = (p: Profile): number[] => [p >> 8, p & 0xff, p === profile ? 1 : 0, 0];
    feature(0x0000, 0, true, [...profileEntry(Profile.DVD_ROM), ...profileEntry(Profile.CD_ROM)]);
    // Core: ATAPI; INQUIRY and device busy events as in MMC-6.
    feature(0x0001, 2, true, [0, 0, 0, 2, 1, 0, 0, 0]);
    // Morphing: asynchronous events are not there. Removable medium: tray, can be locked and ejected.
    feature(0x0002, 1, true, [2, 0, 0, 0]);
    feature(0x0003, 0, true, [0x29, 0, 0, 0]);
    // Random readable: block size, blocks per read.
    feature(0x0010, 0, disc, [0, 0, CD_SECTOR >> 8, 0, 0, 16, 0, 0]);
    feature(0x001e, 2, profile === Profile.CD_ROM, [0, 0, 0, 0]);
    feature(0x001f, 1, profile === Profile.DVD_ROM, [1, 0, 0, 0]);
    put32(b, 0, n - 4);
    put16(b, 6, profile);
    this.reply(n, be16(c, 7));
  }

  private eventStatus(c: Uint8Array): void {
    // Only polling.
    if (!(c[1]! & 1)) return this.invalidField();
    const b = this.buffer.fill(0, 0, 8);
    const media = (c[4]! & 0x10) !== 0;
    b[3] = 0x10;
    if (!media) {
      b[2] = 0x80;
      put16(b, 0, 2);
      return this.reply(4, be16(c, 7));
    }
    put16(b, 0, 6);
    b[2] = 4;
    b[4] = this.event;
    b[5] = (this.slot.open ? 1 : 0) | (this.slot.medium !== null ? 2 : 0);
    // An event that does not fit is not told.
    if (be16(c, 7) >= 8) this.event = MediaEvent.NONE;
    this.reply(8, be16(c, 7));
  }

  private modeSense(c: Uint8Array, header: number, allocated: number): void {
    const page: Page = c[2]! & 0x3f;
    const control = c[2]! >> 6;
    // There are no saved values.
    if (control === 3) return this.fail(SenseKey.ILLEGAL_REQUEST, Asc.SAVING_PARAMETERS_NOT_SUPPORTED);
    const b = this.buffer.fill(0, 0, 128);
    let n = header;
    const add = (code: Page, data: readonly number[]): void => {
      if (page !== code && page !== Page.ALL) return;
      b.set([code, data.length], n);
      // Changeable values: none.
      if (control !== 1) b.set(data, n + 2);
      n += 2 + data.length;
    };
    add(Page.ERROR_RECOVERY, [0, 5, 0, 0, 0, 0]);
    // Reads DVD-ROM, CD-R, CD-RW; multi-session, mode 2; tray with eject and lock. Speeds in kB/s: 4 times DVD.
    const locked = this.slot.locked ? 2 : 0;
    add(Page.CAPABILITIES, [0x0b, 0, 0x70, 0, 0x29 | locked, 0, ...word(5540), 0, 2, ...word(512), ...word(5540), 0, 0, 0, 0, 0, 0]);
    if (n === header) return this.invalidField();
    // Medium type: a 120 mm data disc, no disc, or an open door.
    const medium = this.slot.medium !== null ? 0x01 : this.slot.open ? 0x71 : 0x70;
    if (header === 4) {
      b[0] = n - 1;
      b[1] = medium;
    } else {
      put16(b, 0, n - 2);
      b[2] = medium;
    }
    this.reply(n, allocated);
  }

  private startStop(bits: number): void {
    const load = (bits & 2) !== 0;
    if (!load) return;
    if (bits & 1) this.slot.load();
    else if (!this.slot.eject()) this.fail(SenseKey.ILLEGAL_REQUEST, Asc.MEDIUM_REMOVAL_PREVENTED);
  }

  override reset(): void {
    super.reset();
    this.slot.locked = false;
    this.at = this.left = 0;
  }

  override save(): Record<string, unknown> {
    return { ...super.save(), cd: saveState(SCHEMA, VERSION, { at: this.at, left: this.left, event: this.event, locked: this.slot.locked, open: this.slot.open }) };
  }

  override check(saved: Record<string, unknown>): () => void {
    const take = super.check(saved);
    const s = loadState('CD-ROM', SCHEMA, VERSION, saved.cd as SavedState);
    return () => {
      this.slot.restoreTray(s.open);
      take();
      this.at = s.at;
      this.left = s.left;
      this.event = s.event;
      this.slot.locked = s.locked;
    };
  }
}

const word = (v: number): number[] => [v >> 8, v & 0xff];
