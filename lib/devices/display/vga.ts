/**
 * VGA (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"): sequencer, CRT controller, graphics controller,
 * attribute controller, palette DAC, and the general registers, at ports 3B0h..3DFh, with the memory window at A0000h.
 *
 * Nothing is drawn here and nothing ticks: `VgaRenderer` makes a picture of the state when somebody looks, and retrace bits
 * are computed from the clock. There is no interrupt line: the retrace interrupt shows in input status 0 only, as on PCI
 * boards.
 */
import { bytePorts } from '../byte-io.js';
import type { Device, DeviceClock, IoHandler, SavedState } from '../device.js';
import { loadState, saveState } from '../saved.js';
import { VgaMemory } from './vga-memory.js';
import { VGA_SCHEMA, VgaTiming, initialVga, type VgaState } from './vga-state.js';
import { ATTR_MASK, Attr, Crtc, Gc, GC_MASK, Misc, Overflow, SEQ_MASK, Status0, Status1, VRetraceEnd, VgaPort } from './vga.spec.js';

const VERSION = 1;

export interface VgaOptions {
  clock: DeviceClock;
  /** Display memory: power of two, at least 256 KiB. It is memory, not state: whoever owns it saves it. */
  vram: Uint8Array;
}

export class Vga implements Device {
  readonly name = 'vga';
  /** Ports 3B0h..3DFh. */
  readonly ports: IoHandler;
  /** A0000h..BFFFFh. */
  readonly memory: VgaMemory;
  readonly timing = new VgaTiming();
  /** The DAC has eight bits per component instead of six (Bochs VBE). */
  dac8 = false;

  private s = initialVga();

  constructor(readonly o: VgaOptions) {
    this.memory = new VgaMemory(o.vram, this.s);
    this.ports = bytePorts(
      VgaPort.LENGTH,
      (port) => this.readPort(port),
      (port, v) => this.writePort(port, v),
    );
    this.timing.update(this.s);
  }

  /** The registers, for the renderer. */
  get state(): Readonly<VgaState> {
    return this.s;
  }

  reset(): void {
    this.take(initialVga());
  }

  save(): SavedState {
    return saveState(VGA_SCHEMA, VERSION, this.s);
  }

  restore(saved: SavedState): void {
    this.take(loadState(this.name, VGA_SCHEMA, VERSION, saved));
  }

  private take(s: VgaState): void {
    this.s = s;
    this.memory.s = s;
    this.timing.update(s);
  }

  /** Ports exist twice, for colour and for monochrome; one set answers. */
  private decodes(port: number): boolean {
    if (port >= VgaPort.ATTR && port < VgaPort.ATTR + 0x10) return true;
    return port < VgaPort.ATTR === !(this.s.misc & Misc.COLOR);
  }

  readPort(port: number): number {
    const s = this.s;
    if (port === VgaPort.ENABLE) return s.enable;
    if (!s.enable || !this.decodes(port)) return 0xff;
    switch (port) {
      case VgaPort.ATTR:
        return s.attrIndex;
      case VgaPort.ATTR_READ:
        return s.attr[s.attrIndex & 0x1f] ?? 0;
      case VgaPort.MISC:
        return Status0.SWITCH_SENSE | (this.retraceInterrupt() ? Status0.INTERRUPT : 0);
      case VgaPort.SEQ_INDEX:
        return s.seqIndex;
      case VgaPort.SEQ_DATA:
        return s.seq[s.seqIndex] ?? 0;
      case VgaPort.DAC_MASK:
        return s.dacMask;
      case VgaPort.DAC_READ:
        return s.dacState;
      case VgaPort.DAC_WRITE:
        return s.dacWriteIndex;
      case VgaPort.DAC_DATA:
        return this.readDac();
      case VgaPort.FEATURE_READ:
        return s.feature;
      case VgaPort.MISC_READ:
        return s.misc;
      case VgaPort.GC_INDEX:
        return s.gcIndex;
      case VgaPort.GC_DATA:
        return s.gc[s.gcIndex] ?? 0;
      case VgaPort.MONO_CRTC_INDEX:
      case VgaPort.CRTC_INDEX:
        return s.crtcIndex;
      case VgaPort.MONO_CRTC_DATA:
      case VgaPort.CRTC_DATA:
        return this.readCrtc(s.crtcIndex);
      case VgaPort.MONO_STATUS1:
      case VgaPort.STATUS1:
        s.attrData = false;
        return this.status1();
      default:
        return 0xff;
    }
  }

  writePort(port: number, v: number): void {
    const s = this.s;
    if (port === VgaPort.ENABLE) s.enable = v & 1;
    if (!s.enable || !this.decodes(port)) return;
    switch (port) {
      case VgaPort.ATTR:
        this.writeAttr(v);
        break;
      case VgaPort.MISC:
        s.misc = v & 0xef;
        this.timing.update(s);
        break;
      case VgaPort.SEQ_INDEX:
        s.seqIndex = v & 7;
        break;
      case VgaPort.SEQ_DATA:
        if (s.seqIndex < s.seq.length) s.seq[s.seqIndex] = v & SEQ_MASK[s.seqIndex]!;
        this.timing.update(s);
        break;
      case VgaPort.DAC_MASK:
        s.dacMask = v;
        break;
      case VgaPort.DAC_READ:
        s.dacReadIndex = v;
        s.dacState = 3;
        s.dacPart = 0;
        break;
      case VgaPort.DAC_WRITE:
        s.dacWriteIndex = v;
        s.dacState = 0;
        s.dacPart = 0;
        break;
      case VgaPort.DAC_DATA:
        this.writeDac(v);
        break;
      case VgaPort.GC_INDEX:
        s.gcIndex = v & 15;
        break;
      case VgaPort.GC_DATA:
        if (s.gcIndex < s.gc.length) s.gc[s.gcIndex] = v & GC_MASK[s.gcIndex]!;
        break;
      case VgaPort.MONO_CRTC_INDEX:
      case VgaPort.CRTC_INDEX:
        s.crtcIndex = v & 0x3f;
        break;
      case VgaPort.MONO_CRTC_DATA:
      case VgaPort.CRTC_DATA:
        this.writeCrtc(s.crtcIndex, v);
        break;
      case VgaPort.MONO_STATUS1:
      case VgaPort.STATUS1:
        s.feature = v & 0x0b;
        break;
    }
  }

  private writeAttr(v: number): void {
    const s = this.s;
    s.attrData = !s.attrData;
    if (s.attrData) {
      s.attrIndex = v & 0x3f;
      return;
    }
    const i = s.attrIndex & 0x1f;
    if (i < Attr.MODE) s.attr[i] = v & 0x3f;
    else if (i < Attr.COUNT) s.attr[i] = v & ATTR_MASK[i - Attr.MODE]!;
  }

  // ---- DAC ----

  private readDac(): number {
    const s = this.s;
    const v = s.dac[s.dacReadIndex * 3 + s.dacPart]!;
    if (++s.dacPart === 3) {
      s.dacPart = 0;
      s.dacReadIndex = (s.dacReadIndex + 1) & 0xff;
    }
    return v;
  }

  private writeDac(v: number): void {
    const s = this.s;
    s.dacLatch[s.dacPart] = this.dac8 ? v : v & 0x3f;
    if (++s.dacPart < 3) return;
    s.dacPart = 0;
    s.dac.set(s.dacLatch, s.dacWriteIndex * 3);
    s.dacWriteIndex = (s.dacWriteIndex + 1) & 0xff;
  }

  // ---- CRT controller ----

  private readCrtc(i: number): number {
    const s = this.s;
    switch (i as Crtc) {
      case Crtc.V_RETRACE_START:
      case Crtc.V_RETRACE_END:
        // Without "compatible read" these are the light pen's, and there is none.
        return s.crtc[Crtc.H_BLANK_END]! & 0x80 ? s.crtc[i]! : 0;
      case Crtc.LATCH:
        return (s.latch >>> (s.gc[Gc.READ_MAP]! * 8)) & 0xff;
      case Crtc.ATTR_STATE:
        return s.attrData ? 0x80 : 0;
      case Crtc.ATTR_INDEX:
        return s.attrIndex;
      default:
        return s.crtc[i] ?? 0;
    }
  }

  private writeCrtc(i: number, v: number): void {
    const s = this.s;
    if (i >= Crtc.COUNT) return;
    if (i <= Crtc.OVERFLOW && s.crtc[Crtc.V_RETRACE_END]! & VRetraceEnd.PROTECT) {
      // The line compare bit stays writable: it is not about timing.
      if (i === Crtc.OVERFLOW) s.crtc[i] = (s.crtc[i]! & ~Overflow.LINE_COMPARE_8) | (v & Overflow.LINE_COMPARE_8);
      return;
    }
    s.crtc[i] = v;
    if (i === Crtc.V_RETRACE_END && !(v & VRetraceEnd.INTERRUPT_ARMED)) s.clearedAt = this.o.clock.now();
    this.timing.update(s);
  }

  private retraceInterrupt(): boolean {
    const s = this.s;
    if (!(s.crtc[Crtc.V_RETRACE_END]! & VRetraceEnd.INTERRUPT_ARMED)) return false;
    return this.timing.retraces(this.o.clock.now()) > this.timing.retraces(s.clearedAt);
  }

  private status1(): number {
    const now = this.o.clock.now();
    if (this.timing.inVerticalRetrace(now)) return Status1.VERTICAL_RETRACE | Status1.DISPLAY_OFF;
    return this.timing.displaying(now) ? 0 : Status1.DISPLAY_OFF;
  }
}
