/**
 * The firmware behind HVC and SMC: PSCI 1.1 (ARM DEN 0022) by the SMC calling convention (ARM DEN 0028). Arguments in X0..X3, the
 * result in X0.
 */
import type { Arm64Cpu } from './cpu.js';
import { A } from './regs.js';

const enum Status { SUCCESS = 0, NOT_SUPPORTED = -1, INVALID_PARAMETERS = -2, ALREADY_ON = -4 }

/** Function identifiers; the 64-bit variants have bit 30 set. */
const enum Fn {
  VERSION = 0x8400_0000,
  CPU_SUSPEND = 0x8400_0001,
  CPU_OFF = 0x8400_0002,
  CPU_ON = 0x8400_0003,
  AFFINITY_INFO = 0x8400_0004,
  MIGRATE_INFO_TYPE = 0x8400_0006,
  SYSTEM_OFF = 0x8400_0008,
  SYSTEM_RESET = 0x8400_0009,
  FEATURES = 0x8400_000a,
  SYSTEM_RESET2 = 0x8400_0012,
}
const SMCCC_VERSION = 0x8000_0000;
const SMC64 = 0x4000_0000;
const PSCI_1_1 = 0x1_0001;

const KNOWN = new Set<number>([
  Fn.VERSION, Fn.CPU_SUSPEND, Fn.CPU_OFF, Fn.CPU_ON, Fn.AFFINITY_INFO, Fn.MIGRATE_INFO_TYPE, Fn.SYSTEM_OFF, Fn.SYSTEM_RESET, Fn.FEATURES, Fn.SYSTEM_RESET2,
]);
/** Those that exist with 64-bit arguments too. */
const WIDE = new Set<number>([Fn.CPU_SUSPEND, Fn.CPU_ON, Fn.AFFINITY_INFO, Fn.SYSTEM_RESET2]);

export interface PsciOptions {
  cpus: readonly Arm64Cpu[];
  powerOff: () => void;
  reset: () => void;
  /** A CPU has been switched on. */
  started: () => void;
}

export class Psci {
  constructor(private readonly o: PsciOptions) {}

  /** Handles the call whose arguments are in the CPU's registers; PC is at the next instruction. */
  call(c: Arm64Cpu): void {
    const V = c.V;
    const arg = (n: number): number => {
      const s = (A.X0 + n) * 2;
      return (V[s + 1]! >>> 0) * 0x1_0000_0000 + (V[s]! >>> 0);
    };
    const id = V[A.X0 * 2]! >>> 0;
    const r = this.run(c, id, arg);
    c.setSlot(A.X0, r, r >> 31);
  }

  private supported(id: number): boolean {
    const base = (id & ~SMC64) >>> 0;
    return KNOWN.has(base) && ((id & SMC64) === 0 || WIDE.has(base));
  }

  private run(c: Arm64Cpu, id: number, arg: (n: number) => number): number {
    if (id === SMCCC_VERSION) return 0x1_0001;
    if (!this.supported(id)) return Status.NOT_SUPPORTED;
    switch (((id & ~SMC64) >>> 0) as Fn) {
      case Fn.VERSION:
        return PSCI_1_1;
      case Fn.FEATURES: {
        const f = arg(1) >>> 0;
        return this.supported(f) || f === SMCCC_VERSION ? Status.SUCCESS : Status.NOT_SUPPORTED;
      }
      case Fn.CPU_SUSPEND:
        // Standby: as WFI.
        if (!c.intc.irq && !c.intc.fiq) c.halted = true;
        return Status.SUCCESS;
      case Fn.CPU_OFF:
        c.off = true;
        c.halted = true;
        c.updateIrq();
        return Status.SUCCESS;
      case Fn.CPU_ON:
        return this.cpuOn(arg(1), arg(2), arg(3));
      case Fn.AFFINITY_INFO: {
        const t = this.find(arg(1));
        return t === undefined ? Status.INVALID_PARAMETERS : t.off ? 1 : 0;
      }
      case Fn.MIGRATE_INFO_TYPE:
        // No Trusted OS to migrate.
        return 2;
      case Fn.SYSTEM_OFF:
        this.o.powerOff();
        return Status.SUCCESS;
      default:
        this.o.reset();
        return Status.SUCCESS;
    }
  }

  private find(mpidr: number): Arm64Cpu | undefined {
    return this.o.cpus.find((t) => t.affinity === mpidr % 0x100_0000);
  }

  private cpuOn(mpidr: number, entry: number, context: number): number {
    const t = this.find(mpidr);
    if (t === undefined) return Status.INVALID_PARAMETERS;
    if (!t.off) return Status.ALREADY_ON;
    t.reset();
    t.off = false;
    t.halted = false;
    t.startAt(entry, context);
    this.o.started();
    return Status.SUCCESS;
  }
}
