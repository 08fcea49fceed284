/** Event types and codes of virtio-input, which are those of Linux's input layer (uapi/linux/input-event-codes.h). */

export const enum Ev { SYN = 0, KEY = 1, REL = 2, ABS = 3, MSC = 4, LED = 17, REP = 20 }
export const enum Rel { X = 0, Y = 1, WHEEL = 8 }
export const enum Abs { X = 0, Y = 1 }
export const enum Led { NUM_LOCK = 0, CAPS_LOCK = 1, SCROLL_LOCK = 2 }
/** Codes of buttons in the order of the bits of `Button`. */
export const BUTTON_KEYS: readonly number[] = [0x110, 0x111, 0x112, 0x113, 0x114];

/** Codes of keys with the prefix E0, and E1 for Pause. The others are numbered as in scan code set 1. */
const EXTENDED: Readonly<Record<number, number>> = {
  0xe01c: 96, 0xe01d: 97, 0xe035: 98, 0xe037: 99, 0xe038: 100, 0xe047: 102, 0xe048: 103, 0xe049: 104, 0xe04b: 105, 0xe04d: 106, 0xe04f: 107,
  0xe050: 108, 0xe051: 109, 0xe052: 110, 0xe053: 111, 0xe020: 113, 0xe02e: 114, 0xe030: 115, 0xe05e: 116, 0xe11d: 119, 0xe05b: 125, 0xe05c: 126,
  0xe05d: 127, 0xe05f: 142,
};
const SYSRQ = 99;
const LAST_PLAIN = 0x58;

/** Key code of a scan code of set 1, or 0 for one that no key has. */
export function keyOfScanCode(code: number): number {
  if (code === 0x54) return SYSRQ;
  if (code > 0 && code <= LAST_PLAIN) return code;
  return EXTENDED[code] ?? 0;
}

/** Every key code that keyOfScanCode gives. */
export const ALL_KEYS: readonly number[] = [...new Set([...Array.from({ length: LAST_PLAIN }, (_, i) => keyOfScanCode(i + 1)), ...Object.values(EXTENDED)])];
