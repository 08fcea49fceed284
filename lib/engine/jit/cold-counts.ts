/** How often code has been met, for CPUs that execute cold code without translating it (docs/adr/0070): counted by generated code, in the state region. */
import { COLD_COUNT_LIMIT, coldCount, COLD_COUNTS, ColdAt } from '../cold-state.js';
import type { GuestCpu } from '../cpu.js';

/** So many translations, and counting begins anew: code of which another address has the same place shares its count, and no guest is to end up with all of them reached. */
const MOST = COLD_COUNTS >> 2;

export class ColdCounts {
  /** Something has been counted. */
  private any = false;
  private translations = 0;

  constructor(private readonly cpus: readonly GuestCpu[]) {}

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
