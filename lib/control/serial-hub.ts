/** The serial console for several who watch and type: newcomers get the last of what was printed. */
import type { Duplex } from 'node:stream';
import type { VirtualMachine } from '../machine/virtual-machine.js';

const BACKLOG = 64 * 1024;
/** Bytes that may wait for a slow client. */
const MAX_UNSENT = 4 * 1024 * 1024;

export class SerialHub {
  private backlog: Buffer = Buffer.alloc(0);
  private readonly clients = new Set<Duplex>();

  constructor(private readonly vm: VirtualMachine) {
    vm.serial.on('data', (chunk: Buffer) => {
      this.backlog = Buffer.concat([this.backlog, chunk]);
      if (this.backlog.length > BACKLOG) this.backlog = Buffer.from(this.backlog.subarray(this.backlog.length - BACKLOG));
      for (const c of this.clients) {
        if (c.writableLength > MAX_UNSENT) c.destroy();
        else c.write(chunk);
      }
    });
  }

  accept(stream: Duplex): void {
    this.clients.add(stream);
    if (this.backlog.length > 0) stream.write(this.backlog);
    stream.on('data', (bytes: Buffer) => {
      // The guest takes input at its own pace: a client that pastes a book waits.
      if (this.vm.state === 'ended' || this.vm.serial.write(bytes)) return;
      stream.pause();
      this.vm.serial.once('drain', () => stream.resume());
    });
    stream.on('close', () => this.clients.delete(stream));
  }

  close(): void {
    for (const c of this.clients) c.end();
  }
}
