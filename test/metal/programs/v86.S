# Virtual-8086 mode, I/O permission bitmap, VME and PVI (SDM vol. 3, chapter 21; vol. 1, 19.5).
.set BITS, 32
.include "runtime.S"
.set CONF, FREE + 0x10
.set CODE1, FREE + 0x18
# Enters v86 mode at an instruction of section .real and expects an exception.
.macro V86 name, vec, err, ip, flags=0x20002
  BEGIN_TRY 92f
  pushl $0x4444
  pushl $0x3333
  pushl $0x200
  pushl $0x200
  pushl $0x200
  pushl $0x1000
  pushl $\flags
  pushl $0x200
  movl $\ip, %eax
  subl $real_start, %eax
  pushl %eax
  iretl
92:
  TEXT %esi, "\name"
  movl $\vec, want_val
  movl $\err, want_err
  call check_exception
.endm
main:
  DESC_AT CONF, 0xffff, 0xcf9e00
  DESC_AT CODE1, 0xffff, 0xcfba00
  movl $0, 0x7000
  V86 "INT3", BP, 0, v_int3, 0x23002
  EQ "CS", rec_cs, $0x200
  EQ "SS", rec_ss, $0x200
  EQ "ESP", rec_esp, $0x1000
  movl rec_flags, %eax
  andl $0x33000, %eax
  EQ "flags", %eax, $0x23000
  movl rec_frame, %edi
  EQ "frame", %edi, $(kstack_top - 40)
  EQ "ES", 24(%edi), $0x200
  EQ "DS", 28(%edi), $0x200
  EQ "FS", 32(%edi), $0x3333
  EQ "GS", 36(%edi), $0x4444
  movl %fs, %eax
  EQ "FS is null in the handler", %eax, $0
  movl %gs, %eax
  EQ "GS is null in the handler", %eax, $0
  # IOPL 0: instructions that touch IF trap.
  V86 "IOPL 0: CLI", GP, 0, v_cli
  V86 "IOPL 0: STI", GP, 0, v_sti
  V86 "IOPL 0: PUSHF", GP, 0, v_pushf
  V86 "IOPL 0: POPF", GP, 0, v_popf
  V86 "IOPL 0: IRET", GP, 0, v_iret
  V86 "IOPL 0: INT", GP, 0, v_int
  V86 "IOPL 0: INT3 is not sensitive", BP, 0, v_int3
  V86 "HLT", GP, 0, v_hlt
  V86 "MOV from CR0", GP, 0, v_cr0
  V86 "LGDT", GP, 0, v_lgdt
  V86 "LLDT does not exist", UD, 0, v_lldt
  V86 "ARPL does not exist", UD, 0, v_arpl
  V86 "LAR does not exist", UD, 0, v_lar
  V86 "IOPL 3: INT through the IDT", 0x21, 0, v_int, 0x23002
  V86 "IOPL 3: CLI, PUSHF", BP, 0, v_cli_pushf, 0x23202
  # What it pushed: the stack is at 2000h + FFEh.
  movzwl 0x2ffe, %eax
  EQ "IOPL 3: flags pushed", %eax, $0x3002
  V86 "IOPL 3: POPF changes IF, not IOPL", BP, 0, v_popf_0, 0x23202
  movl rec_flags, %eax
  andl $0x23200, %eax
  EQ "IOPL 3: flags after POPF", %eax, $0x23000
  # I/O needs the permission bitmap whatever IOPL says. The TSS has none.
  V86 "IOPL 3: OUT without a bitmap", GP, 0, v_out, 0x23002
  # A bitmap that allows port 80h.
  movw $(tss_map - tss), tss + 102
  movb $0xfe, tss_map + 16
  movw $(tss_map_end - tss - 1), gdt + TSS_SEL
  movb $0x89, gdt + TSS_SEL + 5
  movl $TSS_SEL, %eax
  ltr %ax
  V86 "OUT with a bitmap", BP, 0, v_out
  V86 "OUTW reaches a forbidden port", GP, 0, v_outw
  U_FINE "ring 3: OUT with a bitmap", "outb %al, $0x80"
  U_RAISES "ring 3: OUTW reaches a forbidden port", GP, 0, "outw %ax, $0x80"
  U_RAISES "ring 3: port past the bitmap", GP, 0, "movw $0x4000, %dx; inb %dx, %al"
  U_RAISES "ring 3: INSB, forbidden", GP, 0, "movw $0x81, %dx; insb"
  # The last byte of the bitmap's second half must lie inside the limit.
  movb $0, tss_map + 31
  U_FINE "ring 3: last port", "movw $0xff, %dx; inb %dx, %al"
  movw $(tss_map_end - tss - 2), gdt + TSS_SEL
  movb $0x89, gdt + TSS_SEL + 5
  movl $TSS_SEL, %eax
  ltr %ax
  U_RAISES "ring 3: last port, no byte behind the bitmap", GP, 0, "movw $0xff, %dx; inb %dx, %al"
  movw $(tss_map_end - tss - 1), gdt + TSS_SEL
  movb $0x89, gdt + TSS_SEL + 5
  movl $TSS_SEL, %eax
  ltr %ax
  # Ends of the segments.
  V86 "data access across FFFFh", GP, 0, v_wrap
  V86 "stack access across FFFFh", SS, 0, v_stack_wrap
  V86 "32-bit address past FFFFh", GP, 0, v_far_data
  V86 "segment arithmetic", BP, 0, v_arith
  EQ "segment arithmetic: result", 0x7000, $0xbeef
  # Handlers of another ring than 0.
  movw $CONF, idt + 0x21 * 8 + 2
  V86 "conforming handler", GP, CONF, v_int, 0x23002
  movw $CODE1 + 1, idt + 0x21 * 8 + 2
  V86 "handler of ring 1", GP, CODE1, v_int, 0x23002
  movw $CS32, idt + 0x21 * 8 + 2
  # Only ring 0 returns to v86 mode.
  U_RAISES "IRET in ring 3 ignores VM", USER_EXIT, 0, "pushl $0x20002; pushl $UCS32; pushl $user_end; iretl"
  EQ "IRET in ring 3 ignores VM: CS", rec_cs, $UCS32

  # ---- VME (SDM vol. 3, 21.3)
  movl %cr4, %eax
  orl $1, %eax
  movl %eax, %cr4
  # Redirection bitmap: 32 bytes before the I/O bitmap. Bit clear: through the real-mode table.
  V86 "VME, IOPL 0: INT not redirected", GP, 0, v_int
  V86 "VME, IOPL 3: INT not redirected", 0x21, 0, v_int, 0x23002
  movb $0xfd, tss_redirect + 4
  movl $v_handler, %eax
  subl $real_start, %eax
  movw %ax, 0x21 * 4
  movw $0x200, 0x21 * 4 + 2
  movl $0, 0x7004
  V86 "VME, IOPL 0: INT redirected", BP, 0, v_int, 0xa0002
  EQ "VME: pushed flags show VIF as IF, IOPL 3", 0x7004, $0x3202
  movl rec_flags, %eax
  andl $0xa3200, %eax
  EQ "VME: IRET has set VIF again", %eax, $0xa0000
  V86 "VME, IOPL 0: CLI", BP, 0, v_cli, 0xa0002
  movl rec_flags, %eax
  andl $0xa0200, %eax
  EQ "VME: CLI clears VIF", %eax, $0x20000
  V86 "VME, IOPL 0: STI", BP, 0, v_sti, 0x20002
  movl rec_flags, %eax
  andl $0xa0200, %eax
  EQ "VME: STI sets VIF", %eax, $0xa0000
  V86 "VME, IOPL 0: STI with VIP", GP, 0, v_sti, 0x120002
  V86 "VME, IOPL 0: PUSHFD", GP, 0, v_pushfd
  V86 "VME, IOPL 0: POPF sets TF", GP, 0, v_popf_tf
  movl $0, 0x7004
  V86 "VME, IOPL 3: INT redirected", BP, 0, v_int, 0x23202
  EQ "VME, IOPL 3: pushed flags", 0x7004, $0x3202
  # PVI: the same for CLI and STI in ring 3.
  movl %cr4, %eax
  andl $~1, %eax
  orl $2, %eax
  movl %eax, %cr4
  movl $2, user_flags
  U_FINE "PVI: STI", "sti"
  movl rec_flags, %eax
  andl $0x80200, %eax
  EQ "PVI: STI sets VIF", %eax, $0x80000
  movl $0x100002, user_flags
  U_RAISES "PVI: STI with VIP", GP, 0, "sti"
  movl $2, user_flags
  DONE

.section .user
user_end:
  int $USER_EXIT

.section .real, "awx"
.code16
v_int3: int3
v_cli:
  cli
  int3
v_sti:
  sti
  int3
v_pushf: pushf
v_pushfd: pushfl
v_popf: popf
v_iret: iret
v_int:
  int $0x21
  int3
v_hlt: hlt
v_cr0: movl %cr0, %eax
v_lgdt: lgdt 0
v_lldt: .byte 0x0f, 0x00, 0xd0
v_arpl: arpl %ax, %bx
v_lar: lar %ax, %bx
v_cli_pushf:
  cli
  pushf
  int3
v_popf_0:
  pushw $0
  popf
  int3
v_popf_tf:
  pushw $0x102
  popf
v_out:
  outb %al, $0x80
  int3
v_outw:
  outw %ax, $0x80
v_wrap:
  movw 0xffff, %ax
v_stack_wrap:
  movw $1, %sp
  pushw %ax
  nop
v_far_data:
  movl $0x10000, %ebx
  addr32 movb (%ebx), %al
v_arith:
  movw $0x600, %ax
  movw %ax, %es
  movl $0xbeef, %es:0x1000
  int3
# Reached through the interrupt table: keeps the pushed flags.
v_handler:
  pushw %bp
  movw %sp, %bp
  movw $0x700, %ax
  movw %ax, %ds
  movw 6(%bp), %ax
  movw %ax, 4
  popw %bp
  iret
.code32
