/** Runs cases on the host and on emulators, compares, and reduces what differs to the shortest sequence. */
import type { PassOptions } from '#lib/engine/ir/passes.js';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '#lib/native.js';
import { Emulator, type EmulatorKind } from './emulator.js';
import { Generator } from './generate.js';
import { NEEDED, NativeMachine } from './native.js';
import { type Case, CodeArea, caseMemory, link, type Linked, type Unit } from './sequence.js';
import { caseSeed, DATA_BYTES, End, type Executor, type Layout, newOutcome, type Outcome, S } from './state.js';
import { FAMILIES, type Family, templates } from './templates.js';

const GPR_NAMES = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const RDI = 7;
const BRANCHES = new Set(['jcc', 'jmp', 'call', 'ret', 'jcxz', 'loop', 'loope', 'loopne']);

export interface Difference {
  readonly index: number;
  readonly executor: string;
  readonly what: readonly string[];
  readonly text: string;
  /** Names of the instructions in the reduced sequence. */
  readonly names: string;
}

export interface RunOptions {
  readonly cases: number;
  readonly seed: number;
  readonly first?: number;
  readonly families?: readonly Family[];
  readonly executors?: readonly EmulatorKind[];
  /** Passes of the engine that are switched off. */
  readonly passes?: PassOptions;
  /** Stop after so many differences. */
  readonly limit?: number;
  readonly progress?: (done: number, differences: number) => void;
  readonly found?: (d: Difference) => void;
}

export interface RunResult {
  cases: number;
  /** Cases that differ, times executors. `differences` has one for each combination of instructions. */
  differing: number;
  faults: number;
  instructions: number;
  readonly differences: Difference[];
  /** Cases per template that ran to the end or to a fault. */
  readonly covered: ReadonlyMap<string, number>;
  readonly uncovered: readonly string[];
  readonly skipped: ReadonlyMap<string, number>;
}

export function supported(): boolean {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false;
  const f = new Set(loadNative().cpuFeatures());
  return NEEDED.every((n) => f.has(n));
}

const hex = (v: bigint | number, digits = 16): string => v.toString(16).padStart(digits, '0');

export class Differ {
  readonly native: NativeMachine;
  readonly emulators: Emulator[];
  readonly layout: Layout;
  private readonly area = new CodeArea();
  private readonly data = new Uint8Array(DATA_BYTES);
  private readonly want = newOutcome();
  private readonly got = newOutcome();
  private entry = 0;
  private linked: Linked = { code: new Uint8Array(0), starts: [] };

  constructor(kinds: readonly EmulatorKind[], passes: PassOptions = {}) {
    const native = loadNative();
    this.native = new NativeMachine(native);
    this.layout = this.native.layout;
    this.emulators = kinds.map((k) => new Emulator(native, k, this.layout, this.native.exit, passes));
  }

  /** Makes the code of a case runnable everywhere. @returns false if it cannot be linked. */
  place(c: Case): boolean {
    const bytes = c.units.reduce((n, u) => n + u.bytes.length, 5);
    const entry = this.area.take(c.offset, bytes);
    const l = link(c.units, this.layout.code + entry, this.layout.code + this.native.exit);
    if (l === null) return false;
    this.entry = entry;
    this.linked = l;
    for (const e of [this.native, ...this.emulators] as Executor[]) e.load(entry, l.code);
    caseMemory(c, this.data);
    return true;
  }

  runNative(c: Case): Outcome {
    this.native.run(this.entry, c.state, this.data, this.want);
    return this.want;
  }

  /** @returns differences, empty if there are none. */
  check(c: Case, e: Emulator): string[] {
    e.run(this.entry, c.state, this.data, this.got);
    const d = this.compare(c, this.want, this.got);
    if (d.length > 0 || !c.units.some((u) => BRANCHES.has(u.name))) return d;
    // Again, with direct jumps chained and the jump cache filled.
    e.run(this.entry, c.state, this.data, this.got);
    return this.compare(c, this.want, this.got).map((x) => `second run: ${x}`);
  }

  private compare(c: Case, want: Outcome, got: Outcome): string[] {
    const out: string[] = [];
    const end = (o: Outcome): string => o.end === End.EXIT ? 'exit' : o.end === End.BROKEN ? `broken: ${o.message}` : `signal ${o.signal} at unit+0x${(o.pc - this.layout.code - this.entry).toString(16)} ${o.message}`;
    if (want.end !== got.end || want.signal !== got.signal || want.pc !== got.pc) {
      out.push(`end: native ${end(want)}, emulated ${end(got)}`);
      if (want.end !== got.end || want.pc !== got.pc) return out;
    }
    if (got.end === End.FAULT && got.address !== 0 && want.address !== got.address) out.push(`fault address: native ${hex(want.address)}, emulated ${hex(got.address)}`);
    const a = want.view;
    const b = got.view;
    const faulted = want.end === End.FAULT;
    const ended = this.unitAt(c.units, want);
    const undef = ended === undefined ? 0 : want.end === End.EXIT ? ended.undefAfter : ended.undef;
    const inexact = c.units.some((u) => u.inexact);
    for (let i = 0; i < 16; i++) {
      const x = a.getBigUint64(i * 8, true);
      const y = b.getBigUint64(i * 8, true);
      // The fault guard hands the state address over in RDI.
      if (x !== y && !(faulted && i === RDI)) out.push(`${GPR_NAMES[i]!}: native ${hex(x)}, emulated ${hex(y)}`);
    }
    const flagMask = ~undef & ~(faulted ? 0x400 : 0);
    const fx = a.getUint32(S.FLAGS, true) & flagMask;
    const fy = b.getUint32(S.FLAGS, true) & flagMask;
    if (fx !== fy) out.push(`flags: native ${hex(fx, 3)}, emulated ${hex(fy, 3)} (differ ${hex(fx ^ fy, 3)}, compared ${hex(flagMask & 0xcd5, 3)})`);
    const simple: [string, number, number, number][] = [
      ['mxcsr', a.getUint32(S.MXCSR, true), b.getUint32(S.MXCSR, true), 0xffff],
      ['fcw', a.getUint16(S.FCW, true), b.getUint16(S.FCW, true), 0xffff],
    ];
    // A fault within an MMX instruction: the instruction runs again, so that it has begun does not matter.
    const mmx = faulted && ended?.mmx === true;
    if (!mmx) {
      const codes = c.units.reduce((m, u) => m | u.undefX87, 0);
      simple.push(['fsw', a.getUint16(S.FSW, true), b.getUint16(S.FSW, true), inexact ? 0x3800 : 0xffff & ~codes]);
      simple.push(['ftw', a.getUint8(S.FTW), b.getUint8(S.FTW), 0xff]);
    }
    for (const [n, x, y, m] of simple) if ((x & m) !== (y & m)) out.push(`${n}: native ${hex(x, 4)}, emulated ${hex(y, 4)}`);
    const tags = mmx || inexact ? 0 : a.getUint8(S.FTW);
    for (let i = 0; i < 8; i++) {
      if ((tags & (1 << i)) === 0) continue;
      const p = S.X87 + i * 16;
      const s1 = a.getBigUint64(p, true);
      const s2 = b.getBigUint64(p, true);
      const e1 = a.getUint16(p + 8, true);
      const e2 = b.getUint16(p + 8, true);
      if (s1 === s2 && e1 === e2) continue;
      out.push(`R${i}: native ${hex(e1, 4)}:${hex(s1)}, emulated ${hex(e2, 4)}:${hex(s2)}`);
    }
    for (let i = 0; i < 16; i++) {
      const p = S.YMM + i * 32;
      for (let k = 0; k < 32; k++) {
        if (want.state[p + k] !== got.state[p + k]) {
          out.push(`ymm${i}: native ${vec(want.state, p)}, emulated ${vec(got.state, p)}`);
          break;
        }
      }
    }
    if (Buffer.compare(want.data, got.data) !== 0) {
      let n = 0;
      for (let k = 0; k < DATA_BYTES && n < 8; k++) {
        if (want.data[k] !== got.data[k]) {
          out.push(`data+0x${k.toString(16)}: native ${hex(want.data[k]!, 2)}, emulated ${hex(got.data[k]!, 2)}`);
          n++;
        }
      }
    }
    return out;
  }

  /** The unit in which a case ended; the last one if it came to its end. */
  private unitAt(units: readonly Unit[], o: Outcome): Unit | undefined {
    let last = units.length - 1;
    if (o.end === End.FAULT) {
      const at = o.pc - this.layout.code - this.entry;
      while (last > 0 && this.linked.starts[last]! > at) last--;
    }
    return units[last];
  }

  /** Runs one case on one emulator from scratch. */
  differs(c: Case, e: Emulator): string[] {
    if (!this.place(c)) return [];
    this.runNative(c);
    return this.check(c, e);
  }

  /** The shortest sequence that still differs, and simpler state where possible. */
  reduce(c: Case, e: Emulator): Case {
    let best = c;
    const still = (x: Case): boolean => {
      const d = this.differs(x, e);
      return d.length > 0;
    };
    for (let again = true; again; ) {
      again = false;
      for (let i = 0; i < best.units.length && best.units.length > 1; i++) {
        const x = { ...best, units: best.units.filter((_u, k) => k !== i) };
        if (still(x)) {
          best = x;
          again = true;
          i--;
        }
      }
    }
    // General registers stay: any of them may take part in an address.
    for (let at: number = S.FLAGS; at < S.BYTES; at += at < S.X87 ? 4 : 16) {
      const n = at < S.X87 ? 4 : 16;
      const state = best.state.slice();
      state.fill(0, at, at + n);
      if (at === (S.MXCSR as number)) state.set([0x80, 0x1f], at);
      if (at === (S.FCW as number)) state.set([0x7f, 3], at);
      const x = { ...best, state };
      if (still(x)) best = x;
    }
    return best;
  }

  /** @param first what differed when the case ran in its turn: it may depend on what ran before. */
  describe(reduced: Case, e: Emulator, index: number, seed: number, first: readonly string[]): Difference {
    const again = this.differs(reduced, e);
    const what = again.length > 0 ? again : first.map((x) => `not again when run by itself: ${x}`);
    const names = reduced.units.map((u) => u.name).join(' ');
    const v = new DataView(reduced.state.buffer);
    const lines = [`case ${index} of seed ${seed}, ${e.name}: ${names} (node bench/differential.mjs --seed ${seed} --first ${index} --cases 1)`];
    lines.push(`  bytes ${Buffer.from(this.linked.code.subarray(0, this.linked.code.length - 5)).toString('hex')}  at 0x${hex(this.layout.code + this.entry, 12)}, data at 0x${hex(this.layout.data, 12)}`);
    lines.push(...disassemble(this.linked.code.subarray(0, this.linked.code.length - 5), this.layout.code + this.entry).map((l) => `    ${l}`));
    lines.push(`  flags ${hex(v.getUint32(S.FLAGS, true), 3)} mxcsr ${hex(v.getUint32(S.MXCSR, true), 4)} fcw ${hex(v.getUint16(S.FCW, true), 4)} fsw ${hex(v.getUint16(S.FSW, true), 4)} ftw ${hex(v.getUint8(S.FTW), 2)}`);
    for (let i = 0; i < 16; i += 4) {
      lines.push('  ' + [0, 1, 2, 3].map((k) => `${GPR_NAMES[i + k]!}=${hex(v.getBigUint64((i + k) * 8, true))}`).join(' '));
    }
    for (let i = 0; i < 8; i++) {
      const sig = v.getBigUint64(S.X87 + i * 16, true);
      if (sig !== 0n || v.getUint16(S.X87 + i * 16 + 8, true) !== 0) lines.push(`  R${i}=${hex(v.getUint16(S.X87 + i * 16 + 8, true), 4)}:${hex(sig)}`);
    }
    for (let i = 0; i < 16; i++) {
      if (reduced.state.subarray(S.YMM + i * 32, S.YMM + i * 32 + 32).some((x) => x !== 0)) lines.push(`  ymm${i}=${vec(reduced.state, S.YMM + i * 32)}`);
    }
    lines.push(...what.map((w) => `  ! ${w}`));
    return { index, executor: e.name, what, text: lines.join('\n'), names };
  }
}

/** A YMM register, most significant quadword first. */
function vec(s: Uint8Array, at: number): string {
  const v = new DataView(s.buffer, s.byteOffset);
  return [24, 16, 8, 0].map((k) => hex(v.getBigUint64(at + k, true))).join('_');
}

/** objdump text, or nothing if there is no objdump. */
export function disassemble(code: Uint8Array, address: number): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'vmx-diff-'));
  try {
    const file = join(dir, 'code');
    writeFileSync(file, code);
    const r = spawnSync('objdump', ['-D', '-b', 'binary', '-m', 'i386:x86-64', '-M', 'intel', `--adjust-vma=0x${address.toString(16)}`, file], { encoding: 'utf8' });
    if (r.status !== 0) return [];
    return r.stdout.split('\n').filter((l) => /^\s*[0-9a-f]+:/.test(l)).map((l) => l.trim());
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Runs many cases. */
export function runDifferential(o: RunOptions): RunResult {
  const families = o.families ?? FAMILIES;
  const differ = new Differ(o.executors ?? ['interp', 'jit'], o.passes);
  const set = templates(new Set(loadNative().cpuFeatures()));
  const chosen = set.templates.filter((t) => families.includes(t.family));
  const generator = new Generator(chosen, families, differ.layout);
  const covered = new Map<string, number>();
  const result: RunResult = { cases: 0, differing: 0, faults: 0, instructions: 0, differences: [], covered, uncovered: [], skipped: set.skipped };
  const first = o.first ?? 0;
  const seen = new Set<string>();
  for (let i = first; i < first + o.cases; i++) {
    const c = generator.case(caseSeed(o.seed, i));
    result.cases++;
    if ((i & 1023) === 0) o.progress?.(i - first, result.differing);
    if (!differ.place(c)) continue;
    const want = differ.runNative(c);
    if (want.end === End.FAULT) result.faults++;
    result.instructions += c.units.length;
    for (const u of c.units) covered.set(u.template, (covered.get(u.template) ?? 0) + 1);
    for (const e of differ.emulators) {
      const first = differ.check(c, e);
      if (first.length === 0) continue;
      result.differing++;
      const reduced = differ.reduce(c, e);
      const key = `${e.name} ${reduced.units.map((u) => u.template).join(' ')}`;
      if (!seen.has(key)) {
        seen.add(key);
        const d = differ.describe(reduced, e, i, o.seed, first);
        result.differences.push(d);
        o.found?.(d);
      }
      // The reduction has run other code: what is left of this case starts anew.
      differ.place(c);
      differ.runNative(c);
    }
    if (result.differences.length >= (o.limit ?? 20)) break;
  }
  (result.uncovered as string[]).push(...chosen.filter((t) => !covered.has(t.id)).map((t) => t.id));
  return result;
}
