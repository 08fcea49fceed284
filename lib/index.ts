/** vmx-accel: virtual machines in Node.js. */
export { VirtualMachine } from './machine/virtual-machine.js';
export type { VmEvents, VmState } from './machine/virtual-machine.js';
export { parseDisk, parseSize, resolveConfig } from './machine/config.js';
export type { Accel, DebugOptions, DiskConfig, DiskIf, DiskOptions, MachineConfig, MachineOptions, MediaKind, VgaKind } from './machine/config.js';
export type { AotMode, AotOptions } from './machine/aot-config.js';
export type { AotStats } from './machine/code-cache.js';
export type { MouseButton, WaitOptions } from './machine/screen.js';
export { Keyboard, Mouse, Screen } from './machine/screen.js';
export type { Picture } from './display/png.js';
export type { AccelStats } from './accel/accelerator.js';
export type { ActiveAccel, EndReason, EndState, MachineStats } from './machine/protocol.js';
export { UsageError, VmxError } from './errors.js';
export { type Endpoint, parseEndpoint } from './control/endpoint.js';
export { Network } from './machine/network.js';
export type { HostForward } from './net/user/user-net.js';
export { VncServer } from './control/vnc/server.js';
export { GdbServer } from './control/gdb/server.js';
export { QmpServer } from './control/qmp/server.js';
