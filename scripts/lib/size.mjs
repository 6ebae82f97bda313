// Prints the table of scripts/size.
import { existsSync, readFileSync } from 'node:fs';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = new URL('../../bindings/js/dist/', import.meta.url);
const budget = JSON.parse(readFileSync(new URL('../size_budget.json', import.meta.url), 'utf8'));
const show = (bytes) => bytes.toLocaleString('en').padStart(12);

console.log(`${'bytes'.padEnd(24)}${['raw', 'gzip', 'brotli', 'gzip budget'].map((name) => name.padStart(12)).join('')}`);
for (const [name, limit] of Object.entries(budget.gzip)) {
  const file = new URL(name, dist);
  if (!existsSync(file)) {
    console.log(`${name.padEnd(24)}     not built`);
    process.exitCode = 1;
    continue;
  }
  const raw = readFileSync(file);
  const gzip = gzipSync(raw, { level: 9 }).length;
  const brotli = brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: raw.length } }).length;
  const over = gzip > limit;
  console.log(`${name.padEnd(24)}${show(raw.length)}${show(gzip)}${show(brotli)}${show(limit)}${over ? '  OVER' : ''}`);
  if (over) process.exitCode = 1;
}
