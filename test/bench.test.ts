import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const dir = fileURLToPath(new URL('../bench/', import.meta.url));
/** Files that are run, not imported by others. */
const benches = readdirSync(dir).filter((f) => f.endsWith('.mjs') && readFileSync(dir + f, 'utf8').startsWith(`// bench/${f.slice(0, -4)}:`));

describe('command line of the benches', () => {
  it('finds them', () => expect(benches.length).toBeGreaterThan(20));

  it.each(benches)('%s: --help says how it is used', (f) => {
    const run = spawnSync(process.execPath, [dir + f, '--help'], { encoding: 'utf8' });
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expect(run.stdout).toContain(`node bench/${f}`);
  });

  it('one line and status 2 for what is not understood', () => {
    const run = spawnSync(process.execPath, [`${dir}boot.mjs`, '--round', '3'], { encoding: 'utf8' });
    expect(run).toMatchObject({ status: 2, stdout: '', stderr: "boot: Unknown option '--round'; --help says what there is\n" });
    const number = spawnSync(process.execPath, [`${dir}boot.mjs`, '--rounds', 'many'], { encoding: 'utf8' });
    expect(number).toMatchObject({ status: 2, stdout: '', stderr: "boot: --rounds: 'many' is not a number\n" });
  });
});
