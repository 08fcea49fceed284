/** `--net`: network cards and what they are connected to, with every check. */
import { UsageError } from '../errors.js';
import { parseIp } from '../net/packet.js';
import { suggestion } from '../suggest.js';
import type { HostForward } from '../net/user/user-net.js';
import type { SocketAddress } from '../net/socket-link.js';

export type NicModel = 'virtio' | 'e1000' | 'rtl8139';
const MODELS: readonly NicModel[] = ['virtio', 'e1000', 'rtl8139'];

export type NetLink =
  | { kind: 'user'; hostfwd: HostForward[]; restrict: boolean; hostname: string | null }
  | { kind: 'socket'; listen: boolean; address: SocketAddress }
  | { kind: 'tap'; ifname: string };

export interface NetConfig {
  model: NicModel;
  /** Six bytes as twelve hexadecimal digits. */
  mac: string;
  /** Queue pairs (virtio). */
  queues: number;
  /** Capture file, or null. */
  pcap: string | null;
  link: NetLink;
}

const COMMON_KEYS = ['model', 'mac', 'pcap', 'queues'];
const KEYS: Readonly<Record<NetLink['kind'], readonly string[]>> = {
  user: [...COMMON_KEYS, 'hostfwd', 'restrict', 'hostname'],
  socket: [...COMMON_KEYS, 'listen', 'connect'],
  tap: [...COMMON_KEYS, 'ifname'],
};
const KINDS = Object.keys(KEYS) as NetLink['kind'][];
/** Linux: IFNAMSIZ with its final zero, and what names may not have. */
const INTERFACE = /^[^\s/:%]{1,15}$/;
const MAX_QUEUES = 8;
const FIRST_MAC = 0x525400123456;

function port(text: string, what: string): number {
  const n = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (!(n >= 0 && n <= 65535)) throw new UsageError(`--net: ${what}: '${text}' is not a port`);
  return n;
}

/** `tcp:127.0.0.1:2222-:22`: protocol, host address and port, guest address and port; addresses may be empty. */
export function parseHostForward(text: string): HostForward {
  const m = /^(tcp|udp):([^:-]*):(\d+)-([^:]*):(\d+)$/.exec(text);
  if (m === null) throw new UsageError(`--net: hostfwd: '${text}' is not PROTO:[HOST]:PORT-[GUEST]:PORT (example: tcp:127.0.0.1:2222-:22)`);
  const [, proto, host, hostPort, guest, guestPort] = m as unknown as [string, 'tcp' | 'udp', string, string, string, string];
  if (host !== '' && parseIp(host) === null) throw new UsageError(`--net: hostfwd: '${host}' is not an IPv4 address`);
  const guestIp = guest === '' ? null : parseIp(guest);
  if (guest !== '' && guestIp === null) throw new UsageError(`--net: hostfwd: '${guest}' is not an IPv4 address`);
  return { proto, host: host === '' ? '127.0.0.1' : host, port: port(hostPort, 'hostfwd'), guest: guestIp, guestPort: port(guestPort, 'hostfwd') };
}

function socketAddress(text: string, what: string): SocketAddress {
  if (text.startsWith('unix:')) return { path: text.slice(5) };
  const m = /^(?:(.*):)?(\d+)$/.exec(text);
  if (m === null) throw new UsageError(`--net: ${what}: '${text}' is not [HOST:]PORT or unix:PATH`);
  return { host: m[1] === undefined || m[1] === '' ? '127.0.0.1' : m[1], port: port(m[2]!, what) };
}

function onOff(v: string | undefined, key: string): boolean {
  if (v !== undefined && v !== 'on' && v !== 'off') throw new UsageError(`--net: ${key}=${v} must be on or off`);
  return v !== 'off';
}

function macAddress(text: string): string {
  const hex = text.toLowerCase().replace(/[:-]/g, '');
  if (!/^[0-9a-f]{12}$/.test(hex)) throw new UsageError(`--net: mac: '${text}' is not a hardware address (example: 52:54:00:12:34:56)`);
  if (Number.parseInt(hex.slice(0, 2), 16) & 1) throw new UsageError(`--net: mac: '${text}' is a multicast address`);
  return hex;
}

/** One `--net`. `index` counts cards, for their default hardware addresses. @returns null for `none`. */
export function parseNet(text: string, index: number): NetConfig | null {
  const [kind, ...parts] = text.split(',');
  if (kind === 'none' && parts.length === 0) return null;
  const linkKind = KINDS.find((k) => k === kind);
  if (linkKind === undefined) throw new UsageError(`--net: '${kind ?? ''}' is not available (none, ${KINDS.join(', ')} are)${suggestion(kind ?? '', KINDS)}`);
  const keys = KEYS[linkKind];
  const values = new Map<string, string | undefined>();
  const hostfwd: HostForward[] = [];
  for (const part of parts) {
    const eq = part.indexOf('=');
    const key = eq < 0 ? part : part.slice(0, eq);
    const value = eq < 0 ? undefined : part.slice(eq + 1);
    if (!keys.includes(key)) throw new UsageError(`--net: ${linkKind} has no property '${key}'${suggestion(key, keys)} (known: ${keys.join(', ')})`);
    if (key !== 'restrict' && (value === undefined || value === '')) throw new UsageError(`--net: ${key} needs a value`);
    if (key === 'hostfwd') {
      hostfwd.push(parseHostForward(value!));
      continue;
    }
    if (values.has(key)) throw new UsageError(`--net: ${key} is given twice`);
    values.set(key, value);
  }
  const model = (values.get('model') ?? 'virtio') as NicModel;
  if (!MODELS.includes(model)) throw new UsageError(`--net: model=${model} is not available (${MODELS.join(', ')} are)${suggestion(model, MODELS)}`);
  const queues = Number(values.get('queues') ?? 1);
  if (!Number.isInteger(queues) || queues < 1 || queues > MAX_QUEUES) throw new UsageError(`--net: queues=${values.get('queues')} is not a number from 1 to ${MAX_QUEUES}`);
  if (queues > 1 && model !== 'virtio') throw new UsageError(`--net: queues: ${model} has one`);
  const mac = values.has('mac') ? macAddress(values.get('mac')!) : (FIRST_MAC + index).toString(16).padStart(12, '0');
  return { model, mac, queues, pcap: values.get('pcap') ?? null, link: LINKS[linkKind](values, hostfwd) };
}

function socketLink(values: ReadonlyMap<string, string | undefined>): NetLink {
  const listen = values.get('listen');
  const connect = values.get('connect');
  if ((listen === undefined) === (connect === undefined)) throw new UsageError('--net: socket needs listen= or connect=');
  return { kind: 'socket', listen: listen !== undefined, address: socketAddress((listen ?? connect)!, listen === undefined ? 'connect' : 'listen') };
}

function tapLink(values: ReadonlyMap<string, string | undefined>): NetLink {
  const ifname = values.get('ifname');
  if (ifname === undefined) throw new UsageError('--net: tap needs ifname= (an interface of the host)');
  if (!INTERFACE.test(ifname)) throw new UsageError(`--net: ifname=${ifname} is not the name of an interface`);
  return { kind: 'tap', ifname };
}

const LINKS: Readonly<Record<NetLink['kind'], (values: ReadonlyMap<string, string | undefined>, hostfwd: HostForward[]) => NetLink>> = {
  user: (v, hostfwd) => ({ kind: 'user', hostfwd, restrict: v.has('restrict') && onOff(v.get('restrict'), 'restrict'), hostname: v.get('hostname') ?? null }),
  socket: socketLink,
  tap: tapLink,
};

/** All `--net`. Two cards may not share a hardware address. */
export function parseNets(texts: readonly string[]): NetConfig[] {
  const nets: NetConfig[] = [];
  for (const t of texts) {
    const n = parseNet(t, nets.length);
    if (n !== null) nets.push(n);
    else if (texts.length > 1) throw new UsageError('--net: none stands alone');
  }
  const macs = new Set(nets.map((n) => n.mac));
  if (macs.size < nets.length) throw new UsageError('--net: two cards have the same hardware address');
  return nets;
}
