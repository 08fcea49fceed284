/** What both control protocols do to a machine. */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodePng, encodePpm } from '../display/png.js';
import type { VirtualMachine } from '../machine/virtual-machine.js';
import { ControlError } from './error.js';

/** RunState of query-status. */
export function runState(vm: VirtualMachine): { running: boolean; status: string } {
  switch (vm.state) {
    case 'created':
      return { running: false, status: 'prelaunch' };
    case 'running':
      return { running: true, status: 'running' };
    case 'paused':
      return { running: false, status: 'paused' };
    case 'ended':
      return { running: false, status: 'shutdown' };
  }
}

/** Writes the screen to a file. @throws ControlError */
export async function screendump(vm: VirtualMachine, file: string, format: 'png' | 'ppm'): Promise<void> {
  const picture = await vm.screen.picture();
  const bytes = format === 'png' ? await encodePng(picture) : encodePpm(picture);
  try {
    await writeFile(file, bytes);
  } catch (e) {
    throw new ControlError(`Could not open '${file}': ${(e as Error).message}`);
  }
}

const MAX_HOLD_MS = 10_000;
/** Keys down in order, held, and up in reverse. Names are QKeyCode's. */
export async function sendKeys(vm: VirtualMachine, keys: readonly string[], holdMs: number): Promise<void> {
  if (holdMs < 0 || holdMs > MAX_HOLD_MS) throw new ControlError(`Parameter 'hold-time' expects 0 to ${MAX_HOLD_MS}`);
  if (holdMs === 0) return vm.keyboard.press(keys.join('-'));
  for (const k of keys) await vm.keyboard.down(k);
  await sleep(holdMs);
  for (const k of [...keys].reverse()) await vm.keyboard.up(k);
}
