/** The text of --accel: NAME[,property=value...]. */
import { UsageError } from '../errors.js';
import type { KvmOptions } from './kvm/kvm.js';
import { KVM_DEVICE } from './kvm/system.js';

export const ACCELS = ['auto', 'kvm', 'jit', 'interp'] as const;
export type AccelName = (typeof ACCELS)[number];

/** What executes the guest, and how KVM is to be used where it is. */
export interface AccelConfig {
  name: AccelName;
  /** Nobody has asked: what is chosen is not worth a message. */
  silent: boolean;
  kvm: KvmOptions & { device: string };
}

const on = (text: string | undefined): boolean => {
  if (text !== 'on' && text !== 'off') throw new UsageError(`--accel: fallback=${text ?? ''} must be on or off`);
  return text === 'on';
};

/** Default `auto`. `auto`, `jit`, `interp` or `kvm[,fallback=on|off][,kernel=auto|kvm|engine][,irqchip=auto|off|split|full][,dirty=auto|ring|log][,ioeventfd=auto|on|off][,device=PATH]`. */
export function parseAccel(text: string | undefined): AccelConfig {
  const [name, ...properties] = (text ?? 'auto').split(',') as [string, ...string[]];
  const accel = ACCELS.find((a) => a === name);
  if (accel === undefined) throw new UsageError(`--accel: '${name}' is not available (${ACCELS.join(', ')} are)`);
  const config: AccelConfig = { name: accel, silent: text === undefined, kvm: { device: KVM_DEVICE, fallback: true, kernel: 'auto', irqchip: 'auto', dirty: 'auto', ioeventfd: 'auto' } };
  for (const p of properties) {
    if (accel !== 'kvm') throw new UsageError(`--accel: ${accel} has no property '${p}'`);
    const [key, value] = p.split('=', 2) as [string, string | undefined];
    if (key === 'fallback') config.kvm.fallback = on(value);
    else if (key === 'device' && value !== undefined && value !== '') config.kvm.device = value;
    else if (key === 'kernel') {
      if (value !== 'auto' && value !== 'kvm' && value !== 'engine') throw new UsageError(`--accel: kernel=${value ?? ''} must be auto, kvm or engine`);
      config.kvm.kernel = value;
    } else if (key === 'irqchip') {
      if (value !== 'auto' && value !== 'off' && value !== 'split' && value !== 'full') throw new UsageError(`--accel: irqchip=${value ?? ''} must be auto, off, split or full`);
      config.kvm.irqchip = value;
    } else if (key === 'dirty') {
      if (value !== 'auto' && value !== 'ring' && value !== 'log') throw new UsageError(`--accel: dirty=${value ?? ''} must be auto, ring or log`);
      config.kvm.dirty = value;
    } else if (key === 'ioeventfd') {
      if (value !== 'auto' && value !== 'on' && value !== 'off') throw new UsageError(`--accel: ioeventfd=${value ?? ''} must be auto, on or off`);
      config.kvm.ioeventfd = value;
    } else throw new UsageError(`--accel: kvm has no property '${p}' (fallback, kernel, irqchip, dirty, ioeventfd, device)`);
  }
  return config;
}
