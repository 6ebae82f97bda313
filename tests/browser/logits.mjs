// Prints what a pack answers in Chromium, as bits, in the form of tests/tools/logits.cpp from the first "|" on, so that engines can be
// compared with cmp:
//
//   node tests/browser/logits.mjs [--firefox | --node] [--scalar] [--own] PACK TEXTFILE
//   build/native/tests/logits PACK < TEXTFILE | sed 's/^[^|]*|/|/'
//
// --firefox and --node run the same package there instead, --scalar the engine without SIMD; --own leaves out all speeds but
// the pack's. The kernels' name and the engine's fingerprint go to stderr.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { launch, openPage, servePackage } from './chromium.mjs';
import { runInFirefox } from './firefox.mjs';

const { values, positionals: [pack, texts] } = parseArgs({
  allowPositionals: true,
  options: { firefox: { type: 'boolean', default: false }, node: { type: 'boolean', default: false }, scalar: { type: 'boolean', default: false }, own: { type: 'boolean', default: false } },
});
if (!pack || !texts) {
  console.error('usage: node tests/browser/logits.mjs [--firefox | --node] [--scalar] [--own] PACK TEXTFILE');
  process.exit(2);
}
const lines = readFileSync(texts, 'utf8').split('\n');
if (lines.at(-1) === '') lines.pop();

// Runs in Node or, as source text, in the page.
async function answer(module, source, simd, own, inputs) {
  const REASONS = ['last', 'certain', 'reduction', 'rising', 'entropy', 'patience', 'probability'];
  const { load } = await import(module);
  const classifier = await load(source, { simd });
  const { labels: names, info } = classifier;
  const hex = (value) => new Uint32Array(Float32Array.of(value).buffer)[0].toString(16).padStart(8, '0');
  const hexes = (scores) => names.map((name) => hex(scores[name])).join(' ');

  const options = { own: {} };
  if (!own) {
    for (const speed of ['accurate', 'fast']) if (info.speeds.some(({ name }) => name === speed)) options[speed] = { speed };
    if (info.speeds.length > 0) options.middle = { speed: { speedup: info.speeds[info.speeds.length >> 1].speedup } };
    if (info.elimination) options.words = { speed: { speedup: 1.25 }, exit: 'off' };
  }

  const traced = ({ words, exits, blocks }) => {
    const exit = ({ exit, entropy, scores }) => ` e ${exit} ${hex(entropy)} ${hexes(scores)}`;
    const block = ({ block, skipped, gate, tokensIn, tokensOut, dropped }) =>
      ` b ${[block, Number(skipped), gate === undefined ? '-' : hex(gate), tokensIn, tokensOut, ...dropped.map((word) => words.indexOf(word))].join(' ')}`;
    const after = (step) => exits.filter((each) => !step.skipped && each.exit === step.block).map(exit).join('');
    return ` w ${words.length}${exit(exits[0])}${blocks.map((step) => block(step) + after(step)).join('')}`;
  };
  const under = (name, input) => {
    const { label, labels, scores, exit, windows, trace } = classifier.classify(input, { ...options[name], trace: true });
    const answered = labels ? ` ;${labels.map((each) => ` ${names.indexOf(each)}`).join('')}` : '';
    return `| ${name}${trace.windows.map(traced).join('')} = ${exit.block} ${REASONS.indexOf(exit.reason)} ${names.indexOf(label)} ${windows} ${hexes(scores)}${answered}`;
  };
  const output = inputs.map((line) => {
    if (info.task === 'features') return `| ${Array.from(classifier.embed(line), hex).join(' ')}`;
    const [a, b = ''] = line.split(/\t(.*)/s);
    return Object.keys(options).map((name) => under(name, info.inputs === 'pair' ? { a, b } : line)).join('');
  });
  return { ran: `kernels: ${info.kernels}, fingerprint: ${classifier.fingerprint()}`, output };
}

let result;
if (values.node) {
  result = await answer(new URL('../../bindings/js/dist/index.js', import.meta.url), pack, !values.scalar, values.own, lines);
} else if (values.firefox) {
  result = await runInFirefox([pack], answer, './beex/index.js', `./${basename(pack)}`, !values.scalar, values.own, lines);
} else {
  const site = await servePackage({}, [pack]);
  const browser = await launch();
  try {
    const { page } = await openPage(browser, site.url);
    result = await page.evaluate(`(${answer})('./beex/index.js', ${JSON.stringify(`./${basename(pack)}`)}, ${!values.scalar}, ${values.own}, ${JSON.stringify(lines)})`);
  } finally {
    await browser.close();
    site.close();
  }
}
console.error(result.ran);
process.stdout.write(result.output.map((line) => `${line}\n`).join(''));
