/** A CPU over a fake machine: 16 MiB of RAM at 0, everything else MMIO that records accesses. */
import { type GuestClock, GuestFault, type InterruptSource, type PhysicalMap, type PortSpace } from '#lib/engine/cpu.js';
import { HelperRegistry } from '#lib/engine/helpers.js';
import { NONE, STATE_BYTES, Slot, TLB_BASE, TLB_ENTRIES, TLB_TABLE_BYTES } from '#lib/engine/state.js';
import { X86Cpu } from '#lib/engine/guest/x86/cpu.js';
import { CpuModel } from '#lib/engine/guest/x86/cpuid.js';
import { Cr0, Cr4, Efer } from '#lib/engine/guest/x86/defs.js';
import { registerSystemHelpers } from '#lib/engine/guest/x86/helpers.js';
import { Seg, X } from '#lib/engine/guest/x86/mode.js';

export const RAM = 16 << 20;
/** A ROM page within RAM. */
export const ROM_PAGE = 0xf_0000;

export class FakeMap implements PhysicalMap {
  private readonly buf = new ArrayBuffer(RAM);
  readonly ram8 = new Uint8Array(this.buf);
  readonly ram16 = new Uint16Array(this.buf);
  readonly ram32 = new Int32Array(this.buf);
  readonly ramView = new DataView(this.buf);
  readonly ramAddress = 0x7f12_3456_7000;
  readonly codePages = new Uint8Array(RAM >> 12);
  codeWrites: [number, number][] = [];
  onCodeWrite = (off: number, n: number): void => void this.codeWrites.push([off, n]);
  readonly dmaCodeWrites: [number, number][] = [];
  onDmaCodeWrite = (off: number, n: number): void => void this.dmaCodeWrites.push([off, n]);
  log: string[] = [];
  pageOffset(pa: number): number {
    return pa < RAM ? pa - (pa % 4096) : -1;
  }
  isRom(pa: number): boolean {
    return pa - (pa % 4096) === ROM_PAGE;
  }
  read(pa: number, size: number): number {
    this.log.push(`r${size} ${pa.toString(16)}`);
    return size === 4 ? 0xdead_0000 + (pa & 0xffff) : 0xa5;
  }
  write(pa: number, size: number, v: number): void {
    this.log.push(`w${size} ${pa.toString(16)}=${v.toString(16)}`);
  }
}

export class FakeIntc implements InterruptSource {
  queue: number[] = [];
  cr8 = 0;
  pending(): boolean {
    return this.queue.length > 0;
  }
  acknowledge(): number {
    return this.queue.shift() ?? -1;
  }
  enabled(): boolean {
    return true;
  }
  sent: [number, number][] = [];
  sendTo(id: number, command: number): boolean {
    if (id > 1) return false;
    this.sent.push([id, command]);
    return true;
  }
  getCr8(): number {
    return this.cr8;
  }
  setCr8(v: number): void {
    this.cr8 = v;
  }
  readMsr(msr: number, out: { lo: number; hi: number }): boolean {
    out.lo = msr;
    out.hi = 0;
    return msr !== 0x8ff;
  }
  writeMsr(msr: number): boolean {
    return msr !== 0x802;
  }
}

export class Machine {
  readonly map = new FakeMap();
  readonly intc = new FakeIntc();
  readonly portLog: string[] = [];
  portValue = 0x55;
  now = 1000;
  readonly cpu: X86Cpu;
  readonly helpers = new HelperRegistry<X86Cpu>();

  constructor(model = 'max', index = 0) {
    registerSystemHelpers(this.helpers);
    const ports: PortSpace = {
      portIn: (p, s) => {
        this.portLog.push(`in${s} ${p.toString(16)}`);
        return this.portValue;
      },
      portOut: (p, s, v) => void this.portLog.push(`out${s} ${p.toString(16)}=${v.toString(16)}`),
    };
    const clock: GuestClock = { now: () => this.now };
    this.cpu = new X86Cpu({
      index, state: { buffer: new ArrayBuffer(STATE_BYTES), address: 0x1000 }, map: this.map, ports, intc: this.intc, clock,
      model: CpuModel.parse(model), helpers: this.helpers, cpus: 2,
    });
  }

  get V(): Int32Array {
    return this.cpu.V;
  }

  reg(r: number, lo: number, hi = 0): void {
    this.V[r * 2] = lo;
    this.V[r * 2 + 1] = hi;
  }
  lo(r: number): number {
    return this.V[r * 2]! >>> 0;
  }
  hi(r: number): number {
    return this.V[r * 2 + 1]! >>> 0;
  }
  get pc(): number {
    return this.lo(Slot.PC);
  }

  w16(pa: number, v: number): void {
    this.map.ramView.setUint16(pa, v, true);
  }
  w32(pa: number, v: number): void {
    this.map.ramView.setInt32(pa, v, true);
  }
  w64(pa: number, lo: number, hi = 0): void {
    this.w32(pa, lo);
    this.w32(pa + 4, hi);
  }
  r16(pa: number): number {
    return this.map.ramView.getUint16(pa, true);
  }
  r32(pa: number): number {
    return this.map.ramView.getUint32(pa, true);
  }

  /** Pretends that the instruction at linear pc with the given length runs. */
  at(pc: number, len = 2, hi = 0): void {
    this.reg(Slot.PCBASE, pc & ~0xfff, hi);
    this.reg(Slot.X_INSN, (pc & 0xfff) | (((pc & 0xfff) + len) << 16));
    this.reg(Slot.PC, pc, hi);
  }

  call(name: string, imm = 0, a = NONE, b = NONE, dst = NONE, c = NONE): number {
    const h = this.helpers.list[this.helpers.id(`x86.${name}`)]!;
    return h.fn(this.cpu, dst, a, b, c, imm);
  }

  /** Runs f; returns the fault as [vector, error code or -1], or null. */
  fault(f: () => unknown): [number, number] | null {
    try {
      f();
    } catch (e) {
      if (e instanceof GuestFault) return [e.vector, e.hasErrorCode ? e.errorCode : -1];
      throw e;
    }
    return null;
  }

  /** Writes an 8-byte descriptor. attr as `At`. */
  desc(pa: number, base: number, limit: number, attr: number): void {
    const l = attr & 0x8000 ? (limit >>> 12) & 0xf_ffff : limit;
    this.w32(pa, (base << 16) | (l & 0xffff));
    this.w32(pa + 4, (base & 0xff00_0000) | ((base >>> 16) & 0xff) | (l & 0xf_0000) | ((attr & 0xf0ff) << 8));
  }

  gate32(vector: number, sel: number, off: number, type: number, idt = 0x2000): void {
    this.w32(idt + vector * 8, (sel << 16) | (off & 0xffff));
    this.w32(idt + vector * 8 + 4, (off & 0xffff_0000) | (type << 8));
  }

  gate64(vector: number, sel: number, lo: number, hi: number, type: number, ist = 0, idt = 0x2000): void {
    this.w32(idt + vector * 16, (sel << 16) | (lo & 0xffff));
    this.w32(idt + vector * 16 + 4, (lo & 0xffff_0000) | (type << 8) | ist);
    this.w32(idt + vector * 16 + 8, hi);
    this.w32(idt + vector * 16 + 12, 0);
  }

  /** GDT at 0x1000, IDT at 0x2000, TSS at 0x3000: 08 code0, 10 data0, 18 code3, 20 data3, 28 TSS, 38 code0 16-bit. */
  protected(): void {
    const c = this.cpu;
    this.desc(0x1008, 0, -1, 0xc09b);
    this.desc(0x1010, 0, -1, 0xc093);
    this.desc(0x1018, 0, -1, 0xc0fb);
    this.desc(0x1020, 0, -1, 0xc0f3);
    this.desc(0x1028, 0x3000, 0x2067, 0x89);
    this.desc(0x1038, 0x1_0000, 0xffff, 0x9b);
    c.seg.gdtLo = 0x1000;
    c.seg.gdtLimit = 0xff;
    c.seg.idtLo = 0x2000;
    c.seg.idtLimit = 0x7ff;
    c.control.setCr0(Cr0.PE);
    this.w32(0x3004, 0x9000);
    this.w16(0x3008, 0x10);
    this.w16(0x3066, 0x68);
    c.seg.ltr(0x28);
    this.at(0x5000);
    c.transfer.jump(0x08, 0x5000, 0, 2);
    for (const s of [Seg.ES, Seg.SS, Seg.DS, Seg.FS, Seg.GS]) c.seg.loadData(s, 0x10);
    this.reg(X.RSP, 0x8000);
  }

  /** Goes to CPL 3 by IRETD. */
  user32(eflags = 0x202): void {
    this.w32(0x7f00, 0x6000);
    this.w32(0x7f04, 0x1b);
    this.w32(0x7f08, eflags);
    this.w32(0x7f0c, 0x7000);
    this.w32(0x7f10, 0x23);
    this.reg(X.RSP, 0x7f00);
    this.cpu.transfer.iret(2);
  }

  /** 4-level tables at 0x10_0000 that map 0..1 GiB 1:1 with one 2 MiB page, user-accessible; 64-bit code. */
  long(): void {
    const c = this.cpu;
    this.protected();
    this.w64(0x10_0000, 0x10_1007);
    this.w64(0x10_1000, 0x10_2007);
    this.w64(0x10_2000, 0x87);
    this.w64(0x10_2008, 0x20_0087);
    c.control.setCr4(c.cr4 | Cr4.PAE);
    c.control.setEfer(Efer.LME | Efer.SCE | Efer.NXE, 0);
    c.control.loadCr3(0x10_0000, 0);
    this.desc(0x1008, 0, -1, 0xa09b);
    this.desc(0x1018, 0, -1, 0xa0fb);
    this.w64(0x1028, 0);
    this.desc(0x1028, 0x3000, 0x67, 0x89);
    this.w64(0x1030, 0);
    c.control.setCr0(Cr0.PE | Cr0.PG | Cr0.WP | Cr0.NE);
    c.transfer.jump(0x08, 0x5000, 0, 2);
    c.seg.idtLimit = 0xfff;
    c.seg.ltr(0x28);
    this.w64(0x3004, 0x9000);
    this.w64(0x3024, 0xa000);
  }

  user64(): void {
    const q = [0x6000, 0x1b, 0x202, 0x7000, 0x23];
    q.forEach((v, i) => this.w64(0x7f00 + i * 8, v));
    this.reg(X.RSP, 0x7f00);
    this.cpu.transfer.iret(3);
  }

  /** TLB entry words of a linear address: [tagRead, tagWrite, ramPage]. */
  tlb(idx: number, lo: number): { r: boolean; w: boolean; page: number } {
    const e = (TLB_BASE + idx * TLB_TABLE_BYTES) / 4 + ((lo >>> 12) & (TLB_ENTRIES - 1)) * 8;
    const page = lo & ~0xfff;
    return { r: this.V[e] === page, w: this.V[e + 2] === page, page: this.V[e + 6]! & ~0xfff };
  }
}
