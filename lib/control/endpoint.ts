/** Where control servers listen: `unix:PATH`, `tcp:PORT` (loopback) or `tcp:HOST:PORT`. */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { UsageError } from '../errors.js';
import { listenProblem } from '../net/listen-error.js';

export type Endpoint = { kind: 'unix'; path: string } | { kind: 'tcp'; host: string; port: number };

const MAX_PORT = 65535;
/** sun_path of Linux has 108 bytes, of macOS 104, with the final NUL. */
const MAX_PATH = process.platform === 'darwin' ? 103 : 107;

/** @throws UsageError that names the option. Port 0 lets the system choose. */
export function parseEndpoint(text: string, option: string): Endpoint {
  if (text.startsWith('unix:')) {
    const path = text.slice(5);
    if (path === '') throw new UsageError(`${option}: unix: needs a path`);
    if (Buffer.byteLength(path) > MAX_PATH) throw new UsageError(`${option}: the socket's path is longer than ${MAX_PATH} bytes`);
    return { kind: 'unix', path };
  }
  const m = /^tcp:(?:(\[[0-9a-fA-F:.]+\]|[^:[\]]*):)?(\d+)$/.exec(text);
  const port = m === null ? NaN : Number(m[2]);
  if (m === null || port > MAX_PORT) throw new UsageError(`${option}: '${text}' is not unix:PATH, tcp:PORT or tcp:HOST:PORT`);
  const host = (m[1] ?? '').replace(/^\[|\]$/g, '');
  return { kind: 'tcp', host: host === '' ? '127.0.0.1' : host, port };
}

/** The endpoint as users write it, with the port that was chosen. */
export function endpointText(e: Endpoint): string {
  return e.kind === 'unix' ? `unix:${e.path}` : `tcp:${e.host.includes(':') ? `[${e.host}]` : e.host}:${e.port}`;
}

/** A socket that nobody listens at any more is in the way: it is removed. One in use, or any other file, is left alone. */
async function removeStale(path: string): Promise<void> {
  const st = lstatSync(path, { throwIfNoEntry: false });
  if (st === undefined || !st.isSocket()) return;
  const used = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => (probe.destroy(), resolve(true)));
    probe.once('error', () => resolve(false));
  });
  if (!used) unlinkSync(path);
}

/**
 * Starts listening. A socket file belongs to the user alone (mode 0600).
 * @returns the endpoint with the actual port. @throws UsageError that names the option.
 */
export async function listenAt(server: Server, e: Endpoint, option: string): Promise<Endpoint> {
  if (e.kind === 'unix') await removeStale(e.path);
  await new Promise<void>((resolve, reject) => {
    const failed = (err: NodeJS.ErrnoException): void => reject(new UsageError(`${option}: cannot listen at ${endpointText(e)}: ${listenProblem(err, e.kind === 'unix' ? e.path : null)}`, { cause: err }));
    server.once('error', failed);
    server.listen(e.kind === 'unix' ? { path: e.path } : { host: e.host, port: e.port }, () => {
      server.off('error', failed);
      resolve();
    });
  });
  if (e.kind === 'unix') {
    chmodSync(e.path, 0o600);
    return e;
  }
  const at = server.address();
  return at !== null && typeof at === 'object' ? { ...e, port: at.port } : e;
}
