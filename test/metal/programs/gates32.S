# Protected mode: gates of both sizes, call gates with parameters, far returns, IRET, virtual-8086 mode
# (SDM vol. 3, 5.8, 6.11, 6.12, chapter 21).
.set BITS, 32
.include "runtime.S"
.set CG, FREE
.set CODE, FREE + 0x08
.set CONF, FREE + 0x10
.set CODE1, FREE + 0x18
.set DATA1, FREE + 0x20
.set SMALL, FREE + 0x28
.macro GATE v, byte5
  movb $\byte5, idt + \v * 8 + 5
.endm
.macro GATE_CS v, sel
  movw $\sel, idt + \v * 8 + 2
.endm
.macro CALLGATE access, sel, target, count=0
  movl $\target, %eax
  movw %ax, gdt + CG
  movw $\sel, gdt + CG + 2
  shrl $16, %eax
  movw %ax, gdt + CG + 6
  movb $\count, gdt + CG + 4
  movb $\access, gdt + CG + 5
.endm
main:
  DESC_AT CONF, 0xffff, 0xcf9e00
  DESC_AT CODE1, 0xffff, 0xcfba00
  DESC_AT DATA1, 0xffff, 0xcfb200
  movw $DATA1 + 1, tss + 16

  # ---- gates
  movl $hook_flags, hook
  BEGIN_TRY 1f
  sti
  int $0x21
1:
  cli
  movl cur_flags, %eax
  andl $0x200, %eax
  EQ "interrupt gate clears IF", %eax, $0
  movl rec_flags, %eax
  andl $0x10200, %eax
  EQ "INT n pushes IF, no RF", %eax, $0x200
  GATE 0x21, 0xef
  BEGIN_TRY 1f
  sti
  int $0x21
1:
  cli
  movl $0, hook
  movl cur_flags, %eax
  andl $0x200, %eax
  EQ "trap gate keeps IF", %eax, $0x200
  GATE 0x21, 0xee
  # 16-bit gate: three words, offset of 16 bits. The handler is below 64 KiB only in a segment with a base.
  movl $handler16, %eax
  movw %ax, gdt + SMALL + 2
  shrl $16, %eax
  movb %al, gdt + SMALL + 4
  movb %ah, gdt + SMALL + 7
  movw $0xffff, gdt + SMALL
  movb $0x9a, gdt + SMALL + 5
  movb $0x40, gdt + SMALL + 6
  movl $(SMALL << 16), idt + 0x22 * 8
  movl $0xe600, idt + 0x22 * 8 + 4
  movl $71f, resume16
  FINE "16-bit interrupt gate", "movl %esp, %ebx; int $0x22; 71: subl %esp, %ebx"
  EQ "16-bit gate: balanced", %ebx, $0
  movl $71b, %edx
  movzwl %dx, %edx
  EQ "16-bit gate: IP", seen_ip, %edx
  EQ "16-bit gate: CS", seen_cs, $CS32
  EQ "16-bit gate: bytes", seen_bytes, $6

  # ---- bad gates
  GATE 0x21, 0x6e
  RAISES1 "gate not present", NP, "0x21 * 8 + 2", "int $0x21"
  GATE 0x21, 0xec
  RAISES1 "call gate in the IDT", GP, "0x21 * 8 + 2", "int $0x21"
  GATE 0x21, 0xf2
  RAISES1 "data segment in the IDT", GP, "0x21 * 8 + 2", "int $0x21"
  GATE 0x21, 0x0e
  U_RAISES "DPL before presence", GP, "0x21 * 8 + 2", "int $0x21"
  GATE 0x21, 0xee
  GATE_CS 0x21, 0
  RAISES1 "gate with a null selector", GP, 0, "int $0x21"
  GATE_CS 0x21, DS0
  RAISES1 "gate with a data segment", GP, DS0, "int $0x21"
  GATE_CS 0x21, UCS32
  RAISES1 "gate to ring 3 from ring 0", GP, "UCS32 & ~3", "int $0x21"
  GATE_CS 0x21, 0x7ff8
  RAISES1 "gate to a segment past the GDT", GP, 0x7ff8, "int $0x21"
  GATE_CS 0x21, CODE
  DESC_AT CODE, 0xffff, 0xcf1a00
  RAISES1 "gate to a segment that is not present", NP, CODE, "int $0x21"
  DESC_AT CODE, 0xfff, 0x409a00
  RAISES1 "handler past the limit", GP, 0, "int $0x21"
  GATE_CS 0x21, CS32
  GATE UD, 0x0e
  RAISES1 "#UD, gate not present", NP, "6 * 8 + 3", "ud2"
  GATE UD, 0x8e
  GATE_CS UD, DS0
  RAISES1 "#UD, data segment", GP, "DS0 + 1", "ud2"
  GATE_CS UD, CS32
  lidt short_idtr
  RAISES1 "vector past the IDT", GP, "0x40 * 8 + 2", "int $0x40"
  lidt idtr
  GATE GP, 0x0e
  U_RAISES "#GP, then #NP", DF, 0, "hlt"
  GATE GP, 0x8e

  # ---- the inner stack
  U_RAISES "ring 0 stack", 0x21, 0, "int $0x21"
  EQ "ring 0 stack: frame", rec_frame, $(kstack_top - 24)
  EQ "ring 0 stack: SS", rec_ss, $UDS
  EQ "ring 0 stack: ESP", rec_esp, $ustack_top
  # Ring 3 to a handler of ring 1.
  GATE_CS 0x21, CODE1 + 1
  movl $handler1, %eax
  movw %ax, idt + 0x21 * 8
  shrl $16, %eax
  movw %ax, idt + 0x21 * 8 + 6
  U_FINE "handler in ring 1", "int $0x21"
  movl $0, hook
  EQ "handler in ring 1: CS", seen_cs, $(CODE1 + 1)
  EQ "handler in ring 1: SS", seen_ss, $(DATA1 + 1)
  EQ "handler in ring 1: ESP", seen_esp, $(kstack1_top - 20)
  # Conforming handler: no change of privilege.
  GATE_CS 0x21, CONF
  movl $handler_conf, %eax
  movw %ax, idt + 0x21 * 8
  shrl $16, %eax
  movw %ax, idt + 0x21 * 8 + 6
  movl $0, seen_cs
  U_FINE "conforming handler", "int $0x21"
  EQ "conforming handler: CS", user_cs, $(CONF + 3)
  # A bad ring 1 stack: #TS with the selector of SS, delivered in ring 0.
  GATE_CS 0x21, CODE1 + 1
  movw $0, tss + 16
  U_RAISES "inner SS null", TS, 0, "int $0x21"
  movw $DS0 + 1, tss + 16
  U_RAISES "inner SS with the wrong DPL", TS, DS0, "int $0x21"
  movw $DATA1, tss + 16
  U_RAISES "inner SS with the wrong RPL", TS, DATA1, "int $0x21"
  movw $CODE1 + 1, tss + 16
  U_RAISES "inner SS is a code segment", TS, CODE1, "int $0x21"
  movw $0x7ff9, tss + 16
  U_RAISES "inner SS past the GDT", TS, 0x7ff8, "int $0x21"
  movw $DATA1 + 1, tss + 16
  DESC_AT DATA1, 0xffff, 0xcf3200
  U_RAISES "inner SS not present", SS, DATA1, "int $0x21"
  DESC_AT DATA1, 0x0fff, 0x40b200
  U_RAISES "inner stack outside its limit", SS, DATA1, "int $0x21"
  DESC_AT DATA1, 0xffff, 0xcfb200
  movw $15, gdt + TSS_SEL
  movb $0x89, gdt + TSS_SEL + 5
  movl $TSS_SEL, %eax
  ltr %ax
  U_RAISES "inner stack outside the TSS", TS, TSS_SEL, "int $0x21"
  movw $0x67, gdt + TSS_SEL
  movb $0x89, gdt + TSS_SEL + 5
  movl $TSS_SEL, %eax
  ltr %ax
  GATE_CS 0x21, CS32

  # ---- software interrupts
  U_RAISES "INT3", BP, 0, "int3"
  U_RAISES "INT1: no DPL check", DB, 0, "int1"
  GATE BP, 0x8e
  U_RAISES "INT3: DPL checked", GP, "3 * 8 + 2", "int3"
  GATE BP, 0xee
  FINE "INTO without overflow", "xorl %eax, %eax; into"
  RAISES "INTO with overflow", OF, 0, "movb $0x7f, %al; incb %al; into; 71:"
  EQ "INTO: next instruction pushed", rec_ip, $71b
  GATE OF, 0x8e
  U_RAISES "INTO: DPL checked", GP, "4 * 8 + 2", "movb $0x7f, %al; incb %al; into"
  GATE OF, 0xee
  movl $10, %eax
  FINE "BOUND inside", "boundl %eax, bounds"
  movl $21, %eax
  RAISES1 "BOUND above", BR, 0, "boundl %eax, bounds"
  movl $-6, %eax
  RAISES1 "BOUND below", BR, 0, "boundl %eax, bounds"
  movl $-5, %eax
  FINE "BOUND at the lower bound", "boundl %eax, bounds"
  RAISES1 "BOUND with a register", UD, 0, ".byte 0x62, 0xc0"

  # ---- flags
  movl $0x3202, user_flags
  U_FINE "IOPL 3: CLI", "cli"
  movl rec_flags, %eax
  andl $0x3202, %eax
  EQ "IOPL 3: CLI, result", %eax, $0x3002
  movl $2, user_flags
  U_RAISES "IOPL 0: CLI", GP, 0, "cli"
  U_RAISES "IOPL 0: STI", GP, 0, "sti"
  U_FINE "IOPL 0: POPF changes neither IF nor IOPL", "push $0x3202; popf"
  movl rec_flags, %eax
  andl $0x3202, %eax
  EQ "its result", %eax, $2

  # ---- call gates
  CALLGATE 0x8c, CS32, gate0
  FINE "call gate, same privilege", "movl %esp, %ebx; lcall $CG, $0"
  EQ "same privilege: bytes pushed", seen_bytes, $8
  CALLGATE 0xec, CS32, gate3, 3
  U_RAISES "call gate with 3 parameters", 0x23, 0, "push $0x33; push $0x22; push $0x11; lcall $CG + 3, $0; int $0x23"
  EQ "parameter 1", seen_p1, $0x11
  EQ "parameter 2", seen_p2, $0x22
  EQ "parameter 3", seen_p3, $0x33
  EQ "frame", seen_esp, $(kstack_top - 28)
  EQ "old CS", seen_ocs, $UCS32
  EQ "old SS", seen_oss, $UDS
  EQ "old ESP", seen_oesp, $(ustack_top - 12)
  EQ "RETF 12 releases parameters outside", rec_esp, $ustack_top
  # A 16-bit gate: words, and 16 bits of the return address only, so the test ends inside.
  DESC_AT SMALL, 0xffff, 0x409a00
  movl $gate16, %eax
  movw %ax, gdt + SMALL + 2
  shrl $16, %eax
  movb %al, gdt + SMALL + 4
  CALLGATE 0xe4, SMALL, 0, 2
  U_RAISES "16-bit call gate with 2 parameters", 0x23, 0, "pushw $0x44; pushw $0x55; lcall $CG + 3, $0"
  EQ "16-bit: parameter 1", seen_p1, $0x55
  EQ "16-bit: parameter 2", seen_p2, $0x44
  EQ "16-bit: frame", seen_esp, $(kstack_top - 12)
  CALLGATE 0x8c, CS32, gate3
  U_RAISES "call gate, DPL", GP, CG, "lcall $CG + 3, $0"
  CALLGATE 0xcc, CS32, gate0
  RAISES1 "call gate, RPL", GP, CG, "lcall $CG + 3, $0"
  CALLGATE 0x6c, CS32, gate3
  U_RAISES "call gate, not present", NP, CG, "lcall $CG + 3, $0"
  CALLGATE 0xec, DS0, gate3
  U_RAISES "call gate, data segment", GP, DS0, "lcall $CG + 3, $0"
  CALLGATE 0xec, 0, gate3
  U_RAISES "call gate, null", GP, 0, "lcall $CG + 3, $0"
  DESC_AT CODE, 0xffff, 0xcf1a00
  CALLGATE 0xec, CODE, gate3
  U_RAISES "call gate, segment not present", NP, CODE, "lcall $CG + 3, $0"
  DESC_AT CODE, 0x0fff, 0x409a00
  CALLGATE 0xec, CODE, gate3
  U_RAISES "call gate, offset past the limit", GP, 0, "lcall $CG + 3, $0"
  CALLGATE 0xec, CS32, gate3
  U_RAISES "JMP through a gate to ring 0", GP, CS32, "ljmp $CG + 3, $0"
  CALLGATE 0xec, CONF, gate_conf
  U_RAISES "call gate to conforming code", 0x23, 0, "lcall $CG + 3, $0; int $0x23"
  EQ "call gate to conforming code: CS", user_cs, $(CONF + 3)

  # ---- direct far transfers
  U_RAISES "far CALL to ring 0", GP, CS32, "lcall $CS32, $0"
  U_RAISES "far CALL to a conforming segment of ring 0", 0x23, 0, "lcall $CONF, $far_ret; int $0x23"
  RAISES1 "far JMP to ring 3", GP, "UCS32 & ~3", "ljmp $UCS32, $0"
  RAISES1 "far JMP, null", GP, 0, "ljmp $0, $0"
  RAISES1 "far JMP, past the GDT", GP, 0x7ff8, "ljmp $0x7ff8, $0"
  RAISES1 "far JMP, data segment", GP, DS0, "ljmp $DS0, $0"
  RAISES1 "far JMP, RPL > CPL", GP, CS32, "ljmp $CS32 + 3, $0"
  RAISES1 "far JMP, past the limit", GP, 0, "ljmp $CODE, $0x1000"
  DESC_AT CODE, 0x0fff, 0x401a00
  RAISES1 "far JMP, not present", NP, CODE, "ljmp $CODE, $0"
  RAISES1 "far JMP to its own busy TSS", GP, TSS_SEL, "ljmp $TSS_SEL, $0"
  movl %esp, %ebx
  FINE "far CALL and RETF", "lcall $CS32, $far_ret"
  subl %esp, %ebx
  EQ "far CALL and RETF: balanced", %ebx, $0

  # ---- far returns
  RAISES "RETF to ring 3", USER_EXIT, 0, "push $UDS; push $ustack_top; push $UCS32; push $user_end; lretl"
  EQ "RETF to ring 3: SS", rec_ss, $UDS
  RAISES "RETF imm16 to ring 3", USER_EXIT, 0, "push $UDS; push $ustack_top - 64; push $0; push $0; push $UCS32; push $user_end; lretl $8"
  EQ "RETF imm16 releases on both stacks", rec_esp, $(ustack_top - 56)
  U_RAISES "RETF to ring 0", GP, CS32, "push $CS32; push $user_end; lretl"
  RAISES "RETF: SS of ring 0", GP, DS0, "push $DS0; push $ustack_top; push $UCS32; push $user_end; lretl"
  RAISES "RETF: null SS", GP, 0, "push $0; push $ustack_top; push $UCS32; push $user_end; lretl"
  RAISES "RETF: null CS", GP, 0, "push $0; push $user_end; lretl"
  # Segments that ring 3 may not use become null.
  movl $CONF, %eax
  movl %eax, %fs
  movl $UDS, %eax
  movl %eax, %gs
  movl $DS0, %eax
  movl %eax, %es
  RAISES "RETF with ES of ring 0", USER_EXIT, 0, "push $UDS; push $ustack_top; push $UCS32; push $seg_probe; lretl"
  EQ "ES became null", rec_segs, $0
  movl %fs, %eax
  EQ "a conforming code segment stays", %eax, $CONF
  movl %gs, %eax
  EQ "a data segment of ring 3 stays", %eax, $UDS

  # ---- IRET
  RAISES "IRET: null CS", GP, 0, "push $2; push $0; push $1f; iretl; 1:"
  RAISES "IRET: CS of ring 0 with RPL 3", GP, CS32, "push $UDS; push $ustack_top; push $2; push $CS32 + 3; push $user_end; iretl"
  # QEMU does not check this limit and would run wild.
  UNLESS_QEMU 1f
  RAISES "IRET: past the limit", GP, 0, "push $2; push $SMALL; push $0x10000; iretl"
1:
  FINE "IRETW", "pushw $2; pushw $SMALL; pushw $(gate16_back - gate16); iretw; iret_back:"
  movw $0, tss
  RAISES "IRET, NT, link null", TS, 0, "push $0x4002; popf; iretl"
  movw $DS0, tss
  RAISES "IRET, NT, link to a data segment", TS, DS0, "push $0x4002; popf; iretl"
  movw $TSS_SEL + 4, tss
  RAISES "IRET, NT, link to the LDT", TS, TSS_SEL + 4, "push $0x4002; popf; iretl"

  # ---- SYSENTER, SYSEXIT
  WRMSR_ 0x174, 0
  U_RAISES "SYSENTER, CS 0", GP, 0, "sysenter"
  RAISES1 "SYSEXIT, CS 0", GP, 0, "sysexit"
  # Selectors follow each other: code 0, data 0, code 3, data 3.
  WRMSR_ 0x174, 0x18
  movl $0x00cf9a00, gdt + CS64 + 4
  WRMSR_ 0x175, kstack_top
  WRMSR_ 0x176, sysenter_entry
  movl $0x3202, user_flags
  U_RAISES "SYSENTER and SYSEXIT", 0x23, 0, "movl $71f, %edx; movl $ustack_top, %ecx; sysenter; 71: int $0x23"
  movl $2, user_flags
  EQ "SYSENTER: CS", seen_cs, $0x18
  EQ "SYSENTER: SS", seen_ss, $0x20
  EQ "SYSENTER: ESP", seen_esp, $kstack_top
  movl seen_flags, %eax
  andl $0x3200, %eax
  EQ "SYSENTER: IF cleared", %eax, $0x3000
  EQ "SYSEXIT: CS", rec_cs, $0x2b
  EQ "SYSEXIT: SS", rec_ss, $0x33
  EQ "SYSEXIT: ESP", rec_esp, $ustack_top
  U_RAISES "SYSEXIT in ring 3", GP, 0, "sysexit"
  RAISES1 "SYSCALL without SCE", UD, 0, "syscall"
  DONE

handler16:
  movw (%esp), %ax
  movw %ax, seen_ip
  movw 2(%esp), %ax
  movw %ax, seen_cs
  movl %ebx, %eax
  subl %esp, %eax
  movl %eax, seen_bytes
  # Back by hand: the 16-bit frame has only half of EIP.
  addl $6, %esp
  ljmp *resume16
gate0:
  movl %ebx, %eax
  subl %esp, %eax
  movl %eax, seen_bytes
  lretl
gate3:
  movl $DS0, %eax
  movl %eax, %ds
  movl %esp, seen_esp
  movl 4(%esp), %eax
  movl %eax, seen_ocs
  movl 8(%esp), %eax
  movl %eax, seen_p1
  movl 12(%esp), %eax
  movl %eax, seen_p2
  movl 16(%esp), %eax
  movl %eax, seen_p3
  movl 20(%esp), %eax
  movl %eax, seen_oesp
  movl 24(%esp), %eax
  movl %eax, seen_oss
  movl $UDS, %eax
  movl %eax, %ds
  lretl $12
.balign 16
gate16:
  movl $DS0, %eax
  movl %eax, %ds
  movl %esp, seen_esp
  movzwl 4(%esp), %eax
  movl %eax, seen_p1
  movzwl 6(%esp), %eax
  movl %eax, seen_p2
  int $0x23
gate16_back:
  ljmp $CS32, $iret_back
gate_conf:
  movl %cs, %eax
  movw %ax, user_cs
far_ret:
  lretl
handler1:
  movl $DATA1 + 1, %eax
  movl %eax, %ds
  movw %cs, seen_cs
  movw %ss, seen_ss
  movl %esp, seen_esp
  movl $UDS, %eax
  movl %eax, %ds
  iretl
handler_conf:
  movl %cs, %eax
  movw %ax, user_cs
  iretl
sysenter_entry:
  movl $DS0, %eax
  movl %eax, %ds
  movw %cs, seen_cs
  movw %ss, seen_ss
  movl %esp, seen_esp
  pushf
  popl seen_flags
  sysexit
hook_flags:
  pushf
  popl cur_flags
  movl $1, %eax
  ret

.section .user
user_end:
  int $USER_EXIT
seg_probe:
  movl %es, %eax
  movl $UDS, %ebx
  movl %ebx, %ds
  movl %eax, rec_segs
  int $USER_EXIT
user_cs: .long 0
.data
.balign 8
short_idtr:
  .word 0x40 * 8 - 1
  .long idt
bounds: .long -5, 20
resume16: .long 0, CS32
cur_flags: .long 0
rec_segs: .long -1
seen_ip: .long 0
seen_cs: .long 0
seen_ss: .long 0
seen_esp: .long 0
seen_bytes: .long 0
seen_p1: .long 0
seen_p2: .long 0
seen_p3: .long 0
seen_ocs: .long 0
seen_oss: .long 0
seen_oesp: .long 0
seen_flags: .long 0
