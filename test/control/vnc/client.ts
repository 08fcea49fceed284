/** A VNC client for tests: what RFC 6143 asks of one, with a picture to look at. */
import { createCipheriv } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { constants, createInflate, type Inflate } from 'node:zlib';

export class VncClient {
  width = 0;
  height = 0;
  name = '';
  /** RGB values of 24 bits. */
  pixels = new Uint32Array(0);
  readonly encodings: number[] = [];
  private buffer: Buffer = Buffer.alloc(0);
  private wake: () => void = () => {};
  closed = false;
  private readonly inflate: Inflate = createInflate({ finishFlush: constants.Z_SYNC_FLUSH });
  private readonly inflated: Buffer[] = [];

  constructor(readonly socket: Socket) {
    socket.on('data', (d) => {
      this.buffer = Buffer.concat([this.buffer, d]);
      this.wake();
    });
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
    socket.on('error', () => socket.destroy());
    this.inflate.on('data', (d: Buffer) => this.inflated.push(d));
  }

  static open(port: number): Promise<VncClient> {
    return new Promise((resolve, reject) => {
      const s = connect(port, '127.0.0.1', () => resolve(new VncClient(s)));
      s.once('error', reject);
    });
  }

  async take(n: number): Promise<Buffer> {
    while (this.buffer.length < n) {
      if (this.closed) throw new Error('the server closed the connection');
      await new Promise<void>((r) => (this.wake = r));
    }
    const b = this.buffer.subarray(0, n);
    this.buffer = this.buffer.subarray(n);
    return b;
  }

  send(...bytes: number[]): void {
    this.socket.write(Buffer.from(bytes));
  }

  async start(o: { password?: string; minor?: number } = {}): Promise<void> {
    const minor = o.minor ?? 8;
    if ((await this.take(12)).toString() !== 'RFB 003.008\n') throw new Error('version');
    this.socket.write(`RFB 003.00${minor}\n`);
    let type: number;
    if (minor === 3) type = (await this.take(4)).readUInt32BE();
    else {
      const types = await this.take((await this.take(1))[0]!);
      type = types[0]!;
      this.send(type);
    }
    if (type === 2) this.socket.write(respond(o.password ?? '', await this.take(16)));
    if ((minor === 8 || type === 2) && (await this.take(4)).readUInt32BE() !== 0) throw new Error('refused');
    this.send(1);
    const init = await this.take(24);
    this.resize(init.readUInt16BE(0), init.readUInt16BE(2));
    this.name = (await this.take(init.readUInt32BE(20))).toString();
  }

  private resize(w: number, h: number): void {
    this.width = w;
    this.height = h;
    this.pixels = new Uint32Array(w * h);
  }

  setEncodings(...list: number[]): void {
    const b = Buffer.alloc(4 + list.length * 4);
    b[0] = 2;
    b.writeUInt16BE(list.length, 2);
    list.forEach((e, i) => b.writeInt32BE(e, 4 + i * 4));
    this.socket.write(b);
  }

  request(incremental: boolean): void {
    const b = Buffer.from([3, incremental ? 1 : 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    b.writeUInt16BE(this.width, 6);
    b.writeUInt16BE(this.height, 8);
    this.socket.write(b);
  }

  /** Reads one update. @returns the areas it had. */
  async update(): Promise<{ x: number; y: number; width: number; height: number; encoding: number }[]> {
    const head = await this.take(4);
    if (head[0] !== 0) throw new Error(`message ${head[0]}`);
    const out = [];
    for (let n = head.readUInt16BE(2); n > 0; n--) {
      const r = await this.take(12);
      const a = { x: r.readUInt16BE(0), y: r.readUInt16BE(2), width: r.readUInt16BE(4), height: r.readUInt16BE(6), encoding: r.readInt32BE(8) };
      out.push(a);
      this.encodings.push(a.encoding);
      if (a.encoding === -223) this.resize(a.width, a.height);
      else if (a.encoding === 0) this.raw(a, await this.take(a.width * a.height * 4), 4);
      else if (a.encoding === 5) await this.hextile(a);
      else if (a.encoding === 16) await this.zrle(a);
    }
    return out;
  }

  private set(x: number, y: number, v: number): void {
    this.pixels[y * this.width + x] = v;
  }

  private raw(a: { x: number; y: number; width: number; height: number }, b: Buffer, bytes: number): void {
    for (let y = 0, at = 0; y < a.height; y++) for (let x = 0; x < a.width; x++, at += bytes) this.set(a.x + x, a.y + y, b.readUIntLE(at, 3));
  }

  private async hextile(a: { x: number; y: number; width: number; height: number }): Promise<void> {
    let background = 0;
    let foreground = 0;
    for (let y = 0; y < a.height; y += 16) {
      for (let x = 0; x < a.width; x += 16) {
        const t = { x: a.x + x, y: a.y + y, width: Math.min(16, a.width - x), height: Math.min(16, a.height - y) };
        const flags = (await this.take(1))[0]!;
        if (flags & 1) {
          this.raw(t, await this.take(t.width * t.height * 4), 4);
          continue;
        }
        if (flags & 2) background = (await this.take(4)).readUIntLE(0, 3);
        if (flags & 4) foreground = (await this.take(4)).readUIntLE(0, 3);
        for (let j = 0; j < t.height; j++) for (let i = 0; i < t.width; i++) this.set(t.x + i, t.y + j, background);
        if (!(flags & 8)) continue;
        for (let n = (await this.take(1))[0]!; n > 0; n--) {
          const [xy, wh] = (await this.take(2)) as unknown as [number, number];
          for (let j = 0; j <= (wh & 15); j++) for (let i = 0; i <= wh >> 4; i++) this.set(t.x + (xy >> 4) + i, t.y + (xy & 15) + j, foreground);
        }
      }
    }
  }

  private async zrle(a: { x: number; y: number; width: number; height: number }): Promise<void> {
    const z = await this.take((await this.take(4)).readUInt32BE());
    const b = await new Promise<Buffer>((resolve) => {
      this.inflate.write(z);
      this.inflate.flush(constants.Z_SYNC_FLUSH, () => resolve(Buffer.concat(this.inflated.splice(0))));
    });
    let at = 0;
    for (let y = 0; y < a.height; y += 64) {
      for (let x = 0; x < a.width; x += 64) {
        const t = { x: a.x + x, y: a.y + y, width: Math.min(64, a.width - x), height: Math.min(64, a.height - y) };
        const n = b[at++]!;
        if (n === 0) {
          this.raw(t, b.subarray(at), 3);
          at += t.width * t.height * 3;
          continue;
        }
        const colours = Array.from({ length: n }, (_, i) => b.readUIntLE(at + i * 3, 3));
        at += n * 3;
        const bits = n === 1 ? 0 : n === 2 ? 1 : n <= 4 ? 2 : 4;
        for (let j = 0; j < t.height; j++) {
          for (let i = 0; i < t.width; i++) this.set(t.x + i, t.y + j, colours[bits === 0 ? 0 : (b[at + ((i * bits) >> 3)]! >> (8 - bits - ((i * bits) & 7))) & ((1 << bits) - 1)]!);
          at += Math.ceil((t.width * bits) / 8);
        }
      }
    }
    if (at !== b.length) throw new Error(`ZRLE: ${b.length - at} bytes left over`);
  }

  /** The picture as RGB bytes. */
  rgb(): Buffer {
    const out = Buffer.alloc(this.pixels.length * 3);
    this.pixels.forEach((v, i) => out.writeUIntBE(v, i * 3, 3));
    return out;
  }
}

function respond(password: string, challenge: Buffer): Buffer {
  const key = Buffer.alloc(8);
  Buffer.from(password).copy(key);
  const mirrored = key.map((v) => [...Array(8).keys()].reduce((m, i) => m | (((v >> i) & 1) << (7 - i)), 0));
  const c = createCipheriv('des-ede3-ecb', Buffer.concat([mirrored, mirrored, mirrored]), null).setAutoPadding(false);
  return Buffer.concat([c.update(challenge), c.final()]);
}
