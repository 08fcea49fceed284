// What the profiles of bench/profile and bench/profile-set have in common: samples by category, of V8's profiler for the machine's worker and of perf for QEMU.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Categories by file (and function) of the innermost frame that belongs to one; the first match counts. */
const CATEGORIES = [
  ['generated code', (f) => f.file === 'host.js' && (f.name === 'enter' || f.name === 'resume')],
  ['translation', (f) => f.file === 'engine.js' && (f.name === 'translate' || f.name === 'makeRegion')],
  ['code writes', (f) => f.file === 'engine.js' && f.name === 'codeWrite'],
  ['block look-up', (f) => (f.file === 'engine.js' && (f.name === 'lookup' || f.name === 'find')) || /^jump-cache|^jump-contexts|^block-table|^chain-sites/.test(f.file)],
  ['exceptions, interrupts', (f) => f.file === 'interrupts.js'],
  ['string helpers', (f) => f.file === 'strings.js'],
  ['page walks, slow accesses', (f) => /mmu\.js$|^tlb/.test(f.file)],
  ['other helpers', (f) => /^(helpers.*|transfer|control|msr|csr|sysreg.*|answers|cpuid|tasks|segments|xsave|transcendental|arith|ops-string)\.js$/.test(f.file)],
  ['interpreter', (f) => f.file === 'interp.js'],
  ['run loop', (f) => f.file === 'engine.js'],
  ['garbage collection', (f) => f.name === '(garbage collector)'],
];

/**
 * @param dir folder of a run's .cpuprofile files
 * @returns samples of the machine's worker: {at, us, category}; `at` in seconds of the monotonic clock, `us` the microseconds that the sample stands for
 */
export function workerSamples(dir) {
  const out = [];
  for (const name of readdirSync(dir).filter((n) => n.endsWith('.cpuprofile'))) {
    const p = JSON.parse(readFileSync(join(dir, name), 'utf8'));
    const nodes = new Map(p.nodes.map((n) => [n.id, n]));
    const frame = (n) => ({ file: n.callFrame.url.split('/').pop(), name: n.callFrame.functionName });
    // The machine's worker is the profile in which generated code runs.
    if (!p.nodes.some((n) => frame(n).file === 'host.js' && n.callFrame.functionName === 'enter')) continue;
    const parent = new Map();
    for (const n of p.nodes) for (const c of n.children ?? []) parent.set(c, n.id);
    const category = new Map();
    for (const n of p.nodes) {
      let found = 'everything else';
      for (let id = n.id; id !== undefined; id = parent.get(id)) {
        const f = frame(nodes.get(id));
        const c = CATEGORIES.find(([, is]) => is(f));
        if (c !== undefined) {
          found = c[0];
          break;
        }
      }
      category.set(n.id, found);
    }
    let at = p.startTime;
    p.samples.forEach((id, i) => {
      at += p.timeDeltas[i];
      out.push({ at: at / 1e6, us: p.timeDeltas[i], category: category.get(id) });
    });
  }
  return out;
}

/** QEMU's functions; the first match counts. */
const PEER = [
  ['block look-up', /lookup_tb_ptr|get_tb_cpu_state|tb_htable|tb_lookup|tb_cmp|qht_|curr_cflags|cpu_exec|tb_jmp_cache|cpu_loop_exec|riscv_env_mmu_index|riscv_pm_get_pmm|virt_mem_enabled|cpu_pmm|aa64_va/],
  ['code writes', /tb_invalidate|tb_phys_inval|do_tb_|tb_page|page_collection|notdirty|tb_remove|tb_reset/],
  ['TLB flushes', /tlb_flush|flush_jmp_cache|tlb_mmu_resize|tlb_dyn/],
  ['page walks, slow accesses', /mmu|tlb|probe_access|get_physical_address|address_space|iotlb|memory_region|flatview|ram_block|ram_addr|ram_ptr|page_addr_code|access_(ld|st)|get_pg_mode|pmp_|regime|aa32|ptw|asidx|watchpoint|dirty/],
  ['softfloat', /^float|^parts|soft_f|^floatx80|^int\d+_to_float|^u?int.*_to_float|^round/],
  ['translation', /^tcg_|tb_gen_code|translat|disas|decode|^gen_|liveness|trans_|insn_start|optimize/],
  ['exceptions, interrupts', /interrupt|raise_exc|exception|apic|_irq|gic|plic|aclint/],
  ['other helpers', /^helper_|cpu_get_ticks|cpus_/],
];

/** Reads exported functions of a program: [address, name], sorted; a function without a name is taken for a neighbour of the last one before it that has one. */
function exported(program) {
  const text = execFileSync('readelf', ['--dyn-syms', '-W', program], { encoding: 'latin1', maxBuffer: 1 << 28 });
  return [...text.matchAll(/^ *\d+: ([0-9a-f]{16}) +\d+ FUNC +\S+ +\S+ +\d+ (\S+)/gm)].map((m) => [parseInt(m[1], 16), m[2]]).sort((a, b) => a[0] - b[0]);
}

function nameBefore(list, address) {
  let [lo, hi] = [0, list.length];
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (list[mid][0] <= address) lo = mid + 1;
    else hi = mid;
  }
  return lo === 0 ? '' : list[lo - 1][1];
}

/**
 * @param data file of `perf record -k CLOCK_MONOTONIC`
 * @param program QEMU's file name as perf names it
 * @returns samples of the process: {at, category}; `at` in seconds of the monotonic clock
 */
export function peerSamples(data, program) {
  const text = execFileSync('perf', ['script', '-i', data, '--show-mmap-events', '-F', 'comm,tid,time,ip,sym,dso'], { encoding: 'latin1', maxBuffer: 1 << 30, stdio: ['ignore', 'pipe', 'ignore'] });
  const out = [];
  let symbols = null;
  // Position-independent programs: the file's offset is the address that its symbols have.
  let base = 0;
  for (const line of text.split('\n')) {
    const map = /PERF_RECORD_MMAP2.*\[0x([0-9a-f]+)\(0x[0-9a-f]+\) @ (?:0x)?([0-9a-f]+) .*r-xp (\S+)$/.exec(line);
    if (map !== null) {
      if (map[3] === program) base = parseInt(map[1], 16) - parseInt(map[2], 16);
      continue;
    }
    const m = /\s([\d.]+):\s+(?:\S+:\s+)?([0-9a-f]+) (.*) \((.*)\)$/.exec(line);
    if (m === null) continue;
    const [, at, ip, symbol, dso] = m;
    let category = 'everything else';
    if (dso.startsWith('[kernel')) category = 'host kernel';
    else if (dso === program) {
      let name = symbol;
      if (name === '[unknown]') {
        symbols ??= exported(program);
        name = nameBefore(symbols, parseInt(ip, 16) - base);
      }
      category = PEER.find(([, is]) => is.test(name))?.[0] ?? category;
    } else if (/perf-\d+\.map$|anon/.test(dso)) category = 'generated code';
    out.push({ at: Number(at), us: 0, category });
  }
  return out;
}

/** @returns [category, share of time], the largest first, of the samples from `from` to `to` (seconds); empty if there are none. */
export function shares(samples, from = -Infinity, to = Infinity) {
  const total = new Map();
  let all = 0;
  for (const s of samples) {
    if (s.at < from || s.at > to) continue;
    const weight = s.us > 0 ? s.us : 1;
    total.set(s.category, (total.get(s.category) ?? 0) + weight);
    all += weight;
  }
  return [...total].sort((a, b) => b[1] - a[1]).map(([k, v]) => [k, v / all]);
}
