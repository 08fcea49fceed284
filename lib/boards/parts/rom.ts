/** Firmware in ROM or flash, at the top of 4 GiB and below 1 MiB, and the store of UEFI variables. */
import { closeSync, existsSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { openLocked } from '../../block/file.js';
import type { FirmwareConfig } from '../../boot/firmware.js';
import { FLASH_BLOCK, FLASH_NARROW, FLASH_WIDE, type FlashGeometry, Pflash } from '../../devices/firmware/pflash.js';
import { UsageError } from '../../errors.js';
import { SHADOW_END, ShadowArea } from '../../memory/shadow.js';
import type { BusParts } from './bus-parts.js';
import type { Parts } from './parts.js';

const TOP = 0x1_0000_0000;
/** The end of the ROM is seen below 1 MiB, too. */
const ISA_WINDOW = 0x2_0000;
/** The variable store is written to its file this long after the first change, ns. */
const FLUSH_NS = 200e6;

/** Maps the firmware, if there is one, and C0000h-FFFFFh. @returns the switch for the host bridge's PAM registers. */
export function addFirmwareRom(p: Parts): ShadowArea {
  const fw = p.host.config.firmware;
  if (fw === null) return new ShadowArea(p.memory, -1, SHADOW_END);
  const image = read(fw.code, '--firmware');
  const rom = place(p, image);
  const base = TOP - rom.bytes;
  p.memory.mapRam(base, rom.bytes, rom.offset, true);
  if (fw.kind === 'uefi') addFlash(p, fw, image, base, rom);
  const window = Math.min(ISA_WINDOW, rom.bytes);
  return new ShadowArea(p.memory, rom.offset + rom.bytes - window, SHADOW_END - window);
}

interface Placed {
  offset: number;
  bytes: number;
}

/** Puts contents into host memory beside RAM, filled up to whole pages at the front (firmware ends at the top). */
function place(p: BusParts, image: Uint8Array): Placed {
  const bytes = Math.ceil(image.length / FLASH_BLOCK) * FLASH_BLOCK;
  const offset = p.host.extraRam(bytes);
  p.memory.ram8.fill(0xff, offset, offset + bytes - image.length);
  copySparse(p.memory.ram8, offset + bytes - image.length, image);
  return { offset, bytes };
}

const CHUNK = 0x1_0000;
const ZEROS = new Uint8Array(CHUNK);

/** Copies into fresh, zero-filled memory: images of the ARM firmware are 64 MiB of almost nothing. */
function copySparse(dst: Uint8Array, at: number, src: Uint8Array): void {
  for (let i = 0; i < src.length; i += CHUNK) {
    const piece = src.subarray(i, i + CHUNK);
    if (Buffer.compare(piece, ZEROS.subarray(0, piece.length)) !== 0) dst.set(piece, at + i);
  }
}

/** Where the flash of a `virt` board is: code, then variables. */
export interface FlashMap {
  base: number;
  /** Of each of the two. */
  bytes: number;
}

/** The flash of the `virt` boards: code at its start, variables in its second half. */
export function addVirtFlash(p: BusParts, map: FlashMap): void {
  const fw = p.host.config.firmware;
  if (fw?.kind !== 'uefi') return;
  const code = read(fw.code, '--firmware');
  if (code.length > map.bytes) throw new UsageError(`--firmware: ${fw.code}: ${code.length} bytes are more than the ${map.bytes >> 20}M of flash`);
  // Smaller images are filled up at their end: execution begins at their start.
  const whole = (image: Buffer): Buffer => (image.length % FLASH_WIDE.block ? Buffer.concat([image, Buffer.alloc(FLASH_WIDE.block - (image.length % FLASH_WIDE.block), 0xff)]) : image);
  const rom = place(p, whole(code));
  p.memory.mapRam(map.base, rom.bytes, rom.offset, true);
  chip(p, 'flash-code', map.base, rom, null, FLASH_WIDE);
  const template = fw.varsTemplate === null ? Buffer.alloc(map.bytes) : read(fw.varsTemplate, '--firmware');
  if (template.length > map.bytes) throw new UsageError(`--firmware: ${fw.varsTemplate!}: ${template.length} bytes are more than the ${map.bytes >> 20}M of flash`);
  const vars = place(p, whole(template));
  fill(p, vars, template, fw);
  p.memory.mapRam(map.base + map.bytes, vars.bytes, vars.offset, true);
  chip(p, 'flash-vars', map.base + map.bytes, vars, new VariableStore(p, fw, vars), FLASH_WIDE);
}

function read(file: string, option: string): Buffer {
  try {
    return readFileSync(file);
  } catch (e) {
    throw new UsageError(`${option}: ${file}: ${(e as Error).message}`, { cause: e });
  }
}

/** Offset of the length of a firmware volume (PI Specification 1.7, vol. 3, 3.2.1). */
const FV_LENGTH = 32;

/**
 * Two flash chips: code, read-only, and below it the variables. An image that holds both begins with the volume of the
 * variables, which is then the writable chip.
 */
function addFlash(p: Parts, fw: FirmwareConfig, image: Buffer, codeBase: number, code: Placed): void {
  if (fw.varsTemplate === null) {
    const length = Number(image.readBigUInt64LE(FV_LENGTH));
    if (length % FLASH_BLOCK || length <= 0 || length >= code.bytes) {
      throw new UsageError(`--firmware: ${fw.code}: no variable template (OVMF_VARS...) lies beside it`);
    }
    const vars = { offset: code.offset, bytes: length };
    fill(p, vars, image.subarray(0, length), fw);
    chip(p, 'flash-vars', codeBase, vars, new VariableStore(p, fw, vars));
    chip(p, 'flash-code', codeBase + length, { offset: code.offset + length, bytes: code.bytes - length }, null);
    return;
  }
  chip(p, 'flash-code', codeBase, code, null);
  const template = read(fw.varsTemplate, '--firmware');
  const vars = place(p, template);
  fill(p, vars, template, fw);
  p.memory.mapRam(codeBase - vars.bytes, vars.bytes, vars.offset, true);
  chip(p, 'flash-vars', codeBase - vars.bytes, vars, new VariableStore(p, fw, vars));
}

/** Variables of an earlier run, or the template. */
function fill(p: BusParts, vars: Placed, template: Uint8Array, fw: FirmwareConfig): void {
  let contents = template;
  if (fw.vars !== null && existsSync(fw.vars)) {
    contents = read(fw.vars, '--firmware-vars');
    if (contents.length !== template.length) {
      throw new UsageError(`--firmware-vars: ${fw.vars} has ${contents.length} bytes, this firmware's variables have ${template.length} (delete the file to start afresh)`);
    }
  }
  if (contents !== template) p.memory.ram8.set(contents, vars.offset);
}

function chip(p: BusParts, name: string, base: number, at: Placed, store: VariableStore | null, geometry: FlashGeometry = FLASH_NARROW): void {
  const m = p.memory;
  const flash = p.add(
    new Pflash({
      name,
      contents: m.ram8.subarray(at.offset, at.offset + at.bytes),
      readonly: store === null,
      geometry,
      onArrayMode: (array) => (array ? m.mapRam(base, at.bytes, at.offset, true) : m.unmapRam(base, at.bytes)),
      onChange: (offset, length) => store?.changed(offset, length),
    }),
  );
  m.mapMmio(base, at.bytes, flash.mmio);
}

/** A new file, with holes where there is nothing. */
function writeSparse(file: string, contents: Uint8Array): void {
  const fd = openSync(file, 'w');
  try {
    ftruncateSync(fd, contents.length);
    for (let i = 0; i < contents.length; i += CHUNK) {
      const piece = contents.subarray(i, i + CHUNK);
      if (Buffer.compare(piece, ZEROS.subarray(0, piece.length)) !== 0) writeSync(fd, piece, 0, piece.length, i);
    }
  } finally {
    closeSync(fd);
  }
}

/** Keeps the variables in their file: changed blocks are written shortly after a change and at the end. */
class VariableStore {
  private readonly dirty = new Set<number>();
  private readonly timer;
  private fd: number | null = null;

  constructor(
    private readonly p: BusParts,
    private readonly fw: FirmwareConfig,
    private readonly at: Placed,
  ) {
    this.timer = p.host.clock.timer(() => this.flush());
    p.onClose.push(() => this.close());
    // Two machines must not write one file of variables.
    if (fw.vars !== null && existsSync(fw.vars)) this.fd = openLocked(fw.vars, 'r+', 'write', '--firmware-vars');
  }

  changed(offset: number, length: number): void {
    if (this.fw.vars === null) return;
    for (let b = Math.floor(offset / FLASH_BLOCK); b * FLASH_BLOCK < offset + length; b++) this.dirty.add(b);
    if (this.timer.deadline === Infinity) this.timer.arm(this.p.host.clock.now() + FLUSH_NS);
  }

  private flush(): void {
    if (this.dirty.size === 0) return;
    const contents = this.p.memory.ram8.subarray(this.at.offset, this.at.offset + this.at.bytes);
    try {
      this.fd ??= this.create(contents);
      for (const b of this.dirty) writeSync(this.fd, contents, b * FLASH_BLOCK, FLASH_BLOCK, b * FLASH_BLOCK);
      fsyncSync(this.fd);
    } catch (e) {
      this.p.host.log(`UEFI variables are not kept: ${(e as Error).message}`);
      this.fw.vars = null;
    }
    this.dirty.clear();
  }

  /** Opens the file; a new one appears whole. */
  private create(contents: Uint8Array): number {
    const file = this.fw.vars!;
    if (!existsSync(file)) {
      mkdirSync(dirname(file), { recursive: true });
      const temporary = `${file}.${process.pid}.tmp`;
      writeSparse(temporary, contents);
      renameSync(temporary, file);
    }
    return openLocked(file, 'r+', 'write', '--firmware-vars');
  }

  private close(): void {
    this.flush();
    if (this.fd !== null) closeSync(this.fd);
    this.fd = null;
  }
}
