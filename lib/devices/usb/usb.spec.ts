/** Universal Serial Bus Specification 2.0, chapter 9: requests and descriptors. */

/** PORTSC's default speed numbers (xHCI 1.2, table 7-13). */
export const enum UsbSpeed { FULL = 1, LOW = 2, HIGH = 3, SUPER = 4 }

/** bmRequestType: direction, type, recipient (table 9-2). */
export const enum ReqType { IN = 0x80, TYPE = 0x60, STANDARD = 0, CLASS = 0x20, RECIPIENT = 0x1f, DEVICE = 0, INTERFACE = 1, ENDPOINT = 2 }

/** bRequest (table 9-4). */
export const enum Req { GET_STATUS = 0, CLEAR_FEATURE = 1, SET_FEATURE = 3, SET_ADDRESS = 5, GET_DESCRIPTOR = 6, GET_CONFIGURATION = 8, SET_CONFIGURATION = 9, GET_INTERFACE = 10, SET_INTERFACE = 11 }

/** Feature selectors (table 9-6). */
export const enum Feature { ENDPOINT_HALT = 0, DEVICE_REMOTE_WAKEUP = 1 }

/** Descriptor types (table 9-5; HID 1.11, 7.1). */
export const enum Desc { DEVICE = 1, CONFIGURATION = 2, STRING = 3, INTERFACE = 4, ENDPOINT = 5, DEVICE_QUALIFIER = 6, HID = 0x21, REPORT = 0x22 }

export const enum EndpointType { CONTROL = 0, ISOCHRONOUS = 1, BULK = 2, INTERRUPT = 3 }

/** Class codes. */
export const enum UsbClass { HID = 3, STORAGE = 8 }

/** The eight bytes of a SETUP packet (table 9-2). */
export interface Setup {
  bmRequestType: number;
  bRequest: number;
  wValue: number;
  wIndex: number;
  wLength: number;
}
