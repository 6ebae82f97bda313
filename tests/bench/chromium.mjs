// The parts of scripts/bench that run in Chromium: encoders, sentences, long texts, start.
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { POLICY, serve } from '../../scripts/serve.mjs';
import { launch, root } from '../browser/chromium.mjs';
import { installed } from '../js/installed.mjs';

const { build } = createRequire(join(root, 'bindings/js/package.json'))('esbuild');
export const peers = join(root, 'tests/bench/node_modules');
export const models = join(root, 'build/bench/encoders');

// DevTools' "Fast 4G": 165 ms a request, 8.1 Mbit/s down, 1.35 Mbit/s up.
const FAST_4G = { offline: false, latency: 165, downloadThroughput: 1_012_500, uploadThroughput: 168_750 };
const PAGE = (script, preload = []) => `<!doctype html><title>bench</title><link rel="icon" href="data:,">${
  preload.map((file) => `<link rel="preload" href="${file}" as="fetch" crossorigin>`).join('')}<script type="module" src="${script}"></script>`;
const FIRST = 'a charming and often affecting journey';

// A page says what it answered and when, in ms since the navigation began. Each is bundled as a site would do it, and tells the browser
// at once what the script will ask for.
const beexPage = (pack) => `
    import { load } from 'beex';
    import pack from 'beex/packs/${pack}';
    const { label } = (await load(pack)).classify(${JSON.stringify(FIRST)});
    globalThis.first = { label, ms: performance.now() };`;
const START = {
  empty: `globalThis.first = { label: '', ms: performance.now() };`, // what a page with a script takes anyway
  beex: beexPage('sentiment'),
  beex_small: beexPage('sentiment_small'),
  ort: `
    import { InferenceSession, Tensor, env } from 'onnxruntime-web/wasm';
    env.wasm.numThreads = 1;
    env.wasm.wasmPaths = { wasm: new URL('ort-wasm-simd-threaded.wasm', location.href).href };
    const session = await InferenceSession.create('tiny.int8.onnx', { executionProviders: ['wasm'] });
    const ones = new Tensor('int64', new BigInt64Array(10).fill(1n), [1, 10]);
    const { logits } = await session.run({ input_ids: ones, attention_mask: ones, token_type_ids: ones });
    globalThis.first = { label: String(logits.data[0]), ms: performance.now() };`,
};

/** Serves the pages and starts Chromium. Gives { version, parts, close }. */
export async function openBench() {
  const folder = mkdtempSync(join(tmpdir(), 'beex-bench-'));
  writeFileSync(join(folder, 'index.html'), PAGE('page.mjs'));
  cpSync(join(root, 'tests/bench/page.mjs'), join(folder, 'page.mjs'));
  for (const [name, target] of Object.entries({
    beex: installed, encoders: models, packs: join(root, 'model_pack/packs'), ort: join(peers, 'onnxruntime-web/dist'), fasttext: join(peers, 'fasttext.wasm.js/dist'),
  })) symlinkSync(target, join(folder, name));
  await writeStartPages(folder);
  // fastText's glue makes functions from strings, and hashed file names let a site say that files never change.
  const policy = POLICY.replace("'wasm-unsafe-eval'", "'wasm-unsafe-eval' 'unsafe-eval'");
  const { server, url } = await serve(folder, 0, policy, 'max-age=31536000, immutable');
  const browser = await launch();

  // Calls a function of page.mjs in a page of its own, so that no part inherits another's memory.
  async function inPage(name, options) {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.on('pageerror', (error) => console.error(`${name}: ${error}`));
    await page.goto(url);
    const result = await page.evaluate(async ([name, options]) => (await import('./page.mjs'))[name](options), [name, options]);
    await context.close();
    return result;
  }

  // ms from navigation to first answer, with an empty cache and with a full one, and bytes over the wire with an empty one: { cold, warm,
  // bytes }.
  async function start(which, network) {
    const context = await browser.newContext();
    const ms = {};
    for (const cache of ['cold', 'warm']) {
      const page = await context.newPage();
      const session = await context.newCDPSession(page);
      await session.send('Network.enable');
      if (network) await session.send('Network.emulateNetworkConditions', network);
      await page.goto(`${url}start/${which}/`, { waitUntil: 'commit' });
      await page.waitForFunction(() => globalThis.first, undefined, { polling: 50, timeout: 60_000 });
      ms[cache] = (await page.evaluate(() => globalThis.first)).ms;
      ms.bytes ??= await page.evaluate(() => ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type))
        .reduce((sum, { transferSize }) => sum + transferSize, 0));
      await page.close();
    }
    await context.close();
    return ms;
  }

  // Bytes of all WebAssembly memories of a page after its first answer, whoever made them.
  async function memory(which) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.addInitScript(watchMemories);
    await page.goto(`${url}start/${which}/`);
    await page.waitForFunction(() => globalThis.first, undefined, { timeout: 60_000 });
    const bytes = await page.evaluate(() => [...globalThis.memories].reduce((sum, { buffer }) => sum + buffer.byteLength, 0));
    await context.close();
    return bytes;
  }

  return {
    version: browser.version(),
    memory,
    encoders: (options) => inPage('encoders', options),
    sentences: (options) => inPage('sentences', options),
    long: (options) => inPage('long', options),
    startOnLocalhost: (which) => start(which),
    startOnFast4G: (which) => start(which, FAST_4G),
    // Seconds that the line alone takes: one request for the page, then all others at once.
    leastOnFast4G: (bytes) => (2 * FAST_4G.latency) / 1000 + bytes / FAST_4G.downloadThroughput,
    async close() {
      await browser.close();
      server.close();
      server.closeAllConnections();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

// Runs in the page before its scripts: collects the memories that they make or that their modules export.
function watchMemories() {
  const { Memory, instantiate, instantiateStreaming } = WebAssembly;
  const memories = (globalThis.memories = new Set());
  WebAssembly.Memory = class extends Memory {
    constructor(...args) {
      super(...args);
      memories.add(this);
    }
  };
  const watched = (original) => async (...args) => {
    const result = await original.apply(WebAssembly, args);
    for (const value of Object.values((result.instance ?? result).exports)) if (value instanceof Memory) memories.add(value);
    return result;
  };
  WebAssembly.instantiate = watched(instantiate);
  WebAssembly.instantiateStreaming = watched(instantiateStreaming);
}

// A folder for each, with what a bundler would emit.
async function writeStartPages(folder) {
  const beexFiles = (pack) => ['dist/engine.wasm', `dist/packs/${pack}.beex`].map((path) => join(installed, path));
  const beside = {
    empty: [],
    beex: beexFiles('sentiment'),
    beex_small: beexFiles('sentiment_small'),
    ort: [join(peers, 'onnxruntime-web/dist/ort-wasm-simd-threaded.wasm'), join(models, 'tiny.int8.onnx')],
  };
  for (const [name, source] of Object.entries(START)) {
    await build({
      stdin: { contents: source, resolveDir: folder }, outfile: join(folder, 'start', name, 'index.js'), nodePaths: [join(installed, '..'), peers],
      bundle: true, format: 'esm', target: 'es2022', minify: true, logLevel: 'error',
    });
    const files = beside[name].map((path) => path.split('/').at(-1));
    writeFileSync(join(folder, 'start', name, 'index.html'), PAGE('index.js', files));
    beside[name].forEach((path, i) => cpSync(path, join(folder, 'start', name, files[i])));
  }
}
