// Instructions for classifying a text at full depth: a number that a busy machine does not change.
//
//   node tests/bench/instructions.mjs [--update]     the committed numbers are in scripts/instructions.json
//
// Counted by valgrind in the native build, over the first sentences of sentences.txt with the sentiment pack. The compiler decides as
// much as the code: numbers of another one are not compared. Fails when a kernel table needs more than committed, beyond the tolerance.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const COMMITTED = here('../../scripts/instructions.json');
const TEXTS = 16;
const TOLERANCE = 0.03;

/** { compiler, texts, per_classify: { kernels: instructions } } of the native build. */
export function count() {
  const input = readFileSync(here('sentences.txt'), 'utf8').split('\n').slice(0, TEXTS).join('\n');
  const counted = { per_classify: {} };
  for (const kernels of ['simd128', 'scalar']) {
    const log = execFileSync('bash', ['-c', 'exec valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect=counted "$@" 2>&1', 'bash',
      here('../../build/native/tests/instructions'), here('../../model_pack/packs/sentiment.beex'), kernels], { input, encoding: 'utf8' });
    const { texts, compiler } = JSON.parse(log.match(/^\{.*\}$/m)[0]);
    Object.assign(counted, { compiler, texts });
    counted.per_classify[kernels] = Math.round(Number(log.match(/Collected : (\d+)/)[1]) / texts);
  }
  return counted;
}

export const committed = () => JSON.parse(readFileSync(COMMITTED, 'utf8'));

/** By how much more instructions are needed than committed, by kernels: 0.1 is a tenth more. Undefined for another compiler. */
export function change(now, before = committed()) {
  if (now.compiler !== before.compiler) return undefined;
  return Object.fromEntries(Object.entries(now.per_classify).map(([kernels, number]) => [kernels, number / before.per_classify[kernels] - 1]));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const now = count();
  if (process.argv[2] === '--update') writeFileSync(COMMITTED, `${JSON.stringify(now, null, 2)}\n`);
  const changes = change(now);
  for (const [kernels, number] of Object.entries(now.per_classify)) {
    const more = changes?.[kernels];
    const compared = more === undefined ? `not compared: counted with another compiler (${committed().compiler}, not ${now.compiler})`
      : `${more < 0 ? '' : '+'}${(100 * more).toFixed(1)} % against scripts/instructions.json`;
    console.log(`${kernels.padEnd(8)} ${number.toLocaleString('en').padStart(12)} instructions a classify, ${compared}`);
    if (more > TOLERANCE) {
      console.error(`${kernels} became slower; where that is meant: scripts/bench --instructions --update`);
      process.exitCode = 1;
    }
  }
}
