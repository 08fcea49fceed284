/** The generic timer of one CPU: EL1 physical and virtual timers over one counter (Arm ARM, D11). */
import type { Arm64Cpu } from './cpu.js';

/** What the timers need of the machine: guest time and a one-shot alarm each. */
export interface TimerWiring {
  /** ns since machine start. */
  now(): number;
  /** Calls `expired` at time `deadline` (ns); Infinity disarms. k: 0 physical, 1 virtual, 2 performance monitors. */
  arm(k: number, deadline: number): void;
  /** Level of the interrupt of k. */
  line(k: number, level: boolean): void;
}

const enum Ctl { ENABLE = 1, IMASK = 2, ISTATUS = 4 }

/** The counter runs at 1 GHz: a tick is a nanosecond. */
const FREQUENCY = 1_000_000_000;

export class GenericTimer {
  readonly frequency = FREQUENCY;
  private readonly ctl = [0, 0];
  /** Compare values as low and high words, and as a number (approximate above 2^53, where nothing expires anyway). */
  private readonly cvalLo = new Int32Array(2);
  private readonly cvalHi = new Int32Array(2);
  private readonly cval = [0, 0];

  constructor(private readonly wiring: TimerWiring) {}

  reset(): void {
    for (let k = 0; k < 2; k++) {
      this.ctl[k] = 0;
      this.cvalLo[k] = this.cvalHi[k] = 0;
      this.cval[k] = 0;
      this.update(k);
    }
  }

  /** Guest time, whole ns. */
  now(): number {
    return Math.floor(this.wiring.now());
  }

  /** CNTPCT, CNTVCT to cpu.outLo, outHi. */
  count(cpu: Arm64Cpu): void {
    const t = this.now();
    cpu.outLo = t | 0;
    cpu.outHi = Math.floor(t / 0x1_0000_0000);
  }

  readTval(k: number): number {
    return (this.cval[k]! - this.now()) | 0;
  }

  writeTval(k: number, v: number): void {
    const t = this.now() + (v | 0);
    this.setCval(k, t | 0, Math.floor(t / 0x1_0000_0000));
  }

  readCval(k: number, cpu: Arm64Cpu): void {
    cpu.outLo = this.cvalLo[k]!;
    cpu.outHi = this.cvalHi[k]!;
  }

  writeCval(k: number, lo: number, hi: number): void {
    this.setCval(k, lo, hi);
  }

  private setCval(k: number, lo: number, hi: number): void {
    this.cvalLo[k] = lo;
    this.cvalHi[k] = hi;
    this.cval[k] = (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0);
    this.update(k);
  }

  readCtl(k: number): number {
    return this.ctl[k]! | (this.due(k) ? Ctl.ISTATUS : 0);
  }

  writeCtl(k: number, v: number): void {
    this.ctl[k] = v & 3;
    this.update(k);
  }

  private due(k: number): boolean {
    return (this.ctl[k]! & Ctl.ENABLE) !== 0 && this.now() >= this.cval[k]!;
  }

  /** The alarm of timer k went off, or its registers changed. */
  update(k: number): void {
    const on = (this.ctl[k]! & Ctl.ENABLE) !== 0;
    const due = this.due(k);
    this.wiring.line(k, due && (this.ctl[k]! & Ctl.IMASK) === 0);
    this.wiring.arm(k, on && !due && this.cval[k]! < 2 ** 53 ? this.cval[k]! : Infinity);
  }

  save(): number[] {
    return [0, 1].flatMap((k) => [this.ctl[k]!, this.cvalLo[k]!, this.cvalHi[k]!]);
  }

  restore(s: readonly number[]): void {
    for (let k = 0; k < 2; k++) {
      this.ctl[k] = s[k * 3]! & 3;
      this.setCval(k, s[k * 3 + 1]!, s[k * 3 + 2]!);
    }
  }
}
