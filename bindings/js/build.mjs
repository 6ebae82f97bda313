// Makes the npm package in dist/ from the TypeScript and from two engine builds:
//
//   node build.mjs [FOLDER OF THE SIMD BUILD] [FOLDER OF THE SCALAR BUILD]
//
// Each folder holds engine.mjs and engine.wasm as bindings/CMakeLists.txt makes them.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const dist = join(here, 'dist');
const [simd = join(root, 'build/package/wasm/bindings'), scalar = join(root, 'build/package/wasm-scalar/bindings')] = process.argv.slice(2);
const { version, exports } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));

// Declarations that index.d.ts reaches; the others are nobody's business.
const PUBLIC_TYPES = ['index', 'classifier', 'errors', 'exit_rule', 'source', 'speed', 'trace'];

const glue = join(simd, 'engine.mjs');
if (!readFileSync(glue).equals(readFileSync(join(scalar, 'engine.mjs')))) {
  throw new Error('The glue of the two engine builds differs, but one JavaScript is to serve both.');
}
const wasm = { 'engine.wasm': readFileSync(join(simd, 'engine.wasm')), 'engine.scalar.wasm': readFileSync(join(scalar, 'engine.wasm')) };

// The build id is the content: whoever mixes files of two builds is told so.
const hash = createHash('sha256').update(readFileSync(glue));
for (const bytes of Object.values(wasm)) hash.update(bytes);
const buildId = `${version}-${hash.digest('hex').slice(0, 12)}`;

rmSync(dist, { recursive: true, force: true });
mkdirSync(join(dist, 'packs'), { recursive: true });
for (const [name, bytes] of Object.entries(wasm)) {
  writeFileSync(join(dist, name), Buffer.concat([bytes, customSection('beex.build', buildId)]));
}

const common = {
  bundle: true, format: 'esm', target: 'es2022', minify: true, charset: 'utf8', legalComments: 'none', logLevel: 'warning',
  define: { __BUILD_ID__: JSON.stringify(buildId), __VERSION__: JSON.stringify(version) },
};
await build({ ...common, entryPoints: [join(here, 'src/index.ts')], outdir: dist, platform: 'neutral', alias: { 'beex-engine-glue': glue } });
await build({ ...common, entryPoints: [join(here, 'src/cli.ts')], outdir: dist, platform: 'node', external: ['./index.js'] });
chmodSync(join(dist, 'cli.js'), 0o755);

const types = join(root, 'build/package/types');
execFileSync(process.execPath, [createRequire(import.meta.url).resolve('typescript/bin/tsc'), '--project', here, '--outDir', types], { stdio: 'inherit' });
for (const name of PUBLIC_TYPES) copyFileSync(join(types, `${name}.d.ts`), join(dist, `${name}.d.ts`));

for (const name of Object.keys(exports).filter((path) => path.startsWith('./packs/')).map((path) => path.slice('./packs/'.length))) {
  const pack = join(root, 'model_pack/packs', `${name}.beex`);
  if (!existsSync(pack)) {
    console.error(`beex/packs/${name} is left out: there is no ${pack}`);
    continue;
  }
  copyFileSync(pack, join(dist, 'packs', `${name}.beex`));
  writeFileSync(join(dist, 'packs', `${name}.js`), `export default new URL('./${name}.beex', import.meta.url);\n`);
  writeFileSync(join(dist, 'packs', `${name}.d.ts`), `/** Where the pack is; give it to \`load\`. */\ndeclare const pack: URL;\nexport default pack;\n`);
}
// npm takes these from the package's own folder. With their times, so that the scripts do not see a change in them.
for (const name of ['LICENSE', 'README.md']) {
  if (existsSync(join(root, name))) cpSync(join(root, name), join(here, name), { preserveTimestamps: true });
}

function customSection(name, text) {
  const content = Buffer.concat([Buffer.from([name.length]), Buffer.from(name), Buffer.from(text)]);
  if (content.length > 127) throw new Error('The custom section needs a longer size field.');
  return Buffer.concat([Buffer.from([0, content.length]), content]);
}
