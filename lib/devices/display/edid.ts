/** The monitor's description: VESA Enhanced EDID 1.4, base block. */

/** 1024 by 768 at 60 Hz (VESA DMT): what guests choose by themselves. */
const PREFERRED = { clock: 6500, hActive: 1024, hBlank: 320, hOffset: 24, hWidth: 136, vActive: 768, vBlank: 38, vOffset: 3, vWidth: 6 };
/** Standard timings at 60 Hz: width and aspect ratio (0 16:10, 1 4:3, 2 5:4, 3 16:9). */
const STANDARD: readonly (readonly [number, number])[] = [
  [2048, 1], [1920, 3], [1680, 0], [1600, 1], [1440, 0], [1280, 2], [1280, 3], [1280, 0],
];
/** Size of the picture in millimetres, at about 100 dots per inch. */
const WIDTH_MM = 260;
const HEIGHT_MM = 195;

function descriptor(tag: number, body: number[] | string): number[] {
  const bytes = typeof body === 'string' ? [...Buffer.from(`${body}\n`.padEnd(13))] : body;
  return [0, 0, 0, tag, 0, ...bytes];
}

export function buildEdid(name: string): Uint8Array {
  const e = new Uint8Array(128);
  // Header; manufacturer VMX; product 1, no serial number; week 1 of 2024; version 1.4.
  const id = (('V'.charCodeAt(0) & 31) << 10) | (('M'.charCodeAt(0) & 31) << 5) | ('X'.charCodeAt(0) & 31);
  e.set([0, 255, 255, 255, 255, 255, 255, 0, id >> 8, id & 255, 1, 0, 0, 0, 0, 0, 1, 34, 1, 4]);
  // Digital, 8 bits per colour; size in cm; gamma 2.2; preferred timing is native, sRGB.
  e.set([0xa0, WIDTH_MM / 10, Math.round(HEIGHT_MM / 10), 120, 0x06], 20);
  // sRGB chromaticities.
  e.set([0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54], 25);
  // Established: 640 by 480, 800 by 600, 1024 by 768 at 60 Hz.
  e.set([0x21, 0x08, 0x00], 35);
  STANDARD.forEach(([w, aspect], i) => e.set([w / 8 - 31, aspect << 6], 38 + 2 * i));
  const p = PREFERRED;
  e.set(
    [
      p.clock & 255, p.clock >> 8, p.hActive & 255, p.hBlank & 255, ((p.hActive >> 8) << 4) | (p.hBlank >> 8), p.vActive & 255, p.vBlank & 255,
      ((p.vActive >> 8) << 4) | (p.vBlank >> 8), p.hOffset, p.hWidth, (p.vOffset << 4) | p.vWidth, 0, WIDTH_MM & 255, HEIGHT_MM, (WIDTH_MM >> 8) << 4, 0, 0, 0x1a,
    ],
    54,
  );
  e.set(descriptor(0xfc, name), 72);
  // Range limits: 50 to 125 Hz, 30 to 160 kHz, up to 600 MHz.
  e.set(descriptor(0xfd, [50, 125, 30, 160, 60, 1, 10, 32, 32, 32, 32, 32, 32]), 90);
  e.set(descriptor(0x10, new Array<number>(13).fill(0)), 108);
  e[127] = -e.reduce((sum, b) => sum + b, 0) & 255;
  return e;
}
