# Eight CPUs that read a device's register at once, without end: each gets its share of the device's time.
.set BITS, 32
.include "runtime.S"
.set APIC, 0xfee00000
.set HPET_COUNTER, 0xfed000f0
.set CPUS, 8
.set READS, 400
# No CPU has less than this part of the mean.
.set PART, 8
.macro ICR high, low
  movl $(\high), APIC + 0x310
  movl $(\low), APIC + 0x300
.endm
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
  APIC_ON
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
  # The first one waits until all have begun, then reads as many times as it takes.
  WAIT_FOR begun, (CPUS - 1)
  movl $READS, %ecx
1:movl HPET_COUNTER, %eax
  lock addl $1, accesses
  subl $1, %ecx
  jnz 1b
  movl $1, stop
  WAIT_FOR finished, (CPUS - 1)
  EQ "all CPUs have stopped", %eax, $(CPUS - 1)
  xorl %ecx, %ecx
  xorl %edx, %edx
1:addl accesses(,%ecx,4), %edx
  addl $1, %ecx
  cmpl $CPUS, %ecx
  jb 1b
  shrl $3, %edx
  # EDX: the mean. EBX: CPUs with less than their part.
  xorl %ebx, %ebx
  xorl %ecx, %ecx
1:movl accesses(,%ecx,4), %eax
  imull $PART, %eax, %eax
  cmpl %edx, %eax
  jae 2f
  addl $1, %ebx
2:addl $1, %ecx
  cmpl $CPUS, %ecx
  jb 1b
  EQ "CPUs without their share", %ebx, $0
  DONE

# CPU ebx.
work:
  lock addl $1, begun
1:movl HPET_COUNTER, %eax
  lock addl $1, accesses(,%ebx,4)
  cmpl $0, stop
  je 1b
  lock addl $1, finished
  ret

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
  cli
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
stop: .long 0
begun: .long 0
finished: .long 0
accesses: .fill CPUS, 4, 0
.section .bss
ap_stacks:
  .skip CPUS * 1024
