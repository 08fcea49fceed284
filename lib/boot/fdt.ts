/**
 * Flattened device trees (Devicetree Specification 0.4, chapter 5): builder, and a reader for trees that a user brings.
 */
import { UsageError } from '../errors.js';

const MAGIC = 0xd00d_feed;
const VERSION = 17;
const LAST_COMPATIBLE = 16;
const HEADER_BYTES = 40;
const enum Token { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9 }
/** Bounds for trees from outside. */
const MAX_DEPTH = 64;
const MAX_BYTES = 2 * 1024 * 1024;

export class FdtNode {
  readonly props = new Map<string, Uint8Array>();
  readonly children: FdtNode[] = [];

  constructor(readonly name: string) {}

  /** A new child node. */
  node(name: string): FdtNode {
    const n = new FdtNode(name);
    this.children.push(n);
    return n;
  }

  /** The child of this name, made if there is none. */
  at(name: string): FdtNode {
    return this.children.find((c) => c.name === name) ?? this.node(name);
  }

  /** Raw bytes. */
  set(name: string, value: Uint8Array): this {
    this.props.set(name, value);
    return this;
  }

  /** A property without a value. */
  flag(name: string): this {
    return this.set(name, new Uint8Array(0));
  }

  /** 32-bit cells. */
  cells(name: string, ...values: number[]): this {
    const b = Buffer.alloc(values.length * 4);
    values.forEach((v, i) => b.writeUInt32BE(v >>> 0, i * 4));
    return this.set(name, b);
  }

  /** 64-bit values as two cells each, such as `reg` with two address and two size cells. Numbers below 2^53. */
  cells64(name: string, ...values: number[]): this {
    return this.cells(name, ...values.flatMap((v) => [Math.floor(v / 2 ** 32), v % 2 ** 32]));
  }

  /** A list of strings. */
  text(name: string, ...values: string[]): this {
    return this.set(name, Buffer.from(values.map((v) => `${v}\0`).join('')));
  }
}

export interface FdtOptions {
  /** boot_cpuid_phys. */
  bootCpu?: number;
  /** Memory reservation block: address and size. */
  reserve?: readonly { base: number; bytes: number }[];
}

/** @returns the flattened tree. */
export function buildFdt(root: FdtNode, o: FdtOptions = {}): Buffer {
  const strings = new Map<string, number>();
  let stringBytes = 0;
  const stringAt = (s: string): number => {
    let at = strings.get(s);
    if (at === undefined) {
      at = stringBytes;
      strings.set(s, at);
      stringBytes += Buffer.byteLength(s) + 1;
    }
    return at;
  };
  const parts: Buffer[] = [];
  const word = (...v: number[]): void => {
    const b = Buffer.alloc(v.length * 4);
    v.forEach((x, i) => b.writeUInt32BE(x >>> 0, i * 4));
    parts.push(b);
  };
  const padded = (bytes: Uint8Array): void => {
    parts.push(Buffer.from(bytes), Buffer.alloc((4 - (bytes.length & 3)) & 3));
  };
  const write = (n: FdtNode): void => {
    word(Token.BEGIN_NODE);
    padded(Buffer.from(`${n.name}\0`));
    for (const [name, value] of n.props) {
      word(Token.PROP, value.length, stringAt(name));
      padded(value);
    }
    n.children.forEach(write);
    word(Token.END_NODE);
  };
  write(root);
  word(Token.END);
  const structure = Buffer.concat(parts);
  const names = Buffer.from([...strings.keys()].map((s) => `${s}\0`).join(''));
  const reserve = [...(o.reserve ?? []), { base: 0, bytes: 0 }];
  const map = Buffer.alloc(reserve.length * 16);
  reserve.forEach((r, i) => {
    map.writeBigUInt64BE(BigInt(r.base), i * 16);
    map.writeBigUInt64BE(BigInt(r.bytes), i * 16 + 8);
  });
  const offStruct = HEADER_BYTES + map.length;
  const offStrings = offStruct + structure.length;
  const total = (offStrings + names.length + 7) & ~7;
  const header = Buffer.alloc(HEADER_BYTES);
  [MAGIC, total, offStruct, offStrings, HEADER_BYTES, VERSION, LAST_COMPATIBLE, o.bootCpu ?? 0, names.length, structure.length].forEach((v, i) => header.writeUInt32BE(v, i * 4));
  return Buffer.concat([header, map, structure, names], total);
}

/**
 * Reads a flattened tree.
 * @param what names the tree in messages, such as `--dtb: FILE`
 * @throws UsageError if it is none
 */
export function parseFdt(blob: Uint8Array, what: string): FdtNode {
  const b = Buffer.from(blob.buffer, blob.byteOffset, blob.length);
  const bad = (why: string): never => {
    throw new UsageError(`${what} is not a device tree: ${why}`);
  };
  if (b.length < HEADER_BYTES || b.readUInt32BE(0) !== MAGIC) return bad('no magic number');
  const [total, offStruct, offStrings, , version, last] = [1, 2, 3, 4, 5, 6].map((i) => b.readUInt32BE(i * 4)) as [number, number, number, number, number, number];
  if (total > b.length || total > MAX_BYTES) return bad(`it says it has ${total} bytes`);
  if (version < 16 || last > VERSION) return bad(`version ${version}`);
  const sizeStrings = b.readUInt32BE(32);
  if (offStruct & 3 || offStruct > total || offStrings > total || sizeStrings > total - offStrings) return bad('its blocks lie outside it');
  let at = offStruct;
  const word = (): number => {
    if (at + 4 > total) return bad('it ends early');
    at += 4;
    return b.readUInt32BE(at - 4);
  };
  const string = (from: number, end: number): string => {
    const stop = b.indexOf(0, from);
    if (stop < 0 || stop >= end) return bad('a name does not end');
    return b.toString('latin1', from, stop);
  };
  const stack: FdtNode[] = [];
  for (;;) {
    const token = word();
    const top = stack[stack.length - 1];
    if (token === Token.BEGIN_NODE) {
      const name = string(at, total);
      at = (at + name.length + 4) & ~3;
      if (stack.length >= MAX_DEPTH) return bad('it is too deep');
      stack.push(top === undefined ? new FdtNode(name) : top.node(name));
    } else if (token === Token.END_NODE) {
      if (top === undefined) return bad('a node ends that did not begin');
      if (stack.length === 1) return top;
      stack.pop();
    } else if (token === Token.PROP) {
      const length = word();
      const name = word();
      if (top === undefined || length > total - at || name >= sizeStrings) return bad('a property lies outside it');
      top.set(string(offStrings + name, offStrings + sizeStrings), b.subarray(at, at + length));
      at = (at + length + 3) & ~3;
    } else if (token !== Token.NOP) {
      return bad(`unknown token ${token}`);
    }
  }
}
