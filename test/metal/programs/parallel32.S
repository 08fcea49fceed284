# Four CPUs at once: all come up, hash a quarter of a buffer each, share counters by LOCK and by a spin lock, write to a port
# in turn and pass an interrupt round.
.set BITS, 32
.include "runtime.S"
.set APIC, 0xfee00000
.set CPUS, 4
.set BUFFER, 0x200000
.set QUARTER, 4096
.set ROUNDS, 3
.set ADDS, 2000
.set OUTS, 500
.set RING, 0x60
.set LAPS, 25
.macro ICR high, low
  movl $(\high), APIC + 0x310
  movl $(\low), APIC + 0x300
.endm
# Waits until the 32-bit value at `at` is at least n, or for long.
.macro WAIT_FOR at, n
  movl $20000000, %ebp
96:
  movl \at, %eax
  cmpl $\n, %eax
  jae 97f
  pause
  subl $1, %ebp
  jnz 96b
97:
.endm
.macro APIC_ON
  movl $0x1ff, APIC + 0xf0
  movl $0, APIC + 0x80
.endm
main:
  movl $on_ring, %eax
  movw %ax, idt + RING * 8
  shrl $16, %eax
  movw %ax, idt + RING * 8 + 6
  APIC_ON
  # An LCG fills the buffer.
  movl $12345, %eax
  xorl %ecx, %ecx
1:imull $1664525, %eax, %eax
  addl $1013904223, %eax
  movl %eax, BUFFER(,%ecx,4)
  addl $1, %ecx
  cmpl $(CPUS * QUARTER), %ecx
  jb 1b
  # Alone first: what the four must find.
  xorl %ebx, %ebx
1:call hash
  addl %eax, want_sum
  addl $1, %ebx
  cmpl $CPUS, %ebx
  jb 1b
  # INIT and SIPI to all but self.
  ICR 0, 0xc4500
  movl $1000, %ecx
1: pause
  subl $1, %ecx
  jnz 1b
  ICR 0, 0xc4602
  WAIT_FOR online, CPUS
  EQ "all CPUs are online", %eax, $CPUS
  movl $1, go
  xorl %ebx, %ebx
  call work
  WAIT_FOR finished, CPUS
  EQ "all CPUs have done their work", %eax, $CPUS
  EQ "hash of the quarters", sum, want_sum
  EQ "LOCK ADD on all", counter, $(CPUS * ADDS)
  EQ "spin lock on all", guarded, $(CPUS * ADDS / 4)
  # An interrupt that every CPU sends on to the next.
  sti
  ICR 1 << 24, 0x4000 + RING
  WAIT_FOR laps, LAPS
  cli
  EQ "an interrupt goes round", %eax, $LAPS
  EQ "CPU 1 had its share", taken+4, $LAPS
  EQ "CPU 3 had its share", taken+12, $LAPS
  DONE

# Hash of quarter ebx to eax.
hash:
  movl %ebx, %ecx
  imull $QUARTER, %ecx, %ecx
  leal QUARTER(%ecx), %edx
  xorl %eax, %eax
1:roll $5, %eax
  xorl BUFFER(,%ecx,4), %eax
  imull $0x01000193, %eax, %eax
  addl $1, %ecx
  cmpl %edx, %ecx
  jb 1b
  ret

# The share of CPU ebx.
work:
  movl $ROUNDS, %esi
2:call hash
  subl $1, %esi
  jnz 2b
  lock addl %eax, sum
  movl $ADDS, %ecx
2:lock addl $1, counter
  subl $1, %ecx
  jnz 2b
  movl $(ADDS / 4), %ecx
2:movl $1, %eax
  xchgl %eax, spin
  testl %eax, %eax
  jz 3f
  pause
  jmp 2b
3:addl $1, guarded
  movl $0, spin
  subl $1, %ecx
  jnz 2b
  movl $OUTS, %ecx
2:outb %al, $0xf1
  subl $1, %ecx
  jnz 2b
  lock addl $1, finished
  ret

on_ring:
  pushl %eax
  pushl %ebx
  movl APIC + 0x20, %ebx
  shrl $24, %ebx
  addl $1, taken(,%ebx,4)
  movl $0, APIC + 0xb0
  testl %ebx, %ebx
  jnz 1f
  addl $1, laps
  cmpl $LAPS, laps
  jae 2f
1:addl $1, %ebx
  andl $(CPUS - 1), %ebx
  shll $24, %ebx
  movl %ebx, APIC + 0x310
  movl $(0x4000 + RING), APIC + 0x300
2:popl %ebx
  popl %eax
  iretl

.balign 16
ap_32:
  movl $DS0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  lidt idtr
  movl APIC + 0x20, %ebx
  shrl $24, %ebx
  movl %ebx, %esp
  shll $10, %esp
  addl $ap_stacks, %esp
  APIC_ON
  lock addl $1, online
1:pause
  cmpl $0, go
  je 1b
  call work
  sti
1:hlt
  jmp 1b

.section .real, "awx"
.code16
  # Entered by SIPI at 0200:0000.
  cli
  movw %cs, %ax
  movw %ax, %ds
  lgdtl ap_gdtr - real_origin
  movl %cr0, %eax
  orb $1, %al
  movl %eax, %cr0
  ljmpl $CS32, $ap_32
ap_gdtr:
  .word gdt_end - gdt - 1
  .long gdt
.code32
.set real_origin, 0x2000
.data
online: .long 1
go: .long 0
finished: .long 0
sum: .long 0
want_sum: .long 0
counter: .long 0
guarded: .long 0
spin: .long 0
laps: .long 0
taken: .fill CPUS, 4, 0
.section .bss
ap_stacks:
  .skip CPUS * 1024
