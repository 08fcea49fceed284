/**
 * What ATA disks and ATAPI drives have in common, seen from a host adapter (parallel channel or AHCI port): a task file, and
 * the data phase of the command under way. An adapter loads the task file, calls `execute`, moves `remaining` bytes with dataIn
 * or dataOut in pieces of any size, and calls `end` when all are moved or it can move no more. Everything is done within the
 * calls: a command without a data phase is over when `execute` returns.
 */
import { VmxError } from '../../../errors.js';
import type { SavedState } from '../../device.js';
import { int, loadState, saveState, u16, u8, type Schema } from '../../saved.js';
import { AtaError, DeviceReg, Feature, Power, Status } from './ata.spec.js';

/** The data phase of a command. PACKET first wants a command block of twelve bytes. */
export const enum Protocol { NONE = 0, PIO_IN = 1, PIO_OUT = 2, DMA_IN = 3, DMA_OUT = 4, PACKET = 5 }

/** Registers. Those that are pairs have the previous contents (bits 8 to 15 of 48-bit fields) in the high byte. */
export interface TaskFile {
  feature: number;
  count: number;
  lbaLow: number;
  lbaMid: number;
  lbaHigh: number;
  device: number;
  command: number;
  status: number;
  error: number;
}

const TASK_FILE: Schema<TaskFile> = { feature: u16, count: u16, lbaLow: u16, lbaMid: u16, lbaHigh: u16, device: u8, command: u8, status: u8, error: u8 };

/** What the transfer mode in word 63 or 88 of identify data has selected: mode number, or -1. */
export interface TransferMode {
  multiword: number;
  ultra: number;
}

/** Fills identify words from text: two characters a word, the first in the high byte, padded with spaces. */
export function identifyText(id: DataView, word: number, words: number, text: string): void {
  for (let i = 0; i < words * 2; i++) id.setUint8(word * 2 + (i ^ 1), i < text.length ? text.charCodeAt(i) & 0x7f : 0x20);
}

/** Word 255: signature, and a checksum that makes the sum of all bytes zero. */
export function identifyChecksum(id: Uint8Array): void {
  id[510] = 0xa5;
  let sum = 0;
  for (let i = 0; i < 511; i++) sum += id[i]!;
  id[511] = -sum & 0xff;
}

/** Highest modes of these devices. */
export const ULTRA_MODE = 5;
export const MULTIWORD_MODE = 2;
/** Values of SET FEATURES "transfer mode": kind in bits 3 to 7. */
const enum ModeKind { PIO = 0x00, PIO_FLOW = 0x08, MULTIWORD = 0x20, ULTRA = 0x40 }

export abstract class AtaDevice {
  readonly r: TaskFile = { feature: 0, count: 1, lbaLow: 1, lbaMid: 0, lbaHigh: 0, device: 0, command: 0, status: Status.DRDY | Status.DSC, error: 1 };
  protocol = Protocol.NONE;
  /** Bytes of the data phase that are still to be moved. */
  remaining = 0;
  /** Programmed I/O: bytes moved between two interrupts. */
  blockBytes = 0;
  protected mode: TransferMode = { multiword: -1, ultra: ULTRA_MODE };
  protected standby = false;

  constructor(
    /** Unit attention and the like aside, what a reset puts into LBA mid and high. */
    private readonly signature: readonly [number, number],
    protected readonly log: (message: string) => void,
  ) {}

  /** Runs the command in the task file. */
  abstract execute(): void;
  /** The next bytes for the host. @returns how many; fewer than asked: the transfer cannot go on, `end` reports why. */
  abstract dataIn(dst: Uint8Array): number;
  /** The next bytes from the host. @returns how many were taken. */
  abstract dataOut(src: Uint8Array): number;
  /** The data phase is over: puts the final status into the task file. */
  abstract end(): void;

  /** Puts the size of the coming block where drivers look for it, if this kind of device does that. */
  announce(): void {}

  /** Software or hardware reset. A hardware reset also forgets settings. */
  reset(hard: boolean): void {
    this.protocol = Protocol.NONE;
    this.remaining = this.blockBytes = 0;
    this.standby = false;
    if (hard) this.mode = { multiword: -1, ultra: ULTRA_MODE };
    this.sign();
  }

  /** The registers tell what kind of device this is (ACS-3, 9.x "device signature"). */
  protected sign(): void {
    const r = this.r;
    r.count = r.lbaLow = r.error = 1;
    [r.lbaMid, r.lbaHigh] = this.signature;
    r.device = 0;
    // A packet device is not ready before its first command.
    r.status = this.signature[0] === 0 ? Status.DRDY | Status.DSC : 0;
  }

  /** The command has succeeded, or will once its data is moved. */
  protected ok(): void {
    this.r.status = Status.DRDY | Status.DSC;
    this.r.error = 0;
  }

  protected fail(error: number): void {
    this.protocol = Protocol.NONE;
    this.remaining = 0;
    this.r.status = Status.DRDY | Status.DSC | Status.ERR;
    this.r.error = error;
  }

  protected abort(): void {
    this.fail(AtaError.ABRT);
  }

  protected begin(protocol: Protocol, bytes: number, blockBytes = bytes): void {
    this.ok();
    this.protocol = protocol;
    this.remaining = bytes;
    this.blockBytes = Math.min(blockBytes, bytes);
    this.r.status |= Status.DRQ;
  }

  /** SET FEATURES "set transfer mode" (ACS-3, 7.45.5). @returns false if there is no such mode. */
  protected setTransferMode(v: number): boolean {
    const n = v & 7;
    switch (v & 0xf8) {
      case ModeKind.PIO:
        return n <= 1;
      case ModeKind.PIO_FLOW:
        return n <= 4;
      case ModeKind.MULTIWORD:
        if (n > MULTIWORD_MODE) return false;
        this.mode = { multiword: n, ultra: -1 };
        return true;
      case ModeKind.ULTRA:
        if (n > ULTRA_MODE) return false;
        this.mode = { multiword: -1, ultra: n };
        return true;
    }
    return false;
  }

  /** Identify words 63 and 88: supported modes, and the selected one in the high byte. */
  protected identifyModes(id: DataView): void {
    const word = (highest: number, now: number): number => ((1 << (highest + 1)) - 1) | (now < 0 ? 0 : 0x100 << now);
    id.setUint16(63 * 2, word(MULTIWORD_MODE, this.mode.multiword), true);
    id.setUint16(88 * 2, word(ULTRA_MODE, this.mode.ultra), true);
  }

  /** SET FEATURES for settings that every device takes. @returns false: not one of these. */
  protected commonFeature(): boolean {
    const r = this.r;
    switch (r.feature & 0xff) {
      case Feature.TRANSFER_MODE:
        return this.setTransferMode(r.count & 0xff);
      case Feature.REVERT_OFF:
      case Feature.REVERT_ON:
      case Feature.READ_AHEAD_ON:
      case Feature.READ_AHEAD_OFF:
        return true;
    }
    return false;
  }

  protected checkPower(): void {
    this.ok();
    this.r.count = this.standby ? Power.STANDBY : Power.ACTIVE;
  }

  /** Device register as the host reads it. */
  get deviceRegister(): number {
    return this.r.device | DeviceReg.OBSOLETE;
  }

  save(): SavedState {
    return { ...saveState(SCHEMA, 1, this.common()), r: saveState(TASK_FILE, 1, this.r) };
  }

  private common(): Common {
    return { protocol: this.protocol, remaining: this.remaining, blockBytes: this.blockBytes, multiword: this.mode.multiword, ultra: this.mode.ultra, standby: this.standby ? 1 : 0 };
  }

  /** @returns a function that takes the state over. @throws VmxError; nothing has changed then. */
  check(saved: unknown): () => void {
    if (typeof saved !== 'object' || saved === null) throw new VmxError('ERR_BAD_STATE', 'not the state of an ATA device');
    const s = saved as SavedState;
    const c = loadState('ATA device', SCHEMA, 1, s);
    const r = loadState('ATA task file', TASK_FILE, 1, s.r as SavedState);
    return () => {
      Object.assign(this.r, r);
      this.protocol = c.protocol;
      this.remaining = c.remaining;
      this.blockBytes = c.blockBytes;
      this.mode = { multiword: c.multiword, ultra: c.ultra };
      this.standby = c.standby !== 0;
    };
  }
}

interface Common {
  protocol: number;
  remaining: number;
  blockBytes: number;
  multiword: number;
  ultra: number;
  standby: number;
}
const BYTES = int(0, 65536 * 512);
const SCHEMA: Schema<Common> = { protocol: int(0, 5), remaining: int(0, 2 ** 40), blockBytes: BYTES, multiword: int(-1, MULTIWORD_MODE), ultra: int(-1, ULTRA_MODE), standby: int(0, 1) };
