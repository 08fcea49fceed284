/*
 * Bare-metal checks of FEAT_BTI: PSTATE.BTYPE by kinds of branches, what instructions accept it in guarded pages, syndromes, SPSR_EL1.BTYPE,
 * SCTLR_EL1.BT1 and BT0. Prints as system.S does.
 */
#include "check.h"
#include "trap.h"

.equ GUARDED, 0x80000000
.equ PLAIN, 0x80001000
.equ USER, 0x80002000

/* Offsets in the page of targets. */
.equ t_plain, 0
.equ t_bti, 8
.equ t_c, 16
.equ t_j, 24
.equ t_jc, 32
.equ t_paciasp, 40
.equ t_pacibsp, 48
.equ t_brk, 56
.equ t_br, 64
.equ t_direct, 72
.equ t_ret_x1, 80
.equ u_blr, 88
.equ u_br, 96

/* Branch Target exceptions have this syndrome, and BTYPE in bits 1..0. */
.equ BAD_TARGET, 0x36000000

/* Register = the address of a place in the page of targets, by one of its addresses. */
.macro place reg, base, label
  ldr \reg, =\base + \label
.endm

/* BLR, BR X16 and BR X3 from this page, which is not guarded; BR X1 from the guarded page. */
.macro by_blr name, base, label, want
  attempt
  place x2, \base, \label
  blr x2
1: bl esr
  check \name, \want
.endm
.macro by_x16 name, base, label, want
  attempt
  adr x30, 1f
  place x16, \base, \label
  br x16
1: bl esr
  check \name, \want
.endm
.macro by_x3 name, base, label, want
  attempt
  adr x30, 1f
  place x3, \base, \label
  br x3
1: bl esr
  check \name, \want
.endm
.macro by_guarded name, base, label, want
  attempt
  adr x30, 1f
  place x1, \base, \label
  place x2, GUARDED, t_br
  blr x2
1: bl esr
  check \name, \want
.endm

.text
.global _start
_start:
  adr x0, stack_top
  mov sp, x0
  adr x0, vectors
  msr vbar_el1, x0

  mrs x20, S3_0_C0_C4_1                /* ID_AA64PFR1_EL1 */
  and x20, x20, #15
  check pfr1_bt, 1

  /* An identity map; one page of code at three addresses: guarded, not guarded, guarded for EL0. */
  adr x1, l1
  ldr x2, =0x00000000 | 0x405
  str x2, [x1]
  ldr x2, =0x40000000 | 0x701
  str x2, [x1, #8]
  adr x3, l2
  orr x2, x3, #3
  str x2, [x1, #16]
  adr x4, l3
  orr x2, x4, #3
  str x2, [x3]
  adr x5, targets
  ldr x6, =(1 << 50) | 0x783
  orr x2, x5, x6
  str x2, [x4]
  ldr x6, =0x783
  orr x2, x5, x6
  str x2, [x4, #8]
  ldr x6, =(1 << 50) | (1 << 53) | 0x7c3
  orr x2, x5, x6
  str x2, [x4, #16]
  mov x0, #0xff
  msr mair_el1, x0
  ldr x0, =(25 | (25 << 16) | (1 << 23)) | (2 << 32)
  msr tcr_el1, x0
  msr ttbr0_el1, x1
  isb
  mrs x0, sctlr_el1
  orr x0, x0, #1
  bic x0, x0, #(1 << 36)
  msr sctlr_el1, x0
  isb

  /* Where nothing is guarded everything is let through. */
  by_blr blr_unguarded, PLAIN, t_plain, 0
  by_x3 br_unguarded, PLAIN, t_bti, 0

  by_blr blr_plain, GUARDED, t_plain, BAD_TARGET + 2
  bl elr
  check blr_elr, GUARDED + t_plain
  bl spsr
  and x20, x20, #0xc00
  check blr_spsr, 0x800
  by_blr blr_bti, GUARDED, t_bti, BAD_TARGET + 2
  by_blr blr_bti_c, GUARDED, t_c, 0
  by_blr blr_bti_j, GUARDED, t_j, BAD_TARGET + 2
  by_blr blr_bti_jc, GUARDED, t_jc, 0
  by_blr blr_paciasp, GUARDED, t_paciasp, 0
  by_blr blr_pacibsp, GUARDED, t_pacibsp, 0
  by_blr blr_brk, GUARDED, t_brk, 0xf2000005
  by_blr blr_still_unguarded, PLAIN, t_plain, 0

  by_x16 x16_plain, GUARDED, t_plain, BAD_TARGET + 1
  bl spsr
  and x20, x20, #0xc00
  check x16_spsr, 0x400
  by_x16 x16_bti, GUARDED, t_bti, BAD_TARGET + 1
  by_x16 x16_bti_c, GUARDED, t_c, 0
  by_x16 x16_bti_j, GUARDED, t_j, 0
  by_x16 x16_bti_jc, GUARDED, t_jc, 0
  by_x16 x16_paciasp, GUARDED, t_paciasp, 0
  /* Of BTI j, whatever the jump before it was let through as. */
  by_blr blr_bti_j_again, GUARDED, t_j, BAD_TARGET + 2

  by_x3 br_plain, GUARDED, t_plain, BAD_TARGET + 1
  by_x3 br_bti_c, GUARDED, t_c, 0
  by_x3 br_bti_j, GUARDED, t_j, 0
  by_x3 br_unguarded_again, PLAIN, t_plain, 0

  by_guarded guarded_plain, GUARDED, t_plain, BAD_TARGET + 3
  bl spsr
  and x20, x20, #0xc00
  check guarded_spsr, 0xc00
  by_guarded guarded_bti_c, GUARDED, t_c, BAD_TARGET + 3
  by_guarded guarded_bti_j, GUARDED, t_j, 0
  by_guarded guarded_bti_jc, GUARDED, t_jc, 0
  by_guarded guarded_paciasp, GUARDED, t_paciasp, 0
  by_guarded guarded_unguarded, PLAIN, t_plain, 0
  /* BTI c, whatever was let through by another kind of branch. */
  by_x3 br_bti_c_again, GUARDED, t_c, 0
  by_guarded guarded_bti_c_again, GUARDED, t_c, BAD_TARGET + 3

  /* Direct branches and returns leave BTYPE 0. */
  attempt
  place x2, GUARDED, t_direct
  blr x2
1: bl esr
  check direct, 0
  attempt
  adr x30, 1f
  place x1, GUARDED, t_plain
  place x2, GUARDED, t_ret_x1
  blr x2
1: bl esr
  check ret, 0
  attempt
  place x2, GUARDED, t_plain
  mov x3, x30
  adr x30, 1f
  ret x2
1: bl esr
  check ret_plain, 0

  /* Loops: what the jump cache has learned of good targets lets no bad one through. */
  mov x28, #1000
  place x2, GUARDED, t_c
  attempt
2: blr x2
  subs x28, x28, #1
  b.ne 2b
  mov x28, #7
1: bl esr
  check loop_esr, 0
  mov x20, x28
  check loop_done, 7
  by_blr loop_then_plain, GUARDED, t_plain, BAD_TARGET + 2

  /* SCTLR_EL1.BT1: PACIASP accepts no jumps any more. */
  mrs x0, sctlr_el1
  orr x0, x0, #(1 << 36)
  msr sctlr_el1, x0
  isb
  by_guarded bt1_paciasp, GUARDED, t_paciasp, BAD_TARGET + 3
  by_x16 bt1_x16, GUARDED, t_paciasp, 0
  by_blr bt1_blr, GUARDED, t_paciasp, 0
  mrs x0, sctlr_el1
  bic x0, x0, #(1 << 36)
  msr sctlr_el1, x0
  isb
  by_guarded bt1_off, GUARDED, t_paciasp, 0

  /* ERET sets BTYPE. */
  attempt
  adr x30, 1f
  mov x0, #0x3c5
  orr x0, x0, #0x800
  msr spsr_el1, x0
  place x0, GUARDED, t_plain
  msr elr_el1, x0
  eret
1: bl esr
  check eret_plain, BAD_TARGET + 2
  attempt
  adr x30, 1f
  mov x0, #0x3c5
  orr x0, x0, #0x800
  msr spsr_el1, x0
  place x0, GUARDED, t_c
  msr elr_el1, x0
  eret
1: bl esr
  check eret_bti_c, 0
  attempt
  adr x30, 1f
  mov x0, #0x3c5
  orr x0, x0, #0xc00
  msr spsr_el1, x0
  place x0, GUARDED, t_c
  msr elr_el1, x0
  eret
1: bl esr
  check eret_bti_c_3, BAD_TARGET + 3

  /* Authenticated branches count as those without authentication (the keys are off). */
  attempt
  place x2, GUARDED, t_plain
  blraaz x2
1: bl esr
  check blraaz, BAD_TARGET + 2
  attempt
  adr x30, 1f
  place x17, GUARDED, t_plain
  braa x17, x3
1: bl esr
  check braa_x17, BAD_TARGET + 1

  /* A page that becomes guarded, and one that is guarded no more. */
  adr x4, l3
  ldr x2, [x4, #8]
  orr x2, x2, #(1 << 50)
  str x2, [x4, #8]
  ldr x0, =PLAIN >> 12
  dsb ish
  tlbi vae1, x0
  dsb ish
  isb
  by_blr becomes_guarded, PLAIN, t_plain, BAD_TARGET + 2
  adr x4, l3
  ldr x2, [x4, #8]
  bic x2, x2, #(1 << 50)
  str x2, [x4, #8]
  ldr x0, =PLAIN >> 12
  dsb ish
  tlbi vae1, x0
  dsb ish
  isb
  by_blr guarded_no_more, PLAIN, t_plain, 0

  /* EL0; SCTLR_EL1.BT0 is its own. */
  attempt
  place x0, USER, u_blr
  place x2, USER, t_plain
  bl user
1: bl esr
  check el0_blr, BAD_TARGET + 2
  bl spsr
  bfc x20, #4, #6
  lsl x20, x20, #52
  lsr x20, x20, #52
  check el0_spsr, 0x800
  attempt
  place x0, USER, u_blr
  place x2, USER, t_c
  bl user
1: bl esr
  check el0_bti_c, 0x56000000
  attempt
  place x0, USER, u_br
  place x2, USER, t_paciasp
  bl user
1: bl esr
  check el0_paciasp, 0x56000001
  mrs x0, sctlr_el1
  orr x0, x0, #(1 << 35)
  msr sctlr_el1, x0
  isb
  attempt
  place x0, USER, u_br
  place x2, USER, t_paciasp
  bl user
1: bl esr
  check el0_bt0, BAD_TARGET + 3

  /* Software step over the branch: BTYPE is in SPSR_EL1, and works when the step's handler returns. */
  msr oslar_el1, xzr
  mrs x0, mdscr_el1
  orr x0, x0, #1
  msr mdscr_el1, x0
  isb
  attempt
  place x0, USER, u_blr
  place x2, USER, t_plain
  ldr x1, =0x200000
  bl user_pstate
1: bl esr
  lsr x20, x20, #26
  check step_ec, 0x32
  bl elr
  check step_elr, USER + t_plain
  bl spsr
  and x20, x20, #0xc00
  check step_spsr, 0x800
  mrs x0, mdscr_el1
  bic x0, x0, #1
  msr mdscr_el1, x0
  isb
  attempt
  place x0, USER, t_plain
  mov x1, #0x800
  bl user_pstate
1: bl esr
  check step_then, BAD_TARGET + 2

  finish

/* To EL0 at x0; PSTATE x1. */
user:
  mov x1, #0
user_pstate:
  msr elr_el1, x0
  msr spsr_el1, x1
  eret

check_functions
trap_functions
trap_vectors

.balign 4096
targets:
  nop
  ret
  bti
  ret
  bti c
  ret
  bti j
  ret
  bti jc
  ret
  paciasp
  ret
  pacibsp
  ret
  brk #5
  ret
  bti c
  br x1
  bti c
  b targets
  bti c
  ret x1
  blr x2
  svc #0
  adr x30, 1f
  br x2
1: svc #1
.balign 4096
l1: .skip 4096
l2: .skip 4096
l3: .skip 4096
stack: .skip 4096
stack_top:
