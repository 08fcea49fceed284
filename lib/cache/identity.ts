/** What cached code depends on besides the guest's own bytes and mode. Caches of different identity never meet. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Layout of records and frames. */
export const FORMAT = 2;

export interface Identity {
  format: number;
  /** Hash of the engine's own program text. */
  build: string;
  /** Guest architecture, and its CPU model as the user writes it. */
  arch: string;
  cpu: string;
  /** What the guest's CPU can do, as far as code depends on it. */
  features: string[];
  /** 1, or 2 for several CPUs: code may differ by whether there are others. */
  cpus: number;
  /** IR passes that are switched off. */
  disabledPasses: string[];
  maxInsns: number;
  /** `HostCode.identity`. */
  host: string;
}

/** Set by scripts/bundle.mjs: `engineBuild()` of the modules the program was made of. */
declare const ENGINE_BUILD: string | undefined;

let build: string | null = typeof ENGINE_BUILD === 'string' ? ENGINE_BUILD : null;

/** Hash of the files that make code: any change of the engine starts a new cache. */
export function engineBuild(): string {
  if (build !== null) return build;
  const root = fileURLToPath(new URL('../engine/', import.meta.url));
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.js')).sort();
  const h = createHash('sha256');
  for (const f of files) h.update(f.replaceAll('\\', '/')).update('\0').update(readFileSync(join(root, f)));
  return (build = h.digest('hex'));
}

/** Another thread of this process has computed `engineBuild`: that takes tens of milliseconds. */
export function assumeBuild(hash: string): void {
  build = hash;
}

export function identityText(i: Identity): string {
  return JSON.stringify({
    format: i.format, build: i.build, arch: i.arch, cpu: i.cpu, features: i.features, cpus: i.cpus, disabledPasses: [...i.disabledPasses].sort(), maxInsns: i.maxInsns, host: i.host,
  });
}

/** 16 bytes that name the identity. */
export function domainOf(text: string): Uint8Array {
  return Uint8Array.from(createHash('sha256').update(text).digest().subarray(0, 16));
}

const isTexts = (v: unknown): boolean => Array.isArray(v) && v.every((x) => typeof x === 'string');

export function parseIdentity(text: string): Identity | null {
  let v: unknown;
  try {
    v = JSON.parse(text);
  } catch {
    return null;
  }
  const i = v as Partial<Identity> | null;
  if (typeof i !== 'object' || i === null) return null;
  if (typeof i.format !== 'number' || typeof i.build !== 'string' || typeof i.arch !== 'string' || typeof i.cpu !== 'string' || typeof i.host !== 'string') return null;
  if (typeof i.cpus !== 'number' || typeof i.maxInsns !== 'number' || !isTexts(i.disabledPasses) || !isTexts(i.features)) return null;
  return i as Identity;
}
