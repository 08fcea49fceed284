/** Machines with a code cache: the same output whatever is in it, and code only for the guest it was made of. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type MachineOptions, type MachineStats, UsageError, VirtualMachine } from '#lib/index.js';
import { CacheDirectory } from '#lib/cache/directory.js';
import { ExportWriter, readExport } from '#lib/cache/contents.js';
import { codeAt, POSITION_MASK, SITE_LINKED, siteCount, sitesAt } from '#lib/engine/aot/record.js';
import { exportCache, importCache, verifyCache } from '#lib/machine/aot-tools.js';
import { numbers, tempDir } from '../cache/temp.js';
import { Console } from './console.js';
import { guests, noAddon, noGuests, skipFor } from './guests.js';
import { tinyKernel } from './tiny.js';

const MINUTES = 60_000;
const noJit = noAddon ?? (process.arch === 'x64' ? null : 'no back end for this host');

interface Run {
  text: string;
  stats: MachineStats;
  log: string[];
}

/** Runs to power-off, or until the mark was printed. */
async function run(o: MachineOptions, mark?: string): Promise<Run> {
  await using vm = await VirtualMachine.create({ accel: 'jit', memory: '16M', ...o });
  const c = new Console(vm);
  const log: string[] = [];
  vm.on('log', (m) => log.push(m));
  const printed = mark === undefined ? null : c.until(mark);
  vm.start();
  if (printed !== null) {
    await printed;
    await vm.stop();
  }
  const end = await vm.wait();
  if (mark === undefined) expect(end).toMatchObject({ reason: 'power-off' });
  return { text: c.text, stats: (await vm.stats())!, log };
}

describe.skipIf(skipFor(noJit))('a small guest and the code cache', () => {
  const kernel = (bytes: Buffer): string => {
    const file = join(tempDir(), 'kernel');
    writeFileSync(file, bytes);
    return file;
  };

  it('has no cache unless asked', async () => {
    const r = await run({ kernel: kernel(tinyKernel('hello\n', { kind: 'power-off' })) });
    expect(r.stats.aot).toBe(null);
  });

  it('gets its code from the cache the second time', async () => {
    const o: MachineOptions = { kernel: kernel(tinyKernel('hello\n', { kind: 'power-off' })), aot: 'on', aotDir: tempDir() };
    const cold = await run(o);
    const warm = await run(o);
    expect([cold.text, warm.text]).toEqual(['hello\n', 'hello\n']);
    expect(cold.stats.engine.installed).toBe(0);
    expect(warm.stats.engine.installed).toBe(warm.stats.engine.blocks);
    expect(warm.stats.engine.insns).toBe(0);
    expect(warm.stats.aot).toMatchObject({ misses: 0, added: 0 });
  });

  it('of which one byte has changed is translated anew', async () => {
    const aotDir = tempDir();
    const bytes = tinyKernel('AAAA\n', { kind: 'power-off' });
    expect((await run({ kernel: kernel(bytes), aot: 'on', aotDir })).text).toBe('AAAA\n');
    // mov edx, 3f8h; out dx, al in the printing loop: now with port 3f9h, whose register takes no characters.
    const at = bytes.indexOf(Buffer.from([0xba, 0xf8, 0x03, 0, 0, 0xee]));
    expect(at).toBeGreaterThan(0);
    bytes[at + 1] = 0xf9;
    const r = await run({ kernel: kernel(bytes), aot: 'on', aotDir });
    expect(r.text).toBe('');
    expect(r.stats.aot!.misses).toBeGreaterThan(0);
    expect(r.stats.aot!.hits).toBeGreaterThan(0);
  });

  it('runs the same with a damaged cache, which is refused with one warning', { timeout: 5 * MINUTES }, async () => {
    const aotDir = tempDir();
    const o: MachineOptions = { kernel: kernel(tinyKernel('hello\n', { kind: 'power-off' })), aot: 'on', aotDir };
    await run(o);
    const dir = CacheDirectory.open(aotDir);
    const file = join(aotDir, dir.segments()[0]!.name);
    const good = readFileSync(file);
    const rnd = numbers(5);
    for (let i = 0; i < 12; i++) {
      for (const s of dir.segments()) dir.remove(s.name);
      const bad = Buffer.from(good);
      bad[rnd(bad.length)]! ^= 1 << rnd(8);
      writeFileSync(file, bad, { mode: 0o600 });
      const r = await run(o);
      expect(r.text).toBe('hello\n');
      expect(r.log.filter((m) => m.startsWith('code cache:'))).toHaveLength(1);
    }
  });

  it('is one of four that share a cache at once', { timeout: 2 * MINUTES }, async () => {
    const aotDir = tempDir();
    const o: MachineOptions = { kernel: kernel(tinyKernel('hello\n', { kind: 'power-off' })), aot: 'on', aotDir };
    for (let round = 0; round < 2; round++) {
      const runs = await Promise.all([1, 2, 3, 4].map(() => run(o)));
      for (const r of runs) {
        expect(r.text).toBe('hello\n');
        expect(r.log).toEqual([]);
        if (round === 1) expect(r.stats.aot).toMatchObject({ misses: 0 });
      }
    }
  });

  it('says in one line what is wrong with a directory that was named', async () => {
    const aotDir = tempDir();
    chmodSync(aotDir, 0o755);
    const k = kernel(tinyKernel('', { kind: 'power-off' }));
    await expect(VirtualMachine.create({ kernel: k, aot: 'on', aotDir })).rejects.toThrow(/^--aot-dir: .* is open to other users/);
    await expect(VirtualMachine.create({ kernel: k, aot: 'maybe' as 'on' })).rejects.toThrow(/^--aot: 'maybe' is not available/);
    await expect(VirtualMachine.create({ kernel: k, aot: 'on', aotSize: 5 })).rejects.toThrow(UsageError);
  });
});

describe.skipIf(skipFor(noGuests ?? noJit))('Linux and the code cache', () => {
  const MARK = 'USER SPACE REACHED';

  it('prints the same off, cold and warm', { timeout: 10 * MINUTES }, async () => {
    const aotDir = tempDir();
    const o: MachineOptions = { kernel: guests.kernel, initrd: guests.initramfs, append: 'console=ttyS0', memory: '256M', clock: 'virtual', aotDir };
    // The kernel's first half: a clock that counts instructions runs blocks one by one.
    const half = 'devtmpfs: initialized';
    // A machine goes on for a while after the line that is waited for, the longer the busier the host is. So the first run goes well beyond where the
    // second is stopped: all code that it can meet has been seen.
    const beyond = 'HugeTLB: registered';
    const off = await run({ ...o, aot: 'off' }, half);
    const cold = await run({ ...o, aot: 'on' }, beyond);
    const warm = await run({ ...o, aot: 'on' }, half);
    const upTo = (r: Run): string => r.text.slice(0, r.text.indexOf(half));
    expect(upTo(off).length).toBeGreaterThan(5000);
    expect(upTo(cold)).toBe(upTo(off));
    expect(upTo(warm)).toBe(upTo(off));
    expect(warm.stats.engine.installed).toBeGreaterThan(warm.stats.engine.blocks * 0.98);
  });

  it('finds the code of a kernel that has put itself elsewhere', { timeout: 10 * MINUTES }, async () => {
    const aotDir = tempDir();
    // With the host's clock and random numbers every boot has another kernel address (KASLR).
    const o: MachineOptions = { kernel: guests.kernel, initrd: guests.initramfs, append: 'console=ttyS0 quiet', memory: '256M', aotDir };
    // To the prompt, where the guest waits: see above.
    const cold = await run({ ...o, aot: 'on' }, '~ # ');
    const warm = await run({ ...o, aot: 'on' }, MARK);
    expect(cold.stats.aot!.groups).toBe(0);
    // A page at a time.
    expect(warm.stats.aot!.groups).toBeGreaterThan(1000);
    expect(warm.stats.aot!.groups).toBeLessThan(warm.stats.engine.installed / 10);
    expect(warm.stats.aot!.hot).toBeGreaterThan(0);
    // Not compiled again.
    expect(warm.stats.aot!.regions).toBeGreaterThan(0);
    expect(warm.stats.engine.installed).toBeGreaterThan(warm.stats.engine.blocks * 0.98);
    const verified = await run({ ...o, aot: 'verify' }, MARK);
    expect(verified.stats.aot).toMatchObject({ different: 0 });
    expect(verified.stats.aot!.verified).toBeGreaterThan(50_000);
    const dir = CacheDirectory.open(aotDir);
    const check = verifyCache(dir);
    expect(check).toMatchObject({ different: 0, others: 0, refused: [] });
    expect(check.regions).toBeGreaterThan(0);
    expect(check.same).toBe(check.records);
    // Anybody can write a file whose checksums are right: a jump within a page group that leads elsewhere is not taken over.
    const file = join(tempDir(), 'export');
    exportCache(dir, file);
    const evil = `${file}.evil`;
    const out = new ExportWriter(evil);
    let changed = 0;
    readExport(file, {
      identity: (_i, raw) => out.identity(raw),
      chunk: ({ index, payload }) => {
        for (let i = 1; i < index.length && changed === 0; i += 2) {
          const at = index[i]!;
          const s = sitesAt(payload, at);
          if (siteCount(payload, at) === 0 || (payload[s]! & SITE_LINKED) === 0) continue;
          const position = codeAt(payload, at) * 4 + (payload[s]! & POSITION_MASK);
          new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength)[position]! ^= 0x10;
          changed++;
        }
        if (changed < 2) out.chunk({ index, payload });
        if (changed === 1) changed++;
      },
    });
    out.close();
    expect(changed).toBe(2);
    expect(() => importCache(CacheDirectory.open(tempDir()), evil, 1 << 30)).toThrow(/holds code that this build does not make; nothing was imported/);
  });
});
