// Speeds, budgets and traces, on packs with elimination, skip gates and a curve.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { beex, bits, edited, failsWith, packBytes, root } from './installed.mjs';

const { load } = beex;
const adaptive = await load(packBytes('tiny_adaptive'));
const multi = await load(packBytes('tiny_adaptive_multilabel'));
const pairs = await load(packBytes('tiny_bounded'));
const plain = await load(packBytes('tiny_open'));
const scalar = await load(packBytes('tiny_adaptive'), { simd: false });
const TEXTS = ['', 'a', 'a charming and often affecting journey', 'Don\'t — café, naïve 😀 中文 text!', 'word '.repeat(100)];
const SPEEDS = ['full', 'accurate', 'balanced', 'fast', { speedup: 2.5 }, undefined];

// What the trainer's simulation answers under every setting of a settings file: { gamma, skip, kind, …, probabilities, answer }.
function settings(name) {
  const cases = [];
  let text;
  const float = (hex) => new Float32Array(Uint32Array.of(parseInt(hex, 16)).buffer)[0];
  const lines = readFileSync(join(root, 'model_pack/golden', `${name}.settings`), 'ascii').split('\n');
  lines.forEach((line, index) => {
    const words = line.split(' ');
    if (words[0] === 'text') text = words[1] === '-' ? '' : Buffer.from(words[1], 'hex').toString('utf8');
    if (words[0] === 'setting') cases.push({ text, gamma: float(words[1]), skip: float(words[2]), kind: Number(words[3]), threshold: float(words[4]) });
    const values = () => lines[index + 1].split(' ').map((word) => parseInt(word, 16));
    if (words[0] === 'result') cases.at(-1).probabilities = values();
    if (words[0] === 'answer') [cases.at(-1).block] = values();
    if (words[0] === 'work') cases.at(-1).work = new Float64Array(Uint32Array.from(values()).buffer)[0];
  });
  return cases;
}

test('info says what the pack offers', () => {
  const { speeds, elimination, skipGates } = adaptive.info;
  assert.deepEqual([elimination, skipGates], [true, true]);
  assert.deepEqual(speeds.map(({ name }) => name), ['fast', undefined, 'balanced', 'accurate']);
  assert.deepEqual(speeds.map(({ work }) => work), [0.3, 0.4, 0.5, 0.6]);
  assert.deepEqual(speeds.map(({ accuracy }) => accuracy), [0.6, 0.65, 0.7, 0.75]);
  speeds.forEach(({ work, speedup }) => assert.ok(Math.abs(work * speedup - 1) < 1e-6));
  assert.deepEqual(speeds[0].exitRule, { kind: 'entropy', threshold: 0.8, certain: 0, uncertain: 2, first: 0, keepLowerEntropy: false });
  assert.equal(speeds[3].exitRule, undefined);
  assert.ok(Object.isFrozen(speeds));
  assert.deepEqual(plain.info.speeds, []);
  assert.deepEqual([plain.info.elimination, plain.info.skipGates], [false, false]);
});

test('a speed is the setting of the curve: the simulation\'s probabilities, block and work', () => {
  const rows = adaptive.info.speeds;
  let compared = 0;
  for (const { text, gamma, skip, kind, threshold, probabilities, block, work } of settings('tiny_adaptive')) {
    const kinds = ['off', 'fractional', 'entropy', 'patience', 'probability'];
    const row = rows.find(({ elimination, skipThreshold, exitRule }) => Math.fround(elimination) === gamma && Math.fround(skipThreshold) === skip
      && (exitRule?.kind ?? 'off') === kinds[kind] && Math.fround(exitRule?.threshold ?? 0) === threshold);
    if (!row) continue;
    for (const speed of [{ speedup: row.speedup }, ...(row.name ? [row.name] : [])]) {
      for (const classifier of [adaptive, scalar]) {
        const result = classifier.classify(text, { speed });
        assert.deepEqual(bits(Float32Array.from(Object.values(result.scores))), probabilities);
        assert.equal(result.exit.block, block);
        assert.equal(result.work, Math.fround(work));
        compared++;
      }
    }
  }
  assert.ok(compared >= 5 * 7, `${compared} compared`);
});

test('full is every block on every word; without a speed the pack\'s own rule holds', () => {
  for (const classifier of [adaptive, multi]) {
    for (const text of TEXTS) {
      const full = classifier.classify(text, { speed: 'full' });
      assert.deepEqual(full, classifier.classify(text, { exit: 'off' }));
      assert.ok(Math.abs(full.work - 1) < 1e-6);
      assert.deepEqual(classifier.classify(text, {}), classifier.classify(text, { exit: 'default' }));
      assert.ok(classifier.classify(text).work <= 1.2); // a rule reads more exits than full does
    }
  }
});

test('a speed-up takes the most accurate setting that is fast enough', () => {
  const text = TEXTS[2];
  const { speeds } = adaptive.info;
  speeds.forEach(({ speedup }, index) => {
    assert.deepEqual(adaptive.classify(text, { speed: { speedup } }), adaptive.classify(text, { speed: { speedup: speedup - 0.01 } }));
    if (index > 0) {
      assert.deepEqual(adaptive.classify(text, { speed: { speedup: speedup + 0.01 } }),
        adaptive.classify(text, { speed: { speedup: speeds[index - 1].speedup } }));
    }
  });
  assert.deepEqual(adaptive.classify(text, { speed: { speedup: 1 } }), adaptive.classify(text, { speed: 'accurate' }));
});

test('a speed-up with an exit rule leaves out words until all blocks are so fast, and the exits come on top', async () => {
  const text = 'a '.repeat(adaptive.info.maxTokens - 2); // fills one window
  for (const classifier of [adaptive, scalar]) {
    let before = 2;
    for (const speedup of [1, 1.2, 1.5, 1.8]) {
      const result = classifier.classify(text, { speed: { speedup }, exit: 'off' });
      assert.equal(result.windows, 1);
      assert.equal(result.exit.block, classifier.info.blocks);
      assert.ok(result.work <= 1 / speedup + 1e-6 && result.work > 0.9 / speedup, `${speedup} gives ${1 / result.work}`);
      assert.ok(result.work < before);
      before = result.work;
      assert.deepEqual(result, adaptive.classify(text, { speed: { speedup }, exit: 'off' }));
      const stopped = classifier.classify(text, { speed: { speedup }, exit: 'entropy:2' });
      assert.deepEqual([stopped.exit.block, stopped.exit.reason], [0, 'entropy']);
    }
  }
  assert.deepEqual(adaptive.classify(text, { speed: { speedup: 1 }, exit: 'off' }), adaptive.classify(text, { speed: 'full' }));
  const profiled = await load(edited(packBytes('tiny_adaptive'), (view, section) => view.setUint8(section('policy.curve').entry, 0x78)));
  assert.deepEqual(profiled.info.speeds, []);
  assert.deepEqual(profiled.classify(text, { speed: { speedup: 1.5 }, exit: 'off' }), adaptive.classify(text, { speed: { speedup: 1.5 }, exit: 'off' }));
});

test('what the pack cannot do, and what is no speed, is said in words', async () => {
  const refused = async (code, classifier, options, ...parts) => {
    const { message } = await failsWith(code, () => classifier.classify('a', options));
    for (const part of parts) assert.ok(message.includes(part), `"${message}" has no "${part}"`);
  };
  await refused('wrong-input', plain, { speed: 'fast' }, 'no setting named "fast"', 'without a speed curve', '"full"', '{ budgetMs }');
  await refused('wrong-input', plain, { speed: { speedup: 2 } }, '2 times as fast', 'without a speed curve');
  await refused('wrong-input', adaptive, { speed: { speedup: 3.5 } }, '3.5 times as fast', '"fast", "balanced", "accurate"', 'up to 3.33');
  const unnamed = await load(edited(packBytes('tiny_adaptive'), (view, section) => view.setUint32(section('policy.curve').offset + 40, 0, true)));
  await refused('wrong-input', unnamed, { speed: 'fast' }, 'no setting named "fast"', '"balanced", "accurate"');
  for (const speed of ['Fast', '', null, 3, {}, [], { speedup: 0.5 }, { speedup: NaN }, { speedup: Infinity }, { speedup: '3' }, { budgetMs: 0 },
    { budgetMs: -1 }, { budgetMs: NaN }, { budgetMs: '1' }, { speedup: 2, budgetMs: 1 }]) {
    await refused('invalid-argument', adaptive, { speed }, 'a speed is "full"');
  }
  await refused('wrong-input', adaptive, { speed: { speedup: 99 }, exit: 'off' }, 'Leaving out words', '99 times', 'with an exit rule');
  await refused('wrong-input', plain, { speed: { speedup: 1.5 }, exit: 'off' }, 'Leaving out words', 'without a speed curve');
  await refused('invalid-argument', adaptive, { speed: 'fast', exit: 'off' }, 'give one of them');
  await refused('invalid-argument', adaptive, { speed: { speedup: 0.5 }, exit: 'off' }, 'a speed is "full"');
  await refused('invalid-argument', adaptive, { trace: 'yes' }, 'trace');
});

test('a budget: next to nothing gives what the first exit says of the first window, much gives all', () => {
  // With "and" exit 0 of this pack does not answer alone, but when there is no time for more.
  assert.deepEqual(adaptive.classify('charming and affecting', { speed: { budgetMs: 1e-6 }, exit: 'entropy:2' }).exit, { block: 0, of: 3, reason: 'budget' });
  assert.deepEqual(adaptive.classify('charming and affecting', { exit: 'entropy:2' }).exit, { block: 1, of: 3, reason: 'entropy' });
  for (const text of ['a charming, often affecting journey', 'word '.repeat(100)]) {
    const { windows } = adaptive.classify(text, { trace: true }).trace;
    const opening = text.slice(0, windows[0].words.at(-1).end);
    const first = adaptive.classify(opening, { exit: 'entropy:2' });
    assert.equal(first.windows, 1);
    const little = adaptive.classify(text, { speed: { budgetMs: 1e-6 }, exit: 'off' });
    assert.deepEqual(little, { ...first, exit: { ...first.exit, reason: 'budget' }, truncated: windows.length > 1 });
    const full = adaptive.classify(text, { exit: 'off' });
    assert.equal(full.windows, windows.length);
    assert.deepEqual(adaptive.classify(text, { speed: { budgetMs: 1e9 }, exit: 'off' }), full);
    assert.deepEqual(adaptive.classify(text, { speed: { budgetMs: 1e9 } }), adaptive.classify(text));
  }
});

test('a trace tells the words, what became of each, and what every exit said', () => {
  for (const classifier of [adaptive, multi]) {
    for (const text of TEXTS) {
      for (const speed of SPEEDS.filter((each) => classifier === adaptive || each === 'full' || each === undefined)) {
        const options = { ...(speed && { speed }) };
        const { trace, ...result } = classifier.classify(text, { ...options, trace: true });
        assert.deepEqual(result, classifier.classify(text, options));
        assert.equal(trace.windows.length, result.windows);
        let blocks = 0;
        for (const { words, exits, blocks: steps } of trace.windows) {
          for (const word of words) assert.equal(word.text, text.slice(word.begin, word.end));
          let tokens = words.length + 2;
          let left = words;
          for (const [index, step] of steps.entries()) {
            assert.equal(step.block, index + 1);
            assert.equal(step.tokensIn, tokens);
            tokens = step.tokensOut;
            const lost = step.tokensIn - step.tokensOut - step.dropped.length;
            assert.ok(lost === 0 || lost === 1, 'only the mark at the end is no word');
            for (const word of step.dropped) assert.ok(left.includes(word));
            left = left.filter((word) => !step.dropped.includes(word));
            if (step.skipped) assert.equal(step.tokensIn, step.tokensOut);
            assert.equal('gate' in step, step.gate > 0);
            blocks = Math.max(blocks, step.skipped ? 0 : step.block);
          }
          assert.deepEqual(exits.map(({ exit }) => exit), [0, ...steps.flatMap(({ block, skipped }) => (skipped ? [] : [block]))]);
          exits.forEach(({ scores, entropy, reduction }, index) => {
            assert.deepEqual(Object.keys(scores), classifier.labels);
            assert.ok(entropy >= 0 && entropy <= 1.00001);
            const before = exits[index - 1]?.entropy;
            assert.equal(reduction, before === undefined ? undefined : (before - entropy) / before);
          });
          for (const { microseconds } of [...exits, ...steps]) assert.ok(microseconds >= 0 && microseconds < 1e7);
        }
        assert.equal(blocks, result.exit.block);
        if (result.windows === 1) {
          const { scores } = trace.windows[0].exits.find(({ exit }) => exit === result.exit.block);
          if (result.exit.reason !== 'rising') assert.deepEqual(scores, result.scores);
        }
      }
    }
  }
});

test('elimination and gates happen, and show', () => {
  const fast = TEXTS.map((text) => adaptive.classify(text, { speed: { speedup: 2.5 }, trace: true }).trace.windows).flat();
  assert.ok(fast.some(({ blocks }) => blocks.some(({ dropped }) => dropped.length > 2)));
  assert.ok(fast.some(({ blocks }) => blocks.some(({ skipped }) => skipped)));
  assert.ok(fast.some(({ blocks }) => blocks.some(({ skipped, gate }) => !skipped && gate !== undefined)));
  const full = adaptive.classify(TEXTS[2], { speed: 'full', trace: true }).trace.windows[0];
  assert.equal(full.blocks.length, 3);
  assert.ok(full.blocks.every(({ dropped, skipped, gate }) => dropped.length === 0 && !skipped && gate === undefined));
});

test('a trace of a pair knows the two texts apart', () => {
  const pair = { a: 'naïve 😀 text', b: 'unflinchingly bleak' };
  const { words, blocks } = pairs.classify(pair, { trace: true, exit: 'off' }).trace.windows[0];
  assert.deepEqual(new Set(words.map(({ of }) => of)), new Set(['a', 'b']));
  for (const word of words) assert.equal(word.text, pair[word.of].slice(word.begin, word.end));
  assert.equal(blocks[0].tokensIn, words.length + 3);
});

test('but for the times a trace is the same with both engines', () => {
  const timeless = (value) => JSON.stringify(value, (key, each) => (key === 'microseconds' ? undefined : each));
  for (const text of TEXTS) {
    for (const speed of SPEEDS) {
      const [a, b] = [adaptive, scalar].map((classifier) => classifier.classify(text, { ...(speed && { speed }), trace: true }));
      assert.equal(timeless(a), timeless(b));
    }
  }
});

test('lists are answered one by one, traced too', () => {
  const options = { speed: 'fast', trace: true };
  const timeless = (value) => JSON.stringify(value, (key, each) => (key === 'microseconds' ? undefined : each));
  assert.equal(timeless(adaptive.classify(TEXTS, options)), timeless(TEXTS.map((text) => adaptive.classify(text, options))));
});

test('every published pack with a curve serves its own settings', async () => {
  for (const name of ['sentiment', 'topic', 'banking', 'emotions', 'language', 'intent', 'question', 'reviews', 'spam', 'toxicity', 'clickbait', 'emotion']) {
    const classifier = await load(join(root, 'model_pack/packs', `${name}.beex`));
    for (const { name: speed, speedup } of classifier.info.speeds) {
      const result = classifier.classify('a charming and often affecting journey', { speed: { speedup: Math.max(1, speedup) } });
      if (speed && speedup >= 1) assert.deepEqual(classifier.classify('a charming and often affecting journey', { speed }), result);
    }
  }
});
