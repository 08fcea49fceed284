# Rules of CR0, CR4, XCR0 and the control words for x87, MMX, SSE and AVX (SDM vol. 3, 2.5, 6.15, chapters 12 to 14;
# vol. 1, chapters 8, 10, 13).
.set BITS, 64
.include "runtime.S"
.set MP, 2
.set EM, 4
.set TSF, 8
.set NE, 0x20
.set OSFXSR, 0x200
.set OSXMMEXCPT, 0x400
.set OSXSAVE, 0x40000
# CR0 with these of MP, EM, TS, NE.
.macro CR0_IS bits
  movq %cr0, %rax
  andl $~(MP | EM | TSF | NE), %eax
  orl $(\bits), %eax
  movq %rax, %cr0
.endm
.macro CR4_IS bits
  movq %cr4, %rax
  andl $~(OSFXSR | OSXMMEXCPT | OSXSAVE), %eax
  orl $(\bits), %eax
  movq %rax, %cr4
.endm
.macro XCR0_IS bits
  xorl %ecx, %ecx
  xorl %edx, %edx
  movl $(\bits), %eax
  xsetbv
.endm
main:
  # ---- #NM and #UD
  CR0_IS NE
  CR4_IS OSFXSR | OSXMMEXCPT
  FINE "x87", "fninit; fld1; fstp %st(0)"
  FINE "MMX", "pxor %mm0, %mm0; emms"
  FINE "SSE", "xorps %xmm0, %xmm0"
  CR0_IS NE | TSF
  RAISES1 "TS: x87", NM, 0, "fld1"
  RAISES1 "TS: FNINIT", NM, 0, "fninit"
  RAISES1 "TS: FNSTSW", NM, 0, "fnstsw %ax"
  RAISES1 "TS: MMX", NM, 0, "pxor %mm0, %mm0"
  RAISES1 "TS: EMMS", NM, 0, "emms"
  RAISES1 "TS: SSE", NM, 0, "xorps %xmm0, %xmm0"
  RAISES1 "TS: LDMXCSR", NM, 0, "ldmxcsr mxcsr_default"
  RAISES1 "TS: FXSAVE", NM, 0, "fxsave area"
  FINE "TS: PREFETCH, SFENCE, MOVNTI", "prefetchnta area; sfence; movnti %eax, area"
  FINE "TS without MP: FWAIT", "fwait"
  CR0_IS NE | TSF | MP
  RAISES1 "TS and MP: FWAIT", NM, 0, "fwait"
  CR0_IS NE | MP
  FINE "MP without TS: FWAIT", "fwait"
  CR0_IS NE | EM
  RAISES1 "EM: x87", NM, 0, "fld1"
  RAISES1 "EM: MMX", UD, 0, "pxor %mm0, %mm0"
  RAISES1 "EM: SSE", UD, 0, "xorps %xmm0, %xmm0"
  RAISES1 "EM: FXSAVE", NM, 0, "fxsave area"
  CR0_IS NE | EM | TSF
  RAISES1 "EM and TS: MMX is #UD", UD, 0, "pxor %mm0, %mm0"
  RAISES1 "EM and TS: SSE is #UD", UD, 0, "xorps %xmm0, %xmm0"
  RAISES1 "EM and TS: x87 is #NM", NM, 0, "fld1"
  CR0_IS NE
  CR4_IS OSXMMEXCPT
  RAISES1 "no OSFXSR: SSE", UD, 0, "xorps %xmm0, %xmm0"
  RAISES1 "no OSFXSR: SSE2 integer", UD, 0, "paddd %xmm0, %xmm0"
  RAISES1 "no OSFXSR: LDMXCSR", UD, 0, "ldmxcsr mxcsr_default"
  FINE "no OSFXSR: MMX", "pxor %mm0, %mm0; emms"
  FINE "no OSFXSR: FXSAVE", "fxsave area"
  FINE "no OSFXSR: SFENCE, MOVNTI", "sfence; movnti %eax, area"
  CR4_IS OSFXSR | OSXMMEXCPT
  FINE "CLTS", "clts"
  CR0_IS NE | TSF
  FINE "CLTS, then x87", "clts; fld1; fstp %st(0)"
  U_RAISES "CLTS in ring 3", GP, 0, "clts"

  # ---- #MF
  FINE "masked division by zero", "fninit; fld1; fldz; fdivrp; fwait"
  fnclex
  fninit
  # Unmask the zero divide exception: it comes with the next waiting instruction.
  FINE "unmasked division by zero: not yet", "fldcw cw_zero; fld1; fldz; fdivrp %st, %st(1)"
  fnstsw %ax
  movzwl %ax, %eax
  andl $0x8084, %eax
  EQ "its status: B, ES, ZE", %eax, $0x8084
  RAISES1 "#MF at FWAIT", MF, 0, "fwait"
  RAISES1 "#MF at the next x87 instruction", MF, 0, "fld1"
  RAISES1 "#MF at MMX", MF, 0, "pxor %mm0, %mm0"
  FINE "FNSTSW does not wait", "fnstsw %ax"
  FINE "FNSTENV does not wait", "fnstenv area"
  FINE "SSE does not wait", "xorps %xmm0, %xmm0"
  FINE "FNCLEX clears it", "fnclex; fwait"
  fninit
  # FLDCW that unmasks a recorded exception.
  FINE "recorded while masked", "fld1; fldz; fdivrp %st, %st(1); fldcw cw_zero"
  RAISES1 "unmasked afterwards: #MF", MF, 0, "fwait"
  fninit

  # ---- #XM
  ldmxcsr mxcsr_default
  movl $0x3f800000, %eax
  movd %eax, %xmm0
  xorps %xmm1, %xmm1
  FINE "SSE, masked", "divss %xmm1, %xmm0"
  stmxcsr area
  movl area, %eax
  EQ "MXCSR: ZE", %eax, $0x1f84
  ldmxcsr mxcsr_zero
  movl $0x3f800000, %eax
  movd %eax, %xmm0
  RAISES1 "SSE, unmasked", XM, 0, "divss %xmm1, %xmm0"
  movd %xmm0, %eax
  EQ "destination unchanged", %eax, $0x3f800000
  stmxcsr area
  movl area, %eax
  EQ "MXCSR: flag set", %eax, $0x1d84
  ldmxcsr mxcsr_zero
  CR4_IS OSFXSR
  RAISES1 "SSE, unmasked, no OSXMMEXCPT", UD, 0, "divss %xmm1, %xmm0"
  CR4_IS OSFXSR | OSXMMEXCPT
  ldmxcsr mxcsr_default
  RAISES1 "LDMXCSR: reserved bit", GP, 0, "ldmxcsr mxcsr_bad"
  # ---- alignment
  RAISES1 "MOVAPS: misaligned", GP, 0, "movaps area+8, %xmm0"
  RAISES1 "MOVAPS: misaligned, store", GP, 0, "movaps %xmm0, area+1"
  RAISES1 "ADDPS: misaligned", GP, 0, "addps area+4, %xmm0"
  FINE "MOVUPS: misaligned", "movups area+1, %xmm0"
  RAISES1 "FXSAVE: misaligned", GP, 0, "fxsave area+8"
  RAISES1 "FXRSTOR: misaligned", GP, 0, "fxrstor area+8"

  # ---- FXSAVE, FXRSTOR
  fninit
  fld1
  fldpi
  movl $0x11223344, %eax
  movd %eax, %xmm9
  fxsave64 area
  EQ "FXSAVE: FCW", area, $0x3000037f
  movzbl area+4, %eax
  EQ "FXSAVE: abridged tag", %eax, $0xc0
  EQ "FXSAVE: ST0", area+32, $0x2168c235
  EQ "FXSAVE: ST0, exponent", area+40, $0x4000
  EQ "FXSAVE: ST1, significand", area+52, $0x80000000
  EQ "FXSAVE: XMM9", area+304, $0x11223344
  EQ "FXSAVE: MXCSR mask", area+28, $0xffff
  fninit
  pxor %xmm9, %xmm9
  fxrstor64 area
  fstpl area+512
  EQ "FXRSTOR: ST0", area+516, $0x400921fb
  movd %xmm9, %eax
  EQ "FXRSTOR: XMM9", %eax, $0x11223344
  movl $0x10000, area+24
  RAISES1 "FXRSTOR: reserved MXCSR bit", GP, 0, "fxrstor area"
  fninit
  ldmxcsr mxcsr_default

  # ---- XSAVE, XCR0
  RAISES1 "XGETBV without OSXSAVE", UD, 0, "xgetbv"
  RAISES1 "XSAVE without OSXSAVE", UD, 0, "xsave area"
  RAISES1 "AVX without OSXSAVE", UD, 0, "vxorps %xmm0, %xmm0, %xmm0"
  movl $1, %eax
  cpuid
  movl %ecx, %ebx
  andl $0x08000000, %ebx
  EQ "CPUID: OSXSAVE clear", %ebx, $0
  CR4_IS OSFXSR | OSXMMEXCPT | OSXSAVE
  movl $1, %eax
  cpuid
  andl $0x08000000, %ecx
  EQ "CPUID: OSXSAVE set", %ecx, $0x08000000
  xorl %ecx, %ecx
  xgetbv
  EQ "XCR0 after reset", %eax, $1
  RAISES1 "AVX with XCR0 = 1", UD, 0, "vxorps %xmm0, %xmm0, %xmm0"
  xorl %ecx, %ecx
  xorl %edx, %edx
  movl $2, %eax
  RAISES1 "XCR0 without x87", GP, 0, "xsetbv"
  xorl %ecx, %ecx
  xorl %edx, %edx
  movl $5, %eax
  RAISES1 "XCR0: AVX without SSE", GP, 0, "xsetbv"
  xorl %ecx, %ecx
  xorl %edx, %edx
  movl $0x80000001, %eax
  RAISES1 "XCR0: reserved bit", GP, 0, "xsetbv"
  movl $1, %ecx
  xorl %edx, %edx
  movl $1, %eax
  RAISES1 "XCR1 does not exist", GP, 0, "xsetbv"
  U_RAISES "XSETBV in ring 3", GP, 0, "xorl %ecx, %ecx; xorl %edx, %edx; movl $1, %eax; xsetbv"
  XCR0_IS 7
  FINE "AVX", "vxorps %xmm0, %xmm0, %xmm0"
  CR0_IS NE | TSF
  RAISES1 "TS: AVX", NM, 0, "vxorps %xmm0, %xmm0, %xmm0"
  RAISES1 "TS: XSAVE", NM, 0, "xsave area"
  FINE "TS: XGETBV", "xorl %ecx, %ecx; xgetbv"
  CR0_IS NE | EM
  # CR0.EM has no say about VEX encodings (SDM vol. 2, 2.4).
  FINE "EM: AVX", "vxorps %xmm0, %xmm0, %xmm0"
  CR0_IS NE
  XCR0_IS 3
  RAISES1 "AVX with XCR0 = 3", UD, 0, "vxorps %xmm0, %xmm0, %xmm0"
  XCR0_IS 7
  # Standard form: upper halves in component 2 at byte 576.
  movl $0x55667788, %eax
  movd %eax, %xmm5
  vinsertf128 $1, %xmm5, %ymm5, %ymm5
  movl $area, %edi
  xorl %eax, %eax
  movl $256, %ecx
  rep stosl
  movl $7, %eax
  xorl %edx, %edx
  xsave area
  movl area+512, %eax
  andl $6, %eax
  EQ "XSAVE: XSTATE_BV", %eax, $6
  EQ "XSAVE: YMM5, lower half", area+240, $0x55667788
  EQ "XSAVE: YMM5, upper half", area+656, $0x55667788
  vzeroall
  movl $7, %eax
  xorl %edx, %edx
  xrstor area
  vextractf128 $1, %ymm5, %xmm6
  movd %xmm6, %eax
  EQ "XRSTOR: YMM5, upper half", %eax, $0x55667788
  # A component that is asked for and not in XSTATE_BV is initialised.
  andl $~4, area+512
  movl $4, %eax
  xorl %edx, %edx
  xrstor area
  vextractf128 $1, %ymm5, %xmm6
  movd %xmm6, %eax
  EQ "XRSTOR: component initialised", %eax, $0
  movd %xmm5, %eax
  EQ "XRSTOR: the other component left alone", %eax, $0x55667788
  movl $8, area+512
  movl $7, %eax
  xorl %edx, %edx
  RAISES1 "XRSTOR: XSTATE_BV beyond XCR0", GP, 0, "xrstor area"
  movl $7, area+512
  movl $1, area+528
  movl $7, %eax
  xorl %edx, %edx
  RAISES1 "XRSTOR: reserved header byte", GP, 0, "xrstor area"
  movl $0, area+528
  RAISES1 "XSAVE: misaligned", GP, 0, "xsave area+16"
  # VEX and legacy SSE: upper halves.
  vinsertf128 $1, %xmm5, %ymm5, %ymm5
  xorps %xmm5, %xmm5
  vextractf128 $1, %ymm5, %xmm6
  movd %xmm6, %eax
  EQ "legacy SSE keeps the upper half", %eax, $0x55667788
  vinsertf128 $1, %xmm6, %ymm5, %ymm5
  vxorps %xmm5, %xmm5, %xmm5
  vextractf128 $1, %ymm5, %xmm6
  movd %xmm6, %eax
  EQ "VEX.128 clears the upper half", %eax, $0
  FINE "VMOVUPS ymm: misaligned", "vmovups area+1, %ymm0"
  RAISES1 "VMOVAPS ymm: aligned to 16 only", GP, 0, "vmovaps area+16, %ymm0"
  FINE "VADDPS ymm: misaligned", "vaddps area+4, %ymm0, %ymm0"
  # VEX prefix rules.
  RAISES1 "LOCK with VEX", UD, 0, ".byte 0xf0, 0xc5, 0xf8, 0x57, 0xc0"
  RAISES1 "66 with VEX", UD, 0, ".byte 0x66, 0xc5, 0xf8, 0x57, 0xc0"
  RAISES1 "REX with VEX", UD, 0, ".byte 0x40, 0xc5, 0xf8, 0x57, 0xc0"
  RAISES1 "LOCK on a register", UD, 0, ".byte 0xf0, 0x01, 0xc0"
  RAISES1 "LOCK on MOV", UD, 0, ".byte 0xf0, 0x89, 0x03"
  DONE
.data
.balign 64
area: .fill 1152, 1, 0
cw_zero: .word 0x37b
.balign 4
mxcsr_default: .long 0x1f80
mxcsr_zero: .long 0x1d80
mxcsr_bad: .long 0x11f80
