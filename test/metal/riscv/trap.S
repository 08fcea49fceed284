/*
 * Bare-metal checks of RISC-V privilege: delegation, ECALL and SRET, sstatus with its FS and SUM, interrupts that a return or sstatus lets
 * in, counters. Prints "ok NAME" or "BAD NAME" for each, "done", and switches the machine off (test finisher).
 */
#include "metal.inc"

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

  /* The PLIC asserts SEIP for the serial port while another bit of mip is set: SEIP must not stay. */
  li t0, 0x0c000028                    /* priority of source 10 */
  li t1, 1
  sw t1, 0(t0)
  li t0, 0x0c002080                    /* enable for S-mode */
  li t1, 1 << 10
  sw t1, 0(t0)
  li t0, UART
  li t1, 2                             /* transmitter empty */
  sb t1, 1(t0)
1: csrr t1, mip
  andi t1, t1, 0x200
  beqz t1, 1b
  csrsi mip, 2
  csrci mip, 2
  sb zero, 1(t0)
  csrr s2, mip
  check seip_follows_line, 0
  li t0, 0x0c002080
  sw zero, 0(t0)

  li t0, 1 << 8
  csrw medeleg, t0
  li t0, 2
  csrw mideleg, t0
  li t0, 7
  csrw mcounteren, t0
  csrw scounteren, t0
  li t0, 1 << 11
  csrw mstatus, t0
  la t0, s_main
  csrw mepc, t0
  mret

s_main:
  csrr s2, sstatus
  check sstatus_initial, 0x200000000
  csrrsi s2, sstatus, 2
  check sie_was_clear, 0x200000000
  csrrci s2, sstatus, 2
  check sie_was_set, 0x200000002

  /* Floating-point registers that are only moved: illegal with FS Off; a store leaves FS Initial, a load makes it Dirty. */
  li s10, 0
  wide fsd f0, -16(sp)
  mv s2, s10
  check fsd_off, 2
  li t0, 0x2000
  csrs sstatus, t0
  wide fsd f0, -16(sp)
  csrr s2, sstatus
  check fsd_initial, 0x200002000
  wide fld f0, -16(sp)
  csrr s2, sstatus
  check fld_dirty, 0x8000000200006000
  li t0, 0x6000
  csrc sstatus, t0
  /* SUM by a register that was set in another block, and another bit in its place. */
  li s4, 1 << 18
  j 1f
1: csrs sstatus, s4
  csrr s2, sstatus
  check sum_set, 0x200040000
  csrc sstatus, s4
  li s4, 1 << 19
  j 1f
1: csrs sstatus, s4
  csrr s2, sstatus
  check mxr_set, 0x200080000
  csrc sstatus, s4
  csrr s2, sstatus
  check mxr_clear, 0x200000000
  li t0, 0x1234
  csrw sscratch, t0
  mv s3, t0
  li t0, 0x5678
  csrrw t0, sscratch, t0
  mv s2, t0
  check swap_gives_the_old, 0x1234
  csrr s2, sscratch
  check swap_sets_the_new, 0x5678
  li t0, -1
  csrw sepc, t0
  csrr s2, sepc
  check sepc_is_even, -2

  /* FS Dirty and SUM by a constant, by a register that is not one, and back. */
  li t0, 0x46000
  csrs sstatus, t0
  csrr s2, sstatus
  check fs_dirty_and_sum, 0x8000000200046000
  li t1, 0x4048000000000000
  fmv.d.x ft0, t1
  fadd.d ft1, ft0, ft0
  fmv.x.d s2, ft1
  check floating_point_in_s, 0x4058000000000000
  li t0, 0x46000
  csrrc s2, sstatus, t0
  check clear_gives_the_old, 0x8000000200046000
  csrr s2, sstatus
  check cleared, 0x200000000
  li s10, 0
  fmv.d.x ft0, t1
  mv s2, s10
  check fs_off_is_illegal, 2
  la t2, values
  ld s3, 0(t2)
  csrs sstatus, s3
  csrr s2, sstatus
  check set_by_register, 0x200042000
  csrc sstatus, s3
  csrr s2, sstatus
  check cleared_by_register, 0x200000000

  /* To U with FS Initial. */
  li s9, 0
  la t0, u_main
  csrw sepc, t0
  li t0, 0x2020
  csrw sstatus, t0
  sret

after_user:
  mv s2, s5
  check ecall_cause, 8
  mv s2, s6
  check ecall_status_fs_dirty_spie_clear, 0x8000000200006020
  mv s2, s7
  check ecall_address, 0
  mv s2, s8
  check floating_point_in_u, 0x4059000000000000
  mv s2, s4
  check time_runs, 1

  /* An interrupt that waits is taken on the way to U, before its first instruction. */
  csrw sstatus, zero
  csrsi sie, 2
  csrsi sip, 2
  li s9, 2
  la t0, u_waits
  csrw sepc, t0
  li s11, 0
  sret
u_waits:
  li s11, 1
  j .
after_interrupt:
  mv s2, s5
  check interrupt_cause, 0x8000000000000001
  mv s2, s7
  check interrupt_address, 0
  mv s2, s11
  check interrupt_before_the_first, 0

  /* And when sstatus.SIE is set in S. */
  csrw sstatus, zero
  csrsi sip, 2
  li s9, 3
  csrsi sstatus, 2
s_next:
  j .
after_enable:
  mv s2, s7
  check interrupt_after_enable, 0
  finish

u_main:
  rdtime s3
  li t1, 0x4049000000000000
  fmv.d.x ft0, t1
  fadd.d ft1, ft0, ft0
  fmv.x.d s8, ft1
1: rdtime s4
  beq s3, s4, 1b
  sltu s4, s3, s4
u_ecall:
  ecall
  j .

/* s9 tells what is expected: 0 ECALL, 2 interrupt on the way to U, 3 interrupt in S. s7 = sepc less the address expected. */
.balign 4
s_trap:
  csrr s5, scause
  csrr s6, sstatus
  csrr s7, sepc
  csrci sip, 2
  li t0, 2
  beq s9, t0, 2f
  bgtu s9, t0, 3f
  la t0, u_ecall
  sub s7, s7, t0
  j after_user
2: la t0, u_waits
  sub s7, s7, t0
  j after_interrupt
3: la t0, s_next
  sub s7, s7, t0
  j after_enable

m_trap_here
puts_here

.balign 8
values: .quad 0x42000
.balign 16
.space 4096
stack_top:
