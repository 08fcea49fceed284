# Hardware task switches (SDM vol. 3, chapter 8).
.set BITS, 32
.include "runtime.S"
.set TSSB, FREE
.set TSSC, FREE + 8
.set TGATE, FREE + 0x10
.set LDTB, FREE + 0x18
.set NOTP, FREE + 0x20
.set TSSD, FREE + 0x28
.set TSS_EIP, 0x20
.set TSS_FLAGS, 0x24
.set TSS_EAX, 0x28
.set TSS_ESP, 0x38
.set TSS_ES, 0x48
.set TSS_CS, 0x4c
.set TSS_SS, 0x50
.set TSS_DS, 0x54
.set TSS_FS, 0x58
.set TSS_LDT, 0x60
.set TSS_T, 0x64

# Fresh state for task B: starts at `entry` with its own stack.
.macro TASK_B entry
  movl $\entry, tssb + TSS_EIP
  movl $2, tssb + TSS_FLAGS
  movl $(stack_b + 2048), tssb + TSS_ESP
  movl $CS32, tssb + TSS_CS
  movl $DS0, tssb + TSS_SS
  movl $DS0, tssb + TSS_DS
  movl $DS0, tssb + TSS_ES
  movl $0, tssb + TSS_FS
  movl $0, tssb + TSS_LDT
  movl $0x680000, tssb + TSS_T
  movl $0, tssb
  movb $0x89, gdt + TSSB + 5
.endm
.macro TYPE name, sel, want
  movzbl gdt + \sel + 5, %eax
  EQ "\name", %eax, $\want
.endm
.macro TSS_DESC sel, at, limit, access
  movl $\at, %eax
  movw $\limit, gdt + \sel
  movw %ax, gdt + \sel + 2
  shrl $16, %eax
  movb %al, gdt + \sel + 4
  movb $\access, gdt + \sel + 5
  movb $0, gdt + \sel + 6
  movb %ah, gdt + \sel + 7
.endm
# A task switch that fails once the new task has begun: the exception is taken in the context of task B. Whatever segments
# that has by then, a handler behind a task gate works: task D, which goes back to task A.
.macro FAILS name, vec, err, body
  movb $0x89, gdt + TSSB + 5
  movb $0x89, gdt + TSSD + 5
  movl $task_fail, tssd + TSS_EIP
  movl $2, tssd + TSS_FLAGS
  movl $(stack_b + 4096), tssd + TSS_ESP
  movl $CS32, tssd + TSS_CS
  movl $DS0, tssd + TSS_SS
  movl $DS0, tssd + TSS_DS
  movl $DS0, tssd + TSS_ES
  movl $0x680000, tssd + TSS_T
  pushl idt + \vec * 8
  pushl idt + \vec * 8 + 4
  movl $(TSSD << 16), idt + \vec * 8
  movl $0x8500, idt + \vec * 8 + 4
  movl $-1, seen_eax
  movl $-1, seen_link
  \body
  popl idt + \vec * 8 + 4
  popl idt + \vec * 8
  EQ "\name", seen_eax, $(\err)
  EQ "\name: in task B", seen_link, $TSSB
  movb $0x89, gdt + TSSB + 5
.endm

main:
  TSS_DESC TSSB, tssb, 0x67, 0x89
  TSS_DESC TSSD, tssd, 0x67, 0x89
  TSS_DESC TSSC, tssc, 0x2b, 0x81
  movl $(TSSB << 16), gdt + TGATE
  movl $0xe500, gdt + TGATE + 4
  TYPE "LTR marks busy", TSS_SEL, 0x8b

  # ---- JMP
  TASK_B task_jmp
  movl $0x11111111, tssb + TSS_EAX
  movl $0x77777777, %edi
  movl %esp, %ebp
  movl $0x40000, %eax
  pushl %eax
  popf
  BEGIN_TRY 1f
  ljmp $TSSB, $0x12345678
back_jmp:
  pushf
  popl seen_flags2
  movl $0, resume
1:
  subl %esp, %ebp
  EQ "JMP: stack afterwards", %ebp, $0
  EQ "JMP: EDI restored", %edi, $0x77777777
  EQ "JMP: EAX in the task", seen_eax, $0x11111111
  EQ "JMP: TR", seen_tr, $TSSB
  EQ "JMP: ESP", seen_esp, $(stack_b + 2048)
  EQ "JMP: flags, no NT", seen_flags, $2
  movl seen_cr0, %eax
  andl $8, %eax
  EQ "JMP: CR0.TS", %eax, $8
  EQ "JMP: old task available", seen_type_a, $0x89
  EQ "JMP: new task busy", seen_type_b, $0x8b
  EQ "JMP: EIP saved", tss + TSS_EIP, $back_jmp
  movl tss + TSS_FLAGS, %eax
  EQ "JMP: flags saved", %eax, $0x40002
  EQ "JMP: flags restored", seen_flags2, $0x40002
  EQ "JMP: EDI saved", tss + TSS_EAX + 28, $0x77777777
  EQ "JMP: link not written", tssb, $0
  TYPE "JMP back: A busy", TSS_SEL, 0x8b
  TYPE "JMP back: B available", TSSB, 0x89
  EQ "JMP back: EIP of B saved", tssb + TSS_EIP, $after_jmp
  pushl $2
  popf
  clts

  # ---- CALL and IRET
  TASK_B task_iret
  FINE "CALL", "lcall $TSSB, $0"
  EQ "CALL: TR", seen_tr, $TSSB
  EQ "CALL: NT set", seen_flags, $0x4002
  EQ "CALL: link", seen_link, $TSS_SEL
  EQ "CALL: old task stays busy", seen_type_a, $0x8b
  EQ "CALL: new task busy", seen_type_b, $0x8b
  TYPE "IRET: A busy", TSS_SEL, 0x8b
  TYPE "IRET: B available", TSSB, 0x89
  movl tssb + TSS_FLAGS, %eax
  andl $0x4000, %eax
  EQ "IRET: NT clear in the saved flags", %eax, $0
  EQ "IRET: EIP of B saved", tssb + TSS_EIP, $after_iret
  str %eax
  movzwl %ax, %eax
  EQ "IRET: TR", %eax, $TSS_SEL
  pushf
  popl %eax
  andl $0x4000, %eax
  EQ "IRET: NT clear", %eax, $0
  # Through a task gate; B goes on after its IRET.
  movl $task_iret, tssb + TSS_EIP
  FINE "CALL through a task gate", "lcall $TGATE, $0"
  EQ "CALL through a task gate: TR", seen_tr, $TSSB
  movl $task_iret, tssb + TSS_EIP
  movl $(TSSB << 16), idt + 0x21 * 8
  movl $0xe500, idt + 0x21 * 8 + 4
  movl $0, seen_tr
  FINE "INT through a task gate", "int $0x21"
  EQ "INT through a task gate: TR", seen_tr, $TSSB
  EQ "INT through a task gate: NT", seen_flags, $0x4002
  movl $task_iret, tssb + TSS_EIP
  movl $0, seen_tr
  U_RAISES "INT in ring 3 through a task gate", USER_EXIT, 0, "int $0x21; 71:"
  EQ "INT in ring 3: TR", seen_tr, $TSSB
  EQ "INT in ring 3: EIP saved", tss + TSS_EIP, $71b
  EQ "INT in ring 3: CS saved", tss + TSS_CS, $UCS32
  EQ "INT in ring 3: ESP saved", tss + TSS_ESP, $ustack_top
  # Exceptions: the error code is pushed on the new task's stack, the saved EIP is the faulting instruction's.
  movl $(TSSB << 16), idt + GP * 8
  movl $0x8500, idt + GP * 8 + 4
  TASK_B task_error
  FINE "#GP through a task gate", "movl $0x7ff8, %eax; 71: movl %eax, %es; 72:"
  EQ "#GP: error code", seen_eax, $0x7ff8
  EQ "#GP: ESP below the error code", seen_esp, $(stack_b + 2048 - 4)
  EQ "#GP: EIP saved", seen_eip, $71b
  movl seen_flags2, %eax
  andl $0x10000, %eax
  EQ "#GP: RF saved", %eax, $0x10000
  movw $CS32, idt + GP * 8 + 2
  movl $(stubs + 16 * GP), %eax
  movw %ax, idt + GP * 8
  shrl $16, %eax
  movw %ax, idt + GP * 8 + 6
  movw $0x8e00, idt + GP * 8 + 4

  # ---- refused before the switch
  TASK_B task_iret
  movb $0x8b, gdt + TSSB + 5
  RAISES1 "busy task", GP, TSSB, "ljmp $TSSB, $0"
  RAISES1 "busy task through a gate", GP, TSSB, "ljmp $TGATE, $0"
  movb $0x09, gdt + TSSB + 5
  RAISES1 "task not present", NP, TSSB, "ljmp $TSSB, $0"
  RAISES1 "task not present, INT", NP, TSSB, "int $0x21"
  movb $0x89, gdt + TSSB + 5
  U_RAISES "TSS of ring 0 from ring 3", GP, TSSB, "ljmp $TSSB, $0"
  movw $0x66, gdt + TSSB
  RAISES1 "TSS too small", TS, TSSB, "ljmp $TSSB, $0"
  movw $0x67, gdt + TSSB
  movl $(DS0 << 16), gdt + TGATE
  RAISES1 "gate to a data segment", GP, DS0, "ljmp $TGATE, $0"
  movl $((TSSB + 4) << 16), gdt + TGATE
  RAISES1 "gate to the LDT", GP, "TSSB + 4", "ljmp $TGATE, $0"
  movl $(TSSB << 16), gdt + TGATE
  movl $0x6500, gdt + TGATE + 4
  RAISES1 "task gate not present", NP, TGATE, "ljmp $TGATE, $0"
  movl $0xe500, gdt + TGATE + 4
  TYPE "B still available", TSSB, 0x89

  # ---- faults in the new task (SDM vol. 3, table 8-1)
  DESC_AT NOTP, 0xffff, 0xcf1200
  TASK_B task_iret
  movl $0, tssb + TSS_CS
  FAILS "CS null", TS, 0, "ljmp $TSSB, $0"
  movl $DS0, tssb + TSS_CS
  FAILS "CS is data", TS, DS0, "ljmp $TSSB, $0"
  movl $CS32, tssb + TSS_CS
  movl $0, tssb + TSS_SS
  FAILS "SS null", TS, 0, "ljmp $TSSB, $0"
  movl $UDS, tssb + TSS_SS
  FAILS "SS of ring 3", TS, "UDS & ~3", "ljmp $TSSB, $0"
  movl $DS0, tssb + TSS_SS
  movl $NOTP, tssb + TSS_DS
  FAILS "DS not present", NP, NOTP, "ljmp $TSSB, $0"
  movl $0x7ff8, tssb + TSS_DS
  FAILS "DS past the GDT", TS, 0x7ff8, "ljmp $TSSB, $0"
  movl $TSS_SEL, tssb + TSS_DS
  FAILS "DS is a TSS", TS, TSS_SEL, "ljmp $TSSB, $0"
  movl $DS0, tssb + TSS_DS
  movl $DS0, tssb + TSS_LDT
  FAILS "LDT is data", TS, DS0, "ljmp $TSSB, $0"
  movl $0, tssb + TSS_LDT
  movl $0x7ff8, tssb + TSS_LDT
  FAILS "LDT past the GDT, by CALL", TS, 0x7ff8, "lcall $TSSB, $0"
  movl $0, tssb + TSS_LDT
  # The exception belongs to the first instruction of the new task.
  movl $NOTP, tssb + TSS_FS
  FAILS "FS not present", NP, NOTP, "ljmp $TSSB, $0"
  EQ "its EIP is the new task's", tssb + TSS_EIP, $task_iret
  movl $0, tssb + TSS_FS

  # ---- LDT
  TASK_B task_ldt
  movl $ldt_b, %eax
  movw $15, gdt + LDTB
  movw %ax, gdt + LDTB + 2
  shrl $16, %eax
  movb %al, gdt + LDTB + 4
  movb $0x82, gdt + LDTB + 5
  movl $word5a, %eax
  movw %ax, ldt_b + 10
  shrl $16, %eax
  movb %al, ldt_b + 12
  movl $LDTB, tssb + TSS_LDT
  movl $0x0c, tssb + TSS_FS
  FINE "task with an LDT", "lcall $TSSB, $0"
  EQ "LDTR in the task", seen_eax, $LDTB
  EQ "value through its FS", seen_link, $0x5a5a5a5a
  sldt %eax
  movzwl %ax, %eax
  EQ "LDTR afterwards", %eax, $0

  # QEMU knows no T bit.
  UNLESS_QEMU no_t_bit
  # ---- T bit: #DB before the first instruction, DR6.BT
  TASK_B task_iret
  movl $0x680001, tssb + TSS_T
  movl $0, %eax
  movl %eax, %dr6
  BEGIN_TRY 1f
  ljmp $TSSB, $0
1:
  TEXT %esi, "T bit"
  movl $DB, want_val
  movl $0, want_err
  call check_exception
  call restore_a
  EQ "T bit: EIP", rec_ip, $task_iret
  movl %dr6, %eax
  andl $0xe00f, %eax
  EQ "T bit: DR6.BT", %eax, $0x8000
  movl $0, %eax
  movl %eax, %dr6
  # The same behind a gate, for an exception: #UD switches to task B, whose first event is #DB.
  TASK_B task_iret
  movl $0x680001, tssb + TSS_T
  pushl idt + UD * 8
  pushl idt + UD * 8 + 4
  movl $(TSSB << 16), idt + UD * 8
  movl $0x8500, idt + UD * 8 + 4
  BEGIN_TRY 1f
  ud2
1:
  popl idt + UD * 8 + 4
  popl idt + UD * 8
  TEXT %esi, "T bit behind a gate"
  movl $DB, want_val
  movl $0, want_err
  call check_exception
  call restore_a
  EQ "T bit behind a gate: EIP", rec_ip, $task_iret
  movl $0, %eax
  movl %eax, %dr6
no_t_bit:
  # Local breakpoints are cleared by a task switch, global ones stay.
  TASK_B task_iret
  movl $unused, %eax
  movl %eax, %dr0
  movl %eax, %dr1
  movl $0x00990609, %eax
  movl %eax, %dr7
  FINE "task switch with breakpoints", "lcall $TSSB, $0"
  movl %dr7, %eax
  EQ "DR7: L0 cleared, G1 kept", %eax, $0x00990608
  movl $0x400, %eax
  movl %eax, %dr7

  # ---- a 16-bit TSS
  movl $task16, %eax
  movw %ax, gdt + NOTP + 2
  shrl $16, %eax
  movb %al, gdt + NOTP + 4
  movw $0xffff, gdt + NOTP
  movb $0x9a, gdt + NOTP + 5
  movb $0x40, gdt + NOTP + 6
  movw $0, tssc
  movw $0, tssc + 0x0e
  movw $2, tssc + 0x10
  movw $0x1234, tssc + 0x12
  movw $0x7000, tssc + 0x1a
  movw $DS0, tssc + 0x22
  movw $NOTP, tssc + 0x24
  movw $DS0, tssc + 0x26
  movw $DS0, tssc + 0x28
  FINE "16-bit task", "lcall $TSSC, $0"
  movzwl seen_eax, %eax
  EQ "16-bit task: AX", %eax, $0x1234
  EQ "16-bit task: link", seen_link, $TSS_SEL
  movzwl seen_esp, %eax
  EQ "16-bit task: SP", %eax, $0x7000
  EQ "16-bit task: TR", seen_tr, $TSSC
  TYPE "16-bit task: available afterwards", TSSC, 0x81

  # ---- CR3 changes with the task
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $22, %eax
  orl $0xe7, %eax
  movl %eax, pdir(,%ecx,4)
  movl %eax, pdir2(,%ecx,4)
  addl $1, %ecx
  cmpl $16, %ecx
  jne 1b
  movl $0x4000e7, pdir + 256 * 4
  movl $0x8000e7, pdir2 + 256 * 4
  movl $0xaaaa, 0x400000
  movl $0xbbbb, 0x800000
  movl %cr4, %eax
  orl $0x10, %eax
  movl %eax, %cr4
  movl $pdir, %eax
  movl %eax, %cr3
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  TASK_B task_cr3
  movl $pdir2, tssb + 0x1c
  EQ "page of task A", 0x40000000, $0xaaaa
  movl $pdir, tss + 0x1c
  FINE "task with another CR3", "lcall $TSSB, $0"
  EQ "page of task B", seen_eax, $0xbbbb
  EQ "page of task A again", 0x40000000, $0xaaaa
  movl %cr3, %eax
  EQ "CR3 of task A", %eax, $pdir
  # A TSS that is not there: #PF in the old task, nothing has changed.
  movl $0x50000000, %eax
  TSS_DESC TSSB, 0x50000000, 0x67, 0x89
  RAISES1 "new TSS on a missing page", PF, 0, "ljmp $TSSB, $0"
  str %eax
  movzwl %ax, %eax
  EQ "new TSS on a missing page: TR", %eax, $TSS_SEL
  TYPE "new TSS on a missing page: A busy", TSS_SEL, 0x8b
  TYPE "new TSS on a missing page: B available", TSSB, 0x89
  DONE

restore_a:
  movb $0x89, gdt + TSS_SEL + 5
  movb $0x89, gdt + TSSB + 5
  pushl %eax
  movl $TSS_SEL, %eax
  ltr %ax
  movl $0, %eax
  lldt %ax
  movl %eax, %fs
  movl %eax, %gs
  popl %eax
  ret

.macro RECORD
  movl %eax, seen_eax
  movl %esp, seen_esp
  pushf
  popl seen_flags
  str %eax
  movzwl %ax, %eax
  movl %eax, seen_tr
  movl %cr0, %eax
  movl %eax, seen_cr0
  movzbl gdt + TSS_SEL + 5, %eax
  movl %eax, seen_type_a
  movzbl gdt + TSSB + 5, %eax
  movl %eax, seen_type_b
  movl tssb, %eax
  movl %eax, seen_link
.endm
task_jmp:
  RECORD
  ljmp $TSS_SEL, $0
after_jmp:
  hlt
task_iret:
  RECORD
  iretl
after_iret:
  hlt
task_error:
  movl %esp, seen_esp
  popl seen_eax
  movl tss + TSS_EIP, %eax
  movl %eax, seen_eip
  movl tss + TSS_FLAGS, %eax
  movl %eax, seen_flags2
  # On to the next instruction of task A.
  addl $2, tss + TSS_EIP
  iretl
task_fail:
  popl seen_eax
  movzwl tssd, %eax
  movl %eax, seen_link
  movb $0x89, gdt + TSS_SEL + 5
  ljmp $TSS_SEL, $0
task_ldt:
  sldt %eax
  movzwl %ax, %eax
  movl %eax, seen_eax
  movl %fs:0, %eax
  movl %eax, seen_link
  iretl
task16:
  movl %eax, seen_eax
  movl %esp, seen_esp
  str %eax
  movzwl %ax, %eax
  movl %eax, seen_tr
  movzwl tssc, %eax
  movl %eax, seen_link
  iretl
task_cr3:
  movl 0x40000000, %eax
  movl %eax, seen_eax
  iretl

.data
.balign 16
ldt_b:
  .quad 0
  # Base: filled in.
  .word 0xffff, 0
  .byte 0, 0x92, 0xcf, 0
seen_eax: .long 0
seen_esp: .long 0
seen_eip: .long 0
seen_tr: .long 0
seen_cr0: .long 0
seen_flags: .long 0
seen_flags2: .long 0
seen_type_a: .long 0
seen_type_b: .long 0
seen_link: .long 0
unused: .long 0
word5a: .long 0x5a5a5a5a
.section .bss
.balign 4096
pdir: .skip 4096
pdir2: .skip 4096
tssb: .skip 256
tssc: .skip 256
tssd: .skip 256
stack_b: .skip 4096
