/** The volatile state of an xHCI controller, and its schema. */
import { array, bool, bytes, int, list, type Rule, type Schema, struct, u16, u32 } from '../saved.js';
import { ENDPOINTS, EpState, LinkState, MAX_SLOTS, Port, PORTS, SlotState, Sts } from './xhci.spec.js';

export interface Endpoint {
  state: EpState;
  /** Next TRB to execute, and the cycle bit that makes it valid. */
  deq: number;
  ccs: number;
  /** A doorbell has rung, or the device has something, and that was not dealt with to the end. */
  kicked: boolean;
}

export interface SlotData {
  enabled: boolean;
  state: SlotState;
  /** Root hub port, from 1 on; 0: none yet. */
  port: number;
  /** Output device context. */
  context: number;
  /** By device context index; 0 is not used. */
  eps: Endpoint[];
  /** SETUP packet of the control transfer at hand. */
  setup: Uint8Array;
  /** A SETUP has come and its request was not carried out yet; it has been. */
  setupPhase: SetupPhase;
}
export const enum SetupPhase { NONE = 0, SET_UP = 1, DONE = 2 }

export interface XhciState {
  usbcmd: number;
  usbsts: number;
  dnctrl: number;
  config: number;
  dcbaap: number;
  /** Command ring. */
  crDeq: number;
  crCcs: number;
  crRunning: boolean;
  iman: number;
  imod: number;
  erstsz: number;
  erstba: number;
  erdp: number;
  busy: boolean;
  /** The segment of events: where it is, entries, the next one and its cycle bit. */
  erBase: number;
  erSize: number;
  erNext: number;
  erCycle: number;
  portsc: number[];
  slots: SlotData[];
}

const pa: Rule<number> = int(0, 2 ** 64);
const bit = int(0, 1);
const ENDPOINT: Schema<Endpoint> = { state: int(0, 4), deq: pa, ccs: bit, kicked: bool };
/** Most endpoints are not there: only those that are get saved. */
const endpoints: Rule<Endpoint[]> = {
  save: (v) => v.flatMap((e, i) => (e.state === EpState.DISABLED ? [] : [[i, struct(ENDPOINT).save(e)]])),
  load: (raw, at) => {
    const out = Array.from({ length: ENDPOINTS }, noEndpoint);
    for (const [i, e] of list(ENDPOINTS, pair).load(raw, at)) out[i] = e;
    return out;
  },
};
const pair: Rule<[number, Endpoint]> = {
  save: (v) => v,
  load: (raw, at) => {
    const [i, e] = array(2, { save: (v: unknown) => v, load: (x: unknown) => x }).load(raw, at);
    return [int(1, ENDPOINTS - 1).load(i, at), struct(ENDPOINT).load(e, at)];
  },
};
const SLOT: Schema<SlotData> = { enabled: bool, state: int(0, 3), port: int(0, PORTS), context: pa, eps: endpoints, setup: bytes(8), setupPhase: int(0, 2) };

export const XHCI_SCHEMA: Schema<XhciState> = {
  usbcmd: u32, usbsts: u32, dnctrl: u32, config: u32, dcbaap: pa, crDeq: pa, crCcs: bit, crRunning: bool, iman: int(0, 3), imod: u32, erstsz: u16, erstba: pa, erdp: pa, busy: bool,
  erBase: pa, erSize: int(0, 4096), erNext: int(0, 4096), erCycle: bit, portsc: array(PORTS, u32), slots: array(MAX_SLOTS, struct(SLOT)),
};

export function noEndpoint(): Endpoint {
  return { state: EpState.DISABLED, deq: 0, ccs: 0, kicked: false };
}

export function noSlot(): SlotData {
  return { enabled: false, state: SlotState.DISABLED, port: 0, context: 0, eps: Array.from({ length: ENDPOINTS }, noEndpoint), setup: new Uint8Array(8), setupPhase: SetupPhase.NONE };
}

/** @param connected by port from 0 on */
export function initialXhci(connected: (port: number) => boolean): XhciState {
  return {
    usbcmd: 0, usbsts: Sts.HCH, dnctrl: 0, config: 0, dcbaap: 0, crDeq: 0, crCcs: 0, crRunning: false, iman: 0, imod: 4000, erstsz: 0, erstba: 0, erdp: 0, busy: false,
    erBase: 0, erSize: 0, erNext: 0, erCycle: 1, slots: Array.from({ length: MAX_SLOTS }, noSlot),
    portsc: Array.from({ length: PORTS }, (_, i) => Port.PP | (connected(i) ? Port.CCS | Port.CSC | (LinkState.POLLING << Port.PLS_SHIFT) : LinkState.RX_DETECT << Port.PLS_SHIFT)),
  };
}
