/*
 * Bare-metal checks of the ARM64 system architecture: exceptions and their syndromes, page tables, PAN, timers, interrupts. Prints
 * "ok NAME" or "BAD NAME got X want Y" for each, "done", and switches the machine off (PSCI).
 */
#include "check.h"
#include "trap.h"

.text
.global _start
_start:
  adr x0, stack_top
  mov sp, x0
  adr x0, vectors
  msr vbar_el1, x0
  mov x0, #(3 << 20)
  msr cpacr_el1, x0
  isb

  mrs x20, CurrentEL
  check current_el, 4

  /* --- synchronous exceptions: the handler stores ESR, FAR, ELR and skips the instruction --- */
  svc #0x123
  bl esr
  check svc_esr, 0x56000123
  brk #7
  bl esr
  check brk_esr, 0xf2000007
  .inst 0x00000000
  bl esr
  check undefined_esr, 0x02000000
  mov x0, #0
  msr cpacr_el1, x0
  isb
  fmov d0, xzr
  bl esr
  check fp_trap_esr, 0x1fe00000
  mov x0, #(3 << 20)
  msr cpacr_el1, x0
  isb

  /* --- floating point: underflow is found before rounding --- */
  ldr w1, =0x1ffffffe                  /* product: 2^-126 (1 - 2^-46) */
  ldr w2, =0x20000001
  fmov s1, w1
  fmov s2, w2
  msr fpsr, xzr
  fmul s0, s1, s2
  mrs x20, fpsr
  check fmul_ufc, 0x18
  fmov w20, s0
  check fmul_result, 0x00800000
  msr fpsr, xzr
  fmov s3, wzr
  fnmsub s0, s1, s2, s3
  mrs x20, fpsr
  check fnmsub_ufc, 0x18
  dup v1.4s, w1
  fneg v1.4s, v1.4s
  dup v2.4s, w2
  msr fpsr, xzr
  fmul v0.4s, v1.4s, v2.4s
  mrs x20, fpsr
  check fmul_vector_ufc, 0x18
  ldr x1, =0x380fffffffffff80
  fmov d1, x1
  msr fpsr, xzr
  fcvt s0, d1
  mrs x20, fpsr
  check fcvt_ufc, 0x18
  ldr x1, =0x3810000000000000
  fmov d1, x1
  msr fpsr, xzr
  fcvt s0, d1
  mrs x20, fpsr
  check fcvt_exact, 0

  /* --- the MMU: identity map of 1 GiB blocks; a page table for the gigabyte at 0x80000000 --- */
  adr x1, l1
  ldr x2, =0x00000000 | 0x405          /* devices: attribute 1 */
  str x2, [x1]
  ldr x2, =0x40000000 | 0x701          /* RAM: attribute 0, shareable, accessed */
  str x2, [x1, #8]
  adr x3, l2
  orr x2, x3, #3
  str x2, [x1, #16]
  adr x4, l3
  orr x2, x4, #3
  str x2, [x3]
  adr x5, page
  ldr x6, =0x703                       /* page 0: read-write, EL1 */
  orr x2, x5, x6
  str x2, [x4]
  ldr x6, =0x783                       /* page 1: read-only, EL1 */
  orr x2, x5, x6
  str x2, [x4, #8]
  ldr x6, =0x743                       /* page 2: read-write, EL0 too */
  orr x2, x5, x6
  str x2, [x4, #16]
  ldr x6, =0x303                       /* page 3: access flag clear */
  orr x2, x5, x6
  str x2, [x4, #24]
  ldr x6, =0x0060000000000703          /* page 4: no execution */
  orr x2, x5, x6
  str x2, [x4, #32]
  ldr x0, =0x000000000000ff
  msr mair_el1, x0                     /* 0: write-back, 1: Device-nGnRnE */
  ldr x0, =(25 | (25 << 16) | (1 << 23)) | (2 << 32)
  msr tcr_el1, x0
  msr ttbr0_el1, x1
  isb
  mrs x0, sctlr_el1
  orr x0, x0, #1
  msr sctlr_el1, x0
  isb

  ldr x10, =0x80000000
  mov x0, #0x55
  str x0, [x10, #8]
  adr x5, page
  ldr x20, [x5, #8]
  check mapped_write, 0x55
  str x0, [x10, #0x1000]               /* read-only page: offset too large for an immediate of 8-byte steps is fine */
  bl esr
  check permission_esr, 0x9600004f
  bl far
  check permission_far, 0x80001000
  ldr x0, [x10, #0x6000]
  bl esr
  check translation_esr, 0x96000007
  bl far
  check translation_far, 0x80006000
  ldr x0, [x10, #0x3000]
  bl esr
  check access_flag_esr, 0x9600000b
  mov x11, #0x4000
  add x11, x11, x10
  adr x12, after_exec
  adr x13, resume
  str x12, [x13]
  br x11
after_exec:
  bl esr
  check exec_esr, 0x8600000f

  /* TLB maintenance: page 1 becomes writable. */
  adr x4, l3
  ldr x2, [x4, #8]
  bic x2, x2, #0x80
  str x2, [x4, #8]
  dsb ish
  add x11, x10, #0x1000
  lsr x0, x11, #12
  tlbi vae1, x0
  dsb ish
  isb
  mov x0, #0x66
  bl clear
  str x0, [x11, #16]
  bl esr
  check tlbi_esr, 0
  adr x5, page
  ldr x20, [x5, #16]
  check tlbi_write, 0x66

  /* Privileged access never. */
  .inst 0xd500419f                     /* msr pan, #1 */
  bl clear
  add x11, x10, #0x2000
  ldr x0, [x11]
  bl esr
  check pan_esr, 0x9600000f
  bl clear
  ldtr x0, [x11]
  bl esr
  check pan_ldtr, 0
  .inst 0xd500409f                     /* msr pan, #0 */
  bl clear
  ldr x0, [x11]
  bl esr
  check pan_off, 0

  /* Unprivileged accesses have EL0's rights, whatever EL1 has just been allowed. */
  bl clear
  ldtr x0, [x11]
  ldtr x0, [x11]
  bl esr
  check ldtr_user_page, 0
  ldr x0, [x10]
  ldtr x0, [x10]
  bl esr
  check ldtr_kernel_page, 0x9600000f
  bl clear
  str x0, [x10]
  sttr x0, [x10]
  bl esr
  check sttr_kernel_page, 0x9600004f
  bl clear
  mov x0, #0x77
  sttr x0, [x11, #32]
  sttr x0, [x11, #40]
  bl esr
  check sttr_user_page, 0
  adr x5, page
  ldr x20, [x5, #40]
  check sttr_value, 0x77

  /* FEAT_E0PD: unprivileged accesses find nothing in the lower half, privileged ones do. */
  mrs x9, tcr_el1
  orr x0, x9, #(1 << 55)
  msr tcr_el1, x0
  isb
  bl clear
  ldtr x0, [x11]
  bl esr
  check e0pd_esr, 0x96000004
  bl clear
  ldr x0, [x11]
  bl esr
  check e0pd_privileged, 0
  msr tcr_el1, x9
  isb

  /* Address translation instructions. */
  at s1e1r, x11
  isb
  mrs x20, par_el1
  and x20, x20, #1
  check at_ok, 0
  add x0, x10, #0x6000
  at s1e1w, x0
  isb
  mrs x20, par_el1
  and x20, x20, #0x7f
  check at_fault, 0x0f

  /* Alignment: exclusives always, everything with SCTLR.A. */
  bl clear
  add x11, x10, #1
  ldxr x0, [x11]
  bl esr
  check ldxr_unaligned, 0x96000021
  bl clear
  ldr x0, [x11]
  bl esr
  check ldr_unaligned, 0

  /* --- EL0 --- */
  adr x0, user
  ldr x1, =0x40000000
  msr elr_el1, x0
  mov x0, #0
  msr spsr_el1, x0
  adr x0, back
  adr x13, resume
  str x0, [x13]
  bl clear
  /* The code lies in a block that EL0 cannot read but may execute. */
  eret
back:
  msr daifset, #15
  bl esr
  check el0_svc_esr, 0x56000001

  /* --- the virtual timer by way of the GIC --- */
  ldr x0, =0x080a0014
  str wzr, [x0]                        /* wake the redistributor */
  ldr x0, =0x08000000
  mov w1, #2
  str w1, [x0]
  ldr x0, =0x080b0080
  mov w1, #-1
  str w1, [x0]                         /* group 1 */
  ldr x0, =0x080b0100
  mov w1, #(1 << 27)
  str w1, [x0]
  mov x0, #0xf0
  msr S3_0_C4_C6_0, x0                 /* ICC_PMR_EL1 */
  mov x0, #1
  msr S3_0_C12_C12_7, x0               /* ICC_IGRPEN1_EL1 */
  isb
  mrs x0, cntfrq_el0
  mov x1, #1000
  udiv x0, x0, x1
  msr cntv_tval_el0, x0                /* 1 ms */
  mov x0, #1
  msr cntv_ctl_el0, x0
  wfi                                  /* masked: wakes all the same */
  mrs x20, isr_el1
  check isr_pending, 0x80
  adr x0, irqs
  str xzr, [x0]
  msr daifclr, #2
  isb
  msr daifset, #2
  adr x0, irqs
  ldr x20, [x0]
  check timer_irq, 27
  mrs x20, cntv_ctl_el0
  check timer_masked, 7

  finish

/* Runs at EL0, if it may. */
user:
  svc #1

check_functions

trap_functions
irq:
  stp x18, x19, [sp, #-16]!
  mrs x18, S3_0_C12_C12_0              /* ICC_IAR1_EL1 */
  adr x19, irqs
  str x18, [x19]
  mov x19, #3
  msr cntv_ctl_el0, x19                /* mask it */
  msr S3_0_C12_C12_1, x18              /* ICC_EOIR1_EL1 */
  ldp x18, x19, [sp], #16
  eret

.ltorg
.balign 2048
vectors:
.rept 4
  .balign 128
  b sync
.endr
  .balign 128
  b sync
  .balign 128
  b irq
  .balign 128
  b sync
  .balign 128
  b sync
  .balign 128
  b sync
  .balign 128
  b irq
.balign 2048

trap_data
irqs: .quad 0
.balign 4096
l1: .skip 4096
l2: .skip 4096
l3: .skip 4096
page: .skip 4096
stack: .skip 4096
stack_top:
