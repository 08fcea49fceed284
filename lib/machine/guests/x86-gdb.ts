/** x86-64 guests as GDB sees them (GDB manual, "i386 Features"). */
import { Cr0, Cr4, Efer } from '../../engine/guest/x86/defs.js';
import type { X86Cpu } from '../../engine/guest/x86/cpu.js';
import { Seg, X } from '../../engine/guest/x86/mode.js';
import { Slot, VEC_STRIDE, X87_STRIDE } from '../../engine/state.js';
import type { GdbArch, MachineCpu } from './guest.js';

/** GDB's order of the general registers. */
const GENERAL = [X.RAX, X.RBX, X.RCX, X.RDX, X.RSI, X.RDI, X.RBP, X.RSP, X.R8, X.R9, X.R10, X.R11, X.R12, X.R13, X.R14, X.R15] as const;
const GENERAL_NAMES = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const SEGMENTS = [Seg.CS, Seg.SS, Seg.DS, Seg.ES, Seg.FS, Seg.GS] as const;
const SEGMENT_NAMES = ['cs', 'ss', 'ds', 'es', 'fs', 'gs'];
const FPU_NAMES = ['fctrl', 'fstat', 'ftag', 'fiseg', 'fioff', 'foseg', 'fooff', 'fop'];
const enum First { RIP = 16, EFLAGS = 17, SEGMENT = 18, ST = 24, FPU = 32, XMM = 40, MXCSR = 56, FS_BASE = 57, GS_BASE = 58, COUNT = 59 }

const reg = (name: string, bits: number, type: string, extra = ''): string => `<reg name="${name}" bitsize="${bits}" type="${type}"${extra}/>`;
const TARGET_XML = `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>i386:x86-64</architecture>
<feature name="org.gnu.gdb.i386.core">
<flags id="i386_eflags" size="4"><field name="CF" start="0" end="0"/><field name="" start="1" end="1"/><field name="PF" start="2" end="2"/><field name="AF" start="4" end="4"/><field name="ZF" start="6" end="6"/><field name="SF" start="7" end="7"/><field name="TF" start="8" end="8"/><field name="IF" start="9" end="9"/><field name="DF" start="10" end="10"/><field name="OF" start="11" end="11"/><field name="NT" start="14" end="14"/><field name="RF" start="16" end="16"/><field name="VM" start="17" end="17"/><field name="AC" start="18" end="18"/><field name="ID" start="21" end="21"/></flags>
${GENERAL_NAMES.map((n) => reg(n, 64, n === 'rbp' || n === 'rsp' ? 'data_ptr' : 'int64')).join('')}
${reg('rip', 64, 'code_ptr')}${reg('eflags', 32, 'i386_eflags')}${SEGMENT_NAMES.map((n) => reg(n, 32, 'int32')).join('')}
${Array.from({ length: 8 }, (_, i) => reg(`st${i}`, 80, 'i387_ext')).join('')}
${FPU_NAMES.map((n) => reg(n, 32, 'int', ' group="float"')).join('')}
</feature>
<feature name="org.gnu.gdb.i386.sse">
<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/><vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/><vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>
${Array.from({ length: 16 }, (_, i) => reg(`xmm${i}`, 128, 'vec128')).join('')}${reg('mxcsr', 32, 'int', ' group="vector"')}
</feature>
<feature name="org.gnu.gdb.i386.segments">${reg('fs_base', 64, 'int')}${reg('gs_base', 64, 'int')}</feature></target>`;

const SIZES: readonly number[] = Array.from({ length: First.COUNT }, (_, n) => (n <= (First.RIP as number) ? 8 : n < (First.ST as number) ? 4 : n < (First.FPU as number) ? 10 : n < (First.XMM as number) ? 4 : n < (First.MXCSR as number) ? 16 : n === (First.MXCSR as number) ? 4 : 8));

function put(out: Uint8Array, at: number, n: number, lo: number, hi = 0): void {
  for (let i = 0; i < n; i++) out[at + i] = i < 4 ? lo >>> (8 * i) : hi >>> (8 * (i - 4));
}

/** Of each physical x87 register two bits: 3 if it is empty. Valid, zero and special are not told apart. */
function tagWord(abridged: number): number {
  let v = 0;
  for (let i = 0; i < 8; i++) if (!(abridged & (1 << i))) v |= 3 << (i * 2);
  return v;
}

function read(c: MachineCpu, n: number, out: Uint8Array, at: number): void {
  const cpu = c as X86Cpu;
  const { V, U8 } = cpu;
  const slot = (s: number, bytes: number): void => put(out, at, bytes, V[s * 2]!, V[s * 2 + 1]!);
  if (n < First.RIP) slot(GENERAL[n]!, 8);
  else if (n === (First.RIP as number)) {
    // GDB knows linear addresses only.
    slot(Slot.PC, 8);
  } else if (n === (First.EFLAGS as number)) put(out, at, 4, cpu.flags.get());
  else if (n < First.ST) put(out, at, 4, cpu.seg.sel[SEGMENTS[n - First.SEGMENT]!]! & 0xffff);
  else if (n < First.FPU) {
    const top = (V[Slot.FPU * 2]! >>> 27) & 7;
    const from = (Slot.X87 + ((n - First.ST + top) & 7) * X87_STRIDE) * 8;
    out.set(U8.subarray(from, from + 10), at);
  } else if (n < First.XMM) {
    const control = V[Slot.FPU * 2]!;
    const values = [control & 0xffff, control >>> 16, tagWord(V[Slot.FPU * 2 + 1]! & 0xff), 0, V[Slot.FPU_IP * 2]!, 0, V[Slot.FPU_DP * 2]!, (V[Slot.FPU * 2 + 1]! >>> 16) & 0x7ff];
    put(out, at, 4, values[n - First.FPU]!);
  } else if (n < First.MXCSR) {
    const from = (Slot.VEC + (n - First.XMM) * VEC_STRIDE) * 8;
    out.set(U8.subarray(from, from + 16), at);
  } else if (n === (First.MXCSR as number)) put(out, at, 4, V[Slot.MXCSR * 2]!);
  else slot(n === (First.FS_BASE as number) ? X.FSBASE : X.GSBASE, 8);
}

function write(c: MachineCpu, n: number, value: Uint8Array): boolean {
  const cpu = c as X86Cpu;
  const v = new DataView(value.buffer, value.byteOffset, value.length);
  const lo = v.getInt32(0, true);
  const hi = value.length >= 8 ? v.getInt32(4, true) : 0;
  if (n < First.RIP) {
    cpu.V[GENERAL[n]! * 2] = lo;
    cpu.V[GENERAL[n]! * 2 + 1] = hi;
  } else if (n === (First.RIP as number)) {
    cpu.V[Slot.PC * 2] = lo;
    cpu.V[Slot.PC * 2 + 1] = hi;
    cpu.restartAt();
  } else if (n === (First.EFLAGS as number)) cpu.flags.set(lo);
  else if (n >= First.XMM && n < First.MXCSR) cpu.U8.set(value, (Slot.VEC + (n - First.XMM) * VEC_STRIDE) * 8);
  else return false;
  return true;
}

const PRESENT = 1;
const LARGE = 0x80;

/** The page walk (SDM vol. 3, 4.3 to 4.5) without rights, faults, accessed bits and TLB. */
function translate(c: MachineCpu, lo: number, hi: number): number {
  const cpu = c as X86Cpu;
  const { map } = cpu;
  const linear = (lo >>> 0) + (hi >>> 0) * 0x1_0000_0000;
  if (cpu.cr0 >= 0 || !(cpu.cr0 & Cr0.PE)) return lo >>> 0;
  const read32 = (pa: number): number => {
    const off = map.pageOffset(pa - (pa % 4096));
    return off < 0 ? 0 : map.ram32[(off + (pa % 4096)) >>> 2]!;
  };
  const low = (shift: number, bits: number): number => Math.floor((shift < 32 ? (lo >>> 0) / 2 ** shift + (hi >>> 0) * 2 ** (32 - shift) : (hi >>> 0) / 2 ** (shift - 32)) % 2 ** bits);
  const within = (bits: number): number => (bits <= 32 ? (lo >>> 0) % 2 ** bits : linear % 2 ** bits);
  if (!(cpu.cr4 & Cr4.PAE)) {
    const pde = read32(((cpu.cr3Lo & ~0xfff) >>> 0) + low(22, 10) * 4);
    if (!(pde & PRESENT)) return -1;
    if (pde & LARGE && cpu.cr4 & Cr4.PSE) return ((pde & 0xffc0_0000) >>> 0) + ((pde >>> 13) & 0xff) * 0x1_0000_0000 + within(22);
    const pte = read32(((pde & ~0xfff) >>> 0) + low(12, 10) * 4);
    return pte & PRESENT ? ((pte & ~0xfff) >>> 0) + within(12) : -1;
  }
  const long = (cpu.efer & Efer.LMA) !== 0;
  let level = long ? (cpu.cr4 & Cr4.LA57 ? 5 : 4) : 3;
  let table = long ? (cpu.cr3Hi & 0xf_ffff) * 0x1_0000_0000 + ((cpu.cr3Lo & ~0xfff) >>> 0) : (cpu.cr3Lo & ~0x1f) >>> 0;
  for (; level >= 1; level--) {
    const shift = 3 + level * 9;
    const at = table + low(shift, !long && level === 3 ? 2 : 9) * 8;
    const entry = read32(at);
    if (!(entry & PRESENT)) return -1;
    const base = (read32(at + 4) & 0xf_ffff) * 0x1_0000_0000 + ((entry & ~0xfff) >>> 0);
    if (level === 1) return base + within(12);
    if (level <= 3 && entry & LARGE && (long || level === 2)) return base - (base % 2 ** shift) + within(shift);
    table = base;
  }
  return -1;
}

export const x86Gdb: GdbArch = {
  targetXml: TARGET_XML,
  sizes: SIZES,
  read,
  write,
  translate,
  watch(cpu, ranges, hit) {
    (cpu as X86Cpu).debug.setWatchpoints(ranges, hit);
  },
};
