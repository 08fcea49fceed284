/** Packets of GDB's remote serial protocol (GDB manual, appendix E.1): `$data#checksum`, acknowledgements, and the interrupt byte. */

const MAX_PACKET = 128 * 1024;
const DOLLAR = 0x24;
const HASH = 0x23;
const ESCAPE = 0x7d;
const INTERRUPT = 3;

export const checksum = (b: Uint8Array): number => b.reduce((s, v) => (s + v) & 255, 0);

/** A packet on the wire. */
export function frame(data: string): Buffer {
  const b = Buffer.from(data, 'latin1');
  return Buffer.concat([Buffer.from('$'), b, Buffer.from(`#${checksum(b).toString(16).padStart(2, '0')}`)]);
}

export interface PacketSink {
  /** A packet's data, unescaped, one character a byte. */
  packet(data: string): void;
  /** The user has pressed Ctrl-C. */
  interrupt(): void;
  /** A packet with a wrong checksum has come. */
  bad(): void;
}

export class PacketReader {
  private state: 'idle' | 'data' | 'sum1' | 'sum2' = 'idle';
  private readonly data: number[] = [];
  private raw = 0;
  private escaped = false;
  private sum = 0;

  /** @throws RangeError if a packet is longer than any that is sent by GDB. */
  push(bytes: Uint8Array, sink: PacketSink): void {
    for (const b of bytes) {
      switch (this.state) {
        case 'idle':
          if (b === INTERRUPT) sink.interrupt();
          else if (b === DOLLAR) this.begin();
          break;
        case 'data':
          if (b === HASH) this.state = 'sum1';
          else this.add(b);
          break;
        case 'sum1':
          this.sum = b;
          this.state = 'sum2';
          break;
        case 'sum2':
          this.state = 'idle';
          if (Number.parseInt(String.fromCharCode(this.sum, b), 16) === this.raw) sink.packet(Buffer.from(this.data).toString('latin1'));
          else sink.bad();
          break;
      }
    }
  }

  private begin(): void {
    this.state = 'data';
    this.data.length = 0;
    this.raw = 0;
    this.escaped = false;
  }

  private add(b: number): void {
    this.raw = (this.raw + b) & 255;
    if (this.escaped) {
      this.escaped = false;
      this.data.push(b ^ 0x20);
    } else if (b === ESCAPE) this.escaped = true;
    else this.data.push(b);
    if (this.data.length > MAX_PACKET) throw new RangeError('packet too long');
  }
}
