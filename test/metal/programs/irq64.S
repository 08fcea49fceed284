# Interrupt controllers and timers: delivery, priorities, end of interrupt, shadows, NMI, HLT (SDM vol. 3, 6.8, 6.7.1,
# chapter 11). Runs on one CPU.
.set BITS, 64
.include "runtime.S"
.set APIC, 0xfee00000
.set IOAPIC, 0xfec00000
.set HPET, 0xfed00000
.set LINES, 0x40
.macro PORT port, value
  movb $\value, %al
  outb %al, $\port
.endm
.macro APIC_W reg, value
  movl $\value, %eax
  movl $APIC, %edi
  movl %eax, \reg(%rdi)
.endm
.macro APIC_R reg
  movl $APIC, %edi
  movl \reg(%rdi), %eax
.endm
.macro IOAPIC_W reg, value
  movl $IOAPIC, %edi
  movl $\reg, (%rdi)
  movl $\value, 0x10(%rdi)
.endm
# Waits until vector v has arrived n times, with HLT.
.macro WAIT v, n
  movl $2000, %ebp
96:
  cli
  movl got+\v*4, %eax
  cmpl $\n, %eax
  jae 97f
  sti
  hlt
  cli
  subl $1, %ebp
  jnz 96b
97:
  # Later ones may have come meanwhile.
  cmpl $\n, %eax
  jbe 98f
  movl $\n, %eax
98:
.endm
.macro CLEAR
  cli
  push_a
  movl $got, %edi
  movl $256, %ecx
  xorl %eax, %eax
  rep stosl
  movl $0, order_count
  pop_a
.endm
main:
  movl $hook_irq, hook
  # LAPIC on, LINT0 = ExtINT.
  APIC_W 0xf0, 0x1ff
  APIC_W 0x350, 0x700
  APIC_W 0x80, 0
  # 8259s at 40h and 48h.
  PORT 0x20, 0x11
  PORT 0xa0, 0x11
  PORT 0x21, 0x40
  PORT 0xa1, 0x48
  PORT 0x21, 4
  PORT 0xa1, 2
  PORT 0x21, 1
  PORT 0xa1, 1
  PORT 0xa1, 0xff
  # ---- PIT through the 8259
  PORT 0x21, 0xfe
  PORT 0x43, 0x34
  PORT 0x40, 0x9c
  PORT 0x40, 0x2e
  CLEAR
  WAIT 0x40, 3
  EQ "PIT interrupts arrive", %eax, $3
  PORT 0x21, 0xff
  CLEAR
  movl $300000, %ecx
  sti
1: subl $1, %ecx
  jnz 1b
  cli
  EQ "masked line: nothing", got+0x40*4, $0
  # In service: no second one until EOI.
  movl $1, no_eoi
  PORT 0x21, 0xfe
  CLEAR
  WAIT 0x40, 1
  movl $300000, %ecx
  sti
1: subl $1, %ecx
  jnz 1b
  cli
  EQ "no EOI: no second interrupt", got+0x40*4, $1
  movl $0, no_eoi
  PORT 0x20, 0x20
  WAIT 0x40, 2
  EQ "EOI: the next one", %eax, $2
  PORT 0x21, 0xff
  # ---- RTC, periodic, on the second 8259
  PORT 0x70, 0x0a
  PORT 0x71, 0x26
  PORT 0x70, 0x0b
  PORT 0x71, 0x42
  PORT 0x70, 0x0c
  inb $0x71, %al
  PORT 0x21, 0xfb
  PORT 0xa1, 0xfe
  CLEAR
  WAIT 0x48, 3
  EQ "RTC interrupts arrive", %eax, $3
  PORT 0x70, 0x0b
  PORT 0x71, 0x02
  PORT 0xa1, 0xff
  PORT 0x21, 0xff
  PORT 0x70, 0x0c
  inb $0x71, %al

  # ---- STI and MOV SS shadows: a pending interrupt (self-IPI) waits for one instruction
  CLEAR
  APIC_W 0x300, 0x44060
  sti
  nop
  nop
  cli
  EQ "pending interrupt taken", got+0x60*4, $1
  CLEAR
  APIC_W 0x300, 0x44060
  sti
71: movl $1, %ebx
72: nop
  cli
  EQ "STI: after the next instruction", irq_ip, $72b
  CLEAR
  APIC_W 0x300, 0x44060
  sti
  cli
  EQ "STI CLI: nothing", got+0x60*4, $0
  push $0x202
  popf
71: movl $1, %ebx
  nop
  cli
  EQ "POPF: before the next instruction", irq_ip, $71b
  CLEAR
  APIC_W 0x300, 0x44060
  push $0x207cd7
  popf
  pushf
  pop %rbx
  push $2
  popf
  EQ "POPF: every flag but TF, AC and IF", %ebx, $0x207cd7
  EQ "POPF without IF: nothing", got+0x60*4, $0
  sti
  hlt
  cli
  EQ "STI HLT wakes", got+0x60*4, $1
  CLEAR
  movl $DS0, %ecx
  APIC_W 0x300, 0x44060
  pushf
  orl $0x200, (%rsp)
  popf
71: nop
  cli
  EQ "POPF: at once", irq_ip, $71b
  CLEAR
  APIC_W 0x300, 0x44060
  sti
  movl %ecx, %ss
71: nop
72: nop
  cli
  movl got+0x60*4, %eax
  EQ "STI, MOV SS: taken", %eax, $1

  # ---- priorities
  CLEAR
  APIC_W 0x300, 0x44061
  APIC_W 0x300, 0x44092
  APIC_W 0x300, 0x44073
  sti
  nop
  nop
  nop
  nop
  cli
  EQ "highest first", order+0, $0x92
  EQ "then the second", order+4, $0x73
  EQ "then the lowest", order+8, $0x61
  CLEAR
  movl $7, %eax
  movq %rax, %cr8
  APIC_R 0x80
  EQ "CR8 is TPR[7:4]", %eax, $0x70
  APIC_W 0x300, 0x44073
  APIC_W 0x300, 0x44092
  sti
  nop
  nop
  cli
  EQ "above CR8: taken", got+0x92*4, $1
  EQ "not above CR8: held", got+0x73*4, $0
  APIC_R 0x230
  EQ "held in IRR", %eax, $0x80000
  xorl %eax, %eax
  sti
  movq %rax, %cr8
  nop
  nop
  cli
  EQ "CR8 lowered: taken", got+0x73*4, $1
  APIC_W 0x80, 0x95
  movq %cr8, %rax
  EQ "TPR seen in CR8", %eax, $9
  APIC_R 0xa0
  EQ "PPR without service", %eax, $0x95
  APIC_W 0x80, 0
  # In service: a lower one waits for EOI, a higher one interrupts.
  CLEAR
  movl $1, nest
  APIC_W 0x300, 0x44073
  sti
  nop
  nop
  cli
  movl $0, nest
  EQ "nested: first", order+0, $0x73
  EQ "nested: higher one inside", order+4, $0x92
  EQ "nested: lower one after EOI", order+8, $0x61
  EQ "nested: depth", max_depth, $2
  # ESR and illegal vectors. QEMU delivers them.
  UNLESS_QEMU 1f
  APIC_W 0x280, 0
  APIC_W 0x300, 0x44005
  APIC_W 0x280, 0
  APIC_R 0x280
  andl $0x60, %eax
  testl %eax, %eax
  setnz %al
  movzbl %al, %eax
  EQ "illegal vector noted in ESR", %eax, $1
1:

  # ---- LAPIC timer
  CLEAR
  APIC_W 0x3e0, 0xb
  APIC_W 0x320, 0x62
  APIC_W 0x380, 100000
  WAIT 0x62, 1
  EQ "LAPIC timer, one-shot", %eax, $1
  APIC_R 0x390
  EQ "LAPIC timer: count stays 0", %eax, $0
  CLEAR
  APIC_W 0x320, 0x20062
  APIC_W 0x380, 100000
  WAIT 0x62, 3
  EQ "LAPIC timer, periodic", %eax, $3
  APIC_W 0x320, 0x10062
  APIC_W 0x380, 0
  # TSC deadline, if the processor has it.
  movl $1, %eax
  cpuid
  btl $24, %ecx
  jnc 1f
  CLEAR
  APIC_W 0x320, 0x40063
  rdtsc
  addl $1000000, %eax
  adcl $0, %edx
  movl $0x6e0, %ecx
  wrmsr
  WAIT 0x63, 1
  EQ "TSC deadline", %eax, $1
  movl $0x6e0, %ecx
  rdmsr
  EQ "TSC deadline: reads 0 afterwards", %eax, $0
  APIC_W 0x320, 0x10063
1:
  # ---- IOAPIC: PIT on pin 2, edge; then the RTC pin as level (its line stays up until register C is read)
  CLEAR
  IOAPIC_W 0x15, 0
  IOAPIC_W 0x14, 0x64
  WAIT 0x64, 2
  EQ "IOAPIC: PIT", %eax, $2
  IOAPIC_W 0x14, 0x10064
  # HPET, timer 0 on pin 20, edge, one-shot.
  movl $HPET, %edi
  movl $0, 0x10(%rdi)
  movl $0, 0xf0(%rdi)
  movl $0, 0xf4(%rdi)
  movl $((20 << 9) | 4), 0x100(%rdi)
  movl $100000, 0x108(%rdi)
  movl $0, 0x10c(%rdi)
  IOAPIC_W 0x39, 0
  IOAPIC_W 0x38, 0x65
  movl $HPET, %edi
  movl $1, 0x10(%rdi)
  CLEAR
  WAIT 0x65, 1
  EQ "HPET through the IOAPIC", %eax, $1
  IOAPIC_W 0x38, 0x10065
  # Level-triggered with the timer's status bit: comes again after EOI until it is cleared.
  movl $HPET, %edi
  movl $0, 0x10(%rdi)
  movl $0, 0xf0(%rdi)
  movl $0, 0xf4(%rdi)
  movl $((20 << 9) | 6), 0x100(%rdi)
  movl $100000, 0x108(%rdi)
  movl $0, 0x10c(%rdi)
  movl $3, level_left
  IOAPIC_W 0x38, 0x8066
  movl $HPET, %edi
  movl $1, 0x10(%rdi)
  CLEAR
  WAIT 0x66, 3
  movl $100000, %ecx
  sti
1: subl $1, %ecx
  jnz 1b
  cli
  EQ "level: repeated until the source is quiet", got+0x66*4, $3
  IOAPIC_W 0x38, 0x10066
  movl $HPET, %edi
  movl $0, 0x10(%rdi)

  # ---- NMI: blocked from its delivery to IRET
  CLEAR
  movl $2, nmi_again
  APIC_W 0x310, 0
  APIC_W 0x300, 0x4400
  # An IPI may take its time.
  movl $1000, %ecx
1: subl $1, %ecx
  jnz 1b
  EQ "NMI with IF = 0", got+2*4, $2
  EQ "NMI inside an NMI waits for IRET", nmi_depth_max, $1

  # ---- x2APIC
  movl $0x1b, %ecx
  rdmsr
  orl $0x400, %eax
  wrmsr
  movl $1, x2apic
  CLEAR
  WRMSR_ 0x83f, 0x67
  sti
  nop
  nop
  cli
  EQ "x2APIC: self-IPI", got+0x67*4, $1
  movl $0x802, %ecx
  rdmsr
  EQ "x2APIC: ID", %eax, $0
  movl $0x80e, %ecx
  RAISES1 "x2APIC: no DFR", GP, 0, "rdmsr"
  movl $0x803, %ecx
  movl $0, %eax
  movl $0, %edx
  RAISES1 "x2APIC: version is read-only", GP, 0, "wrmsr"
  movl $0x80b, %ecx
  movl $1, %eax
  movl $0, %edx
  RAISES1 "x2APIC: EOI must be 0", GP, 0, "wrmsr"
  WRMSR_ 0x830, 0x44068
  sti
  nop
  nop
  cli
  EQ "x2APIC: ICR to self", got+0x68*4, $1
  DONE

hook_irq:
  movl rec_vec, %ecx
  cmpl $2, %ecx
  je 5f
  cmpl $0x40, %ecx
  jae 1f
  movl $1, %eax
  ret
1:
  addl $1, got(,%rcx,4)
  movl rec_ip, %eax
  movl %eax, irq_ip
  movl $NONE, rec_vec
  movl order_count, %eax
  cmpl $16, %eax
  jae 2f
  movl %ecx, order(,%rax,4)
  addl $1, order_count
2:
  addl $1, depth
  movl depth, %eax
  cmpl max_depth, %eax
  jbe 3f
  movl %eax, max_depth
3:
  # The RTC wants its register C read; the HPET in level mode its status bit cleared at last.
  cmpl $0x48, %ecx
  jne 1f
  PORT 0x70, 0x0c
  inb $0x71, %al
1:
  cmpl $0x66, %ecx
  jne 1f
  subl $1, level_left
  jnz 1f
  movl $HPET, %edi
  movl $1, 0x20(%rdi)
1:
  cmpl $0, nest
  je 1f
  movl $0, nest
  push %rcx
  APIC_W 0x300, 0x44061
  APIC_W 0x300, 0x44092
  sti
  nop
  nop
  cli
  pop %rcx
1:
  subl $1, depth
  cmpl $0x50, %ecx
  jae 4f
  cmpl $0, no_eoi
  jne 9f
  cmpl $0x48, %ecx
  jb 1f
  PORT 0xa0, 0x20
1:
  PORT 0x20, 0x20
  jmp 9f
4:
  cmpl $0, x2apic
  jne 1f
  APIC_W 0xb0, 0
  jmp 9f
1:
  WRMSR_ 0x80b, 0
9:
  xorl %eax, %eax
  ret
5:
  addl $1, got+8
  movl $NONE, rec_vec
  addl $1, nmi_depth
  movl nmi_depth, %eax
  cmpl nmi_depth_max, %eax
  jbe 1f
  movl %eax, nmi_depth_max
1:
  subl $1, nmi_again
  jz 1f
  APIC_W 0x310, 0
  APIC_W 0x300, 0x4400
  movl $1000, %eax
2: subl $1, %eax
  jnz 2b
1:
  subl $1, nmi_depth
  xorl %eax, %eax
  ret
.data
.balign 16
got: .fill 256, 4, 0
order: .fill 16, 4, 0
order_count: .quad 0
no_eoi: .quad 0
irq_ip: .quad 0
nest: .quad 0
depth: .quad 0
max_depth: .quad 0
level_left: .quad 0
nmi_again: .quad 0
nmi_depth: .quad 0
nmi_depth_max: .quad 0
x2apic: .quad 0
