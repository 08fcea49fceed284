/**
 * What a PC BIOS leaves behind, for kernels that boot loaders start from it (multiboot): real-mode interrupt vectors with
 * handlers that acknowledge and return, BIOS data area, 8259As at vectors 08h and 70h, the 18.2 Hz timer, and the entry at F000:FFF0
 * through which systems restart that know no other way. No BIOS services.
 */
import type { PhysicalMemory } from '../memory/physical.js';

const SEGMENT = 0xf000;
/** Where the IBM PC/AT has its dummy IRET and the timer interrupt. */
const DUMMY = 0xff53;
const TIMER = 0xfea5;
const MASTER = 0xff23;
const SLAVE = 0xff2b;
const BDA = 0x400;
const RESTART = 0xfff0;

/** push ds; push ax; xor ax, ax; mov ds, ax; inc dword [046Ch]; mov al, 20h; out 20h, al; pop ax; pop ds; iret */
const TIMER_CODE = Uint8Array.of(0x1e, 0x50, 0x31, 0xc0, 0x8e, 0xd8, 0x66, 0xff, 0x06, 0x6c, 0x04, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0x1f, 0xcf);
/** push ax; mov al, 20h; out 20h, al; pop ax; iret */
const MASTER_CODE = Uint8Array.of(0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf);
/** push ax; mov al, 20h; out A0h, al; out 20h, al; pop ax; iret */
const SLAVE_CODE = Uint8Array.of(0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf);

/** in al, 92h; and al, FEh; out 92h, al; or al, 1; out 92h, al (fast reset); hlt; jmp short to hlt */
const RESTART_CODE = Uint8Array.of(0xe4, 0x92, 0x24, 0xfe, 0xe6, 0x92, 0x0c, 0x01, 0xe6, 0x92, 0xf4, 0xeb, 0xfd);

/** Vectors, handlers and data area. Call it before the kernel is loaded, which may want some of that memory. */
export function installBiosMemory(memory: PhysicalMemory, ramBytes: number): void {
  const low = Buffer.alloc(BDA + 0x100);
  for (let v = 0; v < 256; v++) {
    const handler = v === 8 ? TIMER : v > 8 && v < 16 ? MASTER : v >= 0x70 && v < 0x78 ? SLAVE : DUMMY;
    low.writeUInt32LE(((SEGMENT << 16) | handler) >>> 0, v * 4);
  }
  // COM1; KiB of conventional memory.
  low.writeUInt16LE(0x3f8, BDA);
  low.writeUInt16LE(Math.min(640, Math.floor(ramBytes / 1024)), BDA + 0x13);
  memory.writeFrom(0, low);
  const top = SEGMENT * 16;
  memory.writeFrom(top + TIMER, TIMER_CODE);
  memory.writeFrom(top + MASTER, MASTER_CODE);
  memory.writeFrom(top + SLAVE, SLAVE_CODE);
  memory.writeFrom(top + DUMMY, Uint8Array.of(0xcf));
  memory.writeFrom(top + RESTART, RESTART_CODE);
}

/** Interrupt controllers and timer as the BIOS has programmed them: of the lines only the timer and the cascade are open. */
export function programLegacyDevices(out: (port: number, value: number) => void): void {
  const writes: readonly (readonly [number, number])[] = [
    [0x20, 0x11], [0x21, 0x08], [0x21, 0x04], [0x21, 0x01], [0xa0, 0x11], [0xa1, 0x70], [0xa1, 0x02], [0xa1, 0x01],
    // Timer 0: rate generator, 65536.
    [0x43, 0x34], [0x40, 0], [0x40, 0],
    [0x21, 0xfa], [0xa1, 0xff],
  ];
  for (const [port, value] of writes) out(port, value);
}
