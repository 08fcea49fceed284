/**
 * The program in one file. scripts/bundle.mjs puts the modules of an entry (the machine's worker, the command line) together in `dist/program/NAME.cjs`; loading
 * that is cheaper than loading some hundred modules, and V8's compiled code of it is kept for the next run. Without such a file, or if modules are newer
 * than it, nobody is worse off: the modules are loaded (docs/adr/0031).
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import { CacheDirectory, defaultDirectory } from '../cache/directory.js';
import { VmxError } from '../errors.js';

const MAC_BYTES = 32;
const dist = fileURLToPath(new URL('..', import.meta.url));

/** First line of such a file, after `//`. */
interface Head {
  /** Hash of the rest. */
  hash: string;
  /** Modules it was made of, relative to dist/. */
  inputs: string[];
}

export interface Program<T> {
  exports: T;
  /** V8's code of an earlier run is used. */
  compiled: boolean;
  /**
   * Keeps what V8 has compiled by now, unless what was kept before has it. Never throws: it is only speed.
   * @param part name of what this run has used of the program; the code of other parts has perhaps never been compiled
   */
  keep(part: string): void;
}

type Body = (exports: object, require: (name: string) => unknown, module: { exports: object }, url: (file: string) => string) => void;

/** In a checkout the compiler may have been there since: it writes its notes last. */
function isStale(head: Head, made: number): boolean {
  if (!existsSync(join(dist, '..', 'tsconfig.json'))) return false;
  const notes = statSync(join(dist, '.tsbuildinfo'), { throwIfNoEntry: false });
  if (notes !== undefined) return notes.mtimeMs > made;
  return head.inputs.some((f) => (statSync(join(dist, f), { throwIfNoEntry: false })?.mtimeMs ?? Infinity) > made);
}

/** V8's compiled code of a program on disk: a line of JSON, the code, and the HMAC of both under the directory's key. */
class CompiledCode {
  parts: string[] = [];
  data: Buffer | undefined;

  private constructor(private readonly dir: CacheDirectory, private readonly file: string, private readonly identity: string) {}

  /** Null if the user has no private directory for it. What is there and does not fit is not used. */
  static open(file: string, hash: string): CompiledCode | null {
    const identity = `${hash} ${process.version} ${process.arch}`;
    try {
      const dir = CacheDirectory.open(join(dirname(defaultDirectory()), 'program'));
      const c = new CompiledCode(dir, join(dir.path, `${file}.v8`), identity);
      c.read();
      return c;
    } catch (e) {
      if (e instanceof VmxError || (e as NodeJS.ErrnoException).code !== undefined) return null;
      throw e;
    }
  }

  private read(): void {
    if (!existsSync(this.file)) return;
    const b = readFileSync(this.file);
    const end = b.indexOf(10);
    if (b.length < MAC_BYTES) return;
    const body = b.subarray(0, b.length - MAC_BYTES);
    if (end < 0 || !timingSafeEqual(this.mac(body), b.subarray(body.length))) return;
    const head = JSON.parse(b.toString('utf8', 0, end)) as { identity: string; parts: string[] };
    if (head.identity !== this.identity) return;
    this.parts = head.parts;
    this.data = body.subarray(end + 1);
  }

  write(parts: string[], data: Buffer): void {
    const body = Buffer.concat([Buffer.from(`${JSON.stringify({ identity: this.identity, parts })}\n`), data]);
    const temp = `${this.file}.${randomBytes(8).toString('hex')}`;
    writeFileSync(temp, Buffer.concat([body, this.mac(body)]), { mode: 0o600 });
    renameSync(temp, this.file);
    this.parts = parts;
  }

  private mac(body: Uint8Array): Buffer {
    return createHmac('sha256', this.dir.key).update(body).digest();
  }
}

/**
 * V8 drops the code of functions that have not run for a while: what starts a machine would be gone by the time that code is kept. A run that will keep
 * some holds on to all of it.
 */
function flushing(on: boolean): void {
  (createRequire(import.meta.url)('node:v8') as typeof import('node:v8')).setFlagsFromString(on ? '--flush-bytecode' : '--no-flush-bytecode');
}

/** Modules that take some ms to load and that most runs never call. */
const RARE: readonly string[] = ['node:child_process', 'node:dgram', 'node:dns', 'node:fs/promises', 'node:http', 'node:net', 'node:zlib', 'pngjs', 'ws'];

/** Stands for a module and loads it when something of it is used. */
function onUse(load: () => object): object {
  let loaded: object | undefined;
  const module = (): object => (loaded ??= load());
  return new Proxy({}, {
    get: (_target, name): unknown => Reflect.get(module(), name),
    has: (_target, name) => Reflect.has(module(), name),
    ownKeys: () => Reflect.ownKeys(module()),
    getOwnPropertyDescriptor: (_target, name) => {
      const d = Reflect.getOwnPropertyDescriptor(module(), name);
      return d === undefined ? undefined : { ...d, configurable: true };
    },
  });
}

/**
 * @param name file in dist/program, without its ending
 * @param kind what this run is expected to use of it: V8's code is kept for each by itself, since all that is kept is loaded
 * @param parts the names under which such runs will keep code
 * @param externals modules that are not part of it, by the name it asks for
 * @returns null if it has to be loaded as modules
 */
export function loadProgram<T extends object>(name: string, kind: string, parts: readonly string[], externals: Readonly<Record<string, unknown>> = {}): Program<T> | null {
  if (process.env['VMX_ACCEL_PROGRAM'] === 'modules') return null;
  const file = join(dist, 'program', `${name}.cjs`);
  const made = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  if (made === undefined) return null;
  // ASCII.
  const source = readFileSync(file, 'latin1');
  const head = JSON.parse(source.slice(2, source.indexOf('\n'))) as Head;
  if (isStale(head, made)) return null;
  const compiled = CompiledCode.open(`${name}-${kind}`, head.hash);
  const script = new Script(source, { filename: file, cachedData: compiled?.data });
  if (script.cachedDataRejected === true) compiled!.parts = [];
  if (compiled !== null && !parts.every((p) => compiled.parts.includes(p))) flushing(false);
  const module = { exports: {} };
  const require = createRequire(pathToFileURL(join(dist, 'index.js')));
  (script.runInThisContext() as Body)(module.exports, (id) => externals[id] ?? (RARE.includes(id) ? onUse(() => require(id) as object) : require(id)), module, (f) => pathToFileURL(join(dist, f)).href);
  return {
    exports: module.exports as T,
    compiled: compiled?.data !== undefined && script.cachedDataRejected !== true,
    keep: (part) => {
      if (compiled === null || compiled.parts.includes(part)) return;
      try {
        // What is kept fits V8's flags as they are now.
        flushing(true);
        compiled.write([...compiled.parts, part], script.createCachedData());
      } catch (e) {
        // A full or read-only disk; the next run compiles again.
        if ((e as NodeJS.ErrnoException).code === undefined) throw e;
      }
    },
  };
}
