/** A VGA text screen as what a terminal is sent (ECMA-48): only cells that have changed, in the sixteen colours of the attribute byte. */
import { fromCp437 } from './cp437.js';

export interface TerminalText {
  /** Cells: character code of page 437 in bits 0..7, attribute in 8..15. */
  readonly rows: readonly Uint16Array[];
  readonly cursor: { x: number; y: number } | null;
}

/** VGA counts blue 1, green 2, red 4; terminals red 1, green 2, blue 4. */
const swap = (colour: number): number => ((colour & 1) << 2) | (colour & 2) | ((colour >> 2) & 1);

/** Select Graphic Rendition for an attribute: foreground with intensity, background, blink. */
function sgr(attribute: number): string {
  const fg = (attribute & 8 ? 90 : 30) + swap(attribute);
  return `\x1b[0;${fg};${40 + swap(attribute >> 4)}${attribute & 0x80 ? ';5' : ''}m`;
}

const one = new Uint8Array(1);
function character(code: number): string {
  one[0] = code;
  const c = fromCp437(one);
  return c < ' ' ? ' ' : c;
}

export class TerminalPainter {
  private shown: Uint16Array[] = [];
  private cursor = '';

  /** Everything is sent again. */
  forget(): void {
    this.shown = [];
    this.cursor = '';
  }

  /** What to send for the terminal to show `text`; '' if nothing has changed. What does not fit into `columns` by `lines` is cut off. */
  paint(text: TerminalText, columns: number, lines: number): string {
    let out = '';
    let attribute = -1;
    const height = Math.min(lines, text.rows.length);
    if (this.shown.length !== height || (this.shown[0]?.length ?? 0) !== (text.rows[0]?.length ?? 0)) {
      out += '\x1b[0m\x1b[2J';
      this.shown = text.rows.slice(0, height).map((r) => new Uint16Array(r.length).fill(0xffff));
      this.cursor = '';
    }
    for (let y = 0; y < height; y++) {
      const row = text.rows[y]!;
      const shown = this.shown[y]!;
      let at = -1;
      for (let x = 0; x < Math.min(columns, row.length); x++) {
        const cell = row[x]!;
        if (shown[x] === cell) continue;
        if (at !== x) out += `\x1b[${y + 1};${x + 1}H`;
        if (cell >> 8 !== attribute) out += sgr((attribute = cell >> 8));
        out += character(cell & 0xff);
        at = x + 1;
      }
      shown.set(row);
    }
    const c = text.cursor;
    const cursor = c === null || c.y >= height || c.x >= columns ? '\x1b[?25l' : `\x1b[${c.y + 1};${c.x + 1}H\x1b[?25h`;
    if (out !== '' || cursor !== this.cursor) out += cursor;
    this.cursor = cursor;
    return out;
  }
}
