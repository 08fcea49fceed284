/** Moving a data phase straight between a device and guest memory. */
import type { GuestMemory } from '../../device.js';
import type { AtaDevice } from './device.js';

/** Pieces where memory is not contiguous on the host. */
const PIECE = 4096;
const scratch = new Uint8Array(PIECE);

/** @returns bytes moved into guest memory at pa, at most len; fewer if the device stops or where there is no RAM. */
export function deviceToMemory(dev: AtaDevice, mem: GuestMemory, pa: number, len: number): number {
  const view = mem.viewForWrite(pa, len);
  if (view !== null) return dev.dataIn(view);
  for (let done = 0; done < len; ) {
    const n = Math.min(PIECE - ((pa + done) % PIECE), len - done);
    if (!mem.valid(pa + done, n)) return done;
    const part = n === PIECE ? scratch : scratch.subarray(0, n);
    const got = dev.dataIn(part);
    if (got > 0) mem.writeFrom(pa + done, part.subarray(0, got));
    done += got;
    if (got < n) return done;
  }
  return len;
}

/** @returns bytes taken from guest memory at pa, at most len. */
export function memoryToDevice(dev: AtaDevice, mem: GuestMemory, pa: number, len: number): number {
  const view = mem.view(pa, len);
  if (view !== null) return dev.dataOut(view);
  for (let done = 0; done < len; ) {
    const n = Math.min(PIECE - ((pa + done) % PIECE), len - done);
    const part = n === PIECE ? scratch : scratch.subarray(0, n);
    if (!mem.readInto(pa + done, part)) return done;
    const taken = dev.dataOut(part);
    done += taken;
    if (taken < n) return done;
  }
  return len;
}
