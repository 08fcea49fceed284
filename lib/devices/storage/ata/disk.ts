/**
 * ATA hard disk (ACS-3): general feature set with 28-bit and 48-bit addresses, READ and WRITE by PIO, MULTIPLE, DMA and (on
 * SATA) first-party DMA with native command queuing, write cache and FLUSH CACHE, TRIM, power management, the basics of SMART.
 * No security, no host protected area.
 */
import type { BlockBackend } from '../../../block/backend.js';
import type { SavedState } from '../../device.js';
import { bool, bytes, int, loadState, saveState, type Schema } from '../../saved.js';
import { ATA_SECTOR, AtaCmd, AtaError, DeviceReg, Feature, Log, MAX_COUNT_28, MAX_COUNT_48, SIGNATURE_DISK, SMART_KEY_HIGH, SMART_KEY_MID, SmartCmd, Status } from './ata.spec.js';
import { AtaDevice, identifyChecksum, identifyText, Protocol } from './device.js';

const VERSION = 1;
/** Most sectors that READ and WRITE MULTIPLE move between two interrupts. */
const MAX_MULTIPLE = 16;
/** Default geometry of large disks (ACS-3, annex on CHS; the limits of the old BIOS interface). */
const HEADS = 16;
const SECTORS = 63;
const MAX_CYLINDERS = 16383;
const CHS_LIMIT = MAX_CYLINDERS * HEADS * SECTORS;
const MAX_28 = 0xfff_ffff;
export const NCQ_DEPTH = 32;
/** Sectors of range entries per DATA SET MANAGEMENT command, and the bytes of an entry. */
const TRIM_SECTORS = 8;
const TRIM_ENTRY = 8;
const FIRMWARE = '1.0';
const MODEL = 'VMX HARDDISK';

interface State {
  /** Where the transfer is, in sectors, and in bytes within the sector. */
  lba: number;
  within: number;
  /** The command has a 48-bit address. */
  ext: boolean;
  /** FUA, or no write cache: flush at the end. */
  flush: boolean;
  multiple: number;
  writeCache: boolean;
  smart: boolean;
  /** The data phase moves `page` (identify data, a log, range entries), not sectors of the disk. */
  paged: boolean;
  page: Uint8Array;
  pageAt: number;
  heads: number;
  sectors: number;
  /** NCQ error log: the tag that failed, -1 none; and where. */
  failedTag: number;
  failedLba: number;
  /** The transfer has failed at `lba`. */
  failed: boolean;
}

const PAGE = TRIM_SECTORS * ATA_SECTOR;

export interface AtaDiskOptions {
  disk: BlockBackend;
  serial: string;
  /** Behind an AHCI port: with native command queuing. */
  sata: boolean;
  log: (message: string) => void;
}

export class AtaDisk extends AtaDevice {
  private s: State;
  private readonly schema: Schema<State>;
  private readonly sectorCount: number;
  private readonly disk: BlockBackend;

  constructor(private readonly o: AtaDiskOptions) {
    super(SIGNATURE_DISK, o.log);
    this.disk = o.disk;
    this.sectorCount = Math.floor(o.disk.size / ATA_SECTOR);
    this.schema = {
      lba: int(0, this.sectorCount), within: int(0, ATA_SECTOR - 1), ext: bool, flush: bool, multiple: int(0, MAX_MULTIPLE), writeCache: bool, smart: bool, paged: bool, page: bytes(PAGE),
      pageAt: int(0, PAGE), heads: int(1, 16), sectors: int(1, 255), failedTag: int(-1, NCQ_DEPTH - 1), failedLba: int(0, this.sectorCount), failed: bool,
    };
    this.s = this.initial();
  }

  private initial(): State {
    return {
      lba: 0, within: 0, ext: false, flush: false, multiple: MAX_MULTIPLE, writeCache: true, smart: true, paged: false, page: new Uint8Array(PAGE), pageAt: 0, heads: HEADS, sectors: SECTORS,
      failedTag: -1, failedLba: 0, failed: false,
    };
  }

  override reset(hard: boolean): void {
    if (hard) this.s = this.initial();
    this.s.failed = this.s.flush = false;
    super.reset(hard);
  }

  override save(): SavedState {
    return { ...super.save(), disk: saveState(this.schema, VERSION, this.s) };
  }

  override check(saved: unknown): () => void {
    const take = super.check(saved);
    const s = loadState('ATA disk', this.schema, VERSION, (saved as SavedState).disk as SavedState);
    return () => {
      take();
      this.s = s;
    };
  }

  // ---- commands ----

  execute(): void {
    const r = this.r;
    this.protocol = Protocol.NONE;
    this.remaining = 0;
    this.s.paged = this.s.flush = this.s.failed = false;
    if (r.command !== AtaCmd.CHECK_POWER && r.command !== AtaCmd.SLEEP) this.standby &&= r.command >= AtaCmd.STANDBY_IMMEDIATE && r.command <= AtaCmd.IDLE;
    switch (r.command) {
      case AtaCmd.READ_SECTORS:
      case AtaCmd.READ_SECTORS_NORETRY:
        return this.transfer(Protocol.PIO_IN, false, 1);
      case AtaCmd.READ_SECTORS_EXT:
        return this.transfer(Protocol.PIO_IN, true, 1);
      case AtaCmd.WRITE_SECTORS:
      case AtaCmd.WRITE_SECTORS_NORETRY:
        return this.transfer(Protocol.PIO_OUT, false, 1);
      case AtaCmd.WRITE_SECTORS_EXT:
        return this.transfer(Protocol.PIO_OUT, true, 1);
      case AtaCmd.READ_MULTIPLE:
        return this.transfer(Protocol.PIO_IN, false, this.s.multiple);
      case AtaCmd.READ_MULTIPLE_EXT:
        return this.transfer(Protocol.PIO_IN, true, this.s.multiple);
      case AtaCmd.WRITE_MULTIPLE:
        return this.transfer(Protocol.PIO_OUT, false, this.s.multiple);
      case AtaCmd.WRITE_MULTIPLE_EXT:
        return this.transfer(Protocol.PIO_OUT, true, this.s.multiple);
      case AtaCmd.WRITE_MULTIPLE_FUA_EXT:
        return this.transfer(Protocol.PIO_OUT, true, this.s.multiple, true);
      case AtaCmd.READ_DMA:
      case AtaCmd.READ_DMA_NORETRY:
        return this.transfer(Protocol.DMA_IN, false, MAX_COUNT_48);
      case AtaCmd.READ_DMA_EXT:
        return this.transfer(Protocol.DMA_IN, true, MAX_COUNT_48);
      case AtaCmd.WRITE_DMA:
      case AtaCmd.WRITE_DMA_NORETRY:
        return this.transfer(Protocol.DMA_OUT, false, MAX_COUNT_48);
      case AtaCmd.WRITE_DMA_EXT:
        return this.transfer(Protocol.DMA_OUT, true, MAX_COUNT_48);
      case AtaCmd.WRITE_DMA_FUA_EXT:
        return this.transfer(Protocol.DMA_OUT, true, MAX_COUNT_48, true);
      case AtaCmd.READ_FPDMA_QUEUED:
        return this.queued(Protocol.DMA_IN);
      case AtaCmd.WRITE_FPDMA_QUEUED:
        return this.queued(Protocol.DMA_OUT);
      case AtaCmd.VERIFY:
      case AtaCmd.VERIFY_NORETRY:
        return this.verify(false);
      case AtaCmd.VERIFY_EXT:
        return this.verify(true);
      case AtaCmd.DATA_SET_MANAGEMENT:
        return this.dataSetManagement();
      case AtaCmd.READ_LOG_EXT:
        return this.readLog(Protocol.PIO_IN);
      case AtaCmd.READ_LOG_DMA_EXT:
        return this.readLog(Protocol.DMA_IN);
      case AtaCmd.FLUSH:
      case AtaCmd.FLUSH_EXT:
        return this.flush();
      case AtaCmd.IDENTIFY:
        this.identify();
        return this.sendPage(Protocol.PIO_IN, 1);
      case AtaCmd.SET_FEATURES:
        return this.setFeatures();
      case AtaCmd.SET_MULTIPLE:
        return this.setMultiple();
      case AtaCmd.INITIALIZE_PARAMETERS:
        this.s.heads = (r.device & 15) + 1;
        this.s.sectors = r.count & 0xff || 1;
        return this.ok();
      case AtaCmd.SMART:
        return this.smart();
      case AtaCmd.CHECK_POWER:
        return this.checkPower();
      case AtaCmd.STANDBY_IMMEDIATE:
      case AtaCmd.STANDBY:
      case AtaCmd.SLEEP:
        this.standby = true;
        return this.flush();
      case AtaCmd.IDLE:
      case AtaCmd.IDLE_IMMEDIATE:
        this.standby = false;
        return this.ok();
      case AtaCmd.EXECUTE_DIAGNOSTIC:
        return this.sign();
      case AtaCmd.READ_NATIVE_MAX:
        this.putAddress(Math.min(this.sectorCount - 1, MAX_28), false);
        return this.ok();
      case AtaCmd.READ_NATIVE_MAX_EXT:
        this.putAddress(this.sectorCount - 1, true);
        return this.ok();
      case AtaCmd.PACKET:
      case AtaCmd.IDENTIFY_PACKET:
        return this.abort();
    }
    // Seeking and calibrating mean nothing, but old software does it.
    const group = r.command & 0xf0;
    if (group === (AtaCmd.RECALIBRATE as number) || (group === (AtaCmd.SEEK as number) && this.address(false) >= 0)) this.ok();
    else this.abort();
  }

  /** The address in the task file, in sectors; -1 if there is no such sector. */
  private address(ext: boolean): number {
    const r = this.r;
    let lba: number;
    if (ext) {
      lba = (r.lbaLow & 0xff) + (r.lbaMid & 0xff) * 0x100 + (r.lbaHigh & 0xff) * 0x1_0000 + (r.lbaLow >>> 8) * 0x100_0000 + (r.lbaMid >>> 8) * 0x1_0000_0000 + (r.lbaHigh >>> 8) * 0x100_0000_0000;
    } else if (r.device & DeviceReg.LBA) {
      lba = (r.lbaLow & 0xff) + (r.lbaMid & 0xff) * 0x100 + (r.lbaHigh & 0xff) * 0x1_0000 + (r.device & 15) * 0x100_0000;
    } else {
      const { heads, sectors } = this.s;
      const sector = r.lbaLow & 0xff;
      const head = r.device & 15;
      if (sector === 0 || sector > sectors || head >= heads) return -1;
      lba = (((r.lbaHigh & 0xff) * 256 + (r.lbaMid & 0xff)) * heads + head) * sectors + sector - 1;
    }
    return lba < this.sectorCount ? lba : -1;
  }

  /** The reverse, for errors and for READ NATIVE MAX. */
  private putAddress(lba: number, ext: boolean): void {
    const r = this.r;
    const b = (n: number): number => Math.floor(lba / 2 ** (8 * n)) & 0xff;
    if (!ext && !(r.device & DeviceReg.LBA)) {
      const { heads, sectors } = this.s;
      const track = Math.floor(lba / sectors);
      const cylinder = Math.floor(track / heads);
      r.lbaLow = (lba % sectors) + 1;
      r.device = (r.device & 0xf0) | (track % heads);
      r.lbaMid = cylinder & 0xff;
      r.lbaHigh = (cylinder >>> 8) & 0xff;
      return;
    }
    r.lbaLow = b(0) | (ext ? b(3) << 8 : 0);
    r.lbaMid = b(1) | (ext ? b(4) << 8 : 0);
    r.lbaHigh = b(2) | (ext ? b(5) << 8 : 0);
    if (!ext) r.device = (r.device & 0xf0) | (b(3) & 15);
  }

  private count(ext: boolean): number {
    return ext ? this.r.count || MAX_COUNT_48 : this.r.count & 0xff || MAX_COUNT_28;
  }

  private transfer(protocol: Protocol, ext: boolean, blockSectors: number, fua = false): void {
    const lba = this.address(ext);
    const count = this.count(ext);
    this.s.ext = ext;
    if (blockSectors === 0) return this.abort();
    if (lba < 0 || lba + count > this.sectorCount) return this.fail(AtaError.IDNF);
    const writes = protocol === Protocol.PIO_OUT || protocol === Protocol.DMA_OUT;
    if (writes && this.disk.readonly) return this.abort();
    this.s.lba = lba;
    this.s.within = 0;
    this.s.flush = writes && (fua || !this.s.writeCache);
    this.begin(protocol, count * ATA_SECTOR, blockSectors * ATA_SECTOR);
  }

  /** NCQ (ACS-3, 7.24 and 7.58): the count is in the feature register, the tag in the count register. */
  private queued(protocol: Protocol): void {
    const r = this.r;
    if (!this.o.sata) return this.abort();
    const count = r.feature || MAX_COUNT_48;
    const lba = this.address(true);
    const writes = protocol === Protocol.DMA_OUT;
    this.s.ext = true;
    if (lba < 0 || lba + count > this.sectorCount || (writes && this.disk.readonly)) {
      this.s.lba = Math.max(0, lba);
      return this.fail(lba < 0 || lba + count > this.sectorCount ? AtaError.IDNF : AtaError.ABRT);
    }
    this.s.lba = lba;
    this.s.within = 0;
    this.s.flush = writes && ((r.device & 0x80) !== 0 || !this.s.writeCache);
    this.begin(protocol, count * ATA_SECTOR);
  }

  /** A queued command has failed: what READ LOG EXT will say about it. */
  queuedFailed(tag: number): void {
    this.s.failedTag = tag;
    this.s.failedLba = this.s.lba;
  }

  private verify(ext: boolean): void {
    const lba = this.address(ext);
    const count = this.count(ext);
    this.s.ext = ext;
    if (lba < 0 || lba + count > this.sectorCount) return this.fail(AtaError.IDNF);
    this.s.lba = lba;
    this.s.within = 0;
    const part = new Uint8Array(PAGE);
    this.ok();
    for (let left = count * ATA_SECTOR; left > 0; left -= part.length) if (this.dataIn(part.subarray(0, Math.min(left, part.length))) === 0) return this.end();
  }

  private flush(): void {
    try {
      this.disk.flush();
      this.ok();
    } catch (e) {
      this.log(`ATA disk: ${(e as Error).message}`);
      this.fail(AtaError.ABRT);
      this.r.status |= Status.DF;
    }
  }

  // ---- data phase ----

  dataIn(dst: Uint8Array): number {
    const s = this.s;
    if (s.paged) return this.pageIn(dst);
    const at = s.lba * ATA_SECTOR + s.within;
    const n = Math.min(dst.length, this.sectorCount * ATA_SECTOR - at);
    try {
      this.disk.read(at, dst.length === n ? dst : dst.subarray(0, n));
    } catch (e) {
      return this.ioFailed(e);
    }
    return this.moved(n);
  }

  dataOut(src: Uint8Array): number {
    const s = this.s;
    if (s.paged) return this.pageOut(src);
    const at = s.lba * ATA_SECTOR + s.within;
    const n = Math.min(src.length, this.sectorCount * ATA_SECTOR - at);
    try {
      this.disk.write(at, src.length === n ? src : src.subarray(0, n));
    } catch (e) {
      return this.ioFailed(e);
    }
    return this.moved(n);
  }

  private ioFailed(e: unknown): number {
    this.log(`ATA disk: ${(e as Error).message}`);
    this.s.failed = true;
    return 0;
  }

  private moved(n: number): number {
    const s = this.s;
    this.remaining = Math.max(0, this.remaining - n);
    const to = s.within + n;
    s.lba += Math.floor(to / ATA_SECTOR);
    s.within = to % ATA_SECTOR;
    return n;
  }

  end(): void {
    const s = this.s;
    const out = this.protocol === Protocol.PIO_OUT || this.protocol === Protocol.DMA_OUT;
    this.protocol = Protocol.NONE;
    if (s.failed) {
      this.fail(out ? AtaError.IDNF : AtaError.UNC);
      this.putAddress(Math.min(s.lba, this.sectorCount - 1), s.ext);
    } else if (this.remaining > 0) {
      // The adapter could not move it all: the CRC of the last burst did not come.
      this.fail(AtaError.ABRT | AtaError.ICRC);
    } else if (s.paged && out) {
      this.trim();
    } else if (s.flush) {
      this.flush();
    } else {
      this.ok();
    }
  }

  private sendPage(protocol: Protocol, sectors: number): void {
    this.s.paged = true;
    this.s.pageAt = 0;
    this.begin(protocol, sectors * ATA_SECTOR, ATA_SECTOR);
  }

  private pageIn(dst: Uint8Array): number {
    const s = this.s;
    const n = Math.min(dst.length, this.remaining, PAGE - s.pageAt);
    dst.set(s.page.subarray(s.pageAt, s.pageAt + n));
    s.pageAt += n;
    this.remaining -= n;
    return n;
  }

  private pageOut(src: Uint8Array): number {
    const s = this.s;
    const n = Math.min(src.length, this.remaining, PAGE - s.pageAt);
    s.page.set(src.subarray(0, n), s.pageAt);
    s.pageAt += n;
    this.remaining -= n;
    return n;
  }

  // ---- TRIM (7.5) ----

  private dataSetManagement(): void {
    const count = this.r.count;
    if (!(this.r.feature & 1) || count === 0 || count > TRIM_SECTORS || this.disk.readonly) return this.abort();
    this.s.paged = true;
    this.s.pageAt = 0;
    this.s.page.fill(0);
    this.begin(Protocol.DMA_OUT, count * ATA_SECTOR);
  }

  private trim(): void {
    const v = new DataView(this.s.page.buffer, this.s.page.byteOffset, this.s.pageAt);
    try {
      for (let at = 0; at + TRIM_ENTRY <= v.byteLength; at += TRIM_ENTRY) {
        const lba = v.getUint32(at, true) + v.getUint16(at + 4, true) * 0x1_0000_0000;
        const count = v.getUint16(at + 6, true);
        if (count === 0) continue;
        if (lba + count > this.sectorCount) return this.fail(AtaError.IDNF);
        this.disk.discard(lba * ATA_SECTOR, count * ATA_SECTOR);
      }
      this.ok();
    } catch (e) {
      this.log(`ATA disk: ${(e as Error).message}`);
      this.fail(AtaError.ABRT);
    }
  }

  // ---- information and settings ----

  private setFeatures(): void {
    switch (this.r.feature & 0xff) {
      case Feature.WRITE_CACHE_ON:
        this.s.writeCache = true;
        return this.ok();
      case Feature.WRITE_CACHE_OFF:
        this.s.writeCache = false;
        return this.flush();
    }
    if (this.commonFeature()) this.ok();
    else this.abort();
  }

  private setMultiple(): void {
    const n = this.r.count & 0xff;
    if (n > MAX_MULTIPLE || (n & (n - 1)) !== 0) return this.abort();
    this.s.multiple = n;
    this.ok();
  }

  private identify(): void {
    const page = this.s.page.fill(0);
    const id = new DataView(page.buffer, page.byteOffset, ATA_SECTOR);
    const w = (word: number, v: number): void => id.setUint16(word * 2, v & 0xffff, true);
    const dword = (word: number, v: number): void => id.setUint32(word * 2, v % 0x1_0000_0000, true);
    const s = this.s;
    const total = this.sectorCount;
    const cylinders = Math.min(MAX_CYLINDERS, Math.floor(Math.min(total, CHS_LIMIT) / (HEADS * SECTORS)));
    // Fixed disk.
    w(0, 0x0040);
    w(1, cylinders);
    w(3, HEADS);
    w(6, SECTORS);
    identifyText(id, 10, 10, this.o.serial);
    identifyText(id, 23, 4, FIRMWARE);
    identifyText(id, 27, 20, MODEL);
    w(47, 0x8000 | MAX_MULTIPLE);
    // DMA, LBA, IORDY.
    w(49, 0x0b00);
    w(50, 0x4000);
    // Words 54-58, 64-70 and 88 are valid.
    w(53, 0x0007);
    const now = Math.max(1, Math.min(65535, Math.floor(Math.min(total, CHS_LIMIT) / (s.heads * s.sectors))));
    w(54, now);
    w(55, s.heads);
    w(56, s.sectors);
    dword(57, now * s.heads * s.sectors);
    w(59, s.multiple === 0 ? 0 : 0x100 | s.multiple);
    dword(60, Math.min(total, MAX_28));
    this.identifyModes(id);
    // PIO modes 3 and 4 and their cycle times in ns.
    w(64, 0x0003);
    for (let i = 65; i <= 68; i++) w(i, 120);
    if (this.o.sata) {
      w(75, NCQ_DEPTH - 1);
      // Gen 1 to 3, native command queuing.
      w(76, 0x010e);
    }
    // ATA-4 to ACS-3.
    w(80, 0x07f0);
    // SMART, power management, write cache, read look-ahead, NOP; 48-bit, FLUSH CACHE both; GPL, FUA. Then what of it is on.
    w(82, 0x4061);
    w(83, 0x7400);
    w(84, 0x4060);
    w(85, 0x4040 | (s.smart ? 1 : 0) | (s.writeCache ? 0x20 : 0));
    w(86, 0x3400);
    w(87, 0x4060);
    // 80-wire cable seen, device 0 passed.
    if (!this.o.sata) w(93, 0x6001);
    dword(100, total);
    w(102, Math.floor(total / 0x1_0000_0000));
    w(105, TRIM_SECTORS);
    w(106, 0x4000);
    // DATA SET MANAGEMENT with TRIM, contents afterwards not defined.
    w(169, 0x0001);
    // It does not rotate.
    w(217, 1);
    w(222, this.o.sata ? 0x107f : 0x007f);
    identifyChecksum(page.subarray(0, ATA_SECTOR));
  }

  /** READ LOG EXT (7.23, annex A): directory, and what went wrong with queued commands. */
  private readLog(protocol: Protocol): void {
    const r = this.r;
    const count = r.count;
    if (count !== 1 || r.lbaMid !== 0) return this.abort();
    const page = this.s.page.fill(0);
    const log: Log = r.lbaLow & 0xff;
    if (log === Log.DIRECTORY) {
      page[0] = 1;
      if (this.o.sata) page[Log.NCQ_ERROR * 2] = 1;
    } else if (log === Log.NCQ_ERROR && this.o.sata) {
      this.queuedErrorPage(page);
    } else {
      return this.abort();
    }
    this.sendPage(protocol, 1);
  }

  private queuedErrorPage(page: Uint8Array): void {
    const s = this.s;
    page[0] = s.failedTag < 0 ? 0x80 : s.failedTag;
    page[2] = Status.DRDY | Status.ERR;
    page[3] = AtaError.UNC;
    for (let i = 0; i < 6; i++) page[i < 3 ? 4 + i : 5 + i] = Math.floor(s.failedLba / 2 ** (8 * i)) & 0xff;
    page[7] = DeviceReg.LBA;
    let sum = 0;
    for (let i = 0; i < 511; i++) sum += page[i]!;
    page[511] = -sum & 0xff;
    // Reading the log ends the error state.
    s.failedTag = -1;
  }

  private smart(): void {
    const r = this.r;
    const command: SmartCmd = r.feature & 0xff;
    if ((r.lbaMid & 0xff) !== SMART_KEY_MID || (r.lbaHigh & 0xff) !== SMART_KEY_HIGH || (!this.s.smart && command !== SmartCmd.ENABLE)) return this.abort();
    switch (command) {
      case SmartCmd.ENABLE:
      case SmartCmd.DISABLE:
        this.s.smart = command === SmartCmd.ENABLE;
        return this.ok();
      case SmartCmd.AUTOSAVE:
        return this.ok();
      case SmartCmd.RETURN_STATUS:
        // The key unchanged: no threshold exceeded.
        return this.ok();
      case SmartCmd.EXECUTE_OFFLINE:
        return this.verifyAll();
      case SmartCmd.READ_DATA:
      case SmartCmd.READ_THRESHOLDS:
        this.smartPage(command === SmartCmd.READ_DATA);
        return this.sendPage(Protocol.PIO_IN, 1);
      case SmartCmd.READ_LOG:
        // The directory, with nothing in it.
        if ((r.lbaLow & 0xff) !== 0 || (r.count & 0xff) !== 1) return this.abort();
        this.s.page.fill(0)[0] = 1;
        return this.sendPage(Protocol.PIO_IN, 1);
    }
    this.abort();
  }

  /** Self-tests: the short one is over at once; the others would read the whole disk. */
  private verifyAll(): void {
    const subcommand = this.r.lbaLow & 0x7f;
    if (subcommand <= 1) this.ok();
    else this.abort();
  }

  /** No attributes: there is nothing that wears. Revision 16; no error of a self-test, which take a minute at most. */
  private smartPage(data: boolean): void {
    const page = this.s.page.fill(0);
    page[0] = 0x10;
    if (data) {
      page[367] = 0x11;
      page[372] = page[373] = 1;
    }
    let sum = 0;
    for (let i = 0; i < 511; i++) sum += page[i]!;
    page[511] = -sum & 0xff;
  }
}
