# Segmentation in protected mode (SDM vol. 3, chapters 3 and 5): types, limits, rights, null selectors, LDT, LAR LSL VERR
# VERW ARPL, 16-bit stacks. Limits and rights are not what QEMU's TCG checks; it is left out here.
.set BITS, 32
.include "runtime.S"
.set SEG, FREE
.set SEG2, FREE + 8
.set LDT, FREE + 0x10
.set STK, FREE + 0x18
.set AREA, 0x400000
# Writes descriptor SEG with base AREA.
.macro SEGMENT limit, access, flags
  movl $((AREA << 16) | (\limit & 0xffff)), gdt + SEG
  movl $((AREA & 0xff000000) | ((AREA >> 16) & 0xff) | (\access << 8) | (((\limit >> 16) & 15) << 16) | (\flags << 20)), gdt + SEG + 4
.endm
# Loads ES, runs the body and gives ES back.
.macro IN_ES name, vec, err, body
  BEGIN_TRY 92f
  movl $SEG, %eax
  movl %eax, %es
  \body
92:
  TEXT %esi, "\name"
  movl $\vec, want_val
  movl $\err, want_err
  call check_exception
  movl $DS0, %eax
  movl %eax, %es
.endm
main:
  # After a reset LDTR is usable, with base 0.
  xorl %eax, %eax
  lldt %ax
  movl $0x11111111, AREA
  movl $0x22222222, AREA + 0xffc
  # ---- expand-up data
  SEGMENT 0xfff, 0x92, 4
  IN_ES "byte at the limit", NONE, 0, "movb %es:0xfff, %al"
  IN_ES "byte past the limit", GP, 0, "movb %es:0x1000, %al"
  IN_ES "dword at the limit", NONE, 0, "movl %es:0xffc, %ebx"
  EQ "its value", %ebx, $0x22222222
  IN_ES "dword across the limit", GP, 0, "movl %es:0xffd, %eax"
  IN_ES "word across the limit, write", GP, 0, "movw %ax, %es:0xfff"
  IN_ES "dword at FFFFFFFFh", GP, 0, "movl %es:0xffffffff, %eax"
  IN_ES "dword that wraps to 0", GP, 0, "movl %es:0xfffffffd, %eax"
  IN_ES "quadword across the limit", GP, 0, "fldl %es:0xffc"
  IN_ES "RMW across the limit", GP, 0, "incl %es:0xffd"
  IN_ES "LGDT across the limit", GP, 0, "lgdt %es:0xffb"
  EQ "accessed bit set by loading", gdt + SEG + 4, $0x409340
  SEGMENT 0, 0x92, 0xc
  IN_ES "page-granular limit 0: last byte", NONE, 0, "movb %es:0xfff, %al"
  IN_ES "page-granular limit 0: past it", GP, 0, "movb %es:0x1000, %al"
  SEGMENT 0xfffff, 0x92, 0xc
  IN_ES "4 GiB with a base", NONE, 0, "movl %es:0, %ebx"
  EQ "4 GiB with a base: value", %ebx, $0x11111111
  IN_ES "4 GiB with a base: below the base", NONE, 0, "movl $seg_word, %edx; subl $AREA, %edx; movl %es:(%edx), %ebx"
  EQ "4 GiB with a base: wrapped value", %ebx, $0x5a5a5a5a
  SEGMENT 0xf, 0x92, 4
  IN_ES "REP STOSB into the limit", GP, 0, "xorl %edi, %edi; movl $32, %ecx; rep stosb"
  # ---- expand-down
  SEGMENT 0xfff, 0x96, 4
  IN_ES "expand-down: at the limit", GP, 0, "movb %es:0xfff, %al"
  IN_ES "expand-down: above", NONE, 0, "movb %es:0x1000, %al"
  IN_ES "expand-down: across the limit", GP, 0, "movl %es:0xffe, %eax"
  IN_ES "expand-down, B: far above", NONE, 0, "movb %es:0x10000, %al"
  IN_ES "expand-down, B: across the top", GP, 0, "movl %es:0xfffffffe, %eax"
  SEGMENT 0xfff, 0x96, 0
  IN_ES "expand-down, no B: last byte", NONE, 0, "movb %es:0xffff, %al"
  IN_ES "expand-down, no B: above 64 KiB", GP, 0, "movb %es:0x10000, %al"
  IN_ES "expand-down, no B: across", GP, 0, "movw %es:0xffff, %ax"
  SEGMENT 0, 0x96, 0xc
  IN_ES "expand-down, page-granular: first page", GP, 0, "movb %es:0xfff, %al"
  IN_ES "expand-down, page-granular: second page", NONE, 0, "movb %es:0x1000, %al"
  # ---- types
  SEGMENT 0xfff, 0x90, 4
  IN_ES "read-only: read", NONE, 0, "movl %es:0, %eax"
  IN_ES "read-only: write", GP, 0, "movl %eax, %es:0"
  IN_ES "read-only: RMW", GP, 0, "addl $1, %es:0"
  IN_ES "read-only: CMP", NONE, 0, "cmpl $1, %es:0"
  SEGMENT 0xfff, 0x9a, 4
  IN_ES "readable code: read", NONE, 0, "movl %es:0, %eax"
  IN_ES "readable code: write", GP, 0, "movl %eax, %es:0"
  SEGMENT 0xfff, 0x98, 4
  IN_ES "execute-only code as data", GP, SEG, "nop"
  SEGMENT 0xfff, 0x82, 4
  IN_ES "LDT as data", GP, SEG, "nop"
  SEGMENT 0xfff, 0x12, 4
  IN_ES "not present", NP, SEG, "nop"
  SEGMENT 0xfff, 0x10, 4
  IN_ES "type before presence: fine for data", NP, SEG, "nop"
  # ---- null selectors
  xorl %eax, %eax
  FINE "null selector into ES", "movl %eax, %es"
  RAISES1 "use of a null ES", GP, 0, "movl %es:0, %eax"
  movl $3, %eax
  FINE "null selector with RPL into ES", "movl %eax, %es"
  movl %es, %ebx
  EQ "it keeps the RPL", %ebx, $3
  RAISES1 "write through a null ES", GP, 0, "movl %eax, %es:0"
  xorl %eax, %eax
  RAISES1 "null selector into SS", GP, 0, "movl %eax, %ss"
  movl $DS0, %eax
  movl %eax, %es
  # ---- rights
  movl $0x7ff8, %eax
  RAISES1 "selector past the GDT", GP, 0x7ff8, "movl %eax, %es"
  movl $SEG + 4, %eax
  RAISES1 "selector in an LDT that is not there", GP, "SEG + 4", "movl %eax, %es"
  U_RAISES "ring 3: data segment of ring 0", GP, DS0, "movl $DS0, %eax; movl %eax, %es"
  U_RAISES "ring 3: code segment of ring 0", GP, CS32, "movl $CS32, %eax; movl %eax, %es"
  SEGMENT 0xfff, 0x9e, 4
  U_FINE "ring 3: conforming code of ring 0 as data", "movl $SEG, %eax; movl %eax, %es; movl %es:0, %eax"
  SEGMENT 0xfff, 0xb2, 4
  movl $SEG + 3, %eax
  RAISES1 "RPL 3 on DPL 1", GP, SEG, "movl %eax, %es"
  movl $SEG + 1, %eax
  FINE "RPL 1 on DPL 1", "movl %eax, %es"
  # ---- SS
  SEGMENT 0xffff, 0x90, 4
  movl $SEG, %eax
  RAISES1 "SS: read-only", GP, SEG, "movl %eax, %ss"
  SEGMENT 0xffff, 0x9a, 4
  movl $SEG, %eax
  RAISES1 "SS: code", GP, SEG, "movl %eax, %ss"
  SEGMENT 0xffff, 0xf2, 4
  movl $SEG, %eax
  RAISES1 "SS: DPL 3", GP, SEG, "movl %eax, %ss"
  SEGMENT 0xffff, 0x92, 4
  movl $SEG + 3, %eax
  RAISES1 "SS: RPL 3", GP, SEG, "movl %eax, %ss"
  SEGMENT 0xffff, 0x12, 4
  movl $SEG, %eax
  RAISES1 "SS: not present", SS, SEG, "movl %eax, %ss"
  movl $SEG, %eax
  RAISES "SS: by POP", SS, SEG, "pushl %eax; popl %ss"
  movl $SEG, %eax
  RAISES1 "SS: by LSS", SS, SEG, "lss far_seg, %ebx"
  SEGMENT 0xffff, 0x92, 4
  # MOV to CS, LES with a register.
  RAISES1 "MOV to CS", UD, 0, ".byte 0x8e, 0xc8"
  RAISES1 "MOV to segment register 6", UD, 0, ".byte 0x8e, 0xf0"
  RAISES1 "LES with a register", UD, 0, ".byte 0xc4, 0xc0"
  # A fault in LES leaves both registers alone.
  movl $0x12345, %ebx
  RAISES1 "LES of a segment past the GDT", GP, 0x7ff8, "les far_bad, %ebx"
  EQ "LES: register unchanged", %ebx, $0x12345

  # ---- a 16-bit stack segment
  DESC_AT STK, (AREA << 16) | 0xffff, (AREA & 0xff000000) | ((AREA >> 16) & 0xff) | 0x9200
  movl $0, AREA + 0xfffc
  movl $0, AREA + 0xfffe
  movl %esp, %ebx
  movl $STK, %eax
  movl %eax, %ss
  movl $0x12340000, %esp
  pushl $0x13572468
  movl %esp, %ecx
  movl $DS0, %eax
  movl %eax, %ss
  movl %ebx, %esp
  EQ "16-bit stack: SP wraps, ESP keeps its upper half", %ecx, $0x1234fffc
  EQ "16-bit stack: where it went", AREA + 0xfffc, $0x13572468
  movl $STK, %eax
  movl %eax, %ss
  movl $0x1234fffe, %esp
  popw %cx
  movl %esp, %edx
  movl $DS0, %eax
  movl %eax, %ss
  movl %ebx, %esp
  movzwl %cx, %ecx
  EQ "16-bit stack: POP", %ecx, $0x1357
  EQ "16-bit stack: POP wraps", %edx, $0x12340000
  # CALL and RET, ENTER and LEAVE on it.
  movl $STK, %eax
  movl %eax, %ss
  movl $0x12348000, %esp
  movl $0x56780000, %ebp
  enter $16, $0
  movl %esp, %ecx
  movl %ebp, %edx
  leave
  movl %esp, %esi
  call 1f
1:
  popl %edi
  movl $DS0, %eax
  movl %eax, %ss
  movl %ebx, %esp
  EQ "16-bit stack: ENTER, SP", %ecx, $0x12347fec
  movzwl %dx, %edx
  EQ "16-bit stack: ENTER, BP", %edx, $0x7ffc
  EQ "16-bit stack: LEAVE", %esi, $0x12348000
  EQ "16-bit stack: CALL", %edi, $1b
  # Limit of the stack segment: #SS. The exception itself needs a stack, so this runs in ring 3.
  SEGMENT 0xfff, 0xf2, 4
  U_RAISES "PUSH past the limit of SS", SS, 0, "movl $SEG + 3, %eax; movl %eax, %ss; movl $0x1002, %esp; pushl %eax"
  EQ "PUSH past the limit: ESP", rec_esp, $0x1002
  U_RAISES "POP past the limit of SS", SS, 0, "movl $SEG + 3, %eax; movl %eax, %ss; movl $0xffd, %esp; popl %eax"
  U_RAISES "access through EBP past the limit of SS", SS, 0, "movl $SEG + 3, %eax; movl %eax, %ss; movl $0xffd, %ebp; movl (%ebp), %eax"
  U_RAISES "CALL past the limit of SS", SS, 0, "movl $SEG + 3, %eax; movl %eax, %ss; movl $0x1002, %esp; call 1f; 1: nop"
  U_FINE "PUSH at the limit", "movl $SEG + 3, %eax; movl %eax, %ss; movl $0x1000, %esp; pushl %eax; movl $UDS, %eax; movl %eax, %ss; movl $ustack_top, %esp"
  SEGMENT 0xfff, 0xf6, 4
  U_RAISES "expand-down stack: PUSH at the limit", SS, 0, "movl $SEG + 3, %eax; movl %eax, %ss; movl $0x1002, %esp; pushl %eax"

  # ---- code segment limits
  DESC_AT SEG2, 0, 0x409a00
  movl $code_page, %eax
  movw %ax, gdt + SEG2 + 2
  shrl $16, %eax
  movb %al, gdt + SEG2 + 4
  movb %ah, gdt + SEG2 + 7
  movw $(code_end - code_page - 1), gdt + SEG2
  RAISES "running off the code segment", GP, 0, "ljmp $SEG2, $0"
  EQ "running off: IP", rec_ip, $(code_end - code_page)
  EQ "running off: CS", rec_cs, $SEG2
  # The instruction pointer that these push is the target's here, the jump's on processors; only the vector is checked.
  RAISES "near jump past the limit", GP, 0, "ljmp $SEG2, $(code_jump - code_page)"
  RAISES "near CALL past the limit", GP, 0, "ljmp $SEG2, $(code_call - code_page)"
  RAISES "indirect jump past the limit", GP, 0, "movl $0x10000, %ebx; ljmp $SEG2, $(code_ind - code_page)"
  RAISES "RET past the limit", GP, 0, "pushl $0x10000; ljmp $SEG2, $(code_ret - code_page)"

  # ---- LDT
  movl $seg_word - 4, %eax
  movw %ax, ldt + 10
  shrl $16, %eax
  movb %al, ldt + 12
  movl $ldt, %eax
  movw $23, gdt + LDT
  movw %ax, gdt + LDT + 2
  shrl $16, %eax
  movb %al, gdt + LDT + 4
  movw $0x0082, gdt + LDT + 5
  movb $0, gdt + LDT + 7
  movl $LDT, %eax
  FINE "LLDT", "lldt %ax"
  sldt %ebx
  EQ "SLDT", %ebx, $LDT
  movl $0x0c, %eax
  FINE "selector in the LDT", "movl %eax, %es"
  EQ "value through it", %es:4, $0x5a5a5a5a
  movl $0x1c, %eax
  RAISES1 "selector past the LDT", GP, 0x1c, "movl %eax, %es"
  movl $DS0, %eax
  movl %eax, %es
  RAISES1 "LLDT: data segment", GP, DS0, "lldt %ax"
  movl $LDT + 4, %eax
  RAISES1 "LLDT: selector in the LDT", GP, "LDT + 4", "lldt %ax"
  movb $0x02, gdt + LDT + 5
  movl $LDT, %eax
  RAISES1 "LLDT: not present", NP, LDT, "lldt %ax"
  movb $0x82, gdt + LDT + 5
  U_RAISES "LLDT in ring 3", GP, 0, "lldt %ax"
  xorl %eax, %eax
  FINE "LLDT: null", "lldt %ax"
  movl $0x0c, %eax
  RAISES1 "null LDT", GP, 0x0c, "movl %eax, %es"
  # ---- LTR
  movl $TSS_SEL, %eax
  RAISES1 "LTR: busy", GP, TSS_SEL, "ltr %ax"
  movl $DS0, %eax
  RAISES1 "LTR: data segment", GP, DS0, "ltr %ax"
  xorl %eax, %eax
  RAISES1 "LTR: null", GP, 0, "ltr %ax"
  str %ebx
  EQ "STR", %ebx, $TSS_SEL
  movl gdt + TSS_SEL + 4, %eax
  andl $0xff00, %eax
  EQ "LTR marks the TSS busy", %eax, $0x8b00

  # ---- LAR, LSL, VERR, VERW, ARPL
.macro LARS name, sel, want
  movl $\sel, %eax
  movl $0x99, %ecx
  larl %eax, %ecx
  jz 95f
  movl $0xbad, %ecx
95:
  # Bits 16 to 19 are undefined.
  andl $0xf0ffff, %ecx
  EQ "\name", %ecx, $\want
.endm
.macro LSLS name, sel, want
  movl $\sel, %eax
  movl $0x99, %ecx
  lsll %eax, %ecx
  jz 95f
  movl $0xbad, %ecx
95:
  EQ "\name", %ecx, $\want
.endm
.macro VER insn, name, sel, want
  movl $\sel, %eax
  \insn %ax
  setz %cl
  movzbl %cl, %ecx
  EQ "\name", %ecx, $\want
.endm
  LARS "LAR: code", CS32, 0xc09b00
  LARS "LAR: user data", UDS, 0xc0f300
  LARS "LAR: TSS", TSS_SEL, 0x8b00
  LARS "LAR: LDT", LDT, 0x8200
  LARS "LAR: null", 0, 0xbad
  LARS "LAR: past the GDT", 0x7ff8, 0xbad
  LARS "LAR: RPL 3 on DPL 0", DS0+3, 0xbad
  SEGMENT 0xfff, 0x8c, 0
  LARS "LAR: call gate", SEG, 0x8c00
  LSLS "LSL: call gate", SEG, 0xbad
  SEGMENT 0xfff, 0x8e, 0
  LARS "LAR: interrupt gate", SEG, 0xbad
  SEGMENT 0xfff, 0x85, 0
  LARS "LAR: task gate", SEG, 0x8500
  SEGMENT 0xfff, 0x88, 0
  LARS "LAR: reserved type", SEG, 0xbad
  SEGMENT 0xfff, 0x12, 0
  LARS "LAR: not present", SEG, 0x1200
  LSLS "LSL: flat", DS0, 0xffffffff
  LSLS "LSL: TSS", TSS_SEL, 0x67
  SEGMENT 0x3, 0x92, 0xc
  LSLS "LSL: page-granular", SEG, 0x3fff
  VER verr, "VERR: data", DS0, 1
  VER verw, "VERW: data", DS0, 1
  VER verr, "VERR: code", CS32, 1
  VER verw, "VERW: code", CS32, 0
  SEGMENT 0xfff, 0x98, 4
  VER verr, "VERR: execute-only", SEG, 0
  SEGMENT 0xfff, 0x90, 4
  VER verw, "VERW: read-only", SEG, 0
  VER verr, "VERR: TSS", TSS_SEL, 0
  VER verr, "VERR: null", 0, 0
  VER verr, "VERR: RPL 3", DS0+3, 0
  movl $0x10, %eax
  movl $0x0b, %ecx
  arpl %cx, %ax
  setz %cl
  EQ "ARPL raises", %eax, $0x13
  movl $0x13, %eax
  movl $0x09, %ecx
  arpl %cx, %ax
  setz %cl
  movzbl %cl, %ecx
  EQ "ARPL leaves alone", %eax, $0x13
  EQ "ARPL leaves alone: ZF", %ecx, $0
  # ---- UMIP
  movl $0, %ebx
  U_FINE "SIDT in ring 3", "sidt 0x400100"
  movl %cr4, %eax
  orl $0x800, %eax
  movl %eax, %cr4
  U_RAISES "SIDT in ring 3, UMIP", GP, 0, "sidt 0x400100"
  U_RAISES "SMSW in ring 3, UMIP", GP, 0, "smsw %ax"
  U_RAISES "STR in ring 3, UMIP", GP, 0, "str %ax"
  FINE "SIDT in ring 0, UMIP", "sidt 0x400100"
  DONE

.data
.balign 8
far_seg: .long 0
  .word SEG
far_bad: .long 0x7777
  .word 0x7ff8
seg_word: .long 0x5a5a5a5a
.balign 8
ldt:
  .quad 0
  .word 0xffff
  # Base: filled in by main, four bytes before the word.
  .word 0
  .byte 0, 0x92, 0xcf, 0
  .quad 0
.section .real, "awx"
.code32
code_page:
  jmp code_end
code_jump:
  jmp . + 0x2000
code_call:
  call . + 0x2000
code_ind:
  jmp *%ebx
code_ret:
  ret
code_end:
  movl $5, %eax
