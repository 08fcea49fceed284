/** Puts a CPU into the state in which a kernel loaded directly expects to be entered. */
import type { CpuStart } from '../boards/board.js';
import type { X86Cpu } from '../engine/guest/x86/cpu.js';
import { Cr0, Cr4, Efer } from '../engine/guest/x86/defs.js';
import { Seg, X } from '../engine/guest/x86/mode.js';

const SLOTS = { rax: X.RAX, rbx: X.RBX, rcx: X.RCX, rdx: X.RDX, rsi: X.RSI, rdi: X.RDI, rsp: X.RSP, rbp: X.RBP } as const;
/** Descriptor attributes: present, S, type; D/L and G. */
const CODE32 = 0xc09b;
const CODE64 = 0xa09b;
const DATA = 0xc093;
const REAL_CODE = 0x93;

export function startCpu(cpu: X86Cpu, s: CpuStart): void {
  if (s.mode === 'real16') {
    cpu.seg.set(Seg.CS, s.cs, s.cs << 4, 0xffff, REAL_CODE);
    cpu.updateMode();
    cpu.setIp(s.rip, 0);
    cpu.restartAt();
    return;
  }
  const long = s.mode === 'long64';
  cpu.cr0 = Cr0.PE | Cr0.ET | Cr0.NE | (long ? Cr0.PG : 0);
  cpu.cr4 = long ? Cr4.PAE : 0;
  cpu.efer = long ? Efer.LME | Efer.LMA : 0;
  cpu.cr3Lo = s.cr3 | 0;
  cpu.cr3Hi = 0;
  cpu.seg.gdtLo = s.gdt.base;
  cpu.seg.gdtHi = 0;
  cpu.seg.gdtLimit = s.gdt.limit;
  cpu.seg.set(Seg.CS, s.cs, 0, -1, long ? CODE64 : CODE32);
  for (const seg of [Seg.DS, Seg.ES, Seg.SS, Seg.FS, Seg.GS]) cpu.seg.set(seg, s.ds, 0, -1, DATA);
  for (const [name, slot] of Object.entries(SLOTS) as [keyof typeof SLOTS, number][]) {
    cpu.V[slot * 2] = (s.regs[name] ?? 0) | 0;
    cpu.V[slot * 2 + 1] = 0;
  }
  cpu.mmu.configure();
  cpu.updateMode();
  cpu.setIp(s.rip | 0, 0);
  cpu.restartAt();
}
