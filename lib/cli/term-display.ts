/** `--display term`: text modes drawn in this terminal, whose keyboard is the machine's. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TerminalPainter } from '../display/terminal.js';
import { UsageError, VmxError } from '../errors.js';
import type { VirtualMachine } from '../machine/virtual-machine.js';
import { KeyDecoder, type TermKey } from './term-keys.js';

const FRAME_MS = 40;
/** After so long a lone ESC is the key and no sequence. */
const ESC_MS = 50;
const HELP = 'Ctrl-A X quit  H this help  D Ctrl-Alt-Del  P power button  R reset  A sends Ctrl-A';

export class TermDisplay {
  private readonly painter = new TerminalPainter();
  private readonly keys = new KeyDecoder();
  private flush: NodeJS.Timeout | null = null;
  private typed: Promise<void> = Promise.resolve();
  private running = true;
  private note = HELP;
  private readonly onInput = (b: Buffer): void => this.input(b);
  private readonly onResize = (): void => {
    this.painter.forget();
    this.note ||= ' ';
  };

  private constructor(private readonly vm: VirtualMachine) {}

  /** Takes the terminal until the machine ends. @throws UsageError if there is none */
  static open(vm: VirtualMachine): TermDisplay {
    if (!process.stdin.isTTY || !process.stdout.isTTY) throw new UsageError('--display: term needs a terminal');
    const d = new TermDisplay(vm);
    process.stdin.setRawMode(true);
    process.stdin.on('data', d.onInput);
    process.stdin.resume();
    process.stdout.on('resize', d.onResize);
    // The alternate screen: what was there comes back at the end.
    process.stdout.write('\x1b[?1049h\x1b[2J');
    void d.draw();
    return d;
  }

  /** Gives the terminal back. */
  close(): void {
    if (!this.running) return;
    this.running = false;
    if (this.flush !== null) clearTimeout(this.flush);
    process.stdin.off('data', this.onInput);
    process.stdout.off('resize', this.onResize);
    process.stdin.setRawMode(false);
    process.stdin.pause();
    process.stdin.unref();
    process.stdout.write('\x1b[0m\x1b[?25h\x1b[?1049l');
  }

  private async draw(): Promise<void> {
    let picture = '';
    while (this.running) {
      // A terminal may not know its size.
      const columns = process.stdout.columns || 80;
      const rows = process.stdout.rows || 25;
      const text = await this.vm.screen.cells();
      if (!this.running) return;
      let out = '';
      if (text !== null) {
        out = this.painter.paint(text, columns, rows);
        picture = '';
      } else if (picture === '') {
        picture = 'The screen shows a picture (see --display vnc or web), or is off.';
        out = `\x1b[0m\x1b[2J\x1b[1;1H${picture.slice(0, columns)}\x1b[?25l`;
        this.painter.forget();
      }
      // The last line of a larger terminal is for notes.
      if (this.note !== '' && rows > (text?.rows.length ?? 0)) out += `\x1b7\x1b[${rows};1H\x1b[0;7m${this.note.slice(0, columns).padEnd(columns)}\x1b[0m\x1b8`;
      this.note = '';
      if (out !== '') process.stdout.write(out);
      await sleep(FRAME_MS, undefined, { ref: false });
    }
  }

  private input(b: Buffer): void {
    if (this.flush !== null) clearTimeout(this.flush);
    this.flush = null;
    for (const k of this.keys.push(b)) this.key(k);
    if (!this.keys.waiting) return;
    this.flush = setTimeout(() => {
      for (const k of this.keys.push(new Uint8Array(0), true)) this.key(k);
    }, ESC_MS);
  }

  private key(k: TermKey): void {
    if ('escape' in k) {
      this.command(k.escape);
      return;
    }
    this.typed = this.typed
      .then(() => ('press' in k ? this.vm.keyboard.press(k.press) : this.vm.keyboard.type(k.type)))
      .catch((e: unknown) => {
        // A key that the machine's keyboard lacks: said, and the next one counts.
        if (!(e instanceof VmxError)) throw e;
        this.note = e.message;
      });
  }

  private command(c: string): void {
    switch (c) {
      case 'x':
        void this.vm.stop();
        break;
      case 'd':
        this.key({ press: 'ctrl-alt-delete' });
        break;
      case 'p':
        this.vm.powerButton();
        break;
      case 'r':
        this.vm.reset();
        break;
      case 'a':
        this.key({ press: 'ctrl-a' });
        break;
      default:
        this.note = HELP;
    }
  }
}
