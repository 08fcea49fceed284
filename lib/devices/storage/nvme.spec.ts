/** Registers, commands and codes of NVM Express 1.4 (revision 1.4c). */

/** Controller registers (3.1). */
export const enum Reg {
  CAP = 0x00, VS = 0x08, INTMS = 0x0c, INTMC = 0x10, CC = 0x14, CSTS = 0x1c, NSSR = 0x20, AQA = 0x24, ASQ = 0x28, ACQ = 0x30,
  DOORBELLS = 0x1000,
}
/** CC, 3.1.5: bits and shifts. */
export const enum Cc { EN = 1, CSS_SHIFT = 4, MPS_SHIFT = 7, AMS_SHIFT = 11, SHN_SHIFT = 14, IOSQES_SHIFT = 16, IOCQES_SHIFT = 20, WRITABLE = 0x00ff_fff1 }
/** CSTS, 3.1.6. */
export const enum Csts { RDY = 1, CFS = 2, SHST_SHIFT = 2, SHST_DONE = 2 << 2 }
/** CAP, low and high word: 1024 entries, contiguous queues, 10 s; NVM command set, pages of 4 KiB to 64 KiB. */
export const CAP_MQES = 1023;
export const CAP_LO = CAP_MQES | (1 << 16) | (20 << 24);
export const MPSMAX = 4;
export const CAP_HI = (1 << 5) | (MPSMAX << 20);
export const VERSION_1_4 = 0x0001_0400;

export const enum Admin {
  DELETE_SQ = 0x00, CREATE_SQ = 0x01, GET_LOG_PAGE = 0x02, DELETE_CQ = 0x04, CREATE_CQ = 0x05, IDENTIFY = 0x06, ABORT = 0x08, SET_FEATURES = 0x09,
  GET_FEATURES = 0x0a, ASYNC_EVENT = 0x0c,
}
export const enum Nvm { FLUSH = 0x00, WRITE = 0x01, READ = 0x02, WRITE_ZEROES = 0x08, DSM = 0x09 }

/** Status code type << 8 | status code (4.6.1). */
export const enum Sc {
  SUCCESS = 0x000, INVALID_OPCODE = 0x001, INVALID_FIELD = 0x002, DATA_TRANSFER_ERROR = 0x004, INTERNAL_ERROR = 0x006, INVALID_NAMESPACE = 0x00b,
  COMMAND_SEQUENCE_ERROR = 0x00c, INVALID_PRP_OFFSET = 0x013, NAMESPACE_WRITE_PROTECTED = 0x020, LBA_OUT_OF_RANGE = 0x080,
  INVALID_CQ = 0x100, INVALID_QUEUE_ID = 0x101, INVALID_QUEUE_SIZE = 0x102, ASYNC_EVENT_LIMIT = 0x105, INVALID_VECTOR = 0x108, INVALID_LOG_PAGE = 0x109,
  INVALID_QUEUE_DELETION = 0x10c, FEATURE_NOT_SAVEABLE = 0x10d, FEATURE_NOT_CHANGEABLE = 0x10e,
  WRITE_FAULT = 0x280, UNRECOVERED_READ_ERROR = 0x281,
  /** Not a status: the command stays outstanding. */
  PENDING = -1,
}

export const enum Cns { NAMESPACE = 0x00, CONTROLLER = 0x01, ACTIVE_NAMESPACES = 0x02, DESCRIPTORS = 0x03 }
export const enum LogPage { ERRORS = 0x01, SMART = 0x02, FIRMWARE_SLOTS = 0x03, EFFECTS = 0x05 }
export const enum Feature {
  ARBITRATION = 0x01, POWER_MANAGEMENT = 0x02, TEMPERATURE_THRESHOLD = 0x04, ERROR_RECOVERY = 0x05, VOLATILE_WRITE_CACHE = 0x06, QUEUES = 0x07,
  INTERRUPT_COALESCING = 0x08, INTERRUPT_VECTOR = 0x09, WRITE_ATOMICITY = 0x0a, ASYNC_EVENTS = 0x0b,
}
/** Asynchronous events: type 0 (error), information in bits 15:8, log page in 23:16 (5.2). */
export const enum AsyncError { INVALID_DOORBELL_REGISTER = 0x00, INVALID_DOORBELL_VALUE = 0x01 }

export const SQE_BYTES = 64;
export const CQE_BYTES = 16;
/** Pairs of I/O queues. */
export const IO_QUEUES = 16;
/** Asynchronous event requests that may be outstanding. */
export const ASYNC_LIMIT = 4;
/** Largest transfer: 2^MDTS pages of 4 KiB. */
export const MDTS = 7;
export const MAX_TRANSFER = 4096 << MDTS;
export const LBA_SHIFT = 9;
export const LBA_BYTES = 512;

/** A command as fetched from a submission queue (4.2), decoded; one object per controller. */
export class NvmeCommand {
  readonly bytes = new Uint8Array(SQE_BYTES);
  private readonly v = new DataView(this.bytes.buffer);
  /** Dword 0 of the completion. */
  result = 0;

  get opcode(): number {
    return this.bytes[0]!;
  }
  /** Fused operations and SGLs are not supported: both fields must be 0. */
  get flags(): number {
    return this.bytes[1]!;
  }
  get cid(): number {
    return this.v.getUint16(2, true);
  }
  get nsid(): number {
    return this.v.getUint32(4, true);
  }
  /** PRP entries; NaN if they are no physical address. */
  get prp1(): number {
    return this.u64(24);
  }
  get prp2(): number {
    return this.u64(32);
  }
  /** Command dword n, 10..15. */
  dw(n: number): number {
    return this.v.getUint32(n * 4, true);
  }
  /** Dwords n and n + 1; NaN if not exact as a number. */
  u64(at: number): number {
    const hi = this.v.getUint32(at + 4, true);
    return hi < 0x10_0000 ? hi * 0x1_0000_0000 + this.v.getUint32(at, true) : NaN;
  }
}
