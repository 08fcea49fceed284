/** What every executor must do alike: code bytes, and what is expected of the end. Addresses and tables: harness.ts. */
import { type CaseMode, HANDLERS } from './harness.js';

export interface Case {
  name: string;
  mode: CaseMode;
  /** Machine code at 1000h, in hexadecimal. */
  code: string;
  /** Expected: where it halts (RIP after the HLT), registers, what devices saw, bytes at 4000h, the top of the stack downwards. */
  rip: number;
  regs?: Record<string, bigint>;
  log?: string[];
  data?: string;
  stack?: number[];
  cr2?: number;
  cpl?: number;
  end?: 'shutdown';
  /** Registers that differ where the local APIC is a real one. */
  apic?: Record<string, bigint>;
  /** Why a KVM that emulates kernel mode fails here. */
  soft?: string;
}

/** RIP after the HLT of vector v's handler. */
const at = (v: number): number => HANDLERS + v * 8 + 1;
/** The same in real mode: handlers lie in segment 700h. */
const at16 = (v: number): number => v * 8 + 1;

export const CASES: readonly Case[] = [
  // mov ax,1234h; add ax,ff00h; mov [4000h],ax; hlt
  { name: 'real mode: arithmetic and memory', mode: 'real16', code: 'b834120500ffa30040f4', rip: 0x100a, regs: { rax: 0x1134n }, data: '0:34 1:11' },
  // mov dx,10h; mov al,5ah; out dx,al; in ax,dx; in eax,dx; mov ax,99h; out dx,ax; hlt
  { name: 'port I/O of all widths', mode: 'real16', code: 'ba1000b05aeeed66edb89900eff4', rip: 0x100e, regs: { rax: 0x7654_0099n }, log: ['out1 0=5a', 'in2 0', 'in4 0', 'out2 0=99'] },
  // mov si,4000h; mov dx,10h; mov cx,4; cld; rep outsb; mov di,4100h; mov cx,3; rep insb; hlt
  {
    name: 'string I/O', mode: 'real16', code: 'be0040ba1000b90400fcf36ebf0041b90300f36cf4', rip: 0x1015, regs: { rcx: 0n, rsi: 0x4004n, rdi: 0x4103n },
    log: ['out1 0=0', 'out1 0=0', 'out1 0=0', 'out1 0=0', 'in1 0', 'in1 0', 'in1 0'], data: '100:31 101:31 102:31',
  },
  // int 21h
  { name: 'real mode: INT', mode: 'real16', code: 'cd21f4', rip: at16(0x21), stack: [0x0002, 0, 0x1002, 0, 0, 0, 0, 0] },
  // push 11223344h; pop eax; call 1f; hlt; 1: mov ebx,[esp]; ret
  { name: 'protected mode: stack', mode: 'protected32', code: '684433221158e801000000f48b1c24c3', rip: 0x100c, regs: { rax: 0x1122_3344n, rbx: 0x100bn } },
  // mov edi,300000h; add dword [edi],5; or byte [edi+4],80h; mov eax,[edi+8]; hlt
  { name: 'MMIO read-modify-write', mode: 'protected32', code: 'bf00003000830705804f04808b4708f4', rip: 0x1010, regs: { rax: 0xa000_0008n }, log: ['r4 0', 'w4 0=a0000005', 'r1 4', 'w1 4=84', 'r4 8'] },
  // mov edi,302000h; mov eax,11223344h; mov [edi],eax; mov [edi+4],ax; mov [edi+8],al; out 10h,al; mov [edi+0ch],eax; mov bl,[edi]; mov [edi],eax; mov [300000h],al; mov [edi],al; hlt
  {
    name: 'collected writes keep their order among all accesses', mode: 'protected32', code: 'bf00203000b844332211890766894704884708e61089470c8a1f8907a2000030008807f4', rip: 0x1024, regs: { rbx: 0x5an },
    log: ['p-w4 0=11223344', 'p-w2 4=3344', 'p-w1 8=44', 'out1 0=44', 'p-w4 c=11223344', 'p-r1 0', 'p-w4 0=11223344', 'w1 0=44', 'p-w1 0=44'],
  },
  // mov esi,300000h; mov edi,4000h; mov ecx,3; cld; rep movsd; hlt
  { name: 'MMIO string move', mode: 'protected32', code: 'be00003000bf00400000b903000000fcf3a5f4', rip: 0x1013, regs: { rcx: 0n, rdi: 0x400cn }, log: ['r4 0', 'r4 4', 'r4 8'], data: '3:a0 4:4 7:a0 8:8 b:a0' },
  // mov edi,300010h; mov eax,7; xchg [edi],eax; hlt
  { name: 'MMIO exchange', mode: 'protected32', code: 'bf10003000b8070000008707f4', rip: 0x100d, regs: { rax: 0xa000_0010n }, log: ['r4 10', 'w4 10=7'] },
  // mov ax,18h; mov fs,ax; mov ebx,fs:[10h]; hlt
  { name: 'segment load', mode: 'protected32', code: '66b818008ee0648b1d10000000f4', rip: 0x100e, regs: { rbx: 0n } },
  // mov ax,1238h; mov ds,ax
  { name: '#GP with selector', mode: 'protected32', code: '66b838128ed8f4', rip: at(13), stack: [0x1_0002, 8, 0x1004, 0x1238, 0, 0, 0, 0] },
  // xor edx,edx; mov eax,1; xor ecx,ecx; div ecx
  { name: '#DE', mode: 'protected32', code: '31d2b80100000031c9f7f1f4', rip: at(0) },
  { name: '#UD', mode: 'protected32', code: '0f0b', rip: at(6), stack: [0x1_0002, 8, 0x1000, 0, 0, 0, 0, 0] },
  // lidt [0]: an empty table; ud2
  { name: 'triple fault', mode: 'protected32', code: '0f011d001000000f0b', rip: 0, end: 'shutdown' },
  // mov eax,40000000h; cpuid; mov r8d,ebx; xor eax,eax; cpuid; hlt
  { name: 'CPUID', mode: 'long64', code: 'b8000000400fa24189d831c00fa2f4', rip: 0x100f, regs: { rax: 0x16n, rbx: 0x6874_7541n, r8: 0x4b4d_564bn } },
  // LSTAR written and read back
  { name: 'MSR that KVM keeps', mode: 'long64', code: 'b9820000c0b878563412ba0080ffff0f3031c031d20f32f4', rip: 0x1018, regs: { rax: 0x1234_5678n, rdx: 0xffff_8000n } },
  // TSC_DEADLINE written and read back; a local APIC's timer is in another mode and ignores it
  { name: 'MSR of the interrupt controller', mode: 'long64', code: 'b9e0060000b85500000031d20f300f32f4', rip: 0x1011, regs: { rax: 0x55n, rdx: 0n }, apic: { rax: 0n } },
  // MTRR default type written and read back
  { name: 'MSR of the CPU model', mode: 'long64', code: 'b9ff020000b8060c000031d20f3031c00f32f4', rip: 0x1013, regs: { rax: 0xc06n } },
  { name: 'unknown MSR: #GP', mode: 'long64', code: 'b9452301000f32f4', rip: at(13) },
  // mov rax,7fffff000000h; mov rbx,[rax]
  { name: '#PF, read of nothing', mode: 'long64', code: '48b8000000ffff7f0000488b18f4', rip: at(14), cr2: 0xff00_0000 },
  // mov dword [180000h],1
  { name: '#PF, write of a page that is not there', mode: 'long64', code: 'c704250000180001000000f4', rip: at(14), cr2: 0x18_0000 },
  // mov rax,cr4; or rax,600h; mov cr4,rax; movq xmm1,1.5; addsd xmm1,xmm1; movq rbx,xmm1
  { name: 'SSE', mode: 'long64', code: '0f20e0480d00060000480f22e048b8000000000000f83f66480f6ec8f20f58c966480f7ecbf4', rip: 0x1026, regs: { rbx: 0x4008_0000_0000_0000n } },
  // fninit; fldpi; fld1; faddp; fstp qword [4000h]
  { name: 'x87', mode: 'long64', code: 'dbe3d9ebd9e8dec1dd1c2500400000f4', rip: 0x1010, data: '0:8c 1:16 2:22 3:aa 4:fd 5:90 6:10 7:40' },
  // cmpxchg16b [4000h] with RDX:RAX = 1, RCX:RBX = 3:2
  { name: 'CMPXCHG16B', mode: 'long64', code: 'bf00400000b80100000031d2bb02000000b903000000c70701000000f0480fc70ff4', rip: 0x1022, data: '0:2 8:3' },
  // IRETQ to ring 3; mov ebx,77h; loop; hlt there
  { name: 'ring 3 and #GP from it', mode: 'long64', code: '6a2b68007f00006a026a33488d05030000005048cfbb77000000b905000000ffc975fcf4', rip: at(13), cpl: 0, regs: { rbx: 0x77n, rcx: 0n }, stack: [0x2b, 0x7f00, 0x1_0046, 0x33, 0x1023, 0, 0, 0] },
  // SYSCALL from ring 3 to 1200h, which holds zeros (add [rax],al) up to the HLT
  {
    name: 'SYSCALL', mode: 'long64', rip: 0x1201,
    code: 'b9800000c00f3283c8010f30b9810000c031c0ba100023000f30b9820000c0b80012000031d20f30b9840000c0b8000200000f30c6042500120000f46a2b68007f000068020200006a33488d05030000005048cf41b9420000000f050f0b',
    regs: { r9: 0x42n }, cpl: 0, soft: 'SYSCALL of this hypervisor leaves CPL at 3',
  },
  // out 30h,41h (raises vector 41h) with IF = 0; inc ebx; sti; jmp $
  { name: 'interrupt after STI', mode: 'long64', code: '66ba3000b04131dbee90ffc3fbebfe', rip: at(0x41), regs: { rbx: 1n } },
  // out 31h,42h: vector 42h once the CPU halts; sti; hlt
  { name: 'HLT ended by an interrupt', mode: 'long64', code: '66ba3100b042eefbf4ffc3faf4', rip: at(0x42), stack: [0x18, 0x8000, 0x202, 0x10, 0x1009, 0, 0, 0] },
  { name: 'INT3', mode: 'long64', code: 'cc', rip: at(3), stack: [0x18, 0x8000, 2, 0x10, 0x1001, 0, 0, 0] },
  // dr0 = 1018h, enabled for execution; nops
  { name: 'instruction breakpoint', mode: 'long64', code: 'b8181000000f23c0b8010400000f23f8909090909090909090909090f4', rip: at(1), soft: 'no breakpoints in emulated code' },
  // pushf; or dword [rsp],100h; popf; nop
  { name: 'single step', mode: 'long64', code: '9c810c24000100009d90f4', rip: at(1), stack: [0x18, 0x8000, 0x102, 0x10, 0x100a, 0, 0, 0] },
  // mov byte [1007h],43h: the NOP there becomes INC EBX
  { name: 'self-modifying code', mode: 'protected32', code: 'c605071000004390f4', rip: 0x1009, regs: { rbx: 1n } },
];
