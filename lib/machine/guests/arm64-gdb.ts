/** ARM64 guests as GDB sees them (GDB manual, "AArch64 Features"). */
import type { Arm64Cpu } from '../../engine/guest/arm64/cpu.js';
import { A, nzcvToFlags, vreg } from '../../engine/guest/arm64/regs.js';
import { Slot } from '../../engine/state.js';
import type { GdbArch, MachineCpu } from './guest.js';

const enum First { SP = 31, PC = 32, CPSR = 33, V = 34, FPSR = 66, FPCR = 67, COUNT = 68 }

const reg = (name: string, bits: number, type: string): string => `<reg name="${name}" bitsize="${bits}" type="${type}"/>`;
const TARGET_XML = `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>aarch64</architecture>
<feature name="org.gnu.gdb.aarch64.core">${Array.from({ length: 31 }, (_, i) => reg(`x${i}`, 64, 'int')).join('')}${reg('sp', 64, 'data_ptr')}${reg('pc', 64, 'code_ptr')}${reg('cpsr', 32, 'int')}</feature>
<feature name="org.gnu.gdb.aarch64.fpu">
<vector id="v2d" type="ieee_double" count="2"/><vector id="v2u" type="uint64" count="2"/><vector id="v4f" type="ieee_single" count="4"/><vector id="v4u" type="uint32" count="4"/><vector id="v8u" type="uint16" count="8"/><vector id="v16u" type="uint8" count="16"/><vector id="v1u" type="uint128" count="1"/>
<union id="aarch64v"><field name="d" type="v2d"/><field name="du" type="v2u"/><field name="f" type="v4f"/><field name="s" type="v4u"/><field name="h" type="v8u"/><field name="b" type="v16u"/><field name="q" type="v1u"/></union>
${Array.from({ length: 32 }, (_, i) => reg(`v${i}`, 128, 'aarch64v')).join('')}${reg('fpsr', 32, 'int')}${reg('fpcr', 32, 'int')}</feature></target>`;

const SIZES: readonly number[] = Array.from({ length: First.COUNT }, (_, n) => (n < (First.CPSR as number) ? 8 : n === (First.CPSR as number) || n >= (First.FPSR as number) ? 4 : 16));

/** State slot of a register that is one, or -1. */
const slotOf = (n: number): number => (n < First.SP ? A.X0 + n : n === (First.SP as number) ? A.SP : n === (First.PC as number) ? Slot.PC : n >= First.V && n < First.FPSR ? vreg(n - First.V) : -1);

function read(c: MachineCpu, n: number, out: Uint8Array, at: number): void {
  const cpu = c as Arm64Cpu;
  const slot = slotOf(n);
  if (slot >= 0) {
    out.set(cpu.U8.subarray(slot * 8, slot * 8 + SIZES[n]!), at);
    return;
  }
  const v = n === (First.CPSR as number) ? cpu.pstate() : n === (First.FPSR as number) ? cpu.fpsr() : cpu.V[A.FPCR * 2]!;
  for (let i = 0; i < 4; i++) out[at + i] = v >>> (8 * i);
}

function write(c: MachineCpu, n: number, value: Uint8Array): boolean {
  const cpu = c as Arm64Cpu;
  const slot = slotOf(n);
  if (slot >= 0) {
    cpu.U8.set(value, slot * 8);
    if (slot === (Slot.PC as number)) cpu.restartAt();
    return true;
  }
  const v = new DataView(value.buffer, value.byteOffset).getInt32(0, true);
  // Of PSTATE the condition flags; the rest is for exception returns.
  if (n === (First.CPSR as number)) cpu.V[Slot.FLAGS * 2] = nzcvToFlags(v);
  else if (n === (First.FPSR as number)) cpu.setFpsr(v);
  else cpu.setFpcr(v);
  return true;
}

const TWO32 = 2 ** 32;

/** The page walk (Arm ARM, D8.2) without rights, faults and access flags. */
function translate(c: MachineCpu, lo: number, hi: number): number {
  const cpu = c as Arm64Cpu;
  if ((cpu.sctlr & 1) === 0) return (hi & 0xff_ffff) * TWO32 + (lo >>> 0);
  const upper = (hi & 0x80_0000) !== 0;
  const tcr = cpu.tcrLo;
  const size = 64 - Math.max(16, Math.min(39, (upper ? tcr >>> 16 : tcr) & 63));
  const tg = upper ? tcr >>> 30 : (tcr >>> 14) & 3;
  const gran = upper ? (tg === 1 ? 14 : tg === 3 ? 16 : 12) : tg === 1 ? 16 : tg === 2 ? 14 : 12;
  const stride = gran - 3;
  const address = ((hi & 0xff_ffff) * TWO32 + (lo >>> 0)) % 2 ** size;
  const read32 = (pa: number): number => {
    const off = cpu.map.pageOffset(pa);
    return off < 0 ? 0 : cpu.map.ram32[(off + (pa % 4096)) >>> 2]!;
  };
  const start = 3 - Math.floor((size - gran - 1) / stride);
  const first = size - gran - stride * (3 - start);
  const base = ((upper ? cpu.ttbr1Hi : cpu.ttbr0Hi) & 0xffff) * TWO32 + ((upper ? cpu.ttbr1Lo : cpu.ttbr0Lo) >>> 0);
  let table = base - (base % 2 ** Math.max(6, first + 3));
  for (let level = start; level <= 3; level++) {
    const shift = gran + stride * (3 - level);
    const index = Math.floor(address / 2 ** shift) % 2 ** (level === start ? first : stride);
    const e = read32(table + index * 8);
    const target = (read32(table + index * 8 + 4) & 0xffff) * TWO32 + (e >>> 0);
    if ((e & 1) === 0) return -1;
    if (level === 3 || (e & 2) === 0) return (e & 2) === 0 && level === 3 ? -1 : target - (target % 2 ** shift) + (address % 2 ** shift);
    table = target - (target % 2 ** gran);
  }
  return -1;
}

export const arm64Gdb: GdbArch = {
  targetXml: TARGET_XML, sizes: SIZES, read, write, translate,
  watch(c, ranges, hit) {
    const cpu = c as Arm64Cpu;
    cpu.mmu.watchpoints.set(ranges, hit);
    cpu.mmu.flushAll();
    cpu.refresh();
  },
};
