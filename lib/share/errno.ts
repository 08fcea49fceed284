/** Error numbers of Linux, which 9P2000.L carries (uapi/asm-generic/errno-base.h, errno.h). */
export const enum Errno {
  EPERM = 1, ENOENT = 2, EIO = 5, ENXIO = 6, EBADF = 9, EEXIST = 17, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, EMFILE = 24, EROFS = 30,
  ENAMETOOLONG = 36, ELOOP = 40, EPROTO = 71, EOPNOTSUPP = 95, ESTALE = 116,
}

/** A failure that the guest is told of. */
export class FolderError extends Error {
  constructor(readonly errno: Errno) {
    super(`errno ${errno}`);
  }
}

/** What the guest is told of something thrown by the file system. */
export function errnoOf(e: unknown): number {
  if (e instanceof FolderError) return e.errno;
  const n = (e as NodeJS.ErrnoException).errno;
  // Node has the system's number, negative.
  return typeof n === 'number' && n < 0 && n > -4096 ? -n : Errno.EIO;
}
