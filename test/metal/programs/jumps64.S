# Jumps to places in a page after its translation, its bytes, or the mode have changed (SDM vol. 3, 4.10.4 and 9.1.3).
.set BITS, 64
.include "runtime.S"
.set AREA, 0x40000000
.macro SET_PTE n, value
  movl $(\value), ptab + \n * 8
.endm
# A function at a physical address that returns a number; the same in 32-bit and 64-bit code.
.macro RETURNS address, value
  movb $0xb8, \address
  movl $\value, \address + 1
  movb $0xc3, \address + 5
.endm
.macro VISIT page, offset
  movl $AREA + \page * 4096 + \offset, %edx
  call *%rdx
.endm
# Any bit of r12 set: a call has returned something else.
.macro GAVE value
  subl $\value, %eax
  orl %eax, %r12d
.endm
.macro RELOAD
  movq %cr3, %rax
  movq %rax, %cr3
.endm
main:
  movl $(ptab + 7), pd + (AREA >> 21) * 8
  RETURNS 0x400000, 1
  RETURNS 0x400040, 2
  RETURNS 0x400080, 3
  RETURNS 0x401000, 0x11
  RETURNS 0x401040, 0x12
  RETURNS 0x401080, 0x13
  SET_PTE 0, 0x400003
  SET_PTE 1, 0x400003
  SET_PTE 2, 0x401003
  RELOAD
  # All of them are known well.
  xorl %r12d, %r12d
  movl $10, %ebp
1:
  VISIT 0, 0
  GAVE 1
  VISIT 0, 0x40
  GAVE 2
  VISIT 0, 0x80
  GAVE 3
  VISIT 2, 0
  GAVE 0x11
  VISIT 2, 0x40
  GAVE 0x12
  VISIT 2, 0x80
  GAVE 0x13
  RELOAD
  subl $1, %ebp
  jnz 1b
  EQ "functions of two pages", %r12d, $0
  # One page is one and the other in turn.
  movl $10, %ebp
1:
  SET_PTE 1, 0x400003
  invlpg AREA + 0x1000
  VISIT 1, 0
  GAVE 1
  SET_PTE 1, 0x401003
  invlpg AREA + 0x1000
  VISIT 1, 0x40
  GAVE 0x12
  VISIT 1, 0
  GAVE 0x11
  subl $1, %ebp
  jnz 1b
  EQ "a page that changes, INVLPG", %r12d, $0
  movl $10, %ebp
1:
  SET_PTE 1, 0x400003
  RELOAD
  VISIT 1, 0x80
  GAVE 3
  SET_PTE 1, 0x401003
  RELOAD
  VISIT 1, 0
  GAVE 0x11
  VISIT 1, 0x80
  GAVE 0x13
  subl $1, %ebp
  jnz 1b
  EQ "a page that changes, MOV to CR3", %r12d, $0
  VISIT 1, 0
  SET_PTE 1, 0
  invlpg AREA + 0x1000
  movl $AREA + 0x1040, %edx
  RAISES "a page that has gone", PF, ANY, "jmp *%rdx"
  # Code changes under three addresses.
  SET_PTE 1, 0x400003
  invlpg AREA + 0x1000
  VISIT 0, 0
  VISIT 1, 0
  movl $10, %ebp
1:
  movl %ebp, 0x400041
  VISIT 0, 0x40
  subl %ebp, %eax
  orl %eax, %r12d
  addl $100, AREA + 0x41
  VISIT 1, 0x40
  subl $100, %eax
  subl %ebp, %eax
  orl %eax, %r12d
  movl $0x400040, %edx
  call *%rdx
  subl $100, %eax
  subl %ebp, %eax
  orl %eax, %r12d
  subl $1, %ebp
  jnz 1b
  EQ "code that changes", %r12d, $0
  # The same in 64-bit and in compatibility mode, in turn.
  movl $10, %ebp
1:
  movl %ebp, 0x400041
  VISIT 0, 0x40
  subl %ebp, %eax
  orl %eax, %r12d
  incl 0x400041
  SET_PTE 1, 0x400003
  invlpg AREA + 0x1000
  push $CS32
  push $2f
  lretq
.code32
2:
  movl $AREA + 0x40, %edx
  call *%edx
  subl %ebp, %eax
  subl $1, %eax
  movl %eax, %ebx
  incl 0x400041
  movl $AREA + 0x1000, %edx
  call *%edx
  subl $1, %eax
  orl %eax, %ebx
  movl $0x401003, ptab + 8
  invlpg AREA + 0x1000
  ljmp $CS64, $3f
.code64
3:
  orl %ebx, %r12d
  VISIT 0, 0x40
  subl %ebp, %eax
  subl $2, %eax
  orl %eax, %r12d
  VISIT 1, 0
  GAVE 0x11
  push $CS32
  push $4f
  lretq
.code32
4:
  movl $AREA + 0x1000, %edx
  call *%edx
  subl $0x11, %eax
  movl %eax, %ebx
  ljmp $CS64, $5f
.code64
5:
  orl %ebx, %r12d
  subl $1, %ebp
  jnz 1b
  EQ "two modes", %r12d, $0
  DONE
.section .bss
.balign 4096
ptab: .skip 4096
