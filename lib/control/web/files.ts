/** What browsers load: our page, and the modules of noVNC. Nothing else of the disk. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const UI = fileURLToPath(new URL('../../../ui/', import.meta.url));
/** Root of the noVNC package: its entry is core/rfb.js. */
const NOVNC = dirname(dirname(createRequire(import.meta.url).resolve('@novnc/novnc')));

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8' };
const PAGE: Readonly<Record<string, string>> = { '/console.html': 'index.html', '/machines.html': 'machines.html', '/machines.js': 'machines.js', '/console.js': 'console.js', '/terminal.js': 'terminal.js', '/console.css': 'console.css' };

/** Names of folders and files have letters, digits and hyphens only: no way out. */
const MODULE = /^\/novnc\/((?:core|vendor)(?:\/[A-Za-z0-9_-]+)+\.js)$/;

export interface WebFile {
  type: string;
  bytes: Buffer;
}

/** @returns null if there is no such file. */
export async function webFile(path: string): Promise<WebFile | null> {
  const module = MODULE.exec(path);
  const file = Object.hasOwn(PAGE, path) ? join(UI, PAGE[path]!) : module !== null ? join(NOVNC, module[1]!) : null;
  if (file === null) return null;
  try {
    return { type: TYPES[extname(file)]!, bytes: await readFile(file) };
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw e;
  }
}
