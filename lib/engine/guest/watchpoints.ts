/**
 * A debugger's watchpoints on one CPU, by linear address. A page that holds one has no TLB entry, so that its accesses come by the slow path,
 * which asks here; and the CPU steps (its mode says so), so that it stops after the instruction.
 */

/** A range of linear addresses whose accesses a debugger wants to know of. It lies within one page. */
export interface Watchpoint {
  lo: number;
  hi: number;
  bytes: number;
  read: boolean;
  write: boolean;
}

export class Watchpoints {
  /** There are some. */
  any = false;
  private list: readonly Watchpoint[] = [];
  private hit: (w: Watchpoint) => void = () => {};

  /** Replaces them. @param hit called when one is met; the instruction goes on to its end */
  set(list: readonly Watchpoint[], hit: (w: Watchpoint) => void): void {
    this.list = list;
    this.hit = hit;
    this.any = list.length > 0;
  }

  /** The page at hi:pageLo holds one. */
  covers(pageLo: number, hi: number): boolean {
    for (const w of this.list) if ((w.lo & ~0xfff) === pageLo && w.hi === hi) return true;
    return false;
  }

  /** An access of `size` bytes at hi:lo is being made. */
  access(lo: number, hi: number, size: number, write: boolean): void {
    for (const w of this.list) {
      if (w.hi === hi && (write ? w.write : w.read) && lo >>> 0 < (w.lo >>> 0) + w.bytes && w.lo >>> 0 < (lo >>> 0) + size) this.hit(w);
    }
  }
}
