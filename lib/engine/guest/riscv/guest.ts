/** The parts of a RISC-V guest put together; what device trees and users are told of it. */
import type { HelperRegistry } from '../../helpers.js';
import { Slot } from '../../state.js';
import type { RiscvCpu } from './cpu.js';
import { riscvHelpers } from './helpers.js';
import { RiscvLifter } from './lifter.js';
import type { OptionalExt } from './model.js';
import type { Ext } from './table.js';

export { riscvHelpers };

/** Extensions in the order of ISA strings: single letters, then Z (by their second letter), then S. */
const RISCV_EXTENSIONS: readonly string[] = [
  'i', 'm', 'a', 'f', 'd', 'c', 'zicbom', 'zicboz', 'zicntr', 'zicond', 'zicsr', 'zifencei', 'zihintpause', 'zihpm', 'zba', 'zbb', 'zbc', 'zbkb', 'zbkc', 'zbkx', 'zbs', 'zknd', 'zkne',
  'zknh', 'sdtrig', 'sstc', 'svadu', 'svinval', 'svnapot', 'svpbmt',
];

/** Of harts with an IMSIC; in the order of ISA strings they come before Sstc. */
const AIA_EXTENSIONS: readonly string[] = ['smaia', 'ssaia'];

/** riscv,isa-extensions of the device tree. @param imsic the harts have one @param optional what else they have */
export function isaExtensions(imsic: boolean, optional: readonly OptionalExt[]): readonly string[] {
  const first = RISCV_EXTENSIONS.indexOf('sstc');
  const all = [...RISCV_EXTENSIONS.slice(0, first), ...(imsic ? AIA_EXTENSIONS : []), ...RISCV_EXTENSIONS.slice(first)];
  // The last of the single letters.
  if (optional.includes('v')) all.splice(all.indexOf('c') + 1, 0, 'v');
  if (optional.includes('zfh')) all.splice(all.indexOf('zba'), 0, 'zfh');
  return all;
}

/** riscv,isa of the device tree. */
export function isaString(imsic: boolean, optional: readonly OptionalExt[]): string {
  const all = isaExtensions(imsic, optional);
  return [`rv64${all.filter((e) => e.length === 1).join('')}`, ...all.filter((e) => e.length > 1)].join('_');
}

const INSTRUCTIONS: ReadonlySet<Ext> = new Set<Ext>(['i', 'm', 'a', 'f', 'd', 'zba', 'zbb', 'zbs', 'zbc', 'zicbom', 'zicboz', 'zbkb', 'zbkx', 'zbkc', 'zknd', 'zkne', 'zknh', 'svinval', 'zicond']);

/** @param optional what the CPU has of the extensions that not all have */
export function riscvLifter(helpers: HelperRegistry<RiscvCpu>, optional: readonly OptionalExt[] = []): RiscvLifter {
  return new RiscvLifter(helpers, new Set<Ext>([...INSTRUCTIONS, ...optional]));
}

const x = (r: number): number => Slot.GPR + r;
/** Most used registers in compiled code: a5 a4 a0 sp a3 s0 a1 a2 s1 ra. */
export const RISCV_PINNED: readonly number[] = [15, 14, 10, 2, 13, 8, 11, 12, 9, 1].map(x);
