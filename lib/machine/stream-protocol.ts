/** Messages about byte streams between devices and programs, the same both ways. */

/**
 * `credit`: the sender has passed on `count` bytes, so as many more may come. `end`: no more data follows. `close`: the stream is
 * no more, for both sides. `open`: a program uses the stream.
 */
export type StreamMessage =
  | { op: 'open' }
  | { op: 'data'; bytes: Uint8Array }
  | { op: 'credit'; count: number }
  | { op: 'end' }
  | { op: 'close' };

/** A stream that is there as long as the machine: a port. */
export interface PortInfo {
  id: number;
  name: string;
}
