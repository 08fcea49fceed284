/** What a PS/2 port carries: bytes to the device, bytes from the device, and a wish to be heard. */
import type { Device } from '../device.js';

export interface Ps2Device extends Device {
  /** A byte from the host. */
  command(v: number): void;
  /** The next byte for the host, or -1. */
  take(): number;
  /** Set by the controller: there is something to take. */
  onData: () => void;
}

/** Replies of all PS/2 devices. */
export const enum Ps2 {
  ACK = 0xfa,
  RESEND = 0xfe,
  SELF_TEST_OK = 0xaa,
}
