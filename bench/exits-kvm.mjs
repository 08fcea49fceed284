// bench/exits-kvm: exits per second under KVM, the devices in TypeScript against a minimal C program on the same KVM, interleaved.
// node bench/exits-kvm.mjs [--rounds 5] [--count 150000]
// Prints per loop (OUT to a port nobody claims; MMIO read where nothing is) the median ratio on a machine with one CPU, which runs on the
// devices' own thread; then the same loop on a machine with two CPUs, whose vCPUs have threads of their own, and the mailbox's round trip: from
// the vCPU's report to its next command, with the device thread hot. That wants two idle cores.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandLine } from '../scripts/command-line.mjs';
import { VirtualMachine } from '../dist/index.js';

const { values } = commandLine(import.meta.url, { options: { rounds: { type: 'string', default: '5' }, count: { type: 'string', default: '150000' } } });
const rounds = Number(values.rounds);
const count = Number(values.count);
const dir = mkdtempSync(join(tmpdir(), 'vmx-exits-'));
const program = join(dir, 'loop');
execFileSync('cc', ['-O2', '-o', program, fileURLToPath(new URL('exits-kvm/loop.c', import.meta.url))]);

const LOAD = 0x10_0000;
const HEADER = 32;
const LOOPS = { io: [0xe6, 0xf1], mmio: [0xa1, 0x00, 0x10, 0xc0, 0xfe] };

/** mov ecx,count; 1: the access; dec ecx; jnz 1b; then isa-debug-exit. As a multiboot kernel. */
function kernel(access) {
  const code = [0xb9, count & 0xff, (count >> 8) & 0xff, (count >> 16) & 0xff, count >> 24, ...access, 0x49, 0x75, 256 - access.length - 3, 0xb0, 0, 0xba, 0xf4, 0, 0, 0, 0xee, 0xf4];
  const h = Buffer.alloc(HEADER);
  [0x1bad_b002, 1 << 16, -(0x1bad_b002 + (1 << 16)), LOAD, LOAD, LOAD + HEADER + code.length, 0, LOAD + HEADER].forEach((w, i) => h.writeUInt32LE(w >>> 0, i * 4));
  return Buffer.concat([h, Buffer.from(code)]);
}

const median = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];

async function ours(file, cpus = 1) {
  const vm = await VirtualMachine.create({ kernel: file, cpus, accel: 'kvm,kernel=kvm', memory: '16M', devices: ['isa-debug-exit'], noReboot: true });
  vm.start();
  await vm.wait();
  const s = await vm.stats();
  return { rate: count / s.wall, trips: s.kvm.roundTrips };
}

try {
  for (const [name, access] of Object.entries(LOOPS)) {
    const file = join(dir, `${name}.bin`);
    writeFileSync(file, kernel(access));
    const ratios = [];
    for (let r = 0; r < rounds; r++) {
      const peer = Number(execFileSync(program, [name, String(count)], { encoding: 'utf8' }));
      const mine = await ours(file);
      ratios.push(mine.rate / peer);
      console.log(`${name} round ${r}: C ${Math.round(peer)}/s, TypeScript ${Math.round(mine.rate)}/s, ratio ${(mine.rate / peer).toFixed(2)}`);
    }
    console.log(`${name}: median ratio ${median(ratios).toFixed(2)}`);
    const peer = Number(execFileSync(program, [name, String(count)], { encoding: 'utf8' }));
    const { rate, trips } = await ours(file, 2);
    console.log(`${name} by mailbox: ratio ${(rate / peer).toFixed(2)}; round trip ${trips.medianNs} ns (median, rounded up to 250), ${trips.hot} of ${trips.count} found while spinning`);
  }
} finally {
  rmSync(dir, { recursive: true });
}
