// Whether time follows counted work: the measurements of `scripts/bench --adaptive`, which see, in the package's engine with SIMD, in Node.
//
//   clock    exits, elimination, skip gates, and the named settings of each pack: work and time as shares of all blocks on all words
//   tuning   requested speed-ups on long texts: the counted one, the measured one, and what it does to the answers
//   budgets  short and long texts by turns under a limit of time: how many keep it
//
// Settings take turns on every text, so that a busy machine slows all alike. A call in which another program got the processor is timed
// again; under a budget it counts, and the share without such calls stands beside. `work` is the engine's count (FORMAT.md, "Cost"), over texts
// weighted by their time at all blocks.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, release, type } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { beex, root } from '../js/installed.mjs';
import { withGates, withSkipThreshold } from './gates.mjs';
import { mean, ratio, spread } from './statistics.mjs';

const PARTS = ['clock', 'tuning', 'budgets'];
const MEASURED = ['sentiment', 'topic', 'question', 'emotion', 'reviews'];
const FOLDERS = JSON.parse(readFileSync(join(root, 'model_pack/data_sets.json'), 'utf8')); // of --data, by pack
const LONG = 'reviews';
const SPEEDUPS = [1.25, 1.6, 2, 3, 4];
const BUDGETS = [0.25, 0.5, 1, 2]; // ms
const WARM_MS = 400; // longer than V8 takes to optimize what is run again and again
const MOST_TRIES = 3;

const { values: options, positionals } = parseArgs({
  allowPositionals: true, options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, data: { type: 'string' } },
});
const { quick } = options;
const parts = positionals.length > 0 ? positionals : PARTS;
const FULL = { speed: 'full' };
const packBytes = (name) => new Uint8Array(readFileSync(join(root, 'model_pack/packs', `${name}.beex`)));

// Rows { text, label } of a data set's dev part, at equal distances; without --data texts without labels, long ones made of many sentences.
function rowsFor(pack, most) {
  const rows = options.data ? readRows(join(options.data, FOLDERS[pack])) : madeUp(pack === LONG, most);
  return Array.from({ length: Math.min(most, rows.length) }, (_, i) => rows[Math.floor((i * rows.length) / Math.min(most, rows.length))]);
}

function readRows(folder) {
  const path = ['dev.tsv', 'dev.tsv.xz'].map((name) => join(folder, name)).find(existsSync);
  if (!path) throw new Error(`${folder} has no dev.tsv (label, text) and no dev.tsv.xz; --data is a folder with ${MEASURED.map((name) => FOLDERS[name]).join(', ')}.`);
  const content = path.endsWith('.xz') ? execFileSync('xz', ['-dc', path], { encoding: 'utf8', maxBuffer: 2 ** 28 }) : readFileSync(path, 'utf8');
  return content.trim().split(/\r?\n/).slice(1).map((line) => line.split('\t')).map(([label, text]) => ({ label, text }));
}

function madeUp(long, count) {
  const sentences = readFileSync(join(root, 'tests/bench/sentences.txt'), 'utf8').trim().split('\n');
  if (!long) return sentences.map((text) => ({ text }));
  const sentence = (i) => sentences[i % sentences.length];
  return Array.from({ length: count }, (_, i) => ({ text: Array.from({ length: 4 + ((i * 7) % 40) }, (_, k) => sentence(i * 17 + k * 7)).join(' . ') }));
}

const switches = () => process.resourceUsage().involuntaryContextSwitches;

// ms of a call, and whether nobody else had the processor meanwhile.
function time(run) {
  const before = switches();
  const start = performance.now();
  run();
  const ms = performance.now() - start;
  return { ms, alone: switches() === before };
}

function timeAlone(run) {
  let timed = time(run);
  for (let tries = 1; !timed.alone && tries < MOST_TRIES; tries++) timed = time(run);
  return timed.ms;
}

// Runs every setting on every text by turns. `runs` is { name: run(text) }; `record(name, text's index, run)` times it.
function takeTurns(runs, rows, rounds, record) {
  const names = Object.keys(runs);
  for (const name of names) {
    const start = performance.now();
    for (let i = 0; performance.now() - start < WARM_MS; i++) runs[name](rows[i % rows.length].text);
  }
  for (let round = 0; round < rounds; round++) {
    rows.forEach(({ text }, index) => names.forEach((_, k) => {
      const name = names[(k + index + round) % names.length];
      record(name, index, round, () => runs[name](text));
    }));
  }
}

// { name: { work, time, accuracy } } of settings against `full`, which is among them: shares of its work and of its time, the latter with
// its spread over the rounds.
function compare(runs, rows, rounds) {
  const sums = Object.fromEntries(Object.keys(runs).map((name) => [name, new Array(rounds).fill(0)]));
  const dense = rows.map(() => 0);
  takeTurns(runs, rows, rounds, (name, index, round, run) => {
    const ms = timeAlone(run);
    sums[name][round] += ms;
    if (name === 'full') dense[index] += ms;
  });
  const total = dense.reduce((sum, ms) => sum + ms);
  const labelled = rows[0].label !== undefined;
  return Object.fromEntries(Object.entries(runs).map(([name, run]) => {
    const answers = rows.map(({ text }) => run(text));
    return [name, {
      work: answers.reduce((sum, { work }, i) => sum + work * dense[i], 0) / total,
      time: ratio(sums[name], sums.full),
      us: spread(sums[name].map((ms) => (1000 * ms) / rows.length)),
      ...(labelled && { accuracy: mean(answers.map(({ label }, i) => Number(label === rows[i].label))) }),
    }];
  }));
}

const runsOf = (classifier, settings) => Object.fromEntries(Object.entries(settings).map(([name, setting]) => [name, (text) => classifier.classify(text, setting)]));

const measure = {
  async clock() {
    const clock = {};
    for (const name of MEASURED) {
      const bytes = packBytes(name), pack = await beex.load(bytes), { info } = pack;
      const rows = rowsFor(name, (name === LONG ? 60 : 200) / (quick ? 5 : 1)), rounds = quick ? 3 : 5;
      const words = [1.25, 2].map((speedup) => [`words ${speedup}x`, { speed: { speedup }, exit: 'off' }]).filter(([, setting]) => serves(pack, setting));
      const named = info.speeds.filter((point) => point.name).map((point) => [point.name, { speed: point.name }]);
      const settings = compare(runsOf(pack, { full: FULL, exits: {}, ...Object.fromEntries([...words, ...named]) }), rows, rounds);
      // A race of its own: two engines by turns would each find the other's weights in the processor's cache.
      const gated = await beex.load(withSkipThreshold(info.skipGates ? bytes : withGates(bytes, info, [info.blocks - 1]), 0.5));
      const { gates } = compare(runsOf(gated, { full: FULL, gates: { speed: { speedup: gated.info.speeds[0].speedup } } }), rows, rounds);
      clock[name] = { texts: rows.length, gates: info.skipGates ? 'the pack\'s' : `put in: skip block ${info.blocks}`, settings: { ...settings, gates } };
    }
    const followed = (kind) => Object.values(clock).flatMap(({ settings }) => Object.entries(settings).filter(([name]) => name.startsWith(kind)).map(([, found]) => saved(found)));
    const of = (kind) => ({ mean: mean(followed(kind)), least: Math.min(...followed(kind)) });
    return { saved: { exits: of('exits'), words: of('words'), gates: of('gates') }, clock };
  },

  // By leaving out words alone, and by the pack's curve, whose rows answer several requests.
  async tuning() {
    const pack = await beex.load(packBytes(LONG)), { speeds } = pack.info;
    const settings = { full: FULL };
    const requests = SPEEDUPS.flatMap((speedup) => {
      const row = speeds.findLast((point) => point.speedup >= speedup - 1e-6);
      return [
        { speedup, by: 'fewer words, all blocks', promised: speedup, key: `words ${speedup}`, setting: { speed: { speedup }, exit: 'off' } },
        { speedup, by: 'the pack\'s curve', promised: row?.speedup, key: `curve ${row?.work}`, setting: { speed: { speedup } } },
      ];
    });
    for (const { key, setting } of requests) if (serves(pack, setting)) settings[key] ??= setting;
    const rows = rowsFor(LONG, quick ? 15 : 150);
    const found = compare(runsOf(pack, settings), rows, 3);
    const measured = ({ key }) => found[key] && { counted: 1 / found[key].work, measured: inverse(found[key].time), accuracy: found[key].accuracy };
    return { tuning: { pack: LONG, texts: rows.length, full: found.full, requests: requests.map(({ setting, ...request }) => ({ ...request, ...measured(request) })) } };
  },

  async budgets() {
    const pack = await beex.load(packBytes('sentiment'));
    const half = quick ? 100 : 500;
    const [short, long] = ['sentiment', LONG].map((name) => rowsFor(name, half));
    const rows = Array.from({ length: 2 * half }, (_, i) => (i % 2 ? long : short)[(i >> 1) % (i % 2 ? long : short).length]);
    const runs = runsOf(pack, Object.fromEntries(BUDGETS.map((budgetMs) => [budgetMs, { speed: { budgetMs } }])));
    const timed = Object.fromEntries(BUDGETS.map((budget) => [budget, []]));
    const answers = Object.fromEntries(BUDGETS.map((budget) => [budget, []]));
    takeTurns(runs, rows, 3, (name, index, _, run) => {
      let answer;
      timed[name].push({ index, ...time(() => { answer = run(); }) });
      answers[name].push(answer);
    });
    const budgets = BUDGETS.map((budget) => {
      const inside = (calls) => mean(calls.map(({ ms }) => Number(ms <= budget)));
      const alone = timed[budget].filter((call) => call.alone);
      const of = (kind) => alone.filter(({ index }) => index % 2 === kind);
      return {
        ms: budget, inside: inside(timed[budget]), inside_alone: inside(alone), short_alone: inside(of(0)), long_alone: inside(of(1)), alone: alone.length / timed[budget].length,
        time: spread(alone.map(({ ms }) => ms)), most: Math.max(...alone.map(({ ms }) => ms)),
        blocks: mean(answers[budget].map(({ exit }) => exit.block)), cut: mean(answers[budget].map(({ truncated }) => Number(truncated))),
        ...(rows[0].label !== undefined && { accuracy: mean(timed[budget].map(({ index }, i) => Number(answers[budget][i].label === rows[index].label))) }),
      };
    });
    return { inside_budget: Math.min(...budgets.map(({ inside_alone }) => inside_alone)), budgets: { texts: rows.length, budgets } };
  },
};

// Whether the pack can do it; one that cannot says so.
function serves(pack, setting) {
  try {
    pack.classify('', setting);
    return true;
  } catch (error) {
    if (error.code === 'wrong-input') return false;
    throw error;
  }
}

// Of the time that the counted work promises to save, the share that was saved.
const saved = ({ work, time }) => (1 - time.median) / (1 - work);

const inverse = ({ median, low, high }) => ({ median: 1 / median, low: 1 / high, high: 1 / low });

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const times = ({ median, low, high }) => `${median.toFixed(2)} (${low.toFixed(2)} … ${high.toFixed(2)})`;
const shares = ({ median, low, high }) => `${percent(median)} (${percent(low)} … ${percent(high)})`;

// Sections as [title, [heading], [row], …].
function sections({ machine, saved: kinds, clock, tuning, budgets }) {
  const found = [[`${machine.cpu}, ${machine.system}, one thread, Node ${machine.node}, ${machine.kernels}, ${machine.date}: ${machine.command}. ${machine.texts}`]];
  for (const [name, { texts, gates, settings }] of Object.entries(clock ?? {})) {
    found.push([
      `${name}, ${texts} texts: shares of all blocks on all words, ${settings.full.us.median.toFixed(0)} µs a text`, ['', 'work', 'time', 'saved: measured of counted', 'accuracy'],
      ...Object.entries(settings).map(([setting, { work, time, accuracy }]) => [
        setting === 'gates' ? `gates (${gates})` : setting, percent(work), shares(time), setting === 'full' ? '' : percent(saved({ work, time }), 0), accuracy === undefined ? '' : percent(accuracy)]),
    ]);
  }
  if (kinds) found.push(['Saved time, measured of counted', ['', 'mean', 'least'], ...Object.entries(kinds).map(([kind, each]) => [kind, percent(each.mean, 0), percent(each.least, 0)])]);
  if (tuning) {
    const { pack, texts, full, requests } = tuning;
    found.push([
      `${pack}, ${texts} long texts, ${full.us.median.toFixed(0)} µs a text at all blocks${full.accuracy === undefined ? '' : `, accuracy ${percent(full.accuracy)}`}: speed-ups`,
      ['asked for', 'by', 'promised', 'counted', 'off', 'measured', 'off', 'accuracy'],
      ...requests.map(({ speedup, by, promised, counted, measured, accuracy }) => [
        `${speedup} ×`, by, ...(counted === undefined ? ['more than the pack can'] : [
          promised.toFixed(2), counted.toFixed(2), percent(counted / promised - 1), times(measured), percent(measured.median / promised - 1), accuracy === undefined ? '' : percent(accuracy)])]),
    ]);
  }
  if (budgets) {
    found.push([
      `sentiment, ${budgets.texts} texts, short and long by turns, three times: kept the budget`,
      ['budget', 'all calls', 'alone on the processor', 'of them short', 'long', 'ms', 'blocks', 'cut', 'accuracy'],
      ...budgets.budgets.map((each) => [
        `${each.ms} ms`, percent(each.inside), `${percent(each.inside_alone)} (${percent(each.alone, 0)} of calls)`, percent(each.short_alone), percent(each.long_alone),
        `${times(each.time)}, at most ${each.most.toFixed(2)}`, each.blocks.toFixed(2), percent(each.cut), each.accuracy === undefined ? '' : percent(each.accuracy)]),
    ]);
  }
  return found;
}

function table(result) {
  return sections(result).map(([title, ...rows]) => {
    const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
    return [title, ...rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i])).join('   ')}`.trimEnd())].join('\n');
  }).join('\n\n');
}

const unknown = parts.filter((part) => !PARTS.includes(part));
if (unknown.length > 0) {
  console.error(`scripts/bench --adaptive has no part ${unknown.join(', ')}; it has ${PARTS.join(', ')}.`);
  process.exit(2);
}
const result = {
  machine: {
    cpu: cpus()[0].model.trim(), system: `${type()} ${release().split('-')[0]}`, node: process.versions.node.split('.')[0], kernels: (await beex.load(packBytes('sentiment'))).info.kernels,
    date: new Date().toISOString().slice(0, 10), command: `scripts/bench --adaptive ${process.argv.slice(2).map((word) => (word === options.data ? 'DIR' : word)).join(' ')}`.trim(),
    texts: options.data ? 'Texts: dev rows' : 'Texts: tests/bench/sentences.txt, and long ones made of them; no labels',
  },
};
for (const part of parts) {
  const started = Date.now();
  Object.assign(result, await measure[part]());
  console.error(`beex: ${part}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
}
if (options.json) console.log(JSON.stringify(result, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(Number.isInteger(value) ? 15 : 4)) : value), 1));
else console.log(table(result));
