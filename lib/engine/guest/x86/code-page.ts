/** Where code lies, without setting accessed bits: for what is known of it from before a flush (docs/adr/0072). */
import { GLOBAL_PAGE } from '../../cpu.js';
import type { X86Cpu } from './cpu.js';
import { Cr0, Cr4, Efer, canonical } from './defs.js';
import { Mode } from './mode.js';

/** Present and accessed. */
const PA = 0x21;

/** GuestCpu.codePage, of 64-bit code only. Processors may cache translations that are marked accessed at any time (SDM vol. 3, 4.10.2.3). */
export function codePage(cpu: X86Cpu, lo: number, hi: number): number {
  const { mmu, map, cr4 } = cpu;
  if ((cpu.mode & Mode.CODE_MASK) !== Mode.CODE64 || !(cpu.cr0 & Cr0.PG) || !mmu.a20 || !canonical(hi, mmu.canonicalBits)) return -1;
  const { ram32 } = map;
  const reserved = (0x000f_ffff & ~((1 << (cpu.model.physBits - 32)) - 1)) | (cpu.efer & Efer.NXE ? 0 : 0x8000_0000) | 0;
  let user = true;
  let table = mmu.root;
  for (let level = cr4 & Cr4.LA57 ? 5 : 4; ; level--) {
    const i = level === 1 ? lo >>> 12 : level === 2 ? lo >>> 21 : level === 3 ? (lo >>> 30) | (hi << 2) : level === 4 ? hi >>> 7 : hi >>> 16;
    const off = map.pageOffset(table);
    if (off < 0) return -1;
    const word = (off >>> 2) + (i & 511) * 2;
    const eLo = ram32[word]!;
    const eHi = ram32[word + 1]!;
    // A page with XD set (bit 63) holds no code; without EFER.NXE the bit is reserved.
    if ((eLo & PA) !== PA || eHi < 0 || eHi & reserved) return -1;
    user = user && (eLo & 4) !== 0;
    const large = (eLo & 0x80) !== 0 && level > 1;
    if (level > 1 && !large) {
      table = (eHi & 0xf_ffff) * 4294967296 + ((eLo & ~0xfff) >>> 0);
      continue;
    }
    if (large && (level > 3 || (level === 3 && !cpu.model.gbPages) || eLo & (level === 3 ? 0x3fff_e000 : 0x1f_e000))) return -1;
    if (cpu.mode & Mode.USER ? !user : user && cr4 & Cr4.SMEP) return -1;
    if (large) mmu.noteLarge(lo, hi, level === 3);
    const mask = level === 1 ? 0xfff : level === 2 ? 0x1f_ffff : 0x3fff_ffff;
    const at = map.pageOffset((eHi & 0xf_ffff) * 4294967296 + (((eLo & ~mask & ~0xfff) | (lo & mask)) >>> 0));
    return at < 0 ? -1 : (at >>> 12) | (cr4 & Cr4.PGE && eLo & 0x100 ? GLOBAL_PAGE : 0);
  }
}
