/** Pointer authentication against the pseudocode of the Arm ARM (J1.3: AddPAC, Auth, Strip) with this program's ComputePAC: random cases, both executors. */
import { describe, expect, it } from 'vitest';
import { noAddon, skipFor } from '../boot/guests.js';
import { Emulator } from './emulate.js';
import { Random } from './generate.js';
import { At, RECORD } from './state.js';

const u64 = (v: bigint): bigint => BigInt.asUintN(64, v);
const bit = (v: bigint, n: number): boolean => ((v >> BigInt(n)) & 1n) !== 0n;
/** Bits hi..lo, set. */
const ones = (hi: number, lo: number): bigint => (((1n << BigInt(hi - lo + 1)) - 1n) << BigInt(lo));

interface Regime { tsz: [number, number]; tbi: [boolean, boolean]; tbid: [boolean, boolean] }

const ignoresTop = (r: Regime, upper: boolean, data: boolean): boolean => {
  const h = upper ? 1 : 0;
  return r.tbi[h]! && (data || !r.tbid[h]!);
};
const bottom = (r: Regime, upper: boolean): number => 64 - Math.max(16, Math.min(39, r.tsz[upper ? 1 : 0]!));

/** Bits 54..bottom, and 63..56 unless they are a tag. */
const field = (r: Regime, upper: boolean, tbi: boolean): bigint => ones(54, bottom(r, upper)) | (tbi ? 0n : ones(63, 56));

/** docs/adr/0068. `address`: with the bits of the code set. */
function computePac(address: bigint, modifier: bigint, lo: bigint, hi: bigint): bigint {
  const product = (address ^ lo) * (modifier ^ hi);
  return u64(product) ^ (product >> 64n);
}

function addPac(r: Regime, ptr: bigint, modifier: bigint, lo: bigint, hi: bigint, data: boolean): bigint {
  const sel = ignoresTop(r, false, data) || ignoresTop(r, true, data) ? bit(ptr, 55) : bit(ptr, 63);
  // The tag is the address's own half's; without tags the half is the selected one.
  const f = field(r, sel, ignoresTop(r, sel, data));
  const based = (ptr & ~(1n << 55n)) | (sel ? 1n << 55n : 0n);
  return based ^ (computePac(based | f, modifier, lo, hi) & f);
}

function auth(r: Regime, ptr: bigint, modifier: bigint, lo: bigint, hi: bigint, data: boolean): bigint {
  const f = field(r, bit(ptr, 55), ignoresTop(r, bit(ptr, 55), data));
  return ptr ^ (computePac(ptr | f, modifier, lo, hi) & f);
}

function strip(r: Regime, ptr: bigint, data: boolean): bigint {
  const f = field(r, bit(ptr, 55), ignoresTop(r, bit(ptr, 55), data));
  return bit(ptr, 55) ? ptr | f : ptr & ~f;
}

const ENABLES = [31, 30, 27, 13];
const EDGES = [0n, u64(-1n), 1n << 55n, 1n << 63n, ones(63, 56), ones(62, 55), 0x7fff_ffff_ffffn, u64(-0x8000_0000_0000n), 0x40_0000_0000n];

describe.skipIf(skipFor(noAddon))('pointer authentication as the pseudocode has it', () => {
  it.each([['interpreter', false], ['generated code', true]] as const)('%s', (_name, jit) => {
    const random = new Random(jit ? 5 : 4);
    const value = (): bigint => {
      const v = (BigInt(random.next()) << 32n) | BigInt(random.next());
      const k = random.below(4);
      // Addresses of either half, edges, anything.
      return k === 0 ? v & ones(46, 0) : k === 1 ? v | ones(63, 39) : k === 2 ? random.pick(EDGES) ^ (v & 0xffffn) : v;
    };
    const emulator = new Emulator(jit, 'max');
    const bytes = new ArrayBuffer(RECORD);
    const input = new DataView(bytes);
    const output = new DataView(new ArrayBuffer(RECORD));
    for (let n = 0; n < 6000; n++) {
      const r: Regime = {
        tsz: [25, random.below(40)], tbi: [random.below(2) === 1, random.below(2) === 1], tbid: [random.below(2) === 1, random.below(2) === 1],
      };
      const on = ENABLES.map(() => random.below(8) !== 0);
      const flag = (b: boolean, at: number): number => (b ? 1 << at : 0);
      emulator.tcr = [r.tsz[1]! << 16, flag(r.tbi[0]!, 5) | flag(r.tbi[1]!, 6) | flag(r.tbid[0]!, 19) | flag(r.tbid[1]!, 20)];
      emulator.sctlr = ENABLES.reduce((all, at, k) => all | flag(on[k]!, at), 0);
      emulator.keys = Array.from({ length: 10 }, () => (BigInt(random.next()) << 32n) | BigInt(random.next()));
      const x = Array.from({ length: 31 }, value);
      const sp = value() & ~15n;
      const op = random.below(12);
      const key = op & 3;
      const [lo, hi] = [emulator.keys[key * 2]!, emulator.keys[key * 2 + 1]!];
      const data = key >= 2;
      // X0..X15, as register 28 is the runner's.
      const [d, m] = [random.below(16), random.below(16)];
      let word: number;
      let to = d;
      let want: bigint;
      if (op < 8) {
        const form = random.below(3);
        const hint = form === 2 && key < 2;
        const modifier = hint ? sp : form === 0 ? 0n : x[m]!;
        // PACIA Xd, Xm; PACIZA Xd; PACIASP.
        word = hint ? 0xd503_233f | ((op & 4) << 5) | (key << 6) : form === 0 ? 0xdac1_23e0 | (op << 10) | d : 0xdac1_0000 | (op << 10) | (m << 5) | d;
        if (hint) to = 30;
        else if (form === 2) word = 0xdac1_0000 | (op << 10) | (m << 5) | d;
        want = !on[key]! ? x[to]! : (op < 4 ? addPac : auth)(r, x[to]!, modifier, lo, hi, data);
      } else if (op < 10) {
        word = 0xdac1_43e0 | ((op & 1) << 10) | d;
        want = strip(r, x[d]!, (op & 1) === 1);
      } else {
        word = 0x9ac0_3000 | (m << 16) | (d << 5) | 3;
        to = 3;
        want = computePac(x[d]!, x[m]!, emulator.keys[8]!, emulator.keys[9]!) & ones(63, 32);
      }
      for (let i = 0; i < RECORD; i += 4) input.setUint32(i, 0, true);
      x.forEach((v, i) => input.setBigUint64(At.X + 8 * i, v, true));
      input.setBigUint64(At.SP, sp, true);
      input.setUint32(At.OFFSET, 8 + (n % 200) * 256, true);
      input.setUint32(At.COUNT, 1, true);
      input.setInt32(At.CODE, word | 0, true);
      emulator.run(input, output, 0);
      const got = output.getBigUint64(At.X + 8 * to, true);
      const what = `case ${n}: ${(word >>> 0).toString(16)} of ${x[to]!.toString(16)}, tsz ${r.tsz.join()} tbi ${r.tbi.join()} tbid ${r.tbid.join()}`;
      expect(`${what}: signal ${output.getBigInt64(At.SIGNAL, true)}, ${got.toString(16)}`).toBe(`${what}: signal 0, ${want.toString(16)}`);
    }
  }, 120_000);
});
