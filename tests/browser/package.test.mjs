// The package in Chromium under script-src 'self' 'wasm-unsafe-eval': page, module worker, service worker, and the same bits
// as in Node.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { POLICY } from '../../scripts/serve.mjs';
import { launch, openPage, root, servePackage } from './chromium.mjs';
import { runInFirefox } from './firefox.mjs';
import { load } from '../../bindings/js/dist/index.js';

const packs = ['tiny_open.beex', 'tiny_bounded.beex'].map((name) => join(root, 'model_pack/golden', name));
const files = {
  'worker.js': `import { load } from './beex/index.js';
    self.onmessage = async ({ data }) => self.postMessage((await load('./tiny_open.beex')).classify(data).score);`,
  'service.js': `import { load } from './beex/index.js';
    const loading = load('./tiny_open.beex');
    self.onmessage = async ({ data, ports: [port] }) => port.postMessage((await loading).classify(data).score);`,
};
const site = await servePackage(files, packs);
const forbidding = await servePackage({}, packs, POLICY.replace(" 'wasm-unsafe-eval'", ''));
const browser = await launch();
after(async () => {
  await browser.close();
  site.close();
  forbidding.close();
});

const TEXTS = ['', 'a charming and often affecting journey', 'Don\'t — café, naïve 中文 text!', '😀 \ud800 \0 x', 'word '.repeat(200)];
const bits = (floats) => [...new Uint32Array(floats.buffer)];

test('page: every source, the same bits as Node, SIMD and scalar', async () => {
  const { page, problems, requests } = await openPage(browser, site.url);
  const [open, pair] = await Promise.all(packs.map((path) => load(path)));
  const expected = {
    open: TEXTS.map((text) => bits(open.classify(text).logits)),
    off: TEXTS.map((text) => bits(open.classify(text, { exit: 'off' }).logits)),
    pair: TEXTS.map((text) => bits(pair.classify({ a: text, b: 'journey' }).logits)),
  };
  const found = await page.evaluate(async (texts) => {
    const { load } = await import('./beex/index.js');
    const bits = (floats) => [...new Uint32Array(floats.buffer)];
    const answers = [];
    const bytes = await (await fetch('tiny_open.beex')).arrayBuffer();
    for (const source of ['./tiny_open.beex', new URL('tiny_open.beex', location.href), new Request('tiny_open.beex'), await fetch('tiny_open.beex'), new Blob([bytes]), bytes]) {
      const open = await load(source);
      answers.push(texts.map((text) => bits(open.classify(text).logits)));
    }
    const scalar = await load(bytes, { simd: false });
    const open = await load(bytes);
    const pair = await load('./tiny_bounded.beex');
    return {
      answers, kernels: [open.info.kernels, scalar.info.kernels], scalar: texts.map((text) => bits(scalar.classify(text).logits)),
      off: texts.map((text) => bits(open.classify(text, { exit: 'off' }).logits)),
      pair: texts.map((text) => bits(pair.classify({ a: text, b: 'journey' }).logits)),
    };
  }, TEXTS);
  assert.deepEqual(found.kernels, ['simd128', 'scalar']);
  assert.equal(found.answers.length, 6);
  for (const answer of found.answers) assert.deepEqual(answer, expected.open);
  assert.deepEqual(found.scalar, expected.open);
  assert.deepEqual(found.off, expected.off);
  assert.deepEqual(found.pair, expected.pair);
  assert.deepEqual(problems, []);
  assert.ok(requests.every((url) => url.startsWith(site.url)), requests.join('\n'));
});

test('Firefox loads a pack by its address and answers the same', async () => {
  const scores = await runInFirefox([packs[0]], async (texts) => {
    const { load } = await import('./beex/index.js');
    return (await load('./tiny_open.beex')).classify(texts).map(({ score }) => score);
  }, TEXTS);
  assert.deepEqual(scores, (await load(packs[0])).classify(TEXTS).map(({ score }) => score));
});

test('module worker and service worker', async () => {
  const { page, problems, context } = await openPage(browser, site.url);
  const { score } = (await load(packs[0])).classify(TEXTS[1]);
  assert.equal(await page.evaluate((text) => new Promise((done, failed) => {
    const worker = new Worker('./worker.js', { type: 'module' });
    worker.onmessage = ({ data }) => done(data);
    worker.onerror = (event) => failed(new Error(event.message ?? 'worker failed'));
    worker.postMessage(text);
  }), TEXTS[1]), score);
  assert.equal(await page.evaluate(async (text) => {
    const registration = await navigator.serviceWorker.register('./service.js', { type: 'module' });
    await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise((done) => { port1.onmessage = ({ data }) => done(data); });
    registration.active.postMessage(text, [port2]);
    return answer;
  }, TEXTS[1]), score);
  assert.deepEqual(problems, []);
  await context.close();
});

test('offline after load: nothing is fetched, not even for another classifier from bytes', async () => {
  const { page, context, problems } = await openPage(browser, site.url);
  const label = await page.evaluate(async () => {
    const { load } = await import('./beex/index.js');
    globalThis.bytes = await (await fetch('tiny_open.beex')).arrayBuffer();
    globalThis.classifier = await load(bytes);
    globalThis.load = load;
    return classifier.classify('bleak').label;
  });
  await context.setOffline(true);
  assert.equal(await page.evaluate(() => classifier.classify('bleak').label), label);
  assert.equal(await page.evaluate(async () => (await load(bytes)).classify('bleak').label), label);
  assert.deepEqual(problems, []);
  await context.close();
});

test("without 'wasm-unsafe-eval' the error names it", async () => {
  const { page } = await openPage(browser, forbidding.url);
  const error = await page.evaluate(async () => {
    const { load } = await import('./beex/index.js');
    return load('./tiny_open.beex').then(() => 'loaded', ({ name, code, message }) => ({ name, code, message }));
  });
  assert.equal(error.name, 'BeexError');
  assert.equal(error.code, 'csp');
  assert.match(error.message, /'wasm-unsafe-eval'/);
});

test('a missing pack and an abort, as a page sees them', async () => {
  const { page } = await openPage(browser, site.url);
  const [missing, aborted] = await page.evaluate(async () => {
    const { load } = await import('./beex/index.js');
    const failure = (promise) => promise.then(() => 'loaded', ({ name, code, message }) => ({ name, code, message }));
    return [await failure(load('./nothing.beex')), await failure(load('./tiny_open.beex', { signal: AbortSignal.abort() }))];
  });
  assert.equal(missing.code, 'network');
  assert.match(missing.message, /nothing\.beex answered 404/);
  assert.equal(aborted.name, 'AbortError');
});

test('100 classifiers loaded and disposed of do not pile up', async () => {
  const { page, context } = await openPage(browser, site.url);
  const total = await page.evaluate(async () => {
    const { load } = await import('./beex/index.js');
    const bytes = await (await fetch('tiny_open.beex')).arrayBuffer();
    let total = 0;
    for (let i = 0; i < 100; i++) {
      const classifier = await load(bytes);
      classifier.classify('bleak');
      total = classifier.memory().total;
      classifier.dispose();
    }
    return total;
  });
  assert.equal(total, 1024 * 1024, 'each has its own small memory');
  await context.close();
});
