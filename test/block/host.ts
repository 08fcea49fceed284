/** What tests of images share: a folder, programs of the host, repeatable random numbers. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openImage, type OpenOptions } from '#lib/block/open.js';
import type { BlockBackend } from '#lib/block/backend.js';
import { noAddon } from '../boot/guests.js';

/** Reason why image tests cannot run here, or null. */
export const noImages = noAddon;

export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'vmx-block-'));
  at(name: string): string {
    return join(this.path, name);
  }
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Runs a program; @returns what it printed. @throws with its messages. */
export function tool(program: string, ...args: string[]): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/sbin:/usr/sbin` } });
  } catch (e) {
    const { stdout, stderr } = e as { stdout?: string; stderr?: string };
    throw new Error(`${program} ${args.join(' ')}: ${stdout ?? ''}${stderr ?? (e as Error).message}`, { cause: e });
  }
}

export function open(file: string, o: Partial<OpenOptions> = {}): BlockBackend {
  return openImage({ file, format: 'auto', readonly: false, snapshot: false, option: '--disk', ...o });
}

/** All bytes of an image. */
export function contents(image: BlockBackend): Buffer {
  const b = Buffer.alloc(image.size);
  image.read(0, b);
  return b;
}
