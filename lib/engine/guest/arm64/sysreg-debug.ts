/** System registers of self-hosted debug and of the performance monitors (Arm ARM, D17.3 and D17.5). */
import type { Arm64Cpu } from './cpu.js';
import { BREAKPOINTS, WATCHPOINTS } from './debug.js';
import { EVENT_COUNTERS, PMCEID0, type Pmu } from './pmu.js';
import { A } from './regs.js';
import { SysAccess, Trap, type Spec } from './sysreg-table.js';

type At = readonly [number, number, number, number, number];
type Def = (name: string, at: At, s: Spec) => void;

const RO = SysAccess.READ;
const out = (c: Arm64Cpu, lo: number, hi: number): void => {
  c.outLo = lo;
  c.outHi = hi;
};
/** Registers of an external debugger, which is not there: they keep nothing and do nothing. */
const ignored: Spec = { read: (c) => out(c, 0, 0), write: () => undefined };

export function defineDebugRegisters(def: Def): void {
  def('MDSCR_EL1', [2, 0, 0, 2, 2], {
    slot: A.MDSCR_EL1, slowWrite: true,
    write: (c, lo) => {
      c.setSlot(A.MDSCR_EL1, lo, 0);
      c.debug.changed();
    },
  });
  def('MDCCINT_EL1', [2, 0, 0, 2, 0], ignored);
  def('OSDTRRX_EL1', [2, 0, 0, 0, 2], ignored);
  def('OSDTRTX_EL1', [2, 0, 0, 3, 2], ignored);
  def('OSECCR_EL1', [2, 0, 0, 6, 2], ignored);
  def('MDRAR_EL1', [2, 0, 1, 0, 0], { el1: RO, constant: [0, 0] });
  def('OSLAR_EL1', [2, 0, 1, 0, 4], {
    el1: SysAccess.WRITE,
    write: (c, lo) => {
      c.debug.osLock = (lo & 1) !== 0;
      c.debug.changed();
    },
  });
  def('OSLSR_EL1', [2, 0, 1, 1, 4], { el1: RO, read: (c) => out(c, 8 | (c.debug.osLock ? 2 : 0), 0) });
  // FEAT_DoubleLock is not implemented (ID_AA64DFR0_EL1).
  def('OSDLR_EL1', [2, 0, 1, 3, 4], ignored);
  def('DBGPRCR_EL1', [2, 0, 1, 4, 4], ignored);
  def('DBGCLAIMSET_EL1', [2, 0, 7, 8, 6], ignored);
  def('DBGCLAIMCLR_EL1', [2, 0, 7, 9, 6], ignored);
  def('DBGAUTHSTATUS_EL1', [2, 0, 7, 14, 6], { el1: RO, constant: [0, 0] });
  type Words = { lo: (c: Arm64Cpu) => Int32Array; hi: ((c: Arm64Cpu) => Int32Array) | null };
  const words = (name: string, n: number, op2: number, { lo, hi }: Words, mask: number): void => {
    def(`${name}${n}_EL1`, [2, 0, 0, n, op2], {
      read: (c) => out(c, lo(c)[n]!, hi === null ? 0 : hi(c)[n]!),
      write: (c, l, h) => {
        lo(c)[n] = l & mask;
        if (hi !== null) hi(c)[n] = h;
        c.debug.changed();
      },
    });
  };
  for (let n = 0; n < BREAKPOINTS; n++) {
    words('DBGBVR', n, 4, { lo: (c) => c.debug.bvrLo, hi: (c) => c.debug.bvrHi }, -1);
    words('DBGBCR', n, 5, { lo: (c) => c.debug.bcr, hi: null }, 0x00ff_e1e7);
  }
  for (let n = 0; n < WATCHPOINTS; n++) {
    words('DBGWVR', n, 6, { lo: (c) => c.debug.wvrLo, hi: (c) => c.debug.wvrHi }, ~3);
    words('DBGWCR', n, 7, { lo: (c) => c.debug.wcr, hi: null }, 0x1f1f_ffff);
  }
}

export function definePmuRegisters(def: Def): void {
  /** A register of 32 bits. EL0's rights are PMUSERENR_EL0's. */
  const pmu = (name: string, at: At, read: ((p: Pmu) => number) | null, write: ((p: Pmu, v: number) => void) | null, el0: boolean = true): void => {
    const rights = (read === null ? 0 : SysAccess.READ) | (write === null ? 0 : SysAccess.WRITE);
    const s: Spec = { el1: rights, el0: el0 ? rights : SysAccess.NONE, trap: Trap.PMU };
    if (read !== null) s.read = (c): void => out(c, read(c.pmu) | 0, 0);
    if (write !== null) s.write = (c, lo): void => write(c.pmu, lo);
    def(name, at, s);
  };
  pmu('PMCR_EL0', [3, 3, 9, 12, 0], (p) => p.control, (p, v) => (p.control = v));
  pmu('PMCNTENSET_EL0', [3, 3, 9, 12, 1], (p) => p.enables, (p, v) => p.enable(v, true));
  pmu('PMCNTENCLR_EL0', [3, 3, 9, 12, 2], (p) => p.enables, (p, v) => p.enable(v, false));
  pmu('PMOVSCLR_EL0', [3, 3, 9, 12, 3], (p) => p.overflows, (p, v) => p.setOverflow(v, false));
  pmu('PMSWINC_EL0', [3, 3, 9, 12, 4], null, (p, v) => p.softwareIncrement(v));
  pmu('PMSELR_EL0', [3, 3, 9, 12, 5], (p) => p.select, (p, v) => (p.select = v & 31));
  pmu('PMCEID0_EL0', [3, 3, 9, 12, 6], () => PMCEID0, null);
  pmu('PMCEID1_EL0', [3, 3, 9, 12, 7], () => 0, null);
  def('PMCCNTR_EL0', [3, 3, 9, 13, 0], { el0: SysAccess.RW, trap: Trap.PMU, read: (c) => c.pmu.readCycles(), write: (c, lo, hi) => c.pmu.writeCycles(lo, hi) });
  pmu('PMXEVTYPER_EL0', [3, 3, 9, 13, 1], (p) => p.readType(p.select), (p, v) => p.writeType(p.select, v));
  pmu('PMXEVCNTR_EL0', [3, 3, 9, 13, 2], (p) => p.readCounter(p.select), (p, v) => p.writeCounter(p.select, v));
  def('PMUSERENR_EL0', [3, 3, 9, 14, 0], { el0: RO | SysAccess.FREE, read: (c) => out(c, c.pmu.userEnable, 0), write: (c, lo) => (c.pmu.userEnable = lo & 15) });
  pmu('PMOVSSET_EL0', [3, 3, 9, 14, 3], (p) => p.overflows, (p, v) => p.setOverflow(v, true));
  pmu('PMINTENSET_EL1', [3, 0, 9, 14, 1], (p) => p.interruptEnables, (p, v) => p.enableInterrupt(v, true), false);
  pmu('PMINTENCLR_EL1', [3, 0, 9, 14, 2], (p) => p.interruptEnables, (p, v) => p.enableInterrupt(v, false), false);
  for (let n = 0; n < EVENT_COUNTERS; n++) {
    pmu(`PMEVCNTR${n}_EL0`, [3, 3, 14, 8, n], (p) => p.readCounter(n), (p, v) => p.writeCounter(n, v));
    pmu(`PMEVTYPER${n}_EL0`, [3, 3, 14, 12, n], (p) => p.readType(n), (p, v) => p.writeType(n, v));
  }
  pmu('PMCCFILTR_EL0', [3, 3, 14, 15, 7], (p) => p.readType(31), (p, v) => p.writeType(31, v));
}

/** Whether PMUSERENR_EL0 lets EL0 access the register with this key (D17.5.20). */
export function pmuAllowed(c: Arm64Cpu, key: number, read: boolean): boolean {
  const enable = c.pmu.userEnable;
  if (enable & 1) return true;
  const crn = (key >>> 7) & 15;
  const crm = (key >>> 3) & 15;
  const op2 = key & 7;
  // SW: PMSWINC. CR: reading PMCCNTR. ER: PMSELR, reading PMXEVCNTR and PMEVCNTRn.
  if (crn === 9 && crm === 12 && op2 === 4) return (enable & 2) !== 0;
  if (crn === 9 && crm === 13 && op2 === 0) return read && (enable & 4) !== 0;
  if (crn === 9 && crm === 12 && op2 === 5) return (enable & 8) !== 0;
  const event = (crn === 9 && crm === 13 && op2 === 2) || (crn === 14 && crm >= 8 && crm < 12);
  return event && read && (enable & 8) !== 0;
}
