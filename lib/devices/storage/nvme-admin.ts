/** Data that an NVMe controller tells of itself: Identify structures, log pages, features (NVM Express 1.4, chapter 5). */
import type { BlockBackend } from '../../block/backend.js';
import { ASYNC_LIMIT, Admin, Feature, IO_QUEUES, LBA_BYTES, LBA_SHIFT, LogPage, MDTS, Nvm, VERSION_1_4 } from './nvme.spec.js';

export const IDENTIFY_BYTES = 4096;
const MODEL = 'VMX NVMe';
const FIRMWARE = '1.0';
/** Kelvin: what the thermometer says, and where it would warn and be critical. */
const TEMPERATURE = 300;
const WARNING_TEMPERATURE = 343;
const CRITICAL_TEMPERATURE = 373;
/** 25 W in units of 0.01 W. */
const MAX_POWER = 2500;

function text(b: Buffer, at: number, width: number, s: string): void {
  b.write(s.slice(0, width).padEnd(width), at, 'latin1');
}

/** EUI-64 that stays the same for the same serial number: FNV-1a over it, marked as locally administered. */
function eui64(serial: string): Buffer {
  let h = 0x811c_9dc5;
  let g = 0x9dc5_811c;
  for (const c of Buffer.from(serial, 'latin1')) {
    h = Math.imul(h ^ c, 0x0100_0193);
    g = Math.imul(g ^ c, 0x0100_01b3);
  }
  const b = Buffer.alloc(8);
  b.writeUInt32BE(h >>> 0, 0);
  b.writeUInt32BE(g >>> 0, 4);
  b[0] = (b[0]! & 0xfc) | 2;
  return b;
}

export function identifyController(vendor: number, subsystem: number, serial: string): Buffer {
  const b = Buffer.alloc(IDENTIFY_BYTES);
  b.writeUInt16LE(vendor, 0);
  b.writeUInt16LE(subsystem, 2);
  text(b, 4, 20, serial);
  text(b, 24, 40, MODEL);
  text(b, 64, 8, FIRMWARE);
  b[72] = 6; // recommended arbitration burst
  b[77] = MDTS;
  b.writeUInt32LE(VERSION_1_4, 80);
  b[111] = 1; // I/O controller
  b[258] = 3; // abort command limit, 0's based
  b[259] = ASYNC_LIMIT - 1;
  b[260] = 0x03; // one firmware slot, read-only
  b[261] = 0x02; // commands supported and effects log
  b.writeUInt16LE(WARNING_TEMPERATURE, 266);
  b.writeUInt16LE(CRITICAL_TEMPERATURE, 268);
  b[512] = 0x66;
  b[513] = 0x44;
  b.writeUInt32LE(1, 516); // namespaces
  b.writeUInt16LE(0x0c, 520); // ONCS: dataset management, write zeroes
  b[525] = 1; // volatile write cache
  b.write(`nqn.2014-08.org.nvmexpress:uuid:766d7861-6363-656c-8000-${eui64(serial).toString('hex').slice(4)}`, 768, 'latin1');
  b.writeUInt16LE(MAX_POWER, 2048);
  return b;
}

export function identifyNamespace(disk: BlockBackend, serial: string): Buffer {
  const b = Buffer.alloc(IDENTIFY_BYTES);
  const blocks = BigInt(Math.floor(disk.size / LBA_BYTES));
  for (const at of [0, 8, 16]) b.writeBigUInt64LE(blocks, at);
  b[99] = disk.readonly ? 1 : 0;
  eui64(serial).copy(b, 120);
  b[128 + 2] = LBA_SHIFT;
  return b;
}

export function identifyDescriptors(serial: string): Buffer {
  const b = Buffer.alloc(IDENTIFY_BYTES);
  b[0] = 1; // EUI-64
  b[1] = 8;
  eui64(serial).copy(b, 4);
  return b;
}

/** What SMART counts. */
export interface Counters {
  dataRead: number;
  dataWritten: number;
  reads: number;
  writes: number;
}

/** @param hours the controller has been on. @returns null for a page there is not. */
export function logPage(page: number, c: Counters, hours: number): Buffer | null {
  switch (page) {
    case LogPage.ERRORS:
      return Buffer.alloc(64);
    case LogPage.SMART: {
      const b = Buffer.alloc(512);
      b.writeUInt16LE(TEMPERATURE, 1);
      b[3] = 100; // available spare, %
      b[4] = 10;
      // Units of 1000 sectors, rounded up.
      const units = (bytes: number): bigint => BigInt(Math.ceil(bytes / 512_000));
      [units(c.dataRead), units(c.dataWritten), BigInt(c.reads), BigInt(c.writes), 0n, 1n, BigInt(hours)].forEach((v, i) => b.writeBigUInt64LE(v, 32 + i * 16));
      b.writeUInt16LE(TEMPERATURE, 200);
      return b;
    }
    case LogPage.FIRMWARE_SLOTS: {
      const b = Buffer.alloc(512);
      b[0] = 1;
      text(b, 8, 8, FIRMWARE);
      return b;
    }
    case LogPage.EFFECTS: {
      const b = Buffer.alloc(4096);
      for (const op of [Admin.DELETE_SQ, Admin.CREATE_SQ, Admin.GET_LOG_PAGE, Admin.DELETE_CQ, Admin.CREATE_CQ, Admin.IDENTIFY, Admin.ABORT, Admin.SET_FEATURES, Admin.GET_FEATURES, Admin.ASYNC_EVENT]) b[op * 4] = 1;
      // Bit 1: logical blocks change.
      for (const [op, effects] of [[Nvm.FLUSH, 1], [Nvm.WRITE, 3], [Nvm.READ, 1], [Nvm.WRITE_ZEROES, 3], [Nvm.DSM, 3]] as const) b[1024 + op * 4] = effects;
      return b;
    }
    default:
      return null;
  }
}

interface FeatureRule {
  default: number;
  /** Bits that Set Features may set. */
  mask: number;
}

/** Features that are a value and nothing more (5.21.1). Number of queues is the controller's. */
export const FEATURES: ReadonlyMap<number, FeatureRule> = new Map([
  [Feature.ARBITRATION, { default: 6, mask: 0xffff_ff07 }],
  [Feature.POWER_MANAGEMENT, { default: 0, mask: 0 }],
  [Feature.TEMPERATURE_THRESHOLD, { default: WARNING_TEMPERATURE, mask: 0xffff }],
  [Feature.ERROR_RECOVERY, { default: 0, mask: 0xffff }],
  [Feature.VOLATILE_WRITE_CACHE, { default: 1, mask: 1 }],
  [Feature.QUEUES, { default: (IO_QUEUES - 1) | ((IO_QUEUES - 1) << 16), mask: 0 }],
  [Feature.INTERRUPT_COALESCING, { default: 0, mask: 0xffff }],
  [Feature.INTERRUPT_VECTOR, { default: 0, mask: 0x1_ffff }],
  [Feature.WRITE_ATOMICITY, { default: 0, mask: 1 }],
  [Feature.ASYNC_EVENTS, { default: 0, mask: 0x3ff }],
]);
export const FEATURE_IDS: readonly number[] = [...FEATURES.keys()];
