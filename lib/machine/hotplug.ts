/** The caller's side of devices that come and go while the machine runs. */
import type { PlugRequest } from '../boards/parts/hotplug.js';
import { VmxError } from '../errors.js';
import { type DiskOptions, type MachineConfig, parseDisk, resolveDrive } from './config.js';
import { parseNet } from './net-config.js';
import type { DeviceReply, DeviceRequest } from './protocol.js';

/**
 * Devices in slots of PCI bus 0, on the boards `pc` and `q35`. Each has an id of the caller's. The guest sees a device when its operating
 * system has taken note, which needs ACPI; it goes when the operating system lets it go (event `deviceRemoved`) or at the next reset.
 * Methods reject with a UsageError for bad input (then nothing has changed), VmxError ERR_STATE after the end of the machine.
 */
export class Hotplug {
  /** Cards that have come, for their default hardware addresses. */
  private cards = 0;

  constructor(
    private readonly ask: (request: DeviceRequest) => Promise<DeviceReply>,
    private readonly config: Readonly<MachineConfig>,
  ) {}

  /** A network card, as `--net` has it: `user,model=virtio,hostfwd=tcp:127.0.0.1:2222-:22`. */
  async addNet(id: string, net: string): Promise<void> {
    const c = parseNet(net, this.config.net.length + this.cards);
    if (c === null) throw new VmxError('ERR_USAGE', '--net: none is no card');
    await this.plug(id, { net: c });
    this.cards++;
  }

  /** A disk, as `--disk` has it (if=virtio or if=nvme); its drive is called `id`. */
  async addDisk(id: string, disk: string | DiskOptions): Promise<void> {
    await this.plug(id, { disk: resolveDrive(typeof disk === 'string' ? parseDisk(disk) : disk, id, this.config.machine) });
  }

  /** A device, as `--device` has it; those that have nothing to do with the rest of the board: virtio-rng, virtio-console, i6300esb. */
  async add(id: string, device: string): Promise<void> {
    await this.plug(id, { device });
  }

  /** Asks the guest to let a device go. @throws VmxError ERR_NO_DEVICE if there is no such one */
  async remove(id: string): Promise<void> {
    done(await this.ask({ kind: 'unplug', id }));
  }

  private async plug(id: string, what: PlugRequest): Promise<void> {
    done(await this.ask({ kind: 'plug', id, what }));
  }
}

function done(r: DeviceReply): void {
  if ('error' in r) throw new VmxError(r.code ?? 'ERR_NO_DEVICE', r.error);
}
