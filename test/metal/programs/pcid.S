# Process-context identifiers, INVPCID, bit 63 of MOV CR3 (SDM vol. 3, 4.10.1).
.set BITS, 64
.include "runtime.S"
.set AREA, 0x40000000
.set PCIDE, 0x20000
.macro SET_PTE n, value
  movl $(\value), ptab + \n * 8
.endm
main:
  movl $(ptab + 7), pd + (AREA >> 21) * 8
  movl $0xaaaa, 0x400000
  movl $0xbbbb, 0x401000
  SET_PTE 0, 0x400003
  movl $pml4 + 1, %eax
  movq %rax, %cr3
  movq %cr4, %rax
  orq $PCIDE, %rax
  RAISES1 "PCIDE with CR3[11:0] != 0", GP, 0, "movq %rax, %cr4"
  movl $pml4, %eax
  movq %rax, %cr3
  movq %cr4, %rax
  orq $PCIDE, %rax
  FINE "PCIDE", "movq %rax, %cr4"
  movq %cr0, %rax
  btrl $31, %eax
  RAISES1 "PG cleared with PCIDE", GP, 0, "movq %rax, %cr0"
  # Two contexts with one root.
  movabsq $(1 << 63), %rbx
  movl $pml4 + 5, %eax
  FINE "MOV CR3, PCID 5", "movq %rax, %cr3"
  movq %cr3, %rax
  EQ64 "CR3 reads back", %rax, $(pml4 + 5)
  EQ "PCID 5: page", AREA, $0xaaaa
  movl $pml4 + 5, %eax
  orq %rbx, %rax
  FINE "MOV CR3, bit 63", "movq %rax, %cr3"
  movq %cr3, %rax
  EQ64 "bit 63 is not stored", %rax, $(pml4 + 5)
  SET_PTE 0, 0x401003
  movl $pml4 + 5, %eax
  movq %rax, %cr3
  EQ "MOV CR3 without bit 63 invalidates", AREA, $0xbbbb
  # A context used for the first time has no translations, whatever bit 63 says.
  SET_PTE 0, 0x400003
  movl $pml4 + 6, %eax
  orq %rbx, %rax
  movq %rax, %cr3
  EQ "fresh PCID", AREA, $0xaaaa
  movl $pml4 + 5, %eax
  movq %rax, %cr3
  EQ "back to PCID 5, invalidated", AREA, $0xaaaa
  # INVPCID.
  SET_PTE 0, 0x401003
  movl $0, %eax
  movl $5, descriptor
  movq $AREA, descriptor + 8
  FINE "INVPCID, address", "invpcid descriptor, %rax"
  EQ "INVPCID, address: effect", AREA, $0xbbbb
  SET_PTE 0, 0x400003
  movl $1, %eax
  FINE "INVPCID, context", "invpcid descriptor, %rax"
  EQ "INVPCID, context: effect", AREA, $0xaaaa
  SET_PTE 0, 0x401003
  movl $3, %eax
  FINE "INVPCID, all but global", "invpcid descriptor, %rax"
  EQ "INVPCID, all but global: effect", AREA, $0xbbbb
  movq %cr4, %rax
  orq $0x80, %rax
  movq %rax, %cr4
  SET_PTE 0, 0x400103
  invlpg AREA
  EQ "global page", AREA, $0xaaaa
  SET_PTE 0, 0x401103
  movl $2, %eax
  FINE "INVPCID, all", "invpcid descriptor, %rax"
  EQ "INVPCID, all: effect on a global page", AREA, $0xbbbb
  movl $4, %eax
  RAISES1 "INVPCID, type 4", GP, 0, "invpcid descriptor, %rax"
  movl $0, %eax
  movl $0x1005, descriptor
  RAISES1 "INVPCID, reserved bits", GP, 0, "invpcid descriptor, %rax"
  movl $5, descriptor
  movabsq $0x800000000000, %rcx
  movq %rcx, descriptor + 8
  RAISES1 "INVPCID, non-canonical address", GP, 0, "invpcid descriptor, %rax"
  U_RAISES "INVPCID in ring 3", GP, 0, "invpcid 0x180000, %rax"
  movl $pml4, %eax
  movq %rax, %cr3
  movq %cr4, %rax
  andq $~PCIDE, %rax
  FINE "PCIDE off", "movq %rax, %cr4"
  movq $AREA, descriptor + 8
  movl $0, %eax
  RAISES1 "INVPCID of PCID 5 without PCIDE", GP, 0, "invpcid descriptor, %rax"
  movl $pml4, %eax
  orq %rbx, %rax
  RAISES1 "MOV CR3, bit 63 without PCIDE", GP, 0, "movq %rax, %cr3"
  DONE
.data
.balign 16
descriptor: .quad 5, AREA
.section .bss
.balign 4096
ptab: .skip 4096
