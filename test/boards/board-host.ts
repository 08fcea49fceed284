/** A machine without CPUs around a board: enough to look at what a guest would see. */
import type { PcBoardHost } from '#lib/boards/board.js';
import { HIGH_RAM, ramLayout } from '#lib/boot/e820.js';
import { ManualClock } from '#lib/devices/clock.js';
import type { MachineConfig } from '#lib/machine/config.js';
import { PhysicalMemory } from '#lib/memory/physical.js';

const EXTRA = 64 * 1024 * 1024;

export function boardHost(config: MachineConfig): PcBoardHost {
  const memory = new PhysicalMemory(new ArrayBuffer(config.memory + EXTRA), 0x1000_0000);
  const { low, high } = ramLayout(config.machine, config.memory);
  memory.mapRam(0, 0xa_0000, 0);
  memory.mapRam(0x10_0000, low - 0x10_0000, 0x10_0000);
  if (high > 0) memory.mapRam(HIGH_RAM, high, low);
  let extra = config.memory;
  return {
    config,
    memory,
    extraRam: (bytes) => (extra += bytes) - bytes,
    clock: new ManualClock(0),
    wallClock: () => config.rtc,
    tscKHz: 1_000_000,
    x2apic: true,
    physBits: 40,
    tsc: () => 0,
    random: (buf) => void buf.fill(4),
    serialOutput() {},
    debugOutput() {},
    powerOff() {},
    reset() {},
    suspend() {},
    wake() {},
    exit() {},
    setA20() {},
    currentCpu: () => 0,
    log() {},
    portRegisters: () => null,
    releaseRam() {},
    port: () => ({ room: 0, send() {}, consumed() {}, end() {}, close() {} }),
    panicked() {},
    watchdog() {},
    deviceRemoved() {},
    intrChanged() {},
    nmi() {},
    init() {},
    sipi() {},
  };
}
