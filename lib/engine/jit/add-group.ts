/** Page groups of the code cache (docs/adr/0058) become rows of the table of blocks. */
import { type CodeCache, Fits } from '../aot/code-cache.js';
import { GROUP_HEAD, Grp } from '../aot/page-group.js';
import { Rec } from '../aot/record.js';
import { Bf, type BlockTable, type CodePage, ROW } from './block-table.js';
import type { HostCode } from './host-code.js';

const PAGE = 4096;

/**
 * Makes blocks of the page group at word g of the cache's payload, which the record just found is in: of those of its records that are of
 * the code in the page at `pageOff`. Their chain sites are not entered, and the code map is left as it is.
 * @returns row of the first, the others follow; 0, with nothing done, if that has been done in this page before, or the page has other code
 * in large part
 */
export function addPageGroup(aot: CodeCache, host: HostCode, blocks: BlockTable, info: CodePage, pageOff: number, g: number, mmuIdx: number): number {
  const id = aot.groupId(g);
  if (info.groups !== null && info.groups.includes(id)) return 0;
  const { W, at: found, fits } = aot;
  const page = pageOff / PAGE;
  let n = aot.groupFits(pageOff, g);
  if (info.n > 0) n -= blocks.known(page, W, g, fits);
  if (n * 2 < W[g + Grp.BLOCKS]!) return 0;
  (info.groups ??= []).push(id);
  const first = blocks.addGroup(page, info, W, g, host.installGroup(W, g), fits, mmuIdx);
  if (!aot.groupSlots) return first;
  let row = first;
  for (let k = 0, at = g + GROUP_HEAD, m = W[g + Grp.BLOCKS]!; k < m; k++, at += W[at + Rec.LENGTH]!) {
    if (fits[k] === Fits.NO) continue;
    if (fits[k] === Fits.WITH_SLOTS) host.installSlots(W, at, blocks.R[row * ROW + Bf.ENTRY_A]!, aot.slotsOf(pageOff, at));
    row++;
  }
  aot.at = found;
  return first;
}
