/** Reassembly of the guest's IPv4 fragments (RFC 791, 3.2), with bounds on number, size and age. */
import { be16, IP_HEADER } from '../packet.js';
import type { Packet } from './link.js';

const MAX_DATAGRAMS = 16;
const MAX_FRAGMENTS = 128;
const MAX_BYTES = 65535 - IP_HEADER;
const LIFETIME_MS = 30_000;

interface Datagram {
  data: Uint8Array;
  /** One byte per unit of 8 bytes that has come. */
  have: Uint8Array;
  fragments: number;
  /** Known with the last fragment, else -1. */
  length: number;
  since: number;
}

export class Reassembly {
  private readonly datagrams = new Map<string, Datagram>();

  constructor(private readonly now: () => number = () => Date.now()) {}

  /** Takes a fragment. @returns the whole packet, with a header of 20 bytes in front, once all of it is there. */
  add(p: Packet): Uint8Array | null {
    const { b, ip, start, end } = p;
    const word = be16(b, ip + 6);
    const offset = (word & 0x1fff) * 8;
    const more = (word & 0x2000) !== 0;
    const n = end - start;
    if (n === 0 || offset + n > MAX_BYTES || (more && n % 8 !== 0)) return null;
    const key = `${p.src}:${p.dst}:${be16(b, ip + 4)}:${b[ip + 9]!}`;
    let d = this.datagrams.get(key);
    if (d === undefined || this.now() - d.since > LIFETIME_MS) {
      this.datagrams.delete(key);
      if (this.datagrams.size >= MAX_DATAGRAMS) this.datagrams.delete(this.datagrams.keys().next().value!);
      d = { data: new Uint8Array(IP_HEADER + MAX_BYTES), have: new Uint8Array(8192), fragments: 0, length: -1, since: this.now() };
      this.datagrams.set(key, d);
    }
    if (++d.fragments > MAX_FRAGMENTS || (d.length >= 0 && offset + n > d.length)) {
      this.datagrams.delete(key);
      return null;
    }
    if (offset === 0) d.data.set(b.subarray(ip, ip + IP_HEADER));
    d.data.set(b.subarray(start, end), IP_HEADER + offset);
    d.have.fill(1, offset / 8, Math.ceil((offset + n) / 8));
    if (!more) d.length = offset + n;
    if (d.length < 0 || d.have.subarray(0, Math.ceil(d.length / 8)).includes(0)) return null;
    this.datagrams.delete(key);
    return d.data.subarray(0, IP_HEADER + d.length);
  }

  clear(): void {
    this.datagrams.clear();
  }
}
