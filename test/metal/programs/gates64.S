# Interrupts, exceptions, call gates and fast system calls in long mode (SDM vol. 3, 5.8, 6.14).
.set BITS, 64
.include "runtime.S"
.macro GATE v, byte5, ist=0
  movb $\byte5, idt + \v * 16 + 5
  movb $\ist, idt + \v * 16 + 4
.endm
.macro GATE_CS v, sel
  movw $\sel, idt + \v * 16 + 2
.endm
.set CG, FREE
.set CODE, FREE + 0x20
.macro CALLGATE access, sel, target, upper=0
  movl $\target, %eax
  movw %ax, gdt + CG
  movw $\sel, gdt + CG + 2
  shrl $16, %eax
  movw %ax, gdt + CG + 6
  movb $0, gdt + CG + 4
  movb $\access, gdt + CG + 5
  movl $\upper, gdt + CG + 8
  movl $0, gdt + CG + 12
.endm
.macro STAY cs, ss, rip, flags=2
  movq %rsp, %rbx
  push $\ss
  push %rbx
  push $\flags
  push $\cs
  push $\rip
  iretq
.endm
main:
  # ---- gates
  movl $hook_flags, hook
  BEGIN_TRY 1f
  sti
  int $0x21
1:
  cli
  movl $0, hook
  movl cur_flags, %eax
  andl $0x200, %eax
  EQ "interrupt gate clears IF", %eax, $0
  movl rec_flags, %eax
  andl $0x10200, %eax
  EQ "INT n pushes IF, no RF", %eax, $0x200
  GATE 0x21, 0xef
  movl $hook_flags, hook
  BEGIN_TRY 1f
  sti
  int $0x21
1:
  cli
  movl $0, hook
  movl cur_flags, %eax
  andl $0x200, %eax
  EQ "trap gate keeps IF", %eax, $0x200
  # NT, TF and AC: NT and TF are cleared, AC stays.
  movl $hook_flags, hook
  BEGIN_TRY 1f
  push $0x44002
  popf
  int $0x21
1:
  movl $0, hook
  andl $~0xd5, cur_flags
  EQ "NT cleared, AC kept in the handler", cur_flags, $0x40002
  EQ "NT and AC pushed", rec_flags, $0x44002
  GATE 0x21, 0xee
  # The frame is aligned, RSP is pushed as it was.
  movq %rsp, %rbx
  RAISES "misaligned RSP", 0x21, 0, "subq $3, %rsp; movq %rsp, %rdx; int $0x21"
  movl %ebx, %eax
  subl $3, %eax
  EQ "pushed RSP", rec_esp, %eax
  movl rec_frame, %eax
  andl $15, %eax
  # The runtime pushes an error code below the aligned frame of 40 bytes.
  EQ "frame is aligned", %eax, $0
  # IST.
  GATE 0x21, 0xee, 1
  RAISES "IST 1", 0x21, 0, "int $0x21"
  EQ "IST 1: stack", rec_frame, $(ist1_top - 48)
  EQ "IST 1: SS stays", rec_ss, $DS0
  GATE 0x21, 0xee, 2
  U_RAISES "IST 2 from ring 3", 0x21, 0, "int $0x21"
  EQ "IST 2: stack", rec_frame, $(ist2_top - 48)
  EQ "IST 2: SS pushed", rec_ss, $UDS
  GATE 0x21, 0xee
  U_RAISES "ring 0 stack", 0x21, 0, "int $0x21"
  EQ "ring 0 stack: RSP0", rec_frame, $(kstack_top - 48)
  EQ "CS pushed", rec_cs, $UCS64
  movl $0xffff, cur_ss
  movl $hook_ss, hook
  U_RAISES "SS in the handler", 0x21, 0, "int $0x21"
  movl $0, hook
  EQ "SS is null after a change of privilege", cur_ss, $0

  # ---- bad gates
  GATE 0x21, 0x6e
  RAISES1 "gate not present", NP, "0x21 * 8 + 2", "int $0x21"
  U_RAISES "gate not present, ring 3", NP, "0x21 * 8 + 2", "int $0x21"
  GATE 0x21, 0xe5
  RAISES1 "task gate", GP, "0x21 * 8 + 2", "int $0x21"
  GATE 0x21, 0xe6
  RAISES1 "16-bit gate", GP, "0x21 * 8 + 2", "int $0x21"
  GATE 0x21, 0xec
  RAISES1 "call gate", GP, "0x21 * 8 + 2", "int $0x21"
  GATE 0x21, 0x8e
  U_RAISES "DPL before presence", GP, "0x21 * 8 + 2", "int $0x21"
  RAISES "DPL 0 from ring 0", 0x21, 0, "int $0x21"
  GATE 0x21, 0xee
  GATE_CS 0x21, 0
  RAISES1 "gate with a null selector", GP, 0, "int $0x21"
  GATE_CS 0x21, DS0
  RAISES1 "gate with a data segment", GP, DS0, "int $0x21"
  GATE_CS 0x21, CS32
  RAISES1 "gate with a 32-bit segment", GP, CS32, "int $0x21"
  GATE_CS 0x21, UCS64
  RAISES1 "gate to ring 3 from ring 0", GP, "UCS64 & ~3", "int $0x21"
  GATE_CS 0x21, 0x7ff8
  RAISES1 "gate to a segment past the GDT", GP, 0x7ff8, "int $0x21"
  GATE_CS 0x21, CODE
  DESC_AT CODE, 0xffff, 0xaf1b00
  RAISES1 "gate to a segment that is not present", NP, CODE, "int $0x21"
  DESC_AT CODE, 0xffff, 0xaf9a00
  movl $0x800000, idt + 0x21 * 16 + 8
  RAISES1 "non-canonical handler", GP, 0, "int $0x21"
  movl $0, idt + 0x21 * 16 + 8
  FINE "accessed bit", "movl $hook_back, hook; int $0x21; movl $NONE, rec_vec"
  movl $0, hook
  EQ "code segment marked accessed", gdt + CODE + 4, $0xaf9b00
  GATE_CS 0x21, CS64
  lidt short_idtr
  RAISES1 "vector past the IDT", GP, "0x40 * 8 + 2", "int $0x40"
  lidt idtr
  # The same as exceptions: EXT is set.
  GATE UD, 0x0e
  RAISES1 "#UD, gate not present", NP, "6 * 8 + 3", "ud2"
  GATE UD, 0x8e
  GATE_CS UD, DS0
  RAISES1 "#UD, data segment", GP, "DS0 + 1", "ud2"
  GATE_CS UD, CS64

  # ---- double faults
  GATE GP, 0x0e
  RAISES "#GP, then #NP", DF, 0, "movl $0x7ff8, %eax; movl %eax, %es"
  RAISES "INT 80h in ring 0, then fine", 0x80, 0, "int $0x80"
  U_RAISES "#GP in ring 3, then #NP", DF, 0, "hlt"
  GATE GP, 0x8e
  GATE DE, 0x0e
  xorl %ecx, %ecx
  RAISES1 "#DE, then #NP", DF, 0, "divl %ecx"
  GATE DE, 0x8e
  movabsq $0x4000000000, %rbx
  GATE PF, 0x0e
  RAISES1 "#PF, then #NP", DF, 0, "movb (%rbx), %al" 
  GATE PF, 0x8e
  # #GP with its stack on a missing page: #PF after a contributory exception is handled in turn.
  GATE GP, 0x8e, 3
  movabsq $0x4000000ff0, %rax
  movq %rax, tss + 36 + 16
  U_RAISES "#GP, then #PF", PF, 2, "hlt"
  EQ64 "#GP, then #PF: CR2", rec_cr2, $0x4000000fe8
  GATE GP, 0x8e
  movabsq $0x4000000000, %rbx
  GATE PF, 0x8e, 3
  RAISES1 "#PF, then #PF", DF, 0, "movb (%rbx), %al"
  EQ64 "#PF, then #PF: CR2", rec_cr2, $0x4000000fe8
  GATE PF, 0x8e
  GATE UD, 0x8e, 3
  RAISES1 "#UD, then #PF", PF, 2, "ud2"
  movabsq $0x800000000000, %rax
  movq %rax, tss + 36 + 16
  RAISES1 "#UD, stack not canonical", SS, 1, "ud2"
  GATE UD, 0x8e
  # TSS too short for the stack pointer.
  movw $0x8e02, idt + 0x22 * 16 + 4
  movw $0x23, gdt + TSS_SEL
  movb $0x89, gdt + TSS_SEL + 5
  movl $TSS_SEL, %eax
  ltr %ax
  RAISES1 "IST outside the TSS", TS, TSS_SEL, "int $0x22"
  movw $0x67, gdt + TSS_SEL
  movb $0x89, gdt + TSS_SEL + 5
  movl $TSS_SEL, %eax
  ltr %ax
  movw $0xee00, idt + 0x22 * 16 + 4

  # ---- software interrupts
  U_RAISES "INT3: vector", BP, 0, "int3"
  U_RAISES "INT1: no DPL check", DB, 0, "int1"
  GATE BP, 0x8e
  U_RAISES "INT3: DPL checked", GP, "3 * 8 + 2", "int3"
  GATE BP, 0xee
  RAISES "INT3: address", BP, 0, "int3; 71:"
  EQ "INT3: next instruction pushed", rec_ip, $71b
  RAISES "INT1: address", DB, 0, "int1; 71:"
  EQ "INT1: next instruction pushed", rec_ip, $71b
  RAISES1 "INTO does not exist", UD, 0, ".byte 0xce"
  RAISES1 "BOUND does not exist", UD, 0, ".byte 0x62, 0x07, 0xff, 0xff, 0xff, 0xff"
  RAISES1 "far CALL with immediate does not exist", UD, 0, ".byte 0x9a, 0, 0, 0, 0, 0, 0"
  RAISES1 "PUSHA does not exist", UD, 0, ".byte 0x60"
  RAISES1 "PUSH ES does not exist", UD, 0, ".byte 0x06"
  RAISES1 "AAM does not exist", UD, 0, ".byte 0xd4, 0x0a"
  RAISES1 "SALC does not exist", UD, 0, ".byte 0xd6"

  # ---- flags
  movl $0x3202, user_flags
  U_RAISES "IOPL 3: STI, CLI", 0x21, 0, "cli; pushf; pop %rbx; sti; pushf; pop %rcx; movl %ebx, user_a; movl %ecx, user_b; int $0x21"
  EQ "IOPL 3: CLI", user_a, $0x3002
  EQ "IOPL 3: STI", user_b, $0x3202
  U_RAISES "IOPL 3: POPF", 0x21, 0, "push $0x2; popf; pushf; pop %rbx; movl %ebx, user_a; int $0x21"
  EQ "POPF in ring 3, IOPL 3: IF changes, IOPL does not", user_a, $0x3002
  movl $2, user_flags
  U_RAISES "IOPL 0: CLI", GP, 0, "cli"
  U_RAISES "IOPL 0: STI", GP, 0, "sti"
  U_RAISES "IOPL 0: POPF", 0x21, 0, "push $0x243202; popf; pushf; pop %rbx; movl %ebx, user_a; int $0x21"
  EQ "POPF in ring 3, IOPL 0", user_a, $0x240002
  U_RAISES "IOPL 0: POPF, AC stays", 0x21, 0, "push $0x203ed7; popf; pushf; pop %rbx; cld; movl %ebx, user_a; int $0x21"
  EQ "POPF in ring 3, IOPL 0, AC stays", user_a, $0x200cd7
  U_RAISES "IOPL 0: IN", GP, 0, "inb $0x80, %al"
  movl $0x3002, user_flags
  U_FINE "IOPL 3: IN", "inb $0x80, %al"
  movl $2, user_flags
  push $0x3002
  popf
  pushf
  pop %rax
  EQ "POPF in ring 0: IOPL", %eax, $0x3002
  # POPFW leaves the upper half alone.
  push $0x240002
  popf
  pushw $0x4003
  popfw
  pushf
  pop %rax
  EQ "POPFW", %eax, $0x244003
  push $2
  popf
  push $0xb0002
  popf
  pushf
  pop %rax
  # RF is cleared, VM and VIF are not touched.
  EQ "POPF: RF, VM, VIF", %eax, $2

  # ---- IRETQ
  U_RAISES "IRETQ in ring 3 to ring 0", GP, CS64, "push $0; push $0x180000; push $2; push $CS64; push $0x180000; iretq"
  RAISES "IRETQ: null CS", GP, 0, "push $DS0; push %rsp; push $2; push $0; push $1f; iretq; 1:"
  RAISES "IRETQ: data segment as CS", GP, DS0, "push $DS0; push %rsp; push $2; push $DS0; push $1f; iretq; 1:"
  RAISES "IRETQ: NT", GP, 0, "push $0x4002; popf; push $DS0; push %rsp; push $2; push $CS64; push $1f; iretq; 1:"
  RAISES "IRETQ: null SS for ring 3", GP, 0, "push $3; push $0x180000; push $2; push $UCS64; push $0x180000; iretq"
  RAISES "IRETQ: SS of ring 0 for ring 3", GP, DS0, "push $DS0 + 3; push $0x180000; push $2; push $UCS64; push $0x180000; iretq"
  FINE "IRETQ: null SS for ring 0", "movq %rsp, %rbx; push $0; push %rbx; push $2; push $CS64; push $1f; iretq; 1: movw %ss, cur_ss"
  EQ "IRETQ: SS", cur_ss, $0
  movl $DS0, %eax
  movl %eax, %ss
  movabsq $0x8000000000000000, %rcx
  RAISES "IRETQ: non-canonical RIP", GP, 0, "push $DS0; push %rsp; push $2; push $CS64; push %rcx; iretq"
  movl $UCS64, %eax
  DESC_AT CODE, 0xffff, 0xaf7b00
  RAISES "IRETQ: CS not present", NP, CODE, "push $UDS; push $0x180000; push $2; push $CODE + 3; push $0x180000; iretq"
  DESC_AT CODE, 0xffff, 0xeffb00
  RAISES "IRETQ: CS with L and D", GP, CODE, "push $UDS; push $0x180000; push $2; push $CODE + 3; push $0x180000; iretq"
  DESC_AT CODE, 0xffff, 0xcf7300
  RAISES "IRETQ: SS not present", SS, CODE, "push $CODE + 3; push $0x180000; push $2; push $UCS64; push $0x180000; iretq"
  # To where CS and SS are what they are, again and again: what lies in the GDT by now counts.
  FINE "IRETQ in ring 0", "STAY CS64, DS0, 1f; 1: STAY CS64, DS0, 1f; 1: STAY CS64, DS0, 1f, 0x243cd7; 1: pushf; pop %rax; movl %eax, user_a; push $2; popf"
  EQ "IRETQ in ring 0: flags", user_a, $0x243cd7
  RAISES "IRETQ in ring 0: NT", GP, 0, "STAY CS64, DS0, 1f; 1: STAY CS64, DS0, 1f; 1: push $0x4002; popf; STAY CS64, DS0, 1f; 1: nop"
  RAISES "IRETQ in ring 0: non-canonical RIP", GP, 0, "STAY CS64, DS0, 1f; 1: STAY CS64, DS0, 1f; 1: push $DS0; push %rsp; push $2; push $CS64; push %rcx; iretq"
  RAISES "IRETQ in ring 0: another SS", GP, UDS & ~3, "STAY CS64, DS0, 1f; 1: STAY CS64, DS0, 1f; 1: STAY CS64, UDS, 1f; 1: nop"
  DESC_AT CODE, 0xffff, 0xaf9b00
  RAISES "IRETQ in ring 0: CS not present any more", NP, CODE, "push $CODE; push $1f; lretq; 1: STAY CODE, DS0, 1f; 1: STAY CODE, DS0, 1f; 1: movb $0x1b, gdt + CODE + 5; STAY CODE, DS0, 1f; 1: nop"
  DESC_AT CODE, 0xffff, 0xcf9300
  RAISES "IRETQ in ring 0: SS read-only by now", GP, CODE, "STAY CS64, CODE, 1f; 1: STAY CS64, CODE, 1f; 1: movb $0x91, gdt + CODE + 5; STAY CS64, CODE, 1f; 1: nop"
  DESC_AT CODE, 0xffff, 0xcf9300
  RAISES "IRETQ in ring 0: SS past a new limit", GP, CODE, "STAY CS64, CODE, 1f; 1: STAY CS64, CODE, 1f; 1: lgdt short_gdtr; STAY CS64, CODE, 1f; 1: nop"
  lgdt gdtr
  movl $DS0, %eax
  movl %eax, %ss
  jmp 1f
short_gdtr:
  .word CODE - 1
  .quad gdt
1:
  # To compatibility mode and back through an interrupt.
  .pushsection .user
compat:
  .code32
  movl $0x12345678, %eax
  pushl %eax
  popl user_a
  lcall $UCS64, $1f
  movw %ss, user_b
  int $USER_EXIT
  .code64
1:
  movabsq $0x1122334455667788, %rax
  movq %rax, user_c
  lretl
  .popsection
  movl $0, user_b
  BEGIN_TRY 1f
  GO_USER UCS32, compat
1:
  EQ "compatibility mode: end", rec_vec, $USER_EXIT
  EQ "compatibility mode: CS", rec_cs, $UCS32
  EQ "compatibility mode: PUSH", user_a, $0x12345678
  EQ "compatibility mode: SS", user_b, $UDS
  EQ64 "64-bit code called from there", user_c, $0x1122334455667788

  # ---- call gates
  CALLGATE 0x8c, CS64, gate0
  FINE "call gate, same privilege", "movq %rsp, %rbx; lcall *far_cg"
  subq %rsp, %rbx
  EQ "call gate: stack balanced", %ebx, $0
  EQ "call gate: CS pushed", seen_cs, $CS64
  EQ "call gate: bytes pushed", seen_bytes, $16
  CALLGATE 0xec, CS64, gate3
  U_RAISES "call gate from ring 3", 0x21, 0, "lcall *far_cg3; movl %esp, user_b; int $0x21"
  EQ "call gate from ring 3: CS inside", seen_cs, $CS64
  EQ "call gate from ring 3: SS inside", seen_ss, $0
  EQ "call gate from ring 3: frame", seen_rsp, $(kstack_top - 32)
  EQ "call gate from ring 3: old SS", kstack_top-8, $UDS
  EQ "call gate from ring 3: old RSP", kstack_top-16, $ustack_top
  EQ "call gate from ring 3: old CS", seen_old, $UCS64
  EQ "call gate from ring 3: RSP after", user_b, $ustack_top
  CALLGATE 0x8c, CS64, gate3
  U_RAISES "call gate, DPL", GP, CG, "lcall *far_cg3"
  CALLGATE 0xcc, CS64, gate0
  RAISES1 "call gate, RPL", GP, CG, "lcall *far_cg3"
  CALLGATE 0x6c, CS64, gate3
  U_RAISES "call gate, not present", NP, CG, "lcall *far_cg3"
  CALLGATE 0xec, CS32, gate3
  U_RAISES "call gate, 32-bit segment", GP, CS32, "lcall *far_cg3"
  CALLGATE 0xec, DS0, gate3
  U_RAISES "call gate, data segment", GP, DS0, "lcall *far_cg3"
  CALLGATE 0xec, 0, gate3
  U_RAISES "call gate, null", GP, 0, "lcall *far_cg3"
  CALLGATE 0xec, CS64, gate3, 0x800000
  U_RAISES "call gate, non-canonical target", GP, 0, "lcall *far_cg3"
  CALLGATE 0xec, CS64, gate3
  movl $0x1f00, gdt + CG + 12
  U_RAISES "call gate, type in the upper half", GP, CG, "lcall *far_cg3"
  CALLGATE 0xec, CS64, gate3
  U_RAISES "JMP through a gate to ring 0", GP, CS64, "ljmp *far_cg3"
  CALLGATE 0xe4, CS64, gate3
  U_RAISES "16-bit call gate", GP, CG, "lcall *far_cg3"
  RAISES1 "far CALL to the TSS", GP, TSS_SEL, "lcall *far_tss"

  # ---- far returns
  FINE "far return to ring 3 and a fault back", "nop"
  RAISES "RETF to ring 3", USER_EXIT, 0, "push $UDS; push $ustack_top; push $UCS64; push $user_end; lretq"
  EQ "RETF to ring 3: SS", rec_ss, $UDS
  EQ "RETF to ring 3: RSP", rec_esp, $ustack_top
  RAISES "RETF imm16 to ring 3", USER_EXIT, 0, "push $UDS; push $ustack_top - 64; push $0; push $0; push $UCS64; push $user_end; lretq $16"
  EQ "RETF imm16 releases on both stacks", rec_esp, $(ustack_top - 48)
  U_RAISES "RETF to ring 0", GP, CS64, "push $CS64; push $user_end; lretq"

  # ---- SYSCALL, SYSRET
  WRMSR_ 0xc0000081, 0, ((0x28 << 16) | CS64)
  WRMSR_ 0xc0000082, syscall_entry
  WRMSR_ 0xc0000084, 0x4701
  movl $0x3203, user_flags
  movl $0, user_b
  movl $0, user_c
  U_RAISES "SYSCALL and SYSRET", USER_EXIT, 0, "movl $ustack_top, %esp; syscall; 71: pushf; pop %rbx; movl %ebx, user_a; movw %cs, user_b; movw %ss, user_c"
  EQ "SYSCALL: RCX", seen_rcx, $71b
  EQ "SYSCALL: R11", seen_r11, $0x3203
  EQ "SYSCALL: flags", seen_flags, $0x3002
  EQ "SYSCALL: CS", seen_cs, $CS64
  EQ "SYSCALL: SS", seen_ss, $(CS64 + 8)
  EQ "SYSRET: flags", user_a, $0x3203
  EQ "SYSRET: CS", user_b, $UCS64
  EQ "SYSRET: SS", user_c, $UDS
  movl $2, user_flags
  U_RAISES "SYSRET in ring 3", GP, 0, "sysretq"
  # SYSRET to compatibility mode.
  .pushsection .user
compat2:
  .code32
  movw %cs, user_a
  int $USER_EXIT
  .code64
  .popsection
  movl $0, user_a
  RAISES "SYSRET to 32-bit code", USER_EXIT, 0, "movl $compat2, %ecx; movl $0x3002, %r11d; movl $ustack_top, %esp; sysretl"
  EQ "SYSRET to 32-bit code: CS", user_a, $UCS32
  # SYSRET forces RPL 3 and ignores RF and VM.
  movl $0xc0000080, %ecx
  rdmsr
  andl $~1, %eax
  wrmsr
  RAISES1 "SYSCALL without SCE", UD, 0, "syscall"
  RAISES1 "SYSRET without SCE", UD, 0, "sysretq"
  DONE

gate0:
  movw %cs, seen_cs
  movq %rbx, %rax
  subq %rsp, %rax
  movl %eax, seen_bytes
  lretq
gate3:
  movl 8(%rsp), %eax
  movl %eax, seen_old
  movw %cs, seen_cs
  movw %ss, seen_ss
  movl %esp, seen_rsp
  lretq
syscall_entry:
  movl %ecx, seen_rcx
  movl %r11d, seen_r11
  movw %cs, seen_cs
  movw %ss, seen_ss
  movq %rsp, %rbp
  movl $stack_top - 4096, %esp
  pushf
  pop %rax
  movl %eax, seen_flags
  movq %rbp, %rsp
  sysretq
hook_flags:
  pushf
  pop %rax
  movl %eax, cur_flags
  movl $1, %eax
  ret
hook_ss:
  movw %ss, cur_ss
  movl $1, %eax
  ret
hook_back:
  xorl %eax, %eax
  ret
.section .user
user_end:
  int $USER_EXIT
.balign 8
far_cg3:
  .long 0
  .word CG + 3
.balign 8
user_a: .quad 0
user_b: .quad 0
user_c: .quad 0
.data
far_cg:
  .long 0
  .word CG
far_tss:
  .long 0
  .word TSS_SEL
.balign 8
short_idtr:
  .word 0x40 * 16 - 1
  .quad idt
cur_flags: .quad 0
cur_ss: .quad 0
seen_cs: .quad 0
seen_ss: .quad 0
seen_old: .quad 0
seen_bytes: .quad 0
seen_rsp: .quad 0
seen_rcx: .quad 0
seen_r11: .quad 0
seen_flags: .quad 0
