// The demo page in Chromium, as scripts/serve.mjs serves it. Run scripts/build first.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { serve } from '../../scripts/serve.mjs';
import { launch, openPage, root } from './chromium.mjs';
import { load } from '../../bindings/js/dist/index.js';

const folder = join(root, 'web/dist');
if (!existsSync(join(folder, 'index.html'))) throw new Error('web/dist is missing: run scripts/build first.');
const { server, url } = await serve(folder);
const browser = await launch();
const classifier = await load(join(folder, 'sentiment.beex'));
after(async () => {
  await browser.close();
  server.close();
  server.closeAllConnections();
});

const percent = (score) => `${(100 * score).toFixed(1)}%`;

async function ready(options) {
  const opened = await openPage(browser, url, options);
  await opened.page.waitForSelector('#result:not([hidden])');
  return opened;
}

test('typing gives the label that the package gives, with no error and no request after load', async () => {
  const { page, problems, requests } = await ready();
  const loaded = requests.length;
  assert.ok(requests.every((request) => request.startsWith(url) || request.startsWith('data:')), requests.join('\n'));
  const text = 'a warm and funny film that I would see again';
  await page.fill('#text', '');
  await page.locator('#text').pressSequentially(text);
  const { label, scores, exit } = classifier.classify(text, { speed: 'accurate' });
  assert.equal(await page.locator('#bars .best .name').textContent(), label);
  assert.deepEqual(await page.locator('#bars .percent').allTextContents(), Object.values(scores).map(percent));
  assert.equal(await page.locator('#blocks li').count(), exit.of + 1);
  assert.equal(await page.locator('#blocks li.ran').count(), exit.block + 1);
  assert.notEqual((await page.locator('#why').textContent()).trim(), '');
  await page.waitForFunction(() => document.querySelector('#spoken').textContent !== '');
  assert.match(await page.locator('#spoken').textContent(), new RegExp(`^${label}, `));
  assert.match(await page.locator('#time').textContent(), /^[\d,]+ (µs|ms)$/);
  assert.equal(await page.locator('#fact-requests').textContent(), '0');
  assert.deepEqual(requests.slice(loaded), []);
  assert.deepEqual(problems, []);
});

test('the counter of requests counts', async () => {
  const { page } = await ready();
  await page.evaluate(() => fetch('style.css').then((response) => response.text()));
  await page.waitForFunction(() => document.querySelector('#fact-requests').textContent === '1');
});

test('the slider goes along the curve of the pack, by keyboard too', async () => {
  const { page } = await ready();
  const { blocks, speeds } = classifier.info;
  const input = await page.inputValue('#text');
  const percents = (speed) => Object.values(classifier.classify(input, { speed }).scores).map(percent);
  assert.equal(await page.getAttribute('#speed', 'max'), String(speeds.length));
  assert.equal(await page.locator('#front circle').count(), speeds.length);
  await page.locator('#speed').focus();
  await page.keyboard.press('End');
  assert.equal(await page.locator('#blocks li.ran').count(), blocks + 1);
  assert.deepEqual(await page.locator('#bars .percent').allTextContents(), percents('full'));
  assert.match(await page.locator('#work').textContent(), /^100\.0%/);
  await page.keyboard.press('Home');
  assert.deepEqual(await page.locator('#bars .percent').allTextContents(), percents({ speedup: speeds[0].speedup }));
  assert.match(await page.locator('#speed-words').textContent(), new RegExp(percent(speeds[0].accuracy)));
});

test('the trace shows every step, and which words were left behind', async () => {
  const { page, problems } = await ready();
  await page.fill('#text', 'The cast is wonderful, but the story of the film goes nowhere and takes two hours to get there.');
  await page.locator('#speed').focus();
  await page.keyboard.press('Home');
  const input = await page.inputValue('#text');
  const { trace } = classifier.classify(input, { speed: { speedup: classifier.info.speeds[0].speedup }, trace: true });
  const [window] = trace.windows;
  assert.equal(await page.locator('#trace li').count(), 1 + window.blocks.length);
  assert.deepEqual(await page.locator('#trace .going').allTextContents(), window.blocks.flatMap(({ dropped }) => dropped.map(({ text }) => text)));
  assert.equal(await page.locator('#trace li .words').first().textContent(), input);
  assert.deepEqual(problems, []);
});

test('examples fill the box, an empty box hides the answer, odd and long text is read', async () => {
  const { page, problems } = await ready();
  const example = page.locator('#examples button').nth(1);
  await example.click();
  assert.equal(await page.inputValue('#text'), await example.textContent());
  await page.fill('#text', '   ');
  assert.equal(await page.locator('#result').isHidden(), true);
  await page.fill('#text', '<b>😀</b> \u0000');
  assert.equal(await page.locator('#result').isVisible(), true);
  await page.fill('#text', 'a long and winding text '.repeat(1000));
  await page.waitForFunction(() => / windows\.$/.test(document.querySelector('#why').textContent));
  assert.match(await page.locator('#trace li').last().textContent(), /^This was the first of \d+ windows\.$/);
  assert.deepEqual(problems, []);
});

test('every control has a name and can be reached by keyboard; nothing spills over at 360 px', async () => {
  const { page } = await ready({ viewport: { width: 360, height: 740 } });
  const names = await page.evaluate(() => [...document.querySelectorAll('textarea, button, input')]
    .map((control) => control.labels?.[0]?.textContent.trim() || control.textContent.trim()));
  assert.ok(names.length >= 8 && names.every((name) => name !== ''), names.join('|'));
  const reached = new Set();
  await page.locator('#text').focus();
  for (let i = 0; i < names.length; i++) {
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
    await page.keyboard.press('Tab');
  }
  assert.equal(reached.size, names.length);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
});

test('a pack that cannot be had is told in words', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.route('**/sentiment.beex', (route) => route.fulfill({ status: 404, contentType: 'text/html', body: 'no' }));
  await page.goto(url);
  await page.waitForSelector('#failure:not([hidden])');
  assert.match(await page.locator('#failure').textContent(), /sentiment\.beex answered 404/);
  assert.equal(await page.locator('#loading').isHidden(), true);
});

test('dark and light differ, both readable', async () => {
  const contrast = async (colorScheme) => {
    const { page } = await ready({ colorScheme });
    return page.evaluate(() => {
      const channel = (value) => (value <= 10 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
      const luminance = (colour) => {
        const [r, g, b] = colour.match(/[\d.]+/g).map(Number).map(channel);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (node) => {
        for (let each = node; each; each = each.parentElement) {
          const colour = getComputedStyle(each).backgroundColor;
          if (colour !== 'rgba(0, 0, 0, 0)') return colour;
        }
        return 'rgb(255, 255, 255)';
      };
      const texts = document.querySelectorAll('h1, h2:not(.visually-hidden), p:not(.visually-hidden), dt, dd, #bars li, #blocks li, .hint, .time, label, button');
      const ratios = [...texts].filter((node) => node.offsetParent).map((node) => {
        const [a, b] = [luminance(getComputedStyle(node).color), luminance(behind(node))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), node.id || node.className || node.tagName];
      });
      return { worst: ratios.sort(([x], [y]) => x - y)[0], paper: getComputedStyle(document.documentElement).backgroundColor };
    });
  };
  const [light, dark] = [await contrast('light'), await contrast('dark')];
  assert.notEqual(light.paper, dark.paper);
  assert.ok(light.worst[0] >= 4.5, `light: ${light.worst}`);
  assert.ok(dark.worst[0] >= 4.5, `dark: ${dark.worst}`);
});
