/** "Did you mean": the closest of a list of names. */

/** Levenshtein distance, for "did you mean". */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}

/** The candidate closest to `word` if it is close enough to be a slip of the finger. */
export function nearMiss(word: string, candidates: readonly string[]): string | null {
  const best = [...candidates].sort((x, y) => distance(word, x) - distance(word, y))[0];
  return best !== undefined && distance(word, best) <= Math.max(2, Math.floor(word.length / 4)) ? best : null;
}

/** ` (did you mean X?)` or nothing. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const near = nearMiss(word, candidates);
  return near === null ? '' : ` (did you mean ${near}?)`;
}
