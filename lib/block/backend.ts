/** Disk images as devices see them. Offsets and sizes in bytes; requests lie within the disk. */
export interface BlockBackend {
  /** Bytes, multiple of 512. */
  readonly size: number;
  readonly readonly: boolean;
  /** Fills dst from `offset`. @throws on I/O errors. */
  read(offset: number, dst: Uint8Array): void;
  write(offset: number, src: Uint8Array): void;
  /** Returns once everything written is on stable storage. */
  flush(): void;
  close(): void;
}
