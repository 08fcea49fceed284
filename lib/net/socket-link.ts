/**
 * A cable between two machines: frames over a stream socket, each after its length as 32 bits, big-endian (the wire format of QEMU's
 * stream and socket netdevs). One end listens, the other connects, and tries again while nobody listens.
 */
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net';
import { ETH_HEADER } from './packet.js';
import { type FrameInfo, FrameQueue, type NetBackend, type NicEnd } from './port.js';

const MAX_LENGTH = 65536;
/** Bytes that may wait for the other machine; frames beyond are lost. */
const MAX_UNSENT = 4 * 1024 * 1024;
const RETRY_MS = 500;

export type SocketAddress = { path: string } | { host: string; port: number };

export class SocketLink implements NetBackend {
  readonly offload = false;
  private readonly queue = new FrameQueue();
  private server: Server | null = null;
  private peer: Socket | null = null;
  private retry: NodeJS.Timeout | null = null;
  private closed = false;
  /** Bytes received that are not a whole frame yet. */
  private rest: Buffer = Buffer.alloc(0);

  constructor(
    private readonly address: SocketAddress,
    private readonly log: (message: string) => void,
  ) {}

  attach(nic: NicEnd): void {
    this.queue.attach(nic);
  }

  /** Waits for the other machine. Rejects with the system's error. @returns the address with the actual port. */
  listen(): Promise<SocketAddress> {
    const server = (this.server = createServer((socket) => {
      // A cable has two ends.
      if (this.peer !== null) socket.destroy();
      else this.use(socket);
    }));
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.address, () => {
        server.off('error', reject);
        server.on('error', (e) => this.log(`network socket: ${e.message}`));
        const at = server.address();
        resolve(typeof at === 'object' && at !== null && 'host' in this.address ? { ...this.address, port: at.port } : this.address);
      });
    });
  }

  /** Connects to the other machine, now or as soon as it listens. */
  connect(): void {
    const socket = connect(this.address as NetConnectOpts);
    const again = (): void => {
      if (this.closed) return;
      this.retry = setTimeout(() => this.connect(), RETRY_MS);
      this.retry.unref();
    };
    // 'close' follows.
    socket.on('error', () => socket.destroy());
    socket.once('connect', () => this.use(socket));
    socket.once('close', again);
  }

  private use(socket: Socket): void {
    this.peer = socket;
    this.rest = Buffer.alloc(0);
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.peer === socket) this.peer = null;
    });
    socket.on('data', (bytes: Buffer) => this.received(socket, bytes));
  }

  private received(socket: Socket, bytes: Buffer): void {
    const b = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    let at = 0;
    while (at + 4 <= b.length) {
      const n = b.readUInt32BE(at);
      if (n < ETH_HEADER || n > MAX_LENGTH) {
        this.log(`network socket: a frame of ${n} bytes: disconnected`);
        socket.destroy();
        return;
      }
      if (at + 4 + n > b.length) break;
      this.queue.send(b.subarray(at + 4, at + 4 + n));
      at += 4 + n;
    }
    this.rest = b.subarray(at);
  }

  transmit(frame: Uint8Array, _info: Readonly<FrameInfo>): void {
    const s = this.peer;
    if (s === null || s.writableLength > MAX_UNSENT) return;
    const b = Buffer.allocUnsafe(4 + frame.length);
    b.writeUInt32BE(frame.length, 0);
    b.set(frame, 4);
    s.write(b);
  }

  flush(): void {}

  room(): void {
    this.queue.room();
  }

  close(): void {
    this.closed = true;
    if (this.retry !== null) clearTimeout(this.retry);
    this.queue.clear();
    this.peer?.destroy();
    this.server?.close();
  }
}
