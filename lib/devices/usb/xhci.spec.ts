/** eXtensible Host Controller Interface for USB, revision 1.2: registers (chapter 5), contexts and TRBs (chapter 6), as numbers. */

export const MAX_SLOTS = 16;
/** Ports 1 to 8 are USB 2, 9 to 12 USB 3. */
export const USB2_PORTS = 8;
export const USB3_PORTS = 4;
export const PORTS: number = USB2_PORTS + USB3_PORTS;

/** Where the groups of registers are in the BAR. */
export const enum At { OPERATIONAL = 0x40, PORTS = 0x440, RUNTIME = 0x1000, INTERRUPTER = 0x1020, DOORBELLS = 0x2000, END = 0x4000 }
export const PORT_STRIDE = 16;

/** Capability registers (5.3), in words from 0 on; then two Supported Protocol capabilities (7.2). */
const protocol = (major: number, next: number, first: number, count: number): number[] => [2 | (next << 8) | (major << 24), 0x2042_5355, first | (count << 8), 0];
export const CAPABILITIES: readonly number[] = [
  // CAPLENGTH, HCIVERSION 1.00; slots, one interrupter, ports; IST of 8 frames, one segment of events; no U1, U2 latency; 64-bit addresses, extended capabilities at 20h.
  At.OPERATIONAL | 0x0100_0000, MAX_SLOTS | (1 << 8) | (PORTS << 24), 0xf, 0, 1 | ((0x20 >> 2) << 16), At.DOORBELLS, At.RUNTIME, 0,
  ...protocol(2, 4, 1, USB2_PORTS), ...protocol(3, 0, USB2_PORTS + 1, USB3_PORTS),
];

/** Operational registers (5.4), from At.OPERATIONAL on. */
export const enum Op { USBCMD = 0, USBSTS = 4, PAGESIZE = 8, DNCTRL = 0x14, CRCR = 0x18, DCBAAP = 0x30, CONFIG = 0x38 }
export const enum Cmd { RS = 1, HCRST = 2, INTE = 4, HSEE = 8, CSS = 0x100, CRS = 0x200, EWE = 0x400, KEPT = 0x40d }
export const enum Sts { HCH = 1, HSE = 4, EINT = 8, PCD = 0x10, SRE = 0x400, HCE = 0x1000, W1C = 0x41c }
export const enum Crcr { RCS = 1, CS = 2, CA = 4, CRR = 8 }

/** PORTSC (5.4.8). */
export const enum Port {
  CCS = 1, PED = 2, PR = 0x10, PLS_SHIFT = 5, PLS = 0x1e0, PP = 0x200, SPEED_SHIFT = 10, LWS = 0x1_0000, CSC = 0x2_0000, PRC = 0x20_0000, PLC = 0x40_0000,
  CHANGES = 0xfe_0000, WAKE = 0xe00_0000, WPR = 0x8000_0000,
}
export const enum LinkState { U0 = 0, U3 = 3, RX_DETECT = 5, POLLING = 7, RESUME = 15 }

/** Interrupter registers (5.5.2), from At.INTERRUPTER on. */
export const enum Ir { IMAN = 0, IMOD = 4, ERSTSZ = 8, ERSTBA = 0x10, ERDP = 0x18 }
export const enum Iman { IP = 1, IE = 2 }
export const EHB = 8;

export const TRB_BYTES = 16;
/** Types (6.4.6). */
export const enum Trb {
  NORMAL = 1, SETUP = 2, DATA = 3, STATUS = 4, ISOCH = 5, LINK = 6, EVENT_DATA = 7, NO_OP = 8,
  ENABLE_SLOT = 9, DISABLE_SLOT = 10, ADDRESS_DEVICE = 11, CONFIGURE_ENDPOINT = 12, EVALUATE_CONTEXT = 13, RESET_ENDPOINT = 14, STOP_ENDPOINT = 15, SET_TR_DEQUEUE = 16, RESET_DEVICE = 17,
  NO_OP_COMMAND = 23, TRANSFER_EVENT = 32, COMMAND_COMPLETION = 33, PORT_STATUS_CHANGE = 34,
}
/** Bits of a TRB's last word. */
export const enum Tf { C = 1, TC = 2, ISP = 4, CH = 0x10, IOC = 0x20, IDT = 0x40, BSR = 0x200, DC = 0x200, TSP = 0x200, ED = 4 }
export const trbType = (control: number): Trb => (control >>> 10) & 63;

/** Completion codes (6.4.5). */
export const enum Cc {
  SUCCESS = 1, DATA_BUFFER = 2, TRB = 5, STALL = 6, NO_SLOTS = 9, SLOT_NOT_ENABLED = 11, ENDPOINT_NOT_ENABLED = 12, SHORT_PACKET = 13, PARAMETER = 17, CONTEXT_STATE = 19,
  COMMAND_RING_STOPPED = 24, STOPPED = 26,
}

export const CONTEXT_BYTES = 32;
/** Endpoint contexts of a device; number 0 is the slot's. */
export const ENDPOINTS = 32;
export const enum SlotState { DISABLED = 0, DEFAULT = 1, ADDRESSED = 2, CONFIGURED = 3 }
export const enum EpState { DISABLED = 0, RUNNING = 1, HALTED = 2, STOPPED = 3, ERROR = 4 }
