/** Random IR for tests that compare generated code with the interpreter. */
import { HelperResult } from '#lib/engine/helpers.js';
import type { IrBuilder } from '#lib/engine/ir/builder.js';
import { OPS, Op } from '#lib/engine/ir/ops.js';
import { FLAGS_WRITTEN, UNDEFINED_FLAGS } from '#lib/engine/ir/undefined.js';
import { ExitCode, Fl, NONE, Slot } from '#lib/engine/state.js';
import type { FakeCpu, Random } from '../fake-cpu.js';

export const REGS = Array.from({ length: 16 }, (_, i) => 8 + i);
/** Pages: 0x1000 mapped for writing, 0x2000 for reading, 0x3000 not at all (all slow), above 0x10000 faults. */
const ADDRESSES = [0x1000n, 0x1ffcn, 0x1800n, 0x2000n, 0x2010n, 0x2ffen, 0x3000n, 0x3004n];

const ALU = [
  Op.ADD, Op.SUB, Op.ADC, Op.SBB, Op.AND, Op.OR, Op.XOR, Op.NEG, Op.NOT, Op.INC, Op.DEC, Op.SHL, Op.SHR, Op.SAR, Op.ROL, Op.ROR, Op.RCL, Op.RCR,
  Op.SHLD, Op.SHRD, Op.BT, Op.BTS, Op.BTR, Op.BTC, Op.BSF, Op.BSR, Op.TZCNT, Op.LZCNT, Op.POPCNT, Op.BSWAP, Op.MUL, Op.IMUL, Op.ANDN, Op.BLSI,
  Op.BLSR, Op.BLSMSK, Op.BEXTR, Op.BZHI, Op.PDEP, Op.PEXT, Op.ADOX, Op.CRC32,
] as const;
const MIN_W: Partial<Record<Op, number>> = {
  [Op.SHLD]: 1, [Op.SHRD]: 1, [Op.BT]: 1, [Op.BTS]: 1, [Op.BTR]: 1, [Op.BTC]: 1, [Op.BSF]: 1, [Op.BSR]: 1, [Op.TZCNT]: 1, [Op.LZCNT]: 1, [Op.POPCNT]: 1, [Op.BSWAP]: 1,
  [Op.ANDN]: 2, [Op.BLSI]: 2, [Op.BLSR]: 2, [Op.BLSMSK]: 2, [Op.BEXTR]: 2, [Op.BZHI]: 2, [Op.PDEP]: 2, [Op.PEXT]: 2, [Op.ADOX]: 2,
};

export class Generator {
  private temps: number[] = [];
  constructor(private readonly b: IrBuilder, private readonly rnd: Random, private readonly helper: number) {}

  private src(): number {
    const k = this.rnd.below(10);
    if (k < 4 && this.temps.length > 0) return this.rnd.below(2) ? this.temps[this.temps.length - 1]! : this.rnd.pick(this.temps);
    if (k === 9) {
      const v = this.rnd.u64();
      return this.b.k64(Number(BigInt.asIntN(32, v)), Number(BigInt.asIntN(32, v >> 32n)));
    }
    return this.rnd.pick(REGS);
  }

  /** Runs `make` with a destination; a temporary counts as written only after it. */
  private to(w: number, make: (dst: number) => void): void {
    if (this.rnd.below(2)) {
      make(this.rnd.pick(REGS));
    } else {
      const t = this.b.temp();
      make(t);
      this.temps.push(t);
    }
    void w;
  }

  private fw(defined: number): number {
    const k = this.rnd.below(4);
    return k < 2 ? defined : k === 2 ? 0 : defined & this.rnd.below(64);
  }

  op(): void {
    const { b, rnd } = this;
    this.insn();
    const w = rnd.below(4);
    const k = rnd.below(32);
    if (k < 13) this.alu();
    else if (k === 13) this.to(w, (d) => b.mov(w, d, this.src()));
    else if (k === 14) this.to(w, (d) => b.zx(w, d, this.src()));
    else if (k === 15) this.to(w, (d) => b.sx(rnd.below(2), rnd.pick([16, 32, 64]), d, this.src()));
    else if (k === 16) this.to(w, (d) => b.emit(Op.EXTH, 0, 0, 0, d, this.src(), NONE, NONE, 0, 0));
    else if (k === 17) b.emit(Op.INSH, 0, 0, 0, rnd.pick(REGS), this.src(), NONE, NONE, 0, 0);
    else if (k < 20) this.to(w, (d) => b.lea(Math.max(w, 2), d, rnd.below(8) ? this.src() : NONE, rnd.below(2) ? this.src() : NONE, rnd.below(4), rnd.u32() | 0));
    else if (k === 20) this.to(w, (d) => b.setcc(rnd.below(16), d));
    else if (k === 21) this.to(w, (d) => b.cmov(rnd.below(16), w, d, this.src(), this.src()));
    else if (k === 22) this.to(w, (d) => b.alu3(Op.SELNZ, w, d, this.src(), this.src(), this.src()));
    else if (k < 26) this.memory(w);
    else if (k === 26) this.flags();
    else if (k === 27) {
      const dst = rnd.pick(REGS);
      b.call(this.helper, dst, this.src(), this.src(), this.src(), rnd.u32() | 0);
    } else if (k === 28) {
      // Remainder and quotient must differ.
      b.emit(rnd.pick([Op.DIV, Op.IDIV]), w, 0, 0, 8 + rnd.below(8), this.src(), this.src(), this.src(), 16 + rnd.below(8), 0);
    } else if (k > 29) {
      this.group();
    } else {
      const shift = rnd.pick([Op.SHL, Op.SHR, Op.ROL, Op.SAR, Op.RCR]);
      this.to(w, (d) => b.alu(shift, w, d, this.src(), b.k(1), this.fw(FLAGS_WRITTEN[shift]! & ~Fl.AF)));
    }
  }

  /** Instructions of any length, now and then a longer one than any guest has. */
  private insn(): void {
    const at = 0x10 + this.rnd.below(16);
    this.b.insn(at, this.rnd.below(8) ? at + 1 + this.rnd.below(15) : 0x30);
  }

  /** Accesses next to each other, as pushes, pops and members of a structure are, with other ops between them. */
  private group(): void {
    const { b, rnd } = this;
    let at = b.temp();
    b.mov(3, at, b.k(Number(rnd.pick(ADDRESSES)) + rnd.below(0x80)));
    for (let n = 2 + rnd.below(4); n > 0; n--) {
      const next = b.temp();
      if (rnd.below(3)) b.lea(3, next, at, NONE, 0, 8 * (rnd.below(9) - 4));
      else b.alu(rnd.pick([Op.ADD, Op.SUB]), 3, next, at, b.k(rnd.below(32)), 0);
      if (rnd.below(4)) at = next;
      if (rnd.below(4) === 0) this.op();
      this.insn();
      const w = rnd.below(4);
      const rmw = rnd.below(4) === 0;
      if (rnd.below(2) || rmw) this.to(w, (d) => b.ld(w, d, next, rmw ? 1 : 0));
      if (rmw || rnd.below(2)) b.st(w, next, this.src(), 0);
    }
  }

  private alu(): void {
    const { b, rnd } = this;
    const op = rnd.pick(ALU);
    const w = Math.max(rnd.below(4), MIN_W[op] ?? 0);
    let defined = FLAGS_WRITTEN[op]! & ~UNDEFINED_FLAGS[op]!;
    // OF is undefined for counts other than 1, CF for counts beyond the width.
    if (op >= Op.SHL && op <= Op.SHRD) defined &= ~Fl.OF;
    if ((op === Op.SHL || op === Op.SHR) && w < 2) defined &= ~Fl.CF;
    const fw = this.fw(defined);
    const form = OPS[op]!.form;
    const a = this.src();
    const s2 = form[2] === 's' ? this.src() : NONE;
    // Double shifts of 16 bits by more than the width are undefined: constant counts there.
    const c = form[3] === 's' ? (w === 1 ? b.k(rnd.below(17)) : this.src()) : form[3] === 'D' ? (rnd.below(2) ? NONE : 16 + rnd.below(8)) : NONE;
    if (form[0] === '-') b.alu(op, w, NONE, a, s2, fw);
    else if (rnd.below(3) === 0) b.alu3(op, w, 8 + rnd.below(8), form[3] === 'D' ? a : 8 + rnd.below(8), s2, c, fw);
    else if (form[3] === 'D') b.alu3(op, w, 8 + rnd.below(8), a, s2, c, fw);
    else this.to(w, (d) => b.alu3(op, w, d, a, s2, c, fw));
  }

  private memory(w: number): void {
    const { b, rnd } = this;
    const address = rnd.pick(ADDRESSES);
    let at = b.k(Number(address));
    if (rnd.below(2)) {
      at = b.temp();
      b.mov(3, at, b.k(Number(address)));
      this.temps.push(at);
    }
    const acc = rnd.below(8) ? 0 : rnd.pick([1, 2, 4]);
    if (rnd.below(2)) this.to(w, (d) => b.ld(w, d, at, acc));
    else b.st(w, at, this.src(), acc);
  }

  private flags(): void {
    const { b, rnd } = this;
    const k = rnd.below(3);
    if (k === 0) this.to(2, (d) => b.emit(Op.GETF, 2, 0, 0, d, NONE, NONE, NONE, 0, 0));
    else if (k === 1) b.emit(Op.PUTF, 2, 0, rnd.below(64), NONE, this.src(), NONE, NONE, 0, 0);
    else b.emit(Op.SETCF, 0, 0, Fl.CF, NONE, NONE, NONE, NONE, rnd.below(3), 0);
  }

  end(): void {
    const { b, rnd } = this;
    b.insn(0x40, 0x44);
    const k = rnd.below(5);
    if (k < 2) b.jcc(rnd.below(16), 0x100, rnd.pick([0x44, 0x1044]));
    else if (k === 2) b.jnz(rnd.below(4), this.src(), -0x100, 0x44);
    else if (k === 3) b.jmpi(this.src());
    else b.exit(ExitCode.SHADOW, 0x44);
  }
}

export function defineHelper(cpu: FakeCpu): number {
  return cpu.helpers.define('mix', (_c, dst, a, b, c, imm) => {
    // Like a real helper it sees flags and registers, and changes both.
    const v = cpu.get(a) ^ (cpu.get(b) << 1n) ^ (cpu.get(c) << 2n) ^ BigInt(imm) ^ cpu.get(Slot.FLAGS);
    cpu.set(dst, v);
    cpu.setFlags(Number(v & 0x8d5n));
    return HelperResult.CONTINUE;
  });
}

/** Maps the pages; every slow access also logs the flags that it sees. */
export function prepare(cpu: FakeCpu): void {
  const { load, store } = cpu;
  /** Logs the flags before what `access` logs, if that is anything. */
  const seen = (access: () => void): void => {
    const flags = `flags ${cpu.V[0]! & 0xffff}`;
    const at = cpu.log.length;
    try {
      access();
    } finally {
      if (cpu.log.length > at) cpu.log.splice(at, 0, flags);
    }
  };
  cpu.load = (w, addr, dst, acc): void => seen(() => load.call(cpu, w, addr, dst, acc));
  cpu.store = (w, addr, val, acc): void => seen(() => store.call(cpu, w, addr, val, acc));
  cpu.flushTlb();
  cpu.mapPage(0x1000n, 0x1000, true);
  cpu.mapPage(0x2000n, 0x2000, false);
}
