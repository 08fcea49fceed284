/**
 * When a boot reached what: `--stats` shows it (`timeline`), so that whoever makes a boot start sooner can see where its time goes. There is one list in each
 * thread, whatever the number of files its program is in (scripts/bundle.mjs leaves this module out of them).
 */
/** A moment and its name. */
export interface Moment {
  /** ms, with fractions, by the host's monotonic clock, which all threads share. */
  at: number;
  what: string;
}

const moments: Moment[] = [];
/** A machine that is reset again and again does not fill memory. */
const MOST = 64;

function now(): number {
  const [s, ns] = process.hrtime();
  return s * 1e3 + ns / 1e6;
}

/** Now `what` has been reached. */
export function mark(what: string): void {
  if (moments.length < MOST) moments.push({ at: now(), what });
}

/** What this thread has reached. */
export function timeline(): readonly Moment[] {
  return moments;
}

/** A line of `--stats`: ms since the process began. */
export interface TimelineEntry {
  ms: number;
  thread: 'main' | 'machine';
  what: string;
}

/** This thread's moments and the machine's thread's in one list; that thread may be this one. */
export function wholeTimeline(machine: readonly Moment[]): TimelineEntry[] {
  const began = now() - process.uptime() * 1e3;
  const entry = (thread: TimelineEntry['thread']) => ({ at, what }: Moment): TimelineEntry & { at: number } => ({ ms: Math.round((at - began) * 10) / 10, thread, what, at });
  return [...moments.map(entry('main')), ...(machine === moments ? [] : machine).map(entry('machine'))].sort((a, b) => a.at - b.at).map(({ ms, thread, what }) => ({ ms, thread, what }));
}
