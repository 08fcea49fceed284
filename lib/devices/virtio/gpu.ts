/**
 * Virtio GPU, 2D (Virtual I/O Device 1.2, 5.7): one scanout with a cursor. Nothing is drawn until somebody looks, and then the rows only
 * that the driver has flushed since.
 */
import { BLACK, type Surface } from '../../display/surface.js';
import type { OptionalSource } from '../../display/screen-source.js';
import { VmxError } from '../../errors.js';
import type { IoHandler } from '../device.js';
import { buildEdid } from '../display/edid.js';
import { array, bool, int, loadState, saveState, type Schema, u32 } from '../saved.js';
import { type Box, MAX_DOTS, type Resource, Resources } from './gpu-resources.js';
import { Cmd, Config, CONTROL, CURSOR, CURSOR_SIZE, EDID_BYTES, ENTRY_BYTES, EVENT_DISPLAY, F_EDID, FLAG_FENCE, FORMATS, HDR_BYTES, MAX_ENTRIES, MAX_SCANOUTS, Resp, SCANOUT_BYTES } from './gpu.spec.js';
import { Chain } from './queue.js';
import type { VirtioDevice, VirtioTransport } from './transport.js';

const MAX_REQUEST = HDR_BYTES + 8 + MAX_ENTRIES * ENTRY_BYTES;
const MAX_REPLY = HDR_BYTES + Math.max(MAX_SCANOUTS * SCANOUT_BYTES, 8 + EDID_BYTES);

interface State {
  events: number;
  /** The picture shown: a resource (0: none) and the part of it: x, y, width, height. */
  scanout: number;
  box: number[];
  cursor: number;
  cursorX: number;
  cursorY: number;
  hotX: number;
  hotY: number;
  /** The driver has shown something since it started. */
  used: boolean;
}

const dots = int(0, MAX_DOTS);
const SCHEMA: Schema<State> = { events: u32, scanout: u32, box: array(4, dots), cursor: u32, cursorX: u32, cursorY: u32, hotX: u32, hotY: u32, used: bool };
const VERSION = 1;
const initial = (): State => ({ events: 0, scanout: 0, box: [0, 0, 0, 0], cursor: 0, cursorX: 0, cursorY: 0, hotX: 0, hotY: 0, used: false });

export class VirtioGpu implements VirtioDevice, OptionalSource {
  readonly type = 16;
  readonly queues = 2;
  readonly features = F_EDID;
  readonly config: IoHandler = { read: (o, size) => this.configRead(o, size), write: (o, size, v) => this.configWrite(o, size, v) };
  private t: VirtioTransport | null = null;
  private readonly chain = new Chain();
  private readonly request = new Uint8Array(MAX_REQUEST);
  private readonly view = new DataView(this.request.buffer);
  private readonly reply = new Uint8Array(MAX_REPLY);
  private readonly out = new DataView(this.reply.buffer);
  private resources = new Resources();
  private s = initial();
  /** Rows of the picture to be drawn again: [from, to). */
  private dirtyFrom = 0;
  private dirtyTo = 0;
  /** Rows that the cursor covers on the surface. */
  private cursorRows: readonly [number, number] = [0, 0];
  private drawn: Surface | null = null;
  private generation = -1;
  private row = new Uint32Array(0);

  /** @param pciClass 0380h, or 0300h together with a VGA. Width and height: what the guest is told that the screen likes. */
  constructor(
    readonly pciClass = 0x0380,
    private readonly preferred: { width: number; height: number } = { width: 1024, height: 768 },
  ) {}

  attach(t: VirtioTransport): void {
    this.t = t;
  }

  ready(): void {}

  notify(q: number): void {
    const t = this.t!;
    const vq = t.queue[q]!;
    for (let n = 0; n < vq.size && vq.pop(this.chain); n++) {
      const got = this.chain.readInto(t.mem, this.request.subarray(0, Math.min(this.chain.readBytes, MAX_REQUEST)));
      if (got < HDR_BYTES) {
        vq.push(this.chain.head, 0);
        continue;
      }
      this.reply.fill(0, 0, HDR_BYTES);
      const length = q === CURSOR ? this.cursorCommand(got) : q === CONTROL ? this.command(got) : HDR_BYTES;
      if (this.view.getUint32(4, true) & FLAG_FENCE) {
        // Commands are done when they are answered; the fence comes back.
        this.out.setUint32(4, FLAG_FENCE, true);
        this.reply.set(this.request.subarray(8, 20), 8);
      }
      vq.push(this.chain.head, Math.max(0, this.chain.writeFrom(t.mem, this.reply.subarray(0, length))));
    }
    t.signal(q);
  }

  private word(at: number): number {
    return this.view.getUint32(at, true);
  }

  private answer(type: Resp): number {
    this.out.setUint32(0, type, true);
    return HDR_BYTES;
  }

  /** Bytes that each command has at least. */
  private command(got: number): number {
    const type = this.word(0);
    if (got < (LENGTHS[type] ?? 0)) return this.answer(Resp.ERR_INVALID_PARAMETER);
    switch (type) {
      case Cmd.GET_DISPLAY_INFO:
        return this.displayInfo();
      case Cmd.GET_EDID:
        return this.edid();
      case Cmd.RESOURCE_CREATE_2D: {
        const r = this.resources.create(this.word(24), this.word(28), this.word(32), this.word(36));
        return this.answer(r === 'bad' ? Resp.ERR_INVALID_PARAMETER : r === 'full' ? Resp.ERR_OUT_OF_MEMORY : Resp.OK_NODATA);
      }
      case Cmd.RESOURCE_UNREF:
        return this.unref();
      case Cmd.SET_SCANOUT:
        return this.setScanout();
      case Cmd.RESOURCE_FLUSH:
        return this.withBox(this.word(40), (r, b) => {
          if (r.id === this.s.scanout) this.touch(b.y - this.s.box[1]!, b.y + b.height - this.s.box[1]!);
          return Resp.OK_NODATA;
        });
      case Cmd.TRANSFER_TO_HOST_2D: {
        const offset = this.word(40) + this.word(44) * 2 ** 32;
        return this.withBox(this.word(48), (r, b) => (r.transfer(this.t!.mem, b, offset) ? Resp.OK_NODATA : Resp.ERR_INVALID_PARAMETER));
      }
      case Cmd.RESOURCE_ATTACH_BACKING:
        return this.attachBacking(got);
      case Cmd.RESOURCE_DETACH_BACKING: {
        const r = this.resources.get(this.word(24));
        r?.detach();
        return this.answer(r === undefined ? Resp.ERR_INVALID_RESOURCE_ID : Resp.OK_NODATA);
      }
      default:
        return this.answer(Resp.ERR_UNSPEC);
    }
  }

  /** The rectangle that follows the header, within a resource. */
  private withBox(id: number, fn: (r: Resource, b: Box) => Resp): number {
    const r = this.resources.get(id);
    if (r === undefined) return this.answer(Resp.ERR_INVALID_RESOURCE_ID);
    const b = this.box();
    return this.answer(r.contains(b) ? fn(r, b) : Resp.ERR_INVALID_PARAMETER);
  }

  private box(): Box {
    return { x: this.word(24), y: this.word(28), width: this.word(32), height: this.word(36) };
  }

  private displayInfo(): number {
    this.reply.fill(0, HDR_BYTES, HDR_BYTES + MAX_SCANOUTS * SCANOUT_BYTES);
    this.out.setUint32(HDR_BYTES + 8, this.preferred.width, true);
    this.out.setUint32(HDR_BYTES + 12, this.preferred.height, true);
    this.out.setUint32(HDR_BYTES + 16, 1, true);
    this.answer(Resp.OK_DISPLAY_INFO);
    return HDR_BYTES + MAX_SCANOUTS * SCANOUT_BYTES;
  }

  private edid(): number {
    if (this.word(24) !== 0) return this.answer(Resp.ERR_INVALID_SCANOUT_ID);
    const edid = buildEdid('vmx-accel');
    this.reply.fill(0, HDR_BYTES, HDR_BYTES + 8 + EDID_BYTES);
    this.out.setUint32(HDR_BYTES, edid.length, true);
    this.reply.set(edid, HDR_BYTES + 8);
    this.answer(Resp.OK_EDID);
    return HDR_BYTES + 8 + EDID_BYTES;
  }

  private unref(): number {
    const id = this.word(24);
    if (!this.resources.remove(id)) return this.answer(Resp.ERR_INVALID_RESOURCE_ID);
    if (id === this.s.scanout) this.show(0, [0, 0, 0, 0]);
    if (id === this.s.cursor) this.s.cursor = 0;
    return this.answer(Resp.OK_NODATA);
  }

  private setScanout(): number {
    const id = this.word(44);
    if (this.word(40) !== 0) return this.answer(Resp.ERR_INVALID_SCANOUT_ID);
    if (id === 0) {
      this.show(0, [0, 0, 0, 0]);
      return this.answer(Resp.OK_NODATA);
    }
    return this.withBox(id, (r, b) => {
      this.s.used = true;
      this.show(r.id, [b.x, b.y, b.width, b.height]);
      return Resp.OK_NODATA;
    });
  }

  private show(resource: number, box: number[]): void {
    this.s.scanout = resource;
    this.s.box = box;
    this.touch(0, box[3]!);
  }

  private attachBacking(got: number): number {
    const r = this.resources.get(this.word(24));
    if (r === undefined) return this.answer(Resp.ERR_INVALID_RESOURCE_ID);
    const count = this.word(28);
    if (count > MAX_ENTRIES || got < 32 + count * ENTRY_BYTES) return this.answer(Resp.ERR_INVALID_PARAMETER);
    const addr: number[] = [];
    const len: number[] = [];
    for (let at = 32; at < 32 + count * ENTRY_BYTES; at += ENTRY_BYTES) {
      // Beyond 2^52 there is no memory, and sums stay exact.
      addr.push(Math.min(this.word(at) + this.word(at + 4) * 2 ** 32, 2 ** 52));
      len.push(this.word(at + 8));
    }
    r.attach(addr, len);
    return this.answer(Resp.OK_NODATA);
  }

  /** pos { scanout_id, x, y }, resource_id, hot_x, hot_y. */
  private cursorCommand(got: number): number {
    const type = this.word(0);
    if (got < LENGTHS[Cmd.UPDATE_CURSOR]! || (type !== (Cmd.UPDATE_CURSOR as number) && type !== (Cmd.MOVE_CURSOR as number))) return this.answer(Resp.ERR_UNSPEC);
    const { s } = this;
    if (this.word(24) !== 0) return this.answer(Resp.ERR_INVALID_SCANOUT_ID);
    s.cursorX = this.word(28);
    s.cursorY = this.word(32);
    if (type === (Cmd.MOVE_CURSOR as number)) return this.answer(Resp.OK_NODATA);
    const id = this.word(40);
    const r = this.resources.get(id);
    if (id !== 0 && (r === undefined || r.width !== CURSOR_SIZE || r.height !== CURSOR_SIZE)) return this.answer(Resp.ERR_INVALID_RESOURCE_ID);
    s.cursor = id;
    s.hotX = this.word(44);
    s.hotY = this.word(48);
    return this.answer(Resp.OK_NODATA);
  }

  // ---- the picture ----

  /** The driver shows its own picture, or has done so: firmware's is no more. */
  get active(): boolean {
    return this.s.used;
  }

  textRows(): Uint8Array[] {
    return [];
  }

  textScreen(): null {
    return null;
  }

  private touch(from: number, to: number): void {
    if (this.dirtyFrom === this.dirtyTo) {
      this.dirtyFrom = from;
      this.dirtyTo = to;
    } else {
      this.dirtyFrom = Math.min(this.dirtyFrom, from);
      this.dirtyTo = Math.max(this.dirtyTo, to);
    }
  }

  render(surface: Surface): void {
    const r = this.resources.get(this.s.scanout);
    if (r === undefined) {
      if (surface.width === 0) surface.resize(this.preferred.width, this.preferred.height);
      surface.clear();
      this.generation = -1;
      return;
    }
    const [x, y, width, height] = this.s.box as [number, number, number, number];
    surface.resize(width, height);
    if (surface !== this.drawn || surface.generation !== this.generation) this.touch(0, height);
    this.drawn = surface;
    this.generation = surface.generation;
    const now = this.cursorSpan(height);
    if (now[0] !== now[1]) this.touch(now[0], now[1]);
    if (this.cursorRows[0] !== this.cursorRows[1]) this.touch(this.cursorRows[0], this.cursorRows[1]);
    this.cursorRows = now;
    if (this.row.length < width) this.row = new Uint32Array(width);
    const end = Math.min(height, this.dirtyTo);
    for (let line = Math.max(0, this.dirtyFrom); line < end; line++) {
      convert(r, x, y + line, width, this.row);
      if (line >= now[0] && line < now[1]) this.drawCursor(line, width);
      surface.putRow(line, this.row, 0);
    }
    this.dirtyFrom = this.dirtyTo = 0;
  }

  /** Upper left corner of the cursor; coordinates are signed. */
  private get cursorAt(): { x: number; y: number } {
    return { x: (this.s.cursorX | 0) - this.s.hotX, y: (this.s.cursorY | 0) - this.s.hotY };
  }

  private cursorSpan(height: number): readonly [number, number] {
    if (this.s.cursor === 0) return [0, 0];
    const { y } = this.cursorAt;
    const from = Math.max(0, y);
    return [from, Math.max(from, Math.min(height, y + CURSOR_SIZE))];
  }

  private drawCursor(line: number, width: number): void {
    const c = this.resources.get(this.s.cursor);
    if (c === undefined) return;
    const at = this.cursorAt;
    const [red, green, blue, alpha] = FORMATS[c.format]!;
    for (let i = 0; i < CURSOR_SIZE; i++) {
      const x = at.x + i;
      if (x < 0 || x >= width) continue;
      const p = ((line - at.y) * CURSOR_SIZE + i) * 4;
      const a = alpha < 0 ? 255 : c.pixels[p + alpha]!;
      const under = this.row[x]!;
      // Colours come multiplied by alpha.
      const mix = (v: number, shift: number): number => Math.min(255, v + Math.round((((under >>> shift) & 0xff) * (255 - a)) / 255));
      this.row[x] = (BLACK | mix(c.pixels[p + red]!, 0) | (mix(c.pixels[p + green]!, 8) << 8) | (mix(c.pixels[p + blue]!, 16) << 16)) >>> 0;
    }
  }

  // ---- configuration, state ----

  private configRead(o: number, size: number): number {
    const at = o & ~3;
    const word = at === (Config.EVENTS_READ as number) ? this.s.events : at === (Config.NUM_SCANOUTS as number) ? 1 : 0;
    return size === 4 ? word : (word >>> ((o & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private configWrite(o: number, _size: number, v: number): void {
    if (o === (Config.EVENTS_CLEAR as number)) this.s.events = (this.s.events & ~v & EVENT_DISPLAY) >>> 0;
  }

  reset(): void {
    this.s = initial();
    this.resources.clear();
    this.generation = -1;
    this.cursorRows = [0, 0];
  }

  save(): Record<string, unknown> {
    return { ...saveState(SCHEMA, VERSION, this.s), resources: this.resources.save() };
  }

  restore(saved: Record<string, unknown>): void {
    const s = loadState('virtio-gpu', SCHEMA, VERSION, saved as ReturnType<typeof saveState>);
    const resources = Resources.load(saved.resources);
    const [x, y, width, height] = s.box as [number, number, number, number];
    const shown = resources.get(s.scanout);
    const cursor = resources.get(s.cursor);
    if ((s.scanout !== 0 && shown?.contains({ x, y, width, height }) !== true) || (s.cursor !== 0 && (cursor?.width !== CURSOR_SIZE || cursor.height !== CURSOR_SIZE))) {
      throw new VmxError('ERR_BAD_STATE', 'virtio-gpu: the saved picture is none');
    }
    this.s = s;
    this.resources = resources;
    this.generation = -1;
  }
}

const LENGTHS: Readonly<Record<number, number>> = {
  [Cmd.GET_EDID]: 32, [Cmd.RESOURCE_CREATE_2D]: 40, [Cmd.RESOURCE_UNREF]: 32, [Cmd.SET_SCANOUT]: 48, [Cmd.RESOURCE_FLUSH]: 48, [Cmd.TRANSFER_TO_HOST_2D]: 56,
  [Cmd.RESOURCE_ATTACH_BACKING]: 32, [Cmd.RESOURCE_DETACH_BACKING]: 32, [Cmd.UPDATE_CURSOR]: 52,
};

/** Dots x.. of a row as RGBA words. */
function convert(r: Resource, x: number, y: number, width: number, row: Uint32Array): void {
  const [red, green, blue] = FORMATS[r.format]!;
  const { pixels } = r;
  let p = (y * r.width + x) * 4;
  for (let i = 0; i < width; i++, p += 4) row[i] = (BLACK | pixels[p + red]! | (pixels[p + green]! << 8) | (pixels[p + blue]! << 16)) >>> 0;
}
