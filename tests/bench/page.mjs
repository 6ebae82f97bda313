// What runs in the page: contenders race in rounds. Every round times each of them on the same work, one after the other, in an order
// that rotates, so that a busy machine disturbs all alike, and ratios are those of a round.
import { load } from './beex/dist/index.js';

const WARM_MS = 400; // longer than V8 takes to optimize what is run again and again

// Runs `inputs` through `run` as often as fills `least` ms. Resolves to ms a pass.
async function time(run, inputs, least) {
  const start = performance.now();
  let passes = 0, elapsed = 0;
  do {
    for (const input of inputs) {
      const pending = run(input);
      if (pending) await pending; // beex answers at once
    }
    passes++;
    elapsed = performance.now() - start;
  } while (elapsed < least);
  return elapsed / passes;
}

// contenders: { name: run }. `inputs(name, round)` is a round's work. Resolves to { name: [ms of each round] }.
async function race(contenders, inputs, rounds, least = 15) {
  const names = Object.keys(contenders);
  for (const name of names) await time(contenders[name], inputs(name, 0), WARM_MS);
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length];
      times[name].push(await time(contenders[name], inputs(name, round), least));
    }
  }
  return times;
}

// beex as its users call it: a string goes in, tokenizing is inside. The answer is plain, so nothing is returned to wait for.
async function beex(pack, how, options) {
  const classifier = await load(pack, options);
  return Object.assign((text) => { classifier.classify(text, how); }, { classifier });
}

// An encoder in onnxruntime-web, one thread. What goes in is made by `bertInput`: there is no tokenizing in its time.
async function ort(path) {
  const { InferenceSession, env } = await import('./ort/ort.wasm.min.mjs');
  env.wasm.numThreads = 1;
  const session = await InferenceSession.create(path, { executionProviders: ['wasm'] });
  return (input) => session.run(input);
}

async function bertInput(tokens) {
  const { Tensor } = await import('./ort/ort.wasm.min.mjs');
  const tensor = (value) => new Tensor('int64', BigInt64Array.from({ length: tokens }, value), [1, tokens]);
  return { input_ids: tensor((_, i) => BigInt((i * 7919) % 30522)), attention_mask: tensor(() => 1n), token_type_ids: tensor(() => 0n) };
}

const digits = (number) => [...String(number).padStart(4, '0')].map((digit) => 'abcdefghij'[digit]).join('');

// A text of so many tokens for the packs of encoders.py, [CLS] and [SEP] included.
const madeUp = (tokens) => Array.from({ length: tokens - 2 }, (_, i) => digits((i * 7919) % 8000)).join(' ');

/** An encoder shape: every length of `lengths` in tokens, with the onnx files of `precisions`. */
export async function encoders({ shape, lengths, precisions, rounds }) {
  const contenders = {
    beex: await beex(`./encoders/${shape}.beex`, { exit: 'off' }),
    beex_w1a1: await beex(`./encoders/${shape}.w1a1.beex`, { exit: 'off' }),
    beex_scalar: await beex(`./encoders/${shape}.beex`, { exit: 'off' }, { simd: false }),
  };
  for (const precision of precisions) contenders[`ort_${precision}`] = await ort(`./encoders/${shape}.${precision}.onnx`);
  const { tokens } = contenders.beex.classifier.classify(madeUp(32));
  if (tokens !== 30) throw new Error(`the text has ${tokens} tokens and the frame, not 30`);
  const times = {};
  for (const length of lengths) {
    const [text, ids] = [[madeUp(length)], [await bertInput(length)]];
    times[length] = await race(contenders, (name) => (name.startsWith('ort') ? ids : text), rounds);
  }
  return times;
}

// A linear model as one would write it in JavaScript: words and pairs of words, hashed into 2^16 rows of int8.
function hashedLinear(classes) {
  const weights = Int8Array.from({ length: classes << 16 }, (_, i) => ((i * 2654435761) >> 24));
  const hash = (word, seed) => {
    let h = seed;
    for (let i = 0; i < word.length; i++) h = Math.imul(h ^ word.charCodeAt(i), 0x01000193);
    return h;
  };
  return Object.assign((text) => {
    const scores = new Float32Array(classes);
    let before = 0;
    for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? []) {
      const one = hash(word, 0x811c9dc5), two = hash(word, before);
      for (const h of [one, two]) {
        const row = ((h ^ (h >>> 16)) & 0xffff) * classes;
        for (let c = 0; c < classes; c++) scores[c] += weights[row + c];
      }
      before = one;
    }
    hashedLinear.last = scores[0]; // somebody reads it, so that it is not optimized away
  }, { classes });
}

async function fastText() {
  const { getLIDModel } = await import('./fasttext/main/common.mjs');
  const folder = new URL('./fasttext/', location.href);
  const model = await getLIDModel({
    wasmPath: `${folder}core/fastText.common.wasm`, modelPath: `${folder}models/language-identification/assets/lid.176.ftz`,
  });
  const loaded = await model.load();
  return (text) => { loaded.predict(text, 1, 0).delete(); };
}

/** Real sentences, `chunk` of them a round. The onnx encoders get as many tokens as a sentence has words and marks, and two: fewer than any tokenizer of word pieces makes. */
export async function sentences({ pack, small, large, texts, shapes, rounds, chunk }) {
  const contenders = {
    beex_exits: await beex(pack, { exit: 'default' }),
    beex_all: await beex(pack, { exit: 'off' }),
    beex_fast: await beex(pack, { speed: 'fast' }), // exits and elimination, as the pack's maker measured them
    beex_small: await beex(small, { exit: 'default' }),
    beex_large: await beex(large, { speed: 'fast' }),
    beex_linear: await beex(pack, { speed: { budgetMs: 0.001 } }), // the linear model inside: there is no time for a block
    linear_js: hashedLinear(2),
    fasttext: await fastText(),
  };
  for (const shape of shapes) contenders[`bert_${shape}_int8`] = await ort(`./encoders/${shape}.int8.onnx`);
  const words = texts.map((text) => Math.min(126, text.match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu)?.length ?? 0) + 2);
  const inputs = new Map();
  for (const length of words) if (!inputs.has(length)) inputs.set(length, await bertInput(length));
  const place = (round, i) => ((round * chunk + i) * 31) % texts.length; // in another order than the file's
  const work = (name, round) => Array.from({ length: chunk }, (_, i) => (name.startsWith('bert') ? inputs.get(words[place(round, i)]) : texts[place(round, i)]));
  const times = await race(contenders, work, rounds, 10);
  for (const name in times) times[name] = times[name].map((ms) => ms / chunk);
  const { classifier } = contenders.beex_exits;
  const results = classifier.classify(texts);
  const onDev = ({ classifier }) => classifier.info.metadata.metrics.dev;
  const fast = (contender) => onDev(contender).speeds.find(({ name }) => name === 'fast').accuracy;
  const { accuracy_by_exit: exits, accuracy_with_exits } = onDev(contenders.beex_exits);
  const mean = (of) => results.reduce((sum, each) => sum + of(each), 0) / texts.length;
  return {
    times, tokens: mean((each) => each.tokens), bert_tokens: words.reduce((sum, n) => sum + n) / texts.length,
    // Of the dev rows, as the pack says.
    accuracy: {
      beex_exits: accuracy_with_exits, beex_all: exits.at(-1), beex_fast: fast(contenders.beex_fast), beex_linear: exits[0],
      beex_small: onDev(contenders.beex_small).accuracy_with_exits, beex_large: fast(contenders.beex_large),
    },
    blocks: mean((each) => each.exit.block), of: classifier.info.blocks,
  };
}

/** Long texts at full depth: ms a token for texts of about these many tokens, made of the sentences. */
export async function long({ pack, texts, lengths, rounds }) {
  const run = await beex(pack, { exit: 'off' });
  const tokens = (text) => run.classifier.classify(text).tokens;
  const made = {};
  for (const length of lengths) {
    let text = '';
    for (let i = 0; ; i++) {
      const longer = `${text} ${texts[i % texts.length]}`;
      if (tokens(longer) > length) break;
      text = longer;
    }
    made[length] = { text, tokens: tokens(text) };
  }
  const times = await race(Object.fromEntries(lengths.map((length) => [length, run])), (length) => [made[length].text], rounds);
  return Object.fromEntries(lengths.map((length) => [length, { tokens: made[length].tokens, ms: times[length] }]));
}
