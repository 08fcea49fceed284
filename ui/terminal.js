/**
 * A serial console without cursor addressing: printable text, CR, LF, BS and TAB; escape sequences of terminals are read over. What a
 * full-screen program draws is for a real terminal (`--serial stdio`).
 */
const MAX_LINES = 5000;
const PLAIN = 0;
const ESC = 1;
const CSI = 2;
const STRING = 3;

/** What keys send that are no characters. */
const KEYS = {
  Enter: '\r', Backspace: '\x7f', Tab: '\t', Escape: '\x1b', ArrowUp: '\x1b[A', ArrowDown: '\x1b[B', ArrowRight: '\x1b[C', ArrowLeft: '\x1b[D', Home: '\x1b[H', End: '\x1b[F',
  Delete: '\x1b[3~', PageUp: '\x1b[5~', PageDown: '\x1b[6~',
};

/** @returns what a key event sends, or null: it belongs to the browser. */
function keyText(e) {
  if (e.metaKey || e.altKey) return null;
  if (KEYS[e.key] !== undefined) return KEYS[e.key];
  if (e.key.length !== 1) return null;
  if (!e.ctrlKey) return e.key;
  // Copying stays possible: Ctrl-C with a selection.
  if (e.key === 'c' && !window.getSelection().isCollapsed) return null;
  const code = e.key.toUpperCase().charCodeAt(0);
  return code >= 0x40 && code < 0x60 ? String.fromCharCode(code & 31) : null;
}

export class Terminal {
  /** @param send gets what is typed. */
  constructor(element, send) {
    this.element = element;
    this.lines = [''];
    this.column = 0;
    this.state = PLAIN;
    this.decoder = new TextDecoder();
    this.scheduled = false;
    element.addEventListener('keydown', (e) => {
      const text = keyText(e);
      if (text === null) return;
      e.preventDefault();
      send(text);
    });
    element.addEventListener('paste', (e) => {
      e.preventDefault();
      send(e.clipboardData.getData('text').replaceAll('\r\n', '\r').replaceAll('\n', '\r'));
    });
  }

  write(bytes) {
    for (const c of this.decoder.decode(bytes, { stream: true })) this.put(c);
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.element.textContent = this.lines.join('\n');
      const view = this.element.parentElement;
      view.scrollTop = view.scrollHeight;
    });
  }

  get line() {
    return this.lines[this.lines.length - 1];
  }

  set line(text) {
    this.lines[this.lines.length - 1] = text;
  }

  put(c) {
    switch (this.state) {
      case ESC:
        this.state = c === '[' ? CSI : c === ']' || c === 'P' ? STRING : PLAIN;
        return;
      case CSI:
        if (c < '@' || c > '~') return;
        this.state = PLAIN;
        // Erase to the end: what line editors do after each key.
        if (c === 'K' || c === 'J') this.line = this.line.slice(0, this.column);
        return;
      case STRING:
        if (c === '\x07') this.state = PLAIN;
        else if (c === '\x1b') this.state = ESC;
        return;
    }
    switch (c) {
      case '\x1b':
        this.state = ESC;
        break;
      case '\r':
        this.column = 0;
        break;
      case '\n':
        this.lines.push('');
        if (this.lines.length > MAX_LINES) this.lines.splice(0, this.lines.length - MAX_LINES);
        this.column = 0;
        break;
      case '\b':
        this.column = Math.max(0, this.column - 1);
        break;
      case '\t':
        for (let n = 8 - (this.column & 7); n > 0; n--) this.put(' ');
        break;
      default:
        if (c < ' ') break;
        this.line = this.line.slice(0, this.column).padEnd(this.column) + c + this.line.slice(this.column + 1);
        this.column++;
    }
  }
}
