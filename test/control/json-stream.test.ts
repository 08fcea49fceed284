import { describe, expect, it } from 'vitest';
import { JsonStream } from '#lib/control/qmp/json-stream.js';

function parse(...chunks: (string | Uint8Array)[]): unknown[] {
  const out: unknown[] = [];
  const s = new JsonStream();
  for (const c of chunks) s.push(typeof c === 'string' ? Buffer.from(c) : c, (v) => out.push(v));
  return out;
}

describe('JsonStream', () => {
  it('finds objects whatever is between them', () => {
    expect(parse('{"a":1}{"b":[{}]}\r\n \t{"c":"}{\\"["}')).toEqual([{ a: 1 }, { b: [{}] }, { c: '}{"[' }]);
  });

  it('joins objects that arrive in pieces, also within a character', () => {
    const bytes = Buffer.from('{"name":"Grüße","x":{"y":[1,2]}}');
    for (let cut = 1; cut < bytes.length; cut++) expect(parse(bytes.subarray(0, cut), bytes.subarray(cut))).toEqual([{ name: 'Grüße', x: { y: [1, 2] } }]);
    expect(parse(...[...bytes].map((b) => Uint8Array.of(b)))).toEqual([{ name: 'Grüße', x: { y: [1, 2] } }]);
  });

  it.each(['x', '[1]', '1', '"a"', '}', '{]', '{"a":}', '{"a":1]}'])('refuses %s', (text) => {
    expect(() => parse(text)).toThrow(SyntaxError);
  });

  it('bounds depth and length', () => {
    expect(() => parse(`{"a":${'['.repeat(100)}`)).toThrow(/nested deeper/);
    const piece = 'x'.repeat(65536);
    const s = new JsonStream();
    s.push(Buffer.from('{"a":"'), () => {});
    expect(() => {
      for (let i = 0; i < 32; i++) s.push(Buffer.from(piece), () => {});
    }).toThrow(/longer than/);
  });

  it('survives a million random bytes and damaged messages', () => {
    let seed = 12345;
    const rnd = (n: number): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % n;
    const good = '{"execute":"query-status","arguments":{"a":[1,2,{"b":null}]},"id":"x"}';
    let refused = 0;
    for (let i = 0; i < 20_000; i++) {
      const b = Buffer.from(good);
      for (let k = rnd(4); k >= 0; k--) b[rnd(b.length)] = rnd(256);
      try {
        parse(b);
      } catch (e) {
        expect(e).toBeInstanceOf(SyntaxError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});
