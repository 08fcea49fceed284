/** Whatever makes a picture. */
import type { Surface } from './surface.js';

/** What a text mode shows. */
export interface TextScreen {
  readonly rows: Uint16Array[];
  /** Where the cursor is, blinking or not; null: it is off, or outside. */
  cursor: { x: number; y: number } | null;
}

export interface ScreenSource {
  /** Draws what is to be seen now. */
  render(surface: Surface): void;
  /** Characters of a text screen, row by row (code page 437); none in graphics modes. */
  textRows(): Uint8Array[];
  /** Null: graphics. */
  textScreen(): TextScreen | null;
}

/** A source that is not always there. */
export interface OptionalSource extends ScreenSource {
  readonly active: boolean;
}

/** The first source that is active is shown; else the last one. */
export class SwitchedSource implements ScreenSource {
  private last: ScreenSource | null = null;

  constructor(
    private readonly optional: readonly OptionalSource[],
    private readonly other: ScreenSource | null,
  ) {}

  private get current(): ScreenSource | null {
    return this.optional.find((s) => s.active) ?? this.other ?? this.optional[0] ?? null;
  }

  render(surface: Surface): void {
    const { current } = this;
    if (current === null) return;
    // Another one draws from scratch.
    if (current !== this.last) surface.generation++;
    this.last = current;
    current.render(surface);
  }

  textRows(): Uint8Array[] {
    return this.current?.textRows() ?? [];
  }

  textScreen(): TextScreen | null {
    return this.current?.textScreen() ?? null;
  }
}
