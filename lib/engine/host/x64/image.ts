/**
 * Blocks in relocatable form (lib/engine/aot/record.ts): `capture` turns the code just compiled into one, `place` makes code of it
 * again. The same block captured twice gives the same words, wherever it lay and whichever slots its constants had.
 */
import {
  KIND_SHIFT, MAX_CODE, MAX_CONSTS, MAX_RECORD_WORDS, OPERAND_SHIFT, OPERAND_SYMBOL, POSITION_MASK, Rec, REC_HEAD, RecFlag, RecReloc, type RecordWriter, SITE_LINKED, SITE_SHIFT,
  codeAt, guestAt, relocsAt, siteCount, sitesAt, wordsOf,
} from '../../aot/record.js';
import { GROUP_HEAD, Grp, unlinkedValue } from '../../aot/page-group.js';
import type { IrBuilder } from '../../ir/builder.js';
import { HINT_SHIFT, hintFieldsAt, type NodeBytes, Reg, regionGuest, UNIT_SHIFT } from '../../aot/region-record.js';
import type { Block } from '../../jit/block.js';
import type { GuestBytes } from '../../jit/host-code.js';
import { Slot } from '../../state.js';
import type { CompiledBlock } from './backend.js';
import { hintPlace, isWriteHint } from './emit-hint.js';
import { HINT_UNITS, Reloc, type RelocList } from './relocs.js';

const KIND: readonly RecReloc[] = [RecReloc.MINUS_PLACE, RecReloc.PLUS_PLACE, RecReloc.SLOT_8, RecReloc.SLOT];

/** Adds to each field of the code at byte `code` of `view` that belongs to a hint of the record's what follows from the number of the first hint, `sign` times. */
function moveHints(W: Int32Array, at: number, view: DataView, code: number, sign: number, firstHint: number): void {
  const fields = hintFieldsAt(W, at);
  for (let k = fields + W[guestAt(W, at) + Reg.FIELDS]! - 1; k >= fields; k--) {
    const f = W[k]!;
    const pos = code + (f & POSITION_MASK);
    view.setInt32(pos, view.getInt32(pos, true) + sign * HINT_UNITS[f >>> UNIT_SHIFT]! * hintPlace(firstHint, (f >>> HINT_SHIFT) & 31), true);
  }
}

export class CodeImages {
  private readonly view: DataView;
  private readonly words: Int32Array;
  /** Slots of the constants of the record being written, and how many. */
  private readonly consts = new Int32Array(MAX_CONSTS);
  private nConsts = 0;
  /** Index of a pool slot in `consts`, valid if `stamp` is the current one. */
  private readonly index = new Uint16Array(Slot.CONST_END - Slot.SYMBOL);
  private readonly stamp = new Int32Array(Slot.CONST_END - Slot.SYMBOL);
  private turn = 0;

  /** @param u8 the exec region's writable alias */
  constructor(private readonly u8: Uint8Array) {
    this.view = new DataView(u8.buffer, u8.byteOffset, u8.byteLength);
    this.words = new Int32Array(u8.buffer, u8.byteOffset, u8.byteLength >> 2);
  }

  /**
   * Appends the record of the block just compiled from `ir`, at page offset `offset`.
   * @returns false, with nothing appended, if it is too large for a record
   */
  capture(ir: IrBuilder, c: CompiledBlock, relocs: RelocList, guest: GuestBytes, offset: number, mode: number, spans: boolean, out: RecordWriter): boolean {
    const code = c.end - c.start;
    const nSites = c.sites.length / 3;
    const nRelocs = relocs.n;
    if (code > MAX_CODE || nSites > 255 || nRelocs > 0xffff || !this.number(ir, relocs)) return false;
    const nSymbols = ir.symbolN;
    const length = REC_HEAD + this.nConsts * 2 + nSymbols + nSites * 2 + nRelocs + wordsOf(guest.bytes) + wordsOf(code);
    if (length > MAX_RECORD_WORDS) return false;
    out.reserve(length);
    const at = out.n;
    const W = out.W;
    W[at + Rec.LENGTH] = length;
    W[at + Rec.PLACE] = offset | (spans ? RecFlag.SPANS : 0) | (nSymbols << 16) | (nSites << 24);
    W[at + Rec.MODE] = mode;
    W[at + Rec.GUEST] = guest.bytes | (ir.insns << 16);
    W[at + Rec.CODE] = code;
    W[at + Rec.ENTRY_B] = c.entryB - c.start;
    W[at + Rec.COUNTS] = this.nConsts | (nRelocs << 16);
    W[at + Rec.CODE_AT] = length - wordsOf(code);
    W[at + Rec.GROUP] = 0;
    let p = at + REC_HEAD;
    for (let k = 0; k < this.nConsts; k++) {
      const s = this.consts[k]! - Slot.CONST;
      W[p++] = ir.consts.lo[s]!;
      W[p++] = ir.consts.hi[s]!;
    }
    for (let k = 0; k < nSymbols; k++) W[p++] = ir.symbolAt[k]! | ((this.index[ir.symbolSlot[k]! - Slot.SYMBOL]! & ~OPERAND_SYMBOL) << 16);
    for (let k = 0; k < nSites; k++) {
      W[p++] = (c.sites[k * 3]! - c.start) | (c.sites[k * 3 + 1]! << SITE_SHIFT);
      W[p++] = c.sites[k * 3 + 2]! - c.start;
    }
    const relocWords = p;
    p += nRelocs;
    // Loops: views of the few bytes would cost more than copying them.
    W[p + wordsOf(guest.bytes) - 1] = 0;
    const U8 = out.U8;
    for (let i = 0, to = p * 4; i < guest.bytes; i++) U8[to + i] = guest.buf[guest.pos + i]!;
    p += wordsOf(guest.bytes);
    W[p + wordsOf(code) - 1] = 0;
    const whole = code >> 2;
    const { words } = this;
    for (let i = 0, from = c.start >> 2; i < whole; i++) W[p + i] = words[from + i]!;
    for (let i = whole * 4; i < code; i++) U8[p * 4 + i] = this.u8[c.start + i]!;
    this.canonical(c.start, relocs, W, relocWords, out.view, p * 4);
    out.n = at + length;
    return true;
  }

  /** Gives numbers to the constants that the code refers to, in order of appearance. @returns false if there are too many */
  private number(ir: IrBuilder, relocs: RelocList): boolean {
    this.nConsts = 0;
    const turn = ++this.turn;
    for (let k = 0; k < ir.symbolN; k++) {
      const s = ir.symbolSlot[k]! - Slot.SYMBOL;
      // Equal values share a slot: the first field stands for all of them (the record says which one).
      if (this.stamp[s] === turn) continue;
      this.stamp[s] = turn;
      this.index[s] = k | OPERAND_SYMBOL;
    }
    for (let k = 0; k < relocs.n; k++) {
      const what = relocs.what[k]!;
      if ((what & Reloc.KIND_MASK) < Reloc.POOL_DISP) continue;
      const slot = what >> Reloc.SLOT_SHIFT;
      const s = slot - Slot.SYMBOL;
      if (this.stamp[s] === turn) continue;
      if (slot < Slot.CONST || this.nConsts >= MAX_CONSTS) return false;
      this.stamp[s] = turn;
      this.index[s] = this.nConsts;
      this.consts[this.nConsts++] = slot;
    }
    return true;
  }

  /** Writes the relocations and takes place and slot numbers out of the copied code. */
  private canonical(start: number, relocs: RelocList, W: Int32Array, relocWords: number, code: DataView, codeByte: number): void {
    for (let k = 0; k < relocs.n; k++) {
      const pos = relocs.at[k]! - start;
      const what = relocs.what[k]!;
      const kind = what & Reloc.KIND_MASK;
      const slot = what >> Reloc.SLOT_SHIFT;
      const field = codeByte + pos;
      const old = code.getInt32(field, true);
      let operand = 0;
      let value: number;
      if (kind === Reloc.STUB) value = old + start;
      else if (kind === Reloc.POSITION) value = old - start;
      else {
        operand = this.index[slot - Slot.SYMBOL]!;
        value = old - (kind === Reloc.POOL_DISP ? slot * 8 : slot);
      }
      code.setInt32(field, value, true);
      W[relocWords + k] = pos | (KIND[kind]! << KIND_SHIFT) | (operand << OPERAND_SHIFT);
    }
  }

  /**
   * Copies the code of the record at word `at` to offset `start` (a multiple of 16) of the exec region.
   * @param slots slot of each constant, then from OPERAND_SYMBOL on of each symbol
   */
  place(W: Int32Array, at: number, start: number, slots: Int32Array): void {
    const words = this.words;
    const code = codeAt(W, at);
    const n = wordsOf(W[at + Rec.CODE]!);
    for (let i = 0, to = start >> 2; i < n; i++) words[to + i] = W[code + i]!;
    const view = this.view;
    if (W[at + Rec.GROUP] !== 0) {
      for (let s = sitesAt(W, at), k = siteCount(W, at); k > 0; k--, s += 2) {
        if ((W[s]! & SITE_LINKED) !== 0) view.setInt32(start + (W[s]! & POSITION_MASK), unlinkedValue(W, s), true);
      }
    }
    const first = relocsAt(W, at);
    const last = first + (W[at + Rec.COUNTS]! >>> 16);
    for (let k = first; k < last; k++) {
      const r = W[k]!;
      const pos = start + (r & POSITION_MASK);
      const old = view.getInt32(pos, true);
      switch (((r >> KIND_SHIFT) & 3) as RecReloc) {
        case RecReloc.MINUS_PLACE: view.setInt32(pos, old - start, true); break;
        case RecReloc.PLUS_PLACE: view.setInt32(pos, old + start, true); break;
        case RecReloc.SLOT_8: view.setInt32(pos, old + slots[r >>> OPERAND_SHIFT]! * 8, true); break;
        default: view.setInt32(pos, old + slots[r >>> OPERAND_SHIFT]!, true);
      }
    }
  }
  /**
   * Appends the record of the region just compiled.
   * @param nodes its blocks, whose bytes lie in the page at `pageOff` of `ram`
   * @returns false, with nothing appended, if it is too large
   */
  captureRegion(ir: IrBuilder, c: CompiledBlock, relocs: RelocList, block: Block, nodes: readonly NodeBytes[], ram: Uint8Array, pageOff: number, out: RecordWriter): boolean {
    const fields: number[] = [];
    const list = relocs.hints;
    for (let i = 0; i < list.length; i += 3) fields.push((list[i]! - c.start) | (list[i + 1]! << HINT_SHIFT) | (list[i + 2]! << UNIT_SHIFT));
    let writes = 0;
    block.hints.forEach((id, k) => {
      if (isWriteHint(id)) writes |= 1 << k;
    });
    const buf = regionGuest(nodes, { count: block.hints.length, writes, off: block.hintsOff, addendsOff: block.addendsOff, fields }, ram, pageOff);
    const at = out.n;
    if (buf === null || !this.capture(ir, c, relocs, { buf, pos: 0, bytes: buf.length }, block.offset, block.mode, false, out)) return false;
    out.W[at + Rec.PLACE]! |= RecFlag.REGION;
    moveHints(out.W, at, out.view, codeAt(out.W, at) * 4, -1, c.firstHint ?? 0);
    return true;
  }

  /** As `place`, of a region's record; `firstHint`: number of its first hint. */
  placeRegion(W: Int32Array, at: number, start: number, slots: Int32Array, firstHint: number): void {
    this.place(W, at, start, slots);
    moveHints(W, at, this.view, start, 1, firstHint);
  }

  /**
   * Copies the code of the page group at word `g` to offset `start` (a multiple of 16) of the exec region, and tells it where it lies. What
   * depends on pool slots is left to `placeSlots`.
   */
  placeGroup(W: Int32Array, g: number, start: number): void {
    const { view } = this;
    const code = g + W[g + Grp.CODE_AT]!;
    this.words.set(W.subarray(code, g + W[g + Grp.LENGTH]!), start >> 2);
    for (let k = W[g + Grp.BLOCKS]!, at = g + GROUP_HEAD; k > 0; k--, at += W[at + Rec.LENGTH]!) {
      const own = start + ((at + W[at + Rec.CODE_AT]! - code) << 2);
      const counts = W[at + Rec.COUNTS]!;
      const place = W[at + Rec.PLACE]!;
      let r = at + REC_HEAD + (counts & 0xffff) * 2 + ((place >>> 16) & 0xff) + (place >>> 24) * 2;
      for (const last = r + (counts >>> 16); r < last; r++) {
        const w = W[r]!;
        const pos = own + (w & POSITION_MASK);
        const kind = (w >> KIND_SHIFT) & 3;
        if (kind === RecReloc.MINUS_PLACE) view.setInt32(pos, view.getInt32(pos, true) - own, true);
        else if (kind === RecReloc.PLUS_PLACE) view.setInt32(pos, view.getInt32(pos, true) + own, true);
      }
    }
  }

  /** What `placeGroup` has left of the record at word `at`, whose code begins at `start`. */
  placeSlots(W: Int32Array, at: number, start: number, slots: Int32Array): void {
    const { view } = this;
    const first = relocsAt(W, at);
    for (let k = first + (W[at + Rec.COUNTS]! >>> 16) - 1; k >= first; k--) {
      const r = W[k]!;
      const kind = (r >> KIND_SHIFT) & 3;
      if (kind < RecReloc.SLOT_8) continue;
      const pos = start + (r & POSITION_MASK);
      const slot = slots[r >>> OPERAND_SHIFT]!;
      view.setInt32(pos, view.getInt32(pos, true) + (kind === RecReloc.SLOT_8 ? slot * 8 : slot), true);
    }
  }
}
