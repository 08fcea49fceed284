/**
 * kvm-clock: the paravirtual clock that Linux and BSD guests use when leaf 0x40000001 offers it (Linux
 * Documentation/virt/kvm/x86/msr.rst, MSRs 0x4b564d00, 0x4b564d01, 0x11, 0x12). The guest gives an address; the structure
 * there relates the time-stamp counter to nanoseconds.
 */
import type { GuestClock, PhysicalMap } from '../../cpu.js';
import type { ParavirtMsrs } from './msr.js';

const WALL_CLOCK_OLD = 0x11;
const SYSTEM_TIME_OLD = 0x12;
const WALL_CLOCK = 0x4b56_4d00;
const SYSTEM_TIME = 0x4b56_4d01;

/** flags: the counters of all CPUs agree. */
const TSC_STABLE = 1;

export interface PvClockOptions {
  map: PhysicalMap;
  clock: GuestClock;
  tscKHz: number;
  /** Reads the guest's time-stamp counter. */
  tsc: (out: { lo: number; hi: number }) => void;
  /** Host wall clock in milliseconds since 1970. */
  wallMs?: () => number;
}

export class PvClock implements ParavirtMsrs {
  private sysLo = 0;
  private sysHi = 0;
  private wallLo = 0;
  private wallHi = 0;
  private version = 0;
  private readonly mul: number;
  private readonly shift: number;
  private readonly stamp = { lo: 0, hi: 0 };

  constructor(private readonly o: PvClockOptions) {
    // ns = ((tsc << shift) * mul) >> 32 with mul in [2^31, 2^32).
    let ratio = 1e6 / o.tscKHz;
    let shift = 0;
    while (ratio >= 1) {
      ratio /= 2;
      shift++;
    }
    while (ratio < 0.5) {
      ratio *= 2;
      shift--;
    }
    this.shift = shift;
    this.mul = Math.min(0xffff_ffff, Math.floor(ratio * 4294967296));
  }

  reset(): void {
    this.sysLo = this.sysHi = this.wallLo = this.wallHi = 0;
  }

  readMsr(msr: number, out: { lo: number; hi: number }): boolean {
    if (msr === SYSTEM_TIME || msr === SYSTEM_TIME_OLD) {
      out.lo = this.sysLo;
      out.hi = this.sysHi;
    } else if (msr === WALL_CLOCK || msr === WALL_CLOCK_OLD) {
      out.lo = this.wallLo;
      out.hi = this.wallHi;
    } else return false;
    return true;
  }

  writeMsr(msr: number, lo: number, hi: number): boolean {
    if (msr === SYSTEM_TIME || msr === SYSTEM_TIME_OLD) {
      this.sysLo = lo;
      this.sysHi = hi;
      this.update();
    } else if (msr === WALL_CLOCK || msr === WALL_CLOCK_OLD) {
      this.wallLo = lo;
      this.wallHi = hi;
      this.writeWall();
    } else return false;
    return true;
  }

  /** Byte offset in RAM of a guest structure, or -1 if it is not plain RAM within one page. */
  private at(lo: number, hi: number, bytes: number): number {
    const pa = hi * 4294967296 + (lo >>> 0);
    if (hi < 0 || (lo & 0xfff) + bytes > 4096 || lo & 3) return -1;
    const off = this.o.map.pageOffset(pa);
    if (off < 0 || this.o.map.isRom(pa)) return -1;
    const p = off + (lo & 0xfff);
    if (this.o.map.codePages[off >>> 12]) this.o.map.onCodeWrite(p, bytes);
    return p;
  }

  /**
   * Writes struct pvclock_vcpu_time_info: version (odd while it changes), pad, tsc_timestamp, system_time, tsc_to_system_mul,
   * tsc_shift, flags. Call it again after the clock stood still or jumped.
   */
  update(): void {
    if (!(this.sysLo & 1)) return;
    const p = this.at(this.sysLo & ~1, this.sysHi, 32);
    if (p < 0) return;
    const v = this.o.map.ramView;
    const i = p >>> 2;
    // A guest on another CPU may be reading: the version is published with ordered accesses.
    this.version = (this.version + 1) | 1;
    Atomics.store(this.o.map.ram32, i, this.version);
    this.o.tsc(this.stamp);
    const ns = this.o.clock.now();
    v.setInt32(p + 4, 0, true);
    v.setInt32(p + 8, this.stamp.lo, true);
    v.setInt32(p + 12, this.stamp.hi, true);
    v.setInt32(p + 16, ns | 0, true);
    v.setInt32(p + 20, Math.floor(ns / 4294967296), true);
    v.setUint32(p + 24, this.mul, true);
    v.setInt8(p + 28, this.shift);
    v.setUint8(p + 29, TSC_STABLE);
    v.setUint16(p + 30, 0, true);
    this.version++;
    Atomics.store(this.o.map.ram32, i, this.version);
  }

  /** Writes struct pvclock_wall_clock: version, seconds, nanoseconds of the wall clock at machine start. */
  private writeWall(): void {
    const p = this.at(this.wallLo, this.wallHi, 12);
    if (p < 0) return;
    const ns = (this.o.wallMs ?? Date.now)() * 1e6 - this.o.clock.now();
    const v = this.o.map.ramView;
    const ver = v.getInt32(p, true) & ~1;
    v.setInt32(p, ver + 1, true);
    v.setUint32(p + 4, Math.floor(ns / 1e9), true);
    v.setUint32(p + 8, Math.floor(ns % 1e9), true);
    v.setInt32(p, ver + 2, true);
  }
}
