/** Decides, per helper and width, whether a VOP has a host instruction, and prepares its encoding. */
import type { HelperRegistry, NativeForm } from '../../helpers.js';
import { VopHow } from './emitter.js';

/** /proc/cpuinfo spells SSE3 "pni"; features every x86-64 host has need no entry. */
const ALIAS: Readonly<Record<string, string>> = { sse3: 'pni', lzcnt: 'abm' };
const BASELINE: ReadonlySet<string> = new Set(['', 'fpu', 'mmx', 'mmxext', 'sse', 'sse2', 'fxsr']);

/** True if the host's feature list has `feature`. */
export function hostHas(features: ReadonlySet<string>, feature: string): boolean {
  return BASELINE.has(feature) || features.has(feature) || features.has(ALIAS[feature] ?? '');
}

/**
 * MMX instructions whose 128-bit form computes the same low 64 bits from operands whose upper halves are zero. Those that
 * pack, unpack high halves, shuffle across the register or convert are missing.
 */
const MMX_MAP1: ReadonlySet<number> = new Set([
  0x60, 0x61, 0x62, 0x64, 0x65, 0x66, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd7, 0xd8, 0xd9, 0xda, 0xdb,
  0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf2, 0xf3, 0xf4,
  0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe,
]);
const MMX_MAP2: ReadonlySet<number> = new Set([0x04, 0x08, 0x09, 0x0a, 0x0b, 0x1c, 0x1d, 0x1e]);

function mmxSame(f: NativeForm): boolean {
  if (f.mmx !== true) return false;
  if (f.map === 1) return MMX_MAP1.has(f.opcode) && !(f.opcode === 0x73 && (f.digit === 3 || f.digit === 7));
  return f.map === 2 && MMX_MAP2.has(f.opcode);
}

/** Answers for one registry, computed once per helper on first use. */
export class VopTable {
  /** Per helper * 8 + w: 0 = not looked at yet, otherwise VopHow + 1, without / with native FP. */
  private readonly memo: Uint8Array[] = [new Uint8Array(0), new Uint8Array(0)];

  constructor(private readonly registry: HelperRegistry<never>, private readonly features: ReadonlySet<string>) {}

  how(helper: number, w: number, nativeFp: boolean): VopHow {
    const k = helper * 8 + w;
    let memo = this.memo[nativeFp ? 1 : 0]!;
    if (k >= memo.length) {
      const bigger = new Uint8Array(Math.max(this.registry.list.length, helper + 1) * 8);
      bigger.set(memo);
      this.memo[nativeFp ? 1 : 0] = memo = bigger;
    }
    let v = memo[k]!;
    if (v === 0) memo[k] = v = 1 + this.compute(helper, w, nativeFp);
    return (v - 1) as VopHow;
  }

  form(helper: number): NativeForm {
    return this.registry.list[helper]!.native!;
  }

  private compute(helper: number, w: number, nativeFp: boolean): VopHow {
    const h = this.registry.list[helper];
    const f = h?.native;
    if (h === undefined || f === undefined || (h.fp && !nativeFp)) return VopHow.CALL;
    if (!hostHas(this.features, f.feature)) return VopHow.CALL;
    if (h.writesFlags !== 0 && f.form !== 'cmp') return VopHow.CALL;
    if (f.checked !== undefined) return w === 4 && this.features.has('avx') ? VopHow.CHECKED : VopHow.CALL;
    if (f.form === 'mri') return VopHow.CALL;
    if (f.form === 'fma' && f.vexOnly !== true) return VopHow.CALL;
    if (w === 3 && !mmxSame(f) && f.form !== 'rg') return VopHow.CALL;
    if (w === 3 && f.form !== 'rm' && f.form !== 'rvm' && f.form !== 'vmi' && f.form !== 'rg' && f.form !== 'mg') return VopHow.CALL;
    if (w === 5 && !this.features.has('avx2')) return VopHow.CALL;
    if (w === 5 && f.form === 'rvmr' && f.vexOnly !== true) return VopHow.CALL;
    if (f.vexOnly === true && !this.features.has('avx')) return VopHow.CALL;
    // CMPccPS and its like: predicates beyond 7 need VEX, and which one it is is only known per instruction.
    if (f.map === 1 && f.opcode === 0xc2 && !this.features.has('avx')) return VopHow.CALL;
    return f.form === 'cmp' ? VopHow.NATIVE_FLAGS : VopHow.NATIVE;
  }
}
