/** Ends the machine from within: a write of v to the port (F4h) exits with status (v << 1) | 1. Used by test kernels. */
import type { Device, IoHandler, SavedState } from '../device.js';
import { loadState, saveState } from '../saved.js';

const VERSION = 1;

export interface IsaDebugExitOptions {
  /** Status of the process, 8 bits. */
  onExit: (status: number) => void;
}

export class IsaDebugExit implements Device {
  readonly name = 'isa-debug-exit';
  /** Four ports, F4h-F7h. */
  readonly ports: IoHandler = {
    read: () => 0,
    write: (_offset, _size, value) => this.o.onExit(((value << 1) | 1) & 0xff),
  };

  constructor(private readonly o: IsaDebugExitOptions) {}

  reset(): void {}

  save(): SavedState {
    return saveState({}, VERSION, {});
  }

  restore(saved: SavedState): void {
    loadState(this.name, {}, VERSION, saved);
  }
}
