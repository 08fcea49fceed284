/**
 * Cuts a byte stream into JSON objects (RFC 8259). QMP puts no newline between messages on the wire, so the end of an object is
 * found by its braces. The other side is not trusted: length and depth are bounded.
 */
import { StringDecoder } from 'node:string_decoder';

const MAX_LENGTH = 1024 * 1024;
const MAX_DEPTH = 64;

export class JsonStream {
  private readonly decoder = new StringDecoder('utf8');
  private parts: string[] = [];
  private length = 0;
  private depth = 0;
  private inString = false;
  private escaped = false;

  /**
   * Takes the next bytes and hands over every object they complete, in order.
   * @throws SyntaxError if the stream is not a sequence of JSON objects within the bounds; it cannot be read on then.
   */
  push(bytes: Uint8Array, object: (value: Record<string, unknown>) => void): void {
    const text = this.decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    let start = this.depth > 0 ? 0 : -1;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (this.inString) {
        if (this.escaped) this.escaped = false;
        else if (c === BACKSLASH) this.escaped = true;
        else if (c === QUOTE) this.inString = false;
        continue;
      }
      if (this.depth === 0) {
        if (c === OPEN_BRACE) {
          start = i;
          this.depth = 1;
        } else if (c !== SPACE && c !== TAB && c !== LF && c !== CR) {
          throw new SyntaxError('expected a JSON object');
        }
        continue;
      }
      if (c === QUOTE) {
        this.inString = true;
      } else if (c === OPEN_BRACE || c === OPEN_BRACKET) {
        if (++this.depth > MAX_DEPTH) throw new SyntaxError(`JSON nested deeper than ${MAX_DEPTH}`);
      } else if ((c === CLOSE_BRACE || c === CLOSE_BRACKET) && --this.depth === 0) {
        this.keep(text.slice(start, i + 1));
        const whole = this.parts.join('');
        this.parts = [];
        this.length = 0;
        start = -1;
        object(JSON.parse(whole) as Record<string, unknown>);
      }
    }
    if (start >= 0) this.keep(text.slice(start));
  }

  private keep(part: string): void {
    this.length += part.length;
    if (this.length > MAX_LENGTH) throw new SyntaxError(`JSON object longer than ${MAX_LENGTH} characters`);
    this.parts.push(part);
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const SPACE = 0x20;
const TAB = 9;
const LF = 10;
const CR = 13;
