/** What the `aot` commands do: show, check, carry and clear code caches. docs/AOT.md is their manual. */
import { type Chunk, ExportWriter, readExport, readSegments, type SegmentContents } from '../cache/contents.js';
import type { CacheDirectory } from '../cache/directory.js';
import { FileStore, padded } from '../cache/file-store.js';
import { engineBuild, FORMAT, type Identity, identityText } from '../cache/identity.js';
import { writerLives } from '../cache/maintenance.js';
import { groupOf, unsoundGroups } from '../engine/aot/page-group.js';
import { wellFormedRegion } from '../engine/aot/region-record.js';
import { Recompiler, wellFormed } from '../engine/aot/recompile.js';
import { X64Host } from '../engine/host/x64/host.js';
import { UsageError, VmxError } from '../errors.js';
import { loadNative } from '../native.js';
import type { ArchName } from './config.js';
import { passOptions } from './debug/tools.js';
import { ARCHES } from './guests/index.js';

/** Room for code while records are made again; it is never run. */
const SCRATCH_BYTES = 16 * 1024 * 1024;

/** Segments of one identity. */
export interface CacheGroup {
  identity: Identity | null;
  /** Written by this build on a host like this one: usable here. */
  usable: boolean;
  segments: number;
  bytes: number;
  records: number;
  /** Segments cut short by a kill, and refused as damaged or foreign. */
  torn: number;
  refused: number;
  /** ms since the epoch. */
  usedMs: number;
}

const hosts = new Map<string, X64Host>();

/** A back end that compiles for `arch` but runs nothing. @throws UsageError where there is none */
function compilerFor(arch: ArchName, disabledPasses: readonly string[] = []): X64Host {
  const key = [arch, ...disabledPasses].join(' ');
  let h = hosts.get(key);
  if (h === undefined) {
    const guest = ARCHES[arch];
    if (guest === undefined) throw new UsageError(`aot: there are no ${arch} guests`);
    h = new X64Host({ buffer: new ArrayBuffer(SCRATCH_BYTES), address: 0 }, [], loadNative().cpuFeatures(), guest.pinned, passOptions(disabledPasses));
    hosts.set(key, h);
  }
  return h;
}

function usable(i: Identity | null): i is Identity {
  if (i === null || i.format !== FORMAT || i.build !== engineBuild() || ARCHES[i.arch as ArchName] === undefined) return false;
  try {
    return compilerFor(i.arch as ArchName).identity === i.host;
  } catch (e) {
    // This host cannot run generated code at all.
    if (e instanceof VmxError) return false;
    throw e;
  }
}

/** Makes records of this identity again; null if the architecture has no translator of its own. */
function recompilerFor(i: Identity): Recompiler | null {
  const guest = ARCHES[i.arch as ArchName]!;
  if (guest.translator === undefined) return null;
  const t = guest.translator(i.features, i.cpus);
  return new Recompiler(compilerFor(i.arch as ArchName, i.disabledPasses), {
    lifter: t.lifter, helpers: t.helpers, passes: passOptions(i.disabledPasses), maxInsns: i.maxInsns, fpHelperBit: guest.fpHelperBit,
    mask32: (mode) => guest.mask32(mode), mmuIndex: (mode) => t.mmuIndex(mode),
  });
}

/** How many records of a chunk, which may come from anywhere, are what the translator makes now. Of a page group that is not sound none is. */
function sameRecords({ index, payload }: Chunk, r: Recompiler): number {
  const unsound = unsoundGroups(index, payload);
  let same = 0;
  for (let i = 1; i < index.length; i += 2) {
    const at = index[i]!;
    if (wellFormed(payload, at) && !unsound.has(groupOf(payload, at)) && r.same(payload, at)) same++;
  }
  return same;
}

export function cacheStats(dir: CacheDirectory): CacheGroup[] {
  const groups = new Map<string, CacheGroup>();
  for (const s of readSegments(dir)) {
    let g = groups.get(s.domain);
    if (g === undefined) groups.set(s.domain, (g = { identity: null, usable: false, segments: 0, bytes: 0, records: 0, torn: 0, refused: 0, usedMs: 0 }));
    g.identity ??= s.identity;
    g.segments++;
    g.bytes += s.bytes;
    g.records += s.records;
    if (s.end === 'torn' && !writerLives(s)) g.torn++;
    if (s.end === 'refused') g.refused++;
    g.usedMs = Math.max(g.usedMs, s.usedMs);
  }
  for (const g of groups.values()) g.usable = usable(g.identity);
  return [...groups.values()];
}

export interface CacheCheck {
  segments: number;
  records: number;
  regions: number;
  /** Recompiled and found equal, word for word. */
  same: number;
  different: number;
  /** Of another build or host: only checked for damage. */
  others: number;
  /** Names of files that are damaged or foreign. */
  refused: string[];
}

/** Makes every record of this build and host again and compares it; checks the others for damage. */
export function verifyCache(dir: CacheDirectory): CacheCheck {
  const check: CacheCheck = { segments: 0, records: 0, regions: 0, same: 0, different: 0, others: 0, refused: [] };
  const recompilers = new Map<string, Recompiler | null>();
  const compare = (s: SegmentContents, c: Chunk): void => {
    if (c.regions !== true) check.records += c.index.length >> 1;
    let r = recompilers.get(s.domain);
    if (r === undefined) recompilers.set(s.domain, (r = usable(s.identity) ? recompilerFor(s.identity) : null));
    if (c.regions === true) {
      const { index, payload } = c;
      check.regions += index.length >> 1;
      for (let i = 1; r !== null && i < index.length; i += 2) if (!wellFormedRegion(payload, index[i]!) || !r.sameRegion(payload, index[i]!)) check.different++;
    } else if (r === null) check.others += c.index.length >> 1;
    else {
      const same = sameRecords(c, r);
      check.same += same;
      check.different += (c.index.length >> 1) - same;
    }
  };
  for (const s of readSegments(dir, compare)) {
    check.segments++;
    if (s.end === 'refused' || s.damaged > 0) check.refused.push(s.name);
  }
  return check;
}

/**
 * Writes what this build made on this host to a file. @returns number of records
 * @throws UsageError if there is nothing
 */
export function exportCache(dir: CacheDirectory, file: string): number {
  if (!cacheStats(dir).some((g) => g.usable && g.records > 0)) throw new UsageError('aot export: the cache holds nothing of this build on this host');
  const out = new ExportWriter(file);
  let records = 0;
  let domain = '';
  try {
    readSegments(dir, (s, c) => {
      if (!usable(s.identity) || c.regions === true) return;
      if (s.domain !== domain) out.identity(padded(identityText(s.identity)));
      domain = s.domain;
      out.chunk(c);
      records += c.index.length >> 1;
    });
  } finally {
    out.close();
  }
  return records;
}

/**
 * Takes over an exported file. Its code is not believed: every record is made again from the guest bytes in it, and the file
 * is refused as a whole unless all are what this build makes.
 * @returns number of records
 */
export function importCache(dir: CacheDirectory, file: string, limit: number): number {
  const parts: { identity: Identity; chunks: Chunk[] }[] = [];
  let recompiler: Recompiler | null = null;
  let records = 0;
  readExport(file, {
    identity(i) {
      if (!usable(i)) throw new UsageError(`aot import: ${file} was made by another build of vmx-accel, or for another host CPU`);
      recompiler = recompilerFor(i);
      if (recompiler === null) throw new UsageError(`aot import: ${file}: code of ${i.arch} guests cannot be checked`);
      parts.push({ identity: i, chunks: [] });
    },
    chunk(c) {
      const n = c.index.length >> 1;
      if (sameRecords(c, recompiler!) !== n) throw new UsageError(`aot import: ${file} holds code that this build does not make; nothing was imported`);
      records += n;
      parts[parts.length - 1]!.chunks.push(c);
    },
  });
  for (const p of parts) {
    const store = new FileStore(dir, p.identity, limit, (m) => {
      throw new VmxError('ERR_AOT_IMPORT', m);
    });
    for (const c of p.chunks) store.write(c.index, c.payload);
    store.close();
  }
  return records;
}

/** Removes every segment. @returns number of files and bytes */
export function clearCache(dir: CacheDirectory): { files: number; bytes: number } {
  let files = 0;
  let bytes = 0;
  for (const s of dir.segments()) {
    if (!dir.remove(s.name)) continue;
    files++;
    bytes += s.bytes;
  }
  return { files, bytes };
}
