/** Why a socket could not listen, in words for the user. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';

/** @param path of the socket's file; null: an address and port. */
export function listenProblem(e: NodeJS.ErrnoException, path: string | null): string {
  switch (e.code) {
    case 'EADDRINUSE':
      return 'it is in use';
    case 'EACCES':
      // libuv says so of a missing folder, too.
      return path !== null && !existsSync(dirname(path)) ? 'there is no such folder' : 'permission denied';
    case 'ENOTDIR':
      return 'there is no such folder';
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'this host has no such address';
    default:
      return e.message;
  }
}
