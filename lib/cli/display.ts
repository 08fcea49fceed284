/** `--display`: none, or a VNC server. */
import { readFileSync } from 'node:fs';
import { type Endpoint, parseEndpoint } from '../control/endpoint.js';
import { UsageError } from '../errors.js';

export interface VncDisplay {
  endpoint: Endpoint;
  password: string | null;
}

const FIRST_PORT = 5900;

/** `none`, `vnc[:[HOST:]PORT][,password=FILE]`. The password is a file's first line, so that it is in no list of processes. @throws UsageError */
export function parseDisplay(text: string): VncDisplay | null {
  if (text === 'none') return null;
  const [what, ...options] = text.split(',') as [string, ...string[]];
  if (what !== 'vnc' && !what.startsWith('vnc:')) throw new UsageError(`--display: '${text}' is not available (none, vnc[:[HOST:]PORT][,password=FILE] are)`);
  const endpoint = parseEndpoint(`tcp:${what === 'vnc' ? FIRST_PORT : what.slice(4)}`, '--display');
  let password: string | null = null;
  for (const o of options) {
    if (!o.startsWith('password=')) throw new UsageError(`--display: vnc has no property '${o}' (password=FILE is one)`);
    const file = o.slice('password='.length);
    try {
      password = readFileSync(file, 'utf8').split(/\r?\n/)[0]!;
    } catch (e) {
      throw new UsageError(`--display: password: ${(e as Error).message}`, { cause: e });
    }
    if (password === '') throw new UsageError(`--display: password: ${file} is empty`);
  }
  return { endpoint, password };
}
