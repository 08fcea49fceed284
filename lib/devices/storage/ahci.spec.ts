/** Registers, FISes and command structures of AHCI 1.3.1 and Serial ATA 3.x (chapter 10, FIS formats). */

/** Generic host control (3.1). */
export const enum Hba { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10, CAP2 = 0x24 }
export const HBA_VERSION = 0x0001_0301;
export const PORTS_AT = 0x100;
export const PORT_BYTES = 0x80;

export const enum Cap {
  SLOTS_SHIFT = 8,
  /** AHCI only: no task file registers of old. */
  SAM = 1 << 18,
  /** 3 Gbit/s. */
  GEN2 = 2 << 20,
  /** Command list override. */
  SCLO = 1 << 24,
  SNCQ = 1 << 30,
  S64A = 0x8000_0000,
}

export const enum Ghc { HR = 1, IE = 2, AE = 0x8000_0000 }

/** Port registers (3.3). */
export const enum Px {
  CLB = 0x00,
  CLBU = 0x04,
  FB = 0x08,
  FBU = 0x0c,
  IS = 0x10,
  IE = 0x14,
  CMD = 0x18,
  TFD = 0x20,
  SIG = 0x24,
  SSTS = 0x28,
  SCTL = 0x2c,
  SERR = 0x30,
  SACT = 0x34,
  CI = 0x38,
}

/** PxIS and PxIE. */
export const enum Pi {
  /** Register FIS, PIO setup FIS, set device bits FIS from the device. */
  DHRS = 1 << 0,
  PSS = 1 << 1,
  SDBS = 1 << 3,
  /** A PRD with its interrupt bit is through. */
  DPS = 1 << 5,
  /** Port connect change, PhyRdy change: they show PxSERR's DIAG.X and DIAG.N. */
  PCS = 1 << 6,
  PRCS = 1 << 22,
  /** Overflow: the PRDs end before the data. */
  OFS = 1 << 24,
  /** Host bus fatal error: what the tables point to is no memory. */
  HBFS = 1 << 29,
  /** Task file error. */
  TFES = 1 << 30,
  WRITABLE_IE = 0x7dc0_007f,
}

export const enum PxCmd {
  ST = 1 << 0,
  SUD = 1 << 1,
  POD = 1 << 2,
  CLO = 1 << 3,
  FRE = 1 << 4,
  CCS_SHIFT = 8,
  FR = 1 << 14,
  CR = 1 << 15,
  ATAPI = 1 << 24,
  DLAE = 1 << 25,
}

/** PxSSTS: device present, PHY up; speed; active. */
export const SSTS_PRESENT = 0x123;
export const SSTS_OFFLINE = 0x004;
export const enum Det { NONE = 0, COMRESET = 1, OFFLINE = 4, MASK = 15 }
/** PxSERR: DIAG.N PhyRdy change, DIAG.X exchanged. */
export const enum Serr { N = 1 << 16, X = 1 << 26 }

/** Command headers (4.2.2). */
export const HEADER_BYTES = 32;
export const SLOTS = 32;
/** Command table (4.2.3). */
export const CDB_AT = 0x40;
export const PRDT_AT = 0x80;
export const PRD_BYTES = 16;
export const PRD_COUNT = 0x3f_ffff;
export const PRD_INTERRUPT = 0x8000_0000;

/** FIS types. */
export const enum Fis { REG_H2D = 0x27, REG_D2H = 0x34, PIO_SETUP = 0x5f, SET_DEVICE_BITS = 0xa1 }
export const FIS_COMMAND = 0x80;
export const FIS_INTERRUPT = 0x40;
export const FIS_TO_HOST = 0x20;
/** Places in the area for received FISes (4.2.1). */
export const enum Rx { PIO_SETUP = 0x20, REGISTER = 0x40, SET_DEVICE_BITS = 0x58 }
