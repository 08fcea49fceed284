/*
 * Bare-metal checks of self-hosted debug (breakpoints, watchpoints, software step) and of the performance monitors. Prints
 * "ok NAME" or "BAD NAME got X want Y" for each, "done", and switches the machine off (PSCI).
 */
#include "check.h"

.text
.global _start
_start:
  adr x0, stack_top
  mov sp, x0
  adr x0, vectors
  msr vbar_el1, x0
  msr oslar_el1, xzr
  isb

  /* Everything as at reset: nothing strikes while MDSCR_EL1 is clear. */
  msr daifclr, #8
  adr x0, target
  msr dbgbvr0_el1, x0
  mov x0, #0x1e3                       /* enabled, EL1 */
  msr dbgbcr0_el1, x0
  isb
  bl clear
  bl target
  bl esr
  check bp_disabled, 0

  /* --- breakpoints --- */
  mov x0, #((1 << 15) | (1 << 13))     /* MDE, KDE */
  msr mdscr_el1, x0
  isb
  bl clear
  bl target
  bl esr
  check bp_esr, 0xc6000022
  adr x19, saved
  ldr x20, [x19, #16]
  adr x21, target
  sub x20, x20, x21
  check bp_elr, 0
  msr daifset, #8                      /* masked: PSTATE.D */
  bl clear
  bl target
  bl esr
  check bp_masked, 0
  mov x0, #0x1e5                       /* EL0 only */
  msr dbgbcr0_el1, x0
  msr daifclr, #8
  bl clear
  bl target
  bl esr
  check bp_other_el, 0
  /* Linked to a context: breakpoint 5 compares CONTEXTIDR_EL1. */
  ldr x0, =0x001501e3
  msr dbgbcr0_el1, x0
  mov x0, #77
  msr dbgbvr5_el1, x0
  ldr x0, =0x003001e3
  msr dbgbcr5_el1, x0
  isb
  bl clear
  bl target
  bl esr
  check bp_other_context, 0
  mov x0, #77
  msr contextidr_el1, x0
  isb
  bl clear
  bl target
  bl esr
  check bp_context, 0xc6000022
  msr dbgbcr0_el1, xzr
  msr dbgbcr5_el1, xzr

  /* --- watchpoints --- */
  adr x10, data
  msr dbgwvr1_el1, x10
  mov x0, #(1 | (3 << 1) | (1 << 3) | (0x0c << 5)) /* bytes 2..3, loads, EL1 and EL0 */
  msr dbgwcr1_el1, x0
  isb
  bl clear
  ldrh w0, [x10]
  bl esr
  check wp_other_bytes, 0
  bl clear
  ldr w0, [x10]
  bl esr
  check wp_load_esr, 0xd6000022
  adr x19, saved
  ldr x20, [x19, #8]
  sub x20, x20, x10
  check wp_far, 0
  bl clear
  str w0, [x10]
  bl esr
  check wp_no_store, 0
  mov x0, #(1 | (3 << 1) | (2 << 3) | (0xff << 5))
  msr dbgwcr1_el1, x0
  isb
  str xzr, [x10, #8]
  bl clear
  mov x0, #9
  strb w0, [x10, #7]
  bl esr
  check wp_store_esr, 0xd6000062
  ldrb w20, [x10, #7]
  check wp_before, 0                   /* the store has not been made */
  bl clear
  stp xzr, xzr, [x10, #-8]
  bl esr
  check wp_pair, 0xd6000062
  /* A range: MASK of 2^4 bytes. */
  ldr x0, =(1 | (3 << 1) | (2 << 3) | (0xff << 5) | (4 << 24))
  msr dbgwcr1_el1, x0
  isb
  bl clear
  strb wzr, [x10, #15]
  bl esr
  check wp_mask, 0xd6000062
  bl clear
  strb wzr, [x10, #16]
  bl esr
  check wp_mask_end, 0
  msr dbgwcr1_el1, xzr

  /* --- software step of EL1 by EL1: the handler sets SPSR.SS, so that each instruction is one step --- */
  adr x19, steps
  str xzr, [x19]
  mov x0, #((1 << 13) | 1)             /* KDE, SS */
  msr daifset, #8
  msr mdscr_el1, x0
  isb
  msr daifclr, #8
  mov x0, #1
  mov x0, #2
  msr daifset, #8
  msr mdscr_el1, xzr
  isb
  adr x19, steps
  ldr x20, [x19]
  check steps, 3
  ldr x20, [x19, #8]
  check step_esr, 0xcf000022           /* the last one has ISV */

  /* --- performance monitors --- */
  mrs x20, pmcr_el0
  ubfx x20, x20, #11, #5
  check pmu_counters, 6
  mov x0, #0x08                        /* INST_RETIRED */
  msr pmevtyper0_el0, x0
  mov x0, #0x13                        /* MEM_ACCESS */
  msr pmevtyper1_el0, x0
  mov x0, #-8
  msr pmevcntr2_el0, x0
  mov x0, #0x13
  msr pmevtyper2_el0, x0
  mov x0, #0x1e                        /* CHAIN */
  msr pmevtyper3_el0, x0
  mov x0, #15
  msr pmcntenset_el0, x0
  mov x1, #10
  mov x2, #1
  mov x3, #0
  msr pmcr_el0, x2
1: ldr x0, [x10]
  subs x1, x1, #1
  b.ne 1b
  msr pmcr_el0, x3
  mrs x20, pmevcntr0_el0
  check pmu_instructions, 30
  mrs x20, pmevcntr1_el0
  check pmu_accesses, 10
  mrs x20, pmevcntr2_el0
  check pmu_wrapped, 2
  mrs x20, pmevcntr3_el0
  check pmu_chained, 1
  mrs x20, pmovsclr_el0
  check pmu_overflow, 4
  /* Excluded at EL1. */
  ldr x0, =0x80000008
  msr pmevtyper0_el0, x0
  msr pmevcntr0_el0, xzr
  mov x2, #1
  msr pmcr_el0, x2
  nop
  msr pmcr_el0, xzr
  mrs x20, pmevcntr0_el0
  check pmu_filter, 0
  /* Cycles are nanoseconds: 1 ms of them, and the interrupt at overflow. */
  ldr x0, =0x080a0014
  str wzr, [x0]                        /* wake the redistributor */
  ldr x0, =0x08000000
  mov w1, #2
  str w1, [x0]
  ldr x0, =0x080b0080
  mov w1, #-1
  str w1, [x0]
  ldr x0, =0x080b0100
  mov w1, #(1 << 23)
  str w1, [x0]
  mov x0, #0xf0
  msr S3_0_C4_C6_0, x0                 /* ICC_PMR_EL1 */
  mov x0, #1
  msr S3_0_C12_C12_7, x0               /* ICC_IGRPEN1_EL1 */
  mov x0, #15
  msr pmcntenclr_el0, x0
  ldr x0, =0xffffffff - 1000000
  msr pmccntr_el0, x0
  mov x0, #-1
  msr pmovsclr_el0, x0
  mov x0, #(1 << 31)
  msr pmcntenset_el0, x0
  msr pmintenset_el1, x0
  mov x0, #1                           /* E; LC clear: overflow at bit 31 */
  msr pmcr_el0, x0
  isb
  wfi
  mrs x20, S3_0_C12_C12_2              /* ICC_HPPIR1_EL1 */
  check pmu_irq, 23
  mrs x20, pmovsset_el0
  check pmu_cycle_overflow, 0x80000000
  mov x0, #(1 << 31)
  msr pmovsclr_el0, x0
  mrs x20, isr_el1
  check pmu_irq_gone, 0
  finish

target:
  nop
  ret

/* ESR of the last exception to x20. */
esr:
  adr x19, saved
  ldr x20, [x19]
  ret
clear:
  adr x19, saved
  str xzr, [x19]
  ret

check_functions

/* Stores ESR, FAR, ELR. A step goes on with PSTATE.SS set; others skip the instruction. */
sync:
  stp x18, x19, [sp, #-16]!
  mrs x19, esr_el1
  lsr x18, x19, #26
  cmp x18, #0x33
  b.eq 1f
  adr x18, saved
  str x19, [x18]
  mrs x19, far_el1
  str x19, [x18, #8]
  mrs x19, elr_el1
  str x19, [x18, #16]
  add x19, x19, #4
  msr elr_el1, x19
  b 2f
1: adr x18, steps
  str x19, [x18, #8]
  ldr x19, [x18]
  add x19, x19, #1
  str x19, [x18]
  mrs x19, spsr_el1
  orr x19, x19, #(1 << 21)
  msr spsr_el1, x19
2: ldp x18, x19, [sp], #16
  eret

.ltorg
.balign 2048
vectors:
.rept 16
  .balign 128
  b sync
.endr

.balign 64
  .skip 16
data: .quad 0, 0, 0
saved: .quad 0, 0, 0
steps: .quad 0, 0
.balign 16
stack: .skip 4096
stack_top:
