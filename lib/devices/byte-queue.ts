/** Bytes in order of arrival, up to a fixed number. */
import { VmxError } from '../errors.js';

export class ByteQueue {
  private buffer = new Uint8Array(0);
  private head = 0;
  length = 0;

  constructor(readonly capacity: number) {}

  get room(): number {
    return this.capacity - this.length;
  }

  /** @returns how many bytes found room. */
  push(bytes: Uint8Array): number {
    const n = Math.min(bytes.length, this.room);
    if (n === 0) return 0;
    // Most streams are never used.
    if (this.buffer.length === 0) this.buffer = new Uint8Array(this.capacity);
    const tail = (this.head + this.length) % this.capacity;
    const first = Math.min(n, this.capacity - tail);
    this.buffer.set(bytes.subarray(0, first), tail);
    this.buffer.set(bytes.subarray(first, n), 0);
    this.length += n;
    return n;
  }

  /** The first bytes, at most n, that lie together; they stay. */
  peek(n: number): Uint8Array {
    return this.buffer.subarray(this.head, this.head + Math.min(n, this.length, this.capacity - this.head));
  }

  drop(n: number): void {
    this.head = (this.head + n) % this.capacity;
    this.length -= n;
  }

  clear(): void {
    this.head = this.length = 0;
  }

  save(): string {
    const first = this.peek(this.length);
    return Buffer.concat([first, this.buffer.subarray(0, this.length - first.length)]).toString('base64');
  }

  /** @throws VmxError */
  restore(raw: unknown): void {
    const bytes = typeof raw === 'string' ? Buffer.from(raw, 'base64') : null;
    if (bytes === null || bytes.length > this.capacity || bytes.toString('base64') !== raw) throw new VmxError('ERR_BAD_STATE', 'saved bytes of a stream are damaged');
    this.clear();
    this.push(bytes);
  }
}
