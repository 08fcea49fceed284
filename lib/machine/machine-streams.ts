/** The machine's end of byte streams between devices and programs. */
import { STREAM_WINDOW, type StreamClient, type StreamPeer } from '../devices/stream.js';
import { UsageError } from '../errors.js';
import type { PortInfo, StreamMessage } from './stream-protocol.js';

class Peer implements StreamPeer {
  room = STREAM_WINDOW;
  open = true;

  constructor(
    private readonly post: (m: StreamMessage) => void,
    readonly client: StreamClient,
    private readonly gone: () => void,
  ) {}

  send(bytes: Uint8Array): void {
    if (!this.open || bytes.length === 0) return;
    this.room -= bytes.length;
    this.post({ op: 'data', bytes: Uint8Array.from(bytes) });
  }

  consumed(count: number): void {
    if (this.open && count > 0) this.post({ op: 'credit', count });
  }

  end(): void {
    if (this.open) this.post({ op: 'end' });
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.post({ op: 'close' });
    this.gone();
  }
}

export class MachineStreams {
  private nextId = 1;
  private readonly peers = new Map<number, Peer>();
  /** Ports by name. */
  readonly ports: PortInfo[] = [];

  constructor(private readonly post: (id: number, m: StreamMessage) => void) {}

  /** A stream that lasts as long as the machine. @throws UsageError if the name is taken. */
  port(name: string, client: StreamClient): StreamPeer {
    if (this.ports.some((p) => p.name === name)) throw new UsageError(`--device: two ports with the name '${name}'`);
    const { id, peer } = this.create(client);
    this.ports.push({ id, name });
    return peer;
  }

  create(client: StreamClient): { id: number; peer: StreamPeer } {
    const id = this.nextId++;
    const peer = new Peer((m) => this.post(id, m), client, () => this.peers.delete(id));
    this.peers.set(id, peer);
    return { id, peer };
  }

  message(id: number, m: StreamMessage): void {
    const peer = this.peers.get(id);
    // What was on its way when the stream was closed.
    if (peer === undefined) return;
    switch (m.op) {
      case 'open':
        peer.client.opened();
        break;
      case 'data':
        peer.client.received(m.bytes);
        break;
      case 'credit':
        peer.room = Math.min(STREAM_WINDOW, peer.room + m.count);
        peer.client.roomChanged();
        break;
      case 'end':
        peer.client.ended();
        break;
      case 'close':
        // A port stays, for the next program.
        if (this.ports.some((p) => p.id === id)) peer.room = STREAM_WINDOW;
        else {
          peer.open = false;
          this.peers.delete(id);
        }
        peer.client.closed();
        break;
    }
  }
}
