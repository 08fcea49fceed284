/** A guest CPU without a guest: plain arrays, identity-mapped RAM, faults outside of it. */
import { GuestFault, type FlushKind, type GuestCpu } from '#lib/engine/cpu.js';
import { HelperRegistry } from '#lib/engine/helpers.js';
import { ConstPool } from '#lib/engine/ir/builder.js';
import { eflagsToFlags, initHints, Slot, STATE_BYTES, TLB_BASE, TLB_ENTRIES, TLB_TABLE_BYTES } from '#lib/engine/state.js';

export const RAM_BYTES = 0x10000;

export interface FakeCpu extends GuestCpu {
  readonly helpers: HelperRegistry<never>;
  readonly pool: ConstPool;
  /** Names of slow paths taken, in order, but for accesses that cross from one known page to another. */
  readonly log: string[];
  get(slot: number): bigint;
  set(slot: number, v: bigint): void;
  /** Flags at their EFLAGS positions. */
  setFlags(eflags: number): void;
  /** Makes a page hit the inline path; writable or not. */
  mapPage(linear: bigint, ram: number, write: boolean, idx?: number): void;
  flushTlb(): void;
}

/** Memory to use instead of plain buffers: what generated code can reach. */
export interface FakeMemory {
  state: { buffer: ArrayBuffer; address: number };
  ram: { buffer: ArrayBuffer; address: number };
}

export function fakeCpu(memory?: FakeMemory): FakeCpu {
  const state = memory?.state.buffer ?? new ArrayBuffer(STATE_BYTES);
  const ram = memory?.ram.buffer ?? new ArrayBuffer(RAM_BYTES);
  const ramAddress = memory?.ram.address ?? 0;
  const V = new Int32Array(state);
  const U8 = new Uint8Array(state);
  const view = new DataView(state);
  const ramView = new DataView(ram);
  const pool = new ConstPool();
  pool.attach(V);
  const fault = new GuestFault('guest fault');
  const log: string[] = [];
  const get = (slot: number): bigint => view.getBigUint64(slot * 8, true);
  const set = (slot: number, v: bigint): void => view.setBigUint64(slot * 8, BigInt.asUintN(64, v), true);
  const raise = (vector: number): never => {
    fault.vector = vector;
    throw fault;
  };
  const locate = (addr: number, bytes: number): number => {
    const x = get(addr);
    if (x + BigInt(bytes) > BigInt(RAM_BYTES)) raise(14);
    return Number(x);
  };
  const put = (dst: number, w: number, v: bigint): void => {
    const bits = BigInt(8 << w);
    if (w < 2 && dst < Slot.TEMP) v |= (get(dst) >> bits) << bits;
    set(dst, v);
  };
  const ramBig = (x: number, w: number): bigint => {
    let v = 0n;
    for (let i = (1 << w) - 1; i >= 0; i--) v = (v << 8n) | BigInt(ramView.getUint8(x + i));
    return v;
  };
  /** True if an access crosses from one page to another and some table has both: generated code does not ask for it (crossing.ts), so that nobody else's asking counts either. */
  const crosses = (addr: number, w: number, acc: number, write: boolean): boolean => {
    const pages = [get(addr), get(addr) + BigInt((1 << w) - 1)].map((x) => BigInt.asIntN(64, x & ~0xfffn));
    if (acc !== 0 || pages[0] === pages[1]) return false;
    const has = (idx: number, page: bigint): boolean => {
      const e = ((TLB_BASE + idx * TLB_TABLE_BYTES) >> 2) + (Number((page >> 12n) & BigInt(TLB_ENTRIES - 1)) << 3) + (write ? 2 : 0);
      return V[e] === Number(BigInt.asIntN(32, page)) && V[e + 1] === Number(BigInt.asIntN(32, page >> 32n));
    };
    return [0, 1, 2, 3, 4, 5, 6, 7].some((idx) => pages.every((page) => has(idx, page)));
  };
  const unexpected = (): never => {
    throw new Error('not expected');
  };
  return {
    index: 0, V, U8, stateAddress: memory?.state.address ?? 0, helpers: new HelperRegistry<never>(), pool, log, get, set, mode: 0, mmuIdx: 0, halted: false, shutdown: false,
    map: {
      ram8: new Uint8Array(ram), ram16: new Uint16Array(ram), ram32: new Int32Array(ram), ramView, ramAddress,
      pageOffset: (pa) => pa, isRom: () => false, read: unexpected, write: unexpected, codePages: new Uint8Array(16), onCodeWrite: unexpected, onDmaCodeWrite: unexpected,
    },
    lifter: { lift: unexpected },
    fetchAddress: unexpected,
    setFlags(e) {
      V[Slot.FLAGS * 2] = eflagsToFlags(e);
      V[Slot.FLAGS * 2 + 1] = 0;
    },
    flushTlb() {
      V.fill(-1, TLB_BASE >> 2, (TLB_BASE + 8 * TLB_TABLE_BYTES) >> 2);
      initHints(V);
    },
    mapPage(linear, ramOffset, write, idx = 0) {
      const e = ((TLB_BASE + idx * TLB_TABLE_BYTES) >> 2) + (Number((linear >> 12n) & BigInt(TLB_ENTRIES - 1)) << 3);
      V[e] = Number(BigInt.asIntN(32, linear));
      V[e + 1] = Number(BigInt.asIntN(32, linear >> 32n));
      V[e + 2] = write ? V[e]! : -1;
      V[e + 3] = write ? V[e + 1]! : -1;
      const addend = BigInt.asIntN(64, BigInt(ramAddress + ramOffset) - linear);
      V[e + 4] = Number(BigInt.asIntN(32, addend));
      V[e + 5] = Number(addend >> 32n);
      V[e + 6] = ramOffset | 5;
    },
    load(w, addr, dst, acc) {
      if (!crosses(addr, w, acc, false)) log.push(`load ${w} ${acc}`);
      put(dst, w, ramBig(locate(addr, 1 << w), w));
    },
    store(w, addr, val, acc) {
      if (!crosses(addr, w, acc, true)) log.push(`store ${w} ${acc}`);
      const x = locate(addr, 1 << w);
      for (let i = 0; i < 1 << w; i++) ramView.setUint8(x + i, U8[val * 8 + i]!);
    },
    loadVec(w, addr, dst) {
      log.push(`loadVec ${w}`);
      const x = locate(addr, 1 << w);
      U8.fill(0, dst * 8, dst * 8 + (w === 5 ? 32 : 16));
      for (let i = 0; i < 1 << w; i++) U8[dst * 8 + i] = ramView.getUint8(x + i);
    },
    storeVec(w, addr, val) {
      log.push(`storeVec ${w}`);
      const x = locate(addr, 1 << w);
      for (let i = 0; i < 1 << w; i++) ramView.setUint8(x + i, U8[val * 8 + i]!);
    },
    divide(signed, w, quot, rem, lo, hi, divisor) {
      log.push('divide');
      const bits = 8 << w;
      const cut = (v: bigint, n: number): bigint => (signed ? BigInt.asIntN(n, v) : BigInt.asUintN(n, v));
      const mask = BigInt.asUintN(bits, -1n);
      const n = cut(((get(hi) & mask) << BigInt(bits)) | (get(lo) & mask), bits * 2);
      const k = cut(get(divisor), bits);
      if (k === 0n) raise(0);
      const q = n / k;
      if (q !== cut(q, bits)) raise(0);
      put(quot, w, q & mask);
      put(rem, w, (n % k) & mask);
    },
    segmentCheck(seg, off, write, bytes) {
      log.push(`segmentCheck ${seg} ${get(off)} ${write} ${bytes}`);
      raise(13);
    },
    alignmentFault: () => raise(13),
    deliverFault: unexpected,
    servicePending: unexpected,
    afterStep: unexpected,
    onFlush: (_kind: FlushKind) => undefined,
  };
}

/** Deterministic random numbers (xorshift32). */
export class Random {
  constructor(private s: number) {}
  u32(): number {
    this.s ^= this.s << 13;
    this.s ^= this.s >>> 17;
    this.s ^= this.s << 5;
    return this.s >>> 0;
  }
  below(n: number): number {
    return this.u32() % n;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  /** 64 bits, with a bias to edge values. */
  u64(): bigint {
    const v = (BigInt(this.u32()) << 32n) | BigInt(this.u32());
    switch (this.below(8)) {
      case 0:
        return BigInt.asUintN(64, this.pick([0n, 1n, -1n, 0x80n, 0x7fn, 0x8000n, 0x7fffn, 1n << 31n, (1n << 31n) - 1n, 1n << 32n, 1n << 63n, (1n << 63n) - 1n]));
      case 1:
        return v & 0xffn;
      case 2:
        return BigInt.asUintN(64, BigInt.asIntN(16, v));
      case 3:
        return v & 0xffffffffn;
      default:
        return v;
    }
  }
}
