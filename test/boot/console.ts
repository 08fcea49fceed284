/** Talks to a guest over its serial port: waits for text, types, and runs shell commands. */
import { appendFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import type { VirtualMachine } from '#lib/index.js';

/** File that receives what guests print, for whoever debugs a test. */
const LOG = process.env.VMX_TEST_CONSOLE;

interface Waiter {
  pattern: RegExp;
  resolve: (m: RegExpExecArray) => void;
  reject: (e: Error) => void;
}

export class Console {
  /** Everything printed so far. */
  text = '';
  private from = 0;
  private closed = false;
  private readonly waiters: Waiter[] = [];
  private readonly serial: Duplex;

  constructor(vm: VirtualMachine) {
    this.serial = vm.serial;
    this.serial.on('data', (chunk: Buffer) => {
      if (LOG !== undefined) appendFileSync(LOG, chunk);
      this.text += chunk.toString('latin1');
      this.check();
    });
    this.serial.on('end', () => {
      this.closed = true;
      this.check();
    });
  }

  private check(): void {
    for (let w = this.waiters[0]; w !== undefined; w = this.waiters[0]) {
      const m = w.pattern.exec(this.text.slice(this.from));
      if (m !== null) {
        this.from += m.index + m[0].length;
        this.waiters.shift();
        w.resolve(m);
      } else if (this.closed || this.text.includes('Kernel panic')) {
        const what = this.closed ? 'the console ended' : 'the kernel panicked';
        this.waiters.shift();
        w.reject(new Error(`${what} before ${String(w.pattern)}; last output:\n${this.text.slice(-3000)}`));
      } else {
        return;
      }
    }
  }

  /** Resolves when the pattern appears in output that no earlier call has consumed. */
  until(pattern: RegExp | string): Promise<RegExpExecArray> {
    const re = typeof pattern === 'string' ? new RegExp(pattern.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')) : pattern;
    return new Promise((resolve, reject) => {
      this.waiters.push({ pattern: re, resolve, reject });
      this.check();
    });
  }

  type(text: string): void {
    this.serial.write(text);
  }

  /**
   * Runs a shell command. The marks are quoted so that the echo of what is typed does not look like them; no line end is waited for, since a message of the kernel's may
   * come before it.
   */
  async run(command: string): Promise<{ output: string; status: number }> {
    this.type(`echo "<<"go">>"; ${command}; echo "<<"end:$?">>"\n`);
    const go = await this.until(/<<go>>(\r?\n)?/);
    const m = await this.until(/([^]*?)<<end:(\d+)>>/);
    // The first mark's line end may have come later.
    const output = go[1] === undefined ? m[1]!.replace(/^\r?\n/, '') : m[1]!;
    return { output: output.replaceAll('\r', '').trimEnd(), status: Number(m[2]) };
  }
}
