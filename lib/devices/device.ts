/**
 * The shape of a device model. A device is a class with typed registers whose names are the data sheet's, and these
 * public members only, besides its wiring (lines, DMA view, clock, back end), which its constructor receives:
 * `read`/`write` per region, `reset`, `save`, `restore`. One private `syncIrq()` recomputes its line from state at the end
 * of every access. Fields stand in three groups: configuration, wiring, volatile state; only the third is reset and
 * saved. Whatever the guest supplies is hostile: never throw, never loop unboundedly, never touch memory but through
 * GuestMemory.
 */

/** A register whose writing starts something and tells nothing: a hypervisor may note it and let the CPU go on. */
export interface Doorbell {
  /** In the window. */
  readonly offset: number;
  /** Width of the writes that count; others are as ever. */
  readonly bytes: number;
  /** The value that counts, below 2^32; -1: any. */
  readonly match: number;
  /** What such a write does. */
  ring(): void;
}

/** A register window. offset is relative to the region's start; size 1, 2 or 4 bytes; values are unsigned. */
export interface IoHandler {
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
  /**
   * Writes may come late, as long as they come in order and before any other access to the machine's devices: the window is
   * memory to the guest.
   */
  readonly posted?: boolean;
  readonly doorbells?: readonly Doorbell[];
}

/** JSON-safe saved state, numbered fields by name; `version` grows when the meaning changes. */
export interface SavedState {
  version: number;
  [field: string]: unknown;
}

export interface Device {
  /** Unique within the machine, e.g. 'pit', 'virtio-blk@0000:00:04.0'. */
  readonly name: string;
  reset(): void;
  save(): SavedState;
  /** @throws VmxError ERR_BAD_STATE if the state is not one of ours. Untrusted input: every field is checked. */
  restore(s: SavedState): void;
}

/** An interrupt wire: level, remembered by the sender's side. */
export interface IrqLine {
  set(level: boolean): void;
}

/** Guest time and timers for devices. Times in ns since machine start (numbers, < 2^53). */
export interface DeviceClock {
  now(): number;
  /** A one-shot timer; cb runs on the machine's thread with the time it was armed for. */
  timer(cb: (deadline: number) => void): DeviceTimer;
}

export interface DeviceTimer {
  arm(deadlineNs: number): void;
  disarm(): void;
  /** Armed deadline, or Infinity. */
  readonly deadline: number;
}

/**
 * Bounds-checked view of guest physical memory for DMA. Addresses are numbers below 2^52. Accesses outside RAM
 * return false / all-ones and change nothing; writes tell the engine about translated code.
 */
export interface GuestMemory {
  /** True if [pa, pa+len) is entirely RAM. */
  valid(pa: number, len: number): boolean;
  /** Copies guest memory into dst; false if any byte is not RAM (dst then unspecified). */
  readInto(pa: number, dst: Uint8Array): boolean;
  writeFrom(pa: number, src: Uint8Array): boolean;
  read8(pa: number): number;
  read16(pa: number): number;
  read32(pa: number): number;
  /** 64-bit value as a number; exact below 2^53, NaN above. */
  read64(pa: number): number;
  write8(pa: number, v: number): void;
  write16(pa: number, v: number): void;
  write32(pa: number, v: number): void;
  /** A live view of [pa, pa+len) if that is contiguous RAM, else null. For reading by back ends; valid until the next turn. */
  view(pa: number, len: number): Uint8Array | null;
  /** As view, for writing: the engine is told first. */
  viewForWrite(pa: number, len: number): Uint8Array | null;
}

/** Where a board plugs register windows in. */
export interface IoBus {
  /** Maps [base, base+length) of the port space; later mappings win; returns an unmap function. */
  mapPorts(base: number, length: number, handler: IoHandler): () => void;
  /** Maps [base, base+length) of physical space (page granularity not required). */
  mapMmio(base: number, length: number, handler: IoHandler): () => void;
}
