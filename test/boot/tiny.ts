/** Kernels of a few bytes (multiboot with address fields), for tests that need a machine but no operating system. */

const LOAD = 0x10_0000;

export type Ending =
  | { kind: 'exit'; value: number }
  | { kind: 'power-off' }
  | { kind: 'reset' }
  | { kind: 'triple-fault' }
  | { kind: 'halt' }
  | { kind: 'spin' }
  /** Sends back what arrives on COM1; 'q' powers off. */
  | { kind: 'echo' };

const outb = (port: number, value: number): number[] => [0xba, port & 0xff, port >> 8, 0, 0, 0xb0, value, 0xee];
const POWER_OFF = [0xba, 0x04, 0x06, 0, 0, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4, 0xeb, 0xfd];

function ending(e: Ending): number[] {
  switch (e.kind) {
    case 'exit':
      return [...outb(0xf4, e.value), 0xf4, 0xeb, 0xfd];
    case 'power-off':
      return POWER_OFF;
    case 'reset':
      return [...outb(0xcf9, 6), 0xf4, 0xeb, 0xfd];
    case 'triple-fault':
      // push 0; push 0; lidt [esp]; ud2
      return [0x6a, 0, 0x6a, 0, 0x0f, 0x01, 0x1c, 0x24, 0x0f, 0x0b];
    case 'halt':
      return [0xfa, 0xf4, 0xeb, 0xfd];
    case 'spin':
      return [0xeb, 0xfe];
    case 'echo':
      // wait: mov dx,3fdh; in al,dx; test al,1; jz wait; mov dl,f8h; in al,dx; cmp al,'q'; je off; out dx,al; jmp wait; off:
      return [0xba, 0xfd, 0x03, 0, 0, 0xec, 0xa8, 1, 0x74, 0xf6, 0xb2, 0xf8, 0xec, 0x3c, 0x71, 0x74, 3, 0xee, 0xeb, 0xec, ...POWER_OFF];
  }
}

const HEADER = 32;
/** Where the code of these kernels begins. */
export const TINY_CODE = LOAD + HEADER;

/** A kernel that prints `text` on COM1 and ends as asked. */
export function tinyKernel(text: string, end: Ending): Buffer {
  const stack = LOAD + 0x1_0000;
  const build = (message: number): number[] => [
    // mov esp, stack; mov esi, message; print: lodsb; test al,al; jz end; mov edx,3f8h; out dx,al; jmp print
    ...[0xbc, stack & 0xff, (stack >> 8) & 0xff, (stack >> 16) & 0xff, 0],
    ...[0xbe, message & 0xff, (message >> 8) & 0xff, (message >> 16) & 0xff, 0],
    ...[0xac, 0x84, 0xc0, 0x74, 8, 0xba, 0xf8, 0x03, 0, 0, 0xee, 0xeb, 0xf3],
    ...ending(end),
  ];
  const code = build(LOAD + HEADER + build(0).length);
  return tinyCode(Buffer.concat([Buffer.from(code), Buffer.from(`${text}\0`, 'latin1')]));
}

/** A kernel of 32-bit code that runs at TINY_CODE. */
export function tinyCode(body: Uint8Array): Buffer {
  const h = Buffer.alloc(HEADER);
  const flags = 1 << 16;
  [0x1bad_b002, flags, (-(0x1bad_b002 + flags)) >>> 0, LOAD, LOAD, LOAD + HEADER + body.length, 0, LOAD + HEADER].forEach((w, i) => h.writeUInt32LE(w >>> 0, i * 4));
  return Buffer.concat([h, body]);
}
