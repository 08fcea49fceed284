/** Helpers: exceptions, far control transfers, flags, halt, strings and ports. Operands as in helper-names.ts. */
import { HelperResult, type HelperRegistry } from '../../helpers.js';
import { Pending, Slot } from '../../state.js';
import type { X86Cpu } from './cpu.js';
import { Cr0, Ef, Vec } from './defs.js';
import { Src } from './interrupts.js';
import { X } from './mode.js';

const CONTINUE = HelperResult.CONTINUE;
const DISPATCH = HelperResult.DISPATCH;

export function registerFlow(r: HelperRegistry<X86Cpu>): void {
  const ALL = 63;
  r.define('x86.ud', (c) => {
    throw c.fault(Vec.UD);
  });
  r.define('x86.gp0', (c) => {
    throw c.fault(Vec.GP, 0);
  });
  r.define('x86.de', (c) => {
    throw c.fault(Vec.DE);
  });
  // SDM vol. 3, tables 13-1 to 13-3: EM means #NM for x87, #UD for MMX and SSE; it does not touch AVX.
  r.define('x86.fpu_trap', (c, _d, _a, _b, _c, kind) => {
    if (c.cr0 & Cr0.EM && (kind === 1 || kind === 2)) throw c.fault(Vec.UD);
    if (kind === 3 && !(c.cr0 & Cr0.TS)) return CONTINUE;
    throw c.fault(Vec.NM);
  });
  r.define('x86.fwait', (c) => {
    if ((c.cr0 & (Cr0.MP | Cr0.TS)) === (Cr0.MP | Cr0.TS)) throw c.fault(Vec.NM);
    // FSW.ES: with CR0.NE = 0 the event goes to the FERR# line instead.
    if (c.V[Slot.FPU * 2]! & 0x80_0000) {
      if (c.cr0 & Cr0.NE) throw c.fault(Vec.MF);
      c.ferr();
    }
    return CONTINUE;
  });

  r.define('x86.callf', (c, _d, a, b, _c, w) => {
    c.transfer.call(c.V[b * 2]!, c.V[a * 2]!, c.V[a * 2 + 1]!, w);
    return DISPATCH;
  });
  r.define('x86.jmpf', (c, _d, a, b, _c, w) => {
    c.transfer.jump(c.V[b * 2]!, c.V[a * 2]!, c.V[a * 2 + 1]!, w);
    return DISPATCH;
  });
  r.define('x86.retf', (c, _d, _a, _b, _c, imm) => {
    c.transfer.ret(imm & 0xff, (imm >>> 8) & 0xffff);
    return DISPATCH;
  });
  r.define('x86.iret', (c, _d, _a, _b, _c, w) => {
    c.transfer.iret(w);
    return DISPATCH;
  }, { writesFlags: ALL });
  r.define('x86.int', (c, _d, _a, _b, _c, vector) => {
    c.softInt(vector & 0xff, Src.INT_N);
    return DISPATCH;
  });
  r.define('x86.int3', (c) => {
    c.softInt(Vec.BP, Src.INT3);
    return DISPATCH;
  });
  r.define('x86.into', (c) => {
    if (!(c.V[Slot.FLAGS * 2]! & 1)) return CONTINUE;
    c.softInt(Vec.OF, Src.INT3);
    return DISPATCH;
  }, { readsFlags: ALL });
  r.define('x86.int1', (c) => {
    c.debug.icebp();
    c.softInt(Vec.DB, Src.INT1);
    return DISPATCH;
  });
  r.define('x86.syscall', (c) => {
    c.transfer.syscall();
    return DISPATCH;
  }, { readsFlags: ALL, writesFlags: ALL });
  r.define('x86.sysret', (c, _d, _a, _b, _c, w) => {
    c.transfer.sysret(w);
    return DISPATCH;
  }, { writesFlags: ALL });
  r.define('x86.sysenter', (c) => {
    c.transfer.sysenter();
    return DISPATCH;
  });
  r.define('x86.sysexit', (c, _d, _a, _b, _c, w) => {
    c.transfer.sysexit(w);
    return DISPATCH;
  });
  r.define('x86.rsm', (c) => {
    throw c.fault(Vec.UD);
  });

  r.define('x86.cli', (c) => {
    c.flags.cli();
    return CONTINUE;
  });
  r.define('x86.sti', (c) => {
    c.flags.sti();
    return CONTINUE;
  });
  r.define('x86.pushf', (c, dst, _a, _b, _c, w) => {
    c.setReg(w, dst, c.flags.pushf(w), 0);
    return CONTINUE;
  }, { readsFlags: ALL });
  r.define('x86.popf', (c, _d, a, _b, _c, w) => {
    c.flags.popf(c.V[a * 2]!, w);
    return CONTINUE;
  }, { writesFlags: ALL });
  r.define('x86.popf_rare', (c, _d, a, _b, _c, w) => {
    c.transfer.popf(c.V[a * 2]!, w);
    return DISPATCH;
  }, { writesFlags: ALL });
  r.define('x86.hlt', (c) => {
    if (c.cpl !== 0) throw c.fault(Vec.GP, 0);
    c.halted = true;
    return CONTINUE;
  });
  r.define('x86.clac', (c) => {
    if (c.cpl !== 0 || !c.model.features.has('smap')) throw c.fault(Vec.UD);
    c.V[X.EFLAGS * 2]! &= ~Ef.AC;
    c.updateMode();
    return CONTINUE;
  });
  r.define('x86.stac', (c) => {
    if (c.cpl !== 0 || !c.model.features.has('smap')) throw c.fault(Vec.UD);
    c.V[X.EFLAGS * 2]! |= Ef.AC;
    c.updateMode();
    return CONTINUE;
  });

  r.define('x86.in', (c, dst, a, _b, _c, w) => {
    const port = c.V[a * 2]! & 0xffff;
    c.checkIo(port, 1 << w);
    c.debug.onIo(port, 1 << w);
    c.setReg(2, dst, c.ports.portIn(port, 1 << w) | 0, 0);
    return CONTINUE;
  });
  r.define('x86.out', (c, _d, a, b, _c, w) => {
    const port = c.V[a * 2]! & 0xffff;
    const v = c.V[b * 2]!;
    c.checkIo(port, 1 << w);
    c.debug.onIo(port, 1 << w);
    c.ports.portOut(port, 1 << w, w === 2 ? v >>> 0 : v & (w === 1 ? 0xffff : 0xff));
    if (!(c.V[Slot.PENDING * 2]! & Pending.STOP)) return CONTINUE;
    // The write may have ended, reset or suspended the machine: nothing may run after it.
    c.setPcToNext();
    return DISPATCH;
  });
  r.define('x86.rep', (c, _d, _a, _b, _c, imm) => {
    if (c.strings.rep(imm)) {
      c.setPcToNext();
      return CONTINUE;
    }
    c.setPcToInsn();
    return DISPATCH;
  }, { readsFlags: ALL, writesFlags: ALL });
  const single = (c: X86Cpu, _d: number, _a: number, _b: number, _c: number, imm: number): HelperResult => {
    c.strings.single(imm);
    return CONTINUE;
  };
  r.define('x86.ins', single);
  r.define('x86.outs', single);
}
