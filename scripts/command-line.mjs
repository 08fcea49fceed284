import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Says in one line what is wrong with the command line of a bench or script, and ends with status 2. */
export function badUsage(url, message) {
  console.error(`${basename(fileURLToPath(url), '.mjs')}: ${message}`);
  process.exit(2);
}

/**
 * The command line of a bench or script: node's parseArgs, and --help, which prints the comment that its file begins with. What it does not understand
 * gets one line and status 2, also something other than a number for an option whose default is one.
 *
 * @param url the file's import.meta.url
 * @param config parseArgs's
 */
export function commandLine(url, config = {}) {
  let parsed;
  try {
    parsed = parseArgs({ ...config, options: { ...config.options, help: { type: 'boolean', short: 'h', default: false } } });
  } catch (e) {
    if (!String(e.code).startsWith('ERR_PARSE_ARGS')) throw e;
    badUsage(url, `${e.message.split(/[.;] /)[0]}; --help says what there is`);
  }
  const { help, ...values } = parsed.values;
  if (help) {
    const lines = readFileSync(fileURLToPath(url), 'utf8').split('\n');
    const end = lines.findIndex((line) => !line.startsWith('//'));
    console.log(lines.slice(0, end).map((line) => line.replace(/^\/\/ ?/, '')).join('\n'));
    process.exit(0);
  }
  for (const [name, { default: dflt }] of Object.entries(config.options ?? {})) {
    if (typeof dflt === 'string' && /^\d+$/.test(dflt) && !/^\d+(\.\d+)?$/.test(values[name])) badUsage(url, `--${name}: '${values[name]}' is not a number`);
  }
  return { values, positionals: parsed.positionals };
}
