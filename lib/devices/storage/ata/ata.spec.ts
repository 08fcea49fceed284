/** ATA command set (ACS-3, T13/2161-D) and ATAPI: register bits, command codes, places in identify data. */

export const enum Status {
  ERR = 0x01,
  DRQ = 0x08,
  /** Seek complete; in the days before, but drivers look at it. */
  DSC = 0x10,
  DF = 0x20,
  DRDY = 0x40,
  BSY = 0x80,
}

export const enum AtaError {
  ABRT = 0x04,
  IDNF = 0x10,
  UNC = 0x40,
  ICRC = 0x80,
}

export const enum DeviceReg {
  DEV = 0x10,
  LBA = 0x40,
  /** Bits that always read as one. */
  OBSOLETE = 0xa0,
}

/** Device control register. */
export const enum Control {
  /** Interrupt disabled. */
  NIEN = 0x02,
  SRST = 0x04,
  /** Reads show the previous contents of the register pairs. */
  HOB = 0x80,
}

/** Interrupt reason: the count register of a PACKET command. */
export const enum Reason {
  /** The packet itself is wanted, or (with IO) the command is over. */
  COD = 0x01,
  /** Towards the host. */
  IO = 0x02,
}

export const enum AtaCmd {
  NOP = 0x00,
  DATA_SET_MANAGEMENT = 0x06,
  DEVICE_RESET = 0x08,
  RECALIBRATE = 0x10,
  READ_SECTORS = 0x20,
  READ_SECTORS_NORETRY = 0x21,
  READ_SECTORS_EXT = 0x24,
  READ_DMA_EXT = 0x25,
  READ_NATIVE_MAX_EXT = 0x27,
  READ_MULTIPLE_EXT = 0x29,
  READ_LOG_EXT = 0x2f,
  WRITE_SECTORS = 0x30,
  WRITE_SECTORS_NORETRY = 0x31,
  WRITE_SECTORS_EXT = 0x34,
  WRITE_DMA_EXT = 0x35,
  WRITE_MULTIPLE_EXT = 0x39,
  WRITE_DMA_FUA_EXT = 0x3d,
  VERIFY = 0x40,
  VERIFY_NORETRY = 0x41,
  VERIFY_EXT = 0x42,
  READ_LOG_DMA_EXT = 0x47,
  READ_FPDMA_QUEUED = 0x60,
  WRITE_FPDMA_QUEUED = 0x61,
  SEEK = 0x70,
  EXECUTE_DIAGNOSTIC = 0x90,
  INITIALIZE_PARAMETERS = 0x91,
  PACKET = 0xa0,
  IDENTIFY_PACKET = 0xa1,
  SMART = 0xb0,
  READ_MULTIPLE = 0xc4,
  WRITE_MULTIPLE = 0xc5,
  SET_MULTIPLE = 0xc6,
  READ_DMA = 0xc8,
  READ_DMA_NORETRY = 0xc9,
  WRITE_DMA = 0xca,
  WRITE_DMA_NORETRY = 0xcb,
  WRITE_MULTIPLE_FUA_EXT = 0xce,
  STANDBY_IMMEDIATE = 0xe0,
  IDLE_IMMEDIATE = 0xe1,
  STANDBY = 0xe2,
  IDLE = 0xe3,
  CHECK_POWER = 0xe5,
  SLEEP = 0xe6,
  FLUSH = 0xe7,
  FLUSH_EXT = 0xea,
  IDENTIFY = 0xec,
  SET_FEATURES = 0xef,
  READ_NATIVE_MAX = 0xf8,
}

export const enum SmartCmd {
  READ_DATA = 0xd0,
  READ_THRESHOLDS = 0xd1,
  AUTOSAVE = 0xd2,
  EXECUTE_OFFLINE = 0xd4,
  READ_LOG = 0xd5,
  ENABLE = 0xd8,
  DISABLE = 0xd9,
  RETURN_STATUS = 0xda,
}
/** LBA mid and high of every SMART command. */
export const SMART_KEY_MID = 0x4f;
export const SMART_KEY_HIGH = 0xc2;

export const enum Feature {
  WRITE_CACHE_ON = 0x02,
  TRANSFER_MODE = 0x03,
  SATA_ON = 0x10,
  READ_AHEAD_OFF = 0x55,
  REVERT_OFF = 0x66,
  WRITE_CACHE_OFF = 0x82,
  SATA_OFF = 0x90,
  READ_AHEAD_ON = 0xaa,
  REVERT_ON = 0xcc,
}

/** CHECK POWER MODE, count register. */
export const enum Power { STANDBY = 0x00, ACTIVE = 0xff }

/** General purpose logs. */
export const enum Log { DIRECTORY = 0x00, NCQ_ERROR = 0x10 }

export const ATA_SECTOR = 512;
/** Sectors of a command that says zero: 28-bit and 48-bit commands. */
export const MAX_COUNT_28 = 256;
export const MAX_COUNT_48 = 65536;
/** Device signature after a reset: LBA mid and high. */
export const SIGNATURE_DISK = [0x00, 0x00] as const;
export const SIGNATURE_PACKET = [0x14, 0xeb] as const;
