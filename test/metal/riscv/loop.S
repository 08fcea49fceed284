/*
 * A hot loop over a page, and what the page's address means changes: code that was compiled for the loop must not go on with the old page. In M-mode with
 * MPRV, so that loads are translated (Sv39) and the program is not. Prints "ok NAME" or "BAD NAME", "done", and switches the machine off.
 */
#define UART 0x10000000
#define FINISHER 0x100000
#define MTIMECMP 0x2004000
#define MTIME 0x200bff8
#define VA 0x40000000
#define ROUNDS 12
#define PASSES 256

.text
.global _start
_start:
  la sp, stack_top
  li t0, -1
  csrw pmpaddr0, t0
  li t0, 0x1f
  csrw pmpcfg0, t0
  /* Page A holds 3 i + 1, page B 5 i + 2. */
  la t0, page_a
  la t1, page_b
  li t2, 0
  li t3, 512
1: slli t4, t2, 1
  add t4, t4, t2
  addi t4, t4, 1
  sd t4, 0(t0)
  slli t4, t2, 2
  add t4, t4, t2
  addi t4, t4, 2
  sd t4, 0(t1)
  addi t0, t0, 8
  addi t1, t1, 8
  addi t2, t2, 1
  bne t2, t3, 1b
  /* Gigapages where they are for devices and memory; VA through two more tables. */
  la t0, root
  li t1, 0xcf
  sd t1, 0(t0)
  li t1, (0x80000000 >> 2) | 0xcf
  sd t1, 16(t0)
  la t1, middle
  srli t1, t1, 2
  ori t1, t1, 1
  sd t1, 8(t0)
  la t1, middle
  la t2, last
  srli t2, t2, 2
  ori t2, t2, 1
  sd t2, 0(t1)
  la a0, page_a
  jal map
  la t0, root
  srli t0, t0, 12
  li t1, 8 << 60
  or t0, t0, t1
  csrw satp, t0
  sfence.vma
  li t0, (1 << 17) | (1 << 11)         /* MPRV, MPP = S */
  csrw mstatus, t0
  li t0, 0x80                          /* MTIE: it waits, for MIE is 0 */
  csrw mie, t0

  li s1, 392960 * PASSES
  la s2, name_a
  jal rounds
  la a0, page_b
  jal map
  li t0, VA
  sfence.vma t0
  li s1, 655104 * PASSES
  la s2, name_b
  jal rounds
  /* And back, by a flush of everything. */
  la a0, page_a
  jal map
  sfence.vma
  li s1, 392960 * PASSES
  la s2, name_a
  jal rounds
  la a0, name_done
  jal puts
  li t0, FINISHER
  li t1, 0x5555
  sw t1, 0(t0)
1: j 1b

/* Maps VA to the page at a0: V R W A D. */
map:
  la t0, last
  srli t1, a0, 2
  ori t1, t1, 0xc7
  sd t1, 0(t0)
  ret

/* Sums the page up PASSES times, ROUNDS times over, each time with the timer set, which has the machine look up: s1 is the sum, s2 the name. */
rounds:
  mv s3, ra
  li s4, ROUNDS
  la s5, ok
1: li t0, MTIME
  ld t1, 0(t0)
  addi t1, t1, 1000
  li t0, MTIMECMP
  sd t1, 0(t0)
  jal sum
  beq a0, s1, 2f
  la s5, bad
2: addi s4, s4, -1
  bnez s4, 1b
  mv a0, s5
  jal puts
  mv a0, s2
  jal puts
  jr s3

.balign 64
sum:
  li a0, 0
  li a1, PASSES
1: li a2, VA
  li a3, 512
2: ld a4, 0(a2)
  addi a2, a2, 8
  addi a3, a3, -1
  add a0, a0, a4
  bnez a3, 2b
  addi a1, a1, -1
  bnez a1, 1b
  ret

puts:
  li t0, UART
1: lbu t1, 0(a0)
  beqz t1, 2f
  sb t1, 0(t0)
  addi a0, a0, 1
  j 1b
2: ret

ok: .asciz "ok "
bad: .asciz "BAD "
name_a: .asciz "page A\n"
name_b: .asciz "page B\n"
name_done: .asciz "done\n"
.balign 4096
root: .space 4096
middle: .space 4096
last: .space 4096
page_a: .space 4096
page_b: .space 4096
.space 4096
stack_top:
