/** RISC-V guests as GDB sees them (GDB manual, "RISC-V Features"). */
import type { RiscvCpu } from '../../engine/guest/riscv/cpu.js';
import { Csr, Priv, X, xreg } from '../../engine/guest/riscv/defs.js';
import { Slot } from '../../engine/state.js';
import type { GdbArch, MachineCpu } from './guest.js';

const ABI = [
  'zero', 'ra', 'sp', 'gp', 'tp', 't0', 't1', 't2', 'fp', 's1', 'a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9', 's10', 's11', 't3', 't4', 't5', 't6',
];
const FLOAT_ABI = [
  'ft0', 'ft1', 'ft2', 'ft3', 'ft4', 'ft5', 'ft6', 'ft7', 'fs0', 'fs1', 'fa0', 'fa1', 'fa2', 'fa3', 'fa4', 'fa5', 'fa6', 'fa7', 'fs2', 'fs3', 'fs4', 'fs5', 'fs6', 'fs7', 'fs8', 'fs9', 'fs10', 'fs11',
  'ft8', 'ft9', 'ft10', 'ft11',
];
/** CSRs that a debugger may look at, without those whose reading has an effect. They cannot be set. */
const CSRS: readonly (readonly [string, Csr])[] = [
  ['sstatus', Csr.SSTATUS], ['sie', Csr.SIE], ['stvec', Csr.STVEC], ['scounteren', Csr.SCOUNTEREN], ['senvcfg', Csr.SENVCFG], ['sscratch', Csr.SSCRATCH], ['sepc', Csr.SEPC],
  ['scause', Csr.SCAUSE], ['stval', Csr.STVAL], ['sip', Csr.SIP], ['satp', Csr.SATP], ['mstatus', Csr.MSTATUS], ['misa', Csr.MISA], ['medeleg', Csr.MEDELEG], ['mideleg', Csr.MIDELEG],
  ['mie', Csr.MIE], ['mtvec', Csr.MTVEC], ['mcounteren', Csr.MCOUNTEREN], ['menvcfg', Csr.MENVCFG], ['mscratch', Csr.MSCRATCH], ['mepc', Csr.MEPC], ['mcause', Csr.MCAUSE],
  ['mtval', Csr.MTVAL], ['mip', Csr.MIP], ['mhartid', Csr.MHARTID], ['tselect', Csr.TSELECT], ['tdata1', Csr.TDATA1], ['tdata2', Csr.TDATA2], ['tinfo', Csr.TINFO],
];
/** Those of harts with an IMSIC. */
const AIA_CSRS: readonly (readonly [string, Csr])[] = [
  ['siselect', Csr.SISELECT], ['stopei', Csr.STOPEI], ['stopi', Csr.STOPI], ['mvien', Csr.MVIEN], ['mvip', Csr.MVIP], ['miselect', Csr.MISELECT], ['mtopei', Csr.MTOPEI], ['mtopi', Csr.MTOPI],
];
const VECTORS = 32;
/** Numbers of registers; vector registers and the CSRs of AIA, if there are any, follow. */
const enum First { PC = 32, F = 33, FCSR = 65, PRIV = 66, CSR = 67, COUNT = 96 }

const reg = (name: string, bits: number, type: string): string => `<reg name="${name}" bitsize="${bits}" type="${type}"/>`;
const csrXml = (feature: string, list: readonly (readonly [string, Csr])[]): string => `<feature name="${feature}">${list.map(([name]) => reg(name, 64, 'int')).join('')}</feature>`;
/** @param others features of other registers, or nothing */
const targetXml = (others: string): string => `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>riscv:rv64</architecture>
<feature name="org.gnu.gdb.riscv.cpu">${ABI.map((n) => reg(n, 64, n === 'sp' || n === 'fp' || n === 'gp' || n === 'tp' ? 'data_ptr' : n === 'ra' ? 'code_ptr' : 'int')).join('')}${reg('pc', 64, 'code_ptr')}</feature>
<feature name="org.gnu.gdb.riscv.fpu"><union id="riscv_double"><field name="float" type="ieee_single"/><field name="double" type="ieee_double"/></union>
${FLOAT_ABI.map((n) => reg(n, 64, 'riscv_double')).join('')}${reg('fcsr', 32, 'int')}</feature>
<feature name="org.gnu.gdb.riscv.virtual">${reg('priv', 64, 'int')}</feature>${csrXml('org.gnu.gdb.riscv.csr', CSRS)}${others}</target>`;

/** v0..v31, which follow the others: as elements of every width. */
function vectorXml(vlen: number): string {
  const widths = [['b', 'uint8', 8], ['h', 'uint16', 16], ['w', 'uint32', 32], ['l', 'uint64', 64]] as const;
  const types = widths.map(([name, type, bits]) => `<vector id="v${name}" type="${type}" count="${vlen / bits}"/>`).join('');
  const fields = widths.map(([name]) => `<field name="${name}" type="v${name}"/>`).join('');
  return `\n<feature name="org.gnu.gdb.riscv.vector">${types}<union id="riscv_vector">${fields}</union>${Array.from({ length: 32 }, (_, i) => reg(`v${i}`, vlen, 'riscv_vector')).join('')}</feature>`;
}

const SIZES: readonly number[] = Array.from({ length: First.COUNT }, (_, n) => (n === (First.FCSR as number) ? 4 : 8));

/** The slot of a register that is one, or -1. */
function slotOf(n: number): number {
  if (n > 0 && n < First.PC) return xreg(n);
  if (n === (First.PC as number)) return Slot.PC;
  return n >= First.F && n < First.FCSR ? X.F + n - First.F : -1;
}

/** The CSR that register n is, or null. */
function csrOf(cpu: RiscvCpu, n: number): Csr | null {
  if (n >= First.CSR && n < First.COUNT) return CSRS[n - First.CSR]![1];
  return AIA_CSRS[n - First.COUNT - (cpu.vector === null ? 0 : VECTORS)]?.[1] ?? null;
}

/** Bytes of a vector register. */
function vectorRegister(cpu: RiscvCpu, n: number): Uint8Array {
  const { vlenb } = cpu.vector!;
  const from = X.V * 8 + (n - First.COUNT) * vlenb;
  return cpu.U8.subarray(from, from + vlenb);
}

function read(c: MachineCpu, n: number, out: Uint8Array, at: number): void {
  const cpu = c as RiscvCpu;
  const slot = slotOf(n);
  const csr = csrOf(cpu, n);
  if (csr !== null) {
    const known = cpu.csr.peek(csr);
    const { lo, hi } = cpu.csr;
    const view = new DataView(out.buffer, out.byteOffset + at, 8);
    view.setInt32(0, known ? lo : 0, true);
    view.setInt32(4, known ? hi : 0, true);
  } else if (n >= First.COUNT) out.set(vectorRegister(cpu, n), at);
  else if (slot >= 0) out.set(cpu.U8.subarray(slot * 8, slot * 8 + 8), at);
  else {
    out.fill(0, at, at + SIZES[n]!);
    if (n === (First.FCSR as number)) out[at] = cpu.fflags | (cpu.csr.frm << 5);
    else if (n === (First.PRIV as number)) out[at] = cpu.priv;
  }
}

function write(c: MachineCpu, n: number, value: Uint8Array): boolean {
  const cpu = c as RiscvCpu;
  const slot = slotOf(n);
  if (csrOf(cpu, n) !== null) return false;
  if (n >= First.COUNT) vectorRegister(cpu, n).set(value);
  else if (slot >= 0) {
    cpu.U8.set(value, slot * 8);
    if (slot === (Slot.PC as number)) cpu.restartAt();
  } else if (n === (First.FCSR as number)) cpu.csr.write(Csr.FCSR, value[0]!, 0);
  else return n === 0;
  return true;
}

const enum Pte { V = 1, R = 2, X = 8 }

/** The page walk (vol. II, 12.3.2) without rights, faults and accessed bits. */
function translate(c: MachineCpu, lo: number, hi: number): number {
  const cpu = c as RiscvCpu;
  const { satpHi, satpLo } = cpu.csr;
  const mode = satpHi >>> 28;
  const address = (hi >>> 0) * 2 ** 32 + (lo >>> 0);
  if (cpu.priv === Priv.M || mode === 0) return address < 2 ** 52 ? address : -1;
  const read32 = (pa: number): number => {
    const off = cpu.map.pageOffset(pa);
    return off < 0 ? 0 : cpu.map.ram32[(off + (pa % 4096)) >>> 2]!;
  };
  // Of a sign-extended address only bits below 57 matter.
  const within = (hi & 0x1ff_ffff) * 2 ** 32 + (lo >>> 0);
  let table = ((satpHi & 0xfff) * 2 ** 32 + (satpLo >>> 0)) * 4096;
  for (let level = mode - 6; level >= 0; level--) {
    const shift = 12 + 9 * level;
    const index = Math.floor(within / 2 ** shift) % 512;
    const e = read32(table + index * 8);
    const eHi = read32(table + index * 8 + 4);
    if (!(e & Pte.V)) return -1;
    const page = ((eHi & 0x3f_ffff) * 2 ** 22 + (e >>> 10)) * 4096;
    // Svnapot's pages have 64 KiB.
    const bits = level === 0 && eHi < 0 ? 16 : shift;
    if (e & (Pte.R | Pte.X)) return page - (page % 2 ** bits) + (within % 2 ** bits);
    table = page;
  }
  return -1;
}

export const riscvGdb: GdbArch = {
  targetXml: targetXml(''), sizes: SIZES, read, write, translate,
  watch(c, ranges, hit) {
    const cpu = c as RiscvCpu;
    cpu.mmu.watchpoints.set(ranges, hit);
    cpu.mmu.flushAll();
    cpu.updateMode();
  },
};

/** The same with vector registers of `vlen` bits (undefined: none), and of a hart with an IMSIC. */
export function riscvGdbOf(vlen: number | undefined, imsic: boolean): GdbArch {
  const vectors = vlen === undefined ? [] : Array.from({ length: VECTORS }, () => vlen / 8);
  const aia = imsic ? AIA_CSRS : [];
  return {
    ...riscvGdb, targetXml: targetXml((vlen === undefined ? '' : vectorXml(vlen)) + (imsic ? csrXml('vmx-accel.riscv.aia', aia) : '')), sizes: [...SIZES, ...vectors, ...aia.map(() => 8)],
  };
}
