/**
 * Drives any device with random accesses, time that jumps and goes backwards, guest memory full of hostile structures, resets
 * and save/restore round trips, from a fixed seed, and asserts what must hold for every device: nothing throws, read values
 * fit their size, timers fire at a bounded rate, memory is accessed where there is some, and a restored state saves identically.
 * `node bench/fuzz.mjs` runs the same for as long as one likes.
 */
import { expect } from 'vitest';
import type { Device, IoHandler, IrqLine } from '#lib/devices/device.js';
import { ManualClock } from '#lib/devices/clock.js';
import { VmxError } from '#lib/errors.js';
import { TestMemory } from './memory.js';

export interface Region {
  io: IoHandler;
  length: number;
  /** Access sizes to try; default 1, 2 and 4. */
  sizes?: readonly number[];
}

export interface FuzzTarget {
  device: Device;
  regions: readonly Region[];
  /** Input from outside: keys, characters, line levels. */
  pokes?: readonly ((random: number) => void)[];
}

export interface FuzzEnv {
  clock: ManualClock;
  line: () => TestLine;
  /** Guest memory for DMA; asking for it makes the fuzzer scribble in it all the time. */
  readonly memory: TestMemory;
}

/** An interrupt line that remembers. */
export class TestLine implements IrqLine {
  level = false;
  rises = 0;
  set(level: boolean): void {
    if (level && !this.level) this.rises++;
    this.level = level;
  }
}

/** mulberry32. */
export function randomFrom(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** No device may ask for more than 50,000 interrupts a second, however it is programmed. */
const MAX_FIRED = 1000;
const LIMITS: Record<number, number> = { 1: 0xff, 2: 0xffff, 4: 0xffffffff };

/** Bytes of guest memory: small, so that random addresses often hit it. */
const MEMORY = 0x1_0000;
/** What the long run asks for (bench/fuzz.mjs): operations, a seed, one device by name. */
const { VMX_FUZZ_OPS: LONG, VMX_FUZZ_SEED: SEED, VMX_FUZZ_DEVICE: ONLY } = process.env;

const ran = new Set<string>();

export function fuzzDevice(factory: (env: FuzzEnv) => FuzzTarget, steps = 4000, seed = 1): void {
  const random = randomFrom(SEED === undefined ? seed : Number(SEED) + seed);
  const clock = new ManualClock(1_000_000_000);
  let memory: TestMemory | null = null;
  const { device, regions, pokes = [] } = factory({
    clock,
    line: () => new TestLine(),
    get memory() {
      return (memory ??= new TestMemory(MEMORY));
    },
  });
  if (ONLY !== undefined && ONLY !== device.name) return;
  if (LONG !== undefined) {
    // Once is enough, whatever number of seeds a test has.
    if (ran.has(device.name)) return;
    ran.add(device.name);
  }
  const count = LONG === undefined ? steps : Number(LONG);
  const started = Date.now();
  let stateSize = 0;
  for (let i = 0; i < count; i++) {
    if (memory !== null && i % 4 === 0) scribble(memory, random);
    const r = random() % 100;
    if (r < 90) access(regions[random() % regions.length], random);
    else if (r < 95) {
      // Small steps mostly; at times hours, in one jump; at times back, as after a restore.
      const kind = random() % 16;
      if (kind === 0) clock.jump(-Math.min(clock.now(), random() % 1_000_000_000));
      else {
        const fired = kind < 3 ? clock.jump(random() * 1000) : clock.advance(random() % 2_000_000);
        if (fired > MAX_FIRED) expect.fail(`${fired} timers fired in 2 ms`);
      }
      if (clock.now() > MAX_TIME) clock.jump(-MAX_TIME / 2);
    } else if (r < 98 && pokes.length > 0) pokes[random() % pokes.length](random());
    else if (r === 98) {
      // Large states (buffers of a disk controller) less often: they would be all that a run does.
      if (stateSize < LARGE_STATE || random() % 16 === 0) stateSize = roundTrip(device, random);
    }
    else if (random() % 10 === 0) device.reset();
  }
  roundTrip(device, random);
  if (LONG !== undefined) process.stderr.write(`fuzz: ${device.name}: ${count} operations, seed ${Number(SEED ?? 0) + seed}, ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

/** Characters of a saved state from which on it is large. */
const LARGE_STATE = 8192;

/** Guest time stays below this: 52 days. */
const MAX_TIME = 2 ** 52;

/** What guests put into memory to break devices: all kinds of lengths and addresses, pointers to each other. */
function scribble(memory: TestMemory, random: () => number): void {
  const at = (random() % (MEMORY / 4)) * 4;
  const kind = random() % 6;
  const v = kind === 0 ? 0 : kind === 1 ? 0xffffffff : kind === 2 ? random() % MEMORY : kind === 3 ? random() & 0x1f : kind === 4 ? 1 << random() % 32 : random();
  memory.write32(at, v >>> 0);
}

function access(region: Region, random: () => number): void {
  const sizes = region.sizes ?? [1, 2, 4];
  const size = sizes[random() % sizes.length];
  let offset = random() % region.length;
  if (random() % 4 !== 0) offset -= offset % size;
  // Interesting values more often than chance would have it.
  const kind = random() % 4;
  const raw = kind === 0 ? 0xffffffff : kind === 1 ? 1 << random() % 32 : kind === 2 ? random() & 0xff : random();
  if (random() & 1) {
    const v = region.io.read(offset, size);
    if (!Number.isInteger(v) || v < 0 || v > LIMITS[size]) {
      expect.fail(`read(${offset.toString(16)}, ${size}) gave ${v}`);
    }
  } else {
    region.io.write(offset, size, (raw & LIMITS[size]) >>> 0);
  }
}

/**
 * Saves, disturbs, restores, saves again; then tries a damaged state, which must be refused or taken, never half taken.
 * Returns how many characters the state has.
 */
function roundTrip(device: Device, random: () => number): number {
  const text = JSON.stringify(device.save());
  device.reset();
  device.restore(JSON.parse(text));
  expectState(device, text);
  const damaged = JSON.parse(text);
  const keys = Object.keys(damaged);
  const junk = [null, -2, 1.5, 1e300, 'x', [], {}, true, undefined];
  damaged[keys[random() % keys.length]] = junk[random() % junk.length];
  try {
    device.restore(damaged);
  } catch (e) {
    if (!(e instanceof VmxError)) throw e;
    expectState(device, text);
    return text.length;
  }
  device.restore(JSON.parse(text));
  return text.length;
}

/** A comparison of its own first: the library's assertion costs more than all else here. */
function expectState(device: Device, text: string): void {
  const now = JSON.stringify(device.save());
  if (now !== text) expect(now).toBe(text);
}
