/**
 * IPv6 addresses as numbers. TCP and UDP of the user network know addresses as 32-bit numbers; an IPv6 address gets one of class E (240.0.0.0/4, RFC 1112),
 * which stands in no IPv4 packet that is looked at.
 */
import { put16 } from '../packet.js';

export const ADDRESS_BYTES = 16;
const CLASS_E = 0xf000_0000;
/** Addresses remembered at once. One that nobody uses any longer gives its number to the next. */
const MAX_ADDRESSES = 4096;

export const isIpv6 = (ip: number): boolean => ip >>> 28 === 15 && ip !== 0xffff_ffff;

/** 16 bytes of an IPv6 address in text (RFC 4291, 2.2), as the system writes it; a zone is left out. */
export function ipv6Bytes(text: string): Uint8Array {
  const out = new Uint8Array(ADDRESS_BYTES);
  const v4 = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const t = v4 === null ? text : `${v4[1]}${((Number(v4[2]) << 8) | Number(v4[3])).toString(16)}:${((Number(v4[4]) << 8) | Number(v4[5])).toString(16)}`;
  const [head, tail] = (t.split('%')[0] ?? '').split('::');
  const words = (s: string | undefined): number[] => (s === undefined || s === '' ? [] : s.split(':').map((w) => Number.parseInt(w, 16)));
  const first = words(head);
  const last = words(tail);
  first.forEach((w, i) => put16(out, i * 2, w));
  last.forEach((w, i) => put16(out, ADDRESS_BYTES - (last.length - i) * 2, w));
  return out;
}

export function ipv6Text(a: Uint8Array): string {
  const words: string[] = [];
  for (let i = 0; i < ADDRESS_BYTES; i += 2) words.push(((a[i]! << 8) | a[i + 1]!).toString(16));
  return words.join(':');
}

/** The numbers of the network's own addresses. They are those of other user-mode networks, so that habits work. */
export const enum Own {
  HOST = CLASS_E,
  DNS,
  /** The router's link-local address. */
  ROUTER,
  ALL_NODES,
}
const OWN = ['fec0::2', 'fec0::3', 'fe80::2', 'ff02::1'];
export const PREFIX = ipv6Bytes('fec0::');
export const PREFIX_BITS = 64;

interface Entry {
  bytes: Uint8Array;
  key: string;
  /** Since the hand was here last. */
  used: boolean;
}

const same = (a: Uint8Array, b: Uint8Array, at: number): boolean => {
  for (let i = ADDRESS_BYTES - 1; i >= 0; i--) if (a[i] !== b[at + i]) return false;
  return true;
};

export class Ipv6Addresses {
  private readonly entries: Entry[] = OWN.map((text) => {
    const bytes = ipv6Bytes(text);
    return { bytes, key: keyOf(bytes, 0), used: true };
  });
  private readonly byKey = new Map(this.entries.map((e, i) => [e.key, i]));
  /** Goes round the entries for one that has not been used (second chance). */
  private hand = OWN.length;
  /** The entries found last: packets of a conversation have the same two addresses. */
  private recent = 0;
  private older = 0;

  /** The number of the address at [at, at + 16) of b. */
  number(b: Uint8Array, at = 0): number {
    let i: number;
    if (same(this.entries[this.recent]!.bytes, b, at)) i = this.recent;
    else {
      i = same(this.entries[this.older]!.bytes, b, at) ? this.older : (this.byKey.get(keyOf(b, at)) ?? -1);
      // One that comes once only is the first to go.
      if (i < 0) return (CLASS_E + this.add(b, at)) >>> 0;
      this.older = this.recent;
      this.recent = i;
    }
    this.entries[i]!.used = true;
    return (CLASS_E + i) >>> 0;
  }

  private add(b: Uint8Array, at: number): number {
    const key = keyOf(b, at);
    let i = this.entries.length;
    if (i >= MAX_ADDRESSES) {
      i = this.unused();
      this.byKey.delete(this.entries[i]!.key);
    }
    this.entries[i] = { bytes: b.slice(at, at + ADDRESS_BYTES), key, used: false };
    this.byKey.set(key, i);
    return i;
  }

  private unused(): number {
    for (;;) {
      const i = this.hand;
      this.hand = i + 1 < this.entries.length ? i + 1 : OWN.length;
      const e = this.entries[i]!;
      if (!e.used) return i;
      e.used = false;
    }
  }

  /** The address that has this number. */
  bytes(ip: number): Uint8Array {
    return this.entries[ip - CLASS_E]!.bytes;
  }
}

const keyOf = (b: Uint8Array, at: number): string => String.fromCharCode(...b.subarray(at, at + ADDRESS_BYTES));
