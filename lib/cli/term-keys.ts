/** What a terminal sends for its keys, as keys of the machine (see lib/machine/keys.ts). */

/** Keys pressed together, or text to be typed. */
export type TermKey = { press: string } | { type: string } | { escape: string };

const CTRL_A = 1;
const ESC = 0x1b;
/** Final characters and numbers of control sequences: xterm's, and the Linux console's where they differ. */
const LETTERS: Readonly<Record<string, string>> = { A: 'up', B: 'down', C: 'right', D: 'left', F: 'end', H: 'home', P: 'f1', Q: 'f2', R: 'f3', S: 'f4', Z: 'shift-tab' };
const NUMBERS: Readonly<Record<string, string>> = {
  1: 'home', 2: 'insert', 3: 'delete', 4: 'end', 5: 'pgup', 6: 'pgdn', 11: 'f1', 12: 'f2', 13: 'f3', 14: 'f4', 15: 'f5', 17: 'f6', 18: 'f7', 19: 'f8', 20: 'f9', 21: 'f10', 23: 'f11', 24: 'f12',
};
const LINUX_F: Readonly<Record<string, string>> = { A: 'f1', B: 'f2', C: 'f3', D: 'f4', E: 'f5' };
/** xterm: the parameter is 1 plus these bits. */
const MODIFIERS = ['shift', 'alt', 'ctrl'] as const;
const CONTROL: Readonly<Record<number, string>> = { 0: 'ctrl-spc', 8: 'ctrl-h', 9: 'tab', 10: 'ret', 13: 'ret', 0x1c: 'ctrl-backslash', 0x1d: 'ctrl-bracket_right', 0x1e: 'ctrl-6', 0x1f: 'ctrl-minus', 0x7f: 'backspace' };

export class KeyDecoder {
  /** Bytes of a sequence that has not ended. */
  private pending = '';
  /** Ctrl-A was pressed. */
  private escaped = false;

  /** @param flush nothing follows soon: a lone ESC is the key. */
  push(bytes: Uint8Array, flush = false): TermKey[] {
    const out: TermKey[] = [];
    let text = this.pending + Buffer.from(bytes).toString('latin1');
    this.pending = '';
    while (text !== '') {
      const n = this.one(text, flush, out);
      if (n === 0) {
        this.pending = text;
        break;
      }
      text = text.slice(n);
    }
    return out;
  }

  /** Bytes wait for what follows: call push with none and `flush` after a while. */
  get waiting(): boolean {
    return this.pending !== '';
  }

  /** @returns how many bytes were a key; 0: more are needed. */
  private one(text: string, flush: boolean, out: TermKey[]): number {
    const c = text.charCodeAt(0);
    if (this.escaped) {
      this.escaped = false;
      out.push({ escape: text[0]!.toLowerCase() });
      return 1;
    }
    if (c === CTRL_A) {
      this.escaped = true;
      return 1;
    }
    if (c === ESC) return this.sequence(text, flush, out);
    const control = CONTROL[c];
    if (control !== undefined) out.push({ press: control });
    else if (c < 0x20) out.push({ press: `ctrl-${String.fromCharCode(c + 0x60)}` });
    else if (c < 0x7f) out.push({ type: text[0]! });
    // Characters beyond ASCII are on no key of a US keyboard.
    return 1;
  }

  private sequence(text: string, flush: boolean, out: TermKey[]): number {
    const complete = /^\x1b(?:O([A-Za-z])|\[\[([A-E])|\[(\d*)(?:;(\d+))?([A-Za-z~]))/.exec(text);
    if (complete !== null) {
      const [whole, ss3, linux, number, modifier, final] = complete;
      const key = ss3 !== undefined ? LETTERS[ss3] : linux !== undefined ? LINUX_F[linux] : final === '~' ? NUMBERS[number!] : LETTERS[final!];
      const bits = modifier === undefined ? 0 : Number(modifier) - 1;
      if (key !== undefined) out.push({ press: [...MODIFIERS.filter((_, i) => (bits >> i) & 1), key].join('-') });
      return whole.length;
    }
    // The beginning of one, or the key itself.
    if (!flush && (text === '\x1b' || /^\x1b(O|\[\[?[\d;]*)$/.test(text))) return 0;
    const next = text.charCodeAt(1);
    if (next >= 0x20 && next < 0x7f && text[1] !== '[' && text[1] !== 'O') {
      const c = text[1]!;
      out.push({ press: `alt-${c === ' ' ? 'spc' : c === '-' ? 'minus' : c}` });
      return 2;
    }
    out.push({ press: 'esc' });
    return 1;
  }
}
