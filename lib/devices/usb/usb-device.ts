/**
 * A USB device as a host controller sees it: control requests and the data of its endpoints. Standard requests (USB 2.0, 9.4) are answered here;
 * a kind of device adds descriptors, class requests and data. One configuration, one interface.
 */
import { bool, int, list, loadState, saveState, type Schema } from '../saved.js';
import type { SavedState } from '../device.js';
import { Desc, type EndpointType, Feature, Req, ReqType, type Setup, UsbSpeed } from './usb.spec.js';

/** What a transfer may come to instead of a number of bytes. */
export const STALL = -1;
/** Nothing to send yet: `onReady` is called when there is. */
export const NAK = -2;

/** The most a control transfer carries here; class requests of these devices need far less. */
export const CONTROL_BYTES = 4096;
const VERSION = 1;
const MAX_STRING = 126;
/** Language ID: English (United States). */
const ENGLISH = 0x0409;

export interface UsbEndpoint {
  /** Number 1..15, with 80h for IN. */
  address: number;
  type: EndpointType;
  maxPacket: number;
  /** bInterval. */
  interval: number;
}

export interface UsbIdentity {
  vendor: number;
  product: number;
  manufacturer: string;
  name: string;
  serial: string;
  interfaceClass: number;
  subclass: number;
  protocol: number;
  endpoints: readonly UsbEndpoint[];
  /** Class descriptors between interface and endpoints. */
  extra?: Uint8Array;
}

interface State {
  configuration: number;
  /** Endpoint addresses that are halted. */
  halted: number[];
  remoteWakeup: boolean;
}

const SCHEMA: Schema<State> = { configuration: int(0, 1), halted: list(32, int(0, 0x8f)), remoteWakeup: bool };
const initial = (): State => ({ configuration: 0, halted: [], remoteWakeup: false });

const w16 = (v: number): number[] => [v & 0xff, v >>> 8];

export abstract class UsbDevice {
  readonly speed = UsbSpeed.HIGH;
  /** Endpoint with this address may have something to send now. */
  onReady: (address: number) => void = () => {};
  private u = initial();
  private readonly device: Uint8Array;
  private readonly configuration: Uint8Array;
  private readonly strings: readonly string[];

  constructor(protected readonly id: UsbIdentity) {
    // USB 2.0, table 9-8: bcdUSB 2.00, EP0 of 64 bytes, strings 1 to 3, one configuration.
    this.device = Uint8Array.from([18, Desc.DEVICE, 0, 2, 0, 0, 0, 64, ...w16(id.vendor), ...w16(id.product), 0, 1, 1, 2, 3, 1]);
    const extra = id.extra ?? new Uint8Array(0);
    const total = 9 + 9 + extra.length + 7 * id.endpoints.length;
    this.configuration = Uint8Array.from([
      // Table 9-10: self-powered, remote wake-up, no current.
      9, Desc.CONFIGURATION, ...w16(total), 1, 1, 0, 0xe0, 0,
      9, Desc.INTERFACE, 0, 0, id.endpoints.length, id.interfaceClass, id.subclass, id.protocol, 0,
      ...extra,
      ...id.endpoints.flatMap((e) => [7, Desc.ENDPOINT, e.address, e.type, ...w16(e.maxPacket), e.interval]),
    ]);
    this.strings = [id.manufacturer, id.name, id.serial];
  }

  get name(): string {
    return this.id.name;
  }

  /** A driver has chosen the configuration. */
  get configured(): boolean {
    return this.u.configuration !== 0;
  }

  // ---- for kinds of devices ----

  /** A class or interface request that is not standard. @param data IN: to be filled; OUT: what came. @returns bytes of an IN answer, 0, or STALL */
  protected abstract request(setup: Setup, data: Uint8Array): number;
  /** Bytes for IN endpoint `ep` (1..15). @returns how many, NAK or STALL. Fewer than asked for: a short packet. */
  protected abstract send(ep: number, dst: Uint8Array): number;
  /** Bytes from OUT endpoint `ep`. @returns how many were taken, or STALL */
  protected abstract receive(ep: number, src: Uint8Array): number;
  /** Bus reset, configuration, or power: the state that data transfers have. */
  protected abstract resetFunction(): void;
  /** A host has ended the halt of an endpoint. */
  protected cleared(_address: number): void {}

  /** The endpoint answers STALL until the host clears that. */
  protected halt(address: number): void {
    if (!this.u.halted.includes(address)) this.u.halted.push(address);
  }

  // ---- for host controllers ----

  /** Data of an IN endpoint. */
  in(ep: number, dst: Uint8Array): number {
    return this.stalls(ep | 0x80) ? STALL : this.send(ep, dst);
  }

  out(ep: number, src: Uint8Array): number {
    return this.stalls(ep) ? STALL : this.receive(ep, src);
  }

  private stalls(address: number): boolean {
    return this.u.configuration === 0 || this.u.halted.includes(address) || !this.id.endpoints.some((e) => e.address === address);
  }

  /** A control transfer on endpoint 0. @param data IN: room for wLength bytes; OUT: wLength bytes. @returns bytes of an IN answer, 0 for OUT, or STALL */
  control(setup: Setup, data: Uint8Array): number {
    if ((setup.bmRequestType & ReqType.TYPE) !== ReqType.STANDARD) return this.request(setup, data);
    const toDevice = (setup.bmRequestType & ReqType.RECIPIENT) === ReqType.DEVICE;
    switch (setup.bRequest as Req) {
      case Req.GET_DESCRIPTOR:
        return toDevice ? this.descriptor(setup.wValue, data) : this.request(setup, data);
      case Req.SET_ADDRESS:
        return 0;
      case Req.GET_CONFIGURATION:
        return copy(Uint8Array.of(this.u.configuration), data);
      case Req.SET_CONFIGURATION:
        if (setup.wValue > 1) return STALL;
        this.u = { ...initial(), configuration: setup.wValue };
        this.resetFunction();
        return 0;
      case Req.GET_INTERFACE:
        return copy(Uint8Array.of(0), data);
      case Req.SET_INTERFACE:
        return setup.wValue === 0 && setup.wIndex === 0 ? 0 : STALL;
      case Req.GET_STATUS:
        return this.status(setup, data);
      case Req.SET_FEATURE:
      case Req.CLEAR_FEATURE:
        return this.feature(setup);
      default:
        return STALL;
    }
  }

  private status(setup: Setup, data: Uint8Array): number {
    const recipient = setup.bmRequestType & ReqType.RECIPIENT;
    if (recipient === ReqType.DEVICE) return copy(Uint8Array.of(1 | (this.u.remoteWakeup ? 2 : 0), 0), data);
    return copy(Uint8Array.of(recipient === ReqType.ENDPOINT && this.u.halted.includes(setup.wIndex & 0x8f) ? 1 : 0, 0), data);
  }

  private feature(setup: Setup): number {
    const on = setup.bRequest === Req.SET_FEATURE;
    const recipient = setup.bmRequestType & ReqType.RECIPIENT;
    if (recipient === ReqType.DEVICE && setup.wValue === Feature.DEVICE_REMOTE_WAKEUP) {
      this.u.remoteWakeup = on;
      return 0;
    }
    if (recipient !== ReqType.ENDPOINT || setup.wValue !== Feature.ENDPOINT_HALT) return STALL;
    const address = setup.wIndex & 0x8f;
    if (address !== 0 && address !== 0x80 && !this.id.endpoints.some((e) => e.address === address)) return STALL;
    if (on) this.halt(address);
    else {
      this.u.halted = this.u.halted.filter((a) => a !== address);
      this.cleared(address);
    }
    return 0;
  }

  private descriptor(value: number, data: Uint8Array): number {
    const index = value & 0xff;
    switch ((value >>> 8) as Desc) {
      case Desc.DEVICE:
        return copy(this.device, data);
      case Desc.CONFIGURATION:
        return index === 0 ? copy(this.configuration, data) : STALL;
      case Desc.DEVICE_QUALIFIER:
        // At another speed it would be the same (table 9-9).
        return copy(Uint8Array.from([10, Desc.DEVICE_QUALIFIER, 0, 2, 0, 0, 0, 64, 1, 0]), data);
      case Desc.STRING: {
        if (index === 0) return copy(Uint8Array.from([4, Desc.STRING, ...w16(ENGLISH)]), data);
        const text = this.strings[index - 1]?.slice(0, MAX_STRING);
        return text === undefined ? STALL : copy(Uint8Array.from([2 + 2 * text.length, Desc.STRING, ...Buffer.from(text, 'utf16le')]), data);
      }
      default:
        return STALL;
    }
  }

  /** Bus reset and power-up. */
  reset(): void {
    this.u = initial();
    this.resetFunction();
  }

  save(): Record<string, unknown> {
    return { usb: saveState(SCHEMA, VERSION, this.u) };
  }

  /** @returns a function that takes the state over. @throws VmxError; nothing has changed then. */
  check(saved: Record<string, unknown>): () => void {
    const u = loadState(this.name, SCHEMA, VERSION, saved.usb as SavedState);
    return () => {
      this.u = u;
    };
  }
}

/** @returns how much of `src` fits */
export function copy(src: Uint8Array, dst: Uint8Array): number {
  const n = Math.min(src.length, dst.length);
  dst.set(src.subarray(0, n));
  return n;
}
