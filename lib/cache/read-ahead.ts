/**
 * Reads parts of files before they are needed, in the threads that Node has for files, while the machine is being made and runs. What has
 * not been read when it is needed is read then and there, and what nobody asked for is forgotten after a while.
 */
import { closeSync, read } from 'node:fs';
import { payloadMemory } from './segment.js';

/** Most bytes that are read ahead at a time: a boot of Linux needs 30 MB. */
export const MOST_AHEAD = 40 << 20;
/** What was read and is not asked for in so many ms is of another system. */
const FORGET_MS = 15_000;

/** A part that is being read or has been. */
interface Part {
  readonly bytes: Uint8Array;
  done: boolean;
}

export class ReadAhead {
  private readonly parts = new Map<object, Part>();
  /** By descriptor: reads that have not ended, and whether it is to be closed then. */
  private readonly open = new Map<number, { reads: number; close: boolean }>();
  private left = MOST_AHEAD;
  private timer: NodeJS.Timeout | null = null;

  /** Begins to read n bytes at `at`, to be given out for `what`, if there is room. @returns false if there is none */
  begin(what: object, fd: number, at: number, n: number): boolean {
    if (n === 0 || n > this.left) return false;
    this.left -= n;
    const part: Part = { bytes: payloadMemory(n), done: false };
    this.parts.set(what, part);
    let file = this.open.get(fd);
    if (file === undefined) this.open.set(fd, (file = { reads: 0, close: false }));
    const { reads } = file;
    file.reads = reads + 1;
    this.timer ??= setTimeout(() => this.parts.clear(), FORGET_MS).unref();
    read(fd, part.bytes, 0, n, at, (e, got) => {
      // An error, or the end of the file, is met again by whoever needs the part.
      part.done = e === null && got === n;
      file.reads--;
      if (file.reads > 0) return;
      this.open.delete(fd);
      if (file.close) closeSync(fd);
    });
    return true;
  }

  /** The bytes, once; null if they have not been read. */
  take(what: object): Uint8Array | null {
    const part = this.parts.get(what);
    if (part === undefined) return null;
    this.parts.delete(what);
    return part.done ? part.bytes : null;
  }

  /** Closes a descriptor, as soon as nothing is read from it any more. */
  close(fd: number): void {
    const file = this.open.get(fd);
    if (file === undefined) closeSync(fd);
    else file.close = true;
  }

  /** Forgets what has been read. */
  clear(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.parts.clear();
  }
}
