# Bare-metal program of bench/mmu.mjs: what misses of the TLB, page faults and changes of address space cost. Each part says on COM1 when it
# begins and ends; the time between is the host's to take.
.set BITS, 64
.include "runtime.S"
.set AREA, 0x40000000
.set FRAMES, 0x1000000
.set PAGES, 16384
.set TLB_ROUNDS, 60
.set FAULT_ROUNDS, 60
.set SWITCHES, 300000
.set TOUCHED, 16
.set PCIDE, 0x20000
.macro PART name
  TEXT %esi, "begin \name\n"
  call print
.endm
.macro PART_END name
  TEXT %esi, "end \name\n"
  call print
.endm
# One access to each page of AREA, every time to another line.
.macro TOUCH pages
  movl $AREA, %edi
  movl $\pages, %ecx
92:
  movl (%rdi), %eax
  addq $4160, %rdi
  andq $~0x800, %rdi
  subl $1, %ecx
  jnz 92b
.endm
main:
  # AREA: pages of 4 KiB from FRAMES on.
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $12, %eax
  addl $(FRAMES + 3), %eax
  movl %eax, ptabs(,%rcx,8)
  movl $0, ptabs + 4(,%rcx,8)
  addl $1, %ecx
  cmpl $PAGES, %ecx
  jne 1b
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $12, %eax
  addl $(ptabs + 3), %eax
  movl %eax, pd + 4096(,%rcx,8)
  addl $1, %ecx
  cmpl $(PAGES / 512), %ecx
  jne 1b
  movl $pml4, %esi
  movl $other, %edi
  movl $1024, %ecx
  rep movsl
  movq %cr3, %rax
  movq %rax, %cr3
  TOUCH PAGES
  movl $page_fault, %eax
  movw %ax, idt + 14 * 16
  shrl $16, %eax
  movw %ax, idt + 14 * 16 + 6

  PART "tlb-miss"
  movl $TLB_ROUNDS, %ebp
1:
  TOUCH PAGES
  subl $1, %ebp
  jnz 1b
  PART_END "tlb-miss"

  PART "page-fault"
  movl $FAULT_ROUNDS, %ebp
1:
  movl $0, %ecx
2:
  andl $~1, ptabs(,%rcx,8)
  addl $1, %ecx
  cmpl $PAGES, %ecx
  jne 2b
  movq %cr3, %rax
  movq %rax, %cr3
  TOUCH PAGES
  subl $1, %ebp
  jnz 1b
  PART_END "page-fault"

  PART "switch"
  movl $SWITCHES, %ebp
1:
  movl $other, %eax
  movq %rax, %cr3
  TOUCH TOUCHED
  movl $pml4, %eax
  movq %rax, %cr3
  TOUCH TOUCHED
  subl $2, %ebp
  jnz 1b
  PART_END "switch"

  movl $1, %eax
  cpuid
  testl $0x20000, %ecx
  jz 9f
  movq %cr4, %rax
  orq $PCIDE, %rax
  movq %rax, %cr4
  movabsq $(1 << 63), %rbx
  PART "switch-pcid"
  movl $SWITCHES, %ebp
1:
  movl $other + 1, %eax
  orq %rbx, %rax
  movq %rax, %cr3
  TOUCH TOUCHED
  movl $pml4 + 2, %eax
  orq %rbx, %rax
  movq %rax, %cr3
  TOUCH TOUCHED
  subl $2, %ebp
  jnz 1b
  PART_END "switch-pcid"
9:
  DONE

# Makes the page present.
page_fault:
  push %rax
  movq %cr2, %rax
  subq $AREA, %rax
  shrq $12, %rax
  orl $1, ptabs(,%rax,8)
  pop %rax
  addq $8, %rsp
  iretq
.section .bss
.balign 4096
other: .skip 4096
ptabs: .skip PAGES * 8
