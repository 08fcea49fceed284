/**
 * Name service for the guest (RFC 1035). Addresses are asked of the host's own resolver, so /etc/hosts and whatever else it uses
 * count; other record types are passed on to the host's first name server as they are.
 */
import { createSocket } from 'node:dgram';
import { getServers, lookup } from 'node:dns';
import { be16, put16, put32 } from '../packet.js';
import { ipv6Bytes } from './ipv6-addresses.js';

export const DNS_PORT = 53;
const HEADER = 12;
const enum Type { A = 1, PTR = 12, AAAA = 28 }
const enum Rcode { OK = 0, FORMAT = 1, FAILURE = 2, NAME = 3, NOT_IMPLEMENTED = 4 }
const CLASS_IN = 1;
const TTL_SECONDS = 60;
const MAX_NAME = 255;
const FORWARD_MS = 5000;
const MAX_PENDING = 256;
/** Answers in one message. */
const MAX_ANSWERS = 24;

interface Question {
  name: string;
  type: number;
  class: number;
  /** Offset after the question. */
  end: number;
}

/** The first question of a query; null if it has none that can be read. */
export function parseQuestion(m: Uint8Array): Question | null {
  if (m.length < HEADER || be16(m, 4) !== 1) return null;
  const labels: string[] = [];
  let at = HEADER;
  let total = 0;
  for (;;) {
    const n = m[at];
    if (n === undefined || n > 63) return null;
    at++;
    if (n === 0) break;
    total += n + 1;
    if (total > MAX_NAME || at + n > m.length) return null;
    labels.push(Buffer.from(m.subarray(at, at + n)).toString('latin1'));
    at += n;
  }
  if (at + 4 > m.length) return null;
  return { name: labels.join('.'), type: be16(m, at), class: be16(m, at + 2), end: at + 4 };
}

function response(query: Uint8Array, end: number, rcode: Rcode, answers: readonly { type: number; data: Uint8Array }[]): Uint8Array {
  const size = end + answers.reduce((n, a) => n + 12 + a.data.length, 0);
  const r = new Uint8Array(size);
  r.set(query.subarray(0, end));
  // QR, opcode and RD as asked, RA.
  r[2] = 0x80 | (query[2]! & 0x79);
  r[3] = 0x80 | rcode;
  put16(r, 6, answers.length);
  put16(r, 8, 0);
  put16(r, 10, 0);
  let at = end;
  for (const a of answers) {
    // The name: a pointer to the question's.
    put16(r, at, 0xc000 | HEADER);
    put16(r, at + 2, a.type);
    put16(r, at + 4, CLASS_IN);
    put32(r, at + 6, TTL_SECONDS);
    put16(r, at + 10, a.data.length);
    r.set(a.data, at + 12);
    at += 12 + a.data.length;
  }
  return r;
}

export class DnsProxy {
  private pending = 0;
  /** Give up queries that are under way. */
  private readonly cancels = new Set<() => void>();

  /** Answers a query by calling `reply`, soon or never. */
  handle(query: Uint8Array, reply: (message: Uint8Array) => void): void {
    if (query.length < HEADER || (query[2]! & 0x80) !== 0 || this.pending >= MAX_PENDING) return;
    const q = parseQuestion(query);
    if (q === null) {
      reply(response(query, HEADER, Rcode.FORMAT, []));
      return;
    }
    if ((query[2]! & 0x78) !== 0 || q.class !== CLASS_IN) {
      reply(response(query, q.end, Rcode.NOT_IMPLEMENTED, []));
    } else if (q.type === Type.A || q.type === Type.AAAA) {
      this.address(query.slice(), q, reply);
    } else {
      this.forward(query.slice(), q, reply);
    }
  }

  private address(query: Uint8Array, q: Question, reply: (message: Uint8Array) => void): void {
    this.pending++;
    lookup(q.name, { all: true, verbatim: true }, (error, found) => {
      this.pending--;
      if (error !== null) {
        reply(response(query, q.end, error.code === 'ENOTFOUND' ? Rcode.NAME : Rcode.FAILURE, []));
        return;
      }
      // Addresses of the other family mean that the name exists: no error, no answer.
      const family = q.type === Type.A ? 4 : 6;
      const data = found.filter((a) => a.family === family).slice(0, MAX_ANSWERS).map((a) => ({ type: q.type, data: family === 4 ? Uint8Array.from(a.address.split('.').map(Number)) : ipv6Bytes(a.address) }));
      reply(response(query, q.end, Rcode.OK, data));
    });
  }

  private forward(query: Uint8Array, q: Question, reply: (message: Uint8Array) => void): void {
    const server = /^(?:\[(.*)\]|([^:]+)|([0-9a-f:]+))(?::(\d+))?$/i.exec(getServers()[0] ?? '');
    if (server === null) {
      reply(response(query, q.end, Rcode.FAILURE, []));
      return;
    }
    const host = server[1] ?? server[2] ?? server[3]!;
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    this.pending++;
    const cancel = (): void => {
      this.pending--;
      clearTimeout(timer);
      this.cancels.delete(cancel);
      socket.close();
    };
    this.cancels.add(cancel);
    const done = (message: Uint8Array): void => {
      if (!this.cancels.has(cancel)) return;
      cancel();
      reply(message);
    };
    const failed = (): void => done(response(query, q.end, Rcode.FAILURE, []));
    const timer = setTimeout(failed, FORWARD_MS);
    timer.unref();
    socket.on('error', failed);
    socket.on('message', (m) => {
      if (m.length >= HEADER && m[0] === query[0] && m[1] === query[1]) done(m);
    });
    socket.send(query, Number(server[4] ?? DNS_PORT), host, (e) => {
      if (e !== null) failed();
    });
  }

  close(): void {
    for (const cancel of this.cancels) cancel();
  }
}
