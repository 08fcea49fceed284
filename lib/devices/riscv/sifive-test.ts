/** SiFive's test finisher (devicetree binding "sifive,test0"): one register that ends or resets the machine. */
import type { Device, IoHandler, SavedState } from '../device.js';
import { loadState, saveState } from '../saved.js';

const VERSION = 1;
export const SIFIVE_TEST_BYTES = 0x1000;
const enum Finisher { FAIL = 0x3333, PASS = 0x5555, RESET = 0x7777 }

export interface SifiveTestOptions {
  powerOff: () => void;
  reset: () => void;
  /** A failure with a code that is not zero, 8 bits. */
  exit: (status: number) => void;
}

export class SifiveTest implements Device {
  readonly name = 'sifive-test';
  readonly mmio: IoHandler = {
    read: () => 0,
    write: (offset, size, value) => {
      if (offset !== 0 || size < 2) return;
      const code = (value >>> 16) & 0xff;
      switch ((value & 0xffff) as Finisher) {
        case Finisher.PASS:
          this.o.powerOff();
          break;
        case Finisher.FAIL:
          this.o.exit(code === 0 ? 1 : code);
          break;
        case Finisher.RESET:
          this.o.reset();
          break;
      }
    },
  };

  constructor(private readonly o: SifiveTestOptions) {}

  reset(): void {
    // It has no state.
  }

  save(): SavedState {
    return saveState({}, VERSION, {});
  }

  restore(saved: SavedState): void {
    loadState(this.name, {}, VERSION, saved);
  }
}
