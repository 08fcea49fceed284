/**
 * The part of Microsoft's hypervisor interface that guests use to keep time: reference counter, reference TSC page, frequencies, synthetic
 * timers with their interrupt controller (synic.ts), and what a guest insists on before it uses those (identity, hypercall page, VP index). Hypervisor Top Level Functional Specification
 * (TLFS) 6.0: 2.4 (CPUID leaves), 3.13 (hypercall page), 12.5-12.7 (reference time), 7.8.1 (VP index). The hypercall page
 * answers every call with HV_STATUS_INVALID_HYPERCALL_CODE: none is offered.
 */
import type { PhysicalMap } from '../../cpu.js';
import type { ParavirtMsrs } from './msr.js';
import { Synic, SYNIC_HINTS, SYNIC_MISC, SYNIC_PRIVILEGES, type SynicOptions } from './synic.js';

const enum HvMsr {
  GUEST_OS_ID = 0x4000_0000,
  HYPERCALL = 0x4000_0001,
  VP_INDEX = 0x4000_0002,
  RESET = 0x4000_0003,
  TIME_REF_COUNT = 0x4000_0020,
  REFERENCE_TSC = 0x4000_0021,
  TSC_FREQUENCY = 0x4000_0022,
  APIC_FREQUENCY = 0x4000_0023,
  VP_ASSIST_PAGE = 0x4000_0073,
}

/** Partition privileges, leaf 0x40000003 EAX: reference counter, hypercall MSRs, VP index, reset, reference TSC, frequencies. */
export const HV_PRIVILEGES = (1 << 1) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 9) | (1 << 11) | SYNIC_PRIVILEGES;
/** Leaf 0x40000003 EDX: the frequency MSRs exist. */
export const HV_MISC = (1 << 8) | SYNIC_MISC;
/** Leaf 0x40000004 EAX: do not treat late timer interrupts as a failure. */
export const HV_HINTS = (1 << 5) | SYNIC_HINTS;

const PAGE = 4096;
const ENABLE = 1;
/** mov eax, HV_STATUS_INVALID_HYPERCALL_CODE; xor edx, edx; ret: the result is in RAX, or in EDX:EAX outside of long mode. */
const NO_CALL = [0xb8, 2, 0, 0, 0, 0x31, 0xd2, 0xc3];

export interface HyperVOptions {
  map: PhysicalMap;
  tscKHz: number;
  apicKHz: number;
  /** Ticks of the counter that the time-stamp counters of all CPUs are made from, below 2^53: nothing that the guest writes moves it. */
  ticks: () => number;
  /** The time-stamp counter of CPU 0 as the guest reads it, below 2^53. */
  tsc: () => number;
  /** What the SynIC of CPU `index` needs besides. */
  synic: (index: number) => Pick<SynicOptions, 'timer' | 'interrupt' | 'autoEoi'>;
  /** The guest resets the machine. */
  reset: () => void;
}

/** What all CPUs share. */
export class HyperV {
  /** 2^64 times units of 100 ns per tick. */
  private readonly scale: bigint;
  private osLo = 0;
  private osHi = 0;
  private callLo = 0;
  private callHi = 0;
  private tscLo = 0;
  private tscHi = 0;
  private sequence = 0;

  constructor(private readonly o: HyperVOptions) {
    this.scale = ((1n << 64n) * 10_000n) / BigInt(Math.round(o.tscKHz));
  }

  /** In units of 100 ns. */
  private time(ticks: number): bigint {
    return (BigInt(Math.floor(ticks)) * this.scale) >> 64n;
  }

  /** The view that CPU `index` has of it. */
  cpu(index: number): ParavirtMsrs {
    let assistLo = 0;
    let assistHi = 0;
    const synic = new Synic({ map: this.o.map, time: () => this.time(this.o.ticks()), ...this.o.synic(index) });
    return {
      readMsr: (msr, out) => {
        if (msr === (HvMsr.VP_INDEX as number)) this.put(out, BigInt(index));
        else if (msr === (HvMsr.VP_ASSIST_PAGE as number)) {
          out.lo = assistLo;
          out.hi = assistHi;
        } else return synic.read(msr, out) || this.read(msr, out);
        return true;
      },
      writeMsr: (msr, lo, hi) => {
        if (msr !== (HvMsr.VP_ASSIST_PAGE as number)) return synic.write(msr, lo, hi) || this.write(msr, lo, hi);
        assistLo = lo;
        assistHi = hi;
        return true;
      },
      reset: () => {
        assistLo = assistHi = 0;
        synic.reset();
        if (index === 0) this.reset();
      },
    };
  }

  private reset(): void {
    this.osLo = this.osHi = this.callLo = this.callHi = this.tscLo = this.tscHi = 0;
  }

  private put(out: { lo: number; hi: number }, v: bigint): void {
    out.lo = Number(BigInt.asIntN(32, v));
    out.hi = Number(BigInt.asIntN(32, v >> 32n));
  }

  private read(msr: number, out: { lo: number; hi: number }): boolean {
    switch (msr as HvMsr) {
      case HvMsr.GUEST_OS_ID:
        out.lo = this.osLo;
        out.hi = this.osHi;
        return true;
      case HvMsr.HYPERCALL:
        out.lo = this.callLo;
        out.hi = this.callHi;
        return true;
      case HvMsr.REFERENCE_TSC:
        out.lo = this.tscLo;
        out.hi = this.tscHi;
        return true;
      case HvMsr.TIME_REF_COUNT:
        this.put(out, this.time(this.o.ticks()));
        return true;
      case HvMsr.TSC_FREQUENCY:
        this.put(out, BigInt(Math.round(this.o.tscKHz)) * 1000n);
        return true;
      case HvMsr.APIC_FREQUENCY:
        this.put(out, BigInt(Math.round(this.o.apicKHz)) * 1000n);
        return true;
      case HvMsr.RESET:
        out.lo = out.hi = 0;
        return true;
      default:
        return false;
    }
  }

  private write(msr: number, lo: number, hi: number): boolean {
    switch (msr as HvMsr) {
      case HvMsr.GUEST_OS_ID:
        this.osLo = lo;
        this.osHi = hi;
        // Without an identity there is no hypercall page.
        if ((lo | hi) === 0) this.callLo &= ~ENABLE;
        return true;
      case HvMsr.HYPERCALL:
        if ((this.osLo | this.osHi) === 0) lo &= ~ENABLE;
        this.callLo = lo;
        this.callHi = hi;
        if (lo & ENABLE) this.writePage(lo, hi, (at) => this.o.map.ram8.set(NO_CALL, at));
        return true;
      case HvMsr.REFERENCE_TSC:
        this.tscLo = lo;
        this.tscHi = hi;
        if (lo & ENABLE) this.writePage(lo, hi, (at) => this.writeTscPage(at));
        return true;
      case HvMsr.RESET:
        if (lo & 1) this.o.reset();
        return true;
      default:
        return false;
    }
  }

  /** Calls `fill` with the RAM offset of the page, if it is RAM. */
  private writePage(lo: number, hi: number, fill: (at: number) => void): void {
    const { map } = this.o;
    const pa = (hi >>> 0) * 0x1_0000_0000 + ((lo & ~(PAGE - 1)) >>> 0);
    if (pa >= 2 ** 52) return;
    const at = map.pageOffset(pa);
    if (at < 0 || map.isRom(pa)) return;
    if (map.codePages[at >>> 12]) map.onCodeWrite(at, PAGE);
    fill(at);
  }

  /** HV_REFERENCE_TSC_PAGE: sequence, 0, 64-bit scale, 64-bit offset. Time is ((TSC * scale) >> 64) + offset. */
  private writeTscPage(at: number): void {
    const { ramView, ram32 } = this.o.map;
    const words = ram32.subarray(at >>> 2);
    // 0 means: use the MSR. A guest on another CPU may be reading.
    Atomics.store(words, 0, 0);
    ramView.setInt32(at + 4, 0, true);
    ramView.setBigUint64(at + 8, this.scale, true);
    ramView.setBigInt64(at + 16, BigInt.asIntN(64, this.time(this.o.ticks()) - this.time(this.o.tsc())), true);
    this.sequence = (this.sequence % 0x7fff_fffe) + 1;
    Atomics.store(words, 0, this.sequence);
  }
}
