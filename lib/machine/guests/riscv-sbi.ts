/**
 * The machine's own supervisor execution environment, for when there is no OpenSBI: what a kernel in S-mode asks for by ECALL is answered here,
 * so no M-mode code runs at all (RISC-V Supervisor Binary Interface Specification 2.0). Extensions: Base, TIME, IPI, RFENCE, HSM, SRST, DBCN and, of the
 * legacy ones, set_timer, console_putchar, console_getchar, clear_ipi and shutdown.
 */
import type { RiscvCpu } from '../../engine/guest/riscv/cpu.js';
import { Irq } from '../../engine/guest/riscv/defs.js';
import { Slot } from '../../engine/state.js';
import type { PhysicalMemory } from '../../memory/physical.js';

/** Chapter 3, table 1. */
const enum Err { SUCCESS = 0, FAILED = -1, NOT_SUPPORTED = -2, INVALID_PARAM = -3, INVALID_ADDRESS = -5, ALREADY_AVAILABLE = -6 }
const enum Ext {
  SET_TIMER = 0, PUTCHAR = 1, GETCHAR = 2, CLEAR_IPI = 3, SHUTDOWN = 8,
  BASE = 0x10, TIME = 0x5449_4d45, IPI = 0x73_5049, RFENCE = 0x5246_4e43, HSM = 0x48_534d, SRST = 0x5352_5354, DBCN = 0x4442_434e,
}
const EXTENSIONS: readonly number[] = [Ext.SET_TIMER, Ext.PUTCHAR, Ext.GETCHAR, Ext.CLEAR_IPI, Ext.SHUTDOWN, Ext.BASE, Ext.TIME, Ext.IPI, Ext.RFENCE, Ext.HSM, Ext.SRST, Ext.DBCN];
/** Chapter 4. The implementation's number is not one of those that are assigned: "VMX". */
const SPEC_VERSION = 0x200_0000;
const IMPLEMENTATION = 0x56_4d58;
const IMPLEMENTATION_VERSION = 1;
/** Chapter 9. */
const enum HartState { STARTED = 0, STOPPED = 1, SUSPENDED = 4 }
const DEFAULT_RETENTIVE = 0;
/** Chapter 10. */
const enum Reset { SHUTDOWN = 0, COLD = 1, WARM = 2 }
const SYSTEM_FAILURE = 1;
/** Bytes that one call writes at most; the caller sees how many and asks again. */
const MAX_WRITE = 65_536;
/** More pages than that are a flush of all. */
const MAX_PAGES = 16;
const PAGE = 4096;
const MAX_ADDRESS = 2 ** 52;

const A0 = Slot.GPR + 10;

export interface SbiHost {
  readonly memory: PhysicalMemory;
  /** Another hart has something to do. */
  hurryTo(hart: number): void;
  write(bytes: Uint8Array): void;
  /** A byte that was typed, -1 if there is none. */
  read(): number;
  powerOff(): void;
  reset(): void;
  exit(status: number): void;
}

export class Sbi {
  private readonly state: HartState[];
  private error: Err = Err.SUCCESS;
  private valueLo = 0;
  private valueHi = 0;

  constructor(
    private readonly harts: readonly RiscvCpu[],
    private readonly host: SbiHost,
  ) {
    this.state = harts.map(() => HartState.STOPPED);
    for (const h of harts) h.onSbi = (): void => this.call(h);
  }

  /** After a reset of all harts: the first one begins at `entry` with the device tree's address, the others wait to be started. */
  boot(entry: number, tree: number): void {
    this.harts.forEach((h, i) => {
      this.state[i] = i === 0 ? HartState.STARTED : HartState.STOPPED;
      h.startSupervisor(entry | 0, Math.floor(entry / 2 ** 32) | 0, tree | 0, Math.floor(tree / 2 ** 32) | 0);
      if (i !== 0) h.halted = true;
    });
  }

  /** Word of argument register a0 + n. */
  private lo(h: RiscvCpu, n: number): number {
    return h.V[(A0 + n) * 2]!;
  }
  private hi(h: RiscvCpu, n: number): number {
    return h.V[(A0 + n) * 2 + 1]!;
  }
  /** Argument as a number; what is above 2^53 is no address, size or count and becomes one that is refused. */
  private arg(h: RiscvCpu, n: number): number {
    return (this.hi(h, n) >>> 0) * 2 ** 32 + (this.lo(h, n) >>> 0);
  }

  private call(h: RiscvCpu): void {
    const ext = this.hi(h, 7) === 0 ? this.lo(h, 7) : -1;
    const fid = this.hi(h, 6) === 0 ? this.lo(h, 6) : -1;
    // Whoever calls is awake.
    this.state[h.index] = HartState.STARTED;
    this.error = Err.SUCCESS;
    this.valueLo = this.valueHi = 0;
    if (ext >= 0 && ext < Ext.BASE) {
      h.setReg(A0, this.legacy(h, ext), 0);
      // The result is a signed number.
      h.V[A0 * 2 + 1] = h.V[A0 * 2]! >> 31;
      return;
    }
    this.dispatch(h, ext, fid);
    h.setReg(A0, this.error, this.error >> 31);
    h.setReg(A0 + 1, this.valueLo, this.valueHi);
  }

  private dispatch(h: RiscvCpu, ext: number, fid: number): void {
    switch (ext as Ext) {
      case Ext.BASE:
        this.base(h, fid);
        break;
      case Ext.TIME:
        if (fid === 0) this.setTimer(h);
        else this.error = Err.NOT_SUPPORTED;
        break;
      case Ext.IPI:
        if (fid !== 0) this.error = Err.NOT_SUPPORTED;
        else this.toHarts(h, 0, (t) => this.interrupt(t));
        break;
      case Ext.RFENCE:
        this.fence(h, fid);
        break;
      case Ext.HSM:
        this.hsm(h, fid);
        break;
      case Ext.SRST:
        if (fid === 0) this.systemReset(h);
        else this.error = Err.NOT_SUPPORTED;
        break;
      case Ext.DBCN:
        this.console(h, fid);
        break;
      default:
        this.error = Err.NOT_SUPPORTED;
    }
  }

  private legacy(h: RiscvCpu, ext: number): number {
    switch (ext as Ext) {
      case Ext.SET_TIMER:
        this.setTimer(h);
        return 0;
      case Ext.PUTCHAR:
        this.host.write(Uint8Array.of(this.lo(h, 0) & 0xff));
        return 0;
      case Ext.GETCHAR:
        return this.host.read();
      case Ext.CLEAR_IPI:
        h.csr.soft &= ~Irq.SSI;
        h.updateIntr();
        return 0;
      case Ext.SHUTDOWN:
        this.host.powerOff();
        return 0;
      default:
        return Err.NOT_SUPPORTED;
    }
  }

  private base(h: RiscvCpu, fid: number): void {
    // Version, implementation and its version, probe, mvendorid, marchid, mimpid.
    const values = [SPEC_VERSION, IMPLEMENTATION, IMPLEMENTATION_VERSION, this.hi(h, 0) === 0 && EXTENSIONS.includes(this.lo(h, 0)) ? 1 : 0, 0, 0, 0];
    const v = values[fid];
    if (v === undefined) this.error = Err.NOT_SUPPORTED;
    else this.valueLo = v;
  }

  private setTimer(h: RiscvCpu): void {
    h.csr.stimecmpLo = this.lo(h, 0);
    h.csr.stimecmpHi = this.hi(h, 0);
    h.armTimer();
    h.updateIntr();
  }

  private interrupt(t: RiscvCpu): void {
    t.csr.soft |= Irq.SSI;
    t.updateIntr();
    this.host.hurryTo(t.index);
  }

  /** Chapter 3.1: mask in argument n, its first hart in the next one; -1 there means all. Stopped harts are left out. */
  private toHarts(h: RiscvCpu, n: number, what: (t: RiscvCpu) => void): void {
    const all = this.lo(h, n + 1) === -1 && this.hi(h, n + 1) === -1;
    const base = this.arg(h, n + 1);
    const chosen: RiscvCpu[] = [];
    for (let bit = 0; bit < 64 && !all; bit++) {
      if (((bit < 32 ? this.lo(h, n) : this.hi(h, n)) >>> (bit & 31) & 1) === 0) continue;
      const t = this.harts[base + bit];
      if (t === undefined) {
        this.error = Err.INVALID_PARAM;
        return;
      }
      chosen.push(t);
    }
    for (const t of all ? this.harts : chosen) if (this.state[t.index] !== HartState.STOPPED) what(t);
  }

  private fence(h: RiscvCpu, fid: number): void {
    // fence_i: translated code never is out of date. 3 to 6 are for hypervisors, which this CPU cannot be.
    if (fid === 0) this.toHarts(h, 0, () => {});
    else if (fid === 1 || fid === 2) {
      const start = this.arg(h, 2);
      const size = this.arg(h, 3);
      const pages = Math.ceil(((start % PAGE) + size) / PAGE);
      const few = (start !== 0 || size !== 0) && pages <= MAX_PAGES;
      this.toHarts(h, 0, (t) => {
        if (!few) {
          t.mmu.flushAll();
          return;
        }
        let [lo, hi] = [this.lo(h, 2) & -PAGE, this.hi(h, 2)];
        for (let i = 0; i < pages; i++) {
          t.mmu.flushPage(lo, hi);
          lo = (lo + PAGE) | 0;
          if (lo === 0) hi = (hi + 1) | 0;
        }
      });
    } else this.error = Err.NOT_SUPPORTED;
  }

  private hsm(h: RiscvCpu, fid: number): void {
    if (fid === 1) {
      this.state[h.index] = HartState.STOPPED;
      h.csr.mie = 0;
      h.updateIntr();
      h.halted = true;
    } else if (fid === 3) {
      if (this.arg(h, 0) !== DEFAULT_RETENTIVE) this.error = Err.NOT_SUPPORTED;
      // As WFI does; where it goes on, it has been resumed.
      else if (!h.wakes()) {
        h.halted = true;
        this.state[h.index] = HartState.SUSPENDED;
      }
    } else if (fid === 0 || fid === 2) {
      const id = this.arg(h, 0);
      const t = this.harts[id];
      if (t === undefined) this.error = Err.INVALID_PARAM;
      else if (fid === 0) this.start(h, t);
      else this.valueLo = this.state[id] === HartState.SUSPENDED && !t.halted ? HartState.STARTED : this.state[id]!;
    } else this.error = Err.NOT_SUPPORTED;
  }

  private start(h: RiscvCpu, t: RiscvCpu): void {
    if (this.state[t.index] !== HartState.STOPPED) {
      this.error = Err.ALREADY_AVAILABLE;
      return;
    }
    const at = this.arg(h, 1);
    if (at % 2 !== 0 || at >= MAX_ADDRESS || this.host.memory.pageOffset(at) < 0) {
      this.error = Err.INVALID_ADDRESS;
      return;
    }
    this.state[t.index] = HartState.STARTED;
    t.startSupervisor(this.lo(h, 1), this.hi(h, 1), this.lo(h, 2), this.hi(h, 2));
    this.host.hurryTo(t.index);
  }

  private systemReset(h: RiscvCpu): void {
    const type = this.arg(h, 0);
    if (type === Reset.SHUTDOWN) {
      if (this.arg(h, 1) === SYSTEM_FAILURE) this.host.exit(1);
      else this.host.powerOff();
    } else if (type === Reset.COLD || type === Reset.WARM) this.host.reset();
    else this.error = Err.INVALID_PARAM;
  }

  private console(h: RiscvCpu, fid: number): void {
    if (fid === 2) {
      this.host.write(Uint8Array.of(this.lo(h, 0) & 0xff));
      return;
    }
    if (fid !== 0 && fid !== 1) {
      this.error = Err.NOT_SUPPORTED;
      return;
    }
    const at = this.arg(h, 1);
    // The high half of a physical address of 128 bits.
    if (this.lo(h, 2) !== 0 || this.hi(h, 2) !== 0 || at >= MAX_ADDRESS) {
      this.error = Err.INVALID_PARAM;
      return;
    }
    const bytes = new Uint8Array(Math.min(this.arg(h, 0), MAX_WRITE));
    // For a read as well: what is not RAM must not lose input.
    if (!this.host.memory.readInto(at, bytes)) {
      this.error = Err.INVALID_PARAM;
      return;
    }
    if (fid === 0) {
      this.host.write(bytes);
      this.valueLo = bytes.length;
      return;
    }
    let n = 0;
    while (n < bytes.length) {
      const c = this.host.read();
      if (c < 0) break;
      bytes[n++] = c;
    }
    this.host.memory.writeFrom(at, bytes.subarray(0, n));
    this.valueLo = n;
  }
}
