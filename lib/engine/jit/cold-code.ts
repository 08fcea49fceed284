/** Cold code (docs/adr/0070): executed from its bytes by CPUs that can, and counted by what executes it, in the state region. */
import { COLD_COUNT_LIMIT, coldCount, COLD_COUNTS, ColdAt } from '../cold-state.js';
import type { GuestCpu } from '../cpu.js';
import { Slot } from '../state.js';
import type { HostCode } from './host-code.js';

const PAGE = 4096;
/** So many translations, and counting begins anew: code of which another address has the same place shares its count, and no guest is to end up with all of them reached. */
const MOST = COLD_COUNTS >> 2;

export class ColdCode {
  /** `run` has executed something. Set to false by who wants to know. */
  ran = false;
  private readonly execute: ((cpu: GuestCpu, watched: number) => number) | null;
  /** Something has been counted. */
  private any = false;
  private translations = 0;

  /** @param on false: everything is translated at once @param stats told how many instructions have been executed */
  constructor(private readonly cpus: readonly GuestCpu[], host: () => HostCode | null, on: boolean, private readonly stats: { firstRuns: number }) {
    this.execute = on && host()?.runCold !== undefined ? (cpu, watched): number => host()!.runCold!(cpu, watched) : null;
  }

  /** Generated code is about to be entered. @param may it go on to cold code */
  link(cpu: GuestCpu, may: boolean): void {
    if (this.execute === null) return;
    const { V } = cpu;
    V[ColdAt.LINKED >> 2] = may ? 1 : 0;
    this.stats.firstRuns += V[ColdAt.LINKED_EXECUTED >> 2]!;
    V[ColdAt.LINKED_EXECUTED >> 2] = 0;
  }

  /** Executes code at PC (offset pcOff in the RAM page at pageOff) if it is cold, unless PENDING has to be looked at first. @returns false if it is not, or no such code */
  run(cpu: GuestCpu, pageOff: number, pcOff: number): boolean {
    if (this.execute === null || cpu.runFirst === undefined || !this.is(cpu, pageOff / PAGE, pcOff)) return false;
    if (cpu.V[Slot.PENDING * 2] !== 0 || cpu.V[Slot.PENDING * 2 + 1] !== 0) return true;
    const n = cpu.runFirst(pageOff, this.execute);
    this.stats.firstRuns += n;
    if (n !== 0) this.ran = true;
    return n !== 0;
  }

  /** Code at `offset` of a RAM page, which is about to run, has been met less than COLD_COUNT_LIMIT times. */
  is(cpu: GuestCpu, page: number, offset: number): boolean {
    this.any = true;
    return cpu.U8[ColdAt.COUNTS + coldCount(page, offset)]! < COLD_COUNT_LIMIT;
  }

  /** There is generated code for it now: it is not cold, however often it has been met. */
  translated(cpu: GuestCpu, page: number, offset: number): void {
    if (!this.any) return;
    if (this.translations++ >= MOST) {
      this.clear();
      this.any = true;
    }
    cpu.U8[ColdAt.COUNTS + coldCount(page, offset)] = COLD_COUNT_LIMIT;
  }

  clear(): void {
    if (this.any) for (const c of this.cpus) c.U8.fill(0, ColdAt.COUNTS, ColdAt.COUNTS + COLD_COUNTS);
    this.any = false;
    this.translations = 0;
  }
}
