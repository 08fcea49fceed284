/** Which pages KVM says were written, by bitmaps and by rings, against what the guest wrote. */
import { afterEach, describe, expect, it } from 'vitest';
import { Box, COMMAND_RUN } from '#lib/accel/mailbox.js';
import { Block, Exit, Part, Run } from '#lib/accel/kvm/layout.js';
import { MemorySlots } from '#lib/accel/kvm/slots.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { loadNative, type NativeVcpu } from '#lib/native.js';
import { noAddon, skipFor } from '../boot/guests.js';
import { kvm, noKvm, softKvm } from './harness.js';

const skip = skipFor(noAddon ?? noKvm);
if (kvm !== null && kvm.dirtyRing === 0) process.stderr.write('skipped: this KVM has no dirty rings\n');
if (softKvm) process.stderr.write('skipped: full rings of written pages (this hypervisor emulates many instructions at a time and at times runs past the end)\n');
const PAGE = 4096;
const RAM = 0x20_0000;
const CODE = 0x1000;
const LIST = 0x3000;
const FIRST = 0x10;
const PAGES = RAM / PAGE;

/** A CPU in flat 32-bit mode that writes a byte to each address of a list. */
class Writer {
  private readonly native = loadNative();
  private readonly vm = this.native.kvmCreate(kvm!.device);
  private readonly ram = this.native.allocRam(RAM);
  private readonly state = this.native.allocState(4096);
  private readonly context = this.native.createContext(this.state, null);
  private readonly vcpu: NativeVcpu;
  private readonly words: Int32Array;
  private readonly run: Int32Array;
  private readonly created;
  readonly slots: MemorySlots;
  fulls = 0;

  /** @param ringBytes 0: bitmaps */
  constructor(ringBytes: number) {
    if (ringBytes > 0) this.vm.dirtyRing(kvm!.dirtyRing, ringBytes);
    const memory = new PhysicalMemory(this.ram.buffer, this.ram.address);
    memory.mapRam(0, RAM, 0);
    this.slots = new MemorySlots(this.vm, memory, this.ram);
    const { vcpu, run, block } = (this.created = this.vm.createVcpu(0, this.context.id, kvm!.cpuid));
    this.vcpu = vcpu;
    this.words = new Int32Array(block.buffer);
    this.run = new Int32Array(run.buffer);
    if (ringBytes > 0) this.slots.useRings([vcpu]);
    this.slots.apply();
    this.slots.log(true);
  }

  private command(what: number, set: number, get: number): void {
    this.words[Box.COMMAND] = what;
    this.words[Box.SET_MASK] = set;
    this.words[Box.GET_MASK] = get;
    this.words[Box.VECTOR] = -1;
    this.vcpu.post();
    if (!this.vcpu.waitIdle(20e9)) throw new Error('it does not end');
    if (this.words[Box.ERROR] !== 0) throw new Error(`error ${this.words[Box.ERROR]}`);
  }

  write(pages: readonly number[]): void {
    const view = new DataView(this.ram.buffer);
    // mov esi, LIST; mov ecx, n; 1: lodsd; mov [eax], al; dec ecx; jnz 1b; hlt
    const code = [0xbe, LIST & 0xff, LIST >> 8, 0, 0, 0xb9, pages.length & 0xff, pages.length >> 8, 0, 0, 0xad, 0x88, 0, 0x49, 0x75, 0xfa, 0xf4];
    code.forEach((b, i) => view.setUint8(CODE + i, b));
    pages.forEach((p, i) => view.setUint32(LIST + i * 4, p * PAGE + ((i * 52) % PAGE), true));
    this.command(0, 0, Part.SREGS | Part.REGS);
    const { words } = this;
    const bytes = new Uint8Array(words.buffer);
    for (let s = 0; s < 6; s++) {
      const at = Block.SREGS + s * 24;
      words[at >> 2] = words[(at >> 2) + 1] = 0;
      words[(at >> 2) + 2] = -1;
      bytes.set([8 + s * 8, 0, s === 0 ? 11 : 3, 1, 0, 1, 1, 0, 1, 0, 0], at + 12);
    }
    words[(Block.SREGS + 224) >> 2]! |= 1;
    words[(Block.REGS + 128) >> 2] = CODE;
    words[(Block.REGS + 136) >> 2] = 2;
    for (let set: number = Part.SREGS | Part.REGS; ; set = 0) {
      this.command(COMMAND_RUN, set, 0);
      if (this.run[Run.EXIT_REASON >> 2] !== (Exit.DIRTY_RING_FULL as number)) break;
      this.fulls++;
      this.slots.empty(this.vcpu);
    }
    expect(this.run[Run.EXIT_REASON >> 2]).toBe(Exit.HLT);
  }

  /** Pages that KVM tells, in order. */
  told(): number[] {
    const found = new Set<number>();
    this.slots.collect((offset, bitmap, pages) => {
      for (let i = 0; i < pages; i++) if ((bitmap[i >> 5]! >> (i & 31)) & 1) found.add(offset / PAGE + i);
    });
    return [...found].sort((a, b) => a - b);
  }

  dispose(): void {
    this.vcpu.dispose();
    this.native.free(this.created.run);
    this.native.free(this.created.block);
    this.vm.dispose();
    this.context.dispose();
    this.native.free(this.state);
    this.native.free(this.ram);
  }
}

/** Some of the pages, in an order of their own; each twice. */
function some(seed: number, every: number): number[] {
  const pages: number[] = [];
  let x = seed;
  for (let p = FIRST; p < PAGES; p++) if ((x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0) % every === 0) pages.push(p);
  return [...[...pages].reverse(), ...pages];
}
const sorted = (pages: readonly number[]): number[] => [...new Set(pages)].sort((a, b) => a - b);

describe.skipIf(skip)('written pages', () => {
  let w: Writer | null = null;
  afterEach(() => w?.dispose());

  for (const [name, ringBytes] of [['bitmaps', 0], ['rings', 1 << 16], ['rings that are too small', PAGE]] as const) {
    it.skipIf(ringBytes > 0 && (kvm?.dirtyRing === 0 || (ringBytes === PAGE && softKvm)))(`are those that the guest wrote: ${name}`, () => {
      w = new Writer(ringBytes);
      for (const [seed, every] of [[1, 3], [7, 2], [9, 50], [3, 1]] as const) {
        const pages = some(seed, every);
        w.write(pages);
        expect(w.told()).toEqual(sorted(pages));
        expect(w.told()).toEqual([]);
      }
      if (ringBytes === PAGE) expect(w.fulls).toBeGreaterThan(0);
    });
  }
});
