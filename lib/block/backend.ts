/**
 * Disk images as devices see them. Offsets and sizes in bytes; requests lie within the disk. Calls are synchronous: an
 * image is a file in the host's page cache, and a call takes the machine's thread no longer than the request itself.
 */
export interface BlockBackend {
  /** Bytes, multiple of 512. */
  readonly size: number;
  readonly readonly: boolean;
  /** Fills dst from `offset`. @throws on I/O errors. */
  read(offset: number, dst: Uint8Array): void;
  write(offset: number, src: Uint8Array): void;
  /** Returns once everything written is on stable storage. */
  flush(): void;
  /** The contents of the range are no longer needed: reads may give the old bytes or zeros, and go on giving the same. */
  discard(offset: number, length: number): void;
  /** The range reads as zeros afterwards. @param mayUnmap it need not keep its space. */
  writeZeroes(offset: number, length: number, mayUnmap: boolean): void;
  close(): void;
}

/** Sectors are the unit of image sizes, whatever a device tells its driver. */
export const SECTOR = 512;
