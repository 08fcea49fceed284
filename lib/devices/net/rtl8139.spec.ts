/** Registers, bits and descriptors of the RTL8139C(L)+ (data sheet rev. 1.6: chapters 5 registers, 6 EEPROM, 9 descriptors). */
import { EEPROM_WORDS } from './microwire.js';

export const REGISTER_BYTES = 0x100;

/** Register offsets; several widths. */
export const enum Reg {
  IDR0 = 0x00,
  MAR0 = 0x08,
  /** Transmit status of the four descriptors; the counters' address in C+ mode. */
  TSD0 = 0x10,
  /** Transmit start address; in C+ mode the addresses of the normal and high priority rings. */
  TSAD0 = 0x20,
  THPDS = 0x28,
  RBSTART = 0x30,
  CR = 0x37,
  CAPR = 0x38,
  CBR = 0x3a,
  IMR = 0x3c,
  ISR = 0x3e,
  TCR = 0x40,
  RCR = 0x44,
  TCTR = 0x48,
  MPC = 0x4c,
  CR9346 = 0x50,
  CONFIG0 = 0x51,
  CONFIG1 = 0x52,
  TIMER_INT = 0x54,
  MSR = 0x58,
  CONFIG3 = 0x59,
  CONFIG4 = 0x5a,
  MULINT = 0x5c,
  TSAD = 0x60,
  BMCR = 0x62,
  BMSR = 0x64,
  ANAR = 0x66,
  ANLPAR = 0x68,
  ANER = 0x6a,
  CSCR = 0x74,
  CONFIG5 = 0xd8,
  TPPOLL = 0xd9,
  CPCR = 0xe0,
  RDSAR = 0xe4,
  MTPS = 0xec,
}

export const enum Cr { BUFE = 0x01, TE = 0x04, RE = 0x08, RST = 0x10 }

/** ISR and IMR. */
export const enum Int { ROK = 0x0001, TOK = 0x0004, RXOVW = 0x0010, LINK = 0x0020, TDU = 0x0080, SWINT = 0x0100, TIMEOUT = 0x4000, ALL = 0xe1ff }

export const enum Tsd { SIZE = 0x1fff, OWN = 1 << 13, TUN = 1 << 14, TOK = 1 << 15 }

export const enum Tcr {
  /** Loopback. */
  LBK = 3 << 17,
  /** Version of the C+. */
  HWVER = 0x7480_0000,
  WRITABLE = 0x030f_07f1,
}

export const enum Rcr {
  AAP = 1 << 0,
  APM = 1 << 1,
  AM = 1 << 2,
  AB = 1 << 3,
  WRAP = 1 << 7,
  RBLEN_SHIFT = 11,
  WRITABLE = 0x0f07_ffff,
}

/** 9346CR. */
export const enum Ee { DO = 1 << 0, DI = 1 << 1, SK = 1 << 2, CS = 1 << 3, MODE_SHIFT = 6 }
export const enum EeMode { NORMAL = 0, AUTOLOAD = 1, PROGRAM = 2, CONFIG = 3 }

export const enum Cpcr { TX_ENABLE = 1 << 0, RX_ENABLE = 1 << 1, RX_CHECKSUM = 1 << 5, RX_VLAN = 1 << 6, WRITABLE = 0x007b }

export const enum Poll { HPQ = 0x80, NPQ = 0x40, FSWINT = 0x01 }

/** C+ transmit descriptors: 16 bytes. */
export const enum Txd {
  BYTES = 16,
  LENGTH = 0xffff,
  TCPCS = 1 << 16,
  UDPCS = 1 << 17,
  IPCS = 1 << 18,
  MSS_SHIFT = 16,
  LGSEN = 1 << 27,
  LS = 1 << 28,
  FS = 1 << 29,
  EOR = 1 << 30,
  OWN = 1 << 31,
  /** Second word. */
  TAGC = 1 << 17,
}

/** C+ receive descriptors: 16 bytes. */
export const enum Rxd {
  BYTES = 16,
  SIZE = 0x1fff,
  TCPF = 1 << 14,
  UDPF = 1 << 15,
  IPF = 1 << 16,
  PID_TCP = 1 << 17,
  PID_UDP = 2 << 17,
  PID_IP = 3 << 17,
  BAR = 1 << 25,
  PAM = 1 << 26,
  MAR = 1 << 27,
  LS = 1 << 28,
  FS = 1 << 29,
  EOR = 1 << 30,
  OWN = 1 << 31,
  /** Second word. */
  TAVA = 1 << 16,
}

/** Status word in front of each frame in the receive buffer (8139 mode). */
export const enum RxStatus { ROK = 0x0001, BAR = 0x2000, PAM = 0x4000, MAR = 0x8000 }

/** Plain 16-bit registers of the PHY: reset value and writable bits. */
export const PHY: Readonly<Partial<Record<number, { reset: number; writable: number }>>> = {
  [Reg.BMCR]: { reset: 0x3100, writable: 0xb300 },
  [Reg.BMSR]: { reset: 0x782d, writable: 0 },
  [Reg.ANAR]: { reset: 0x05e1, writable: 0xffff },
  [Reg.ANLPAR]: { reset: 0x05e1, writable: 0 },
  [Reg.ANER]: { reset: 0x0001, writable: 0 },
  [Reg.CSCR]: { reset: 0x0008, writable: 0xffff },
};

/** The EEPROM's words (chapter 6): identification, PCI IDs, hardware address from word 7 on. */
export function eeprom(mac: Uint8Array): Uint16Array {
  const w = new Uint16Array(EEPROM_WORDS);
  w.set([0x8129, 0x10ec, 0x8139, 0x10ec, 0x8139, 0x4020, 0xe512]);
  for (let i = 0; i < 3; i++) w[7 + i] = mac[i * 2]! | (mac[i * 2 + 1]! << 8);
  w.set([0x0d10, 0x94d4, 0xf1cd], 10);
  return w;
}
