// Where packs and engines come from, and every way in which that can fail.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import vm from 'node:vm';
import { gzipSync } from 'node:zlib';
import { beex, edited, failsWith, packBytes, packPath, resolve } from './installed.mjs';

const { load } = beex;
const pack = packBytes('tiny_open');
const expected = (await load(pack)).classify('a charming journey');
const answers = (classifier) => assert.deepEqual(classifier.classify('a charming journey'), expected);
const integrity = `sha256-${createHash('sha256').update(pack).digest('base64')}`;

// What the server answers by path; `hits` counts.
let hits = 0;
const routes = {
  '/pack': (response) => response.end(pack),
  '/gzip': (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(pack)),
  '/page': (response) => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<!doctype html><p>Our app</p>'),
  '/error': (response) => response.writeHead(503, { 'content-type': 'text/html' }).end('later'),
  '/broken': (response) => {
    response.writeHead(200, { 'content-length': pack.length });
    response.write(pack.subarray(0, 5000), () => response.destroy());
  },
  '/slow': (response) => {
    response.writeHead(200, { 'content-length': pack.length });
    response.write(pack.subarray(0, 5000));
  },
  '/engine.wasm': (response) => response.end(readFileSync(resolve('beex/engine.wasm'))),
  '/typed.wasm': (response) => response.writeHead(200, { 'content-type': 'application/wasm' }).end(readFileSync(resolve('beex/engine.wasm'))),
  '/damaged.wasm': (response) => response.writeHead(200, { 'content-type': 'application/wasm' }).end(readFileSync(resolve('beex/engine.wasm')).subarray(0, 9000)),
  '/flaky.wasm': (response) => (hits++ === 0 ? response.writeHead(500).end() : response.end(readFileSync(resolve('beex/engine.wasm')))),
};
const server = createServer((request, response) => (routes[request.url] ?? ((missing) => missing.writeHead(404, { 'content-type': 'text/plain' }).end('no')))(response));
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const base = `http://127.0.0.1:${server.address().port}`;
const folder = mkdtempSync(join(tmpdir(), 'beex-load-'));
after(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

test('every kind of source loads', async () => {
  const shifted = new Uint8Array(pack.length + 3);
  shifted.set(pack, 3);
  const shared = new SharedArrayBuffer(pack.length);
  new Uint8Array(shared).set(pack);
  const path = packPath('tiny_open');
  const sources = {
    path, 'file URL': pathToFileURL(path), 'file URL as a string': String(pathToFileURL(path)),
    'http URL': new URL(`${base}/pack`), 'http string': `${base}/pack`, Request: new Request(`${base}/pack`), gzip: `${base}/gzip`,
    Response: await fetch(`${base}/pack`), 'made Response': new Response(pack), Blob: new Blob([pack]), File: new File([pack], 'a.beex'),
    ArrayBuffer: pack.buffer, Uint8Array: pack, 'Uint8Array in a larger buffer': shifted.subarray(3), DataView: new DataView(shifted.buffer, 3),
    Buffer: readFileSync(path), SharedArrayBuffer: shared, 'data URL': `data:application/octet-stream;base64,${Buffer.from(pack).toString('base64')}`,
    'ArrayBuffer of another realm': vm.runInNewContext('(bytes) => Uint8Array.from(bytes).buffer')([...pack]),
  };
  for (const [name, source] of Object.entries(sources)) {
    await load(source).then(answers, (error) => assert.fail(`${name}: ${error.message}`));
  }
});

test('the caller keeps its bytes, and may change them after load', async () => {
  const bytes = pack.slice();
  const classifier = await load(bytes);
  assert.deepEqual(bytes, pack);
  bytes.fill(0);
  answers(classifier);
});

test('every kind of engine source loads', async () => {
  const file = resolve('beex/engine.wasm');
  const bytes = readFileSync(file);
  const sources = {
    path: file, 'file URL': pathToFileURL(file), http: `${base}/engine.wasm`, Response: await fetch(`${base}/engine.wasm`), Buffer: bytes,
    ArrayBuffer: new Uint8Array(bytes).buffer, Module: await WebAssembly.compile(bytes), scalar: readFileSync(resolve('beex/engine.scalar.wasm')),
  };
  for (const [name, wasm] of Object.entries(sources)) {
    const classifier = await load(pack, { wasm }).catch((error) => assert.fail(`${name}: ${error.message}`));
    answers(classifier);
    assert.equal(classifier.info.kernels, name === 'scalar' ? 'scalar' : 'simd128');
  }
});

test('the engine is compiled while it comes where the server calls it WebAssembly, and else from its bytes', async () => {
  await fetch(`${base}/page`); // Node's own fetch compiles some WebAssembly when it is first used
  const { compile, compileStreaming } = WebAssembly;
  const seen = [];
  WebAssembly.compile = (...args) => (seen.push('compile'), compile(...args));
  WebAssembly.compileStreaming = (...args) => (seen.push('stream'), compileStreaming(...args));
  try {
    answers(await load(pack, { wasm: `${base}/typed.wasm` }));
    assert.deepEqual(seen.splice(0), ['stream']);
    answers(await load(pack, { wasm: await fetch(`${base}/engine.wasm`) }));
    assert.deepEqual(seen.splice(0), ['compile']);
    assert.match((await failsWith('wasm-mismatch', load(pack, { wasm: `${base}/damaged.wasm` }))).message, /damaged\.wasm is damaged/);
  } finally {
    Object.assign(WebAssembly, { compile, compileStreaming });
  }
});

test('progress goes from the first byte to ready, with the total from the header even when compressed', async () => {
  for (const path of ['/pack', '/gzip']) {
    const seen = [];
    await load(base + path, { onProgress: (progress) => seen.push(progress) });
    const phases = [...new Set(seen.map(({ phase }) => phase))];
    assert.deepEqual(phases, ['download', 'compile', 'verify', 'ready']);
    assert.ok(seen.every(({ total }) => total === pack.length), JSON.stringify(seen));
    assert.ok(seen.every(({ loaded }, index) => index === 0 || loaded >= seen[index - 1].loaded));
    assert.equal(seen.at(-1).loaded, pack.length);
  }
});

test('integrity is checked before use', async () => {
  answers(await load(pack, { integrity }));
  const other = pack.slice();
  other[other.length - 1] ^= 1;
  const error = await failsWith('integrity', load(other, { integrity }));
  assert.match(error.message, new RegExp(integrity.replaceAll('+', '\\+')));
  for (const wrong of ['', 'sha256-', 'md5-abc', integrity.slice(0, -2), `sha256-${'a'.repeat(44)}`, 5]) {
    await failsWith('invalid-argument', load(pack, { integrity: wrong }));
  }
});

test('abort rejects with the reason, before and during the download', async () => {
  await assert.rejects(load(pack, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  const reason = new Error('changed my mind');
  await assert.rejects(load(`${base}/pack`, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const loading = load(`${base}/slow`, { signal: controller.signal, onProgress: () => controller.abort(reason) });
  await assert.rejects(loading, reason);
  await assert.rejects(load(await fetch(`${base}/slow`), { signal: AbortSignal.timeout(50) }), { name: 'TimeoutError' });
  answers(await load(`${base}/pack`, { signal: new AbortController().signal }));
});

test('network failures name the address, the status and the type', async () => {
  let error = await failsWith('network', load(`${base}/nothing`));
  assert.match(error.message, new RegExp(`${base}/nothing answered 404 Not Found \\(text/plain\\)`));
  error = await failsWith('network', load(`${base}/error`));
  assert.match(error.message, /503 Service Unavailable \(text\/html\)/);
  error = await failsWith('network', load('http://127.0.0.1:1/pack'));
  assert.ok(error.cause, 'keeps the cause');
  error = await failsWith('network', load(`${base}/broken`));
  assert.match(error.message, /broke after \d+ bytes/);
  error = await failsWith('network', load(join(folder, 'missing.beex')));
  assert.match(error.message, /missing\.beex: there is no such file/);
  await failsWith('network', load(folder));
  const read = await fetch(`${base}/pack`);
  await read.arrayBuffer();
  await failsWith('invalid-argument', load(read));
});

test('other files are not packs', async () => {
  const error = await failsWith('not-a-pack', load(`${base}/page`));
  assert.match(error.message, new RegExp(`${base}/page is text/html; charset=utf-8, not a beex pack`));
  await failsWith('not-a-pack', load(new Uint8Array()));
  await failsWith('not-a-pack', load(new TextEncoder().encode('BEE')));
  await failsWith('not-a-pack', load(readFileSync(resolve('beex/engine.wasm'))));
});

test('wrong arguments are named', async () => {
  for (const [source, named] of [[5, 'the number 5'], [null, 'null'], [undefined, 'undefined'], [{}, 'an object'], [[1], 'Array'], [() => {}, 'a function']]) {
    const error = await failsWith('invalid-argument', load(source));
    assert.ok(error.message.includes(named), error.message);
  }
  await failsWith('invalid-argument', load(pack, null));
  await failsWith('invalid-argument', load(pack, { wasm: 5 }));
});

test('engines that do not fit are told apart', async () => {
  let error = await failsWith('network', load(pack, { wasm: `${base}/missing.wasm` }));
  assert.match(error.message, /missing\.wasm answered 404.*engine\.wasm/s);
  error = await failsWith('network', load(pack, { wasm: `${base}/page` }));
  assert.match(error.message, /is not WebAssembly but text\/html/);
  const wasm = readFileSync(resolve('beex/engine.wasm'));
  error = await failsWith('wasm-mismatch', load(pack, { wasm: wasm.subarray(0, 9000) }));
  assert.match(error.message, /damaged/);
  const other = Buffer.from(wasm.toString('latin1').replace(/(beex\.build.*)(.)$/s, (_, head, last) => head + (last === 'x' ? 'y' : 'x')), 'latin1');
  error = await failsWith('wasm-mismatch', load(pack, { wasm: other }));
  assert.match(error.message, /JavaScript is beex build 0\.1\.0-[0-9a-f]{12}, but the given data is build 0\.1\.0-[0-9a-f]{11}x/);
  const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  error = await failsWith('wasm-mismatch', load(pack, { wasm: await WebAssembly.compile(empty) }));
  assert.match(error.message, /build unknown/);
});

test('a failed engine is forgotten: the next load tries again', async () => {
  await failsWith('network', load(pack, { wasm: `${base}/flaky.wasm` }));
  answers(await load(pack, { wasm: `${base}/flaky.wasm` }));
  answers(await load(pack, { wasm: `${base}/flaky.wasm` }));
  assert.equal(hits, 2, 'and a good one is kept');
});

test('without WebAssembly, or with it forbidden, the reason is given', async () => {
  const real = globalThis.WebAssembly;
  try {
    globalThis.WebAssembly = undefined;
    assert.match((await failsWith('no-wasm', load(pack))).message, /Lockdown/);
  } finally {
    globalThis.WebAssembly = real;
  }
});

test('damaged packs: version, feature, checksum, sections, values', async () => {
  let error = await failsWith('unsupported-version', load(edited(pack, (view) => view.setUint16(4, 2, true))));
  assert.match(error.message, /version 2/);
  error = await failsWith('unsupported-feature', load(edited(pack, (view, section) => {
    // A required section that nobody knows: `metadata` under another name.
    new Uint8Array(view.buffer).set(new TextEncoder().encode('novelty\0'), section('metadata').entry);
    view.setUint32(section('novelty').entry + 60, 1, true);
  })));
  assert.match(error.message, /novelty/);
  const flipped = pack.slice();
  flipped[flipped.length - 1] ^= 1;
  error = await failsWith('corrupt', load(flipped));
  assert.match(error.message, /section|checksum|crc/i);
  error = await failsWith('bad-pack', load(edited(pack, (view, section) => view.setUint32(section('config').offset + 4 * 4, 65, true))));
  assert.match(error.message, /hidden|65/);
  error = await failsWith('bad-pack', load(edited(pack, (view, section) => view.setFloat32(section('exit0.weight').offset, NaN, true))));
  assert.match(error.message, /exit0\.weight/);
  error = await failsWith('truncated', load(pack.subarray(0, 6400)));
  assert.match(error.message, /6400|6,400/);
});

test('a pack cut anywhere is refused', async () => {
  for (let length = 0; length < pack.length; length += 64) {
    const error = await load(pack.subarray(0, length)).then(() => undefined, (failure) => failure);
    assert.ok(error instanceof beex.BeexError, `${length} bytes: ${error}`);
    assert.equal(error.code, length === 0 ? 'not-a-pack' : 'truncated', `${length} bytes: ${error.message}`);
  }
});

test('each header byte and each table byte of the first sections, changed, is refused', async () => {
  for (let at = 0; at < 64 + 3 * 64; at++) {
    for (const change of [0x01, 0xff]) {
      const bytes = pack.slice();
      bytes[at] ^= change;
      const error = await load(bytes).then(() => undefined, (failure) => failure);
      assert.ok(error instanceof beex.BeexError, `byte ${at} ^ ${change}: ${error ?? 'loaded'}`);
      assert.notEqual(error.code, 'internal');
    }
  }
});

test('broken metadata does not matter, strange labels do no harm', async () => {
  const broken = await load(edited(pack, (view, section) => view.setUint8(section('metadata').offset, 0x5b)));
  assert.deepEqual(broken.info.metadata, {});
  const named = await load(edited(pack, (view, section) => {
    const { offset, length } = section('labels');
    new Uint8Array(view.buffer, offset, length).set(new TextEncoder().encode('aa\n__proto__\nb\n'.slice(0, length)));
  }));
  assert.deepEqual(named.labels, ['aa', '__proto__', 'b']);
  assert.ok(Object.hasOwn(named.classify('x').scores, '__proto__'));
});

test('written to disk and back, a pack is the same', async () => {
  const file = join(folder, 'ünïcode name #1.beex');
  writeFileSync(file, pack);
  answers(await load(file));
  answers(await load(pathToFileURL(file)));
});
