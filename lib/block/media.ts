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
  open = false;
  private readonly listeners: (() => void)[] = [];

  constructor(medium: BlockBackend | null) {
    this.current = medium;
  }

  /** What can be read now, or null. */
  get medium(): BlockBackend | null {
    return this.open ? null : this.current;
  }

  /** Called after every change of what can be read; drives tell their guest of it (unit attention, disk change line). */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** The guest opens the tray. @returns false if it is locked. */
  eject(): boolean {
    if (this.locked) return false;
    if (!this.open) {
      this.open = true;
      this.changed();
    }
    return true;
  }

  /** The guest closes the tray. */
  load(): void {
    if (!this.open) return;
    this.open = false;
    this.changed();
  }

  /** The user takes the medium out and puts another in (null: none); the one before is closed, the tray, too. */
  insert(medium: BlockBackend | null): void {
    this.current?.close();
    this.current = medium;
    this.open = false;
    this.changed();
  }

  /** Closes the image at the end. */
  close(): void {
    this.current?.close();
    this.current = null;
  }

  private changed(): void {
    for (const l of this.listeners) l();
  }
}
