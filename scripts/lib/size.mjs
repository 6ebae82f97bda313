// What goes over the wire, in bytes, and the wasm memory that a loaded pack takes, beside the committed table scripts/sizes.json: what
// changed since then, and whether a budget is passed. With --update the table is written anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const dist = new URL('../../bindings/js/dist/', import.meta.url);
const table = new URL('../sizes.json', import.meta.url);
const committed = JSON.parse(readFileSync(table, 'utf8'));
const update = process.argv.includes('--update');

function measureFile(name) {
  const raw = readFileSync(new URL(name, dist));
  return { raw: raw.length, gzip: gzipSync(raw, { level: 9 }).length, brotli: brotliCompressSync(raw).length };
}

async function measureMemory(name) {
  const { load } = await import(new URL('index.js', dist));
  const classifier = await load(new URL(name, dist));
  classifier.classify('a charming and often affecting journey');
  return { bytes: classifier.memory().total };
}

process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1)); // as of `scripts/size | head`

const show = (value) => value.toLocaleString('en').padStart(12);
const change = (now, before) => (now === before ? '' : `${now > before ? '+' : ''}${(now - before).toLocaleString('en')}`).padStart(10);
const over = [];
// The figure that has a budget is the one that counts; the others are for orientation.
function row(name, found, before, counted) {
  const { budget } = before;
  const verdict = found[counted] > budget ? '  OVER' : '';
  if (verdict) over.push(name);
  console.log(`${name.padEnd(24)}${['raw', 'gzip', 'brotli'].map((key) => (key in found ? show(found[key]) : ''.padStart(12))).join('')}` +
    `${'bytes' in found ? show(found.bytes) : ''.padStart(12)}${show(budget)}${change(found[counted], before[counted])}${verdict}`);
  return { ...found, budget };
}

console.log(`${'bytes'.padEnd(24)}${['raw', 'gzip', 'brotli', 'memory', 'budget'].map((name) => name.padStart(12)).join('')}${'change'.padStart(10)}`);
const now = { wire: {}, memory: {} };
for (const [name, before] of Object.entries(committed.wire)) now.wire[name] = row(name, measureFile(name), before, 'gzip');
for (const [name, before] of Object.entries(committed.memory)) now.memory[name] = row(name, await measureMemory(name), before, 'bytes');
if (update) writeFileSync(table, `${JSON.stringify(now, null, 2)}\n`);
if (over.length > 0) {
  console.error(`Over the budget of scripts/sizes.json: ${over.join(', ')}. Make it smaller.`);
  process.exitCode = 1;
}
