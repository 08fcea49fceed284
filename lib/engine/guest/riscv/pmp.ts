/** Physical memory protection (vol. II, 3.7): sixteen entries, granularity 4 bytes. */
import { Acc } from '../soft-mmu.js';
import { Priv } from './defs.js';

export const PMP_ENTRIES = 16;
const enum Cfg { R = 1, W = 2, X = 4, A = 0x18, TOR = 0x08, NA4 = 0x10, NAPOT = 0x18, L = 0x80 }
/** Implemented address bits: 54, of which numbers hold 50 (2^52 bytes). */
const ADDR_HI = 0x3f_ffff;

export class Pmp {
  readonly cfg = new Uint8Array(PMP_ENTRIES);
  readonly addrLo = new Int32Array(PMP_ENTRIES);
  readonly addrHi = new Int32Array(PMP_ENTRIES);
  /** Regions in effect: [start, end). */
  private readonly start = new Float64Array(PMP_ENTRIES);
  private readonly end = new Float64Array(PMP_ENTRIES);
  /** Some entry is switched on. */
  private used = false;
  /** Some entry binds M-mode, too. */
  private locked = false;

  reset(): void {
    this.cfg.fill(0);
    this.addrLo.fill(0);
    this.addrHi.fill(0);
    this.update();
  }

  /** Writes one byte of pmpcfg; locked entries keep theirs. W without R is reserved and stays what it was. */
  setCfg(i: number, v: number): void {
    if (i >= PMP_ENTRIES || this.cfg[i]! & Cfg.L) return;
    if ((v & (Cfg.R | Cfg.W)) === Cfg.W) return;
    this.cfg[i] = v & ~0x60;
    this.update();
  }

  setAddr(i: number, lo: number, hi: number): void {
    if (i >= PMP_ENTRIES || this.cfg[i]! & Cfg.L) return;
    const above = i + 1 < PMP_ENTRIES ? this.cfg[i + 1]! : 0;
    if (above & Cfg.L && (above & Cfg.A) === Cfg.TOR) return;
    this.addrLo[i] = lo;
    this.addrHi[i] = hi & ADDR_HI;
    this.update();
  }

  private update(): void {
    this.used = this.locked = false;
    for (let i = 0; i < PMP_ENTRIES; i++) {
      const c = this.cfg[i]!;
      const lo = this.addrLo[i]! >>> 0;
      const hi = this.addrHi[i]!;
      const at = (hi * 2 ** 32 + lo) * 4;
      this.start[i] = this.end[i] = 0;
      switch (c & Cfg.A) {
        case Cfg.TOR:
          this.start[i] = i === 0 ? 0 : (this.addrHi[i - 1]! * 2 ** 32 + (this.addrLo[i - 1]! >>> 0)) * 4;
          this.end[i] = at;
          break;
        case Cfg.NA4:
          this.start[i] = at;
          this.end[i] = at + 4;
          break;
        case Cfg.NAPOT: {
          // Trailing ones say how large: n of them, 2^(n+3) bytes.
          const ones = lo === 0xffff_ffff ? 32 + (31 - Math.clz32(~hi & (hi + 1))) : 31 - Math.clz32(~lo & (lo + 1));
          const bytes = 2 ** (ones + 3);
          this.start[i] = Math.floor(at / bytes) * bytes;
          this.end[i] = this.start[i]! + bytes;
          break;
        }
        default:
          continue;
      }
      this.used = true;
      if (c & Cfg.L) this.locked = true;
    }
  }

  /** True if nothing restricts this privilege. */
  free(priv: Priv): boolean {
    return priv === Priv.M && !this.locked;
  }

  /** May [pa, pa + size) be accessed? The first entry that matches any byte decides, and must match all of them. */
  allows(pa: number, size: number, acc: Acc, priv: Priv): boolean {
    if (this.free(priv)) return true;
    if (this.used) {
      for (let i = 0; i < PMP_ENTRIES; i++) {
        if (pa >= this.end[i]! || pa + size <= this.start[i]!) continue;
        if (pa < this.start[i]! || pa + size > this.end[i]!) return false;
        const c = this.cfg[i]!;
        if (priv === Priv.M && !(c & Cfg.L)) return true;
        return (c & (acc === Acc.FETCH ? Cfg.X : acc === Acc.WRITE ? Cfg.W : Cfg.R)) !== 0;
      }
    }
    return priv === Priv.M;
  }

  /** True if one answer holds for all bytes from `start` on, by default of a page. */
  uniform(start: number, priv: Priv, bytes = 4096): boolean {
    if (!this.used || this.free(priv)) return true;
    for (let i = 0; i < PMP_ENTRIES; i++) {
      const s = this.start[i]!;
      const e = this.end[i]!;
      if (start >= e || start + bytes <= s) continue;
      return start >= s && start + bytes <= e;
    }
    return true;
  }
}
