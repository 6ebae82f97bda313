// The measurements of scripts/bench, put together; see there for the options. Everything is built and installed when this runs.
//
// Keys at the top of the JSON are the numbers to follow; the rest says how they came about. Times are in the unit that the key ends
// with, ratios say how many times as long the other took.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, type } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { root } from '../browser/chromium.mjs';
import { installed } from '../js/installed.mjs';
import { models, openBench, peers } from './chromium.mjs';
import { change, count } from './instructions.mjs';
import { PUBLISHED, picture, readme, table } from './report.mjs';
import { mean, ratio, spread } from './statistics.mjs';

const PARTS = ['encoders', 'sentences', 'long', 'start', 'kernels', 'engine', 'bytes', 'instructions'];
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, readme: { type: 'boolean' }, data: { type: 'string' } },
});
const parts = positionals.length > 0 ? positionals : PARTS;
const { quick } = options;
const PACK = join(root, 'model_pack/packs/sentiment.beex');
const pack = './packs/sentiment.beex'; // the same, for the page
const { texts, source } = readTexts();

// Without the baseline compiler: V8 would leave some loops in it and not others, and ratios would compare compilers.
const wasmTool = (name, ...args) => execFileSync('node', ['--no-experimental-fetch', '--no-liftoff', join(root, `build/wasm/tests/${name}.js`), ...args], { encoding: 'utf8' });
const gzipped = (...path) => gzipSync(readFileSync(join(...path)), { level: 9 }).length;

const measure = {
  // Encoders of the same shape, full depth, in one page each.
  async encoders(browser) {
    const shapes = quick ? { mini: ['int8', 'fp32'], minilm: ['int8'] } : { tiny: ['int8', 'fp32'], mini: ['int8', 'fp32'], minilm: ['int8', 'fp32'] };
    const encoders = {};
    for (const [shape, precisions] of Object.entries(shapes)) {
      const times = await browser.encoders({ shape, precisions, lengths: quick ? [32] : [16, 32, 64, 128], rounds: quick ? 15 : 21 });
      encoders[shape] = Object.fromEntries(Object.entries(times).map(([length, { beex, ...others }]) => [length, {
        ms: Object.fromEntries(Object.entries({ beex, ...others }).map(([name, each]) => [name, spread(each)])),
        times_beex: Object.fromEntries(Object.entries(others).map(([name, each]) => [name, ratio(each, beex)])),
      }]));
    }
    const at32 = (shape, name) => encoders[shape]?.[32].times_beex[name]?.median;
    return {
      mini_vs_ort_int8: at32('mini', 'ort_int8'), mini_vs_ort_fp32: at32('mini', 'ort_fp32'),
      minilm_vs_ort_int8: at32('minilm', 'ort_int8'), minilm_vs_ort_fp32: at32('minilm', 'ort_fp32'),
      tiny_vs_ort_int8: at32('tiny', 'ort_int8'), scalar_vs_simd: at32('mini', 'beex_scalar'), encoders,
    };
  },

  // The sentiment pack on sentences, beside the floor below it and the encoders above.
  async sentences(browser) {
    const sizes = { small: './packs/sentiment_small.beex', large: './packs/sentiment_large.beex' };
    const { times, ...rest } = await browser.sentences({ pack, ...sizes, texts, shapes: ['tiny', 'mini'], rounds: quick ? 9 : 31, chunk: quick ? 10 : 28 });
    const { accuracy } = rest;
    // The peer of the same worth: the most accurate shape that is published as no better.
    const peerOf = (name) => Object.entries(PUBLISHED).filter(([, published]) => published <= accuracy[name]).sort(([, a], [, b]) => b - a)[0]?.[0];
    const peer = peerOf('beex_exits'), fastPeer = peerOf('beex_fast'), smallPeer = peerOf('beex_small'), largePeer = peerOf('beex_large');
    const against = (name) => ratio(times[name], times.beex_exits);
    const vs = Object.fromEntries(Object.keys(times).filter((name) => name !== 'beex_exits').map((name) => [name, against(name)]));
    return {
      sentiment_vs_ort_int8: vs[peer]?.median, sentiment_peer: peer,
      sentiment_fast_vs_ort_int8: fastPeer && ratio(times[fastPeer], times.beex_fast), sentiment_fast_peer: fastPeer,
      sentiment_small_vs_ort_int8: smallPeer && ratio(times[smallPeer], times.beex_small), sentiment_small_peer: smallPeer,
      sentiment_large_fast_vs_ort_int8: largePeer && ratio(times[largePeer], times.beex_large), sentiment_large_fast_peer: largePeer,
      sst2_exits_vs_bert_tiny_int8: vs.bert_tiny_int8.median, sst2_exits_vs_bert_mini_int8: vs.bert_mini_int8.median,
      sst2_exits_us: 1000 * mean(times.beex_exits),
      sentences: { source, count: texts.length, ...rest, us: Object.fromEntries(Object.entries(times).map(([name, ms]) => [name, spread(ms.map((each) => 1000 * each))])), times_exits: vs },
    };
  },

  // What a token costs in longer texts, in windows as the pack reads them.
  async long(browser) {
    const lengths = quick ? [126, 512] : [32, 126, 512, 2048];
    const found = await browser.long({ pack, texts, lengths, rounds: quick ? 5 : 11 });
    const perToken = ({ ms, tokens }) => ms.map((each) => each / tokens);
    const long = Object.fromEntries(Object.entries(found).map(([length, each]) =>
      [length, { tokens: each.tokens, ms: spread(each.ms), times_linear: ratio(perToken(each), perToken(found[126])) }]));
    return { long_vs_linear: long[512].times_linear.median, long };
  },

  // Navigation to first answer, and the memory it takes.
  async start(browser) {
    const runs = async (load, which, times) => {
      const loads = [];
      for (let i = 0; i < times; i++) loads.push(await load(which));
      return { ...Object.fromEntries(['cold', 'warm'].map((cache) => [cache, spread(loads.map((each) => each[cache] / 1000))])), bytes: loads[0].bytes };
    };
    // Each once before, as the server compresses its files then.
    const times = async (load, counts) => {
      const found = {};
      for (const [which, count] of Object.entries(counts)) if (count > 0) found[which] = await runs(load, which, count);
      return found;
    };
    await times(browser.startOnLocalhost, { empty: 1, beex: 1, beex_small: 1, ort: 1 });
    const start = {
      localhost_s: await times(browser.startOnLocalhost, quick ? { empty: 3, beex: 5, beex_small: 1, ort: 1 } : { empty: 15, beex: 15, beex_small: 5, ort: 5 }),
      fast_4g_s: await times(browser.startOnFast4G, quick ? { beex: 1, beex_small: 1, ort: 0 } : { beex: 5, beex_small: 5, ort: 2 }),
    };
    for (const each of Object.values(start.fast_4g_s)) each.least = browser.leastOnFast4G(each.bytes);
    const { localhost_s: { empty, beex, ort }, fast_4g_s: { beex: far, beex_small: small } } = start;
    return {
      cold_localhost_s: beex.cold.median, warm_localhost_s: beex.warm.median, empty_localhost_s: empty.cold.median, cold_fast_4g_s: far.cold.median, warm_fast_4g_s: far.warm.median,
      least_fast_4g_s: far.least, small_cold_fast_4g_s: small.cold.median, memory_mb: (await browser.memory('beex')) / 1e6, ort_memory_mb: (await browser.memory('ort')) / 1e6,
      cold_localhost_vs_ort: ort.cold.median / beex.cold.median, start,
    };
  },

  // Binary products beside float ones and beside what registers could do.
  kernels() {
    const rows = wasmTool('bench_kernels', quick ? '3' : '15').split('\n')
      .map((line) => line.match(/^ *(\d+) x (\d+) +(\d+) +(\w+) +[\d.]+ +[\d.]+ +([\d.]+)/)).filter(Boolean)
      .map(([, columns, rows, bits, kernels, gops]) => ({ columns: +columns, rows: +rows, bits: +bits, kernels, gops: +gops }));
    const gops = (name, shape) => rows.find((row) => row.bits === 1 && row.kernels === name && row.columns === shape.columns && row.rows === shape.rows).gops;
    const yardstick = spread(rows.filter((row) => row.kernels === 'yardstick').map((row) => gops('simd128', row) / row.gops));
    const of = (bits, kernels) => spread(rows.filter((row) => row.bits === bits && row.kernels === kernels).map((row) => row.gops));
    const kernels = Object.fromEntries([...new Set(rows.map((row) => row.kernels))].filter((name) => name !== 'yardstick').map((name) => [name, Object.fromEntries([1, 2, 4].map((bits) => [bits, of(bits, name)]))]));
    return { gemm_gops: kernels.simd128[1].median, gemm_gops_4bit: kernels.simd128[4].median, gemm_vs_yardstick: yardstick.median, yardstick, limits: JSON.parse(wasmTool('bench_limits')), kernels, products: rows };
  },

  // Stages of a text at full depth, and the same kernels without SIMD, in Node.
  engine() {
    const of = (path, pieces) => JSON.parse(wasmTool('bench_engine', path, '--tokens', pieces, '--runs', quick ? '50' : '200'));
    const [engine, mini] = [of(PACK, '32'), of(join(models, 'mini.beex'), '30')]; // of BERT-mini's shape, 32 tokens with the two that frame a text
    return { besides_products: 1 - mini.kernels.simd128.share.binary_linear, engine };
  },

  // What goes over the wire, gzip -9.
  bytes() {
    const dist = join(installed, 'dist'), ort = join(peers, 'onnxruntime-web/dist');
    const bytes = {
      beex: { js: gzipped(dist, 'index.js'), wasm: gzipped(dist, 'engine.wasm'), pack: gzipped(PACK) },
      ort: { js: gzipped(ort, 'ort.wasm.bundle.min.mjs'), wasm: gzipped(ort, 'ort-wasm-simd-threaded.wasm'), bert_tiny_int8: gzipped(models, 'tiny.int8.onnx') },
    };
    return { js_gz: bytes.beex.js, wasm_gz: bytes.beex.wasm, pack_gz: bytes.beex.pack, bytes };
  },

  instructions() {
    const now = count();
    return { instructions_per_classify: now.per_classify.simd128, instructions: { ...now, change: change(now) } };
  },
};

const unknown = parts.filter((part) => !PARTS.includes(part));
if (unknown.length > 0) {
  console.error(`scripts/bench has no part ${unknown.join(', ')}; it has ${PARTS.join(', ')}.`);
  process.exit(2);
}
const browser = parts.some((part) => ['encoders', 'sentences', 'long', 'start'].includes(part)) ? await openBench() : undefined;
const result = {
  machine: {
    cpu: cpus()[0].model.trim(), system: `${type()} ${release().split('-')[0]}`, node: process.versions.node, chromium: browser?.version,
    onnxruntime_web: JSON.parse(readFileSync(join(peers, 'onnxruntime-web/package.json'), 'utf8')).version,
    date: new Date().toISOString().slice(0, 10), command: `scripts/bench ${process.argv.slice(2).map((word) => (word === options.data ? 'SST-2' : word)).join(' ')}`.trim(),
  },
};
try {
  for (const part of parts) {
    const started = Date.now();
    Object.assign(result, await measure[part](browser));
    console.error(`beex: ${part}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
  }
} finally {
  await browser?.close();
}

if (options.json) console.log(JSON.stringify(result, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(Number.isInteger(value) ? 15 : 4)) : value), 1));
else console.log(table(result));
if (options.readme) {
  writeFileSync(join(root, 'tests/bench/speed.svg'), picture(result));
  const path = join(root, 'README.md');
  writeFileSync(path, readFileSync(path, 'utf8').replace(/(<!-- speed[^\n]*-->\n)[^]*?(<!-- \/speed -->)/, (_, begin, end) => begin + readme(result) + end));
}

// SST-2's dev rows where the data are at hand (they may not be in a repository), or else sentences of our own.
function readTexts() {
  if (!options.data) {
    return { source: 'tests/bench/sentences.txt', texts: readFileSync(join(root, 'tests/bench/sentences.txt'), 'utf8').trim().split('\n') };
  }
  const path = [join(options.data, 'dev.tsv'), join(options.data, 'sst2/dev.tsv')].find(existsSync);
  if (!path) throw new Error(`${options.data} has no dev.tsv (label, text): it is SST-2's as scripts/make-pack takes it.`);
  const [header, ...rows] = readFileSync(path, 'utf8').trim().split(/\r?\n/);
  const column = header.split('\t').findIndex((name) => name === 'text' || name === 'sentence');
  return { source: 'SST-2 dev', texts: rows.map((row) => row.split('\t')[column]) };
}
