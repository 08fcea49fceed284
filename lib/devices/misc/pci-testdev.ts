/**
 * The PCI test device that kernels without a system of drivers use (QEMU docs/specs/pci-testdev): a memory BAR and an I/O BAR, each with
 * a few tests. A header at the start of a BAR describes the selected test; writes to the place it names are counted.
 */
import type { IoHandler, SavedState } from '../device.js';
import { VmxError } from '../../errors.js';
import { PciFunction, type PciHost } from '../pci/pci.js';
import { array, int, loadState, saveState, type Schema, u32 } from '../saved.js';

const MEMORY_BYTES = 4096;
const IO_BYTES = 256;
/** Header: test (1 byte, written to select), width (1), offset, data, count (4 each, from byte 4), name. */
const enum Header { TEST = 0, WIDTH = 1, OFFSET = 4, DATA = 8, COUNT = 12, NAME = 16 }
/** Widths in bytes of the writes that a test wants; a test ends with its name. */
const TESTS = [
  { name: 'byte', width: 1, data: 0xce },
  { name: 'word', width: 2, data: 0xceed },
  { name: 'dword', width: 4, data: 0xfacefeed },
] as const;
/** Selected test that does not exist: its width reads as zero. */
const NO_TEST = 0xff;

interface State {
  /** By BAR. */
  selected: number[];
  counts: number[];
}
const SCHEMA: Schema<State> = { selected: array(2, int(0, NO_TEST)), counts: array(2, u32) };
const VERSION = 1;

export class PciTestDev extends PciFunction {
  private s: State = initial();

  constructor(name: string, host: PciHost, slot: number) {
    super(name, host, slot << 3, { vendor: 0x1b36, device: 0x0005, class: 0x00ff, subsysVendor: 0x1af4, subsys: 0x1100 });
    this.addBar(0, 'mem', MEMORY_BYTES, this.window(0, MEMORY_BYTES / 2));
    this.addBar(1, 'io', IO_BYTES, this.window(1, IO_BYTES / 2));
    this.sealConfig();
  }

  /** The BAR whose tests write from byte `base` on. */
  private window(bar: number, base: number): IoHandler {
    const place = (): number => base + this.s.selected[bar]! * 8;
    return {
      read: (offset, size) => {
        const b = this.header(bar, place());
        let v = 0;
        for (let i = size - 1; i >= 0; i--) v = v * 256 + (b[offset + i] ?? 0);
        return v;
      },
      write: (offset, size, value) => {
        const { s } = this;
        if (offset === Header.TEST) {
          s.selected[bar] = Math.min(value & 0xff, NO_TEST);
          s.counts[bar] = 0;
          return;
        }
        const t = TESTS[s.selected[bar]!];
        if (t !== undefined && offset === place() && size === t.width && value >>> 0 === t.data) s.counts[bar] = (s.counts[bar]! + 1) >>> 0;
      },
    };
  }

  private header(bar: number, place: number): Uint8Array {
    const b = new Uint8Array(Header.NAME + 16);
    const t = TESTS[this.s.selected[bar]!];
    b[Header.TEST] = this.s.selected[bar]!;
    if (t === undefined) return b;
    const v = new DataView(b.buffer);
    b[Header.WIDTH] = t.width;
    v.setUint32(Header.OFFSET, place, true);
    v.setUint32(Header.DATA, t.data, true);
    v.setUint32(Header.COUNT, this.s.counts[bar]!, true);
    b.set(Buffer.from(t.name, 'latin1'), Header.NAME);
    return b;
  }

  override reset(): void {
    super.reset();
    this.s = initial();
  }

  override save(): SavedState {
    return { ...super.save(), tests: saveState(SCHEMA, VERSION, this.s) };
  }

  protected override load(s: SavedState): void {
    super.load(s);
    const t = s.tests as SavedState | undefined;
    if (typeof t !== 'object' || t === null) throw new VmxError('ERR_BAD_STATE', `${this.name}: not a saved pci-testdev`);
    this.s = loadState(this.name, SCHEMA, VERSION, t);
  }
}

function initial(): State {
  return { selected: [0, 0], counts: [0, 0] };
}
