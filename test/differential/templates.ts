/** Which rows of the opcode tables the tests generate, by family. */
import type { Row } from '#lib/engine/guest/x86/opcodes.js';
import { ALU_ROWS } from '#lib/engine/guest/x86/lift-alu.js';
import { BITS_ROWS } from '#lib/engine/guest/x86/lift-bits.js';
import { FLOW_ROWS } from '#lib/engine/guest/x86/lift-flow.js';
import { MOVE_ROWS } from '#lib/engine/guest/x86/lift-move.js';
import { STRING_ROWS } from '#lib/engine/guest/x86/lift-string.js';
import { SYSTEM_ROWS } from '#lib/engine/guest/x86/lift-system.js';
import { CpuModel } from '#lib/engine/guest/x86/cpuid.js';
import { M64 } from '#lib/engine/guest/x86/opcodes.js';
import { VECTOR_ROWS } from '#lib/engine/guest/x86/vector/table.js';
import { X87_ROWS } from '#lib/engine/guest/x86/x87/table.js';

export const FAMILIES = ['alu', 'bits', 'move', 'flow', 'string', 'system', 'x87', 'mmx', 'sse', 'avx'] as const;
export type Family = (typeof FAMILIES)[number];

export interface Template {
  readonly row: Row;
  readonly family: Family;
  /** For coverage reports. */
  readonly id: string;
}

/**
 * Never executed natively: they enter the kernel, change what the process depends on (segment bases), depend on the host
 * (descriptor tables, TSC, CPUID), or are approximations by definition.
 */
const EXCLUDED: ReadonlySet<string> = new Set(
  ('int1 callf jmpf retf iret int syscall sysret sysenter sysexit rsm sldt str sgdt sidt smsw lar lsl verr verw lss lfs lgs rdpmc rdtsc rdtscp rdpid rdrand rdseed cpuid ' +
    'monitor mwait vmcall vmmcall xgetbv rdfsbase rdgsbase wrfsbase wrgsbase swapgs invlpg rcpps rcpss rsqrtps rsqrtss ' +
    'xsave xrstor xsaveopt xrstors xsavec xsaves fnstenv fnsave fldenv frstor fxsave fxrstor').split(' '),
);

/** Always fault at CPL 3: they would cut most sequences of their family short. */
const FAULTING: ReadonlySet<string> = new Set(['in', 'out', 'ins', 'outs', 'int3', 'ud0', 'ud1', 'ud2']);

function excluded(r: Row): string | undefined {
  if (r.m64 === M64.NOT64) return 'not in 64-bit mode';
  if (EXCLUDED.has(r.name)) return 'excluded';
  // MOV to a segment register; PUSH and POP of FS and GS are harmless only as stores.
  if (!r.vex && r.map === 0 && r.opcode === 0x8e) return 'excluded';
  if (!r.vex && r.map === 1 && (r.opcode === 0xa1 || r.opcode === 0xa9)) return 'excluded';
  return undefined;
}

function vectorFamily(r: Row): Family {
  if (r.vex) return 'avx';
  // MMX forms have no mandatory 66 and are no floating-point instructions: they share the feature names of SSE.
  const f = r.feature.split('+')[0]!;
  if (f === 'mmx') return 'mmx';
  const noPrefix = (r.p & 1) !== 0 && (r.p & 2) === 0;
  if (noPrefix && (/^(p|mask|movnt?q$|cvt.*pi|cvtpi)/.test(r.name))) return 'mmx';
  return 'sse';
}

export interface TemplateSet {
  readonly templates: readonly Template[];
  /** Rows left out and why: count by reason. */
  readonly skipped: ReadonlyMap<string, number>;
}

/** @param host features of the host CPU by their /proc/cpuinfo names */
export function templates(host: ReadonlySet<string>): TemplateSet {
  const guest = CpuModel.parse('max').features;
  const out: Template[] = [];
  const skipped = new Map<string, number>();
  const add = (rows: readonly Row[], family: Family | null): void => {
    rows.forEach((row) => {
      let why = excluded(row);
      if (why === undefined) {
        for (const f of row.feature === '' ? [] : row.feature.split('+')) {
          if (!guest.has(f)) why = 'feature missing in the guest';
          else if (!host.has(f === 'sse3' ? 'pni' : f) && !['clwb', 'lm', 'xsave', 'fxsr', 'msr', 'smap', 'invpcid'].includes(f)) why = `host lacks ${f}`;
        }
      }
      if (why !== undefined) {
        skipped.set(why, (skipped.get(why) ?? 0) + 1);
        return;
      }
      const id = `${row.name} ${row.vex ? 'vex.' : ''}${row.map}:${row.opcode.toString(16)}${row.digit >= 0 ? `/${row.digit}` : ''}${row.rm >= 0 ? `.${row.rm}` : ''} p${row.p} m${row.mod}${row.vex ? ` l${row.l}w${row.w}` : ''}`;
      out.push({ row, family: FAULTING.has(row.name) ? 'system' : family ?? vectorFamily(row), id });
    });
  };
  add(ALU_ROWS, 'alu');
  add(BITS_ROWS, 'bits');
  add(MOVE_ROWS, 'move');
  add(FLOW_ROWS, 'flow');
  add(STRING_ROWS, 'string');
  add(SYSTEM_ROWS, 'system');
  add(X87_ROWS, 'x87');
  add(VECTOR_ROWS, null);
  return { templates: out, skipped };
}
