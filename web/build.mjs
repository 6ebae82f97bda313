// Makes the demo page in web/dist from the built package. esbuild leaves `new URL('./engine.wasm', import.meta.url)` as it is,
// so that the engine and the pack are copied next to the bundle: the one line that users of esbuild need as well.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const js = join(here, '../bindings/js');
const beex = join(js, 'dist');
const dist = join(here, 'dist');
const tools = createRequire(join(js, 'package.json'));
const { build } = tools('esbuild');

if (!existsSync(join(beex, 'packs/sentiment.js'))) {
  console.error('The page needs model_pack/packs/sentiment.beex; train it with scripts/beex-train, or take a checkout that has it.');
  process.exit(1);
}
execFileSync(process.execPath, [tools.resolve('typescript/bin/tsc'), '--project', here], { stdio: 'inherit' });

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
await build({
  entryPoints: [join(here, 'main.ts')], outdir: dist, bundle: true, format: 'esm', target: 'es2022', minify: true, charset: 'utf8', logLevel: 'warning',
  alias: { 'beex/packs/sentiment': join(beex, 'packs/sentiment.js'), beex: join(beex, 'index.js') },
});
for (const name of ['index.html', 'style.css']) copyFileSync(join(here, name), join(dist, name));
for (const name of ['engine.wasm', 'engine.scalar.wasm', 'packs/sentiment.beex']) copyFileSync(join(beex, name), join(dist, name.split('/').at(-1)));
