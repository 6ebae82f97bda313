// The tarball itself: what is in it, how it imports, its types, and what must not be in it.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { installed, packPath, packed, project, run, source, tarball } from './installed.mjs';

const tools = createRequire(join(source, 'package.json'));
const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
const tsc = tools.resolve('typescript/bin/tsc');

test('the tarball has what users need, and no sources', () => {
  const files = packed.files.map(({ path }) => path);
  for (const name of ['package.json', 'LICENSE', 'dist/index.js', 'dist/index.d.ts', 'dist/cli.js', 'dist/engine.wasm', 'dist/engine.scalar.wasm']) {
    assert.ok(files.includes(name), name);
  }
  assert.deepEqual(files.filter((name) => /(^|\/)(src|node_modules|test)|\.map$|lock|tsconfig|\.mjs$|(^|\/)\.|(?<!\.d)\.ts$/.test(name)), []);
  assert.equal(manifest.dependencies, undefined);
});

test('nothing names a host', () => {
  for (const name of readdirSync(join(installed, 'dist'), { recursive: true })) {
    if (/\.(js|ts)$/.test(name)) assert.doesNotMatch(readFileSync(join(installed, 'dist', name), 'utf8'), /https?:\/\//, name);
  }
  assert.doesNotMatch(readFileSync(join(source, 'package-lock.json'), 'utf8'), /"resolved"|registry\./);
});

test('no code is made from strings', () => {
  assert.doesNotMatch(readFileSync(join(installed, 'dist/index.js'), 'utf8'), /\bnew Function\b|\beval\(/);
});

test('sizes are within the budget', () => {
  const budget = JSON.parse(readFileSync(join(source, '../../scripts/sizes.json'), 'utf8')).wire;
  for (const name of ['engine.wasm', 'engine.scalar.wasm', 'index.js']) {
    const size = gzipSync(readFileSync(join(installed, 'dist', name)), { level: 9 }).length;
    assert.ok(size <= budget[name].budget, `${name}: ${size} of ${budget[name].budget}`);
  }
});

const CLASSIFY = `load(${JSON.stringify(packPath('tiny_open'))}).then((c) => console.log(c.classify('a charming journey').label))`;
for (const [kind, args, code] of [
  ['import', ['--input-type=module', '-e'], `import { load } from 'beex'; ${CLASSIFY}`],
  ['require', ['--disable-warning=ExperimentalWarning', '-e'], `const { load } = require('beex'); ${CLASSIFY}`],
  ['import() without code from strings', ['--disallow-code-generation-from-strings', '-e'], `import('beex').then(({ load }) => ${CLASSIFY})`],
]) {
  test(`${kind} works, with an empty stderr`, async () => {
    const { status, stdout, stderr } = await run(process.execPath, [...args, code]);
    assert.equal(stderr, '');
    assert.equal(status, 0);
    assert.match(stdout, /^\w+\n$/);
  });
}

test('importing does nothing: no global, no timer, no handle', async () => {
  const code = `const before = Object.getOwnPropertyNames(globalThis).join();
    await import('beex');
    if (Object.getOwnPropertyNames(globalThis).join() !== before) console.log('a global');
    console.log(process.getActiveResourcesInfo().filter((name) => /Timeout|Immediate|Message|Worker|TCP/.test(name)).join());`;
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', code]);
  assert.equal(stdout + stderr, '\n');
});

test('a worker thread can classify', async () => {
  const code = `import { Worker, isMainThread, parentPort } from 'node:worker_threads';
    new Worker(new URL('data:text/javascript,' + encodeURIComponent(\`
      import { parentPort } from 'node:worker_threads';
      const { load } = await import('${pathToFileURL(join(installed, 'dist/index.js'))}');
      parentPort.postMessage((await load(${JSON.stringify(packPath('tiny_open'))})).classify('x').label);
    \`))).on('message', console.log);`;
  const { stdout, stderr, status } = await run(process.execPath, ['--input-type=module', '-e', code]);
  assert.equal(stderr, '');
  assert.equal(status, 0);
  assert.match(stdout, /^\w+\n$/);
});

const USER = `
import { load, BeexError, Classifier, fingerprint, formatExitRule, type BeexErrorCode, type Classification, type ExitRule, type LoadOptions } from 'beex';

const options: LoadOptions = { onProgress: ({ phase, loaded, total }) => console.log(phase, loaded / total), simd: false, integrity: 'sha256-' };
const classifier: Classifier<'spam' | 'ham'> = await load<'spam' | 'ham'>(new Uint8Array(), options);
const one: Classification<'spam' | 'ham'> = classifier.classify('text');
const label: 'spam' | 'ham' = one.label;
const score: number = one.scores.spam;
const many: Classification<'spam' | 'ham'>[] = classifier.classify(['a', { a: 'b', b: 'c' }] as const);
const best: { label: 'spam' | 'ham'; score: number } | undefined = classifier.classify('x', { topK: 2 }).top[0];
const found: ('spam' | 'ham')[] | undefined = one.labels;
const task: 'single-label' | 'multi-label' | 'features' = classifier.info.task;
const vector: Float32Array = classifier.embed('text');
const vectors: Float32Array[] = classifier.embed(['a', 'b'] as const);
const print: string = classifier.fingerprint();
const same: Promise<string> = fingerprint({ simd: false });
const rule: ExitRule = { kind: 'entropy', threshold: 0.3 };
classifier.classify({ a: 'x', b: 'y' }, { exit: 'fractional:0.05,certain=0.05' });
classifier.classify('x', { exit: formatExitRule(rule) });
classifier.classify('x', { exit: rule });
{ using scoped = classifier; scoped.memory().total.toFixed(); }
(await load('pack.beex')).labels[0]?.toUpperCase();
function code(error: unknown): BeexErrorCode | undefined { return error instanceof BeexError ? error.code : undefined; }

// @ts-expect-error: not a label of this pack
one.label === 'other';
// @ts-expect-error: top is there only with topK
classifier.classify('x').top.length;
// @ts-expect-error: a number is no text
classifier.classify(5);
// @ts-expect-error: vectors are of single texts
classifier.embed({ a: 'b', b: 'c' });
// @ts-expect-error: no such kind of rule
classifier.classify('x', { exit: 'often:1' });
// @ts-expect-error: no such option
classifier.classify('x', { topN: 1 });
// @ts-expect-error: classifiers come from load
new Classifier();
export { label, score, many, best, code, found, task, vector, vectors, print, same };
`;

for (const [module, lib, extra] of [['nodenext', 'es2022,dom', []], ['esnext', 'es2022,dom', ['--moduleResolution', 'bundler']]]) {
  test(`types hold for users (${module}), also with library checks`, async () => {
    writeFileSync(join(project, 'user.mts'), USER);
    const { status, stdout } = await run(process.execPath, [tsc, '--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false',
      '--target', 'es2022', '--module', module, '--lib', lib, ...extra, 'user.mts']);
    assert.equal(stdout, '');
    assert.equal(status, 0);
  });
}

test('public types have no any', () => {
  for (const name of readdirSync(join(installed, 'dist')).filter((file) => file.endsWith('.d.ts'))) {
    const text = readFileSync(join(installed, 'dist', name), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    assert.doesNotMatch(text, /\bany\b/, name);
  }
});

test('publint finds nothing', async () => {
  const { publint } = await import(pathToFileURL(tools.resolve('publint')));
  const bytes = readFileSync(tarball);
  const { messages } = await publint({ pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) } });
  assert.deepEqual(messages.filter(({ type }) => type !== 'suggestion'), []);
});

test('bundlers: esbuild keeps the addresses of the engine as they are, and pulls in nothing of Node', async () => {
  const { build } = tools('esbuild');
  writeFileSync(join(project, 'app.js'), `import { load } from 'beex'; load('pack.beex').then(console.log);`);
  const { outputFiles, warnings } = await build({ entryPoints: [join(project, 'app.js')], bundle: true, format: 'esm', platform: 'browser', write: false, outdir: dirname(project) });
  assert.deepEqual(warnings, []);
  const [{ text }] = outputFiles;
  for (const name of ['engine.wasm', 'engine.scalar.wasm']) {
    assert.match(text, new RegExp(`new URL\\("\\./${name.replaceAll('.', '\\.')}", import\\.meta\\.url\\)`));
  }
  assert.doesNotMatch(text, /\b(import|require)\(/);
});
