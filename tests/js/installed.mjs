// The package as users get it: packed by npm and installed into an empty folder. Run scripts/build first.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const source = join(root, 'bindings/js');

if (!existsSync(join(source, 'dist/index.js'))) throw new Error('bindings/js/dist is missing: run scripts/build first.');

// A project folder with the package in node_modules; removed when the process ends.
export const project = mkdtempSync(join(tmpdir(), 'beex-'));
process.on('exit', () => rmSync(project, { recursive: true, force: true }));

const npm = (folder, ...args) =>
  execFileSync('npm', [...args, '--loglevel=error'], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

export const [packed] = JSON.parse(npm(source, 'pack', '--json', '--ignore-scripts', '--pack-destination', project));
export const tarball = join(project, packed.filename);
writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'user', private: true }));
npm(project, 'install', '--offline', '--no-audit', '--no-fund', tarball);

export const resolve = createRequire(join(project, 'user.js')).resolve;
export const installed = dirname(resolve('beex/package.json'));
export const beex = await import(pathToFileURL(resolve('beex')));

export const packPath = (name) => join(root, 'model_pack/golden', `${name}.beex`);
export const packBytes = (name) => new Uint8Array(readFileSync(packPath(name)));

// Asserts that a promise or a function fails with a BeexError of this code, and gives the error.
export async function failsWith(code, action) {
  try {
    await (typeof action === 'function' ? action() : action);
  } catch (error) {
    if (error instanceof beex.BeexError && error.code === code) return error;
    throw new Error(`expected a BeexError "${code}", got ${error?.name} "${error?.code}": ${error?.message}`, { cause: error });
  }
  throw new Error(`expected a BeexError "${code}", but it succeeded`);
}

export const bits = (floats) => [...new Uint32Array(floats.buffer, floats.byteOffset, floats.length)];

// Runs a program to its end. Resolves to { status, stdout, stderr }.
export function run(command, args, { input = '', ...options } = {}) {
  return new Promise((done, failed) => {
    const child = spawn(command, args, { cwd: project, ...options });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => { output[name] += text; });
    child.on('error', failed).on('close', (status) => done({ status, ...output }));
    child.stdin.on('error', () => {}).end(input);
  });
}

export const cli = (args, input, options) => run(process.execPath, [join(project, 'node_modules/.bin/beex'), ...args], { input, ...options });

// The floats of a pack's section.
export function floatsOf(pack, name) {
  let found;
  edited(pack, (view, section) => {
    const { offset, length } = section(name);
    found = new Float32Array(view.buffer.slice(offset, offset + length));
  });
  return found;
}

// CRC-32 as in FORMAT.md, to make packs that are wrong behind a right checksum.
export function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// A copy of the pack in which `edit(view, section)` changed something, with all checksums set right again.
// `section(name)` gives { offset, length, entry }: places of the section and of its table entry.
export function edited(pack, edit) {
  const bytes = pack.slice();
  const view = new DataView(bytes.buffer);
  const sections = () => Array.from({ length: view.getUint32(8, true) }, (_, index) => {
    const entry = 64 + 64 * index;
    const name = new TextDecoder().decode(bytes.subarray(entry, entry + 40)).replace(/\0+$/, '');
    return { name, entry, offset: Number(view.getBigUint64(entry + 40, true)), length: Number(view.getBigUint64(entry + 48, true)) };
  });
  edit(view, (name) => sections().find((section) => section.name === name));
  for (const { entry, offset, length } of sections()) {
    if (offset + length <= bytes.length) view.setUint32(entry + 56, crc32(bytes.subarray(offset, offset + length)), true);
  }
  view.setUint32(12, crc32(bytes.subarray(64, 64 + 64 * view.getUint32(8, true))), true);
  view.setUint32(60, crc32(bytes.subarray(0, 60)), true);
  return bytes;
}
