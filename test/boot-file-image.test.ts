/** Files on their way into guest memory. */
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FileImage } from '#lib/boot/file-image.js';
import { UsageError } from '#lib/index.js';
import { tempDir } from './cache/temp.js';

it('refuses a kernel larger than any memory in one line', () => {
  const file = join(tempDir(), 'big');
  const fd = openSync(file, 'w');
  ftruncateSync(fd, 6 * 2 ** 30);
  closeSync(fd);
  const read = (): Buffer => FileImage.use(file, '--kernel', (image) => image.bytes());
  expect(read).toThrow(UsageError);
  expect(read).toThrow(`--kernel: ${file} (6442450944 bytes) is too large`);
});
