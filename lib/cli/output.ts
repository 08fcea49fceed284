/** Output files are looked at before anything runs, and made only when there is something to write. */
import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { UsageError } from '../errors.js';

/** @throws UsageError that names the option if the file could not be written. */
export function checkOutput(file: string, option: string): void {
  const there = statSync(file, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw new UsageError(`${option}: cannot write ${file}: it is a directory`);
  try {
    accessSync(there ? file : dirname(file), constants.W_OK);
  } catch (e) {
    const missing = (e as NodeJS.ErrnoException).code === 'ENOENT';
    throw new UsageError(`${option}: cannot write ${file}: ${missing ? 'there is no such folder' : (e as Error).message}`, { cause: e });
  }
}
