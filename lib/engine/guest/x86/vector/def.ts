/**
 * Definition of vector operations as data: one `VectorOp` per operation and width. The name of the helper is
 * `v.<name>.<bits>`; see index.ts for how they are registered and how lifters find them.
 */
import { type NativeForm } from '../../../helpers.js';
import type { VectorFn } from './views.js';

/** Operand width as in IR records: 3 = 64 bits (MMX), 4 = 128, 5 = 256. */
export type VW = 3 | 4 | 5;

export interface VectorOp {
  readonly name: string;
  readonly w: VW;
  readonly fn: VectorFn;
  readonly native?: NativeForm;
  readonly fp?: boolean;
  readonly writesFlags?: number;
  /** The result is an approximation that differs between CPU models (RCPPS, RSQRTPS). */
  readonly approximate?: boolean;
}

export const bits = (w: VW): number => 8 << w;

/** Encoding of the 128-bit form; the 64- and 256-bit forms are derived by `widths`. */
export interface Enc {
  readonly form: NativeForm['form'];
  readonly pp?: 0 | 1 | 2 | 3;
  readonly map?: 1 | 2 | 3;
  readonly op: number;
  readonly w?: 0 | 1;
  readonly digit?: number;
  /** Feature of the 128-bit form; 'sse2' if absent. */
  readonly feature?: string;
  readonly vexOnly?: boolean;
  readonly legacyOnly?: boolean;
}

export function native(e: Enc, extra: Partial<NativeForm> = {}): NativeForm {
  return {
    form: e.form,
    pp: e.pp ?? 1,
    map: e.map ?? 1,
    opcode: e.op,
    w: e.w ?? 0,
    feature: e.feature ?? 'sse2',
    ...(e.digit === undefined ? {} : { digit: e.digit }),
    ...(e.vexOnly ? { vexOnly: true } : {}),
    ...(e.legacyOnly ? { legacyOnly: true } : {}),
    ...extra,
  };
}

/** Which widths exist: feature of the 64-bit (MMX) form and of the 256-bit form, where there is one. */
export interface WidthSet {
  readonly mmx?: string;
  readonly v256?: string;
  /** No 128-bit form (rare: VPERM2F128 ...). */
  readonly no128?: boolean;
}

/** Defines one operation at all its widths; `make(w)` builds the function. */
export function widths(name: string, make: (w: VW) => VectorFn, e: Enc | null, set: WidthSet, more: Pick<VectorOp, 'fp' | 'writesFlags' | 'approximate'> = {}): VectorOp[] {
  const out: VectorOp[] = [];
  if (set.mmx !== undefined) out.push({ name, w: 3, fn: make(3), ...more, ...(e ? { native: native(e, { pp: 0, feature: set.mmx, mmx: true }) } : {}) });
  if (!set.no128) out.push({ name, w: 4, fn: make(4), ...more, ...(e ? { native: native(e) } : {}) });
  if (set.v256 !== undefined) out.push({ name, w: 5, fn: make(5), ...more, ...(e ? { native: native(e, { feature: set.v256, vexOnly: true }) } : {}) });
  return out;
}
