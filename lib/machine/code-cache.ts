/** The code cache of a machine: opens the user's directory, connects it to the engine, writes in the background. */
import { CacheDirectory } from '../cache/directory.js';
import { FileStore, type StoreStats } from '../cache/file-store.js';
import { engineBuild, FORMAT, type Identity } from '../cache/identity.js';
import { mergeSegments } from '../cache/maintenance.js';
import type { CodeCache, CodeCacheStats } from '../engine/aot/code-cache.js';
import type { Engine } from '../engine/jit/engine.js';
import type { HostCode } from '../engine/jit/host-code.js';
import { UsageError } from '../errors.js';
import type { AotConfig } from './aot-config.js';
import type { MachineConfig } from './config.js';
import type { Guest } from './guests/guest.js';

export type AotStats = CodeCacheStats & StoreStats & { dir: string };

/** How often new code goes to disk while the machine runs, ms. What a kill may lose. */
const FLUSH_MS = 1000;
/** More segments of one identity than this are merged when the machine ends. */
const MAX_SEGMENTS = 12;

/** Guest instructions in a block; an instruction trace wants every instruction to be a block. */
export const maxInsns = (config: Pick<MachineConfig, 'debug'>): number => (config.debug.trace?.includes('insn') ? 1 : 64);

/** What code of this machine depends on. */
export function machineIdentity(config: Pick<MachineConfig, 'arch' | 'cpu' | 'cpus' | 'debug'>, guest: Pick<Guest, 'features'>, host: Pick<HostCode, 'identity'>): Identity {
  return {
    format: FORMAT, build: engineBuild(), arch: config.arch, cpu: config.cpu, features: [...(guest.features ?? [])].sort(), cpus: Math.min(config.cpus, 2),
    disabledPasses: [...(config.debug.disablePasses ?? [])].sort(), maxInsns: maxInsns(config), host: host.identity,
  };
}

export class MachineCache {
  private readonly cache: CodeCache;
  private readonly timer: NodeJS.Timeout;

  private constructor(private readonly dir: CacheDirectory, private readonly store: FileStore, engine: Engine, private readonly domain: string, verify: boolean, private readonly log: (m: string) => void) {
    this.cache = engine.useCache(store);
    this.cache.verify = verify;
    this.cache.onDifferent = (where) => log(`code cache: recompiling gives other code than the cache has (${where})`);
    this.timer = setInterval(() => this.flush(), FLUSH_MS).unref();
  }

  /** Null if there is none: switched off, no generated code, or (not asked for by name) a directory that cannot be used. */
  static attach(aot: AotConfig, config: MachineConfig, guest: Guest, engine: Engine, host: HostCode | null, log: (m: string) => void): MachineCache | null {
    if (aot.mode === 'off' || host === null) return null;
    let dir: CacheDirectory;
    try {
      dir = CacheDirectory.open(aot.dir);
    } catch (e) {
      if (!(e instanceof UsageError) || aot.named) throw e;
      log(`code cache: not used: ${e.message.replace(/^--aot-dir: /, '')}`);
      return null;
    }
    const store = new FileStore(dir, machineIdentity(config, guest, host), aot.bytes, log);
    return new MachineCache(dir, store, engine, store.domainName, aot.mode === 'verify', log);
  }

  private flush(): void {
    this.cache.flush();
    this.store.flush();
  }

  close(): void {
    clearInterval(this.timer);
    if (!this.cache.verify) this.cache.regroup();
    this.flush();
    this.store.close();
    if (this.store.stats.segments < MAX_SEGMENTS) return;
    try {
      mergeSegments(this.dir, this.domain);
    } catch (e) {
      this.log(`code cache: merging failed: ${(e as Error).message}`);
    }
  }

  stats(): AotStats {
    return { dir: this.dir.path, ...this.cache.stats, ...this.store.stats };
  }
}
