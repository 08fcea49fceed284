# Code that changes code: every kind of store, every distance. No jump or serialising instruction comes between store and
# execution unless stated: processors since the P6 (and QEMU) notice such writes at once.
.set BITS, 64
.include "runtime.S"
# Checks that eax = want after a piece of code.
main:
  # ---- the next instruction of the same block
  movl $0, %eax
  movb $0x42, 1f + 1
1: movb $0x11, %al
  EQ "next instruction", %eax, $0x42
  # An instruction further on, past others.
  movl $0, %eax
  movl $0x43, 1f + 1
  nop
  addl $0, %ecx
1: movl $0x11, %eax
  EQ "later instruction", %eax, $0x43
  # An instruction replaced by another one: NOP NOP becomes INC EAX.
  movl $7, %eax
  movw $0xc0ff, 1f
1: nop
  nop
  EQ "another instruction", %eax, $8

  # ---- loops: the code is hot, chained and changed in every round
  movl $0, %ebx
  movl $100, %ecx
2:
  movl %ecx, 1f + 1
1: movl $0x11, %eax
  addl %eax, %ebx
  subl $1, %ecx
  jnz 2b
  EQ "changed in every round", %ebx, $5050
  movl $0, %ebx
  movl $100, %ecx
2:
  movl $0, %edx
1: movl $5, %eax
  addl %eax, %ebx
  movl %ecx, 1b + 1
  subl $1, %ecx
  jnz 2b
  EQ "changed behind", %ebx, $(5 + 5050 - 1)

  # ---- a routine in another page
  movl $routine, %edi
  call fill_routine
  movl $200, %ecx
2:
  call routine
  subl $1, %ecx
  jnz 2b
  EQ "routine", %eax, $0x55
  movl $0x66, routine + 1
  call routine
  EQ "routine: MOV", %eax, $0x66
  movl $0x67, %eax
  xchgl %eax, routine + 1
  call routine
  EQ "routine: XCHG", %eax, $0x67
  lock addl $1, routine + 1
  call routine
  EQ "routine: LOCK ADD", %eax, $0x68
  movl $0x68, %eax
  movl $0x69, %edx
  lock cmpxchgl %edx, routine + 1
  call routine
  EQ "routine: LOCK CMPXCHG", %eax, $0x69
  movl $routine + 1, %edi
  movl $0x6a, %eax
  stosb
  call routine
  EQ "routine: STOSB", %eax, $0x6a
  movl $new_code, %esi
  movl $routine, %edi
  movl $6, %ecx
  rep movsb
  call routine
  EQ "routine: REP MOVSB", %eax, $0x77
  movl $routine, %edi
  call fill_routine
  call routine
  movl $routine + 1, %edi
  movl $0x01010101, %eax
  movl $1, %ecx
  rep stosl
  call routine
  EQ "routine: REP STOSL", %eax, $0x01010101
  movq %rsp, %rbx
  movl $routine + 8, %esp
  movabsq $0xc3000000abb8, %rax
  pushq %rax
  movq %rbx, %rsp
  call routine
  EQ "routine: PUSH", %eax, $0xab
  movq %cr4, %rax
  orq $0x200, %rax
  movq %rax, %cr4
  movups sse_code, %xmm0
  movups %xmm0, routine
  call routine
  EQ "routine: MOVUPS", %eax, $0x5e
  movl $routine, %edi
  call fill_routine
  call routine
  movq sse_code + 16, %xmm0
  movq %xmm0, routine
  call routine
  EQ "routine: MOVQ from XMM", %eax, $0x5f
  # Sixteen bytes stored by FXSAVE: the first byte of FXSAVE's area is FCW. Here only: the routine is overwritten.
  movl $routine, %edi
  call fill_routine
  call routine
  orb $0x80, routine + 1
  call routine
  EQ "routine: OR byte", %eax, $0xd5
  btcl $0, routine + 1
  call routine
  EQ "routine: BTC", %eax, $0xd4
  call write_by_call
  EQ "routine: return address pushed over it", %ebx, $1

  # ---- a store across two pages of code
  movl $pages + 4096 - 2, %edi
  call fill_routine
  call pages + 4096 - 2
  EQ "routine across pages", %eax, $0x55
  movl $0x12345678, pages + 4096 - 1
  call pages + 4096 - 2
  EQ "routine across pages: store across", %eax, $0x12345678
  movb $0x99, pages + 4096
  call pages + 4096 - 2
  EQ "routine across pages: store to the second", %eax, $0x12349978
  movw $0x2211, pages + 4096 - 1
  call pages + 4096 - 2
  EQ "routine across pages: word across", %eax, $0x12342211
  # The code that stores runs across the border itself.
  movl $pages + 4096 - 5, %edi
  movl $crossing, %esi
  movl $crossing_end - crossing, %ecx
  rep movsb
  movl $pages + 4096 - 5, %edx
  call pages + 4096 - 5
  EQ "own block, across pages", %eax, $0x1234
  call pages + 4096 - 5
  EQ "own block, across pages, again", %eax, $0x1235

  # ---- REP MOVS over its own following code
  movl $pages, %edi
  movl $self_rep, %esi
  movl $self_rep_end - self_rep, %ecx
  rep movsb
  call pages
  EQ "REP MOVSB over its own block", %eax, $0x77
  # REP STOSB over itself: the instruction finishes what it has begun? It must not: each iteration may be the last of the
  # old instruction. Intel lets the fetched instruction run on; nothing is checked but that the machine survives.

  # ---- data and code in one page
  movl $0, %ebx
  movl $1000, %ecx
2:
  addl $1, mixed_data
  call mixed_code
  addl %eax, %ebx
  subl $1, %ecx
  jnz 2b
  EQ "data next to code", mixed_data, $1000
  EQ "code next to data", %ebx, $3000
  # A jump patched to go elsewhere while it is hot.
  movl $0, %ebx
  movl $20, %ecx
2:
  cmpl $10, %ecx
  jne 3f
  movb $(5f - 4f), 4f - 1
3:
  .byte 0xeb, 0
4:
  addl $1, %ebx
  jmp 6f
5:
  addl $0x100, %ebx
6:
  subl $1, %ecx
  jnz 2b
  EQ "patched jump", %ebx, $0xa0a

  # ---- a fault after a store to the own block: the store stands, the fault is exact
  movl $0, %eax
  RAISES "store, then a fault", UD, 0, "movl $0x1111, pages + 64; ud2"
  EQ "store before the fault", pages + 64, $0x1111
  DONE

fill_routine:
  movb $0xb8, (%rdi)
  movl $0x55, 1(%rdi)
  movb $0xc3, 5(%rdi)
  ret
# CALL pushes into the page of the routine (at routine + 8, which is no code).
write_by_call:
  movq %rsp, %rbp
  movl $routine + 64, %esp
  call 1f
1:
  movl $0, %ebx
  cmpl $1b, routine + 56
  sete %bl
  movq %rbp, %rsp
  ret
crossing:
  .byte 0xb8
  .long 0x1234
  # Changes the immediate above (edx = start of the copy) for the next call.
  addl $1, 1(%rdx)
  ret
crossing_end:
self_rep:
  movl $new_code, %esi
  movl $pages + (1f - self_rep), %edi
  movl $6, %ecx
  rep movsb
1:
  movl $0x11, %eax
  ret
self_rep_end:

.data
new_code:
  .byte 0xb8, 0x77, 0, 0, 0, 0xc3
.balign 16
sse_code:
  .byte 0xb8, 0x5e, 0, 0, 0, 0xc3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
  .byte 0xb8, 0x5f, 0, 0, 0, 0xc3, 0, 0
.balign 64
mixed_data: .long 0
mixed_code:
  movl $3, %eax
  ret
.section .bss
.balign 4096
routine: .skip 4096
pages: .skip 8192
