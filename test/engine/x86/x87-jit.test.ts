/** x87 and MMX in generated code: carried out by the host's FPU, with the same state as on the interpreter, pointers and opcode included. */
import { describe, expect, it } from 'vitest';
import { Slot } from '#lib/engine/state.js';
import { loadNative } from '#lib/native.js';
import { canRun } from '../x64/jit.js';
import { Emulator } from '../../differential/emulator.js';
import { DATA_BYTES, End, newOutcome, S } from '../../differential/state.js';

const LAYOUT = { data: 0x7000_0010_0000, code: 0x7000_0020_0000 };
const EXIT = 0x100;
const ENTRY = 0x1000;
/** RBX. */
const AT = 0x2ff0;

interface Row {
  readonly what: string;
  readonly code: string;
  readonly fcw?: number;
  /** Helper calls that are left when the TLB knows the page. */
  readonly calls?: number;
}

const ROWS: readonly Row[] = [
  { what: 'loads, arithmetic, store', code: 'dd03 d84308 d8c1 dec9 dd1b' },
  { what: 'integers', code: 'df03 db4304 df6b08 dec1 db1b df5b04 db4b08' },
  { what: 'FISTTP, FXCH, FCHS, FSQRT', code: 'd9e8 dd03 d9c9 d9e0 d9fa dd4b08 db0b' },
  { what: 'm80', code: 'db2b db6b04 dec1 db3b' },
  { what: 'constants, FXAM, FTST, FNSTSW AX', code: 'd9eb d9e5 dfe0 d9e4 dfe0' },
  { what: 'FNSTSW m16', code: 'd9e8 d9ee d8d9 dd3b 8b03' },
  { what: 'FCOMI and a jump on it', code: 'd9e8 d9eb dbf1 7702 d9e0 d9c0' },
  { what: 'FCMOV', code: 'd9e8 d9eb 31c0 dac9 dbc9' },
  { what: 'FNSTCW, FLDCW towards zero and back', code: 'd93b 0fb703 80cc0c 66894302 dd4308 d96b02 db5b04 d92b' },
  { what: 'stack overflow and underflow', code: 'ddd8 d9e8 d9e8 d9e8 d9e8 d9e8 d9e8 d9e8 d9e8 d9e8 dd1b' },
  { what: 'FNINIT, FNCLEX', code: 'd9ee d9e8 def1 dbe2 d9e8 dbe3' },
  { what: 'FNINIT last', code: 'dd03 dbe3' },
  { what: 'MMX after x87 and x87 after MMX', code: '0f6f03 0ffcc0 0f7f4308 0f77 d9e8 0fefdb d9c0' },
  { what: 'an access that crosses pages goes to the helper', code: 'dd03 dd430c dec1 dd5b0d', calls: 2 },
  { what: 'a helper in between', code: 'dd03 d9fe d84304', calls: 1 },
  { what: 'an instruction that leaves in between', code: 'dd03 0f00c8 d84304', calls: 1 },
  { what: 'FLDCW that unmasks an exception', code: 'd9e8 66c7037b03 d92b d9ee def9 d9c0', calls: 4 },
];

describe.skipIf(!canRun)('x87 in generated code', () => {
  const emulators = (['interp', 'jit'] as const).map((k) => new Emulator(loadNative(), k, LAYOUT, EXIT));

  it.each(ROWS.map((r) => [r.what, r] as const))('%s', (_what, r) => {
    const bytes = Buffer.from(r.code.replaceAll(' ', ''), 'hex');
    const code = new Uint8Array(bytes.length + 5);
    code.set(bytes);
    code[bytes.length] = 0xe9;
    new DataView(code.buffer).setInt32(bytes.length + 1, EXIT - (ENTRY + code.length), true);
    const data = new Uint8Array(DATA_BYTES);
    const d = new DataView(data.buffer);
    d.setFloat64(AT, 1.1, true);
    d.setFloat64(AT + 8, -6.7e3, true);
    const state = new Uint8Array(S.BYTES);
    const v = new DataView(state.buffer);
    v.setBigUint64(S.GPR + 24, BigInt(LAYOUT.data + AT), true);
    v.setBigUint64(S.GPR + 32, BigInt(LAYOUT.data + 0x2000), true);
    v.setUint32(S.MXCSR, 0x1f80, true);
    v.setUint16(S.FCW, r.fcw ?? 0x37f, true);
    v.setUint8(S.FTW, 0);
    const [interp, jit] = emulators.map((e) => {
      e.load(ENTRY, code);
      const out = newOutcome();
      // The TLB knows the page after the first time, but is emptied now and then.
      let calls = Infinity;
      for (let k = 0; k < 3; k++) {
        const before = e.engine.stats.calls;
        e.run(ENTRY, state, data, out);
        calls = Math.min(calls, e.engine.stats.calls - before);
      }
      if (e.name === 'jit') expect(calls, 'helper calls').toBe(r.calls ?? 0);
      expect(out.end === End.BROKEN ? out.message : '').toBe('');
      const words = (slot: number, n: number): string => Array.from(e.cpu.V.subarray(slot * 2, slot * 2 + n), (x) => (x >>> 0).toString(16)).join(' ');
      return {
        control: words(Slot.FPU, 2), ip: words(Slot.FPU_IP, 2), dp: words(Slot.FPU_DP, 2), registers: words(Slot.X87, 32), rax: words(Slot.GPR, 2),
        live: words(Slot.X_FPU, 1), data: Buffer.from(out.data.subarray(AT, AT + 32)).toString('hex'),
      };
    }) as [object, object];
    expect(jit).toEqual(interp);
  });
});
