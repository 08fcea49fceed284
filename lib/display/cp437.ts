/** IBM code page 437 with the pictures of its control characters, as text screens show it. */

const LOW = '\u0000☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼';
const HIGH =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0';

const CP437: readonly string[] = Array.from({ length: 256 }, (_, c) => {
  // An empty cell is as good as a space, to whoever reads the screen.
  if (c === 0 || c === 0xff) return ' ';
  if (c < 0x20) return LOW[c]!;
  if (c < 0x7f) return String.fromCharCode(c);
  return c === 0x7f ? '⌂' : HIGH[c - 0x80]!;
});

export function fromCp437(codes: Uint8Array): string {
  let s = '';
  for (const c of codes) s += CP437[c]!;
  return s;
}
