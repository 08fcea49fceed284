/**
 * Registers, bits and descriptors of the 82540EM gigabit controller (PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual, 317453: chapter 3 descriptors, 5 EEPROM, 13 registers).
 */

import { EEPROM_WORDS } from './microwire.js';

export const REGISTER_BYTES = 0x2_0000;

/** Register offsets. */
export const enum Reg {
  CTRL = 0x0000,
  STATUS = 0x0008,
  EECD = 0x0010,
  EERD = 0x0014,
  CTRL_EXT = 0x0018,
  MDIC = 0x0020,
  FCAL = 0x0028,
  FCAH = 0x002c,
  FCT = 0x0030,
  VET = 0x0038,
  ICR = 0x00c0,
  ITR = 0x00c4,
  ICS = 0x00c8,
  IMS = 0x00d0,
  IMC = 0x00d8,
  RCTL = 0x0100,
  FCTTV = 0x0170,
  TXCW = 0x0178,
  RXCW = 0x0180,
  TCTL = 0x0400,
  TIPG = 0x0410,
  AIT = 0x0458,
  LEDCTL = 0x0e00,
  PBA = 0x1000,
  FCRTL = 0x2160,
  FCRTH = 0x2168,
  RDBAL = 0x2800,
  RDBAH = 0x2804,
  RDLEN = 0x2808,
  RDH = 0x2810,
  RDT = 0x2818,
  RDTR = 0x2820,
  RXDCTL = 0x2828,
  RADV = 0x282c,
  RSRPD = 0x2c00,
  TXDMAC = 0x3000,
  TDBAL = 0x3800,
  TDBAH = 0x3804,
  TDLEN = 0x3808,
  TDH = 0x3810,
  TDT = 0x3818,
  TIDV = 0x3820,
  TXDCTL = 0x3828,
  TADV = 0x382c,
  TSPMT = 0x3830,
  /** Statistics: cleared by reading. */
  STATS = 0x4000,
  STATS_END = 0x4100,
  RXCSUM = 0x5000,
  /** Multicast table array, 128 words. */
  MTA = 0x5200,
  /** Receive addresses, 16 pairs. */
  RAL = 0x5400,
  RAH = 0x5404,
  RA_END = 0x5480,
  /** VLAN filter table array, 128 words. */
  VFTA = 0x5600,
  VFTA_END = 0x5800,
  WUC = 0x5800,
  WUFC = 0x5808,
  MANC = 0x5820,
}

/** Statistics that are counted (13.7), as offsets. */
export const enum Stat {
  MPC = 0x4010,
  BPRC = 0x4078,
  MPRC = 0x407c,
  GPRC = 0x4074,
  GPTC = 0x4080,
  GORCL = 0x4088,
  GOTCL = 0x4090,
  RUC = 0x40a4,
  ROC = 0x40ac,
  TORL = 0x40c0,
  TOTL = 0x40c8,
  TPR = 0x40d0,
  TPT = 0x40d4,
  MPTC = 0x40f0,
  BPTC = 0x40f4,
  TSCTC = 0x40f8,
}

export const enum Ctrl {
  FD = 1 << 0,
  ASDE = 1 << 5,
  SLU = 1 << 6,
  SPEED_1000 = 2 << 8,
  RST = 1 << 26,
  VME = 1 << 30,
  PHY_RST = 1 << 31,
}

/** Full duplex, link up, 1000 Mb/s. */
export const STATUS_VALUE = (1 << 0) | (1 << 1) | (2 << 6) | (1 << 31);

/** Interrupt causes (ICR, ICS, IMS, IMC). */
export const enum Int {
  TXDW = 1 << 0,
  TXQE = 1 << 1,
  LSC = 1 << 2,
  RXDMT0 = 1 << 4,
  RXO = 1 << 6,
  RXT0 = 1 << 7,
  MDAC = 1 << 9,
  TXD_LOW = 1 << 15,
  ALL = 0x1_ffff,
}

export const enum Rctl {
  EN = 1 << 1,
  UPE = 1 << 3,
  MPE = 1 << 4,
  LBM = 3 << 6,
  RDMTS_SHIFT = 8,
  MO_SHIFT = 12,
  BAM = 1 << 15,
  BSIZE_SHIFT = 16,
  VFE = 1 << 18,
  BSEX = 1 << 25,
  SECRC = 1 << 26,
  LPE = 1 << 5,
}

export const enum Tctl {
  EN = 1 << 1,
  PSP = 1 << 3,
}

export const enum Rxcsum {
  IPOFLD = 1 << 8,
  TUOFLD = 1 << 9,
}

export const enum Eerd {
  START = 1 << 0,
  DONE = 1 << 4,
}

/** EEPROM access by bits (Microwire, 5.4). */
export const enum Eecd {
  SK = 1 << 0,
  CS = 1 << 1,
  DI = 1 << 2,
  DO = 1 << 3,
  FWE = 0x30,
  REQ = 1 << 6,
  GNT = 1 << 7,
  PRES = 1 << 8,
}

export const enum Mdic {
  REG_SHIFT = 16,
  PHY_SHIFT = 21,
  OP_WRITE = 1 << 26,
  OP_READ = 2 << 26,
  READY = 1 << 28,
  INT_EN = 1 << 29,
  ERROR = 1 << 30,
}

/** Legacy and extended transmit descriptors (3.3): bits of the upper word of dword 2, here as a 32-bit command word. */
export const enum Txd {
  BYTES = 16,
  /** Command. */
  EOP = 1 << 24,
  IFCS = 1 << 25,
  IC = 1 << 26,
  TSE = 1 << 26,
  RS = 1 << 27,
  DEXT = 1 << 29,
  VLE = 1 << 30,
  /** DTYP of extended descriptors, in bits 23..20. */
  DTYP = 0xf << 20,
  DTYP_DATA = 1 << 20,
  /** Status byte. */
  DD = 1,
}
/** Context descriptor TUCMD, as bits of the same word. */
export const enum Tucmd {
  TCP = 1 << 24,
  IP = 1 << 25,
  TSE = 1 << 26,
}
/** POPTS of data descriptors. */
export const enum Popts {
  IXSM = 1,
  TXSM = 2,
}

/** Receive descriptors (3.2.3). */
export const enum Rxd {
  BYTES = 16,
  DD = 1 << 0,
  EOP = 1 << 1,
  IXSM = 1 << 2,
  VP = 1 << 3,
  TCPCS = 1 << 5,
  IPCS = 1 << 6,
  PIF = 1 << 7,
  /** Errors byte. */
  TCPE = 1 << 5,
  IPE = 1 << 6,
}

/** PHY registers (IEEE 802.3, 22.2.4; M88E1011 for the rest). */
export const enum Phy {
  ADDRESS = 1,
  CONTROL = 0,
  STATUS = 1,
  ID1 = 2,
  ID2 = 3,
  ADVERTISE = 4,
  LINK_PARTNER = 5,
  EXPANSION = 6,
  GIG_CONTROL = 9,
  GIG_STATUS = 10,
  EXT_STATUS = 15,
  M88_CONTROL = 16,
  M88_STATUS = 17,
  M88_EXT_CONTROL = 20,
}

/** Reset values of the PHY's registers, and which bits a driver may change. */
export const PHY_REGISTERS: Readonly<Partial<Record<number, { reset: number; writable: number }>>> = {
  [Phy.CONTROL]: { reset: 0x1140, writable: 0x7dc0 },
  // Link up, autonegotiation complete and all speeds it can do.
  [Phy.STATUS]: { reset: 0x796d, writable: 0 },
  [Phy.ID1]: { reset: 0x0141, writable: 0 },
  [Phy.ID2]: { reset: 0x0c20, writable: 0 },
  [Phy.ADVERTISE]: { reset: 0x0de1, writable: 0xffff },
  [Phy.LINK_PARTNER]: { reset: 0x4de1, writable: 0 },
  [Phy.EXPANSION]: { reset: 0x0007, writable: 0 },
  [Phy.GIG_CONTROL]: { reset: 0x0e00, writable: 0xffff },
  [Phy.GIG_STATUS]: { reset: 0x3c00, writable: 0 },
  [Phy.EXT_STATUS]: { reset: 0x3000, writable: 0 },
  [Phy.M88_CONTROL]: { reset: 0x0360, writable: 0xffff },
  // 1000 Mb/s, full duplex, resolved, link.
  [Phy.M88_STATUS]: { reset: 0xac04, writable: 0 },
  [Phy.M88_EXT_CONTROL]: { reset: 0x0d60, writable: 0xffff },
};

/** Plain registers: reset value and writable bits. What has side effects is in e1000.ts. */
export const PLAIN: Readonly<Partial<Record<number, { reset: number; writable: number }>>> = {
  [Reg.CTRL_EXT]: { reset: 0, writable: 0xffff_ffff },
  [Reg.FCAL]: { reset: 0, writable: 0xffff_ffff },
  [Reg.FCAH]: { reset: 0, writable: 0xffff },
  [Reg.FCT]: { reset: 0, writable: 0xffff },
  [Reg.VET]: { reset: 0, writable: 0xffff },
  [Reg.ITR]: { reset: 0, writable: 0xffff },
  [Reg.FCTTV]: { reset: 0, writable: 0xffff },
  [Reg.TXCW]: { reset: 0, writable: 0xffff_ffff },
  [Reg.TIPG]: { reset: 0, writable: 0x3fff_ffff },
  [Reg.AIT]: { reset: 0, writable: 0xffff },
  [Reg.LEDCTL]: { reset: 0x0706_8302, writable: 0xffff_ffff },
  [Reg.PBA]: { reset: 0x0010_0030, writable: 0xffff },
  [Reg.FCRTL]: { reset: 0, writable: 0x8000_fff8 },
  [Reg.FCRTH]: { reset: 0, writable: 0xfff8 },
  [Reg.RDTR]: { reset: 0, writable: 0xffff },
  [Reg.RXDCTL]: { reset: 0x0101_0000, writable: 0x013f_3f3f },
  [Reg.RADV]: { reset: 0, writable: 0xffff },
  [Reg.RSRPD]: { reset: 0, writable: 0xfff },
  [Reg.TXDMAC]: { reset: 0, writable: 1 },
  [Reg.TIDV]: { reset: 0, writable: 0xffff },
  [Reg.TXDCTL]: { reset: 0, writable: 0xff3f_3f3f },
  [Reg.TADV]: { reset: 0, writable: 0xffff },
  [Reg.TSPMT]: { reset: 0, writable: 0xffff_ffff },
  [Reg.TCTL]: { reset: 0, writable: 0x07ff_ffff },
  [Reg.RXCSUM]: { reset: 0, writable: 0x7ff },
  [Reg.RDBAL]: { reset: 0, writable: 0xffff_fff0 },
  [Reg.RDBAH]: { reset: 0, writable: 0xffff_ffff },
  [Reg.RDLEN]: { reset: 0, writable: 0xf_ff80 },
  [Reg.TDBAL]: { reset: 0, writable: 0xffff_fff0 },
  [Reg.TDBAH]: { reset: 0, writable: 0xffff_ffff },
  [Reg.TDLEN]: { reset: 0, writable: 0xf_ff80 },
  [Reg.WUC]: { reset: 0, writable: 0xf },
  [Reg.WUFC]: { reset: 0, writable: 0xf_00ff },
  [Reg.MANC]: { reset: 0, writable: 0xffff_ffff },
};

/** Words of the EEPROM (5.6): hardware address, configuration, IDs; the sum of the first 64 is BABAh. */
export const EEPROM_SUM = 0xbaba;
export function eeprom(mac: Uint8Array): Uint16Array {
  const w = new Uint16Array(EEPROM_WORDS);
  for (let i = 0; i < 3; i++) w[i] = mac[i * 2]! | (mac[i * 2 + 1]! << 8);
  w.set([0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x3000, 0x1000, 0x6403, 0x100e, 0x8086, 0x100e, 0x8086, 0x3040, 0x0008, 0x2000, 0x7e14, 0x0048], 3);
  let sum = 0;
  for (let i = 0; i < EEPROM_WORDS - 1; i++) sum += w[i]!;
  w[EEPROM_WORDS - 1] = EEPROM_SUM - sum;
  return w;
}
