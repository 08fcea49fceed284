# Single step, breakpoints, debug registers (SDM vol. 3, chapter 17).
.set BITS, 64
.include "runtime.S"
.set TF, 0x100
.set BS, 0x4000
.set BD, 0x2000
# Runs the body with TF set and records where each #DB came from (steps, up to 64). The body ends before label `name_end`.
.macro STEP_BEGIN
  movl $hook_step, hook
  movl $0, step_count
  movl $0, other_count
  movl $0, %eax
  movq %rax, %dr6
  pushf
  orl $TF, (%rsp)
  popf
.endm
.macro STEP_END
  pushf
  andl $~TF, (%rsp)
  popf
  movl $0, hook
.endm
# step n happened at this address.
.macro STEP name, n, label
  EQ "\name", steps+\n*4, $\label
.endm
.macro DR n, value
  movl $\value, %eax
  movq %rax, %dr\n
.endm
.macro DR6_IS name, want
  movq %dr6, %rax
  EQ "\name", %eax, $(0xffff0ff0 | (\want))
  movl $0, %eax
  movq %rax, %dr6
.endm
main:
  # ---- values
  movq %dr7, %rax
  EQ "DR7 after reset", %eax, $0x400
  movq %dr6, %rax
  EQ "DR6 after reset", %eax, $0xffff0ff0
  DR 6, 0
  movq %dr6, %rax
  EQ "DR6: fixed ones", %eax, $0xffff0ff0
  movl $-1, %eax
  movl %eax, %ecx
  movq %rcx, %dr6
  movq %dr6, %rax
  EQ "DR6: fixed zeros", %eax, $0xffffefff
  DR 6, 0
  DR 0, 0x12345
  movq %dr0, %rax
  EQ "DR0 holds its value", %eax, $0x12345
  movabsq $0x100000000, %rax
  RAISES1 "DR6: upper half", GP, 0, "movq %rax, %dr6"
  movabsq $0x100000000, %rax
  RAISES1 "DR7: upper half", GP, 0, "movq %rax, %dr7"
  # DR4 and DR5 are DR6 and DR7 unless CR4.DE is set.
  FINE "DR4 without DE", "movq %dr4, %rax"
  EQ "DR4 is DR6", %eax, $0xffff0ff0
  movq %cr4, %rax
  orq $8, %rax
  movq %rax, %cr4
  RAISES1 "DR4 with DE", UD, 0, "movq %dr4, %rax"
  RAISES1 "DR5 with DE", UD, 0, "movq %rax, %dr5"
  RAISES1 "DR8 does not exist", UD, 0, ".byte 0x44, 0x0f, 0x21, 0xc0"
  U_RAISES "MOV from DR in ring 3", GP, 0, "movq %dr0, %rax"

  # ---- single step
  STEP_BEGIN
s0: nop
s1: addl $1, %ecx
s2: jmp s3
  nop
s3: call s5
s4: jmp s6
s5: ret
s6: push %rax
s7: pop %rax
s8:
  STEP_END
  STEP "step: after the instruction that follows POPF", 0, s1
  STEP "step: ALU", 1, s2
  STEP "step: JMP", 2, s3
  STEP "step: CALL", 3, s5
  STEP "step: RET", 4, s4
  STEP "step: JMP 2", 5, s6
  STEP "step: PUSH", 6, s7
  STEP "step: POP", 7, s8
  EQ "DR6.BS in each", step_dr6, $(0xffff0ff0 | BS)
  EQ "TF is pushed", step_flags, $TF
  # REP: one trap after each iteration, at the instruction itself.
  movl $buffer, %edi
  movl $3, %ecx
  STEP_BEGIN
  movl $buffer, %edi
  movl $3, %ecx
r0: rep stosb
r1: nop
r2:
  STEP_END
  STEP "REP: first iteration", 2, r0
  STEP "REP: second iteration", 3, r0
  STEP "REP: last iteration", 4, r1
  STEP "REP: next", 5, r2
  STEP_BEGIN
  xorl %ecx, %ecx
r3: rep stosb
r4: nop
  STEP_END
  STEP "REP with count 0", 1, r4
  # MOV SS holds the trap off for one instruction; so does POP to SS's kin.
  movl $DS0, %eax
  movl %eax, %ebx
  STEP_BEGIN
m0: nop
m1: movl %ebx, %ss
m2: nop
m3: nop
m4:
  STEP_END
  STEP "MOV SS: before", 0, m1
  STEP "MOV SS: the next instruction runs first", 1, m3
  STEP "MOV SS: after", 2, m4
  # STI does not hold it off.
  STEP_BEGIN
t0: nop
t1: sti
t2: cli
t3: nop
  STEP_END
  STEP "STI", 1, t2
  STEP "CLI", 2, t3
  # INT n: the handler is entered without TF; the trap comes after the first instruction back.
  STEP_BEGIN
i0: nop
i1: int $0x21
i2: nop
i3:
  STEP_END
  STEP "INT n: before", 0, i1
  STEP "INT n: after its return and one instruction", 1, i3
  EQ "INT n: handler ran", other_count, $1
  # CPUID, RDTSC, IN, LGDT, WRMSR, MOV CR: helpers.
  movq %cr0, %rbp
  STEP_BEGIN
c0: nop
c1: lgdt gdtr
c2: movq %rbp, %cr0
c3: inb $0x80, %al
c4: rdtsc
c5: xorl %eax, %eax
c6: cpuid
c7: clts
c8: invlpg 0
c9: nop
  STEP_END
  STEP "LGDT", 1, c2
  STEP "MOV CR0", 2, c3
  STEP "IN", 3, c4
  STEP "RDTSC", 4, c5
  STEP "CPUID", 6, c7
  STEP "CLTS", 7, c8
  STEP "INVLPG", 8, c9
  # A fault: TF is pushed with it, the trap does not come.
  movl $hook_step, hook
  movl $0, step_count
  movl $0, other_count
  BEGIN_TRY 1f
  pushf
  orl $TF, (%rsp)
  popf
  ud2
1:
  movl $0, hook
  EQ "fault under TF: no step", step_count, $0
  EQ "fault under TF: one exception", other_count, $1
  # POPF that clears TF: the trap of POPF itself still comes.
  STEP_BEGIN
  pushf
  andl $~TF, (%rsp)
p0: popf
p1: nop
p2:
  movl $0, hook
  STEP "POPF clears TF: last step", 2, p1
  EQ "POPF clears TF: no more", step_count, $3
  # IRET that sets TF: the trap comes after the next instruction.
  movl $hook_step, hook
  movl $0, step_count
  movq %rsp, %rbx
  push $DS0
  push %rbx
  push $TF + 2
  push $CS64
  push $q0
  iretq
q0: nop
q1: nop
  STEP_END
  STEP "IRET sets TF", 0, q1
  # SYSCALL with TF not in FMASK: trap after SYSCALL, at the entry, in ring 0; with TF masked none.
  WRMSR_ 0xc0000081, 0, ((0x28 << 16) | CS64)
  WRMSR_ 0xc0000082, entry
  WRMSR_ 0xc0000084, 0x100
  movl $hook_step, hook
  movl $0, step_count
  movl $0x102, user_flags
  BEGIN_TRY 1f
  GO_USER UCS64, user_code
1:
  movl $2, user_flags
  movl $0, hook
  STEP "SYSCALL: before", 0, user_call
  # Unlike IRET, SYSRET is followed by a trap at once if it sets TF.
  STEP "SYSCALL, TF masked: no trap inside, one after SYSRET", 1, user_back
  STEP "SYSRET: next", 2, user_next

  # ---- instruction breakpoints
  DR 0, b1
  DR 7, 0x402
  RAISES "instruction breakpoint", DB, 0, "b0: nop; b1: nop"
  EQ "instruction breakpoint: address", rec_ip, $b1
  DR6_IS "instruction breakpoint: DR6", 1
  movl rec_flags, %eax
  andl $0x10000, %eax
  EQ "instruction breakpoint: RF not pushed", %eax, $0
  # With RF in the popped flags the instruction runs, and RF is used up.
  DR 7, 0x400
  DR 0, b4
  DR 7, 0x401
  movl $hook_rf, hook
  movl $0, rf_count
  movl $5, %ecx
1:
b4: addl $0, %ebx
  subl $1, %ecx
  jnz 1b
  movl $0, hook
  EQ "breakpoint in a loop, resumed with RF", rf_count, $5
  DR 7, 0x400
  EQ "disabled: nothing", rf_count, $5
  # Not at the middle of an instruction.
  DR 0, b5+1
  DR 7, 0x402
  FINE "address inside an instruction", "b5: movl $5, %ebx"
  DR 7, 0x400

  # ---- data breakpoints
  DR 6, 0
  DR 0, data8
  # R/W0 = 01 (write), LEN0 = 11 (4 bytes), G0
  DR 7, 0xd0402
  RAISES "write breakpoint", DB, 0, "movl %ebx, data8; 71:"
  EQ "write breakpoint: trap after the instruction", rec_ip, $71b
  DR6_IS "write breakpoint: DR6", 1
  FINE "write breakpoint: read", "movl data8, %eax"
  FINE "write breakpoint: next to it", "movl %eax, data8+4; movl %eax, data8-4"
  RAISES "write breakpoint: last byte", DB, 0, "movb %al, data8+3"
  RAISES "write breakpoint: access overlaps", DB, 0, "movq %rax, data8-4"
  RAISES "write breakpoint: RMW", DB, 0, "incl data8"
  RAISES "write breakpoint: PUSH", DB, 0, "movl $data8 + 8, %esp; push %rax"
  RAISES "write breakpoint: MOVUPS", DB, 0, "movq %cr4, %rax; orq $0x200, %rax; movq %rax, %cr4; movups %xmm0, data8-12"
  DR 6, 0
  # R/W0 = 11 (read or write)
  DR 7, 0xf0402
  RAISES "read/write breakpoint: read", DB, 0, "movl data8, %eax"
  DR6_IS "read/write breakpoint: DR6", 1
  RAISES "read/write breakpoint: write", DB, 0, "movb %al, data8"
  FINE "read/write breakpoint: fetch", "nop"
  DR 6, 0
  # Two at once; a disabled one may show its bit as well, so only these two are set up.
  DR 1, data8+2
  DR 7, 0x11f040a
  RAISES "two breakpoints", DB, 0, "movl %eax, data8"
  movq %dr6, %rax
  andl $0xe003, %eax
  EQ "two breakpoints: DR6", %eax, $3
  DR 6, 0
  # Eight bytes.
  DR 7, 0xb0402
  RAISES "8-byte breakpoint: last byte", DB, 0, "movl data8+7, %eax; movb %al, data8+7"
  # REP MOVSB: the trap comes after the iteration that met it.
  DR 7, 0x10402
  DR 0, buffer+2
  movl $buffer, %edi
  movl $data8, %esi
  movl $8, %ecx
  BEGIN_TRY 1f
71: rep movsb
1:
  movl %ecx, %ebx
  TEXT %esi, "REP MOVSB meets a breakpoint"
  movl $DB, want_val
  movl $0, want_err
  call check_exception
  EQ "REP MOVSB: ECX", %ebx, $5
  EQ "REP MOVSB: address", rec_ip, $71b
  # Together with a step.
  DR 7, 0xd0402
  DR 0, data8
  DR 6, 0
  RAISES "breakpoint and step", DB, 0, "pushf; orl $TF, (%rsp); popf; movl %eax, data8; nop"
  DR6_IS "breakpoint and step: DR6", BS | 1
  # A MOV SS that meets a breakpoint: the trap waits, and an INT n after it gets it first? Only the wait is checked.
  DR 7, 0xf0402
  DR 0, data_ss
  RAISES "MOV SS from a watched word", DB, 0, "movw data_ss, %ss; 71: nop; 72: nop"
  EQ "MOV SS from a watched word: one instruction later", rec_ip, $72b
  DR 7, 0x400
  DR 6, 0
  # I/O breakpoints need CR4.DE.
  DR 0, 0x80
  DR 7, 0x20402
  RAISES "I/O breakpoint: OUT", DB, 0, "outb %al, $0x80; 71:"
  EQ "I/O breakpoint: after the instruction", rec_ip, $71b
  DR6_IS "I/O breakpoint: DR6", 1
  RAISES "I/O breakpoint: IN", DB, 0, "inb $0x80, %al"
  FINE "I/O breakpoint: another port", "inb $0x81, %al"
  DR 7, 0x400
  DR 6, 0

  # ---- general detect
  movl $0x2400, %eax
  movq %rax, %dr7
  RAISES1 "GD: MOV from DR7", DB, 0, "movq %dr7, %rax"
  DR6_IS "GD: DR6.BD", BD
  movq %dr7, %rax
  EQ "GD is cleared by the exception", %eax, $0x400
  # Breakpoints are off in ring 3 as little as in ring 0.
  DR 0, user_data
  DR 7, 0xd0402
  U_RAISES "write breakpoint in ring 3", DB, 0, "movl %eax, user_data"
  DR 7, 0x400
  DR 6, 0
  # INT1: DR6 is not touched.
  RAISES "INT1", DB, 0, "int1"
  DR6_IS "INT1: DR6", 0
  DONE

entry:
  nop
  nop
  sysretq
# #DB: notes the address and goes back. Others: INT 21h goes back, the rest ends the guard.
hook_step:
  cmpl $DB, rec_vec
  jne 1f
  movl step_count, %eax
  cmpl $64, %eax
  jae 2f
  movl rec_ip, %ecx
  movl %ecx, steps(,%eax,4)
  addl $1, step_count
2:
  movq %dr6, %rax
  movl %eax, step_dr6
  movl $0, %eax
  movq %rax, %dr6
  movl rec_flags, %eax
  andl $TF, %eax
  orl %eax, step_flags
  movl $NONE, rec_vec
  xorl %eax, %eax
  ret
1:
  addl $1, other_count
  xorl %eax, %eax
  cmpl $0x21, rec_vec
  setne %al
  ret
hook_rf:
  addl $1, rf_count
  orl $0x10000, F_FLAGS(%rbp)
  movl $NONE, rec_vec
  xorl %eax, %eax
  ret
.section .user
user_code:
  nop
user_call:
  syscall
user_back:
  nop
user_next:
  int $USER_EXIT
.balign 8
user_data: .quad 0
.data
.balign 16
steps: .fill 64, 4, 0
step_count: .quad 0
step_dr6: .quad 0
step_flags: .quad 0
other_count: .quad 0
rf_count: .quad 0
  .quad 0, 0
data8: .quad 0
  .quad 0, 0
data_ss: .quad DS0
buffer: .fill 32, 1, 0
