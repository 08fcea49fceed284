/**
 * Reads plain command lines by the same table of options that yargs is given. Loading yargs, its modules and its texts takes longer than most of
 * what else a boot waits for, and nearly all command lines need none of it.
 */
import type { Options } from 'yargs';

const camel = (name: string): string => name.replace(/-(.)/g, (_m, c: string) => c.toUpperCase());
/** yargs takes quotes off, and reads on after these words. */
const ODD_VALUE = /^(-|["'`]|$)/;
const ODD_WORD = /^(true|false)$/;

/**
 * @param argv what follows the command
 * @param positional name of the one argument without dashes that there may be
 * @returns what yargs would return (under the names in camelCase), or null if yargs has to be asked: for anything out of the ordinary, errors above all
 */
export function quickArgs(options: Readonly<Record<string, Options>>, positional: string, argv: readonly string[]): Record<string, unknown> | null {
  const out: Record<string, unknown> = {};
  const given = new Set<string>();
  const names = new Map<string, string>();
  for (const [name, o] of Object.entries(options)) {
    if (o.default !== undefined) out[camel(name)] = o.default;
    names.set(`--${name}`, name);
    if (typeof o.alias === 'string') names.set(`-${o.alias}`, name);
  }
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (!arg.startsWith('-')) {
      if (given.has(positional) || arg === '' || !Number.isNaN(Number(arg))) return null;
      given.add(positional);
      out[positional] = arg;
      continue;
    }
    const no = arg.startsWith('--no-') ? names.get(`--${arg.slice(5)}`) : undefined;
    if (no !== undefined && options[no]!.type === 'boolean') {
      if (given.has(no) || ODD_WORD.test(argv[i + 1] ?? '')) return null;
      given.add(no);
      out[camel(no)] = false;
      continue;
    }
    const eq = arg.indexOf('=');
    const name = names.get(eq < 0 ? arg : arg.slice(0, eq));
    const o = name === undefined ? undefined : options[name]!;
    if (name === undefined || o === undefined || o.choices !== undefined || (eq >= 0 && !arg.startsWith('--'))) return null;
    if (o.type === 'boolean') {
      if (eq >= 0 || given.has(name) || ODD_WORD.test(argv[i + 1] ?? '')) return null;
      given.add(name);
      out[camel(name)] = true;
      continue;
    }
    const value = eq >= 0 ? arg.slice(eq + 1) : argv[++i];
    if (value === undefined || ODD_VALUE.test(value)) return null;
    if (o.array !== true) {
      if (given.has(name)) return null;
      out[camel(name)] = value;
    } else {
      // yargs takes all that follows up to the next option.
      if (argv[i + 1] !== undefined && !argv[i + 1]!.startsWith('-')) return null;
      out[camel(name)] = [...(given.has(name) ? (out[camel(name)] as string[]) : []), value];
    }
    given.add(name);
  }
  return out;
}
