/**
 * Who may talk to a server that browsers reach. A page of any site can make a browser send requests to loopback addresses, so being on the
 * loopback interface protects nothing: the name asked for must not be one that somebody else's name server gives out (DNS rebinding), and a
 * WebSocket must have been opened by our own page.
 */
import { randomBytes, timingSafeEqual, createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

const TOKEN_BYTES = 16;

/** Name and port of a Host header or of an origin; null if it is none. */
function hostOf(text: string): { name: string; port: string } | null {
  const m = /^(\[[0-9a-f:.]+\]|[^:[\]/@?#\\\s]+)(?::(\d{1,5}))?$/i.exec(text);
  return m === null ? null : { name: m[1]!.replace(/^\[|\]$/g, '').toLowerCase(), port: m[2] ?? '80' };
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/;

/** The request names this host by an address, `localhost`, its own name, or as the user named it. */
export function knownHost(request: IncomingMessage, listening: string): boolean {
  const host = hostOf(request.headers.host ?? '');
  if (host === null) return false;
  return isIP(host.name) !== 0 || host.name === 'localhost' || host.name === listening.toLowerCase() || host.name === hostname().toLowerCase();
}

/** Origin header of a WebSocket handshake: absent (no browser), or this very host and port. */
export function sameOrigin(request: IncomingMessage): boolean {
  const { origin } = request.headers;
  if (origin === undefined) return true;
  const from = hostOf(origin.replace(/^http:\/\//, ''));
  const to = hostOf(request.headers.host ?? '');
  return origin.startsWith('http://') && from !== null && to !== null && from.name === to.name && from.port === to.port;
}

/** As sameOrigin, for servers whose page comes from elsewhere: a page of this host, whatever its port. */
export function localOrigin(request: IncomingMessage): boolean {
  const { origin } = request.headers;
  if (origin === undefined) return true;
  const from = hostOf(origin.replace(/^https?:\/\//, ''));
  const to = hostOf(request.headers.host ?? '');
  return from !== null && to !== null && (from.name === to.name || (LOOPBACK.test(from.name) && LOOPBACK.test(to.name)));
}

export const newToken = (): string => randomBytes(TOKEN_BYTES).toString('hex');

/** What a request asks for; null if that is no URL: `//`, say, which any client may send. */
export function target(request: IncomingMessage): URL | null {
  const text = request.url ?? '/';
  return URL.canParse(text, 'http://x') ? new URL(text, 'http://x') : null;
}

/** Compares without telling by its time how much agrees. */
export function sameSecret(a: string, b: string): boolean {
  const digest = (s: string): Buffer => createHash('sha256').update(s).digest();
  return timingSafeEqual(digest(a), digest(b));
}

export function cookie(request: IncomingMessage, name: string): string | null {
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [k, ...v] = part.trim().split('=');
    if (k === name) return v.join('=');
  }
  return null;
}
