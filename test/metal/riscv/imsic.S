/*
 * Bare-metal checks of Smaia and Ssaia with an IMSIC, and of the APLIC that sends messages to it: registers and who may access them, claims,
 * threshold, priorities, delegation and virtual interrupts. Machine virt,aia=aplic-imsic.
 */
#include "metal.inc"
#define SISELECT 0x150
#define SIREG 0x151
#define STOPEI 0x15c
#define STOPI 0xdb0
#define MVIEN 0x308
#define MVIP 0x309
#define MISELECT 0x350
#define MIREG 0x351
#define MTOPEI 0x35c
#define MTOPI 0xfb0
#define IMSIC_M 0x24000000
#define IMSIC_S 0x28000000
#define APLIC_M 0x0c000000
#define APLIC_S 0x0d000000
#define MSIP 0x2000000
#define EXTERNAL_M 0x800
#define SEI 0x200

/* An access that must raise an illegal-instruction exception. */
.macro illegal name, insn:vararg
  li s10, 0
  wide \insn
  mv s2, s10
  check \name, 2
.endm
/* A register behind miselect or siselect. */
.macro setreg select, reg, number, value
  li t0, \number
  csrw \select, t0
  li t0, \value
  csrw \reg, t0
.endm
.macro getreg select, reg, number
  li t0, \number
  csrw \select, t0
  csrr s2, \reg
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
  la t0, s_trap
  csrw stvec, t0
  li t0, -1
  csrw pmpaddr0, t0
  li t0, 0x1f
  csrw pmpcfg0, t0

  /* Which registers there are. */
  li t0, -1
  csrw MISELECT, t0
  csrr s2, MISELECT
  check miselect_holds_9_bits, 0x1ff
  illegal beyond_0xff, csrr s2, MIREG
  li t0, 0x2f
  csrw MISELECT, t0
  illegal reserved, csrr s2, MIREG
  li t0, 0x31
  csrw MISELECT, t0
  illegal odd_iprio, csrw MIREG, zero
  li t0, 0x81
  csrw MISELECT, t0
  illegal odd_eip, csrr s2, MIREG
  getreg MISELECT, MIREG, 0x71
  check reserved_of_imsic, 0
  illegal mtopi_is_read_only, csrw MTOPI, t0

  /* The machine's interrupt file. */
  setreg MISELECT, MIREG, 0xc0, -1
  getreg MISELECT, MIREG, 0xc0
  check no_identity_0, -2
  store IMSIC_M, 9
  store IMSIC_M, 5
  store (IMSIC_M + 4), 0x46000000
  getreg MISELECT, MIREG, 0x80
  check eip0, 0x220
  csrr s2, MTOPEI
  check mtopei, 0x50005
  csrr s2, mip
  check not_delivered, 0
  setreg MISELECT, MIREG, 0x70, 1
  csrr s2, mip
  check delivered, EXTERNAL_M
  csrr s2, MTOPI
  check mtopi_not_enabled, 0
  li t0, EXTERNAL_M
  csrw mie, t0
  csrr s2, MTOPI
  check mtopi, 0xb0005
  open mstatus, 8
  check external_trap, 0x800000000000000b
  csrrw s2, MTOPEI, zero
  check claim, 0x50005
  setreg MISELECT, MIREG, 0x72, 9
  csrr s2, MTOPEI
  check threshold, 0
  csrr s2, mip
  check threshold_line, 0
  csrw MTOPEI, zero
  setreg MISELECT, MIREG, 0x72, 10
  csrr s2, MTOPEI
  check below_threshold, 0x90009

  /* Priorities: software against external interrupt 9. */
  store MSIP, 1
  li t0, EXTERNAL_M | 8
  csrw mie, t0
  csrr s2, MTOPI
  check external_first, 0xb0009
  setreg MISELECT, MIREG, 0x30, 0x808080808080808
  getreg MISELECT, MIREG, 0x30
  check iprio0, 0x800080008000800
  csrr s2, MTOPI
  check software_first, 0x30008
  open mstatus, 8
  check software_trap, 0x8000000000000003
  setreg MISELECT, MIREG, 0x32, -1
  getreg MISELECT, MIREG, 0x32
  check iprio2, 0xff00
  setreg MISELECT, MIREG, 0x30, 0xa000000
  csrr s2, MTOPI
  check external_again, 0xb0009
  csrw MTOPEI, zero
  csrr s2, MTOPI
  check software_alone, 0x3000a
  setreg MISELECT, MIREG, 0x30, 0
  csrr s2, MTOPI
  check default_priority, 0x300ff
  store MSIP, 0
  csrr s2, MTOPI
  check nothing, 0

  /* The supervisor's, from S-mode. */
  li t0, SEI | 0x20 | 2
  csrw mideleg, t0
  setreg SISELECT, SIREG, 0xc0, 0xff00
  setreg SISELECT, SIREG, 0x70, 1
  jal to_s
  illegal mtopei_from_s, csrr s2, MTOPEI
  illegal mireg_from_s, csrr s2, MIREG
  store IMSIC_S, 12
  store IMSIC_S, 11
  csrr s2, STOPI
  check sie_clear, 0
  li t0, SEI
  csrw sie, t0
  csrr s2, STOPI
  check stopi, 0x9000b
  open sstatus, 2
  check supervisor_trap, 0x8000000000000009
  csrrw s2, STOPEI, zero
  check stopei, 0xb000b
  csrsi sip, 2
  csrsi sie, 2
  csrr s2, STOPI
  check external_before_software, 0x9000c
  setreg SISELECT, SIREG, 0x30, 0x100
  csrr s2, STOPI
  check software_before_external, 0x10001
  getreg SISELECT, SIREG, 0x32
  check no_priority_of_sei, 0
  csrci sip, 2
  csrw STOPEI, zero
  csrr s2, STOPI
  check nothing_for_s, 0
  jal to_m

  /* The APLIC: its source 10 is the serial port, delegated to S and sent as 14. */
  store (APLIC_M + 0x1bc0), (IMSIC_M >> 12)
  store (APLIC_M + 0x1bc8), (IMSIC_S >> 12)
  store (APLIC_M + 40), 0x400
  jal to_s
  store APLIC_S, 0x100
  store (APLIC_S + 40), 6
  store (APLIC_S + 0x3028), 14
  store (APLIC_S + 0x1edc), 10
  li t0, UART
  li t1, 2                             /* transmitter empty */
  sb t1, 1(t0)
1: csrr s2, STOPEI
  beqz s2, 1b
  li t0, UART
  sb zero, 1(t0)
  check serial_by_message, 0xe000e
  open sstatus, 2
  check message_trap, 0x8000000000000009
  csrw STOPEI, zero
  store (APLIC_S + 0x3000), 15
  csrrw s2, STOPEI, zero
  check genmsi, 0xf000f
  jal to_m

  /* Interrupts that M-mode passes on itself, as SEI is not delegated. */
  csrw mideleg, zero
  li t0, SEI | 2
  csrw MVIEN, t0
  csrr s2, MVIEN
  check mvien, SEI | 2
  csrw mie, zero
  csrr s2, sie
  check sie_of_its_own, 0
  jal to_s
  li t0, SEI
  csrw sie, t0
  csrr s2, STOPI
  check nothing_virtual, 0
  jal to_m
  csrr s2, mie
  check mie_untouched, 0
  li t0, SEI
  csrw MVIP, t0
  csrr s2, mip
  check mip_untouched, 0
  jal to_s
  csrr s2, STOPI
  check virtual_stopi, 0x900ff
  open sstatus, 2
  check virtual_trap, 0x8000000000000009
  jal to_m
  csrw MVIP, zero
  store IMSIC_S, 13
  csrr s2, mip
  check seip_of_the_imsic, SEI
  jal to_s
  illegal stopei_hidden, csrr s2, STOPEI
  li t0, 0x80
  csrw SISELECT, t0
  illegal sireg_hidden, csrr s2, SIREG
  getreg SISELECT, SIREG, 0x32
  check sireg_iprio, 0
  csrr s2, sip
  check sip_without_imsic, 0
  jal to_m
  li t0, SEI
  csrw mie, t0
  csrr s2, MTOPI
  check real_one_to_m, 0x900ff
  open mstatus, 8
  check sei_trap_to_m, 0x8000000000000009
  /* SSIP of mvip is one of its own. */
  csrw mie, zero
  csrw mip, zero
  csrwi MVIP, 2
  csrr s2, mip
  check mip_without_ssip, SEI
  csrr s2, sip
  check virtual_ssip, 2
  csrw MVIEN, zero
  csrr s2, MVIP
  check mvip_is_an_alias, 0
  csrwi mip, 2
  csrr s2, MVIP
  check mvip_shows_mip, 2
  finish

modes_here
m_trap_here
s_trap_here
puts_here

.balign 16
.space 4096
stack_top:
