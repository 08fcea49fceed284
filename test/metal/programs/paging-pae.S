# PAE paging: 4 KiB and 2 MiB pages (SDM vol. 3, 4.4).
.set BITS, 32
.set ESIZE, 8
.set HAS_NX, 1
.set AREA, 0x40000000
.include "runtime.S"
.include "paging.S"
.set BIG, 0x60000000
main:
  movl $0xc0000080, %ecx
  rdmsr
  orl $0x800, %eax
  wrmsr
  # 2 MiB pages for 64 MiB, 4 KiB pages for the first one.
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $21, %eax
  orl $0xe3, %eax
  movl %eax, pdir(,%ecx,8)
  addl $1, %ecx
  cmpl $32, %ecx
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
  movl %eax, low(,%ecx,8)
  addl $1, %ecx
  cmpl $512, %ecx
  jne 1b
  movl $(pdir + 1), pdpt
  movl $(pdir1 + 1), pdpt + 8
  movl $(ptab + 7), pde_area
  movl $pdpt, %eax
  movl %eax, %cr3
  SET_CR cr4, 0x20
  SET_CR cr0, 0x80000000
  call paging_tests

  # ---- 2 MiB pages
.set big, pdir1 + ((BIG >> 21) & 511) * 8
  movl $(0x400000 + P + W + 0x80), big
  movl $0x1234, FRAME + 0x5678
  EQ "2 MiB page: read", BIG + 0x5678, $0x1234
  EQ "2 MiB page: A", big, $(0x400000 + P + W + 0x80 + A)
  FINE "2 MiB page: write", "movl $0x4321, BIG + 0x5678"
  EQ "2 MiB page: A and D", big, $(0x400000 + P + W + 0x80 + A + D)
  movl $(0x402000 + P + W + 0x80), big
  invlpg BIG
  RAISES1 "2 MiB page: bit 13", PF, 9, "movl BIG, %eax"
  movl $(0x401000 + P + W + 0x80), big
  invlpg BIG
  EQ "2 MiB page: PAT", BIG + 0x5678, $0x4321
  movl $0x80000000, big + 4
  invlpg BIG
  RAISES "2 MiB page: NX", PF, 0x11, "movl $BIG + 0x8000, %ecx; call *%ecx"
  movl $0x80080000, big + 4
  invlpg BIG
  RAISES1 "2 MiB page: reserved address bit", PF, 9, "movl BIG, %eax"
  movl $0x40000000, big + 4
  invlpg BIG
  RAISES1 "2 MiB page: bit 62", PF, 9, "movl BIG, %eax"
  movl $0, big + 4

  # ---- page directory pointers. Whether they are read once by MOV CR3 (Intel) or at each walk (AMD) is not checked.
  movl $0x55aa, FRAME
  MAP 0, 0, P
  EQ "through the second pointer", AREA, $0x55aa
  movl $0, pdpt + 8
  RELOAD_CR3
  RAISES1 "pointer not present", PF, 0, "movl AREA, %eax"
  movl $(pdir1 + 1), pdpt + 8
  RELOAD_CR3
  EQ "pointer present again", AREA, $0x55aa
  DONE

.section .bss
.balign 4096
pdpt: .skip 4096
pdir: .skip 4096
pdir1: .skip 4096
low: .skip 4096
ptab: .skip 4096
.set pde_area, pdir1 + ((AREA >> 21) & 511) * 8
