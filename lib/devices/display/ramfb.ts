/** ramfb: the guest puts a picture into its own memory and says where in the fw_cfg file `etc/ramfb` (QEMU docs/specs, "RAM framebuffer"). */
import type { OptionalSource } from '../../display/screen-source.js';
import { BLACK, type Surface } from '../../display/surface.js';
import type { Device, GuestMemory, SavedState } from '../device.js';
import { int, loadState, saveState, type Schema, u32 } from '../saved.js';

export const RAMFB_FILE = 'etc/ramfb';
/** Address, format, flags, width, height, stride: big-endian. */
export const RAMFB_BYTES = 28;
/** DRM_FORMAT_XRGB8888: blue, green, red, nothing in memory. */
const XRGB8888 = 0x3432_5258;
const MAX_DOTS = 8192;

interface State {
  address: number;
  /** 0: none. */
  width: number;
  height: number;
  stride: number;
}

const SCHEMA: Schema<State> = { address: int(0, 2 ** 52), width: int(0, MAX_DOTS), height: int(0, MAX_DOTS), stride: u32 };
const VERSION = 1;
const initial = (): State => ({ address: 0, width: 0, height: 0, stride: 0 });

export class RamFb implements Device, OptionalSource {
  readonly name = 'ramfb';
  private s = initial();
  private line = new Uint8Array(0);
  private row = new Uint32Array(0);

  constructor(private readonly memory: GuestMemory) {}

  /** The guest has written the file. What makes no sense switches the picture off. */
  configure(file: Uint8Array): void {
    const v = new DataView(file.buffer, file.byteOffset, file.byteLength);
    const [width, height] = [v.getUint32(16), v.getUint32(20)];
    const address = v.getUint32(0) * 2 ** 32 + v.getUint32(4);
    const stride = v.getUint32(24) || width * 4;
    const good = v.getUint32(8) === XRGB8888 && width > 0 && width <= MAX_DOTS && height > 0 && height <= MAX_DOTS && stride >= width * 4 && stride <= MAX_DOTS * 8 && this.memory.valid(address, stride * height);
    this.s = good ? { address, width, height, stride } : initial();
  }

  get active(): boolean {
    return this.s.width > 0;
  }

  textRows(): Uint8Array[] {
    return [];
  }

  textScreen(): null {
    return null;
  }

  render(surface: Surface): void {
    const { address, width, height, stride } = this.s;
    if (width === 0) return;
    surface.resize(width, height);
    if (this.row.length !== width) {
      this.row = new Uint32Array(width);
      this.line = new Uint8Array(width * 4);
    }
    const { row, line } = this;
    for (let y = 0; y < height; y++) {
      if (!this.memory.readInto(address + y * stride, line)) line.fill(0);
      for (let x = 0, p = 0; x < width; x++, p += 4) row[x] = (BLACK | line[p + 2]! | (line[p + 1]! << 8) | (line[p]! << 16)) >>> 0;
      surface.putRow(y, row, 0);
    }
  }

  reset(): void {
    this.s = initial();
  }

  save(): SavedState {
    return saveState(SCHEMA, VERSION, this.s);
  }

  restore(s: SavedState): void {
    const loaded = loadState(this.name, SCHEMA, VERSION, s);
    this.s = loaded.width > 0 && loaded.height > 0 && loaded.stride >= loaded.width * 4 ? loaded : initial();
  }
}
