/** SIGKILL in the middle of writes: what was flushed is there, and the image is in order. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkImage, createImage } from '#lib/block/tools.js';
import { hostTool, skipFor } from '../boot/guests.js';
import { Folder, noImages, open, tool } from './host.js';

const WRITER = fileURLToPath(new URL('kill-writer.mjs', import.meta.url));
const RECORD = 4096;
const RECORDS = 8192;
const ROUNDS = 20;

describe.skipIf(skipFor(noImages))('killed while writing', () => {
  let dir: Folder;
  beforeAll(() => (dir = new Folder()));
  afterAll(() => dir.remove());

  /** Starts the writer, kills it after `acknowledged` flushes. @returns the last record it said was safe. */
  function round(file: string, format: string, seed: number, acknowledged: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [WRITER, file, format, String(seed)], { stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      child.stdout.on('data', (d: Buffer) => {
        out += d.toString();
        if (out.split('\n').length > acknowledged) child.kill('SIGKILL');
      });
      child.on('error', reject);
      child.on('close', () => resolve(Number(out.slice(0, out.lastIndexOf('\n')).split('\n').at(-1))));
    });
  }

  it.each(['raw', 'qcow2'] as const)('%s', async (format) => {
    const file = dir.at(`disk.${format}`);
    createImage(file, { format, size: RECORD * RECORDS, clusterSize: 4096, option: 'test' });
    const expected = new Map<number, string>();
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const safe = await round(file, format, seed, 5 + ((seed * 37) % 150));
      expect(safe).toBeGreaterThan(0);
      for (let n = 1; n <= safe; n++) expected.set((n * 7919) % RECORDS, `seed ${seed} record ${n} `);
      // What came after the last flush may be there or not.
      for (let n = safe + 1; n <= safe + 6; n++) expected.delete((n * 7919) % RECORDS);
      if (format === 'qcow2') {
        expect(checkImage(file, 'auto', false, 'test')).toMatchObject({ corruptions: 0 });
        if (hostTool('qemu-img') === null) expect(JSON.parse(tool('sh', '-c', `qemu-img check --output=json '${file}' || [ $? = 3 ]`))).not.toHaveProperty('corruptions');
      }
      const d = open(file, { readonly: true, format });
      const b = Buffer.alloc(RECORD);
      for (const [at, text] of expected) {
        d.read(at * RECORD, b);
        expect(b.toString('latin1', 0, text.length)).toBe(text);
      }
      d.close();
    }
  }, 240_000);
});
