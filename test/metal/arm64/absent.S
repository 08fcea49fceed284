/* A CPU without FEAT_PAuth and FEAT_BTI: nothing of them is advertised, hints do nothing, the rest is undefined. Prints as system.S does. */
#include "check.h"
#include "trap.h"

.macro undefined name, insn:vararg
  attempt
  \insn
1: bl esr
  check \name, 0x02000000
.endm

.text
.global _start
_start:
  adr x0, stack_top
  mov sp, x0
  adr x0, vectors
  msr vbar_el1, x0

  mrs x20, S3_0_C0_C6_1                /* ID_AA64ISAR1_EL1: GPI, GPA, API, APA */
  ldr x0, =0xff000ff0
  and x20, x20, x0
  check isar1, 0
  mrs x20, S3_0_C0_C6_2                /* ID_AA64ISAR2_EL1: APA3, GPA3 */
  and x20, x20, #0xff00
  check isar2, 0
  mrs x20, S3_0_C0_C4_1                /* ID_AA64PFR1_EL1.BT */
  and x20, x20, #15
  check pfr1, 0

  mrs x0, sctlr_el1
  ldr x1, =(3 << 35) | (1 << 31) | (1 << 30) | (1 << 27) | (1 << 13)
  orr x0, x0, x1
  msr sctlr_el1, x0
  isb
  mrs x20, sctlr_el1
  and x20, x20, x1
  check sctlr, 0

  attempt
  ldr x20, =0x40123458
  mov x30, x20
  bti
  bti c
  bti j
  bti jc
  paciasp
  pacibz
  autiasp
  xpaclri
  mov x17, x30
  pacib1716
1: mov x9, x17
  bl esr
  check hints, 0
  mov x20, x9
  check hints_value, 0x40123458

  undefined pacia, pacia x0, x1
  undefined autdzb, autdzb x0
  undefined xpacd, xpacd x0
  undefined pacga, pacga x0, x1, x2
  undefined ldraa, ldraa x0, [sp]
  undefined braa, braa x0, x1
  undefined blraaz, blraaz x0
  undefined retab, retab
  undefined eretaa, eretaa
  undefined key_read, mrs x0, APIAKeyLo_EL1
  undefined key_write, msr APGAKeyHi_EL1, x0
  finish

check_functions
trap_functions
trap_vectors
.balign 4096
stack: .skip 4096
stack_top:
