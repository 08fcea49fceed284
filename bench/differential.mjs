// bench/differential: random x86 instructions against the host CPU (see test/differential); status 1 on a difference.
//   node bench/differential.mjs --cases 2000000 --seed 1 [--family alu,sse] [--executors interp,jit] [--disable-pass NAME]... [--first N] [--limit N] [--coverage]
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import ts from 'typescript';
import { badUsage, commandLine } from '../scripts/command-line.mjs';
import { passOptions } from '../dist/machine/debug/tools.js';

const { values: o } = commandLine(import.meta.url, {
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    family: { type: 'string' },
    executors: { type: 'string', default: 'interp,jit' },
    limit: { type: 'string', default: '20' },
    'disable-pass': { type: 'string', multiple: true, default: [] },
    coverage: { type: 'boolean', default: false },
  },
});

// The harness is TypeScript next to the tests; it uses the engine from dist/, like the tests.
const source = new URL('../test/differential/', import.meta.url);
const target = new URL('../build/differential/', import.meta.url);
mkdirSync(target, { recursive: true });
for (const f of readdirSync(source)) {
  if (!f.endsWith('.ts') || f.endsWith('.test.ts')) continue;
  const r = ts.transpileModule(readFileSync(new URL(f, source), 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, isolatedModules: true },
  });
  // Several runs may start at once: none may see a half-written file.
  const temporary = new URL(`${f}.${process.pid}`, target);
  writeFileSync(temporary, r.outputText);
  renameSync(temporary, new URL(f.replace(/\.ts$/, '.js'), target));
}
const { runDifferential } = await import(new URL('differ.js', target).href);
const { FAMILIES } = await import(new URL('templates.js', target).href);

const families = o.family === undefined ? FAMILIES : o.family.split(',');
const unknown = families.filter((f) => !FAMILIES.includes(f));
if (unknown.length > 0) badUsage(import.meta.url, `--family: unknown ${unknown.join(', ')} (known: ${FAMILIES.join(', ')})`);
let passes;
try {
  passes = passOptions(o['disable-pass']);
} catch (e) {
  badUsage(import.meta.url, e.message);
}
const total = Number(o.cases);
const t0 = performance.now();
const tty = process.stderr.isTTY;
const r = runDifferential({
  cases: total,
  seed: Number(o.seed),
  first: Number(o.first),
  families,
  executors: o.executors.split(','),
  passes,
  limit: Number(o.limit),
  progress: (done, n) => {
    if (!tty) return;
    const s = (performance.now() - t0) / 1000;
    process.stderr.write(`\r${done} of ${total} cases, ${n} differences, ${Math.round(done / Math.max(s, 0.001))}/s \x1b[K`);
  },
  found: (d) => {
    if (tty) process.stderr.write('\r\x1b[K');
    console.log(`${d.text}\n`);
  },
});
if (tty) process.stderr.write('\r\x1b[K');
const seconds = (performance.now() - t0) / 1000;
console.log(`${r.cases} cases (${r.instructions} instructions, ${r.faults} faults), ${r.differing} differ (${r.differences.length} kinds), ${seconds.toFixed(1)} s, ${r.covered.size} rows covered, ${r.uncovered.length} not reached`);
for (const [why, n] of r.skipped) console.log(`  ${n} rows left out: ${why}`);
if (o.coverage) for (const id of r.uncovered) console.log(`  not reached: ${id}`);
process.exit(r.differences.length > 0 ? 1 : 0);
