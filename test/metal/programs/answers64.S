# What CPUID and RDMSR answer at the same place in the code, after what they tell has changed; and exception frames over the code that runs.
.set BITS, 64
.include "runtime.S"
.set APIC_BASE, 0x1b
.set EFER, 0xc0000080
.set LSTAR, 0xc0000082
.set FS_BASE, 0xc0000100
.set GS_BASE, 0xc0000101
.set KERNEL_GS_BASE, 0xc0000102
.macro LEAF leaf, sub=0
  movl $\leaf, %eax
  movl $\sub, %ecx
  call ask
.endm
.macro READ msr
  movl $\msr, %ecx
  call read
.endm
# want = lo of the register, at the place that everybody reads at; the same for its upper half.
.macro MSR name, msr, lo, hi=0
  READ \msr
  EQ "\name", %eax, $\lo
  EQ "\name, upper half", %edx, $\hi
.endm
.macro OSXSAVE name, want
  LEAF 1
  shrl $27, %ecx
  andl $1, %ecx
  EQ "\name", %ecx, $\want
.endm
.macro APIC name, want
  LEAF 1
  shrl $9, %edx
  andl $1, %edx
  EQ "\name", %edx, $\want
.endm
main:
  # ---- CPUID
  LEAF 0
  movl %ebx, %r12d
  movl %eax, %r13d
  LEAF 0x80000000
  cmpl $0x80000001, %eax
  setae %al
  movzbl %al, %eax
  EQ "another leaf", %eax, $1
  LEAF 0
  EQ "the first one again", %ebx, %r12d
  EQ "the first one again: EAX", %eax, %r13d
  # The upper halves of what it reads do not count, and become zero.
  movabsq $0x1234567800000000, %rax
  movabsq $0x1234567800000000, %rcx
  call ask
  shrq $32, %rax
  EQ "upper half of RAX", %eax, $0
  shrq $32, %rbx
  EQ "upper half of RBX", %ebx, $0
  LEAF 0xd, 0
  movl %eax, %r12d
  LEAF 0xd, 5
  EQ "another subleaf", %eax, $0
  LEAF 0xd, 0
  EQ "and back", %eax, %r12d
  OSXSAVE "OSXSAVE, off", 0
  movq %cr4, %rax
  orl $0x40000, %eax
  movq %rax, %cr4
  OSXSAVE "OSXSAVE, on", 1
  # Size of what is enabled in XCR0.
  LEAF 0xd, 0
  movl %ebx, %r12d
  movl $0, %ecx
  movl $0, %edx
  movl $7, %eax
  xsetbv
  LEAF 0xd, 0
  cmpl %r12d, %ebx
  seta %al
  movzbl %al, %eax
  EQ "XSAVE area with AVX is larger", %eax, $1
  movq %cr4, %rax
  andl $~0x40000, %eax
  movq %rax, %cr4
  OSXSAVE "OSXSAVE, off again", 0
  APIC "local APIC, on", 1
  READ APIC_BASE
  movl %eax, %r12d
  andl $~0x800, %eax
  wrmsr
  APIC "local APIC, off", 0
  READ APIC_BASE
  andl $0x800, %eax
  EQ "APIC_BASE.EN", %eax, $0
  movl $APIC_BASE, %ecx
  movl %r12d, %eax
  movl $0, %edx
  wrmsr
  APIC "local APIC, on again", 1
  READ APIC_BASE
  EQ "APIC_BASE", %eax, %r12d

  # ---- RDMSR
  WRMSR_ LSTAR, 0x11111111, 0x22
  MSR "LSTAR", LSTAR, 0x11111111, 0x22
  WRMSR_ LSTAR, 0x33333333, 0x44
  MSR "LSTAR, changed", LSTAR, 0x33333333, 0x44
  WRMSR_ FS_BASE, 0x1000, 1
  MSR "FS_BASE", FS_BASE, 0x1000, 1
  MSR "LSTAR again", LSTAR, 0x33333333, 0x44
  WRMSR_ FS_BASE, 0x2000, 2
  MSR "FS_BASE, changed", FS_BASE, 0x2000, 2
  WRMSR_ GS_BASE, 0x3000, 3
  WRMSR_ KERNEL_GS_BASE, 0x4000, 4
  MSR "GS_BASE", GS_BASE, 0x3000, 3
  swapgs
  MSR "GS_BASE after SWAPGS", GS_BASE, 0x4000, 4
  MSR "KERNEL_GS_BASE after SWAPGS", KERNEL_GS_BASE, 0x3000, 3
  movl $0x10000, %eax
  movq %cr4, %rcx
  orl %eax, %ecx
  movq %rcx, %cr4
  movl $0x7777, %eax
  wrgsbase %rax
  MSR "GS_BASE after WRGSBASE", GS_BASE, 0x7777, 0
  movl $DS0, %eax
  movl %eax, %gs
  MSR "GS_BASE after a selector", GS_BASE, 0, 0
  READ EFER
  movl %eax, %r12d
  xorl $1, %eax
  wrmsr
  READ EFER
  xorl $1, %eax
  EQ "EFER, changed", %eax, %r12d
  movl $EFER, %ecx
  movl %r12d, %eax
  movl $0, %edx
  wrmsr
  READ EFER
  EQ "EFER", %eax, %r12d
  RAISES "a register that does not exist", GP, 0, "movl $0x12345, %ecx; call read"
  MSR "after it", LSTAR, 0x33333333, 0x44
  # The counter is never what it was.
  READ 0x10
  movl %eax, %r12d
  READ 0x10
  movl $0, %ebx
  cmpl %eax, %r12d
  setne %bl
  EQ "TSC", %ebx, $1
  U_RAISES "RDMSR in ring 3", GP, 0, "movl $0xc0000082, %ecx; rdmsr"

  # ---- the frame of an exception lies in the block that raises it
  call make_over
  RAISES "#GP, frame over the code", GP, 0, "movl $(pages + 2048 + 16), %esp; movl $1, %ecx; rorq $8, %rcx; movl $(pages + 2048), %edx; jmp *%rdx"
  call make_over
  RAISES "#PF, frame over the code", PF, 0, "movl $(pages + 2048 + 16), %esp; movabsq $0x7f0000000000, %rcx; movl $(pages + 2048), %edx; jmp *%rdx"
  call make_over
  RAISES "INT, frame over the code", BP, 0, "movl $(pages + 2048 + 16), %esp; movl $(pages + 2048 + 8), %edx; jmp *%rdx"
  DONE

ask:
  cpuid
  ret
read:
  rdmsr
  ret
# A block that faults if RCX is a bad address, with INT3 at its end.
make_over:
  movl $over, %esi
  movl $(pages + 2048), %edi
  movl $(over_end - over), %ecx
  rep movsb
  ret
over:
  movq (%rcx), %rax
.balign 8, 0x90
  nop
  nop
  int3
over_end:
.section .bss
.balign 4096
pages: .skip 4096
