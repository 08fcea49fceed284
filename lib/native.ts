/**
 * The interface of the C++ addon (native/addon.cc). Everything here is thin: it maps memory, makes it executable,
 * enters it, and waits. Host addresses are numbers (below 2^53). Failures throw VmxError with a stable `code`.
 */
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

/** One execution context: a thread's entry into generated code over one state region. */
export interface NativeContext {
  /**
   * Calls the code at host address `entry` with the state address in RDI (X0 on ARM64). The code returns with an ordinary
   * return instruction; result = its 32-bit return value. If it faults (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP) inside
   * the exec region, the guard stores the faulting host address to slot X_ADDR, the signal to X_AUX (low) and the data
   * address to X_VAL, and continues at the address in slot X_ABORT (which must return to the caller); faults elsewhere go
   * to the previous handler.
   */
  run(entry: number): number;
  /**
   * Arms the deadline: at monotonic time `ns` (process clock of `now`) a native thread stores 1 to the high word of
   * PENDING. Infinity disarms. Re-arming replaces.
   */
  setDeadline(ns: number): void;
  /** Sets the high word of PENDING now, from any thread. */
  kick(): void;
  /**
   * Blocks until monotonic time `ns`, a kick, or until this thread's event loop has something to do (its backend
   * descriptor is readable). Returns 1 for the loop, 0 otherwise. Never busy-waits. Clears nothing.
   */
  wait(ns: number): number;
  /** While set, the helper thread also watches the event loop's descriptor and sets PENDING (high word) when it is readable. */
  watchLoop(on: boolean): void;
  dispose(): void;
}

export interface NativeAddon {
  /** Guest RAM: memfd (or anonymous) mapping, zero-filled lazily, huge-page advice. bytes: page multiple. Codes: ERR_NO_MEMORY. */
  allocRam(bytes: number): NativeMemory;
  /** State region, page aligned, zeroed. */
  allocState(bytes: number): NativeMemory;
  /** Two aliases of one memfd. Codes: ERR_NO_EXEC (policy forbids it, or VMX_ACCEL_NO_EXEC=1 is set), ERR_NO_MEMORY. */
  allocExec(bytes: number): NativeExec;
  /** Unmaps now. The buffer must not be used again (it is detached). */
  free(memory: NativeMemory | NativeExec): void;
  createContext(state: NativeMemory, exec: NativeExec | null): NativeContext;
  /** CLOCK_MONOTONIC in ns, as a double. */
  now(): number;
  /** Host CPU features by their /proc/cpuinfo names: sse2, avx2, bmi2, ... as CPUID and XCR0 report them usable. */
  cpuFeatures(): string[];
  /** CPUID leaf of the host: [eax, ebx, ecx, edx] as unsigned numbers. */
  cpuid(leaf: number, subleaf: number): number[];
  /** Bytes of physical memory and of what is available now. */
  hostMemory(): { total: number; available: number };
}
