/**
 * x87 control instructions, environment and state images, MMX transitions.
 * Intel SDM vol. 1, 8.1.8..8.1.11 (images), vol. 2: FINIT, FCLEX, FLDCW, FSTCW, FSTSW, FSTENV, FLDENV, FSAVE, FRSTOR, EMMS.
 */
import { HelperResult, X87Kind } from '../../../helpers.js';
import type { HelperFn, HelperRegistry } from '../../../helpers.js';
import { Access, Slot } from '../../../state.js';
import { Mode, Seg, X, mmx } from '../mode.js';
import {
  ADDR, Cr0, DATA, Sw, Vector, W, afterControlLoad, fcw, fsw, init, native, pendingError, phys, setFcw, setTags, setTop, tags, updateSummary,
} from './state.js';
import type { X87Cpu } from './state.js';

type Fn = HelperFn<X87Cpu>;
const CONTINUE = HelperResult.CONTINUE;
const DISPATCH = HelperResult.DISPATCH;

const pending = (cpu: X87Cpu): boolean => (fsw(cpu) & Sw.ES) !== 0 && pendingError(cpu);

const fninit: Fn = (cpu) => {
  init(cpu);
  return afterControlLoad(cpu);
};

const fnclex: Fn = (cpu) => {
  cpu.V[W.CS] = cpu.V[W.CS]! & ~((0xff | Sw.B) << 16);
  return CONTINUE;
};

/** dst = FCW. */
const fnstcw: Fn = (cpu, dst) => {
  cpu.V[dst * 2] = fcw(cpu);
  cpu.V[dst * 2 + 1] = 0;
  return CONTINUE;
};

/** dst = FSW. */
const fnstsw: Fn = (cpu, dst) => {
  cpu.V[dst * 2] = fsw(cpu);
  cpu.V[dst * 2 + 1] = 0;
  return CONTINUE;
};

/** a = new FCW. */
const fldcw: Fn = (cpu, _d, a) => {
  if (pending(cpu)) return DISPATCH;
  setFcw(cpu, cpu.V[a * 2]! & 0xffff);
  updateSummary(cpu);
  return afterControlLoad(cpu);
};

/** Full tag word: 0 valid, 1 zero, 2 special, 3 empty, two bits per physical register. */
function fullTags(cpu: X87Cpu): number {
  const V = cpu.V;
  const t = tags(cpu);
  let w = 0;
  for (let r = 0; r < 8; r++) {
    let tag = 3;
    if (((t >> r) & 1) !== 0) {
      const i = (Slot.X87 + 2 * r) * 2;
      const e = V[i + 2]! & 0x7fff;
      if (e === 0) tag = (V[i]! | V[i + 1]!) === 0 ? 1 : 2;
      else tag = e === 0x7fff || V[i + 1]! >= 0 ? 2 : 0;
    }
    w |= tag << (2 * r);
  }
  return w;
}

function abridged(full: number): number {
  let t = 0;
  for (let r = 0; r < 8; r++) if (((full >> (2 * r)) & 3) !== 3) t |= 1 << r;
  return t;
}

/** ADDR = address in slot a + off. */
function at(cpu: X87Cpu, a: number, off: number): void {
  const V = cpu.V;
  const lo = (V[a * 2]! >>> 0) + off;
  V[ADDR * 2] = lo;
  V[ADDR * 2 + 1] = V[a * 2 + 1]! + (lo > 0xffff_ffff ? 1 : 0);
}
function get(cpu: X87Cpu, w: number, a: number, off: number): number {
  at(cpu, a, off);
  cpu.load(w, ADDR, DATA, Access.NORMAL);
  return cpu.V[DATA * 2]!;
}
function put(cpu: X87Cpu, w: number, a: number, off: number, v: number): void {
  at(cpu, a, off);
  cpu.V[DATA * 2] = v;
  cpu.store(w, ADDR, DATA, Access.NORMAL);
}
/** Raises the fault a write to the first or last byte would raise. */
function probe(cpu: X87Cpu, a: number, bytes: number): void {
  at(cpu, a, 0);
  cpu.load(0, ADDR, DATA, Access.RMW);
  at(cpu, a, bytes - 1);
  cpu.load(0, ADDR, DATA, Access.RMW);
}

/** imm bit 0 of the image helpers: 32-bit layout. */
const envBytes = (imm: number): number => ((imm & 1) !== 0 ? 28 : 14);

/** Writes the seven fields of the environment. In real and virtual-8086 mode pointers are linear addresses. */
function putEnv(cpu: X87Cpu, a: number, imm: number): void {
  const V = cpu.V;
  const real = (cpu.mode & Mode.REAL) !== 0;
  const wide = (imm & 1) !== 0;
  const w = wide ? 2 : 1;
  const n = 1 << w;
  const high = wide ? 0xffff_0000 : 0;
  const fop = (V[W.TAG]! >>> 16) & 0x7ff;
  let ip = V[W.IP]!;
  let dp = V[W.DP]!;
  put(cpu, w, a, 0, fcw(cpu) | high);
  put(cpu, w, a, n, fsw(cpu) | high);
  put(cpu, w, a, 2 * n, fullTags(cpu) | high);
  if (real) {
    // Selectors are not kept (CPUID.7.0:EBX[13]); the bases in force now are the best there is.
    ip += V[(X.SEGBASE + Seg.CS) * 2]!;
    dp += V[(X.SEGBASE + Seg.DS) * 2]!;
    put(cpu, w, a, 3 * n, wide ? (ip & 0xffff) | high : ip & 0xffff);
    put(cpu, w, a, 4 * n, wide ? ((ip & 0xffff_0000) >>> 4) | fop : ((ip >>> 4) & 0xf000) | fop);
    put(cpu, w, a, 5 * n, wide ? (dp & 0xffff) | high : dp & 0xffff);
    put(cpu, w, a, 6 * n, wide ? (dp & 0xffff_0000) >>> 4 : (dp >>> 4) & 0xf000);
  } else {
    put(cpu, w, a, 3 * n, ip);
    put(cpu, w, a, 4 * n, wide ? fop << 16 : 0);
    put(cpu, w, a, 5 * n, dp);
    put(cpu, w, a, 6 * n, high);
  }
}

/** The environment as read, before anything is changed. */
const env = { fcw: 0, fsw: 0, tag: 0, ip: 0, dp: 0, fop: 0 };

function getEnv(cpu: X87Cpu, a: number, imm: number): void {
  const V = cpu.V;
  const real = (cpu.mode & Mode.REAL) !== 0;
  const wide = (imm & 1) !== 0;
  const w = wide ? 2 : 1;
  const n = 1 << w;
  env.fcw = get(cpu, w, a, 0) & 0xffff;
  env.fsw = get(cpu, w, a, n) & 0xffff;
  env.tag = abridged(get(cpu, w, a, 2 * n) & 0xffff);
  const ip = get(cpu, w, a, 3 * n);
  const ipHigh = get(cpu, w, a, 4 * n);
  const dp = get(cpu, w, a, 5 * n);
  const dpHigh = get(cpu, w, a, 6 * n);
  if (real) {
    env.ip = ((ip & 0xffff) | (wide ? (ipHigh << 4) & 0xffff_0000 : (ipHigh & 0xf000) << 4)) - V[(X.SEGBASE + Seg.CS) * 2]!;
    env.dp = ((dp & 0xffff) | (wide ? (dpHigh << 4) & 0xffff_0000 : (dpHigh & 0xf000) << 4)) - V[(X.SEGBASE + Seg.DS) * 2]!;
    env.fop = ipHigh & 0x7ff;
  } else {
    env.ip = wide ? ip : ip & 0xffff;
    env.dp = wide ? dp : dp & 0xffff;
    env.fop = wide ? (ipHigh >>> 16) & 0x7ff : 0;
  }
}

function applyEnv(cpu: X87Cpu): void {
  const V = cpu.V;
  V[W.CS] = (env.fsw << 16) | (env.fcw & 0x1f3f) | 0x40;
  V[W.TAG] = env.tag | (env.fop << 16);
  V[W.IP] = env.ip;
  V[W.IP + 1] = 0;
  V[W.DP] = env.dp;
  V[W.DP + 1] = 0;
  updateSummary(cpu);
}

/** a = linear address. Masks all exceptions afterwards. */
const fnstenv: Fn = (cpu, _d, a, _b, _c, imm) => {
  probe(cpu, a, envBytes(imm));
  putEnv(cpu, a, imm);
  cpu.V[W.CS] = cpu.V[W.CS]! | 0x3f;
  updateSummary(cpu);
  return afterControlLoad(cpu);
};

const fldenv: Fn = (cpu, _d, a, _b, _c, imm) => {
  if (pending(cpu)) return DISPATCH;
  getEnv(cpu, a, imm);
  applyEnv(cpu);
  return afterControlLoad(cpu);
};

const fnsave: Fn = (cpu, _d, a, _b, _c, imm) => {
  const V = cpu.V;
  let off = envBytes(imm);
  probe(cpu, a, off + 80);
  putEnv(cpu, a, imm);
  for (let i = 0; i < 8; i++, off += 10) {
    const r = (Slot.X87 + 2 * phys(cpu, i)) * 2;
    at(cpu, a, off);
    V[DATA * 2] = V[r]!;
    V[DATA * 2 + 1] = V[r + 1]!;
    cpu.store(3, ADDR, DATA, Access.NORMAL);
    put(cpu, 1, a, off + 8, V[r + 2]!);
  }
  init(cpu);
  return afterControlLoad(cpu);
};

const registers = new Int32Array(8 * 3);

const frstor: Fn = (cpu, _d, a, _b, _c, imm) => {
  if (pending(cpu)) return DISPATCH;
  const V = cpu.V;
  getEnv(cpu, a, imm);
  let off = envBytes(imm);
  for (let i = 0; i < 24; i += 3, off += 10) {
    at(cpu, a, off);
    cpu.load(3, ADDR, DATA, Access.NORMAL);
    registers[i] = V[DATA * 2]!;
    registers[i + 1] = V[DATA * 2 + 1]!;
    registers[i + 2] = get(cpu, 1, a, off + 8) & 0xffff;
  }
  applyEnv(cpu);
  for (let i = 0; i < 8; i++) {
    const r = (Slot.X87 + 2 * phys(cpu, i)) * 2;
    for (let k = 0; k < 3; k++) V[r + k] = registers[3 * i + k]!;
  }
  return afterControlLoad(cpu);
};

/** WAIT: #NM needs both CR0.MP and CR0.TS. */
const fwait: Fn = (cpu) => {
  if ((cpu.cr0 & (Cr0.MP | Cr0.TS)) === (Cr0.MP | Cr0.TS)) cpu.raise(Vector.NM);
  return pending(cpu) ? DISPATCH : CONTINUE;
};

/**
 * Start of an MMX instruction: #UD, #NM, #MF; then TOP = 0 and every register is valid (SDM vol. 1, 9.5.1). imm = number of
 * the MMX register that will be written, whose exponent field becomes all ones, or -1.
 */
const mmxEnter: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if ((cpu.cr0 & Cr0.EM) !== 0) cpu.raise(Vector.UD);
  if ((cpu.cr0 & Cr0.TS) !== 0) cpu.raise(Vector.NM);
  if (pending(cpu)) return DISPATCH;
  setTop(cpu, 0);
  setTags(cpu, 0xff);
  if (imm >= 0) cpu.V[(mmx(imm) + 1) * 2] = 0xffff;
  return CONTINUE;
};

const emms: Fn = (cpu) => {
  if ((cpu.cr0 & Cr0.EM) !== 0) cpu.raise(Vector.UD);
  if ((cpu.cr0 & Cr0.TS) !== 0) cpu.raise(Vector.NM);
  if (pending(cpu)) return DISPATCH;
  setTop(cpu, 0);
  setTags(cpu, 0);
  return CONTINUE;
};

/** CR0.EM or CR0.TS is set: imm 0 = x87 (#NM for both), 1 MMX, 2 SSE, 3 AVX (#UD for EM). */
const unavailable: Fn = (cpu, _d, _a, _b, _c, imm) => {
  if ((cpu.cr0 & Cr0.EM) !== 0 && imm !== 0) cpu.raise(imm === 3 ? Vector.NM : Vector.UD);
  return cpu.raise(Vector.NM);
};

export function defineControl<C extends X87Cpu>(r: HelperRegistry<C>): void {
  r.define('x87.fninit', fninit, native(X87Kind.INIT));
  r.define('x87.fnclex', fnclex, native(X87Kind.CLEX));
  r.define('x87.fnstcw', fnstcw, native(X87Kind.STCW));
  r.define('x87.fnstsw', fnstsw, native(X87Kind.STSW));
  r.define('x87.fldcw', fldcw, native(X87Kind.LDCW));
  r.define('x87.fnstenv', fnstenv);
  r.define('x87.fldenv', fldenv);
  r.define('x87.fnsave', fnsave);
  r.define('x87.frstor', frstor);
  r.define('x86.fpu.unavailable', unavailable);
}

/** Helpers of MMX instructions, where no other part defines them. */
export function defineMmx<C extends X87Cpu>(r: HelperRegistry<C>): void {
  r.define('x86.mmx.enter', mmxEnter);
  r.define('x86.emms', emms);
}

/** The two x87 helpers of the lifter's list (helper-names.ts), where the CPU does not define them. */
export function defineFpuTraps<C extends X87Cpu>(r: HelperRegistry<C>): void {
  r.define('x86.fpu_trap', unavailable);
  r.define('x86.fwait', fwait);
}
