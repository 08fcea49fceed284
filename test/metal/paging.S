# Paging rules that hold in every paging mode (SDM vol. 3, chapter 4). The program that includes this file has paging on,
# all of the first 4 MiB identity mapped, and one last-level table `ptab` for the linear addresses from AREA on (AREA < 2 GiB).
# It defines ESIZE (4 or 8, size of an entry), HAS_NX, and `pde_area`, the address of the entry that points to `ptab`.
#
# Physical pages FRAME, FRAME + 1000h, ... are free for the tests.
.set FRAME, 0x400000
.set P, 1
.set W, 2
.set U, 4
.set A, 0x20
.set D, 0x40
.set G, 0x100

# Entry number n of the test area = frame | flags, with INVLPG.
.macro MAP n, frame, flags, high=0
  movl $(FRAME + \frame * 4096 + (\flags)), ptab + (\n) * ESIZE
.if ESIZE == 8
  movl $\high, ptab + (\n) * ESIZE + 4
.endif
  invlpg AREA + (\n) * 4096
.endm
.macro UNMAP n
  movl $0, ptab + (\n) * ESIZE
  invlpg AREA + (\n) * 4096
.endm
.macro SET_CR cr, bits
.if BITS == 64
  movq %\cr, %rax
  orq $\bits, %rax
  movq %rax, %\cr
.else
  movl %\cr, %eax
  orl $\bits, %eax
  movl %eax, %\cr
.endif
.endm
.macro CLEAR_CR cr, bits
.if BITS == 64
  movq %\cr, %rax
  andq $~\bits, %rax
  movq %rax, %\cr
.else
  movl %\cr, %eax
  andl $~\bits, %eax
  movl %eax, %\cr
.endif
.endm
.macro RELOAD_CR3
.if BITS == 64
  movq %cr3, %rax
  movq %rax, %cr3
.else
  movl %cr3, %eax
  movl %eax, %cr3
.endif
.endm
.macro pop_cx
.if BITS == 64
  pop %rcx
.else
  pop %ecx
.endif
.endm
.macro push_cx
.if BITS == 64
  push %rcx
.else
  push %ecx
.endif
.endm
.macro call_cx
.if BITS == 64
  call *%rcx
.else
  call *%ecx
.endif
.endm
# Low flags of entry n.
.macro FLAGS name, n, want
  movl ptab + (\n) * ESIZE, %eax
  andl $0xfff, %eax
  EQ "\name", %eax, $(\want)
.endm
.set CR0_WP, 0x10000
.set CR4_PGE, 0x80
.set CR4_SMEP, 0x100000
.set CR4_SMAP, 0x200000
# Instruction fetches report I/D only if NX or SMEP is in use (SDM vol. 3, 4.7).
.set FETCH, 0
.if HAS_NX
.set FETCH, 0x10
.endif

paging_tests:
  # Code for the frames: frame 8 = MOV EAX, 55h; RET.
  movl $0x000055b8, FRAME + 0x8000
  movw $0xc300, FRAME + 0x8004
  SET_CR cr0, CR0_WP

  # ---- supervisor accesses
  UNMAP 0
  RAISES1 "read, not present", PF, 0, "movl AREA + 0x123, %eax"
  CR2 "read, not present: CR2", $(AREA + 0x123)
  RAISES1 "write, not present", PF, 2, "movl %eax, AREA + 0xffc"
  CR2 "write, not present: CR2", $(AREA + 0xffc)
  RAISES1 "read-modify-write, not present, is a write", PF, 2, "addl $1, AREA + 8"
  RAISES1 "CMP to memory, not present, is a read", PF, 0, "cmpl $1, AREA + 8"
  RAISES1 "XCHG, not present, is a write", PF, 2, "xchgl %eax, AREA + 8"
  RAISES1 "BTS, not present, is a write", PF, 2, "btsl $1, AREA + 8"
  RAISES1 "CMPXCHG, not present, is a write", PF, 2, "cmpxchgl %ecx, AREA + 8"
  movl $AREA, %ecx
  RAISES "fetch, not present", PF, FETCH, "call_cx"
  EQ "fetch, not present: address", rec_ip, $AREA
  CR2 "fetch, not present: CR2", $AREA

  MAP 0, 0, P
  RAISES1 "write, read-only, WP", PF, 3, "movl %eax, AREA"
  FLAGS "refused write leaves A and D alone", 0, P
  FINE "read, read-only", "movl AREA, %eax"
  FLAGS "read sets A", 0, "P | A"
  RAISES1 "read-modify-write, read-only", PF, 3, "addl $1, AREA"
  CLEAR_CR cr0, CR0_WP
  FINE "write, read-only, no WP", "movl $0x1234, AREA"
  FLAGS "write sets D", 0, "P | A | D"
  SET_CR cr0, CR0_WP
  RAISES1 "write, read-only, WP again", PF, 3, "movl %eax, AREA"
  MAP 0, 0, "P | W"
  FINE "write, writable", "movl $0x5678, AREA"
  FLAGS "write sets A and D", 0, "P | W | A | D"
  EQ "written to the frame", FRAME, $0x5678
  MAP 0, 0, "P | W"
  FINE "read, writable", "movl AREA, %eax"
  FLAGS "read of a writable page sets A only", 0, "P | W | A"
  FINE "write after the read", "movl %eax, AREA"
  FLAGS "write after the read sets D", 0, "P | W | A | D"
  MAP 0, 0, "P | W"
  FINE "CMPXCHG that fails", "movl $1, %eax; movl $0x5678, AREA + 4; movl $P + W + FRAME, ptab; invlpg AREA; cmpxchgl %ecx, AREA + 4"
  FLAGS "CMPXCHG that fails still writes", 0, "P | W | A | D"

  # ---- upper levels
  andl $~A, pde_area
  RELOAD_CR3
  FINE "read through a clean directory", "movl AREA, %eax"
  movl pde_area, %eax
  andl $0x60, %eax
  EQ "A of the directory entry set, no D", %eax, $A
  andl $~A, pde_area
  UNMAP 0
  RELOAD_CR3
  RAISES1 "fault at the last level", PF, 0, "movl AREA, %eax"
  movl pde_area, %eax
  andl $0x60, %eax
  EQ "A of the directory entry set by a faulting walk", %eax, $A
  MAP 0, 0, "P | W"
  andl $~W, pde_area
  RELOAD_CR3
  RAISES1 "write, read-only directory", PF, 3, "movl %eax, AREA"
  FINE "read, read-only directory", "movl AREA, %eax"
  orl $W, pde_area
  andl $~P, pde_area
  RELOAD_CR3
  RAISES1 "read, directory not present", PF, 0, "movl AREA + 0x1000, %eax"
  CR2 "read, directory not present: CR2", $(AREA + 0x1000)
  orl $P, pde_area
  RELOAD_CR3

  # ---- user accesses
  MAP 0, 0, "P | W"
  U_RAISES "user read, supervisor page", PF, 5, "movl AREA, %eax"
  U_RAISES "user write, supervisor page", PF, 7, "movl %eax, AREA"
  U_RAISES "user fetch, supervisor page", PF, "FETCH | 5", "jmp AREA"
  CR2 "user fetch: CR2", $AREA
  UNMAP 0
  U_RAISES "user read, not present", PF, 4, "movl AREA, %eax"
  U_RAISES "user write, not present", PF, 6, "movl %eax, AREA"
  MAP 0, 0, "P | U"
  U_FINE "user read", "movl AREA, %eax"
  FLAGS "user read sets A", 0, "P | U | A"
  U_RAISES "user write, read-only", PF, 7, "movl %eax, AREA"
  CLEAR_CR cr0, CR0_WP
  U_RAISES "user write, read-only, no WP", PF, 7, "movl %eax, AREA"
  SET_CR cr0, CR0_WP
  MAP 0, 0, "P | U | W"
  U_FINE "user write", "movl %eax, AREA"
  FLAGS "user write sets A and D", 0, "P | U | W | A | D"
  andl $~U, pde_area
  RELOAD_CR3
  U_RAISES "user read, supervisor directory", PF, 5, "movl AREA, %eax"
  orl $U, pde_area
  andl $~W, pde_area
  RELOAD_CR3
  U_RAISES "user write, read-only directory", PF, 7, "movl %eax, AREA"
  orl $W, pde_area
  RELOAD_CR3

  # ---- SMEP and SMAP
  MAP 8, 8, "P | U"
  movl $AREA + 0x8000, %ecx
  FINE "supervisor fetch, user page", "call_cx"
  EQ "code in the frame ran", %eax, $0x55
  SET_CR cr4, CR4_SMEP
  movl $AREA + 0x8000, %ecx
  RAISES "supervisor fetch, user page, SMEP", PF, 0x11, "call_cx"
  EQ "SMEP: address", rec_ip, $(AREA + 0x8000)
  FINE "supervisor read, user page, SMEP", "movl AREA + 0x8000, %eax"
  MAP 8, 8, "P"
  movl $AREA + 0x8000, %ecx
  FINE "supervisor fetch, supervisor page, SMEP", "call_cx"
  UNMAP 8
  RAISES "fetch, not present, SMEP", PF, 0x10, "movl $AREA + 0x8000, %ecx; call_cx"
  CLEAR_CR cr4, CR4_SMEP
  MAP 0, 0, "P | U | W"
  SET_CR cr4, CR4_SMAP
  RAISES1 "supervisor read, user page, SMAP", PF, 1, "movl AREA, %eax"
  RAISES1 "supervisor write, user page, SMAP", PF, 3, "movl %eax, AREA"
  FLAGS "SMAP faults leave A and D alone", 0, "P | U | W"
  stac
  FINE "supervisor read, user page, STAC", "movl AREA, %eax"
  FINE "supervisor write, user page, STAC", "movl %eax, AREA"
  clac
  RAISES1 "supervisor read, user page, CLAC", PF, 1, "movl AREA, %eax"
  push $0x40002
  popf
  FINE "supervisor read, user page, AC by POPF", "movl AREA, %eax"
  push $2
  popf
  U_FINE "user read, user page, SMAP", "movl AREA, %eax"
  movl $0x40002, user_flags
  U_FINE "user with AC", "nop"
  movl $2, user_flags
  # Implicit supervisor accesses: SMAP counts whatever AC says. An LDT lies in a user page here.
  MAP 1, 1, "P | U | W"
  stac
  movl gdt + DS0, %eax
  movl %eax, AREA + 0x1000
  movl gdt + DS0 + 4, %eax
  orl $0x100, %eax
  movl %eax, AREA + 0x1004
  DESC_AT FREE, ((AREA + 0x1000) << 16) | 7, (AREA & 0xff000000) | (((AREA + 0x1000) >> 16) & 0xff) | 0x8200
  movl $0, gdt + FREE + 8
  movl $0, gdt + FREE + 12
  movl $FREE, %eax
  lldt %ax
  RAISES "implicit access with AC, SMAP", PF, 1, "movl $4, %eax; stac; movl %eax, %es"
  CR2 "implicit access: CR2", $(AREA + 0x1000)
  clac
  CLEAR_CR cr4, CR4_SMAP
  FINE "supervisor read, user page, no SMAP", "movl AREA, %eax"
.if HAS_NX
  MAP 8, 8, "P", 0x80000000
  movl $AREA + 0x8000, %ecx
  RAISES "fetch, NX", PF, 0x11, "call_cx"
  FLAGS "fetch, NX leaves A alone", 8, "P"
  FINE "read, NX", "movl AREA + 0x8000, %eax"
  MAP 8, 8, "P | U", 0x80000000
  U_RAISES "user fetch, NX", PF, 0x15, "jmp AREA + 0x8000"
  MAP 8, 8, "P"
  movl $AREA + 0x8000, %ecx
  FINE "fetch, no NX", "call_cx"
  orl $0x80000000, pde_area + 4
  RELOAD_CR3
  RAISES "fetch, NX directory", PF, 0x11, "movl $AREA + 0x8000, %ecx; call_cx"
  andl $0x7fffffff, pde_area + 4
  RELOAD_CR3
  # Without EFER.NXE the bit is reserved, and faults of fetches do not say that they were fetches.
  movl $0xc0000080, %ecx
  rdmsr
  andl $~0x800, %eax
  wrmsr
  MAP 8, 8, "P", 0x80000000
  RAISES1 "NX bit without NXE", PF, 9, "movl AREA + 0x8000, %eax"
  RAISES1 "NX bit without NXE, write", PF, 0xb, "movl %eax, AREA + 0x8000"
  U_RAISES "NX bit without NXE, user", PF, 0xd, "movl AREA + 0x8000, %eax"
  UNMAP 8
  RAISES "fetch, not present, no NXE", PF, 0, "movl $AREA + 0x8000, %ecx; call_cx"
  movl $0xc0000080, %ecx
  rdmsr
  orl $0x800, %eax
  wrmsr
  # Bits above the physical address width.
  MAP 0, 0, "P", 0x00080000
  RAISES1 "reserved address bit", PF, 9, "movl AREA, %eax"
  FLAGS "reserved bit: A not set", 0, "P"
  # Bit 7 of a last-level entry is PAT, not reserved.
  MAP 0, 0, "P | 0x80"
  FINE "PAT bit", "movl AREA, %eax"
.endif
  MAP 0, 0, "P | 0x200"
  FINE "available bits", "movl AREA, %eax"

  # ---- accesses across a page border
  MAP 0, 0, "P | W"
  UNMAP 1
  movl $0x11111111, AREA + 0xffc
  RAISES1 "write into a missing second page", PF, 2, "movl $0x22222222, AREA + 0xffe"
  CR2 "write into a missing second page: CR2", $(AREA + 0x1000)
  EQ "nothing written", AREA + 0xffc, $0x11111111
  RAISES1 "read from a missing second page", PF, 0, "movl AREA + 0xffd, %eax"
  CR2 "read from a missing second page: CR2", $(AREA + 0x1000)
  MAP 1, 1, "P"
  RAISES1 "write into a read-only second page", PF, 3, "movw %ax, AREA + 0xfff"
  CR2 "write into a read-only second page: CR2", $(AREA + 0x1000)
  FLAGS "second page not accessed", 1, "P"
  RAISES1 "RMW into a read-only second page", PF, 3, "notl AREA + 0xfff"
  EQ "RMW: nothing written", AREA + 0xffc, $0x11111111
  MAP 1, 5, "P | W"
  MAP 0, 0, "P | W"
  FINE "write across", "movl $0x44332211, AREA + 0xffe"
  EQ "first half", FRAME + 0xffc, $0x22111111
  movzwl FRAME + 0xffe, %eax
  EQ "first half, bytes", %eax, $0x2211
  movzwl FRAME + 0x5000, %eax
  EQ "second half", %eax, $0x4433
  FLAGS "first page dirty", 0, "P | W | A | D"
  FLAGS "second page dirty", 1, "P | W | A | D"
  FINE "read across", "movl AREA + 0xffe, %eax"
  EQ "read across: value", AREA + 0xffe, $0x44332211
  UNMAP 0
  RAISES1 "write, first page missing", PF, 2, "movl %eax, AREA + 0xffe"
  CR2 "write, first page missing: CR2", $(AREA + 0xffe)
  MAP 0, 0, "P | W"
  UNMAP 1
  SET_CR cr4, 0x200
  RAISES1 "16-byte write into a missing second page", PF, 2, "movups %xmm0, AREA + 0xff8"
  CR2 "16-byte write: CR2", $(AREA + 0x1000)
  EQ "16-byte write: nothing written", AREA + 0xffc, $0x22111111
  MAP 0, 0, "P | W | U"
  U_RAISES "POP across a missing page", PF, 4, "movl $AREA + 0xffe, %esp; pop_cx"
  EQ "POP across: ESP unchanged", rec_esp, $(AREA + 0xffe)
  CR2 "POP across: CR2", $(AREA + 0x1000)
  MAP 1, 1, "P | W | U"
  UNMAP 0
  U_RAISES "PUSH across a missing page", PF, 6, "movl $AREA + 0x1001, %esp; push_cx"
  EQ "PUSH across: ESP unchanged", rec_esp, $(AREA + 0x1001)
  U_RAISES "CALL with a missing stack", PF, 6, "movl $AREA + 0x1001, %esp; call_cx"
  EQ "CALL: ESP unchanged", rec_esp, $(AREA + 0x1001)

  # REP MOVS stops exactly where the page ends.
  MAP 0, 0, "P | W"
  UNMAP 1
  movl $rep_source, %esi
  movl $AREA + 0xff0, %edi
  movl $64, %ecx
  BEGIN_TRY 72f
  rep movsb
72:
  movl %ecx, %ebx
  movl $0, resume
  EQ "REP MOVSB into a missing page: vector", rec_vec, $PF
  EQ "REP MOVSB: ECX", %ebx, $48
  EQ "REP MOVSB: EDI", %edi, $(AREA + 0x1000)
  CR2 "REP MOVSB: CR2", $(AREA + 0x1000)
  EQ "REP MOVSB: last bytes", FRAME + 0xffc, $0x0f0e0d0c
  # The handler maps the page and the instruction goes on.
  movl $hook_map1, hook
  FINE "REP MOVSB resumed", "movl $rep_source, %esi; movl $AREA + 0xff0, %edi; movl $64, %ecx; rep movsb"
  EQ "REP MOVSB resumed: faults", rec_count, $1
  EQ "REP MOVSB resumed: last word", FRAME + 0x502c, $0x3f3e3d3c
  UNMAP 1
  FINE "REP STOSL resumed", "movl $0x12345678, %eax; movl $AREA + 0xff0, %edi; movl $8, %ecx; rep stosl"
  EQ "REP STOSL resumed: last word", FRAME + 0x500c, $0x12345678
  UNMAP 1
  FINE "write resumed", "movl $0x13572468, AREA + 0xffe"
  EQ "write resumed: value", AREA + 0xffe, $0x13572468
  movl $0, hook

  # ---- changes of translations
  MAP 0, 0, "P | W"
  MAP 1, 1, "P | W"
  movl $0xaaaa, FRAME
  movl $0xbbbb, FRAME + 0x1000
  EQ "frame 0", AREA, $0xaaaa
  MAP 0, 1, "P | W"
  EQ "after INVLPG: frame 1", AREA, $0xbbbb
  movl $(FRAME + P + W), ptab
  RELOAD_CR3
  EQ "after MOV CR3: frame 0", AREA, $0xaaaa
  # Becoming present needs no invalidation: not-present entries are not cached.
  UNMAP 2
  RAISES1 "not present yet", PF, 0, "movl AREA + 0x2000, %eax"
  movl $(FRAME + 0x1000 + P), ptab + 2 * ESIZE
  EQ "present without INVLPG", AREA + 0x2000, $0xbbbb
  # More rights need none either: the fault makes the processor look again (SDM vol. 3, 4.10.4.3).
  RAISES1 "not writable yet", PF, 3, "movl %eax, AREA + 0x2000"
  movl $(FRAME + 0x1000 + P + W), ptab + 2 * ESIZE
  FINE "writable without INVLPG", "movl $0xcccc, AREA + 0x2000"

  # Global pages survive MOV CR3 while CR4.PGE is set.
  SET_CR cr4, CR4_PGE
  MAP 0, 0, "P | W | G"
  EQ "global page", AREA, $0xaaaa
  movl $(FRAME + 0x1000 + P + W + G), ptab
  invlpg AREA
  EQ "INVLPG drops global pages", AREA, $0xcccc
  movl $(FRAME + P + W + G), ptab
  CLEAR_CR cr4, CR4_PGE
  EQ "changing CR4.PGE drops global pages", AREA, $0xaaaa
  movl $(FRAME + 0x1000 + P + W + G), ptab
  RELOAD_CR3
  EQ "without PGE the bit means nothing", AREA, $0xcccc

  # ---- code pages
  # A page of code is remapped: other code must run.
  movl $0x000066b8, FRAME + 0x9000
  movw $0xc300, FRAME + 0x9004
  MAP 8, 8, "P | W"
  movl $3, %ebx
1:
  movl $AREA + 0x8000, %ecx
  call_cx
  subl $1, %ebx
  jnz 1b
  EQ "code of frame 8", %eax, $0x55
  MAP 8, 9, "P | W"
  movl $AREA + 0x8000, %ecx
  call_cx
  EQ "code of frame 9 after INVLPG", %eax, $0x66
  movl $(FRAME + 0x8000 + P + W), ptab + 8 * ESIZE
  RELOAD_CR3
  movl $AREA + 0x8000, %ecx
  call_cx
  EQ "code of frame 8 after MOV CR3", %eax, $0x55
  # The same frame under two addresses: a write through one changes the code of the other.
  MAP 10, 8, "P | W"
  movb $0x77, AREA + 0xa001
  movl $AREA + 0x8000, %ecx
  call_cx
  EQ "code written through an alias", %eax, $0x77
  movb $0x55, FRAME + 0x8001
  movl $AREA + 0x8000, %ecx
  call_cx
  EQ "code written through the identity map", %eax, $0x55

  # An instruction that spans two pages; its second half changes place.
  #   page 12 ends with B8 11 22, page 13 begins with 33 44 C3
  movl $0x2211b8, FRAME + 0xcffd
  movl $0xc34433, FRAME + 0xd000
  movl $0xc36655, FRAME + 0xe000
  MAP 12, 12, "P | W"
  MAP 13, 13, "P | W"
  movl $AREA + 0xcffd, %ecx
  call_cx
  EQ "instruction across pages", %eax, $0x44332211
  call_cx
  MAP 13, 14, "P | W"
  movl $AREA + 0xcffd, %ecx
  call_cx
  EQ "second page replaced", %eax, $0x66552211
  movb $0x99, FRAME + 0xe000
  call_cx
  EQ "byte in the second page changed", %eax, $0x66992211
  movb $0x88, FRAME + 0xcffe
  call_cx
  EQ "byte in the first page changed", %eax, $0x66992288
  # Both pages are the same frame: the instruction's second half lies before its first.
  movl $0xc34433, FRAME + 0xc000
  MAP 13, 12, "P | W"
  movl $AREA + 0xcffd, %ecx
  call_cx
  EQ "one frame for both pages", %eax, $0x44332288
  call_cx
  movb $0x77, FRAME + 0xc000
  call_cx
  EQ "byte of the second half changed in the one frame", %eax, $0x44772288
  UNMAP 13
  movl $AREA + 0xcffd, %ecx
  RAISES "fetch of the second half faults", PF, FETCH, "call_cx"
  EQ "its address is the instruction's", rec_ip, $(AREA + 0xcffd)
  CR2 "CR2 is the second page", $(AREA + 0xd000)
  # A page that ends with whole instructions: the fault belongs to the next page's first instruction.
  movl $0x90909090, FRAME + 0xcffc
  movl $AREA + 0xcffc, %ecx
  RAISES "running off a page", PF, FETCH, "call_cx"
  EQ "running off a page: address", rec_ip, $(AREA + 0xd000)
  CR2 "running off a page: CR2", $(AREA + 0xd000)
  ret

# Maps page 1 of the area and lets the instruction go on.
hook_map1:
  movl $NONE, rec_vec
  movl $(FRAME + 0x5000 + P + W), ptab + ESIZE
  xorl %eax, %eax
  ret

.data
.balign 16
rep_source:
  .set i, 0
  .rept 64
  .byte i
  .set i, i + 1
  .endr
.text
