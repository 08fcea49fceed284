/**
 * xHCI host controller (eXtensible Host Controller Interface for USB, revision 1.2): 16 device slots, one interrupter, eight USB 2 and four USB 3
 * ports; control, bulk and interrupt endpoints. Devices are at the USB 2 ports, at high speed. Not there: isochronous transfers, streams, hubs.
 */
import type { DeviceClock, DeviceTimer, GuestMemory, SavedState } from '../device.js';
import { type MsixTable, PciFunction, type PciHost } from '../pci/pci.js';
import { loadState, saveState } from '../saved.js';
import type { UsbDevice } from './usb-device.js';
import { XhciCommands } from './xhci-commands.js';
import { RingWalk, slotOf, writeEndpoint, type XhciCore } from './xhci-core.js';
import { address, high, low, XhciMemory } from './xhci-memory.js';
import { initialXhci, XHCI_SCHEMA, type XhciState } from './xhci-state.js';
import { XhciTransfers } from './xhci-transfer.js';
import {
  At, CAPABILITIES, Cc, Cmd, Crcr, EHB, ENDPOINTS, EpState, Iman, Ir, LinkState, MAX_SLOTS, Op, Port, PORT_STRIDE, PORTS, SlotState, Sts, TRB_BYTES, Trb, USB2_PORTS,
} from './xhci.spec.js';

const VERSION = 1;
/** QEMU's controller, which drivers know; they go by the class code. */
const VENDOR = 0x1b36;
const DEVICE = 0x000d;
const SUBSYSTEM_VENDOR = 0x1af4;
const SUBSYSTEM = 0x1100;
/** Transfer descriptors that are carried out in a row; the rest after the CPU has had its turn. */
const MAX_ROUNDS = 256;
/** Events that a descriptor leaves. */
const ROOM = 3;
const LATER_NS = 10_000;
const MICROFRAME_NS = 125_000;

export interface XhciOptions {
  memory: GuestMemory;
  clock: DeviceClock;
  log: (message: string) => void;
}

export class Xhci extends PciFunction implements XhciCore {
  s: XhciState;
  readonly x: XhciMemory;
  private readonly vectors: MsixTable;
  private readonly commands: XhciCommands;
  private readonly transfers: XhciTransfers;
  private readonly later: DeviceTimer;
  /** By port, from the first on. */
  private readonly devices: UsbDevice[] = [];
  /** A device speaks up while it is being spoken to: that is dealt with afterwards. */
  private serving = false;

  constructor(name: string, host: PciHost, slot: number, private readonly o: XhciOptions) {
    super(name, host, slot << 3, { vendor: VENDOR, device: DEVICE, class: 0x0c03, progIf: 0x30, revision: 1, subsysVendor: SUBSYSTEM_VENDOR, subsys: SUBSYSTEM, pin: 1 });
    this.s = initialXhci(() => false);
    this.x = new XhciMemory(o.memory);
    this.commands = new XhciCommands(this, new RingWalk(this.x));
    this.transfers = new XhciTransfers(this);
    this.later = o.clock.timer(() => this.serve());
    this.addBar(0, 'mem64', At.END, { read: (at, size) => this.read(at, size), write: (at, size, v) => this.write(at, size, v) });
    this.vectors = this.addMsix(4, 1);
    // Serial bus release number: USB 3.0 (5.2.1).
    this.config[0x60] = 0x30;
    this.addMsi();
    this.sealConfig();
  }

  /** Before the machine starts. @returns the port, from 1 on; null: all are taken */
  plug(d: UsbDevice): number | null {
    if (this.devices.length === USB2_PORTS) return null;
    const port = this.devices.push(d);
    d.onReady = (ep): void => this.ready(port, ep);
    this.controllerReset();
    return port;
  }

  device(port: number): UsbDevice | null {
    return this.devices[port - 1] ?? null;
  }

  private get running(): boolean {
    return (this.s.usbcmd & Cmd.RS) !== 0 && (this.s.usbsts & (Sts.HSE | Sts.HCE)) === 0 && this.busMaster;
  }

  systemError(what: string): void {
    this.o.log(`${this.name}: ${what}: no memory there; the controller stops`);
    this.s.usbcmd &= ~Cmd.RS;
    this.s.usbsts |= Sts.HSE | Sts.HCH;
    this.s.crRunning = false;
    this.syncPin();
  }

  // ---- registers ----

  private read(at: number, size: number): number {
    const word = this.word(at & ~3);
    return size === 4 ? word >>> 0 : (word >>> ((at & 3) * 8)) & (size === 2 ? 0xffff : 0xff);
  }

  private word(at: number): number {
    const { s } = this;
    if (at < At.OPERATIONAL) return CAPABILITIES[at >> 2] ?? 0;
    if (at >= At.PORTS && at < At.PORTS + PORTS * PORT_STRIDE) return (at - At.PORTS) % PORT_STRIDE === 0 ? s.portsc[Math.floor((at - At.PORTS) / PORT_STRIDE)]! : 0;
    switch (at - At.OPERATIONAL) {
      case Op.USBCMD: return s.usbcmd;
      case Op.USBSTS: return s.usbsts;
      case Op.PAGESIZE: return 1;
      case Op.DNCTRL: return s.dnctrl;
      // Pointers of the command ring read as zero (5.4.5).
      case Op.CRCR: return s.crRunning ? Crcr.CRR : 0;
      case Op.DCBAAP: return low(s.dcbaap);
      case Op.DCBAAP + 4: return high(s.dcbaap);
      case Op.CONFIG: return s.config;
    }
    switch (at - At.INTERRUPTER) {
      // MFINDEX is the first register of the runtime group.
      case At.RUNTIME - At.INTERRUPTER: return Math.floor(this.o.clock.now() / MICROFRAME_NS) & 0x3fff;
      case Ir.IMAN: return s.iman;
      case Ir.IMOD: return s.imod;
      case Ir.ERSTSZ: return s.erstsz;
      case Ir.ERSTBA: return low(s.erstba);
      case Ir.ERSTBA + 4: return high(s.erstba);
      case Ir.ERDP: return low(s.erdp) | (s.busy ? EHB : 0);
      case Ir.ERDP + 4: return high(s.erdp);
      default: return 0;
    }
  }

  private write(at: number, size: number, v: number): void {
    // Registers are words (5.1).
    if (size !== 4 || at & 3) return;
    if (at >= At.DOORBELLS) this.doorbell((at - At.DOORBELLS) >> 2, v & 0xff);
    else if (at >= At.PORTS && at < At.PORTS + PORTS * PORT_STRIDE) {
      if ((at - At.PORTS) % PORT_STRIDE === 0) this.writePort(Math.floor((at - At.PORTS) / PORT_STRIDE), v);
    } else if (at >= At.INTERRUPTER) this.writeInterrupter(at - At.INTERRUPTER, v);
    else this.writeOperational(at - At.OPERATIONAL, v);
  }

  private writeOperational(reg: number, v: number): void {
    const { s } = this;
    switch (reg as Op) {
      case Op.USBCMD:
        this.writeCommand(v);
        break;
      case Op.USBSTS:
        s.usbsts &= ~(v & Sts.W1C);
        this.syncPin();
        break;
      case Op.DNCTRL:
        s.dnctrl = v & 0xffff;
        break;
      case Op.CRCR:
        if (s.crRunning) {
          if (v & (Crcr.CS | Crcr.CA)) this.stopCommands();
        } else {
          s.crDeq = address(v & ~63, high(s.crDeq));
          s.crCcs = v & Crcr.RCS;
        }
        break;
      case Op.DCBAAP:
        s.dcbaap = address(v & ~63, high(s.dcbaap));
        break;
      case Op.CONFIG:
        s.config = v & 0x3ff;
        break;
      default:
        if (reg === Op.CRCR + 4 && !s.crRunning) s.crDeq = address(low(s.crDeq), v);
        if (reg === Op.DCBAAP + 4) s.dcbaap = address(low(s.dcbaap), v);
    }
  }

  private stopCommands(): void {
    const { s } = this;
    s.crRunning = false;
    // Command Ring Stopped (4.6.1.2).
    this.event(low(s.crDeq), high(s.crDeq), Cc.COMMAND_RING_STOPPED << 24, Trb.COMMAND_COMPLETION << 10);
  }

  private writeCommand(v: number): void {
    const { s } = this;
    if (v & Cmd.HCRST) {
      this.controllerReset();
      return;
    }
    const started = (v & Cmd.RS) !== 0 && (s.usbcmd & Cmd.RS) === 0;
    s.usbcmd = v & Cmd.KEPT;
    if (started && s.usbsts & (Sts.HSE | Sts.HCE)) s.usbcmd &= ~Cmd.RS;
    if (s.usbcmd & Cmd.RS) s.usbsts &= ~Sts.HCH;
    else {
      s.usbsts |= Sts.HCH;
      s.crRunning = false;
    }
    // There is no state kept by the controller itself: a driver that restores it is told to begin anew (4.23.2).
    if (v & Cmd.CRS) s.usbsts |= Sts.SRE;
    if (started) s.portsc.forEach((p, i) => p & Port.CHANGES && this.portEvent(i));
    this.syncPin();
  }

  /** Everything but the PCI function (4.2). */
  private controllerReset(): void {
    this.s = initialXhci((i) => i < this.devices.length);
    this.later.disarm();
    for (const d of this.devices) d.reset();
    this.syncPin();
  }

  private writePort(i: number, v: number): void {
    const { s } = this;
    let p = s.portsc[i]!;
    const before = p;
    p &= ~(v & Port.CHANGES);
    // Writing 1 disables.
    if (v & Port.PED && p & Port.PED) p &= ~Port.PED;
    p = (p & ~Port.WAKE) | (v & Port.WAKE);
    if (v & (Port.PR | Port.WPR) && p & Port.CCS) {
      // Done at once: enabled, in U0, the speed known.
      const d = this.device(i + 1)!;
      d.reset();
      p = (p & ~Port.PLS & ~(15 << Port.SPEED_SHIFT)) | Port.PED | Port.PRC | (d.speed << Port.SPEED_SHIFT);
    } else if (v & Port.LWS) {
      const to = (v & Port.PLS) >>> Port.PLS_SHIFT;
      const from = (p & Port.PLS) >>> Port.PLS_SHIFT;
      if (to === LinkState.U0 || to === LinkState.U3 || to === LinkState.RESUME) {
        if (p & Port.PED) p = (p & ~Port.PLS) | (to << Port.PLS_SHIFT);
        if (p & Port.PED && to === LinkState.U0 && from !== LinkState.U0) p |= Port.PLC;
      }
    }
    s.portsc[i] = p >>> 0;
    if (p & ~before & Port.CHANGES) this.portEvent(i);
  }

  private portEvent(i: number): void {
    this.s.usbsts |= Sts.PCD;
    if (this.running) this.event((i + 1) << 24, 0, Cc.SUCCESS << 24, Trb.PORT_STATUS_CHANGE << 10);
  }

  // ---- interrupter and events ----

  private writeInterrupter(reg: number, v: number): void {
    const { s } = this;
    switch (reg as Ir) {
      case Ir.IMAN:
        s.iman = (s.iman & ~(v & Iman.IP) & ~Iman.IE) | (v & Iman.IE);
        this.raise();
        break;
      case Ir.IMOD:
        s.imod = v;
        break;
      case Ir.ERSTSZ:
        s.erstsz = v & 0xffff;
        break;
      case Ir.ERSTBA:
        s.erstba = address(v & ~63, high(s.erstba));
        break;
      case Ir.ERDP:
        s.erdp = address(v & ~15, high(s.erdp));
        if (v & EHB) s.busy = false;
        break;
      default:
        if (reg === Ir.ERSTBA + 4) {
          s.erstba = address(low(s.erstba), v);
          this.loadEvents();
        } else if (reg === Ir.ERDP + 4) {
          s.erdp = address(low(s.erdp), v);
          this.taken();
        }
    }
  }

  /** The driver has taken events: their room is free; what is left asks for attention again. */
  private taken(): void {
    const { s } = this;
    if (!s.busy && s.erSize !== 0 && this.used() > 0) this.attention();
    else this.syncPin();
    this.serve();
  }

  private loadEvents(): void {
    const { s, x } = this;
    s.erSize = 0;
    if (s.erstsz === 0 || !x.fetch(s.erstba)) return;
    const size = x.status & 0xffff;
    s.erBase = address(x.paramLo & ~63, x.paramHi);
    // 6.5: 16 to 4096 entries.
    if (size < 16 || size > 4096) return;
    s.erSize = size;
    s.erNext = 0;
    s.erCycle = 1;
  }

  private used(): number {
    const { s } = this;
    const first = (s.erdp - s.erBase) / TRB_BYTES;
    if (!Number.isInteger(first) || first < 0 || first >= s.erSize) return 0;
    return (s.erNext - first + s.erSize) % s.erSize;
  }

  room(): number {
    return this.s.erSize === 0 ? 0 : this.s.erSize - 1 - this.used();
  }

  event(lo: number, hi: number, status: number, control: number): void {
    const { s } = this;
    if (s.erSize === 0 || this.room() === 0) return;
    if (!this.x.put(s.erBase + s.erNext * TRB_BYTES, lo, hi, status, control | s.erCycle)) return this.systemError('event ring');
    s.erNext++;
    if (s.erNext === s.erSize) {
      s.erNext = 0;
      s.erCycle ^= 1;
    }
    this.attention();
  }

  private attention(): void {
    const { s } = this;
    if (s.busy) return;
    s.busy = true;
    s.iman |= Iman.IP;
    s.usbsts |= Sts.EINT;
    this.raise();
  }

  /** A message is sent once and takes the pending bit with it; a pin stays (5.5.2.1). */
  private raise(): void {
    const { s } = this;
    if ((s.iman & (Iman.IP | Iman.IE)) === (Iman.IP | Iman.IE) && s.usbcmd & Cmd.INTE && (this.msixEnabled() || this.msiEnabled())) {
      s.iman &= ~Iman.IP;
      if (this.msixEnabled()) this.vectors.raise(0);
      else this.message();
    }
    this.syncPin();
  }

  private syncPin(): void {
    const { s } = this;
    this.setIntx((s.iman & (Iman.IP | Iman.IE)) === (Iman.IP | Iman.IE) && (s.usbcmd & Cmd.INTE) !== 0);
  }

  // ---- work ----

  private doorbell(n: number, target: number): void {
    const { s } = this;
    if (!this.running || n > MAX_SLOTS) return;
    if (n === 0) {
      if (target === 0) s.crRunning = true;
      this.serve();
      return;
    }
    const e = target >= 1 && target < ENDPOINTS ? slotOf(this, n).eps[target]! : null;
    if (e === null || (e.state !== EpState.RUNNING && e.state !== EpState.STOPPED)) return;
    if (e.state === EpState.STOPPED) {
      e.state = EpState.RUNNING;
      writeEndpoint(this, n, target);
    }
    e.kicked = true;
    this.serve();
  }

  /** A device has something for the endpoint at this address. */
  private ready(port: number, ep: number): void {
    const dci = (ep & 15) * 2 + (ep & 0x80 ? 1 : 0);
    for (const sl of this.s.slots) {
      if (!sl.enabled || sl.port !== port || sl.state < SlotState.ADDRESSED) continue;
      const e = sl.eps[dci]!;
      if (e.state === EpState.RUNNING) e.kicked = true;
    }
    this.serve();
  }

  /** Executes commands and transfers that are due. */
  private serve(): void {
    if (this.serving) return;
    this.serving = true;
    try {
      let rounds = 0;
      for (let again = true; again && rounds < MAX_ROUNDS && this.running; ) {
        again = false;
        this.commands.run();
        for (let n = 1; n <= MAX_SLOTS; n++) {
          const sl = slotOf(this, n);
          if (!sl.enabled || sl.state < SlotState.DEFAULT) continue;
          const device = this.device(sl.port);
          if (device === null) continue;
          for (let dci = 1; dci < ENDPOINTS; dci++) {
            const e = sl.eps[dci]!;
            if (!e.kicked || e.state !== EpState.RUNNING || this.room() < ROOM) continue;
            rounds++;
            // A device that speaks up meanwhile sets it again.
            e.kicked = false;
            if (this.transfers.run(n, dci, device)) {
              if (e.state === EpState.RUNNING) e.kicked = again = true;
            } else if (e.kicked) again = true;
          }
        }
      }
      // The driver's next event, or a moment, brings the rest.
      if (rounds >= MAX_ROUNDS) this.later.arm(this.o.clock.now() + LATER_NS);
    } finally {
      this.serving = false;
    }
  }

  override reset(): void {
    super.reset();
    this.controllerReset();
  }

  override save(): SavedState {
    return { ...super.save(), xhci: saveState(XHCI_SCHEMA, VERSION, this.s), devices: this.devices.map((d) => d.save()) };
  }

  protected override load(saved: SavedState): void {
    const s = loadState(this.name, XHCI_SCHEMA, VERSION, saved.xhci as SavedState);
    const devices = saved.devices;
    const takes = this.devices.map((d, i) => d.check((Array.isArray(devices) ? (devices[i] as Record<string, unknown>) : {}) ?? {}));
    super.load(saved);
    this.s = s;
    for (const take of takes) take();
    this.later.disarm();
    if (s.slots.some((sl) => sl.eps.some((e) => e.kicked))) this.later.arm(this.o.clock.now() + LATER_NS);
    this.syncPin();
  }
}
