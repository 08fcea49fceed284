/** CPU models and the CPUID instruction (SDM vol. 2, CPUID; AMD APM vol. 3, appendix E). */
import { UsageError } from '../../../errors.js';
import { suggestion } from '../../../suggest.js';
import { HV_HINTS, HV_MISC, HV_PRIVILEGES } from './hyperv.js';

/** Feature names of one CPUID register, bit 0 first; '-' = none. Names as in /proc/cpuinfo, and sse3 for pni. */
const names = (s: string): readonly string[] => s.trim().split(/\s+/);
const L1_EDX = names('fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 - clflush - - - mmx fxsr sse sse2 - - - - -');
const L1_ECX = names('sse3 pclmulqdq - monitor - - - - - ssse3 - - fma cx16 - - - pcid - sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor');
const L7_EBX = names('fsgsbase tsc_adjust - bmi1 - avx2 - smep bmi2 erms invpcid - - - - - - - rdseed adx smap - - clflushopt clwb - - - - sha_ni - -');
const L7_ECX = names('- - umip - - - - - - - - - - - - - la57 - - - - - rdpid - - - - - - - - -');
const L7_EDX = names('- - - - fsrm - - - - - - - - - - - - - - - - - - - - - spec_ctrl - - - - -');
const E1_EDX = names('- - - - - - - - - - - syscall - - - - - - - - nx - - - - fxsr_opt pdpe1gb rdtscp - lm - -');
const E1_ECX = names('lahf_lm cmp_legacy - - cr8_legacy abm - - 3dnowprefetch - - - - - - - - - - - - - - - - - - - - - - -');
const E7_EDX = names('- - - - - - - - invtsc - - - - - - - - - - - - - - - - - - - - - - -');
const E8_EBX = names('- - xsaveerptr - - - - - - wbnoinvd - - ibpb - - - - - - - - - - - - - amd_ssb_no - - btc_no - -');
/** LFENCE is always serialising and a null selector clears the base: this CPU knows no other way. */
const E21_EAX = names('- - lfence_rdtsc - - - null_base - autoibrs - - - - - - - - - - - - - - - - - - - - srso_no - -');
const D1_EAX = names('xsaveopt xsavec xgetbv1 xsaves');
const L6_EAX = names('- - arat');
const TABLES: readonly (readonly string[])[] = [L1_EDX, L1_ECX, L7_EBX, L7_ECX, L7_EDX, E1_EDX, E1_ECX, E7_EDX, E8_EBX, E21_EAX, D1_EAX, L6_EAX];
const KNOWN: ReadonlySet<string> = new Set(TABLES.flat().filter((n) => n !== '-').concat('kvmclock', 'pv_ipi', 'hv'));

/** A register of a CPUID leaf. */
export type CpuidRegister = 'eax' | 'ebx' | 'ecx' | 'edx';
/** Where each table lies. */
const PLACES: readonly { table: readonly string[]; leaf: number; sub: number; register: CpuidRegister }[] = [
  { table: L1_EDX, leaf: 1, sub: 0, register: 'edx' },
  { table: L1_ECX, leaf: 1, sub: 0, register: 'ecx' },
  { table: L7_EBX, leaf: 7, sub: 0, register: 'ebx' },
  { table: L7_ECX, leaf: 7, sub: 0, register: 'ecx' },
  { table: L7_EDX, leaf: 7, sub: 0, register: 'edx' },
  { table: E1_EDX, leaf: 0x8000_0001, sub: 0, register: 'edx' },
  { table: E1_ECX, leaf: 0x8000_0001, sub: 0, register: 'ecx' },
  { table: E7_EDX, leaf: 0x8000_0007, sub: 0, register: 'edx' },
  { table: E8_EBX, leaf: 0x8000_0008, sub: 0, register: 'ebx' },
  { table: E21_EAX, leaf: 0x8000_0021, sub: 0, register: 'eax' },
  { table: D1_EAX, leaf: 0xd, sub: 1, register: 'eax' },
  { table: L6_EAX, leaf: 6, sub: 0, register: 'eax' },
];

const ALIASES: Readonly<Record<string, string>> = {
  pni: 'sse3', lzcnt: 'abm', sha: 'sha_ni', 'sse4.1': 'sse4_1', 'sse4.2': 'sse4_2', tsc_deadline: 'tsc_deadline_timer', 'tsc-deadline': 'tsc_deadline_timer',
  pclmul: 'pclmulqdq', cx16: 'cx16', 'lahf-lm': 'lahf_lm', 'kvm-clock': 'kvmclock', nonstop_tsc: 'invtsc', 'invariant-tsc': 'invtsc',
};

const BASE = 'lfence_rdtsc null_base fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 sse3 syscall nx lm lahf_lm cr8_legacy hypervisor x2apic kvmclock pv_ipi arat ';
/**
 * Nothing is ever executed speculatively, and CPUID says so as far as it can: kernels then leave out mitigations that cost time in
 * every return and indirect branch.
 */
const IMMUNE = 'amd_ssb_no btc_no autoibrs srso_no ';
const V2 = `${BASE}cx16 popcnt ssse3 sse4_1 sse4_2 tsc_deadline_timer invtsc `;
const V3 = `${V2}avx avx2 bmi1 bmi2 f16c fma abm movbe xsave xsaveerptr `;
const MAX = `${V3}${IMMUNE}pclmulqdq aes sha_ni adx rdrand rdseed fsgsbase tsc_adjust smep smap erms fsrm invpcid pcid umip la57 rdpid rdtscp pdpe1gb xsaveopt xsavec xgetbv1 xsaves 3dnowprefetch clflushopt clwb wbnoinvd `;

interface ModelSpec {
  readonly name: string;
  readonly brand: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  readonly features: string;
}

/** The table of models: `--cpu help` prints it. */
export const CPU_MODELS: readonly ModelSpec[] = [
  { name: 'qemu64', brand: 'VMX-Accel virtual CPU (qemu64)', family: 15, model: 107, stepping: 1, features: `${BASE}cx16` },
  { name: 'x86-64-v1', brand: 'VMX-Accel virtual CPU (x86-64-v1)', family: 15, model: 107, stepping: 1, features: BASE },
  { name: 'x86-64-v2', brand: 'VMX-Accel virtual CPU (x86-64-v2)', family: 15, model: 107, stepping: 1, features: V2 },
  { name: 'x86-64-v3', brand: 'VMX-Accel virtual CPU (x86-64-v3)', family: 23, model: 1, stepping: 2, features: `${V3}${IMMUNE}` },
  { name: 'max', brand: 'VMX-Accel virtual CPU (max)', family: 23, model: 49, stepping: 0, features: MAX },
];

/** Features that make no sense without another one. Taking the right one away takes the left one too. */
const NEEDS: readonly (readonly [string, string])[] = [
  ['sse', 'fxsr'], ['sse2', 'sse'], ['sse3', 'sse2'], ['ssse3', 'sse3'], ['sse4_1', 'ssse3'], ['sse4_2', 'sse4_1'], ['aes', 'sse2'], ['pclmulqdq', 'sse2'],
  ['sha_ni', 'sse2'], ['avx', 'xsave'], ['avx', 'sse4_2'], ['avx2', 'avx'], ['fma', 'avx'], ['f16c', 'avx'], ['xsaveopt', 'xsave'], ['xsavec', 'xsave'], ['xgetbv1', 'xsave'],
  ['hv', 'hypervisor'], ['xsaves', 'xsavec'], ['xsaveerptr', 'xsave'], ['invpcid', 'pcid'], ['la57', 'lm'], ['pdpe1gb', 'lm'],
];

/** Takes features away whose needs are not met. */
function closure(set: Set<string>): Set<string> {
  for (let changed = true; changed; ) {
    changed = false;
    for (const [f, needs] of NEEDS) if (set.has(f) && !set.has(needs)) changed = set.delete(f) || changed;
  }
  return set;
}

export type CpuVendor = 'AuthenticAMD' | 'GenuineIntel';
const VENDORS: readonly CpuVendor[] = ['AuthenticAMD', 'GenuineIntel'];

/** Every feature that can be switched, in alphabetical order. */
export const CPU_FEATURES: readonly string[] = [...KNOWN].sort();

export class CpuModel {
  /** Vendor string of CPUID; decides the details in which the vendors differ. */
  vendor: CpuVendor = 'AuthenticAMD';
  /** Width of physical addresses. */
  physBits = 40;
  readonly linearBits: number;
  readonly gbPages: boolean;
  /** XCR0 bits that exist. */
  readonly xcr0Mask: number;

  constructor(readonly spec: ModelSpec, readonly features: ReadonlySet<string>) {
    this.linearBits = features.has('la57') ? 57 : 48;
    this.gbPages = features.has('pdpe1gb');
    this.xcr0Mask = 3 | (features.has('avx') ? 4 : 0);
  }

  /**
   * Parses NAME[,+feat][,-feat][,vendor=V][,phys-bits=N][,hv=on|off].
   * @throws UsageError for an unknown model or feature
   */
  static parse(text: string): CpuModel {
    const [name, ...mods] = text.split(',');
    const spec = CPU_MODELS.find((m) => m.name === name);
    if (!spec) throw new UsageError(`--cpu: unknown model '${name ?? ''}'${suggestion(name ?? '', CPU_MODELS.map((m) => m.name))}; '--cpu help' lists them`);
    const set = new Set(names(spec.features));
    let vendor: CpuVendor = 'AuthenticAMD';
    let physBits = 40;
    for (const mod of mods) {
      const [key, value] = mod.split('=', 2) as [string, string | undefined];
      if (value !== undefined && key === 'vendor') {
        const v = VENDORS.find((x) => x === value);
        if (!v) throw new UsageError(`--cpu: unknown vendor '${value}' (known: ${VENDORS.join(', ')})`);
        vendor = v;
        continue;
      }
      if (value !== undefined && key === 'phys-bits') {
        physBits = Number(value);
        if (!Number.isInteger(physBits) || physBits < 32 || physBits > 52) throw new UsageError(`--cpu: phys-bits=${value} is not a number from 32 to 52`);
        continue;
      }
      if (value !== undefined && key === 'hv') {
        if (value !== 'on' && value !== 'off') throw new UsageError(`--cpu: hv=${value} must be on or off`);
        if (value === 'on') set.add('hv');
        else set.delete('hv');
        continue;
      }
      const raw = mod.slice(1);
      const f = ALIASES[raw] ?? raw;
      if (mod[0] !== '+' && mod[0] !== '-') throw new UsageError(`--cpu: '${mod}' must begin with + or -`);
      if (!KNOWN.has(f)) throw new UsageError(`--cpu: unknown feature '${raw}'${suggestion(raw, [...KNOWN])}`);
      if (mod[0] === '+') set.add(f);
      else set.delete(f);
    }
    // One hypervisor's leaves at a time: guests take what they know best, and Hyper-V's are asked for by name.
    if (set.has('hv')) for (const f of ['kvmclock', 'pv_ipi']) set.delete(f);
    const model = new CpuModel(spec, closure(set));
    model.vendor = vendor;
    model.physBits = physBits;
    return model;
  }

  /**
   * The model without what a host lacks: features whose bits in `host` are zero go, except those in `keep`, and those that need
   * them; `drop` go in any case. Physical addresses are no wider than the host's.
   */
  restrict(host: (leaf: number, sub: number, register: CpuidRegister) => number, keep: ReadonlySet<string>, drop: readonly string[]): CpuModel {
    const set = new Set(this.features);
    for (const f of drop) set.delete(f);
    for (const { table, leaf, sub, register } of PLACES) {
      const bits = host(leaf, sub, register);
      table.forEach((f, i) => {
        if (f !== '-' && !((bits >>> i) & 1) && !keep.has(f)) set.delete(f);
      });
    }
    const model = new CpuModel(this.spec, closure(set));
    model.vendor = this.vendor;
    const width = host(0x8000_0008, 0, 'eax') & 0xff;
    model.physBits = width === 0 ? this.physBits : Math.min(this.physBits, width);
    return model;
  }

  private bits(table: readonly string[]): number {
    let v = 0;
    table.forEach((n, i) => {
      if (n !== '-' && this.features.has(n)) v |= 1 << i;
    });
    return v;
  }

  /** AMD reports the low common part of leaf 1 EDX again in leaf 0x80000001. */
  word(which: 'l1d' | 'l1c' | 'l7b' | 'l7c' | 'l7d' | 'e1d' | 'e1c' | 'e7d' | 'e8b' | 'e21a' | 'd1a' | 'l6a'): number {
    switch (which) {
      case 'l1d': return this.bits(L1_EDX);
      case 'l1c': return this.bits(L1_ECX);
      case 'l7b': return this.bits(L7_EBX);
      case 'l7c': return this.bits(L7_ECX);
      case 'l7d': return this.bits(L7_EDX);
      case 'e1d': return this.bits(E1_EDX) | (this.bits(L1_EDX) & 0x0183_f3ff);
      case 'e1c': return this.bits(E1_ECX);
      case 'e7d': return this.bits(E7_EDX);
      case 'e8b': return this.bits(E8_EBX);
      case 'e21a': return this.bits(E21_EAX);
      case 'd1a': return this.bits(D1_EAX);
      case 'l6a': return this.bits(L6_EAX);
    }
  }
}

/** What CPUID needs to know besides the model. */
export interface CpuidContext {
  readonly apicId: number;
  readonly cpus: number;
  readonly tscKHz: number;
  /** Clock of the local APIC timer in kHz, for leaves 0x15 and 0x40000010. */
  readonly apicKHz: number;
}

const word4 = (s: string, i: number): number => {
  let v = 0;
  for (let k = 0; k < 4; k++) v |= (s.charCodeAt(i + k) || 0) << (k * 8);
  return v;
};

/** Evaluates CPUID leaves for one CPU. */
export class Cpuid {
  a = 0;
  b = 0;
  c = 0;
  d = 0;
  private readonly words;
  private readonly idBits: number;

  constructor(private readonly model: CpuModel, private readonly ctx: CpuidContext) {
    const w = (k: Parameters<CpuModel['word']>[0]): number => model.word(k);
    this.words = {
      l1d: w('l1d'), l1c: w('l1c'), l7b: w('l7b'), l7c: w('l7c'), l7d: w('l7d'), e1d: w('e1d'), e1c: w('e1c'), e7d: w('e7d'), e8b: w('e8b'), e21a: w('e21a'), d1a: w('d1a'), l6a: w('l6a'),
    };
    this.idBits = Math.ceil(Math.log2(Math.max(1, ctx.cpus)));
  }

  private set(a: number, b: number, c: number, d: number): void {
    this.a = a | 0;
    this.b = b | 0;
    this.c = c | 0;
    this.d = d | 0;
  }

  /** Result in a, b, c, d. osxsave and apicOn are the run-time bits of leaf 1; xcr0 that of leaf 0xD. */
  eval(leaf: number, sub: number, osxsave: boolean, xcr0: number, apicOn = true): void {
    const { model, ctx, words: w } = this;
    leaf >>>= 0;
    sub >>>= 0;
    const s = model.spec;
    const maxBasic = 0x16;
    const maxExt = 0x8000_0021;
    this.set(0, 0, 0, 0);
    // Beyond the highest basic leaf AMD processors return zeros.
    if (leaf < 0x4000_0000 ? leaf > maxBasic : leaf >= 0x8000_0000 && leaf > maxExt) return;
    switch (leaf) {
      case 0:
        this.set(maxBasic, word4(model.vendor, 0), word4(model.vendor, 8), word4(model.vendor, 4));
        break;
      case 1: {
        const base = Math.min(s.family, 15);
        const sig = s.stepping | ((s.model & 15) << 4) | (base << 8) | ((s.model >> 4) << 16) | ((s.family - base) << 20);
        const multi = ctx.cpus > 1;
        this.set(sig, (ctx.apicId << 24) | ((multi ? ctx.cpus & 0xff : 0) << 16) | (8 << 8), w.l1c | (osxsave ? 1 << 27 : 0), (w.l1d & (apicOn ? -1 : ~(1 << 9))) | (multi ? 1 << 28 : 0));
        break;
      }
      case 4: {
        // Deterministic cache parameters: L1d 32K, L1i 32K, L2 512K, L3 16M shared by all.
        const t = [[1, 1, 8, 64], [2, 1, 8, 64], [3, 2, 8, 1024], [3, 3, 16, 16384]][sub];
        if (!t) break;
        const [type, level, ways, sets] = t as [number, number, number, number];
        const share = level === 3 ? (1 << this.idBits) - 1 : 0;
        this.set(type | (level << 5) | 0x100 | (share << 14) | (((1 << this.idBits) - 1) << 26), ((ways - 1) << 22) | 63, sets - 1, 0);
        break;
      }
      case 5:
        if (model.features.has('monitor')) this.set(64, 64, 3, 0);
        break;
      case 6:
        this.set(w.l6a, 0, 0, 0);
        break;
      case 7:
        if (sub === 0) this.set(0, w.l7b, w.l7c, w.l7d);
        break;
      case 0xb:
        // x2APIC topology: one thread per core, all cores in one package.
        if (sub === 0) this.set(0, 1, 0x100, ctx.apicId);
        else if (sub === 1) this.set(this.idBits, ctx.cpus, 0x201, ctx.apicId);
        else this.set(0, 0, sub & 0xff, ctx.apicId);
        break;
      case 0xd: {
        if (!model.features.has('xsave')) break;
        const size = (m: number): number => (m & 4 ? 0x340 : 0x240);
        if (sub === 0) this.set(model.xcr0Mask, size(xcr0), size(model.xcr0Mask), 0);
        else if (sub === 1) this.set(w.d1a, w.d1a & 0xa ? size(xcr0) : 0, 0, 0);
        else if (sub === 2 && model.xcr0Mask & 4) this.set(0x100, 0x240, 0, 0);
        break;
      }
      case 0x15:
        // Crystal = 1 MHz * 1000; TSC = crystal * ebx / eax.
        this.set(1000, Math.round(ctx.tscKHz / 1000), 1_000_000_000, 0);
        break;
      case 0x16:
        this.set(Math.round(ctx.tscKHz / 1000), Math.round(ctx.tscKHz / 1000), 100, 0);
        break;
      case 0x4000_0000:
      case 0x4000_0001:
      case 0x4000_0002:
      case 0x4000_0003:
      case 0x4000_0004:
      case 0x4000_0005:
      case 0x4000_0006:
      case 0x4000_0010:
        if (model.features.has('hv')) this.hyperv(leaf);
        else if (model.features.has('hypervisor')) this.kvm(leaf);
        break;
      case 0x8000_0000:
        // Intel leaves the vendor out here.
        if (model.vendor === 'AuthenticAMD') this.set(maxExt, word4(model.vendor, 0), word4(model.vendor, 8), word4(model.vendor, 4));
        else this.set(maxExt, 0, 0, 0);
        break;
      case 0x8000_0001: {
        this.eval(1, 0, false, xcr0);
        const sig = this.a;
        this.set(sig, 0, w.e1c | (ctx.cpus > 1 ? 2 : 0), w.e1d & (apicOn ? -1 : ~(1 << 9)));
        break;
      }
      case 0x8000_0002:
      case 0x8000_0003:
      case 0x8000_0004: {
        const o = (leaf - 0x8000_0002) * 16;
        const t = s.brand.padEnd(48, '\0');
        this.set(word4(t, o), word4(t, o + 4), word4(t, o + 8), word4(t, o + 12));
        break;
      }
      case 0x8000_0005:
        this.set(0xff20_ff20, 0xff20_ff20, 0x2008_0140, 0x2008_0140);
        break;
      case 0x8000_0006:
        this.set(0, 0x4200_4200, 0x0200_6140, 0x0080_8140);
        break;
      case 0x8000_0007:
        this.set(0, 0, 0, w.e7d);
        break;
      case 0x8000_0008:
        this.set(model.physBits | (model.linearBits << 8), w.e8b, ctx.cpus > 1 ? (ctx.cpus - 1) | (this.idBits << 12) : 0, 0);
        break;
      case 0x8000_0021:
        this.set(w.e21a, 0, 0, 0);
        break;
      default:
        break;
    }
  }

  /** Leaves of KVM (Linux Documentation/virt/kvm/x86/cpuid.rst). */
  private kvm(leaf: number): void {
    const { features } = this.model;
    if (leaf === 0x4000_0000) this.set(0x4000_0010, word4('KVMK', 0), word4('VMKV', 0), word4('M', 0));
    // No I/O delay, IPIs by hypercall, kvm-clock with old and new MSRs and stable (bits 1, 11, 0, 3, 24).
    else if (leaf === 0x4000_0001) this.set(2 | (features.has('kvmclock') ? 0x0100_0009 : 0) | (features.has('pv_ipi') ? 0x800 : 0), 0, 0, 0);
    else if (leaf === 0x4000_0010) this.set(this.ctx.tscKHz, this.ctx.apicKHz, 0, 0);
  }

  /** Leaves of Hyper-V (TLFS 2.4). */
  private hyperv(leaf: number): void {
    if (leaf === 0x4000_0000) this.set(0x4000_0006, word4('Micr', 0), word4('osof', 0), word4('t Hv', 0));
    else if (leaf === 0x4000_0001) this.set(word4('Hv#1', 0), 0, 0, 0);
    // Build 17763, version 10.0.
    else if (leaf === 0x4000_0002) this.set(17763, 10 << 16, 0, 0);
    else if (leaf === 0x4000_0003) this.set(HV_PRIVILEGES, 0, 0, HV_MISC);
    // EBX: spin without end before telling the hypervisor.
    else if (leaf === 0x4000_0004) this.set(HV_HINTS, -1, 0, 0);
    // Virtual processors, logical processors.
    else if (leaf === 0x4000_0005) this.set(64, 64, 0, 0);
  }
}
