/**
 * Finds loops that run often and makes regions of them (docs/adr/0025).
 *
 * Nothing is counted in generated code. When a native thread asks for attention (every tick of the guest's timer does), generated code
 * stops at the next backward or indirect jump, with PC at its target: a sample of where the time goes, and at a loop's head. A block that
 * has been met often enough, with a way back to itself through blocks of its page, becomes the first node of a region.
 */
import type { IrBuilder } from '../ir/builder.js';
import { Op, F, REC } from '../ir/ops.js';
import { appendBlock, type Region, type RegionNode, targets } from '../ir/region.js';
import { Block } from './block.js';

/** Samples at which a block is hot, and after how many samples of all blocks counts are halved. */
const HOT = 3;
const HALVE = 512;
/** Most blocks and IR records of a region. */
const MAX_NODES = 24;
const MAX_OPS = 600;

/** What is known of a block while a region is looked for. */
interface Candidate {
  readonly offset: number;
  readonly block: Block;
  /** Its records, passes run. */
  readonly ir: IrBuilder;
  readonly taken: number;
  readonly next: number;
  opaque: boolean;
}

export interface RegionSource {
  /** The translated block at a page offset of the head's page and in its mode, within one page, or undefined. */
  at(offset: number): Block | undefined;
  /** Its IR, in a builder of its own with the passes run; null if it cannot be part of a region. */
  lift(block: Block): IrBuilder | null;
}

/** The block that a region becomes, in the place of its head; from and to as `Region` has them. */
export function regionBlock(head: Block, from: number, to: number, insns: number): Block {
  const b = new Block(head.ram, head.mode, head.mmuIdx, to - head.ram, insns);
  b.from = from;
  b.to = to;
  b.region = true;
  return b;
}

/** Samples, per engine. */
export class Heat {
  private samples = 0;

  /** @returns true if the block has just become hot */
  sample(b: Block): boolean {
    const epoch = Math.floor(this.samples++ / HALVE);
    if (b.heatEpoch !== epoch) {
      b.heat >>= Math.min(epoch - b.heatEpoch, 8);
      b.heatEpoch = epoch;
    }
    return ++b.heat === HOT && !b.region;
  }
}

/** True for blocks whose code may only run as blocks. */
function excluded(ir: IrBuilder): boolean {
  const B = ir.buf;
  for (let p = 0; p < ir.n * REC; p += REC) if ((B[p]! & 0xff) === (Op.SETMODE as number)) return true;
  if (!ir.ended) return true;
  // An interrupt that the block has let in comes at its end.
  const p = (ir.n - 1) * REC;
  const op: Op = B[p]! & 0xff;
  return (op === Op.JMP || op === Op.JCC || op === Op.JNZ) && B[p + F.AUX] === 1;
}

function candidate(block: Block, source: RegionSource): Candidate | null {
  const ir = source.lift(block);
  if (ir === null || excluded(ir)) return null;
  const p = (ir.n - 1) * REC;
  const [taken, next] = targets(ir.buf, p);
  const op = ir.buf[p]! & 0xff;
  return { offset: block.offset, block, ir, taken, next, opaque: op === Op.JMPI || op === Op.EXIT || (op === Op.JMP && ir.buf[p + F.C] === 1) };
}

/**
 * The loop through `head`: the blocks of its page that can be reached from it and lead back to it.
 * @param into an empty builder
 * @returns null if there is none
 */
export function findLoop(head: Block, source: RegionSource, into: IrBuilder): Region | null {
  const found = new Map<number, Candidate>();
  const queue = [head.offset];
  let ops = 0;
  for (let i = 0; i < queue.length && found.size < MAX_NODES; i++) {
    const offset = queue[i]!;
    if (found.has(offset)) continue;
    const block = offset === head.offset ? head : source.at(offset);
    const c = block === undefined ? null : candidate(block, source);
    if (c === null) continue;
    ops += c.ir.n;
    if (ops > MAX_OPS) break;
    found.set(offset, c);
    for (const t of [c.next, c.taken]) if (t >= 0 && t < 4096) queue.push(t);
  }
  // Those that lead back to the head.
  const back = new Set<number>();
  for (let changed = true; changed; ) {
    changed = false;
    for (const c of found.values()) {
      const leads = [c.taken, c.next].some((t) => t === head.offset || back.has(t));
      if (leads && !back.has(c.offset)) {
        back.add(c.offset);
        changed = true;
      }
    }
  }
  if (!back.has(head.offset)) return null;
  return layOut(head, found, back, into);
}

/** Depth first, so that what follows a branch that is not taken comes next. */
function layOut(head: Block, found: ReadonlyMap<number, Candidate>, loop: ReadonlySet<number>, ir: IrBuilder): Region | null {
  const order: number[] = [];
  const seen = new Set<number>();
  const visit = (offset: number): void => {
    if (!loop.has(offset) || seen.has(offset)) return;
    seen.add(offset);
    order.push(offset);
    const c = found.get(offset)!;
    visit(c.next);
    visit(c.taken);
  };
  visit(head.offset);
  ir.begin();
  const nodes: RegionNode[] = [];
  let from = head.from;
  let to = head.to;
  for (const offset of order) {
    const c = found.get(offset)!;
    const first = ir.n;
    if (!appendBlock(ir, c.ir)) return null;
    const edge = (t: number): number => (t >= 0 ? order.indexOf(t) : -1);
    const taken = edge(c.taken);
    const next = edge(c.next);
    nodes.push({ offset, first, end: ir.n, taken, next, leaves: c.opaque || taken < 0 || (c.next !== -1 && next < 0), opaque: c.opaque, loop: false });
    from = Math.min(from, c.block.from);
    to = Math.max(to, c.block.to);
  }
  nodes.forEach((node, k) => {
    for (const t of [node.taken, node.next]) if (t >= 0 && t <= k) nodes[t]!.loop = true;
  });
  return { ir, nodes, from, to };
}
