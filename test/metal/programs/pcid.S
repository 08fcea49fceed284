# Process-context identifiers, INVPCID, bit 63 of MOV CR3 (SDM vol. 3, 4.10.1).
.set BITS, 64
.include "runtime.S"
.set AREA, 0x40000000
.set PCIDE, 0x20000
.macro SET_PTE n, value
  movl $(\value), ptab + \n * 8
.endm
# Goes to an address space, keeping its translations, and calls what it has at AREA + offset.
.macro VISIT root, offset=0
  movl $(\root), %eax
  orq %rbx, %rax
  movq %rax, %cr3
  movl $AREA + \offset, %edx
  call *%rdx
.endm
# A function at a physical address that returns a number.
.macro RETURNS address, value
  movb $0xb8, \address
  movl $\value, \address + 1
  movb $0xc3, \address + 5
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
  # ---- two address spaces, with code and data of their own at the same address
  movl $pml4, %esi
  movl $pml4_b, %edi
  movl $1024, %ecx
  rep movsl
  movl $pdpt, %esi
  movl $pdpt_b, %edi
  movl $1024, %ecx
  rep movsl
  movl $(pd + 4096), %esi
  movl $pd_b, %edi
  movl $1024, %ecx
  rep movsl
  movl $(pdpt_b + 7), pml4_b
  movl $(pd_b + 7), pdpt_b + 8
  movl $(ptab_b + 7), pd_b
  SET_PTE 0, 0x400003
  SET_PTE 1, 0x403003
  movl $0x401003, ptab_b
  movl $0x404003, ptab_b + 8
  RETURNS 0x400000, 5
  RETURNS 0x401000, 6
  RETURNS 0x402000, 7
  RETURNS 0x403000, 0x10
  movl $0x11, 0x400800
  movl $0x22, 0x401800
  movl $2, %eax
  invpcid descriptor, %rax
  xorl %r12d, %r12d
  movl $100, %ebp
1:
  VISIT pml4 + 5
  subl $5, %eax
  orl %eax, %r12d
  movl AREA + 0x800, %eax
  subl $0x11, %eax
  orl %eax, %r12d
  movl $1, AREA + 0x1800
  VISIT pml4_b + 6
  subl $6, %eax
  orl %eax, %r12d
  movl AREA + 0x800, %eax
  subl $0x22, %eax
  orl %eax, %r12d
  movl $2, AREA + 0x1800
  subl $1, %ebp
  jnz 1b
  EQ "each address space has its code and data", %r12d, $0
  EQ "stores of one", 0x403800, $1
  EQ "stores of the other", 0x404800, $2
  # What changes while an address space is set aside.
  movl $8, 0x400001
  VISIT pml4 + 5
  EQ "code changed meanwhile", %eax, $8
  VISIT pml4_b + 6
  movl $0x403000, %edx
  call *%rdx
  EQ "a page becomes code meanwhile", %eax, $0x10
  movl $pml4 + 5, %eax
  orq %rbx, %rax
  movq %rax, %cr3
  movl $0x12, AREA + 0x1001
  movl $0x403000, %edx
  call *%rdx
  EQ "its code changed through the address space set aside", %eax, $0x12
  VISIT pml4_b + 6
  SET_PTE 0, 0x402003
  movl $1, %eax
  movl $5, descriptor
  movl $0, descriptor + 4
  movq $AREA, descriptor + 8
  invpcid descriptor, %rax
  VISIT pml4 + 5
  EQ "INVPCID, context not present", %eax, $7
  VISIT pml4_b + 6
  SET_PTE 0, 0x400003
  movl $0, %eax
  invpcid descriptor, %rax
  VISIT pml4 + 5
  EQ "INVPCID, address in a context not present", %eax, $8
  # More address spaces than any cache of them holds.
  movl $100, %ebp
  xorl %r12d, %r12d
1:
  movl $pml4_b + 16, %eax
  addl %ebp, %eax
  movq %rax, %cr3
  movl $AREA, %edx
  call *%rdx
  subl $6, %eax
  orl %eax, %r12d
  subl $1, %ebp
  jnz 1b
  VISIT pml4 + 5
  subl $8, %eax
  orl %eax, %r12d
  EQ "many address spaces", %r12d, $0
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
pml4_b: .skip 4096
pdpt_b: .skip 4096
pd_b: .skip 4096
ptab_b: .skip 4096
