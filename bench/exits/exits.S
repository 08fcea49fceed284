# Bare-metal program of bench/exits.mjs. Each part says on COM1 when it begins and ends; the time between is the host's to take.
.set BITS, 64
.include "runtime.S"
# How often: parts of which one takes long, port I/O without a device that takes time, a helper at most.
.set SLOW, 2000000
.set PORT, 10000000
.set FAST, 4000000
.set VECTOR, 0x30
.set LAPIC, 0xfee00000
.set IOAPIC, 0xfec00000
.macro PART name, count=SLOW
  TEXT %esi, "begin \name\n"
  call print
  movl $\count, %ebp
1:
.endm
.macro PART_END name
  subl $1, %ebp
  jnz 1b
  TEXT %esi, "end \name\n"
  call print
.endm
main:
  # What answers VECTOR; the local APIC is switched on by its spurious vector register.
  movl $answer, %eax
  movw %ax, idt + VECTOR * 16
  shrl $16, %eax
  movw %ax, idt + VECTOR * 16 + 6
  movl $LAPIC, %ebx
  movl $0x1ff, 0xf0(%rbx)
  movl $0, 0x80(%rbx)

  PART "port-nobody", PORT
  outb %al, $0xf1
  PART_END "port-nobody"

  # CMOS: register 0Dh, whose reading changes nothing.
  movb $0x0d, %al
  outb %al, $0x70
  PART "port-cmos", PORT
  inb $0x71, %al
  PART_END "port-cmos"

  movw $0x3fd, %dx
  PART "port-serial"
  inb %dx, %al
  PART_END "port-serial"

  movl $0xc0001000, %edi
  PART "mmio-nobody"
  movl (%rdi), %eax
  PART_END "mmio-nobody"

  PART "mmio-lapic"
  movl 0x30(%rbx), %eax
  PART_END "mmio-lapic"

  movl $IOAPIC, %edi
  PART "mmio-ioapic"
  movl $1, (%rdi)
  PART_END "mmio-ioapic"

  PART "cpuid", FAST
  movl $0, %eax
  movl $0, %ecx
  cpuid
  PART_END "cpuid"

  movl $LAPIC, %ebx
  PART "rdmsr", FAST
  movl $0x1b, %ecx
  rdmsr
  PART_END "rdmsr"

  PART "int-iret"
  int $VECTOR
  PART_END "int-iret"

  # Interrupt command register: to itself, fixed, VECTOR.
  sti
  PART "self-ipi"
  movl $(0x40000 | VECTOR), 0x300(%rbx)
2:
  cmpl %ebp, answered
  jne 2b
  PART_END "self-ipi"
  cli
  DONE

answer:
  movl %ebp, answered
  movl $0, 0xb0(%rbx)
  iretq
.section .bss
.balign 4
answered: .skip 4
