/** Which parts of an image hold data. */
import type { BlockBackend } from './backend.js';

export interface Extent {
  /** `zero`: reads as zeros; `absent`: this file has nothing there (a backing file may). */
  kind: 'data' | 'zero' | 'absent';
  /** Bytes, at least 1. */
  length: number;
}

/** An image that knows where it has data. */
export interface SparseBackend extends BlockBackend {
  /** What is at `offset`, and how far the same goes on, at least. */
  extent(offset: number): Extent;
}

export function isSparse(b: BlockBackend): b is SparseBackend {
  return 'extent' in b;
}
