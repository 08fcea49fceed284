/** The CPU that a guest on KVM is given. */
import { describe, expect, it } from 'vitest';
import { kvmModel } from '#lib/accel/kvm/system.js';
import { CpuModel } from '#lib/engine/guest/x86/cpuid.js';

const ALL = 0xffff_ffff;
/** A host with everything in a register of a leaf but the bits named. KVM_GET_SUPPORTED_CPUID: leaf, ECX, flags, EAX to EDX. */
function supported(without: { l1c?: number; l7b?: number }): Uint32Array {
  return Uint32Array.from(
    [
      [1, 0, 0, 0, 0, ALL & ~(without.l1c ?? 0), ALL],
      [7, 0, 0, 0, ALL & ~(without.l7b ?? 0), ALL, ALL],
      [0xd, 1, 0, ALL, 0, 0, 0],
      [0x8000_0001, 0, 0, 0, 0, ALL, ALL],
      [0x8000_0008, 0, 0, 48, 0, 0, 0],
    ].flat(),
  );
}

const XSAVE = 1 << 26;
const AVX = 1 << 28;
const PCID = 1 << 17;
const AVX2 = 1 << 5;
const SMEP = 1 << 7;
const user = Uint32Array.from([[1, 0, 0, 0, ALL, ALL], [7, 0, 0, ALL, ALL, ALL], [0xd, 1, ALL, 0, 0, 0], [0x8000_0001, 0, 0, 0, ALL, ALL]].flat());
const cpuid = supported({ l1c: XSAVE | AVX | PCID, l7b: AVX2 | SMEP });
const has = (m: CpuModel): string[] => ['xsave', 'avx', 'avx2', 'pcid', 'smep', 'sse4_2'].filter((f) => m.features.has(f));
const max = CpuModel.parse('max');

describe('the CPU of a guest on KVM', () => {
  it('has what KVM supports', () => {
    expect(has(kvmModel(max, { cpuid, userCpuid: null }, true))).toEqual(['sse4_2']);
    expect(has(kvmModel(max, { cpuid: supported({}), userCpuid: null }, false))).toEqual(['xsave', 'avx', 'avx2', 'pcid', 'smep', 'sse4_2']);
  });

  it('has the instructions that user mode finds, and no more of kernel mode, where the engine has kernel mode', () => {
    expect(has(kvmModel(max, { cpuid, userCpuid: user }, true))).toEqual(['xsave', 'avx', 'avx2', 'sse4_2']);
    expect(has(kvmModel(max, { cpuid, userCpuid: user }, false))).toEqual(['sse4_2']);
  });

  it('has nothing that was not asked for', () => {
    expect(has(kvmModel(CpuModel.parse('max,-avx'), { cpuid, userCpuid: user }, true))).toEqual(['xsave', 'sse4_2']);
  });
});
