/** The built-in SBI: calls with hostile and ordinary arguments, as the ECALL instruction makes them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { RiscvCpu } from '#lib/engine/guest/riscv/cpu.js';
import { Csr, Irq, Priv, xreg } from '#lib/engine/guest/riscv/defs.js';
import { riscvHelpers, riscvLifter } from '#lib/engine/guest/riscv/guest.js';
import { STATE_BYTES } from '#lib/engine/state.js';
import { Sbi } from '#lib/machine/guests/riscv-sbi.js';
import { PhysicalMemory } from '#lib/memory/physical.js';
import { randomFrom } from '../devices/fuzz.js';

const RAM = 0x8000_0000;
const BYTES = 0x1_0000;
const ENTRY = RAM + 0x2000;
const TREE = RAM + 0x8000;
const IDS = { setTimer: 0, putchar: 1, getchar: 2, clearIpi: 3, shutdown: 8, base: 0x10, time: 0x5449_4d45, ipi: 0x73_5049, rfence: 0x5246_4e43, hsm: 0x48_534d, srst: 0x5352_5354, dbcn: 0x4442_434e };
const [FAILED_SUPPORT, INVALID_PARAM, INVALID_ADDRESS, ALREADY] = [-2n, -3n, -5n, -6n];

let harts: RiscvCpu[];
let memory: PhysicalMemory;
let sbi: Sbi;
let written: string;
let typed: number[];
let ends: string[];
let now = 0;
let hurried: number[];

beforeEach(() => {
  memory = new PhysicalMemory(new ArrayBuffer(BYTES), 0);
  memory.mapRam(RAM, BYTES, 0);
  const helpers = riscvHelpers();
  now = 1000;
  harts = [0, 1, 2].map(
    (index) =>
      new RiscvCpu({
        index, state: { buffer: new ArrayBuffer(STATE_BYTES), address: 0 }, map: memory, isDevice: () => false, clock: { now: () => now * 100 },
        timer: () => ({ arm: () => undefined, disarm: () => undefined }), time: () => now, helpers, lifter: riscvLifter(helpers),
      }),
  );
  [written, typed, ends, hurried] = ['', [], [], []];
  sbi = new Sbi(harts, {
    memory, hurryTo: (i) => hurried.push(i), write: (b) => (written += Buffer.from(b).toString('latin1')), read: () => typed.shift() ?? -1,
    powerOff: () => ends.push('off'), reset: () => ends.push('reset'), exit: (s) => ends.push(`exit ${s}`),
  });
  sbi.boot(ENTRY, TREE);
});

const get = (h: RiscvCpu, n: number): bigint => BigInt.asIntN(64, (BigInt(h.V[xreg(n) * 2 + 1]!) << 32n) | BigInt(h.V[xreg(n) * 2]! >>> 0));
const set = (h: RiscvCpu, n: number, v: bigint): void => h.setReg(xreg(n), Number(BigInt.asIntN(32, v)), Number(BigInt.asIntN(32, v >> 32n)));

/** @returns a0 and a1 */
function call(hart: number, ext: number | bigint, fid: number | bigint, ...args: (number | bigint)[]): [bigint, bigint] {
  const h = harts[hart]!;
  for (let i = 0; i < 6; i++) set(h, 10 + i, BigInt(args[i] ?? 0));
  set(h, 17, BigInt(ext));
  set(h, 16, BigInt(fid));
  h.onSbi!();
  return [get(h, 10), get(h, 11)];
}

describe('the built-in SBI', () => {
  it('hands over hart 0 in S-mode and keeps the others', () => {
    const h = harts[0]!;
    expect([h.priv, get(h, 10), get(h, 11), h.halted, h.csr.satpHi]).toEqual([Priv.S, 0n, BigInt(TREE), false, 0]);
    expect(harts.map((t) => t.halted)).toEqual([false, true, true]);
    expect(h.csr.medeleg & (1 << 9)).toBe(0);
  });

  it('says what it is and which extensions there are', () => {
    expect(call(0, IDS.base, 0)).toEqual([0n, 0x200_0000n]);
    expect(call(0, IDS.base, 1)).toEqual([0n, 0x56_4d58n]);
    for (const id of Object.values(IDS)) expect(call(0, IDS.base, 3, id)).toEqual([0n, 1n]);
    expect(call(0, IDS.base, 3, 0x504d55)).toEqual([0n, 0n]);
    expect(call(0, IDS.base, 3, BigInt(IDS.time) | (1n << 32n))).toEqual([0n, 0n]);
    expect(call(0, IDS.base, 7)[0]).toBe(FAILED_SUPPORT);
    expect(call(0, 0x504d55, 0)[0]).toBe(FAILED_SUPPORT);
    expect(call(0, (1n << 40n) | BigInt(IDS.base), 0)[0]).toBe(FAILED_SUPPORT);
  });

  it('starts, reports and stops harts', () => {
    expect(call(0, IDS.hsm, 2, 1)).toEqual([0n, 1n]);
    expect(call(0, IDS.hsm, 0, 1, ENTRY + 0x100, 0x1234_5678_9abcn)).toEqual([0n, 0n]);
    const t = harts[1]!;
    expect([t.priv, get(t, 10), get(t, 11), t.halted, hurried]).toEqual([Priv.S, 1n, 0x1234_5678_9abcn, false, [1]]);
    expect(call(0, IDS.hsm, 2, 1)).toEqual([0n, 0n]);
    expect(call(0, IDS.hsm, 0, 1, ENTRY, 0)[0]).toBe(ALREADY);
    expect(call(0, IDS.hsm, 0, 3, ENTRY, 0)[0]).toBe(INVALID_PARAM);
    expect(call(0, IDS.hsm, 0, -1, ENTRY, 0)[0]).toBe(INVALID_PARAM);
    for (const bad of [0x1000, ENTRY + 1, 2n ** 60n, -2n]) expect(call(0, IDS.hsm, 0, 2, bad, 0)[0]).toBe(INVALID_ADDRESS);
    call(1, IDS.hsm, 1);
    expect(t.halted).toBe(true);
    expect(call(0, IDS.hsm, 2, 1)).toEqual([0n, 1n]);
    // An interrupt does not wake it.
    t.csr.soft |= Irq.SSI;
    t.updateIntr();
    expect(t.halted).toBe(true);
  });

  it('suspends a hart until an interrupt', () => {
    call(0, IDS.hsm, 0, 1, ENTRY, 0);
    const t = harts[1]!;
    t.csr.write(Csr.SIE, Irq.SSI, 0);
    expect(call(1, IDS.hsm, 3, 0)[0]).toBe(0n);
    expect(t.halted).toBe(true);
    expect(call(0, IDS.hsm, 2, 1)).toEqual([0n, 4n]);
    call(0, IDS.ipi, 0, 2, 0);
    expect(t.halted).toBe(false);
    expect(call(0, IDS.hsm, 2, 1)).toEqual([0n, 0n]);
    expect(call(1, IDS.hsm, 3, 0x8000_0000, ENTRY, 0)[0]).toBe(FAILED_SUPPORT);
  });

  it('sends interrupts to those in the mask that run', () => {
    call(0, IDS.hsm, 0, 2, ENTRY, 0);
    expect(call(0, IDS.ipi, 0, 0b11, 1)).toEqual([0n, 0n]);
    expect(harts.map((h) => h.csr.soft & Irq.SSI)).toEqual([0, 0, Irq.SSI]);
    expect(call(0, IDS.ipi, 0, 0, -1)).toEqual([0n, 0n]);
    expect(harts.map((h) => h.csr.soft & Irq.SSI)).toEqual([Irq.SSI, 0, Irq.SSI]);
    expect(call(0, IDS.ipi, 0, 1n << 63n, 0)[0]).toBe(INVALID_PARAM);
    expect(call(0, IDS.ipi, 0, 1, 2n ** 63n)[0]).toBe(INVALID_PARAM);
    call(0, IDS.clearIpi, 0);
    expect(harts[0]!.csr.soft & Irq.SSI).toBe(0);
  });

  it('sets the timer of the hart that asks', () => {
    call(0, IDS.time, 0, now + 10);
    expect(harts[0]!.csr.mip() & Irq.STI).toBe(0);
    now += 10;
    expect(harts[0]!.csr.mip() & Irq.STI).toBe(Irq.STI);
    call(0, IDS.setTimer, 0, -1);
    expect(harts[0]!.csr.mip() & Irq.STI).toBe(0);
  });

  it('flushes translations of those in the mask', () => {
    call(0, IDS.hsm, 0, 1, ENTRY, 0);
    const pages: string[] = [];
    for (const h of harts) {
      h.mmu.flushPage = (lo, hi): void => void pages.push(`${h.index}:${hi.toString(16)}:${(lo >>> 0).toString(16)}`);
      h.mmu.flushAll = (): void => void pages.push(`${h.index}:all`);
    }
    expect(call(0, IDS.rfence, 1, 0b111, 0, 0xffff_e800n, 0x1801)).toEqual([0n, 0n]);
    expect(pages.splice(0)).toEqual([0, 1].flatMap((h) => [`${h}:0:ffffe000`, `${h}:0:fffff000`, `${h}:1:0`]));
    call(0, IDS.rfence, 2, 1, 1, 0, 0, 5);
    call(0, IDS.rfence, 1, 1, 0, 0, -1);
    expect(pages.splice(0)).toEqual(['1:all', '0:all']);
    expect(call(0, IDS.rfence, 0, 0, -1)).toEqual([0n, 0n]);
    expect(call(0, IDS.rfence, 3, 1, 0)[0]).toBe(FAILED_SUPPORT);
  });

  it('has a console in memory and byte by byte', () => {
    memory.writeFrom(RAM + 0xff0, Buffer.from('hello, world'));
    expect(call(0, IDS.dbcn, 0, 12, RAM + 0xff0, 0)).toEqual([0n, 12n]);
    call(0, IDS.dbcn, 2, 0x121);
    call(0, IDS.putchar, 0, 0x3f);
    expect(written).toBe('hello, world!?');
    typed = [104, 105, 33];
    expect(call(0, IDS.dbcn, 1, 2, RAM + 0x3000, 0)).toEqual([0n, 2n]);
    expect(Buffer.from(memory.ram8.subarray(0x3000, 0x3003))).toEqual(Buffer.from('hi\0'));
    expect(call(0, IDS.getchar, 0)[0]).toBe(33n);
    expect(call(0, IDS.getchar, 0)[0]).toBe(-1n);
    for (const [n, at, high] of [[4, 0x1000, 0], [4, RAM + BYTES - 2, 0], [4, RAM, 1], [-1, RAM + 0x100, 0], [1, -1, 0]]) {
      expect(call(0, IDS.dbcn, 0, n!, at!, high!)[0]).toBe(INVALID_PARAM);
      typed = [1];
      expect(call(0, IDS.dbcn, 1, n!, at!, high!)[0]).toBe(INVALID_PARAM);
      expect(typed).toEqual([1]);
    }
  });

  it('ends and resets the machine', () => {
    call(0, IDS.srst, 0, 0, 0);
    call(0, IDS.srst, 0, 0, 1);
    call(0, IDS.srst, 0, 1, 0);
    call(0, IDS.srst, 0, 2, 0);
    call(0, IDS.shutdown, 0);
    expect(call(0, IDS.srst, 0, 3, 0)[0]).toBe(INVALID_PARAM);
    expect(ends).toEqual(['off', 'exit 1', 'reset', 'reset', 'off']);
  });

  it('survives whatever it is asked', () => {
    const random = randomFrom(7);
    const ids = [...Object.values(IDS), 4, 5, 6, 7, 9];
    for (let i = 0; i < 20_000; i++) {
      const value = (): bigint => {
        const v = random();
        return [BigInt(v % 4), BigInt(RAM + (v % BYTES)), -1n, BigInt(v) << 32n, 1n << BigInt(v % 64)][random() % 5]!;
      };
      const running = harts.findIndex((h) => !h.halted);
      if (running < 0) sbi.boot(ENTRY, TREE);
      const [error] = call(Math.max(0, running), ids[random() % ids.length]!, random() % 5, value(), value(), value(), value(), value());
      expect(error >= -6n && error < 256n).toBe(true);
      typed.push(random() & 0xff);
    }
  }, 30_000);
});
