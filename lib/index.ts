/** vmx-accel: virtual machines in Node.js. */
export { VirtualMachine } from './machine/virtual-machine.js';
export type { VmEvents, VmState } from './machine/virtual-machine.js';
export { parseDisk, parseSize, resolveConfig } from './machine/config.js';
export type { Accel, DebugOptions, DiskConfig, MachineConfig, MachineOptions } from './machine/config.js';
export type { EndReason, EndState, MachineStats } from './machine/protocol.js';
export { UsageError, VmxError } from './errors.js';
