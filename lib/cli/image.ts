/** `vmx-accel image create|info|check|convert|commit|snapshot`. */
import type { Argv, CommandModule } from 'yargs';
import { IMAGE_FORMATS, type ImageFormat, WRITABLE_FORMATS } from '../block/formats.js';
import { openImage } from '../block/open.js';
import { Qcow2Image } from '../block/qcow2/image.js';
import { applySnapshot, deleteSnapshot, takeSnapshot } from '../block/qcow2/snapshots.js';
import { checkImage, commitImage, convertImage, createImage, imageInfo, type ImageInfo } from '../block/tools.js';
import { UsageError } from '../errors.js';
import { parseSize } from '../machine/config.js';

const OPTION = 'image';
/** Exit statuses of `image check`, as qemu-img has them. */
const EXIT_CORRUPT = 2;
const EXIT_LEAKS = 3;
const BAR = 40;

function format(text: string, option: string, known: readonly ImageFormat[] = IMAGE_FORMATS): ImageFormat {
  const f = known.find((x) => x === text);
  if (f === undefined) throw new UsageError(`${option}: '${text}' is not available (${known.join(', ')} are)`);
  return f;
}

const orAuto = (text: string | undefined, option: string): ImageFormat | 'auto' => (text === undefined || text === 'auto' ? 'auto' : format(text, option));
const writable = (text: string): 'raw' | 'qcow2' => format(text, '--format', WRITABLE_FORMATS) as 'raw' | 'qcow2';

/** A bar on terminals, nothing elsewhere. */
function progressBar(): (done: number) => void {
  if (process.stderr.isTTY !== true) return () => {};
  let shown = -1;
  return (done) => {
    const percent = Math.floor(done * 100);
    if (percent === shown) return;
    shown = percent;
    const n = Math.round(done * BAR);
    process.stderr.write(`\r[${'#'.repeat(n)}${' '.repeat(BAR - n)}] ${percent}%${percent === 100 ? '\n' : ''}`);
  };
}

function human(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let v = bytes;
  let u = 0;
  while (v >= 1024 && u < units.length - 1) {
    v /= 1024;
    u++;
  }
  return `${Number.isInteger(v) ? v : v.toFixed(1)} ${units[u]!}`;
}

function printInfo(i: ImageInfo): void {
  const lines: [string, string | number | undefined][] = [
    ['image', i.file], ['format', i.format], ['virtual size', `${human(i.virtualSize)} (${i.virtualSize} bytes)`], ['disk size', human(i.actualSize)],
    ['cluster size', i.clusterSize], ['compat', i.compat], ['compression', i.compression], ['refcount bits', i.refcountBits],
    ['backing file', i.backingFile], ['backing format', i.backingFormat], ['dirty', i.dirty === true ? 'yes' : undefined], ['corrupt', i.corrupt === true ? 'yes' : undefined],
  ];
  for (const [k, v] of lines) if (v !== undefined) process.stdout.write(`${`${k}:`.padEnd(16)}${v}\n`);
  printSnapshots(i);
}

function printSnapshots(i: ImageInfo): void {
  if (i.snapshots === undefined || i.snapshots.length === 0) return;
  process.stdout.write(`snapshots:\n${'  ID'.padEnd(8)}${'NAME'.padEnd(24)}DATE\n`);
  for (const s of i.snapshots) process.stdout.write(`${`  ${s.id}`.padEnd(8)}${s.name.padEnd(24)}${s.date}\n`);
}

const json = (v: unknown): void => void process.stdout.write(`${JSON.stringify(v, null, 2)}\n`);

interface CreateArgs { file: string; size?: string; format: string; backing?: string; backingFormat?: string; clusterSize?: string; refcountBits?: number; compat?: string; compression?: string; overwrite: boolean }
interface ReadArgs { file: string; format?: string; json: boolean }
interface CheckArgs extends ReadArgs { repair: boolean }
interface ConvertArgs { source: string; target: string; format: string; sourceFormat?: string; compress: boolean; clusterSize?: string; overwrite: boolean }
interface SnapshotArgs extends ReadArgs { create?: string; apply?: string; delete?: string }

const FORMAT = { type: 'string', describe: `format: ${IMAGE_FORMATS.join(', ')} (default: by content)` } as const;
const JSON_OUT = { type: 'boolean', default: false, describe: 'print JSON' } as const;
const NEW_FORMAT = { alias: 'f', type: 'string', default: 'qcow2', describe: `format of the new image: ${WRITABLE_FORMATS.join(', ')}` } as const;
const CLUSTER = { type: 'string', describe: 'qcow2: bytes of a cluster, 512 to 2M (default 64K)' } as const;
const OVERWRITE = { type: 'boolean', default: false, describe: 'replace a file that is there' } as const;

const create: CommandModule<object, CreateArgs> = {
  command: 'create <file> [size]',
  describe: 'make an empty image',
  builder: (y) =>
    y
      .positional('file', { type: 'string', demandOption: true })
      .positional('size', { type: 'string', describe: 'size of the disk, such as 20G (default: that of the backing file)' })
      .options({
        format: NEW_FORMAT,
        backing: { alias: 'b', type: 'string', describe: 'image whose contents show where this one has none; relative to the new image' },
        'backing-format': { type: 'string', describe: 'format of the backing file (default: by content)' },
        'cluster-size': CLUSTER,
        'refcount-bits': { type: 'number', describe: 'qcow2: 1, 2, 4, 8, 16, 32 or 64 (default 16)' },
        compat: { type: 'string', describe: 'qcow2: 1.1 (default) or 0.10' },
        compression: { type: 'string', describe: 'qcow2: type of compressed clusters: zlib (default), zstd' },
        overwrite: OVERWRITE,
      })
      .example('$0 image create disk.qcow2 20G', 'a disk for a new system')
      .example('$0 image create -b base.qcow2 trial.qcow2', 'an overlay: what is written to it leaves base.qcow2 alone') as unknown as Argv<CreateArgs>,
  handler: (a) => {
    if (a.compat !== undefined && a.compat !== '1.1' && a.compat !== '0.10') throw new UsageError(`--compat: '${a.compat}' is not available (1.1, 0.10 are)`);
    if (a.compression !== undefined && a.compression !== 'zlib' && a.compression !== 'zstd') throw new UsageError(`--compression: '${a.compression}' is not available (zlib, zstd are)`);
    createImage(a.file, {
      format: writable(a.format), size: a.size === undefined ? undefined : parseSize(a.size, OPTION), clusterSize: a.clusterSize === undefined ? undefined : parseBytes(a.clusterSize), refcountBits: a.refcountBits,
      version: a.compat === '0.10' ? 2 : 3, compression: a.compression, backingFile: a.backing, backingFormat: orAuto(a.backingFormat, '--backing-format'), option: OPTION, overwrite: a.overwrite,
    });
  },
};

/** As parseSize, but plain numbers are bytes. */
function parseBytes(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : parseSize(text, '--cluster-size');
}

const info: CommandModule<object, ReadArgs> = {
  command: 'info <file>',
  describe: 'say what an image is',
  builder: (y) => y.positional('file', { type: 'string', demandOption: true }).options({ format: FORMAT, json: JSON_OUT }) as unknown as Argv<ReadArgs>,
  handler: (a) => {
    const i = imageInfo(a.file, orAuto(a.format, '--format'), OPTION);
    if (a.json) json(i);
    else printInfo(i);
  },
};

const check: CommandModule<object, CheckArgs> = {
  command: 'check <file>',
  describe: 'look for damage in a qcow2 image: status 0 none, 2 damage, 3 space lost',
  builder: (y) =>
    y.positional('file', { type: 'string', demandOption: true }).options({ format: FORMAT, json: JSON_OUT, repair: { type: 'boolean', default: false, describe: 'set refcounts right' } }) as unknown as Argv<CheckArgs>,
  handler: (a) => {
    const first = checkImage(a.file, orAuto(a.format, '--format'), a.repair, OPTION);
    const r = a.repair ? checkImage(a.file, orAuto(a.format, '--format'), false, OPTION) : first;
    if (a.json) {
      json(r);
    } else {
      for (const m of first.messages) process.stdout.write(`${m}\n`);
      if (a.repair && first.messages.length > 0) process.stdout.write('after repair:\n');
      process.stdout.write(r.corruptions + r.leaks === 0 ? 'no errors\n' : `${r.corruptions} errors, ${r.leaks} clusters lost\n`);
      process.stdout.write(`${r.allocatedClusters} of ${r.totalClusters} clusters have data, ${r.compressedClusters} of them compressed\n`);
    }
    process.exitCode = r.corruptions > 0 ? EXIT_CORRUPT : r.leaks > 0 ? EXIT_LEAKS : 0;
  },
};

const convert: CommandModule<object, ConvertArgs> = {
  command: 'convert <source> <target>',
  describe: 'copy an image (with its backing files) into one of another format',
  builder: (y) =>
    y
      .positional('source', { type: 'string', demandOption: true })
      .positional('target', { type: 'string', demandOption: true })
      .options({ format: NEW_FORMAT, 'source-format': FORMAT, compress: { alias: 'c', type: 'boolean', default: false, describe: 'qcow2: compress clusters' }, 'cluster-size': CLUSTER, overwrite: OVERWRITE })
      .example('$0 image convert win.vhdx win.qcow2', 'so that it can be written to') as unknown as Argv<ConvertArgs>,
  handler: (a) => {
    convertImage(a.source, a.target, {
      format: writable(a.format), sourceFormat: orAuto(a.sourceFormat, '--source-format'), compress: a.compress, clusterSize: a.clusterSize === undefined ? undefined : parseBytes(a.clusterSize), overwrite: a.overwrite,
      option: OPTION, progress: progressBar(),
    });
  },
};

const commit: CommandModule<object, { file: string }> = {
  command: 'commit <file>',
  describe: 'put what an overlay holds into its backing file',
  builder: (y) => y.positional('file', { type: 'string', demandOption: true }) as unknown as Argv<{ file: string }>,
  handler: (a) => {
    const n = commitImage(a.file, OPTION, progressBar());
    process.stdout.write(`${human(n)} committed\n`);
  },
};

const snapshot: CommandModule<object, SnapshotArgs> = {
  command: 'snapshot <file>',
  describe: 'list, take, apply or delete internal snapshots of a qcow2 image',
  builder: (y) =>
    y.positional('file', { type: 'string', demandOption: true }).options({
      create: { alias: 'c', type: 'string', describe: 'take a snapshot of this name' },
      apply: { alias: 'a', type: 'string', describe: 'make the disk what it was at this snapshot' },
      delete: { alias: 'd', type: 'string', describe: 'delete this snapshot' },
      json: JSON_OUT,
    }) as unknown as Argv<SnapshotArgs>,
  handler: (a) => {
    const wanted = [a.create, a.apply, a.delete].filter((x) => x !== undefined);
    if (wanted.length > 1) throw new UsageError('image: --create, --apply and --delete exclude each other');
    if (wanted.includes('')) throw new UsageError('image: the name of the snapshot is empty');
    if (wanted.length === 0) {
      const i = imageInfo(a.file, 'auto', OPTION);
      if (i.snapshots === undefined) throw new UsageError(`image: ${a.file}: ${i.format} images have no snapshots`);
      if (a.json) json(i.snapshots);
      else printSnapshots(i);
      return;
    }
    const image = openImage({ file: a.file, format: 'auto', readonly: false, snapshot: false, option: OPTION });
    try {
      if (!(image instanceof Qcow2Image)) throw new UsageError(`image: ${a.file} is no qcow2 image: it has no snapshots`);
      if (a.create !== undefined) takeSnapshot(image, a.create, OPTION);
      else if (a.apply !== undefined) applySnapshot(image, a.apply, OPTION);
      else deleteSnapshot(image, a.delete!, OPTION);
    } finally {
      image.close();
    }
  },
};

export const imageCommand: CommandModule = {
  command: 'image',
  describe: 'make, inspect and convert disk images',
  builder: (y) => y.command(create).command(info).command(check).command(convert).command(commit).command(snapshot).demandCommand(1, 'image: a command is needed: create, info, check, convert, commit, snapshot'),
  handler: () => {},
};
