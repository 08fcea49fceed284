import { describe, expect, it } from 'vitest';
import { type PortRegisters, VmMouse } from '#lib/devices/input/vmmouse.js';
import { fuzzDevice } from '../fuzz.js';

const MAGIC = 0x564d_5868;

function mouse(): { m: VmMouse; moves: number[]; call: (cmd: number, ebx?: number) => number[] } {
  const moves: number[] = [];
  const r: PortRegisters = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  const m = new VmMouse(() => r, { move: (dx) => void moves.push(dx) });
  const call = (cmd: number, ebx = 0): number[] => {
    Object.assign(r, { eax: MAGIC, ebx, ecx: cmd, edx: 0x5658 });
    return [m.ports.read(0, 4), r.ebx, r.ecx, r.edx];
  };
  return { m, moves, call };
}

describe('vmmouse', () => {
  it('goes through what the Linux driver does', () => {
    const { m, moves, call } = mouse();
    expect(call(10, ~MAGIC).slice(0, 2)).toEqual([6, MAGIC]);
    expect(call(40)[0]).toBe(0xffff_0000);
    call(41, 0x4541_4552);
    expect(call(40)[0]).toBe(1);
    expect(call(39, 1)[0]).toBe(0x3442_554a);
    expect(m.listening).toBe(false);
    call(41, 0x5342_4152);
    expect(m.listening).toBe(true);
    m.point(0x7fff, 0, 5, -1);
    m.point(0, 0x7fff, 0, 0);
    expect([call(40)[0], moves]).toEqual([8, [1, -1]]);
    expect(call(39, 4)).toEqual([0x28, 0xffff, 0, 0xffff_ffff]);
    const saved = JSON.parse(JSON.stringify(m.save())) as ReturnType<typeof m.save>;
    call(41, 0xf5);
    expect(m.listening).toBe(false);
    m.restore(saved);
    expect(call(39, 4)).toEqual([0, 0, 0xffff, 0]);
    expect(call(39, 4)[0]).toBe(0xffff_ffff);
  });

  it('says nothing without the magic number, or where registers are out of reach', () => {
    const { m } = mouse();
    expect(m.ports.read(0, 4)).toBe(0xffff_ffff);
    expect(new VmMouse(() => null, { move() {} }).ports.read(0, 4)).toBe(0xffff_ffff);
  });

  it.each([1, 2])('fuzz, seed %i', (seed) => {
    fuzzDevice(() => {
      const { m, call } = mouse();
      const commands = [0x4541_4552, 0xf5, 0x5342_4152, 0x4c45_5252, 1, 4];
      return { device: m, regions: [{ io: m.ports, length: 4 }], pokes: [(r): void => m.point(r & 0xffff, r >>> 16, r & 31, (r & 7) - 3), (r): void => void call(38 + (r & 3), commands[(r >>> 2) % 6])] };
    }, 2000, seed);
  });
});
