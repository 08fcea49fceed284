# Real mode (SDM vol. 3, chapter 21): limits, interrupts, flags, unreal mode, the way there and back.
.set BITS, 32
.include "runtime.S"
# What a real-mode handler has recorded.
.set R_VEC, 0x3000
.set R_IP, 0x3004
.set R_FLAGS, 0x3008
.set R_SP, 0x300c
.set R_RESUME, 0x3010
.set R_OUT, 0x3014
# Runs a piece of section .real in real mode with CS = 200h, DS = ES = 0, SS:SP = 0:1000h; it ends with `jmp real_done` or an exception.
.macro REAL name, vec, entry
  movl $\entry, %eax
  subl $real_start, %eax
  movl %eax, real_entry
  call go_real
  EQ "\name", R_VEC, $\vec
.endm
main:
  # Interrupt table: exceptions 0 to 31 lead to stubs that push their number.
  movl $0, %ecx
  movl $r_stubs, %eax
  subl $real_start, %eax
1:
  movw %ax, (,%ecx,4)
  movw $0x200, 2(,%ecx,4)
  addl $8, %eax
  addl $1, %ecx
  cmpl $32, %ecx
  jne 1b
  REAL "nothing", NONE, r_nothing
  movl R_OUT, %eax
  andl $1, %eax
  EQ "CR0.PE is clear", %eax, $0
  REAL "DIV by zero", DE, r_div
  movl $r_div_at, %eax
  subl $real_start, %eax
  EQ "DIV by zero: IP pushed", R_IP, %eax
  REAL "word across FFFFh", GP, r_word
  REAL "dword across FFFFh", GP, r_dword
  REAL "byte at FFFFh", NONE, r_byte
  REAL "32-bit offset past FFFFh", GP, r_far
  REAL "write across FFFFh", GP, r_write
  REAL "stack word across FFFFh", SS, r_stack
  REAL "PUSH wraps from 0 to FFFEh", NONE, r_wrap
  EQ "PUSH wraps: SP", R_OUT, $0xfffe
  REAL "stack dword across FFFFh", SS, r_push32
  REAL "UD2", UD, r_ud
  REAL "LLDT does not exist", UD, r_lldt
  REAL "ARPL does not exist", UD, r_arpl
  REAL "VERR does not exist", UD, r_verr
  REAL "SYSENTER needs protected mode", GP, r_sysenter
  REAL "BOUND", BR, r_bound
  REAL "INTO", OF, r_into
  REAL "INT3", BP, r_int3
  REAL "INT n clears IF and TF", 5, r_int
  movl R_FLAGS, %eax
  andl $0x200, %eax
  EQ "INT n pushes IF", %eax, $0x200
  REAL "IRET", NONE, r_iret
  EQ "IRET: flags", R_OUT, $0x3006
  REAL "POPFL: VM and RF stay clear", NONE, r_popf
  movl R_OUT, %eax
  andl $0x30000, %eax
  EQ "POPFL: result", %eax, $0
  REAL "far CALL and RETF", NONE, r_farcall
  EQ "far CALL: CS inside", R_OUT, $0x210
  REAL "near jump past FFFFh", GP, r_jump
  REAL "vector past the limit of the table", GP, r_lidt
  REAL "LGDT", NONE, r_lgdt
  REAL "MOV to CR0: PG without PE", GP, r_cr0
  REAL "SMSW", NONE, r_smsw
  # Segment arithmetic: FFFFh:10h is address 100000h with A20 open.
  movl 0x100000, %eax
  movl %eax, expect
  REAL "FFFF:0010", NONE, r_hma
  movl expect, %eax
  EQ "FFFF:0010 is 100000h", R_OUT, %eax
  # Unreal mode: a limit of 4 GiB survives the return to real mode and loads of the segment.
  movl $0x13572468, 0x200000
  movl $1, unreal
  REAL "unreal mode: address past 64 KiB", NONE, r_unreal
  EQ "unreal mode: value", R_OUT, $0x13572468
  REAL "unreal mode: the limit survives a load of DS", NONE, r_unreal2
  EQ "unreal mode: base and limit", R_OUT, $0x13572468
  movl $0, unreal
  REAL "limits as usual again", GP, r_far
  DONE

# To real mode and back.
go_real:
  pushal
  movl %esp, saved_esp
  movl $NONE, R_VEC
  lidt real_idtr
  ljmp $CS16, $r_enter
.globl back_32
back_32:
  movl $DS0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl %eax, %fs
  movl %eax, %gs
  movl saved_esp, %esp
  lidt idtr
  popal
  ret
.data
real_entry: .long 0
saved_esp: .long 0
expect: .long 0
unreal: .long 0

.section .real, "awx"
.code16
r_enter:
  # Limits of 64 KiB, or flat ones for DS in unreal mode.
  movl $DS16, %ecx
  movw %cx, %es
  movw %cx, %ss
  movl $real_entry, %esi
  addr32 movl (%esi), %ebx
  movl $unreal, %esi
  addr32 cmpl $0, (%esi)
  jne 1f
  movw %cx, %ds
1:
  movl %cr0, %eax
  andl $~1, %eax
  movl %eax, %cr0
  ljmp $0x200, $(r_real - 0x2000)
r_real:
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movl $0x1000, %esp
  pushw $2
  popf
  jmp *%bx
# Ends every piece: ECX goes to R_OUT.
real_done:
  cli
  xorw %ax, %ax
  movw %ax, %ds
  movl %ecx, R_OUT
  lgdt %cs:(r_gdtr - 0x2000)
  movl %cr0, %eax
  orl $1, %eax
  movl %eax, %cr0
  ljmpl $CS32, $back_32
r_gdtr:
  .word gdt_end - gdt - 1
  .long gdt
.balign 8
r_stubs:
.set i, 0
.rept 32
  .balign 8
  pushw $i
  jmp r_common
  .set i, i + 1
.endr
r_common:
  popw %dx
  popw %bx
  popw %ax
  popw %ax
  xorw %cx, %cx
  movw %cx, %ds
  movzwl %dx, %edx
  movl %edx, R_VEC
  movzwl %bx, %ebx
  movl %ebx, R_IP
  movzwl %ax, %eax
  movl %eax, R_FLAGS
  movw %cx, %ss
  movl $0x1000, %esp
  jmp real_done

r_nothing:
  movl %cr0, %ecx
  jmp real_done
r_div:
  xorw %cx, %cx
r_div_at:
  divw %cx
r_word:
  movw 0xffff, %ax
r_dword:
  movl 0xfffd, %eax
r_byte:
  movb 0xffff, %al
  jmp real_done
r_far:
  movl $0x10000, %ebx
  addr32 movb (%ebx), %al
r_write:
  movw %ax, 0xffff
r_stack:
  movl $0xffff, %ebp
  movw (%bp), %ax
r_wrap:
  movw $0x7000, %ax
  movw %ax, %ss
  xorl %esp, %esp
  pushw %ax
  movzwl %sp, %ecx
  jmp real_done
r_push32:
  movl $0xfffe, %ebp
  movl (%bp), %eax
r_ud:
  ud2
r_lldt:
  .byte 0x0f, 0x00, 0xd0
r_arpl:
  arpl %ax, %bx
r_verr:
  verr %ax
r_sysenter:
  sysenter
r_bound:
  movw $1, 0x3020
  movw $2, 0x3022
  movw $3, %ax
  boundw %ax, 0x3020
r_into:
  movb $0x7f, %al
  incb %al
  into
r_int3:
  int3
r_int:
  sti
  int $5
r_iret:
  pushw $0x3006
  pushw %cs
  pushw $(1f - 0x2000)
  iret
1:
  pushf
  popw %cx
  movzwl %cx, %ecx
  jmp real_done
r_popf:
  pushl $0x33002
  popfl
  pushfl
  popl %ecx
  jmp real_done
r_farcall:
  lcall $0x210, $(1f - 0x2100)
  jmp real_done
1:
  movw %cs, %cx
  movzwl %cx, %ecx
  lret
r_jump:
  movl $0x10000, %ebx
  jmpl *%ebx
r_lidt:
  lidt %cs:(r_short - 0x2000)
  # 40h is past the limit; #GP itself still fits.
  int $0x40
r_short:
  .word 0x7f
  .long 0
r_lgdt:
  lgdt %cs:(r_gdtr - 0x2000)
  jmp real_done
r_cr0:
  movl $0x80000010, %eax
  movl %eax, %cr0
r_smsw:
  smsw %cx
  jmp real_done
r_hma:
  movw $0xffff, %ax
  movw %ax, %ds
  movl 0x10, %ecx
  jmp real_done
r_unreal:
  movl $0x200000, %ebx
  addr32 movl (%ebx), %ecx
  jmp real_done
r_unreal2:
  movw $0x1000, %ax
  movw %ax, %ds
  movl $0x1f0000, %ebx
  addr32 movl (%ebx), %ecx
  jmp real_done
.code32
