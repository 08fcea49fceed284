/**
 * Makes a record again from nothing but the guest bytes in it: the proof that what the cache holds is what the translator would
 * make of them now. Used to check caches, and to take code from files that are not to be trusted.
 */
import type { Lifter } from '../cpu.js';
import { LiftResult } from '../cpu.js';
import type { HelperRegistry } from '../helpers.js';
import { ConstPool, IrBuilder } from '../ir/builder.js';
import { runPasses, type PassOptions } from '../ir/passes.js';
import type { HostCode } from '../jit/host-code.js';
import { Block } from '../jit/block.js';
import { findLoop, regionBlock } from '../jit/regions.js';
import { extract } from './page-group.js';
import { nodesOf, Reg, regionPage, sameRegionRecord } from './region-record.js';
import { codeAt, guestAt, guestEnd, Rec, REC_HEAD, RecFlag, RecordWriter, wordsOf } from './record.js';

export interface RecompileOptions {
  lifter: Lifter;
  helpers: HelperRegistry<never>;
  passes: PassOptions;
  maxInsns: number;
  fpHelperBit: number;
  mask32: (mode: number) => boolean;
  mmuIndex: (mode: number) => number;
}

const PAGE = 4096;
/** The longest instruction of any guest, and more. */
const MAX_SPAN = 32;

/**
 * True if the words at `at` have the shape of a record whose parts lie within it (`W` may come from anywhere). One in a page group is only
 * sound if its group is (`soundGroup`).
 */
export function wellFormed(W: Int32Array, at: number): boolean {
  if (at < 0 || at + REC_HEAD > W.length) return false;
  const length = W[at + Rec.LENGTH]!;
  const code = W[at + Rec.CODE]!;
  const guest = W[at + Rec.GUEST]! & 0xffff;
  if (length < REC_HEAD || at + length > W.length || code <= 0 || guest === 0) return false;
  const own = W[at + Rec.GROUP] === 0;
  if (guestEnd(W, at) !== (own ? codeAt(W, at) : at + length) || (own && codeAt(W, at) + wordsOf(code) !== at + length)) return false;
  const offset = W[at + Rec.PLACE]! & (PAGE - 1);
  const spans = (W[at + Rec.PLACE]! & RecFlag.SPANS) !== 0;
  return spans ? offset + guest > PAGE && guest <= MAX_SPAN : offset + guest <= PAGE;
}

export class Recompiler {
  private readonly ir: IrBuilder;
  private readonly regionIr: IrBuilder;
  private readonly pool = new ConstPool();
  private readonly out = new RecordWriter();
  /** A record of a page group as it would be on its own. */
  private readonly alone = new RecordWriter();

  /** @param host is used for nothing else; its code is never run */
  constructor(private readonly host: HostCode, private readonly o: RecompileOptions) {
    this.ir = new IrBuilder(this.pool);
    this.ir.symbolic = true;
    this.ir.idioms = this.o.passes.idioms !== false;
    this.regionIr = new IrBuilder(this.pool);
  }

  /**
   * Translates the guest bytes of the well-formed record at word `at`.
   * @returns true if the result is the same record, word for word
   */
  same(W: Int32Array, at: number): boolean {
    if (W[at + Rec.GROUP] !== 0) {
      this.alone.n = 0;
      extract(W, at, this.alone);
      return this.same(this.alone.W, 0);
    }
    const made = this.make(W, at);
    if (made === null) return false;
    const n = W[at + Rec.LENGTH]!;
    if (made.n !== n) return false;
    for (let i = 0; i < n; i++) if (made.W[i] !== W[at + i]) return false;
    return true;
  }

  /** As `same`, of the well-formed record of a region. */
  sameRegion(W: Int32Array, at: number): boolean {
    const { o, ir, host } = this;
    this.makeRoom();
    const page = regionPage(W, at);
    if (page === null) return false;
    const mode = W[at + Rec.MODE]!;
    const fp = (mode & o.fpHelperBit) !== 0;
    const blocks = new Map(nodesOf(W, at).map((n) => [n.offset, new Block(n.offset, mode, o.mmuIndex(mode), n.bytes, 0)]));
    const head = blocks.get(W[at + Rec.PLACE]! & (PAGE - 1))!;
    const region = findLoop(
      head,
      {
        at: (offset) => blocks.get(offset),
        lift: (b) => {
          const win = { buf: page, pos: b.ram, end: b.ram + b.bytes, offset: b.offset };
          ir.begin();
          if (o.lifter.lift(win, mode, ir, o.maxInsns) !== LiftResult.OK || win.pos !== b.ram + b.bytes || ir.symbolN > 0) return null;
          runPasses(ir, o.helpers, o.passes, fp);
          return ir.copy();
        },
      },
      this.regionIr,
    );
    if (region === null) return false;
    const block = regionBlock(head, region.from, region.to, region.ir.insns);
    const guest = guestAt(W, at);
    block.hintsOff = W[guest + Reg.HINTS_OFF]!;
    block.addendsOff = W[guest + Reg.ADDENDS_OFF]!;
    if (host.compileRegion(region, { helpers: o.helpers }, block, o.mask32(mode), !fp) === null) return false;
    this.out.n = 0;
    const nodes = region.nodes.map((n) => ({ offset: n.offset, bytes: blocks.get(n.offset)!.bytes }));
    return host.captureRegion(region.ir, block, nodes, page, this.out) && sameRegionRecord(W, at, this.out);
  }

  private makeRoom(): void {
    if (!this.pool.nearlyFull && !this.host.nearlyFull) return;
    this.pool.reset();
    this.host.reset();
  }

  private make(W: Int32Array, at: number): RecordWriter | null {
    const { o, ir, host } = this;
    this.makeRoom();
    const bytes = W[at + Rec.GUEST]! & 0xffff;
    const place = W[at + Rec.PLACE]!;
    const offset = place & (PAGE - 1);
    const mode = W[at + Rec.MODE]!;
    const spans = (place & RecFlag.SPANS) !== 0;
    const U8 = new Uint8Array(W.buffer, W.byteOffset, W.byteLength);
    const pos = guestAt(W, at) * 4;
    const win = { buf: U8, pos, end: pos + bytes, offset };
    ir.begin();
    if (o.lifter.lift(win, mode, ir, spans ? 1 : o.maxInsns) !== LiftResult.OK || win.pos !== pos + bytes) return null;
    runPasses(ir, o.helpers, o.passes, (mode & o.fpHelperBit) !== 0);
    const block = new Block(offset, mode, o.mmuIndex(mode), bytes, ir.insns);
    block.page2 = spans ? 0 : -1;
    host.compile(ir, { helpers: o.helpers }, block, o.mask32(mode), (mode & o.fpHelperBit) === 0);
    this.out.n = 0;
    return host.capture(ir, block, { buf: U8, pos, bytes }, this.out) ? this.out : null;
  }
}
