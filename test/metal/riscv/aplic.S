/*
 * Bare-metal checks of the APLIC that delivers directly: the serial port, priorities, threshold, delegation. The harts have no AIA then. Machine
 * virt,aia=aplic.
 */
#include "metal.inc"
#define APLIC_M 0x0c000000
#define APLIC_S 0x0d000000
#define IDC 0x4000
#define CLAIMI 0x401c
#define EXTERNAL_M 0x800
#define SEI 0x200

.macro load at
  li t0, \at
  lwu s2, 0(t0)
.endm
/* s2 = mip, once there is something in it. */
.macro await
5: csrr s2, mip
  beqz s2, 5b
.endm

.text
.global _start
_start:
  la sp, stack_top
  li t0, 0x2004000                     /* no timer interrupt in mip, whatever mtimecmp is after a reset */
  li t1, -1
  sd t1, 0(t0)
  la t0, m_trap
  csrw mtvec, t0
  li s10, 0
  wide csrr s2, 0xfb0
  mv s2, s10
  check mtopi_is_illegal, 2
  li s10, 0
  wide csrr s2, 0x351
  mv s2, s10
  check mireg_is_illegal, 2
  li t0, EXTERNAL_M | SEI
  csrw mie, t0

  /* Two sources that software makes pending. */
  store APLIC_M, 0x100
  load APLIC_M
  check domaincfg, 0x80000100
  store (APLIC_M + IDC), 1
  store (APLIC_M + 4 * 20), 1
  store (APLIC_M + 4 * 21), 1
  store (APLIC_M + 0x3000 + 4 * 20), 7
  store (APLIC_M + 0x3000 + 4 * 21), 3
  store (APLIC_M + 0x1e00), (3 << 20)
  store (APLIC_M + 0x1cdc), 20
  store (APLIC_M + 0x2000), 21
  load (APLIC_M + 0x1c00)
  check setip, (3 << 20)
  csrr s2, mip
  check meip, EXTERNAL_M
  open mstatus, 8
  check external_trap, 0x800000000000000b
  load (APLIC_M + CLAIMI)
  check first, (21 << 16) | 3
  store (APLIC_M + IDC + 8), 7
  csrr s2, mip
  check threshold, 0
  load (APLIC_M + CLAIMI)
  check nothing_above_it, 0
  store (APLIC_M + IDC + 8), 8
  load (APLIC_M + CLAIMI)
  check second, (20 << 16) | 7
  csrr s2, mip
  check claimed, 0

  /* The serial port is level-sensitive: a claim does not end it. */
  store (APLIC_M + 40), 6
  store (APLIC_M + 0x3028), 1
  store (APLIC_M + 0x1edc), 10
  li t0, UART
  li t1, 2                             /* transmitter empty */
  sb t1, 1(t0)
  /* What is printed ends its interrupt for a while. */
  await
  mv s3, s2
  load (APLIC_M + CLAIMI)
  mv s4, s2
  load (APLIC_M + CLAIMI)
  check serial_stays, (10 << 16) | 1
  mv s2, s3
  check serial, EXTERNAL_M
  mv s2, s4
  check serial_claim, (10 << 16) | 1

  /* Delegated it interrupts S, and M has it no more. */
  store APLIC_S, 0x100
  store (APLIC_S + IDC), 1
  store (APLIC_S + 40), 6
  load (APLIC_S + 40)
  check not_there_yet, 0
  await
  store (APLIC_M + 40), 0x400
  csrr s2, mip
  check gone_from_m, 0
  store (APLIC_S + 40), 6
  store (APLIC_S + 0x3028), 5
  store (APLIC_S + 0x1edc), 10
  await
  check seip, SEI
  await
  open mstatus, 8
  check sei_trap, 0x8000000000000009
  await
  load (APLIC_S + CLAIMI)
  check supervisor_claim, (10 << 16) | 5
  li t0, UART
  sb zero, 1(t0)
  csrr s2, mip
  check level_gone, 0
  finish

m_trap_here
puts_here

.balign 16
.space 4096
stack_top:
