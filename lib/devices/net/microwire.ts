/**
 * A serial EEPROM of 64 words on a Microwire bus (93C46 data sheet), as network cards have one for their hardware address: start bit,
 * opcode 10 (read) and six address bits in, a zero and sixteen data bits out, from bit 15 on. It cannot be written.
 */
import { bool, int, type Rule, struct } from '../saved.js';

export const EEPROM_WORDS = 64;
const READ = 6;
const COMMAND_BITS = 9;

interface State {
  /** Bits taken, how many, and the word that is shifted out. */
  taken: number;
  count: number;
  out: number;
  reading: boolean;
  clock: boolean;
}

export const microwireRule: Rule<State> = struct<State>({ taken: int(0, 0x1ff), count: int(0, COMMAND_BITS), out: int(0, 0xffff_ffff), reading: bool, clock: bool });

export class Microwire {
  s: State = { taken: 0, count: 0, out: 0, reading: false, clock: false };

  constructor(private readonly words: Uint16Array) {}

  /** Levels of chip select, clock and data in. */
  set(select: boolean, clock: boolean, data: boolean): void {
    const s = this.s;
    const rising = clock && !s.clock;
    s.clock = clock;
    if (!select) {
      s.taken = s.count = s.out = 0;
      s.reading = false;
    } else if (rising && s.reading) {
      s.out = (s.out << 1) >>> 0;
    } else if (rising && (s.count > 0 || data)) {
      s.taken = ((s.taken << 1) | (data ? 1 : 0)) & 0x1ff;
      if (++s.count < COMMAND_BITS) return;
      s.reading = s.taken >>> 6 === READ;
      s.out = this.words[s.taken & 0x3f]!;
      s.count = 0;
    }
  }

  /** Level of data out; high while there is nothing to say. */
  get data(): boolean {
    return !this.s.reading || (this.s.out & 0x1_0000) !== 0;
  }
}
