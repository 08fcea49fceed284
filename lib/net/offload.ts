/** What network hardware does for a driver on request: completing checksums, cutting TCP segments, checking what arrives. */
import { be16, be32, ETH_HEADER, EtherType, foldSum, IP_HEADER, IpProto, pseudoSum, put16, put32, sumBytes, TCP_HEADER, TcpFlag, UDP_HEADER } from './packet.js';

/**
 * Least payload of a segment that hardware is asked to cut, bytes: what IPv4's least MTU leaves (RFC 791: 68) with its longest headers
 * is less, but no TCP goes so low, and a frame cut into single bytes would be 65,000 frames.
 */
export const MIN_MSS = 48;

/** Stores the one's complement sum of bytes [from, to) at `at`; what stands there is part of the sum. Out of range: nothing happens. */
export function insertChecksum(f: Uint8Array, from: number, to: number, at: number): void {
  if (from >= to || at + 2 > f.length || to > f.length) return;
  put16(f, at, foldSum(sumBytes(f, from, to)));
}

/** Where the headers of a TCP/IPv4 frame are; null if it is none. */
function tcp4(f: Uint8Array): { tcp: number; data: number } | null {
  if (f.length < ETH_HEADER + IP_HEADER || be16(f, 12) !== EtherType.IPV4 || f[ETH_HEADER]! >>> 4 !== 4 || f[ETH_HEADER + 9] !== IpProto.TCP) return null;
  const tcp = ETH_HEADER + (f[ETH_HEADER]! & 15) * 4;
  if (tcp < ETH_HEADER + IP_HEADER || tcp + TCP_HEADER > f.length) return null;
  const data = tcp + (f[tcp + 12]! >>> 4) * 4;
  return data < tcp + TCP_HEADER || data > f.length ? null : { tcp, data };
}

/** True if `f` is a TCP/IPv4 frame, so that it can be handed on whole with `FrameInfo.gsoSize`. */
export const isTcp4 = (f: Uint8Array): boolean => tcp4(f) !== null;

/**
 * Cuts a TCP/IPv4 frame into segments of at most `mss` bytes of payload and calls `emit` with each, lengths, identification, sequence
 * numbers, flags and checksums right. `scratch` must hold headers and mss bytes. Frames of other kinds are dropped, and those with less than MIN_MSS.
 */
export function segmentTcp4(f: Uint8Array, mss: number, scratch: Uint8Array, emit: (frame: Uint8Array) => void): void {
  const at = tcp4(f);
  if (at === null || mss < MIN_MSS || at.data + mss > scratch.length) return;
  const { tcp, data } = at;
  const id = be16(f, ETH_HEADER + 4);
  const seq = be32(f, tcp + 4);
  const flags = f[tcp + 13]!;
  scratch.set(f.subarray(0, data));
  for (let done = 0, n = 0; n === 0 || data + done < f.length; n++) {
    const bytes = Math.min(mss, f.length - data - done);
    const end = data + bytes;
    const last = data + done + bytes >= f.length;
    scratch.set(f.subarray(data + done, data + done + bytes), data);
    put16(scratch, ETH_HEADER + 2, end - ETH_HEADER);
    put16(scratch, ETH_HEADER + 4, (id + n) & 0xffff);
    put16(scratch, ETH_HEADER + 10, 0);
    put16(scratch, ETH_HEADER + 10, foldSum(sumBytes(scratch, ETH_HEADER, tcp)));
    put32(scratch, tcp + 4, seq + done);
    scratch[tcp + 13] = last ? flags : flags & ~(TcpFlag.FIN | TcpFlag.PSH);
    put16(scratch, tcp + 16, 0);
    put16(scratch, tcp + 16, foldSum(sumBytes(scratch, tcp, end, pseudoSum(scratch, ETH_HEADER, IpProto.TCP, end - tcp))));
    emit(scratch.subarray(0, end));
    done += bytes;
  }
}

/** Result of checking a frame that arrives. */
export const enum Checked {
  /** Neither IPv4 nor something with a checksum this looks at. */
  NOTHING = 0,
  IP = 1,
  IP_BAD = 2,
  /** TCP or UDP. */
  TRANSPORT = 4,
  TRANSPORT_BAD = 8,
}

/** Checks the IPv4 header's checksum and that of TCP or UDP behind it. @returns `Checked` bits. */
export function checkChecksums(f: Uint8Array): number {
  const ip = ETH_HEADER;
  if (f.length < ip + IP_HEADER || be16(f, 12) !== EtherType.IPV4 || f[ip]! >>> 4 !== 4) return Checked.NOTHING;
  const header = (f[ip]! & 15) * 4;
  const start = ip + header;
  const end = ip + be16(f, ip + 2);
  if (header < IP_HEADER || end > f.length || start > end) return Checked.NOTHING;
  const result = foldSum(sumBytes(f, ip, start)) === 0 ? Checked.IP : Checked.IP | Checked.IP_BAD;
  const proto = f[ip + 9]!;
  const fragment = (be16(f, ip + 6) & 0x3fff) !== 0;
  if (fragment || (proto !== IpProto.TCP && proto !== IpProto.UDP) || end - start < (proto === IpProto.TCP ? TCP_HEADER : UDP_HEADER)) return result;
  // A UDP datagram without a checksum has none to be wrong.
  if (proto === IpProto.UDP && be16(f, start + 6) === 0) return result;
  const good = foldSum(sumBytes(f, start, end, pseudoSum(f, ip, proto, end - start))) === 0;
  return result | Checked.TRANSPORT | (good ? 0 : Checked.TRANSPORT_BAD);
}
