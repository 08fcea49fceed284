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
/** Entries taken out of a ring at a time. */
const PAIRS = 1024;

/** A vCPU with a ring of written pages (NativeVcpu.harvest). */
export interface WrittenPages {
  harvest(pairs: Uint32Array): number;
}

export class MemorySlots {
  private slots: MappedSlot[] = [];
  private readonly free: number[] = [];
  private next = 0;
  private changed = true;
  private readonly bitmap: Uint8Array;
  private readonly words: Int32Array;
  /** Writes of RAM slots are logged. */
  private logging = false;
  private vcpus: readonly WrittenPages[] | null = null;
  private readonly pairs = new Uint32Array(2 * PAIRS);
  private readonly one = Int32Array.of(1);
  private lost = false;
  /** Pages that a full ring had before they were asked for: slot and page. */
  private early: number[] = [];

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
    // What is known of written pages goes with a slot; the memory behind it may stay.
    if (this.logging && kept.length < this.slots.length) this.lost = true;
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

  /** The vCPUs have rings of written pages, which take the place of the log. */
  useRings(vcpus: readonly WrittenPages[]): void {
    this.vcpus = vcpus;
  }

  /** A vCPU's ring is full: it is emptied, for `collect`. */
  empty(v: WrittenPages): void {
    for (let n; (n = v.harvest(this.pairs)) > 0; ) for (let i = 0; i < n * 2; i++) this.early.push(this.pairs[i]!);
    this.vm.resetDirtyRings();
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

  /** Once after a change of the map: written pages may be missing from `collect`. */
  takeLost(): boolean {
    const { lost } = this;
    this.lost = false;
    return lost;
  }

  /** Calls back for each RAM slot with the pages written since the last call: one bit each, from ram offset `offset`. */
  collect(written: (offset: number, bitmap: Int32Array, pages: number) => void): void {
    if (this.vcpus !== null) {
      this.collectRings(this.vcpus, written);
      return;
    }
    for (const s of this.slots) {
      if (s.rom) continue;
      const pages = s.bytes / PAGE;
      this.vm.dirtyLog(s.n, this.bitmap, pages);
      written(s.offset, this.words, pages);
    }
  }

  private collectRings(vcpus: readonly WrittenPages[], written: (offset: number, bitmap: Int32Array, pages: number) => void): void {
    const tell = (n: number, page: number): void => {
      const s = this.slots.find((x) => x.n === n);
      // A slot that is gone is nobody's memory any more, and what the engine had translated from it went with the map.
      if (s !== undefined && page < s.bytes / PAGE) written(s.offset + page * PAGE, this.one, 1);
    };
    for (let i = 0; i < this.early.length; i += 2) tell(this.early[i]!, this.early[i + 1]!);
    let any = this.early.length > 0;
    this.early = [];
    for (const v of vcpus) {
      for (let n; (n = v.harvest(this.pairs)) > 0; any = true) for (let i = 0; i < n; i++) tell(this.pairs[i * 2]!, this.pairs[i * 2 + 1]!);
    }
    if (any) this.vm.resetDirtyRings();
  }
}
