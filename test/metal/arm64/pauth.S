/*
 * Bare-metal checks of FEAT_PAuth and FEAT_PAuth2 with an implementation-defined algorithm: what holds for any. Prints as system.S does.
 */
#include "check.h"
#include "trap.h"

.equ EN_ALL, (1 << 31) | (1 << 30) | (1 << 27) | (1 << 13)

/* x20 = 1 if the registers differ. */
.macro differ a, b
  cmp \a, \b
  cset x20, ne
.endm
.macro set_tcr value
  ldr x9, =\value
  msr tcr_el1, x9
  isb
.endm
/* 39 bits in both halves, 4 KiB granule, 40 bits of physical addresses. */
.equ TCR, (25 | (25 << 16) | (2 << 30)) | (2 << 32)
.equ TBI0, 1 << 37
.equ TBI1, 1 << 38
.equ TBID0, 1 << 51

/* Signs x9 with modifier x1, checks that the bits of `keep` are as they were and that authentication gives it back, with another modifier it does not. */
.macro round_trip name, key, keep
  mov x2, x9
  pac\key x2, x1
  differ x2, x9
  check \name\()_signed, 1
  eor x3, x2, x9
  ldr x4, =\keep
  and x20, x3, x4
  check \name\()_kept, 0
  mov x3, x2
  aut\key x3, x1
  eor x20, x3, x9
  check \name\()_authenticated, 0
  mov x3, x2
  add x5, x1, #16
  aut\key x3, x5
  differ x3, x9
  check \name\()_other_modifier, 1
.endm

.text
.global _start
_start:
  adr x9, stack_top
  mov sp, x9
  adr x9, vectors
  msr vbar_el1, x9

  mrs x20, S3_0_C0_C6_1                /* ID_AA64ISAR1_EL1: GPI, GPA, API, APA */
  and x20, x20, #0xf0
  check no_apa, 0
  mrs x20, S3_0_C0_C6_1
  ubfx x20, x20, #28, #4
  check gpi, 1

  /* An identity map, addresses of 39 bits in either half. */
  adr x1, l1
  ldr x2, =0x00000000 | 0x405
  str x2, [x1]
  ldr x2, =0x40000000 | 0x701
  str x2, [x1, #8]
  mov x9, #0xff
  msr mair_el1, x9
  set_tcr TCR
  msr ttbr0_el1, x1
  msr ttbr1_el1, x1
  isb
  mrs x9, sctlr_el1
  orr x9, x9, #1
  msr sctlr_el1, x9
  isb

  /* --- keys --- */
  ldr x9, =0x0123456789abcdef
  ldr x1, =0xfedcba9876543210
  msr APIAKeyLo_EL1, x9
  msr APIAKeyHi_EL1, x1
  add x9, x9, #0x55
  msr APIBKeyLo_EL1, x9
  msr APIBKeyHi_EL1, x1
  add x9, x9, #0x55
  msr APDAKeyLo_EL1, x9
  msr APDAKeyHi_EL1, x1
  add x9, x9, #0x55
  msr APDBKeyLo_EL1, x9
  msr APDBKeyHi_EL1, x1
  add x9, x9, #0x55
  msr APGAKeyLo_EL1, x9
  msr APGAKeyHi_EL1, x1
  isb
  mrs x20, APIAKeyLo_EL1
  check key_low, 0x0123456789abcdef
  mrs x20, APGAKeyHi_EL1
  check key_high, 0xfedcba9876543210

  /* --- switched off, the instructions do nothing; PACGA and XPAC have no switch --- */
  ldr x9, =0x40123458
  mov x1, #0x1230
  mov x20, x9
  pacia x20, x1
  check off_pacia, 0x40123458
  mov x20, x9
  autdb x20, x1
  check off_autdb, 0x40123458
  mov x30, x9
  paciasp
  mov x20, x30
  check off_paciasp, 0x40123458
  pacga x2, x9, x1
  differ x2, xzr
  check off_pacga, 1
  ldr x20, =0x0035000040123458
  xpaci x20
  check off_xpaci, 0x40123458

  mrs x9, sctlr_el1
  ldr x2, =EN_ALL
  orr x9, x9, x2
  msr sctlr_el1, x9
  isb
  mrs x20, sctlr_el1
  and x20, x20, x2
  check sctlr_enables, EN_ALL

  /* --- round trips: no tags, so that the code has the top byte too; bit 55 and the address itself stay --- */
  ldr x9, =0x40123458
  ldr x1, =0x7ffff0
  round_trip ia, ia, 0x0080007fffffffff
  round_trip ib, ib, 0x0080007fffffffff
  round_trip da, da, 0x0080007fffffffff
  round_trip db, db, 0x0080007fffffffff
  ldr x9, =0xffffff8040123458
  round_trip upper_ia, ia, 0x0080007fffffffff
  round_trip upper_db, db, 0x0080007fffffffff

  /* Keys, addresses and modifiers make a difference. */
  ldr x9, =0x40123458
  mov x2, x9
  pacia x2, x1
  mov x3, x9
  pacib x3, x1
  differ x2, x3
  check keys_differ, 1
  mov x3, x2
  autib x3, x1
  differ x3, x9
  check other_key, 1
  mov x3, x9
  add x4, x1, #16
  pacia x3, x4
  differ x2, x3
  check modifiers_differ, 1
  add x3, x9, #4
  pacia x3, x1
  eor x3, x3, x2
  lsr x3, x3, #39
  differ x3, xzr
  check addresses_differ, 1
  mov x3, x9
  pacia x3, x1
  differ x2, x3
  check deterministic, 0
  mrs x4, APIAKeyHi_EL1
  eor x5, x4, #0x10000
  msr APIAKeyHi_EL1, x5
  isb
  mov x3, x9
  pacia x3, x1
  msr APIAKeyHi_EL1, x4
  isb
  differ x2, x3
  check key_high_matters, 1
  mrs x4, APIAKeyLo_EL1
  eor x5, x4, #1
  msr APIAKeyLo_EL1, x5
  isb
  mov x3, x9
  pacia x3, x1
  msr APIAKeyLo_EL1, x4
  isb
  differ x2, x3
  check key_low_matters, 1

  /* Zero as modifier; the stack pointer. */
  mov x2, x9
  paciza x2
  mov x3, x9
  mov x4, #0
  pacia x3, x4
  differ x2, x3
  check paciza, 0
  mov x3, x2
  autiza x3
  eor x20, x3, x9
  check autiza, 0
  mov x2, x9
  pacdzb x2
  autdzb x2
  eor x20, x2, x9
  check autdzb, 0
  mov x2, x9
  pacia x2, sp
  mov x3, x9
  mov x4, sp
  pacia x3, x4
  differ x2, x3
  check modifier_sp, 0
  mov x30, x9
  paciasp
  differ x30, x2
  check paciasp, 0
  mov x30, x9
  paciasp
  autiasp
  eor x20, x30, x9
  check autiasp, 0
  mov x30, x9
  pacibz
  differ x30, x9
  check pacibz, 1
  mov x30, x9
  pacibz
  autibz
  eor x20, x30, x9
  check autibz, 0
  mov x17, x9
  mov x16, x1
  pacia1716
  mov x2, x9
  pacia x2, x1
  differ x17, x2
  check pacia1716, 0
  autia1716
  eor x20, x17, x9
  check autia1716, 0
  mov x17, x9
  pacib1716
  autib1716
  eor x20, x17, x9
  check autib1716, 0

  /* XPAC. */
  mov x20, x2
  xpaci x20
  check xpaci, 0x40123458
  mov x30, x2
  xpaclri
  mov x20, x30
  check xpaclri, 0x40123458
  ldr x20, =0xffffff8040123458
  pacda x20, x1
  xpacd x20
  check xpacd_upper, 0xffffff8040123458
  ldr x20, =0x1280007040123458
  xpacd x20
  check xpacd_bits, 0xfffffff040123458

  /* An address that is none, without tags: bit 63 chooses the half, and bit 55 says so from then on. */
  ldr x9, =0xff00000040123458
  mov x20, x9
  pacia x20, x1
  ubfx x20, x20, #55, #1
  check bit55_set, 1
  ldr x9, =0x00ffff8040123458
  mov x20, x9
  pacdb x20, x1
  ubfx x20, x20, #55, #1
  check bit55_clear, 0

  /* --- tags in the lower half: the top byte is no code's, for data and for instructions --- */
  set_tcr TCR + TBI0
  ldr x9, =0x5a00000040123458
  round_trip tagged_ia, ia, 0xff80007fffffffff
  round_trip tagged_da, da, 0xff80007fffffffff
  mov x20, x9
  xpaci x20
  check tagged_xpaci, 0x5a00000040123458
  ldr x9, =0xffffff8040123458
  round_trip untagged_upper, ia, 0x0080007fffffffff
  /* Bit 55 chooses the half where either has tags. */
  ldr x9, =0xff00000040123458
  mov x20, x9
  pacia x20, x1
  ubfx x20, x20, #55, #1
  check bit55_kept, 0
  /* TBID0: tags are for data alone. */
  set_tcr TCR + TBI0 + TBID0
  ldr x9, =0x40123458
  round_trip tbid_ia, ia, 0x0080007fffffffff
  ldr x9, =0x5a00000040123458
  round_trip tbid_da, da, 0xff80007fffffffff
  mov x20, x9
  xpaci x20
  check tbid_xpaci, 0x40123458
  attempt
  adr x2, code
  orr x2, x2, #(1 << 60)
  br x2
1: bl esr
  check tbid_branch, 0x86000004
  set_tcr TCR + TBI0
  attempt
  adr x2, code
  orr x2, x2, #(1 << 60)
  blr x2
1: bl esr
  check tbi_branch, 0
  set_tcr TCR

  /* --- branches --- */
  adr x9, code
  mov x1, #0x770
  pacia x9, x1
  attempt
  mov x28, #0
  blraa x9, x1
  mov x28, #1
1: bl esr
  check blraa, 0
  mov x20, x28
  check blraa_back, 1
  attempt
  adr x9, code
  mov x3, sp
  pacib x9, x3
  blrab x9, sp
1: bl esr
  check blrab_sp, 0
  attempt
  adr x9, code
  paciza x9
  blraaz x9
1: bl esr
  check blraaz, 0
  attempt
  adr x30, 1f
  adr x9, code
  pacib x9, x1
  brab x9, x1
1: bl esr
  check brab, 0
  attempt
  adr x30, 1f
  adr x9, code
  pacizb x9
  brabz x9
1: bl esr
  check brabz, 0
  attempt
  bl signed_a
1: bl esr
  check retaa, 0
  attempt
  bl signed_b
1: bl esr
  check retab, 0

  /* --- loads --- */
  adr x9, words
  pacdza x9
  ldraa x20, [x9]
  check ldraa, 0x1111
  ldraa x20, [x9, #16]
  check ldraa_offset, 0x3333
  ldraa x20, [x9, #8]!
  check ldraa_writeback, 0x2222
  adr x1, words
  sub x20, x9, x1
  check ldraa_base, 8
  adr x9, words
  add x9, x9, #16
  pacdzb x9
  ldrab x20, [x9, #-16]
  check ldrab, 0x1111

  /* --- PACGA --- */
  mov x9, #0x1234
  mov x1, #0x5678
  pacga x2, x9, x1
  mov w20, w2
  check pacga_low, 0
  pacga x3, x1, x9
  differ x2, x3
  check pacga_order, 1
  add x4, x1, #1
  pacga x3, x9, x4
  differ x2, x3
  check pacga_modifier, 1
  mov x4, sp
  pacga x2, x9, sp
  pacga x3, x9, x4
  differ x2, x3
  check pacga_sp, 0

  /* --- exception returns; EL0 has the same keys but cannot read them --- */
  attempt
  adr x9, 1f
  mov x1, sp
  pacia x9, x1
  msr elr_el1, x9
  mov x9, #0x3c5
  msr spsr_el1, x9
  mov x28, #0
  eretaa
  mov x28, #1
1: bl esr
  check eretaa, 0
  mov x20, x28
  check eretaa_went, 0
  attempt
  adr x9, user
  mov x1, sp
  pacib x9, x1
  msr elr_el1, x9
  msr spsr_el1, xzr
  ldr x9, =0x40123458
  mov x1, #0x770
  mov x2, x9
  pacia x2, x1
  eretab
1: bl esr
  check el0_svc, 0x56000009
  differ x2, x3
  check el0_same, 0
  attempt
  adr x9, user_key
  msr elr_el1, x9
  msr spsr_el1, xzr
  eret
1: bl esr
  check el0_key, 0x02000000

  /* --- one key off --- */
  mrs x9, sctlr_el1
  bic x9, x9, #(1 << 31)
  msr sctlr_el1, x9
  isb
  ldr x9, =0x40123458
  mov x20, x9
  pacia x20, x1
  check ia_off, 0x40123458
  mov x2, x9
  pacib x2, x1
  differ x2, x9
  check ib_on, 1
  ldr x20, =0xff00000040123458         /* not even bit 55 */
  pacia x20, x1
  check ia_off_bits, 0xff00000040123458

  /* --- what fails leads to no address: FEAT_PAuth2 without FEAT_FPAC --- */
  mrs x9, sctlr_el1
  orr x9, x9, #(1 << 31)
  msr sctlr_el1, x9
  isb
  mrs x20, S3_0_C0_C6_1
  ubfx x20, x20, #8, #4
  check api, 3
  attempt
  adr x9, code
  mov x1, #0x770
  pacia x9, x1
  add x1, x1, #16
  blraa x9, x1
1: bl esr
  check blraa_fails, 0x86000004
  attempt
  bl signed_wrong
1: bl esr
  check retaa_fails, 0x86000004
  adr x9, words
  pacdzb x9
  attempt
  ldraa x20, [x9]
1: bl esr
  check ldraa_fails, 0x96000004
  ldr x9, =0x40123458
  mov x2, x9
  pacia x2, x1
  eor x3, x2, #(1 << 50)               /* one bit of the code: that bit of the result */
  autia x3, x1
  eor x20, x3, x9
  check autia_bit, 0x4000000000000

  finish

code: ret
signed_a:
  paciasp
  stp x29, x30, [sp, #-16]!
  mov x30, #0
  ldp x29, x30, [sp], #16
  retaa
signed_b:
  pacibsp
  retab
signed_wrong:
  pacibsp
  retaa
user:
  mov x3, x9
  pacia x3, x1
  svc #9
user_key:
  mrs x9, APIAKeyLo_EL1
  svc #10

check_functions
trap_functions
trap_vectors
.balign 16
words: .quad 0x1111, 0x2222, 0x3333
.balign 4096
l1: .skip 4096
stack: .skip 4096
stack_top:
