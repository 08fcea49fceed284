/** Names for what a machine uses of the program (`Program.keep`): with a code cache that knows the guest little is translated, and much else is done. */

export function machinePart(arch: string, fromCache: boolean): string {
  return fromCache ? `${arch} from the cache` : arch;
}

/** All that machines of an architecture use. */
export const machineParts = (arch: string): string[] => [machinePart(arch, false), machinePart(arch, true)];
