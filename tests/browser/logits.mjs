// Prints what a pack answers in Chromium, as bits, in the form of tests/tools/logits.cpp from the "|" on, so that engines can be
// compared with cmp:
//
//   node tests/browser/logits.mjs [--firefox | --node] [--scalar] PACK TEXTFILE
//   build/native/tests/logits PACK < TEXTFILE | sed 's/^.*|/|/'
//
// --firefox and --node run the same package there instead, --scalar the engine without SIMD. The kernels' name and the engine's
// fingerprint go to stderr.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { launch, openPage, servePackage } from './chromium.mjs';
import { runInFirefox } from './firefox.mjs';

const { values, positionals: [pack, texts] } = parseArgs({
  allowPositionals: true,
  options: { firefox: { type: 'boolean', default: false }, node: { type: 'boolean', default: false }, scalar: { type: 'boolean', default: false } },
});
if (!pack || !texts) {
  console.error('usage: node tests/browser/logits.mjs [--firefox | --node] [--scalar] PACK TEXTFILE');
  process.exit(2);
}
const lines = readFileSync(texts, 'utf8').split('\n');
if (lines.at(-1) === '') lines.pop();

// Runs in Node or, as source text, in the page.
async function answer(module, source, simd, inputs) {
  const REASONS = ['last', 'certain', 'reduction', 'rising', 'entropy', 'patience', 'probability'];
  const { load } = await import(module);
  const classifier = await load(source, { simd });
  const hex = (value) => new Uint32Array(Float32Array.of(value).buffer)[0].toString(16).padStart(8, '0');
  const output = inputs.map((line) => {
    if (classifier.info.task === 'features') return `| ${Array.from(classifier.embed(line), hex).join(' ')}`;
    const [a, b = ''] = line.split(/\t(.*)/s);
    const { label, labels, scores, exit, windows } = classifier.classify(classifier.info.inputs === 'pair' ? { a, b } : line);
    const floats = classifier.labels.map((name) => hex(scores[name])).join(' ');
    const answered = labels ? ` ;${labels.map((name) => ` ${classifier.labels.indexOf(name)}`).join('')}` : '';
    return `| ${exit.block} ${REASONS.indexOf(exit.reason)} ${classifier.labels.indexOf(label)} ${windows} ${floats}${answered}`;
  });
  return { ran: `kernels: ${classifier.info.kernels}, fingerprint: ${classifier.fingerprint()}`, output };
}

let result;
if (values.node) {
  result = await answer(new URL('../../bindings/js/dist/index.js', import.meta.url), pack, !values.scalar, lines);
} else if (values.firefox) {
  result = await runInFirefox([pack], answer, './beex/index.js', `./${basename(pack)}`, !values.scalar, lines);
} else {
  const site = await servePackage({}, [pack]);
  const browser = await launch();
  try {
    const { page } = await openPage(browser, site.url);
    result = await page.evaluate(`(${answer})('./beex/index.js', ${JSON.stringify(`./${basename(pack)}`)}, ${!values.scalar}, ${JSON.stringify(lines)})`);
  } finally {
    await browser.close();
    site.close();
  }
}
console.error(result.ran);
process.stdout.write(result.output.map((line) => `${line}\n`).join(''));
