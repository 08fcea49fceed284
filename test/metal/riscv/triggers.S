/*
 * Bare-metal checks of debug triggers (Sdtrig): address match on execution, loads and stores, sizes and ranges, instruction counts, and in which modes they strike.
 */
#include "metal.inc"
#define TCONTROL 0x7a5
#define MCONTROL (2 << 60)
#define ICOUNT (3 << 60)
#define MCONTROL6 (6 << 60)
#define DISABLED (15 << 60)
#define HIT0 (1 << 22)
#define M 0x40
#define S 0x10
#define U 8
#define EXECUTE 4
#define STORE 2
#define LOAD 1
#define MATCH(n) ((n) << 7)
#define SIZE(n) ((n) << 16)
#define COUNT(n) ((n) << 10)
#define M_COUNT 0x200
#define U_COUNT 0x40

.macro trigger number, data, address
  csrwi tselect, \number
  li t0, \data
  csrw tdata1, t0
  lla t0, \address
  csrw tdata2, t0
.endm
.macro none
  csrwi tselect, 0
  csrw tdata1, zero
  csrwi tselect, 1
  csrw tdata1, zero
.endm
/* An instruction of four bytes that strikes, with tval (at address + offset); in M-mode. */
.macro strikes name, address, offset, insn:vararg
  li s10, 0
  csrsi mstatus, 8
1: wide \insn
  csrci mstatus, 8
  la t0, 1b
  sub s3, s3, t0
  lla t0, \address + \offset
  sub s4, s4, t0
  or s2, s3, s4
  slli s2, s2, 8
  or s2, s2, s10
  check \name, 3
.endm
.macro passes name, insn:vararg
  li s10, 0
  csrsi mstatus, 8
  wide \insn
  csrci mstatus, 8
  mv s2, s10
  check \name, 0
.endm

.text
.global _start
_start:
  la sp, stack_top
  la t0, m_trap
  csrw mtvec, t0
  la t0, s_trap
  csrw stvec, t0
  li t0, -1
  csrw pmpaddr0, t0
  li t0, 0x1f
  csrw pmpcfg0, t0
  la s5, data
  la s6, page

  csrwi tselect, 7
  csrr s2, tselect
  check four_triggers, 3
  csrr s2, tdata1
  check disabled, DISABLED
  csrr s2, tinfo
  check tinfo, 0x100804c
  li s10, 0
  wide csrr s2, TCONTROL
  mv s2, s10
  check no_tcontrol, 2
  li t0, 5 << 60
  csrw tdata1, t0
  csrr s2, tdata1
  check unknown_type, DISABLED
  li t0, MCONTROL6 | 0xfffffff
  csrw tdata1, t0
  csrr s2, tdata1
  check fields_of_mcontrol6, MCONTROL6 | HIT0 | M | S | U | 7
  csrw tdata1, zero

  /* Execution: with MIE only, and before the instruction. */
  trigger 0, MCONTROL6 | M | EXECUTE, 1f
  li s10, 0
  li s2, 0
  nop
1: addi s2, s2, 1
  or s2, s2, s10
  check not_without_mie, 1
  trigger 0, MCONTROL6 | M | EXECUTE, 2f
  li s10, 0
  li s2, 0
  csrsi mstatus, 8
2: wide addi s2, s2, 1
  csrci mstatus, 8
  or s2, s2, s10
  check execute, 3
  la t0, 2b
  sub s2, s3, t0
  sub s4, s4, t0
  or s2, s2, s4
  check execute_address, 0
  csrr s2, tdata1
  check hit0, MCONTROL6 | HIT0 | M | EXECUTE
  none

  /* Loads and stores. */
  sd zero, 0(s5)
  trigger 0, MCONTROL6 | M | LOAD, data
  strikes load, data, 0, lw s2, 0(s5)
  passes store_is_no_load, sw zero, 0(s5)
  passes next_word, lw s2, 4(s5)
  strikes misaligned_load, data, -3, lw s2, -3(s5)
  strikes load_reserved, data, 0, lr.d s2, (s5)
  passes store_conditional, sc.d s2, zero, (s5)
  trigger 0, MCONTROL6 | M | STORE, data
  li t1, 7
  strikes store, data, 0, sd t1, 0(s5)
  ld s2, 0(s5)
  check not_stored, 0
  strikes byte_store, data, 0, sb t1, 0(s5)
  strikes atomic, data, 0, amoadd.d s2, t1, (s5)
  strikes store_conditional, data, 0, sc.d s2, t1, (s5)
  ld s2, 0(s5)
  check nothing_stored, 0
  strikes cbo_zero, data, 0, .insn i 0x0f, 2, zero, s5, 4
  trigger 0, MCONTROL6 | M | STORE | LOAD | SIZE(3), data
  passes other_size, ld s2, 0(s5)
  strikes the_size, data, 0, lw s2, 0(s5)
  trigger 0, MCONTROL | M | LOAD | (1 << 21) | SIZE(1), data
  csrr s2, tdata1
  check mcontrol, MCONTROL | M | LOAD | (1 << 21) | SIZE(1)
  passes mcontrol_other_size, lw s2, 0(s5)
  strikes mcontrol_size, data, 0, ld s2, 0(s5)

  /* Across pages, and ranges. */
  trigger 0, MCONTROL6 | M | LOAD, page
  strikes second_page, page, -4, ld s2, -4(s6)
  passes first_page, lw s2, -4(s6)
  trigger 0, MCONTROL6 | M | LOAD | MATCH(1), page + 0x1f
  strikes napot_first, page, 0, lb s2, 0(s6)
  strikes napot_last, page, 63, lb s2, 63(s6)
  passes napot_beyond, lb s2, 64(s6)
  passes napot_before, lb s2, -1(s6)
  trigger 0, MCONTROL6 | M | LOAD | MATCH(2), page
  strikes at_least, page, 0, lb s2, 0(s6)
  passes less, lb s2, -1(s6)
  trigger 0, MCONTROL6 | M | LOAD | MATCH(3), data + 1
  strikes below, data, 0, lb s2, 0(s5)
  passes not_below, lb s2, 1(s5)
  /* An element of a vector. */
  trigger 0, MCONTROL6 | M | LOAD, data + 16
  li t0, 0x200
  csrs mstatus, t0
  .option push
  .option arch, +v
  vsetivli zero, 4, e64, m2, ta, ma
  strikes vector_element, data, 16, vle64.v v2, (s5)
  csrr s2, vstart
  .option pop
  check vstart, 2
  csrwi 0x008, 0
  li t0, 0x600
  csrc mstatus, t0
  trigger 0, MCONTROL6 | M | LOAD | MATCH(3), data + 1
  /* The second trigger strikes too. */
  trigger 1, MCONTROL6 | M | LOAD, page + 8
  strikes second_trigger, page, 8, ld s2, 8(s6)
  strikes first_trigger, data, 0, ld s2, 0(s5)
  none

  /* The count of M: two instructions after the one that lets it. */
  csrwi tselect, 0
  li t0, ICOUNT | COUNT(3) | M_COUNT
  csrw tdata1, t0
  li s10, 0
  csrsi mstatus, 8
  wide nop
  wide nop
  wide nop
3: wide nop
  csrci mstatus, 8
  la t0, 3b
  sub s3, s3, t0
  or s2, s3, s4
  slli s2, s2, 8
  or s2, s2, s10
  check count, 3
  csrr s2, tdata1
  check count_struck, ICOUNT | (1 << 24) | M_COUNT
  none

  /* S and U: breakpoints are S's. */
  li t0, 1 << 3
  csrw medeleg, t0
  trigger 0, MCONTROL6 | S | U | LOAD, data
  passes not_in_m, lw s2, 0(s5)
  jal to_s
  li s10, 0
  wide lw s2, 0(s5)
  mv s2, s10
  check without_sie, 3
  li s10, 0
  csrsi sstatus, 2
  wide lw s2, 0(s5)
  csrci sstatus, 2
  mv s2, s10
  check in_s, 3
  jal to_m
  trigger 0, MCONTROL6 | U | EXECUTE, spot
  jal to_s
  li s10, 0
  jal spot
  mv s2, s10
  check not_in_s, 0
  jal to_u
  li s10, 0
  jal spot
  mv s11, s10
  jal to_m
  mv s2, s11
  check in_u, 3
  none
  /* The count of U goes on behind a trap into M, and strikes in U. */
  csrwi tselect, 0
  li t0, ICOUNT | COUNT(2) | U_COUNT
  csrw tdata1, t0
  li s10, 0
  jal to_s
  jal to_u
5: wide nop
  wide .word 0xffffffff                /* illegal: to M, and behind it */
6: wide nop
  mv s11, s10
  jal to_m
  la t0, 6b
  sub s3, s3, t0
  or s2, s3, s4
  check count_in_u, 0
  mv s2, s11
  check count_cause, 3
  finish

spot:
  wide nop
  ret

modes_here
m_trap_here
s_trap_here
puts_here

.balign 4096
.space 2048
data: .space 2048
page: .space 4096
stack_top:
