/** `vmx-accel doctor`: what this host offers, and what to do where something is missing. */
import type { CommandModule } from 'yargs';
import { apicKeepsInService, engineKeepsKernel, type KvmHost, kvmHost, SLOW_KERNEL_NS } from '../accel/kvm/system.js';
import { VmxError } from '../errors.js';
import { loadNative } from '../native.js';

interface Check {
  name: string;
  ok: boolean;
  /** Not needed: its absence is no failure. */
  optional?: boolean;
  detail: string;
}

function attempt(name: string, fn: () => string): Check {
  try {
    return { name, ok: true, detail: fn() };
  } catch (e) {
    return { name, ok: false, detail: e instanceof VmxError ? `${e.message} (${e.code})` : String(e) };
  }
}

/** What this KVM has besides what is needed, and what is done where it lacks it. */
function kvmDetails(h: KvmHost): Check[] {
  const detail = (name: string, ok: boolean, has: string, without: string): Check => ({ name: `kvm ${name}`, ok, optional: true, detail: ok ? has : without });
  const slow = engineKeepsKernel('auto', h);
  const chips = (['split', 'full'] as const).filter((c) => h.irqchip[c]);
  return [
    detail('irqchip', chips.length > 0, `${chips.join(' and ')}: interrupt controllers in the kernel, if asked for${slow ? ' together with kernel=kvm' : ''} (irqchip=)`, 'interrupt controllers are the devices\' own (irqchip=off): every access to a local APIC exits'),
    ...(h.irqchip.full ? [detail('local apic', apicKeepsInService(h), 'the kernel\'s keeps an interrupt in service until its EOI', 'the kernel\'s ends an interrupt as it delivers it: with irqchip=split or full some come twice')] : []),
    detail('ioeventfd', h.ioeventfd, 'a virtio doorbell need not exit (ioeventfd=on)', 'every virtio doorbell exits'),
    detail('irqfd', h.irqfd, 'with resampling', 'no interrupts by eventfd; nothing here needs them'),
    detail('dirty ring', h.dirtyRing > 0, h.kernelNsPerInsn > SLOW_KERNEL_NS ? 'there, but the dirty log is used: this KVM emulates many instructions at a time (dirty=ring)' : 'vCPUs note the pages that they write', 'written pages are found by the dirty log'),
    detail('breakpoints', h.breakpoints, 'a debugger\'s are kept in debug registers', 'a debugged CPU stays on the engine'),
    detail('coalesced mmio', h.coalescedPage > 0, 'writes to VGA memory are collected', 'every write to VGA memory exits'),
    detail('emulation exits', h.emulationFailureExits, 'an instruction that KVM cannot execute is told with its bytes', 'KVM does not tell which instruction it cannot execute: its bytes are read from memory'),
    detail('nested paging', !h.keepsTranslations, 'KVM needs not be told of page tables that the engine has changed', 'KVM shadows page tables, and is made to drop them after the engine has run'),
    detail('cpuid', h.userCpuid === null, 'user mode finds the CPU that the guest is given, too', `user mode finds the host's CPU: the guest is given the instructions that the host and the engine have${slow ? '' : ' with kernel=engine'}`),
    detail('tsc offset', h.tscOffsets, 'a guest\'s time stands still while it is paused', 'the guest sees the host\'s counter as it is'),
    detail('hyper-v', h.synic, 'this KVM has a SynIC; --cpu hv=on is served here all the same', 'this KVM has no SynIC; --cpu hv=on is served here, with irqchip=off'),
  ];
}

/** Runs every check. */
export function diagnose(): Check[] {
  const checks: Check[] = [{ name: 'node', ok: true, detail: `${process.version} ${process.platform} ${process.arch}` }];
  const addon = attempt('addon', () => {
    loadNative();
    return 'loaded';
  });
  checks.push(addon);
  if (!addon.ok) return checks;
  const native = loadNative();
  checks.push(
    attempt('executable memory', () => {
      native.free(native.allocExec(65536));
      return 'available: the JIT can run';
    }),
  );
  checks.push({
    name: 'jit back end',
    ok: process.arch === 'x64',
    detail: process.arch === 'x64' ? 'x86-64' : `none for ${process.arch}: guests run on the interpreter`,
  });
  checks.push(attempt('host features', () => native.cpuFeatures().filter((f) => /^(sse4_2|avx|avx2|bmi2|fma|aes|sha_ni|avx512f)$/.test(f)).join(' ')));
  checks.push({
    ...attempt('kvm', () => {
      const h = kvmHost();
      const ns = h.kernelNsPerInsn;
      const speed = ns > SLOW_KERNEL_NS ? `kernel mode is emulated, ${Math.round(ns)} ns an instruction: --accel kvm uses it for user mode only, auto uses the JIT` : `kernel mode ${ns.toFixed(1)} ns an instruction`;
      const lacks = [h.keepsTranslations ? 'no nested paging' : '', h.tscOffsets ? '' : 'no TSC offsets', h.emulationFailureExits ? '' : 'does not tell which instructions it cannot emulate'].filter((t) => t !== '');
      return `available: up to ${h.maxVcpus} CPUs, TSC ${Math.round(h.tscKHz / 1000)} MHz; ${[speed, ...lacks].join('; ')}`;
    }),
    optional: true,
  });
  if (checks.at(-1)!.ok) checks.push(...kvmDetails(kvmHost()));
  checks.push(
    attempt('memory', () => {
      const m = native.hostMemory();
      return `${Math.floor(m.available / 1048576)}M of ${Math.floor(m.total / 1048576)}M available`;
    }),
  );
  return checks;
}

export const doctorCommand: CommandModule = {
  command: 'doctor',
  describe: 'say what this host can do',
  handler: () => {
    const checks = diagnose();
    const colour = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
    for (const c of checks) {
      const mark = c.ok ? 'ok  ' : c.optional ? 'none' : 'FAIL';
      process.stdout.write(`${colour ? `\x1b[${c.ok ? 32 : c.optional ? 33 : 31}m${mark}\x1b[0m` : mark} ${c.name.padEnd(18)} ${c.detail}\n`);
    }
    process.exitCode = checks.every((c) => c.ok || c.optional) ? 0 : 1;
  },
};
