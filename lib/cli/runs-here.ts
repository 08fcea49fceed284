/** Which thread runs the machine of a `boot`: see docs/adr/0069. */
import { fstatSync } from 'node:fs';
import { createRequire } from 'node:module';

/**
 * Options of boots whose main thread serves others while the guest runs, or waits for them. A device may be one that does. The answer is about speed
 * alone: whatever the options are, both ways work.
 */
const SERVES = ['--device', '--display', '--gdb', '--net', '--port', '--qmp', '--screenshot'];
/** Serial ports that need nobody's attention. */
const QUIET_SERIAL = /^(stdio|none|file:.*)$/;

function isTerminal(fd: number): boolean {
  try {
    if (!fstatSync(fd).isCharacterDevice()) return false;
  } catch {
    // It has been closed.
    return false;
  }
  return (createRequire(import.meta.url)('node:tty') as typeof import('node:tty')).isatty(fd);
}

/**
 * True if nothing but the machine needs the main thread: no terminal, whose keys have to work whatever the machine does and where writing waits for
 * whoever is at the other end, and no servers.
 * @param argv what follows `boot`
 */
export function runsHere(argv: readonly string[]): boolean {
  for (let i = 0; i < argv.length; i++) {
    const [name, value = argv[i + 1] ?? ''] = /^([^=]*)(?:=(.*))?$/s.exec(argv[i]!)!.slice(1) as [string, string | undefined];
    if (SERVES.includes(name) || (name === '--serial' && !QUIET_SERIAL.test(value))) return false;
  }
  return !isTerminal(0) && !isTerminal(1);
}
