import { describe, expect, it } from 'vitest';
import { TimeScale } from '#lib/engine/jit/time-scale.js';
import { dropTimeScale, Slot } from '#lib/engine/state.js';
import { Random } from './fake-cpu.js';

/** A host whose counter runs at 2.6 GHz while its clock says what it likes, and a guest counter of 1 GHz. */
class World {
  readonly V = new Int32Array(512);
  readonly view = new DataView(this.V.buffer);
  readonly scale = new TimeScale(this.V, 1);
  host = 1n << 40n;
  ns = 5e9;
  offset = -5e9;
  private last = 0n;

  pass(ns: number, rate = 2.6): void {
    this.ns += ns;
    this.host += BigInt(Math.round(ns * rate));
  }
  sync(error = 0): void {
    this.scale.sync(this.host, this.ns + error, BigInt(Math.round(this.ns + error + this.offset)));
  }
  /** What op TIME gives. */
  read(): bigint {
    const at = (s: number): bigint => this.view.getBigUint64(s * 8, true);
    return BigInt.asUintN(64, at(Slot.TIME_GUEST) + (((this.host - at(Slot.TIME_HOST)) * at(Slot.TIME_SCALE)) >> 32n));
  }
  /** Reads, checks that time does not run backwards; distance from the true counter in ns. */
  check(): number {
    const t = this.read();
    expect(t).toBeGreaterThanOrEqual(this.last);
    this.last = t;
    return Number(t) - (this.ns + this.offset);
  }
  forget(): void {
    this.last = 0n;
  }
}
const on = (w: World): boolean => (w.V[Slot.TIME_SCALE * 2]! | w.V[Slot.TIME_SCALE * 2 + 1]!) !== 0;

describe('the counter of generated code', () => {
  it('is left to the helper until the rate is known', () => {
    const w = new World();
    w.sync();
    w.pass(1e6);
    w.sync();
    expect(on(w)).toBe(false);
    w.pass(1e8);
    w.sync();
    expect(on(w)).toBe(true);
    expect(Math.abs(w.check())).toBeLessThan(2);
  });
  it('never runs backwards and stays close, with clocks that jitter and drift', () => {
    const w = new World();
    const rnd = new Random(3);
    w.sync();
    w.pass(3e7);
    for (let i = 0; i < 5000; i++) {
      w.sync(rnd.below(400) - 200);
      expect(Math.abs(w.check())).toBeLessThan(5000);
      // Slices of up to 2 ms, and sleeps, in which nobody reads it.
      const asleep = rnd.below(100) === 0;
      w.pass(asleep ? 1e8 : rnd.below(2e6), 2.6 * (1 + (rnd.below(3) - 1) * 1e-5));
      if (asleep) w.sync(rnd.below(400) - 200);
      expect(Math.abs(w.check())).toBeLessThan(5000);
    }
  });
  it('goes on where it was after the machine has stood still', () => {
    const w = new World();
    w.sync();
    w.pass(3e7);
    w.sync();
    w.pass(1e6);
    w.check();
    w.pass(1e10);
    w.offset -= 1e10;
    w.sync();
    expect(w.check()).toBeLessThan(50_000);
  });
  it('starts anew when the guest sets its counter, and stays away while it may not be read', () => {
    const w = new World();
    w.sync();
    w.pass(3e7);
    w.sync();
    w.offset += 1e12;
    dropTimeScale(w.V);
    expect(on(w)).toBe(false);
    w.scale.sync(w.host, w.ns, null);
    expect(on(w)).toBe(false);
    w.forget();
    w.sync();
    expect(Math.abs(w.check())).toBeLessThan(1000);
  });
});
