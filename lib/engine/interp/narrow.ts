/**
 * Arithmetic on 8- and 16-bit operands. `how` is the operand width in bits, plus MERGE if the result replaces only
 * the low bits of a guest register. d, a, b are word indexes into V, m a mask of the FLAGS slot.
 */
import { Ff, PARITY } from './flags.js';

export const MERGE = 0x100;

/** Stores a result that is already truncated. */
function put(V: Int32Array, d: number, r: number, how: number): void {
  if (how & MERGE) {
    V[d] = how & 16 ? (V[d]! & ~0xffff) | r : (V[d]! & ~0xff) | r;
  } else {
    V[d] = r;
    V[d + 1] = 0;
  }
}

/** a + b + carry. */
export function addNarrow(V: Int32Array, d: number, a: number, b: number, m: number, how: number, carry: number): void {
  const bits = how & 0xff;
  const mask = (1 << bits) - 1;
  const x = V[a]! & mask;
  const y = V[b]! & mask;
  const s = x + y + carry;
  const r = s & mask;
  put(V, d, r, how);
  if (m !== 0) {
    const f = PARITY[r & 0xff]! | ((s >>> bits) << 8) | (((x ^ y ^ s) & 16) << 8) | (r === 0 ? Ff.ZF : 0) |
      ((r >>> (bits - 1)) << 15) | (((x ^ r) & (y ^ r)) >>> (bits - 1));
    V[0] = (V[0]! & ~m) | (f & m);
  }
}

/** a - b - borrow. */
export function subNarrow(V: Int32Array, d: number, a: number, b: number, m: number, how: number, borrow: number): void {
  const bits = how & 0xff;
  const mask = (1 << bits) - 1;
  const x = V[a]! & mask;
  const y = V[b]! & mask;
  const s = x - y - borrow;
  const r = s & mask;
  put(V, d, r, how);
  if (m !== 0) {
    const f = PARITY[r & 0xff]! | (s < 0 ? Ff.CF : 0) | (((x ^ y ^ s) & 16) << 8) | (r === 0 ? Ff.ZF : 0) |
      ((r >>> (bits - 1)) << 15) | (((x ^ y) & (x ^ r)) >>> (bits - 1));
    V[0] = (V[0]! & ~m) | (f & m);
  }
}

/** Result r (any high bits) of a logic op, with its flags: CF = OF = AF = 0. */
export function logicNarrow(V: Int32Array, d: number, r: number, m: number, how: number): void {
  const bits = how & 0xff;
  r &= (1 << bits) - 1;
  put(V, d, r, how);
  if (m !== 0) {
    const f = PARITY[r & 0xff]! | (r === 0 ? Ff.ZF : 0) | ((r >>> (bits - 1)) << 15);
    V[0] = (V[0]! & ~m) | (f & m);
  }
}
