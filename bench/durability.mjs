// bench/durability: kills a machine in the middle of its writes, again and again, and looks at the disk.
//
//   node bench/durability.mjs [--rounds 20] [--format raw|qcow2] [--if virtio|nvme|scsi|ide|ahci] [--machine pc|q35]
//
// Linux writes numbered records to the disk, each with fsync, and says on its console when one is safe. After a while the process
// gets SIGKILL. Every record that was said to be safe must be in the image, and `qemu-img check` (where there is one; else our own)
// must find no errors. Needs the guests of scripts/guests.mjs. Ends with status 1 if anything is missing.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { openImage } from '../dist/block/open.js';
import { checkImage, createImage } from '../dist/block/tools.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = commandLine(import.meta.url, {
  options: { rounds: { type: 'string', default: '20' }, format: { type: 'string', default: 'qcow2' }, if: { type: 'string', default: 'virtio' }, machine: { type: 'string', default: 'pc' } },
});
const list = join(root, '.demo/guests.json');
if (!existsSync(list)) badUsage(import.meta.url, 'no guests: run node scripts/guests.mjs');
const guests = JSON.parse(readFileSync(list, 'utf8'));
const generic = values.if !== 'virtio' && values.if !== 'nvme';
const kernel = generic ? guests.kernelGeneric : guests.kernel;
const initrd = generic ? guests.initramfsStorage : guests.initramfsModules;
const node = values.if === 'virtio' ? '/dev/vda' : values.if === 'nvme' ? '/dev/nvme0n1' : '/dev/sda';

const RECORD = 4096;
const RECORDS = 16384;
/** Records are scattered, so that qcow2 has tables to write. */
const place = (n) => (n * 7919) % RECORDS;
const text = (round, n) => `round ${round} record ${n} `;
const loop = (round) =>
  `i=1; while :; do yes "round ${round} record $i " | head -c ${RECORD} | dd of=${node} bs=${RECORD} seek=$((i * 7919 % ${RECORDS})) conv=notrunc,fsync 2>/dev/null && echo "SAFE $i."; i=$((i + 1)); done\n`;

const dir = mkdtempSync(join(tmpdir(), 'vmx-durability-'));
const file = join(dir, `disk.${values.format}`);
const expected = new Map();

/** Runs a machine until it has written for `ms`, kills it. @returns number of records it said were safe. */
function run(round, ms) {
  return new Promise((resolve, reject) => {
    const disk = `${file},if=${values.if},format=${values.format}`;
    const args = ['dist/cli/main.js', 'boot', '--machine', values.machine, '--memory', '256M', '--kernel', kernel, '--initrd', initrd, '--append', 'console=ttyS0 quiet', '--disk', disk];
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    let typed = false;
    child.stdout.on('data', (d) => {
      out += d.toString('latin1');
      if (!typed && out.includes('~ # ')) {
        typed = true;
        child.stdin.write(loop(round));
      }
      if (typed && out.includes('SAFE 1.') && ms > 0) {
        setTimeout(() => child.kill('SIGKILL'), ms);
        ms = 0;
      }
    });
    const guard = setTimeout(() => child.kill('SIGKILL'), 180_000);
    child.on('exit', () => {
      clearTimeout(guard);
      const safe = [...out.matchAll(/SAFE (\d+)\./g)].map((m) => Number(m[1]));
      if (safe.length === 0) reject(new Error(`the guest wrote nothing; its console ends with: ${out.slice(-500)}`));
      else resolve(Math.max(...safe));
    });
  });
}

function verify() {
  if (values.format === 'qcow2') {
    const own = checkImage(file, 'qcow2', false, 'durability');
    if (own.corruptions > 0) throw new Error(`image check: ${own.messages.join('; ')}`);
    try {
      execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    } catch (e) {
      // 3: clusters lost. A process that is killed leaves some, QEMU's own too.
      if (e.code !== 'ENOENT' && e.status !== 3) throw e;
    }
  }
  const image = openImage({ file, format: values.format, readonly: true, snapshot: false, option: 'durability' });
  const b = Buffer.alloc(RECORD);
  let missing = 0;
  for (const [at, want] of expected) {
    image.read(at * RECORD, b);
    if (!want.some((w) => b.toString('latin1').startsWith(w))) {
      missing++;
      console.error(`lost: ${want[0]}; there is: ${JSON.stringify(b.toString('latin1', 0, 32))}`);
    }
  }
  image.close();
  if (missing > 0) throw new Error(`${missing} records are not on the disk`);
}

try {
  createImage(file, { format: values.format, size: RECORD * RECORDS, option: 'durability' });
  const rounds = Number(values.rounds);
  for (let round = 1; round <= rounds; round++) {
    const safe = await run(round, 300 + ((round * 617) % 2500));
    // The record after the last one may have been written, too.
    for (let n = 1; n <= safe; n++) expected.set(place(n), [text(round, n)]);
    const next = place(safe + 1);
    expected.set(next, [...(expected.get(next) ?? []), text(round, safe + 1), ...(expected.has(next) ? [] : ['\0'])]);
    verify();
    console.log(`round ${round} of ${rounds}: ${safe} records safe, all there (${values.format}, ${values.if}, ${values.machine})`);
  }
} catch (e) {
  console.error(`durability: ${e.message}`);
  process.exitCode = 1;
} finally {
  rmSync(dir, { recursive: true, force: true });
}
