/**
 * What a SCSI transport (virtio-scsi, ATAPI, USB mass storage) sees of a logical unit: the phases of SCSI itself. A transport
 * hands over a command block, moves the data the unit then asks for, in pieces of any size straight from or into guest memory,
 * and takes the status. One command at a time, nothing is allocated for it (SAM-5, chapter 5; SPC-4 for common commands).
 *
 *     lu.command(cdb);
 *     while (moved < lu.length) moved += lu.direction === ScsiDirection.IN ? lu.dataIn(dst) : lu.dataOut(src);
 *     status = lu.complete();
 */

/** Direction of the data phase, seen from the initiator. */
export const enum ScsiDirection { NONE = 0, IN = 1, OUT = 2 }

/** SAM-5, table 41. */
export const enum ScsiStatus { GOOD = 0x00, CHECK_CONDITION = 0x02, BUSY = 0x08 }

/** SPC-4, table 27: sense keys. */
export const enum SenseKey {
  NO_SENSE = 0, RECOVERED_ERROR = 1, NOT_READY = 2, MEDIUM_ERROR = 3, HARDWARE_ERROR = 4, ILLEGAL_REQUEST = 5,
  UNIT_ATTENTION = 6, DATA_PROTECT = 7, ABORTED_COMMAND = 11,
}

/** Additional sense codes with their qualifiers: ASC << 8 | ASCQ (SPC-4, annex D). */
export const enum Asc {
  NONE = 0x0000,
  WRITE_ERROR = 0x0c00,
  UNRECOVERED_READ_ERROR = 0x1100,
  PARAMETER_LIST_LENGTH_ERROR = 0x1a00,
  MISCOMPARE_DURING_VERIFY = 0x1d00,
  INVALID_COMMAND = 0x2000,
  LBA_OUT_OF_RANGE = 0x2100,
  INVALID_FIELD_IN_CDB = 0x2400,
  LUN_NOT_SUPPORTED = 0x2500,
  INVALID_FIELD_IN_PARAMETER_LIST = 0x2600,
  WRITE_PROTECTED = 0x2700,
  MEDIUM_MAY_HAVE_CHANGED = 0x2800,
  POWER_ON_OR_RESET = 0x2900,
  SAVING_PARAMETERS_NOT_SUPPORTED = 0x3900,
  MEDIUM_NOT_PRESENT = 0x3a00,
  MEDIUM_NOT_PRESENT_TRAY_CLOSED = 0x3a01,
  MEDIUM_NOT_PRESENT_TRAY_OPEN = 0x3a02,
  MEDIUM_REMOVAL_PREVENTED = 0x5302,
  ILLEGAL_MODE_FOR_THIS_TRACK = 0x6400,
}

/** Longest sense data a unit gives: fixed format (SPC-4, 4.5.3). */
export const SENSE_BYTES = 18;
export const CDB_BYTES = 16;

export interface ScsiUnit {
  /**
   * Command phase: decodes `cdb` (at least CDB_BYTES long, zero-filled; valid during the call only) and sets `direction` and
   * `length`. A command that fails here has direction NONE; so has one without data.
   */
  command(cdb: Uint8Array): void;
  /** The data phase that the current command wants. */
  readonly direction: ScsiDirection;
  /** Its length in bytes, 0 for NONE. A transport may move less and complete the command. */
  readonly length: number;
  /**
   * The next bytes for the initiator into dst. @returns how many; fewer than asked at the end of the data or on an error, which
   * `complete` then reports.
   */
  dataIn(dst: Uint8Array): number;
  /** The next bytes from the initiator. @returns how many were taken; fewer than given at the end or on an error. */
  dataOut(src: Uint8Array): number;
  /** Status phase: acts on parameter lists, ends the command. CHECK CONDITION: `sense` has SENSE_BYTES bytes of sense data. */
  complete(): ScsiStatus;
  /** Of the last command that ended with CHECK CONDITION; autosense has been given when a transport has read it. */
  readonly sense: Uint8Array;
  /** For transports without autosense (ATAPI): sense key and Asc of the last CHECK CONDITION. */
  readonly senseKey: SenseKey;
  readonly asc: Asc;
  /** Bus, target or unit reset: the current command is gone; the next one is told by a unit attention. */
  reset(): void;
  /** Everything volatile, a command half-way included. */
  save(): Record<string, unknown>;
  /** @throws VmxError ERR_BAD_STATE */
  restore(s: Record<string, unknown>): void;
}
