/** Runs commands in a POSIX shell at the other end of a stream: the serial console, a port, a socket. */
import type { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { VmxError } from '../errors.js';

export interface ShellResult {
  /** Standard output and error, with line ends as '\n' and without those at the end. */
  output: string;
  status: number;
}

const DEFAULT_TIMEOUT_MS = 60_000;
/** Output of one command that is kept. */
const MAX_OUTPUT = 64 << 20;

export class Shell {
  private text = '';
  private readonly decoder = new StringDecoder('utf8');
  private waiting: { pattern: RegExp; done: (m: RegExpExecArray | null) => void } | null = null;
  private busy: Promise<unknown> = Promise.resolve();
  private count = 0;
  private over = false;

  /** @param stream what a shell reads and writes; somebody is logged in, and its prompt is there or will be. */
  constructor(private readonly stream: Duplex) {
    stream.on('data', (b: Buffer) => {
      this.text += this.decoder.write(b);
      if (this.text.length > MAX_OUTPUT) this.text = this.text.slice(-MAX_OUTPUT);
      this.look();
    });
    const end = (): void => {
      this.over = true;
      this.look();
    };
    stream.on('end', end).on('close', end).on('error', end);
  }

  /**
   * Runs a command and waits for its end; one after the other.
   * @param o.timeout ms; default 60000
   * @throws VmxError ERR_TIMEOUT, ERR_CLOSED if the stream ends before
   */
  exec(command: string, o: { timeout?: number } = {}): Promise<ShellResult> {
    const run = this.busy.then(() => this.run(command, o.timeout ?? DEFAULT_TIMEOUT_MS));
    this.busy = run.catch(() => {});
    return run;
  }

  private async run(command: string, timeout: number): Promise<ShellResult> {
    const mark = `${process.pid}-${++this.count}`;
    this.text = '';
    // The marks are in pieces, so that the echo of what is typed does not look like them.
    this.stream.write(`echo "<vmx-""begin ${mark}>"; { ${command}\n}; echo "<vmx-""end ${mark} $?>"\n`);
    const m = await this.until(new RegExp(`<vmx-begin ${mark}>(?:\\r?\\n)?([^]*?)<vmx-end ${mark} (\\d+)>`), timeout);
    if (m === null) throw new VmxError('ERR_CLOSED', `the stream ended before the command did: ${command}`);
    return { output: m[1]!.replaceAll('\r', '').trimEnd(), status: Number(m[2]) };
  }

  private until(pattern: RegExp, timeout: number): Promise<RegExpExecArray | null> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting = null;
        reject(new VmxError('ERR_TIMEOUT', `the command has not ended within ${timeout} ms; its output so far:\n${this.text.slice(-2000)}`));
      }, timeout);
      this.waiting = {
        pattern,
        done: (m) => {
          clearTimeout(timer);
          this.waiting = null;
          resolve(m);
        },
      };
      this.look();
    });
  }

  private look(): void {
    const m = this.waiting?.pattern.exec(this.text) ?? null;
    if (m !== null || this.over) this.waiting?.done(m);
  }
}
