/**
 * Decodes an instruction once more, on the way to an exception, for what translated code does not record: whether an access
 * went through SS, and what a near branch did before its target turned out to be non-canonical.
 */
import type { CodeWindow } from '../../cpu.js';
import type { X86Cpu } from './cpu.js';
import { Decoder, DecodeStatus } from './decode.js';
import { Insn } from './insn.js';
import { Seg, X } from './mode.js';
import { opcodeTable } from './tables.js';

const LONGEST = 15;

/** Instructions of the one-byte map that use the stack and have no memory operand. */
const IMPLICIT: ReadonlySet<number> = new Set([
  0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x60, 0x61, 0x68, 0x6a, 0x9a, 0x9c, 0x9d, 0xc2, 0xc3, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xe8,
  ...Array.from({ length: 16 }, (_, i) => 0x50 + i),
]);

/** Stack use of an instruction that need not name it; null: the operand decides. */
function implicit(x: Insn, write: boolean): boolean | null {
  if (x.map === 1) return x.opcode === 0xa0 || x.opcode === 0xa1 || x.opcode === 0xa8 || x.opcode === 0xa9 ? true : null;
  if (x.map !== 0 || x.vex) return null;
  if (IMPLICIT.has(x.opcode)) return true;
  // POP m reads the stack and writes its operand; CALL m and PUSH m the other way round.
  const digit = (x.modrm >> 3) & 7;
  if (x.opcode === 0x8f) return write ? null : true;
  if (x.opcode === 0xff && (digit === 2 || digit === 3 || digit === 6)) return write || x.mod === 3 ? true : null;
  return null;
}

export class Redecode {
  private decoder: Decoder | null = null;
  private readonly insn = new Insn();
  private readonly window: CodeWindow = { buf: new Uint8Array(LONGEST), pos: 0, end: 0, offset: 0 };

  constructor(private readonly cpu: X86Cpu) {}

  /** Appends code bytes from hi:lo to the end of their page. */
  private append(lo: number, hi: number): void {
    const { cpu, window: w } = this;
    const pa = cpu.mmu.fetch(lo, hi);
    const off = cpu.map.pageOffset(pa);
    if (off < 0) return;
    const n = Math.min(LONGEST - w.end, 4096 - (lo & 0xfff));
    const from = off + (lo & 0xfff);
    w.buf.set(cpu.map.ram8.subarray(from, from + n), w.end);
    w.end += n;
  }

  /** Decodes the instruction at PCBASE + X_INSN. False if that cannot be. */
  private decode(): boolean {
    const { cpu, window: w, insn: x } = this;
    cpu.insnPc();
    const lo = cpu.ipLo;
    const hi = cpu.ipHi;
    w.pos = w.end = 0;
    w.offset = lo & 0xfff;
    this.append(lo, hi);
    this.decoder ??= new Decoder(opcodeTable());
    let status = this.decoder.decode(w, cpu.mode, x);
    if (status === DecodeStatus.NEED_MORE && w.end < LONGEST) {
      const next = (lo + w.end) | 0;
      this.append(next, next === 0 ? hi + 1 : hi);
      status = this.decoder.decode(w, cpu.mode, x);
    }
    return status === DecodeStatus.OK;
  }

  /**
   * The running instruction, whose access is a write or a read, reaches memory through SS: a non-canonical address is
   * #SS(0) there and #GP(0) elsewhere (SDM vol. 3, 6.15, #SS).
   */
  usesStack(write: boolean): boolean {
    const x = this.insn;
    if (!this.decode()) return false;
    const known = implicit(x, write);
    if (known !== null) return known;
    return x.mod !== 3 && x.seg < 0 && x.defseg === Seg.SS;
  }

  /**
   * PC is not canonical. If a near branch in 64-bit code led here, it is the branch that faults (SDM vol. 2, JMP, CALL, RET):
   * makes it the running instruction again and takes back what it did to RSP. The word CALL has pushed stays below the stack.
   */
  undoBranch(): boolean {
    const x = this.insn;
    if (!this.decode() || x.vex || x.map !== 0) return false;
    const digit = (x.modrm >> 3) & 7;
    let pop = 0;
    if (x.opcode === 0xc3) pop = 8;
    else if (x.opcode === 0xc2) pop = 8 + (x.imm & 0xffff);
    else if (x.opcode === 0xff && digit === 2) pop = -8;
    else if (x.opcode !== 0xff || digit !== 4) return false;
    const { V } = this.cpu;
    const sp = V[X.RSP * 2]!;
    const lo = (sp - pop) | 0;
    if (pop > 0 && lo >>> 0 > sp >>> 0) V[X.RSP * 2 + 1]! -= 1;
    else if (pop < 0 && lo >>> 0 < sp >>> 0) V[X.RSP * 2 + 1]! += 1;
    V[X.RSP * 2] = lo;
    return true;
  }
}
