/**
 * What a hart with an IMSIC has besides: the CSRs of Smaia and Ssaia (The RISC-V Advanced Interrupt Architecture 1.0, chapters 2, 3 and 5). mvien and
 * mvip belong to the interrupt registers proper and are in csr.ts.
 */
import { Csr, Irq, Priv, S_IRQS } from './defs.js';
import type { RiscvCpu } from './cpu.js';

/** An interrupt file of the hart's IMSIC (chapter 3), as its hart sees it: a device provides it. */
export interface InterruptFile {
  /** Result of `read`. */
  readonly lo: number;
  readonly hi: number;
  /** A register by its number, 0x70 to 0xff (3.8), 64 bits. @returns false if RV64 code may not access it */
  read(select: number): boolean;
  write(select: number, lo: number, hi: number): void;
  /** The lowest identity that is pending, enabled and below eithreshold; 0: none (3.9). */
  top(): number;
  /** Clears the pending bit of `top()`. */
  claim(): void;
}

/** Both interrupt files of a hart. */
export interface HartImsic {
  machine: InterruptFile;
  supervisor: InterruptFile;
}

/** Values of miselect and siselect (2.1): all that are kept, and those with a meaning. */
const SELECT_MASK = 0x1ff;
const enum Select { IPRIO0 = 0x30, IPRIO15 = 0x3f, IMSIC0 = 0x70, IMSIC_LAST = 0xff }
/** The lowest priority that mtopi and stopi can tell. */
const LOWEST = 255;
/** Nominal priority of an external interrupt that no interrupt file has (4.4.1), and of what has none and comes after external ones by default. */
const NO_NUMBER = 256;
const BY_DEFAULT = 512;
/** Numbers of interrupts, highest default priority first (table 4.1, 3.1.9 of the privileged architecture). External ones come first in both levels. */
const PRIORITY: readonly number[] = [11, 3, 7, 9, 1, 5];

/** The interrupt that is taken first by default. @param pending bits of mip, at least one */
export function firstByDefault(pending: number): number {
  let i = 0;
  while (!((pending >>> PRIORITY[i]!) & 1)) i++;
  return PRIORITY[i]!;
}

/** Bits of mie that can be set, but for the machine's external interrupt: they have a priority. */
const M_PRIORITIES = S_IRQS | Irq.MSI | Irq.MTI;
const S_PRIORITIES = S_IRQS & ~Irq.SEI;
const NUMBERS = 64;

export class Aia {
  /** Result of `read`. */
  lo = 0;
  hi = 0;
  private miselect = 0;
  private siselect = 0;
  /** The iprio arrays, by interrupt number (4.3.1, 4.5.1). */
  private readonly machinePrio = new Uint8Array(NUMBERS);
  private readonly supervisorPrio = new Uint8Array(NUMBERS);

  constructor(
    private readonly cpu: RiscvCpu,
    private readonly imsic: HartImsic,
  ) {}

  reset(): void {
    this.miselect = this.siselect = 0;
    this.machinePrio.fill(0);
    this.supervisorPrio.fill(0);
  }

  private set(lo: number, hi = 0): boolean {
    this.lo = lo;
    this.hi = hi;
    return true;
  }

  /** Interrupts whose supervisor-level priority may be set: those that sie has (4.5.1). */
  private get supervisorPriorities(): number {
    const { csr } = this.cpu;
    return (csr.mideleg | csr.mvien) & S_PRIORITIES;
  }

  /** With mvien bit 9 the supervisor's interrupt file is M-mode's alone (4.4). */
  private get hidden(): boolean {
    return this.cpu.priv === Priv.S && (this.cpu.csr.mvien & Irq.SEI) !== 0;
  }

  /** Reads a CSR whose privilege has been checked. @returns false if it does not exist or may not be accessed now */
  read(n: number): boolean {
    const { csr } = this.cpu;
    switch (n as Csr) {
      case Csr.MVIEN: return this.set(csr.mvien);
      case Csr.MVIP: return this.set(csr.mvip());
      case Csr.MISELECT: return this.set(this.miselect);
      case Csr.SISELECT: return this.set(this.siselect);
      case Csr.MIREG: return this.readSelected(this.miselect, this.machinePrio, M_PRIORITIES, this.imsic.machine, false);
      case Csr.SIREG: return this.readSelected(this.siselect, this.supervisorPrio, this.supervisorPriorities, this.imsic.supervisor, this.hidden);
      case Csr.MTOPEI: return this.set(topei(this.imsic.machine));
      case Csr.STOPEI: return !this.hidden && this.set(topei(this.imsic.supervisor));
      case Csr.MTOPI: return this.set(this.topi(csr.machinePending(), true));
      case Csr.STOPI: return this.set(this.topi(csr.supervisorPending(), false));
      default: return false;
    }
  }

  /** Writes a CSR that `read` has allowed. @returns false if it is none of these */
  write(n: number, lo: number, hi: number): boolean {
    const { csr } = this.cpu;
    switch (n as Csr) {
      case Csr.MVIEN:
        csr.mvien = lo & (Irq.SSI | Irq.SEI);
        return true;
      case Csr.MVIP:
        csr.writeMvip(lo);
        return true;
      case Csr.MISELECT:
        this.miselect = lo & SELECT_MASK;
        return true;
      case Csr.SISELECT:
        this.siselect = lo & SELECT_MASK;
        return true;
      case Csr.MIREG:
        writeSelected(this.miselect, this.machinePrio, M_PRIORITIES, this.imsic.machine, lo, hi);
        return true;
      case Csr.SIREG:
        writeSelected(this.siselect, this.supervisorPrio, this.supervisorPriorities, this.imsic.supervisor, lo, hi);
        return true;
      case Csr.MTOPEI:
        this.imsic.machine.claim();
        return true;
      case Csr.STOPEI:
        this.imsic.supervisor.claim();
        return true;
      default:
        return false;
    }
  }

  private readSelected(select: number, prio: Uint8Array, writable: number, file: InterruptFile, hidden: boolean): boolean {
    if (select >= Select.IPRIO0 && select <= Select.IPRIO15) {
      // Odd ones are RV32's.
      if (select & 1) return false;
      const at = (select - Select.IPRIO0) * 4;
      const byte = (i: number): number => ((writable >>> (at + i)) & 1 && at + i < 32 ? prio[at + i]! : 0);
      const word = (i: number): number => byte(i) | (byte(i + 1) << 8) | (byte(i + 2) << 16) | (byte(i + 3) << 24);
      return this.set(word(0), word(4));
    }
    if (select < Select.IMSIC0 || select > Select.IMSIC_LAST || hidden) return false;
    return file.read(select) && this.set(file.lo, file.hi);
  }

  /** IID and IPRIO of the first of these interrupts; 0 if there are none (4.3.2, 4.5.2). */
  private topi(pending: number, machine: boolean): number {
    if (pending === 0) return 0;
    const n = this.top(pending, machine);
    return (n << 16) | Math.min(this.priority(n, machine), LOWEST);
  }

  /** Number of the interrupt that is taken first. @param pending at least one bit @param machine taken by M-mode */
  top(pending: number, machine: boolean): number {
    let found = 0;
    let best = Infinity;
    for (let i = 0; i < PRIORITY.length; i++) {
      const n = PRIORITY[i]!;
      if (!((pending >>> n) & 1)) continue;
      const p = this.priority(n, machine);
      if (p >= best) continue;
      found = n;
      best = p;
    }
    return found;
  }

  /** Nominal priority (tables 4.3 and 4.5): less is more. Nothing that this hart has comes before external interrupts by default. */
  private priority(n: number, machine: boolean): number {
    if (n === (machine ? 11 : 9)) return (machine ? this.imsic.machine : this.imsic.supervisor).top() || NO_NUMBER;
    return (machine ? this.machinePrio : this.supervisorPrio)[n]! || BY_DEFAULT;
  }
}

function topei(file: InterruptFile): number {
  const i = file.top();
  return (i << 16) | i;
}

function writeSelected(select: number, prio: Uint8Array, writable: number, file: InterruptFile, lo: number, hi: number): void {
  if (select > Select.IPRIO15) {
    file.write(select, lo, hi);
    return;
  }
  const at = (select - Select.IPRIO0) * 4;
  if (at >= 32) return;
  for (let i = 0; i < 8; i++) if ((writable >>> (at + i)) & 1) prio[at + i] = (i < 4 ? lo : hi) >>> ((i & 3) * 8);
}
