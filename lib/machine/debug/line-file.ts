/** A file that is written line by line through a buffer of bounded size, synchronously: nothing is lost when the guest crashes. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { UsageError } from '../../errors.js';

const BUFFER = 256 * 1024;

export class LineFile {
  private readonly fd: number;
  private readonly parts: string[] = [];
  private chars = 0;
  private open = true;

  /** @throws UsageError naming `option` if the file cannot be written. */
  constructor(path: string, option: string, append = false) {
    try {
      // Always O_APPEND: after truncate() the next write goes to the beginning.
      this.fd = openSync(path, 'a');
      if (!append) ftruncateSync(this.fd);
    } catch (e) {
      throw new UsageError(`${option}: cannot write ${path}: ${(e as Error).message}`, { cause: e });
    }
  }

  line(text: string): void {
    this.parts.push(text, '\n');
    this.chars += text.length + 1;
    if (this.chars >= BUFFER) this.flush();
  }

  flush(): void {
    if (this.chars === 0 || !this.open) return;
    const bytes = Buffer.from(this.parts.join(''));
    this.parts.length = 0;
    this.chars = 0;
    for (let at = 0; at < bytes.length; ) at += writeSync(this.fd, bytes, at);
  }

  /** Forgets everything written so far. */
  truncate(): void {
    this.parts.length = 0;
    this.chars = 0;
    ftruncateSync(this.fd);
  }

  close(): void {
    this.flush();
    if (this.open) closeSync(this.fd);
    this.open = false;
  }
}
