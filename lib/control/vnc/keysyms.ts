/** Keys by X keysyms (RFC 6143, 7.5.4; X11 keysymdef) as scan codes of set 1 with E000h for the prefix. US layout. */
import { keyCode } from '../../machine/keys.js';

const NAMES: Readonly<Record<number, string>> = {
  0xff08: 'backspace', 0xff09: 'tab', 0xff0d: 'ret', 0xff13: 'pause', 0xff14: 'scroll_lock', 0xff15: 'sysrq', 0xff1b: 'esc', 0xff50: 'home', 0xff51: 'left',
  0xff52: 'up', 0xff53: 'right', 0xff54: 'down', 0xff55: 'pgup', 0xff56: 'pgdn', 0xff57: 'end', 0xff61: 'print', 0xff63: 'insert', 0xff67: 'menu',
  0xff7f: 'num_lock', 0xff8d: 'kp_enter', 0xff95: 'kp_7', 0xff96: 'kp_4', 0xff97: 'kp_8', 0xff98: 'kp_6', 0xff99: 'kp_2', 0xff9a: 'kp_9', 0xff9b: 'kp_3',
  0xff9c: 'kp_1', 0xff9d: 'kp_5', 0xff9e: 'kp_0', 0xff9f: 'kp_decimal', 0xffaa: 'kp_multiply', 0xffab: 'kp_add', 0xffad: 'kp_subtract',
  0xffae: 'kp_decimal', 0xffaf: 'kp_divide', 0xffe1: 'shift', 0xffe2: 'shift_r', 0xffe3: 'ctrl', 0xffe4: 'ctrl_r', 0xffe5: 'caps_lock', 0xffe7: 'meta_l',
  0xffe8: 'meta_r', 0xffe9: 'alt', 0xffea: 'alt_r', 0xffeb: 'meta_l', 0xffec: 'meta_r', 0xffff: 'delete', 0xfe03: 'alt_r', 0xfe20: 'tab',
};
const KP_0 = 0xffb0;
const F1 = 0xffbe;

/** @returns the key, or -1 for one a US keyboard does not have. */
export function keyOfKeysym(keysym: number): number {
  const name = NAMES[keysym];
  if (name !== undefined) return keyCode(name);
  if (keysym >= KP_0 && keysym < KP_0 + 10) return keyCode(`kp_${keysym - KP_0}`);
  if (keysym >= F1 && keysym < F1 + 12) return keyCode(`f${keysym - F1 + 1}`);
  if (keysym < 0x20 || keysym > 0x7e) return -1;
  // The client sends Shift itself.
  const ch = String.fromCharCode(keysym);
  return ch === ' ' ? keyCode('spc') : keyCode(ch);
}

/** The key of QEMU's extended key event: scan code of set 1, bit 7 for the prefix E0h. @returns -1 for none. */
export function keyOfKeycode(code: number): number {
  if (code <= 0 || code > 0xff) return -1;
  return code & 0x80 ? 0xe000 | (code & 0x7f) : code;
}
