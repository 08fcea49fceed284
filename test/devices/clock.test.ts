import { describe, expect, it } from 'vitest';
import { ManualClock, TimerQueue, nsToTicks, ticksToNs } from '#lib/devices/clock.js';
import { randomFrom } from './fuzz.js';

describe('TimerQueue', () => {
  it('fires in the order of deadlines, equal ones in the order of arming', () => {
    const c = new ManualClock();
    const log: string[] = [];
    const a = c.timer(() => log.push('a'));
    const b = c.timer(() => log.push('b'));
    const d = c.timer(() => log.push('d'));
    d.arm(30);
    b.arm(10);
    a.arm(10);
    expect(c.nextDeadline()).toBe(10);
    c.advance(40);
    expect(log).toEqual(['b', 'a', 'd']);
    expect(c.nextDeadline()).toBe(Infinity);
    expect(a.deadline).toBe(Infinity);
  });

  it('moves and disarms timers, and lets callbacks re-arm', () => {
    const c = new ManualClock();
    let n = 0;
    const t = c.timer((at) => {
      n++;
      if (n < 5) t.arm(at + 10);
    });
    const u = c.timer(() => expect.fail('disarmed'));
    u.arm(5);
    t.arm(50);
    t.arm(10);
    u.disarm();
    c.advance(1000);
    expect(n).toBe(5);
  });

  it('tells when the earliest deadline comes nearer', () => {
    const q = new TimerQueue({ now: () => 0 });
    const seen: number[] = [];
    q.onEarlier((d) => seen.push(d));
    const a = q.timer(() => {});
    const b = q.timer(() => {});
    a.arm(100);
    b.arm(200);
    b.arm(50);
    a.arm(70);
    expect(seen).toEqual([100, 50]);
  });

  it('survives a timer that re-arms into the past', () => {
    const q = new TimerQueue({ now: () => 100 });
    const t = q.timer(() => t.arm(0));
    t.arm(0);
    expect(q.runExpired()).toBe(4096);
  });

  it('keeps its order under random use', () => {
    const random = randomFrom(7);
    const c = new ManualClock();
    let last = 0;
    const timers = Array.from({ length: 50 }, () =>
      c.timer((at) => {
        expect(at).toBeGreaterThanOrEqual(last);
        last = at;
      }),
    );
    for (let i = 0; i < 3000; i++) {
      const t = timers[random() % 50];
      if (random() % 4 === 0) t.disarm();
      else t.arm(c.now() + 1 + (random() % 1000));
      if (random() % 3 === 0) c.advance(random() % 100);
      expect(c.nextDeadline()).toBe(Math.min(...timers.map((x) => x.deadline)));
    }
  });

  it('converts ticks exactly, also late in the life of a machine', () => {
    for (const t of [0, 1, 1193181, 1193182, 123456789012, 8e12 + 17]) {
      const ns = ticksToNs(t, 1193182);
      expect(nsToTicks(ns, 1193182)).toBe(t);
      if (ns > 0) expect(nsToTicks(ns - 1, 1193182)).toBe(t - 1);
    }
  });
});
