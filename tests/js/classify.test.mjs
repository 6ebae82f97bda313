// What the package answers: golden logits, options, odd texts, both engines.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { beex, bits, edited, failsWith, floatsOf, packBytes, packPath, root } from './installed.mjs';

const { fingerprint, load } = beex;
const open = await load(packBytes('tiny_open'));
const pairs = await load(packBytes('tiny_bounded'));
const multi = await load(packBytes('tiny_multilabel'));
const features = await load(packBytes('tiny_features'));
const scalar = { open: await load(packBytes('tiny_open'), { simd: false }), pairs: await load(packBytes('tiny_bounded'), { simd: false }) };

const TEXTS = ['', ' ', 'a', 'a charming and often affecting journey', 'unflinchingly bleak and desperate', 'Don\'t — café, naïve 中文 text!',
  'nul \0 inside', '😀 👩‍👩‍👧‍👦 emoji', 'e\u0301 combining', '\u202eright to left', 'tabs\tand\nlines', 'x'.repeat(500), 'word '.repeat(300)];

// The texts of a golden file with the logits of their last exit and their vectors, as bits. A pack of features has no logits, one for
// pairs no vectors.
function golden(name) {
  const cases = [];
  for (const block of readFileSync(join(root, 'model_pack/golden', `${name}.golden`), 'ascii').split(/^(?=text |pair )/m).slice(1)) {
    const text = (hex) => (hex === '-' ? '' : Buffer.from(hex, 'hex').toString('utf8'));
    const [kind, ...hex] = block.slice(0, block.indexOf('\n')).split(' ');
    const last = (name) => [...block.matchAll(new RegExp(`^${name} \\d+ \\d+\\n(.*)$`, 'gm'))].at(-1)?.[1].split(' ').map((word) => parseInt(word, 16));
    cases.push({ input: kind === 'text' ? text(hex[0]) : { a: text(hex[0]), b: text(hex[1]) }, logits: last('logits'), vector: last('vector') });
  }
  assert.ok(cases.length > 0, `${name}.golden has no cases`);
  return cases;
}

const folder = join(root, 'model_pack/golden');
for (const name of readdirSync(folder).filter((file) => file.endsWith('.golden')).map((file) => file.slice(0, -'.golden'.length))) {
  test(`${name}: logits and vectors are the trainer's, bit for bit, in both engines`, async () => {
    // Vectors of a published pack stand here too, the pack in its own folder.
    const pack = existsSync(packPath(name)) ? packPath(name) : join(root, 'model_pack/packs', `${name}.beex`);
    const engines = [await load(pack), await load(pack, { simd: false })];
    let compared = 0;
    for (const { input, logits, vector } of golden(name)) {
      for (const classifier of engines) {
        assert.equal(vector === undefined, classifier.info.inputs === 'pair');
        assert.equal(logits === undefined, classifier.info.task === 'features');
        if (vector) assert.deepEqual(bits(classifier.embed(input)), vector, JSON.stringify(input));
        if (vector) compared++;
        if (!logits) continue;
        const result = classifier.classify(input, { exit: 'off' });
        if (result.windows > 1) continue; // golden files have the first window, the result the last one
        assert.deepEqual(bits(result.logits), logits, JSON.stringify(input));
        compared++;
      }
    }
    assert.ok(compared >= 2, `${compared} compared`);
  });
}

test('the engines really are two, and agree bit for bit', () => {
  assert.equal(open.info.kernels, 'simd128');
  assert.equal(scalar.open.info.kernels, 'scalar');
  for (const exit of ['default', 'off', 'entropy:0.9', 'patience:2', 'probability:0.5', 'fractional:0.5,first=1']) {
    for (const text of TEXTS) {
      const [a, b] = [open, scalar.open].map((classifier) => classifier.classify(text, { exit }));
      assert.deepEqual(bits(a.logits), bits(b.logits), JSON.stringify(text));
      assert.deepEqual(a, b);
    }
  }
});

test('an answer has the documented shape', () => {
  const result = open.classify('a charming and often affecting journey');
  assert.deepEqual(Object.keys(result), ['label', 'score', 'scores', 'logits', 'exit', 'work', 'tokens', 'windows', 'truncated']);
  assert.deepEqual(Object.keys(multi.classify('a')), ['label', 'score', 'scores', 'labels', 'logits', 'exit', 'work', 'tokens', 'windows', 'truncated']);
  assert.deepEqual(Object.keys(result.scores), open.labels);
  assert.equal(result.score, Math.max(...Object.values(result.scores)));
  assert.equal(result.score, result.scores[result.label]);
  assert.ok(Math.abs(Object.values(result.scores).reduce((sum, score) => sum + score) - 1) < 1e-6);
  assert.equal(result.logits.length, 3);
  assert.equal(result.exit.of, 2);
  assert.ok(result.exit.block >= 0 && result.exit.block <= 2);
  assert.equal(result.truncated, false);
});

test('a multi-label answer has the labels above their thresholds, best first', async () => {
  const names = ['joy', 'fear', 'anger', 'surprise', 'other'];
  const thresholds = floatsOf(packBytes('tiny_multilabel'), 'threshold.by_label');
  const sizes = new Set();
  for (const text of [...TEXTS, ...TEXTS.join(' ').split(' ')]) {
    const { label, score, scores, labels } = multi.classify(text, { exit: 'off' });
    const above = names.filter((name, index) => scores[name] > thresholds[index]).sort((a, b) => scores[b] - scores[a]);
    assert.deepEqual(labels, above, text);
    assert.equal(score, Math.max(...Object.values(scores)));
    assert.equal(scores[label], score);
    sizes.add(labels.length);
  }
  assert.ok(sizes.size >= 2, `only answers of ${[...sizes]} labels`);
  // With thresholds that nothing reaches there is no label, though one is still the likeliest.
  const strict = await load(edited(packBytes('tiny_multilabel'), (view, section) => {
    const { offset } = section('threshold.by_label');
    names.forEach((_, index) => view.setFloat32(offset + 4 * index, 0.99999, true));
  }));
  const none = strict.classify('a charming journey');
  assert.deepEqual(none.labels, []);
  assert.ok(names.includes(none.label));
  assert.equal('labels' in open.classify('a'), false);
});

test('a probability rule asks every label of a multi-label pack', () => {
  const { scores } = multi.classify('a charming journey', { exit: 'probability:0' });
  const least = Math.min(...Object.values(scores).map((p) => Math.max(p, 1 - p)));
  const at = (threshold) => multi.classify('a charming journey', { exit: `probability:${threshold}` }).exit.block;
  assert.equal(at((least - 0.001).toFixed(6)), 0);
  assert.notEqual(at((least + 0.001).toFixed(6)), 0);
});

test('embed gives vectors of unit length, of packs with classes and without', () => {
  for (const classifier of [features, open, multi]) {
    const vectors = classifier.embed(TEXTS);
    assert.equal(vectors.length, TEXTS.length);
    vectors.forEach((vector, index) => {
      assert.ok(vector instanceof Float32Array);
      assert.equal(vector.length, classifier.info.hiddenSize);
      assert.ok(Math.abs(vector.reduce((sum, value) => sum + value * value, 0) - 1) < 1e-5);
      assert.deepEqual(bits(vector), bits(classifier.embed(TEXTS[index])));
    });
  }
  assert.deepEqual(features.embed([]), []);
  assert.notDeepEqual(bits(features.embed('bleak')), bits(features.embed('charming')));
  assert.deepEqual(bits(features.embed('\ud800x')), bits(features.embed('\ufffdx')));
});

test('a vector stays as it was when the classifier goes on', () => {
  const first = features.embed('bleak');
  const before = bits(first);
  features.embed('charming '.repeat(50_000)); // memory grows
  assert.deepEqual(bits(first), before);
});

test('lists give what single calls give, in order', () => {
  for (const classifier of [open, multi]) {
    assert.deepEqual(classifier.classify(TEXTS), TEXTS.map((text) => classifier.classify(text)));
    assert.deepEqual(classifier.classify([]), []);
  }
  const pair = { a: 'one', b: 'two' };
  assert.deepEqual(pairs.classify([pair, pair]), [pairs.classify(pair), pairs.classify(pair)]);
});

test('results stay as they were when the classifier goes on', () => {
  const first = open.classify('bleak');
  const logits = bits(first.logits);
  open.classify('charming '.repeat(50_000)); // memory grows
  assert.deepEqual(bits(first.logits), logits);
});

test('topK ranks the labels', () => {
  const { scores } = open.classify('journey');
  const ranked = Object.entries(scores).map(([label, score]) => ({ label, score })).sort((a, b) => b.score - a.score);
  assert.deepEqual(open.classify('journey', { topK: 2 }).top, ranked.slice(0, 2));
  assert.deepEqual(open.classify('journey', { topK: 9 }).top, ranked);
  assert.equal('top' in open.classify('journey'), false);
});

test('exit rules stop where they should', () => {
  const at = (exit) => open.classify('a charming journey', { exit }).exit;
  assert.deepEqual(at('off'), { block: 2, of: 2, reason: 'last' });
  assert.deepEqual(at('entropy:1.5'), { block: 0, of: 2, reason: 'entropy' });
  assert.deepEqual(at('entropy:1.5,first=1'), { block: 1, of: 2, reason: 'entropy' });
  assert.deepEqual(at('probability:0'), { block: 0, of: 2, reason: 'probability' });
  assert.deepEqual(at('probability:1'), { block: 2, of: 2, reason: 'last' });
  assert.deepEqual(at('patience:1'), { block: 0, of: 2, reason: 'patience' });
  assert.deepEqual(at('fractional:2'), { block: 1, of: 2, reason: 'reduction' });
  assert.deepEqual(at('fractional:0,certain=1.5'), { block: 0, of: 2, reason: 'certain' });
  assert.deepEqual(at({ kind: 'entropy', threshold: 1.5, first: 1 }), at('entropy:1.5,first=1'));
  const { exitRule } = open.info;
  assert.deepEqual(open.classify(TEXTS), open.classify(TEXTS, { exit: exitRule }));
  assert.deepEqual(open.classify(TEXTS), open.classify(TEXTS, { exit: beex.formatExitRule(exitRule) }));
  assert.equal(beex.formatExitRule(exitRule), 'fractional:0.02,certain=0.05,uncertain=0.9');
});

test('lone surrogates read as U+FFFD and harm nothing around them', () => {
  for (const [odd, same] of [['\ud800x', '\ufffdx'], ['bleak \udc00 journey', 'bleak \ufffd journey'], ['\ud83d', '\ufffd'], ['\udc00\ud800', '\ufffd\ufffd']]) {
    assert.deepEqual(open.classify(odd), open.classify(same));
  }
});

test('text is read to its end: NUL, emoji, and what follows them', () => {
  assert.notDeepEqual(bits(open.classify('\0 bleak', { exit: 'off' }).logits), bits(open.classify('\0', { exit: 'off' }).logits));
  assert.notDeepEqual(bits(open.classify('😀 bleak', { exit: 'off' }).logits), bits(open.classify('😀', { exit: 'off' }).logits));
  assert.equal(open.classify('').tokens, 0);
  assert.equal(open.classify('').windows, 1);
});

test('a megabyte of text is read in windows', () => {
  const result = open.classify('bleak journey '.repeat(75_000), { exit: 'probability:0' });
  assert.ok(result.tokens >= 150_000, `${result.tokens} tokens`);
  assert.ok(result.windows > 10_000 && result.windows < result.tokens, `${result.windows} windows`);
  assert.equal(result.truncated, false);
  assert.equal(open.classify('bleak').tokens, open.classify('bleak').tokens);
});

test('a long pair is cut, and says so', () => {
  const result = pairs.classify({ a: 'bleak '.repeat(100), b: 'journey' });
  assert.equal(result.truncated, true);
  assert.equal(result.windows, 1);
  assert.equal(pairs.classify({ a: 'a', b: 'b' }).truncated, false);
});

test('both texts of a pair count, in their order', () => {
  const logits = (a, b) => bits(pairs.classify({ a, b }, { exit: 'off' }).logits);
  assert.notDeepEqual(logits('bleak', 'charming'), logits('charming', 'bleak'));
  assert.notDeepEqual(logits('bleak', ''), logits('', ''));
  assert.deepEqual(logits('é\ud800', 'x'), logits('é\ufffd', 'x'));
});

test('info says what the pack is', () => {
  const { metadata, packBytes: size, ...info } = open.info;
  assert.deepEqual(info, {
    inputs: 'text', task: 'single-label', blocks: 2, hiddenSize: 64, heads: 4, vocabularySize: info.vocabularySize, maxTokens: 16, kernels: 'simd128',
    exitRule: { kind: 'fractional', threshold: 0.02, certain: 0.05, uncertain: 0.9, first: 0, keepLowerEntropy: false },
    speeds: [],
    elimination: false,
    skipGates: false,
  });
  assert.equal(metadata.name, 'tiny open');
  assert.equal(size, packBytes('tiny_open').length);
  assert.equal(pairs.info.inputs, 'pair');
  assert.equal(multi.info.task, 'multi-label');
  assert.equal(features.info.task, 'features');
  assert.deepEqual(features.labels, []);
  assert.equal(features.info.exitRule, undefined);
  assert.deepEqual(open.labels, ['joy', 'fear', 'other']);
});

test('the engine has one fingerprint, with SIMD and without, with a pack and without', async () => {
  const print = open.fingerprint();
  assert.match(print, /^[0-9a-f]{8}$/);
  assert.deepEqual([pairs.fingerprint(), scalar.open.fingerprint(), await fingerprint(), await fingerprint({ simd: false })], Array(4).fill(print));
  const before = bits(open.classify('a charming journey').logits);
  open.fingerprint();
  assert.deepEqual(bits(open.classify('a charming journey').logits), before);
  await assert.rejects(fingerprint({ signal: AbortSignal.abort(new Error('enough')) }), /enough/);
});

test('wrong calls say what is wrong', async () => {
  assert.match((await failsWith('invalid-argument', () => open.classify(5))).message, /the number 5/);
  assert.match((await failsWith('invalid-argument', () => open.classify(null))).message, /null/);
  assert.match((await failsWith('invalid-argument', () => open.classify(undefined))).message, /undefined/);
  assert.match((await failsWith('invalid-argument', () => open.classify(new Map()))).message, /Map/);
  assert.match((await failsWith('invalid-argument', () => open.classify(['fine', 7]))).message, /Input 1 is the number 7/);
  assert.match((await failsWith('invalid-argument', () => pairs.classify({ a: 'x' }))).message, /two strings/);
  assert.match((await failsWith('invalid-argument', () => open.classify('x', null))).message, /null/);
  assert.match((await failsWith('wrong-input', () => open.classify({ a: 'x', b: 'y' }))).message, /single texts/);
  assert.match((await failsWith('wrong-input', () => pairs.classify('x'))).message, /compares two/);
  for (const input of ['x', [], ['x'], { a: 'x', b: 'y' }]) {
    assert.match((await failsWith('wrong-input', () => features.classify(input))).message, /no classes.*Use embed\(\)/);
  }
  for (const input of ['x', [], { a: 'x', b: 'y' }]) {
    assert.match((await failsWith('wrong-input', () => pairs.embed(input))).message, /only a pack for single texts/);
  }
  for (const [input, what] of [[5, /the number 5/], [undefined, /undefined/], [null, /null/], [{ a: 'x', b: 'y' }, /an object/], [['x', 5], /Input 1 is the number 5/],
    [[['x']], /Input 0 is an object \(Array\)/]]) {
    assert.match((await failsWith('invalid-argument', () => features.embed(input))).message, what);
  }
  for (const topK of [0, -1, 1.5, '2', NaN]) await failsWith('invalid-argument', () => open.classify('x', { topK }));
  for (const exit of ['', 'often', 'entropy', 'entropy:', 'entropy:x', 'entropy:-1', 'patience:1.5', 'patience:0', 'off:1', 'entropy:0.5,often=1',
    'fractional:0.1,first=0.5', 'entropy:1e99', 5, null, {}, { kind: 'entropy' }, { kind: 'off', threshold: 1 }, { kind: 'entropy', threshold: NaN },
    { kind: 'entropy', threshold: 0.5, first: -1 }, { kind: 'fractional', threshold: 0.5, keepLowerEntropy: 1 }]) {
    const error = await failsWith('invalid-argument', () => open.classify('x', { exit }));
    assert.match(error.message, /an exit rule is/);
  }
});

test('a text beyond all memory is refused, and the classifier goes on', async () => {
  const before = open.classify('bleak');
  const error = await failsWith('out-of-memory', () => open.classify('x'.repeat(200_000_000)));
  assert.match(error.message, /200000000 characters/);
  await failsWith('out-of-memory', () => open.embed('x'.repeat(200_000_000)));
  assert.deepEqual(open.classify('bleak'), before);
});

test('dispose ends a classifier', async () => {
  const classifier = await load(packPath('tiny_open'));
  assert.ok(classifier.memory().total >= classifier.memory().classifier);
  classifier.dispose();
  classifier.dispose();
  await failsWith('disposed', () => classifier.classify('x'));
  await failsWith('disposed', () => classifier.memory());
  await failsWith('disposed', () => classifier.embed('x'));
  const another = await load(packPath('tiny_open'));
  another[Symbol.dispose]();
  await failsWith('disposed', () => another.classify('x'));
});

test('a list in one call answers what its texts answer alone: more than a call takes, a huge one among them, pairs, labels', () => {
  const texts = Array.from({ length: 400 }, (_, i) => TEXTS[i % TEXTS.length] + i);
  texts[200] = 'long '.repeat(20_000);
  for (const [classifier, inputs] of [
    [open, texts], [multi, texts], [pairs, texts.map((a, i) => ({ a, b: texts[(i * 7) % texts.length].slice(0, 900) }))],
  ]) {
    assert.deepEqual(classifier.classify(inputs), inputs.map((input) => classifier.classify(input)));
  }
  assert.deepEqual(open.classify([]), []);
  assert.deepEqual(open.embed(texts.slice(0, 20)), texts.slice(0, 20).map((text) => open.embed(text)));
});

test('a list of 1 000 texts, again and again, takes no memory', () => {
  const texts = Array.from({ length: 1000 }, (_, i) => `text ${i}`);
  open.classify(texts);
  const { total } = open.memory();
  for (let i = 0; i < 30; i++) open.classify(texts);
  assert.equal(open.memory().total, total);
});

test('100 000 texts later, memory is what it was', () => {
  const options = { exit: 'entropy:1.5' };
  for (let i = 0; i < 1000; i++) open.classify(`text ${i}`, options);
  const { total } = open.memory();
  for (let i = 0; i < 100_000; i++) open.classify(`text ${i}`, options);
  assert.equal(open.memory().total, total);
});
