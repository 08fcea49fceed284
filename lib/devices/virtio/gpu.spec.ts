/** Numbers of the virtio GPU (Virtual I/O Device 1.2, 5.7). */

export const F_EDID = 1 << 1;
/** Queues. */
export const CONTROL = 0;
export const CURSOR = 1;
/** struct virtio_gpu_ctrl_hdr: type, flags, fence_id, ctx_id, ring_idx. */
export const HDR_BYTES = 24;
export const FLAG_FENCE = 1;

export const enum Cmd {
  GET_DISPLAY_INFO = 0x100, RESOURCE_CREATE_2D = 0x101, RESOURCE_UNREF = 0x102, SET_SCANOUT = 0x103, RESOURCE_FLUSH = 0x104, TRANSFER_TO_HOST_2D = 0x105,
  RESOURCE_ATTACH_BACKING = 0x106, RESOURCE_DETACH_BACKING = 0x107, GET_EDID = 0x10a, UPDATE_CURSOR = 0x300, MOVE_CURSOR = 0x301,
}

export const enum Resp {
  OK_NODATA = 0x1100, OK_DISPLAY_INFO = 0x1101, OK_EDID = 0x1104, ERR_UNSPEC = 0x1200, ERR_OUT_OF_MEMORY = 0x1201, ERR_INVALID_SCANOUT_ID = 0x1202,
  ERR_INVALID_RESOURCE_ID = 0x1203, ERR_INVALID_PARAMETER = 0x1205,
}

/** Scanouts in the reply to GET_DISPLAY_INFO, each 24 bytes. */
export const MAX_SCANOUTS = 16;
export const SCANOUT_BYTES = 24;
export const EDID_BYTES = 1024;
/** virtio_gpu_mem_entry: address, length, padding. */
export const ENTRY_BYTES = 16;
export const MAX_ENTRIES = 16384;

/** Offsets in configuration space. */
export const enum Config { EVENTS_READ = 0, EVENTS_CLEAR = 4, NUM_SCANOUTS = 8 }
export const EVENT_DISPLAY = 1;

/** Formats: the place of red, green, blue and alpha in a pixel of four bytes; alpha -1: none. */
export const FORMATS: Readonly<Record<number, readonly [number, number, number, number]>> = {
  1: [2, 1, 0, 3], 2: [2, 1, 0, -1], 3: [1, 2, 3, 0], 4: [1, 2, 3, -1], 67: [0, 1, 2, 3], 68: [3, 2, 1, -1], 121: [3, 2, 1, 0], 134: [0, 1, 2, -1],
};

/** The cursor is a resource of this size, in dots. */
export const CURSOR_SIZE = 64;
