/**
 * A PCI Express root port of the ICH9 (PCI Express Base Specification 4.0: 7.5.3 capability structure; PCI-to-PCI Bridge Architecture
 * Specification 1.2 for the header): the way to one device on a bus of its own. No hot-plug. Devices behind it decode
 * what their own BARs say; the forwarding windows are stored for firmware and drivers.
 */
import type { SavedState } from '../device.js';
import { le16, le32, PciBus, type PciBridgeFunction, PciFunction, type PciHost, PciReg } from './pci.js';

/** Type 1 header. */
const enum Reg {
  PRIMARY = 0x18,
  SECONDARY = 0x19,
  SUBORDINATE = 0x1a,
  IO_BASE = 0x1c,
  SECONDARY_STATUS = 0x1e,
  MEMORY_BASE = 0x20,
  PREFETCH_BASE = 0x24,
  PREFETCH_UPPER = 0x28,
  BRIDGE_CONTROL = 0x3e,
}
const HEADER_BRIDGE = 1;
const SECONDARY_RESET = 0x40;
const CAP_EXPRESS = 0x10;

export class RootPort extends PciFunction implements PciBridgeFunction {
  readonly child: PciBus;
  private inReset = false;

  /** @param port number of the port, from 1 (it decides device ID and interrupt pin). @param multifunction other functions share the device. */
  constructor(name: string, host: PciHost, devfn: number, port: number, multifunction: boolean) {
    super(name, host, devfn, { vendor: 0x8086, device: 0x2940 + 2 * (port - 1), class: 0x0604, revision: 2, pin: port });
    this.child = new PciBus(`${name}-bus`);
    this.config[PciReg.HEADER_TYPE] = HEADER_BRIDGE | (multifunction ? 0x80 : 0);
    this.writable(Reg.PRIMARY, [0xff, 0xff, 0xff]);
    // 32-bit port numbers are not offered: 16-bit windows of 4 KiB; memory windows of 1 MiB; 64-bit prefetchable.
    this.writable(Reg.IO_BASE, [0xf0, 0xf0]);
    this.w1c[Reg.SECONDARY_STATUS + 1] = 0xf9;
    this.writable(Reg.MEMORY_BASE, [0xf0, 0xff, 0xf0, 0xff]);
    this.config[Reg.PREFETCH_BASE] = 1;
    this.config[Reg.PREFETCH_BASE + 2] = 1;
    this.writable(Reg.PREFETCH_BASE, [0xf0, 0xff, 0xf0, 0xff]);
    this.writable(Reg.PREFETCH_UPPER, new Array<number>(8).fill(0xff));
    this.writable(Reg.BRIDGE_CONTROL, [0x5f, 0x00]);
    this.addExpress(port);
    this.sealConfig();
  }

  private addExpress(port: number): void {
    // Version 2, root port, slot not implemented; role-based error reporting; one lane at 2.5 GT/s.
    const body = [...le16(0x0042), ...le32(0x8000), ...le16(0), ...le16(0), ...le32(0x0000_0011 | (port << 24)), ...le16(0), ...le16(0x0011)];
    const slotAndRoot = new Array<number>(16).fill(0);
    const second = [...le32(0), ...le16(0), ...le16(0), ...le32(2), ...le16(1), ...le16(0), ...le32(0), ...le16(0), ...le16(0)];
    const mask = new Array<number>(body.length + slotAndRoot.length + second.length).fill(0);
    // Device control, link control, root control.
    mask.splice(6, 2, 0xff, 0x7f);
    mask.splice(14, 2, 0xc3, 0x00);
    mask.splice(26, 2, 0x1f, 0x00);
    this.addCapability(CAP_EXPRESS, [...body, ...slotAndRoot, ...second], mask);
  }

  get secondary(): number {
    return this.config[Reg.SECONDARY]!;
  }

  get subordinate(): number {
    return this.config[Reg.SUBORDINATE]!;
  }

  protected override configWritten(reg: number, size: number): void {
    if (reg > Reg.BRIDGE_CONTROL || reg + size <= Reg.BRIDGE_CONTROL) return;
    const now = (this.config[Reg.BRIDGE_CONTROL]! & SECONDARY_RESET) !== 0;
    // Hot reset of what is behind the port, when the bit rises.
    if (now && !this.inReset) for (const f of this.child.list()) f.reset();
    this.inReset = now;
  }

  override reset(): void {
    super.reset();
    this.inReset = false;
  }

  override restore(s: SavedState): void {
    super.restore(s);
    this.inReset = (this.config[Reg.BRIDGE_CONTROL]! & SECONDARY_RESET) !== 0;
  }
}
