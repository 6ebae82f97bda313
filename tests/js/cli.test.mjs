// The command line, as installed from the tarball.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { beex, cli, edited, packBytes, packPath, project, run } from './installed.mjs';

const open = packPath('tiny_open');
const pairs = packPath('tiny_bounded');
const multi = packPath('tiny_multilabel');
const features = packPath('tiny_features');
const classifier = await beex.load(packBytes('tiny_open'));
const folder = mkdtempSync(join(tmpdir(), 'beex-cli-'));
after(() => rmSync(folder, { recursive: true }));

const TEXTS = ['a charming journey', '', 'bleak and desperate', 'café 中文 😀', 'the last line'];

async function succeeds(args, input) {
  const { status, stdout, stderr } = await cli(args, input);
  assert.equal(stderr, '');
  assert.equal(status, 0);
  return stdout;
}

// Without what differs from run to run.
const timeless = (jsonl) => jsonl.replace(/,"us":[\d.]+/g, '');

async function fails(status, args, input) {
  const result = await cli(args, input);
  assert.equal(result.status, status, result.stderr);
  assert.match(result.stderr, /^beex: .+\n(See beex --help\.\n)?$/);
  return result;
}

test('text: label, percent and text, one a line', async () => {
  const lines = (await succeeds(['classify', '--pack', open], `${TEXTS.join('\n')}\n`)).split('\n');
  assert.equal(lines.length, TEXTS.length + 1);
  TEXTS.forEach((text, index) => {
    const { label, score } = classifier.classify(text);
    assert.equal(lines[index], `${label.padEnd(5)}  ${`${(100 * score).toFixed(1)} %`.padStart(7)}  ${text}`);
  });
});

test('jsonl: exactly label, score, scores, exit, work and us, with the shortest digits that are the same float', async () => {
  const lines = (await succeeds(['classify', '--pack', open, '--format', 'jsonl'], TEXTS.join('\n'))).trimEnd().split('\n');
  assert.equal(lines.length, TEXTS.length);
  TEXTS.forEach((text, index) => {
    const parsed = JSON.parse(lines[index]);
    const { label, score, scores, exit, work } = classifier.classify(text);
    assert.deepEqual(Object.keys(parsed), ['label', 'score', 'scores', 'exit', 'work', 'us']);
    assert.deepEqual(Object.keys(parsed.exit), ['block', 'of', 'reason']);
    assert.equal(parsed.label, label);
    assert.equal(Math.fround(parsed.work), work);
    assert.ok(parsed.us > 0 && parsed.us < 1e7);
    assert.deepEqual(parsed.exit, exit);
    assert.equal(Math.fround(parsed.score), score);
    assert.deepEqual(Object.keys(parsed.scores), Object.keys(scores));
    for (const [name, value] of Object.entries(parsed.scores)) {
      assert.equal(Math.fround(value), scores[name]);
      assert.ok(String(value).replace(/^0\.0*|e.*$/g, '').length <= 9, `${value} is longer than a float32 needs`);
    }
  });
});

test('tsv: label, score, exit block and text', async () => {
  const out = await succeeds(['classify', '--pack', open, '--format', 'tsv', '--exit', 'off'], 'a charming journey\r\n');
  const [label, score, block, text] = out.trimEnd().split('\t');
  const expected = classifier.classify('a charming journey', { exit: 'off' });
  assert.deepEqual([label, Math.fround(Number(score)), block, text], [expected.label, expected.score, '2', 'a charming journey']);
});

test('multi-label: all labels of an answer in every format, or none', async () => {
  const tagger = await beex.load(packBytes('tiny_multilabel'));
  const strict = join(folder, 'strict.beex'); // nothing reaches its thresholds
  writeFileSync(strict, edited(packBytes('tiny_multilabel'), (view, section) => {
    for (let index = 0; index < 5; index++) view.setFloat32(section('threshold.by_label').offset + 4 * index, 0.99999, true);
  }));
  const percent = (score) => `${(100 * score).toFixed(1)} %`;
  const input = TEXTS.join('\n');
  const [text, jsonl, tsv] = await Promise.all(['text', 'jsonl', 'tsv'].map(async (format) =>
    (await succeeds(['classify', '--pack', multi, '--format', format], input)).trimEnd().split('\n')));
  let several = 0;
  TEXTS.forEach((each, index) => {
    const { label, score, scores, labels } = tagger.classify(each);
    assert.equal(text[index], `${labels.map((name) => `${name} ${percent(scores[name])}`).join(', ') || '–'}  ${each}`);
    const parsed = JSON.parse(jsonl[index]);
    assert.deepEqual(Object.keys(parsed), ['label', 'score', 'scores', 'labels', 'exit', 'work', 'us']);
    assert.deepEqual([parsed.label, parsed.labels], [label, labels]);
    const row = tsv[index].split('\t');
    assert.deepEqual([row[0], Math.fround(Number(row[1])), row[3] ?? ''], [labels.join('|'), score, each]);
    several += labels.length > 1 ? 1 : 0;
  });
  assert.ok(several > 0);
  assert.equal(await succeeds(['classify', '--pack', strict], 'bleak'), '–  bleak\n');
  assert.match(await succeeds(['classify', '--pack', strict, '--format', 'tsv'], 'bleak'), /^\t0\.\d+\t\d\tbleak\n$/);
  assert.match(await succeeds(['classify', '--pack', strict, '--top-k', '2'], 'bleak'), /^\w+ \d+\.\d %, \w+ \d+\.\d %  bleak\n$/);
});

test('embed: one JSON array a line, with the shortest digits that are the same float', async () => {
  const embedder = await beex.load(packBytes('tiny_features'));
  const lines = (await succeeds(['embed', '--pack', features], `${TEXTS.join('\n')}\n`)).trimEnd().split('\n');
  assert.equal(lines.length, TEXTS.length);
  TEXTS.forEach((text, index) => {
    const parsed = JSON.parse(lines[index]);
    assert.deepEqual(Object.keys(parsed), ['embedding']);
    assert.deepEqual(parsed.embedding.map(Math.fround), Array.from(embedder.embed(text)));
  });
  const json = TEXTS.map((text) => JSON.stringify({ text })).join('\n');
  assert.equal(await succeeds(['embed', '--pack', features, '--input-format', 'jsonl'], json), `${lines.join('\n')}\n`);
  assert.equal(await succeeds(['embed', '--pack', features], ''), '');
  assert.equal(JSON.parse(await succeeds(['embed', '--pack', open], 'bleak')).embedding.length, 64);

  assert.match((await fails(1, ['embed', '--pack', pairs], 'a\tb')).stderr, /only a pack for single texts/);
  assert.match((await fails(1, ['classify', '--pack', features], 'a')).stderr, /no classes: use beex embed/);
  assert.match((await fails(1, ['embed', '--pack', features, '--input-format', 'jsonl'], '{"a":"x","b":"y"}')).stderr, /line 1: expected \{"text"/);
  for (const args of [['--format', 'tsv'], ['--exit', 'off'], ['--top-k', '2'], ['a text'], ['--input-format', 'csv']]) {
    await fails(2, ['embed', '--pack', features, ...args], 'a');
  }
  await fails(2, ['embed'], 'a');
});

test('--exit and --top-k', async () => {
  const at = async (exit) => JSON.parse(await succeeds(['classify', '--pack', open, '--format', 'jsonl', '--exit', exit], 'a charming journey')).exit;
  assert.deepEqual(await at('entropy:1.5'), { block: 0, of: 2, reason: 'entropy' });
  assert.deepEqual(await at('entropy:1.5,first=1'), { block: 1, of: 2, reason: 'entropy' });
  assert.deepEqual(await at('off'), { block: 2, of: 2, reason: 'last' });
  assert.deepEqual(await at('default'), classifier.classify('a charming journey').exit);
  const { top } = JSON.parse(await succeeds(['classify', '--pack', open, '--format', 'jsonl', '--top-k', '2'], 'bleak'));
  assert.equal(top.length, 2);
  assert.ok(top[0].score >= top[1].score);
  assert.match(await succeeds(['classify', '--pack', open, '--top-k', '2'], 'bleak'), /^\w+ \d+\.\d %, \w+ \d+\.\d %  bleak\n$/);
});

test('--speed: names, speed-ups and budgets; what the pack cannot do ends with words', async () => {
  const adaptive = await beex.load(packBytes('tiny_adaptive'));
  const pack = packPath('tiny_adaptive');
  const text = 'a charming and often affecting journey';
  for (const [flag, speed] of [['full', 'full'], ['accurate', 'accurate'], ['fast', 'fast'], ['2.5x', { speedup: 2.5 }], ['.5e3ms'], ['1000000ms', { budgetMs: 1e6 }]]) {
    if (!speed) {
      assert.match((await fails(2, ['classify', '--pack', pack, '--speed', flag], text)).stderr, /the string "\.5e3ms"; a speed is "full"/);
      continue;
    }
    const { exit, work } = JSON.parse(await succeeds(['classify', '--pack', pack, '--format', 'jsonl', '--speed', flag], text));
    const expected = adaptive.classify(text, { speed });
    assert.deepEqual([exit, Math.fround(work)], [expected.exit, expected.work]);
  }
  const off = ['classify', '--pack', pack, '--format', 'jsonl', '--exit', 'off', '--speed'];
  assert.equal(JSON.parse(await succeeds([...off, '0.000001ms'], text)).exit.reason, 'budget');
  const { work } = JSON.parse(await succeeds([...off, '1.2x'], text));
  assert.equal(Math.fround(work), adaptive.classify(text, { speed: { speedup: 1.2 }, exit: 'off' }).work);
  assert.match((await fails(2, [...off, 'fast'], text)).stderr, /--speed and --exit both/);
  assert.match((await fails(1, ['classify', '--pack', pack, '--speed', '9x'], text)).stderr, /speed-ups up to 3\.33/);
  assert.match((await fails(1, ['classify', '--pack', open, '--speed', 'fast'], text)).stderr, /without a speed curve/);
  assert.equal((await fails(1, ['classify', '--pack', open, '--speed', 'fast'], '')).stdout, '');
});

test('input: files, jsonl, pairs, line ends, a last line without one, none at all', async () => {
  const file = join(folder, 'texts.txt');
  writeFileSync(file, TEXTS.join('\r\n'));
  const answers = async (...call) => timeless(await succeeds(...call));
  const args = ['classify', '--pack', open, '--format', 'jsonl'];
  const expected = await answers(args, TEXTS.join('\n'));
  assert.equal(await answers([...args, '--input', file]), expected);
  const json = TEXTS.map((text) => JSON.stringify({ text, id: 7 })).join('\n');
  assert.equal(await answers([...args, '--input-format', 'jsonl'], json), expected);
  assert.equal(await answers(args, ''), '');
  assert.equal((await answers(args, '\n\n')).split('\n').length, 3);
  const tabbed = await answers(['classify', '--pack', pairs, '--format', 'jsonl'], 'one\ttwo\n');
  assert.equal(await answers(['classify', '--pack', pairs, '--format', 'jsonl', '--input-format', 'jsonl'], '{"a":"one","b":"two"}'), tabbed);
  const { label, score } = (await beex.load(packBytes('tiny_bounded'))).classify({ a: 'one', b: 'two' });
  assert.deepEqual([JSON.parse(tabbed).label, Math.fround(JSON.parse(tabbed).score)], [label, score]);
  const lines = await answers(['classify', '--pack', open, '--format', 'tsv', '--input-format', 'jsonl'], '{"text":"a\\tb\\nc"}');
  assert.match(lines, /\ta b c\n$/);
});

test('characters that span chunks stay whole', async () => {
  const text = '中文😀 '.repeat(40_000);
  const child = spawn(process.execPath, [join(project, 'node_modules/.bin/beex'), 'classify', '--pack', open, '--format', 'jsonl', '--exit', 'probability:0']);
  const bytes = Buffer.from(`${text}\n`);
  for (let at = 0; at < bytes.length; at += 4099) child.stdin.write(bytes.subarray(at, at + 4099));
  child.stdin.end();
  let out = '';
  child.stdout.on('data', (chunk) => { out += chunk; });
  await once(child, 'close');
  assert.equal(Math.fround(JSON.parse(out).score), classifier.classify(text, { exit: 'probability:0' }).score);
});

test('a result comes before the input ends', async () => {
  const child = spawn(process.execPath, [join(project, 'node_modules/.bin/beex'), 'classify', '--pack', open]);
  child.stdin.write('a charming journey\nbleak');
  const [first] = await once(child.stdout, 'data');
  assert.match(String(first), /a charming journey\n$/);
  child.stdin.write(' and desperate\n');
  const [second] = await once(child.stdout, 'data');
  assert.match(String(second), /bleak and desperate\n$/);
  child.stdin.end();
  assert.deepEqual(await once(child, 'close'), [0, null]);
});

test('20 000 lines come out whole and in order through a slow reader', async () => {
  const input = Array.from({ length: 20_000 }, (_, index) => `text number ${index}`).join('\n');
  const { stdout, status } = await run('sh', ['-c', `"$0" "$1" classify --pack "$2" --format tsv --exit probability:0 | (sleep 1; cat)`,
    process.execPath, join(project, 'node_modules/.bin/beex'), open], { input });
  assert.equal(status, 0);
  assert.deepEqual(stdout.trimEnd().split('\n').map((line) => line.split('\t')[3]), input.split('\n'));
});

test('a reader that leaves early is no failure', async () => {
  const input = 'bleak\n'.repeat(50_000);
  const { stdout, stderr, status } = await run('bash', ['-c', `set -o pipefail; "$0" "$1" classify --pack "$2" --exit probability:0 | head -n 1`,
    process.execPath, join(project, 'node_modules/.bin/beex'), open], { input });
  assert.match(stdout, /^\S+ .*bleak\n$/);
  assert.equal(stderr, '');
  assert.equal(status, 0);
});

test('a bad line is named, what came before it is answered', async () => {
  const args = ['classify', '--pack', open, '--input-format', 'jsonl'];
  for (const [bad, reason] of [['{"text":', /not JSON/], ['{"txt":"x"}', /expected \{"text"/], ['"x"', /expected/], ['null', /expected/], ['', /empty/],
    ['{"a":"x","b":"y"}', /single texts/], ['{"text":5}', /expected/]]) {
    const { stdout, stderr } = await fails(1, args, `{"text":"fine"}\n${bad}\n{"text":"never read"}\n`);
    assert.match(stdout, /^\S+ .*fine\n$/);
    assert.match(stderr, /line 2/);
    assert.match(stderr, reason);
  }
  assert.match((await fails(1, ['classify', '--pack', pairs], 'no tab\n')).stderr, /line 1: .*one tab/);
});

test('wrong usage is status 2, failures are status 1', async () => {
  for (const args of [[], ['sing'], ['classify'], ['classify', '--pack'], ['classify', '--pack', open, '--format', 'xml'], ['classify', '--pack', open, '--nope'],
    ['classify', '--pack', open, '--input-format', 'csv'], ['classify', '--pack', open, '--top-k', '0'], ['classify', '--pack', open, '--exit', 'often'],
    ['classify', '--pack', open, 'a text'], ['info'], ['info', open, open]]) {
    const { stdout } = await fails(2, args);
    assert.equal(stdout, '');
  }
  assert.match((await fails(1, ['classify', '--pack', join(folder, 'nothing.beex')])).stderr, /there is no file .*nothing\.beex/);
  assert.match((await fails(1, ['classify', '--pack', open, '--input', join(folder, 'nothing.txt')])).stderr, /there is no file .*nothing\.txt/);
  writeFileSync(join(folder, 'page.beex'), '<!doctype html>');
  assert.match((await fails(1, ['info', join(folder, 'page.beex')])).stderr, /not-a-pack/);
  await fails(1, ['info', folder]);
});

test('info, help, version and fingerprint', async () => {
  const info = await succeeds(['info', open]);
  for (const part of [/^name +tiny open$/m, /^task +single-label$/m, /^labels +joy, fear, other$/m, /^takes +one text$/m, /^network +2 blocks, hidden size 64/m,
    /^exit rule +fractional:0\.02,certain=0\.05,uncertain=0\.9$/m, /^integrity +sha256-[A-Za-z0-9+/]{43}=$/m, /^description +random weights, for tests$/m]) {
    assert.match(info, part);
  }
  assert.match(await succeeds(['info', pairs]), /^takes +two texts$/m);
  assert.match(await succeeds(['info', multi]), /^task +multi-label$/m);
  assert.match(await succeeds(['info', features]), /^task +features\nlabels +none$/m);
  assert.match(await succeeds(['--help']), /^Usage:/);
  assert.match(await succeeds(['--version']), /^\d+\.\d+\.\d+\n$/);
  assert.equal(await succeeds(['--fingerprint']), `${await beex.fingerprint({ simd: false })}\n`);
});
