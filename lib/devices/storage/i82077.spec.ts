/** Registers, commands and result bits of the 82077AA (data sheet 290166, chapters 2, 5 and 6). */

/** Offsets from 3F0h. 6 belongs to the IDE controller. */
export const enum FdcPort {
  BASE = 0x3f0,
  /** Status registers A and B exist in PS/2 mode only. */
  SRA = 0,
  SRB = 1,
  DOR = 2,
  TDR = 3,
  /** Read: main status; write: data rate select. */
  MSR = 4,
  FIFO = 5,
  /** Read: digital input; write: configuration control. */
  DIR = 7,
}

export const enum Dor {
  SELECT = 0x03,
  /** Active low. */
  RESET = 0x04,
  /** Lets interrupt and DMA request out. */
  DMA_GATE = 0x08,
  MOTORS = 0xf0,
}

export const enum Msr {
  DRIVE_BUSY = 0x01,
  BUSY = 0x10,
  NON_DMA = 0x20,
  /** Towards the processor. */
  DIO = 0x40,
  RQM = 0x80,
}

export const enum Dsr {
  RATE = 0x03,
  RESET = 0x80,
  WRITABLE = 0x7f,
}

export const enum Dir {
  CHANGED = 0x80,
}

/** Commands without MT, MFM and SK. */
export const enum Cmd {
  READ_TRACK = 0x02,
  SPECIFY = 0x03,
  SENSE_DRIVE = 0x04,
  WRITE = 0x05,
  READ = 0x06,
  RECALIBRATE = 0x07,
  SENSE_INTERRUPT = 0x08,
  WRITE_DELETED = 0x09,
  READ_ID = 0x0a,
  READ_DELETED = 0x0c,
  FORMAT = 0x0d,
  DUMPREG = 0x0e,
  SEEK = 0x0f,
  VERSION = 0x10,
  SCAN_EQUAL = 0x11,
  PERPENDICULAR = 0x12,
  CONFIGURE = 0x13,
  LOCK = 0x14,
  VERIFY = 0x16,
  SCAN_LOW = 0x19,
  SCAN_HIGH = 0x1d,
}

/** Bits of the command byte. */
export const enum CmdBit {
  MT = 0x80,
  /** Of RELATIVE SEEK; its DIR is MFM's. */
  RELATIVE = 0x80,
  LOCK = 0x80,
  MFM = 0x40,
  SK = 0x20,
  OPCODE = 0x1f,
}

export const enum St0 {
  HEAD = 0x04,
  /** Equipment check: no track 0 found. */
  EC = 0x10,
  SEEK_END = 0x20,
  ABNORMAL = 0x40,
  INVALID = 0x80,
  /** Ready line changed: what polling finds after a reset. */
  READY_CHANGED = 0xc0,
}

export const enum St1 {
  /** No address mark. */
  MA = 0x01,
  NOT_WRITABLE = 0x02,
  /** No such sector. */
  ND = 0x04,
  OVERRUN = 0x10,
  /** Data error. */
  DE = 0x20,
  END_OF_CYLINDER = 0x80,
}

export const enum St2 {
  SCAN_NOT_SATISFIED = 0x04,
  SCAN_EQUAL = 0x08,
  WRONG_CYLINDER = 0x10,
  /** Data error in the data field. */
  DD = 0x20,
  /** Control mark: the other kind of data address mark. */
  CM = 0x40,
}

export const enum St3 {
  HEAD = 0x04,
  TWO_SIDED = 0x08,
  TRACK0 = 0x10,
  READY = 0x20,
  WRITE_PROTECTED = 0x40,
}

/** CONFIGURE, second parameter. */
export const enum Conf {
  FIFO_THRESHOLD = 0x0f,
  /** Polling off. */
  POLL = 0x10,
  /** FIFO off. */
  EFIFO = 0x20,
  IMPLIED_SEEK = 0x40,
}

/** Parameter bytes of each command; not listed: invalid. */
export const PARAMETERS: Readonly<Partial<Record<Cmd, number>>> = {
  [Cmd.READ_TRACK]: 8,
  [Cmd.SPECIFY]: 2,
  [Cmd.SENSE_DRIVE]: 1,
  [Cmd.WRITE]: 8,
  [Cmd.READ]: 8,
  [Cmd.RECALIBRATE]: 1,
  [Cmd.SENSE_INTERRUPT]: 0,
  [Cmd.WRITE_DELETED]: 8,
  [Cmd.READ_ID]: 1,
  [Cmd.READ_DELETED]: 8,
  [Cmd.FORMAT]: 5,
  [Cmd.DUMPREG]: 0,
  [Cmd.SEEK]: 2,
  [Cmd.VERSION]: 0,
  [Cmd.SCAN_EQUAL]: 8,
  [Cmd.PERPENDICULAR]: 1,
  [Cmd.CONFIGURE]: 3,
  [Cmd.LOCK]: 0,
  [Cmd.VERIFY]: 8,
  [Cmd.SCAN_LOW]: 8,
  [Cmd.SCAN_HIGH]: 8,
};
/** Which of MT, MFM and SK a command has; the others must be zero. */
export const MODIFIERS: Readonly<Partial<Record<Cmd, number>>> = {
  [Cmd.READ_TRACK]: CmdBit.MFM,
  [Cmd.WRITE]: CmdBit.MT | CmdBit.MFM,
  [Cmd.READ]: CmdBit.MT | CmdBit.MFM | CmdBit.SK,
  [Cmd.WRITE_DELETED]: CmdBit.MT | CmdBit.MFM,
  [Cmd.READ_ID]: CmdBit.MFM,
  [Cmd.READ_DELETED]: CmdBit.MT | CmdBit.MFM | CmdBit.SK,
  [Cmd.FORMAT]: CmdBit.MFM,
  [Cmd.SEEK]: CmdBit.RELATIVE | CmdBit.MFM,
  [Cmd.SCAN_EQUAL]: CmdBit.MT | CmdBit.MFM | CmdBit.SK,
  [Cmd.LOCK]: CmdBit.LOCK,
  [Cmd.VERIFY]: CmdBit.MT | CmdBit.MFM | CmdBit.SK,
  [Cmd.SCAN_LOW]: CmdBit.MT | CmdBit.MFM | CmdBit.SK,
  [Cmd.SCAN_HIGH]: CmdBit.MT | CmdBit.MFM | CmdBit.SK,
};
/** Largest number of bytes in a command and in a result. */
export const COMMAND_BYTES = 9;
export const RESULT_BYTES = 10;
