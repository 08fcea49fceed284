# A triple fault ends the machine: no IDT, then an exception.
.set BITS, 64
.include "runtime.S"
main:
  lidt empty
  ud2
.data
.balign 8
empty:
  .word 0
  .quad 0
