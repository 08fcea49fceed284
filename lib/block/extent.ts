/** Which parts of an image hold data. */
export interface Extent {
  /** `zero`: reads as zeros; `absent`: this file has nothing there (a backing file may). */
  kind: 'data' | 'zero' | 'absent';
  /** Bytes, at least 1. */
  length: number;
}
