/** Disassembly with binutils, where they are installed. For people who read dumps; nothing else depends on it. */
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What objdump calls 16-, 32- and 64-bit x86 code, and that of the other guests. */
export type ObjdumpMachine = 'i8086' | 'i386' | 'i386:x86-64' | 'riscv:rv64' | 'aarch64';

/** Distributions ship an objdump per architecture, except where one was built for all. */
const CROSS: Partial<Record<ObjdumpMachine, string>> = { 'riscv:rv64': 'riscv64-linux-gnu-objdump', aarch64: 'aarch64-linux-gnu-objdump' };

/**
 * Disassembles machine code (x86 in Intel syntax).
 * @param address of bytes[0], for jump targets
 * @returns the listing, one instruction a line, or a message if objdump is not installed.
 */
export function disassemble(bytes: Uint8Array, address: number | bigint, machine: ObjdumpMachine): string {
  const dir = mkdtempSync(join(tmpdir(), 'vmx-dump-'));
  try {
    const file = join(dir, 'code.bin');
    writeFileSync(file, bytes);
    const cross = CROSS[machine];
    const args = ['-D', '-b', 'binary', '-m', machine, ...(cross === undefined ? ['-M', 'intel'] : []), `--adjust-vma=0x${address.toString(16)}`, file];
    const run = (command: string): SpawnSyncReturns<string> => spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
    let r = run(cross ?? 'objdump');
    if (cross !== undefined && r.error !== undefined) r = run('objdump');
    if (r.error !== undefined || r.status !== 0) return `objdump is not available: ${r.error?.message ?? r.stderr}`;
    return r.stdout.slice(r.stdout.indexOf('<.data>:') + 9);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
