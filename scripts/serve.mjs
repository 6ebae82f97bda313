// A small static server for the demo and the browser tests, with the headers that a careful site would send.
//
//   node scripts/serve.mjs FOLDER      PORT (8080) is where it starts to look for a free port
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.beex': 'application/octet-stream',
};

// All that beex asks of a policy is 'wasm-unsafe-eval'; the worker is for pages that classify in one.
export const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
  "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// Serves `folder` on 127.0.0.1. Resolves to { server, url } on the first free port of twenty from `port` on; 0 means any.
// `cache` is the answers' Cache-Control, pages aside: careful by default, so that a change is seen at once.
export async function serve(folder, port = 0, policy = POLICY, cache = 'no-cache') {
  const base = resolve(folder);
  const compressed = compressor();
  const server = createServer(async (request, response) => {
    const refuse = (status, text) => response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'Only GET and HEAD.');
    let path;
    try {
      path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    } catch {
      return refuse(400, 'This is no address.');
    }
    const file = join(base, normalize(path.endsWith('/') ? `${path}index.html` : path));
    const found = await stat(file).catch(() => undefined);
    if (!found?.isFile()) return refuse(404, `There is no ${path}.`);
    // What is very large is not held in memory, and goes as it is.
    const accepts = found.size > 1000 && found.size < 16e6 && /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
    const zipped = accepts ? await compressed(file, found.mtimeMs).catch(() => undefined) : undefined;
    response.writeHead(200, {
      'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
      ...(zipped && { 'content-encoding': 'gzip' }),
      'content-length': zipped?.length ?? found.size,
      'vary': 'accept-encoding',
      'content-security-policy': policy,
      'cache-control': extname(file) === '.html' ? 'no-cache' : cache,
      'cross-origin-opener-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
    if (request.method === 'HEAD') return response.end();
    if (zipped) response.end(zipped);
    else createReadStream(file).on('error', () => response.destroy()).pipe(response);
  });
  for (let attempt = 0; ; attempt++) {
    try {
      await new Promise((done, failed) => server.once('error', failed).listen(port === 0 ? 0 : port + attempt, '127.0.0.1', () => {
        server.off('error', failed);
        done();
      }));
      return { server, url: `http://127.0.0.1:${server.address().port}/` };
    } catch (error) {
      if (error.code !== 'EADDRINUSE' || attempt === 19) throw error;
    }
  }
}

// Compresses a file once for as long as it does not change, as a site that deploys compressed files.
function compressor() {
  const kept = new Map();
  return (file, time) => {
    if (kept.get(file)?.time !== time) kept.set(file, { time, bytes: readFile(file).then((bytes) => promisify(gzip)(bytes, { level: 9 })) });
    return kept.get(file).bytes;
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder] = process.argv.slice(2);
  if (!folder) {
    console.error('usage: node scripts/serve.mjs FOLDER');
    process.exit(2);
  }
  const { server, url } = await serve(folder, Number(process.env.PORT ?? 8080));
  console.log(`beex is at ${url} (Ctrl+C stops it)`);
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      server.close();
      server.closeAllConnections();
    });
  }
}
