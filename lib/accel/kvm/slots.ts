/**
 * Memory slots: the physical memory map as KVM sees it. The map changes while a guest runs (PAM registers, BARs, flash modes), so
 * it is compared and applied before a vCPU runs. RAM is one host mapping; ROM and flash are read-only slots whose writes exit.
 */
import { VmxError } from '../../errors.js';
import type { PhysicalMemory } from '../../memory/physical.js';
import type { NativeKvm, NativeMemory } from '../../native.js';
import { SlotFlag } from './layout.js';

interface MappedSlot {
  readonly pa: number;
  readonly bytes: number;
  readonly offset: number;
  readonly rom: boolean;
  /** Slot number. */
  readonly n: number;
}

const PAGE = 4096;

export class MemorySlots {
  private slots: MappedSlot[] = [];
  private readonly free: number[] = [];
  private next = 0;
  private changed = true;
  private readonly bitmap: Uint8Array;
  private readonly words: Int32Array;
  /** Writes of RAM slots are logged. */
  private logging = false;

  constructor(
    private readonly vm: NativeKvm,
    private readonly memory: PhysicalMemory,
    private readonly ram: NativeMemory,
  ) {
    this.bitmap = new Uint8Array(Math.ceil(ram.buffer.byteLength / PAGE / 64) * 8);
    this.words = new Int32Array(this.bitmap.buffer);
  }

  /** The map has changed. */
  invalidate(): void {
    this.changed = true;
  }

  private set(s: MappedSlot, on: boolean): void {
    const flags = s.rom ? SlotFlag.READONLY : this.logging ? SlotFlag.LOG_DIRTY : 0;
    this.vm.setSlot(s.n, s.pa, on ? s.bytes : 0, this.ram, s.offset, on ? flags : 0);
  }

  /** Brings KVM's slots up to date. No vCPU may be running. @throws VmxError ERR_KVM_SLOT when two ranges overlap */
  apply(): void {
    if (!this.changed) return;
    this.changed = false;
    const want = this.memory.ranges();
    for (let i = 1; i < want.length; i++) {
      const a = want[i - 1]!;
      if (a.pa + a.bytes > want[i]!.pa) throw new VmxError('ERR_KVM_SLOT', `memory at 0x${want[i]!.pa.toString(16)} overlaps memory at 0x${a.pa.toString(16)}`);
    }
    const same = (a: { pa: number; bytes: number; offset: number; rom: boolean }, b: { pa: number; bytes: number; offset: number; rom: boolean }): boolean =>
      a.pa === b.pa && a.bytes === b.bytes && a.offset === b.offset && a.rom === b.rom;
    const kept = this.slots.filter((s) => want.some((w) => same(s, w)));
    // Old ones first: slots must never overlap.
    for (const s of this.slots) {
      if (kept.includes(s)) continue;
      this.set(s, false);
      this.free.push(s.n);
    }
    for (const w of want) {
      if (kept.some((s) => same(s, w))) continue;
      const s = { ...w, n: this.free.pop() ?? this.next++ };
      this.set(s, true);
      kept.push(s);
    }
    this.slots = kept;
  }

  /**
   * Makes KVM drop all that it has made of the guest's page tables: it does when a slot goes, so one comes and goes behind the last one.
   * No vCPU may be running.
   */
  dropTranslations(): void {
    let end = 0;
    for (const s of this.slots) end = Math.max(end, s.pa + s.bytes);
    const n = this.free[this.free.length - 1] ?? this.next;
    this.vm.setSlot(n, end, PAGE, this.ram, 0, 0);
    this.vm.setSlot(n, end, 0, this.ram, 0, 0);
  }

  /** From now on, `collect` tells what was written. */
  log(on: boolean): void {
    if (this.logging === on) return;
    this.logging = on;
    for (const s of this.slots) if (!s.rom) this.set(s, true);
  }

  get logged(): boolean {
    return this.logging;
  }

  /** Calls back for each RAM slot with the pages written since the last call: one bit each, from ram offset `offset`. */
  collect(written: (offset: number, bitmap: Int32Array, pages: number) => void): void {
    for (const s of this.slots) {
      if (s.rom) continue;
      const pages = s.bytes / PAGE;
      this.vm.dirtyLog(s.n, this.bitmap, pages);
      written(s.offset, this.words, pages);
    }
  }
}
