/** Volatile state of a local APIC, and the 256-bit sets it is made of. */
import { array, bool, int, struct, u32, u8, words, type Schema } from '../saved.js';
import { initialTimer, LAPIC_TIMER, type LapicTimerState } from './lapic-timer.js';
import { DeliveryMode, Lvt, LvtBit } from './lapic.spec.js';

export interface LapicState {
  baseLo: number;
  baseHi: number;
  id: number;
  tpr: number;
  ldr: number;
  dfr: number;
  svr: number;
  isr: Int32Array;
  tmr: Int32Array;
  irr: Int32Array;
  esr: number;
  /** Errors since the last write to ESR. */
  newErrors: number;
  icrLo: number;
  icrHi: number;
  /** Entries but the timer's, which is in `timer`. */
  lvt: number[];
  timer: LapicTimerState;
  /** Levels of the LINT pins. */
  lint0: boolean;
  lint1: boolean;
  /** An ExtINT message from an I/O APIC awaits acknowledgement. */
  extMessage: boolean;
}

export const LAPIC_STATE: Schema<LapicState> = {
  baseLo: u32,
  baseHi: u32,
  id: u32,
  tpr: u8,
  ldr: u32,
  dfr: u32,
  svr: u32,
  isr: words(8),
  tmr: words(8),
  irr: words(8),
  esr: u8,
  newErrors: u8,
  icrLo: u32,
  icrHi: u32,
  lvt: array(Lvt.COUNT, int(0, 0x7ffff)),
  timer: struct(LAPIC_TIMER),
  lint0: bool,
  lint1: bool,
  extMessage: bool,
};

/** Highest bit set in a 256-bit set, or -1. */
export function highest(set: Int32Array): number {
  for (let i = 7; i >= 0; i--) {
    if (set[i] !== 0) return 32 * i + 31 - Math.clz32(set[i]);
  }
  return -1;
}

export function setBit(set: Int32Array, n: number): void {
  set[n >> 5] |= 1 << (n & 31);
}

export function clearBit(set: Int32Array, n: number): void {
  set[n >> 5] &= ~(1 << (n & 31));
}

export function testBit(set: Int32Array, n: number): boolean {
  return ((set[n >> 5] >>> (n & 31)) & 1) !== 0;
}

export function initialLapic(id: number, virtualWire: boolean, baseLo: number, baseHi: number): LapicState {
  const lvt = new Array<number>(Lvt.COUNT).fill(LvtBit.MASKED);
  if (virtualWire) lvt[Lvt.LINT0] = DeliveryMode.EXTINT << 8;
  return {
    baseLo,
    baseHi,
    id,
    tpr: 0,
    ldr: 0,
    dfr: 0xffffffff,
    svr: 0xff,
    isr: new Int32Array(8),
    tmr: new Int32Array(8),
    irr: new Int32Array(8),
    esr: 0,
    newErrors: 0,
    icrLo: 0,
    icrHi: 0,
    lvt,
    timer: initialTimer(),
    lint0: false,
    lint1: false,
    extMessage: false,
  };
}
