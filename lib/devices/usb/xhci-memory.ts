/** What xHCI keeps in guest memory: TRBs and contexts. Every address is checked; words are little-endian. */
import type { GuestMemory } from '../device.js';
import { CONTEXT_BYTES, TRB_BYTES } from './xhci.spec.js';

/** Addresses from here on are none. */
const LIMIT = 2 ** 52;

export class XhciMemory {
  /** The TRB that was fetched last. */
  paramLo = 0;
  paramHi = 0;
  status = 0;
  control = 0;
  private readonly bytes = new Uint8Array(TRB_BYTES);
  private readonly view = new DataView(this.bytes.buffer);
  private readonly context = new Uint8Array(CONTEXT_BYTES);
  private readonly contextView = new DataView(this.context.buffer);

  constructor(readonly mem: GuestMemory) {}

  /** @returns false if there is no RAM */
  fetch(pa: number): boolean {
    if (pa >= LIMIT || !this.mem.readInto(pa, this.bytes)) return false;
    const v = this.view;
    this.paramLo = v.getUint32(0, true);
    this.paramHi = v.getUint32(4, true);
    this.status = v.getUint32(8, true);
    this.control = v.getUint32(12, true);
    return true;
  }

  put(pa: number, lo: number, hi: number, status: number, control: number): boolean {
    const v = this.view;
    v.setUint32(0, lo, true);
    v.setUint32(4, hi, true);
    v.setUint32(8, status, true);
    v.setUint32(12, control, true);
    return pa < LIMIT && this.mem.writeFrom(pa, this.bytes);
  }

  /** A pointer in memory; LIMIT, which is no address, if there is no RAM. */
  pointer(pa: number): number {
    return this.fetchContext(pa, 8) ? address(this.contextView.getUint32(0, true), this.contextView.getUint32(4, true)) : LIMIT;
  }

  /** Reads a context for `word` and `setWord`. */
  fetchContext(pa: number, bytes = CONTEXT_BYTES): boolean {
    return pa < LIMIT && this.mem.readInto(pa, this.context.subarray(0, bytes));
  }

  word(n: number): number {
    return this.contextView.getUint32(n * 4, true);
  }

  setWord(n: number, v: number): void {
    this.contextView.setUint32(n * 4, v >>> 0, true);
  }

  putContext(pa: number): boolean {
    return pa < LIMIT && this.mem.writeFrom(pa, this.context);
  }
}

/** Of two words; what is beyond 2^52 is no address and stays beyond it. */
export const address = (lo: number, hi: number): number => (hi >>> 0) * 2 ** 32 + (lo >>> 0);
export const low = (pa: number): number => pa % 2 ** 32 >>> 0;
export const high = (pa: number): number => Math.floor(pa / 2 ** 32) >>> 0;
