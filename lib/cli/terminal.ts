/** Joins the guest's serial port to standard input and output (or a file, or a socket), with the Ctrl-A escape. */
import { createWriteStream, fstatSync, statSync, type WriteStream } from 'node:fs';
import { type Endpoint, parseEndpoint } from '../control/endpoint.js';
import { UsageError } from '../errors.js';
import { mark } from '../machine/timeline.js';
import { MonitorLine } from './monitor-line.js';
import { checkOutput } from './output.js';
import type { VirtualMachine } from '../machine/virtual-machine.js';

const CTRL_A = 1;
const HELP = '\r\nCtrl-A H this help, Ctrl-A X quit, Ctrl-A C monitor and back, Ctrl-A P power button, Ctrl-A R reset, Ctrl-A Ctrl-A sends Ctrl-A\r\n';

/** Standard input is /dev/null. Node loads modules for some ms to find nothing there. */
function noInput(): boolean {
  try {
    const st = fstatSync(0);
    return st.isCharacterDevice() && st.rdev === statSync('/dev/null').rdev;
  } catch {
    // No such device, or no standard input: Node knows what to do.
    return false;
  }
}

export class Terminal {
  /** The text of --exit-on has appeared. */
  matched = false;
  private file: WriteStream | null = null;
  private escape = false;
  private tail = '';
  private raw = false;
  private listens = false;
  /** Where clients of the port are served; null: nowhere. */
  readonly endpoint: Endpoint | null;
  private readonly onInput = (chunk: Buffer): void => this.input(chunk);

  private vm!: VirtualMachine;
  /** The monitor, while it has the keyboard. */
  private monitor: MonitorLine | null = null;

  /** @throws UsageError if there is no such port or its file cannot be written. */
  constructor(
    private readonly mode: string,
    private readonly exitOn: string | null,
  ) {
    this.endpoint = /^(unix|tcp):/.test(mode) ? parseEndpoint(mode, '--serial') : null;
    if (mode.startsWith('file:')) checkOutput(mode.slice(5), '--serial');
    else if (this.endpoint === null && mode !== 'stdio' && mode !== 'none') throw new UsageError(`--serial: '${mode}' is not available (stdio, none, file:PATH, unix:PATH, tcp:[HOST:]PORT are)`);
  }

  open(vm: VirtualMachine): void {
    this.vm = vm;
    if (this.mode.startsWith('file:')) this.file = createWriteStream(this.mode.slice(5));
    this.file?.on('error', (e) => {
      process.stderr.write(`vmx-accel: --serial: ${e.message}\n`);
      void vm.stop();
    });
    vm.serial.on('data', (chunk: Buffer) => this.output(chunk));
    if (this.mode !== 'stdio') return;
    // Whoever reads our output has gone: so does the machine.
    process.stdout.on('error', () => void vm.stop());
    if (noInput()) return;
    this.listens = true;
    if (process.stdin.isTTY) {
      process.stdin.setRawMode(true);
      this.raw = true;
    }
    process.stdin.on('data', this.onInput);
    process.stdin.resume();
  }

  private output(chunk: Buffer): void {
    if (this.file !== null) this.file.write(chunk);
    else if (this.mode === 'stdio') process.stdout.write(chunk);
    if (this.exitOn === null || this.matched) return;
    const text = this.tail + chunk.toString('latin1');
    const want = Buffer.from(this.exitOn).toString('latin1');
    if (text.includes(want)) {
      this.matched = true;
      mark('--exit-on text seen');
      void this.vm.stop();
    }
    this.tail = text.slice(-want.length);
  }

  private input(chunk: Buffer): void {
    // Only a terminal has an escape key: a pipe passes every byte.
    if (!this.raw) {
      this.vm.serial.write(chunk);
      return;
    }
    const out: number[] = [];
    for (const b of chunk) {
      if (this.escape) {
        this.escape = false;
        this.command(b, out);
      } else if (b === CTRL_A) {
        this.escape = true;
      } else if (this.monitor !== null) {
        this.monitor.key(b);
      } else {
        out.push(b);
      }
    }
    if (out.length > 0) this.vm.serial.write(Buffer.from(out));
  }

  private command(b: number, out: number[]): void {
    switch (String.fromCharCode(b).toLowerCase()) {
      case 'x':
        void this.vm.stop();
        break;
      case 'c':
        this.monitor = this.monitor === null ? new MonitorLine(this.vm, (text) => process.stdout.write(text)) : null;
        break;
      case 'p':
        this.vm.powerButton();
        break;
      case 'r':
        this.vm.reset();
        break;
      case '\x01':
        out.push(CTRL_A);
        break;
      default:
        process.stdout.write(HELP);
    }
  }

  /** Resolves when all that the guest has printed has been passed on. A server of clients sees to that itself. */
  private async printed(): Promise<void> {
    const { serial } = this.vm;
    if (this.endpoint !== null || serial.readableEnded || serial.destroyed) return;
    await new Promise<void>((resolve) => {
      serial.once('end', resolve).once('close', resolve);
    });
  }

  /** After the machine's end. */
  async close(): Promise<void> {
    await this.printed();
    if (this.listens) {
      process.stdin.off('data', this.onInput);
      process.stdin.pause();
      if (this.raw) process.stdin.setRawMode(false);
      // It may still hold the event loop.
      process.stdin.unref?.();
    }
    const f = this.file;
    if (f !== null) await new Promise<void>((resolve) => f.end(() => resolve()));
  }
}
