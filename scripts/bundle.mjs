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
const ENTRIES = { worker: 'machine/worker.js', cli: 'cli/program.js' };
/** Modules of which there must be one in the thread: the command line starts the worker before its program is there. */
const SHARED = /\/(worker-start|timeline)\.js$/;

/** A module's own address is where it lies in dist/. */
const addresses = {
  name: 'addresses',
  setup(b) {
    b.onLoad({ filter: /\.js$/, namespace: 'file' }, (a) => {
      if (!a.path.startsWith(dist)) return undefined;
      const file = relative(dist, a.path).replaceAll('\\', '/');
      return { contents: readFileSync(a.path, 'utf8').replaceAll('import.meta.url', `__url(${JSON.stringify(file)})`) };
    });
  },
};
const shared = { name: 'shared', setup: (b) => b.onResolve({ filter: SHARED }, (a) => ({ path: SHARED.exec(a.path)[1], external: true })) };

mkdirSync(join(dist, 'program'), { recursive: true });
for (const [name, entry] of Object.entries(ENTRIES)) {
  const r = await build({
    absWorkingDir: root, entryPoints: [join(dist, entry)], outfile: join(dist, 'program', `${name}.cjs`), bundle: true, write: false, metafile: true, platform: 'node', format: 'cjs',
    target: 'node20', packages: 'external', minifySyntax: true, charset: 'ascii', legalComments: 'none', logLevel: 'warning', plugins: [shared, addresses],
    define: { ENGINE_BUILD: JSON.stringify(engineBuild()) },
  });
  const body = `(function (exports, require, module, __url) {\n${r.outputFiles[0].text}\n})`;
  const inputs = Object.keys(r.metafile.inputs).map((f) => relative('dist', f).replaceAll('\\', '/'));
  const head = { hash: createHash('sha256').update(body).digest('hex'), inputs };
  const file = join(dist, 'program', `${name}.cjs`);
  writeFileSync(`${file}.new`, `//${JSON.stringify(head)}\n${body}`);
  renameSync(`${file}.new`, file);
}
// What a thread starts with is a script that loads the program, which takes a module's address as it comes.
const starters = { 'worker-entry': ['machine', 'worker.js'], main: ['cli', 'program.js'] };
for (const [name, [folder, program]] of Object.entries(starters)) {
  const module = { name: 'module', setup: (b) => b.onResolve({ filter: new RegExp(`^\\./${program.replace('.', '\\.')}$`) }, (a) => (a.kind === 'dynamic-import' ? { path: `../${folder}/${program}`, external: true } : undefined)) };
  await build({
    absWorkingDir: root, entryPoints: [join(dist, folder, `${name}.js`)], outfile: join(dist, 'program', `${name}.cjs`), bundle: true, platform: 'node', format: 'cjs', target: 'node20',
    packages: 'external', charset: 'ascii', legalComments: 'none', logLevel: 'warning', banner: { js: "const __url = (f) => require('node:url').pathToFileURL(require('node:path').join(__dirname, '..', f)).href;" },
    plugins: [module, addresses],
  });
}
