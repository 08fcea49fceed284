/** The options of the code cache (docs/AOT.md). */
import { CacheDirectory, defaultDirectory } from '../cache/directory.js';
import { UsageError } from '../errors.js';

export const AOT_MODES = ['on', 'off', 'verify'] as const;
/** `verify`: code that the cache has is translated all the same and compared. */
export type AotMode = (typeof AOT_MODES)[number];

export interface AotOptions {
  /** Keep generated code for the next run. Default off (the command line's default is on). */
  aot?: AotMode;
  /** Where; private to the user. Default: in the user's cache folder. */
  aotDir?: string;
  /** Most bytes that the directory may take. Default 512 MiB. */
  aotSize?: number;
}

export interface AotConfig {
  mode: AotMode;
  dir: string;
  /** The user named the directory: that it cannot be used is an error. */
  named: boolean;
  bytes: number;
}

const MIB = 1024 * 1024;
export const DEFAULT_AOT_BYTES = 512 * MIB;
const MIN_AOT_BYTES = MIB;

/** @throws UsageError with one line that names the option */
export function resolveAot(o: AotOptions): AotConfig {
  const mode = o.aot ?? 'off';
  if (!AOT_MODES.includes(mode)) throw new UsageError(`--aot: '${String(mode)}' is not available (${AOT_MODES.join(', ')} are)`);
  const bytes = o.aotSize ?? DEFAULT_AOT_BYTES;
  if (!(bytes >= MIN_AOT_BYTES)) throw new UsageError(`--aot-size: ${bytes} bytes is less than the minimum of 1M`);
  if (o.aotDir === '') throw new UsageError('--aot-dir: names no directory');
  if (o.aotDir !== undefined && mode !== 'off') CacheDirectory.open(o.aotDir);
  return { mode, dir: o.aotDir ?? defaultDirectory(), named: o.aotDir !== undefined, bytes };
}
