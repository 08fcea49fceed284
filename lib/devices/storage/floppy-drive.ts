/**
 * Floppy disk drives and the disks in them: formats by image size, where the head is, the disk change line. Sectors have
 * 512 bytes, as in every format that images are made of.
 */
import type { BlockBackend } from '../../block/backend.js';
import type { MediaSlot } from '../../block/media.js';
import { bool, bytes, int, loadState, saveState, type Schema } from '../saved.js';
import type { SavedState } from '../device.js';

export const FLOPPY_SECTOR = 512;

/** Data rates as the controller's DRATE bits have them (82077AA, table 2-7). */
export const enum Rate {
  KBPS_500 = 0,
  KBPS_300 = 1,
  KBPS_250 = 2,
  MBPS_1 = 3,
}

/** Drive types as CMOS register 10h has them. */
export const enum DriveType {
  NONE = 0,
  K360 = 1,
  M1_2 = 2,
  K720 = 3,
  M1_44 = 4,
  M2_88 = 5,
}

export interface FloppyFormat {
  tracks: number;
  heads: number;
  /** Sectors per track. */
  sectors: number;
  /** Data rates at which it can be read. A 40-track disk turns at 300 or 360 rpm, depending on the drive. */
  rates: readonly Rate[];
  /** The drive a PC would have for it. */
  drive: DriveType;
}

const DD_525 = [Rate.KBPS_250, Rate.KBPS_300] as const;
export const FLOPPY_FORMATS: readonly FloppyFormat[] = [
  { tracks: 40, heads: 1, sectors: 8, rates: DD_525, drive: DriveType.K360 },
  { tracks: 40, heads: 1, sectors: 9, rates: DD_525, drive: DriveType.K360 },
  { tracks: 40, heads: 2, sectors: 8, rates: DD_525, drive: DriveType.K360 },
  { tracks: 40, heads: 2, sectors: 9, rates: DD_525, drive: DriveType.K360 },
  { tracks: 80, heads: 2, sectors: 15, rates: [Rate.KBPS_500], drive: DriveType.M1_2 },
  { tracks: 80, heads: 2, sectors: 9, rates: [Rate.KBPS_250], drive: DriveType.M1_44 },
  { tracks: 80, heads: 2, sectors: 18, rates: [Rate.KBPS_500], drive: DriveType.M1_44 },
  // As distributions of the nineties used them: more sectors or tracks than the standard has.
  { tracks: 80, heads: 2, sectors: 20, rates: [Rate.KBPS_500], drive: DriveType.M1_44 },
  { tracks: 80, heads: 2, sectors: 21, rates: [Rate.KBPS_500], drive: DriveType.M1_44 },
  { tracks: 82, heads: 2, sectors: 21, rates: [Rate.KBPS_500], drive: DriveType.M1_44 },
  { tracks: 83, heads: 2, sectors: 21, rates: [Rate.KBPS_500], drive: DriveType.M1_44 },
  { tracks: 80, heads: 2, sectors: 36, rates: [Rate.MBPS_1], drive: DriveType.M2_88 },
];

const bytesOf = (f: FloppyFormat): number => f.tracks * f.heads * f.sectors * FLOPPY_SECTOR;

/** The format of an image with so many bytes, or null: no floppy disk has that size. */
export function floppyFormat(size: number): FloppyFormat | null {
  return FLOPPY_FORMATS.find((f) => bytesOf(f) === size) ?? null;
}

/** The sizes floppyFormat knows, in words. */
export const FLOPPY_SIZES = FLOPPY_FORMATS.map((f) => `${bytesOf(f) / 1024}K`).join(', ');

/** How far the head of any drive goes. */
const LAST_TRACK = 84;
const MAX_SECTORS = 83 * 2 * 36;

interface DriveState {
  /** Where the head is. */
  track: number;
  /** Disk change line: the disk was taken out since the head last moved. */
  changed: boolean;
  /** A bit per sector that has a deleted data address mark. Images cannot hold these: they are gone with the disk. */
  deleted: Uint8Array;
}

const VERSION = 1;
const SCHEMA: Schema<DriveState> = { track: int(0, LAST_TRACK), changed: bool, deleted: bytes(MAX_SECTORS / 8) };

export class FloppyDrive {
  private s: DriveState = { track: 0, changed: true, deleted: new Uint8Array(MAX_SECTORS / 8) };
  private fmt: FloppyFormat | null = null;

  constructor(
    readonly type: DriveType,
    private readonly slot: MediaSlot,
  ) {
    const look = (): void => {
      this.fmt = slot.medium === null ? null : floppyFormat(slot.medium.size);
    };
    look();
    slot.onChange(() => {
      look();
      this.s.changed = true;
      this.s.deleted.fill(0);
    });
  }

  get format(): FloppyFormat | null {
    return this.fmt;
  }

  get track(): number {
    return this.s.track;
  }

  get changed(): boolean {
    return this.s.changed;
  }

  get writeProtected(): boolean {
    return this.slot.medium?.readonly ?? false;
  }

  /** Moves the head by so many tracks, outwards if negative. A step with a disk inside resets the disk change line. */
  step(tracks: number): void {
    if (tracks !== 0 && this.slot.medium !== null) this.s.changed = false;
    this.s.track = Math.min(LAST_TRACK, Math.max(0, this.s.track + tracks));
  }

  /** Number of the sector on the disk, or -1 if this track of this side has none such. */
  private index(head: number, sector: number): number {
    const f = this.fmt;
    if (f === null || head >= f.heads || this.s.track >= f.tracks || sector < 1 || sector > f.sectors) return -1;
    return (this.s.track * f.heads + head) * f.sectors + sector - 1;
  }

  has(head: number, sector: number): boolean {
    return this.index(head, sector) >= 0;
  }

  isDeleted(head: number, sector: number): boolean {
    const i = this.index(head, sector);
    return i >= 0 && ((this.s.deleted[i >> 3]! >> (i & 7)) & 1) !== 0;
  }

  /** @throws what the image throws; RangeError if there is no such sector. */
  read(head: number, sector: number, dst: Uint8Array): void {
    this.media(head, sector).read(this.index(head, sector) * FLOPPY_SECTOR, dst);
  }

  write(head: number, sector: number, src: Uint8Array, deleted: boolean): void {
    this.media(head, sector).write(this.index(head, sector) * FLOPPY_SECTOR, src);
    const i = this.index(head, sector);
    const bit = 1 << (i & 7);
    this.s.deleted[i >> 3] = deleted ? this.s.deleted[i >> 3]! | bit : this.s.deleted[i >> 3]! & ~bit;
  }

  flush(): void {
    this.slot.medium?.flush();
  }

  private media(head: number, sector: number): BlockBackend {
    const m = this.slot.medium;
    if (m === null || this.index(head, sector) < 0) throw new RangeError('no such sector');
    return m;
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  /** What `restore` takes, checked. @throws VmxError */
  static check(saved: unknown): DriveState {
    return loadState('floppy drive', SCHEMA, VERSION, saved as SavedState);
  }

  restore(checked: DriveState): void {
    this.s = checked;
  }
}
