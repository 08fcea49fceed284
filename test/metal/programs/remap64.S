# Page tables that change between stays in user mode, long enough for a machine to execute user mode elsewhere than kernel mode: each time
# the page must be the one that the tables name now, at every level of the tables.
.set BITS, 64
.include "runtime.S"
# User pages of the runtime: a window that is mapped to one page after the other, and where the answer goes.
.set WINDOW, 0x18f000
.set ANSWER, 0x18e000
.set PAGES, 0x200000
.set SPIN, 40000000
# Second table for the same 2 MiB.
.set OTHER, 0x300000
.set ROUNDS, 8
main:
  movl $PAGES, %edi
  movl $0xa0, %eax
1:movl %eax, (%rdi)
  addl $0x1000, %edi
  addl $1, %eax
  cmpl $(0xa0 + 2 * ROUNDS), %eax
  jb 1b
  xorl %r12d, %r12d
2:movl %r12d, %eax
  shll $12, %eax
  addl $(PAGES + 0x67), %eax
  movl %eax, pt_low + (WINDOW >> 12) * 8
  invlpg WINDOW
  call look
  leal 0xa0(%r12), %r13d
  EQ "page of this round", ANSWER, %r13d
  addl $1, %r12d
  cmpl $ROUNDS, %r12d
  jb 2b
  # The same one level up: a copy of the table, with another page in the window.
  movl $pt_low, %esi
  movl $OTHER, %edi
  movl $1024, %ecx
  rep movsl
  movl $(PAGES + ROUNDS * 0x1000 + 0x67), OTHER + (WINDOW >> 12) * 8
  movl $(OTHER + 7), pd
  movq %cr3, %rax
  movq %rax, %cr3
  call look
  EQ "page of the other table", ANSWER, $(0xa0 + ROUNDS)
  # The table that is not in use changes and comes back.
  movl $(PAGES + (ROUNDS + 1) * 0x1000 + 0x67), pt_low + (WINDOW >> 12) * 8
  movl $(pt_low + 7), pd
  movq %cr3, %rax
  movq %rax, %cr3
  call look
  EQ "page of the first table", ANSWER, $(0xa0 + ROUNDS + 1)
  DONE

# What user mode finds in the window goes to ANSWER. Keeps r12.
look:
  movl $0, ANSWER
  BEGIN_TRY 92f
  GO_USER UCS64, user_look
92:
  movl $0, resume
  ret

.section .user
user_look:
  movl $SPIN, %ecx
1:decl %ecx
  jnz 1b
  movl WINDOW, %eax
  movl %eax, ANSWER
  int $USER_EXIT
