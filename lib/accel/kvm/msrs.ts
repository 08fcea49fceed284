/**
 * Which MSRs a guest may access inside KVM. The others exit and are served by the X86Cpu's own model, so that each register
 * lives in one place whichever executor runs: time (TSC writes, TSC_ADJUST, deadline, kvm-clock), the local APIC, MTRRs, PAT.
 */
const READ = 1;
const WRITE = 2;
const BOTH = READ | WRITE;

/** Where the local APIC is the kernel's, so are APIC_BASE and TSC_DEADLINE. */
export const APIC_MSRS: readonly number[] = [0x1b, 1, BOTH, 0x6e0, 1, BOTH];
/** Triples of first MSR, count, rights. KVM never filters the x2APIC range (800h-8FFh): without an APIC of its own it exits there. */
export const ALLOWED_MSRS = Uint32Array.from([
  0x10, 1, READ,
  0x174, 3, BOTH,
  0xc000_0080, 5, BOTH,
  0xc000_0100, 4, BOTH,
]);
