/** Ethernet, ARP, IPv4, ICMP, UDP and TCP headers: offsets, checksums, and a builder for frames to the guest. */

export const ETH_HEADER = 14;
export const MTU = 1500;
export const MAX_FRAME = ETH_HEADER + MTU;
export const IP_HEADER = 20;
export const IPV6_HEADER = 40;
export const UDP_HEADER = 8;
export const TCP_HEADER = 20;

export const enum EtherType {
  IPV4 = 0x0800,
  ARP = 0x0806,
  IPV6 = 0x86dd,
}
export const enum IpProto {
  ICMP = 1,
  TCP = 6,
  UDP = 17,
  ICMPV6 = 58,
}
/** TCP header flags (RFC 9293, 3.1). */
export const enum TcpFlag {
  FIN = 1,
  SYN = 2,
  RST = 4,
  PSH = 8,
  ACK = 16,
}

export const be16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!;
export const be32 = (b: Uint8Array, at: number): number => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
export function put16(b: Uint8Array, at: number, v: number): void {
  b[at] = v >>> 8;
  b[at + 1] = v;
}
export function put32(b: Uint8Array, at: number, v: number): void {
  b[at] = v >>> 24;
  b[at + 1] = v >>> 16;
  b[at + 2] = v >>> 8;
  b[at + 3] = v;
}

/** IPv4 address as a number to dotted text. */
export const ipText = (ip: number): string => `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;

/** Dotted text to a number; null if it is none. */
export function parseIp(text: string): number | null {
  const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (m === null) return null;
  const parts = m.slice(1).map(Number);
  return parts.some((n) => n > 255) ? null : ((parts[0]! << 24) | (parts[1]! << 16) | (parts[2]! << 8) | parts[3]!) >>> 0;
}

/** One's complement sum (RFC 1071) of bytes [from, to), added to `sum`; not yet folded. */
export function sumBytes(b: Uint8Array, from: number, to: number, sum = 0): number {
  let i = from;
  let s = sum;
  // 65536 words of 16 bits cannot overflow 2^32; frames are shorter.
  for (; i + 1 < to; i += 2) s += (b[i]! << 8) | b[i + 1]!;
  if (i < to) s += b[i]! << 8;
  return s;
}

/** Folds to 16 bits and complements. */
export function foldSum(sum: number): number {
  let s = sum;
  while (s > 0xffff) s = (s & 0xffff) + Math.floor(s / 0x10000);
  return ~s & 0xffff;
}

/** Sum of the pseudo header (RFC 9293, 3.1) for a transport segment of `length` bytes in the IPv4 packet at `ip`. */
export function pseudoSum(b: Uint8Array, ip: number, proto: number, length: number): number {
  return sumBytes(b, ip + 12, ip + 20, proto + length);
}

/** Writes the header of an IPv4 packet without options, checksum included. `total`: bytes of header and payload. */
export function writeIpv4(b: Uint8Array, at: number, o: { total: number; id: number; proto: number; src: number; dst: number; fragment?: number }): void {
  b[at] = 0x45;
  b[at + 1] = 0;
  put16(b, at + 2, o.total);
  put16(b, at + 4, o.id);
  put16(b, at + 6, o.fragment ?? 0x4000);
  b[at + 8] = 64;
  b[at + 9] = o.proto;
  put16(b, at + 10, 0);
  put32(b, at + 12, o.src);
  put32(b, at + 16, o.dst);
  put16(b, at + 10, foldSum(sumBytes(b, at, at + IP_HEADER)));
}
