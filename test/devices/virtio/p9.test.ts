/** virtio-9p: the messages, and that no request leads out of the shared folder. */
import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { P9Server } from '#lib/devices/virtio/p9/server.js';
import { VirtioP9 } from '#lib/devices/virtio/p9.js';
import { HostFolder } from '#lib/share/host-folder.js';
import { skipFor } from '../../boot/guests.js';
import { VirtioDriver } from '../virtio-driver.js';
import { fuzzVirtio } from './fuzz-virtio.js';

const skip = skipFor(process.platform === 'linux' ? null : 'shared folders need a Linux host');
const [ENOENT, EBADF, EEXIST, ENOTDIR, EINVAL, EROFS, ELOOP, EPERM, EPROTO, ENXIO, ENOTEMPTY] = [2, 9, 17, 20, 22, 30, 40, 1, 71, 6, 39];

let dir: string;
let share: string;
let server: P9Server;
let folder: HostFolder;
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'vmx-9p-')));
  share = join(dir, 'share');
  mkdirSync(join(share, 'sub'), { recursive: true });
  writeFileSync(join(share, 'file'), 'contents');
  writeFileSync(join(dir, 'secret'), 'secret');
  symlinkSync('..', join(share, 'up'));
  symlinkSync('../secret', join(share, 'leak'));
  symlinkSync(dir, join(share, 'sub/abs'));
  folder = new HostFolder(share, false);
  server = new P9Server(folder);
  server.handle(message(100, u32(8192), str('9P2000.L')));
  expect(call(104, u32(0), u32(0xffff_ffff), str('root'), str(''), u32(0)).error).toBe(0);
});
afterEach(() => {
  server.reset();
  folder.close();
  rmSync(dir, { recursive: true, force: true });
});

const num = (bytes: number) => (v: number): Buffer => {
  const b = Buffer.alloc(bytes);
  b.writeUIntLE(v % 2 ** 32, 0, Math.min(4, bytes));
  if (bytes === 8) b.writeUInt32LE(Math.floor(v / 2 ** 32), 4);
  return b;
};
const [u16, u32, u64] = [num(2), num(4), num(8)] as const;
const str = (s: string): Buffer => Buffer.concat([u16(Buffer.byteLength(s)), Buffer.from(s)]);
function message(type: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([u32(7 + body.length), Uint8Array.of(type, 1, 0), body]);
}
function call(type: number, ...parts: Buffer[]): { error: number; data: Buffer } {
  const r = Buffer.from(server.handle(message(type, ...parts))!);
  expect(r.readUInt32LE(0)).toBe(r.length);
  if (r[4] === 7) return { error: r.readUInt32LE(7), data: Buffer.alloc(0) };
  expect(r[4]).toBe(type + 1);
  return { error: 0, data: r.subarray(7) };
}
const walk = (fid: number, to: number, ...names: string[]): { error: number; data: Buffer } => call(110, u32(fid), u32(to), u16(names.length), ...names.map(str));
const open = (fid: number, flags: number): number => call(12, u32(fid), u32(flags)).error;
const create = (fid: number, name: string, flags: number, mode = 0o644): number => call(14, u32(fid), str(name), u32(flags), u32(mode), u32(0)).error;
const clunk = (fid: number): number => call(120, u32(fid)).error;
const read = (fid: number, offset: number, count: number): string => {
  const r = call(116, u32(fid), u64(offset), u32(count));
  expect(r.error).toBe(0);
  return r.data.subarray(4).toString();
};
const write = (fid: number, offset: number, data: string): { error: number; data: Buffer } => call(118, u32(fid), u64(offset), u32(data.length), Buffer.from(data));
function list(fid: number, count = 8000): string[] {
  const names: string[] = [];
  for (let offset = 0; ; ) {
    const r = call(40, u32(fid), u64(offset), u32(count));
    expect(r.error).toBe(0);
    expect(r.data.length).toBe(4 + r.data.readUInt32LE(0));
    if (r.data.length === 4) return names;
    for (let at = 4; at < r.data.length; ) {
      offset = Number(r.data.readBigUInt64LE(at + 13));
      const n = r.data.readUInt16LE(at + 22);
      names.push(r.data.toString('utf8', at + 24, at + 24 + n));
      at += 24 + n;
    }
  }
}

describe.skipIf(skip)('9P2000.L', () => {
  it('reads, writes, lists', () => {
    expect(walk(0, 1, 'file').error).toBe(0);
    expect(open(1, 2)).toBe(0);
    expect(read(1, 2, 100)).toBe('ntents');
    expect(write(1, 8, '!').data.readUInt32LE(0)).toBe(1);
    expect(readFileSync(join(share, 'file'), 'utf8')).toBe('contents!');
    expect(walk(0, 2).error).toBe(0);
    expect(open(2, 0)).toBe(0);
    expect(list(2).sort()).toEqual(['.', '..', 'file', 'leak', 'sub', 'up']);
    expect(list(2, 60).sort()).toEqual(['.', '..', 'file', 'leak', 'sub', 'up']);
    expect([clunk(1), clunk(1)]).toEqual([0, EBADF]);
  });

  it('makes and removes', () => {
    walk(0, 1);
    expect(create(1, 'new', 0o101, 0o4755)).toBe(0);
    write(1, 0, 'x');
    // No set-user-ID bit reaches the host.
    expect(statSync(join(share, 'new')).mode & 0o7777).toBe(0o755);
    walk(0, 2);
    expect(create(2, 'new', 0o301)).toBe(EEXIST);
    expect(call(72, u32(0), str('d'), u32(0o750), u32(0)).error).toBe(0);
    expect(statSync(join(share, 'd')).mode & 0o7777).toBe(0o750);
    expect(call(16, u32(0), str('l'), str('/etc/passwd'), u32(0)).error).toBe(0);
    walk(0, 3, 'l');
    expect(call(22, u32(3)).data.subarray(2).toString()).toBe('/etc/passwd');
    expect(call(74, u32(0), str('new'), u32(0), str('renamed')).error).toBe(0);
    // The open file is found under its new name.
    expect(call(26, u32(1), u32(1), u32(0o600), ...[0, 0].map(u32), ...[0, 0, 0, 0, 0].map(u64)).error).toBe(0);
    expect(statSync(join(share, 'renamed')).mode & 0o777).toBe(0o600);
    expect(call(76, u32(0), str('sub'), u32(0x200)).error).toBe(ENOTEMPTY);
    expect(call(76, u32(0), str('renamed'), u32(0)).error).toBe(0);
    expect(call(76, u32(0), str('d'), u32(0x200)).error).toBe(0);
    // Removed, and still open.
    expect(write(1, 1, 'y').error).toBe(0);
    expect(call(18, u32(0), str('dev'), u32(0o20666), u32(1), u32(3), u32(0)).error).toBe(EPERM);
    expect(existsSync(join(share, 'dev'))).toBe(false);
  });

  it('sets size and times, but no owner', () => {
    walk(0, 1, 'file');
    const set = (valid: number, mode: number, uid: number, size: number, ...times: number[]): number => call(26, u32(1), u32(valid), u32(mode), u32(uid), u32(0), u64(size), ...times.map(u64)).error;
    expect(set(8, 0, 0, 3, 0, 0, 0, 0)).toBe(0);
    expect(readFileSync(join(share, 'file'), 'utf8')).toBe('con');
    expect(set(0x1b0, 0, 0, 0, 1000, 5, 2000, 500_000_000)).toBe(0);
    expect(statSync(join(share, 'file')).mtimeMs).toBeCloseTo(2_000_500, 0);
    expect(set(2, 0, 12345, 0, 0, 0, 0, 0)).toBe(EPERM);
  });

  it('does not let a path out of the folder', () => {
    for (const names of [['..', 'secret'], ['sub', '..', '..', 'secret'], ['up', 'secret'], ['sub', 'abs', 'secret'], ['../secret'], ['sub/../../secret'], ['.', 'file'], [''], ['a\0b'], ['up', 'share', 'file']]) {
      const r = walk(0, 9, ...names);
      // A walk that stops on its way gives no fid.
      expect([r.error === 0 ? r.data.readUInt16LE(0) < names.length : true, clunk(9)]).toEqual([true, EBADF]);
    }
    // '..' of the top is the top.
    expect(walk(0, 5, '..', '..', 'file').error).toBe(0);
    expect(open(5, 0)).toBe(0);
    expect(read(5, 0, 100)).toBe('contents');
    // A link itself can be looked at, and not opened.
    expect(walk(0, 6, 'leak').error).toBe(0);
    expect(open(6, 0)).toBe(ELOOP);
    expect(call(26, u32(6), u32(8), u32(0), u32(0), u32(0), ...[0, 0, 0, 0, 0].map(u64)).error).toBe(EINVAL);
    walk(0, 7);
    expect(create(7, 'leak', 0o1101)).toBe(ELOOP);
    expect(create(7, '../made', 0o101)).toBe(EINVAL);
    expect(call(72, u32(0), str('..'), u32(0o777), u32(0)).error).toBe(EINVAL);
    expect(call(74, u32(0), str('file'), u32(0), str('../moved')).error).toBe(EINVAL);
    expect(call(76, u32(0), str('..'), u32(0x200)).error).toBe(EINVAL);
    expect(walk(0, 8, 'up').error).toBe(0);
    expect(create(8, 'made', 0o101)).toBe(ENOTDIR);
    expect(call(70, u32(8), u32(5), str('made')).error).toBe(ENOTDIR);
    expect(readdirSync(dir).sort()).toEqual(['secret', 'share']);
    expect(readFileSync(join(dir, 'secret'), 'utf8')).toBe('secret');
  });

  it('does not follow a folder that becomes a link, or is moved away', () => {
    writeFileSync(join(share, 'sub/inner'), 'inner');
    expect(walk(0, 1, 'sub', 'inner').error).toBe(0);
    renameSync(join(share, 'sub'), join(dir, 'outside'));
    symlinkSync(join(dir, 'outside'), join(share, 'sub'));
    expect(open(1, 0)).toBe(ENOTDIR);
    expect(call(24, u32(1), u64(0x7ff)).error).toBe(ENOTDIR);
    rmSync(join(share, 'sub'));
    expect(open(1, 0)).toBe(ENOENT);
    expect(existsSync(join(dir, 'outside/inner'))).toBe(true);
  });

  it('opens neither pipes nor devices', () => {
    execFileSync('mkfifo', [join(share, 'pipe')]);
    walk(0, 1, 'pipe');
    expect([open(1, 0), open(1, 1)]).toEqual([ENXIO, ENXIO]);
    walk(0, 2);
    expect(create(2, 'pipe', 0o101)).toBe(ENXIO);
    expect(call(26, u32(1), u32(8), u32(0), u32(0), u32(0), ...[5, 0, 0, 0, 0].map(u64)).error).toBe(EINVAL);
  });

  it('keeps its hands off a folder that is read only', () => {
    server.reset();
    const ro = new HostFolder(share, true);
    server = new P9Server(ro);
    call(104, u32(0), u32(0xffff_ffff), str('root'), str(''), u32(0));
    walk(0, 1, 'file');
    expect([open(1, 1), open(1, 2), open(1, 0o1000)]).toEqual([EROFS, EROFS, EROFS]);
    expect(open(1, 0)).toBe(0);
    expect(write(1, 0, 'x').error).not.toBe(0);
    walk(0, 2);
    expect(create(2, 'new', 0o101)).toBe(EROFS);
    const zeros = [0, 0, 0, 0, 0].map(u64);
    for (const r of [
      call(72, u32(0), str('d'), u32(0o777), u32(0)), call(16, u32(0), str('l'), str('x'), u32(0)), call(74, u32(0), str('file'), u32(0), str('g')), call(76, u32(0), str('file'), u32(0)),
      call(70, u32(0), u32(1), str('h')), call(26, u32(1), u32(1), u32(0), u32(0), u32(0), ...zeros), call(26, u32(1), u32(8), u32(0), u32(0), u32(0), ...zeros),
    ]) expect(r.error).toBe(EROFS);
    expect(readdirSync(share).sort()).toEqual(['file', 'leak', 'sub', 'up']);
    server.reset();
    ro.close();
  });

  it('keeps equal inode numbers apart, and hard links together', () => {
    linkSync(join(share, 'file'), join(share, 'twin'));
    const qid = (name: string): string => {
      const { data } = walk(0, 3, name);
      clunk(3);
      return data.toString('hex', 2 + 5);
    };
    expect(qid('file')).toBe(qid('twin'));
    expect(qid('file')).not.toBe(qid('sub'));
  });

  it('answers nonsense with an error', () => {
    expect(server.handle(Uint8Array.of(1, 2, 3))).toBeNull();
    expect(call(99).error).not.toBe(0);
    expect(call(110, u32(0)).error).toBe(EPROTO);
    expect(call(116, u32(77), u64(0), u32(1)).error).toBe(EBADF);
    expect(call(110, u32(0), u32(1), u16(17)).error).toBe(EINVAL);
    expect(call(104, u32(0), u32(0), str(''), str(''), u32(0)).error).toBe(EBADF);
    // A reply is never longer than agreed.
    walk(0, 1, 'file');
    open(1, 0);
    expect(server.handle(message(116, u32(1), u64(0), u32(0xffff_ffff)))!.length).toBeLessThanOrEqual(8192);
    expect(call(116, u32(1), u64(2 ** 60), u32(1)).error).toBe(EINVAL);
  });

  it('opens files again after a restore', () => {
    walk(0, 1, 'file');
    open(1, 0);
    walk(0, 2, 'sub');
    const saved = JSON.parse(JSON.stringify(server.save())) as Record<string, unknown>;
    server.reset();
    server.restore(saved);
    expect(read(1, 0, 100)).toBe('contents');
    expect(JSON.stringify(server.save())).toBe(JSON.stringify(saved));
    expect(() => server.restore({ msize: 8192, fids: [{ id: 1, path: ['..', 'secret'], flags: 0, folder: false }] })).toThrow('bad saved state');
    expect(read(1, 0, 100)).toBe('contents');
    server.reset();
    rmSync(join(share, 'file'));
    server.restore(saved);
    expect(call(116, u32(1), u64(0), u32(10)).error).toBe(116);
    expect(open(2, 0)).toBe(0);
  });

  it('is a virtio device with a tag', () => {
    const d = new VirtioDriver(new VirtioP9(folder, 'mytag'));
    d.start(16);
    expect([d.read(4, 0, 2), Buffer.from(Array.from({ length: 5 }, (_, i) => d.read(4, 2 + i, 1))).toString()]).toEqual([5, 'mytag']);
    const [a, b] = d.add(0, [message(100, u32(8192), str('9P2000.L'))], [11, 100]);
    d.kick(0);
    const [{ len }] = d.returned(0) as [{ len: number }];
    expect(Buffer.concat([d.bytes(a!, 11), d.bytes(b!, len - 11)]).subarray(13).toString()).toBe('9P2000.L');
  });

  it.each([1, 2, 3, 4])('fuzz: nothing outside the folder is touched, seed %i', (seed) => {
    chmodSync(join(dir, 'secret'), 0o600);
    const before = JSON.stringify(lstatSync(join(dir, 'secret')));
    const NAMES = ['file', 'sub', 'up', 'leak', 'abs', '..', '.', 'new', '', 'a/b', 'x'.repeat(300)];
    fuzzVirtio(() => ({
      dev: new VirtioP9(folder, 'fuzz'),
      request: (random) => {
        const name = (): Buffer => str(NAMES[random() % NAMES.length]!);
        const fid = (): Buffer => u32(random() % 6);
        const small = (): Buffer => u32(random() % 4 === 0 ? random() : random() % 64);
        const wide = (): Buffer => u64(random() % 9 === 0 ? 2 ** 52 : random() % 4096);
        const walkNames = Array.from({ length: random() % 3 }, name);
        const all: Buffer[] = [
          message(100, u32(8192), str('9P2000.L')), message(104, fid(), u32(0), name(), name(), u32(0)), message(110, fid(), fid(), u16(walkNames.length), ...walkNames),
          message(12, fid(), u32(random() & 0o3303)), message(14, fid(), name(), u32(random() & 0o3303), small(), u32(0)), message(16, fid(), name(), name(), u32(0)), message(20, fid(), fid(), name()),
          message(22, fid()), message(24, fid(), wide()), message(26, fid(), u32(random() & 0x1ff), small(), small(), small(), wide(), wide(), wide(), wide(), wide()), message(40, fid(), wide(), small()),
          message(50, fid(), small()), message(70, fid(), fid(), name()), message(72, fid(), name(), small(), u32(0)), message(74, fid(), name(), fid(), name()), message(76, fid(), name(), small()),
          message(8, fid()), message(116, fid(), wide(), small()), message(118, fid(), wide(), small(), Buffer.alloc(random() % 64)), message(120, fid()), message(122, fid()),
        ];
        const m = Buffer.from(all[random() % all.length]!);
        if (random() % 8 === 0) m[random() % m.length] = random();
        return { out: random() % 16 === 0 ? [] : [m.subarray(0, random() % 16 === 0 ? random() % m.length : m.length)], into: [random() % 16 === 0 ? random() % 16 : 8192] };
      },
    }), seed);
    expect(readdirSync(dir).sort()).toEqual(['secret', 'share']);
    expect(JSON.stringify(lstatSync(join(dir, 'secret')))).toBe(before);
  });
});
