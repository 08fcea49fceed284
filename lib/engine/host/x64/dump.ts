/** Debugging aid for developers: disassembles generated code with binutils. Not used in production. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Disassembles machine code with objdump (Intel syntax).
 * @param address host address of bytes[0], for jump targets
 * @returns the listing, one instruction a line, or a message if objdump is not installed.
 */
export function dumpHostCode(bytes: Uint8Array, address: number): string {
  const dir = mkdtempSync(join(tmpdir(), 'vmx-dump-'));
  try {
    const file = join(dir, 'code.bin');
    writeFileSync(file, bytes);
    const r = spawnSync('objdump', ['-D', '-b', 'binary', '-m', 'i386:x86-64', '-M', 'intel', `--adjust-vma=0x${address.toString(16)}`, file], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    if (r.error !== undefined || r.status !== 0) return `objdump is not available: ${r.error?.message ?? r.stderr}`;
    return r.stdout.slice(r.stdout.indexOf('<.data>:') + 9);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
