// Headless Chromium of the system, and a folder served with the demo's strict policy. Set CHROMIUM to use another one.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { POLICY, serve } from '../../scripts/serve.mjs';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const { chromium } = createRequire(join(root, 'bindings/js/package.json'))('playwright-core');

// Opens a browser with a profile of its own. Nothing that the browser would do by itself may disturb the count of requests.
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}

// Serves the built package with these extra files and packs: { 'name': text } and [paths]. Call `close` at the end.
export async function servePackage(files = {}, packs = [], policy = POLICY) {
  const folder = mkdtempSync(join(tmpdir(), 'beex-site-'));
  cpSync(join(root, 'bindings/js/dist'), join(folder, 'beex'), { recursive: true });
  for (const [name, text] of Object.entries({ 'index.html': '<!doctype html><title>test</title><link rel="icon" href="data:,">', ...files })) writeFileSync(join(folder, name), text);
  for (const path of packs) cpSync(path, join(folder, path.split('/').at(-1)));
  const { server, url } = await serve(folder, 0, policy);
  const close = () => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  };
  return { server, url, close };
}

// A page that remembers what went wrong and what was requested.
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  const requests = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) problems.push(message.text()); });
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(url);
  return { page, context, problems, requests };
}
