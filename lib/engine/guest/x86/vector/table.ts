/**
 * Opcode rows of MMX, SSE .. SSE4.2, AES, PCLMULQDQ, SHA, F16C, AVX, AVX2 and FMA. The rows of ordinary operations are derived
 * from their definitions (opcode, prefix and map are the host encoding, which is the guest encoding); below stand the
 * widths of memory operands that differ from the operation's, and the instructions that need rows of their own.
 * Intel SDM vol. 2, appendix A, tables.
 */
import type { NativeForm } from '../../../helpers.js';
import { type Handler, Imm, Mod, P, type Row, type RowOptions, row } from '../opcodes.js';
import type { VW, VectorOp } from './def.js';
import { Gather } from './helpers.js';
import { VECTOR_OPS, hasOp, opIndex } from './index.js';
import * as L from './lift-vector.js';
import { STR_EXPLICIT, STR_MASK } from './ops-string.js';

const PREFIX = [P.NP, P.P66, P.F3, P.F2] as const;

/** Width of the memory operand where it is not the operation's: per operation, by operation width 3, 4, 5. */
const MEMORY: Readonly<Record<string, readonly [number, number, number]>> = {
  punpcklbw: [2, 4, 5], punpcklwd: [2, 4, 5], punpckldq: [2, 4, 5],
  movddup: [0, 3, 5], movq: [0, 3, 0], insertps: [0, 2, 0],
  pmovsxbw: [0, 3, 4], pmovsxbd: [0, 2, 3], pmovsxbq: [0, 1, 2], pmovsxwd: [0, 3, 4], pmovsxwq: [0, 2, 3], pmovsxdq: [0, 3, 4],
  pmovzxbw: [0, 3, 4], pmovzxbd: [0, 2, 3], pmovzxbq: [0, 1, 2], pmovzxwd: [0, 3, 4], pmovzxwq: [0, 2, 3], pmovzxdq: [0, 3, 4],
  psrlw: [3, 4, 4], psrld: [3, 4, 4], psrlq: [3, 4, 4], psraw: [3, 4, 4], psrad: [3, 4, 4], psllw: [3, 4, 4], pslld: [3, 4, 4], psllq: [3, 4, 4],
  cvtdq2pd: [0, 3, 4], cvtps2pd: [0, 3, 4], vcvtph2ps: [0, 3, 4], vcvtps2ph: [0, 3, 4],
  cvtss2sd: [0, 2, 0], cvtsd2ss: [0, 3, 0], comiss: [0, 2, 0], ucomiss: [0, 2, 0], comisd: [0, 3, 0], ucomisd: [0, 3, 0],
  vpbroadcastb: [0, 0, 0], vpbroadcastw: [0, 1, 1], vpbroadcastd: [0, 2, 2], vpbroadcastq: [0, 3, 3],
  vinsertf128: [0, 0, 4], vinserti128: [0, 0, 4], vextractf128: [0, 0, 4], vextracti128: [0, 0, 4],
};
const SCALAR = /^(add|sub|mul|div|min|max|sqrt|cmp|round|rcp|rsqrt|vfn?m(add|sub)(132|213|231))s[sd]$/;
/** Scalar operations ignore VEX.L. */
const isScalar = (name: string): boolean => SCALAR.test(name) || /^(u?comis[sd]|cvtss2sd|cvtsd2ss)$/.test(name);

function memoryWidth(op: VectorOp): number {
  const m = MEMORY[op.name];
  if (m !== undefined) return m[op.w - 3]!;
  if (isScalar(op.name)) return op.name.endsWith('s') ? 2 : 3;
  return op.w;
}

const HANDLERS: Partial<Record<NativeForm['form'], Handler>> = {
  rm: L.lift1, rmi: L.lift1, rvm: L.lift2, rvmi: L.lift2, fma: L.liftFma, rvmr: L.liftMasked, mri: L.liftStoreResult,
  vmi: L.liftShiftImm, cmp: L.liftCompare,
};
/** Forms with an immediate byte; map 3 has one by default. */
const WITH_IMM = new Set<NativeForm['form']>(['rmi', 'rvmi', 'mri', 'vmi', 'rgi', 'gri', 'mgi']);
const NO_VVVV = new Set<NativeForm['form']>(['rm', 'rmi', 'mri', 'cmp', 'rg', 'rgi', 'mg', 'mgi', 'gr']);

/** Operations whose encodings are shared by several instructions, or whose legacy form differs: rows of their own below. */
const SPECIAL = new Set([
  'movlhps', 'movq', 'movd', 'movq.g', 'movd.r', 'movq.r', 'pextrw', 'pextrb', 'pextrd', 'pextrq', 'pinsrw', 'pinsrb', 'pinsrd', 'pinsrq',
  'pmovmskb', 'movmskps', 'movmskpd', 'vbroadcastss', 'vbroadcastsd', 'vpbroadcastb', 'insertps',
]);

/** Row features are those of /proc/cpuinfo, except that SSE3 is called so. */
const featureName = (f: string): string => (f === 'pni' ? 'sse3' : f);
/** Feature of the VEX form of an operation. */
function vexFeature(f: NativeForm): string {
  if (f.vexOnly) return f.feature;
  return f.feature === 'aes' || f.feature === 'pclmulqdq' ? `${f.feature}+avx` : 'avx';
}

/** Legacy and VEX rows of one operation at one width. */
function encodings(op: VectorOp, index: number, h: Handler, extra: RowOptions = {}, flags = 0): Row[] {
  const f = op.native!;
  const out: Row[] = [];
  const common: RowOptions = {
    p: PREFIX[f.pp],
    modrm: true,
    imm: WITH_IMM.has(f.form) || f.map === 3 ? Imm.IB : Imm.NONE,
    ...(f.digit === undefined ? {} : { digit: f.digit, mod: Mod.REG }),
    ...extra,
  };
  const arg = index | (memoryWidth(op) << L.ARG_MEM) | flags;
  const name = op.name;
  if (!f.vexOnly) {
    const legacyFlags = f.form === 'rvmi' && name.startsWith('cmp') ? L.ARG_IMM3 : 0;
    out.push(row(f.map, f.opcode, name, h, { ...common, feature: featureName(f.feature), arg: arg | legacyFlags }));
  }
  if (!f.legacyOnly && op.w >= 4) {
    // Names of instructions that exist only with VEX begin with v; their VEX.W is significant, elsewhere it is ignored.
    const w = name.startsWith('v') || f.form === 'rvmr' ? f.w : 2;
    out.push(row(f.map, f.opcode, name, h, {
      ...common, vex: true, w, l: isScalar(name) ? 2 : op.w === 5 ? 1 : 0, noVvvv: NO_VVVV.has(f.form), feature: vexFeature(f), arg,
    }));
  }
  return out;
}

function derived(): Row[] {
  return VECTOR_OPS.flatMap((op, i) => {
    const h = op.native === undefined ? undefined : HANDLERS[op.native.form];
    return h === undefined || SPECIAL.has(op.name) ? [] : encodings(op, i, h);
  });
}

/** Rows of a special operation at all its widths, with another handler. */
function all(name: string, h: Handler, extra: RowOptions = {}, mem?: number): Row[] {
  return ([3, 4, 5] as const).filter((w) => hasOp(name, w)).flatMap((w: VW) => {
    const i = opIndex(name, w);
    const rows = encodings(VECTOR_OPS[i]!, i, h, extra);
    return mem === undefined ? rows : rows.map((r) => ({ ...r, arg: i | (mem << L.ARG_MEM) }));
  });
}

/** An SSE instruction with the same row under VEX.128 (or all VEX lengths: l = 2). */
function both(opcode: number, name: string, h: Handler, o: RowOptions & { noVvvv?: boolean }, map: 1 | 2 | 3 = 1): Row[] {
  const { noVvvv = true, l = 0, w = 2, ...legacy } = o;
  return [
    row(map, opcode, name, h, { modrm: true, ...legacy }),
    row(map, opcode, name, h, { modrm: true, ...legacy, vex: true, l, w, noVvvv, feature: 'avx' }),
  ];
}
const mw = (w: number): number => w << L.ARG_MEM;

function moves(): Row[] {
  const out: Row[] = [];
  const full = (opcode: number, name: string, h: Handler, p: number, feature: string, aligned: boolean, mod: Mod = Mod.ANY): void => {
    out.push(...both(opcode, name, h, { p, feature, mod, l: 2, arg: aligned ? L.ARG_ALIGNED : 0 }));
  };
  for (const [p, s, feature] of [[P.NP, 'ps', 'sse'], [P.P66, 'pd', 'sse2']] as const) {
    full(0x10, `movu${s}`, L.liftMoveLoad, p, feature, false);
    full(0x11, `movu${s}`, L.liftMoveStore, p, feature, false);
    full(0x28, `mova${s}`, L.liftMoveLoad, p, feature, true);
    full(0x29, `mova${s}`, L.liftMoveStore, p, feature, true);
    full(0x2b, `movnt${s}`, L.liftMoveStore, p, feature, true, Mod.MEM);
    // MOVLPS/MOVHPS: loads merge with the first source, stores take one quadword.
    const load = (opcode: number, name: string, h: Handler, op: string): Row[] =>
      both(opcode, name, h, { p, feature, mod: Mod.MEM, noVvvv: false, arg: opIndex(op, 4) | mw(3) });
    out.push(...load(0x12, `movlp${s[1]!}`, L.liftMerge, 'blendpd'), ...load(0x16, `movhp${s[1]!}`, L.lift2, 'movlhps'));
    out.push(...both(0x13, `movlp${s[1]!}`, L.liftScalarStore, { p, feature, mod: Mod.MEM, arg: mw(3) }));
    out.push(...both(0x17, `movhp${s[1]!}`, L.liftHighStore, { p, feature, mod: Mod.MEM, arg: opIndex('unpckhpd', 4) }));
  }
  out.push(...both(0x12, 'movhlps', L.liftMovhlps, { p: P.NP, feature: 'sse', mod: Mod.REG, noVvvv: false, arg: opIndex('unpckhpd', 4) }));
  out.push(...both(0x16, 'movlhps', L.lift2, { p: P.NP, feature: 'sse', mod: Mod.REG, noVvvv: false, arg: opIndex('movlhps', 4) }));
  full(0x6f, 'movdqa', L.liftMoveLoad, P.P66, 'sse2', true);
  full(0x7f, 'movdqa', L.liftMoveStore, P.P66, 'sse2', true);
  full(0x6f, 'movdqu', L.liftMoveLoad, P.F3, 'sse2', false);
  full(0x7f, 'movdqu', L.liftMoveStore, P.F3, 'sse2', false);
  full(0xe7, 'movntdq', L.liftMoveStore, P.P66, 'sse2', true, Mod.MEM);
  full(0xf0, 'lddqu', L.liftMoveLoad, P.F2, 'sse3', false, Mod.MEM);
  out.push(
    row(2, 0x2a, 'movntdqa', L.liftMoveLoad, { p: P.P66, mod: Mod.MEM, feature: 'sse4_1', arg: L.ARG_ALIGNED }),
    row(2, 0x2a, 'vmovntdqa', L.liftMoveLoad, { p: P.P66, mod: Mod.MEM, vex: true, l: 0, noVvvv: true, feature: 'avx', arg: L.ARG_ALIGNED }),
    row(2, 0x2a, 'vmovntdqa', L.liftMoveLoad, { p: P.P66, mod: Mod.MEM, vex: true, l: 1, noVvvv: true, feature: 'avx2', arg: L.ARG_ALIGNED }),
  );
  for (const [p, name, feature, w] of [[P.F3, 'movss', 'sse', 2], [P.F2, 'movsd', 'sse2', 3]] as const) {
    const op = opIndex(name === 'movss' ? 'blendps' : 'blendpd', 4);
    out.push(...both(0x10, name, L.liftScalarLoad, { p, feature, mod: Mod.MEM, l: 2, arg: mw(w) }));
    out.push(...both(0x11, name, L.liftScalarStore, { p, feature, mod: Mod.MEM, l: 2, arg: mw(w) }));
    out.push(...both(0x10, name, L.liftMerge, { p, feature, mod: Mod.REG, l: 2, noVvvv: false, arg: op }));
    out.push(...both(0x11, name, L.liftMergeStore, { p, feature, mod: Mod.REG, l: 2, noVvvv: false, arg: op }));
  }
  const movq = opIndex('movq', 4);
  out.push(
    ...both(0x7e, 'movq', L.liftScalarLoad, { p: P.F3, feature: 'sse2', mod: Mod.MEM, arg: mw(3) }),
    ...both(0x7e, 'movq', L.lift1, { p: P.F3, feature: 'sse2', mod: Mod.REG, arg: movq }),
    ...both(0xd6, 'movq', L.liftScalarStore, { p: P.P66, feature: 'sse2', mod: Mod.MEM, arg: mw(3) }),
    ...both(0xd6, 'movq', L.liftMovqRm, { p: P.P66, feature: 'sse2', mod: Mod.REG, arg: movq }),
  );
  return out;
}

/** Registers the 32- and 64-bit variant of an operation. @returns the row's arg. */
function pair(d: string, q: string, w: VW = 4): number {
  L.pairs.push({ d: opIndex(d, w), q: opIndex(q, w) });
  return L.pairs.length - 1;
}

function generalRegisters(): Row[] {
  const out: Row[] = [];
  const movd = pair('movd', 'movq.g');
  const movdR = pair('movd.r', 'movq.r');
  out.push(
    ...both(0x6e, 'movd', L.liftMovFromGeneral, { p: P.P66, feature: 'sse2', arg: movd }),
    ...both(0x7e, 'movd', L.liftMovToGeneral, { p: P.P66, feature: 'sse2', arg: movdR }),
    row(1, 0x6e, 'movd', L.liftMovFromGeneral, { p: P.NP, modrm: true, feature: 'mmx', arg: pair('movd', 'movq.g', 3) }),
    row(1, 0x7e, 'movd', L.liftMovToGeneral, { p: P.NP, modrm: true, feature: 'mmx', arg: pair('movd.r', 'movq.r', 3) }),
  );
  for (const [p, f, feature, w] of [[P.F3, 'ss', 'sse', 2], [P.F2, 'sd', 'sse2', 3]] as const) {
    // The width of the vector operand in memory is the float's; CVTSI2xx reads a general operand.
    out.push(...both(0x2a, `cvtsi2${f}`, L.liftCvtFromGeneral, { p, feature, l: 2, noVvvv: false, arg: pair(`cvtsi2${f}.d`, `cvtsi2${f}.q`) }));
    out.push(...both(0x2c, `cvtt${f}2si`, L.liftCvtToGeneral, { p, feature, l: 2, arg: pair(`cvtt${f}2si.d`, `cvtt${f}2si.q`) | mw(w) }));
    out.push(...both(0x2d, `cvt${f}2si`, L.liftCvtToGeneral, { p, feature, l: 2, arg: pair(`cvt${f}2si.d`, `cvt${f}2si.q`) | mw(w) }));
  }
  out.push(
    ...all('pmovmskb', L.liftToGeneral, { mod: Mod.REG }),
    ...all('movmskps', L.liftToGeneral, { mod: Mod.REG }),
    ...all('movmskpd', L.liftToGeneral, { mod: Mod.REG }),
    ...all('pextrw', L.liftToGeneral, { mod: Mod.REG }),
    ...all('pextrb', L.liftExtract, {}, 0),
    ...both(0x15, 'pextrw', L.liftExtract, { p: P.P66, feature: 'sse4_1', imm: Imm.IB, arg: opIndex('pextrw', 4) | mw(1) }, 3),
    ...both(0x16, 'pextrd', L.liftExtractWide, { p: P.P66, feature: 'sse4_1', imm: Imm.IB, arg: pair('pextrd', 'pextrq') }, 3),
    ...both(0x17, 'extractps', L.liftExtract, { p: P.P66, feature: 'sse4_1', imm: Imm.IB, arg: opIndex('pextrd', 4) | mw(2) }, 3),
    ...all('pinsrw', L.liftInsert, {}, 1),
    ...all('pinsrb', L.liftInsert, {}, 0),
    ...both(0x22, 'pinsrd', L.liftInsertWide, { p: P.P66, feature: 'sse4_1', imm: Imm.IB, noVvvv: false, arg: pair('pinsrd', 'pinsrq') }, 3),
    ...all('insertps', L.liftInsertps),
  );
  return out;
}

function mmxRows(): Row[] {
  const m = (opcode: number, name: string, h: Handler, o: RowOptions): Row => row(1, opcode, name, h, { modrm: true, p: P.NP, ...o });
  return [
    m(0x6f, 'movq', L.liftMmxLoad, { feature: 'mmx' }),
    m(0x7f, 'movq', L.liftMmxStore, { feature: 'mmx' }),
    m(0xe7, 'movntq', L.liftMmxStore, { feature: 'sse', mod: Mod.MEM }),
    m(0xd6, 'movq2dq', L.liftMovq2dq, { p: P.F3, feature: 'sse2', mod: Mod.REG, arg: opIndex('movq.g', 4) }),
    m(0xd6, 'movdq2q', L.liftMovdq2q, { p: P.F2, feature: 'sse2', mod: Mod.REG }),
    m(0x2a, 'cvtpi2ps', L.liftCvtFromMmx, { feature: 'sse', arg: opIndex('cvtpi2ps', 4) | L.ARG_MMX_SOURCE }),
    m(0x2a, 'cvtpi2pd', L.liftCvtFromMmx, { p: P.P66, feature: 'sse2', arg: opIndex('cvtpi2pd', 4) }),
    m(0x2c, 'cvttps2pi', L.liftCvtToMmx, { feature: 'sse', arg: opIndex('cvttps2pi', 3) | mw(3) }),
    m(0x2d, 'cvtps2pi', L.liftCvtToMmx, { feature: 'sse', arg: opIndex('cvtps2pi', 3) | mw(3) }),
    m(0x2c, 'cvttpd2pi', L.liftCvtToMmx, { p: P.P66, feature: 'sse2', arg: opIndex('cvttpd2pi', 3) | mw(4) }),
    m(0x2d, 'cvtpd2pi', L.liftCvtToMmx, { p: P.P66, feature: 'sse2', arg: opIndex('cvtpd2pi', 3) | mw(4) }),
    m(0xf7, 'maskmovq', L.liftMaskmov, { feature: 'sse', mod: Mod.REG }),
    row(1, 0x77, 'emms', L.liftEmms, { p: P.NP, feature: 'mmx' }),
  ];
}

function others(): Row[] {
  const out: Row[] = [
    ...both(0xf7, 'maskmovdqu', L.liftMaskmov, { p: P.P66, feature: 'sse2', mod: Mod.REG }),
    ...both(0xae, 'ldmxcsr', L.liftLdmxcsr, { p: P.NP, feature: 'sse', digit: 2, mod: Mod.MEM }),
    ...both(0xae, 'stmxcsr', L.liftStmxcsr, { p: P.NP, feature: 'sse', digit: 3, mod: Mod.MEM }),
    row(1, 0x77, 'vzeroupper', L.liftVzero, { p: P.NP, vex: true, modrm: false, l: 2, noVvvv: true, feature: 'avx', arg: opIndex('pxor', 4) }),
    // Legacy blends take the mask from XMM0 and have opcodes of their own.
    row(2, 0x10, 'pblendvb', L.liftMasked, { p: P.P66, feature: 'sse4_1', arg: opIndex('pblendvb', 4) | mw(4) }),
    row(2, 0x14, 'blendvps', L.liftMasked, { p: P.P66, feature: 'sse4_1', arg: opIndex('blendvps', 4) | mw(4) }),
    row(2, 0x15, 'blendvpd', L.liftMasked, { p: P.P66, feature: 'sse4_1', arg: opIndex('blendvpd', 4) | mw(4) }),
  ];
  for (const [opcode, name, flags] of [[0x60, 'pcmpestrm', STR_EXPLICIT | STR_MASK], [0x61, 'pcmpestri', STR_EXPLICIT], [0x62, 'pcmpistrm', STR_MASK], [0x63, 'pcmpistri', 0]] as const) {
    out.push(...both(opcode, name, L.liftString, { p: P.P66, feature: 'sse4_2', imm: Imm.IB, arg: flags }, 3));
  }
  const v = (opcode: number, name: string, h: Handler, o: RowOptions): Row => row(2, opcode, name, h, { p: P.P66, vex: true, w: 0, mod: Mod.MEM, feature: 'avx', ...o });
  out.push(
    v(0x2c, 'vmaskmovps', L.liftMaskLoad, { l: 2, arg: 2 }),
    v(0x2d, 'vmaskmovpd', L.liftMaskLoad, { l: 2, arg: 3 }),
    v(0x2e, 'vmaskmovps', L.liftMaskStore, { l: 2, arg: 2 }),
    v(0x2f, 'vmaskmovpd', L.liftMaskStore, { l: 2, arg: 3 }),
    v(0x8c, 'vpmaskmov', L.liftMaskLoad, { l: 2, w: 2, feature: 'avx2' }),
    v(0x8e, 'vpmaskmov', L.liftMaskStore, { l: 2, w: 2, feature: 'avx2' }),
  );
  for (const [opcode, name, index] of [[0x90, 'vpgatherd', 0], [0x91, 'vpgatherq', Gather.INDEX64], [0x92, 'vgatherd', 0], [0x93, 'vgatherq', Gather.INDEX64]] as const) {
    out.push(v(opcode, name, L.liftGather, { l: 2, w: 2, feature: 'avx2', arg: index }));
  }
  // Broadcasts: from memory with AVX, from a register with AVX2.
  const broadcast = (opcode: number, name: string, w: VW, mem: number, memFeature: string): void => {
    const arg = opIndex(name, w) | mw(mem);
    const o: RowOptions = { l: w === 5 ? 1 : 0, noVvvv: true, arg };
    out.push(v(opcode, name, L.liftBroadcastLoad, { ...o, feature: memFeature }));
    if (name !== 'vbroadcast128') out.push(v(opcode, name, L.lift1, { ...o, mod: Mod.REG, feature: 'avx2' }));
  };
  broadcast(0x18, 'vbroadcastss', 4, 2, 'avx');
  broadcast(0x18, 'vbroadcastss', 5, 2, 'avx');
  broadcast(0x19, 'vbroadcastsd', 5, 3, 'avx');
  broadcast(0x1a, 'vbroadcast128', 5, 4, 'avx');
  broadcast(0x5a, 'vbroadcast128', 5, 4, 'avx2');
  broadcast(0x78, 'vpbroadcastb', 4, 0, 'avx2');
  broadcast(0x78, 'vpbroadcastb', 5, 0, 'avx2');
  return out;
}

export const VECTOR_ROWS: readonly Row[] = [...derived(), ...moves(), ...generalRegisters(), ...mmxRows(), ...others()];
