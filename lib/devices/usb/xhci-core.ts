/** What commands and transfers need of the controller they belong to. */
import type { UsbDevice } from './usb-device.js';
import { address, high, low, type XhciMemory } from './xhci-memory.js';
import type { XhciState } from './xhci-state.js';
import { CONTEXT_BYTES, Tf, Trb, TRB_BYTES, trbType } from './xhci.spec.js';

export interface XhciCore {
  readonly s: XhciState;
  readonly x: XhciMemory;
  /** Device at a root hub port (from 1 on), if there is one. */
  device(port: number): UsbDevice | null;
  /** Puts an event into the ring; without room for it, it is lost. @param control all of the last word but the cycle bit */
  event(lo: number, hi: number, status: number, control: number): void;
  /** Entries that the ring of events has room for. */
  room(): number;
  /** Memory that the driver named is none: the controller stops (4.24.1). */
  systemError(what: string): void;
}

/** Slots are numbered from 1 on. */
export const slotOf = (c: XhciCore, slot: number): XhciState['slots'][number] => c.s.slots[slot - 1]!;

/** Links that lead to links: no more than this many in a row. */
const MAX_LINKS = 8;

/**
 * Walks a ring: `at` and `ccs` are where the next TRB is and the cycle bit it has to have; links are followed (4.11.5.1).
 */
export class RingWalk {
  at = 0;
  ccs = 0;

  constructor(private readonly x: XhciMemory) {}

  start(at: number, ccs: number): void {
    this.at = at;
    this.ccs = ccs;
  }

  /** Fetches the next TRB that is no link; `at` stays on it. @returns false: there is none yet; null: memory is none, or nothing but links */
  next(): boolean | null {
    const { x } = this;
    for (let n = 0; n <= MAX_LINKS; n++) {
      if (!x.fetch(this.at)) return null;
      if ((x.control & Tf.C) !== this.ccs) return false;
      if (trbType(x.control) !== Trb.LINK) return true;
      if (x.control & Tf.TC) this.ccs ^= 1;
      this.at = address(x.paramLo & ~15, x.paramHi);
    }
    return null;
  }

  /** Past the TRB. */
  step(): void {
    this.at += TRB_BYTES;
  }
}

/** State, dequeue pointer and cycle bit of an endpoint into its context (6.2.3). */
export function writeEndpoint(c: XhciCore, slot: number, dci: number): void {
  const sl = slotOf(c, slot);
  const e = sl.eps[dci]!;
  const pa = sl.context + dci * CONTEXT_BYTES;
  if (sl.context === 0 || !c.x.fetchContext(pa)) return c.systemError('device context');
  c.x.setWord(0, (c.x.word(0) & ~7) | e.state);
  c.x.setWord(2, low(e.deq) | e.ccs);
  c.x.setWord(3, high(e.deq));
  c.x.putContext(pa);
}
