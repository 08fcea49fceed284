/**
 * Virtio memory balloon (Virtual I/O Device 1.2, 5.5): pages that the guest puts into the balloon, or reports as free, are given
 * back to the host and come back zeroed when the guest touches them; with statistics of the guest's memory.
 */
import type { IoHandler } from '../device.js';
import { bool, int, list, loadState, saveState, type Schema, struct, u32 } from '../saved.js';
import { Chain } from './queue.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';

const INFLATE = 0;
const DEFLATE = 1;
const STATS = 2;
/** Feature bits (5.5.3). */
const enum F { STATS_VQ = 1 << 1, DEFLATE_ON_OOM = 1 << 2, PAGE_REPORTING = 1 << 5 }
const PAGE = 4096;
/** Page numbers in one request: Linux sends 256. */
const MAX_PFNS = 4096;
/** Reported ranges in one request are whole blocks of free memory. */
const MAX_REPORT = 1 << 30;
/** struct virtio_balloon_stat: tag, 64-bit value. */
const STAT_BYTES = 10;
const MAX_STATS = 32;
/** Names of statistics by tag (5.5.6.3.1); bytes but for the faults and huge pages. */
export const STAT_NAMES: readonly string[] = ['swapIn', 'swapOut', 'majorFaults', 'minorFaults', 'freeMemory', 'totalMemory', 'availableMemory', 'diskCaches', 'hugePagesAllocated', 'hugePagesFailed'];

interface Stat {
  tag: number;
  value: number;
}

interface State {
  /** Pages that the balloon is to have, and has by the driver's word. */
  target: number;
  actual: number;
  features: number;
  /** The chain that the driver has left for the next request for statistics; -1: none. */
  statsHead: number;
  stats: Stat[];
  /** The statistics are of after the last request. */
  fresh: boolean;
}

const SCHEMA: Schema<State> = {
  target: u32, actual: u32, features: u32, statsHead: int(-1, 0xffff), fresh: bool,
  stats: list(MAX_STATS, struct<Stat>({ tag: int(0, 0xffff), value: int(0, Number.MAX_SAFE_INTEGER) })),
};
const VERSION = 1;
const initial = (target: number): State => ({ target, actual: 0, features: 0, statsHead: -1, stats: [], fresh: false });

export interface BalloonOptions {
  /** Gives memory back: both page multiples; what is no RAM is left alone. */
  release(pa: number, bytes: number): void;
  /** The balloon has another size, or statistics have come. */
  onChange?(): void;
}

export class VirtioBalloon implements VirtioDevice {
  readonly type = 5;
  readonly queues = 4;
  readonly pciClass = 0x00ff;
  readonly features: number = F.STATS_VQ | F.DEFLATE_ON_OOM | F.PAGE_REPORTING;
  readonly config: IoHandler = { read: (o, size) => this.configRead(o, size), write: (o, size, v) => this.configWrite(o, size, v) };
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly buffer = new Uint8Array(MAX_PFNS * 4);
  private readonly view = new DataView(this.buffer.buffer);
  private s = initial(0);

  constructor(private readonly o: BalloonOptions) {}

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(features: number): void {
    this.s.features = features;
    // Linux offers its statistics before it says DRIVER_OK.
    this.notify(STATS);
  }

  /** Asks the guest to put so many bytes into the balloon. */
  setTarget(bytes: number): void {
    const pages = Math.min(0xffff_ffff, Math.floor(bytes / PAGE));
    if (pages === this.s.target) return;
    this.s.target = pages;
    this.t!.configChanged();
  }

  get target(): number {
    return this.s.target * PAGE;
  }

  /** Bytes that the guest says are in it. */
  get actual(): number {
    return this.s.actual * PAGE;
  }

  /** What the guest has told last; `fresh` since the last call of askStats. */
  get stats(): { fresh: boolean; values: Readonly<Record<string, number>> } {
    return { fresh: this.s.fresh, values: Object.fromEntries(this.s.stats.flatMap((v) => (STAT_NAMES[v.tag] === undefined ? [] : [[STAT_NAMES[v.tag]!, v.value]]))) };
  }

  /** Asks the guest for new statistics. @returns false if its driver does not give any. */
  askStats(): boolean {
    const { s } = this;
    if (s.statsHead < 0) return false;
    const head = s.statsHead;
    s.statsHead = -1;
    s.fresh = false;
    this.t!.queue[STATS]!.push(head, 0);
    this.t!.signal(STATS);
    return true;
  }

  notify(q: number): void {
    const t = this.t!;
    const { features } = this.s;
    // Queues of features that the driver has not taken are not there, and the others move up.
    const stats = features & F.STATS_VQ ? STATS : -1;
    const reporting = features & F.PAGE_REPORTING ? (stats < 0 ? STATS : STATS + 1) : -1;
    if (q === stats) this.takeStats(q);
    else if (q === reporting || q === INFLATE || q === DEFLATE) {
      const vq = t.queue[q]!;
      for (let n = 0; n < vq.size && vq.pop(this.chain); n++) {
        if (q === INFLATE) this.inflate();
        else if (q === reporting) this.report();
        vq.push(this.chain.head, 0);
      }
      t.signal(q);
    }
  }

  /** A list of page numbers (5.5.6). Neighbours are given back together. */
  private inflate(): void {
    const got = this.chain.readInto(this.t!.mem, this.buffer.subarray(0, Math.min(this.chain.readBytes, this.buffer.length)));
    let first = -1;
    let pages = 0;
    for (let at = 0; at + 4 <= got; at += 4) {
      const pfn = this.view.getUint32(at, true);
      // Linux gives them in descending order.
      if (pfn === first - 1) first--;
      else if (pfn !== first + pages) {
        if (pages > 0) this.o.release(first * PAGE, pages * PAGE);
        first = pfn;
        pages = 0;
      }
      pages++;
    }
    if (pages > 0) this.o.release(first * PAGE, pages * PAGE);
  }

  /** Free memory as the chain's writable pieces (5.5.6.7). */
  private report(): void {
    const { addr, len, readable } = this.chain;
    for (let i = readable; i < addr.length; i++) {
      const from = Math.ceil(addr[i]! / PAGE) * PAGE;
      const to = Math.floor((addr[i]! + Math.min(len[i]!, MAX_REPORT)) / PAGE) * PAGE;
      if (to > from) this.o.release(from, to - from);
    }
  }

  private takeStats(q: number): void {
    const { s } = this;
    const vq = this.t!.queue[q]!;
    for (let n = 0; n < vq.size && vq.pop(this.chain); n++) {
      // A driver has one buffer; a second one takes the place of the first.
      if (s.statsHead >= 0) vq.push(s.statsHead, 0);
      s.statsHead = this.chain.head;
      const got = this.chain.readInto(this.t!.mem, this.buffer.subarray(0, Math.min(this.chain.readBytes, MAX_STATS * STAT_BYTES)));
      s.stats = [];
      for (let at = 0; at + STAT_BYTES <= got; at += STAT_BYTES) {
        const value = this.view.getUint32(at + 2, true) + this.view.getUint32(at + 6, true) * 2 ** 32;
        // -1: the guest does not know.
        if (value <= Number.MAX_SAFE_INTEGER) s.stats.push({ tag: this.view.getUint16(at, true), value });
      }
      s.fresh = s.stats.length > 0;
    }
    this.t!.signal(q);
    this.o.onChange?.();
  }

  /** num_pages, actual (5.5.4). */
  private configRead(o: number, size: number): number {
    const word = o < 4 ? this.s.target : o < 8 ? this.s.actual : 0;
    return size === 4 ? word : (word >>> ((o & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private configWrite(o: number, size: number, v: number): void {
    if (o !== 4 || size !== 4) return;
    this.s.actual = v >>> 0;
    this.o.onChange?.();
  }

  reset(): void {
    // What the host wants outlives the driver.
    this.s = initial(this.s.target);
  }

  save(): Record<string, unknown> {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(s: Record<string, unknown>): void {
    this.s = loadState('virtio-balloon', SCHEMA, VERSION, s as ReturnType<typeof saveState>);
  }
}
