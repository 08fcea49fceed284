/**
 * TLB entries of address spaces that do not run (SDM vol. 3, 4.10.1: process-context identifiers). The software TLB holds one address
 * space; what a MOV to CR3 with bit 63 set promises to be still good is put aside here when another comes, and put back with it.
 */
import { TLB_CODE } from '../../state.js';

/** Address spaces that are remembered. Linux uses six identifiers. */
export const CONTEXTS = 8;
/** Entries kept of one: a few of the largest programs need more and pay with misses. */
const MOST = 2048;
/** Words: where the entry was, then the entry (`TlbField`). */
const WORDS = 9;

export class TlbContexts {
  /** PCID of each, -1: free. */
  private readonly pcids = new Int32Array(CONTEXTS).fill(-1);
  private readonly counts = new Int32Array(CONTEXTS);
  private readonly used = new Float64Array(CONTEXTS);
  private readonly saved: (Int32Array | null)[] = new Array<Int32Array | null>(CONTEXTS).fill(null);
  private clock = 0;

  /** Number of the context of a PCID, -1 if there is none. */
  find(pcid: number): number {
    return this.pcids.indexOf(pcid);
  }

  /** An empty context for a PCID; the one not used for longest goes. */
  take(pcid: number): number {
    let k = this.find(pcid);
    if (k < 0) k = this.pcids.indexOf(-1);
    if (k < 0) {
      k = 0;
      for (let i = 1; i < CONTEXTS; i++) if (this.used[i]! < this.used[k]!) k = i;
    }
    this.pcids[k] = pcid;
    this.used[k] = ++this.clock;
    this.counts[k] = 0;
    return k;
  }

  /** The context of this PCID is not the next to go. */
  touch(pcid: number): void {
    const k = this.find(pcid);
    if (k >= 0) this.used[k] = ++this.clock;
  }

  drop(pcid: number): void {
    const k = this.find(pcid);
    if (k >= 0) this.pcids[k] = -1;
  }

  dropAll(): void {
    this.pcids.fill(-1);
  }

  /** Keeps the entry at word e of V. */
  add(k: number, e: number, V: Int32Array): void {
    const n = this.counts[k]!;
    if (n >= MOST) return;
    const to = (this.saved[k] ??= new Int32Array(MOST * WORDS));
    let p = n * WORDS;
    to[p++] = e;
    for (let i = 0; i < 8; i++) to[p++] = V[e + i]!;
    this.counts[k] = n + 1;
  }

  count(k: number): number {
    return this.counts[k]!;
  }

  /**
   * Puts entry n back, unless its place is taken. A page that holds code by now has no write tag any more.
   * @returns the entry's word in V, or -1
   */
  put(k: number, n: number, V: Int32Array, codePages: Uint8Array): number {
    const from = this.saved[k]!;
    let p = n * WORDS;
    const e = from[p++]!;
    if (V[e + 7] !== 0) return -1;
    for (let i = 0; i < 8; i++) V[e + i] = from[p++]!;
    if ((V[e + 2]! & 1) === 0 && codePages[V[e + 6]! >>> 12] !== 0) {
      V[e + 2] = V[e + 3] = -1;
      V[e + 6]! |= TLB_CODE;
    }
    return e;
  }
}
