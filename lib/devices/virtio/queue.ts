/**
 * Split virtqueue, device side (Virtual I/O Device 1.2, 2.7). The driver's ring is hostile: every address is checked, every
 * chain is bounded by the queue size, and anything that breaks the rules stops the queue until the next reset.
 */
import { VmxError } from '../../errors.js';
import type { GuestMemory } from '../device.js';

const DESC_NEXT = 1;
const DESC_WRITE = 2;
const DESC_INDIRECT = 4;
const AVAIL_NO_INTERRUPT = 1;
const USED_NO_NOTIFY = 1;
/** Largest queue we offer (2.7: at most 32768). */
export const QUEUE_MAX = 256;

/** One buffer chain: pieces the device reads, then pieces it writes. Reused; valid until the next pop. */
export class Chain {
  head = 0;
  readonly addr: number[] = [];
  readonly len: number[] = [];
  /** Number of device-readable pieces; the rest are device-writable. */
  readable = 0;
  readBytes = 0;
  writeBytes = 0;

  clear(): void {
    this.addr.length = 0;
    this.len.length = 0;
    this.readable = this.readBytes = this.writeBytes = 0;
  }

  /** Copies up to dst.length bytes from the readable part, starting `skip` bytes in. @returns bytes copied, -1 if memory is bad. */
  readInto(m: GuestMemory, dst: Uint8Array, skip = 0): number {
    let done = 0;
    for (let i = 0; i < this.readable && done < dst.length; i++) {
      const n = this.len[i]!;
      if (skip >= n) {
        skip -= n;
        continue;
      }
      const take = Math.min(n - skip, dst.length - done);
      if (!m.readInto(this.addr[i]! + skip, dst.subarray(done, done + take))) return -1;
      done += take;
      skip = 0;
    }
    return done;
  }

  /** Copies src into the writable part, starting `skip` bytes in. @returns bytes copied, -1 if memory is bad. */
  writeFrom(m: GuestMemory, src: Uint8Array, skip = 0): number {
    let done = 0;
    for (let i = this.readable; i < this.addr.length && done < src.length; i++) {
      const n = this.len[i]!;
      if (skip >= n) {
        skip -= n;
        continue;
      }
      const take = Math.min(n - skip, src.length - done);
      if (!m.writeFrom(this.addr[i]! + skip, src.subarray(done, done + take))) return -1;
      done += take;
      skip = 0;
    }
    return done;
  }
}

export class VirtQueue {
  // Volatile state.
  size = QUEUE_MAX;
  enabled = false;
  desc = 0;
  avail = 0;
  used = 0;
  msixVector = 0xffff;
  private lastAvail = 0;
  private usedIdx = 0;
  private signalledUsed = 0;
  /** The driver broke the rules; nothing happens until reset. */
  broken = false;
  /** VIRTIO_F_EVENT_IDX negotiated. */
  eventIdx = false;

  constructor(
    private readonly mem: GuestMemory,
    private readonly onBroken: (why: string) => void,
  ) {}

  reset(): void {
    this.size = QUEUE_MAX;
    this.enabled = this.broken = this.eventIdx = false;
    this.desc = this.avail = this.used = 0;
    this.msixVector = 0xffff;
    this.lastAvail = this.usedIdx = this.signalledUsed = 0;
  }

  /** The driver wrote queue_enable: addresses must lie in RAM. */
  enable(): void {
    if (!this.mem.valid(this.desc, this.size * 16) || !this.mem.valid(this.avail, 6 + this.size * 2) || !this.mem.valid(this.used, 6 + this.size * 8) || this.desc % 16 || this.avail % 2 || this.used % 4) {
      this.fail('queue outside RAM');
      return;
    }
    this.enabled = true;
  }

  private fail(why: string): false {
    if (!this.broken) {
      this.broken = true;
      this.onBroken(why);
    }
    return false;
  }

  /** True if the driver has made buffers available. */
  get ready(): boolean {
    return this.enabled && !this.broken && this.mem.read16(this.avail + 2) !== this.lastAvail;
  }

  /** Takes the next available chain. @returns false if there is none or the queue is broken. */
  pop(c: Chain): boolean {
    if (!this.enabled || this.broken) return false;
    const idx = this.mem.read16(this.avail + 2);
    if (idx === this.lastAvail) {
      if (this.eventIdx) {
        this.mem.write16(this.used + 4 + this.size * 8, this.lastAvail);
        // A buffer added before the event index was visible brings no notification: look again.
        if (this.mem.read16(this.avail + 2) === this.lastAvail) return false;
      } else {
        return false;
      }
    }
    if (((idx - this.lastAvail) & 0xffff) > this.size) return this.fail('available index runs ahead');
    const head = this.mem.read16(this.avail + 4 + (this.lastAvail % this.size) * 2);
    if (head >= this.size) return this.fail('descriptor index out of range');
    this.lastAvail = (this.lastAvail + 1) & 0xffff;
    c.clear();
    c.head = head;
    return this.walk(c, head);
  }

  private walk(c: Chain, head: number): boolean {
    let table = this.desc;
    let entries = this.size;
    let i = head;
    let indirect = false;
    for (let n = 0; ; n++) {
      if (n >= entries) return this.fail('descriptor chain loops');
      const d = table + i * 16;
      const addr = this.mem.read64(d);
      const len = this.mem.read32(d + 8);
      const flags = this.mem.read16(d + 12);
      if (flags & DESC_INDIRECT) {
        if (indirect || n !== 0 || len === 0 || len % 16 || flags & DESC_NEXT || !this.mem.valid(addr, len)) return this.fail('bad indirect descriptor');
        indirect = true;
        table = addr;
        entries = Math.min(len / 16, QUEUE_MAX * 4);
        i = 0;
        n = -1;
        continue;
      }
      if (!(addr >= 0)) return this.fail('descriptor address too large');
      if (flags & DESC_WRITE) {
        c.writeBytes += len;
      } else {
        if (c.readable !== c.addr.length) return this.fail('readable descriptor after a writable one');
        c.readable++;
        c.readBytes += len;
      }
      c.addr.push(addr);
      c.len.push(len);
      if (!(flags & DESC_NEXT)) return true;
      i = this.mem.read16(d + 14);
      if (i >= entries) return this.fail('descriptor index out of range');
    }
  }

  /** Returns a chain to the driver with `written` bytes in its writable part. */
  push(head: number, written: number): void {
    if (!this.enabled || this.broken) return;
    const e = this.used + 4 + (this.usedIdx % this.size) * 8;
    this.mem.write32(e, head);
    this.mem.write32(e + 4, written);
    this.usedIdx = (this.usedIdx + 1) & 0xffff;
    this.mem.write16(this.used + 2, this.usedIdx);
  }

  /** Puts the chain popped last back: it will be popped again. */
  undoPop(): void {
    this.lastAvail = (this.lastAvail - 1) & 0xffff;
  }

  /** True if the driver wants an interrupt for what has been pushed since the last call. */
  shouldInterrupt(): boolean {
    if (!this.enabled || this.broken || this.usedIdx === this.signalledUsed) return false;
    const old = this.signalledUsed;
    this.signalledUsed = this.usedIdx;
    if (this.eventIdx) {
      const event = this.mem.read16(this.avail + 4 + this.size * 2);
      return ((this.usedIdx - event - 1) & 0xffff) < ((this.usedIdx - old) & 0xffff);
    }
    return !(this.mem.read16(this.avail) & AVAIL_NO_INTERRUPT);
  }

  /** Tells the driver whether notifications are wanted (ignored with event index). */
  setNotify(on: boolean): void {
    if (this.enabled && !this.broken) this.mem.write16(this.used, on ? 0 : USED_NO_NOTIFY);
  }

  save(): Record<string, number | boolean> {
    return { size: this.size, enabled: this.enabled, desc: this.desc, avail: this.avail, used: this.used, msixVector: this.msixVector, lastAvail: this.lastAvail, usedIdx: this.usedIdx, signalledUsed: this.signalledUsed, broken: this.broken, eventIdx: this.eventIdx };
  }

  restore(s: Record<string, unknown>): void {
    const num = (k: string, max: number): number => {
      const v = s[k];
      if (typeof v !== 'number' || !Number.isInteger(v) || v < 0 || v > max) throw new VmxError('ERR_BAD_STATE', `virtqueue: bad ${k}`);
      return v;
    };
    this.size = Math.max(1, num('size', QUEUE_MAX));
    this.desc = num('desc', 2 ** 52);
    this.avail = num('avail', 2 ** 52);
    this.used = num('used', 2 ** 52);
    this.msixVector = num('msixVector', 0xffff);
    this.lastAvail = num('lastAvail', 0xffff);
    this.usedIdx = num('usedIdx', 0xffff);
    this.signalledUsed = num('signalledUsed', 0xffff);
    this.broken = s.broken === true;
    this.eventIdx = s.eventIdx === true;
    this.enabled = false;
    if (s.enabled === true) this.enable();
  }
}
