// The JSON of tests/tools/bench_engine as a table for people.
import { readFileSync } from 'node:fs';

const result = JSON.parse(readFileSync(0, 'utf8'));
const tables = Object.entries(result.kernels);
const [, fastest] = tables[0];
const percent = (share) => `${(100 * share).toFixed(1)} %`;

console.log(`${result.tokens} tokens, full depth: ${result.blocks} blocks, hidden size ${result.hidden_size}, SLFN ${result.slfn_size}; median of ${result.runs} runs`);
for (const [name, { median_us, p10_us, p90_us }] of tables) {
  console.log(`  ${name.padEnd(8)} ${median_us.toFixed(0).padStart(6)} µs  (p10 ${p10_us.toFixed(0)}, p90 ${p90_us.toFixed(0)})  ` +
    `${(median_us / fastest.median_us).toFixed(2)} × the time of ${tables[0][0]}`);
}
console.log(`share of each stage, ${tables[0][0]}`);
for (const [stage, share] of Object.entries(fastest.share)) console.log(`  ${stage.padEnd(14)} ${percent(share).padStart(7)}`);
for (const [name, { texts }] of tables.filter(([, { texts }]) => texts)) {
  console.log(`${texts.count} texts with exits, ${name}: ${texts.mean_tokens} tokens and ${texts.mean_blocks} blocks on average, ` +
    `median ${texts.median_us.toFixed(0)} µs (p10 ${texts.p10_us.toFixed(0)}, p90 ${texts.p90_us.toFixed(0)})`);
}
