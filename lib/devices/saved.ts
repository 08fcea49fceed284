/**
 * Saving and restoring device state by schema. A device keeps its volatile state in one object; its schema has a rule
 * for every field of that object (a forgotten one does not compile), which turns the field into JSON-safe data and
 * checks it on the way back. A restore builds a new object, so a bad state changes nothing.
 */
import { VmxError } from '../errors.js';
import type { SavedState } from './device.js';

export interface Rule<T> {
  save(v: T): unknown;
  /** @throws VmxError */
  load(raw: unknown, at: string): T;
}

export type Schema<T> = { readonly [K in keyof T]-?: Rule<T[K]> };

function bad(at: string, want: string): never {
  throw new VmxError('ERR_BAD_STATE', `saved state: ${at} is not ${want}`);
}

/** An integer within [min, max]. */
export function int(min: number, max: number): Rule<number> {
  return {
    save: (v) => v,
    load: (raw, at) =>
      typeof raw === 'number' && Number.isInteger(raw) && raw >= min && raw <= max
        ? raw
        : bad(at, `an integer from ${min} to ${max}`),
  };
}

export const u8 = int(0, 0xff);
export const u16 = int(0, 0xffff);
export const u32 = int(0, 0xffffffff);
/** Nanoseconds or ticks; -1 for "never". */
export const time = int(-1, Number.MAX_SAFE_INTEGER);

/** A finite number, not necessarily whole. */
export const finite: Rule<number> = {
  save: (v) => v,
  load: (raw, at) => (typeof raw === 'number' && Math.abs(raw) <= Number.MAX_SAFE_INTEGER ? raw : bad(at, 'a number')),
};

export const bool: Rule<boolean> = {
  save: (v) => v,
  load: (raw, at) => (typeof raw === 'boolean' ? raw : bad(at, 'true or false')),
};

/** Exactly `length` elements. */
export function array<T>(length: number, rule: Rule<T>): Rule<T[]> {
  return {
    save: (v) => v.map((e) => rule.save(e)),
    load: (raw, at) =>
      Array.isArray(raw) && raw.length === length
        ? raw.map((e: unknown, i) => rule.load(e, `${at}[${i}]`))
        : bad(at, `a list of ${length}`),
  };
}

/** Up to `max` elements. */
export function list<T>(max: number, rule: Rule<T>): Rule<T[]> {
  return {
    save: (v) => v.map((e) => rule.save(e)),
    load: (raw, at) =>
      Array.isArray(raw) && raw.length <= max
        ? raw.map((e: unknown, i) => rule.load(e, `${at}[${i}]`))
        : bad(at, `a list of at most ${max}`),
  };
}

/** Exactly `length` bytes, saved as hexadecimal text. */
export function bytes(length: number): Rule<Uint8Array> {
  return {
    save: (v) => Buffer.from(v.buffer, v.byteOffset, v.length).toString('hex'),
    load: (raw, at) =>
      typeof raw === 'string' && raw.length === 2 * length && /^[0-9a-f]*$/.test(raw)
        ? Uint8Array.from(Buffer.from(raw, 'hex'))
        : bad(at, `${length} bytes in hexadecimal`),
  };
}

/** Exactly `length` 32-bit words. */
export function words(length: number): Rule<Int32Array> {
  const word = int(-0x80000000, 0x7fffffff);
  return {
    save: (v) => Array.from(v),
    load: (raw, at) =>
      Array.isArray(raw) && raw.length === length
        ? Int32Array.from(raw.map((e: unknown, i) => word.load(e, `${at}[${i}]`)))
        : bad(at, `a list of ${length} words`),
  };
}

export function struct<T extends object>(schema: Schema<T>): Rule<T> {
  return { save: (v) => saveFields(schema, v), load: (raw, at) => loadFields(schema, raw, at) };
}

function saveFields<T extends object>(schema: Schema<T>, v: T): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const k of Object.keys(schema) as (keyof T & string)[]) out[k] = schema[k].save(v[k]);
  return out;
}

function loadFields<T extends object>(schema: Schema<T>, raw: unknown, at: string): T {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) bad(at, 'a record');
  const fields = raw as Record<string, unknown>;
  const out: Partial<T> = {};
  for (const k of Object.keys(schema) as (keyof T & string)[]) {
    if (!Object.hasOwn(fields, k)) bad(`${at}.${k}`, 'there');
    out[k] = schema[k].load(fields[k], `${at}.${k}`);
  }
  return out as T;
}

export function saveState<T extends object>(schema: Schema<T>, version: number, state: T): SavedState {
  return { ...saveFields(schema, state), version };
}

/** @throws VmxError ERR_BAD_STATE */
export function loadState<T extends object>(device: string, schema: Schema<T>, version: number, s: SavedState): T {
  if (typeof s !== 'object' || s === null || s.version !== version) bad(`${device}.version`, String(version));
  return loadFields(schema, s, device);
}
