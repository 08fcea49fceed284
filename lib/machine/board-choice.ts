/** Properties of boards: what follows the name in `--machine virt,gic-version=2`. */
import type { ArchName } from '../boot/arch.js';
import { UsageError } from '../errors.js';
import { suggestion } from '../suggest.js';

export interface BoardChoice {
  /** Version of the interrupt controller of ARM64's virt. */
  gic: 2 | 3;
  /** It has an interrupt translation service (GICv3). */
  its: boolean;
  /** Tables by which UEFI describes the board to operating systems; without them it passes the device tree on. */
  acpi: boolean;
  /** RISC-V's Advanced Interrupt Architecture in place of the PLIC: an APLIC, with or without IMSICs in the harts. */
  aia: (typeof AIA)[number];
}

const AIA = ['none', 'aplic', 'aplic-imsic'] as const;

const PROPERTIES: Readonly<Record<ArchName, readonly string[]>> = { x86_64: [], aarch64: ['gic-version', 'its', 'acpi'], riscv64: ['aia'] };

/** Cuts `virt,gic-version=2` into the board and its properties. */
export function splitMachine(text: string | undefined): { machine: string | undefined; properties: readonly (readonly [string, string])[] } {
  if (text === undefined) return { machine: undefined, properties: [] };
  const [machine, ...rest] = text.split(',');
  return {
    machine,
    properties: rest.map((part) => {
      const eq = part.indexOf('=');
      return [eq < 0 ? part : part.slice(0, eq), eq < 0 ? 'on' : part.slice(eq + 1)] as const;
    }),
  };
}

/** @throws UsageError for properties that the board does not have */
export function boardChoice(arch: ArchName, machine: string, properties: readonly (readonly [string, string])[]): BoardChoice {
  const b: BoardChoice = { gic: 3, its: true, acpi: true, aia: 'none' };
  const known = PROPERTIES[arch];
  const onOff = (key: string, value: string): boolean => {
    if (value !== 'on' && value !== 'off') throw new UsageError(`--machine: ${key}=${value} must be on or off`);
    return value === 'on';
  };
  for (const [key, value] of properties) {
    if (!known.includes(key)) throw new UsageError(`--machine: ${machine} has no property '${key}'${suggestion(key, known)}`);
    if (key === 'gic-version') {
      if (value !== '2' && value !== '3') throw new UsageError(`--machine: gic-version=${value} is not available (2, 3 are)`);
      b.gic = value === '2' ? 2 : 3;
    } else if (key === 'aia') {
      const kind = AIA.find((k) => k === value);
      if (kind === undefined) throw new UsageError(`--machine: aia=${value} is not available (${AIA.join(', ')} are)`);
      b.aia = kind;
    } else {
      b[key as 'its' | 'acpi'] = onOff(key, value);
    }
  }
  if (b.gic === 2) b.its = false;
  return b;
}
