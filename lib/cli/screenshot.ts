/** `--screenshot FILE.png[@SECONDS]`: pictures of the display while the machine runs (with @) and when it has ended. */
import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { UsageError } from '../errors.js';
import type { VirtualMachine } from '../machine/virtual-machine.js';

interface Shot {
  file: string;
  /** Seconds after the start; null: at the end. */
  at: number | null;
  taken: boolean;
}

/** @throws UsageError for what cannot become a file. */
export function parseShot(text: string): Shot {
  const m = /^(.+)@(\d+(?:\.\d+)?)$/.exec(text);
  const file = m?.[1] ?? text;
  if (file === '' || file.endsWith('@')) throw new UsageError(`--screenshot: '${text}' is not FILE.png or FILE.png@SECONDS`);
  if (!/\.png$/i.test(file)) throw new UsageError(`--screenshot: ${file}: only PNG files are written (name it .png)`);
  const folder = dirname(file);
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    throw new UsageError(`--screenshot: ${folder} is not a folder that can be written to`);
  }
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`--screenshot: ${file} is a directory`);
  return { file, at: m ? Number(m[2]) : null, taken: false };
}

export class Screenshots {
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly pending: Promise<void>[] = [];

  constructor(
    private readonly shots: Shot[],
    private readonly vm: VirtualMachine,
  ) {}

  /** Call when the machine starts. */
  start(): void {
    for (const s of this.shots) {
      if (s.at !== null) this.timers.push(setTimeout(() => this.pending.push(this.take(s)), s.at * 1000));
    }
  }

  /** Call when the machine has ended: whatever has not been taken shows how it ended. */
  async finish(): Promise<void> {
    for (const t of this.timers) clearTimeout(t);
    await Promise.all(this.pending);
    for (const s of this.shots) if (!s.taken) await this.take(s);
  }

  private async take(s: Shot): Promise<void> {
    s.taken = true;
    try {
      writeFileSync(s.file, await this.vm.screen.png());
    } catch (e) {
      process.stderr.write(`vmx-accel: --screenshot: ${s.file}: ${(e as Error).message}\n`);
    }
  }
}
