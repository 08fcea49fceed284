/** One VNC client (RFC 6143): handshake, authentication, its pixel format and encodings, updates on request, keys and pointer. */
import { createCipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { constants, createDeflate, type Deflate } from 'node:zlib';
import type { ScreenImage, ScreenWatcher } from '../../machine/screen-feed.js';
import type { VirtualMachine } from '../../machine/virtual-machine.js';
import { type Area, encodeHextile, Encoding, encodeRaw, zrleTiles } from './encodings.js';
import { keyOfKeycode, keyOfKeysym } from './keysyms.js';
import { DEFAULT_FORMAT, FORMAT_BYTES, PixelWriter, readFormat, writeFormat } from './pixels.js';

const VERSION = 'RFB 003.008\n';
const SECURITY_NONE = 1;
const SECURITY_VNC = 2;
const CHALLENGE_BYTES = 16;
/** Bytes a client may send ahead of what has been worked through. */
const MAX_INPUT = 1024 * 1024;
/** Bytes of one clipboard message that are skipped; more ends the connection. */
const MAX_CUT_TEXT = 16 * 1024 * 1024;
/** Regions an update has; more are joined into one. */
const MAX_REGIONS = 64;
const MAX_ENCODINGS = 1024;
/** Bytes that may wait for a slow client before updates stop. */
const MAX_UNSENT = 8 * 1024 * 1024;
/** Keys and movements that may wait for the guest. */
const MAX_PENDING_INPUT = 512;
const AUTH_FAILED_MS = 1000;

const enum ClientMessage { SET_PIXEL_FORMAT = 0, SET_ENCODINGS = 2, UPDATE_REQUEST = 3, KEY = 4, POINTER = 5, CUT_TEXT = 6, QEMU = 255 }
const QEMU_KEY = 0;
/** Pointer positions are movements from here once the client has been told so. */
const RELATIVE_CENTRE = 0x7fff;
/** Buttons 4 and 5 are the wheel. */
const WHEEL_UP = 8;
const WHEEL_DOWN = 16;
const BUTTONS = [
  [1, 'left'],
  [2, 'middle'],
  [4, 'right'],
] as const;

/** Something the client did that no client does. */
class ProtocolError extends Error {}

export interface VncOptions {
  /** At most eight characters count (7.2.2); null: no authentication. */
  password: string | null;
  name: string;
}

/** DES with the password's bits mirrored within each byte, which is what VNC made of it. DES alone is triple DES with one key. */
function vncResponse(password: string, challenge: Uint8Array): Buffer {
  const key = Buffer.alloc(8);
  Buffer.from(password, 'latin1').copy(key, 0, 0, 8);
  for (let i = 0; i < 8; i++) {
    let v = 0;
    for (let bit = 0; bit < 8; bit++) if (key[i]! & (1 << bit)) v |= 0x80 >> bit;
    key[i] = v;
  }
  const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([key, key, key]), null).setAutoPadding(false);
  return Buffer.concat([cipher.update(challenge), cipher.final()]);
}

export class VncSession implements ScreenWatcher {
  private input: Buffer = Buffer.alloc(0);
  /** Gets the bytes it waits for; the next state. */
  private expect: { bytes: number; then: (b: Buffer) => void } = { bytes: 12, then: (b) => this.version(b) };
  private skip = 0;
  private minor = 8;
  private writer = new PixelWriter(DEFAULT_FORMAT);
  private encoding: Encoding = Encoding.RAW;
  private readonly extras = new Set<number>();
  private image: ScreenImage | null = null;
  private stopWatching: (() => void) | null = null;
  /** What the client has not been sent. */
  private dirty: Area[] = [];
  private resizedSince = false;
  /** Size as the client knows it. */
  private told = { width: 0, height: 0 };
  private wanted = false;
  private sending = false;
  private readonly announce: number[] = [];
  private relative = false;
  private deflate: Deflate | null = null;
  private readonly compressed: Buffer[] = [];
  private lastButtons = 0;
  private pendingInput = 0;
  private inputDone: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(
    private readonly socket: Duplex,
    private readonly vm: VirtualMachine,
    private readonly o: VncOptions,
    private readonly onClose: () => void,
  ) {
    socket.on('data', (b: Buffer) => this.received(b));
    socket.on('drain', () => this.update());
    // 'close' follows.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.close());
    socket.write(VERSION);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.stopWatching?.();
    this.deflate?.close();
    this.socket.destroy();
    this.onClose();
  }

  private received(bytes: Buffer): void {
    let b = bytes;
    if (this.skip > 0) {
      const n = Math.min(this.skip, b.length);
      this.skip -= n;
      b = b.subarray(n);
    }
    this.input = this.input.length === 0 ? b : Buffer.concat([this.input, b]);
    try {
      while (!this.closed && this.skip === 0 && this.input.length >= this.expect.bytes) {
        const { bytes: n, then } = this.expect;
        const part = this.input.subarray(0, n);
        this.input = this.input.subarray(n);
        then(part);
        const cut = Math.min(this.skip, this.input.length);
        this.skip -= cut;
        this.input = this.input.subarray(cut);
      }
      if (this.input.length > MAX_INPUT) throw new ProtocolError('too much at once');
    } catch (e) {
      if (!(e instanceof ProtocolError)) throw e;
      this.close();
    }
  }

  private next(bytes: number, then: (b: Buffer) => void): void {
    this.expect = { bytes, then };
  }

  // ---- handshake (7.1 to 7.3) ----

  private version(b: Buffer): void {
    const m = /^RFB 003\.(\d{3})\n$/.exec(b.toString('latin1'));
    if (m === null) throw new ProtocolError('version');
    const minor = Number(m[1]);
    this.minor = minor >= 8 ? 8 : minor === 7 ? 7 : 3;
    const type = this.o.password === null ? SECURITY_NONE : SECURITY_VNC;
    if (this.minor === 3) {
      this.socket.write(Buffer.from([0, 0, 0, type]));
      this.security(type);
      return;
    }
    this.socket.write(Buffer.from([1, type]));
    this.next(1, (c) => {
      if (c[0] !== type) throw new ProtocolError('security type');
      this.security(type);
    });
  }

  private security(type: number): void {
    if (type === SECURITY_NONE) {
      this.authenticated();
      return;
    }
    const challenge = randomBytes(CHALLENGE_BYTES);
    this.socket.write(challenge);
    this.next(CHALLENGE_BYTES, (b) => {
      if (timingSafeEqual(b, vncResponse(this.o.password!, challenge))) {
        this.authenticated();
        return;
      }
      // Guessing takes time.
      this.next(Infinity, () => {});
      const reason = Buffer.from('authentication failed');
      const answer = this.minor === 8 ? Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, reason.length]), reason]) : Buffer.from([0, 0, 0, 1]);
      setTimeout(() => this.socket.end(answer), AUTH_FAILED_MS).unref();
    });
  }

  private authenticated(): void {
    if (this.minor === 8 || this.o.password !== null) this.socket.write(Buffer.alloc(4));
    this.next(1, () => {
      // ServerInit needs the size, which the first picture tells.
      this.next(Infinity, () => {});
      this.stopWatching = this.vm.screen.watch(this);
    });
  }

  private serverInit(image: ScreenImage): void {
    const name = Buffer.from(this.o.name);
    const head = Buffer.alloc(4);
    head.writeUInt16BE(image.width, 0);
    head.writeUInt16BE(image.height, 2);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(name.length);
    this.socket.write(Buffer.concat([head, writeFormat(DEFAULT_FORMAT), length, name]));
    this.told = { width: image.width, height: image.height };
    this.next(1, (b) => this.message(b[0]!));
    // What came in the meantime.
    this.received(Buffer.alloc(0));
  }

  // ---- messages of the client (7.5) ----

  private message(type: number): void {
    const done = (): void => this.next(1, (b) => this.message(b[0]!));
    switch (type) {
      case ClientMessage.SET_PIXEL_FORMAT:
        this.next(3 + FORMAT_BYTES, (b) => {
          const f = readFormat(b.subarray(3));
          if (f === null) throw new ProtocolError('pixel format');
          this.writer = new PixelWriter(f);
          done();
        });
        break;
      case ClientMessage.SET_ENCODINGS:
        this.next(3, (b) => {
          const n = b.readUInt16BE(1);
          if (n > MAX_ENCODINGS) throw new ProtocolError('too many encodings');
          this.next(n * 4, (e) => {
            this.setEncodings(Array.from({ length: n }, (_, i) => e.readInt32BE(i * 4)));
            done();
          });
        });
        break;
      case ClientMessage.UPDATE_REQUEST:
        this.next(9, (b) => {
          if (b[0] === 0) this.touch({ x: b.readUInt16BE(1), y: b.readUInt16BE(3), width: b.readUInt16BE(5), height: b.readUInt16BE(7) });
          this.wanted = true;
          this.update();
          done();
        });
        break;
      case ClientMessage.KEY:
        this.next(7, (b) => {
          this.key(keyOfKeysym(b.readUInt32BE(3)), b[0] !== 0);
          done();
        });
        break;
      case ClientMessage.POINTER:
        this.next(5, (b) => {
          this.pointer(b[0]!, b.readUInt16BE(1), b.readUInt16BE(3));
          done();
        });
        break;
      case ClientMessage.CUT_TEXT:
        this.next(7, (b) => {
          const n = b.readUInt32BE(3);
          if (n > MAX_CUT_TEXT) throw new ProtocolError('clipboard too large');
          this.skip = n;
          done();
        });
        break;
      case ClientMessage.QEMU:
        this.next(11, (b) => {
          if (b[0] !== QEMU_KEY) throw new ProtocolError('QEMU message');
          const code = keyOfKeycode(b.readUInt32BE(7));
          this.key(code >= 0 ? code : keyOfKeysym(b.readUInt32BE(3)), b.readUInt16BE(1) !== 0);
          done();
        });
        break;
      default:
        throw new ProtocolError(`message ${type}`);
    }
  }

  private setEncodings(list: readonly number[]): void {
    this.encoding = (list.find((e) => e === (Encoding.ZRLE as number) || e === (Encoding.HEXTILE as number) || e === (Encoding.RAW as number)) ?? Encoding.RAW) as Encoding;
    for (const e of [Encoding.DESKTOP_SIZE, Encoding.POINTER_MOTION_CHANGE, Encoding.EXTENDED_KEY_EVENT]) {
      if (!list.includes(e) || this.extras.has(e)) continue;
      this.extras.add(e);
      if (e !== Encoding.DESKTOP_SIZE) this.announce.push(e);
    }
  }

  // ---- input ----

  /** One after the other, and no more than the guest can be expected to take. */
  private feed(action: () => Promise<void>): void {
    if (this.pendingInput >= MAX_PENDING_INPUT) return;
    this.pendingInput++;
    this.inputDone = this.inputDone.then(action).finally(() => this.pendingInput--);
  }

  private key(code: number, down: boolean): void {
    if (code < 0) return;
    const name = `0x${code.toString(16)}`;
    this.feed(() => (down ? this.vm.keyboard.down(name) : this.vm.keyboard.up(name)));
  }

  private pointer(buttons: number, x: number, y: number): void {
    const changed = buttons ^ this.lastButtons;
    this.lastButtons = buttons;
    const wheel = (changed & buttons & WHEEL_UP ? -1 : 0) + (changed & buttons & WHEEL_DOWN ? 1 : 0);
    if (!this.relative) this.feed(() => this.vm.mouse.moveTo(x, y, wheel));
    else {
      const [dx, dy] = [x - RELATIVE_CENTRE, y - RELATIVE_CENTRE];
      if (dx !== 0 || dy !== 0 || wheel !== 0) this.feed(() => this.vm.mouse.move(dx, dy, wheel));
    }
    for (const [bit, name] of BUTTONS) if (changed & bit) this.feed(() => (buttons & bit ? this.vm.mouse.down(name) : this.vm.mouse.up(name)));
  }

  // ---- updates (7.6.1) ----

  resized(image: ScreenImage): void {
    const first = this.image === null;
    this.image = image;
    this.resizedSince = !first;
    this.dirty = [{ x: 0, y: 0, width: image.width, height: image.height }];
    if (first) this.serverInit(image);
    else this.update();
  }

  changed(image: ScreenImage, area: Area): void {
    this.image = image;
    this.touch(area);
    this.update();
  }

  private touch(a: Area): void {
    this.dirty.push({ ...a });
    if (this.dirty.length <= MAX_REGIONS) return;
    const x = Math.min(...this.dirty.map((d) => d.x));
    const y = Math.min(...this.dirty.map((d) => d.y));
    this.dirty = [{ x, y, width: Math.max(...this.dirty.map((d) => d.x + d.width)) - x, height: Math.max(...this.dirty.map((d) => d.y + d.height)) - y }];
  }

  private update(): void {
    if (this.image === null || !this.wanted || this.sending || this.closed || this.socket.writableLength > MAX_UNSENT) return;
    this.announcePointer(this.image);
    if (this.dirty.length === 0 && this.announce.length === 0) return;
    this.wanted = false;
    this.sending = true;
    void this.send(this.image).then(() => {
      this.sending = false;
      this.update();
    });
  }

  /** A driver for an absolute pointer may come and go. */
  private announcePointer(image: ScreenImage): void {
    const e = Encoding.POINTER_MOTION_CHANGE;
    if (this.extras.has(e) && !this.announce.includes(e) && this.relative === image.absolute) this.announce.push(e);
  }

  private async send(image: ScreenImage): Promise<void> {
    const parts: Uint8Array[] = [];
    const rect = (a: Area, encoding: number, data: Uint8Array): void => {
      const h = Buffer.alloc(12);
      h.writeUInt16BE(a.x, 0);
      h.writeUInt16BE(a.y, 2);
      h.writeUInt16BE(a.width, 4);
      h.writeUInt16BE(a.height, 6);
      h.writeInt32BE(encoding, 8);
      parts.push(h, data);
    };
    const nothing = new Uint8Array(0);
    for (const e of this.announce.splice(0)) {
      if (e === (Encoding.POINTER_MOTION_CHANGE as number)) {
        // Mice move by counts: x = 0 asks the client for movements in place of positions, 1 for positions.
        this.relative = !image.absolute;
        rect({ x: image.absolute ? 1 : 0, y: 0, width: image.width, height: image.height }, e, nothing);
      } else {
        rect({ x: 0, y: 0, width: image.width, height: image.height }, e, nothing);
      }
    }
    const grows = image.width !== this.told.width || image.height !== this.told.height;
    if (this.resizedSince && grows && this.extras.has(Encoding.DESKTOP_SIZE)) {
      rect({ x: 0, y: 0, width: image.width, height: image.height }, Encoding.DESKTOP_SIZE, nothing);
      this.told = { width: image.width, height: image.height };
    }
    this.resizedSince = false;
    // A client that cannot be told of another size keeps the one it has.
    const width = Math.min(image.width, this.told.width);
    const height = Math.min(image.height, this.told.height);
    for (const d of this.dirty.splice(0)) {
      const a = { x: d.x, y: d.y, width: Math.min(d.width, width - d.x), height: Math.min(d.height, height - d.y) };
      if (a.width <= 0 || a.height <= 0) continue;
      rect(a, this.encoding, await this.encode(image, a));
    }
    if (this.closed) return;
    const head = Buffer.alloc(4);
    head.writeUInt16BE(parts.length / 2, 2);
    this.socket.write(Buffer.concat([head, ...parts]));
  }

  private async encode(image: ScreenImage, a: Area): Promise<Uint8Array> {
    switch (this.encoding) {
      case Encoding.HEXTILE:
        return encodeHextile(image, a, this.writer);
      case Encoding.ZRLE: {
        const z = await this.compress(zrleTiles(image, a, this.writer));
        const length = Buffer.alloc(4);
        length.writeUInt32BE(z.length);
        return Buffer.concat([length, z]);
      }
      default:
        return encodeRaw(image, a, this.writer);
    }
  }

  /** One zlib stream for the whole connection, flushed after each rectangle. */
  private compress(data: Uint8Array): Promise<Buffer> {
    if (this.deflate === null) {
      this.deflate = createDeflate({ level: 3 });
      this.deflate.on('data', (c: Buffer) => this.compressed.push(c));
    }
    const z = this.deflate;
    return new Promise((resolve) => {
      z.write(data);
      z.flush(constants.Z_SYNC_FLUSH, () => resolve(Buffer.concat(this.compressed.splice(0))));
    });
  }
}
