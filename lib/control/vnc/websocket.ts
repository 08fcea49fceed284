/** VNC for browsers: RFB in a WebSocket, as noVNC and websockify speak it. The page comes from elsewhere (on this host). */
import { createServer } from 'node:http';
import { type Endpoint, listenAt } from '../endpoint.js';
import { knownHost, localOrigin } from '../web/access.js';
import { Sockets } from '../web/sockets.js';
import type { VncServer } from './server.js';

/** Starts listening; connections are clients of `vnc`. @returns the endpoint with the actual port. @throws UsageError that names the option */
export async function listenWebSocket(vnc: VncServer, endpoint: Extract<Endpoint, { kind: 'tcp' }>, option = '--display'): Promise<Endpoint> {
  const sockets = new Sockets();
  const server = createServer((_request, response) => {
    response.writeHead(426, { 'Content-Type': 'text/plain', Upgrade: 'websocket' });
    response.end('VNC over WebSocket: nothing to see here without a client.\n');
  });
  server.on('upgrade', (request, socket, head) => {
    if (knownHost(request, endpoint.host) && localOrigin(request)) sockets.upgrade(request, socket, head, (stream) => vnc.accept(stream));
    else Sockets.refuse(socket, 403, 'Forbidden');
  });
  const at = await listenAt(server, endpoint, option);
  server.unref();
  vnc.onClose(() => server.close());
  return at;
}
