# 32-bit paging: 4 KiB and 4 MiB pages (SDM vol. 3, 4.3).
.set BITS, 32
.set ESIZE, 4
.set HAS_NX, 0
.set AREA, 0x40000000
.include "runtime.S"
.include "paging.S"
.set CR4_PSE, 0x10
.set BIG, 0x60000000
main:
  SET_CR cr4, CR4_PSE
  # 4 MiB pages for 64 MiB, 4 KiB pages for the first one.
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $22, %eax
  orl $0xe3, %eax
  movl %eax, pdir(,%ecx,4)
  addl $1, %ecx
  cmpl $16, %ecx
  jne 1b
  movl $(low + 7), pdir
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $12, %eax
  orl $0x63, %eax
  cmpl $(0x180000 >> 12), %ecx
  jb 2f
  cmpl $(0x190000 >> 12), %ecx
  jae 2f
  orl $4, %eax
2:
  movl %eax, low(,%ecx,4)
  addl $1, %ecx
  cmpl $1024, %ecx
  jne 1b
  movl $(ptab + 7), pde_area
  movl $pdir, %eax
  movl %eax, %cr3
  SET_CR cr0, 0x80000000
  call paging_tests

  # ---- 4 MiB pages
.set big, pdir + (BIG >> 22) * 4
  movl $(0x400000 + P + W + 0x80), big
  movl $0x1234, FRAME + 0x5678
  EQ "4 MiB page: read", BIG + 0x5678, $0x1234
  EQ "4 MiB page: A", big, $(0x400000 + P + W + 0x80 + A)
  FINE "4 MiB page: write", "movl $0x4321, BIG + 0x5678"
  EQ "4 MiB page: A and D", big, $(0x400000 + P + W + 0x80 + A + D)
  EQ "4 MiB page: written", FRAME + 0x5678, $0x4321
  movl $(0x400000 + P + 0x80), big
  invlpg BIG + 0x300000
  RAISES1 "4 MiB page: read-only", PF, 3, "movl %eax, BIG + 0x5678"
  U_RAISES "4 MiB page: user", PF, 5, "movl BIG, %eax"
  # Bit 21 is reserved, bits 13 to 20 are address bits 32 to 39.
  movl $(0x600000 + P + 0x80), big
  invlpg BIG
  RAISES1 "4 MiB page: bit 21", PF, 9, "movl BIG, %eax"
  # Bit 12 is PAT.
  movl $(0x401000 + P + 0x80), big
  invlpg BIG
  EQ "4 MiB page: PAT", BIG + 0x5678, $0x4321
  movl $(0x800000 + P + 0x80), big
  invlpg BIG + 0x3ff000
  EQ "4 MiB page: one INVLPG drops all of it", BIG + 0x5678, $0
  # Without CR4.PSE bit 7 means nothing: the entry points to a table. 400000h holds data that is not present.
  movl $0, FRAME
  movl $(0x400000 + P + W + 0x80), big
  movl $(0x400000 + P + W), FRAME + 5 * 4
  CLEAR_CR cr0, 0x80000000
  CLEAR_CR cr4, CR4_PSE
  # All of the program lies in the first 4 MiB, which have a table.
  SET_CR cr0, 0x80000000
  EQ "no PSE: through the table", BIG + 0x5000 + 20, $(0x400000 + P + W + A)
  RAISES1 "no PSE: not present", PF, 0, "movl BIG, %eax"
  CLEAR_CR cr0, 0x80000000
  EQ "paging off", FRAME + 0x5678, $0x4321

  DONE

.section .bss
.balign 4096
pdir: .skip 4096
low: .skip 4096
ptab: .skip 4096
.set pde_area, pdir + (AREA >> 22) * 4
