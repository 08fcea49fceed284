/** A bounded cache of tables of one cluster (L2 tables, refcount blocks), written back when told to. */
import type { ImageFile } from '../file.js';

/** Memory of one cache, but never fewer tables than MIN_TABLES. */
const MAX_BYTES = 4 * 1024 * 1024;
const MIN_TABLES = 8;
/** Tables are written in whole sectors. */
const SECTOR = 512;

export class Table {
  /** Bytes changed: [from, to). */
  from = 0;
  to = 0;
  used = 0;

  constructor(
    /** Offset in the file. */
    readonly offset: number,
    readonly bytes: Uint8Array,
  ) {}

  get dirty(): boolean {
    return this.to > this.from;
  }

  /** [at, at + length) has been changed. */
  touch(at: number, length: number): void {
    if (this.dirty) {
      this.from = Math.min(this.from, at);
      this.to = Math.max(this.to, at + length);
    } else {
      this.from = at;
      this.to = at + length;
    }
  }
}

export class TableCache {
  private readonly tables = new Map<number, Table>();
  private readonly limit: number;
  private tick = 0;
  private last: Table | null = null;

  /** @param writeBack writes all metadata in the order that keeps the image consistent; called when there is no clean table to drop. */
  constructor(
    private readonly file: ImageFile,
    private readonly clusterSize: number,
    private readonly writeBack: () => void,
  ) {
    this.limit = Math.max(MIN_TABLES, Math.floor(MAX_BYTES / clusterSize));
  }

  get dirty(): boolean {
    for (const t of this.tables.values()) if (t.dirty) return true;
    return false;
  }

  /** The table at `offset`, read if it is not here. */
  get(offset: number): Table {
    if (this.last?.offset === offset) return this.last;
    let t = this.tables.get(offset);
    if (t === undefined) {
      this.makeRoom();
      t = new Table(offset, new Uint8Array(this.clusterSize));
      this.file.readPadded(offset, t.bytes);
      this.tables.set(offset, t);
    }
    t.used = ++this.tick;
    return (this.last = t);
  }

  /** A new table with these contents (zeros if null), all of it dirty. */
  create(offset: number, contents: Uint8Array | null): Table {
    this.makeRoom();
    const t = new Table(offset, new Uint8Array(this.clusterSize));
    if (contents !== null) t.bytes.set(contents);
    t.touch(0, this.clusterSize);
    t.used = ++this.tick;
    this.tables.set(offset, t);
    return (this.last = t);
  }

  /** Forgets the table at `offset`: its cluster has been freed. */
  drop(offset: number): void {
    this.tables.delete(offset);
    this.last = null;
  }

  private makeRoom(): void {
    if (this.tables.size < this.limit) return;
    let oldest = this.oldestClean();
    if (oldest === null) {
      this.writeBack();
      oldest = this.oldestClean();
    }
    if (oldest !== null) this.drop(oldest.offset);
  }

  private oldestClean(): Table | null {
    let oldest: Table | null = null;
    for (const t of this.tables.values()) if (!t.dirty && (oldest === null || t.used < oldest.used)) oldest = t;
    return oldest;
  }

  /** Writes all changed tables. */
  flush(): void {
    for (const t of this.tables.values()) {
      if (!t.dirty) continue;
      const from = t.from - (t.from % SECTOR);
      this.file.write(t.offset + from, t.bytes.subarray(from, Math.min(this.clusterSize, Math.ceil(t.to / SECTOR) * SECTOR)));
      t.from = t.to = 0;
    }
  }

  clear(): void {
    this.tables.clear();
    this.last = null;
  }
}
