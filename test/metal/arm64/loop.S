/*
 * A hot loop over a page, and what the page's address means changes: code that was compiled for the loop must not go on with the old page.
 */
#include "check.h"
#define VA 0x80000000
#define ROUNDS 12
#define PASSES 256

.text
.global _start
_start:
  adr x0, stack_top
  mov sp, x0
  /* Page A holds 3 i + 1, page B 5 i + 2. */
  ldr x1, =page_a
  ldr x2, =page_b
  mov x3, #0
1: add x4, x3, x3, lsl #1
  add x4, x4, #1
  str x4, [x1], #8
  add x4, x3, x3, lsl #2
  add x4, x4, #2
  str x4, [x2], #8
  add x3, x3, #1
  cmp x3, #512
  b.ne 1b
  /* Blocks of 1 GiB where they are, devices and memory; VA through two more tables. */
  ldr x0, =root
  mov x1, #0x405                       /* AF, AttrIndx 1 */
  str x1, [x0]
  ldr x1, =0x40000701                  /* AF, inner shareable, AttrIndx 0 */
  str x1, [x0, #8]
  ldr x1, =middle
  orr x1, x1, #3
  str x1, [x0, #16]
  ldr x1, =middle
  ldr x2, =last
  orr x2, x2, #3
  str x2, [x1]
  ldr x0, =page_a
  bl map
  mov x0, #0xff                        /* normal; Device-nGnRnE */
  msr mair_el1, x0
  ldr x0, =(25 | (1 << 23) | (2 << 32))
  msr tcr_el1, x0
  ldr x0, =root
  msr ttbr0_el1, x0
  isb
  mrs x0, sctlr_el1
  orr x0, x0, #1
  msr sctlr_el1, x0
  isb

  ldr x24, =392960 * PASSES
  bl rounds
  check page_a, 0
  ldr x0, =page_b
  bl map
  ldr x0, =VA >> 12
  tlbi vae1, x0
  dsb sy
  isb
  ldr x24, =655104 * PASSES
  bl rounds
  check page_b, 0
  ldr x0, =page_a
  bl map
  tlbi vmalle1
  dsb sy
  isb
  ldr x24, =392960 * PASSES
  bl rounds
  check page_a_again, 0
  finish

/* Maps VA to the page at x0. */
map:
  ldr x1, =0x703
  orr x0, x0, x1
  ldr x1, =last
  str x0, [x1]
  dsb sy
  ret

/* Sums the page up PASSES times, ROUNDS times over, each time with the timer set, which has the machine look up. x20 = how often the sum was not x24. */
rounds:
  mov x25, x30
  mov x20, #0
  mov x23, #ROUNDS
1: mrs x0, cntfrq_el0
  mov x1, #10000
  udiv x0, x0, x1
  msr cntv_tval_el0, x0
  mov x0, #1
  msr cntv_ctl_el0, x0
  isb
  bl sum
  cmp x0, x24
  cinc x20, x20, ne
  subs x23, x23, #1
  b.ne 1b
  ret x25

.balign 64
sum:
  mov x0, #0
  mov x1, #PASSES
1: ldr x2, =VA
  mov x3, #512
2: ldr x4, [x2], #8
  add x0, x0, x4
  subs x3, x3, #1
  b.ne 2b
  subs x1, x1, #1
  b.ne 1b
  ret

check_functions
.ltorg
.balign 4096
root: .space 4096
middle: .space 4096
last: .space 4096
page_a: .space 4096
page_b: .space 4096
.space 4096
stack_top:
