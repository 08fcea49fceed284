/** `--display term`: keys as terminals send them, and a text screen as a terminal is sent it. */
import { describe, expect, it } from 'vitest';
import { KeyDecoder, type TermKey } from '#lib/cli/term-keys.js';
import { parseDisplay } from '#lib/cli/display.js';
import { TerminalPainter, type TerminalText } from '#lib/display/terminal.js';
import { chord } from '#lib/machine/keys.js';
import { randomFrom } from '../devices/fuzz.js';

const keys = (text: string, flush = true): TermKey[] => new KeyDecoder().push(Buffer.from(text, 'latin1'), flush);

describe('keys of a terminal', () => {
  it('are keys of the machine', () => {
    for (const [sent, key] of [
      ['\r', 'ret'], ['\x7f', 'backspace'], ['\t', 'tab'], ['\x03', 'ctrl-c'], ['\x1a', 'ctrl-z'], ['\x1b[A', 'up'], ['\x1bOA', 'up'], ['\x1b[3~', 'delete'], ['\x1b[5~', 'pgup'], ['\x1bOP', 'f1'], ['\x1b[11~', 'f1'],
      ['\x1b[[A', 'f1'], ['\x1b[24~', 'f12'], ['\x1b[1;5D', 'ctrl-left'], ['\x1b[1;2A', 'shift-up'], ['\x1b[3;7~', 'alt-ctrl-delete'], ['\x1b[Z', 'shift-tab'], ['\x1bx', 'alt-x'], ['\x1b ', 'alt-spc'], ['\x1b', 'esc'],
    ] as const) {
      expect(keys(sent), JSON.stringify(sent)).toEqual([{ press: key }]);
      // The machine's keyboard has it.
      expect(() => chord(key)).not.toThrow();
    }
    expect(keys('aB!')).toEqual([{ type: 'a' }, { type: 'B' }, { type: '!' }]);
    expect(keys('\x1b\x1b[A')).toEqual([{ press: 'esc' }, { press: 'up' }]);
    // On no US keyboard.
    expect(keys('\xe4')).toEqual([]);
  });

  it('come in pieces', () => {
    const d = new KeyDecoder();
    expect(d.push(Buffer.from('\x1b'))).toEqual([]);
    expect(d.waiting).toBe(true);
    expect(d.push(Buffer.from('['))).toEqual([]);
    expect(d.push(Buffer.from('1;5'))).toEqual([]);
    expect(d.push(Buffer.from('Cx'))).toEqual([{ press: 'ctrl-right' }, { type: 'x' }]);
    expect(d.waiting).toBe(false);
  });

  it('have a way out', () => {
    expect(keys('\x01x')).toEqual([{ escape: 'x' }]);
    expect(keys('\x01D')).toEqual([{ escape: 'd' }]);
    const d = new KeyDecoder();
    expect(d.push(Buffer.from('\x01'))).toEqual([]);
    expect(d.push(Buffer.from('a'))).toEqual([{ escape: 'a' }]);
  });

  it('survive anything', () => {
    const random = randomFrom(3);
    const d = new KeyDecoder();
    const letters = '\x1b[O;0159~AZa\x01\xff';
    for (let i = 0; i < 20_000; i++) {
      const text = Array.from({ length: random() % 8 }, () => letters[random() % letters.length]!).join('');
      for (const k of d.push(Buffer.from(text, 'latin1'), random() % 4 === 0)) if ('press' in k) expect(() => chord(k.press)).not.toThrow();
    }
  });
});

const row = (text: string, attribute = 7): Uint16Array => Uint16Array.from(text.padEnd(8), (c) => c.charCodeAt(0) | (attribute << 8));
const screen = (lines: readonly Uint16Array[], cursor: TerminalText['cursor'] = null): TerminalText => ({ rows: [...lines], cursor });

describe('a text screen on a terminal', () => {
  it('is sent whole at first, and then what has changed', () => {
    const p = new TerminalPainter();
    const first = p.paint(screen([row('A:\\>'), row('')], { x: 4, y: 0 }), 80, 25);
    expect(first).toBe('\x1b[0m\x1b[2J\x1b[1;1H\x1b[0;37;40mA:\\>    \x1b[2;1H        \x1b[1;5H\x1b[?25h');
    expect(p.paint(screen([row('A:\\>'), row('')], { x: 4, y: 0 }), 80, 25)).toBe('');
    expect(p.paint(screen([row('A:\\>dir'), row('')], { x: 7, y: 0 }), 80, 25)).toBe('\x1b[1;5H\x1b[0;37;40mdir\x1b[1;8H\x1b[?25h');
    // The cursor alone; and none.
    expect(p.paint(screen([row('A:\\>dir'), row('')], { x: 0, y: 1 }), 80, 25)).toBe('\x1b[2;1H\x1b[?25h');
    expect(p.paint(screen([row('A:\\>dir'), row('')]), 80, 25)).toBe('\x1b[?25l');
  });

  it('has the colours of its attributes', () => {
    const p = new TerminalPainter();
    // Yellow on blue; white on red, blinking.
    expect(p.paint(screen([Uint16Array.of(0x1e41, 0xcf42)]), 80, 25)).toBe('\x1b[0m\x1b[2J\x1b[1;1H\x1b[0;93;44mA\x1b[0;97;41;5mB\x1b[?25l');
  });

  it('is cut off where the terminal ends, and has characters of its own', () => {
    const p = new TerminalPainter();
    expect(p.paint(screen([row('abcdefgh'), row('second')], { x: 7, y: 0 }), 3, 1)).toBe('\x1b[0m\x1b[2J\x1b[1;1H\x1b[0;37;40mabc\x1b[?25l');
    expect(new TerminalPainter().paint(screen([Uint16Array.of(0x7db, 0x71b, 0x700)]), 80, 25)).toContain('█← ');
  });
});

describe('--display', () => {
  it('names a server with its properties', () => {
    expect(parseDisplay('none')).toBeNull();
    expect(parseDisplay('vnc')).toEqual({ kind: 'vnc', endpoint: { kind: 'tcp', host: '127.0.0.1', port: 5900 }, password: null, websocket: null });
    expect(parseDisplay('vnc:0.0.0.0:5901,websocket=5701')).toMatchObject({ endpoint: { host: '0.0.0.0', port: 5901 }, websocket: { host: '127.0.0.1', port: 5701 } });
    expect(parseDisplay('web')).toEqual({ kind: 'web', endpoint: { kind: 'tcp', host: '127.0.0.1', port: 6080 }, token: null });
    expect(parseDisplay('term')).toEqual({ kind: 'term' });
    for (const bad of ['vnc,token=x', 'web,password=x', 'web,token', 'term,x=1', 'term:1', 'vnc:x', 'constructor', 'vnc,websocket=x', '']) expect(() => parseDisplay(bad), bad).toThrow(/^--display: /);
  });
});
