/** A block as text: guest bytes, IR before and after the passes, host code. */
import { type CodeWindow, type GuestCpu, LiftResult } from '../cpu.js';
import { ConstPool, IrBuilder } from '../ir/builder.js';
import { runPasses, type PassOptions } from '../ir/passes.js';
import { printIr } from '../ir/print.js';
import type { Block } from '../jit/block.js';
import type { HostCode } from '../jit/host-code.js';
import { disassemble, type ObjdumpMachine } from './objdump.js';

export interface BlockTextOptions {
  passes: PassOptions;
  /** Mode bits under which floating point may fault, as the engine's. */
  fpHelperBit: number;
  slotName: (slot: number) => string | undefined;
  /** Machine of the guest code in this mode for objdump. */
  machine: (mode: number) => ObjdumpMachine;
  /** A mode word in words. */
  mode: (mode: number) => string;
}

/** Room after the bytes of a block, so that the lifter takes the last instruction. */
const SLACK = 16;

export const hexBytes = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ');

export class BlockText {
  // A pool of its own: reading a block must not use up the engine's.
  private readonly ir = new IrBuilder(new ConstPool());

  constructor(private readonly host: HostCode | null, private readonly o: BlockTextOptions) {
    this.ir.idioms = o.passes.idioms !== false;
  }

  /**
   * Lifts the block again and prints everything about it.
   * @param pc linear address of the block
   * @param bytes its guest code as it was when it was translated
   */
  describe(cpu: GuestCpu, block: Block, pc: bigint, bytes: Uint8Array): string {
    const { o, ir } = this;
    const names = { name: o.slotName, helper: (id: number): string => cpu.helpers.list[id]?.name ?? String(id) };
    const out = [`guest code at 0x${pc.toString(16)} (${o.mode(block.mode)}): ${hexBytes(bytes)}`, disassemble(bytes, pc, o.machine(block.mode)).trimEnd()];
    const buf = new Uint8Array(bytes.length + SLACK);
    buf.set(bytes);
    const win: CodeWindow = { buf, pos: 0, end: buf.length, offset: block.offset };
    ir.begin();
    if (cpu.lifter.lift(win, block.mode, ir, block.insns) === LiftResult.OK) {
      out.push('IR as lifted:', printIr(ir, names).trimEnd());
      runPasses(ir, cpu.helpers, o.passes, (block.mode & o.fpHelperBit) !== 0);
      out.push('IR after the passes:', printIr(ir, names).trimEnd());
    } else {
      out.push('IR: the bytes cannot be lifted again');
    }
    if (this.host !== null && block.entryA >= 0) {
      const address = this.host.address + block.entryA;
      out.push(`host code at 0x${address.toString(16)}, ${block.hostBytes} bytes:`, disassemble(this.host.codeOf(block), address, 'i386:x86-64').trimEnd());
    }
    return `${out.join('\n')}\n`;
  }
}
