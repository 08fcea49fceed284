/** Commands of the xHCI command ring (xHCI 1.2, 4.6). */
import { address, high, low } from './xhci-memory.js';
import { noEndpoint, noSlot, SetupPhase, type SlotData } from './xhci-state.js';
import { type RingWalk, slotOf, writeEndpoint, type XhciCore } from './xhci-core.js';
import { Cc, CONTEXT_BYTES, ENDPOINTS, EpState, MAX_SLOTS, Port, SlotState, Tf, Trb, trbType } from './xhci.spec.js';

/** One command after another is bounded; the rest waits for the next doorbell or event. */
const MAX_COMMANDS = 256;
/** A stopped endpoint leaves an event, a command its own. */
const ROOM = 3;
const DROP = 0;
const ADD = 1;
const ENTRIES_SHIFT = 27;

export class XhciCommands {
  constructor(
    private readonly c: XhciCore,
    private readonly walk: RingWalk,
  ) {}

  /** Executes what the ring has. */
  run(): void {
    const { s, x } = this.c;
    for (let n = 0; n < MAX_COMMANDS && s.crRunning && this.c.room() >= ROOM; n++) {
      this.walk.start(s.crDeq, s.crCcs);
      const there = this.walk.next();
      if (there === null) return this.c.systemError('command ring');
      s.crDeq = this.walk.at;
      s.crCcs = this.walk.ccs;
      if (!there) return;
      const at = s.crDeq;
      this.walk.step();
      s.crDeq = this.walk.at;
      const { control, paramLo, paramHi } = x;
      let slot = control >>> 24;
      let code: Cc;
      if (trbType(control) === Trb.ENABLE_SLOT) {
        slot = this.enableSlot();
        code = slot === 0 ? Cc.NO_SLOTS : Cc.SUCCESS;
      } else code = this.execute(control, slot, paramLo, paramHi);
      this.c.event(low(at), high(at), code << 24, (slot << 24) | (Trb.COMMAND_COMPLETION << 10));
    }
  }

  private enableSlot(): number {
    const most = Math.min(MAX_SLOTS, this.c.s.config & 0xff);
    for (let n = 1; n <= most; n++) {
      if (slotOf(this.c, n).enabled) continue;
      this.c.s.slots[n - 1] = { ...noSlot(), enabled: true };
      return n;
    }
    return 0;
  }

  private execute(control: number, slot: number, lo: number, hi: number): Cc {
    const type = trbType(control);
    if (type === Trb.NO_OP_COMMAND) return Cc.SUCCESS;
    if (type < Trb.DISABLE_SLOT || type > Trb.RESET_DEVICE) return Cc.TRB;
    const sl = slot >= 1 && slot <= MAX_SLOTS ? slotOf(this.c, slot) : undefined;
    if (sl === undefined || !sl.enabled) return Cc.SLOT_NOT_ENABLED;
    const input = address(lo & ~15, hi);
    switch (type) {
      case Trb.DISABLE_SLOT:
        this.c.s.slots[slot - 1] = noSlot();
        return Cc.SUCCESS;
      case Trb.ADDRESS_DEVICE:
        return this.addressDevice(slot, sl, input, (control & Tf.BSR) !== 0);
      case Trb.CONFIGURE_ENDPOINT:
        return this.configure(slot, sl, input, (control & Tf.DC) !== 0);
      case Trb.EVALUATE_CONTEXT:
        return this.evaluate(sl, input);
      case Trb.RESET_DEVICE:
        return this.resetDevice(slot, sl);
      default:
        return this.endpoint(type, slot, sl, (control >>> 16) & 31, lo, hi);
    }
  }

  /** Flags of an input control context (6.2.5.1). */
  private flags(input: number, which: number): number {
    return this.c.x.fetchContext(input) ? this.c.x.word(which) : -1;
  }

  /** Copies a context, with a change to it. @returns false if memory is none */
  private copyContext(from: number, to: number, change: () => void): boolean {
    const { x } = this.c;
    if (!x.fetchContext(from)) return false;
    change();
    return x.putContext(to);
  }

  private addressDevice(slot: number, sl: SlotData, input: number, block: boolean): Cc {
    const { x, s } = this.c;
    if (this.flags(input, ADD) !== 3) return Cc.PARAMETER;
    if (!x.fetchContext(input + CONTEXT_BYTES)) return Cc.PARAMETER;
    const port = (x.word(1) >>> 16) & 0xff;
    const device = this.c.device(port);
    if (device === null || !(s.portsc[port - 1]! & Port.PED)) return Cc.PARAMETER;
    if (sl.state !== SlotState.DISABLED && !(sl.state === SlotState.DEFAULT && !block)) return Cc.CONTEXT_STATE;
    // One slot for a device.
    if (s.slots.some((other) => other !== sl && other.enabled && other.port === port && other.state !== SlotState.DISABLED)) return Cc.PARAMETER;
    const output = x.pointer(s.dcbaap + slot * 8);
    const state = block ? SlotState.DEFAULT : SlotState.ADDRESSED;
    const ok =
      this.copyContext(input + CONTEXT_BYTES, output, () => x.setWord(3, (state << ENTRIES_SHIFT) | (block ? 0 : slot))) &&
      this.copyContext(input + 2 * CONTEXT_BYTES, output + CONTEXT_BYTES, () => {
        sl.eps[1] = { ...noEndpoint(), state: EpState.RUNNING, deq: address(x.word(2) & ~15, x.word(3)), ccs: x.word(2) & 1 };
        x.setWord(0, (x.word(0) & ~7) | EpState.RUNNING);
      });
    if (!ok) {
      sl.eps[1] = noEndpoint();
      return Cc.PARAMETER;
    }
    sl.context = output;
    sl.port = port;
    sl.state = state;
    sl.setupPhase = SetupPhase.NONE;
    return Cc.SUCCESS;
  }

  private configure(slot: number, sl: SlotData, input: number, deconfigure: boolean): Cc {
    const { x } = this.c;
    if (sl.state !== SlotState.ADDRESSED && sl.state !== SlotState.CONFIGURED) return Cc.CONTEXT_STATE;
    const drop = deconfigure ? ~3 : this.flags(input, DROP);
    const add = deconfigure ? 0 : this.flags(input, ADD);
    if (!deconfigure && !x.fetchContext(input)) return Cc.PARAMETER;
    // Endpoint 0 stays as it is (4.6.6).
    if ((drop & 3) !== 0 || (add & 2) !== 0) return Cc.PARAMETER;
    for (let dci = 2; dci < ENDPOINTS; dci++) {
      if ((drop >>> dci) & 1 && sl.eps[dci]!.state !== EpState.DISABLED) {
        sl.eps[dci] = noEndpoint();
        writeEndpoint(this.c, slot, dci);
      }
      if (!((add >>> dci) & 1)) continue;
      const ok = this.copyContext(input + (1 + dci) * CONTEXT_BYTES, sl.context + dci * CONTEXT_BYTES, () => {
        sl.eps[dci] = { ...noEndpoint(), state: EpState.RUNNING, deq: address(x.word(2) & ~15, x.word(3)), ccs: x.word(2) & 1 };
        x.setWord(0, (x.word(0) & ~7) | EpState.RUNNING);
      });
      if (!ok) return Cc.PARAMETER;
    }
    const last = sl.eps.reduce((n, e, i) => (e.state === EpState.DISABLED ? n : i), 1);
    sl.state = last > 1 ? SlotState.CONFIGURED : SlotState.ADDRESSED;
    return this.slotContext(sl, (w0) => (w0 & 0x07ff_ffff) | (last << ENTRIES_SHIFT)) ? Cc.SUCCESS : Cc.PARAMETER;
  }

  /** Writes state, address and, by `change`, the first word of the slot context. */
  private slotContext(sl: SlotData, change: (w0: number) => number): boolean {
    const { x } = this.c;
    return this.copyContext(sl.context, sl.context, () => {
      x.setWord(0, change(x.word(0)));
      x.setWord(3, (sl.state << ENTRIES_SHIFT) | (sl.state >= SlotState.ADDRESSED ? x.word(3) & 0xff : 0));
    });
  }

  /** Maximum exit latency and interrupter of the slot, packet size of endpoint 0 (4.6.7). */
  private evaluate(sl: SlotData, input: number): Cc {
    const { x } = this.c;
    if (sl.state === SlotState.DISABLED) return Cc.CONTEXT_STATE;
    if (!x.fetchContext(input)) return Cc.PARAMETER;
    const add = x.word(ADD);
    if (add & 1) {
      if (!x.fetchContext(input + CONTEXT_BYTES)) return Cc.PARAMETER;
      const [latency, interrupter] = [x.word(1) & 0xffff, x.word(2) & 0xffc0_0000];
      const ok = this.copyContext(sl.context, sl.context, () => {
        x.setWord(1, (x.word(1) & ~0xffff) | latency);
        x.setWord(2, (x.word(2) & 0x003f_ffff) | interrupter);
      });
      if (!ok) return Cc.PARAMETER;
    }
    if (add & 2) {
      if (!x.fetchContext(input + 2 * CONTEXT_BYTES)) return Cc.PARAMETER;
      const packet = x.word(1) & 0xffff_0000;
      const at = sl.context + CONTEXT_BYTES;
      if (!this.copyContext(at, at, () => x.setWord(1, (x.word(1) & 0xffff) | packet))) return Cc.PARAMETER;
    }
    return Cc.SUCCESS;
  }

  private resetDevice(slot: number, sl: SlotData): Cc {
    if (sl.state < SlotState.ADDRESSED) return Cc.CONTEXT_STATE;
    for (let dci = 2; dci < ENDPOINTS; dci++) {
      if (sl.eps[dci]!.state === EpState.DISABLED) continue;
      sl.eps[dci] = noEndpoint();
      writeEndpoint(this.c, slot, dci);
    }
    sl.state = SlotState.DEFAULT;
    sl.setupPhase = SetupPhase.NONE;
    this.c.device(sl.port)?.reset();
    return this.slotContext(sl, (w0) => (w0 & 0x07ff_ffff) | (1 << ENTRIES_SHIFT)) ? Cc.SUCCESS : Cc.PARAMETER;
  }

  /** Reset Endpoint, Stop Endpoint, Set TR Dequeue Pointer (4.6.8 to 4.6.10). */
  private endpoint(type: Trb, slot: number, sl: SlotData, dci: number, lo: number, hi: number): Cc {
    const e = dci === 0 ? undefined : sl.eps[dci];
    if (e === undefined || e.state === EpState.DISABLED) return Cc.ENDPOINT_NOT_ENABLED;
    if (type === Trb.RESET_ENDPOINT) {
      if (e.state !== EpState.HALTED) return Cc.CONTEXT_STATE;
      e.state = EpState.STOPPED;
      if (dci === 1) sl.setupPhase = SetupPhase.NONE;
    } else if (type === Trb.STOP_ENDPOINT) {
      if (e.state !== EpState.RUNNING) return Cc.CONTEXT_STATE;
      e.state = EpState.STOPPED;
      e.kicked = false;
      this.stopped(slot, dci, e.deq, e.ccs);
    } else {
      if (e.state !== EpState.STOPPED && e.state !== EpState.ERROR) return Cc.CONTEXT_STATE;
      e.state = EpState.STOPPED;
      e.deq = address(lo & ~15, hi);
      e.ccs = lo & 1;
    }
    writeEndpoint(this.c, slot, dci);
    return Cc.SUCCESS;
  }

  /** A transfer that waits for its device is told to have stopped. */
  private stopped(slot: number, dci: number, deq: number, ccs: number): void {
    this.walk.start(deq, ccs);
    if (this.walk.next() !== true) return;
    const { at } = this.walk;
    this.c.event(low(at), high(at), (Cc.STOPPED << 24) | (this.c.x.status & 0x1_ffff), (slot << 24) | (dci << 16) | (Trb.TRANSFER_EVENT << 10));
  }
}
