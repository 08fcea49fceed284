/**
 * The A64 system registers as a table (Arm ARM, D17): who may access each, where its value is, and what reading or writing it
 * does beyond that. The lifter turns plain ones into moves.
 */
import { NONE, Slot } from '../../state.js';
import type { Arm64Cpu } from './cpu.js';
import { BREAKPOINTS, CONTEXT_AWARE, WATCHPOINTS } from './debug.js';
import type { Arm64Model } from './model.js';
import { A, Mode, flagsToNzcv } from './regs.js';
import { defineDebugRegisters, definePmuRegisters } from './sysreg-debug.js';

/** Rights of an exception level. */
export const enum SysAccess {
  NONE = 0,
  READ = 1,
  WRITE = 2,
  RW = 3,
  /** EL0: nothing can trap it. */
  FREE = 4,
}

export interface SysReg {
  readonly name: string;
  readonly key: number;
  readonly el0: number;
  readonly el1: number;
  /** State slot that holds the value, or NONE. */
  readonly slot: number;
  /** Writing needs `write` although there is a slot. */
  readonly slowWrite: boolean;
  readonly constant: readonly [number, number] | null;
  /** Accesses trap like FP instructions. */
  readonly fp: boolean;
  /** EL0: control that must be set in `el0Control`, or ''. */
  readonly trap: Trap;
  /** Not there unless the CPU model has this. */
  readonly feature: keyof Arm64Model | null;
  /** Leaves the value in cpu.outLo, outHi. */
  readonly read: ((c: Arm64Cpu) => void) | null;
  readonly write: ((c: Arm64Cpu, lo: number, hi: number) => void) | null;
}

/** Controls that let EL0 access a register. */
export const enum Trap { NONE = 0, UCT = 1, CNT = 2, UMA = 3, DZE = 4, PMU = 5 }

/** Key of op0 op1 CRn CRm op2: bits 20..5 of MRS and MSR. */
export const sysKey = (op0: number, op1: number, crn: number, crm: number, op2: number): number => (op0 << 14) | (op1 << 11) | (crn << 7) | (crm << 3) | op2;

/** Key in an MRS, MSR or SYS word. */
export const sysregKey = (word: number): number => (word >>> 5) & 0xffff;

const table = new Map<number, SysReg>();

export interface Spec {
  el0?: number;
  el1?: number;
  slot?: number;
  slowWrite?: boolean;
  constant?: readonly [number, number];
  fp?: boolean;
  trap?: Trap;
  feature?: keyof Arm64Model;
  read?: (c: Arm64Cpu) => void;
  write?: (c: Arm64Cpu, lo: number, hi: number) => void;
}

function def(name: string, at: readonly [number, number, number, number, number], s: Spec): void {
  const key = sysKey(...at);
  if (table.has(key)) throw new Error(`system register ${name} is defined twice`);
  table.set(key, {
    name, key,
    el0: s.el0 ?? SysAccess.NONE,
    el1: s.el1 ?? SysAccess.RW,
    slot: s.slot ?? NONE,
    slowWrite: s.slowWrite ?? false,
    constant: s.constant ?? null,
    fp: s.fp ?? false,
    trap: s.trap ?? Trap.NONE,
    feature: s.feature ?? null,
    read: s.read ?? null,
    write: s.write ?? null,
  });
}

/** The register of a key, or null (undefined instruction). */
export function sysreg(key: number): SysReg | null {
  return table.get(key) ?? null;
}

/** All of them, for tests and listings. */
export function sysregs(): readonly SysReg[] {
  return [...table.values()];
}

const out = (c: Arm64Cpu, lo: number, hi: number): void => {
  c.outLo = lo;
  c.outHi = hi;
};
const plain = (slot: number): Spec => ({ slot });
const RO = SysAccess.READ;
const constant = (lo: number, hi = 0): Spec => ({ el1: RO, constant: [lo | 0, hi | 0] });

/** DCZID_EL0: DC ZVA clears 64 bytes. */
export const DCZID = 4;

/** MIDR_EL1: implementer 0 (software), part 051h, architecture by ID registers. */
const MIDR = 0x000f_0510;

/**
 * ID registers: what is implemented, no more. D17.2.59 and following. ID_AA64PFR0 and MPIDR depend on the machine.
 */
const ID = {
  /** AES PMULL, SHA1, SHA256, CRC32, LSE, RDM; high word: DotProd. */
  ISAR0: [0x1021_1120, 0x0000_1000],
  /** LRCPC. With FEAT_PAuth, GPI and API: an algorithm of this program's, FEAT_PAuth2. */
  ISAR1: [0x0010_0000, 0],
  ISAR1_PAUTH: 0x1000_0300,
  /** PARange 40 bits, ASID 16 bits, TGran16, TGran64, TGran4. */
  MMFR0: [0x0010_0022, 0],
  /** HAFDBS 2, PAN. */
  MMFR1: [0x0010_0002, 0],
  /** UAO; high word: E0PD. */
  MMFR2: [0x0000_0010, 0x1000_0000],
  /** Debug architecture v8, PMUv3, numbers of breakpoints and watchpoints less one; high word: no FEAT_DoubleLock. */
  DFR0: [((CONTEXT_AWARE - 1) << 28) | ((WATCHPOINTS - 1) << 20) | ((BREAKPOINTS - 1) << 12) | 0x106, 0xf0],
} as const;

/** Keeps nothing and does nothing. */
const ignored: Spec = { read: (c) => out(c, 0, 0), write: () => undefined };

function defineAll(): void {
  def('MIDR_EL1', [3, 0, 0, 0, 0], constant(MIDR));
  def('MPIDR_EL1', [3, 0, 0, 0, 5], { el1: RO, read: (c) => out(c, 0x8000_0000 | (c.affinity & 0xff_ffff), 0) });
  def('REVIDR_EL1', [3, 0, 0, 0, 6], constant(0));
  // The identification space: everything not named reads as zero (AArch32 is not implemented).
  const named = new Map<string, Spec>([
    // CSV3 and CSV2: nothing is speculated here, so kernels need no page tables of their own for user space, nor hardened branch predictors.
    ['4.0', { el1: RO, read: (c) => out(c, 0x0011_0011 | (c.gicSystemRegisters ? 0x0100_0000 : 0), 0x1100_0000) }],
    ['4.1', { el1: RO, read: (c) => out(c, c.model.bti ? 1 : 0, 0) }],
    ['5.0', constant(ID.DFR0[0], ID.DFR0[1])],
    ['6.0', constant(ID.ISAR0[0], ID.ISAR0[1])],
    ['6.1', { el1: RO, read: (c) => out(c, ID.ISAR1[0] | (c.model.pauth ? ID.ISAR1_PAUTH : 0), ID.ISAR1[1]) }],
    ['7.0', constant(ID.MMFR0[0], ID.MMFR0[1])],
    ['7.1', constant(ID.MMFR1[0], ID.MMFR1[1])],
    ['7.2', constant(ID.MMFR2[0], ID.MMFR2[1])],
  ]);
  const names: Record<string, string> = { '4.0': 'ID_AA64PFR0_EL1', '4.1': 'ID_AA64PFR1_EL1', '5.0': 'ID_AA64DFR0_EL1', '6.0': 'ID_AA64ISAR0_EL1', '6.1': 'ID_AA64ISAR1_EL1', '7.0': 'ID_AA64MMFR0_EL1', '7.1': 'ID_AA64MMFR1_EL1', '7.2': 'ID_AA64MMFR2_EL1' };
  for (let crm = 1; crm < 8; crm++) {
    for (let op2 = 0; op2 < 8; op2++) {
      const at = `${crm}.${op2}`;
      def(names[at] ?? `ID_${crm}_${op2}`, [3, 0, 0, crm, op2], named.get(at) ?? constant(0));
    }
  }
  def('CCSIDR_EL1', [3, 1, 0, 0, 0], constant((127 << 13) | (3 << 3) | 2));
  def('CLIDR_EL1', [3, 1, 0, 0, 1], constant(0x0100_0003));
  def('AIDR_EL1', [3, 1, 0, 0, 7], constant(0));
  def('CSSELR_EL1', [3, 2, 0, 0, 0], plain(A.CSSELR_EL1));
  def('CTR_EL0', [3, 3, 0, 0, 1], { el0: RO, el1: RO, trap: Trap.UCT, constant: [0xb444_c004 | 0, 0], read: (c) => out(c, 0xb444_c004 | 0, 0) });
  def('DCZID_EL0', [3, 3, 0, 0, 7], { el0: RO | SysAccess.FREE, el1: RO, read: (c) => out(c, DCZID | (c.zvaAllowed() ? 0 : 16), 0) });

  def('SCTLR_EL1', [3, 0, 1, 0, 0], { read: (c) => out(c, c.sctlr, c.sctlrHi), write: (c, lo, hi) => c.setSctlr(lo, hi) });
  def('ACTLR_EL1', [3, 0, 1, 0, 1], ignored);
  def('CPACR_EL1', [3, 0, 1, 0, 2], { read: (c) => out(c, c.cpacr, 0), write: (c, lo) => c.setCpacr(lo) });
  def('TTBR0_EL1', [3, 0, 2, 0, 0], { read: (c) => out(c, c.ttbr0Lo, c.ttbr0Hi), write: (c, lo, hi) => c.setTtbr(0, lo, hi) });
  def('TTBR1_EL1', [3, 0, 2, 0, 1], { read: (c) => out(c, c.ttbr1Lo, c.ttbr1Hi), write: (c, lo, hi) => c.setTtbr(1, lo, hi) });
  def('TCR_EL1', [3, 0, 2, 0, 2], { read: (c) => out(c, c.tcrLo, c.tcrHi), write: (c, lo, hi) => c.setTcr(lo, hi) });
  for (const [k, name] of ['APIA', 'APIB', 'APDA', 'APDB', 'APGA'].entries()) {
    for (const [half, word] of ['Lo', 'Hi'].entries()) def(`${name}Key${word}_EL1`, [3, 0, 2, 1 + (k >> 1), (k & 1) * 2 + half], { slot: A.APIA + k * 2 + half, feature: 'pauth' });
  }
  def('SPSR_EL1', [3, 0, 4, 0, 0], plain(A.SPSR_EL1));
  def('ELR_EL1', [3, 0, 4, 0, 1], plain(A.ELR_EL1));
  def('SP_EL0', [3, 0, 4, 1, 0], plain(A.SP_EL0));
  def('SPSel', [3, 0, 4, 2, 0], { read: (c) => out(c, c.mode & Mode.SPSEL ? 1 : 0, 0), write: (c, lo) => c.setSpsel(lo & 1) });
  def('CurrentEL', [3, 0, 4, 2, 2], constant(4));
  def('PAN', [3, 0, 4, 2, 3], { read: (c) => out(c, c.pan ? 1 << 22 : 0, 0), write: (c, lo) => c.setPan((lo & (1 << 22)) !== 0) });
  def('UAO', [3, 0, 4, 2, 4], { read: (c) => out(c, c.mode & Mode.UAO ? 1 << 23 : 0, 0), write: (c, lo) => c.setUao((lo & (1 << 23)) !== 0) });
  def('AFSR0_EL1', [3, 0, 5, 1, 0], plain(A.AFSR0_EL1));
  def('AFSR1_EL1', [3, 0, 5, 1, 1], plain(A.AFSR1_EL1));
  def('ESR_EL1', [3, 0, 5, 2, 0], plain(A.ESR_EL1));
  def('FAR_EL1', [3, 0, 6, 0, 0], plain(A.FAR_EL1));
  def('PAR_EL1', [3, 0, 7, 4, 0], plain(A.PAR_EL1));
  def('MAIR_EL1', [3, 0, 10, 2, 0], { slot: A.MAIR_EL1, slowWrite: true, write: (c, lo, hi) => c.setMair(lo, hi) });
  def('AMAIR_EL1', [3, 0, 10, 3, 0], plain(A.AMAIR_EL1));
  def('VBAR_EL1', [3, 0, 12, 0, 0], { slot: A.VBAR_EL1, slowWrite: true, write: (c, lo, hi) => c.setSlot(A.VBAR_EL1, lo & ~0x7ff, hi) });
  def('RVBAR_EL1', [3, 0, 12, 0, 1], constant(0));
  def('ISR_EL1', [3, 0, 12, 1, 0], { el1: RO, read: (c) => out(c, (c.intc.irq ? 0x80 : 0) | (c.intc.fiq ? 0x40 : 0), 0) });
  def('CONTEXTIDR_EL1', [3, 0, 13, 0, 1], plain(A.CONTEXTIDR_EL1));
  def('TPIDR_EL1', [3, 0, 13, 0, 4], plain(A.TPIDR_EL1));
  def('CNTKCTL_EL1', [3, 0, 14, 1, 0], plain(A.CNTKCTL_EL1));

  def('NZCV', [3, 3, 4, 2, 0], { el0: SysAccess.RW | SysAccess.FREE, read: (c) => out(c, flagsToNzcv(c.V[Slot.FLAGS * 2]!), 0) });
  def('DAIF', [3, 3, 4, 2, 1], { el0: SysAccess.RW, slot: A.DAIF, slowWrite: true, trap: Trap.UMA, write: (c, lo) => c.setDaif(lo) });
  def('FPCR', [3, 3, 4, 4, 0], { el0: SysAccess.RW | SysAccess.FREE, fp: true, slot: A.FPCR, slowWrite: true, write: (c, lo) => c.setFpcr(lo) });
  def('FPSR', [3, 3, 4, 4, 1], { el0: SysAccess.RW | SysAccess.FREE, fp: true, read: (c) => out(c, c.fpsr(), 0), write: (c, lo) => c.setFpsr(lo) });
  def('TPIDR_EL0', [3, 3, 13, 0, 2], { el0: SysAccess.RW | SysAccess.FREE, slot: A.TPIDR_EL0 });
  def('TPIDRRO_EL0', [3, 3, 13, 0, 3], { el0: RO | SysAccess.FREE, slot: A.TPIDRRO_EL0 });

  def('CNTFRQ_EL0', [3, 3, 14, 0, 0], { el0: RO, trap: Trap.CNT, read: (c) => out(c, c.timer.frequency, 0), write: () => undefined });
  def('CNTPCT_EL0', [3, 3, 14, 0, 1], { el0: RO, el1: RO, trap: Trap.CNT, read: (c) => c.timer.count(c) });
  def('CNTVCT_EL0', [3, 3, 14, 0, 2], { el0: RO, el1: RO, trap: Trap.CNT, read: (c) => c.timer.count(c) });
  for (const [k, name] of ['CNTP', 'CNTV'].entries()) {
    const crm = 2 + k;
    def(`${name}_TVAL_EL0`, [3, 3, 14, crm, 0], { el0: SysAccess.RW, trap: Trap.CNT, read: (c) => out(c, c.timer.readTval(k), 0), write: (c, lo) => c.timer.writeTval(k, lo) });
    def(`${name}_CTL_EL0`, [3, 3, 14, crm, 1], { el0: SysAccess.RW, trap: Trap.CNT, read: (c) => out(c, c.timer.readCtl(k), 0), write: (c, lo) => c.timer.writeCtl(k, lo) });
    def(`${name}_CVAL_EL0`, [3, 3, 14, crm, 2], { el0: SysAccess.RW, trap: Trap.CNT, read: (c) => c.timer.readCval(k, c), write: (c, lo, hi) => c.timer.writeCval(k, lo, hi) });
  }

  defineDebugRegisters(def);
  definePmuRegisters(def);

  // The GICv3 CPU interface (GIC architecture specification, 12.2): numbered by CRm and op2.
  const icc = (name: string, crn: number, crm: number, op2: number, el1: number): void => {
    const reg = (crn << 8) | (crm << 4) | op2;
    def(name, [3, 0, crn, crm, op2], {
      el1,
      read: (c) => {
        if (!c.gicSystemRegisters) c.undefinedInstruction();
        out(c, c.intc.readIcc(reg) | 0, 0);
      },
      write: (c, lo, hi) => {
        if (!c.gicSystemRegisters) c.undefinedInstruction();
        c.intc.writeIcc(reg, lo, hi);
      },
    });
  };
  icc('ICC_PMR_EL1', 4, 6, 0, SysAccess.RW);
  icc('ICC_IAR0_EL1', 12, 8, 0, RO);
  icc('ICC_EOIR0_EL1', 12, 8, 1, SysAccess.WRITE);
  icc('ICC_HPPIR0_EL1', 12, 8, 2, RO);
  icc('ICC_BPR0_EL1', 12, 8, 3, SysAccess.RW);
  for (let n = 0; n < 4; n++) icc(`ICC_AP0R${n}_EL1`, 12, 8, 4 + n, SysAccess.RW);
  for (let n = 0; n < 4; n++) icc(`ICC_AP1R${n}_EL1`, 12, 9, n, SysAccess.RW);
  icc('ICC_DIR_EL1', 12, 11, 1, SysAccess.WRITE);
  icc('ICC_RPR_EL1', 12, 11, 3, RO);
  icc('ICC_SGI1R_EL1', 12, 11, 5, SysAccess.WRITE);
  icc('ICC_ASGI1R_EL1', 12, 11, 6, SysAccess.WRITE);
  icc('ICC_SGI0R_EL1', 12, 11, 7, SysAccess.WRITE);
  icc('ICC_IAR1_EL1', 12, 12, 0, RO);
  icc('ICC_EOIR1_EL1', 12, 12, 1, SysAccess.WRITE);
  icc('ICC_HPPIR1_EL1', 12, 12, 2, RO);
  icc('ICC_BPR1_EL1', 12, 12, 3, SysAccess.RW);
  icc('ICC_CTLR_EL1', 12, 12, 4, SysAccess.RW);
  icc('ICC_SRE_EL1', 12, 12, 5, SysAccess.RW);
  icc('ICC_IGRPEN0_EL1', 12, 12, 6, SysAccess.RW);
  icc('ICC_IGRPEN1_EL1', 12, 12, 7, SysAccess.RW);
}
defineAll();
