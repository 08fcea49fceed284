# 4-level and 5-level paging (SDM vol. 3, 4.5). LEVELS is 4 or 5.
.set BITS, 64
.set ESIZE, 8
.set HAS_NX, 1
.set AREA, 0x40000000
.include "runtime.S"
.include "paging.S"
.set BIG, 0x60000000
main:
  movl $(ptab + 7), pde_area
  movl $0, pde_area + 4
.if LEVELS == 5
  # CR4.LA57 changes with paging off only.
  movq %cr4, %rax
  orq $0x1000, %rax
  RAISES1 "CR4.LA57 in long mode", GP, 0, "movq %rax, %cr4"
  movl $(pml4 + 7), pml5
  push $CS32
  push $10f
  lretq
.code32
10:
  movl %cr0, %eax
  andl $0x7fffffff, %eax
  movl %eax, %cr0
  movl %cr4, %eax
  orl $0x1000, %eax
  movl %eax, %cr4
  movl $pml5, %eax
  movl %eax, %cr3
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  ljmp $CS64, $11f
.code64
11:
  movq %cr4, %rax
  andq $~0x1000, %rax
  RAISES1 "CR4.LA57 cleared in long mode", GP, 0, "movq %rax, %cr4"
.else
  RELOAD_CR3
.endif
  call paging_tests

  # ---- 2 MiB pages
.set big, pd + (BIG >> 21) * 8
  movl $(0x400000 + P + W + 0x80), big
  invlpg BIG
  movl $0x1234, FRAME + 0x5678
  EQ "2 MiB page: read", BIG + 0x5678, $0x1234
  EQ "2 MiB page: A", big, $(0x400000 + P + W + 0x80 + A)
  FINE "2 MiB page: write", "movl $0x4321, BIG + 0x5678"
  EQ "2 MiB page: A and D", big, $(0x400000 + P + W + 0x80 + A + D)
  movl $(0x402000 + P + W + 0x80), big
  invlpg BIG
  RAISES1 "2 MiB page: bit 13", PF, 9, "movl BIG, %eax"
  movl $(0x500000 + P + W + 0x80), big
  invlpg BIG
  RAISES1 "2 MiB page: bit 20", PF, 9, "movl BIG, %eax"
  movl $(0x401000 + P + W + 0x80), big
  invlpg BIG
  EQ "2 MiB page: PAT", BIG + 0x5678, $0x4321
  movl $0x80000000, big + 4
  invlpg BIG
  RAISES "2 MiB page: NX", PF, 0x11, "movl $BIG + 0x8000, %ecx; call *%rcx"
  movl $0x00080000, big + 4
  invlpg BIG
  RAISES1 "2 MiB page: reserved address bit", PF, 9, "movl BIG, %eax"
  # Bits 52 to 62 are ignored in these modes.
  movl $0x7ff00000, big + 4
  invlpg BIG
  EQ "2 MiB page: ignored bits", BIG + 0x5678, $0x4321
  movl $0, big + 4

  # ---- 1 GiB pages
  movl $(P + W + 0x80), pdpt + 64
  movabsq $0x200405678, %rbx
  FINE "1 GiB page: read", "movl (%rbx), %ebp"
  EQ "1 GiB page: value", %ebp, $0x4321
  movabsq $0x200405678, %rbx
  FINE "1 GiB page: write", "movl $0x9876, (%rbx)"
  EQ "1 GiB page: written", FRAME + 0x5678, $0x9876
  EQ "1 GiB page: A and D", pdpt + 64, $(P + W + 0x80 + A + D)
  movl $(P + W + 0x80 + 0x20000000), pdpt + 64
  invlpg (%rbx)
  RAISES1 "1 GiB page: bit 29", PF, 9, "movl (%rbx), %eax"
  EQ64 "1 GiB page: CR2", rec_cr2, $0x200405678
  movl $(P + W + 0x80 + 0x2000), pdpt + 64
  invlpg (%rbx)
  RAISES1 "1 GiB page: bit 13", PF, 9, "movl (%rbx), %eax"
  movl $(pd + P + W), pdpt + 64
  invlpg (%rbx)
  FINE "1 GiB region", "movl (%rbx), %ebp"
  EQ "1 GiB region: through the directory", %ebp, $0x9876
  movl $0, pdpt + 64
  invlpg (%rbx)
  RAISES1 "1 GiB region: not present", PF, 0, "movl (%rbx), %eax"
  # PS is reserved in the highest levels.
  movl $(pdpt + 7), pml4 + 8
  movabsq $0x8000400000, %rbx
  FINE "PML4 entry 1", "movl (%rbx), %eax"
  movl $(pdpt + 7 + 0x80), pml4 + 8
  invlpg (%rbx)
  RAISES1 "PML4 entry: PS", PF, 9, "movl (%rbx), %eax"
  movl $(pdpt + 3), pml4 + 8
  movl $0x80000000, pml4 + 12
  invlpg (%rbx)
  movabsq $0x8000000000 + nx_target, %rcx
  RAISES "PML4 entry: NX", PF, 0x11, "call *%rcx"
  movl $0, pml4 + 12
  movl $0, pml4 + 8
  invlpg (%rbx)

  # ---- canonical addresses
  movabsq $0x800000000000, %rbx
.if LEVELS == 4
  RAISES1 "first non-canonical address", GP, 0, "movl (%rbx), %eax"
  movabsq $0xffff7fffffffffff, %rbx
  RAISES1 "last non-canonical address", GP, 0, "movb (%rbx), %al"
  movabsq $0xffff800000000000, %rbx
  RAISES1 "first canonical address of the upper half", PF, 0, "movb (%rbx), %al"
  EQ64 "its CR2", rec_cr2, $0xffff800000000000
  movabsq $0x7fffffffffff, %rbx
  RAISES1 "last address of the lower half", PF, 0, "movb (%rbx), %al"
  movabsq $0x7fffffffffff, %rbx
  movl $(hole3 + 3), pml4 + 255 * 8
  movl $(hole2 + 3), hole3 + 511 * 8
  movl $(FRAME + 0x80 + 3), hole2 + 511 * 8
  FINE "last byte of the lower half", "movb (%rbx), %al"
  RAISES1 "access across the end of the lower half", GP, 0, "movw (%rbx), %ax"
.else
  RAISES1 "address past 47 bits", PF, 0, "movl (%rbx), %eax"
  EQ64 "its CR2", rec_cr2, $0x800000000000
  movabsq $0x100000000000000, %rbx
  RAISES1 "first non-canonical address", GP, 0, "movl (%rbx), %eax"
  movabsq $0xff00000000000000, %rbx
  RAISES1 "first canonical address of the upper half", PF, 0, "movb (%rbx), %al"
  movl $(pml4 + 3), pml5 + 8
  movabsq $0x1000000400000, %rbx
  movl $0x77, FRAME
  FINE "second PML5 entry", "movl (%rbx), %ebp"
  EQ "second PML5 entry: value", %ebp, $0x77
  movl $(pml4 + 3 + 0x80), pml5 + 8
  invlpg (%rbx)
  RAISES1 "PML5 entry: PS", PF, 9, "movl (%rbx), %eax"
  movl $0, pml5 + 8
  invlpg (%rbx)
.endif
  movabsq $0x8000000000000000, %rbx
  RAISES "jump to a non-canonical address", GP, 0, "jmp *%rbx"
  RAISES "return to a non-canonical address", GP, 0, "push %rbx; ret"
  U_RAISES "stack, non-canonical: PUSH", SS, 0, "movq %rbx, %rsp; push %rax"
  U_RAISES "stack, non-canonical: CALL", SS, 0, "movq %rbx, %rsp; call 1f; 1: nop"
  U_RAISES "non-canonical: through R13", GP, 0, "movq %rbx, %r13; movl 8(%r13), %eax"
  U_RAISES "stack, non-canonical: PUSH of a good operand", SS, 0, "movq %rbx, %rsp; pushq 0x180000"
  U_RAISES "non-canonical: PUSH of a bad operand", GP, 0, "pushq (%rbx)"
  U_RAISES "stack, non-canonical: through RBP", SS, 0, "movq %rbx, %rbp; movl 8(%rbp), %eax"
  DONE

nx_target:
  ret

.section .bss
.balign 4096
.if LEVELS == 5
pml5: .skip 4096
.else
hole3: .skip 4096
hole2: .skip 4096
.endif
ptab: .skip 4096
.set pde_area, pd + (AREA >> 21) * 8
