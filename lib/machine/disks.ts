/** The caller's side of a machine's drives. */
import type { ImageFormat } from '../block/formats.js';
import { UsageError } from '../errors.js';
import type { DriveInfo, DriveRequest } from './protocol.js';

export interface EjectOptions {
  /** Also where the guest has locked the tray. Default false. */
  force?: boolean;
}

export interface ChangeOptions extends EjectOptions {
  /** Default auto: by content. */
  format?: ImageFormat | 'auto';
  /** Floppies: the guest cannot write. Default: as before. */
  readonly?: boolean;
}

/**
 * Drives by name: `disk0`, `cdrom0`, `floppy0` and so on, each kind counted from 0 in the order of the configuration. Methods reject with a
 * VmxError: ERR_NO_DRIVE, ERR_LOCKED (the guest holds the tray; it has been asked to eject), ERR_STATE (not a removable medium, or the machine
 * has ended); UsageError if the file cannot be used.
 */
export class Disks {
  constructor(private readonly ask: (request: DriveRequest) => Promise<DriveInfo[]>) {}

  /** All drives as they are now. */
  list(): Promise<DriveInfo[]> {
    return this.ask({ op: 'list' });
  }

  /** Opens the tray and takes the medium out. */
  async eject(drive: string, o: EjectOptions = {}): Promise<void> {
    await this.ask({ op: 'eject', drive, force: o.force ?? false });
  }

  /** Puts the image `file` in, in place of what is there, and closes the tray. If the image cannot be opened nothing changes. */
  async change(drive: string, file: string, o: ChangeOptions = {}): Promise<void> {
    if (file === '') throw new UsageError(`${drive}: no file named`);
    await this.ask({ op: 'change', drive, file, format: o.format ?? 'auto', readonly: o.readonly, force: o.force ?? false });
  }

  /** The medium stays in the open tray. */
  async openTray(drive: string, o: EjectOptions = {}): Promise<void> {
    await this.ask({ op: 'open', drive, force: o.force ?? false });
  }

  async closeTray(drive: string): Promise<void> {
    await this.ask({ op: 'close', drive });
  }
}
