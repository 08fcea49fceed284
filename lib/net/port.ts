/**
 * The cable between a network card model and a back end. Frames are Ethernet frames without preamble and frame check sequence.
 * Both ends run on the machine's thread. A frame's bytes are valid during the call only: whoever keeps them copies them.
 */

/** What a back end may count on when it sends to this card. */
export interface NicAbilities {
  /** Longest frame the card takes, in bytes: 1514, or more if it takes TCP segments larger than the MTU (`Frame.gsoSize`). */
  maxFrame: number;
  /** The card says of a frame that its checksums need no check, so they need not be computed. */
  checksumFree: boolean;
}

/** What goes with a frame's bytes. */
export interface FrameInfo {
  /**
   * TCP payload bytes per segment if the frame holds a TCP/IPv4 segment that is to be cut up (segmentation offload), else 0.
   */
  gsoSize: number;
  /** The transport checksum field holds the sum of the pseudo header only: the data cannot be damaged, it never was on a wire. */
  noChecksum: boolean;
}

export const PLAIN_FRAME: Readonly<FrameInfo> = Object.freeze({ gsoSize: 0, noChecksum: false });

/** A network card as its back end sees it. */
export interface NicEnd {
  readonly abilities: Readonly<NicAbilities>;
  /** A frame for the guest. @returns false if the card has no room: the frame was not taken, and `NetBackend.room` follows. */
  receive(frame: Uint8Array, info: Readonly<FrameInfo>): boolean;
}

/** A back end as the card sees it. */
export interface NetBackend {
  /** It takes TCP segments larger than the MTU and frames whose transport checksum is not computed. */
  readonly offload: boolean;
  /** Called once, before anything else. */
  attach(nic: NicEnd): void;
  /** A frame from the guest, 14 bytes at least. */
  transmit(frame: Uint8Array, info: Readonly<FrameInfo>): void;
  /** The card has handed over all the guest had queued: time to acknowledge. */
  flush(): void;
  /** The card has room again after it refused a frame. */
  room(): void;
  /** The machine ends. */
  close(): void;
}

/** Holds frames that a card had no room for. Frames beyond the bound are lost, as on a real link. */
export class FrameQueue {
  private readonly waiting: { frame: Uint8Array; info: FrameInfo }[] = [];
  private readonly limit: number;
  private nic: NicEnd | null = null;

  constructor(limit = 512) {
    this.limit = limit;
  }

  attach(nic: NicEnd): void {
    this.nic = nic;
  }

  /** Frames are waiting: the card is slower than the sender. */
  get congested(): boolean {
    return this.waiting.length > 0;
  }

  get abilities(): Readonly<NicAbilities> {
    return this.nic!.abilities;
  }

  send(frame: Uint8Array, info: Readonly<FrameInfo> = PLAIN_FRAME): void {
    if (this.waiting.length === 0 && this.nic!.receive(frame, info)) return;
    if (this.waiting.length < this.limit) this.waiting.push({ frame: frame.slice(), info: { gsoSize: info.gsoSize, noChecksum: info.noChecksum } });
  }

  room(): void {
    let n = 0;
    while (n < this.waiting.length && this.nic!.receive(this.waiting[n]!.frame, this.waiting[n]!.info)) n++;
    this.waiting.splice(0, n);
  }

  clear(): void {
    this.waiting.length = 0;
  }
}
