# Runtime of the bare-metal tests. A program sets BITS (32 or 64), includes this file, defines `main` and ends with `DONE`.
#
# Reports go to COM1, one line per check: "ok NAME" or "bad NAME got X want Y"; the last line is "done". Then port F4h
# (isa-debug-exit) gets 0 if all checks held and 1 otherwise.
#
# Every vector has a handler that records what it was given (rec_*). If `resume` is set it goes on there with the stack
# pointer `saved_sp` in ring 0; if `hook` is set, the hook is called first and decides (see below); else the exception was
# not expected and ends the program.
#
# BITS = 32: flat protected mode without paging. BITS = 64: long mode, first 4 GiB identity mapped, only pages of section
# .user are open to ring 3. Both: GDT and IDT below, interrupts off, PICs masked, a TSS with ring 0 stack `kstack`.
# Clobbers: the check macros preserve all registers; RAISES and its kin preserve nothing if the exception comes.

# ---- selectors ------------------------------------------------------------------------------------------------------
.set CS32, 0x08
.set DS0, 0x10
.set CS64, 0x18
.set UCS32, 0x2b
.set UDS, 0x33
.set UCS64, 0x3b
.set CS16, 0x48
.set DS16, 0x50
.set TSS_SEL, 0x58
# From here on descriptors belong to the program.
.set FREE, 0x70
.if BITS == 64
.set KCS, CS64
.set UCS, UCS64
.else
.set KCS, CS32
.set UCS, UCS32
.endif
# Vectors 20h..2Fh may be called from ring 3; 20h ends a piece of user code.
.set USER_EXIT, 0x20
.set ANY, -1
.set NONE, 0xffff

.set DE, 0
.set DB, 1
.set NMI, 2
.set BP, 3
.set OF, 4
.set BR, 5
.set UD, 6
.set NM, 7
.set DF, 8
.set TS, 10
.set NP, 11
.set SS, 12
.set GP, 13
.set PF, 14
.set MF, 16
.set AC, 17
.set XM, 19

# ---- checks ---------------------------------------------------------------------------------------------------------
.macro TEXT reg, text
  .pushsection .rodata
91: .asciz "\text"
  .popsection
  movl $91b, \reg
.endm

# 32-bit value src (register, immediate or memory) must be want.
.macro EQ name, src, want
  pushf
  push_a
  movl \src, %eax
  movl %eax, got_val
  movl $0, got_val+4
  movl \want, %eax
  movl %eax, want_val
  movl $0, want_val+4
  TEXT %esi, "\name"
  call check_eq
  pop_a
  popf
.endm

# 64-bit value in a register or memory.
.macro EQ64 name, src, want
  pushf
  push_a
  movq \src, %rax
  movq %rax, got_val
  movabsq \want, %rax
  movq %rax, want_val
  TEXT %esi, "\name"
  call check_eq
  pop_a
  popf
.endm

# The body raises exactly this exception. Body: instructions separated by ';'.
.macro RAISES name, vec, err, body
  BEGIN_TRY 92f
  \body
92:
  TEXT %esi, "\name"
  movl $\vec, want_val
  movl $\err, want_err
  call check_exception
.endm

# The same for one instruction; the pushed instruction pointer must be its address.
.macro RAISES1 name, vec, err, body
  BEGIN_TRY 92f
93: \body
92:
  TEXT %esi, "\name"
  movl $\vec, want_val
  movl $\err, want_err
  movl $93b, want_ip
  call check_exception_at
.endm

# No exception.
.macro FINE name, body
  BEGIN_TRY 92f
  \body
92:
  TEXT %esi, "\name"
  movl $NONE, want_val
  movl $ANY, want_err
  call check_exception
.endm

# Runs the body in ring 3 and expects an exception (USER_EXIT: none). EFLAGS there is `user_flags`.
.macro U_RAISES name, vec, err, body
  .pushsection .user
94: \body
  int $USER_EXIT
  .popsection
  BEGIN_TRY 92f
  GO_USER UCS, 94b
92:
  TEXT %esi, "\name"
  movl $\vec, want_val
  movl $\err, want_err
  call check_exception
.endm

.macro U_FINE name, body
  U_RAISES "\name", USER_EXIT, ANY, "\body"
.endm

.macro GO_USER cs, target
  # A data segment of ring 0 would become null.
  movl $UDS, %eax
  movl %eax, %ds
  movl %eax, %es
  push $UDS
  push $ustack_top
  .if BITS == 64
  pushq user_flags
  .else
  pushl user_flags
  .endif
  push $\cs
  push $\target
  .if BITS == 64
  iretq
  .else
  iretl
  .endif
.endm

.macro CR2 name, want
  EQ "\name", rec_cr2, \want
.endm

.macro BEGIN_TRY target
  movl $\target, resume
  movl %esp, saved_sp
  movl $NONE, rec_vec
  movl $0, rec_count
.endm

.macro SAY text
  push_a
  TEXT %esi, "\text"
  call print
  pop_a
.endm

# Goes to target on QEMU's TCG: what follows would not end there.
.macro UNLESS_QEMU target
  cmpl $0, is_qemu
  jne \target
.endm

.macro DONE
  jmp finish
.endm

# Instructions that only exist with another name per width.
.if BITS == 64
.macro push_a
  push %rax; push %rcx; push %rdx; push %rbx; push %rbp; push %rsi; push %rdi; push %r8; push %r9; push %r10; push %r11
.endm
.macro pop_a
  pop %r11; pop %r10; pop %r9; pop %r8; pop %rdi; pop %rsi; pop %rbp; pop %rbx; pop %rdx; pop %rcx; pop %rax
.endm
.macro iret_
  iretq
.endm
.else
.macro push_a
  pusha
.endm
.macro pop_a
  popa
.endm
.macro iret_
  iretl
.endm
.endif

.macro WRMSR_ msr, lo, hi=0
  movl $\msr, %ecx
  movl $\lo, %eax
  movl $\hi, %edx
  wrmsr
.endm

# 8-byte descriptor.
.macro DESC base, limit, access, flags
  .word \limit & 0xffff, \base & 0xffff
  .byte (\base >> 16) & 0xff, \access, ((\limit >> 16) & 15) | (\flags << 4), (\base >> 24) & 0xff
.endm

# Writes a descriptor at run time: DESC_AT selector, low word, high word.
.macro DESC_AT sel, lo, hi
  movl $((\lo) & 0xffffffff), gdt+(\sel & 0xfff8)
  movl $((\hi) & 0xffffffff), gdt+(\sel & 0xfff8)+4
.endm

# ---- start ----------------------------------------------------------------------------------------------------------
.section .header, "ax"
.code32
header:
  .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000), header, header, 0, image_end, start

.text
start:
  cli
  cld
  lgdt gdtr
  ljmp $CS32, $1f
1:
  movl $DS0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl %eax, %fs
  movl %eax, %gs
  movl $stack_top, %esp
  # Real-mode part to its place.
  movl $real_image, %esi
  movl $real_start, %edi
  movl $real_bytes, %ecx
  rep movsb
  movl $0x40000000, %eax
  cpuid
  cmpl $0x54474354, %ebx
  sete is_qemu
  # Both PICs masked.
  movb $0xff, %al
  outb %al, $0x21
  outb %al, $0xa1
  movl $tss, %eax
  movw %ax, gdt+TSS_SEL+2
  shrl $16, %eax
  movb %al, gdt+TSS_SEL+4
  movb %ah, gdt+TSS_SEL+7
  call make_idt
.if BITS == 64
  call make_tables
  movl $pml4, %eax
  movl %eax, %cr3
  movl %cr4, %eax
  orl $0x20, %eax
  movl %eax, %cr4
  # LME, NXE, SCE
  movl $0xc0000080, %ecx
  rdmsr
  orl $0x901, %eax
  wrmsr
  movl %cr0, %eax
  orl $0x80010000, %eax
  movl %eax, %cr0
  ljmp $CS64, $1f
.code64
1:
  movq $stack_top, %rsp
.endif
  lidt idtr
  movl $TSS_SEL, %eax
  ltr %ax
  push $2
  popf
  call main

finish:
  movl $0, resume
  TEXT %esi, "done\n"
  call print
  movl $0, %eax
  cmpl $0, bad_count
  setne %al
  movl $0xf4, %edx
  outl %eax, %dx
1:
  hlt
  jmp 1b

# ---- printing -------------------------------------------------------------------------------------------------------
# All of it: text at esi; clobbers eax, edx, esi.
print:
  movl $0x3f8, %edx
1:
  movb (%esi), %al
  testb %al, %al
  jz 2f
  outb %al, %dx
  addl $1, %esi
  jmp 1b
2:
  ret

# Value of 64 bits at (edi) in hexadecimal without leading zeros; clobbers eax, ebx, ecx, edx, esi.
print_hex:
  movl 4(%edi), %ebx
  movl $0, %esi
  call 5f
  movl (%edi), %ebx
  jmp 6f
5:
  testl %ebx, %ebx
  jz 9f
6:
  movl $8, %ecx
1:
  roll $4, %ebx
  movl %ebx, %eax
  andl $15, %eax
  jnz 2f
  testl %esi, %esi
  jnz 2f
  cmpl $1, %ecx
  jne 3f
2:
  movl $1, %esi
  movb hex_digits(%eax), %al
  movl $0x3f8, %edx
  outb %al, %dx
3:
  subl $1, %ecx
  jnz 1b
9:
  ret

# got_val against want_val, name at esi.
check_eq:
  movl got_val, %eax
  cmpl %eax, want_val
  jne 1f
  movl got_val+4, %eax
  cmpl %eax, want_val+4
  jne 1f
report_ok:
  movl %esi, %edi
  movl $text_ok, %esi
  call print
  movl %edi, %esi
  call print
  movl $text_nl, %esi
  jmp print
1:
  movl $text_nothing, what
report_bad:
  addl $1, bad_count
  movl %esi, %edi
  movl $text_bad, %esi
  call print
  movl %edi, %esi
  call print
  movl what, %esi
  call print
  movl $text_got, %esi
  call print
  movl $got_val, %edi
  call print_hex
  movl $text_want, %esi
  call print
  movl $want_val, %edi
  call print_hex
  movl $text_nl, %esi
  jmp print

# rec_vec, rec_err (and rec_ip) against want_val, want_err (and want_ip), name at esi. Keeps all registers, ends the guard.
check_exception_at:
  push_a
  movl $1, %ecx
  jmp 1f
check_exception:
  push_a
  movl $0, %ecx
1:
  movl $0, resume
  movl $0, want_val+4
  movl $0, got_val+4
  movl $text_vector, what
  movl rec_vec, %eax
  movl %eax, got_val
  cmpl %eax, want_val
  jne 3f
  movl $text_error, what
  movl rec_err, %eax
  cmpl $ANY, want_err
  je 2f
  cmpl %eax, want_err
  je 2f
  movl want_err, %edx
  movl %edx, want_val
  movl %eax, got_val
  jmp 3f
2:
  testl %ecx, %ecx
  jz 4f
  movl $text_ip, what
  movl rec_ip, %eax
  movl want_ip, %edx
  cmpl %eax, %edx
  je 4f
  movl %eax, got_val
  movl %edx, want_val
  jmp 3f
4:
  call report_ok
  pop_a
  ret
3:
  call report_bad
  pop_a
  ret

# ---- exceptions -----------------------------------------------------------------------------------------------------
.balign 16
stubs:
.set i, 0
.rept 256
  .balign 16
  .if i == 8 || (i >= 10 && i <= 14) || i == 17 || i == 21
  .else
  push $0
  .endif
  push $i
  jmp common
  .set i, i + 1
.endr

# The hook finds the frame at ebp/rbp (F_* below) and returns eax = 0 to go back to the interrupted code (with the frame as
# it left it) or 1 to go on at `resume`.
common:
.if BITS == 64
  push %rax; push %rcx; push %rdx; push %rbx; push %rbp; push %rsi; push %rdi; push %r8; push %r9; push %r10; push %r11
  movq %rsp, %rbp
.set F_VEC, 88
.set F_ERR, 96
.set F_IP, 104
.set F_CS, 112
.set F_FLAGS, 120
.set F_SP, 128
.set F_SS, 136
  movq F_IP(%rbp), %rax
  movq %rax, rec_ip
  movq F_SP(%rbp), %rax
  movq %rax, rec_esp
  movq F_SS(%rbp), %rax
  movl %eax, rec_ss
  movq F_ERR(%rbp), %rax
  movq %rax, rec_err
  leaq F_ERR(%rbp), %rax
  movl %eax, rec_frame
  movq %cr2, %rax
  movq %rax, rec_cr2
.else
  pushl %ds
  pushl %es
  pusha
  movl $DS0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %esp, %ebp
.set F_VEC, 40
.set F_ERR, 44
.set F_IP, 48
.set F_CS, 52
.set F_FLAGS, 56
.set F_SP, 60
.set F_SS, 64
  movl F_IP(%ebp), %eax
  movl %eax, rec_ip
  movl F_SP(%ebp), %eax
  movl %eax, rec_esp
  movl F_SS(%ebp), %eax
  movl %eax, rec_ss
  movl F_ERR(%ebp), %eax
  movl %eax, rec_err
  leal F_ERR(%ebp), %eax
  movl %eax, rec_frame
  movl %cr2, %eax
  movl %eax, rec_cr2
.endif
  cld
  movl F_VEC(%ebp), %eax
  movl %eax, rec_vec
  movl F_CS(%ebp), %eax
  movl %eax, rec_cs
  movl F_FLAGS(%ebp), %eax
  movl %eax, rec_flags
  addl $1, rec_count
  movl hook, %eax
  testl %eax, %eax
  jz 1f
.if BITS == 64
  call *%rax
.else
  call *%eax
.endif
  testl %eax, %eax
  jnz 1f
.if BITS == 64
  pop %r11; pop %r10; pop %r9; pop %r8; pop %rdi; pop %rsi; pop %rbp; pop %rbx; pop %rdx; pop %rcx; pop %rax
  addq $16, %rsp
  iretq
.else
  popa
  popl %es
  popl %ds
  addl $8, %esp
  iretl
.endif
1:
  movl $DS0, %eax
  movl %eax, %ss
  movl saved_sp, %esp
  push $2
  popf
  movl resume, %eax
  testl %eax, %eax
  jz 2f
  movl $0, resume
.if BITS == 64
  jmp *%rax
.else
  jmp *%eax
.endif
2:
  movl $stack_top, %esp
  movl rec_ip, %eax
  movl %eax, want_val
  movl rec_vec, %eax
  movl %eax, got_val
  movl $0, got_val+4
  movl $text_nothing, what
  TEXT %esi, "unexpected exception (want = address)"
  call report_bad
  movl rec_err, %eax
  movl %eax, got_val
  movl rec_cr2, %eax
  movl %eax, want_val
  TEXT %esi, "its error code and CR2"
  call report_bad
  jmp finish

.code32
# IDT: gates for BITS to the stubs.
make_idt:
  movl $idt, %edi
  movl $stubs, %ebx
  xorl %ecx, %ecx
1:
  movl %ebx, %eax
  andl $0xffff, %eax
  orl $(KCS << 16), %eax
  movl %eax, (%edi)
  movl %ebx, %eax
  andl $0xffff0000, %eax
  orl $0x8e00, %eax
  movl %ecx, %edx
  andl $0xf0, %edx
  cmpl $0x20, %edx
  je 2f
  cmpl $3, %ecx
  je 2f
  cmpl $4, %ecx
  jne 3f
2:
  orl $0x6000, %eax
3:
  movl %eax, 4(%edi)
.if BITS == 64
  movl $0, 8(%edi)
  movl $0, 12(%edi)
  addl $16, %edi
.else
  addl $8, %edi
.endif
  addl $16, %ebx
  addl $1, %ecx
  cmpl $256, %ecx
  jne 1b
  ret

.if BITS == 64
# Identity map of 4 GiB: 2 MiB pages, and 4 KiB pages for the first 2 MiB.
make_tables:
  movl $(pdpt + 7), pml4
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $12, %eax
  addl $(pd + 7), %eax
  movl %eax, pdpt(,%ecx,8)
  addl $1, %ecx
  cmpl $4, %ecx
  jne 1b
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $21, %eax
  orl $0xe3, %eax
  movl %eax, pd(,%ecx,8)
  addl $1, %ecx
  cmpl $2048, %ecx
  jne 1b
  movl $(pt_low + 7), pd
  movl $0, %ecx
1:
  movl %ecx, %eax
  shll $12, %eax
  orl $0x63, %eax
  cmpl $(0x180000 >> 12), %ecx
  jb 2f
  cmpl $(0x190000 >> 12), %ecx
  jae 2f
  orl $4, %eax
2:
  movl %eax, pt_low(,%ecx,8)
  addl $1, %ecx
  cmpl $512, %ecx
  jne 1b
  ret
.endif

# ---- data -----------------------------------------------------------------------------------------------------------
.section .rodata
text_ok: .asciz "ok "
text_bad: .asciz "bad "
text_nl: .asciz "\n"
text_got: .asciz " got "
text_want: .asciz " want "
text_nothing: .asciz ""
text_vector: .asciz " (vector)"
text_error: .asciz " (error code)"
text_ip: .asciz " (address)"
hex_digits: .ascii "0123456789abcdef"

.data
.balign 16
gdt:
  .quad 0
  DESC 0, 0xfffff, 0x9a, 0xc
  DESC 0, 0xfffff, 0x92, 0xc
  DESC 0, 0xfffff, 0x9a, 0xa
  DESC 0, 0xfffff, 0x92, 0xc
  DESC 0, 0xfffff, 0xfa, 0xc
  DESC 0, 0xfffff, 0xf2, 0xc
  DESC 0, 0xfffff, 0xfa, 0xa
  DESC 0, 0xfffff, 0xf2, 0xc
  DESC 0, 0xffff, 0x9a, 0
  DESC 0, 0xffff, 0x92, 0
  DESC 0, 0x67, 0x89, 0
  .quad 0
  .quad 0
  .fill 50, 8, 0
gdt_end:
gdtr:
  .word gdt_end - gdt - 1
  .quad gdt
idtr:
.if BITS == 64
  .word 4095
.else
  .word 2047
.endif
  .quad idt
real_idtr:
  .word 0x3ff
  .quad 0
.balign 16
tss:
.if BITS == 64
  .long 0
  .quad kstack_top
  .quad kstack1_top
  .quad 0
  .quad 0
  .quad ist1_top
  .quad ist2_top
  .quad 0, 0, 0, 0, 0
  .quad 0
  .word 0
  .word 104
.else
  .long 0
  .long kstack_top, DS0
  .long kstack1_top, 0
  .long 0, 0
  .fill 18, 4, 0
  .word 0, 104
.endif
tss_end:
# For programs that make the segment larger: interrupt redirection and I/O permission bitmaps (ports 0-FFh).
tss_redirect:
  .fill 32, 1, 0xff
tss_map:
  .fill 32, 1, 0xff
  .byte 0xff
tss_map_end:
user_flags: .quad 2
hook: .quad 0
resume: .quad 0
saved_sp: .quad 0
want_val: .quad 0
want_err: .quad 0
want_ip: .quad 0
got_val: .quad 0
what: .quad 0
bad_count: .quad 0
is_qemu: .quad 0
# What the last exception pushed. rec_frame: address of the error code (or of the place where it would be).
rec_vec: .quad 0
rec_err: .quad 0
rec_ip: .quad 0
rec_cs: .quad 0
rec_flags: .quad 0
rec_esp: .quad 0
rec_ss: .quad 0
rec_cr2: .quad 0
rec_frame: .quad 0
rec_count: .quad 0

.section .user, "awx"
ustack:
  .fill 2048, 1, 0
ustack_top:

.section .bss, "aw", @nobits
.balign 4096
idt: .skip 4096
.if BITS == 64
pml4: .skip 4096
pdpt: .skip 4096
pd: .skip 16384
pt_low: .skip 4096
.endif
  .skip 8192
stack_top:
  .skip 4096
kstack_top:
  .skip 4096
kstack1_top:
  .skip 4096
ist1_top:
  .skip 4096
ist2_top:

.text
.if BITS == 64
.code64
.else
.code32
.endif
