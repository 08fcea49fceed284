/**
 * Regions: loops of several blocks as one piece of code (docs/adr/0025). Jumps between their nodes stay inside; guest registers are
 * pinned as this region uses them; flags cross from node to node as a recipe (emit-flags.ts) where nobody reads them.
 *
 * At the start of a node flags are in their slot, or described by the node's entry recipe unless byte X_FLAGS_V says that they are in the slot all the
 * same: the region was entered from outside, or by a jump that had no such recipe.
 */
import { countUses, type Region, type RegionNode } from '../../ir/region.js';
import { F, Op } from '../../ir/ops.js';
import { Cc, Fl, NONE, Slot } from '../../state.js';
import { R, mem } from './asm.js';
import { coldFlags, materialize, MAYBE_SLOT } from './emit-flags.js';
import { emitTerm, type FlowContext, goTo, indirect } from './emit-flow.js';
import { addCold, CF, Cold, landCold } from './emit-mem.js';
import { testSlot } from './emit-move.js';
import type { Emitter } from './emitter.js';
import { pendingCheck } from './templates.js';

interface Entry {
  recipe: number;
  a: number;
  b: number;
}

/** What is known of a region from one emission to the next. */
export class RegionPlan {
  /** Entry recipe of each node (0: flags in the slot). */
  readonly entries: Entry[];
  /** Where each node's code starts, -1 before it is emitted; jumps to it from before. */
  labels: number[] = [];
  patches: number[][] = [];
  /** Recipes with which nodes have been reached. */
  private reached: (Entry | undefined)[] = [];

  constructor(readonly nodes: readonly RegionNode[]) {
    this.entries = nodes.map(() => ({ recipe: 0, a: NONE, b: NONE }));
  }

  begin(): void {
    this.labels = this.nodes.map(() => -1);
    this.patches = this.nodes.map(() => []);
    this.reached = [];
  }

  reach(node: number, e: Emitter): void {
    if (e.recipe !== 0) this.reached[node] = { recipe: e.recipe & ~MAYBE_SLOT, a: e.recipeA, b: e.recipeB };
  }

  /** Makes the recipes seen in one emission the entry recipes of the next. */
  choose(e: Emitter): void {
    this.nodes.forEach((node, k) => {
      const r = this.reached[k];
      if (r !== undefined && e.liveIn[node.first] !== 0 && e.readIn[node.first] === 0) this.entries[k] = r;
    });
  }
}

/** The slots that a region should keep in host registers: those it uses most. One that is pinned anyway keeps its register. */
export function choosePins(r: Region, pinned: readonly number[]): number[] {
  const uses = countUses(r.ir);
  const all: number[] = [];
  for (let s: number = Slot.GPR; s < Slot.GPR + r.ir.registers; s++) if (uses[s]! > 0 || pinned.includes(s)) all.push(s);
  all.sort((x, y) => uses[y]! - uses[x]! || Number(pinned.includes(y)) - Number(pinned.includes(x)) || x - y);
  const chosen = all.slice(0, pinned.length);
  const free = chosen.filter((s) => !pinned.includes(s));
  return pinned.map((s) => (chosen.includes(s) ? s : free.pop()!));
}

/** Between entry B and the first node. */
export function emitRegionEntry(e: Emitter, plan: RegionPlan): void {
  e.pinsIn();
  if (plan.entries[0]!.recipe !== 0) e.asm.movi(0, mem(Slot.X_FLAGS_V), 1);
}

export function startNode(e: Emitter, plan: RegionPlan, k: number): void {
  const asm = e.asm;
  const node = plan.nodes[k]!;
  plan.labels[k] = asm.p;
  for (const pos of plan.patches[k]!) asm.patch32(pos, asm.p);
  const { recipe, a, b } = plan.entries[k]!;
  e.startNode(recipe === 0 ? 0 : recipe | MAYBE_SLOT, a, b);
  e.branchAt = (e.ir[(node.end - 1) * 8]! & 0xff) === (Op.JCC as number) ? node.end - 1 : -1;
  if (node.loop) addCold(e, Cold.STOP, pendingCheck(asm), 0, node.offset, 0, 0, 0);
}

/** The terminator of node k. */
export function endNode(e: Emitter, p: number, op: number, w: number, cc: number, x: FlowContext, plan: RegionPlan, k: number): void {
  const ir = e.ir;
  const node = plan.nodes[k]!;
  if (node.opaque) {
    if (e.recipe !== 0) materialize(e);
    e.save(Fl.ALL);
    if (op !== Op.JMPI) {
      e.pinsOut();
      emitTerm(e, p, op, w, cc, x);
      return;
    }
    indirect(e, p, x);
    return;
  }
  const to = [node.taken, node.next].filter((s) => s >= 0 && e.liveIn[plan.nodes[s]!.first] !== 0);
  let inSlot = e.recipe === 0;
  if (inSlot && (node.leaves || to.length > 0)) e.save(Fl.ALL);
  for (const s of to) plan.reach(s, e);
  if (!inSlot && !to.every((s) => same(e, plan.entries[s]!))) {
    if (e.hostF !== 0) e.save(Fl.ALL);
    else materialize(e);
    e.recipe = 0;
    inSlot = true;
  }
  const marked = to.some((s) => plan.entries[s]!.recipe !== 0);
  if (marked && (inSlot || (e.recipe & MAYBE_SLOT) === 0)) e.asm.movi(0, mem(Slot.X_FLAGS_V), inSlot ? 1 : 0);
  const insn = ir[p + F.INSN]!;
  const taken = ir[p + F.IMM]!;
  if (op === Op.JMP) {
    if (node.taken !== k + 1) jump(e, -1, node.taken, taken, insn, plan);
    return;
  }
  let host: number;
  if (op === Op.JCC) host = e.cond(cc);
  else {
    e.hostF = 0;
    testSlot(e, ir[p + F.A]!, w);
    host = Cc.NE;
  }
  const next = ir[p + F.C]!;
  if (node.taken === k + 1) jump(e, host ^ 1, node.next, next, insn, plan);
  else {
    jump(e, host, node.taken, taken, insn, plan);
    if (node.next !== k + 1) jump(e, -1, node.next, next, insn, plan);
  }
}

function same(e: Emitter, x: Entry): boolean {
  return x.recipe !== 0 && (e.recipe & ~MAYBE_SLOT) === x.recipe && e.recipeA === x.a && e.recipeB === x.b;
}

/** Jumps on a host condition (-1: always) to a node, or (-1) out of the region to a page offset. */
function jump(e: Emitter, cc: number, node: number, offset: number, insn: number, plan: RegionPlan): void {
  const asm = e.asm;
  const at = node >= 0 ? plan.labels[node]! : -1;
  if (at >= 0) {
    if (cc < 0) asm.jmp(at);
    else asm.jcc(cc, at);
    return;
  }
  const pos = cc < 0 ? asm.jmpLater() : asm.jccLater(cc);
  if (node >= 0) plan.patches[node]!.push(pos);
  else addCold(e, Cold.LEAVE, pos, insn, offset, 0, 0, 0);
}

/** Cold paths LEAVE and STOP. */
export function emitColdRegion(e: Emitter, q: number, x: FlowContext): void {
  const C = e.cold;
  landCold(e, q);
  coldFlags(e, C[q + CF.RECIPE]!, C[q + CF.RECIPE_A]!, C[q + CF.RECIPE_B]!);
  e.pinsOut();
  if (C[q] === Cold.LEAVE) {
    goTo(e, C[q + CF.A]!, C[q + CF.INSN]!, x, false);
  } else {
    e.asm.movi(2, R.RAX, C[q + CF.A]!);
    e.asm.jmp(x.stubs.pendingOff);
  }
}
