/** Debugging aid for developers: disassembles generated code with binutils. Not used in production. */
import { disassemble } from '../../debug/objdump.js';

/** @param address host address of bytes[0], for jump targets */
export function dumpHostCode(bytes: Uint8Array, address: number): string {
  return disassemble(bytes, address, 'i386:x86-64');
}
