/*
 * Exception handlers for programs that run with a stack: what the last exception left in ESR, FAR, ELR and SPSR is kept; the program goes on at
 * the address in `resume` (used once), or after the instruction, at EL1 on its own stack.
 */

/* Runs the lines that follow up to 1:, whatever exception they raise. */
.macro attempt
  bl clear
  adr x12, 1f
  adr x13, resume
  str x12, [x13]
.endm

/* x20 = what the last exception left, 0 if there was none. */
.macro trap_functions
esr:
  adr x19, saved
  ldr x20, [x19]
  ret
far:
  adr x19, saved
  ldr x20, [x19, #8]
  ret
elr:
  adr x19, saved
  ldr x20, [x19, #16]
  ret
spsr:
  adr x19, saved
  ldr x20, [x19, #24]
  ret
clear:
  adr x19, saved
  stp xzr, xzr, [x19]
  stp xzr, xzr, [x19, #16]
  ret

sync:
  stp x18, x19, [sp, #-16]!
  adr x18, saved
  mrs x19, esr_el1
  str x19, [x18]
  mrs x19, far_el1
  str x19, [x18, #8]
  mrs x19, elr_el1
  str x19, [x18, #16]
  mrs x19, spsr_el1
  str x19, [x18, #24]
  adr x18, resume
  ldr x19, [x18]
  str xzr, [x18]
  cbnz x19, 1f
  mrs x19, esr_el1
  lsr x19, x19, #26
  cmp x19, #0x15                       /* after SVC the address is the next instruction's */
  mrs x19, elr_el1
  b.eq 1f
  add x19, x19, #4
1: msr elr_el1, x19
  mrs x19, spsr_el1
  bic x19, x19, #0xc00                 /* BTYPE */
  bic x19, x19, #0x200000              /* SS */
  bic x19, x19, #0xf
  orr x19, x19, #4
  orr x19, x19, #1
  msr spsr_el1, x19
  ldp x18, x19, [sp], #16
  eret
.endm

/* What `trap_functions` keep. */
.macro trap_data
.balign 16
saved: .quad 0, 0, 0, 0
resume: .quad 0
.endm

/* Vectors of programs without interrupts. */
.macro trap_vectors
.ltorg
.balign 2048
vectors:
.rept 16
  .balign 128
  b sync
.endr
.balign 2048
trap_data
.endm
