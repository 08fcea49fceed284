/** Keys by name and by the character they type, as scan codes of set 1 with E000h for the prefix (see Ps2Keyboard). US layout. */
import { UsageError } from '../errors.js';

/** A key going down or up. */
export interface KeyEvent {
  key: number;
  down: boolean;
}

const CODES: Record<string, number> = {
  esc: 0x01, minus: 0x0c, equal: 0x0d, backspace: 0x0e, tab: 0x0f, bracket_left: 0x1a, bracket_right: 0x1b, ret: 0x1c, ctrl: 0x1d,
  semicolon: 0x27, apostrophe: 0x28, grave_accent: 0x29, shift: 0x2a, backslash: 0x2b, comma: 0x33, dot: 0x34, slash: 0x35, shift_r: 0x36,
  kp_multiply: 0x37, asterisk: 0x37, alt: 0x38, spc: 0x39, caps_lock: 0x3a, num_lock: 0x45, scroll_lock: 0x46, kp_7: 0x47, kp_8: 0x48, kp_9: 0x49,
  kp_subtract: 0x4a, kp_4: 0x4b, kp_5: 0x4c, kp_6: 0x4d, kp_add: 0x4e, kp_1: 0x4f, kp_2: 0x50, kp_3: 0x51, kp_0: 0x52, kp_decimal: 0x53,
  sysrq: 0x54, less: 0x56, f11: 0x57, f12: 0x58, kp_enter: 0xe01c, ctrl_r: 0xe01d, kp_divide: 0xe035, print: 0xe037, alt_r: 0xe038,
  home: 0xe047, up: 0xe048, pgup: 0xe049, left: 0xe04b, right: 0xe04d, end: 0xe04f, down: 0xe050, pgdn: 0xe051, insert: 0xe052,
  delete: 0xe053, meta_l: 0xe05b, meta_r: 0xe05c, menu: 0xe05d, pause: 0xe11d,
};
const ALIASES: Record<string, string> = {
  enter: 'ret', return: 'ret', escape: 'esc', space: 'spc', del: 'delete', ins: 'insert', pageup: 'pgup', pagedown: 'pgdn', win: 'meta_l',
  meta: 'meta_l', control: 'ctrl', altgr: 'alt_r', period: 'dot', printscreen: 'print', capslock: 'caps_lock', numlock: 'num_lock',
};

/** The rows of the keyboard: plain and shifted characters from a first code on. */
const ROWS: readonly (readonly [number, string, string])[] = [
  [0x02, '1234567890-=', '!@#$%^&*()_+'],
  [0x10, 'qwertyuiop[]', 'QWERTYUIOP{}'],
  [0x1e, "asdfghjkl;'`", 'ASDFGHJKL:"~'],
  [0x2b, '\\zxcvbnm,./', '|ZXCVBNM<>?'],
  [0x39, ' ', ' '],
];
const CHARACTERS = new Map<string, { key: number; shift: boolean }>([
  ['\n', { key: CODES.ret!, shift: false }],
  ['\r', { key: CODES.ret!, shift: false }],
  ['\t', { key: CODES.tab!, shift: false }],
  ['\b', { key: CODES.backspace!, shift: false }],
  ['\x1b', { key: CODES.esc!, shift: false }],
]);
for (const [first, plain, shifted] of ROWS) {
  for (let i = 0; i < plain.length; i++) {
    CHARACTERS.set(shifted[i]!, { key: first + i, shift: true });
    CHARACTERS.set(plain[i]!, { key: first + i, shift: false });
    if (/[0-9a-z]/.test(plain[i]!)) CODES[plain[i]!] = first + i;
  }
}
for (let f = 1; f <= 10; f++) CODES[`f${f}`] = 0x3a + f;

/** A key by name, or its scan code as 0x1c or 0xe01c. @throws UsageError for an unknown key. */
export function keyCode(name: string): number {
  const n = name.toLowerCase();
  if (/^0x[0-9a-f]{1,4}$/.test(n)) return Number(n);
  const known = CODES[n] ?? CODES[ALIASES[n] ?? ''] ?? (n.length === 1 ? CHARACTERS.get(n)?.key : undefined);
  if (known === undefined) throw new UsageError(`no key '${name}' (examples: a, 7, f1, ret, esc, ctrl, alt, delete, up, kp_5)`);
  return known;
}

/** Keys pressed together, joined by hyphens: 'ctrl-alt-del'. They go down in this order and up in reverse. */
export function chord(text: string): KeyEvent[] {
  const keys = text.split('-').map(keyCode);
  return [...keys.map((key) => ({ key, down: true })), ...keys.reverse().map((key) => ({ key, down: false }))];
}

/** @throws UsageError for a character that no key types. */
export function typing(text: string): KeyEvent[] {
  const out: KeyEvent[] = [];
  for (const ch of text) {
    const c = CHARACTERS.get(ch);
    if (c === undefined) throw new UsageError(`no key types '${ch}' (US layout)`);
    if (c.shift) out.push({ key: CODES.shift!, down: true });
    out.push({ key: c.key, down: true }, { key: c.key, down: false });
    if (c.shift) out.push({ key: CODES.shift!, down: false });
  }
  return out;
}
