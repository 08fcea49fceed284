/** The mailbox of a remote vCPU: the head of its shared block, in 32-bit words. Mirrors native/accel/vcpu_thread.h. */
export const enum Box {
  STATUS = 0,
  COMMAND = 1,
  SET_MASK = 2,
  GET_MASK = 3,
  /** Vector to inject before running, or -1. */
  VECTOR = 4,
  NMI = 5,
  /** 0, or the error number of the step that failed. */
  ERROR = 6,
  /** 1 set, 2 inject, 3 run, 4 get; part of the state in bits 8 and up. */
  FAILED = 7,
  SLEEPING = 8,
  SPIN_NS = 9,
  /** Commands done by the vCPU's thread, of which found while it was spinning. */
  COMMANDS = 10,
  HOT = 11,
  /** Commands done on the JavaScript thread. */
  HERE = 12,
  /** Time in commands, ns: two words. */
  BUSY_NS = 14,
  HISTOGRAM = 16,
}
/** Bucket b counts the thread's waits for a command from b * HISTOGRAM_NS on; the last one all that are longer. */
export const HISTOGRAM_BUCKETS = 40;
export const HISTOGRAM_NS = 250;

export const enum BoxStatus {
  /** The block belongs to the JavaScript thread. */
  IDLE = 0,
  POSTED = 1,
  BUSY = 2,
}
export const COMMAND_RUN = 1;
