# A second CPU: INIT and SIPI, interprocessor interrupts, atomic instructions, code changed for the other one.
.set BITS, 32
.include "runtime.S"
.set APIC, 0xfee00000
.macro ICR high, low
  movl $(\high), APIC + 0x310
  movl $(\low), APIC + 0x300
.endm
# Waits until the 32-bit value at `at` is at least n.
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
.set REAL_FLAG, 0x3000
main:
  # Handlers of their own: the recording ones serve one CPU.
.macro VECTOR v, handler
  movl $\handler, %eax
  movw %ax, idt + \v * 8
  shrl $16, %eax
  movw %ax, idt + \v * 8 + 6
.endm
  VECTOR 0x60, on_60
  VECTOR 0x61, on_61
  VECTOR 0x62, on_60
  VECTOR 2, on_nmi
  movl $0x1ff, APIC + 0xf0
  movl $0, APIC + 0x80
  movl $0, REAL_FLAG
  ICR 1 << 24, 0x4500
  movl $100000, %ecx
1: pause
  subl $1, %ecx
  jnz 1b
  EQ "INIT alone starts nothing", REAL_FLAG, $0
  ICR 1 << 24, 0x4602
  WAIT_FOR ap_ready, 1
  EQ "SIPI starts the second CPU", %eax, $1
  EQ "it begins at VV00:0000", REAL_FLAG, $0x02000000
  EQ "its APIC ID", ap_id, $1
  EQ "its CR0", REAL_FLAG+4, $0x60000010
  # A second SIPI is ignored.
  movl $0, REAL_FLAG
  ICR 1 << 24, 0x4602
  movl $100000, %ecx
1: pause
  subl $1, %ecx
  jnz 1b
  EQ "another SIPI is ignored", REAL_FLAG, $0
  # IPIs.
  ICR 1 << 24, 0x4060
  WAIT_FOR got+4, 1
  EQ "IPI, physical destination", %eax, $1
  ICR 0, 0xc4060
  WAIT_FOR got+4, 2
  EQ "IPI, all but self", %eax, $2
  # Logical, flat model.
  movl $-1, APIC + 0xe0
  movl $0x01000000, APIC + 0xd0
  ICR 2 << 24, 0x4860
  WAIT_FOR got+4, 3
  EQ "IPI, logical destination", %eax, $3
  ICR 0, 0x84060
  sti
  WAIT_FOR got+4, 4
  cli
  EQ "IPI, all: the other", %eax, $4
  EQ "IPI, all: self", got, $1
  ICR 1 << 24, 0x4400
  WAIT_FOR ap_nmi, 1
  EQ "NMI to the other", %eax, $1
  # The other answers.
  sti
  ICR 1 << 24, 0x4061
  WAIT_FOR got, 2
  cli
  EQ "IPI from the other", %eax, $2

  # ---- atomics: both add to one counter
  movl $do_add, ap_task
  movl $50000, %ecx
1: lock addl $1, counter
  subl $1, %ecx
  jnz 1b
  WAIT_FOR ap_done, 1
  EQ "LOCK ADD on both", counter, $100000
  movl $0, counter
  movl $do_xchg, ap_task
  movl $5000, %ecx
1: call locked_add
  subl $1, %ecx
  jnz 1b
  WAIT_FOR ap_done, 2
  EQ "spin lock by XCHG", counter, $10000
  movl $0, counter
  movl $do_cmpxchg, ap_task
  movl $5000, %ecx
1: call cmpxchg_add
  subl $1, %ecx
  jnz 1b
  WAIT_FOR ap_done, 3
  EQ "LOCK CMPXCHG on both", counter, $10000
  movl $0, counter
  movl $do_xadd, ap_task
  movl $5000, %ecx
1: movl $1, %eax
  lock xaddl %eax, counter
  subl $1, %ecx
  jnz 1b
  WAIT_FOR ap_done, 4
  EQ "LOCK XADD on both", counter, $10000

  # ---- code changed for the other CPU: it runs `routine` and stores what it returns
  movl $0x000001b8, routine
  movw $0xc300, routine + 4
  movl $do_code, ap_task
  WAIT_FOR ap_value, 1
  movl $0x000002b8, routine
  WAIT_FOR ap_value, 2
  EQ "code changed for the other CPU", %eax, $2
  movb $3, routine + 1
  WAIT_FOR ap_value, 3
  EQ "code changed again", %eax, $3
  movl $1, stop_code
  WAIT_FOR ap_done, 5

  # ---- INIT stops it, SIPI starts it elsewhere
  movl $0, REAL_FLAG
  ICR 1 << 24, 0x4500
  movl $100000, %ecx
1: pause
  subl $1, %ecx
  jnz 1b
  movl $0, ap_ready
  # Copy of the start code at 4000h: vector 04h.
  movl $real_start, %esi
  movl $0x4000, %edi
  movl $real_bytes, %ecx
  rep movsb
  ICR 1 << 24, 0x4604
  WAIT_FOR ap_ready, 1
  EQ "started again", %eax, $1
  EQ "at another vector", REAL_FLAG, $0x04000000
  DONE

# Counts for the CPU that runs it.
on_60:
  pushl %eax
  movl APIC + 0x20, %eax
  shrl $24, %eax
  lock addl $1, got(,%eax,4)
  movl $0, APIC + 0xb0
  popl %eax
  iretl
# Answers with an IPI to CPU 0.
on_61:
  movl $0, APIC + 0xb0
  ICR 0, 0x4062
  iretl
on_nmi:
  lock addl $1, ap_nmi
  iretl

locked_add:
  movl $1, %eax
  xchgl %eax, spin
  testl %eax, %eax
  jz 1f
  pause
  jmp locked_add
1:
  addl $1, counter
  movl $0, spin
  ret
cmpxchg_add:
  movl counter, %eax
1: leal 1(%eax), %edx
  lock cmpxchgl %edx, counter
  jne 1b
  ret

# The second CPU in protected mode.
.balign 16
ap_32:
  movl $DS0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $ap_stack_top, %esp
  lidt idtr
  movl APIC + 0x20, %eax
  shrl $24, %eax
  movl %eax, ap_id
  movl $0x1ff, APIC + 0xf0
  movl $0, APIC + 0x80
  movl $-1, APIC + 0xe0
  movl $0x02000000, APIC + 0xd0
  movl $1, ap_ready
  sti
ap_loop:
  movl ap_task, %eax
  testl %eax, %eax
  jz 1f
  movl $0, ap_task
  call *%eax
  lock addl $1, ap_done
1:
  pause
  jmp ap_loop
do_add:
  movl $50000, %ecx
1: lock addl $1, counter
  subl $1, %ecx
  jnz 1b
  ret
do_xchg:
  movl $5000, %ecx
1: call locked_add
  subl $1, %ecx
  jnz 1b
  ret
do_cmpxchg:
  movl $5000, %ecx
1: call cmpxchg_add
  subl $1, %ecx
  jnz 1b
  ret
do_xadd:
  movl $5000, %ecx
1: movl $1, %eax
  lock xaddl %eax, counter
  subl $1, %ecx
  jnz 1b
  ret
do_code:
  call routine
  movl %eax, ap_value
  cmpl $0, stop_code
  je do_code
  ret

.section .real, "awx"
.code16
  # Entered by SIPI at VV00:0000. A call shows the instruction pointer.
  cli
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %ss
  movw $0x1000, %sp
  call 1f
1:
  popw %ax
  subw $13, %ax
  movw %ax, REAL_FLAG
  movw %cs, REAL_FLAG + 2
  movl %cr0, %eax
  movl %eax, REAL_FLAG + 4
  orl $1, %eax
  movw %cs, %bx
  movw %bx, %ds
  lgdt ap_gdtr - real_origin
  movl %eax, %cr0
  ljmpl $CS32, $ap_32
ap_gdtr:
  .word gdt_end - gdt - 1
  .long gdt
.code32
.set real_origin, 0x2000
.data
got: .long 0, 0
ap_ready: .long 0
ap_id: .long -1
ap_nmi: .long 0
ap_task: .long 0
ap_done: .long 0
ap_value: .long 0
stop_code: .long 0
counter: .long 0
spin: .long 0
.balign 4096
routine: .fill 4096, 1, 0xf4
.section .bss
  .skip 4096
ap_stack_top:
