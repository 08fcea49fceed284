/**
 * Helpers that lifted integer and system code calls, by name. The CPU side defines exactly these in its
 * `HelperRegistry`; the lifter resolves all names once.
 *
 * Columns: operands a, b, c, imm as in the CALL op; dst = result slot ("-" none). `pc`: the helper may set PC and
 * return DISPATCH (when it returns CONTINUE the block goes on). `faults`: it may raise a guest exception. Every helper
 * works out privilege, mode and CR4 conditions itself unless the text says the lifter has checked.
 * "next" means PCBASE + (X_INSN >>> 16); "this" means PCBASE + (X_INSN & 0xffff). Helpers with `end` are followed by
 * EXIT; where PC must be next, EXIT sets it (a helper that raises nothing need not touch PC).
 * Slot operands are as wide as the text says; only those bits are meaningful (upper bits may be garbage).
 */
export interface HelperSpec {
  readonly name: string;
  /** Operands and meaning. */
  readonly doc: string;
  /** The helper sets PC itself; the lifter emits EXIT(NEXT, NONE) after it. */
  readonly setsPc: boolean;
  readonly faults: boolean;
}

export const enum H {
  UD = 0, GP0, DE, FPU_TRAP, FWAIT,
  // far control flow
  CALLF, JMPF, RETF, IRET, INT, INT3, INTO, INT1,
  SYSCALL, SYSRET, SYSENTER, SYSEXIT, RSM,
  // flags and interrupts
  CLI, STI, PUSHF, POPF, POPF_RARE, HLT, CLTS, SMSW, LMSW, CLAC, STAC,
  // control, debug and model-specific registers
  MOV_FROM_CR, MOV_TO_CR, MOV_FROM_DR, MOV_TO_DR,
  RDMSR, WRMSR, RDTSC, RDPMC, RDPID, CPUID, XGETBV, XSETBV,
  // descriptor tables and segments
  LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR,
  LAR, LSL, VERR, VERW, ARPL,
  LOAD_SREG, LOAD_SREG_REAL, LOAD_FAR,
  SWAPGS, RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE,
  // TLB and caches
  INVLPG, INVPCID, WBINVD, INVD, MONITOR, MWAIT,
  // ports and strings
  IN, OUT, REP, INS, OUTS,
  // arithmetic that is rare
  AAA, AAS, DAA, DAS, AAM, AAD, BOUND, ENTER,
  RDRAND, RDSEED, HYPERCALL, PAUSE, PROBE,
  COUNT,
}

const s = (name: string, setsPc: boolean, faults: boolean, doc: string): HelperSpec => ({ name: `x86.${name}`, doc, setsPc, faults });

/** Indexed by `H`. */
export const HELPER_SPECS: readonly HelperSpec[] = (() => {
  const t: HelperSpec[] = [];
  t[H.UD] = s('ud', true, true, 'raises #UD');
  t[H.GP0] = s('gp0', true, true, 'raises #GP(0)');
  t[H.DE] = s('de', true, true, 'raises #DE');
  t[H.FPU_TRAP] = s('fpu_trap', true, true, 'imm = FpuKind (0 x87, 1 MMX, 2 SSE, 3 AVX): CR0.EM or TS is set; raises #NM or #UD');
  t[H.FWAIT] = s('fwait', false, true, 'WAIT: #NM if CR0.MP and CR0.TS; #MF if an unmasked x87 exception is pending');

  t[H.CALLF] = s('callf', true, true, 'a = offset (16/32/64 bits by imm), b = selector (16), imm = operand width 1..3: far call incl. gates and tasks');
  t[H.JMPF] = s('jmpf', true, true, 'a = offset, b = selector, imm = operand width 1..3: far jump incl. gates and tasks');
  t[H.RETF] = s('retf', true, true, 'imm = operand width 1..3 | bytes to release << 8: far return');
  t[H.IRET] = s('iret', true, true, 'imm = operand width 1..3: IRET/IRETD/IRETQ');
  t[H.INT] = s('int', true, true, 'imm = vector: INT n (software interrupt; v86 IOPL/VME rules)');
  t[H.INT3] = s('int3', true, true, 'INT3: #BP as a trap');
  t[H.INTO] = s('into', false, true, 'INTO: if OF (slot FLAGS) raises #OF as a trap; otherwise CONTINUE');
  t[H.INT1] = s('int1', true, true, 'INT1 (F1): #DB as a trap');
  t[H.SYSCALL] = s('syscall', true, true, 'SYSCALL: #UD without EFER.SCE or outside long mode');
  t[H.SYSRET] = s('sysret', true, true, 'imm = operand width (3: return to 64-bit code, otherwise compatibility mode)');
  t[H.SYSENTER] = s('sysenter', true, true, 'SYSENTER');
  t[H.SYSEXIT] = s('sysexit', true, true, 'imm = operand width (3: return to 64-bit code)');
  t[H.RSM] = s('rsm', true, true, 'RSM: #UD outside SMM');

  t[H.CLI] = s('cli', false, true, 'CLI when not CPL 0 (IOPL, VME, PVI rules)');
  t[H.STI] = s('sti', false, true, 'STI; followed by EXIT SHADOW (the shadow is harmless if IF was already 1)');
  t[H.PUSHF] = s('pushf', false, true, 'dst = temp: value to push, imm = operand width 1..3; used only in v86 mode (IOPL, VME rules)');
  t[H.POPF] = s('popf', false, true, 'a = value popped, imm = operand width 1..3; sets EFLAGS and FLAGS by privilege; raises only in v86 mode; the lifter moves RSP after this call. End: EXIT NEXT');
  t[H.POPF_RARE] = s('popf_rare', true, true, 'a = value popped, imm = operand width 2, 3: POPF that changes TF or AC, or with IOPL 3; does the whole instruction');
  t[H.HLT] = s('hlt', false, true, 'HLT: #GP(0) unless CPL 0; sets halted. End: EXIT HALT');
  t[H.CLTS] = s('clts', false, true, 'CLTS. End: EXIT NEXT');
  t[H.SMSW] = s('smsw', false, true, 'dst = temp: CR0 (64 bits); UMIP check');
  t[H.LMSW] = s('lmsw', false, true, 'a = 16 bits. End: EXIT NEXT');
  t[H.CLAC] = s('clac', false, true, 'CLAC (#UD unless CPL 0). End: EXIT NEXT');
  t[H.STAC] = s('stac', false, true, 'STAC (#UD unless CPL 0). End: EXIT NEXT');

  t[H.MOV_FROM_CR] = s('mov_from_cr', false, true, 'dst = general register, imm = control register number; writes 64 bits in 64-bit mode, else 32 zero-extended');
  t[H.MOV_TO_CR] = s('mov_to_cr', false, true, 'a = value (64 bits in 64-bit mode, else 32), imm = control register number. End: EXIT NEXT');
  t[H.MOV_FROM_DR] = s('mov_from_dr', false, true, 'dst = general register, imm = debug register number');
  t[H.MOV_TO_DR] = s('mov_to_dr', false, true, 'a = value, imm = debug register number. End: EXIT NEXT');
  t[H.RDMSR] = s('rdmsr', false, true, 'imm = place | 0x100 to write RAX and RDX: ECX -> the place of X.RDMSR');
  t[H.WRMSR] = s('wrmsr', false, true, 'ECX, EDX:EAX. End: EXIT NEXT');
  t[H.RDTSC] = s('rdtsc', false, true, 'dst = temp: time-stamp counter (operand of op TIME); CR4.TSD');
  t[H.RDPMC] = s('rdpmc', false, true, 'ECX -> EDX:EAX');
  t[H.RDPID] = s('rdpid', false, true, 'dst = general register: TSC_AUX');
  t[H.CPUID] = s('cpuid', false, true, 'imm = place: EAX, ECX -> the place of X.CPUID');
  t[H.XGETBV] = s('xgetbv', false, true, 'ECX -> EDX:EAX; #UD without CR4.OSXSAVE');
  t[H.XSETBV] = s('xsetbv', false, true, 'ECX, EDX:EAX. End: EXIT NEXT');

  t[H.LGDT] = s('lgdt', false, true, 'a = linear address of the operand, imm = operand width (1: 24-bit base, 2, 3: 64-bit base). End: EXIT NEXT');
  t[H.LIDT] = s('lidt', false, true, 'as lgdt. End: EXIT NEXT');
  t[H.SGDT] = s('sgdt', false, true, 'a = linear address, imm = operand width; writes 2+4 bytes, or 2+8 if imm = 3; UMIP');
  t[H.SIDT] = s('sidt', false, true, 'as sgdt');
  t[H.LLDT] = s('lldt', false, true, 'a = selector (16). End: EXIT NEXT');
  t[H.LTR] = s('ltr', false, true, 'a = selector (16). End: EXIT NEXT');
  t[H.SLDT] = s('sldt', false, true, 'dst = temp: selector, zero-extended; #UD in real and v86 mode; UMIP');
  t[H.STR] = s('str', false, true, 'dst = temp: selector; as sldt');
  t[H.LAR] = s('lar', false, true, 'dst = temp: access rights, a = selector (16), b = old destination, imm = width; dst = b if not accessible; sets ZF in FLAGS');
  t[H.LSL] = s('lsl', false, true, 'as lar with the limit');
  t[H.VERR] = s('verr', false, true, 'a = selector: sets ZF in FLAGS');
  t[H.VERW] = s('verw', false, true, 'a = selector: sets ZF in FLAGS');
  t[H.ARPL] = s('arpl', false, true, 'dst = temp: adjusted selector, a = destination selector, b = source selector: sets ZF in FLAGS');
  t[H.LOAD_SREG] = s('load_sreg', false, true, 'a = selector (16), imm = segment (not CS): loads the register. End: EXIT NEXT, or SHADOW for SS');
  t[H.LOAD_SREG_REAL] = s('load_sreg_real', true, false, 'real mode, CALLIF: a = selector (16), imm = segment (not CS or SS): loads the register and goes on at next');
  t[H.LOAD_FAR] = s('load_far', false, true, 'LDS..LGS: a = selector (16), imm = segment: as load_sreg; the lifter writes the offset register afterwards. End: EXIT NEXT');
  t[H.SWAPGS] = s('swapgs', false, true, 'SWAPGS (#GP unless CPL 0)');
  t[H.RDFSBASE] = s('rdfsbase', false, true, 'dst = general register, imm = width 2 or 3; #UD without CR4.FSGSBASE');
  t[H.RDGSBASE] = s('rdgsbase', false, true, 'as rdfsbase');
  t[H.WRFSBASE] = s('wrfsbase', false, true, 'a = value, imm = width 2 (zero-extended) or 3 (#GP if not canonical)');
  t[H.WRGSBASE] = s('wrgsbase', false, true, 'as wrfsbase');

  t[H.INVLPG] = s('invlpg', false, true, 'a = linear address. End: EXIT NEXT');
  t[H.INVPCID] = s('invpcid', false, true, 'a = linear address of the 16-byte descriptor, b = type register (64 bits in 64-bit mode, else 32). End: EXIT NEXT');
  t[H.WBINVD] = s('wbinvd', false, true, 'WBINVD, WBNOINVD: privilege check only');
  t[H.INVD] = s('invd', false, true, 'privilege check only');
  t[H.MONITOR] = s('monitor', false, true, 'a = linear address. CPL check');
  t[H.MWAIT] = s('mwait', false, true, 'CPL check; may wait. End: EXIT NEXT');

  t[H.IN] = s('in', false, true, 'dst = temp: value zero-extended, a = port (16), imm = width 0..2; IOPL and I/O permission bitmap');
  t[H.OUT] = s('out', false, true, 'a = port (16), b = value, imm = width 0..2');
  t[H.REP] = s('rep', true, true,
    'REP string instruction: imm = width | kind << 4 (0 movs, 1 cmps, 2 stos, 3 lods, 4 scas, 5 ins, 6 outs) | address width << 8 | source segment << 12 | repne << 16. ' +
    'Does as many iterations as it likes; CONTINUE when finished, else sets PC to this instruction and returns DISPATCH. Reads and writes FLAGS (cmps, scas).');
  t[H.INS] = s('ins', false, true, 'INS without REP, imm as in rep: one iteration, registers included');
  t[H.OUTS] = s('outs', false, true, 'OUTS without REP, imm as in rep: one iteration, registers included');

  t[H.AAA] = s('aaa', false, false, 'AX, FLAGS');
  t[H.AAS] = s('aas', false, false, 'AX, FLAGS');
  t[H.DAA] = s('daa', false, false, 'AL, FLAGS');
  t[H.DAS] = s('das', false, false, 'AL, FLAGS');
  t[H.AAM] = s('aam', false, true, 'imm = divisor (0: #DE): AX, FLAGS');
  t[H.AAD] = s('aad', false, false, 'imm = multiplier: AX, FLAGS');
  t[H.BOUND] = s('bound', false, true, 'a = index register, b = lower bound, c = upper bound, imm = width 1 or 2 (signed compares): #BR');
  t[H.ENTER] = s('enter', false, true, 'ENTER with nesting level > 0: imm = bytes | level << 16 | operand width << 24; does the whole instruction');
  t[H.RDRAND] = s('rdrand', false, false, 'dst = temp: random value (64 bits); sets CF = 1, clears the other five in FLAGS');
  t[H.RDSEED] = s('rdseed', false, false, 'as rdrand');
  t[H.PROBE] = s('probe', false, true, 'a = linear address, imm = bytes | write << 8: faults as that access would, without making it');
  t[H.HYPERCALL] = s('hypercall', false, false, 'VMCALL, VMMCALL under a hypervisor: number in RAX; result in RAX');
  t[H.PAUSE] = s('pause', false, false, 'PAUSE on a machine with several CPUs: another one may want the turn');
  return t;
})();
