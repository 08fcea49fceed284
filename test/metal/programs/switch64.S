# A guest for machines that change executors while it runs: hashes memory over and over, watches the time-stamp counter, and
# keeps a one-shot timer going whose chain breaks if a single interrupt is lost. Ends when 'q' arrives on COM1.
.set BITS, 64
.include "runtime.S"
.set APIC, 0xfee00000
.set BUFFER, 0x200000
.set WORDS, 16384
.set DIGEST, 0xbab17764
.set TIMER, 0x50
.macro APIC_W reg, value
  movl $\value, %eax
  movl $APIC, %edi
  movl %eax, \reg(%rdi)
.endm
# TSC to RAX; r15 has the last one, r14 counts steps back.
.macro LOOK_AT_TIME
  rdtsc
  shlq $32, %rdx
  orq %rdx, %rax
  cmpq %r15, %rax
  jae 95f
  incq %r14
95:
  movq %rax, %r15
.endm
main:
  movl $on_timer, %eax
  movl $idt + TIMER * 16, %edi
  movw %ax, (%rdi)
  shrl $16, %eax
  movw %ax, 6(%rdi)
  APIC_W 0xf0, 0x1ff
  APIC_W 0x80, 0
  # One-shot, bus clock as it is.
  APIC_W 0x3e0, 0xb
  APIC_W 0x320, TIMER
  APIC_W 0x380, 100000
  # An LCG fills the buffer.
  movl $12345, %eax
  xorl %ecx, %ecx
1:imull $1664525, %eax, %eax
  addl $1013904223, %eax
  movl %eax, BUFFER(,%rcx,4)
  incl %ecx
  cmpl $WORDS, %ecx
  jb 1b
  xorl %r13d, %r13d
  xorl %r14d, %r14d
  xorl %r15d, %r15d
  xorl %r12d, %r12d
  sti
round:
  xorl %eax, %eax
  xorl %ecx, %ecx
2:roll $5, %eax
  xorl BUFFER(,%rcx,4), %eax
  imull $0x01000193, %eax, %eax
  incl %ecx
  cmpl $WORDS, %ecx
  jb 2b
  incq %r12
  cmpl $DIGEST, %eax
  je 3f
  incq %r13
3:LOOK_AT_TIME
  movl $0x3fd, %edx
  inb %dx, %al
  testb $1, %al
  jz round
  movl $0x3f8, %edx
  inb %dx, %al
  cmpb $'q', %al
  jne round
  # The timer must still be going: two more interrupts within some seconds.
  movl ticks, %ebx
  addl $2, %ebx
  movl $200, %ebp
4:LOOK_AT_TIME
  movl $2000000, %ecx
5:pause
  movl ticks, %eax
  cmpl %ebx, %eax
  jae 6f
  decl %ecx
  jnz 5b
  decl %ebp
  jnz 4b
6:cli
  movl ticks, %eax
  cmpl %ebx, %eax
  setae %al
  movzbl %al, %eax
  EQ "the timer goes on", %eax, $1
  EQ "every digest is right", %r13d, $0
  EQ "the counter never goes back", %r14d, $0
  testq %r12, %r12
  setnz %al
  movzbl %al, %eax
  EQ "there were rounds", %eax, $1
  DONE
on_timer:
  push %rax
  push %rdi
  incl ticks
  APIC_W 0xb0, 0
  APIC_W 0x380, 100000
  pop %rdi
  pop %rax
  iretq
.bss
ticks: .long 0
