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

/** Most bytes of one read, and between two parts that one read has. */
const MOST_AT_ONCE = 4 << 20;
const MOST_BETWEEN = 64 << 10;

/** Part of a file: `bytes` at `at`, to be given out for `what`. */
export interface Wanted {
  readonly what: object;
  readonly at: number;
  readonly bytes: number;
}

/** A read that is under way or has ended. */
interface Piece {
  readonly at: number;
  readonly memory: Uint8Array;
  /** Bytes from its beginning that are there. */
  have: number;
}

export class ReadAhead {
  private readonly parts = new Map<object, { wanted: Wanted; piece: Piece }>();
  /** By descriptor: reads that have not ended, and whether it is to be closed then. */
  private readonly open = new Map<number, { reads: number; close: boolean }>();
  private left = MOST_AHEAD;
  private timer: NodeJS.Timeout | null = null;

  /**
   * Begins to read parts of a file, in ascending order. Neighbours are read together: memory in pieces of some hundred KiB comes from where others have
   * been, and is cleared here and now.
   * @returns false if there is no room for all of them
   */
  begin(fd: number, wanted: readonly Wanted[]): boolean {
    for (let i = 0; i < wanted.length; ) {
      const { at } = wanted[i]!;
      let end = at;
      let k = i;
      for (let w = wanted[k]; w !== undefined; w = wanted[++k]) {
        if (k > i && (w.at < end || w.at - end > MOST_BETWEEN || w.at + w.bytes - at > MOST_AT_ONCE)) break;
        end = w.at + w.bytes;
      }
      if (!this.read(fd, at, end - at, wanted.slice(i, k))) return false;
      i = k;
    }
    return true;
  }

  private read(fd: number, at: number, n: number, wanted: readonly Wanted[]): boolean {
    if (n > this.left) return false;
    if (n === 0) return true;
    this.left -= n;
    const piece: Piece = { at, memory: payloadMemory(n), have: 0 };
    for (const w of wanted) this.parts.set(w.what, { wanted: w, piece });
    let file = this.open.get(fd);
    if (file === undefined) this.open.set(fd, (file = { reads: 0, close: false }));
    const { reads } = file;
    file.reads = reads + 1;
    this.timer ??= setTimeout(() => this.parts.clear(), FORGET_MS).unref();
    read(fd, piece.memory, 0, n, at, (e, got) => {
      // An error, or the end of the file, is met again by whoever needs the part.
      if (e === null) piece.have = got;
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
    const { wanted: w, piece: p } = part;
    const from = w.at - p.at;
    return from + w.bytes <= p.have ? p.memory.subarray(from, from + w.bytes) : null;
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
