/** A byte stream to one of the guest's devices, as programs have it. */
import { Duplex } from 'node:stream';
import { STREAM_WINDOW } from '../devices/stream.js';
import type { StreamMessage } from './stream-protocol.js';

export class DeviceStream extends Duplex {
  private credit = STREAM_WINDOW;
  private unread = 0;
  private waiting: { chunk: Uint8Array; done: (e?: Error | null) => void } | null = null;
  private over = false;

  constructor(private readonly post: (m: StreamMessage) => void) {
    super({ allowHalfOpen: true });
    post({ op: 'open' });
  }

  override _read(): void {
    if (this.unread === 0 || this.over) return;
    this.post({ op: 'credit', count: this.unread });
    this.unread = 0;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (e?: Error | null) => void): void {
    // The other side is gone: what is still written is lost, as on a cable without a machine at its end.
    if (this.over) {
      done();
      return;
    }
    this.waiting = { chunk, done };
    this.pump();
  }

  override _final(done: (e?: Error | null) => void): void {
    if (!this.over) this.post({ op: 'end' });
    done();
  }

  override _destroy(e: Error | null, done: (e?: Error | null) => void): void {
    if (!this.over) this.post({ op: 'close' });
    this.over = true;
    done(e);
  }

  private pump(): void {
    while (this.waiting !== null && this.credit > 0) {
      const { chunk, done } = this.waiting;
      const n = Math.min(this.credit, chunk.length);
      this.credit -= n;
      this.post({ op: 'data', bytes: Uint8Array.from(chunk.subarray(0, n)) });
      if (n < chunk.length) {
        this.waiting.chunk = chunk.subarray(n);
      } else {
        this.waiting = null;
        done();
      }
    }
  }

  message(m: StreamMessage): void {
    switch (m.op) {
      case 'open':
        break;
      case 'data':
        this.unread += m.bytes.length;
        if (this.push(m.bytes)) this._read();
        break;
      case 'credit':
        this.credit += m.count;
        this.pump();
        break;
      case 'end':
        this.push(null);
        break;
      case 'close':
        this.finished();
        break;
    }
  }

  /** The other side is gone, or the machine has ended. */
  finished(): void {
    if (this.over) return;
    this.over = true;
    this.push(null);
    // What was not taken is lost; that the machine has ended is no failure of the program's.
    const w = this.waiting;
    this.waiting = null;
    w?.done();
    // Whoever copies what it reads into the stream itself is not to write after the end.
    if (this.readableEnded) this.endWriting();
    else this.once('end', () => this.endWriting());
  }

  private endWriting(): void {
    if (!this.writableEnded) this.end();
  }
}
