import { constants } from 'node:buffer';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadNative, type NativeContext, type NativeExec, type NativeMemory } from '#lib/native.js';
import { Slot } from '#lib/engine/state.js';
import { VmxError } from '#lib/errors.js';

const native = loadNative();
const linuxX64 = process.platform === 'linux' && process.arch === 'x64';
if (!linuxX64) console.log('native.test: execution tests skipped, they need Linux on x86-64');
const nativeModule = new URL('../dist/native.js', import.meta.url).href;

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof VmxError) return error.code;
    throw error;
  }
  return 'no error';
}

/** Runs a module in a process of its own: for what may take a process down. */
function runScript(source: string, env: NodeJS.ProcessEnv = {}): { status: number | null; signal: string | null; out: string } {
  const r = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    timeout: 60_000,
  });
  return { status: r.status, signal: r.signal, out: r.stdout + r.stderr };
}

describe('memory', () => {
  it('allocates zeroed guest RAM and detaches it on free', () => {
    const ram = native.allocRam(64 << 20);
    const bytes = new Uint8Array(ram.buffer);
    expect(bytes.length).toBe(64 << 20);
    expect(ram.address % 4096).toBe(0);
    expect(bytes[12345]).toBe(0);
    bytes[bytes.length - 1] = 7;
    expect(bytes[bytes.length - 1]).toBe(7);
    if (native.discard(ram, bytes.length - 4096, 4096)) expect(bytes[bytes.length - 1]).toBe(0);
    else expect(process.platform).not.toBe('linux');
    for (const [offset, n] of [[0, 0], [-4096, 4096], [1, 4096], [0, 100], [64 << 20, 4096], [NaN, 4096]]) expect(codeOf(() => native.discard(ram, offset!, n!))).toBe('ERR_INVALID_ARG');
    native.free(ram);
    expect(bytes.length).toBe(0);
    expect(codeOf(() => native.free(ram))).toBe('ERR_INVALID_ARG');
  });

  it('refuses bad sizes and what does not fit', () => {
    for (const bad of [0, -4096, 100, 4097, NaN, Infinity]) expect(codeOf(() => native.allocRam(bad))).toBe('ERR_INVALID_ARG');
    for (const big of [2 ** 46, 2 ** 33, 2 ** 32 + 4096]) {
      // What is over the limit must fail cleanly; below it (newer versions of Node) the kernel decides.
      const code = codeOf(() => native.free(native.allocRam(big)));
      if (big > constants.MAX_LENGTH) expect(code).toBe('ERR_NO_MEMORY');
      else expect(['no error', 'ERR_NO_MEMORY']).toContain(code);
    }
    expect(codeOf(() => native.free({ buffer: new ArrayBuffer(8), address: 4096 }))).toBe('ERR_INVALID_ARG');
    expect(codeOf(() => native.discard({ buffer: new ArrayBuffer(4096), address: 4096 }, 0, 4096))).toBe('ERR_INVALID_ARG');
  });

  it('refuses to free memory whose buffer is another one', () => {
    const ram = native.allocRam(4096);
    expect(codeOf(() => native.free({ buffer: new ArrayBuffer(4096), address: ram.address }))).toBe('ERR_INVALID_ARG');
    native.free(ram);
  });

  it.runIf(linuxX64)('keeps writable and executable aliases apart', () => {
    const exec = native.allocExec(1 << 20);
    const maps = readFileSync('/proc/self/maps', 'utf8').split('\n').filter((l) => l.includes('vmx-accel-code'));
    const rights = maps.map((l) => l.split(' ')[1]).sort();
    expect(rights).toEqual(['r-xs', 'rw-s']);
    native.free(exec);
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain('vmx-accel-code');
  });

  it('has no executable memory under VMX_ACCEL_NO_EXEC=1', () => {
    const r = runScript(
      `import { loadNative } from ${JSON.stringify(nativeModule)};
       const n = loadNative();
       try { n.allocExec(4096); } catch (e) { console.log(e.name, e.code); }
       n.createContext(n.allocState(4096), null).dispose();`,
      { VMX_ACCEL_NO_EXEC: '1' },
    );
    expect(r).toMatchObject({ status: 0, out: 'VmxError ERR_NO_EXEC\n' });
  });
});

describe('host', () => {
  it('tells time, memory and processor', () => {
    const a = native.now();
    expect(Math.abs(a - Number(process.hrtime.bigint()))).toBeLessThan(1e9);
    const memory = native.hostMemory();
    expect(memory.total).toBeGreaterThan(memory.available);
    expect(memory.available).toBeGreaterThan(0);
  });

  it.runIf(linuxX64)('names processor features as /proc/cpuinfo does', () => {
    const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.trim().split(' '));
    const features = native.cpuFeatures();
    expect(features).toContain('sse2');
    expect(features.filter((f) => !flags.has(f))).toEqual([]);
    for (const f of ['ssse3', 'avx', 'avx2', 'bmi1', 'bmi2', 'abm', 'fma', 'movbe', 'erms']) {
      expect([f, features.includes(f)]).toEqual([f, flags.has(f)]);
    }
    const [max, ebx, ecx, edx] = native.cpuid(0, 0);
    expect(max).toBeGreaterThan(0);
    expect(Buffer.from(new Uint32Array([ebx ?? 0, edx ?? 0, ecx ?? 0]).buffer).toString()).toMatch(/^[\x20-\x7e]{12}$/);
  });
});

describe.runIf(linuxX64)('execution', () => {
  let state: NativeMemory;
  let exec: NativeExec;
  let context: NativeContext;
  let code: Uint8Array;
  let slots: BigUint64Array;
  let words: Int32Array;

  beforeEach(() => {
    state = native.allocState(2 << 20);
    exec = native.allocExec(1 << 20);
    context = native.createContext(state, exec);
    code = new Uint8Array(exec.buffer);
    slots = new BigUint64Array(state.buffer);
    words = new Int32Array(state.buffer);
  });
  afterEach(() => {
    context.dispose();
    native.free(state);
    native.free(exec);
  });

  const clearPending = (): void => {
    words[2 * Slot.PENDING + 1] = 0;
  };
  const pending = (): number => Atomics.load(words, 2 * Slot.PENDING + 1);

  it('runs code written through the other alias', () => {
    // mov [rdi+64], rdi; mov eax, 0x12345678; ret
    code.set([0x48, 0x89, 0x7f, 0x40, 0xb8, 0x78, 0x56, 0x34, 0x12, 0xc3], 256);
    expect(context.run(exec.address + 256)).toBe(0x12345678);
    expect(Number(slots[Slot.GPR])).toBe(state.address);
    code.set([0xff, 0xff, 0xff, 0xff], 256 + 5);
    expect(context.run(exec.address + 256)).toBe(-1);
  });

  it('refuses entries outside the region', () => {
    for (const bad of [0, exec.address - 1, exec.address + (1 << 20), NaN, -1, Infinity]) {
      expect(codeOf(() => context.run(bad))).toBe('ERR_INVALID_ARG');
    }
  });

  describe('fault guard', () => {
    const SIGNAL = { ILL: 4, TRAP: 5, BUS: 7, FPE: 8, SEGV: 11 };
    // The body runs on a stack pointer of 8 (no stack at all), as far from the native stack as code can be.
    function fault(body: number[]): { at: number; signal: number; data: bigint } {
      // abort: mov rsp, [rdi+8*54]; mov eax, 99; cld-dependent check: pushfq; pop rcx; mov [rdi+64], rcx; ret
      code.set([0x48, 0x8b, 0xa7, 0xb0, 0x01, 0, 0, 0xb8, 99, 0, 0, 0, 0x9c, 0x59, 0x48, 0x89, 0x4f, 0x40, 0xc3], 0);
      slots[Slot.X_ABORT] = BigInt(exec.address);
      // entry: mov [rdi+8*54], rsp; mov esp, 8; std
      const entry = [0x48, 0x89, 0xa7, 0xb0, 0x01, 0, 0, 0xbc, 8, 0, 0, 0, 0xfd];
      code.set([...entry, ...body], 512);
      expect(context.run(exec.address + 512)).toBe(99);
      expect(Number(slots[Slot.GPR] ?? 0n) & 0x400).toBe(0);
      return {
        at: Number(slots[Slot.X_ADDR]) - exec.address - 512 - entry.length,
        signal: words[2 * Slot.X_AUX] ?? 0,
        data: slots[Slot.X_VAL] ?? 0n,
      };
    }
    it('ud2', () => expect(fault([0x90, 0x0f, 0x0b])).toMatchObject({ at: 1, signal: SIGNAL.ILL }));
    // xor eax, eax; mov eax, [rax+0x123]
    it('null load', () =>
      expect(fault([0x31, 0xc0, 0x8b, 0x80, 0x23, 1, 0, 0])).toEqual({ at: 2, signal: SIGNAL.SEGV, data: 0x123n }));
    // xor ecx, ecx; div ecx
    it('division by zero', () => expect(fault([0x31, 0xc9, 0xf7, 0xf1])).toMatchObject({ at: 2, signal: SIGNAL.FPE }));
    it('int3', () => expect(fault([0x90, 0xcc])).toMatchObject({ at: 1, signal: SIGNAL.TRAP }));
    // mov rax, 0x8000000000000000; mov eax, [rax]
    it('non-canonical address', () =>
      expect(fault([0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8b, 0])).toMatchObject({ at: 10, signal: SIGNAL.SEGV, data: 0n }));
    // lea rax, [rip-0x20]; mov [rax], eax
    it('store to the executable alias', () =>
      expect(fault([0x48, 0x8d, 0x05, 0xe0, 0xff, 0xff, 0xff, 0x89, 0])).toMatchObject({ at: 7, signal: SIGNAL.SEGV }));
    it('push without a stack', () => expect(fault([0x50])).toMatchObject({ at: 0, signal: SIGNAL.SEGV }));
    it('many times', () => {
      for (let i = 0; i < 1000; i++) fault([0x0f, 0x0b]);
    });

    it('leaves faults of others alone: WebAssembly traps work, real crashes still kill', () => {
      // (module (memory 1) (func (export "f") (param i32) (result i32) local.get 0 i32.load))
      const wasm = new Uint8Array([
        0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 5, 1, 1, 0x66, 0, 0,
        10, 9, 1, 7, 0, 0x20, 0, 0x28, 2, 0, 0x0b,
      ]);
      const { f } = new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports;
      if (typeof f !== 'function') throw new Error('no export');
      const load = f as (address: number) => number;
      expect(load(0)).toBe(0);
      expect(() => load(0x7fff_0000)).toThrow(WebAssembly.RuntimeError);
      expect(context.run((code.set([0xc3], 0), exec.address))).toBeTypeOf('number');

      const setup = `import { loadNative } from ${JSON.stringify(nativeModule)};
        const n = loadNative(), s = n.allocState(4096), e = n.allocExec(4096), c = n.createContext(s, e);`;
      // X_ABORT is 0: nobody to hand the fault to.
      const unguarded = runScript(`${setup} new Uint8Array(e.buffer).set([0x0f, 0x0b]); c.run(e.address);`);
      expect(unguarded.signal).toBe('SIGILL');
      const trap = runScript(`${setup} new Uint8Array(e.buffer).set([0xcc, 0xc3]); c.run(e.address);`);
      expect(trap.signal).toBe('SIGTRAP');
      const sent = runScript(`${setup} process.kill(process.pid, 'SIGSEGV'); setTimeout(() => {}, 1000);`);
      expect(sent.signal).toBe('SIGSEGV');
    });
  });

  describe('deadline', () => {
    // loop: cmp dword [rdi+8*PENDING+4], 0; je loop; mov eax, 5; ret
    const spin = [0x83, 0x7f, 8 * Slot.PENDING + 4, 0, 0x74, 0xfa, 0xb8, 5, 0, 0, 0, 0xc3];

    it('ends generated code, not early', () => {
      code.set(spin, 0);
      for (let i = 0; i < 20; i++) {
        clearPending();
        const at = native.now() + 2e6;
        context.setDeadline(at);
        expect(context.run(exec.address)).toBe(5);
        const late = native.now() - at;
        expect(late).toBeGreaterThanOrEqual(0);
        expect(late).toBeLessThan(100e6);
      }
    });

    it('is replaced by later and earlier ones, and disarmed', () => {
      /** Blocks until the pending word is set or that time has come. */
      const waitUntil = (ns: number): void => {
        while (pending() === 0 && native.now() < ns) context.wait(ns);
      };
      const far = (): number => native.now() + 100e9;
      context.setDeadline(native.now() + 5e6);
      const later = native.now() + 30e6;
      context.setDeadline(later);
      waitUntil(far());
      expect(pending()).toBe(1);
      expect(native.now()).toBeGreaterThanOrEqual(later);
      clearPending();
      context.setDeadline(far());
      context.setDeadline(native.now() + 5e6);
      waitUntil(far());
      expect(pending()).toBe(1);
      clearPending();
      context.setDeadline(native.now() + 5e6);
      context.setDeadline(Infinity);
      waitUntil(native.now() + 25e6);
      expect(pending()).toBe(0);
      context.setDeadline(0);
      waitUntil(far());
      expect(pending()).toBe(1);
    });

    it('survives a storm of re-arming', () => {
      code.set(spin, 0);
      for (let i = 0; i < 300; i++) {
        clearPending();
        for (let k = 0; k < 50; k++) context.setDeadline(native.now() + ((i * 7 + k * 13) % 40) * 1e3);
        const at = native.now() + 50e3;
        context.setDeadline(at);
        // An earlier one may have fired; what must not happen is that none does.
        context.run(exec.address);
      }
    });

    it('kick() from a worker ends generated code', async () => {
      code.set(spin, 0);
      const worker = new Worker(
        `const { workerData } = require('node:worker_threads');
         import(workerData.module).then(({ loadNative }) => {
           const native = loadNative();
           setTimeout(() => native.kick(workerData.id), 20);
         });`,
        { eval: true, execArgv: [], workerData: { module: nativeModule, id: context.id } },
      );
      await new Promise((resolve) => worker.once('online', resolve));
      context.setDeadline(native.now() + 20e9); // a safety net
      const start = native.now();
      expect(context.run(exec.address)).toBe(5);
      expect(native.now() - start).toBeLessThan(15e9);
      await new Promise((resolve) => worker.once('exit', resolve));
      expect(native.kick(1e9)).toBe(false);
    });

    it('the watched event loop ends generated code', async () => {
      code.set(spin, 0);
      const worker = new Worker(
        `const { parentPort } = require('node:worker_threads');
         parentPort.on('message', (ms) => setTimeout(() => parentPort.postMessage('x'), ms));`,
        { eval: true },
      );
      await new Promise((resolve) => worker.once('online', resolve));
      const message = new Promise((resolve) => worker.once('message', resolve));
      worker.postMessage(30);
      context.watchLoop(true);
      context.setDeadline(native.now() + 20e9);
      const start = native.now();
      for (;;) {
        clearPending();
        context.run(exec.address);
        if (context.wait(0) === 1) break;
      }
      expect(native.now() - start).toBeLessThan(15e9);
      expect(await message).toBe('x');
      context.watchLoop(false);
      context.setDeadline(Infinity);
      clearPending();
      await sleep(20);
      expect(pending()).toBe(0);
      await worker.terminate();
    });
  });

  describe('wait', () => {
    /** Repeats wait as the run loop does: 0 says "look again", not "the time has come". */
    async function waitUntil(at: number): Promise<void> {
      while (native.now() < at) if (context.wait(at) === 1) await new Promise((resolve) => setImmediate(resolve));
    }

    it('returns on time and without burning the processor', async () => {
      const cpu = process.cpuUsage();
      const at = native.now() + 60e6;
      await waitUntil(at);
      const late = native.now() - at;
      expect(late).toBeGreaterThanOrEqual(0);
      expect(late).toBeLessThan(100e6);
      const used = process.cpuUsage(cpu);
      expect(used.user + used.system).toBeLessThan(40_000);
    });

    it('returns when the deadline comes first, and on a pending word', async () => {
      const at = native.now() + 20e6;
      context.setDeadline(at);
      while (native.now() < at) if (context.wait(at + 20e9) === 1) await new Promise((resolve) => setImmediate(resolve));
      expect(native.now() - at).toBeLessThan(1e9);
      await sleep(20);
      expect(pending()).toBe(1);
      const start = native.now();
      context.wait(start + 20e9);
      expect(native.now() - start).toBeLessThan(1e9);
    });

    it('sleeps also when the run loop lives in an immediate', async () => {
      const interval = setInterval(() => undefined, 25);
      let turns = 0;
      const cpu = process.cpuUsage();
      const at = native.now() + 100e6;
      await new Promise<void>((resolve) => {
        const turn = (): void => {
          turns++;
          while (native.now() < at) {
            if (context.wait(at) === 1) {
              setImmediate(turn);
              return;
            }
          }
          resolve();
        };
        setImmediate(turn);
      });
      clearInterval(interval);
      const used = process.cpuUsage(cpu);
      expect(turns).toBeLessThan(60);
      expect(used.user + used.system).toBeLessThan(60_000);
    });

    it('gives timers, immediates and messages their turn', async () => {
      const start = native.now();
      let fired = '';
      setTimeout(() => (fired += 't'), 30);
      while (fired === '') {
        if (context.wait(start + 20e9) === 1) await new Promise((resolve) => setImmediate(resolve));
      }
      expect(native.now() - start).toBeLessThan(5e9);
      setImmediate(() => (fired += 'i'));
      expect(context.wait(native.now() + 20e9)).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      expect(fired).toBe('ti');
    });

    it('is woken by a kick of another thread', () => {
      const r = runScript(
        `import { Worker } from 'node:worker_threads';
         import { loadNative } from ${JSON.stringify(nativeModule)};
         const n = loadNative(), c = n.createContext(n.allocState(4096), null);
         const w = new Worker(\`const { workerData: d, parentPort } = require('node:worker_threads');
           import(d.m).then(({ loadNative }) => { const n = loadNative(); setTimeout(() => n.kick(d.id), 50); });\`,
           { eval: true, execArgv: [], workerData: { m: ${JSON.stringify(nativeModule)}, id: c.id } });
         const start = n.now(); let zero = false;
         while (!zero) if (c.wait(start + 30e9) === 1) await new Promise((r) => setImmediate(r)); else zero = true;
         console.log(n.now() - start < 20e9);`,
      );
      expect(r).toMatchObject({ status: 0, out: 'true\n' });
    });
  });

  describe('lifetime', () => {
    const descriptors = (): number => readdirSync('/proc/self/fd').length;
    const threads = (): number => readdirSync('/proc/self/task').length;
    const mappings = (): number =>
      readFileSync('/proc/self/maps', 'utf8').split('\n').filter((l) => l.includes('vmx-accel-code')).length;

    it('200 contexts leave nothing behind', async () => {
      const cycle = (): void => {
        const s = native.allocState(1 << 20);
        const e = native.allocExec(1 << 20);
        const c = native.createContext(s, e);
        c.setDeadline(native.now() + 1e12);
        c.watchLoop(true);
        new Uint8Array(e.buffer).set([0xc3]);
        c.run(e.address);
        c.dispose();
        c.dispose();
        expect(codeOf(() => c.run(e.address))).toBe('ERR_INVALID_ARG');
        c.kick();
        c.setDeadline(1);
        expect(c.wait(0)).toBe(0);
        native.free(s);
        native.free(e);
      };
      cycle();
      const before = [descriptors(), threads(), mappings()];
      for (let i = 0; i < 200; i++) cycle();
      await sleep(20);
      expect([descriptors(), threads(), mappings()]).toEqual(before);
    });

    it('ends while its deadline goes off', { timeout: 90_000 }, () => {
      // In a process of its own: what used to happen is that dispose waited forever for its thread.
      const r = runScript(`
        const { loadNative } = await import('${nativeModule}');
        const n = loadNative();
        const s = n.allocState(4096);
        for (let i = 0; i < 2000; i++) {
          const c = n.createContext(s, null);
          const t = n.now() + (i % 50) * 2000;
          c.setDeadline(t);
          while (n.now() < t + (i % 7) * 1000);
          c.dispose();
        }`);
      expect(r).toEqual({ status: 0, signal: null, out: '' });
    });

    it('free waits for contexts that use the memory', () => {
      const s = native.allocState(4096);
      const c = native.createContext(s, null);
      native.free(s);
      expect(s.buffer.byteLength).toBe(0);
      c.kick(); // writes to the state, which must still be there
      c.dispose();
    });

    it('what is dropped without dispose is collected', () => {
      const r = runScript(
        `import { readdirSync, readFileSync } from 'node:fs';
         import v8 from 'node:v8'; import vm from 'node:vm';
         import { loadNative } from ${JSON.stringify(nativeModule)};
         v8.setFlagsFromString('--expose-gc'); const gc = vm.runInNewContext('gc');
         const n = loadNative();
         const count = () => [readdirSync('/proc/self/fd').length, readdirSync('/proc/self/task').length,
           readFileSync('/proc/self/maps', 'utf8').split('\\n').filter((l) => l.includes('vmx-accel-code')).length].join();
         const before = count();
         (() => { for (let i = 0; i < 20; i++) {
           n.createContext(n.allocState(4096), n.allocExec(1 << 20)).setDeadline(n.now() + 1e12); n.allocRam(1 << 20); } })();
         for (let i = 0; i < 5; i++) { gc(); await new Promise((r) => setTimeout(r, 10)); }
         console.log(count() === before);`,
      );
      expect(r).toMatchObject({ status: 0, out: 'true\n' });
    });

    it('a worker may end abruptly, even in wait or with everything in use', () => {
      const r = runScript(
        `import { Worker } from 'node:worker_threads'; import { readdirSync, readFileSync } from 'node:fs';
         const source = \`const { parentPort, workerData } = require('node:worker_threads');
           import(workerData.m).then(({ loadNative }) => {
             const n = loadNative(), s = n.allocState(1 << 20), e = n.allocExec(1 << 20), c = n.createContext(s, e);
             const ram = n.allocRam(1 << 20); new Uint8Array(ram.buffer)[5] = 1;
             new Uint8Array(e.buffer).set([0xc3]); c.run(e.address); c.setDeadline(n.now() + 1e12); c.watchLoop(true);
             n.free(n.allocRam(4096));
             parentPort.postMessage('up');
             if (workerData.mode === 'wait') for (;;) c.wait(Infinity);
             else if (workerData.mode === 'exit') process.exit(0);
             else setInterval(() => {}, 1000);
           });\`;
         const count = () => [readdirSync('/proc/self/fd').length, readdirSync('/proc/self/task').length,
           readFileSync('/proc/self/maps', 'utf8').split('\\n').filter((l) => l.includes('vmx-accel-code')).length].join();
         let before;
         for (let i = 0; i < 12; i++) {
           const mode = ['wait', 'exit', 'idle'][i % 3];
           const w = new Worker(source, { eval: true, execArgv: [], workerData: { m: ${JSON.stringify(nativeModule)}, mode } });
           const gone = new Promise((r) => w.once('exit', r));
           await new Promise((r) => w.once('message', r));
           if (mode !== 'exit') w.terminate();
           await gone;
           if (i === 2) before = count();
         }
         console.log(count() === before ? 'clean' : before + ' / ' + count());`,
      );
      expect(r).toMatchObject({ status: 0, out: 'clean\n' });
    });

    it('the process may exit with everything in use', () => {
      const r = runScript(
        `import { Worker } from 'node:worker_threads';
         import { loadNative } from ${JSON.stringify(nativeModule)};
         const n = loadNative(), c = n.createContext(n.allocState(4096), n.allocExec(4096));
         n.allocRam(1 << 20); c.setDeadline(n.now() + 1e6); c.watchLoop(true);
         setTimeout(() => process.exit(3), 30);`,
      );
      expect(r).toMatchObject({ status: 3, signal: null, out: '' });
    });
  });
});

it('says how to build the addon when it is missing', () => {
  expect(existsSync(fileURLToPath(nativeModule))).toBe(true);
  const r = runScript(
    `import { loadNative } from ${JSON.stringify(nativeModule)};
     try { loadNative(); } catch (e) { console.log(e.code, /node-gyp rebuild/.test(e.message)); }`,
    // A directory without prebuilds: a checkout may have some.
    { PREBUILDS_ONLY: '1', VMX_ACCEL_PREBUILD: fileURLToPath(new URL('.', import.meta.url)) },
  );
  expect(r).toMatchObject({ status: 0, out: 'ERR_NO_ADDON true\n' });
});
