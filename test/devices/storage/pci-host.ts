/** What a PCI function sees of the board, for tests: its register windows, its interrupt pin, its messages. */
import type { IoHandler } from '#lib/devices/device.js';
import { PciCommand, type PciFunction, type PciHost, PciReg } from '#lib/devices/pci/pci.js';
import { TestLine } from '../fuzz.js';

export class TestPciHost implements PciHost {
  readonly windows = new Map<string, IoHandler>();
  readonly line = new TestLine();
  messages: [number, number][] = [];
  private readonly map = (kind: string) => (base: number, _length: number, handler: IoHandler): (() => void) => {
    const key = `${kind}${base.toString(16)}`;
    this.windows.set(key, handler);
    return () => void this.windows.delete(key);
  };
  readonly bus = { mapPorts: this.map('port '), mapMmio: this.map('mmio ') };

  intx(_devfn: number, _pin: number, level: boolean): void {
    this.line.set(level);
  }

  msi(address: number, data: number): void {
    this.messages.push([address, data]);
  }
}

/** Gives BAR n an address and switches memory, ports and bus mastering on. @returns what answers there. */
export function placeBar(host: TestPciHost, f: PciFunction, n: number, kind: 'port' | 'mmio', at: number): IoHandler {
  f.configWrite(PciReg.BAR0 + 4 * n, 4, at);
  f.configWrite(PciReg.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER);
  return host.windows.get(`${kind} ${at.toString(16)}`)!;
}
