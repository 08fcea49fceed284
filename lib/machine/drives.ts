/**
 * What is done to a machine's drives while it runs: discs and floppies change, trays open and close. The machine's side of
 * `Disks`. What a guest may notice follows MMC-6, 6.7 (PREVENT ALLOW MEDIUM REMOVAL: a locked tray opens by force only).
 */
import { realpathSync } from 'node:fs';
import { openImage } from '../block/open.js';
import type { Drive } from '../boards/parts/drive.js';
import { FLOPPY_SIZES, floppyFormat } from '../devices/storage/floppy-drive.js';
import { UsageError, VmxError } from '../errors.js';
import { suggestion } from '../suggest.js';
import type { DriveInfo, DriveRequest } from './protocol.js';

export class MachineDrives {
  /** What lies in the drives whose medium has changed; null: nothing. */
  private readonly media = new Map<Drive, { file: string | null; readonly: boolean; format: string }>();

  /** @param drives may grow and shrink. @param trayMoved the tray of a drive has opened or closed, whoever did it. */
  constructor(
    private readonly drives: readonly Drive[],
    trayMoved: (drive: string, open: boolean) => void,
  ) {
    for (const d of drives) if (d.config.media === 'cdrom') d.media.onTray((open) => trayMoved(d.config.id, open));
  }

  private medium(d: Drive): { file: string | null; readonly: boolean; format: string } {
    return this.media.get(d) ?? { file: d.config.file, readonly: d.config.readonly, format: d.config.format };
  }

  list(): DriveInfo[] {
    return this.drives.map((d) => ({
      ...this.medium(d), id: d.config.id, media: d.config.media, if: d.config.if, removable: d.config.media !== 'disk', snapshot: d.config.snapshot, size: d.media.inserted?.size ?? 0, locked: d.media.locked, open: d.media.open,
    }));
  }

  /** @throws VmxError: ERR_NO_DRIVE, ERR_LOCKED (the guest has been asked to open), ERR_STATE; UsageError for a file that cannot be used. */
  handle(r: DriveRequest): void {
    if (r.op === 'list') return;
    const d = this.drives.find((x) => x.config.id === r.drive);
    if (d === undefined) throw new VmxError('ERR_NO_DRIVE', `there is no drive '${r.drive}'${suggestion(r.drive, this.drives.map((x) => x.config.id))}`);
    if (d.config.media === 'disk') throw new VmxError('ERR_STATE', `the medium of '${r.drive}' cannot be taken out`);
    switch (r.op) {
      case 'open':
        return this.openTray(d, r.force);
      case 'close':
        return d.media.load();
      case 'eject':
        this.openTray(d, r.force);
        return this.put(d, null, true);
      case 'change':
        return this.change(d, r);
    }
  }

  private openTray(d: Drive, force: boolean): void {
    // Floppy drives have no lock and no tray: taking the disk out is all there is.
    if (d.config.media === 'floppy') return;
    if (d.media.locked && !force) {
      d.media.askToEject();
      throw new VmxError('ERR_LOCKED', `the guest has locked '${d.config.id}' and has been asked to eject; wait for the tray to open, or use force`);
    }
    d.media.forceOpen();
  }

  private change(d: Drive, r: Extract<DriveRequest, { op: 'change' }>): void {
    const readonly = d.config.media === 'cdrom' || (r.readonly ?? this.medium(d).readonly);
    const open = (): ReturnType<typeof openImage> => openImage({ file: r.file, format: r.format, readonly, snapshot: d.config.snapshot, option: d.config.id });
    if (d.media.locked && !r.force) this.openTray(d, false);
    // An image is locked by whoever has it open: the same one can come back only after it has gone.
    const { file } = this.medium(d);
    if (file !== null && samePlace(file, r.file)) this.put(d, null, d.media.open);
    const image = open();
    if (d.config.media === 'floppy' && floppyFormat(image.size) === null) {
      image.close();
      throw new UsageError(`${d.config.id}: ${r.file}: ${image.size} bytes is no size of a floppy disk (${FLOPPY_SIZES})`);
    }
    this.openTray(d, r.force);
    this.media.set(d, { file: r.file, readonly, format: r.format });
    this.put(d, { file: r.file, image }, false);
  }

  private put(d: Drive, medium: { file: string; image: ReturnType<typeof openImage> } | null, trayOpen: boolean): void {
    this.media.set(d, { ...this.medium(d), file: medium?.file ?? null });
    d.media.insert(medium?.image ?? null, d.config.media === 'cdrom' && trayOpen);
  }
}

function samePlace(a: string, b: string): boolean {
  try {
    return realpathSync(a) === realpathSync(b);
  } catch (e) {
    // Opening it says what is wrong.
    if ((e as NodeJS.ErrnoException).code !== undefined) return false;
    throw e;
  }
}
