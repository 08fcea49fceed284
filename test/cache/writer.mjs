// A process that writes to a cache as fast as it can: node writer.mjs DIRECTORY SEED CHUNKS. Prints a line per chunk flushed.
import { CacheDirectory } from '#lib/cache/directory.js';
import { FileStore } from '#lib/cache/file-store.js';

const [dir, seed, chunks] = process.argv.slice(2);
const identity = { format: 1, build: 'b', arch: 'x86_64', cpu: 'max', features: [], cpus: 1, disabledPasses: [], maxInsns: 64, host: 'h' };
const store = new FileStore(CacheDirectory.open(dir), identity, 1 << 28, (m) => console.error(m));
store.open(() => undefined);
for (let i = 0; i < Number(chunks); i++) {
  // One record per chunk: its length, who wrote it, its number, and 2000 words that follow from these.
  const payload = new Int32Array(2000);
  payload[0] = 2000;
  payload[1] = Number(seed);
  payload[2] = i;
  for (let k = 3; k < 2000; k++) payload[k] = Math.imul(payload[k - 1] ^ Number(seed), 0x9e3779b1) + k;
  store.write(Int32Array.of(i, 0), payload);
  store.flush();
  console.log(i);
}
store.close();
