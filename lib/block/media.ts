/**
 * The slot of a drive with removable media: what lies in it can be absent, changed, ejected, and locked by the guest. A fixed
 * disk has a slot whose medium never changes.
 */
import type { BlockBackend } from './backend.js';

export class MediaSlot {
  private current: BlockBackend | null;
  /** The guest forbids ejection (SCSI PREVENT ALLOW MEDIUM REMOVAL). */
  locked = false;
  /** The tray is open: the medium in it, if any, cannot be read. */
  private isOpen = false;
  private readonly listeners: (() => void)[] = [];
  private readonly requests: (() => void)[] = [];
  private readonly trays: ((open: boolean) => void)[] = [];

  constructor(medium: BlockBackend | null) {
    this.current = medium;
  }

  /** What can be read now, or null. */
  get medium(): BlockBackend | null {
    return this.isOpen ? null : this.current;
  }

  /** What lies in the drive, the tray open or not. */
  get inserted(): BlockBackend | null {
    return this.current;
  }

  get open(): boolean {
    return this.isOpen;
  }

  /** Called after every change of what can be read; drives tell their guest of it (unit attention, disk change line). */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Called when the user presses the eject button of a locked drive. */
  onEjectRequest(listener: () => void): void {
    this.requests.push(listener);
  }

  /** Called when the tray has moved, whoever moved it. */
  onTray(listener: (open: boolean) => void): void {
    this.trays.push(listener);
  }

  /** The guest opens the tray. @returns false if it is locked. */
  eject(): boolean {
    if (this.locked) return false;
    this.forceOpen();
    return true;
  }

  /** The user opens the tray, locked or not. */
  forceOpen(): void {
    if (this.isOpen) return;
    this.setTray(true);
    this.changed();
  }

  /** The user would like the guest to open the tray. */
  askToEject(): void {
    for (const l of this.requests) l();
  }

  /** The tray closes. */
  load(): void {
    if (!this.isOpen) return;
    this.setTray(false);
    this.changed();
  }

  /** The user takes the medium out and puts another in (null: none); the one before is closed. @param open whether the tray stays open. */
  insert(medium: BlockBackend | null, open = false): void {
    this.current?.close();
    this.current = medium;
    this.setTray(open);
    this.changed();
  }

  /** From saved state: nobody is told. */
  restoreTray(open: boolean): void {
    this.isOpen = open;
  }

  /** Closes the image at the end. */
  close(): void {
    this.current?.close();
    this.current = null;
  }

  private setTray(open: boolean): void {
    if (this.isOpen === open) return;
    this.isOpen = open;
    for (const l of this.trays) l(open);
  }

  private changed(): void {
    for (const l of this.listeners) l();
  }
}
