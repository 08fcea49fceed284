/** What the differential tests have found, as data: bytes, what matters of the state, and what must come out. Needs no particular host. */
import { describe, expect, it } from 'vitest';
import { loadNative } from '#lib/native.js';
import { Emulator } from './emulator.js';
import { DATA_BYTES, End, newOutcome, S } from './state.js';

/** Linear addresses of the guest's data and code. */
const LAYOUT = { data: 0x7000_0010_0000, code: 0x7000_0020_0000 };
const EXIT = 0x100;
const ENTRY = 0x1000;
const DATA = BigInt(LAYOUT.data);

interface Row {
  readonly what: string;
  readonly code: string;
  /** General registers by number. */
  readonly regs?: Readonly<Record<number, bigint>>;
  readonly xmm?: Readonly<Record<number, readonly [bigint, bigint]>>;
  readonly mxcsr?: number;
  /** RFLAGS. */
  readonly flags?: number;
  readonly fcw?: number;
  readonly fsw?: number;
  readonly ftw?: number;
  readonly expect: {
    readonly regs?: Readonly<Record<number, bigint>>;
    readonly xmm?: Readonly<Record<number, readonly [bigint, bigint]>>;
    readonly fsw?: number;
    readonly ftw?: number;
    readonly mxcsr?: number;
    readonly flags?: number;
    /** Vector of the exception; none: the code runs to its end. */
    readonly fault?: number;
    /** Address of a page fault. */
    readonly address?: number;
  };
}

const NAN = 0x7ff8_0000_0000_0000n;
const ONES = 0xffff_ffff_ffff_ffffn;
const ROWS: readonly Row[] = [
  { what: 'CMPXCHG r32, r32 that fails leaves the destination alone', code: '0fb1e6', regs: { 0: 1n, 6: 0x7efc_28a2_c910n }, expect: { regs: { 6: 0x7efc_28a2_c910n, 0: 0x28a2_c910n } } },
  { what: 'CMPXCHG r32, r32 that succeeds zero-extends it', code: '0fb1d6', regs: { 0: 5n, 2: 0xffff_ffff_8000_0001n, 6: 0x1_0000_0005n }, expect: { regs: { 6: 0x8000_0001n, 0: 5n } } },
  { what: 'VCMPSD with a predicate beyond 7 (LT_OQ) does not signal on a quiet NaN', code: 'c5ebc2cb11', xmm: { 2: [NAN, 7n], 3: [0n, 0n] }, expect: { xmm: { 1: [0n, 7n] }, mxcsr: 0x1f80 } },
  { what: 'VCMPPD TRUE_UQ', code: 'c5e9c2cb0f', xmm: { 2: [NAN, 1n], 3: [0n, 5n] }, expect: { xmm: { 1: [ONES, ONES] } } },
  { what: 'VCMPSS FALSE_OS signals on a quiet NaN', code: 'c5eac2cb1b', xmm: { 2: [0x7fc0_0000n, 0n], 3: [0n, 0n] }, expect: { xmm: { 1: [0n, 0n] }, mxcsr: 0x1f81 } },
  { what: 'EMMS clears TOP', code: '0f77', fsw: 0x4d00, ftw: 0xff, expect: { fsw: 0x4500, ftw: 0 } },
  { what: 'FNSETPM does nothing, pending exception or not', code: 'dbe4', fcw: 0x37e, fsw: 0x8081, expect: { fsw: 0x8081 } },
  { what: 'FWAIT takes a pending exception', code: '9b', fcw: 0x37e, fsw: 0x8081, expect: { fault: 16 } },
  { what: 'FSTP m80 to a read-only page reports its first byte', code: 'db3b', regs: { 3: BigInt(LAYOUT.code + 0x2000) }, ftw: 0xff, expect: { fault: 14, address: LAYOUT.code + 0x2000 } },
  { what: 'MOV from CR15 is #UD at any privilege', code: '440f20fc', expect: { fault: 6 } },
  { what: 'MOV from CR0 is #GP in user mode', code: '0f20c0', expect: { fault: 13 } },
  { what: 'MOV to DR10 is #UD at any privilege', code: '450f23d4', expect: { fault: 6 } },
  { what: 'CLFLUSH of a page that is not there', code: '0fae3b', regs: { 3: 0x5000n }, expect: { fault: 14, address: 0x5000 } },
  { what: 'CLFLUSHOPT of a non-canonical address', code: '660fae3b', regs: { 3: 0x0100_7f00_0000_0000n }, expect: { fault: 13 } },
  { what: 'CLWB of a page that is there', code: '660fae33', regs: { 3: DATA }, expect: {} },
  { what: 'VCVTPS2PH to a read-only page sets no exception flags', code: 'c4e3791d131f', regs: { 3: BigInt(LAYOUT.code + 0x2000) }, xmm: { 2: [0x9357_dbcf_2e58_2975n, 0n] }, expect: { fault: 14, address: LAYOUT.code + 0x2000, mxcsr: 0x1f80 } },
  { what: 'flags are exact at an unmasked floating-point exception (CMC; ADDPS; CLC)', code: 'f50f58c1f8', mxcsr: 0x1f00, xmm: { 0: [0x7f80_0001n, 0n], 1: [0n, 0n] }, expect: { fault: 19, flags: 1 } },
  { what: 'PREFETCHW has no register form', code: '0f0ddd', expect: { fault: 6 } },
  { what: 'a non-canonical address relative to RBP is #SS', code: '8b4500', regs: { 5: 0x0100_7f00_0000_0000n }, expect: { fault: 12 } },
];

/** The JIT works on x86-64 hosts only. */
const kinds = process.arch === 'x64' && process.env['VMX_ACCEL_NO_EXEC'] !== '1' ? (['interp', 'jit'] as const) : (['interp'] as const);

describe.each(kinds)('regressions on %s', (kind) => {
  const e = new Emulator(loadNative(), kind, LAYOUT, EXIT);
  const out = newOutcome();
  const data = new Uint8Array(DATA_BYTES);

  it.each(ROWS.map((r) => [r.what, r] as const))('%s', (_what, r) => {
    const bytes = Buffer.from(r.code, 'hex');
    const code = new Uint8Array(bytes.length + 5);
    code.set(bytes);
    code[bytes.length] = 0xe9;
    new DataView(code.buffer).setInt32(bytes.length + 1, EXIT - (ENTRY + code.length), true);
    e.load(ENTRY, code);
    const state = new Uint8Array(S.BYTES);
    const v = new DataView(state.buffer);
    v.setBigUint64(S.GPR + 32, DATA + 0x2000n, true);
    for (const [n, x] of Object.entries(r.regs ?? {})) v.setBigUint64(S.GPR + Number(n) * 8, x, true);
    for (const [n, x] of Object.entries(r.xmm ?? {})) x.forEach((q, k) => v.setBigUint64(S.YMM + Number(n) * 32 + k * 8, q, true));
    v.setUint32(S.MXCSR, r.mxcsr ?? 0x1f80, true);
    v.setUint32(S.FLAGS, r.flags ?? 0, true);
    v.setUint16(S.FCW, r.fcw ?? 0x37f, true);
    v.setUint16(S.FSW, r.fsw ?? 0, true);
    v.setUint8(S.FTW, r.ftw ?? 0);
    e.run(ENTRY, state, data, out);
    const w = r.expect;
    expect(out.end === End.BROKEN ? out.message : '').toBe('');
    expect(out.end === End.FAULT ? out.message : 'no fault').toBe(w.fault === undefined ? 'no fault' : `vector ${w.fault}`);
    if (w.address !== undefined) expect(out.address).toBe(w.address);
    const o = out.view;
    for (const [n, x] of Object.entries(w.regs ?? {})) expect(o.getBigUint64(S.GPR + Number(n) * 8, true).toString(16)).toBe(x.toString(16));
    for (const [n, x] of Object.entries(w.xmm ?? {})) {
      expect([0, 8].map((k) => o.getBigUint64(S.YMM + Number(n) * 32 + k, true).toString(16))).toEqual(x.map((q) => q.toString(16)));
    }
    if (w.fsw !== undefined) expect(o.getUint16(S.FSW, true).toString(16)).toBe(w.fsw.toString(16));
    if (w.ftw !== undefined) expect(o.getUint8(S.FTW)).toBe(w.ftw);
    if (w.flags !== undefined) expect(o.getUint32(S.FLAGS, true).toString(16)).toBe(w.flags.toString(16));
    if (w.mxcsr !== undefined) expect(o.getUint32(S.MXCSR, true).toString(16)).toBe(w.mxcsr.toString(16));
  });
});
