/** The screen as it changes, for whoever watches: one question to the machine at a time, and none while nobody watches. */
import type { ScreenArea, ScreenChanges } from './protocol.js';

const BUSY_MS = 33;
/** Between looks at a screen on which nothing happens. */
const IDLE_MS = 100;

/** A picture that is kept up to date. */
export interface ScreenImage {
  readonly width: number;
  readonly height: number;
  /** RGBA words, red in the low byte. */
  readonly words: Uint32Array;
  /** The guest follows an absolute pointer (a tablet), not movements. */
  readonly absolute: boolean;
}

export interface ScreenWatcher {
  /** The size is another one: everything is new. */
  resized(image: ScreenImage): void;
  /** `image` has changed there. */
  changed(image: ScreenImage, area: { x: number; y: number; width: number; height: number }): void;
}

const NOTHING = { width: 0, height: 0, words: new Uint32Array(0), absolute: false };

export class ScreenFeed {
  private readonly watchers = new Set<ScreenWatcher>();
  private image: { width: number; height: number; words: Uint32Array; absolute: boolean } = { ...NOTHING };
  private running = false;

  constructor(private readonly ask: (all: boolean) => Promise<ScreenChanges | null>) {}

  watch(w: ScreenWatcher): () => void {
    this.watchers.add(w);
    if (this.running && this.image.width > 0) w.resized(this.image);
    if (!this.running) void this.run();
    return () => this.watchers.delete(w);
  }

  private async run(): Promise<void> {
    this.running = true;
    let all = true;
    while (this.watchers.size > 0) {
      const reply = await this.ask(all);
      if (reply === null) break;
      if (reply.width !== this.image.width || reply.height !== this.image.height) {
        if (!all) {
          // Only changes came, and they belong to another picture.
          all = true;
          continue;
        }
        this.image = { width: reply.width, height: reply.height, words: new Uint32Array(reply.width * reply.height), absolute: reply.absolute };
        this.put(reply.areas);
        for (const w of this.watchers) w.resized(this.image);
      } else {
        this.image.absolute = reply.absolute;
        this.put(reply.areas);
        for (const a of reply.areas) for (const w of this.watchers) w.changed(this.image, a);
      }
      all = false;
      await new Promise<void>((resolve) => {
        setTimeout(resolve, reply.areas.length > 0 ? BUSY_MS : IDLE_MS).unref();
      });
    }
    this.running = false;
    this.image = { ...NOTHING };
  }

  private put(areas: readonly ScreenArea[]): void {
    const { width, words } = this.image;
    for (const a of areas) for (let y = 0; y < a.height; y++) words.set(a.words.subarray(y * a.width, (y + 1) * a.width), (a.y + y) * width + a.x);
  }
}
