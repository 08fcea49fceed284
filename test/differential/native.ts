/**
 * Runs guest code as it is on the host CPU: a trampoline in executable memory loads the whole user-visible state, jumps
 * to the code, and stores the state when the code jumps to the exit stub or faults.
 */
import type { NativeAddon, NativeContext } from '#lib/native.js';
import { Slot, STATE_BYTES } from '#lib/engine/state.js';
import { CODE_BYTES, DATA_BYTES, End, type Executor, FLAG_BITS, type Layout, type Outcome, S, Signal } from './state.js';

/** Features of the host without which the trampoline cannot run. */
export const NEEDED = ['xsave', 'avx', 'fxsr'];

// Offsets in the native state region, clear of the slots the fault guard writes.
const IN = 0x1000;
const FLAGS_IN = 0x1080;
const OUT = 0x1100;
const FLAGS_OUT = 0x1180;
const SP = 0x1200;
const MXCSR_DEFAULT = 0x1208;
const KIND = 0x1210;
const XSAVE_IN = 0x2000;
const XSAVE_OUT = 0x3000;
/** Where the entry stub finds the address to jump to (offset in the code region). */
const TARGET = 0xff8;
/** x87, SSE and AVX state. */
const COMPONENTS = 7;
const RAX = 0;
const RSP = 4;
const RDI = 7;

const u32 = (v: number): number[] => [v & 255, (v >> 8) & 255, (v >> 16) & 255, v >>> 24];
const u64 = (v: number): number[] => [...u32(v | 0), ...u32(Math.floor(v / 2 ** 32))];
/** mov reg, [rdi + disp] and mov [base + disp], reg; base 7 = RDI, 0 = RAX. */
const load = (reg: number, disp: number): number[] => [0x48 | ((reg >> 3) << 2), 0x8b, 0x80 | ((reg & 7) << 3) | RDI, ...u32(disp)];
const store = (base: number, reg: number, disp: number): number[] => [0x48 | ((reg >> 3) << 2), 0x89, 0x80 | ((reg & 7) << 3) | base, ...u32(disp)];

export class NativeMachine implements Executor {
  readonly name = 'native';
  readonly layout: Layout;
  private readonly context: NativeContext;
  private readonly state: Uint8Array;
  private readonly view: DataView;
  private readonly data: Uint8Array;
  private readonly code: Uint8Array;
  private readonly codeView: DataView;
  private readonly entry: number;
  /** Offset of the exit stub in the code region. */
  readonly exit: number;

  constructor(native: NativeAddon) {
    const state = native.allocState(STATE_BYTES);
    const exec = native.allocExec(CODE_BYTES);
    const data = native.allocRam(DATA_BYTES);
    this.layout = { data: data.address, code: exec.address };
    this.state = new Uint8Array(state.buffer);
    this.view = new DataView(state.buffer);
    this.data = new Uint8Array(data.buffer, 0, DATA_BYTES);
    this.code = new Uint8Array(exec.buffer);
    this.codeView = new DataView(exec.buffer);
    this.context = native.createContext(state, exec);
    this.view.setUint32(MXCSR_DEFAULT, 0x1f80, true);
    const out: number[] = [];
    // entry, RDI = state
    out.push(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, ...store(RDI, RSP, SP));
    out.push(0xb8, ...u32(COMPONENTS), 0x31, 0xd2, 0x48, 0x0f, 0xae, 0xaf, ...u32(XSAVE_IN));
    out.push(0xff, 0xb7, ...u32(FLAGS_IN), 0x9d);
    for (let r = 0; r < 16; r++) if (r !== RDI) out.push(...load(r, IN + r * 8));
    out.push(...load(RDI, IN + RDI * 8));
    out.push(0xff, 0x25, ...u32(TARGET - (out.length + 6)));
    const abort = out.length;
    // The guard has put the state address into RDI.
    out.push(...store(RDI, RAX, OUT), 0x48, 0x89, 0xf8, 0xc7, 0x80, ...u32(OUT + RDI * 8), ...u32(0), 0xc7, 0x80, ...u32(OUT + RDI * 8 + 4), ...u32(0));
    out.push(0xc7, 0x80, ...u32(KIND), ...u32(1));
    const jump = out.length;
    out.push(0xe9, 0, 0, 0, 0);
    this.exit = out.length;
    out.push(0x48, 0xa3, ...u64(state.address + OUT), 0x48, 0xb8, ...u64(state.address), ...store(RAX, RDI, OUT + RDI * 8), 0xc7, 0x80, ...u32(KIND), ...u32(0));
    const common = out.length;
    for (let r = 1; r < 16; r++) if (r !== RDI) out.push(...store(RAX, r, OUT + r * 8));
    out.push(0x48, 0x89, 0xc7, ...load(RSP, SP), 0x9c, 0x8f, 0x87, ...u32(FLAGS_OUT), 0xfc);
    out.push(0xb8, ...u32(COMPONENTS), 0x31, 0xd2, 0x48, 0x0f, 0xae, 0xa7, ...u32(XSAVE_OUT));
    out.push(0xdb, 0xe3, 0x0f, 0xae, 0x97, ...u32(MXCSR_DEFAULT), 0xc5, 0xf8, 0x77);
    out.push(0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0x31, 0xc0, 0xc3);
    if (out.length > TARGET) throw new Error('stubs too long');
    this.code.set(out, 0);
    this.codeView.setInt32(jump + 1, common - (jump + 5), true);
    this.entry = exec.address;
    this.view.setBigUint64(Slot.X_ABORT * 8, BigInt(exec.address + abort), true);
  }

  load(offset: number, code: Uint8Array): void {
    this.code.set(code, offset);
  }

  run(entry: number, state: Uint8Array, data: Uint8Array, out: Outcome): void {
    const v = this.view;
    const s = new DataView(state.buffer, state.byteOffset, S.BYTES);
    this.data.set(data);
    this.state.set(state.subarray(S.GPR, S.GPR + 128), IN);
    v.setUint32(FLAGS_IN, (s.getUint32(S.FLAGS, true) & FLAG_BITS) | 0x202, true);
    // XSAVE image, SDM vol. 1, 13.4: legacy region as FXSAVE (10.5.1), ST(i) in stack order.
    const x = XSAVE_IN;
    const fsw = s.getUint16(S.FSW, true);
    const top = (fsw >> 11) & 7;
    v.setUint16(x, s.getUint16(S.FCW, true), true);
    v.setUint16(x + 2, fsw, true);
    v.setUint16(x + 4, s.getUint8(S.FTW), true);
    v.setUint32(x + 24, s.getUint32(S.MXCSR, true), true);
    for (let i = 0; i < 8; i++) {
      const r = S.X87 + ((top + i) & 7) * 16;
      this.state.set(state.subarray(r, r + 10), x + 32 + i * 16);
    }
    for (let i = 0; i < 16; i++) {
      const r = S.YMM + i * 32;
      this.state.set(state.subarray(r, r + 16), x + 160 + i * 16);
      this.state.set(state.subarray(r + 16, r + 32), x + 576 + i * 16);
    }
    v.setUint32(x + 512, COMPONENTS, true);
    this.codeView.setBigUint64(TARGET, BigInt(this.layout.code + entry), true);
    this.context.run(this.entry);
    this.collect(out);
  }

  private collect(out: Outcome): void {
    const v = this.view;
    const o = out.view;
    const x = XSAVE_OUT;
    out.end = v.getUint32(KIND, true) === 1 ? End.FAULT : End.EXIT;
    out.signal = out.pc = out.address = 0;
    out.message = '';
    if (out.end === End.FAULT) {
      out.signal = v.getUint32(Slot.X_AUX * 8, true);
      out.pc = Number(v.getBigUint64(Slot.X_ADDR * 8, true));
      if ((out.signal as Signal) === Signal.SEGV) out.address = Number(v.getBigUint64(Slot.X_VAL * 8, true));
    }
    out.state.set(this.state.subarray(OUT, OUT + 128), S.GPR);
    o.setUint32(S.FLAGS, v.getUint32(FLAGS_OUT, true) & FLAG_BITS, true);
    const fsw = v.getUint16(x + 2, true);
    const top = (fsw >> 11) & 7;
    o.setUint16(S.FCW, v.getUint16(x, true), true);
    o.setUint16(S.FSW, fsw, true);
    o.setUint8(S.FTW, v.getUint8(x + 4));
    o.setUint32(S.MXCSR, v.getUint32(x + 24, true), true);
    for (let i = 0; i < 8; i++) out.state.set(this.state.subarray(x + 32 + i * 16, x + 42 + i * 16), S.X87 + ((top + i) & 7) * 16);
    for (let i = 0; i < 16; i++) {
      out.state.set(this.state.subarray(x + 160 + i * 16, x + 176 + i * 16), S.YMM + i * 32);
      out.state.set(this.state.subarray(x + 576 + i * 16, x + 592 + i * 16), S.YMM + i * 32 + 16);
    }
    out.data.set(this.data);
  }
}
