/** A small AML writer (ACPI Specification 6.5, chapter 20 "AML Specification"). Each function returns encoded bytes. */

export type Aml = readonly number[];

const cat = (...parts: readonly Aml[]): number[] => ([] as number[]).concat(...parts);

/** PkgLength encoding (20.2.4): the length counts itself. */
function pkgLength(body: number): number[] {
  if (body + 1 < 0x40) return [body + 1];
  for (let extra = 1; extra <= 3; extra++) {
    const total = body + 1 + extra;
    if (total < 2 ** (4 + 8 * extra)) {
      const out = [(extra << 6) | (total & 0xf)];
      for (let i = 0; i < extra; i++) out.push((total >>> (4 + 8 * i)) & 0xff);
      return out;
    }
  }
  throw new RangeError('AML package too long');
}

const block = (op: Aml, body: Aml): number[] => cat(op, pkgLength(body.length), body);

/** NameString: `\_SB_.PCI0`, `_CRS`, ... Segments are padded with '_'. */
export function nameString(path: string): number[] {
  const root = path.startsWith('\\') ? [0x5c] : [];
  const segs = path.replace(/^\\/, '').split('.').filter((s) => s !== '');
  const bytes = segs.flatMap((s) => [...Buffer.from(s.padEnd(4, '_'), 'latin1')]);
  if (segs.length === 0) return [...root, 0x00];
  if (segs.length === 1) return [...root, ...bytes];
  if (segs.length === 2) return [...root, 0x2e, ...bytes];
  return [...root, 0x2f, segs.length, ...bytes];
}

/** Integer constant in its shortest form; v is an integer, 0 <= v < 2^53. */
export function integer(v: number): number[] {
  if (v === 0) return [0x00];
  if (v === 1) return [0x01];
  if (v < 0x100) return [0x0a, v];
  if (v < 0x1_0000) return [0x0b, v & 0xff, v >>> 8];
  if (v < 0x1_0000_0000) return [0x0c, ...le32(v)];
  return [0x0e, ...le32(v % 0x1_0000_0000), ...le32(Math.floor(v / 0x1_0000_0000))];
}

export const le16 = (v: number): number[] => [v & 0xff, (v >>> 8) & 0xff];
export const le32 = (v: number): number[] => [v & 0xff, (v >>> 8) & 0xff, (v >>> 16) & 0xff, (v >>> 24) & 0xff];
export const le64 = (v: number): number[] => [...le32(v % 0x1_0000_0000), ...le32(Math.floor(v / 0x1_0000_0000))];

export const string = (s: string): number[] => [0x0d, ...Buffer.from(s, 'latin1'), 0];
export const name = (path: string, value: Aml): number[] => cat([0x08], nameString(path), value);
export const scope = (path: string, ...body: readonly Aml[]): number[] => block([0x10], cat(nameString(path), ...body));
export const device = (path: string, ...body: readonly Aml[]): number[] => block([0x5b, 0x82], cat(nameString(path), ...body));
export const method = (path: string, args: number, ...body: readonly Aml[]): number[] => block([0x14], cat(nameString(path), [args & 7], ...body));
export const ret = (value: Aml): number[] => cat([0xa4], value);
export const pkg = (...items: readonly Aml[]): number[] => block([0x12], cat([items.length], ...items));
export const buffer = (bytes: readonly number[]): number[] => block([0x11], cat(integer(bytes.length), bytes));

/** Compressed EISA identifier ("PNP0A03"), 19.6.38. */
export function eisaId(id: string): number[] {
  const c = (i: number): number => id.charCodeAt(i) - 0x40;
  const h = parseInt(id.slice(3), 16);
  const v = (c(0) << 26) | (c(1) << 21) | (c(2) << 16) | h;
  return [0x0c, (v >>> 24) & 0xff, (v >>> 16) & 0xff, (v >>> 8) & 0xff, v & 0xff];
}

/** ResourceTemplate: descriptors, then the end tag. */
export const resources = (...descriptors: readonly Aml[]): number[] => buffer(cat(...descriptors, [0x79, 0x00]));

/** I/O port descriptor (6.4.2.5), 16-bit decode. */
export const io = (base: number, length: number): number[] => [0x47, 0x01, ...le16(base), ...le16(base), 0x01, length];
/** DMA descriptor (6.4.2.2): 8-bit, compatible. */
export const dma = (channel: number): number[] => [0x2a, 1 << channel, 0x00];
/** IRQ descriptor without flags (6.4.2.1): edge, active high, exclusive. */
export const irq = (n: number): number[] => [0x22, ...le16(1 << n)];
/** Memory32Fixed (6.4.3.4). */
export const memory32 = (base: number, length: number, writable: boolean): number[] => [0x86, 9, 0, writable ? 1 : 0, ...le32(base), ...le32(length)];
/** Word bus number range (6.4.3.5.3). */
export const busRange = (min: number, max: number): number[] => [0x88, 13, 0, 2, 0x0c, 0, ...le16(0), ...le16(min), ...le16(max), ...le16(0), ...le16(max - min + 1)];
/** Word I/O range, entire range. */
export const ioRange = (min: number, max: number): number[] => [0x88, 13, 0, 1, 0x0c, 3, ...le16(0), ...le16(min), ...le16(max), ...le16(0), ...le16(max - min + 1)];
/** DWord memory range, non-cacheable, read-write; max = min - 1: an empty one. */
export const memoryRange = (min: number, max: number): number[] => [0x87, 23, 0, 0, 0x0c, 1, ...le32(0), ...le32(min), ...le32(Math.max(min, max)), ...le32(0), ...le32(max - min + 1)];
/** QWord memory range, non-cacheable, read-write. */
export const memoryRange64 = (min: number, max: number): number[] => [0x8a, 43, 0, 0, 0x0c, 1, ...le64(0), ...le64(min), ...le64(max), ...le64(0), ...le64(max - min + 1)];
/** DWord I/O range, entire range: ports seen in memory at `translation`. */
export const ioWindow = (min: number, max: number, translation: number): number[] => [0x87, 23, 0, 1, 0x0c, 3, ...le32(0), ...le32(min), ...le32(max), ...le32(translation), ...le32(max - min + 1)];
/** The same as `interrupts`, but edge-triggered and exclusive. */
export const interruptsEdge = (...n: readonly number[]): number[] => [0x89, ...le16(2 + 4 * n.length), 0x03, n.length, ...n.flatMap(le32)];
/** GPIO connection (6.4.3.8.1): an edge-triggered, active high interrupt by `pin` of the controller `source`. */
export function gpioInterrupt(source: string, pin: number): number[] {
  const PINS = 23;
  const SOURCE = PINS + 2;
  const end = SOURCE + source.length + 1;
  return [0x8c, ...le16(end - 3), 1, 0, ...le16(1), ...le16(1), 1, ...le16(0), ...le16(0), ...le16(PINS), 0, ...le16(SOURCE), ...le16(end), ...le16(0), ...le16(pin), ...Buffer.from(`${source}\0`, 'latin1')];
}
/** Extended interrupt (6.4.3.6): consumer, level, active high, shared. */
export const interrupts = (...n: readonly number[]): number[] => [0x89, ...le16(2 + 4 * n.length), 0x09, n.length, ...n.flatMap(le32)];

// ---- terms and operators (20.2.5) ----------------------------------------------------------------------------------

export const local = (n: number): number[] => [0x60 + n];
export const arg = (n: number): number[] => [0x68 + n];
/** A reference to a named object. */
export const ref = (path: string): number[] => nameString(path);
export const store = (value: Aml, to: Aml): number[] => cat([0x70], value, to);
/** a & b, a | b: the result goes to `to`, or nowhere else. */
export const and = (a: Aml, b: Aml, to: Aml = [0]): number[] => cat([0x7b], a, b, to);
export const or = (a: Aml, b: Aml, to: Aml = [0]): number[] => cat([0x7d], a, b, to);
export const equal = (a: Aml, b: Aml): number[] => cat([0x93], a, b);
export const not = (a: Aml): number[] => cat([0x92], a);
export const when = (condition: Aml, ...body: readonly Aml[]): number[] => block([0xa0], cat(condition, ...body));
export const otherwise = (...body: readonly Aml[]): number[] => block([0xa1], cat(...body));
export const serialized = (path: string, args: number, ...body: readonly Aml[]): number[] => block([0x14], cat(nameString(path), [(args & 7) | 8], ...body));
/** A dword of a buffer under a name of its own. */
export const dwordField = (buf: Aml, offset: number, path: string): number[] => cat([0x8a], buf, integer(offset), nameString(path));

/** Calls a method without arguments. */
export const call = (path: string): number[] => nameString(path);

/** Tells the operating system of an event of a device. */
export const notify = (path: string, value: number): number[] => cat([0x86], nameString(path), integer(value));

/** Address space of an operation region. */
export const enum Space { MEMORY = 0, IO = 1, PCI_CONFIG = 2 }
export const region = (path: string, space: Space, offset: number, length: number): number[] => cat([0x5b, 0x80], nameString(path), [space], integer(offset), integer(length));
/** Byte-wide fields of a region, one after the other; null leaves a byte out. */
export const byteFields = (regionPath: string, names: readonly (string | null)[]): number[] =>
  block([0x5b, 0x81], cat(nameString(regionPath), [0x01], ...names.map((n) => (n === null ? [0x00, 8] : cat(nameString(n), [8])))));

/** Fields of a region, a double word each, accessed as such. */
export const dwordFields = (regionPath: string, ...names: readonly string[]): number[] => block([0x5b, 0x81], cat(nameString(regionPath), [0x03], ...names.map((n) => cat(nameString(n), [32]))));

/** ToUUID ("33db4d5b-..."): mixed-endian bytes (19.6.142). */
export function uuid(text: string): number[] {
  const b = [...Buffer.from(text.replaceAll('-', ''), 'hex')];
  return buffer([...b.slice(0, 4).reverse(), ...b.slice(4, 6).reverse(), ...b.slice(6, 8).reverse(), ...b.slice(8)]);
}

// PCI Firmware Specification 3.3, 4.5.
const UUID_PCI_OSC = '33db4d5b-1ff7-401c-9657-7441c03dd766';
/** What the firmware leaves to the operating system: PME, AER, capability structure, LTR; hot-plug stays away. */
const OSC_GRANT = 0x3c;

/** _OSC of a PCI Express host bridge: the operating system gets what it asks for, except hot-plug. */
export function pciOsc(): number[] {
  const wrong = (bit: number): number[] => or(ref('CDW1'), integer(bit), ref('CDW1'));
  return serialized(
    '_OSC',
    4,
    dwordField(arg(3), 0, 'CDW1'),
    when(
      equal(arg(0), uuid(UUID_PCI_OSC)),
      dwordField(arg(3), 8, 'CDW3'),
      and(ref('CDW3'), integer(OSC_GRANT), local(0)),
      when(not(equal(arg(1), integer(1))), wrong(8)),
      when(not(equal(ref('CDW3'), local(0))), wrong(0x10)),
      store(local(0), ref('CDW3')),
    ),
    otherwise(wrong(4)),
    ret(arg(3)),
  );
}
