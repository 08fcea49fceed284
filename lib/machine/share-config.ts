/** `--share FOLDER,tag=NAME[,readonly]`: folders of the host that the guest may use. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { UsageError } from '../errors.js';
import { suggestion } from '../suggest.js';

export interface ShareOptions {
  path: string;
  /** What the guest mounts it by: 1 to 31 printable ASCII characters. Default: share0, share1, ... */
  tag?: string;
  readonly?: boolean;
}

export interface ShareConfig {
  path: string;
  tag: string;
  readonly: boolean;
}

const KEYS = ['tag', 'readonly'];

/** @param parts text cut at its commas. @throws UsageError */
function parseShare(text: string, parts: readonly string[]): ShareOptions {
  const [path, ...rest] = parts;
  if (path === undefined || path === '') throw new UsageError(`--share: '${text}' names no folder`);
  const o: ShareOptions = { path };
  for (const part of rest) {
    const eq = part.indexOf('=');
    const key = eq < 0 ? part : part.slice(0, eq);
    const value = eq < 0 ? undefined : part.slice(eq + 1);
    if (!KEYS.includes(key)) throw new UsageError(`--share: unknown property '${key}'${suggestion(key, KEYS)}`);
    if (key === 'tag') o.tag = value ?? '';
    else if (value !== undefined && value !== 'on' && value !== 'off') throw new UsageError(`--share: readonly=${value} must be on or off`);
    else o.readonly = value !== 'off';
  }
  return o;
}

/** @throws UsageError */
export function resolveShares(list: readonly (string | ShareOptions)[], commaParts: (text: string) => string[]): ShareConfig[] {
  const shares = list.map((s, i): ShareConfig => {
    const o = typeof s === 'string' ? parseShare(s, commaParts(s)) : s;
    const tag = o.tag ?? `share${i}`;
    if (!/^[\x21-\x7e]{1,31}$/.test(tag)) throw new UsageError(`--share: tag=${tag} is not 1 to 31 printable ASCII characters`);
    const stat = statSync(o.path, { throwIfNoEntry: false });
    if (stat === undefined) throw new UsageError(`--share: ${o.path}: no such folder`);
    if (!stat.isDirectory()) throw new UsageError(`--share: ${o.path}: not a folder`);
    return { path: resolve(o.path), tag, readonly: o.readonly ?? false };
  });
  const twice = shares.find((s, i) => shares.findIndex((x) => x.tag === s.tag) !== i);
  if (twice !== undefined) throw new UsageError(`--share: two folders with tag=${twice.tag}`);
  return shares;
}
