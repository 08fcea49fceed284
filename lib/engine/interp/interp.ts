/**
 * Executes blocks without generated code: the fallback where memory may not be made executable, and the oracle for
 * the JIT. One switch; hot ops are inline per width, rare ones in rare.ts. Works on plain typed arrays only.
 */
import type { GuestCpu } from '../cpu.js';
import { HelperResult, type HelperFn } from '../helpers.js';
import { ExitCode, NONE, Slot, TLB_BASE, TLB_BITS, TLB_ENTRY_SHIFT, TLB_TABLE_BYTES, TlbField } from '../state.js';
import { C, R, RECORD } from './codes.js';
import type { InterpBlock } from './compile.js';
import { condBits, Ff, PARITY } from './flags.js';
import { divideInline } from './divide.js';
import { addNarrow, logicNarrow, subNarrow } from './narrow.js';
import { rare } from './rare.js';
import { mulMid, sarLo, shlHi, shlLo, shrHi, shrLo } from './wide.js';

/** Word index of a TLB entry within its table = (address >>> TLB_FOLD) & TLB_MASK. */
const TLB_FOLD = 12 - (TLB_ENTRY_SHIFT - 2);
const TLB_MASK = ((1 << TLB_BITS) - 1) << (TLB_ENTRY_SHIFT - 2);
const TAG_WRITE = TlbField.TAG_WRITE >> 2;
const RAM_PAGE = TlbField.RAM_PAGE >> 2;
const INSN = Slot.X_INSN * 2;
const PC = Slot.PC * 2;
const PCBASE = Slot.PCBASE * 2;

/** What the interpreter uses of a CPU. */
export type InterpCpu = Pick<GuestCpu, 'V' | 'map' | 'mmuIdx' | 'helpers' | 'load' | 'store' | 'loadVec' | 'storeVec' | 'divide' | 'segmentCheck' | 'alignmentFault'>;

/**
 * Runs blocks for one CPU at a time. The views of the CPU's state and RAM are cached, so they must not be replaced
 * during the CPU's life.
 */
export class Interpreter {
  private cpu: InterpCpu | null = null;
  private V: Int32Array = new Int32Array(0);
  private ram8: Uint8Array = new Uint8Array(0);
  private ram32: Int32Array = new Int32Array(0);
  private ramView: DataView = new DataView(new ArrayBuffer(0));

  private bind(cpu: InterpCpu): void {
    this.cpu = cpu;
    this.V = cpu.V;
    this.ram8 = cpu.map.ram8;
    this.ram32 = cpu.map.ram32;
    this.ramView = cpu.map.ramView;
  }

  /** Sets PC to PCBASE + off. */
  private goto(off: number, mask32: boolean): void {
    const V = this.V;
    const base = V[PCBASE]!;
    const lo = (base + off) | 0;
    V[PC] = lo;
    if (mask32) V[PC + 1] = 0;
    else {
      // off is signed: its high word is added with the carry.
      const carry = ((base & off) | ((base | off) & ~lo)) >>> 31;
      V[PC + 1] = V[PCBASE + 1]! + (off >> 31) + carry;
    }
  }

  /** Calls helper `id`. Helpers of a registry take exactly the CPU class that owns it. */
  private call(cpu: InterpCpu, id: number, dst: number, a: number, b: number, c: number, imm: number): HelperResult {
    const fn: HelperFn<never> = cpu.helpers.list[id]!.fn;
    return fn(cpu as never, dst, a, b, c, imm);
  }

  /** LDV through the TLB. @returns false on a miss. */
  private loadVector(tlb: number, d: number, a: number, w: number): boolean {
    const V = this.V;
    const lo = V[a]!;
    const off = lo & 0xfff;
    const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
    if (V[e] !== lo - off || V[e + 1] !== V[a + 1] || off > 4096 - (1 << w)) return false;
    const x = ((V[e + RAM_PAGE]! & ~0xfff) >>> 0) + off;
    const view = this.ramView;
    const bytes = 1 << w;
    let i = 0;
    if (w >= 2) for (; i < bytes; i += 4) V[d + (i >> 2)] = view.getInt32(x + i, true);
    else {
      V[d] = view.getUint16(x, true);
      i = 4;
    }
    for (; i < 16; i += 4) V[d + (i >> 2)] = 0;
    return true;
  }

  /** STV through the TLB. @returns false on a miss. */
  private storeVector(tlb: number, a: number, b: number, w: number): boolean {
    const V = this.V;
    const lo = V[a]!;
    const off = lo & 0xfff;
    const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
    if (V[e + TAG_WRITE] !== lo - off || V[e + TAG_WRITE + 1] !== V[a + 1] || off > 4096 - (1 << w)) return false;
    const x = ((V[e + RAM_PAGE]! & ~0xfff) >>> 0) + off;
    const view = this.ramView;
    if (w >= 2) for (let i = 0; i < 1 << w; i += 4) view.setInt32(x + i, V[b + (i >> 2)]!, true);
    else view.setUint16(x, V[b]! & 0xffff, true);
    return true;
  }

  /**
   * Executes one block.
   * @returns why it ended; PC holds the address of the next instruction.
   * @throws GuestFault from the CPU's slow paths and helpers, with X_INSN telling the instruction.
   */
  runBlock(cpu: InterpCpu, block: InterpBlock): ExitCode {
    if (cpu !== this.cpu) this.bind(cpu);
    const V = this.V;
    const code = block.code;
    let tlb = (TLB_BASE + cpu.mmuIdx * TLB_TABLE_BYTES) >> 2;
    for (let p = 0; ; p += RECORD) {
      switch (code[p] as C) {
        case C.MOV8M: {
          const d = code[p + R.D]!;
          V[d] = (V[d]! & ~0xff) | (V[code[p + R.A]!]! & 0xff);
          continue;
        }
        case C.MOV16M: {
          const d = code[p + R.D]!;
          V[d] = (V[d]! & ~0xffff) | (V[code[p + R.A]!]! & 0xffff);
          continue;
        }
        case C.MOV8Z: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! & 0xff;
          V[d + 1] = 0;
          continue;
        }
        case C.MOV16Z: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! & 0xffff;
          V[d + 1] = 0;
          continue;
        }
        case C.MOV32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.MOV64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          V[d] = V[a]!;
          V[d + 1] = V[a + 1]!;
          continue;
        }
        case C.SX8_16M: {
          const d = code[p + R.D]!;
          V[d] = (V[d]! & ~0xffff) | (((V[code[p + R.A]!]! << 24) >> 24) & 0xffff);
          continue;
        }
        case C.SX8_16Z: {
          const d = code[p + R.D]!;
          V[d] = ((V[code[p + R.A]!]! << 24) >> 24) & 0xffff;
          V[d + 1] = 0;
          continue;
        }
        case C.SX8_32: {
          const d = code[p + R.D]!;
          V[d] = (V[code[p + R.A]!]! << 24) >> 24;
          V[d + 1] = 0;
          continue;
        }
        case C.SX16_32: {
          const d = code[p + R.D]!;
          V[d] = (V[code[p + R.A]!]! << 16) >> 16;
          V[d + 1] = 0;
          continue;
        }
        case C.SX8_64: {
          const d = code[p + R.D]!;
          const x = (V[code[p + R.A]!]! << 24) >> 24;
          V[d] = x;
          V[d + 1] = x >> 31;
          continue;
        }
        case C.SX16_64: {
          const d = code[p + R.D]!;
          const x = (V[code[p + R.A]!]! << 16) >> 16;
          V[d] = x;
          V[d + 1] = x >> 31;
          continue;
        }
        case C.SX32_64: {
          const d = code[p + R.D]!;
          const x = V[code[p + R.A]!]!;
          V[d] = x;
          V[d + 1] = x >> 31;
          continue;
        }
        case C.EXTH: {
          const d = code[p + R.D]!;
          V[d] = (V[code[p + R.A]!]! >>> 8) & 0xff;
          V[d + 1] = 0;
          continue;
        }
        case C.INSH: {
          const d = code[p + R.D]!;
          V[d] = (V[d]! & ~0xff00) | ((V[code[p + R.A]!]! & 0xff) << 8);
          continue;
        }
        case C.LEA16: {
          const d = code[p + R.D]!;
          V[d] = (V[code[p + R.A]!]! + (V[code[p + R.B]!]! << code[p + R.C]!) + code[p + R.IMM]!) & 0xffff;
          V[d + 1] = 0;
          continue;
        }
        case C.LEA32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! + (V[code[p + R.B]!]! << code[p + R.C]!) + code[p + R.IMM]!;
          V[d + 1] = 0;
          continue;
        }
        case C.LEA32I: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! + code[p + R.IMM]!;
          V[d + 1] = 0;
          continue;
        }
        case C.LEA64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const s = code[p + R.C]!;
          const i = code[p + R.IMM]!;
          const blo = V[b]!;
          const ylo = blo << s;
          // s is 0..3, or up to 31: (x >>> 1) >>> (31 - s) avoids the shift by 32.
          const yhi = (V[b + 1]! << s) | ((blo >>> 1) >>> (31 - s));
          const xlo = V[a]!;
          const t = (xlo + ylo) | 0;
          const r = (t + i) | 0;
          V[d + 1] = V[a + 1]! + yhi + (i >> 31) + (((xlo & ylo) | ((xlo | ylo) & ~t)) >>> 31) + (((t & i) | ((t | i) & ~r)) >>> 31);
          V[d] = r;
          continue;
        }
        case C.LEA64I: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const i = code[p + R.IMM]!;
          const x = V[a]!;
          const r = (x + i) | 0;
          V[d + 1] = V[a + 1]! + (i >> 31) + (((x & i) | ((x | i) & ~r)) >>> 31);
          V[d] = r;
          continue;
        }
        case C.SETCC_M: {
          const d = code[p + R.D]!;
          V[d] = (V[d]! & ~0xff) | (((condBits(V[0]!) & code[p + R.M]!) !== 0 ? 1 : 0) ^ code[p + R.IMM]!);
          continue;
        }
        case C.SETCC_Z: {
          const d = code[p + R.D]!;
          V[d] = ((condBits(V[0]!) & code[p + R.M]!) !== 0 ? 1 : 0) ^ code[p + R.IMM]!;
          V[d + 1] = 0;
          continue;
        }
        case C.CMOV_N:
        case C.RARE:
          rare(V, code, p);
          continue;
        case C.CMOV32: {
          const d = code[p + R.D]!;
          V[d] = V[(condBits(V[0]!) & code[p + R.M]!) !== 0 ? code[p + R.A]! : code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.CMOV64: {
          const d = code[p + R.D]!;
          const s = (condBits(V[0]!) & code[p + R.M]!) !== 0 ? code[p + R.A]! : code[p + R.B]!;
          V[d] = V[s]!;
          V[d + 1] = V[s + 1]!;
          continue;
        }
        case C.SELNZ_N: {
          const d = code[p + R.D]!;
          const s = (V[code[p + R.A]!]! & code[p + R.IMM]!) !== 0 ? code[p + R.B]! : code[p + R.C]!;
          V[d] = V[s]!;
          V[d + 1] = V[s + 1]!;
          continue;
        }
        case C.SELNZ64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const s = (V[a]! | V[a + 1]!) !== 0 ? code[p + R.B]! : code[p + R.C]!;
          V[d] = V[s]!;
          V[d + 1] = V[s + 1]!;
          continue;
        }

        // --- add ---
        case C.ADD32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! + V[code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.ADD64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const x = V[a]!;
          const y = V[b]!;
          const r = (x + y) | 0;
          V[d + 1] = V[a + 1]! + V[b + 1]! + (((x & y) | ((x | y) & ~r)) >>> 31);
          V[d] = r;
          continue;
        }
        case C.ADD32F: {
          const d = code[p + R.D]!;
          const x = V[code[p + R.A]!]!;
          const y = V[code[p + R.B]!]!;
          const r = (x + y) | 0;
          V[d] = r;
          V[d + 1] = 0;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((x & y) | ((x | y) & ~r)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF) | (((x ^ r) & (y ^ r)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.ADC32: {
          const d = code[p + R.D]!;
          const x = V[code[p + R.A]!]!;
          const y = V[code[p + R.B]!]!;
          const r = (x + y + ((V[0]! >>> 8) & 1)) | 0;
          V[d] = r;
          V[d + 1] = 0;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((x & y) | ((x | y) & ~r)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF) | (((x ^ r) & (y ^ r)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.ADD64F: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const x = V[a]!;
          const y = V[b]!;
          const xh = V[a + 1]!;
          const yh = V[b + 1]!;
          const r = (x + y) | 0;
          const h = (xh + yh + (((x & y) | ((x | y) & ~r)) >>> 31)) | 0;
          V[d] = r;
          V[d + 1] = h;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((xh & yh) | ((xh | yh) & ~h)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF) | (((xh ^ h) & (yh ^ h)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.ADC64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const x = V[a]!;
          const y = V[b]!;
          const xh = V[a + 1]!;
          const yh = V[b + 1]!;
          const r = (x + y + ((V[0]! >>> 8) & 1)) | 0;
          const h = (xh + yh + (((x & y) | ((x | y) & ~r)) >>> 31)) | 0;
          V[d] = r;
          V[d + 1] = h;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((xh & yh) | ((xh | yh) & ~h)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF) | (((xh ^ h) & (yh ^ h)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.ADDN:
          addNarrow(V, code[p + R.D]!, code[p + R.A]!, code[p + R.B]!, code[p + R.M]!, code[p + R.IMM]!, 0);
          continue;
        case C.ADCN:
          addNarrow(V, code[p + R.D]!, code[p + R.A]!, code[p + R.B]!, code[p + R.M]!, code[p + R.IMM]!, (V[0]! >>> 8) & 1);
          continue;

        // --- subtract ---
        case C.SUB32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! - V[code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.SUB64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const x = V[a]!;
          const y = V[b]!;
          const r = (x - y) | 0;
          V[d + 1] = V[a + 1]! - V[b + 1]! - (((~x & y) | ((~x | y) & r)) >>> 31);
          V[d] = r;
          continue;
        }
        case C.SUB32F: {
          const d = code[p + R.D]!;
          const x = V[code[p + R.A]!]!;
          const y = V[code[p + R.B]!]!;
          const r = (x - y) | 0;
          V[d] = r;
          V[d + 1] = 0;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((~x & y) | ((~x | y) & r)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF) | (((x ^ y) & (x ^ r)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.CMP32: {
          const x = V[code[p + R.A]!]!;
          const y = V[code[p + R.B]!]!;
          const r = (x - y) | 0;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((~x & y) | ((~x | y) & r)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF) | (((x ^ y) & (x ^ r)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.SBB32: {
          const d = code[p + R.D]!;
          const x = V[code[p + R.A]!]!;
          const y = V[code[p + R.B]!]!;
          const r = (x - y - ((V[0]! >>> 8) & 1)) | 0;
          V[d] = r;
          V[d + 1] = 0;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((~x & y) | ((~x | y) & r)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF) | (((x ^ y) & (x ^ r)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.SUB64F: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const x = V[a]!;
          const y = V[b]!;
          const xh = V[a + 1]!;
          const yh = V[b + 1]!;
          const r = (x - y) | 0;
          const h = (xh - yh - (((~x & y) | ((~x | y) & r)) >>> 31)) | 0;
          V[d] = r;
          V[d + 1] = h;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((~xh & yh) | ((~xh | yh) & h)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF) | (((xh ^ yh) & (xh ^ h)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.CMP64: {
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const x = V[a]!;
          const y = V[b]!;
          const xh = V[a + 1]!;
          const yh = V[b + 1]!;
          const r = (x - y) | 0;
          const h = (xh - yh - (((~x & y) | ((~x | y) & r)) >>> 31)) | 0;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((~xh & yh) | ((~xh | yh) & h)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF) | (((xh ^ yh) & (xh ^ h)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.SBB64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const x = V[a]!;
          const y = V[b]!;
          const xh = V[a + 1]!;
          const yh = V[b + 1]!;
          const r = (x - y - ((V[0]! >>> 8) & 1)) | 0;
          const h = (xh - yh - (((~x & y) | ((~x | y) & r)) >>> 31)) | 0;
          V[d] = r;
          V[d + 1] = h;
          const m = code[p + R.M]!;
          const f = PARITY[r & 0xff]! | ((((~xh & yh) | ((~xh | yh) & h)) >>> 31) << 8) | (((x ^ y ^ r) & 16) << 8) |
            ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF) | (((xh ^ yh) & (xh ^ h)) >>> 31);
          V[0] = (V[0]! & ~m) | (f & m);
          continue;
        }
        case C.SUBN:
          subNarrow(V, code[p + R.D]!, code[p + R.A]!, code[p + R.B]!, code[p + R.M]!, code[p + R.IMM]!, 0);
          continue;
        case C.SBBN:
          subNarrow(V, code[p + R.D]!, code[p + R.A]!, code[p + R.B]!, code[p + R.M]!, code[p + R.IMM]!, (V[0]! >>> 8) & 1);
          continue;

        // --- logic ---
        case C.AND32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! & V[code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.AND64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          V[d] = V[a]! & V[b]!;
          V[d + 1] = V[a + 1]! & V[b + 1]!;
          continue;
        }
        case C.AND32F: {
          const d = code[p + R.D]!;
          const r = V[code[p + R.A]!]! & V[code[p + R.B]!]!;
          V[d] = r;
          V[d + 1] = 0;
          const m = code[p + R.M]!;
          V[0] = (V[0]! & ~m) | ((PARITY[r & 0xff]! | (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF)) & m);
          continue;
        }
        case C.AND64F: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const r = V[a]! & V[b]!;
          const h = V[a + 1]! & V[b + 1]!;
          V[d] = r;
          V[d + 1] = h;
          const m = code[p + R.M]!;
          V[0] = (V[0]! & ~m) | ((PARITY[r & 0xff]! | ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF)) & m);
          continue;
        }
        case C.TEST32: {
          const r = V[code[p + R.A]!]! & V[code[p + R.B]!]!;
          const m = code[p + R.M]!;
          V[0] = (V[0]! & ~m) | ((PARITY[r & 0xff]! | (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF)) & m);
          continue;
        }
        case C.TEST64: {
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const r = V[a]! & V[b]!;
          const h = V[a + 1]! & V[b + 1]!;
          const m = code[p + R.M]!;
          V[0] = (V[0]! & ~m) | ((PARITY[r & 0xff]! | ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF)) & m);
          continue;
        }
        case C.ANDN:
          logicNarrow(V, code[p + R.D]!, V[code[p + R.A]!]! & V[code[p + R.B]!]!, code[p + R.M]!, code[p + R.IMM]!);
          continue;
        case C.OR32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! | V[code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.OR64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          V[d] = V[a]! | V[b]!;
          V[d + 1] = V[a + 1]! | V[b + 1]!;
          continue;
        }
        case C.OR32F: {
          const d = code[p + R.D]!;
          const r = V[code[p + R.A]!]! | V[code[p + R.B]!]!;
          V[d] = r;
          V[d + 1] = 0;
          const m = code[p + R.M]!;
          V[0] = (V[0]! & ~m) | ((PARITY[r & 0xff]! | (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF)) & m);
          continue;
        }
        case C.OR64F: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const r = V[a]! | V[b]!;
          const h = V[a + 1]! | V[b + 1]!;
          V[d] = r;
          V[d + 1] = h;
          const m = code[p + R.M]!;
          V[0] = (V[0]! & ~m) | ((PARITY[r & 0xff]! | ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF)) & m);
          continue;
        }
        case C.ORN:
          logicNarrow(V, code[p + R.D]!, V[code[p + R.A]!]! | V[code[p + R.B]!]!, code[p + R.M]!, code[p + R.IMM]!);
          continue;
        case C.XOR32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! ^ V[code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.XOR64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          V[d] = V[a]! ^ V[b]!;
          V[d + 1] = V[a + 1]! ^ V[b + 1]!;
          continue;
        }
        case C.XOR32F: {
          const d = code[p + R.D]!;
          const r = V[code[p + R.A]!]! ^ V[code[p + R.B]!]!;
          V[d] = r;
          V[d + 1] = 0;
          const m = code[p + R.M]!;
          V[0] = (V[0]! & ~m) | ((PARITY[r & 0xff]! | (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF)) & m);
          continue;
        }
        case C.XOR64F: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const r = V[a]! ^ V[b]!;
          const h = V[a + 1]! ^ V[b + 1]!;
          V[d] = r;
          V[d + 1] = h;
          const m = code[p + R.M]!;
          V[0] = (V[0]! & ~m) | ((PARITY[r & 0xff]! | ((r | h) === 0 ? Ff.ZF : 0) | ((h >>> 16) & Ff.SF)) & m);
          continue;
        }
        case C.XORN:
          logicNarrow(V, code[p + R.D]!, V[code[p + R.A]!]! ^ V[code[p + R.B]!]!, code[p + R.M]!, code[p + R.IMM]!);
          continue;

        // --- shifts and multiplication ---
        case C.SHL32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! << V[code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.SHL32F: {
          const d = code[p + R.D]!;
          const x = V[code[p + R.A]!]!;
          const n = V[code[p + R.B]!]! & 31;
          const r = x << n;
          V[d] = r;
          V[d + 1] = 0;
          if (n !== 0) {
            const m = code[p + R.M]!;
            const cf = (x >>> (32 - n)) & 1;
            const f = PARITY[r & 0xff]! | (cf << 8) | (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF) | (cf ^ (r >>> 31));
            V[0] = (V[0]! & ~m) | (f & m);
          }
          continue;
        }
        case C.SHL64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const hi = V[a + 1]!;
          const n = V[code[p + R.B]!]! & 63;
          V[d] = shlLo(lo, n);
          V[d + 1] = shlHi(lo, hi, n);
          continue;
        }
        case C.SHR32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! >>> V[code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.SHR32F: {
          const d = code[p + R.D]!;
          const x = V[code[p + R.A]!]!;
          const n = V[code[p + R.B]!]! & 31;
          const r = (x >>> n) | 0;
          V[d] = r;
          V[d + 1] = 0;
          if (n !== 0) {
            const m = code[p + R.M]!;
            // OF is the top bit before the last 1-bit step: clear unless n = 1.
            const f = PARITY[r & 0xff]! | (((x >>> (n - 1)) & 1) << 8) | (r === 0 ? Ff.ZF : 0) | ((r >>> 30) & 1);
            V[0] = (V[0]! & ~m) | (f & m);
          }
          continue;
        }
        case C.SHR64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const hi = V[a + 1]!;
          const n = V[code[p + R.B]!]! & 63;
          V[d] = shrLo(lo, hi, n);
          V[d + 1] = shrHi(hi, n);
          continue;
        }
        case C.SAR32: {
          const d = code[p + R.D]!;
          V[d] = V[code[p + R.A]!]! >> V[code[p + R.B]!]!;
          V[d + 1] = 0;
          continue;
        }
        case C.SAR32F: {
          const d = code[p + R.D]!;
          const x = V[code[p + R.A]!]!;
          const n = V[code[p + R.B]!]! & 31;
          const r = x >> n;
          V[d] = r;
          V[d + 1] = 0;
          if (n !== 0) {
            const m = code[p + R.M]!;
            const f = PARITY[r & 0xff]! | (((x >> (n - 1)) & 1) << 8) | (r === 0 ? Ff.ZF : 0) | ((r >>> 16) & Ff.SF);
            V[0] = (V[0]! & ~m) | (f & m);
          }
          continue;
        }
        case C.SAR64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const hi = V[a + 1]!;
          const n = V[code[p + R.B]!]! & 63;
          V[d] = sarLo(lo, hi, n);
          V[d + 1] = n < 32 ? hi >> n : hi >> 31;
          continue;
        }
        case C.IMUL32: {
          const d = code[p + R.D]!;
          V[d] = Math.imul(V[code[p + R.A]!]!, V[code[p + R.B]!]!);
          V[d + 1] = 0;
          continue;
        }
        case C.IMUL64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const x = V[a]!;
          const y = V[b]!;
          V[d + 1] = mulMid(x, V[a + 1]!, y, V[b + 1]!);
          V[d] = Math.imul(x, y);
          continue;
        }

        // --- memory ---
        case C.LD8M: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          const t = e + code[p + R.C]!;
          if (V[t] === lo - off && V[t + 1] === V[a + 1]) {
            V[d] = (V[d]! & ~0xff) | this.ram8[((V[e + RAM_PAGE]! & ~0xfff) >>> 0) + off]!;
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.load(0, a >> 1, d >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.LD8Z: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          const t = e + code[p + R.C]!;
          if (V[t] === lo - off && V[t + 1] === V[a + 1]) {
            V[d] = this.ram8[((V[e + RAM_PAGE]! & ~0xfff) >>> 0) + off]!;
            V[d + 1] = 0;
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.load(0, a >> 1, d >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.LD16M: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          const t = e + code[p + R.C]!;
          if (V[t] === lo - off && V[t + 1] === V[a + 1] && off < 4095) {
            V[d] = (V[d]! & ~0xffff) | this.ramView.getUint16(((V[e + RAM_PAGE]! & ~0xfff) >>> 0) + off, true);
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.load(1, a >> 1, d >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.LD16Z: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          const t = e + code[p + R.C]!;
          if (V[t] === lo - off && V[t + 1] === V[a + 1] && off < 4095) {
            V[d] = this.ramView.getUint16(((V[e + RAM_PAGE]! & ~0xfff) >>> 0) + off, true);
            V[d + 1] = 0;
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.load(1, a >> 1, d >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.LD32: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          const t = e + code[p + R.C]!;
          if (V[t] === lo - off && V[t + 1] === V[a + 1] && off < 4093) {
            const page = V[e + RAM_PAGE]! & ~0xfff;
            V[d] = (off & 3) === 0 ? this.ram32[(page >>> 2) + (off >>> 2)]! : this.ramView.getInt32((page >>> 0) + off, true);
            V[d + 1] = 0;
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.load(2, a >> 1, d >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.LD64: {
          const d = code[p + R.D]!;
          const a = code[p + R.A]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          const t = e + code[p + R.C]!;
          if (V[t] === lo - off && V[t + 1] === V[a + 1] && off < 4089) {
            const page = V[e + RAM_PAGE]! & ~0xfff;
            if ((off & 3) === 0) {
              const x = (page >>> 2) + (off >>> 2);
              V[d] = this.ram32[x]!;
              V[d + 1] = this.ram32[x + 1]!;
            } else {
              const x = (page >>> 0) + off;
              V[d] = this.ramView.getInt32(x, true);
              V[d + 1] = this.ramView.getInt32(x + 4, true);
            }
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.load(3, a >> 1, d >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.LDX:
          V[INSN] = code[p + R.INSN]!;
          cpu.load(code[p + R.C]!, code[p + R.A]! >> 1, code[p + R.D]! >> 1, code[p + R.IMM]!);
          continue;
        case C.ST8: {
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          if (V[e + TAG_WRITE] === lo - off && V[e + TAG_WRITE + 1] === V[a + 1]) {
            this.ram8[((V[e + RAM_PAGE]! & ~0xfff) >>> 0) + off] = V[b]!;
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.store(0, a >> 1, b >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.ST16: {
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          if (V[e + TAG_WRITE] === lo - off && V[e + TAG_WRITE + 1] === V[a + 1] && off < 4095) {
            this.ramView.setUint16(((V[e + RAM_PAGE]! & ~0xfff) >>> 0) + off, V[b]! & 0xffff, true);
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.store(1, a >> 1, b >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.ST32: {
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          if (V[e + TAG_WRITE] === lo - off && V[e + TAG_WRITE + 1] === V[a + 1] && off < 4093) {
            const page = V[e + RAM_PAGE]! & ~0xfff;
            if ((off & 3) === 0) this.ram32[(page >>> 2) + (off >>> 2)] = V[b]!;
            else this.ramView.setInt32((page >>> 0) + off, V[b]!, true);
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.store(2, a >> 1, b >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.ST64: {
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const lo = V[a]!;
          const off = lo & 0xfff;
          const e = tlb + ((lo >>> TLB_FOLD) & TLB_MASK);
          if (V[e + TAG_WRITE] === lo - off && V[e + TAG_WRITE + 1] === V[a + 1] && off < 4089) {
            const page = V[e + RAM_PAGE]! & ~0xfff;
            if ((off & 3) === 0) {
              const x = (page >>> 2) + (off >>> 2);
              this.ram32[x] = V[b]!;
              this.ram32[x + 1] = V[b + 1]!;
            } else {
              const x = (page >>> 0) + off;
              this.ramView.setInt32(x, V[b]!, true);
              this.ramView.setInt32(x + 4, V[b + 1]!, true);
            }
          } else {
            V[INSN] = code[p + R.INSN]!;
            cpu.store(3, a >> 1, b >> 1, code[p + R.IMM]!);
          }
          continue;
        }
        case C.STX:
          V[INSN] = code[p + R.INSN]!;
          cpu.store(code[p + R.C]!, code[p + R.A]! >> 1, code[p + R.B]! >> 1, code[p + R.IMM]!);
          continue;
        case C.LDV: {
          const a = code[p + R.A]!;
          const d = code[p + R.D]!;
          const w = code[p + R.IMM]!;
          if (code[p + R.C] !== 0 || !this.loadVector(tlb, d, a, w)) {
            V[INSN] = code[p + R.INSN]!;
            cpu.loadVec(w, a >> 1, d >> 1);
          }
          continue;
        }
        case C.STV: {
          const a = code[p + R.A]!;
          const b = code[p + R.B]!;
          const w = code[p + R.IMM]!;
          if (code[p + R.C] !== 0 || !this.storeVector(tlb, a, b, w)) {
            V[INSN] = code[p + R.INSN]!;
            cpu.storeVec(w, a >> 1, b >> 1);
          }
          continue;
        }
        case C.SEGCHK: {
          const a = code[p + R.A]!;
          const limit = code[p + R.D]!;
          const bytes = code[p + R.IMM]!;
          // As doubles the sum cannot wrap, so one comparison covers the end of the address space too.
          if (V[limit + 1] !== 0 || (V[a]! >>> 0) + (bytes - 1) > V[limit]! >>> 0) {
            V[INSN] = code[p + R.INSN]!;
            cpu.segmentCheck(code[p + R.B]!, a >> 1, code[p + R.C] !== 0, bytes);
          }
          continue;
        }
        case C.CHKALIGN:
          if ((V[code[p + R.A]!]! & code[p + R.IMM]!) !== 0) {
            V[INSN] = code[p + R.INSN]!;
            cpu.alignmentFault();
          }
          continue;
        case C.DIV:
          if (!divideInline(V, code, p)) {
            V[INSN] = code[p + R.INSN]!;
            const how = code[p + R.M]!;
            cpu.divide((how & 16) !== 0, how & 3, code[p + R.D]! >> 1, code[p + R.IMM]! >> 1, code[p + R.A]! >> 1, code[p + R.B]! >> 1, code[p + R.C]! >> 1);
          }
          continue;

        // --- TypeScript ---
        case C.CALL:
          V[INSN] = code[p + R.INSN]!;
          if (
            this.call(cpu, code[p + R.M]!, code[p + R.D]!, code[p + R.A]!, code[p + R.B]!, code[p + R.C]!, code[p + R.IMM]!) !==
            HelperResult.CONTINUE
          ) {
            return ExitCode.NEXT;
          }
          tlb = (TLB_BASE + cpu.mmuIdx * TLB_TABLE_BYTES) >> 2;
          continue;

        case C.CALLIF:
          if (((V[code[p + R.A]!]! & code[p + R.C]!) | V[code[p + R.D]!]!) === 0) continue;
          V[INSN] = code[p + R.INSN]!;
          if (this.call(cpu, code[p + R.M]!, NONE, code[p + R.B]!, NONE, NONE, code[p + R.IMM]!) !== HelperResult.CONTINUE) return ExitCode.NEXT;
          tlb = (TLB_BASE + cpu.mmuIdx * TLB_TABLE_BYTES) >> 2;
          continue;
        // COPY and FILL may do nothing: what follows them does it all.
        case C.NONE_DONE: {
          const d = code[p + R.D]!;
          V[d] = V[d + 1] = 0;
          continue;
        }
        case C.SETMODE:
          V[Slot.MODE * 2] = code[p + R.A]! < 0 ? code[p + R.IMM]! : V[code[p + R.A]!]!;
          V[Slot.MODE * 2 + 1] = code[p + R.C]!;
          continue;

        // --- terminators ---
        case C.JMP:
          this.goto(code[p + R.IMM]!, block.mask32);
          return ExitCode.NEXT;
        case C.JCC:
          this.goto((condBits(V[0]!) & code[p + R.M]!) !== 0 ? code[p + R.IMM]! : code[p + R.C]!, block.mask32);
          return ExitCode.NEXT;
        case C.JNZ_N:
          this.goto((V[code[p + R.A]!]! & code[p + R.M]!) !== 0 ? code[p + R.IMM]! : code[p + R.C]!, block.mask32);
          return ExitCode.NEXT;
        case C.JNZ64: {
          const a = code[p + R.A]!;
          this.goto((V[a]! | V[a + 1]!) !== 0 ? code[p + R.IMM]! : code[p + R.C]!, block.mask32);
          return ExitCode.NEXT;
        }
        case C.JMPI: {
          const a = code[p + R.A]!;
          V[INSN] = code[p + R.INSN]!;
          V[PC] = V[a]!;
          V[PC + 1] = block.mask32 ? 0 : V[a + 1]!;
          return ExitCode.NEXT;
        }
        case C.EXIT:
          if (code[p + R.M] !== 0) this.goto(code[p + R.C]!, block.mask32);
          return code[p + R.IMM] as ExitCode;
        default:
          throw new Error(`interpreter: bad code ${code[p]}`);
      }
    }
  }
}
