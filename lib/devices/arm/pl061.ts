/** PrimeCell general purpose I/O PL061 (ARM DDI 0190B): eight lines; inputs are driven from outside (the power key on line 3). */
import type { Device, IoHandler, IrqLine, SavedState } from '../device.js';
import { loadState, saveState, u8, type Schema } from '../saved.js';

const enum R { DIR = 0x400, IS = 0x404, IBE = 0x408, IEV = 0x40c, IE = 0x410, RIS = 0x414, MIS = 0x418, IC = 0x41c, AFSEL = 0x420 }
/** GPIOPeriphID0..3, GPIOPCellID0..3. */
const IDS = [0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

interface State {
  /** Output latch. */
  data: number;
  /** Levels from outside. */
  input: number;
  dir: number;
  is: number;
  ibe: number;
  iev: number;
  ie: number;
  ris: number;
  afsel: number;
}
const SCHEMA: Schema<State> = { data: u8, input: u8, dir: u8, is: u8, ibe: u8, iev: u8, ie: u8, ris: u8, afsel: u8 };
const initial = (): State => ({ data: 0, input: 0, dir: 0, is: 0, ibe: 0, iev: 0, ie: 0, ris: 0, afsel: 0 });

export class Pl061 implements Device, IoHandler {
  readonly name = 'pl061';
  private s = initial();

  constructor(private readonly irq: IrqLine) {}

  reset(): void {
    this.s = { ...initial(), input: this.s.input };
    this.sync();
  }

  save(): SavedState {
    return saveState(SCHEMA, 1, this.s);
  }

  restore(saved: SavedState): void {
    this.s = loadState(this.name, SCHEMA, 1, saved);
    this.sync();
  }

  /** Drives line n (0..7) from outside. */
  setInput(n: number, level: boolean): void {
    const s = this.s;
    const m = 1 << n;
    const old = s.input;
    s.input = level ? old | m : old & ~m;
    const edge = (old ^ s.input) & ~s.is & ~s.dir;
    // Both edges, or the one that IEV names.
    s.ris |= edge & (s.ibe | (level ? s.iev : ~s.iev)) & 0xff;
    this.sync();
  }

  private sync(): void {
    const s = this.s;
    // Level-sensitive lines follow their input.
    const level = s.is & ~s.dir & (s.iev ? ~(s.input ^ s.iev) : ~s.input);
    s.ris = (s.ris & ~s.is) | (level & 0xff);
    this.irq.set((s.ris & s.ie) !== 0);
  }

  read(offset: number, size: number): number {
    const v = this.read32(offset & ~3) >>> ((offset & 3) * 8);
    return size === 4 ? v : size === 2 ? v & 0xffff : v & 0xff;
  }

  private read32(offset: number): number {
    const s = this.s;
    // GPIODATA: address bits 9..2 are a mask.
    if (offset < 0x400) return ((s.data & s.dir) | (s.input & ~s.dir)) & (offset >> 2);
    switch (offset as R) {
      case R.DIR: return s.dir;
      case R.IS: return s.is;
      case R.IBE: return s.ibe;
      case R.IEV: return s.iev;
      case R.IE: return s.ie;
      case R.RIS: return s.ris;
      case R.MIS: return s.ris & s.ie;
      case R.AFSEL: return s.afsel;
      default: return offset >= 0xfe0 && offset < 0x1000 ? IDS[(offset - 0xfe0) >> 2]! : 0;
    }
  }

  write(offset: number, _size: number, value: number): void {
    const s = this.s;
    const v = value & 0xff;
    if (offset < 0x400) {
      const m = (offset >> 2) & s.dir;
      s.data = (s.data & ~m) | (v & m);
      return;
    }
    switch ((offset & ~3) as R) {
      case R.DIR: s.dir = v; break;
      case R.IS: s.is = v; break;
      case R.IBE: s.ibe = v; break;
      case R.IEV: s.iev = v; break;
      case R.IE: s.ie = v; break;
      case R.IC: s.ris &= ~v; break;
      case R.AFSEL: s.afsel = v; break;
      default: return;
    }
    this.sync();
  }
}
