/** Where a tablet in Linux says that it points, for tests of programs with a pointer. */

/** Prints the first events of the tablet: struct input_event as words, whose ninth to eleventh are type, code and value. */
export const READ_TABLET = 'cd /sys/class/input; timeout 60 head -c 240 /dev/input/$(grep -l tablet event*/device/name | cut -d/ -f1) | od -An -v -tu2 -w24';
/** What the screen shows when that is over. */
export const TABLET_READ = /( +\d+){12}\n~ # ?$/m;

/** The dots of a picture of this size that it has pointed to, in each direction. */
export function tabletPlaces(screen: string, width: number, height: number): { xs: number[]; ys: number[] } {
  // EV_ABS is type 3, ABS_X code 0, ABS_Y code 1; a virtio tablet counts to 32767.
  const places = (code: number, dots: number): number[] => [...screen.matchAll(new RegExp(`^(?: +\\d+){8} +3 +${code} +(\\d+) +0$`, 'gm'))].map((m) => Math.round((Number(m[1]) * (dots - 1)) / 32767));
  return { xs: places(0, width), ys: places(1, height) };
}
