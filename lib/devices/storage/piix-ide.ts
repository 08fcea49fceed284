/**
 * IDE function of the 82371SB PIIX3 (datasheet 290550, function 1): two channels at the legacy ports, which the timing
 * registers switch on, and the bus master registers behind BAR 4.
 */
import type { GuestMemory, IoHandler, IrqLine, SavedState } from '../device.js';
import { PciCommand, PciFunction, type PciHost, PciReg } from '../pci/pci.js';
import type { AtaDevice } from './ata/device.js';
import { BM_BYTES, IdeChannel } from './ide-channel.js';

/** IDETIM of the primary channel; the secondary's follows. SIDETIM. */
const IDETIM = 0x40;
const SIDETIM = 0x44;
/** Bit 15: the channel's ports decode. */
const DECODE = 0x80;
const BAR_BUS_MASTER = 4;
const CHANNELS = 2;

export interface PiixIdeOptions {
  memory: GuestMemory;
  /** ISA interrupts 14 and 15. */
  irqs: readonly [IrqLine, IrqLine];
  /** Primary device 0, primary device 1, secondary device 0, secondary device 1. */
  devices: readonly (AtaDevice | null)[];
  /** The legacy ports of channel n appear or disappear. */
  onDecode: (channel: number, on: boolean) => void;
}

export class PiixIde extends PciFunction {
  readonly channels: readonly [IdeChannel, IdeChannel];

  constructor(host: PciHost, devfn: number, private readonly o: PiixIdeOptions) {
    // Programming interface 80h: bus master, channels in legacy mode for good.
    super('piix3-ide', host, devfn, { vendor: 0x8086, device: 0x7010, class: 0x0101, progIf: 0x80 });
    const channel = (n: 0 | 1): IdeChannel => {
      const c = new IdeChannel({ memory: o.memory, irq: o.irqs[n], devices: o.devices.slice(n * 2, n * 2 + 2) });
      c.masterEnabled = () => this.busMaster;
      return c;
    };
    this.channels = [channel(0), channel(1)];
    // After a reset the chip decodes nothing, but UEFI firmware for virtual machines counts on ports that are there.
    for (let n = 0; n < CHANNELS; n++) this.config[IDETIM + 2 * n + 1] = DECODE;
    this.writable(IDETIM, [0xff, 0xf3, 0xff, 0xf3]);
    this.writable(SIDETIM, [0xff]);
    this.addBar(BAR_BUS_MASTER, 'io', CHANNELS * BM_BYTES, this.masters());
    this.sealConfig();
  }

  private masters(): IoHandler {
    return {
      read: (a, size) => (a + size <= BM_BYTES || a >= BM_BYTES ? this.channels[a >> 3]!.busMaster.read(a & 7, size) : 0),
      write: (a, size, v) => {
        if (a + size <= BM_BYTES || a >= BM_BYTES) this.channels[a >> 3]!.busMaster.write(a & 7, size, v);
      },
    };
  }

  /** As firmware leaves it, for kernels that are loaded without firmware. */
  enable(): void {
    this.configWrite(PciReg.COMMAND, 2, PciCommand.IO);
  }

  private apply(): void {
    const io = (this.command & PciCommand.IO) !== 0;
    for (let n = 0; n < CHANNELS; n++) this.o.onDecode(n, io && (this.config[IDETIM + 2 * n + 1]! & DECODE) !== 0);
  }

  protected override configWritten(): void {
    this.apply();
  }

  override reset(): void {
    super.reset();
    for (const c of this.channels) c.reset();
    this.apply();
  }

  override save(): SavedState {
    return { ...super.save(), channels: this.channels.map((c) => c.save()) };
  }

  override restore(s: SavedState): void {
    const list: unknown[] = Array.isArray(s.channels) ? s.channels : [];
    const take = this.channels.map((c, i) => c.check(list[i] ?? {}));
    super.restore(s);
    for (const t of take) t();
    this.apply();
  }
}
