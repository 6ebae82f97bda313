// Headless Firefox of the system: it opens a page that runs a function and sends home what that returns. Set FIREFOX to use another one.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { servePackage } from './chromium.mjs';

// What a new profile would open or send by itself.
const QUIET = ['browser.aboutwelcome.enabled', 'browser.shell.checkDefaultBrowser', 'datareporting.policy.dataSubmissionEnabled',
  'toolkit.telemetry.unified', 'app.normandy.enabled', 'extensions.update.enabled', 'network.captive-portal-service.enabled']
  .map((name) => `user_pref("${name}", false);\n`).join('');

// Resolves to what `work(...args)` resolves to, in a page of the built package with these packs beside it. `work` crosses as source text,
// arguments and result as JSON.
export async function runInFirefox(packs, work, ...args) {
  const site = await servePackage({
    'index.html': '<!doctype html><title>test</title><link rel="icon" href="data:,"><script type="module" src="run.js"></script>',
    'run.js': `const send = (result) => fetch('./result', { method: 'POST', body: JSON.stringify(result) });
      (${work})(...${JSON.stringify(args)}).then((value) => send({ value }), (error) => send({ error: String(error) }));`,
  }, packs);
  const profile = mkdtempSync(join(tmpdir(), 'beex-firefox-'));
  writeFileSync(join(profile, 'user.js'), QUIET);
  const result = posted(site.server);
  // A process group of its own, as Firefox is several processes.
  const firefox = spawn(process.env.FIREFOX ?? 'firefox-esr', ['--headless', '--no-remote', '--profile', profile, site.url], { detached: true, stdio: 'ignore' });
  const ended = new Promise((done, failed) => firefox.once('exit', done).once('error', failed));
  const timer = new AbortController();
  try {
    const { value, error } = await Promise.race([result, ended.then((status) => { throw new Error(`Firefox ended with status ${status}`); }),
      new Promise((_, failed) => { const late = setTimeout(failed, 300_000, new Error('Firefox sent nothing in 5 minutes')); timer.signal.onabort = () => clearTimeout(late); })]);
    if (error) throw new Error(error);
    return value;
  } finally {
    timer.abort();
    if (firefox.pid && firefox.exitCode === null) process.kill(-firefox.pid, 'SIGKILL');
    await ended.catch(() => {});
    site.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

// The first body that is posted to a server, which answers everything else as before.
function posted(server) {
  const [answer] = server.listeners('request');
  server.removeAllListeners('request');
  return new Promise((done) => {
    server.on('request', async (request, response) => {
      if (request.method !== 'POST') return answer(request, response);
      const parts = [];
      for await (const part of request) parts.push(part);
      response.writeHead(204).end();
      done(JSON.parse(Buffer.concat(parts).toString('utf8')));
    });
  });
}
