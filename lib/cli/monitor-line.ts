/** The monitor on a terminal in raw mode: a line of input with the usual editing keys, and the answers. */
import { Monitor } from '../control/monitor.js';
import type { VirtualMachine } from '../machine/virtual-machine.js';
import { VERSION } from './version.js';

const PROMPT = '(vmx) ';
const MAX_LINE = 1024;
const enum Key { CTRL_C = 3, BACKSPACE = 8, LF = 10, CR = 13, CTRL_U = 21, ESC = 27, SPACE = 32, DEL = 127 }

export class MonitorLine {
  private readonly monitor: Monitor;
  private line = '';
  /** Inside an escape sequence of the terminal, which is swallowed. */
  private sequence: 'none' | 'esc' | 'csi' = 'none';
  /** Commands run one after another. */
  private last: Promise<void> = Promise.resolve();

  constructor(
    vm: VirtualMachine,
    private readonly show: (text: string) => void,
  ) {
    this.monitor = new Monitor(vm, VERSION);
    this.show(`\r\nvmx-accel monitor: help lists the commands, Ctrl-A C goes back\r\n${PROMPT}`);
  }

  /** A byte from the keyboard. */
  key(b: number): void {
    if (this.sequence !== 'none') {
      this.sequence = this.sequence === 'esc' && b === 0x5b ? 'csi' : this.sequence === 'csi' && b < 0x40 ? 'csi' : 'none';
      return;
    }
    switch (b) {
      case Key.ESC:
        this.sequence = 'esc';
        break;
      case Key.CR:
      case Key.LF:
        this.enter();
        break;
      case Key.BACKSPACE:
      case Key.DEL:
        if (this.line.length === 0) break;
        this.line = this.line.slice(0, -1);
        this.show('\b \b');
        break;
      case Key.CTRL_C:
      case Key.CTRL_U:
        this.show(`${'\b \b'.repeat(this.line.length)}`);
        this.line = '';
        break;
      default:
        if (b < Key.SPACE || b > Key.DEL || this.line.length >= MAX_LINE) break;
        this.line += String.fromCharCode(b);
        this.show(String.fromCharCode(b));
    }
  }

  private enter(): void {
    const line = this.line;
    this.line = '';
    this.show('\r\n');
    this.last = this.last.then(async () => {
      const answer = await this.monitor.run(line);
      this.show(`${answer.replaceAll('\n', '\r\n')}${PROMPT}`);
    });
  }
}
