/**
 * The interface of the C++ addon (native/addon.cc). Everything here is thin: it maps memory, makes it executable,
 * enters it, and waits. Host addresses are numbers (below 2^53). Failures throw VmxError with a stable `code`:
 * ERR_NO_ADDON, ERR_NO_MEMORY, ERR_NO_EXEC, ERR_NO_RESOURCE (threads, descriptors), ERR_INVALID_ARG, ERR_UNSUPPORTED (platform).
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { VmxError } from './errors.js';

export interface NativeMemory {
  readonly buffer: ArrayBuffer;
  readonly address: number;
}

export interface NativeExec {
  /** Writable, never executable alias. */
  readonly buffer: ArrayBuffer;
  /** Executable, never writable alias of the same memory. */
  readonly address: number;
}

/** One execution context: a thread's entry into generated code over one state region. Use it on the thread that made it. */
export interface NativeContext {
  /** Names the context within the process, for `NativeAddon.kick`. */
  readonly id: number;
  /**
   * Calls the code at host address `entry`, which must lie in the context's exec region, with the state address in RDI (X0 on
   * ARM64). The code returns with an ordinary return instruction; result = its 32-bit return value. If it faults
   * (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP) inside the exec region, the guard stores the address of the faulting
   * instruction to slot X_ADDR, the signal to X_AUX (low) and the data address to X_VAL (as the kernel tells it: 0 for a
   * non-canonical address), and continues at the address in slot X_ABORT (which must return to the caller) with the state address
   * in RDI and all other registers as they were at the fault. Faults elsewhere, or with X_ABORT = 0, go to the previous handler.
   */
  run(entry: number): number;
  /** Where `enter` and `resume` go: addresses as for `run`. They cost half as much, having neither argument nor result. */
  setEntries(enter: number, resume: number): void;
  /** As `run` of the first entry. @throws before `setEntries` */
  enter(): void;
  /** As `run` of the second. */
  resume(): void;
  /**
   * Arms the deadline: at monotonic time `ns` (process clock of `now`) a native thread sets `Attention.DEADLINE` in the high word of
   * PENDING, once. Infinity disarms. Re-arming replaces; it costs a system call only when the deadline moves forward
   * beyond what the thread's timer is set to.
   */
  setDeadline(ns: number): void;
  /** Sets `Attention.LOOK` in the high word of PENDING now and ends a `wait`. Other threads use `NativeAddon.kick`. */
  kick(): void;
  /**
   * Blocks until monotonic time `ns`, the deadline, a kick, or until this thread's event loop has something to do:
   * its backend descriptor is readable, a timer is due, immediates or closing handles are queued, or descriptors wait
   * to be registered. Returns 1 for the loop (go back to it before waiting again), 0 otherwise. Never busy-waits. Clears
   * nothing: it returns at once while the high word of PENDING is set, so clear that word before. `wait(0)` asks
   * whether the loop has something to do. May return 0 early; look at the clock.
   */
  wait(ns: number): number;
  /**
   * While set, the helper thread also watches the event loop's descriptor and sets `Attention.LOOK` in PENDING's high word when something
   * arrives there. Each arrival counts once: after clearing the word ask `wait(0)`, or call watchLoop(true) again,
   * which looks anew (one system call). JavaScript timers are not seen; arm the deadline for them.
   */
  watchLoop(on: boolean): void;
  /** Spins until the high word of PENDING is set, at most `ns`. @returns whether it is. */
  spin(ns: number): boolean;
  /** Stops the helper thread and lets go of the memory. Further calls do nothing, but `run` throws. */
  dispose(): void;
}

export interface NativeAddon {
  /**
   * Guest RAM: anonymous mapping, zero-filled lazily, huge-page advice. bytes: page multiple. Codes: ERR_NO_MEMORY, also
   * when the runtime cannot make an ArrayBuffer of that size. Generated code that knows the address does not keep the
   * memory alive: hold on to the buffer.
   */
  allocRam(bytes: number): NativeMemory;
  /** State region, page aligned, zeroed. */
  allocState(bytes: number): NativeMemory;
  /**
   * Two aliases of one memory object. Codes: ERR_NO_EXEC (policy forbids it, or VMX_ACCEL_NO_EXEC=1 is set), ERR_NO_MEMORY.
   * @param nameless without a memfd behind it, so that perf looks its symbols up in /tmp/perf-PID.map (Linux)
   */
  allocExec(bytes: number, nameless?: boolean): NativeExec;
  /** Detaches the buffer and unmaps now, or, if contexts still use the memory, when the last of them is disposed of. */
  free(memory: NativeMemory | NativeExec): void;
  /**
   * Gives pages of RAM back to the host; they read as zero from then on. offset, bytes: page multiples. False if this host cannot.
   */
  discard(memory: NativeMemory, offset: number, bytes: number): boolean;
  /**
   * A thread backs pages with memory of the host before they are needed; executable memory with huge pages. offset, bytes: page
   * multiples (executable memory: of 2 MiB). Only speed.
   */
  backAhead(memory: NativeMemory | NativeExec, offset: number, bytes: number): void;
  createContext(state: NativeMemory, exec: NativeExec | null): NativeContext;
  /** Kicks the context with that id, whichever thread it belongs to. False if there is none (any more). */
  kick(id: number): boolean;
  /** CLOCK_MONOTONIC in ns, as a double. */
  now(): number;
  /** Host CPU features by their /proc/cpuinfo names: sse2, avx2, bmi2, ... as CPUID and XCR0 report them usable. */
  cpuFeatures(): string[];
  /** CPUID leaf of the host: [eax, ebx, ecx, edx] as unsigned numbers. */
  cpuid(leaf: number, subleaf: number): number[];
  /** KVM (lib/accel/kvm). Codes: ERR_KVM_NO_DEVICE, ERR_KVM_PERMISSION, ERR_KVM_BUSY, ERR_KVM_OLD, ERR_KVM, ERR_UNSUPPORTED, ERR_NO_RESOURCE. */
  kvmProbe(path: string, capabilities: Uint32Array): { capabilities: number[]; cpuid: Uint32Array };
  kvmCreate(path: string): NativeKvm;
  /** Grows with what the KVM objects can do: lib/accel/kvm/system.ts refuses an addon that was built from older sources. */
  readonly kvmRevision?: number;
  /** The host's time-stamp counter. */
  hostTsc(): number;
  /** Bytes of physical memory and of what is available now. */
  hostMemory(): { total: number; available: number };
  /**
   * Takes (true) or gives back a shared lock on one byte of an open file; it lasts until the file is closed (open file
   * description lock). 0: done, 1: another has it exclusively, -1: this host or file system has no such locks.
   */
  lockByte(fd: number, offset: number, lock: boolean): number;
  /** Whether anybody else has a lock on the byte: 0 no, 1 yes, -1 cannot be told. */
  testByte(fd: number, offset: number): number;
  /** Makes a range of a file zero without writing it; with `punch` its space is given back. False if the file system cannot. */
  zeroRange(fd: number, offset: number, length: number, punch: boolean): boolean;
  /**
   * Opens a TAP interface of the host (Linux), made if there is none of that name: a descriptor of Ethernet frames that does not block. Codes:
   * ERR_PERMISSION, ERR_BUSY, ERR_UNSUPPORTED, ERR_INVALID_ARG.
   */
  openTap(name: string): number;
  /**
   * Calls `frame` with the length of each frame that arrives; its bytes are in `buffer` during the call. -1: the interface is gone.
   * @returns the function that ends it; close the descriptor after that
   */
  watchFrames(fd: number, buffer: Uint8Array, frame: (length: number) => void): () => void;
  /** Where the first data (or hole) at or after offset is: the file's size if there is none, -1 if the host cannot tell. */
  seekExtent(fd: number, offset: number, hole: boolean): number;
}

/** A KVM virtual machine (native/kvm). Failures of the kernel throw ERR_KVM with the ioctl's name and reason. */
export interface NativeKvm {
  /** KVM_CHECK_EXTENSION. */
  capability(cap: number): number;
  enable(cap: number, argument: number): void;
  /** The guest may access these MSRs alone: triples of first, count, and 1 read | 2 write. The others exit. */
  filterMsrs(ranges: Uint32Array): void;
  /** bytes 0 deletes. All slots lie in the same memory. Code ERR_KVM_SLOT: overlap. */
  setSlot(slot: number, gpa: number, bytes: number, memory: NativeMemory, offset: number, flags: number): void;
  /** Writes to the range are collected in the ring behind `run` instead of leaving KVM; off: no more. */
  coalesce(gpa: number, bytes: number, on: boolean): void;
  /** Which of the slot's pages have been written since the last call, one bit each. */
  dirtyLog(slot: number, bitmap: Uint8Array, pages: number): void;
  /** A vCPU with its thread. `cpuid`: function, index, flags, eax, ebx, ecx, edx of each entry. Context `contextId` is kicked when a command is done. */
  createVcpu(index: number, contextId: number, cpuid: Uint32Array): { vcpu: NativeVcpu; run: NativeMemory; block: NativeMemory; tscKHz: number };
  /**
   * Local APICs in the kernel, before the first vCPU. 0 pins: I/O APIC and 8259As too, and with `pit` the 8254 and port 61h. Otherwise the
   * first `pins` routes are those of an I/O APIC outside, whose level-triggered vectors exit at their EOI.
   */
  createIrqchip(pins: number, pit: boolean): void;
  /** State of a chip in the kernel: 0 and 1 8259As (struct kvm_pic_state), 2 I/O APIC (kvm_ioapic_state), 3 8254 (kvm_pit_state2). */
  chip(which: number, data: Uint8Array, set: boolean): void;
  irqLine(gsi: number, level: boolean): void;
  /** All routes at once. Five words each: GSI; 0, chip, pin, 0 or 1, low and high half of a message's address, its data. */
  setRoutes(words: Uint32Array): void;
  /** @returns whether a local APIC has accepted it */
  signalMsi(addressLo: number, addressHi: number, data: number): boolean;
  /** vCPUs that are created from now on note the pages that they write in rings of that size (KVM_CAP_DIRTY_LOG_RING or _ACQ_REL). */
  dirtyRing(capability: number, bytes: number): void;
  /** Pages whose entries have been harvested are watched again. */
  resetDirtyRings(): void;
  /** A thread that sets bit n of `rung` when bell n rings, and kicks context `contextId`. Once. */
  bells(rung: NativeMemory, count: number, contextId: number): void;
  ring(bell: number): void;
  /** A guest's write of `bytes` (0: any width) to the address or port, of the value `match` (-1: of any), rings the bell and does not exit. */
  ioeventfd(bell: number, address: number, bytes: number, match: number, port: boolean, on: boolean): void;
  /** Signals of irqfd n (0 and up) raise the GSI; bell `resample` (-1: none) rings at the EOI of a level-triggered one. */
  irqfd(n: number, gsi: number, resample: number, on: boolean): void;
  signal(n: number): void;
  dispose(): void;
}

/** A vCPU's thread and its mailbox (native/accel). */
export interface NativeVcpu {
  /** The block holds a command: executed on this thread, until it is done or PENDING (high word) is set. False if it cannot be. */
  runHere(): boolean;
  /** The block holds a command: the thread executes it. */
  post(): void;
  /** Makes a running command end soon, and one posted meanwhile at once. */
  kick(): void;
  /** Waits until the command is done. @returns false after `ns`. */
  waitIdle(ns: number): boolean;
  /** Takes entries out of the ring of written pages: pairs of slot and page number. @returns how many */
  harvest(pairs: Uint32Array): number;
  /** Ends the thread. */
  dispose(): void;
}

interface AddonModule {
  init(errorClass: typeof VmxError): NativeAddon;
}

let loaded: NativeAddon | undefined;

/** Loads the addon on first use. Code: ERR_NO_ADDON if it has not been built or does not fit this Node. */
export function loadNative(): NativeAddon {
  if (loaded !== undefined) return loaded;
  // This file is dist/native.js, or lib/native.ts: the package root is one up.
  const root = fileURLToPath(new URL('..', import.meta.url));
  try {
    const load = createRequire(import.meta.url)('node-gyp-build') as (directory: string) => AddonModule;
    const addon = load(root).init(VmxError);
    if (!('backAhead' in addon)) throw new VmxError('ERR_NO_ADDON', 'it was built from older sources');
    loaded = addon;
  } catch (cause) {
    throw new VmxError(
      'ERR_NO_ADDON',
      `the native addon is missing or does not load; build it with "npx node-gyp rebuild" in ${root}`,
      { cause },
    );
  }
  return loaded;
}
