/** What every board with x86 CPUs has of its parts (parts/parts.ts), whatever is on it. */
import type { Device } from '../devices/device.js';
import type { InputRouter } from '../devices/input/router.js';
import type { InterruptHardware } from '../devices/irq/hardware.js';
import type { Uart16550 } from '../devices/serial/uart16550.js';
import type { ScreenSource } from '../display/screen-source.js';
import type { InterruptSource } from '../engine/cpu.js';
import type { BoardControls } from './controls.js';
import type { Drive } from './parts/drive.js';
import type { NetConnection } from './parts/net.js';
import type { Parts } from './parts/parts.js';

export abstract class X86Board {
  onSerialRoom: () => void = () => {};
  /** COM1. */
  protected abstract readonly uart: Uart16550;

  constructor(protected readonly p: Parts) {}

  get devices(): readonly Device[] {
    return this.p.devices;
  }

  get interruptSources(): readonly InterruptSource[] {
    return this.p.interruptSources;
  }

  get irq(): InterruptHardware {
    return this.p.irq;
  }

  get screen(): ScreenSource | null {
    return this.p.screen;
  }

  get drives(): readonly Drive[] {
    return this.p.drives;
  }

  get nets(): readonly NetConnection[] {
    return this.p.nets;
  }

  get controls(): BoardControls {
    return this.p.controls;
  }

  get input(): InputRouter {
    return this.p.input;
  }

  serialInput(bytes: Uint8Array): number {
    return this.uart.receive(bytes);
  }

  close(): void {
    for (const close of this.p.onClose) close();
  }
}
