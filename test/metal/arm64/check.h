/* What the programs of this folder print with. */
#define UART 0x09000000
.macro print s
  adr x0, 9f
  bl puts
  b 8f
9: .asciz "\s"
  .balign 4
8:
.endm
/* Compares x20 with a 64-bit value. */
.macro check name, want
  ldr x21, =\want
  adr x22, 9f
  bl verdict
  b 8f
9: .asciz "\name"
  .balign 4
8:
.endm

/* Ends the program. */
.macro finish
  print "done\n"
  ldr x0, =0x84000008
  hvc #0
  b .
.endm

/* The functions behind the macros. */
.macro check_functions
/* x20: value, x21: wanted, x22: name. */
verdict:
  mov x29, x30
  cmp x20, x21
  b.ne 1f
  adr x0, t_ok
  bl puts
  mov x0, x22
  bl puts
  b 2f
1: adr x0, t_bad
  bl puts
  mov x0, x22
  bl puts
  adr x0, t_got
  bl puts
  mov x0, x20
  bl hex
2: adr x0, t_nl
  bl puts
  ret x29
t_ok: .asciz "ok "
t_bad: .asciz "BAD "
t_got: .asciz " got "
t_nl: .asciz "\n"
.balign 4
puts:
  ldr x27, =UART
1: ldrb w26, [x0], #1
  cbz w26, 2f
  strb w26, [x27]
  b 1b
2: ret
hex:
  ldr x27, =UART
  mov x25, #60
1: lsr x26, x0, x25
  and x26, x26, #15
  cmp x26, #10
  add x24, x26, #48
  add x23, x26, #87
  csel x24, x24, x23, lo
  strb w24, [x27]
  subs x25, x25, #4
  b.ge 1b
  ret
.endm
