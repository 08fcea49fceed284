/** Disassembly with binutils, where they are installed. For people who read dumps; nothing else depends on it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What objdump calls 16-, 32- and 64-bit x86 code. */
export type ObjdumpMachine = 'i8086' | 'i386' | 'i386:x86-64';

/**
 * Disassembles machine code (Intel syntax).
 * @param address of bytes[0], for jump targets
 * @returns the listing, one instruction a line, or a message if objdump is not installed.
 */
export function disassemble(bytes: Uint8Array, address: number | bigint, machine: ObjdumpMachine): string {
  const dir = mkdtempSync(join(tmpdir(), 'vmx-dump-'));
  try {
    const file = join(dir, 'code.bin');
    writeFileSync(file, bytes);
    const r = spawnSync('objdump', ['-D', '-b', 'binary', '-m', machine, '-M', 'intel', `--adjust-vma=0x${address.toString(16)}`, file], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    if (r.error !== undefined || r.status !== 0) return `objdump is not available: ${r.error?.message ?? r.stderr}`;
    return r.stdout.slice(r.stdout.indexOf('<.data>:') + 9);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
