/**
 * The door of a server that browsers reach: who has the token gets in. It comes with the first request (`/?token=`) and lives on in a cookie that no
 * script can read and no other site's page can use.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Endpoint, endpointText } from '../endpoint.js';
import { cookie, knownHost, newToken, sameOrigin, sameSecret, target } from './access.js';
import { webFile } from './files.js';

export type TcpEndpoint = Extract<Endpoint, { kind: 'tcp' }>;

/** For `createServer`: a client that does not finish its request is not waited for. */
const MAX_HEADERS_MS = 10_000;
export const PATIENCE = { headersTimeout: MAX_HEADERS_MS, requestTimeout: MAX_HEADERS_MS } as const;

export class Gate {
  /** Where the server listens, once it does. */
  at!: TcpEndpoint;
  readonly token: string;

  /** @param token null: a new one */
  constructor(token: string | null) {
    this.token = token ?? newToken();
  }

  /** What to open in a browser. */
  get url(): string {
    return `http://${endpointText(this.at).slice(4)}/?token=${encodeURIComponent(this.token)}`;
  }

  /** Cookies are shared by all ports of a host. */
  private get cookieName(): string {
    return `vmx-accel-${this.at.port}`;
  }

  /** Has the cookie. */
  allowed(request: IncomingMessage): boolean {
    const given = cookie(request, this.cookieName);
    return given !== null && sameSecret(given, this.token);
  }

  /** Comes from our own page, if from any: for all that does more than look. */
  trusted(request: IncomingMessage): boolean {
    return knownHost(request, this.at.host) && sameOrigin(request);
  }

  /**
   * Sends strangers away and lets in who brings the token.
   * @returns what is asked for; null if the request has been answered
   */
  admit(request: IncomingMessage, response: ServerResponse, methods: readonly string[] = []): URL | null {
    const refuse = (status: number, text: string): null => {
      answer(response, status, 'text/plain', text);
      return null;
    };
    if (!knownHost(request, this.at.host)) return refuse(403, 'This server is asked for by address only.');
    const looks = request.method === 'GET' || request.method === 'HEAD';
    if (!looks && !methods.includes(request.method ?? '')) return refuse(405, 'Method not allowed.');
    const url = target(request);
    if (url === null) return refuse(400, 'That is no address.');
    const token = url.searchParams.get('token');
    if (looks && url.pathname === '/' && token !== null) {
      if (!sameSecret(token, this.token)) return refuse(401, 'That is not the token.');
      response.setHeader('Set-Cookie', `${this.cookieName}=${this.token}; Path=/; HttpOnly; SameSite=Strict`);
      response.setHeader('Location', '/');
      return refuse(302, '');
    }
    if (!this.allowed(request)) return refuse(401, 'Open the address that vmx-accel has printed: it has the token.');
    return url;
  }
}

/** Answers with a file of our pages, if it is one. */
export async function answerFile(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
  const file = await webFile(path);
  if (file === null) return answer(response, 404, 'text/plain', 'Not found.');
  // Scripts, styles and connections from here only; nobody frames the page (clickjacking).
  response.setHeader('Content-Security-Policy', `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws://${request.headers.host!}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`);
  answer(response, 200, file.type, file.bytes);
}

export function answer(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    'Content-Type': type, 'Content-Length': bytes.length, 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'X-Frame-Options': 'DENY', 'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
  });
  response.end(response.req.method === 'HEAD' ? undefined : bytes);
}

export const answerJson = (response: ServerResponse, status: number, value: unknown): void => answer(response, status, 'application/json', JSON.stringify(value));
