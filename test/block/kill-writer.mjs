// Writes numbered records with a flush after every few and says which are safe, until it is killed.
import { openImage } from '../../dist/block/open.js';

const [file, format, seed] = process.argv.slice(2);
const image = openImage({ file, format, readonly: false, snapshot: false, option: 'test' });
const RECORD = 4096;
const records = image.size / RECORD;
const b = Buffer.alloc(RECORD);
for (let n = 1; ; n++) {
  b.fill(0);
  b.write(`seed ${seed} record ${n} `);
  image.write(((n * 7919) % records) * RECORD, b);
  if (n % 3 !== 0) continue;
  image.flush();
  process.stdout.write(`${n}\n`);
}
