# The runtime itself, and the exceptions everybody knows.
.set BITS, 64
.include "runtime.S"
main:
  EQ "literals", $5, $5
  RAISES1 "UD2", UD, 0, "ud2"
  xorl %ecx, %ecx
  RAISES1 "DIV by zero", DE, 0, "divl %ecx"
  EQ "flags pushed by a fault have RF", rec_flags, $0x10046
  EQ "CS pushed", rec_cs, $CS64
  EQ "SS pushed", rec_ss, $DS0
  movabsq $1 << 62, %rbx
  RAISES1 "a non-canonical address", GP, 0, "movb (%rbx), %al"
  FINE "NOP", "nop"
  U_FINE "ring 3", "nop"
  U_RAISES "HLT in ring 3", GP, 0, "hlt"
  U_RAISES "supervisor page from ring 3", PF, 5, "movl 0x100000, %eax"
  CR2 "its CR2", $0x100000
  U_RAISES "INT3 in ring 3", BP, 0, "int3"
  U_RAISES "INT 80h in ring 3, DPL 0", GP, "0x80*8+2", "int $0x80"
  U_RAISES "INT 21h in ring 3, DPL 3", 0x21, 0, "int $0x21"
  DONE
