// Puts the modules in dist/ that a machine's worker and the command line consist of together in one file each: dist/program/NAME.cjs, see
// lib/machine/program.ts. Run after every compilation that is to start fast (npm run build does).
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
const { engineBuild } = await import('../dist/cache/identity.js');
const ENTRIES = { worker: 'machine/worker.js', cli: 'cli/program.js', 'boot-here': 'cli/boot-here.js' };
/** Modules of which there must be one in the thread: the command line starts the worker before its program is there. */
const SHARED = /\/(worker-start|timeline)\.js$/;

/**
 * Enumerations as objects: the compiler has put the numbers where they are used (`const enum`), and nobody asks for the objects but tests. Without them a program
 * has 500 objects of names less to make when it starts.
 */
const ENUMERATION = /^((?:export )?var (\w+);)\n\(function \(\2\) \{\n(?:    (?:\/\*.*|\*.*| \*.*|\/\/.*|\2\[.*)\n)*\}\)\(\2 \|\| \(\2 = \{\}\)\);\n/gm;

/** A module's own address is where it lies in dist/. */
const addresses = {
  name: 'addresses',
  setup(b) {
    b.onLoad({ filter: /\.js$/, namespace: 'file' }, (a) => {
      if (!a.path.startsWith(dist)) return undefined;
      const file = relative(dist, a.path).replaceAll('\\', '/');
      return { contents: readFileSync(a.path, 'utf8').replace(ENUMERATION, '$1\n').replaceAll('import.meta.url', `__url(${JSON.stringify(file)})`) };
    });
  },
};
const shared = { name: 'shared', setup: (b) => b.onResolve({ filter: SHARED }, (a) => ({ path: SHARED.exec(a.path)[1], external: true })) };

mkdirSync(join(dist, 'program'), { recursive: true });
for (const [name, entry] of Object.entries(ENTRIES)) {
  const r = await build({
    absWorkingDir: root, entryPoints: [join(dist, entry)], outfile: join(dist, 'program', `${name}.cjs`), bundle: true, write: false, metafile: true, platform: 'node', format: 'cjs',
    target: 'node20', packages: 'external', minifySyntax: true, minifyWhitespace: true, lineLimit: 160, charset: 'ascii', legalComments: 'none', logLevel: 'warning', plugins: [shared, addresses],
    define: { ENGINE_BUILD: JSON.stringify(engineBuild()) },
  });
  const body = `(function (exports, require, module, __url) {\n${r.outputFiles[0].text}\n})`;
  const inputs = Object.keys(r.metafile.inputs).map((f) => relative('dist', f).replaceAll('\\', '/'));
  const head = { hash: createHash('sha256').update(body).digest('hex'), inputs };
  const file = join(dist, 'program', `${name}.cjs`);
  writeFileSync(`${file}.new`, `//${JSON.stringify(head)}\n${body}`);
  renameSync(`${file}.new`, file);
}
// What a thread starts with is a script that loads the program; as modules it loads it by their addresses.
const starters = { 'worker-entry': 'machine', main: 'cli' };
for (const [name, folder] of Object.entries(starters)) {
  const module = { name: 'module', setup: (b) => b.onResolve({ filter: /^\.\// }, (a) => (a.kind === 'dynamic-import' ? { path: `../${folder}/${a.path.slice(2)}`, external: true } : undefined)) };
  await build({
    absWorkingDir: root, entryPoints: [join(dist, folder, `${name}.js`)], outfile: join(dist, 'program', `${name}.cjs`), bundle: true, platform: 'node', format: 'cjs', target: 'node20',
    packages: 'external', charset: 'ascii', legalComments: 'none', logLevel: 'warning', banner: { js: "const __url = (f) => require('node:url').pathToFileURL(require('node:path').join(__dirname, '..', f)).href;" },
    plugins: [module, addresses],
  });
}
