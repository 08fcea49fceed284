/** What Linux's input layer reports. */
import type { Console } from './console.js';

/** The first `count` events of an input device while `act` runs: type, code, value. @param name the device's name, or part of it */
export async function inputEvents(c: Console, name: string, count: number, act: () => Promise<void>): Promise<number[][]> {
  // VMMouse has two, the absolute one first.
  const node = /event\d+/.exec((await c.run(`grep -l '${name}' /sys/class/input/event*/device/name`)).output)![0];
  c.type(`timeout 20 head -c ${count * 24} /dev/input/${node} > /tmp/events & sleep 1; echo "<<"ready">>"\n`);
  await c.until('<<ready>>');
  await act();
  const { output } = await c.run('wait; od -An -v -tx1 -w24 /tmp/events');
  return output
    .split('\n')
    .filter((l) => /^( [0-9a-f]{2}){24}$/.test(l))
    .map((l) => Buffer.from(l.replaceAll(' ', ''), 'hex'))
    .map((b) => [b.readUInt16LE(16), b.readUInt16LE(18), b.readInt32LE(20)]);
}
