/** Byte streams between a device (a serial port, a socket) and the world, with flow control both ways. */

/** Bytes on their way to a device that it has not consumed yet, at most; a device has that much room for each stream. */
export const STREAM_WINDOW = 65536;

/** The world's end, as the device sees it. */
export interface StreamPeer {
  /** Bytes that `send` takes now. */
  readonly room: number;
  /** At most `room` bytes, copied. */
  send(bytes: Uint8Array): void;
  /** The device has passed n received bytes on. */
  consumed(n: number): void;
  /** The device sends no more. */
  end(): void;
  /** The device neither sends nor receives any more: what is on its way is dropped. */
  close(): void;
}

/** The device's end. */
export interface StreamClient {
  /** Bytes arrive: never more than STREAM_WINDOW that have not been reported as consumed. */
  received(bytes: Uint8Array): void;
  /** There is room again. */
  roomChanged(): void;
  /** Somebody is there now. */
  opened(): void;
  /** The other side sends no more. */
  ended(): void;
  /** The other side is gone. */
  closed(): void;
}
