/**
 * Doorbells (IoHandler.doorbells) that ring without an exit: KVM_IOEVENTFD (Linux Documentation/virt/kvm/api.rst). A thread of the
 * addon waits for them and wakes the machine's, which does what the write would have done.
 */
import type { Doorbell } from '../../devices/device.js';
import type { PhysicalMemory } from '../../memory/physical.js';
import type { NativeAddon, NativeKvm, NativeMemory } from '../../native.js';

/** More doorbells than that exit as ever. */
const BELLS = 256;
const WORDS = BELLS / 32;

interface Hung {
  readonly pa: number;
  readonly bell: Doorbell;
  readonly n: number;
}

export class Doorbells {
  private readonly memory: NativeMemory;
  private readonly words: Int32Array;
  private hung: Hung[] = [];
  private readonly free: number[] = Array.from({ length: BELLS }, (_, n) => BELLS - 1 - n);
  private readonly byNumber: (Doorbell | null)[] = new Array<Doorbell | null>(BELLS).fill(null);
  private changed = true;
  /** How often one has rung. */
  rings = 0;

  constructor(
    private readonly native: NativeAddon,
    private readonly vm: NativeKvm,
    private readonly map: PhysicalMemory,
    contextId: number,
  ) {
    this.memory = native.allocState(4096);
    this.words = new Int32Array(this.memory.buffer);
    vm.bells(this.memory, BELLS, contextId);
  }

  /** The memory map has changed. */
  invalidate(): void {
    this.changed = true;
  }

  /** Brings KVM up to date. */
  apply(): void {
    if (!this.changed) return;
    this.changed = false;
    const want = this.map.doorbells();
    const same = (h: Hung, w: { pa: number; bell: Doorbell }): boolean => h.pa === w.pa && h.bell === w.bell;
    const kept = this.hung.filter((h) => want.some((w) => same(h, w)));
    for (const h of this.hung) {
      if (kept.includes(h)) continue;
      this.vm.ioeventfd(h.n, h.pa, h.bell.bytes, h.bell.match, false, false);
      this.byNumber[h.n] = null;
      this.free.push(h.n);
    }
    const taken = new Set(kept.map((h) => `${h.pa} ${h.bell.match}`));
    for (const { pa, bell } of want) {
      // Windows may lie over each other: the first is the one that counts.
      if (this.hung.some((h) => same(h, { pa, bell })) || taken.has(`${pa} ${bell.match}`)) continue;
      const n = this.free.pop();
      if (n === undefined) break;
      taken.add(`${pa} ${bell.match}`);
      this.vm.ioeventfd(n, pa, bell.bytes, bell.match, false, true);
      this.byNumber[n] = bell;
      kept.push({ pa, bell, n });
    }
    this.hung = kept;
  }

  /** Serves those that have rung. */
  serve(): void {
    for (let w = 0; w < WORDS; w++) {
      if (this.words[w] === 0) continue;
      for (let bits = Atomics.exchange(this.words, w, 0); bits !== 0; bits &= bits - 1) {
        this.rings++;
        this.byNumber[w * 32 + 31 - Math.clz32(bits & -bits)]?.ring();
      }
    }
  }

  /** After the virtual machine. */
  dispose(): void {
    this.native.free(this.memory);
  }
}
