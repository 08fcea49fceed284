/**
 * Helpers: guest semantics written as TypeScript functions, called from IR by number (ops CALL and VOP).
 * The interpreter calls them directly; generated code yields to TypeScript, or, for a VOP that has a `native`
 * entry which this host supports, emits the host instruction instead.
 */
export const enum HelperResult {
  /** Go on with the next IR op. */
  CONTINUE = 0,
  /** Leave the block: PC (and perhaps mode, CR3, ...) have been set; look up the next block. */
  DISPATCH = 1,
}

/**
 * dst, a, b, c are slots as in the IR record (NONE if absent); imm is the literal.
 * A helper raises a guest exception by throwing (see GuestFault in cpu.ts).
 */
export type HelperFn<C> = (cpu: C, dst: number, a: number, b: number, c: number, imm: number) => HelperResult;

/**
 * How an x86 host executes a vector op in one instruction. Data for the back end.
 *
 * Every width has its own registration, so `pp`, `mmx`, `vexOnly` and `feature` are exact for that width: the 64-bit
 * (MMX) registration has pp = 0 and mmx, the 256-bit one vexOnly (VEX.L = 1, from the record's w = 5). A 128-bit form that
 * is not `vexOnly` may be encoded with or without VEX; with VEX it needs AVX besides `feature`. Scalar operations use
 * VEX.L = 0. Guest memory operands were loaded into temporaries before. The last vector source of
 * the ModRM.rm position may be used from memory by the back end (only for forms where rm is a source): no op has a memory form
 * that means something else, except INSERTPS, which lifters use with imm bits 7..6 = 0 only.
 */
/**
 * A floating-point result that the host makes otherwise than the guest where it is a NaN or the smallest normal number of either sign: the helper's function
 * then does all of it again.
 */
export interface Checked {
  /** Element size. */
  readonly bits: 32 | 64;
  /** All 128 bits are elements; otherwise the low one counts and dst is zero above it. */
  readonly packed: boolean;
  /** Slots of 128 bits with all bits but the sign, and with the smallest normal number, in each element. */
  readonly abs: number;
  readonly min: number;
}

export interface NativeForm {
  /** Mandatory prefix: 0 = none, 1 = 66, 2 = F3, 3 = F2 (VEX.pp numbering). */
  readonly pp: 0 | 1 | 2 | 3;
  /** Opcode map: 1 = 0F, 2 = 0F38, 3 = 0F3A. */
  readonly map: 1 | 2 | 3;
  readonly opcode: number;
  /** REX.W / VEX.W. Applies to every form (64-bit general registers with 'gr', 'mg', 'rg', 'gri', 'mgi', 'rvg'). */
  readonly w: 0 | 1;
  /**
   * Where operands go:
   *  'rm'   dst = op(a)              dst in ModRM.reg, a in ModRM.rm
   *  'rvm'  dst = op(a, b)           legacy form needs dst = a; VEX form dst, a (vvvv), b (rm)
   *  'rvmi' as rvm with imm8         'rmi' as rm with imm8
   *  'mri'  dst = op(a, imm)         a in ModRM.reg, dst in ModRM.rm (VEXTRACTF128, VCVTPS2PH; VEX only)
   *  'vmi'  shift by immediate: dst (vvvv in VEX, rm in legacy), group digit in `digit`
   *  'cmp'  writes EFLAGS from a (reg) and b (rm), no dst      (COMISS, PTEST)
   *  'fma'  dst = op(c, a, b)        VEX only; c must be in dst first (the lifter passes c = dst), a in vvvv, b in rm
   *  'rvmr' dst = op(a, b, c)        VEX: c in imm8[7:4]; legacy (legacyOnly, SHA256RNDS2): dst = a, c in XMM0
   *  'gr'   dst vector (reg) = general register a (rm)
   *  'rg'   dst general register (reg), zero-extended to 64 bits = vector a (rm)     'rgi' the same with imm8
   *  'mg'   dst general register (rm), zero-extended = vector a (reg)                'mgi' the same with imm8
   *  'rvg'  dst vector (reg) = op(a vector (vvvv, or dst in the legacy form), b general (rm))      'gri' the same with imm8
   */
  readonly form: 'rm' | 'rvm' | 'rvmi' | 'rmi' | 'mri' | 'vmi' | 'cmp' | 'fma' | 'rvmr' | 'gr' | 'rg' | 'rgi' | 'mg' | 'mgi' | 'rvg' | 'gri';
  readonly digit?: number;
  /** Host CPU feature (/proc/cpuinfo name) needed for the legacy (non-VEX) encoding, or for VEX if vexOnly. */
  readonly feature: string;
  readonly vexOnly?: boolean;
  /** There is no VEX encoding (SHA). */
  readonly legacyOnly?: boolean;
  /** The vector operands are MMX registers (w = 3). */
  readonly mmx?: boolean;
  /** Forms rm, rvm and fma (where c need not be dst), 128 bits; needs AVX. */
  readonly checked?: Checked;
}

/**
 * How an x86 host's FPU carries out an x87 helper that holds the guest's x87 state (all exceptions masked). For the first five kinds
 * imm bits 16..26 are the instruction's FOP, i.e. its own encoding, and operand b is the slot of the code segment's base, or NONE
 * if that is zero.
 */
export const enum X87Kind {
  /** Registers only. */
  REG,
  /** FCOMI, FUCOMI: writes the arithmetic flags. */
  COMPARE,
  /** FCMOVcc: reads CF, ZF, PF. */
  MOVE_IF,
  /** Memory source of `bytes` bytes at linear address a; c = slot of its offset in the segment. */
  READ,
  /** Memory destination, operands as READ. */
  WRITE,
  /** FNSTCW, FNSTSW: dst = 16 bits, zero-extended. */
  STCW,
  STSW,
  /** FLDCW: a = slot with the value. */
  LDCW,
  CLEX,
  INIT,
  /** Start of an MMX instruction: TOP = 0, all valid; imm = register to be written, or -1. */
  MMX,
  /** EMMS: TOP = 0, all empty. */
  EMMS,
}
export interface X87Native {
  readonly kind: X87Kind;
  /** Memory operand: 2, 4, 8 or 10. */
  readonly bytes: number;
  /** Condition codes (FSW positions) that the manual leaves undefined. */
  readonly undef: number;
}

export interface HelperInfo<C> {
  readonly id: number;
  readonly name: string;
  readonly fn: HelperFn<C>;
  /** Flags (`Fl` mask) the helper may read from / write to the FLAGS slot. */
  readonly readsFlags: number;
  readonly writesFlags: number;
  /** Reads or writes MXCSR (floating point). */
  readonly fp: boolean;
  /** Some operands are general slots, not vectors: see `generalOperands`. */
  readonly native?: NativeForm;
  readonly x87?: X87Native;
}

export interface HelperOptions {
  readsFlags?: number;
  writesFlags?: number;
  fp?: boolean;
  native?: NativeForm;
  x87?: X87Native;
}

/** Operands of a vector op that are general slots instead of vectors. Bits: 1 = dst, 2 = a, 4 = b. */
export function generalOperands(f: NativeForm | undefined): number {
  switch (f?.form) {
    case 'rg':
    case 'rgi':
    case 'mg':
    case 'mgi':
      return 1;
    case 'gr':
      return 2;
    case 'rvg':
    case 'gri':
      return 4;
    default:
      return 0;
  }
}

/** One registry per guest architecture. Ids are dense and follow definition order. */
export class HelperRegistry<C> {
  readonly list: HelperInfo<C>[] = [];
  private readonly names = new Map<string, number>();

  /** @returns the helper's id. @throws if the name is taken. */
  define(name: string, fn: HelperFn<C>, o: HelperOptions = {}): number {
    if (this.names.has(name)) throw new Error(`helper ${name} is defined twice`);
    const id = this.list.length;
    this.list.push({ id, name, fn, readsFlags: o.readsFlags ?? 0, writesFlags: o.writesFlags ?? 0, fp: o.fp ?? false, native: o.native, x87: o.x87 });
    this.names.set(name, id);
    return id;
  }

  id(name: string): number {
    const id = this.names.get(name);
    if (id === undefined) throw new Error(`no helper ${name}`);
    return id;
  }
}
