/** The caller's side of the memory balloon. */
import { UsageError } from '../errors.js';
import type { BalloonInfo } from './protocol.js';

export class Balloon {
  constructor(
    private readonly ask: (target: number | null, stats: boolean) => Promise<BalloonInfo>,
    private readonly memory: number,
  ) {}

  /**
   * Asks the guest to give up memory until it has `bytes` left; it may take its time, or not obey.
   * @throws UsageError if that is no size or more than the machine has, VmxError ERR_NO_DEVICE without `--device virtio-balloon`
   */
  async setMemory(bytes: number): Promise<void> {
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > this.memory) throw new UsageError(`balloon: ${bytes} is not a number of bytes up to ${this.memory}`);
    await this.ask(this.memory - bytes, false);
  }

  /** Size of the balloon and the guest's statistics, which it is asked for now. */
  info(): Promise<BalloonInfo> {
    return this.ask(null, true);
  }
}
