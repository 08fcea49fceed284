/** WebSockets (RFC 6455) as streams, so that protocols need not know what carries them. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';

/** One message of a client. Nothing that clients send is longer. */
const MAX_MESSAGE = 4 * 1024 * 1024;

export class Sockets {
  // No compression: screen updates are compressed already, and it costs memory per connection.
  private readonly server = new WebSocketServer({
    noServer: true, maxPayload: MAX_MESSAGE, perMessageDeflate: false,
    // VNC clients of old name the only kind of frame they knew.
    handleProtocols: (protocols) => (protocols.has('binary') ? 'binary' : false),
  });

  /** Answers an upgrade request. @param opened gets the stream; what is written to it goes out in binary messages. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, opened: (stream: Duplex) => void): void {
    this.server.handleUpgrade(request, socket, head, (ws) => {
      const stream = createWebSocketStream(ws);
      // Whatever breaks the connection ends in 'close'.
      stream.on('error', () => stream.destroy());
      opened(stream);
    });
  }

  /** Refuses an upgrade request. */
  static refuse(socket: Duplex, status: number, reason: string): void {
    socket.on('error', () => socket.destroy());
    socket.end(`HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }
}
